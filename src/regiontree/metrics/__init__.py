"""Scores of region trees against ground truth."""
