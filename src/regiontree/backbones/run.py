"""A network on a batch of images, in smaller batches when memory runs out."""

from __future__ import annotations

import torch
from torch import Tensor

from regiontree.backbones.base import Backbone
from regiontree.errors import BackboneError

__all__ = ["is_out_of_memory", "run_batch"]


def run_batch(
    backbone: Backbone, pixels: Tensor, limits: dict[tuple[int, int], int] | None = None
) -> Tensor:
    """Features of a batch, in as many runs as memory asks for.

    Parameters
    ----------
    pixels
        (B, 3, h * patch, w * patch) in [0, 1].
    limits
        How many images of (height, width) go at once, remembered from call to call: halved here
        whenever memory runs out.

    Returns
    -------
    (B, h, w, dim) float32 on the backbone's device.

    Raises
    ------
    BackboneError
        Not even one image fits; the message says what takes less.
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
    return found[0] if len(found) == 1 else torch.cat(found)


def _run_or_none(backbone: Backbone, pixels: Tensor) -> Tensor | None:
    """Features, or None if memory ran out. What had been taken is free again on return."""
    try:
        return backbone.features(pixels)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    if backbone.device.type == "cuda":
        torch.cuda.empty_cache()
    return None


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: on CPUs and Apple's MPS only the message of torch's error says so."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(said in str(error) for said in ("can't allocate memory", "out of memory"))
