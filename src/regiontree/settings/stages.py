"""The settings of each stage from a photograph to a tree.

A stage is either one record of settings, or a choice of methods. Each method is a class whose
fields are its settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from regiontree.backbones.base import DTYPES, RUNTIMES, FeatureSpec
from regiontree.backbones.unfold import check_window
from regiontree.backbones.views import VIEWS
from regiontree.errors import SettingsError, check_number, nearest_name, whole_number
from regiontree.hierarchy import BUILDERS
from regiontree.images import Size, parse_size
from regiontree.refine import REFINEMENTS
from regiontree.spectral.affinity import AffinitySettings
from regiontree.spectral.oversegment import Oversegmentation
from regiontree.system.registry import Registry
from regiontree.system.stages import Key, OnlyIf, check_settings, keys_of, setting

__all__ = [
    "CHOICES",
    "EMBEDDINGS",
    "MAIN_KEYS",
    "OVERSEGMENTATIONS",
    "RECORDS",
    "SEED",
    "STABILITY",
    "BackboneSettings",
    "Choice",
    "SmoothSettings",
    "ViewSettings",
    "known_keys",
]

_PRECISIONS = ("auto", *DTYPES, "int8")

OVERSEGMENTATIONS: Registry[type[Oversegmentation]] = Registry(
    "overclustering",
    {
        "contiguous": "regiontree.spectral.oversegment:ContiguousWard",
        "simultaneous": "regiontree.spectral.oversegment:SpectralClustering",
        "features": "regiontree.spectral.oversegment:FeatureClustering",
        "none": "regiontree.spectral.oversegment:EveryPatch",
        "colours": "regiontree.images.superpixels:ColourClustering",
        "felzenszwalb": "regiontree.images.superpixels:Felzenszwalb",
        "slic": "regiontree.images.superpixels:Slic",
        "quickshift": "regiontree.images.superpixels:Quickshift",
        "watershed": "regiontree.images.superpixels:CompactWatershed",
    },
    group="regiontree.oversegmentations",
)
"""Over-clusterings by name. They use the affinity graph, the features or the photograph."""


def _window(name: str, value: Any) -> tuple[int, int]:
    """A kernel or stride as (height, width) in pixels. A single number means a square."""
    try:
        size = parse_size(value)
    except SettingsError:
        raise SettingsError(
            f"{name} must be pixels like 448, or HEIGHTxWIDTH like 448x896, got {value!r}"
        ) from None
    return (size, size) if isinstance(size, int) else size


def _tiles(value: Any) -> int | Literal["own"]:
    if value == "own":
        return "own"
    try:
        return int(value) if isinstance(value, str) else whole_number(value)
    except (TypeError, ValueError):
        raise SettingsError(
            f"tiles must be a long side in pixels or 'own', got {value!r}"
        ) from None


def _dtype(value: Any) -> str:
    """The name of a precision, given as text, as a dtype of torch or as one of NumPy."""
    name = getattr(value, "__name__", None) or str(value).removeprefix("torch.")
    if name not in _PRECISIONS:
        raise SettingsError(f"dtype must be one of {', '.join(_PRECISIONS)}, got {value!r}")
    return name


@dataclass(frozen=True, slots=True)
class BackboneSettings:
    """Which network turns pixels into features, and which of its features are used."""

    name: str = setting(
        "embedded",
        "Network: embedded, a name that `regiontree backbones` lists, owner/model on the hub, the "
        "folder of a model, or onnx:FILE. precomputed and precomputed:FOLDER read feature files.",
        form="a name",
    )
    dtype: str = setting(
        "auto",
        "Precision of the forward pass. auto: float16 on CUDA, else float32. int8: products of "
        "the embedded network in 8 bits, run by OpenVINO.",
        choices=_PRECISIONS,
        parse=_dtype,
    )
    runtime: str = setting(
        "auto",
        "What runs the network. auto: OpenVINO with dtype int8, else torch. OpenVINO runs the "
        "embedded network on the CPU, and is faster there.",
        choices=("auto", *RUNTIMES),
    )
    features: FeatureSpec = field(default_factory=FeatureSpec)

    def __post_init__(self) -> None:
        check_settings(self)
        if self.name == "precomputed:":
            raise SettingsError("name 'precomputed:' needs a folder after the colon")
        known = RUNTIMES[self.runs_in]
        if self.dtype not in ("auto", *known):
            raise SettingsError(
                f"dtype {self.dtype!r} is not available with runtime {self.runs_in!r}, which has "
                f"{', '.join(known)}; leave one of them out"
            )
        if self.runs_in == "openvino" and self.name != "embedded":
            given = "dtype 'int8'" if self.runtime == "auto" else "runtime 'openvino'"
            raise SettingsError(
                f"{given} is for backbone 'embedded' alone, and the backbone is {self.name!r}; "
                "leave it out"
            )

    @property
    def runs_in(self) -> str:
        """What runs the network: a key of :data:`regiontree.backbones.base.RUNTIMES`."""
        if self.runtime == "auto":
            return "openvino" if self.dtype == "int8" else "torch"
        return self.runtime

    @property
    def is_precomputed(self) -> bool:
        """Whether features come from files, so that no network runs."""
        return self.name.partition(":")[0] == "precomputed"

    @property
    def folder(self) -> Path | None:
        """The folder of feature files in ``precomputed:FOLDER``; None for any other name."""
        kind, _, folder = self.name.partition(":")
        return Path(folder) if kind == "precomputed" and folder else None


@dataclass(frozen=True, slots=True)
class ViewSettings:
    """At which size and how often the network sees the photograph."""

    size: Size = setting(
        518,
        "Long side in pixels, with the proportions kept; or exactly HEIGHTxWIDTH, both multiples "
        "of the patch size.",
        form="pixels, or HEIGHTxWIDTH",
        parse=parse_size,
    )
    views: int = setting(
        1,
        "How often the network sees the photograph. 1: once. 2: also mirrored. 4: four times, "
        "moved by half patches, which makes the grid twice as fine.",
        choices=VIEWS,
    )
    tiles: int | Literal["own"] | None = setting(
        None,
        "The network also sees the photograph in overlapping tiles, at this long side in pixels, "
        "at least twice the size. own: at the photograph's own size.",
        form="pixels, or own",
        parse=_tiles,
        none="no tiles",
    )
    kernel: tuple[int, int] | None = setting(
        None,
        "Size in pixels of overlapping crops whose features are averaged. Needs stride.",
        form="pixels, or HEIGHTxWIDTH",
        parse=lambda value: _window("kernel", value),
        none="the photograph as a whole",
    )
    stride: tuple[int, int] | None = setting(
        None,
        "Step in pixels from one crop to the next. Needs kernel.",
        form="pixels, or HEIGHTxWIDTH",
        parse=lambda value: _window("stride", value),
        none="the photograph as a whole",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.kernel is None or self.stride is None:
            if self.kernel != self.stride:
                given, missing = ("kernel", "stride") if self.kernel else ("stride", "kernel")
                raise SettingsError(f"{given} is set without {missing}; set both or neither")
        else:
            check_window(self.kernel, self.stride)
        if self.tiles is not None:
            if not isinstance(self.size, int):
                raise SettingsError(
                    "tiles need size as a long side, because they keep the proportions"
                )
            if self.tiles != "own":
                check_number("tiles", self.tiles, 2 * self.size, 65_536, whole=True)
            if self.kernel is not None:
                raise SettingsError("tiles do not go with kernel; leave one of them out")


@dataclass(frozen=True, slots=True)
class SmoothSettings:
    """How far features are smoothed: :func:`regiontree.spectral.smooth.smooth_features`."""

    steps: int = setting(
        2, "Steps of edge-aware smoothing. 0: no smoothing.", low=0, high=100, whole=True
    )
    contrast: float | None = setting(
        20.0,
        "Difference of L*a*b* colours between neighbouring patches at which smoothing stops.",
        low=0.1,
        high=1000,
        none="features alone decide",
        only_if=OnlyIf("steps"),
    )

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True)
class Choice:
    """A stage whose keys depend on the method chosen.

    Attributes
    ----------
    selector : str
        The key that chooses.
    registry : Registry
        The methods, each a frozen dataclass whose fields are its settings.
    default : str
        The method that is used if the user chooses none.
    none : bool
        Whether ``none`` is a choice too: the stage is left out.
    """

    selector: str
    registry: Registry[Any]
    default: str
    none: bool = False

    def names(self) -> tuple[str, ...]:
        """The methods that can be chosen."""
        return (*(("none",) if self.none else ()), *self.registry.names())

    def get(self, name: Any) -> Any:
        """The class of a method.

        Raises
        ------
        SettingsError
            No method has that name.
        """
        names = self.names()
        if not isinstance(name, str) or name not in names:
            raise SettingsError(
                f"unknown {self.registry.what} {name!r}{nearest_name(name, names) or '.'} Known: "
                f"{', '.join(names)}"
            )
        return self.registry.get(name)

    def key(self) -> Key:
        """The description of the selector."""
        meaning = "Method of this stage. The other settings of the stage depend on it."
        return Key(self.selector, self.default, meaning, choices=self.names())

    def keys(self, name: str) -> dict[str, Key]:
        """The settings of a method, by name."""
        return {} if self.none and name == "none" else keys_of(self.registry.get(name))


CHOICES: dict[str, Choice] = {
    "parts": Choice("method", OVERSEGMENTATIONS, "contiguous"),
    "tree": Choice("builder", BUILDERS, "ward"),
    "refine": Choice("method", REFINEMENTS, "guided", none=True),
}
"""Stages with a choice of methods."""
RECORDS: dict[str, type] = {
    "backbone": BackboneSettings,
    "view": ViewSettings,
    "smooth": SmoothSettings,
    "affinity": AffinitySettings,
}
"""Stages that are one record each."""
MAIN_KEYS = {
    "backbone": "name",
    "smooth": "steps",
    "affinity": "kind",
    "parts": "count",
    "tree": "builder",
    "refine": "method",
}
"""The key that a plain value of a stage sets: ``tree="ward"`` sets ``tree.builder``."""
SEED = Key("seed", 1234, "Seed of every random step.", low=0, high=2**63, below=True, whole=True)
"""The description of the seed."""
EMBEDDINGS = Key(
    "embeddings",
    True,
    "Whether a tree has the embeddings of its nodes. They are most of its size.",
    form="true or false",
)
"""The description of the choice of embeddings."""

STABILITY = Key(
    "stability",
    12,
    "Number of draws of channels that tell how steady each node is; 0: trees do not say it.",
    low=0,
    high=1000,
    whole=True,
)
"""The description of the number of draws for the stability of nodes."""


def known_keys(methods: Mapping[str, str] | None = None) -> dict[str, Key]:
    """The description of each setting, by ``stage.key``.

    Parameters
    ----------
    methods
        The method of each stage that has a choice. If None, the keys of every method are given. If
        several methods of a stage share a key, the first method's description is given.
    """
    found: dict[str, Key] = {}
    for stage, record in RECORDS.items():
        # An instance, because a nested record may have other defaults than its class.
        found |= {f"{stage}.{name}": key for name, key in keys_of(record()).items()}
    for stage, choice in CHOICES.items():
        found[f"{stage}.{choice.selector}"] = choice.key()
        for name in choice.names() if methods is None else (methods[stage],):
            for key, known in choice.keys(name).items():
                found.setdefault(f"{stage}.{key}", known)
    return {**found, "seed": SEED, "embeddings": EMBEDDINGS, "stability": STABILITY}
