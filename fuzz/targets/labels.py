"""Label trees: published text, YAML and tables."""

from __future__ import annotations

import json
from collections.abc import Callable

from hypothesis import strategies as st

from fuzz.mutate import change_text, json_mutator
from fuzz.target import Box, Target
from fuzz.targets.settings import suffix_of
from regiontree.datasets.labels import LabelTree, load_label_tree

__all__ = ["TARGETS"]

TEXT = (
    b"unlabeled\t255\t2\nbackground\t0\t1\nanimal\t3\t0\n\tdog\t1\t0\n\tcat\t2 0\n"
    b"thing\n\tcar\t7\t0\n"
)
_YAML = b"""source: where the ids come from
labels:
  animal: {_: 3, dog: 1, cat: 2}
  wheel_1..4: 7..10
  unlabeled: 255
  background: 0
background: [background]
ignore: [unlabeled]
"""
_TABLE = b"0\tbackground\t-\n1\tdog\tanimal\tthing\n2\tcat\tanimal\tthing\n3\tboat\tboat\tthing\n"
_OWNED = b"loveda:3\troad\t-\npotsdam,vaihingen:3\ttree\tplants\npotsdam:4\tcar\tthings\n"


def _sound(tree: LabelTree) -> None:
    classes = tree.classes()
    assert len(classes.names) == len(classes.parents)
    for depth in range(1, min(tree.max_depth, 4) + 1):
        tree.classes(depth)
    assert len(tree.names) == len(tree.labels)


def _text(box: Box, data: bytes) -> None:
    tree = load_label_tree(box.write("case.txt", data))
    _sound(tree)
    again = load_label_tree(box.write("case.txt", tree.to_text().encode()))
    assert again.labels == tree.labels, "written and read, the labels differ"


def _yaml(box: Box, data: bytes) -> None:
    _sound(load_label_tree(box.write(f"case{suffix_of(data)}", data)))


def _table(box: Box, data: bytes) -> None:
    path = box.write("case.tsv", data)
    prefix = "potsdam" if b"potsdam" in data else None
    _sound(LabelTree.from_table(path, prefix=prefix, ignore=("background",) if not prefix else ()))


def _lines(cells: st.SearchStrategy[str]) -> Callable[[], st.SearchStrategy[bytes]]:
    def build() -> st.SearchStrategy[bytes]:
        line = st.tuples(
            st.sampled_from(["", "\t", "\t\t", " ", ""]), st.lists(cells, min_size=1, max_size=4)
        )
        text = st.lists(line, max_size=8).map(
            lambda lines: "\n".join(indent + "\t".join(row) for indent, row in lines)
        )
        return text.map(lambda found: found.encode("utf-8", "surrogatepass"))

    return build


def _cells() -> st.SearchStrategy[str]:
    return st.one_of(
        st.sampled_from(
            ["a", "b", "dog", "0", "1", "2", "3", "255", "-1", "-", "x:1", "--", "a--b"]
        ),
        st.integers().map(str),
        st.text(max_size=5),
    )


TARGETS = (
    Target("labels.text", _text, lambda: [TEXT], (change_text,), _lines(_cells())),
    Target("labels.yaml", _yaml, lambda: [_YAML, json.dumps({"labels": {"a": 1}}).encode()],
           (change_text, json_mutator)),
    Target("labels.table", _table, lambda: [_TABLE, _OWNED], (change_text,), _lines(_cells())),
)  # fmt: skip
