"""The output of transformers' pipeline ``mask-generation``, from a tree.

A dict of ``masks`` (list of (H, W) bool tensors) and ``scores`` ((K,) float32, the predicted IoU,
never rising). On request ``rle_mask`` (list of COCO's run lengths, not compressed) and
``bounding_boxes`` ((K, 4) of x and y of the first and of the last pixel). ``nodes``, ``parents``
and ``depths`` come on top: lists, as in :mod:`regiontree.export.sam`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from regiontree.export.sam import MAX_BYTES, check_memory, chosen_masks, mask_options
from regiontree.tree import RegionTree

__all__ = ["to_mask_generation"]


def to_mask_generation(
    tree: RegionTree,
    *,
    output_rle_mask: bool = False,
    output_bboxes_mask: bool = False,
    max_bytes: float = MAX_BYTES,
    **options: Any,
) -> dict[str, Any]:
    """Masks of a tree in the form of transformers' pipeline ``mask-generation``.

    Parameters
    ----------
    output_rle_mask, output_bboxes_mask
        Whether run lengths and boxes are given, too.
    max_bytes
        Most memory that masks may take together.
    **options
        Of :class:`~regiontree.export.sam.MaskOptions`.

    Raises
    ------
    SettingsError
        An option is unknown or out of range, or an argument of SAM without meaning here.
    ExportError
        The masks would take more memory than allowed, or options contradict each other.

    Examples
    --------
    >>> tree = RegionTree([[0, 0, 1], [2, 2, 2]], [3, 3, 4, 4, 4], [0, 0, 0, .5, 1])
    >>> output = to_mask_generation(tree, output_bboxes_mask=True)
    >>> output["nodes"], output["bounding_boxes"].tolist()
    ([2, 3, 0, 1], [[0, 1, 2, 1], [0, 0, 2, 0], [0, 0, 1, 0], [2, 0, 2, 0]])
    >>> output["masks"][0]
    tensor([[False, False, False],
            [ True,  True,  True]])
    """
    import torch

    chosen = chosen_masks(tree, mask_options(options))
    check_memory(
        len(chosen), tree.shape, max_bytes, "take fewer masks, a larger max_bytes, or "
        "AutomaticMaskGenerator(output_mode='coco_rle')"
    )  # fmt: skip
    runs = chosen.runs
    output: dict[str, Any] = {
        "masks": [torch.from_numpy(mask) for mask in runs.masks()],
        "scores": torch.from_numpy(chosen.predicted_iou.astype(np.float32)),
    }
    if output_rle_mask:
        size = list(runs.shape)
        output["rle_mask"] = [
            {"size": size, "counts": runs.counts(number).tolist()} for number in range(len(chosen))
        ]
    if output_bboxes_mask:
        x, y, width, height = runs.boxes.T
        corners = np.stack([x, y, x + width - 1, y + height - 1], axis=1)
        output["bounding_boxes"] = torch.from_numpy(corners)
    return {**output, "nodes": chosen.nodes, "parents": chosen.parent, "depths": chosen.depth}
