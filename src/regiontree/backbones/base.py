"""What a backbone is to the rest of the package, and where and how precisely it runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import index
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor

from regiontree.errors import BackboneError, SettingsError
from regiontree.system.stages import check_settings, setting

__all__ = ["DTYPES", "Backbone", "FeatureSpec", "pick_device", "pick_dtype"]

Facet = Literal["auto", "token", "key", "query", "value"]
Positions = Literal["upstream", "published"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""The precisions that a network can compute in, by name."""


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


def _layers(value: Any) -> tuple[int, ...]:
    """Numbers of blocks: one, several, or written with commas."""
    try:
        given = value.split(",") if isinstance(value, str) else value
        if isinstance(given, int):
            given = [given]
        layers = tuple(int(layer) if isinstance(layer, str) else index(layer) for layer in given)
    except (TypeError, ValueError):
        raise SettingsError(
            f"layers must be numbers of blocks like -1 or 9,12, got {value!r}"
        ) from None
    if not layers or 0 in layers:
        raise SettingsError(
            f"layers must be numbers of blocks, 1 the first and -1 the last, got {layers}"
        )
    return layers


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """Which of a network's many features are a patch's feature.

    Attributes
    ----------
    layers : tuple of int or None
        Blocks whose output is taken, 1 the first, -1 the last; several are each scaled to unit
        length and concatenated. None: the last.
    facet : {"token", "key", "query", "value", "auto"}
        The block's output after the network's final norm, or what its attention makes of its input.
        auto: the values, which follow regions best (docs/decisions.md), of networks that have
        attention, else the tokens.
    positions : {"upstream", "published"}
        How position embeddings are brought to another grid: as the network's own library does, or
        as the published code does. They are the same on the grid that the network was trained on.
    """

    layers: tuple[int, ...] | None = setting(
        None,
        "Blocks whose output is taken: 1 is the first, -1 the last, several are joined.",
        form="numbers of blocks, like 9,12",
        parse=_layers,
        none="the last",
    )
    facet: Facet = setting(
        "auto",
        "token: the block's output; key, query, value: what its attention makes of its input; "
        "auto: value of networks with attention, else token.",
        choices=get_args(Facet),
    )
    positions: Positions = setting(
        "upstream",
        "How position embeddings reach another grid: as the network's own library does, or as the "
        "published code does.",
        choices=get_args(Positions),
    )

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def is_usual(self) -> bool:
        """Whether it asks for nothing in particular."""
        return self.facet in ("auto", "token") and replace(self, facet="auto") == FeatureSpec()

    def facet_of(self, *, attention: bool) -> str:
        """The facet, of a network with attention or without."""
        if self.facet == "auto":
            return "value" if attention else "token"
        return self.facet

    def blocks(self, depth: int) -> list[int]:
        """The layers as indices from 0 into a network of that many blocks.

        Raises
        ------
        SettingsError
            It has fewer.
        """
        found = [depth - 1] if self.layers is None else []
        for layer in self.layers or ():
            if not 1 <= abs(layer) <= depth:
                raise SettingsError(f"layer {layer} is none of the network's {depth}")
            found.append(layer - 1 if layer > 0 else depth + layer)
        return found


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
