"""Label Studio: photographs to import with their regions as brush masks, to correct or to label.

The file is a list of tasks (labelstud.io/guide/predictions). Each task has the photograph's URL and
one prediction. The prediction's results are regions of type ``brushlabels`` with the label
"region". If all nodes of a tree are written, ``parentID`` nests them, and the list of regions shows
the tree. Pixels without data are no region. If the tree has stability, it is the ``score`` of each
region, which the list of regions shows, too. The prediction has their mean as ``score``.
:data:`LABELS` is the labelling interface of the project. Add labels to it to say what the regions
are.

A mask is an RGBA picture, row by row, with 255 inside and 0 outside. It is packed into the run
lengths of ``@thi.ng/rle-pack``, a stream of bits, the highest first:

- 32 bits: the number of values;
- 5 bits: the number of bits of a value, minus one;
- 4 times 4 bits: the number of bits of a count, minus one, for four sizes of counts. The sizes are
  3, 4, 8 and 16 here;
- for each run: a 1, the number of the size in 2 bits, the run's length minus one in a count of that
  size, and its value in 8 bits. A 0 instead would begin single values, which a mask does not have:
  every pixel is four equal values.

Zeros fill up the last byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from regiontree._version import __version__
from regiontree.export.coco import chosen_nodes, json_items, nodes_around, photo_name
from regiontree.system.files import atomic_write
from regiontree.tree import RegionTree
from regiontree.tree.kernel import preorder
from regiontree.tree.stop import StopReason

__all__ = [
    "LABELS",
    "URL_PREFIX",
    "Runs",
    "interface_of",
    "node_id",
    "to_label_studio",
    "write_label_studio",
]

# The project's labelling interface that the tasks are made for.
_INTERFACE = (
    '<View><Image name="image" value="$image"/>'
    '<BrushLabels name="regions" toName="image">{}</BrushLabels></View>'
)
LABELS = _INTERFACE.format('<Label value="region"/>')
"""The labelling interface that a project needs for the tasks."""
# For files that Label Studio serves from its folder LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT.
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
    contrast: float | None = None,
    all_nodes: bool = False,
    url_prefix: str = URL_PREFIX,
) -> dict[str, Any]:
    """A task: a photograph with its regions as a prediction.

    The score of a region is its stability, 0 to 1, and the score of the prediction is their mean,
    weighted by area. A tree without stability gives no scores, and a rest has none.

    Parameters
    ----------
    name
        The tree's name. The photograph gets the folder of this name: see
        :func:`regiontree.export.coco.photo_name`.
    n_regions, height, depth, contrast
        The regions of that cut; see :meth:`RegionTree.cut`. Without one, the natural cut.
    all_nodes
        Write the nodes above the cut, too, except the root. Without a cut, write all nodes except
        the root. Each node is nested in its parent, and parents come first.
    url_prefix
        What to put before the photograph's name to make its URL.

    Raises
    ------
    TreeError
        A cut with two criteria or a wrong value.

    Examples
    --------
    >>> tree = RegionTree(labels=[[0, 1]], parents=[2, 2, 2], height=[0, 0, 1])
    >>> task = to_label_studio(tree, "cat", url_prefix="https://photos.org/")
    >>> task["data"]
    {'image': 'https://photos.org/cat'}
    >>> task["predictions"][0]["result"][0]["value"]["rle"]
    [0, 0, 0, 8, 57, 27, 252, 96, 17, 255, 128]
    """
    nodes = chosen_nodes(
        tree,
        n_regions=n_regions,
        height=height,
        depth=depth,
        contrast=contrast,
        all_nodes=all_nodes,
    )
    around, walk = nodes_around(tree, nodes), preorder(tree.parents)
    runs = Runs.of(tree.labels)
    scores = _scores(tree, nodes)
    results = [
        {
            "id": node_id(node),
            **({"parentID": node_id(around[node])} if around[node] >= 0 else {}),
            **runs.brush(walk.holds(node, runs.value), "region"),
            **({"score": round(scores[node], 4)} if node in scores else {}),
        }
        for node in reversed(nodes)
    ]
    prediction: dict[str, Any] = {"model_version": f"regiontree {__version__}"}
    if scores:
        mean = np.average(list(scores.values()), weights=tree.area[list(scores)])
        prediction["score"] = round(float(mean), 4)
    return {
        "data": {"image": url_prefix + quote(photo_name(tree, name))},
        "predictions": [{**prediction, "result": results}],
    }


def _scores(tree: RegionTree, nodes: Iterable[int]) -> dict[int, float]:
    """The stability of each node that has one; a rest has none."""
    if tree.stability is None:
        return {}
    return {n: float(tree.stability[n]) for n in nodes if tree.stop[n] != StopReason.REST}


def interface_of(labels: Iterable[str]) -> str:
    """The labelling interface with other labels, as XML.

    Examples
    --------
    >>> interface_of(["region"]) == LABELS
    True
    """
    return _INTERFACE.format("".join(f"<Label value={quoteattr(one)}/>" for one in labels))


def write_label_studio(tasks: Iterable[dict[str, Any]], path: str | Path) -> Path:
    """Write tasks, each from :func:`to_label_studio`, as one JSON to import; return the path."""
    path = Path(path)
    with atomic_write(path) as file:
        file.write(b"[")
        file.writelines(json_items(tasks))
        file.write(b"\n]\n")
    return path


def node_id(node: int) -> str:
    """The id of a node's region in a task."""
    return f"node{node}"


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """The runs of one value in the rows of a map, one row after the other.

    Attributes
    ----------
    shape : tuple of int
        (H, W) of the map.
    start : (r,) int64
        First pixel of each run.
    value : (r,)
        Its value.
    """

    shape: tuple[int, int]
    start: NDArray[np.int64]
    value: NDArray[Any]

    @classmethod
    def of(cls, labels: NDArray[Any]) -> Runs:
        """The runs of a map (H, W)."""
        pixels = labels.reshape(-1)
        start = _changes(pixels)
        return cls((labels.shape[0], labels.shape[1]), start, pixels[start])

    def brush(self, inside: NDArray[np.bool_], label: str) -> dict[str, Any]:
        """A region as a result of a task, without its id.

        Parameters
        ----------
        inside
            (r,) which runs belong to the region.
        label
            Its label.
        """
        rows, columns = self.shape
        first = _changes(inside)
        lengths = np.diff(self.start[first], append=rows * columns)
        return {
            "type": "brushlabels",
            "from_name": "regions",
            "to_name": "image",
            "original_width": columns,
            "original_height": rows,
            "image_rotation": 0,
            "value": {
                "format": "rle",
                "rle": _packed(lengths, inside[first]),
                "brushlabels": [label],
            },
        }


