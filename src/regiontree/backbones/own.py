"""A backbone made from the user's own model, whose attributes and features are checked."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from regiontree.backbones.base import DTYPES, pick_device
from regiontree.errors import BackboneError, SettingsError, plain_value

__all__ = ["OwnModel"]


class OwnModel:
    """The user's own model as a :class:`~regiontree.backbones.base.Backbone`, checked.

    Parameters
    ----------
    model
        Any object with the attributes and the method ``features`` of a ``Backbone``. If it has an
        attribute ``descriptor_dim``, a whole number from 0 to ``dim``, trees get descriptors: see
        :mod:`regiontree.backbones.descriptors`.

    Raises
    ------
    BackboneError
        The model lacks an attribute or the method ``features``, an attribute has the wrong type or
        value, or the name is reserved.

    Examples
    --------
    A model whose features are the mean colours of patches:

    >>> import numpy as np
    >>> from regiontree import RegionParser
    >>> class Colours:
    ...     name, digest, patch, dim = "colours", "1", 8, 3
    ...     device, dtype = torch.device("cpu"), torch.float32
    ...     def features(self, pixels):
    ...         return torch.nn.functional.avg_pool2d(pixels, 8).permute(0, 2, 3, 1)
    >>> photo = np.full((64, 96, 3), 90, np.uint8)
    >>> photo[:, 48:] = 200, 20, 30
    >>> tree = RegionParser(backbone=Colours(), size=96, views=1).parse(photo)
    >>> tree.cut(n_regions=2)[0, 47:49].tolist()
    [0, 1]
    """

    name: str
    digest: str
    patch: int
    dim: int
    descriptor_dim: int
    device: torch.device
    dtype: torch.dtype

    def __init__(self, model: Any) -> None:
        kind = type(model).__name__
        parts = {
            "name": (str, "text"),
            "digest": (str, "text"),
            "patch": (int, "a whole number of pixels"),
            "dim": (int, "a whole number"),
            "device": (torch.device, "a torch.device"),
            "dtype": (torch.dtype, f"one of {', '.join(f'torch.{name}' for name in DTYPES)}"),
        }
        for part, (wanted, said) in parts.items():
            if not hasattr(model, part):
                raise BackboneError(
                    f"backbone {kind} has no attribute {part!r}; it needs {', '.join(parts)} and a "
                    "method features()"
                )
            value = plain_value(getattr(model, part))
            right = isinstance(value, wanted) and not isinstance(value, bool)
            if wanted is int and right:
                right = value >= 1
            if not right or (part == "dtype" and value not in DTYPES.values()):
                raise BackboneError(f"backbone {kind}: {part} must be {said}, got {value!r}")
            setattr(self, part, value)
        self.descriptor_dim = plain_value(getattr(model, "descriptor_dim", 0))
        is_number = type(self.descriptor_dim) is int
        if not is_number or not 0 <= self.descriptor_dim <= self.dim:
            raise BackboneError(
                f"backbone {kind}: descriptor_dim must be a whole number from 0 to dim "
                f"({self.dim}), got {self.descriptor_dim!r}"
            )
        if not callable(getattr(model, "features", None)):
            raise BackboneError(f"backbone {kind} has no method features(pixels)")
        if not model.name or model.name.partition(":")[0] == "precomputed":
            raise BackboneError(
                f"backbone {kind}: name must not be empty, 'precomputed' or 'precomputed:...', got "
                f"{model.name!r}; choose another"
            )
        self.model = model

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """Features (B, h, w, dim), float32 on `device`, of pixels (B, 3, h * patch, w * patch).

        Pixels are floats in [0, 1].

        Raises
        ------
        BackboneError
            The model did not return a floating-point tensor of shape (B, h, w, dim).
        """
        images, _, height, width = pixels.shape
        expected = images, height // self.patch, width // self.patch, self.dim
        found: object = self.model.features(pixels)
        if (
            not isinstance(found, Tensor)
            or found.shape != expected
            or not found.is_floating_point()
        ):
            got = type(found).__name__
            if isinstance(found, Tensor):
                got = f"{tuple(found.shape)} of {found.dtype}"
            raise BackboneError(
                f"backbone {self.name!r}: features() of pixels {tuple(pixels.shape)} must be a "
                f"tensor {expected} of floats, got {got}"
            )
        return found.to(self.device, torch.float32)

    def check_device(self, device: str | torch.device) -> None:
        """Check that the model is on the device that the user names; ``auto`` is always accepted.

        Raises
        ------
        SettingsError
            The model is on another device.
        BackboneError
            The machine does not have the named device.
        """
        if str(device) == "auto":
            return
        asked = pick_device(device)
        if (asked.type, asked.index or 0) != (self.device.type, self.device.index or 0):
            raise SettingsError(
                f"device {device!r} is not that of backbone {self.name!r}, which is on "
                f"{self.device}; move the model, and leave device out"
            )
