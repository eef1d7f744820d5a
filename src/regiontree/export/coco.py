"""COCO instance annotations: one data set of many photographs, one annotation a node.

The format is that of cocodataset.org/#format-data, as ``pycocotools`` reads it. A mask is a list of
run lengths down the columns, in COCO's own compressed text. An annotation has COCO's fields and its
place in the tree: ``node`` (its number there), ``parent_id`` (the annotation of the smallest
written node around it, or null), and ``level``, ``height``, ``ncut`` and ``stop`` of the tree, and
``stability``, if the tree has it. On request, ``attributes`` holds the same again, since some
programs read other fields only there.

Pixels without data get no annotation. One pass over the image encodes all leaves. The run lengths
of every other node are merged from its children's, so no mask is made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from regiontree._version import __version__
from regiontree.errors import ExportError
from regiontree.export.graph import node_attributes
from regiontree.export.runs import runs_down_columns
from regiontree.forest.origin import recorded_name
from regiontree.system.extras import optional
from regiontree.system.files import atomic_write
from regiontree.tree import RegionTree
from regiontree.tree.kernel import accumulate_any, nearest_marked
from regiontree.tree.nodata import no_data_nodes

__all__ = [
    "CATEGORY",
    "INFO",
    "PIXEL",
    "chosen_nodes",
    "coco_masks",
    "json_items",
    "map_shapes",
    "nodes_around",
    "numbered_annotations",
    "photo_name",
    "to_coco",
    "write_coco",
    "write_data_set",
]

INFO = {"description": "Nested regions of photographs, by regiontree", "version": __version__}
"""What a data set says of its origin."""
CATEGORY = {"id": 1, "name": "region", "supercategory": "region"}
"""The one category of all annotations."""
PIXEL = RegionTree(
    labels=np.zeros((1, 1), int), parents=np.zeros(1, int), height=np.zeros(1, np.float32),
    stability=np.ones(1, np.float16), meta={"contrast": 1.0},
)  # fmt: skip
"""A tree of one pixel, on which choices of nodes are tried before any tree is read."""


def to_coco(
    tree: RegionTree,
    name: str | None = None,
    *,
    n_regions: int | None = None,
    height: float | None = None,
    depth: int | None = None,
    contrast: float | None = None,
    salient: int | None = None,
    all_nodes: bool = False,
    attributes: bool = False,
) -> dict[str, Any]:
    """A COCO data set of one photograph.

    Parameters
    ----------
    name
        The tree's name. The photograph gets the folder of this name: see :func:`photo_name`.
    n_regions, height, depth, contrast
        Only the regions of that cut; see :meth:`RegionTree.cut`.
    salient
        Only so many nodes, the most salient first; see :meth:`RegionTree.salient`.
    all_nodes
        With a cut: also the nodes above it, except the root.
    attributes
        Whether an annotation has its place in the tree a second time, in ``attributes``. CVAT and
        Datumaro read only those of the fields that are not COCO's own.

    Without a cut, `salient` and `all_nodes`, all nodes except the root. A tree of one node then has
    no annotation.

    Returns
    -------
    dict
        ``info``, ``licenses``, ``images``, ``categories`` (only "region") and ``annotations``, with
        ids from 1. Areas and boxes (x, y, width, height) are in pixels.

    Raises
    ------
    ExportError
        `salient` together with any of the others.
    TreeError
        A cut with two criteria or a wrong value; `salient` below 1.
    MissingExtraError
        pycocotools is not installed.

    Examples
    --------
    >>> tree = RegionTree(labels=[[0, 0, 1], [2, 2, 2]], parents=[3, 3, 4, 4, 4],
    ...                   height=[0, 0, 0, .5, 1])
    >>> leaf = to_coco(tree)["annotations"][0]
    >>> leaf["segmentation"], leaf["bbox"], leaf["parent_id"]
    ({'size': [2, 3], 'counts': '01102'}, [0, 0, 2, 1], 4)
    """
    nodes = chosen_nodes(
        tree,
        n_regions=n_regions,
        height=height,
        depth=depth,
        contrast=contrast,
        salient=salient,
        all_nodes=all_nodes or (n_regions, height, depth, contrast, salient) == (None,) * 5,
    )
    masks = coco_masks()
    rles = _run_lengths(tree, masks)
    id_of = {node: number for number, node in enumerate(nodes, 1)}
    around = nodes_around(tree, nodes)

    def annotation(node: int) -> dict[str, Any]:
        place = {
            "parent_id": id_of.get(around[node]),
            "node": node,
            **node_attributes(tree, node),
        }
        return {
            "id": id_of[node],
            "image_id": 1,
            "category_id": CATEGORY["id"],
            **_shape(rles[node], masks),
            **place,
            **({"attributes": place} if attributes else {}),
        }

    annotations = [annotation(node) for node in nodes]
    rows, columns = tree.shape
    image = {"id": 1, "file_name": photo_name(tree, name), "width": columns, "height": rows}
    return {
        "info": INFO,
        "licenses": [],
        "images": [image],
        "categories": [CATEGORY],
        "annotations": annotations,
    }


def write_coco(parts: Iterable[dict[str, Any]], path: str | Path) -> Path:
    """Write the data sets of many photographs, each from :func:`to_coco`, as one; return the path.

    Images are numbered in their order. Annotations are numbered on from image to image. Each
    annotation is written at once, on its own line, so that only one part is in memory.
    """
    images: list[dict[str, Any]] = []
    path = Path(path)
    with atomic_write(path) as file:
        write_data_set(file, [CATEGORY], numbered_annotations(parts, images), images)
    return path


# -- shared with the other formats of annotations -------------------------------------------------


def photo_name(tree: RegionTree, name: str | None = None) -> str:
    """File name of the photograph that a tree was made from.

    `name` is the path of the tree below the folder of all trees, with slashes and without suffix.
    Trees are in folders of the same names as their photographs, so the photograph gets the folder
    of `name`: ``a/photo`` made from ``photo.jpg`` gives ``a/photo.jpg``. If the tree does not know
    its photograph, the result is `name`, or ``image`` without a name.
    """
    path = PurePosixPath(name or "image")
    return str(path.parent / PurePosixPath(recorded_name(tree.meta) or path.name).name)


def chosen_nodes(
    tree: RegionTree,
    *,
    n_regions: int | None = None,
    height: float | None = None,
    depth: int | None = None,
    contrast: float | None = None,
    salient: int | None = None,
    all_nodes: bool = False,
) -> list[int]:
    """The nodes to write: the regions of a cut, ascending; by default those of the natural cut.

    With `all_nodes`, the nodes above the cut are written, too, except the root; without a cut, all
    nodes except the root. With `salient`, that many salient nodes, the most salient first. The leaf
    of pixels without data is never written, since it is no object.

    Raises
    ------
    ExportError
        `salient` together with any of the others.
    TreeError
        A cut with two criteria or a wrong value; `salient` below 1.
    """
    no_cut = (n_regions, height, depth, contrast) == (None,) * 4
    if salient is not None:
        if all_nodes or not no_cut:
            raise ExportError("salient chooses the nodes by itself; give no cut and no all_nodes")
        return tree.salient(salient)
    chosen = np.zeros(tree.n_nodes, dtype=bool)
    if all_nodes and no_cut:
        chosen[: tree.root] = True
    else:
        chosen[
            tree.cut_nodes(n_regions=n_regions, height=height, depth=depth, contrast=contrast)
        ] = True
        if all_nodes:
            chosen = accumulate_any(tree.parents, chosen)
            chosen[tree.root] = False
    chosen &= ~no_data_nodes(tree.stop)
    nodes: list[int] = np.flatnonzero(chosen).tolist()
    return nodes


def nodes_around(tree: RegionTree, nodes: list[int]) -> list[int]:
    """For every node of the tree, the lowest of `nodes` that is its ancestor; -1 if none is."""
    chosen = np.zeros(tree.n_nodes, dtype=bool)
    chosen[nodes] = True
    around = nearest_marked(tree.parents, chosen)[tree.parents]
    around[~chosen[around]] = -1
    around[tree.root] = -1
    found: list[int] = around.tolist()
    return found


def write_data_set(
    file: IO[bytes],
    categories: list[dict[str, Any]],
    annotations: Iterable[dict[str, Any]],
    images: list[dict[str, Any]],
) -> None:
    """Write a data set of any of COCO's kinds. `annotations` may fill `images` on the way."""
    head = {"info": INFO, "licenses": [], "categories": categories}
    file.write(json.dumps(head).encode()[:-1] + b', "annotations": [')
    file.writelines(json_items(annotations))
    file.write(b'\n], "images": [')
    file.writelines(json_items(images))
    file.write(b"\n]}\n")


