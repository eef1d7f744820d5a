"""Features of a batch of images, computed in smaller batches when memory runs out."""

from __future__ import annotations

import torch
from torch import Tensor

from regiontree.backbones.base import Backbone
from regiontree.errors import BackboneError

__all__ = ["is_out_of_memory", "run_batch"]


def run_batch(
    backbone: Backbone, pixels: Tensor, limits: dict[tuple[int, int], int] | None = None
) -> Tensor:
    """Features of a batch of images, computed in as many runs as the memory requires.

    Parameters
    ----------
    backbone
        The network to run.
    pixels
        (B, 3, h * patch, w * patch), floats in [0, 1].
    limits
        The largest number of images in one run, by (height, width) in pixels. The function halves
        a number whenever memory runs out. Pass the same dictionary again to remember the limits.

    Returns
    -------
    (B, h, w, dim) float32 on the backbone's device, contiguous: sums over them then have one order.

    Raises
    ------
    BackboneError
        Not even one image fits in memory. The message says which options need less.
    """
    limits = {} if limits is None else limits
    height, width = pixels.shape[2:]
    found: list[Tensor] = []
    waiting = pixels
    while len(waiting):
        count = min(len(waiting), limits.get((height, width), len(waiting)))
        features = _run_or_none(backbone, waiting[:count])
        if features is not None:
            found.append(features)
            waiting = waiting[count:]
        elif count > 1:
            limits[height, width] = count // 2
        else:
            raise BackboneError(
                f"{backbone.name}: an image of {height}x{width} pixels does not fit in the memory "
                f"of {backbone.device}; use a smaller size (--size), tiles (--tiles) or half "
                "precision (--dtype bfloat16)"
            )
    return (found[0] if len(found) == 1 else torch.cat(found)).contiguous()


def _run_or_none(backbone: Backbone, pixels: Tensor) -> Tensor | None:
    """Features, or None if memory ran out; the memory of a failed run is free on return."""
    try:
        return backbone.features(pixels)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    if backbone.device.type == "cuda":
        torch.cuda.empty_cache()
    return None


def is_out_of_memory(error: Exception) -> bool:
    """True if `error` says that memory ran out.

    On CPUs and Apple's MPS torch raises a plain RuntimeError, so only its message tells.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(said in str(error) for said in ("can't allocate memory", "out of memory"))
