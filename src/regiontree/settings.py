"""Every setting that shapes a tree: one frozen record a stage, and one record of all stages.

========  =============================================================================  =========
stage     what it decides                                                                main key
========  =============================================================================  =========
backbone  which network, in which precision, and which of its features                   name
view      at which size and how often the network sees the photograph
smooth    how far features are smoothed over the patch grid                              steps
affinity  how likeness of features becomes affinity                                      kind
parts     how patches are grouped into parts (``method`` chooses)                        count
tree      how parts become a tree (``builder`` chooses)                                  builder
refine    how borders move from patches to pixels (``method`` chooses)                   method
seed      every random step                                                              seed
========  =============================================================================  =========

A setting is named ``stage.key``, such as ``parts.count``. In Python and in files a stage is a
mapping, ``parts={"count": 200}``; a plain value sets the stage's main key, ``parts=200``.
``regiontree settings`` prints every setting with its default, range and meaning.

Which keys the stages ``parts``, ``tree`` and ``refine`` have depends on the method chosen: they are
the fields of the method's own class. So a new tree builder brings its settings with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import index
from pathlib import Path
from typing import Any, Literal

from regiontree.backbones.base import DTYPES, FeatureSpec
from regiontree.backbones.unfold import check_window
from regiontree.backbones.views import VIEWS, grid_overlap
from regiontree.errors import SettingsError, check_number, nearest_name
from regiontree.hierarchy import BUILDERS, SpectralWard, TreeBuilder
from regiontree.images import Size, parse_size
from regiontree.refine import REFINEMENTS, Guided, Refinement
from regiontree.spectral.affinity import AffinitySettings
from regiontree.spectral.oversegment import Oversegmentation, SpectralClustering
from regiontree.system.registry import Registry
from regiontree.system.stages import (
    Key,
    build_record,
    check_settings,
    keys_of,
    setting,
    unused_keys,
    values_of,
)

__all__ = [
    "CHOICES",
    "FLAT_NAMES",
    "OVERSEGMENTATIONS",
    "PRESETS",
    "UNRECORDED",
    "BackboneSettings",
    "Settings",
    "SmoothSettings",
    "ViewSettings",
    "known_keys",
    "record_differences",
]

# Parts from the affinity graph or the features, and parts from the photograph itself.
OVERSEGMENTATIONS: Registry[type[Oversegmentation]] = Registry(
    "overclustering",
    {
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


def _window(name: str, value: Any) -> tuple[int, int]:
    """A kernel or stride as (height, width); a single number is both sides."""
    try:
        size = parse_size(value)
    except SettingsError:
        raise SettingsError(
            f"{name} must be pixels like 448, or (height, width) like 448x896, got {value!r}"
        ) from None
    return (size, size) if isinstance(size, int) else size


def _tiles(value: Any) -> int | Literal["own"]:
    if value == "own":
        return "own"
    try:
        return int(value) if isinstance(value, str) else index(value)
    except (TypeError, ValueError):
        raise SettingsError(f"tiles must be a long side in pixels or own, got {value!r}") from None


@dataclass(frozen=True, slots=True)
class BackboneSettings:
    """Which network turns pixels into features, and which of its features are taken."""

    name: str = setting(
        "embedded",
        "Network: embedded, a name that `regiontree backbones` lists, owner/model, a folder, "
        "onnx:FILE; precomputed or precomputed:FOLDER reads feature files.",
        form="a name",
    )
    dtype: str = setting("auto", "Precision of the forward pass.", choices=("auto", *DTYPES))
    features: FeatureSpec = field(default_factory=lambda: FeatureSpec(facet="auto"))

    def __post_init__(self) -> None:
        check_settings(self)
        if self.name == "precomputed:":
            raise SettingsError("name precomputed: needs a folder after the colon")

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
        "Long side in pixels, proportions kept; or exactly HEIGHTxWIDTH, multiples of the patch.",
        form="pixels, or HEIGHTxWIDTH",
        parse=parse_size,
    )
    views: int = setting(
        4,
        "How often the network sees the photograph: once; also mirrored; or four times, moved by "
        "half patches, which makes the grid twice as fine.",
        choices=VIEWS,
    )
    tiles: int | Literal["own"] | None = setting(
        None,
        "Long side in pixels at which overlapping tiles of the photograph are seen as well, at "
        "least twice the size; own: the photograph's own size.",
        form="pixels, or own",
        parse=_tiles,
        none="no tiles",
    )
    kernel: tuple[int, int] | None = setting(
        None,
        "Size in pixels of overlapping crops whose features are averaged; goes with stride.",
        form="pixels, or HEIGHTxWIDTH",
        parse=lambda value: _window("kernel", value),
        none="the photograph as a whole",
    )
    stride: tuple[int, int] | None = setting(
        None,
        "Step in pixels from one crop to the next; goes with kernel.",
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
                raise SettingsError("tiles keep an image's proportions: size must be a long side")
            if self.tiles != "own":
                check_number("tiles", self.tiles, 2 * self.size, 65_536, whole=True)
            if self.kernel is not None:
                raise SettingsError("tiles do not go with kernel; leave one of them out")


@dataclass(frozen=True, slots=True)
class SmoothSettings:
    """How far features are smoothed: :func:`regiontree.spectral.smooth.smooth_features`."""

    steps: int = setting(4, "Steps of edge-aware smoothing; 0: none.", low=0, high=100, whole=True)
    contrast: float | None = setting(
        20.0,
        "Difference of L*a*b* colours between neighbouring patches at which smoothing stops.",
        low=0.1,
        high=1000,
        none="features alone decide",
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
    none : bool
        Whether ``none`` is a choice too: the stage is left out.
    """

    selector: str
    registry: Registry[Any]
    none: bool = False

    def names(self) -> tuple[str, ...]:
        return (*(("none",) if self.none else ()), *self.registry.names())

    def get(self, name: Any) -> Any:
        """The class of a method.

        Raises
        ------
        SettingsError
            No method has that name.
        """
        if name not in self.names():
            names = self.names()
            raise SettingsError(
                f"unknown {self.registry.what} {name!r}{nearest_name(name, names)}; known: "
                f"{', '.join(names)}"
            )
        return self.registry.get(name)

    def key(self, default: str) -> Key:
        """What is known of the selector."""
        meaning = "Method of this stage; it decides which other settings there are."
        return Key(self.selector, default, meaning, choices=self.names())

    def keys(self, name: str) -> dict[str, Key]:
        """The settings of a method, by name."""
        return {} if self.none and name == "none" else keys_of(self.registry.get(name))


