"""A tree as notebooks show it: pictures of a few cuts, its size, and its text to unfold.

Jupyter, VS Code and Colab show the last value of a cell as the HTML of its ``_repr_html_``. This
module makes the HTML of a tree. It is complete in itself: inline styles, PNG pictures as ``data:``
addresses, no script and nothing to load. It sets no colour of text or background, so that it can be
read on dark and on light pages.

A tree in memory does not know where its photograph is. Searching for it would be a surprise when a
tree is only shown. So regions are drawn in plain colours, the same as in every other picture.
``tree.show(photo)`` draws them over the photograph.
"""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

import numpy as np

from regiontree.display.pictures import (
    distinct_cuts,
    drawn_size,
    hierarchy_colors,
    nodes_of_leaves,
    overlay,
    region_count,
)
from regiontree.images import nearest

if TYPE_CHECKING:
    from regiontree.tree import RegionTree

__all__ = ["tree_html"]

_CUTS = (4, 16, 64)
_PRINTED, _DEEPEST = 20, 40  # regions and levels of the text; some trees are chains
_WIDTH = 200  # pixels of a picture on the page; it is drawn twice as fine, for dense screens


def tree_html(tree: RegionTree) -> str:
    """The HTML that a notebook shows for a tree: complete in itself, about 20 kB."""
    size = drawn_size(tree.shape, 2 * _WIDTH)
    leaves = nearest(tree.labels, size)  # large images are read at this size only
    colors = hierarchy_colors(tree)
    white = np.full((*size, 3), 255, np.uint8)
    pictures = []
    for count in distinct_cuts(tree, _CUTS):
        nodes = tree.cut_nodes(n_regions=count)
        shown = nodes_of_leaves(tree, nodes)[leaves]
        file = io.BytesIO()
        overlay(colors[shown], shown, white, tint=1.0).save(file, format="PNG", optimize=True)
        data = base64.b64encode(file.getvalue()).decode("ascii")
        caption = region_count(len(nodes))
        pictures.append(
            f'<figure style="margin:0"><img src="data:image/png;base64,{data}" alt="{caption}" '
            f'width="{size[1] // 2}" height="{size[0] // 2}" style="max-width:none">'
            f'<figcaption style="font-size:smaller">{caption}</figcaption></figure>'
        )
    made_from = tree.meta.get("image")
    name = made_from.get("name") if isinstance(made_from, dict) else None
    title = f"<b>{html.escape(name)}</b><br>" if isinstance(name, str) else ""
    text = tree.to_text(n_regions=_PRINTED, max_depth=_DEEPEST)
    return (
        f"<div>{title}{html.escape(repr(tree))}"
        f'<div style="display:flex;flex-wrap:wrap;gap:12px;margin:8px 0">{"".join(pictures)}</div>'
        '<details><summary style="cursor:pointer">as text</summary>'
        '<pre style="line-height:1.25;font-size:smaller;overflow-x:auto">'
        f"{html.escape(text)}</pre></details></div>"
    )
