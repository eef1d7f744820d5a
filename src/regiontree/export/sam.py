"""Records of masks as SAM's automatic mask generator returns them, from a tree.

Programs that work on the records of ``SamAutomaticMaskGenerator.generate`` work on these. A record
is a dict with SAM's keys and three more:

- ``segmentation``: the mask, (H, W) bool, or run lengths down the columns, as COCO has them.
- ``area``: pixels of the mask.
- ``bbox``: [x, y, width, height] as SAM counts it, from the first pixel to the last. So width and
  height are one less than the number of pixels.
- ``predicted_iou``: 0 to 1, see :mod:`regiontree.export.quality`.
- ``point_coords``: [[x, y]], one pixel well inside the mask.
- ``stability_score``: 0 to 1, the node's ``stability``; None if the tree has none.
- ``crop_box``: [0, 0, W, H], the whole image.
- ``node``: the node's number in the tree, as in ``tree.mask(node)``.
- ``parent``: the node of the smallest mask of the list that holds this one; None if none does.
- ``depth``: depth in the tree, 0 at the root.

The masks with the highest predicted IoU come first, as SAM has them. Masks are nodes of one tree:
of any two, one holds the other or they share no pixel.

The arguments are those of ``segment_anything`` and of ``sam2`` where they mean something for a
tree. The others are refused, with what to use instead: :data:`NO_MEANING`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import ExportError, SettingsError, check_number, nearest_name
from regiontree.export.coco import chosen_nodes, coco_masks, nodes_around
from regiontree.export.options import ChoiceOptions
from regiontree.export.quality import predicted_iou, ranked_nodes
from regiontree.export.runs import MaskRuns, runs_of_nodes
from regiontree.export.specks import without_specks
from regiontree.system.jit import jit
from regiontree.system.stages import check_settings, keys_of, setting, values_of
from regiontree.tree import RegionTree

__all__ = [
    "MASKS",
    "MAX_BYTES",
    "NO_MEANING",
    "OUTPUT_MODES",
    "ChosenMasks",
    "MaskOptions",
    "check_memory",
    "checked_mode",
    "chosen_masks",
    "mask_options",
    "mask_records",
    "to_sam",
]

OUTPUT_MODES = ("binary_mask", "uncompressed_rle", "coco_rle")
"""Forms of ``segmentation``, named as in SAM."""
MASKS = 100
"""Number of masks, if nothing else chooses them."""
MAX_BYTES = 4 * 2**30
"""Most memory that binary masks may take together, if nothing else is said."""

_POINTS = "a tree has no grid of points; choose how many with masks=, n_regions= or all_nodes=True"
_BATCH = "the network runs once an image, so there are no batches of points; leave it out"
_CROPS = (
    "there are no crops; for large photographs take tiles, as "
    "AutomaticMaskGenerator(RegionParser(tiles=1036))"
)
_LOGITS = (
    "masks of a tree have no logits to threshold; stability_score_thresh compares with the "
    "stability of the node"
)
NO_MEANING: Mapping[str, str] = {
    "points_per_side": _POINTS,
    "points_per_batch": _BATCH,
    "points_per_crop": _POINTS,
    "point_grids": _POINTS,
    "stability_score_offset": _LOGITS,
    "mask_threshold": _LOGITS,
    "crop_n_layers": _CROPS,
    "crops_n_layers": _CROPS,
    "crop_nms_thresh": f"{_CROPS}; box_nms_thresh drops masks with similar boxes",
    "crops_nms_thresh": f"{_CROPS}; box_nms_thresh drops masks with similar boxes",
    "crop_overlap_ratio": _CROPS,
    "crop_n_points_downscale_factor": _CROPS,
    "use_m2m": "masks are not predicted from masks; leave it out",
    "multimask_output": "every level of the tree is there; choose with depth= or all_nodes=True",
    "max_hole_area": "use min_mask_region_area, which fills holes and drops specks",
    "max_sprinkle_area": "use min_mask_region_area, which fills holes and drops specks",
}
"""Arguments of SAM's generators that mean nothing for a tree, and what to use."""


