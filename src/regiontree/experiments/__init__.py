"""Experiments: configs, stages that resume, tables."""
