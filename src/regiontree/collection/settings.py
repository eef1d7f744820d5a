"""The settings of a collection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from regiontree.hierarchy.diffusion import DiffusionWard
from regiontree.system.stages import check_settings, setting

__all__ = ["CollectionSettings"]

Kind = Literal["both", "token", "embedding"]


@dataclass(frozen=True, slots=True)
class CollectionSettings:
    """How regions become prototypes, and prototypes a tree of categories."""

    regions: int = setting(
        32, "Regions of each photograph that are grouped.", low=1, high=10_000, whole=True
    )
    descriptor: Kind = setting(
        "both",
        "What describes a region: token, the mean of the network's last tokens; embedding, the "
        "mean of the features that its tree was built on; or both.",
        choices=("both", "token", "embedding"),
    )
    dimensions: int = setting(
        64,
        "Principal components of each kind of descriptor, by itself and relative to its "
        "photograph, that are kept.",
        low=1,
        high=100_000,
        whole=True,
    )
    whitening: float = setting(
        0.25,
        "Power of a component's variance by which it is divided: 0 leaves descriptors as they are, "
        "0.5 gives every component the same variance.",
        low=0,
        high=0.5,
    )
    prototypes: int = setting(
        1000, "Prototypes at most: the finest categories.", low=2, high=4096, whole=True
    )
    sample: int = setting(
        100_000,
        "Regions that find the first prototypes. All regions then improve them.",
        low=1000,
        high=10_000_000,
        whole=True,
    )
    passes: int = setting(
        3,
        "How often all regions improve the prototypes, if there are more than the sample.",
        low=0,
        high=100,
        whole=True,
    )
    seed: int = setting(1234, "Seed of the first prototypes.", low=0, high=2**32 - 1, whole=True)
    tree: DiffusionWard = field(default_factory=DiffusionWard)

    def __post_init__(self) -> None:
        check_settings(self)