@dataclass(frozen=True, slots=True)
class MaskOptions(ChoiceOptions):
    """Which nodes become masks, and what is done with them.

    Without any choice, they are the first :data:`MASKS` of
    :func:`~regiontree.export.quality.ranked_nodes`.

    Attributes
    ----------
    n_regions, height, depth, contrast
        The regions of a cut; see :meth:`RegionTree.cut`.
    all_nodes
        With a cut: also the nodes above it, except the root. Without: all nodes except the root.
    salient
        So many nodes, the most salient first; see :meth:`RegionTree.salient`.
    masks
        At most so many of the chosen nodes: the first of the ranking.
    pred_iou_thresh, stability_score_thresh
        Masks with a lower value are left out, 0 to 1.
    box_nms_thresh
        Of two masks whose boxes have a larger IoU, the one with the higher predicted IoU stays.
        None keeps both: a node and its largest child often have nearly the same box.
    min_mask_region_area
        Holes of fewer pixels are filled, and pieces of fewer pixels are left out of the mask. The
        largest piece always stays. 0: masks are exactly their nodes.
    """

    masks: int | None = setting(
        None, "At most this number of masks, the first of the ranking.",
        low=1, high=float("inf"), whole=True, none="100, or all of a cut",
    )  # fmt: skip
    pred_iou_thresh: float = setting(0.0, "Least predicted IoU of a mask.", low=0, high=1)
    stability_score_thresh: float = setting(0.0, "Least stability of a mask.", low=0, high=1)
    box_nms_thresh: float | None = setting(
        None, "Most IoU of the boxes of two masks.", low=0, high=1, none="any"
    )
    min_mask_region_area: int = setting(
        0, "Least pixels of a piece or a hole of a mask.", low=0, high=float("inf"), whole=True
    )

    @property
    def chooses(self) -> bool:
        """Whether a cut, salient nodes or all nodes are asked for."""
        criteria = (self.n_regions, self.height, self.depth, self.contrast, self.salient)
        return self.all_nodes or criteria != (None,) * 5


def mask_options(given: Mapping[str, Any]) -> MaskOptions:
    """Options by name, after checks.

    Raises
    ------
    SettingsError
        An option is unknown or out of range, or it is an argument of SAM that means nothing here.
        The message then says what to use.
    """
    known = keys_of(MaskOptions)
    for name in given:
        if name in NO_MEANING:
            raise SettingsError(f"{name} has no meaning for a region tree: {NO_MEANING[name]}")
        if name not in known:
            names = [*known, "output_mode", "pieces", "max_bytes"]
            raise SettingsError(
                f"unknown option {name!r}{nearest_name(name, names) or '.'} There are "
                f"{', '.join(names)}; settings of the tree are those of its RegionParser"
            )
    options = MaskOptions(**given)
    check_settings(options)
    return options


@dataclass(frozen=True, eq=False)
class ChosenMasks:
    """Masks of a tree, the one with the highest predicted IoU first.

    Attributes
    ----------
    nodes : list of int
        K node numbers.
    runs : MaskRuns
        Their pixels.
    predicted_iou : (K,) float64
    stability : (K,) float64 or None
    parent : list of int or None
        The node of the smallest chosen mask that holds each.
    depth : list of int
    """

    nodes: list[int]
    runs: MaskRuns
    predicted_iou: NDArray[np.float64]
    stability: NDArray[np.float64] | None
    parent: list[int | None]
    depth: list[int]

    def __len__(self) -> int:
        return len(self.nodes)


