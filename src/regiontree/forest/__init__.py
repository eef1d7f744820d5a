"""Many trees on disk, and the photographs that they were made from."""
