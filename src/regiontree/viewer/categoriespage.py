"""The page of a collection, and what it is told."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from regiontree.collection.collection import Collection
from regiontree.collection.shown import MOST_SHOWN
from regiontree.images import nearest
from regiontree.viewer.document import document
from regiontree.viewer.page import inert, packed
from regiontree.viewer.regionpictures import RegionPictures, shown_size

__all__ = ["page_data", "page_html", "photograph_data"]

_CATEGORIES = 27  # the page begins with: as many as COCO-Stuff's coarse classes


def page_html(data: dict[str, Any]) -> str:
    """The page, a whole HTML document that can be encoded as UTF-8.

    Parameters
    ----------
    data
        From :func:`page_data`.
    """
    title = data["title"].encode("utf-8", "replace").decode()
    return document(
        "categories.html",
        styles=["base.css", "categories.css"],
        script="categories",
        images="'self' data:",
        connects="'self'",
        parts={"TITLE": html.escape(title), "DATA": inert(data)},
    )


def page_data(collection: Collection, title: str) -> dict[str, Any]:
    """What the page is told about a collection, as JSON values.

    The type ``Payload`` in ``web/categories.js`` has the same fields.

    Returns
    -------
    dict
        - ``title``; ``photographs``, how many; ``key``, which tells collections apart.
        - ``parents``, ``area``, ``divisions`` of the tree of categories: the category above each,
          its number of prototypes, and inner nodes in the order in which cuts divide them.
        - ``categories``, ``regions``: the cuts to begin with; ``most``, regions at most.
        - ``saves``: whether names can be saved.
    """
    tree = collection.tree
    return {
        "title": title,
        "photographs": len(collection),
        "key": collection.key,
        "parents": tree.parents.tolist(),
        "area": tree.area.tolist(),
        "divisions": tree._divisions.tolist(),
        "categories": min(_CATEGORIES, tree.n_leaves),
        "regions": min(collection.settings.regions, MOST_SHOWN),
        "most": MOST_SHOWN,
        "saves": collection.can_be_named,
    }


def photograph_data(
    collection: Collection, pictures: RegionPictures, number: int, longest: int
) -> dict[str, Any]:
    """What the page is told about a photograph, as JSON values.

    Returns
    -------
    dict
        - ``id``; ``notice``, why the photograph is not shown, or None.
        - ``view``, (H, W) as shown; ``labels`` and ``label_bytes`` as of
          :func:`regiontree.viewer.page.payload`.
        - ``parents``, ``area``, ``divisions`` of its tree.
        - ``categories``, the finest category of each node, a leaf of the tree of categories; -1 for
          none.
    """
    key = collection.ids[number]
    tree, _ = pictures.read(number, 1)  # one pixel shows whether there is a photograph
    view = shown_size(tree.shape, longest)
    finest = np.append(collection.tree.labels[0], -1)
    return {
        "id": key,
        "notice": pictures.lacks.get(number),
        "view": view,
        **packed(nearest(tree.labels, view), tree.n_leaves),
        "parents": tree.parents.tolist(),
        "area": tree.area.tolist(),
        "divisions": tree._divisions.tolist(),
        "categories": finest[collection.members.prototypes(key)].tolist(),
    }
