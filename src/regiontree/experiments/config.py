"""Read a config as one record. The config is of the published code or in our own format.

A published config has the keys ``schedule`` and ``tasks``
(:mod:`regiontree.experiments.published`). A config in our own format contains only what
differs from a preset::

    dataset: voc12
    split: val
    preset: published
    settings: {parts: 300}

Both are JSON or YAML.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from regiontree.errors import ConfigError, SettingsError, UnusedSettingError
from regiontree.experiments.experiment import BUDGETS, Experiment
from regiontree.experiments.published import (
    OVERCLUSTERINGS,
    STAGES,
    Published,
    Text,
    remarks_on,
    settings_of,
    unsupported_in,
)
from regiontree.experiments.scoring import metric_class
from regiontree.images import Size
from regiontree.settings import CHOICES, FLAT_NAMES, Settings, known_keys
from regiontree.system.reading import (
    Listed,
    Section,
    nearest,
    read_mapping,
    refuse,
    shown,
    validated,
)

__all__ = ["Experiment", "load_experiment"]

_TOGETHER = {  # settings that are valid only together
    name: {"kernel", "stride", "view.kernel", "view.stride"}
    for name in ("kernel", "stride", "view.kernel", "view.stride")
}
_STAGE_NAMES = {
    "features": "extract_features",
    "trees": "semantic_ncuts",
    "evaluate": "create_stats",
}


def _stage_of(name: object) -> object:
    """The published name of ``features``, ``trees`` or ``evaluate``. Other names are unchanged."""
    return _STAGE_NAMES.get(name, name) if isinstance(name, str) else name


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _stages(value: object) -> object:
    value = _listed(value)
    return [_stage_of(name) for name in value] if isinstance(value, list) else value


def _data(value: object) -> object:
    if not (value and isinstance(value, str | dict)):
        raise ValueError("must be a name of the catalogue, a path or a mapping of keys to values")
    return value


class Own(Section):
    """A config in our own format."""

    dataset: Annotated[Any, AfterValidator(_data)]
    split: Text | None = None
    root: Text | None = None
    output: Text = "results"
    preset: Text = "default"
    settings: dict[str, Any] | None = None
    stages: Annotated[
        Listed[Literal["extract_features", "semantic_ncuts", "create_stats"]],
        BeforeValidator(_stages),
        Field(min_length=1),
    ] = ("extract_features", "semantic_ncuts", "create_stats")
    protocols: Annotated[
        Listed[Literal["pixel", "grid"]], BeforeValidator(_listed), Field(min_length=1)
    ] = ("pixel",)
    match: Literal["max", "hungarian"] = "max"
    threshold: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)
    budgets: Listed[Annotated[int, Field(ge=1)]] = BUDGETS
    metrics: Annotated[Listed[str] | None, BeforeValidator(_listed)] = None
    pictures: bool = False


def load_experiment(
    path: str | Path,
    *,
    model: str | None = None,
    output: str | Path | None = None,
    dataset: str | None = None,
    split: str | None = None,
    root: str | Path | None = None,
    datasets_config: str | Path | None = None,
    stages: Sequence[str] | None = None,
    size: Size | str | None = None,
    refine: str | None = None,
    changes: Mapping[str, Any] | None = None,
    preset: str | None = None,
) -> Experiment:
    """The experiment of a config. Each other argument replaces the value in the config.

    Parameters
    ----------
    path
        A JSON or YAML file, of the published code or in our own format. Relative paths in the
        file start from the current folder.
    model, output, dataset, split, root, datasets_config
        See :class:`Experiment`.
    stages
        Published names, or ``features``, ``trees``, ``evaluate``.
    size, refine
        See :class:`~regiontree.settings.Settings`.
    changes, preset
        Settings by ``stage.key``, and a preset. They replace those of the config.

    Raises
    ------
    ConfigError
        The config has mistakes. The message has one line for each, with its key and value.
    """
    path = Path(path)
    raw = read_mapping(path)
    given: dict[str, Any] = {
        "model": model,
        "output": None if output is None else str(output),
        "dataset": dataset,
        "split": split,
        "root": None if root is None else str(root),
        "datasets_config": None if datasets_config is None else str(datasets_config),
        "stages": None if stages is None else list(stages),
        "size": size,
        "refine": refine,
        "changes": changes or None,
        "preset": preset,
    }
    given = {key: value for key, value in given.items() if value is not None}
    if "schedule" in raw or "tasks" in raw:
        return _from_published(path, raw, given)
    return _from_own(path, raw, given)


# -- published format -----------------------------------------------------------------------------


def _from_published(path: Path, raw: dict[str, Any], given: dict[str, Any]) -> Experiment:
    remarks = []
    for key, theirs in (
        ("model", "model"),
        ("output", "output_root"),
        ("dataset", "dataset"),
        ("split", "split"),
        ("datasets_config", "datasets_config"),
        ("stages", "schedule"),
    ):
        if key in given:
            value = [_stage_of(s) for s in given[key]] if key == "stages" else given[key]
            if theirs in raw and raw[theirs] != value:
                remarks.append(_changed(theirs, raw[theirs], value))
            raw = {**raw, theirs: value}
    config = validated(Published, raw, path)
    mistakes = [
        f"tasks.{stage} is missing, but schedule names this stage"
        for stage in dict.fromkeys(config.schedule)
        if stage not in config.tasks.model_fields_set
    ]
    changes = settings_of(config)
    changes |= _from_options(given, changes)
    settings = _settings(given.get("preset", "published"), changes, mistakes)
    resize = config.tasks.extract_features.resize
    if settings is not None and settings.view.size != tuple(resize):
        size = given.get("size", settings.view.size)
        remarks.append(_changed("tasks.extract_features.resize", list(resize), size))
    datasets_config = _find(
        "datasets_config",
        config.datasets_config,
        None if "datasets_config" in given else path,
        mistakes,
        remarks,
    )
    if mistakes or settings is None or datasets_config is None:
        refuse(path, mistakes)
    if "root" in given:
        remarks.append(f"relative paths in {datasets_config} start from {given['root']}")
    stages = _in_order("schedule", config.schedule, remarks)
    tasks = config.tasks
    return Experiment(
        config=path,
        published=True,
        output=Path(config.output_root),
        dataset=config.dataset,
        split=config.split,
        datasets_config=datasets_config,
        data=None,
        root=Path(given["root"]) if "root" in given else None,
        model=config.model,
        stages=stages,
        settings=settings,
        protocols=("grid", "pixel"),
        save_strips=tasks.semantic_ncuts.save_strips,
        conf_export=config.conf_export,
        folders={stage: getattr(tasks, stage).output_folder for stage in STAGES},
        variant=config.variant,
        remarks=(*remarks, *remarks_on(config)),
        unsupported=tuple(unsupported_in(config)),
    )


# -- our own format -------------------------------------------------------------------------------


def _from_own(path: Path, raw: dict[str, Any], given: dict[str, Any]) -> Experiment:
    if "datasets_config" in given:
        raise ConfigError(
            f"{path}: datasets_config {given['datasets_config']} belongs to published configs; in "
            "our own format, set dataset instead"
        )
    top = ("dataset", "split", "root", "output", "stages", "preset")
    config = validated(Own, {**raw, **{key: given[key] for key in top if key in given}}, path)
    mistakes: list[str] = []
    remarks: list[str] = []
    changes = _by_key(config.settings or {}, "settings.")
    if "model" in given:
        changes = {
            **{name: one for name, one in changes.items() if name not in _names_of("backbone.name")}
        } | {"backbone": ("model", given["model"])}
    changes |= _from_options(given, changes)
    settings = _settings(config.preset, changes, mistakes)
    dataset, data = config.dataset, config.dataset
    if isinstance(data, dict):
        name = data.get("name")
        dataset = name if isinstance(name, str) and name else path.stem
    elif "/" in data or Path(data).suffix in (".yaml", ".yml", ".json"):
        dataset = Path(data).stem
        if found := _find("dataset", data, path, mistakes, remarks):
            data = str(found)
    for name in config.metrics or ():
        try:
            metric_class(name)
        except SettingsError as error:
            mistakes.append(f"metrics: {error}")
    if mistakes or settings is None:
        refuse(path, mistakes)
    stages = _in_order("stages", config.stages, remarks)
    theirs = {ours: name for name, ours in OVERCLUSTERINGS.items()}
    method = theirs.get(settings.parts.name, settings.parts.name)
    merging = "topdown" if settings.tree.name == "recursive" else settings.tree.name
    heuristic = str(getattr(settings.tree, "heuristic", "maxgap"))
    return Experiment(
        config=path,
        published=False,
        output=Path(config.output),
        dataset=dataset,
        split=config.split,
        datasets_config=None,
        data=data,
        root=None if config.root is None else Path(config.root),
        model=settings.backbone.name,
        stages=stages,
        settings=settings,
        protocols=tuple(dict.fromkeys(config.protocols)),
        match=config.match,
        threshold=config.threshold,
        budgets=tuple(sorted(set(config.budgets))),
        metrics=None if config.metrics is None else tuple(dict.fromkeys(config.metrics)),
        save_strips=config.pictures,
        variant=(method, "symmetrical", settings.affinity.distance, heuristic, merging),
        remarks=tuple(remarks),
    )


# -- pieces of both -------------------------------------------------------------------------------


Changes = dict[str, tuple[str, Any]]  # name of a setting -> (key in the config, value)


def _by_key(settings: Mapping[str, Any], start: str) -> Changes:
    """The settings of a file by ``stage.key``: ``{tree: {levels: 5}}`` becomes ``tree.levels``."""
    found: Changes = {}
    for name, value in settings.items():
        inner = value if isinstance(value, Mapping) else None
        if inner is None:
            found[name] = (f"{start}{name}", value)
        else:
            found |= {f"{name}.{key}": (f"{start}{name}.{key}", v) for key, v in inner.items()}
    return found


def _from_options(given: Mapping[str, Any], before: Changes) -> Changes:
    """Settings from the command line. The same settings are removed from `before`."""
    found: Changes = {key: (key, given[key]) for key in ("size", "refine") if key in given}
    found |= {name: (f"--set {name}", value) for name, value in given.get("changes", {}).items()}
    for name in found:
        for key in FLAT_NAMES.get(name, (name,)):
            for old in _names_of(key):
                before.pop(old, None)
    return found


def _names_of(key: str) -> list[str]:
    """Every name of a setting: ``stage.key`` itself and its flat name."""
    return [key, *(name for name, keys in FLAT_NAMES.items() if key in keys)]


def _settings(preset: str, changes: Changes, mistakes: list[str]) -> Settings | None:
    """A preset with changes. If there is a mistake, None; the mistake is added to `mistakes`."""
    try:
        Settings.make(preset)
    except SettingsError as error:
        mistakes.append(f"preset: {error}")
        return None
    names = [*FLAT_NAMES, *known_keys()]
    wrong = [
        f"unknown key {key}{nearest(name, names)}"
        for name, (key, _) in changes.items()
        if name not in names
    ]
    values = {name: value for name, (_, value) in changes.items()}
    if not wrong:
        try:
            return Settings.make(preset, **values)
        except SettingsError as error:
            together = str(error)
        found: dict[str, str] = {}  # message -> key
        for name, (key, _) in changes.items():
            alone = _TOGETHER.get(name, {name}) | _selectors(name)
            try:
                Settings.make(preset, **{n: values[n] for n in alone & values.keys()})
            except UnusedSettingError:
                continue  # the setting may have an effect together with another change
            except SettingsError as error:
                found.setdefault(str(error), key)
        first = [key for name, (key, _) in changes.items() if together.startswith(f"{name} ")]
        found = found or {together: first[0] if first else "settings"}
        wrong = [f"{key}: {said}" for said, key in found.items()]
    mistakes += wrong
    return None


def _selectors(name: str) -> set[str]:
    """All names of the key that chooses the method which has this setting."""
    stages = {key.partition(".")[0] for key in FLAT_NAMES.get(name, (name,))}
    keys = [f"{stage}.{CHOICES[stage].selector}" for stage in stages if stage in CHOICES]
    return {other for key in keys for other in _names_of(key)}


def _find(
    key: str, value: str, config: Path | None, mistakes: list[str], remarks: list[str]
) -> Path | None:
    """The file that a path names. None if there is no such file; the mistake is then added.

    The path is tried from the current folder, the folder of the config, and the two folders above
    it. Last, the file name alone is tried in the folder of the config.
    """
    given = Path(value)
    places = [given]
    if config is not None:
        here = Path(os.path.abspath(config)).parent
        above = (here, here.parent, here.parent.parent)
        places += [*(folder / given for folder in above), here / given.name]
    for place in places:
        if os.path.isfile(place):
            if place is not given:
                remarks.append(
                    f"{key} {value} is not in the current folder; {place} is used instead"
                )
            return Path(os.path.normpath(place))
    tried = ", ".join(dict.fromkeys(os.path.abspath(place) for place in places))
    mistakes.append(f"{key} {value}: no such file (tried {tried}); give its full path")
    return None


def _in_order(key: str, stages: Sequence[str], remarks: list[str]) -> tuple[str, ...]:
    """The stages that this version supports, each once, in the order in which they must run."""
    known = [stage for stage in stages if stage in STAGES]
    ordered = tuple(stage for stage in STAGES if stage in known)
    if list(ordered) != known:
        remarks.append(f"{key} {', '.join(known)} is run in the order {', '.join(ordered)}")
    return ordered


def _changed(key: str, before: object, now: object) -> str:
    return f"{key} {shown(before)} of the config is replaced by {shown(now)}"
