"""The interface of a backbone, the choice of its features, and its device and precision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor

from regiontree.errors import BackboneError, SettingsError, plain_tuple, plain_value, whole_number
from regiontree.system.stages import check_settings, setting

__all__ = ["DTYPES", "RUNTIMES", "Backbone", "FeatureSpec", "pick_device", "pick_dtype"]

Facet = Literal["auto", "token", "key", "query", "value"]
Positions = Literal["upstream", "published"]
Descriptor = Literal["token", "none"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""The precisions that torch can compute in, by name."""
RUNTIMES = {"torch": tuple(DTYPES), "openvino": ("float32", "int8")}
"""What can run a network, with the precisions that it can compute in."""


@runtime_checkable
class Backbone(Protocol):
    """A frozen network that turns pixels into one feature per patch.

    Attributes
    ----------
    name : str
        Name of the network. Trees and feature files record it.
    digest : str
        sha256 of the weights. A tree records it, so that the tree says which weights made it.
    patch : int
        Side of a patch in pixels.
    dim : int
        Length of a feature.
    device : torch.device
        Device that the network runs on.
    dtype : torch.dtype
        Precision that the network computes in, one of the values of `DTYPES`; or torch.int8.

    A network may also have ``descriptor_dim``: see :mod:`regiontree.backbones.descriptors`.
    """

    name: str
    digest: str
    patch: int
    dim: int
    device: torch.device
    dtype: torch.dtype

    def features(self, pixels: Tensor) -> Tensor:
        """Features (B, h, w, dim), float32 on `device`, of pixels (B, 3, h * patch, w * patch).

        Pixels are floats in [0, 1].
        """
        ...


def _layers(value: Any) -> tuple[int, ...]:
    """Numbers of blocks, from one number, a sequence of numbers or text like ``9,12``."""
    try:
        given = value.split(",") if isinstance(value, str) else plain_tuple(value)
        if isinstance(given, int):
            given = [given]
        layers = tuple(
            int(layer) if isinstance(layer, str) else whole_number(layer) for layer in given
        )
    except (TypeError, ValueError):
        raise SettingsError(
            f"layers must be numbers of blocks like -1 or 9,12, got {value!r}"
        ) from None
    if not layers or 0 in layers:
        raise SettingsError(
            "layers must be numbers of blocks, where 1 is the first block and -1 is the last, got "
            f"{layers}"
        )
    return layers


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """The choice of the layers and the facet of a network that make up a patch's feature.

    Attributes
    ----------
    layers : tuple of int or None
        Blocks whose features are taken. 1 is the first block, -1 the last. Features of several
        blocks are each scaled to unit length and concatenated. None: the last block.
    facet : {"token", "key", "query", "value", "auto"}
        ``token``: the block's output after the network's final norm. ``key``, ``query``,
        ``value``: the keys, queries or values that the block's attention computes from the block's
        input. ``auto``: the values if the network has attention, else the tokens. The values
        follow regions best (docs/decisions.md).
    positions : {"upstream", "published"}
        How position embeddings are resampled to another grid. ``upstream``: as the network's own
        library does. ``published``: as the published code does. Both are the same on the grid that
        the network was trained on.
    descriptor : {"token", "none"}
        ``token``: the network also gives the tokens of its last block, after its final norm. Trees
        keep their mean over each leaf (:mod:`regiontree.backbones.descriptors`). `layers` and
        `facet` do not change them. ``none``: trees have no descriptors.

    Raises
    ------
    SettingsError
        A value is not one of those above.
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
    descriptor: Descriptor = setting(
        "token",
        "What a tree keeps of each leaf, to compare regions of different photographs. token: the "
        "mean of the last block's output, from the same pass of the network; none: nothing.",
        choices=get_args(Descriptor),
    )

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def is_usual(self) -> bool:
        """True if layers, facet and positions are at their defaults, or the facet is ``token``."""
        usual = replace(self, facet="auto", descriptor="token") == FeatureSpec()
        return usual and self.facet in ("auto", "token")

    def facet_of(self, *, attention: bool) -> str:
        """The facet to compute; ``auto`` becomes ``value`` with attention, else ``token``."""
        if self.facet == "auto":
            return "value" if attention else "token"
        return self.facet

    def needs_tokens(self, depth: int, *, attention: bool = True) -> bool:
        """Whether a network of `depth` blocks has to add its last tokens to the features.

        If the feature is the last block's token already, it serves as the descriptor, too.
        """
        is_feature = self.facet_of(attention=attention) == "token"
        is_last = self.blocks(depth) == [depth - 1]
        return self.descriptor == "token" and not (is_feature and is_last)

    def blocks(self, depth: int) -> list[int]:
        """Indices of the chosen layers, counted from 0, in a network of `depth` blocks.

        Raises
        ------
        SettingsError
            The network has fewer blocks than a layer's number.
        """
        found = [depth - 1] if self.layers is None else []
        for layer in self.layers or ():
            if not 1 <= abs(layer) <= depth:
                raise SettingsError(
                    f"layers names block {layer}, but the network has {depth} blocks; use 1 to "
                    f"{depth}, or -{depth} to -1"
                )
            found.append(layer - 1 if layer > 0 else depth + layer)
        return found


def pick_device(name: str | torch.device) -> torch.device:
    """The device of that name, or a device of torch, after a check that this machine has it.

    ``auto`` means CUDA, else Apple's MPS, else the CPU.

    Raises
    ------
    BackboneError
        The name is unknown, or this machine does not have the device.
    """
    if str(name) == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(plain_value(name))
    except (RuntimeError, TypeError):
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

    ``name`` is ``auto``, ``int8`` or a key of :data:`DTYPES`. ``auto`` means float16 on CUDA and
    float32 elsewhere. So every CPU computes in one precision, whether or not it multiplies
    bfloat16 natively, and trees agree between machines (docs/decisions.md).
    """
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    return torch.int8 if name == "int8" else DTYPES[name]
