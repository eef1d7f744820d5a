"""Configs in our own format, files of settings, and descriptions of data sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from fuzz.mutate import change_text, json_mutator
from fuzz.target import Box, Target
from regiontree.datasets.dataset import open_spec
from regiontree.experiments.config import load_experiment
from regiontree.settings import FLAT_NAMES, Settings, known_keys
from regiontree.settings.command import given_settings

__all__ = ["TARGETS", "as_text", "json_values", "suffix_of"]

_ROOT = Path(__file__).resolve().parents[2]
_SETTINGS = b"""preset: default
backbone: {name: embedded}
view: {size: 518, views: 4}
smooth: {contrast: null}
affinity: {kind: minmax, threshold: 0.0}
parts: {count: 200}
tree: {builder: ward}
refine: {method: guided}
seed: 0
"""
_OWN = b"""dataset: {images: photos, masks: masks, labels: labels.txt}
split: val
output: results
preset: published
settings: {parts: 300, view: {size: 840x840}, tree.levels: 9}
stages: [features, trees, evaluate]
protocols: [pixel, grid]
match: hungarian
threshold: 0.5
budgets: [1, 2, 8]
metrics: coverings
pictures: true
"""
_SPEC = b"""name: potsdam
split: val
root: $HOME
images: {dir: photos, list: ids.txt, suffix: .png, strip: _rgb}
masks: {dir: masks, suffixes: [.png, .tif]}
ids: masks
format: colours
colours: {"ffffff": 1, blue: 2, "#ff00ff": 3}
labels: {table: labels.tsv, columns: [2, 1], ignore: [255], prefix: potsdam}
expected: 3
"""


def suffix_of(data: bytes) -> str:
    """The suffix that fits the content; the readers go by it."""
    return ".json" if data[:1] in (b"{", b"[") else ".yaml"


def json_values(keys: list[str]) -> st.SearchStrategy[Any]:
    """JSON values whose keys are `keys`, now and then others."""
    leaf = st.one_of(
        st.none(), st.booleans(), st.integers(-3, 400), st.integers(), st.floats(),
        st.text(max_size=8), st.sampled_from(keys), st.just("840x840"),
    )  # fmt: skip
    key = st.one_of(st.sampled_from(keys), st.text(max_size=4))
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(key, inner, max_size=4)
        ),
        max_leaves=8,
    )


def as_text(value: Any) -> bytes:
    """A value as JSON; numbers that JSON lacks are written as Python does."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _mapping(keys: list[str], always: dict[str, Any]) -> Callable[[], st.SearchStrategy[bytes]]:
    def build() -> st.SearchStrategy[bytes]:
        made = st.dictionaries(st.sampled_from(keys), json_values(keys), max_size=4)
        return made.map(lambda found: as_text({**always, **found}))

    return build


def _own(box: Box, data: bytes) -> None:
    experiment = load_experiment(box.write(f"case{suffix_of(data)}", data))
    assert isinstance(experiment.settings, Settings)
    assert experiment.stages
    assert all(type(budget) is int and budget > 0 for budget in experiment.budgets)


def _settings(box: Box, data: bytes) -> None:
    given = given_settings({}, config=box.write(f"case{suffix_of(data)}", data))
    chosen = Settings.make(given.pop("preset"), **given)
    values = chosen.values()
    assert (
        Settings.make("default", **chosen.changes("default")).values() == values
        if hasattr(chosen, "changes")
        else values
    )


def _spec(box: Box, data: bytes) -> None:
    dataset = open_spec(box.write(f"case{suffix_of(data)}", data))
    assert dataset.problems, "no problem, though no file is there"
    for problem in dataset.problems:
        assert problem.isprintable(), f"control characters in {problem!r}"


def _seeds_of(text: bytes, folder: str = "", suffix: str = "*.yaml") -> Callable[[], list[bytes]]:
    def seeds() -> list[bytes]:
        import yaml

        files = sorted((_ROOT / folder).glob(suffix))[:4] if folder else []
        laughs = (b"&%c [*%c, *%c]" % (c + 1, c, c) for c in range(97, 122))  # 2^25 values
        bomb = b"x: [&a [1], " + b", ".join(laughs) + b"]"
        return [
            text,
            bomb,
            json.dumps(yaml.safe_load(text)).encode(),
            *(f.read_bytes() for f in files),
        ]

    return seeds


_CHANGES = (change_text, json_mutator)
_NAMES = (
    "case", "setting", "--set", *sorted({key.partition(".")[0] for key in known_keys()}),
    *FLAT_NAMES,    "preset", "size",
)  # fmt: skip
_OWN_KEYS = ["dataset", "split", "root", "output", "preset", "settings", "stages", "protocols",
             "match", "threshold", "budgets", "metrics", "pictures", "name", "images"]  # fmt: skip
_SPEC_KEYS = ["name", "split", "root", "images", "masks", "ids", "format", "segments", "colours",
              "divide", "labels", "expected", "dir", "list", "suffix", "strip", "table",
              "columns", "ignore", "background", "prefix"]  # fmt: skip
_STAGES = [*known_keys(), *FLAT_NAMES, *sorted({key.partition(".")[0] for key in known_keys()})]

TARGETS = (
    Target("settings.config", _own, _seeds_of(_OWN, "configs"), _CHANGES,
           _mapping(_OWN_KEYS, {"dataset": "voc12"})),
    Target("settings.file", _settings, _seeds_of(_SETTINGS), _CHANGES,
           _mapping(_STAGES, {}), names=_NAMES),
    Target("settings.spec", _spec, _seeds_of(_SPEC), _CHANGES,
           _mapping(_SPEC_KEYS, {"images": "photos"}), names=("case", "potsdam")),
)  # fmt: skip