CHOICES: dict[str, Choice] = {
    "parts": Choice("method", OVERSEGMENTATIONS),
    "tree": Choice("builder", BUILDERS),
    "refine": Choice("method", REFINEMENTS, none=True),
}
_RECORDS: dict[str, type] = {
    "backbone": BackboneSettings,
    "view": ViewSettings,
    "smooth": SmoothSettings,
    "affinity": AffinitySettings,
}
# The key that a stage's plain value sets: tree="ward" is tree={"builder": "ward"}.
_MAIN = {
    "backbone": "name",
    "smooth": "steps",
    "affinity": "kind",
    "parts": "count",
    "tree": "builder",
    "refine": "method",
}
# Names of settings before there were stages. Configs, tree files and the command line's short
# options still use them. One of them set the eigenvectors of two stages.
FLAT_NAMES: dict[str, tuple[str, ...]] = {
    "backbone": ("backbone.name",),
    "size": ("view.size",),
    "dtype": ("backbone.dtype",),
    "kernel": ("view.kernel",),
    "stride": ("view.stride",),
    "views": ("view.views",),
    "tiles": ("view.tiles",),
    "layers": ("backbone.layers",),
    "facet": ("backbone.facet",),
    "positions": ("backbone.positions",),
    "smoothing": ("smooth.steps",),
    "contrast": ("smooth.contrast",),
    "affinity": ("affinity.kind",),
    "distance": ("affinity.distance",),
    "sigma": ("affinity.sigma",),
    "threshold": ("affinity.threshold",),
    "overclustering": ("parts.method",),
    "parts": ("parts.count",),
    "restarts": ("parts.restarts",),
    "tolerance": ("parts.tolerance",),
    "solver": ("parts.solver",),
    "vectors": ("parts.vectors", "tree.vectors"),
    "tree": ("tree.builder",),
    "power": ("tree.power",),
    "exponent": ("tree.exponent",),
    "levels": ("tree.levels",),
    "max_ways": ("tree.max_ways",),
    "min_parts": ("tree.min_parts",),
    "max_ncut": ("tree.max_ncut",),
    "max_perturbation": ("tree.max_perturbation",),
    "heuristic": ("tree.heuristic",),
    "refine": ("refine.method",),
    "crf_temperature": ("refine.temperature",),
    "crf_smooth_xy": ("refine.smooth_xy",),
    "crf_smooth_weight": ("refine.smooth_weight",),
    "crf_edge_xy": ("refine.edge_xy",),
    "crf_edge_rgb": ("refine.edge_rgb",),
    "crf_edge_weight": ("refine.edge_weight",),
    "crf_steps": ("refine.steps",),
    "seed": ("seed",),
}
# Settings that older tree files do not record, with the values those trees were made with.
UNRECORDED: dict[str, Any] = {
    "views": 1,
    "layers": None,
    "facet": "token",
    "positions": "upstream",
    "tiles": None,
    "contrast": None,
    "refine": "none",
}