def chosen_masks(tree: RegionTree, options: MaskOptions) -> ChosenMasks:
    """The masks that options choose.

    Raises
    ------
    ExportError
        `salient` together with a cut or all nodes.
    TreeError
        A cut with two criteria or a wrong value; or a threshold of stability, and the tree has
        none.
    """
    predicted = predicted_iou(tree)
    nodes = np.array(_candidates(tree, options), dtype=np.int64)
    likely = nodes[predicted[nodes] >= options.pred_iou_thresh]
    if len(nodes) and not len(likely):
        warnings.warn(
            f"no mask has a predicted IoU of {options.pred_iou_thresh:g}: thresholds for SAM are "
            "too high here, where most values are below 0.5; start with pred_iou_thresh=0",
            stacklevel=2,
        )
    nodes = likely
    if options.stability_score_thresh > 0:
        if tree.stability is None:
            raise ExportError(
                "stability_score_thresh: the tree has no stability; make it again with the setting "
                "stability above 0, or leave stability_score_thresh out"
            )
        steady = tree.stability[nodes].astype(np.float64)  # else the threshold is rounded, too
        nodes = nodes[steady >= options.stability_score_thresh]
    nodes = nodes[np.lexsort((nodes, -tree.area[nodes], -predicted[nodes]))]
    runs = runs_of_nodes(tree, nodes.tolist())
    if options.min_mask_region_area > 0:
        runs = without_specks(runs, options.min_mask_region_area)
    if options.box_nms_thresh is not None:
        kept = _with_distinct_boxes(runs.boxes, float(options.box_nms_thresh))
        nodes, runs = nodes[kept], runs.only(kept)
    around = nodes_around(tree, nodes.tolist())
    stability = None if tree.stability is None else tree.stability[nodes].astype(np.float64)
    return ChosenMasks(
        nodes.tolist(), runs, predicted[nodes], stability,
        [None if around[node] < 0 else around[node] for node in nodes.tolist()],
        tree.level[nodes].tolist(),
    )  # fmt: skip


def checked_mode(output_mode: Any) -> str:
    """The form of masks, after a check.

    Raises
    ------
    SettingsError
        There is no such form.
    MissingExtraError
        It needs pycocotools, and that is not installed.
    """
    if output_mode not in OUTPUT_MODES:
        raise SettingsError(f"output_mode must be one of {OUTPUT_MODES}, got {output_mode!r}")
    if output_mode == "coco_rle":
        coco_masks()
    return str(output_mode)


def check_memory(count: int, shape: tuple[int, int], max_bytes: Any, instead: str) -> None:
    """Refuse binary masks that would take more memory than is allowed.

    Raises
    ------
    ExportError
        They would; the message ends with `instead`.
    """
    limit = check_number("max_bytes", max_bytes, 1, float("inf"))
    needed = count * shape[0] * shape[1]
    if needed > limit:
        raise ExportError(
            f"{count} binary masks of {shape[0]} x {shape[1]} pixels take {needed / 1e9:.1f} GB, "
            f"and max_bytes allows {limit / 1e9:.1f} GB; {instead}"
        )


def mask_records(chosen: ChosenMasks, output_mode: str) -> Iterator[dict[str, Any]]:
    """The record of each mask, one at a time; see the module."""
    runs = chosen.runs
    height, width = runs.shape
    area, boxes, inside = runs.area.tolist(), runs.boxes.tolist(), runs.inside.tolist()
    library = coco_masks() if output_mode == "coco_rle" else None
    steady = chosen.stability
    for number, node in enumerate(chosen.nodes):
        x, y, across, down = boxes[number]
        segmentation: Any
        if output_mode == "binary_mask":
            segmentation = runs.mask(number)
        else:
            segmentation = {"size": [height, width], "counts": runs.counts(number)}
            if library is None:
                segmentation["counts"] = segmentation["counts"].tolist()
            else:
                segmentation = library.frPyObjects(segmentation, height, width)
                segmentation["counts"] = segmentation["counts"].decode("ascii")
        yield {
            "segmentation": segmentation,
            "area": area[number],
            "bbox": [x, y, across - 1, down - 1],
            "predicted_iou": float(chosen.predicted_iou[number]),
            "point_coords": [inside[number]],
            "stability_score": None if steady is None else float(steady[number]),
            "crop_box": [0, 0, width, height],
            "node": node,
            "parent": chosen.parent[number],
            "depth": chosen.depth[number],
        }


