"""Many photographs: what is done with each, and how processes and devices share the work."""