_SEED = Key("seed", 1234, "Of every random step.", low=0, high=2**63, below=True, whole=True)


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of the path from a photograph to a tree.

    Make one with :meth:`make`, which knows presets, names and methods.

    Attributes
    ----------
    backbone : BackboneSettings
    view : ViewSettings
    smooth : SmoothSettings
    affinity : AffinitySettings
    parts : Oversegmentation
        The method that groups patches into parts, with its settings: a class that
        :data:`OVERSEGMENTATIONS` names.
    tree : TreeBuilder
        The builder with its settings: a class that :data:`regiontree.hierarchy.BUILDERS` names.
    refine : Refinement or None
        The refinement with its settings: a class that :data:`regiontree.refine.REFINEMENTS` names.
        None: each pixel takes the leaf of its patch.
    seed : int
        Of every random step, 0 to 2**63 - 1.

    Raises
    ------
    SettingsError
        Settings of different stages contradict each other.

    Examples
    --------
    >>> settings = Settings.make("fast", parts=200, tree={"exponent": 2.0})
    >>> settings.parts.count, settings.tree.exponent, settings.view.views
    (200, 2.0, 1)
    """

    backbone: BackboneSettings = field(default_factory=BackboneSettings)
    view: ViewSettings = field(default_factory=ViewSettings)
    smooth: SmoothSettings = field(default_factory=SmoothSettings)
    affinity: AffinitySettings = field(default_factory=AffinitySettings)
    parts: Oversegmentation = field(default_factory=SpectralClustering)
    tree: TreeBuilder = field(default_factory=SpectralWard)
    refine: Refinement | None = field(default_factory=Guided)
    seed: int = _SEED.default

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", _SEED.checked(self.seed))
        self._check_precomputed()

    def _check_precomputed(self) -> None:
        """That nothing is asked of a network where none runs."""
        name, view = self.backbone.name, self.view
        if not self.is_precomputed:
            return
        if view.kernel is not None:
            raise SettingsError(
                f"kernel and stride are how a network sees the image; backbone {name!r} runs none: "
                "leave them out"
            )
        if view.tiles is not None:
            raise SettingsError(f"tiles do not go with backbone {name!r}; leave one of them out")
        if not self.backbone.features.is_usual:
            raise SettingsError(
                f"layers, facet and positions are of a network; backbone {name!r} runs none: leave "
                "them out"
            )

    @classmethod
    def make(cls, preset: str = "default", /, **changes: Any) -> Settings:
        """A preset with some settings changed.

        Parameters
        ----------
        preset
            A name in :data:`PRESETS`.
        **changes
            ``stage=mapping`` of keys to values, ``stage=value`` for the stage's main key,
            ``**{"stage.key": value}``, or a name in :data:`FLAT_NAMES`.

        Raises
        ------
        SettingsError
            A name is unknown (the message suggests the nearest), a value is out of range, a setting
            is given twice, or a change would have no effect with the other settings.
        """
        if preset not in PRESETS:
            raise SettingsError(
                f"unknown preset {preset!r}{nearest_name(preset, PRESETS)}; known: "
                f"{', '.join(PRESETS)}"
            )
        usual, given = _dotted(PRESETS[preset]), _dotted(changes)
        settings = _made({**usual, **given})
        _check_used(settings, _made(usual), given)
        return settings

    @property
    def is_precomputed(self) -> bool:
        """Whether features come from files, so that no network runs."""
        return self.backbone.is_precomputed

    @property
    def overlap(self) -> float:
        """Patches of the grid in one of the network's, a side; 1 where no network runs."""
        if self.is_precomputed:
            return 1.0
        return grid_overlap(self.view.views, self.view.tiles)

    @property
    def uses_colours(self) -> bool:
        """Whether smoothing looks at the photograph, if there is one."""
        return self.smooth.steps > 0 and self.smooth.contrast is not None

    @property
    def needs_pixels(self) -> bool:
        """Whether parts come from the photograph, so that features alone do not make a tree."""
        return self.parts.needs_pixels

    def values(self) -> dict[str, Any]:
        """Every setting in use, ``stage.key`` to value, in the order of the stages."""
        found: dict[str, Any] = {}
        for stage in (*_RECORDS, *CHOICES):
            if stage in CHOICES:
                found[f"{stage}.{CHOICES[stage].selector}"] = _method(self, stage)
            record = getattr(self, stage)
            if record is not None:
                found |= {f"{stage}.{key}": value for key, value in values_of(record).items()}
        return {**found, "seed": self.seed}

    def as_dict(self) -> dict[str, Any]:
        """What files record: JSON values by the names of :data:`FLAT_NAMES`.

        Equal records mean equal trees on the same machine. A setting without such a name is
        recorded as ``stage.key``, and only where it differs from its default.
        ``make(**record)`` gives these settings back.
        """
        values = self.values()
        record: dict[str, Any] = {}
        said = set()
        for name, keys in FLAT_NAMES.items():
            used = [key for key in keys if key in values]
            record[name] = values[used[0]] if used else _default_of(keys[0])
            said |= {key for key in used if values[key] == record[name]}
        known = known_keys(self)
        others = {key: value for key, value in values.items() if key not in said}
        record |= {key: value for key, value in others.items() if value != known[key].default}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in record.items()}


