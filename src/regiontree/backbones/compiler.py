"""A backbone whose network torch's compiler makes faster."""

from __future__ import annotations

import copy
import warnings
from typing import Any, cast

import torch
from torch import nn

from regiontree.backbones.base import Backbone
from regiontree.backbones.own import OwnModel
from regiontree.backbones.run import is_out_of_memory
from regiontree.errors import SettingsError

__all__ = ["compiled"]


def compiled(backbone: Backbone) -> Backbone:
    """The backbone with its network compiled, for images of any size; itself stays as it is.

    The first image then takes a minute or more, and features differ by rounding. If the compiler
    fails, the network runs as it is, and a warning says so once. Of a model of your own, the calls
    of its module ``model`` itself are compiled, not those of its methods.

    Raises
    ------
    SettingsError
        It has no network that torch could compile.
    """
    own: Any = backbone.model if isinstance(backbone, OwnModel) else backbone
    network = getattr(own, "model", None)
    if not isinstance(network, nn.Module):
        raise SettingsError(
            f"backbone {backbone.name!r} has no torch module as its attribute 'model' to compile; "
            "leave compile out"
        )
    own = copy.copy(own)
    own.model = _Compiled(network)
    return OwnModel(own) if isinstance(backbone, OwnModel) else cast(Backbone, own)


class _Compiled(nn.Module):
    """A network that is compiled as long as that works."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._fast: Any = None
        self._failed = False

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("network"), name)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        if self._failed:
            return self.network(*inputs, **named)
        try:
            if self._fast is None:
                self._fast = torch.compile(self.network, dynamic=True)
            return self._fast(*inputs, **named)
        except RuntimeError as error:  # the compiler's errors are, and so are the network's own
            if is_out_of_memory(error):
                raise
            found = self.network(*inputs, **named)
            said = str(error).strip().partition("\n")[0]
        self._failed = True
        warnings.warn(
            f"the network cannot be compiled here and runs as it is ({said})",
            RuntimeWarning,
            stacklevel=2,
        )
        return found