def numbered_annotations(
    parts: Iterable[dict[str, Any]], images: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The annotations of data sets from :func:`to_coco`, numbered on from image to image.

    The images are numbered in their order, and added to `images`.
    """
    before = 0
    for number, part in enumerate(parts, 1):
        images.append({**part["images"][0], "id": number})
        for one in part["annotations"]:
            parent = None if one["parent_id"] is None else one["parent_id"] + before
            moved = {**one, "id": one["id"] + before, "image_id": number, "parent_id": parent}
            if "attributes" in one:
                moved["attributes"] = {**one["attributes"], "parent_id": parent}
            yield moved
        before += len(part["annotations"])


def json_items(items: Iterable[Any]) -> Iterator[bytes]:
    """The inside of a JSON array, one item a line, in ASCII, which every reader understands."""
    for number, item in enumerate(items):
        text = json.dumps(item, allow_nan=False, separators=(",", ":"))
        yield (b",\n" if number else b"\n") + text.encode()


# -- run lengths ----------------------------------------------------------------------------------


def map_shapes(regions: NDArray[np.int32], count: int) -> list[dict[str, Any]]:
    """``segmentation``, ``bbox`` and ``iscrowd`` of each region of a map, in their order.

    Parameters
    ----------
    regions
        (H, W) in [-1, count); -1 is no region.
    count
        Number of regions. Each has pixels.

    Raises
    ------
    MissingExtraError
        pycocotools is not installed.
    """
    masks = coco_masks()
    rles = _map_run_lengths(regions + 1, count + 1, masks)
    return [_shape(rle, masks) for rle in rles[1:]]


def _shape(rle: dict[str, Any], masks: Any) -> dict[str, Any]:
    """The mask and the box of an annotation."""
    return {
        "segmentation": {**rle, "counts": rle["counts"].decode("ascii")},
        "bbox": [int(side) for side in masks.toBbox(rle)],
        "iscrowd": 0,
    }


def coco_masks() -> Any:
    """The module ``pycocotools.mask``.

    Raises
    ------
    MissingExtraError
        pycocotools is not installed, or too old.
    """
    return optional("pycocotools.mask", "export", "COCO needs")


def _run_lengths(tree: RegionTree, masks: Any) -> list[dict[str, Any]]:
    """Mask of each node in the form of pycocotools: size (H, W) and compressed counts."""
    rles = _map_run_lengths(tree.labels, tree.n_leaves, masks)
    for node in range(tree.n_leaves, tree.n_nodes):
        rles.append(masks.merge([rles[child] for child in tree.children(node)]))
    return rles


def _map_run_lengths(labels: NDArray[np.int32], count: int, masks: Any) -> list[dict[str, Any]]:
    """Mask of each label from 0 to count - 1 of a map."""
    height, width = labels.shape
    start, end, label = runs_down_columns(labels)
    order = np.argsort(label, kind="stable")
    edges = np.stack([start, end], axis=1)[order]
    rles: list[dict[str, Any]] = []
    for own in np.split(edges, np.searchsorted(label[order], np.arange(1, count))):
        counts = np.diff(own.reshape(-1), prepend=0, append=labels.size)
        counts = counts if counts[-1] else counts[:-1]  # COCO leaves out a last 0
        rles.append(masks.frPyObjects({"size": [height, width], "counts": counts}, height, width))
    return rles
