"""From patch features to affinity to parts: pure functions on arrays, without images or files."""
