"""A backbone whose network is compiled by torch, to run faster."""

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
    """A copy of the backbone with its network compiled, for images of any size.

    The given backbone does not change. The first image takes a minute or more, because torch
    compiles the network then. Features differ by rounding from those of the uncompiled network. If
    the compiler fails, the network runs uncompiled, and one RuntimeWarning says so.

    In a model of the user's own, torch compiles calls of the module ``model`` itself. Calls of the
    module's other methods run uncompiled.

    Raises
    ------
    SettingsError
        The backbone has no attribute ``model`` that is a torch module.
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
    """A network that runs compiled, or uncompiled once the compiler has failed."""

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
        # The compiler raises RuntimeErrors, and so may the network. An error of the network comes
        # again in the uncompiled call below.
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            found = self.network(*inputs, **named)
            said = str(error).strip().partition("\n")[0]
        self._failed = True
        warnings.warn(
            f"the network cannot be compiled here and runs uncompiled ({said})",
            RuntimeWarning,
            stacklevel=2,
        )
        return found
