"""Figures for papers and notebooks, drawn with Matplotlib.

=================  ==============================================================================
hierarchy_map      one photograph with all levels: the higher two regions part, the stronger the
                   border between them
granularity_strip  the photograph and its cuts from coarse to fine
tree_figure        the tree, every node a picture of its region
salient_figure     the regions that hold together best, from any level
overview           photograph, cut, hierarchy and tree: what ``tree.show()`` returns
=================  ==============================================================================

Each returns a Matplotlib ``Figure``; those of one panel draw into ``ax`` if they are given one. In
saved files photographs are images, and borders, edges and text stay lines and text::

    tree_figure(tree, "photo.jpg").savefig("tree.pdf")

Colours are those of every other picture: :func:`regiontree.display.pictures.hierarchy_colors`.
Pyplot does not know the figures: it would show them a second time and keep them in memory. No
global setting is touched, and the reader's own settings (fonts, say) hold.
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
