"""Configs of the published code: the values that each key may have, and their meaning here.

Such a config is JSON with a ``schedule`` of stages, and the settings of each stage under ``tasks``.
regiontree reads such a config unchanged. Each value has one of three fates. It becomes one of our
settings. Or regiontree does it in another way, and a remark says how. Or this version cannot do it,
and a sentence says so. No value is accepted and then ignored. ``docs/configs.md`` has a table of
all keys.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from regiontree.system.reading import Listed, Section, shown

__all__ = ["OVERCLUSTERINGS", "STAGES", "Published", "Text", "remarks_on", "settings_of",
           "unsupported_in"]  # fmt: skip

STAGES = ("extract_features", "semantic_ncuts", "postprocess_crf", "create_stats")
"""The stages of the published code, in the order in which they run."""

# Name of a distance in published configs -> our name.
_DISTANCES = {"cosine": "cosine", "l2": "euclidean", "euclidean": "euclidean"}
OVERCLUSTERINGS = {
    "simultaneous": "simultaneous",
    "kmeans": "features",
    "null": "none",
    "pixelkmeans": "colours",
    "felzenszwalb": "felzenszwalb",
    "slic": "slic",
    "quickshift": "quickshift",
    "watershed": "watershed",
}
"""Name of an over-clustering in published configs -> our name."""
_RENAMED = {
    "kover": "parts.count",
    "thresh": "affinity.threshold",
    "sigma": "affinity.sigma",
    "adjacency": "affinity.kind",
    "heuristic": "tree.heuristic",
    "max_kways": "tree.max_ways",
    "mncut_th": "tree.max_ncut",
    "max_perturb": "tree.max_perturbation",
    "min_points": "tree.min_parts",
    "levels": "tree.levels",
}
# Keys with the only value that this version supports.
_ONLY = {
    "merging": "topdown",
    "normalization": "symmetrical",
    "scaling": "unit",
    "eig_stab_th": None,
    "unfold": False,
}
_PUBLISHED_PERTURBATION = 50  # the published code always uses this value and ignores its config


def _inside(folder: str) -> str:
    if PurePath(folder).is_absolute() or ".." in PurePath(folder).parts:
        raise ValueError("must be a folder inside the output")
    return folder


def _printable(text: str) -> str:
    if not (text.strip() and text.isprintable()):
        raise ValueError("must be text that is not blank and has no control characters")
    return text


def _window(value: object) -> object:
    sides = value if isinstance(value, list) else [value]
    if value is not None and not (len(sides) in (1, 2) and all(type(s) is int for s in sides)):
        raise ValueError("must be null, a whole number or a list of two whole numbers")
    return sides[0] if len(sides) == 1 else value  # a square is one number


Text = Annotated[str, AfterValidator(_printable)]
"""Text of a config, not blank and without control characters."""
_Folder = Annotated[Text, AfterValidator(_inside)]
_Pixels = Annotated[int, Field(ge=1)]
_Size = Annotated[Listed[_Pixels], Field(min_length=2, max_length=2)]
_Window = Annotated[Any, AfterValidator(_window)]  # size in pixels, for `unfold`


class _Task(Section):
    output_folder: _Folder
    logging: str | None = None
    log_filename: str | None = None
    num_workers: int | None = None


class _Features(_Task):
    batch_size_per_gpu: int | None = None
    resume: bool = True
    resize: _Size = (840, 840)  # height, width
    unfold: bool = False
    kernel: _Window = None
    stride: _Window = None

    @model_validator(mode="after")
    def _has_windows(self) -> _Features:
        if self.unfold and (self.kernel is None or self.stride is None):
            raise ValueError("needs kernel and stride in pixels because unfold is true")
        return self


class _Trees(_Task):
    save_strips: bool = False
    overclustering: Literal[
        "simultaneous", "kmeans", "null", "pixelkmeans", "felzenszwalb", "slic", "quickshift",
        "watershed",
    ] = "simultaneous"  # fmt: skip
    merging: Literal["topdown", "bottomup"] | None = "topdown"
    normalization: Literal["symmetrical", "randomwalk", "standard"] = "symmetrical"
    distance: Literal["cosine", "l2", "euclidean", "mahalanobis"] = "cosine"
    adjacency: Literal["minmax", "exp"] = "minmax"
    heuristic: Literal["maxgap", "fiedler"] = "maxgap"
    scaling: Literal["unit", "minmax", "standard"] | None = "unit"
    kover: int = 200
    thresh: float = 0.0
    sigma: float = 1.0
    max_kways: int = 10
    eig_stab_th: float | None = None
    mncut_th: float = 0.8
    max_perturb: float = 80.0
    min_points: int = 1
    levels: int = 9
    resume: bool = True
    unfold: bool = False
    kernel: _Window = None
    stride: _Window = None


class _Stats(_Task):
    save_strips: bool = False


class _Tasks(Section):
    extract_features: _Features = _Features(output_folder="features")
    semantic_ncuts: _Trees = _Trees(output_folder="ncuts")
    postprocess_crf: _Task = _Task(output_folder="crf")
    create_stats: _Stats = _Stats(output_folder="stats")
    density_projection: dict[str, Any] | None = None
    postprocess_ncuts: dict[str, Any] | None = None


class Published(Section):
    """A config of the published code. A key that a task leaves out has the published default."""

    output_root: Text
    model: Text
    dataset: Text
    split: Text
    datasets_config: Text
    conf_export: bool = False
    seed: int = 1234
    dist_url: str | None = None
    schedule: Annotated[
        list[
            Literal[
                "extract_features", "semantic_ncuts", "postprocess_crf", "create_stats",
                "density_projection", "postprocess_ncuts",
            ]
        ],
        Field(min_length=1),
    ]  # fmt: skip
    tasks: _Tasks

    @property
    def variant(self) -> tuple[str, ...]:
        """The folder names in output paths that say how the trees are made."""
        trees = self.tasks.semantic_ncuts
        return (
            trees.overclustering,
            trees.normalization,
            trees.distance,
            trees.heuristic,
            trees.merging or "unmerged",
        )


def settings_of(config: Published) -> dict[str, tuple[str, Any]]:
    """Our settings for a config: ``{name: (key in the config, value)}``.

    Values that this version does not support are left out; see :func:`unsupported_in`.
    """
    features, trees = config.tasks.extract_features, config.tasks.semantic_ncuts
    found: dict[str, tuple[str, Any]] = {
        "backbone.name": ("model", config.model),
        "seed": ("seed", config.seed),
        "view.size": ("tasks.extract_features.resize", features.resize),
    }
    unused = _unused_in(trees)
    for theirs, ours in _RENAMED.items():
        if theirs in unused:
            continue
        found[ours] = (f"tasks.semantic_ncuts.{theirs}", getattr(trees, theirs))
    if trees.distance in _DISTANCES:
        found["affinity.distance"] = ("tasks.semantic_ncuts.distance", _DISTANCES[trees.distance])
    method = OVERCLUSTERINGS[trees.overclustering]
    found["parts.method"] = ("tasks.semantic_ncuts.overclustering", method)
    if features.unfold:
        found["view.kernel"] = ("tasks.extract_features.kernel", features.kernel)
        found["view.stride"] = ("tasks.extract_features.stride", features.stride)
    if "postprocess_crf" in config.schedule:
        found["refine.method"] = ("schedule", "crf")
    return found


def _unused_in(trees: _Trees) -> dict[str, str]:
    """Keys that have no effect in the published code because of another key, with that key."""
    found = {}
    if trees.adjacency != "exp":
        found["sigma"] = f"adjacency {trees.adjacency}"
    if trees.overclustering in ("null", "felzenszwalb", "quickshift"):
        found["kover"] = f"overclustering {trees.overclustering}"
    return found


def unsupported_in(config: Published) -> list[str]:
    """Sentences: one for each value of the scheduled stages that this version does not support."""
    said = [
        f"schedule: {stage} is not available in this version; take it out of the schedule"
        for stage in dict.fromkeys(config.schedule)
        if stage in ("density_projection", "postprocess_ncuts")
    ]
    makes_trees = "semantic_ncuts" in config.schedule
    key = "tasks.semantic_ncuts"
    if not makes_trees:
        return said
    trees = config.tasks.semantic_ncuts
    for name, only in _ONLY.items():
        value = getattr(trees, name)
        # Without an over-clustering there is nothing to merge, here and in the published code.
        if value != only and not (name == "merging" and trees.overclustering == "null"):
            said.append(
                f"{key}.{name} {shown(value)} is not available in this version; "
                f"set it to {shown(only)}"
            )
    if trees.distance not in _DISTANCES:
        said.append(
            f"{key}.distance {trees.distance!r} is not available in this version; set it to "
            "'cosine' or 'l2'"
        )
    return said


def remarks_on(config: Published) -> list[str]:
    """Sentences: one for each value that regiontree treats differently than the published code."""
    said = []
    trees = config.tasks.semantic_ncuts
    if "semantic_ncuts" in config.schedule:
        said.append(
            f"tasks.semantic_ncuts.max_perturb {trees.max_perturb:g} is used as written; the "
            f"published code ignores its config here and always uses {_PUBLISHED_PERTURBATION}"
        )
        for name, reason in _unused_in(trees).items():
            if getattr(trees, name) != _Trees.model_fields[name].default:
                written = shown(getattr(trees, name))
                said.append(f"tasks.semantic_ncuts.{name} {written} has no effect with {reason}")
        if trees.overclustering == "kmeans":
            said.append(
                "tasks.semantic_ncuts.overclustering 'kmeans' clusters features of unit length, as "
                "the affinity uses them; the published code does not normalise them"
            )
    scheduled = {
        f"tasks.{stage}": getattr(config.tasks, stage)
        for stage in STAGES
        if stage in config.schedule
    }
    if "postprocess_crf" in config.schedule:
        said.append(
            "postprocess_crf: leaves are refined while the tree is made, so trees are written "
            f"only to {config.tasks.postprocess_crf.output_folder}; specks join a neighbouring leaf"
        )
    afresh = [key for key, task in scheduled.items() if getattr(task, "resume", True) is False]
    if afresh:
        said.append(
            f"resume false ({', '.join(afresh)}): a finished image is still kept if its bytes and "
            "settings are the same; --overwrite makes it again"
        )
    if "create_stats" in config.schedule and (
        config.tasks.create_stats.save_strips and not trees.save_strips
    ):
        said.append(
            "tasks.create_stats.save_strips true has no effect: pictures with the annotation are "
            "drawn beside the trees; set tasks.semantic_ncuts.save_strips to true to get them"
        )
    for key, task in scheduled.items():
        given = [n for n in ("kernel", "stride") if getattr(task, n, None) is not None]
        if given and not task.unfold:
            values = ", ".join(f"{name} {shown(getattr(task, name))}" for name in given)
            said.append(f"{key}: {values} not used because unfold is false")
    unused: dict[str, dict[str, None]] = {}  # key -> its values, in order
    for section in (config, *scheduled.values()):
        for name in ("dist_url", "batch_size_per_gpu", "num_workers", "logging", "log_filename"):
            if (value := getattr(section, name, None)) is not None:
                unused.setdefault(name, {})[str(value)] = None
    if unused:
        values = ", ".join(f"{name} {'/'.join(found)}" for name, found in unused.items())
        said.append(
            f"not used: {values}; the processes of torchrun share the work, each with its own "
            "threads, and messages go to standard error"
        )
    return said
