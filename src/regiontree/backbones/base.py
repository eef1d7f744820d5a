"""What a backbone is to the rest of the package, and where and how precisely it runs."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from regiontree.errors import BackboneError

__all__ = ["DTYPES", "Backbone", "pick_device", "pick_dtype"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@runtime_checkable
class Backbone(Protocol):
    """A frozen network that turns pixels into one feature per patch.

    Attributes
    ----------
    name : str
    digest : str
        sha256 of the weights, so that a tree says what made it.
    patch : int
        Side of a patch in pixels.
    dim : int
        Length of a feature.
    device, dtype
        Where it runs and in which precision.
    """

    name: str
    digest: str
    patch: int
    dim: int
    device: torch.device
    dtype: torch.dtype

    def features(self, pixels: Tensor) -> Tensor:
        """(B, 3, h * patch, w * patch) in [0, 1] -> (B, h, w, dim) float32 on `device`."""
        ...


def pick_device(name: str | torch.device) -> torch.device:
    """``auto`` is CUDA, else Apple's MPS, else the CPU; any other name must be there.

    Raises
    ------
    BackboneError
        No such device on this machine.
    """
    if str(name) == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise BackboneError(
            f"device {name!r} is unknown; use auto, cpu, cuda, cuda:N or mps"
        ) from None
    there = {
        "cpu": True,
        "cuda": (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(device.type, False):
        found = torch.cuda.device_count()
        raise BackboneError(
            f"device {str(name)!r} is not on this machine ({found} CUDA devices found); "
            "use --device cpu or auto"
        )
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """Precision of the forward pass.

    ``name`` is auto, float32, bfloat16 or float16. ``auto`` is float16 on CUDA, bfloat16 on CPUs
    that multiply it natively (measured 1.2 times as fast as float32, mean cosine of features above
    0.999: benchmarks/forward.py), else float32.
    """
    if name == "auto":
        if device.type == "cuda":
            return torch.float16
        if device.type == "cpu" and _cpu_has_bfloat16():
            return torch.bfloat16
        return torch.float32
    return DTYPES[name]


def _cpu_has_bfloat16() -> bool:
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