def _changes(values: NDArray[Any]) -> NDArray[np.int64]:
    """Where runs of one value start."""
    return np.concatenate([[0], 1 + np.flatnonzero(values[1:] != values[:-1])])


def _packed(lengths: NDArray[np.int64], inside: NDArray[np.bool_]) -> list[int]:
    """A mask as bytes of the format, from the pixels of each run and whether the run is inside."""
    values = _CHANNELS * lengths
    pieces = -(-values // _LONGEST)
    length = np.full(pieces.sum(), _LONGEST)
    length[np.cumsum(pieces) - 1] = values - _LONGEST * (pieces - 1)
    kind = np.searchsorted(1 << _SIZES, length)
    size = _SIZES[kind]
    code = ((0b100 | kind) << size | length - 1) << 8 | 255 * np.repeat(inside, pieces)
    codes = np.concatenate([[values.sum(), _HEAD], code]).astype(np.uint32)
    bits = np.concatenate([[32, 21], 3 + size + 8])
    # Each code is put at the left of 32 bits. Then as many bits are taken as the code has.
    words = codes << (32 - bits).astype(np.uint32)
    each = np.unpackbits(words.astype(">u4").view(np.uint8)).reshape(-1, 32)
    packed: list[int] = np.packbits(each[np.arange(32) < bits[:, None]]).tolist()
    return packed
