"""Many photographs as one: prototypes of their regions, and categories of the prototypes."""
