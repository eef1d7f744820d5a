"""Backbones by name: which family a name belongs to, and what loads it.

A name is ``kind`` or ``kind:argument``, as ``embedded`` and ``onnx:network.onnx``. The kind is the
name of a family in :data:`FAMILIES`. A name of no family stands for weights that the library
transformers knows: a name of :mod:`.catalog`, a repository ``owner/model``, a folder or a file.

Another package adds a family by one file and one line. The file has a function as described at
:class:`Family`; the line is an entry point of the group ``regiontree.backbones``, which names it.
``precomputed`` runs no network and never comes here.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol, cast

import torch

from regiontree.backbones.base import Backbone, FeatureSpec
from regiontree.backbones.catalog import CATALOG
from regiontree.backbones.own import OwnModel
from regiontree.errors import BackboneError, RegionTreeError
from regiontree.system.faults import attempt, fault_text
from regiontree.system.registry import Registry, load_address

__all__ = ["FAMILIES", "Family", "is_of_a_family", "load_backbone"]


class Family(Protocol):
    """What loads the backbones of one family: a function, or a class with these arguments."""

    def __call__(
        self, argument: str, device: torch.device, dtype: torch.dtype, spec: FeatureSpec
    ) -> Backbone:
        """The backbone, ready to run.

        Parameters
        ----------
        argument
            What the user wrote after the colon; empty if there is no colon.
        device, dtype
            Where the user wants it to run, and in which precision. A backbone that cannot follow
            says in its own `device` and `dtype` what it does instead.
        spec
            Which features the user wants of each patch.

        Raises
        ------
        RegionTreeError
            There is no such backbone, or it has not what `spec` asks for. The message says what
            to do.
        """
        ...


_OWN: dict[str, str | Family] = {
    "embedded": "regiontree.backbones.embedded:load_embedded",
    "onnx": "regiontree.backbones.onnxfile:load_onnx",
}
_PRETRAINED = "regiontree.backbones.pretrained:load_pretrained"

FAMILIES: Registry[Family] = Registry(
    "backbone", _OWN, group="regiontree.backbones", error=BackboneError
)
"""Backbone families by name, those of other packages among them."""


def is_of_a_family(name: str) -> bool:
    """Whether the name begins with a registered kind. A name of the catalogue never does."""
    kind = name.partition(":")[0]
    return kind in FAMILIES and kind not in CATALOG


def load_backbone(
    name: str, device: torch.device, dtype: torch.dtype, spec: FeatureSpec | None = None
) -> Backbone:
    """The backbone of that name, ready to run.

    Raises
    ------
    BackboneError
        There is no such name, and the message suggests the nearest; or the weights cannot be had.
    """
    spec = spec or FeatureSpec()
    if not is_of_a_family(name):
        return cast(Family, load_address(_PRETRAINED))(name, device, dtype, spec)
    kind, _, argument = name.partition(":")
    family = FAMILIES.get(kind)
    if kind in _OWN:
        return family(argument, device, dtype, spec)
    found = attempt(partial(family, argument, device, dtype, spec))
    if isinstance(found, RegionTreeError):
        raise found
    if isinstance(found, Exception):  # another package may raise anything
        raise BackboneError(
            f"cannot be loaded: {fault_text(found, f'backbone {name!r}')}"
        ) from found
    return OwnModel(found)
