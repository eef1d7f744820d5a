"""Figures for papers and notebooks: the public name of :mod:`regiontree.display.plot`."""

from regiontree.display.plot import (
    granularity_strip,
    hierarchy_map,
    overview,
    salient_figure,
    tree_figure,
)

__all__ = ["granularity_strip", "hierarchy_map", "overview", "salient_figure", "tree_figure"]
