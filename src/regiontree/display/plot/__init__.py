"""Figures for papers and notebooks, drawn with Matplotlib.

=================  ==============================================================================
hierarchy_map      one photograph with all levels: a border is stronger if its two sides part
                   higher in the tree
granularity_strip  the photograph and its cuts from coarse to fine
tree_figure        the tree, every node a picture of its region
salient_figure     the regions that hold together best, from any level
overview           photograph, cut, hierarchy and tree: what ``tree.show()`` returns
=================  ==============================================================================

Each returns a Matplotlib ``Figure``. Functions of one panel draw into ``ax`` if it is given. In
saved files photographs are images; borders, edges and text are lines and text::

    tree_figure(tree, "photo.jpg").savefig("tree.pdf")

Colours are those of every other picture: :func:`regiontree.display.pictures.hierarchy_colors`.
Pyplot does not know these figures, because it would show them a second time and keep them in
memory. No global setting is changed. The user's own settings, such as fonts, are used.
"""

from regiontree.errors import MissingExtraError

try:
    import matplotlib as _matplotlib  # noqa: F401
except ImportError as error:
    raise MissingExtraError("figures need Matplotlib: pip install 'regiontree[plot]'") from error

from regiontree.display.plot.cards import salient_figure
from regiontree.display.plot.maps import granularity_strip, hierarchy_map
from regiontree.display.plot.summary import overview
from regiontree.display.plot.trees import tree_figure

__all__ = [
    "granularity_strip",
    "hierarchy_map",
    "overview",
    "salient_figure",
    "tree_figure",
]
