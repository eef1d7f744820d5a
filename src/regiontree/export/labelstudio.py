"""Label Studio: photographs to import with their regions as brush masks, to correct or to label.

A list of tasks (labelstud.io/guide/predictions): each has the photograph's URL and one prediction,
whose results are regions of type ``brushlabels``, all of the label "region". With all nodes of a
tree, ``parentID`` nests them, and the list of regions shows the tree. The project's labels are
those of :data:`LABELS`; give it more to name what the regions are.

A mask is the photograph in RGBA, 255 inside and 0 outside, row by row, in the run lengths of
``@thi.ng/rle-pack``. They are a stream of bits, highest first: the number of values in 32 bits, the
bits of a value less one in 5, and four sizes of counts, in bits less one, in 4 each: 3, 4, 8 and 16
here. Then, until all values are there: 1 for a run, the number of the size in 2 bits, the run's
length less one in as many bits as that says, and its value in 8. (A 0 would announce single values:
a mask has none, every pixel being four.) The last byte is filled up with zeros.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from regiontree._version import __version__
from regiontree.export.coco import chosen_nodes, json_items, nodes_around, photo_name
from regiontree.system.files import atomic_write
from regiontree.tree import RegionTree

__all__ = ["LABELS", "URL_PREFIX", "to_label_studio", "write_label_studio"]

LABELS = (
    '<View><Image name="image" value="$image"/>'
    '<BrushLabels name="regions" toName="image"><Label value="region"/></BrushLabels></View>'
)
"""The labelling interface that a project needs for the tasks."""
URL_PREFIX = "/data/local-files/?d="
"""What a photograph's address starts with when Label Studio serves its own files.

It serves them from the folder ``LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT``.
"""

_CHANNELS = 4
_SIZES = np.array([3, 4, 8, 16])  # bits of a run's length
_LONGEST = 1 << 16
_HEAD = 0b00111_0010_0011_0111_1111  # values of 8 bits, and the sizes


def to_label_studio(
    tree: RegionTree,
    name: str | None = None,
    *,
    n_regions: int | None = None,
    height: float | None = None,
    depth: int | None = None,
    all_nodes: bool = False,
    url_prefix: str = URL_PREFIX,
) -> dict[str, Any]:
    """A task: a photograph with its regions as a prediction.

    Parameters
    ----------
    name
        The tree's name, of which its folder is taken: see
        :func:`regiontree.export.coco.photo_name`.
    n_regions, height, depth
        The regions of that cut; see :meth:`RegionTree.cut`. Without one, of the natural cut.
    all_nodes
        The nodes above the cut, too, each in its parent, parents first; without a cut all nodes,
        but never the root.
    url_prefix
        What to put before the photograph's name to make its URL.

    Raises
    ------
    TreeError
        Not a criterion that a cut takes.

    Examples
    --------
    >>> tree = RegionTree(labels=[[0, 1]], parents=[2, 2, 2], height=[0, 0, 1])
    >>> task = to_label_studio(tree, "cat", url_prefix="https://photos.org/")
    >>> task["data"]
    {'image': 'https://photos.org/cat'}
    >>> task["predictions"][0]["result"][0]["value"]["rle"]
    [0, 0, 0, 8, 57, 27, 252, 96, 17, 255, 128]
    """
    nodes = chosen_nodes(tree, n_regions=n_regions, height=height, depth=depth, all_nodes=all_nodes)
    around = nodes_around(tree, nodes)
    rows, columns = tree.shape
    pixels = tree.labels.reshape(-1)
    starts = _changes(pixels)
    leaf = pixels[starts]  # of each run of one leaf
    results = []
    for node in reversed(nodes):
        inside = _below(tree, node)[leaf]
        first = _changes(inside)
        lengths = np.diff(starts[first], append=pixels.size)
        results.append(
            {
                "id": _id(node),
                **({"parentID": _id(around[node])} if around[node] >= 0 else {}),
                "type": "brushlabels",
                "from_name": "regions",
                "to_name": "image",
                "original_width": columns,
                "original_height": rows,
                "image_rotation": 0,
                "value": {
                    "format": "rle",
                    "rle": _packed(lengths, inside[first]),
                    "brushlabels": ["region"],
                },
            }
        )
    return {
        "data": {"image": url_prefix + quote(photo_name(tree, name))},
        "predictions": [{"model_version": f"regiontree {__version__}", "result": results}],
    }


def write_label_studio(tasks: Iterable[dict[str, Any]], path: str | Path) -> Path:
    """Write tasks, each from :func:`to_label_studio`, as one JSON to import; gives the path."""
    path = Path(path)
    with atomic_write(path) as file:
        file.write(b"[")
        file.writelines(json_items(tasks))
        file.write(b"\n]\n")
    return path


def _id(node: int) -> str:
    return f"node{node}"


def _changes(values: NDArray[Any]) -> NDArray[np.int64]:
    """Where runs of one value start."""
    return np.concatenate([[0], 1 + np.flatnonzero(values[1:] != values[:-1])])


def _below(tree: RegionTree, node: int) -> NDArray[np.bool_]:
    """Which nodes are the node or below it, (N,)."""
    inside = np.zeros(tree.n_nodes, dtype=bool)
    inside[node] = True
    for i in range(node - 1, -1, -1):
        inside[i] |= inside[tree.parents[i]]
    return inside


def _packed(lengths: NDArray[np.int64], inside: NDArray[np.bool_]) -> list[int]:
    """Run lengths of a mask, in pixels, and whether each is inside, as bytes of the format."""
    values = _CHANNELS * lengths
    pieces = -(-values // _LONGEST)
    length = np.full(pieces.sum(), _LONGEST)
    length[np.cumsum(pieces) - 1] = values - _LONGEST * (pieces - 1)
    kind = np.searchsorted(1 << _SIZES, length)
    size = _SIZES[kind]
    code = ((0b100 | kind) << size | length - 1) << 8 | 255 * np.repeat(inside, pieces)
    codes = np.concatenate([[values.sum(), _HEAD], code]).astype(np.uint32)
    bits = np.concatenate([[32, 21], 3 + size + 8])
    # Each code at the left of 32 bits; of these, as many as it has.
    words = codes << (32 - bits).astype(np.uint32)
    each = np.unpackbits(words.astype(">u4").view(np.uint8)).reshape(-1, 32)
    packed: list[int] = np.packbits(each[np.arange(32) < bits[:, None]]).tolist()
    return packed
