"""Files of the published code: its configs, and its description of data sets."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from fuzz.containers import bundle, bundle_mutator, unbundle
from fuzz.mutate import change_text, json_mutator
from fuzz.target import Box, Target
from fuzz.targets.labels import TEXT
from fuzz.targets.settings import as_text, json_values, suffix_of
from regiontree.datasets.published import published_dataset
from regiontree.experiments.config import load_experiment
from regiontree.settings import Settings

__all__ = ["TARGETS"]

_CONFIG: dict[str, Any] = {
    "model": "dinov2_vits14",
    "dataset": "toy",
    "split": "val",
    "datasets_config": "datasets.json",
    "output_root": "results",
    "schedule": ["extract_features", "semantic_ncuts", "create_stats"],
    "tasks": {
        "extract_features": {"output_folder": "features", "resize": [840, 840], "unfold": False,
                             "kernel": None, "stride": None, "resume": True},
        "semantic_ncuts": {"output_folder": "ncuts", "overclustering": "simultaneous",
                           "merging": "topdown", "normalization": "symmetrical",
                           "distance": "cosine", "adjacency": "minmax", "heuristic": "maxgap",
                           "scaling": "unit", "kover": 200, "thresh": 0.0, "sigma": 1.0,
                           "max_kways": 10, "eig_stab_th": None, "mncut_th": 0.8,
                           "max_perturb": 80.0, "min_points": 1, "levels": 9},
        "create_stats": {"output_folder": "stats", "save_strips": False},
    },
}  # fmt: skip
_DATA = {
    "toy": {
        "val": {
            "img": {"dir": "images", "list_txt": "ids.txt", "ext": ".png"},
            "annot": {
                "dir": "masks",
                "list_txt": "ids.txt",
                "ext": ".png",
                "labels_txt": "case.txt",
            },
        },
        "val_thing": {"img": {"dir": "images"}, "annot": {"dir": None}},
    }
}


def _config(box: Box, data: bytes) -> None:
    box.write("datasets.json", json.dumps(_DATA).encode())
    experiment = load_experiment(box.write(f"case{suffix_of(data)}", data))
    assert isinstance(experiment.settings, Settings)
    for text in (*experiment.remarks, *experiment.unsupported):
        assert text.isprintable(), f"control characters in {text!r}"
    for folder in experiment.folders.values():
        assert ".." not in folder, folder


def _config_cases() -> st.SearchStrategy[bytes]:
    keys = [*_CONFIG, *_CONFIG["tasks"], *_CONFIG["tasks"]["semantic_ncuts"]]
    trees = st.dictionaries(
        st.sampled_from(sorted(_CONFIG["tasks"]["semantic_ncuts"])), json_values(keys), max_size=3
    )
    top = st.dictionaries(st.sampled_from(sorted(_CONFIG)), json_values(keys), max_size=1)

    def whole(parts: tuple[dict[str, Any], dict[str, Any]]) -> bytes:
        tasks = _CONFIG["tasks"]
        inner = {**tasks, "semantic_ncuts": {**tasks["semantic_ncuts"], **parts[0]}}
        return as_text({**_CONFIG, "tasks": inner, **parts[1]})

    return st.tuples(trees, top).map(whole)


def _data(box: Box, data: bytes) -> None:
    described, listing, labels = unbundle(data, 3)
    box.write("ids.txt", listing)
    box.write("case.txt", labels)
    for name in ("images", "masks"):
        (box.folder / name).mkdir()
        (box.folder / name / "a.png").write_bytes(b"")
        box.written.add(name)
    path = box.write("case.json", described)
    dataset, remarks = published_dataset(path, "toy", "val", search=[box.folder])
    for text in (*dataset.problems, *remarks):
        assert text.isprintable(), f"control characters in {text!r}"


def _data_seeds() -> list[bytes]:
    listing = b"a\nb_leftImg8bit.png\n"
    return [bundle(json.dumps(_DATA, indent=1).encode(), listing, TEXT)]


TARGETS = (
    Target("published.config", _config, lambda: [json.dumps(_CONFIG, indent=1).encode()],
           (json_mutator, json_mutator, change_text), _config_cases),
    Target("published.data", _data, _data_seeds,
           (bundle_mutator(json_mutator, change_text, change_text),), share=0.7),
)  # fmt: skip
