"""Every setting of the path from a photograph to a tree in one frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from regiontree.backbones.views import grid_overlap
from regiontree.errors import SettingsError, UnusedSettingError, nearest_name
from regiontree.hierarchy import SpectralWard, TreeBuilder
from regiontree.refine import Guided, Refinement
from regiontree.settings.names import FLAT_NAMES, UNRECORDED, Given, as_written, dotted, of_stage
from regiontree.settings.presets import PRESETS
from regiontree.settings.stages import (
    CHOICES,
    EMBEDDINGS,
    RECORDS,
    SEED,
    STABILITY,
    BackboneSettings,
    SmoothSettings,
    ViewSettings,
    known_keys,
)
from regiontree.spectral.affinity import AffinitySettings
from regiontree.spectral.oversegment import ContiguousWard, Oversegmentation
from regiontree.system.stages import build_record, keys_of, unused_keys, values_of

__all__ = ["Settings", "record_differences"]

_OWN = ("seed", "embeddings", "stability")  # settings of no stage


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of the path from a photograph to a tree.

    Make one with :meth:`make`, which reads presets, names of settings and names of methods.

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
        Seed of every random step, 0 to 2**63 - 1.
    embeddings : bool
        Whether a tree has the embeddings of its nodes.
    stability : int
        Number of draws for the stability of its nodes, 0 to 1000. With 0 it has none.

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
    parts: Oversegmentation = field(default_factory=ContiguousWard)
    tree: TreeBuilder = field(default_factory=SpectralWard)
    refine: Refinement | None = field(default_factory=Guided)
    seed: int = SEED.default
    embeddings: bool = EMBEDDINGS.default
    stability: int = STABILITY.default

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", SEED.checked(self.seed))
        object.__setattr__(self, "embeddings", EMBEDDINGS.checked(self.embeddings))
        object.__setattr__(self, "stability", STABILITY.checked(self.stability))
        self._check_precomputed()

    def _check_precomputed(self) -> None:
        """Raise a SettingsError if a setting of the network is set but no network runs."""
        name, view = self.backbone.name, self.view
        if not self.is_precomputed:
            return
        if view.kernel is not None:
            raise SettingsError(
                f"kernel and stride are settings of the network, and backbone {name!r} runs no "
                "network; leave them out"
            )
        if view.tiles is not None:
            raise SettingsError(f"tiles do not go with backbone {name!r}; leave one of them out")
        if not self.backbone.features.is_usual:
            raise SettingsError(
                f"layers, facet and positions are settings of the network, and backbone {name!r} "
                "runs no network; leave them out"
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
        if not isinstance(preset, str) or preset not in PRESETS:
            raise SettingsError(
                f"unknown preset {preset!r}{nearest_name(preset, PRESETS) or '.'} Known: "
                f"{', '.join(PRESETS)}"
            )
        usual, given = dotted(PRESETS[preset]), dotted(changes)
        settings = _made({**usual, **given})
        _check_used(settings, _made(usual), given)
        return settings

    @property
    def is_precomputed(self) -> bool:
        """Whether features come from files, so that no network runs."""
        return self.backbone.is_precomputed

    @property
    def overlap(self) -> float:
        """Number of grid patches along the side of one network patch; 1 if no network runs."""
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

    @property
    def uses_affinity(self) -> bool:
        """Whether the parts or the tree depend on the affinity of patches."""
        # A class of another package that does not say so is taken to use it.
        return any(getattr(stage, "uses_affinity", True) for stage in (self.parts, self.tree))

    @property
    def methods(self) -> dict[str, str]:
        """The chosen method of each stage that has a choice: stage -> name, or ``none``."""
        records = {stage: getattr(self, stage) for stage in CHOICES}
        return {stage: "none" if r is None else r.name for stage, r in records.items()}

    def values(self) -> dict[str, Any]:
        """Every setting in use, ``stage.key`` to value, in the order of the stages."""
        found: dict[str, Any] = {}
        for stage in (*RECORDS, *CHOICES):
            if stage in CHOICES:
                found[f"{stage}.{CHOICES[stage].selector}"] = self.methods[stage]
            record = getattr(self, stage)
            if record is not None:
                found |= {f"{stage}.{key}": value for key, value in values_of(record).items()}
        return {**found, **{name: getattr(self, name) for name in _OWN}}

    def as_dict(self) -> dict[str, Any]:
        """What files record: JSON values by the names of :data:`FLAT_NAMES`.

        Equal records mean equal trees on the same machine. A setting without such a name is
        recorded as ``stage.key``, and only where it differs from its default.
        ``make(**record)`` gives these settings back.
        """
        values, every = self.values(), known_keys()
        record: dict[str, Any] = {}
        said = set()
        for name, keys in FLAT_NAMES.items():
            used = [key for key in keys if key in values]
            record[name] = values[used[0]] if used else every[keys[0]].default
            said |= {key for key in used if values[key] == record[name]}
        known = known_keys(self.methods)
        shared = {key for keys in FLAT_NAMES.values() if len(keys) > 1 for key in keys}
        for key, value in values.items():
            if key not in said and (key in shared or value != known[key].default):
                record[key] = value
        return {name: list(v) if isinstance(v, tuple) else v for name, v in record.items()}


def record_differences(
    before: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """The settings in which two records differ: name -> (value before, value now).

    Both records are of the form of :meth:`Settings.as_dict`. `before` may come from an older
    version. Settings that it does not record have the values of :data:`UNRECORDED`.
    """
    usual = {EMBEDDINGS.name: EMBEDDINGS.default}  # which is not recorded
    before, now = {**usual, **UNRECORDED, **before}, {**usual, **now}
    names = dict.fromkeys([*now, *before])
    pairs = {name: (before.get(name), now.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


# -- from names to records ------------------------------------------------------------------------


def _made(given: Mapping[str, Given]) -> Settings:
    """The settings with these values. Keys of methods that are not chosen are ignored."""
    plain: dict[str, Any] = {}
    try:
        for stage, record in RECORDS.items():
            plain[stage] = build_record(record, stage, of_stage(stage, given))
        for stage, choice in CHOICES.items():
            values = of_stage(stage, given)
            name = values.pop(choice.selector, choice.default)
            plain[stage] = None
            if not (choice.none and name == "none"):
                kind = choice.get(name)
                used = {key: values[key] for key in keys_of(kind) if key in values}
                plain[stage] = build_record(kind, stage, used)
    except SettingsError as error:
        raise SettingsError(as_written(str(error), given)) from error
    plain |= {name: given[name].value for name in _OWN if name in given}
    return Settings(**plain)


def _check_used(settings: Settings, before: Settings, given: Mapping[str, Given]) -> None:
    """Raise an UnusedSettingError if a changed setting has no effect.

    A change has no effect if only another method reads the setting, or if the other settings switch
    it off. A value that is equal to the preset's is not a change. None is not a change either.
    """
    values, usual = settings.values(), before.values()
    for key, one in given.items():
        stage, _, name = key.partition(".")
        if one.value is None:
            continue
        if key not in values:
            if key not in usual or usual[key] != one.value:
                _check_method(settings, stage, name, one, given)
        elif stage in (*RECORDS, *CHOICES):
            record = getattr(settings, stage)
            when = None if record is None else unused_keys(record).get(name)
            if when and values[key] != usual.get(key, values[key]):
                raise UnusedSettingError(
                    f"{one.written} {one.value!r} has no effect unless {stage}.{when}; leave it out"
                )
    changed = [one.written for key, one in given.items()
               if key.startswith("affinity.") and one.value is not None
               and values[key] != usual[key]]  # fmt: skip
    if changed and not settings.uses_affinity:
        raise UnusedSettingError(
            f"{changed[0]} has no effect: neither parts.method {settings.parts.name!r} nor "
            f"tree.builder {settings.tree.name!r} uses the affinity; leave it out, or set "
            "parts.method to 'simultaneous' or tree.builder to 'recursive'"
        )
    network = settings.backbone.name
    if settings.is_precomputed and settings.view.views not in (1, ViewSettings().views):
        raise UnusedSettingError(
            f"views is a setting of the network, and backbone {network!r} runs no network; leave "
            "it out"
        )
    refine = settings.methods["refine"]
    if network == "precomputed" and refine not in ("none", CHOICES["refine"].default):
        raise UnusedSettingError(
            f"refine {refine!r} needs the photograph, and backbone 'precomputed' has only "
            "features; use precomputed:FOLDER"
        )


def _check_method(
    settings: Settings, stage: str, name: str, one: Given, given: Mapping[str, Given]
) -> None:
    """Raise an UnusedSettingError if the chosen method lacks a key that was changed.

    The default of another method that has the key is not a change.
    """
    twins = [key for key, other in given.items() if other.written == one.written]
    if any(key in settings.values() for key in twins):
        return  # the name sets keys of two stages, and the other stage uses its key
    choice, chosen = CHOICES[stage], settings.methods[stage]
    readers = [method for method in choice.names() if name in choice.keys(method)]
    readers.sort(key=lambda method: method != choice.default)  # the usual method is named first
    if all(choice.keys(method)[name].default != one.value for method in readers):
        selector = f"{stage}.{choice.selector}"
        raise UnusedSettingError(
            f"{one.written} is a setting of {selector} {readers[0]!r}, and {chosen!r} does not "
            f"use it; leave it out or set {selector} to {readers[0]!r}"
        )
