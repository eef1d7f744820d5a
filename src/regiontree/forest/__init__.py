"""Many trees on disk, and the photograph that each one was made from."""