def to_sam(
    tree: RegionTree,
    *,
    output_mode: str = "binary_mask",
    max_bytes: float = MAX_BYTES,
    **options: Any,
) -> list[dict[str, Any]]:
    """Masks of a tree in the form of SAM's automatic mask generator.

    Parameters
    ----------
    output_mode
        Form of the masks: ``binary_mask``, ``uncompressed_rle`` or ``coco_rle``.
    max_bytes
        Most memory that binary masks may take together.
    **options
        Of :class:`MaskOptions`: which nodes, and thresholds. Without any, the 100 nodes most likely
        to be things or parts.

    Returns
    -------
    list of dict
        See :mod:`regiontree.export.sam`.

    Raises
    ------
    SettingsError
        An option is unknown or out of range, or an argument of SAM without meaning here.
    ExportError
        Binary masks would take more memory than allowed, or options contradict each other.
    MissingExtraError
        ``coco_rle``, and pycocotools is not installed.

    Examples
    --------
    >>> tree = RegionTree([[0, 0, 1], [2, 2, 2]], [3, 3, 4, 4, 4], [0, 0, 0, .5, 1])
    >>> first = to_sam(tree, output_mode="uncompressed_rle")[0]
    >>> first["node"], first["segmentation"], first["bbox"], first["point_coords"]
    (2, {'size': [2, 3], 'counts': [1, 1, 1, 1, 1, 1]}, [0, 1, 2, 0], [[0, 1]])
    """
    mode = checked_mode(output_mode)
    chosen = chosen_masks(tree, mask_options(options))
    if mode == "binary_mask":
        check_memory(
            len(chosen), tree.shape, max_bytes, "take output_mode='coco_rle', fewer masks, or a "
            "larger max_bytes"
        )  # fmt: skip
    return list(mask_records(chosen, mode))


def _candidates(tree: RegionTree, options: MaskOptions) -> list[int]:
    """The nodes that are chosen before thresholds."""
    if not options.chooses:
        return ranked_nodes(tree)[: options.masks or MASKS]
    choice = {name: values_of(options)[name] for name in keys_of(ChoiceOptions)}
    nodes = chosen_nodes(tree, **choice)
    if options.masks is None:
        return nodes
    place = {node: number for number, node in enumerate(ranked_nodes(tree))}
    return sorted(nodes, key=lambda node: place.get(node, len(place)))[: options.masks]


def _distinct_of_numpy(boxes: NDArray[np.int64], most: float) -> NDArray[np.int64]:
    """What :func:`_with_distinct_boxes` gives."""
    x, y, width, height = boxes.T
    waiting, kept = np.arange(len(boxes)), []
    while len(waiting):
        first, waiting = waiting[0], waiting[1:]
        kept.append(first)
        across = np.minimum(x[first] + width[first], x[waiting] + width[waiting])
        across -= np.maximum(x[first], x[waiting])
        down = np.minimum(y[first] + height[first], y[waiting] + height[waiting])
        down -= np.maximum(y[first], y[waiting])
        both = np.maximum(across, 0) * np.maximum(down, 0)
        whole = width[first] * height[first] + width[waiting] * height[waiting] - both
        waiting = waiting[both <= most * whole]
    return np.array(kept, dtype=np.int64)


@jit(instead=_distinct_of_numpy)
def _with_distinct_boxes(boxes: NDArray[np.int64], most: float) -> NDArray[np.int64]:
    """The boxes that stay if each drops all later ones whose IoU with it is above a limit."""
    stays = np.ones(len(boxes), np.bool_)
    for first in range(len(boxes)):
        if not stays[first]:
            continue
        x, y, width, height = boxes[first]
        for other in range(first + 1, len(boxes)):
            across = min(x + width, boxes[other, 0] + boxes[other, 2]) - max(x, boxes[other, 0])
            down = min(y + height, boxes[other, 1] + boxes[other, 3]) - max(y, boxes[other, 1])
            if across <= 0 or down <= 0:
                continue
            both = across * down
            if both > most * (width * height + boxes[other, 2] * boxes[other, 3] - both):
                stays[other] = False
    return np.flatnonzero(stays)
