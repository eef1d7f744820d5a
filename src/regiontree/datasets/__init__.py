"""Ground truth: label trees, data sets and how their files are read."""
