"""Features to affinity to parts: pure functions on arrays, no images, files or models."""
