"""A parser as JSON values, so that another process can make the same one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from regiontree.backbones.base import DTYPES, Backbone
from regiontree.backbones.descriptors import descriptor_dim
from regiontree.engines.link import Message
from regiontree.errors import BackboneError
from regiontree.parser import RegionParser
from regiontree.settings import Settings

__all__ = ["Absent", "network_facts", "parser_of", "parser_options"]


def parser_options(parser: RegionParser) -> Message:
    """What :func:`parser_of` needs to know. The network and the device do not count."""
    return {
        "settings": parser.settings.as_dict(),
        "max_pixels": parser.sight.max_pixels,
        **parser.sight.choice.as_dict(),
    }


def parser_of(
    options: Message, *, device: str = "cpu", own: Any = None, compile: bool = False
) -> RegionParser:
    """The parser that :func:`parser_options` wrote down.

    Parameters
    ----------
    options
        JSON values; other keys than those of :func:`parser_options` do not count.
    device
        Where the network runs.
    own
        The user's own model. None: the network of the settings.
    compile
        Whether the network is compiled.
    """
    return RegionParser(
        settings=Settings.make(**options["settings"]),
        backbone=own,
        device="auto" if own is not None else device,
        max_pixels=options["max_pixels"],
        bands=options.get("bands"),
        page=options.get("page"),
        compile=compile,
    )


def network_facts(network: Backbone) -> Message:
    """What :class:`Absent` needs to know of a network."""
    dtype = str(network.dtype).removeprefix("torch.")
    return {"name": network.name, "digest": network.digest, "patch": network.patch,
            "dim": network.dim, "descriptor_dim": descriptor_dim(network),
            "dtype": dtype}  # fmt: skip


class Absent:
    """The facts about a network that runs in another process, as a backbone on the CPU.

    Parameters
    ----------
    facts
        What :func:`network_facts` told.
    """

    def __init__(self, facts: Message) -> None:
        self.name: str = facts["name"]
        self.digest: str = facts["digest"]
        self.patch: int = facts["patch"]
        self.dim: int = facts["dim"]
        self.descriptor_dim: int = facts["descriptor_dim"]
        self.dtype = DTYPES[facts["dtype"]]
        self.device = torch.device("cpu")

    def features(self, pixels: Tensor) -> Tensor:
        """Raise an error: the network is not here."""
        raise BackboneError(f"{self.name}: the network does not run in this process")
