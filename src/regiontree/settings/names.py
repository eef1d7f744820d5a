"""The form ``stage.key`` of the names that users write for settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regiontree.errors import SettingsError, nearest_name, plain_tuple
from regiontree.settings.stages import CHOICES, MAIN_KEYS, RECORDS, known_keys

__all__ = ["FLAT_NAMES", "UNRECORDED", "Given", "as_written", "dotted", "of_stage"]

# Older names, from before settings had stages. Configs, tree files and the short options of the
# command line still use them. One of them, vectors, sets the eigenvectors of two stages. descriptor
# and stability are newer. They have names here because files always record these settings.
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
    "descriptor": ("backbone.descriptor",),
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
    "stability": ("stability",),
}
"""Older names of settings, from before there were stages: name -> each ``stage.key`` it sets."""
UNRECORDED: dict[str, Any] = {
    "views": 1,
    "layers": None,
    "facet": "token",
    "positions": "upstream",
    "descriptor": "none",
    "tiles": None,
    "contrast": None,
    "refine": "none",
    "stability": 0,
}
"""Settings that older tree files do not record, with the values those trees were made with."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value, and the name that the user wrote for its setting."""

    value: Any
    written: str


def dotted(changes: Mapping[str, Any]) -> dict[str, Given]:
    """The changes by ``stage.key``, from any form in which users write them.

    Raises
    ------
    SettingsError
        A name is unknown, or one setting is given twice with different values.
    """
    found: dict[str, Given] = {}
    for name, value in changes.items():
        if hasattr(value, "shape"):  # two arrays cannot be compared by ==
            value = plain_tuple(value)
        if isinstance(value, Mapping) and name in (*RECORDS, *CHOICES):
            new = {f"{name}.{key}": Given(inner, f"{name}.{key}") for key, inner in value.items()}
        elif name in FLAT_NAMES:
            new = {key: Given(value, name) for key in FLAT_NAMES[name]}
        elif name in MAIN_KEYS:
            new = {f"{name}.{MAIN_KEYS[name]}": Given(value, name)}
        else:
            new = {name: Given(value, name)}
        for key, one in new.items():
            before = found.setdefault(key, one)
            if before.value is one.value or before.value == one.value:
                continue
            shared = [g for g in (before, one) if len(FLAT_NAMES.get(g.written, ())) > 1]
            if len(shared) != 1:
                raise SettingsError(
                    f"{one.written} {one.value!r} contradicts {before.written} {before.value!r}; "
                    "leave one of them out"
                )
            # A name of one setting is more exact than a name that sets two, so its value is used.
            found[key] = one if shared[0] is before else before
    known = known_keys()
    for key, one in found.items():
        if key not in known:
            names = [*known, *FLAT_NAMES]
            raise SettingsError(
                f"unknown setting {one.written!r}{nearest_name(one.written, names)}"
            )
    return found


def of_stage(stage: str, given: Mapping[str, Given]) -> dict[str, Any]:
    """The given values of one stage, by key."""
    start = f"{stage}."
    return {
        name.removeprefix(start): one.value for name, one in given.items() if name.startswith(start)
    }


def as_written(message: str, given: Mapping[str, Given]) -> str:
    """The message, with the user's own name in place of the ``stage.key`` at its start."""
    for key, one in given.items():
        if message.startswith(f"{key} "):
            return one.written + message.removeprefix(key)
    return message
