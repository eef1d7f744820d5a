"""What a collection records of itself: its settings, its model, and what its trees are like."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from regiontree.collection.files import CollectionFiles
from regiontree.collection.projection import Projection
from regiontree.collection.prototypes import Prototypes
from regiontree.collection.settings import CollectionSettings
from regiontree.errors import CollectionError
from regiontree.system.stages import values_of
from regiontree.tree import RegionTree

__all__ = ["facts_of", "load_model", "require_alike", "settings_of"]

_MODEL = {"mean", "axes", "start", "centres", "weight", "count"}


def settings_of(about: Mapping[str, Any]) -> CollectionSettings:
    """The settings that a collection records.

    Raises
    ------
    CollectionError
        They are not those of this program.
    """
    given = about.get("settings")
    usual = CollectionSettings()
    if not isinstance(given, dict) or given.keys() != values_of(usual).keys():
        raise CollectionError("the settings of the collection are not those of this program")
    own = {one.name for one in fields(usual)} - {"tree"}
    tree = {name: value for name, value in given.items() if name not in own}
    return replace(usual, tree=replace(usual.tree, **tree), **{name: given[name] for name in own})


def facts_of(tree: RegionTree, kind: str, blocks: list[int]) -> dict[str, Any]:
    """What trees must have in common so that their descriptors can be compared."""
    backbone = tree.meta.get("backbone") or {}
    settings = tree.meta.get("settings") or {}
    shown = {"name": backbone.get("name"), "sha256": backbone.get("sha256"), "blocks": blocks}
    if kind != "token":
        for fact, names in _EMBEDDED.items():
            shown[fact] = json.dumps({name: settings.get(name) for name in names})
    return shown


def require_alike(known: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Refuse a tree whose facts are not those of the collection's first tree.

    Raises
    ------
    CollectionError
        They differ.
    """
    for name, value in facts.items():
        if known.get(name) != value:
            raise CollectionError(
                f"its tree was made with another {_WORDS[name]} than that of {known['first']!r} "
                f"({value} instead of {known.get(name)}); make all trees alike"
            )


_WORDS = {
    "name": "network",
    "sha256": "state of the network",
    "blocks": "length of descriptors",
    "features": "kind of features",
    "smooth": "smoothing",
}
# Settings that decide what the numbers of an embedding mean.
_EMBEDDED = {"features": ("facet", "layers"), "smooth": ("smoothing", "contrast")}


def load_model(files: CollectionFiles) -> tuple[Projection, Prototypes]:
    """Projection and prototypes of a collection.

    Raises
    ------
    CollectionError
        The collection is not finished, or the file is damaged.
    """
    found = files.read_model(_MODEL)
    if found.keys() != _MODEL:
        raise CollectionError(f"{files.folder}: its model is damaged")
    own = {name: np.array(array) for name, array in found.items()}  # that torch may write to
    return Projection(own["mean"], own["axes"], own["start"]), Prototypes(
        own["centres"], own["weight"], own["count"]
    )
