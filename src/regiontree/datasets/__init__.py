"""Ground truth: label trees, data sets and readers of their files."""
