"""Experiments on data sets: configs, stages that can be resumed, tables of scores."""
