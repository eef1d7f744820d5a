"""supervision: masks of a tree as ``supervision.Detections``, for its annotators and filters.

``confidence`` is the predicted IoU (:mod:`regiontree.export.quality`). A region has no class, so
``class_id`` is None. Annotators then need ``color_lookup=sv.ColorLookup.INDEX``. ``data`` has one
array for each of ``node``, ``parent`` (-1 for none), ``depth``, ``height`` and ``stability`` (NaN
if the tree has none), so that ``detections[detections.data["depth"] == 1]`` works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from regiontree.errors import MissingExtraError
from regiontree.export.sam import MAX_BYTES, ChosenMasks, check_memory, chosen_masks, mask_options
from regiontree.system.extras import optional
from regiontree.tree import RegionTree

if TYPE_CHECKING:
    from supervision import Detections

__all__ = ["to_supervision"]


def to_supervision(
    tree: RegionTree, *, compact: bool = False, max_bytes: float = MAX_BYTES, **options: Any
) -> Detections:
    """Masks of a tree as ``supervision.Detections``.

    Parameters
    ----------
    compact
        Whether masks are kept as a ``supervision.CompactMask``, which needs little memory for
        thousands of masks. It needs supervision 0.30.
    max_bytes
        Most memory that masks may take together, if they are not compact.
    **options
        Of :class:`~regiontree.export.sam.MaskOptions`: which nodes, and thresholds. Without any,
        the 100 nodes most likely to be things or parts.

    Returns
    -------
    supervision.Detections
        The one with the highest predicted IoU comes first. Boxes are those of ``mask_to_xyxy``: the
        last row and column belong to the mask.

    Raises
    ------
    MissingExtraError
        supervision is not installed or is too old.
    SettingsError
        An option is unknown or out of range.
    ExportError
        The masks would take more memory than allowed, or options contradict each other.
    """
    library = _supervision(compact)
    chosen = chosen_masks(tree, mask_options(options))
    x, y, width, height = chosen.runs.boxes.T
    boxes = np.stack([x, y, x + width - 1, y + height - 1], axis=1).astype(np.float64)
    nodes = np.array(chosen.nodes, dtype=np.int64)
    stability = chosen.stability
    if not compact:
        check_memory(
            len(chosen), tree.shape, max_bytes, "take compact=True, fewer masks, or a larger "
            "max_bytes"
        )  # fmt: skip
    found: Detections = library.Detections(
        xyxy=boxes,
        mask=_compact(chosen, boxes, library) if compact else _dense(chosen),
        confidence=chosen.predicted_iou,
        data={
            "node": nodes,
            "parent": np.array(
                [-1 if one is None else one for one in chosen.parent], dtype=np.int64
            ),
            "depth": np.array(chosen.depth, dtype=np.int64),
            "height": tree.height[nodes].astype(np.float64),
            "stability": np.full(len(nodes), np.nan) if stability is None else stability,
        },
    )
    return found


def _dense(chosen: ChosenMasks) -> Any:
    """All masks, (K, H, W) bool."""
    masks = np.empty((len(chosen), *chosen.runs.shape), bool)
    for number, mask in enumerate(chosen.runs.masks()):
        masks[number] = mask
    return masks


def _compact(chosen: ChosenMasks, boxes: Any, library: Any) -> Any:
    """All masks as a ``supervision.CompactMask``."""
    size = list(chosen.runs.shape)
    codes = [{"size": size, "counts": chosen.runs.counts(n).tolist()} for n in range(len(chosen))]
    return library.CompactMask.from_coco_rle(codes, boxes, chosen.runs.shape)


def _supervision(compact: bool) -> Any:
    """The library, after a check that it has what is needed."""
    supervision = optional("supervision", "supervision", "to_supervision() needs")
    if compact and not hasattr(getattr(supervision, "CompactMask", None), "from_coco_rle"):
        version = getattr(supervision, "__version__", "an older one")
        raise MissingExtraError(
            f"compact needs supervision 0.30 or later, and {version} is installed: "
            "pip install -U 'regiontree[supervision]'"
        )
    return supervision
