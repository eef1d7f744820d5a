"""Every setting that shapes a tree, in one frozen record that travels into the tree's meta."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from typing import Any, Literal, cast

from regiontree.backbones.base import DTYPES
from regiontree.errors import SettingsError, check_number
from regiontree.hierarchy import BUILDERS, TreeBuilder
from regiontree.images import Size, parse_size
from regiontree.spectral.affinity import AffinitySettings
from regiontree.spectral.oversegment import OversegmentSettings

__all__ = ["PRESETS", "Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the path from a photograph to a tree.

    Attributes
    ----------
    backbone : str
        ``embedded``, ``precomputed`` or ``precomputed:FOLDER``.
    size : int or (int, int)
        Long side in pixels, aspect ratio kept; or exact (height, width), multiples of the patch.
    dtype : str
        Precision of the forward pass: auto, float32, bfloat16, float16.
    affinity, distance, sigma, threshold
        See :class:`~regiontree.spectral.affinity.AffinitySettings`.
    overclustering, parts, restarts, solver
        See :class:`~regiontree.spectral.oversegment.OversegmentSettings`.
    tree : str
        Builder, a name in :data:`regiontree.hierarchy.BUILDERS`.
    levels, max_ways, min_parts, max_ncut, max_perturbation, heuristic
        See :class:`~regiontree.hierarchy.recursive.RecursivePartition`.
    seed : int
        Of every random step.
    """

    backbone: str = "embedded"
    size: Size = 840
    dtype: str = "auto"
    affinity: Literal["minmax", "exp"] = "minmax"
    distance: Literal["cosine", "euclidean"] = "cosine"
    sigma: float = 1.0
    threshold: float = 0.0
    overclustering: Literal["simultaneous", "features", "none"] = "simultaneous"
    parts: int = 200
    restarts: int = 1
    solver: Literal["auto", "reference"] = "auto"
    tree: str = "recursive"
    levels: int = 9
    max_ways: int = 10
    min_parts: int = 1
    max_ncut: float = 0.8
    max_perturbation: float = 80.0
    heuristic: Literal["maxgap", "fiedler"] = "maxgap"
    seed: int = 1234

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", parse_size(self.size))
        check_number("seed", self.seed, 0, 2**63, whole=True, below=True)
        if self.dtype != "auto" and self.dtype not in DTYPES:
            raise SettingsError(
                f"dtype must be auto or one of {', '.join(DTYPES)}, got {self.dtype!r}"
            )
        if self.backbone == "precomputed:":
            raise SettingsError("backbone precomputed: needs a folder after the colon")
        # Building the parts checks their settings now, not after the backbone has run.
        self.affinity_settings()
        self.oversegment_settings()
        self.builder()

    @classmethod
    def make(cls, preset: str = "default", **changes: Any) -> Settings:
        """A preset with some settings changed; an unknown name is an error that suggests one."""
        if preset not in PRESETS:
            raise SettingsError(f"unknown preset {preset!r}; known: {', '.join(PRESETS)}")
        known = [field.name for field in dataclasses.fields(cls)]
        for name in changes:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise SettingsError(f"unknown setting {name!r}{hint}")
        return cls(**{**PRESETS[preset], **changes})

    def affinity_settings(self) -> AffinitySettings:
        return AffinitySettings(self.affinity, self.distance, self.sigma, self.threshold)

    def oversegment_settings(self) -> OversegmentSettings:
        return OversegmentSettings(self.overclustering, self.parts, self.restarts, self.solver)

    def builder(self) -> TreeBuilder:
        if self.tree not in BUILDERS:
            raise SettingsError(f"unknown tree {self.tree!r}; known: {', '.join(BUILDERS)}")
        make = BUILDERS[self.tree]
        own = {field.name for field in dataclasses.fields(cast(Any, make))} - {"name"}
        ours = {field.name for field in dataclasses.fields(self)}
        return make(**{name: getattr(self, name) for name in own & ours})

    def as_dict(self) -> dict[str, Any]:
        """JSON values; equal dictionaries mean equal trees on the same machine."""
        settings = dataclasses.asdict(self)
        if isinstance(self.size, tuple):
            settings["size"] = list(self.size)
        return settings


# Every published setting at once: one square view in full precision, the recursion over 200 parts
# from ten k-means starts. max_perturbation is what the published configs say; the published code
# does not pass it on and runs with 50.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "published": {
        "size": (840, 840),
        "dtype": "float32",
        "affinity": "minmax",
        "distance": "cosine",
        "threshold": 0.0,
        "overclustering": "simultaneous",
        "parts": 200,
        "restarts": 10,
        "tree": "recursive",
        "levels": 9,
        "max_ways": 10,
        "min_parts": 1,
        "max_ncut": 0.8,
        "max_perturbation": 80.0,
        "heuristic": "maxgap",
        "seed": 1234,
    },
}