def known_keys(settings: Settings | None = None) -> dict[str, Key]:
    """What is known of each setting, by ``stage.key``.

    Parameters
    ----------
    settings
        Tell the keys that these settings use; None: those of every method that can be chosen. Of a
        key that several methods of a stage share, the first method's is told.
    """
    found: dict[str, Key] = {}
    for stage, record in _RECORDS.items():
        # An instance: a record within the record may start from other values than its class does.
        found |= {f"{stage}.{name}": key for name, key in keys_of(record()).items()}
    for stage, choice in CHOICES.items():
        names = choice.names() if settings is None else (_method(settings, stage),)
        found[f"{stage}.{choice.selector}"] = choice.key(_method(Settings(), stage))
        for name in names:
            for key, known in choice.keys(name).items():
                found.setdefault(f"{stage}.{key}", known)
    return {**found, "seed": _SEED}


def record_differences(
    before: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """The settings in which two records differ: name to (value before, value now).

    `before` may be an older program's; what it does not record has the values of
    :data:`UNRECORDED`. See :meth:`Settings.as_dict`.
    """
    before = {**UNRECORDED, **before}
    names = dict.fromkeys([*now, *before])
    pairs = {name: (before.get(name), now.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


# -- from names to records ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Given:
    """A value, and the name that the user wrote for its setting."""

    value: Any
    written: str


def _dotted(changes: Mapping[str, Any]) -> dict[str, _Given]:
    """Changes by ``stage.key``, whatever form they were written in.

    Raises
    ------
    SettingsError
        A name is unknown, or one setting is given twice with different values.
    """
    found: dict[str, _Given] = {}
    for name, value in changes.items():
        if isinstance(value, Mapping) and name in (*_RECORDS, *CHOICES):
            new = {f"{name}.{key}": _Given(inner, f"{name}.{key}") for key, inner in value.items()}
        elif name in FLAT_NAMES:
            new = {key: _Given(value, name) for key in FLAT_NAMES[name]}
        elif name in _MAIN:
            new = {f"{name}.{_MAIN[name]}": _Given(value, name)}
        else:
            new = {name: _Given(value, name)}
        for key, one in new.items():
            before = found.setdefault(key, one)
            if before.value != one.value:
                raise SettingsError(
                    f"{one.written} {one.value!r} contradicts {before.written} {before.value!r}; "
                    "leave one of them out"
                )
    for key, one in found.items():
        if key not in known_keys():
            names = [*known_keys(), *FLAT_NAMES]
            raise SettingsError(
                f"unknown setting {one.written!r}{nearest_name(one.written, names)}"
            )
    return found


def _made(given: Mapping[str, _Given]) -> Settings:
    """The records with these values; keys of methods that are not chosen are left aside."""
    plain: dict[str, Any] = {}
    try:
        for stage, record in _RECORDS.items():
            plain[stage] = build_record(record, stage, _of_stage(stage, given))
        for stage, choice in CHOICES.items():
            values = _of_stage(stage, given)
            name = values.pop(choice.selector, _method(Settings(), stage))
            plain[stage] = None
            if not (choice.none and name == "none"):
                kind = choice.get(name)
                used = {key: values[key] for key in keys_of(kind) if key in values}
                plain[stage] = build_record(kind, stage, used)
    except SettingsError as error:
        raise SettingsError(_as_written(str(error), given)) from error
    if "seed" in given:
        plain["seed"] = given["seed"].value
    return Settings(**plain)


def _of_stage(stage: str, given: Mapping[str, _Given]) -> dict[str, Any]:
    """The given values of one stage, by key."""
    start = f"{stage}."
    return {
        name.removeprefix(start): one.value for name, one in given.items() if name.startswith(start)
    }


def _as_written(message: str, given: Mapping[str, _Given]) -> str:
    """A message that starts with ``stage.key``, with the user's own name for it instead."""
    for key, one in given.items():
        if message.startswith(f"{key} "):
            return one.written + message.removeprefix(key)
    return message


def _check_used(settings: Settings, before: Settings, given: Mapping[str, _Given]) -> None:
    """That no setting was changed in vain.

    A change is in vain if only another method reads the setting, or if the setting has no effect
    beside the other settings. A value that says what holds anyway is no change.
    """
    values, usual = settings.values(), before.values()
    for key, one in given.items():
        stage, _, name = key.partition(".")
        if key not in values:
            _check_method(settings, stage, name, one, given)
        elif stage in (*_RECORDS, *CHOICES):
            record = getattr(settings, stage)
            when = None if record is None else unused_keys(record).get(name)
            if when and values[key] != usual.get(key, values[key]):
                raise SettingsError(
                    f"{one.written} {one.value!r} has no effect unless {stage}.{when}; leave it out"
                )
    network = settings.backbone.name
    if settings.is_precomputed and settings.view.views not in (1, ViewSettings().views):
        raise SettingsError(
            f"views are how a network sees the image; backbone {network!r} runs none: leave them "
            "out"
        )
    refine = _method(settings, "refine")
    if network == "precomputed" and refine not in ("none", _method(Settings(), "refine")):
        raise SettingsError(
            f"refine {refine!r} needs the photograph, and backbone 'precomputed' has only "
            "features; use precomputed:FOLDER"
        )


def _check_method(
    settings: Settings, stage: str, name: str, one: _Given, given: Mapping[str, _Given]
) -> None:
    """That a key which the chosen method lacks says no more than another method's default."""
    twins = [key for key, other in given.items() if other.written == one.written]
    if any(key in settings.values() for key in twins):
        return  # one name for keys of two stages, of which the other is used
    choice, chosen = CHOICES[stage], _method(settings, stage)
    readers = [method for method in choice.names() if name in choice.keys(method)]
    if all(choice.keys(method)[name].default != one.value for method in readers):
        selector = f"{stage}.{choice.selector}"
        raise SettingsError(
            f"{one.written} is a setting of {selector} {readers[0]!r}, and {chosen!r} has no use "
            f"for it; leave it out or set {selector} to {readers[0]!r}"
        )


def _method(settings: Settings, stage: str) -> str:
    """The name of the method that a stage has chosen."""
    record = getattr(settings, stage)
    return "none" if record is None else str(record.name)


def _default_of(key: str) -> Any:
    return known_keys()[key].default


# published: every setting of the paper at once, one square view in full precision, the recursion
# over 200 parts from ten k-means starts. max_perturbation is what the published configs say; the
# published code does not pass it on and runs with 50.
# default: 518 pixels, what the embedded network was trained at, seen four times.
# fast: the same, seen once; smoothed less, as its patches are larger.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "fast": {"view": {"views": 1}, "smooth": {"steps": 2}},
    "published": {
        "backbone": {"dtype": "float32", "facet": "token"},
        "view": {"size": (840, 840), "views": 1},
        "smooth": {"steps": 0, "contrast": None},
        "affinity": {"kind": "minmax", "distance": "cosine", "threshold": 0.0},
        "parts": {
            "method": "simultaneous",
            "count": 200,
            "restarts": 10,
            "tolerance": 1e-3,
            "vectors": None,
        },
        "tree": {
            "builder": "recursive",
            "levels": 9,
            "max_ways": 10,
            "min_parts": 1,
            "max_ncut": 0.8,
            "max_perturbation": 80.0,
            "heuristic": "maxgap",
        },
        "refine": "none",
        "seed": 1234,
    },
}
