"""Label trees: the files they come from, what each mistake in those says, the classes they give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from regiontree.datasets import labels as module
from regiontree.datasets.labels import (
    ALIASES,
    LABEL_TREES,
    Kind,
    Label,
    LabelTree,
    load_label_tree,
)
from regiontree.errors import DataError, SettingsError

SHIPPED = Path(module.__file__).with_name("label_trees")
FG, BG, IGNORE = Kind

# animal is a group that pixels carry themselves; furniture has nothing but background in it.
ZOO = LabelTree(
    "zoo",
    (
        Label(("unlabeled",), 255, IGNORE),
        Label(("ground",), 0, BG),
        Label(("animal", "dog", "head"), 1),
        Label(("animal", "dog", "tail"), 2),
        Label(("furniture", "chair"), 3, BG),
        Label(("sky", "sky"), 4),
        Label(("animal",), 5),
        Label(("animal", "cat"), 6),
        Label(("animal", "plate"), -1, IGNORE),
    ),
)
ZOO_TEXT = """\
unlabeled\t255\t2
ground\t0\t1
animal
\tdog
\t\thead\t1\t0
\t\ttail\t2\t0
furniture
\tchair\t3\t1
sky
\tsky\t4\t0
animal\t5\t0
\tcat\t6\t0
\tplate\t-1\t2
"""
ZOO_YAML = """\
source: made up
labels:
  unlabeled: 255
  ground: 0
  animal:
    _: 5
    dog: {head: 1, tail: 2}
    cat: 6
    plate: -1
  furniture: {chair: 3}
  sky: {sky: 4}
background: [ground, furniture]
ignore: [unlabeled, plate]
"""


@pytest.fixture
def write(tmp_path):
    def write(name: str, content: str | bytes) -> Path:
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return write


def by_id(tree: LabelTree) -> list[Label]:
    return sorted(tree.labels, key=lambda label: label.id)


# Classes


def test_the_hierarchy_has_every_ancestor_of_a_foreground_label():
    classes = ZOO.classes()
    assert dict(zip(classes.names, classes.parents.tolist(), strict=True)) == {
        "background": -1,
        "animal": -1,
        "animal--dog": 1,
        "animal--dog--head": 2,
        "animal--dog--tail": 2,
        "animal--cat": 1,
        "sky": -1,
        "sky--sky": 6,
    }
    assert classes.of([0, 3, 1, 2, 4, 5, 6]).tolist() == [0, 0, 3, 4, 7, 1, 5]
    assert classes.ignored == {255, -1}
    assert classes.background == 0


@pytest.mark.parametrize(
    ("depth", "names", "classes"),
    [
        (1, ("animal", "sky"), [1, 1, 2, 1, 1]),
        (2, ("animal", "animal--dog", "animal--cat", "sky--sky"), [2, 2, 4, 1, 3]),
        (
            3,
            ("animal", "animal--dog--head", "animal--dog--tail", "animal--cat", "sky--sky"),
            [2, 3, 5, 1, 4],
        ),
    ],
)
def test_each_depth_is_flat_and_merges_what_lies_below(depth, names, classes):
    found = ZOO.classes(depth)
    assert found.names == ("background", *names)
    assert found.parents.tolist() == [-1] * len(found)
    assert found.of([1, 2, 4, 5, 6]).tolist() == classes
    assert found.of([0, 3, 255, -1]).tolist() == [0, 0, -1, -1]
    assert found.background == 0


def test_without_background_labels_there_is_no_background():
    classes = LabelTree("t", (Label(("a",), 7), Label(("b", "c"), 8))).classes()
    assert classes.names == ("a", "b", "b--c")
    assert classes.background is None
    assert classes.of([7, 8]).tolist() == [0, 2]


def test_depth_is_that_of_the_deepest_foreground_label():
    assert ZOO.max_depth == 3
    deep = Label(("a", "b", "c"), 1, IGNORE)
    assert LabelTree("t", (Label(("a",), 0), deep)).max_depth == 1


@pytest.mark.parametrize("depth", [0, 4, -1, True, 1.0])
def test_a_depth_that_is_none(depth):
    with pytest.raises(SettingsError, match=r"depth must be a whole number in \[1, 3\]"):
        ZOO.classes(depth)


def test_names_of_ids():
    assert ZOO.names[1] == "animal--dog--head"
    assert ZOO.names[255] == "unlabeled"
    assert len(ZOO.names) == 9


# What a tree may be


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([Label(("a",), 1), Label(("b",), 1)], "id 1 of 'b' is already .*'a'"),
        ([Label(("a", "b"), 1), Label(("a", "b"), 2)], "'a--b' has both id 1 and id 2"),
        ([Label(("a",), 1, BG), Label(("b",), 2, IGNORE)], "no foreground label"),
        ([], "no foreground label"),
    ],
)
def test_labels_that_make_no_tree(labels, message):
    with pytest.raises(DataError, match=f"label tree 't'.* {message}"):
        LabelTree("t", tuple(labels))


def test_background_and_ignored_labels_may_share_a_path():
    labels = [Label(("a",), 1), *(Label(("a",), 2 + k, kind) for k, kind in enumerate([BG, BG]))]
    labels += [Label(("a",), 4, IGNORE), Label(("a",), 5, IGNORE)]
    assert LabelTree("t", tuple(labels)).classes().of([1, 2, 3, 4, 5]).tolist() == [1, 0, 0, -1, -1]


@pytest.mark.parametrize(
    ("path", "number", "kind", "message"),
    [
        ((), 1, 0, "id 1 has no name"),
        (("a", ""), 1, 0, "name ''"),
        ((" a",), 1, 0, "name ' a'"),
        (("a\tb",), 1, 0, "printable"),
        (("a",), 2**31, 0, "int32"),
        (("a",), 1, 3, r"kind 3; .*kinds are 0 \(foreground\), 1 \(background\), 2 \(ignore\)"),
    ],
)
def test_labels_that_cannot_be(path, number, kind, message):
    with pytest.raises(DataError, match=message):
        Label(path, number, kind)


# The published text format


def test_text_is_written_as_published_and_read_back(write):
    assert ZOO.to_text() == ZOO_TEXT
    assert LabelTree.from_text(write("zoo.txt", ZOO_TEXT)) == ZOO


name = st.text(st.characters(codec="utf-8"), min_size=1, max_size=4).filter(
    lambda text: text == text.strip() and text.isprintable()
)


@st.composite
def label_trees(draw) -> LabelTree:
    # Few names to choose from, so that groups are met again and labels lie below labels.
    names = draw(st.lists(name, min_size=1, max_size=3))
    path = st.lists(st.sampled_from(names), min_size=1, max_size=4).map(tuple)
    paths = draw(st.lists(path, min_size=1, max_size=12))
    ids = draw(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=12, max_size=12, unique=True))
    seen = set()
    labels = []
    for one, number in zip(paths, ids, strict=False):
        kind = draw(st.sampled_from(Kind)) if seen else FG
        labels.append(Label(one, number, BG if one in seen and kind == FG else kind))
        seen |= {one} if kind == FG else set()
    return LabelTree("tree", tuple(labels))


@given(label_trees())
def test_any_tree_comes_back_from_its_text(tmp_path_factory, tree):
    file = tmp_path_factory.getbasetemp() / "tree.txt"
    file.write_text(tree.to_text(), encoding="utf-8")
    assert LabelTree.from_text(file) == tree


@given(label_trees())
def test_every_class_is_where_its_path_says(tree):
    assume(
        not any("-" in one or one == "background" for label in tree.labels for one in label.path)
    )
    classes = tree.classes()
    names = np.array(classes.names)
    for label in tree.labels:
        (number,) = classes.of([label.id])
        above = {"--".join(label.path[:depth]) for depth in range(1, len(label.path) + 1)}
        expected = {FG: above, BG: {"background"}, IGNORE: set()}[label.kind]
        assert (set(names[classes.contains[number]]) if number >= 0 else set()) == expected
        for depth in range(1, tree.max_depth + 1) if label.kind == FG else ():
            flat = tree.classes(depth)
            assert flat.names[flat.of([label.id])[0]] == "--".join(label.path[:depth])
    for number, inside in enumerate(classes.contains.T):  # what a class contains follows it at once
        assert np.flatnonzero(inside).tolist() == list(range(number, number + inside.sum()))


@pytest.mark.parametrize(
    "text",
    [
        "road\t7\t0\nsea side\t-1\t2",  # no end of line at the end
        "road\t7\t0\nsea side\t-1 2",  # a blank between id and kind
        "road\t7\t0\r\n\r\nsea side\t-1\t2\r\n",
        "road\t7\t0\rsea side\t-1\t2\r",
        "\ufeffroad\t7\t0\n   \nsea side\t-1\t2 \n\t\n",
    ],
)
def test_text_as_it_comes(write, text):
    tree = LabelTree.from_text(write("street.txt", text))
    assert tree == LabelTree("street", (Label(("road",), 7), Label(("sea side",), -1, IGNORE)))


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a\n\tb\n\t\t\tc\t1\t0", 3, "indented by 3 tabs.* 2 "),
        ("\ta\t1\t0", 1, "indented by 1 tabs.* 0 "),
        ("a\n    b\t1\t0", 2, "indented with blanks; use one tab"),
        ("a\n\t b\t1\t0", 2, "indented with blanks"),
        ("a\nb\t1\t0", 1, "group 'a' has no labels below it"),
        ("a\t1\t0\nb\n\tc\n\td\t2\t0", 3, "group 'c' has no labels below it"),
        ("a\t1\t0\nunlabeled 255 2", 2, "group 'unlabeled 255 2' .* tabs between"),
        ("a\t1\t0\n\nb\t1\t0", 3, "id 1 of 'b' is already .*'a'"),
        ("a\t1\t0\na\t2\t0", 2, "'a' has both id 1 and id 2"),
        ("a\t1\t3", 1, "'a' has kind 3"),
        ("a\t1\t-1", 1, "'a' has kind -1"),
        ("a\t1", 1, "name, id and kind"),
        ("a\t1\t0\t0", 1, "name, id and kind"),
        ("0\tbackground\tbackground", 1, "id 'background' of '0' is not a whole number"),
        ("a\t1.0\t0", 1, "id '1.0' of 'a'"),
        ("a\t1\tfg", 1, "kind 'fg' of 'a'"),
        ("a\t" + "9" * 10_000 + "\t0", 1, "id '9999"),
        ("a\t4294967296\t0", 1, "int32"),
        ("", None, "is empty; a label tree expected"),
        (" \n\n", None, "is empty"),
        (b"a\t1\t0\n\xff\xfe", 2, "not text in UTF-8"),
        (b"a\t1\t0\r\nb\x07\t2\t0", 2, r"holds '\\x07', which is no text"),
        (b"a\t1\t0\nb\x00\t2\t0", None, "binary"),
    ],
)
def test_text_that_cannot_be_read(write, text, line, message):
    file = write("tree.txt", text)
    with pytest.raises(DataError, match=message) as caught:
        LabelTree.from_text(file)
    assert str(caught.value).startswith(f"{file}, line {line}: " if line else f"{file}: ")


@pytest.mark.parametrize("read", [LabelTree.from_text, LabelTree.from_yaml, LabelTree.from_table])
def test_a_file_that_is_not_there_and_one_that_is_a_folder(tmp_path, read):
    with pytest.raises(DataError, match=f"^{tmp_path}/nothing: no such file; check the path$"):
        read(tmp_path / "nothing")
    with pytest.raises(DataError, match=f"^{tmp_path}: is a folder; name a label tree in it$"):
        read(tmp_path)


def test_text_without_foreground_names_the_file(write):
    file = write("tree.txt", "a\t1\t1")
    with pytest.raises(DataError, match=r"tree\.txt: label tree 'tree' has no foreground label"):
        LabelTree.from_text(file)


# Our own format


def test_yaml_says_the_same(write):
    tree = LabelTree.from_yaml(write("zoo.yaml", ZOO_YAML))
    assert tree.name == "zoo"
    assert by_id(tree) == by_id(ZOO)
    assert tree.classes().names == ZOO.classes().names


def test_names_are_what_is_written(write):
    text = "labels: {no: 0, on: 1, 1.5: 2, ~: 3, 2024-01-01: 4, 'a: b': 5, 0x10: 6, '': {y: 7}}"
    with pytest.raises(DataError, match="name ''"):
        LabelTree.from_yaml(write("odd.yaml", text))
    tree = LabelTree.from_yaml(write("odd.yaml", text.replace("'': {y: 7}", "_: 7")))
    names = ["no", "on", "1.5", "~", "2024-01-01", "a: b", "0x10", "_"]
    assert tree.labels == tuple(Label((name,), k) for k, name in enumerate(names))


def test_a_series_stands_for_its_labels(write):
    text = "labels: {car: {door_1..3: 7..9, w08..10: 20..22, a..b: 1}}"
    tree = LabelTree.from_yaml(write("cars.yaml", text))
    assert {label.path[1]: label.id for label in tree.labels} == {
        "door_1": 7, "door_2": 8, "door_3": 9, "w08": 20, "w09": 21, "w10": 22, "a..b": 1,
    }  # fmt: skip


def test_names_of_a_file_beside_with_other_kinds(write):
    write("zoo.yaml", ZOO_YAML)
    other = write("other.yaml", "labels: zoo.yaml\nbackground: animal--dog\nignore: sky\n")
    tree = LabelTree.from_yaml(other)
    assert tree.name == "other"
    kinds = {label.id: label.kind for label in tree.labels}
    assert kinds == {255: FG, 0: FG, 1: BG, 2: BG, 3: FG, 4: IGNORE, 5: FG, 6: FG, -1: FG}


def test_json_is_read_too(write):
    text = '{\n\t"labels": {"a": 1, "b":{"c": 2}},\n\t"ignore": ["b"]\n}'
    tree = load_label_tree(write("tree.json", text))
    assert tree.labels == (Label(("a",), 1), Label(("b", "c"), 2, IGNORE))


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("labels: {a: 1}\nignored: [a]", 2, "unknown section 'ignored'; did you mean 'ignore'"),
        ("labels: {a: 1}\nkinds: {}", 2, "unknown section 'kinds'; known: source, labels"),
        ("labels: {a: 1}\nlabels: {b: 1}", 2, "key 'labels' appears twice"),
        ("labels:\n  a: {b: 1}\n  c: 2\n  a: {d: 3}", 4, "key 'a' appears twice"),
        ("labels:\n  a: 1\n  b: 1", 3, "id 1 of 'b' is already .*'a'"),
        ("labels:\n  a: 1\n  b: [2]", 3, "'b' needs an id, or names"),
        ("labels:\n  a: 1\n  b: {}", 3, "'b' needs an id, or names"),
        ("labels:\n  a: 1\n  b:", 3, "id '' of 'b' is not a whole number"),
        ("labels:\n  a: {_: {b: 1}}", 2, "'_' needs an id"),
        ("labels:\n  a: 0x1F", 2, "id '0x1F' of 'a'"),
        ("labels:\n  [1, 2]: 3", 2, "a name is expected"),
        ("labels:\n  a_1..3: 1..2", 2, "a_1..3: 1..2 is not a series.* a_1..3: 7..9"),
        ("labels:\n  a_1..3: -1..3", 2, "is not a series"),
        ("labels:\n  a_3..1: 3..1", 2, "is not a series"),
        ("labels:\n  a: 3..1", 2, "is not a series"),
        ("labels:", 1, "labels must be names .*ids, or .* file"),
        ("source: me\nlabels: none.yaml", 2, "labels: there is no file 'none.yaml'"),
        ('labels: "\\0"', 1, "which is no text"),
        ("labels: [a, b]", 1, "labels must be names .*ids, or .* file"),
        ("a text", None, "holds 'a text'; a label tree has keys and values"),
        ("- a\n- list", None, "holds a list; a label tree has keys and values"),
        ("labels: {a: 1}\nignore: [b, a]", 2, "ignore: no label is called 'b'"),
        ("labels: {dog: 1}\nignore: [dgo]", 2, "no label is called 'dgo'; did you mean 'dog'"),
        ("labels: {a: {x: 1}, b: {x: 2}}\nignore:\n- x", 3, "'x' .*a--x or b--x"),
        ("labels: {a: {b: 1}, c: 2}\nbackground: b\nignore: a", 3, "'a--b' is background already"),
        ("labels: {a: 1}\nignore: {a: 1}", 2, "ignore: must be .*names"),
        ("labels: {a: 1}\nignore: [[a]]", 2, "ignore: must be .*names"),
        ("labels:\n  a: &x {b: 1}\n  c: *x", 2, "alias .*write"),
        ("labels:\n  a: &x {b: *x}", 2, "contains itself.*write"),
        ("labels:\n  a: 1\n b: 2", 3, "not YAML"),
        ("labels:\n\ta: 1", 2, "not YAML"),
        ('labels:\n  "\\U00110000": 1', None, "not YAML"),
        ("labels: {a: 1}\n---\nlabels: {a: 1}", 2, "expected a single document"),
        ("# nothing\n", None, "is empty; a label tree"),
        ("\n", None, "is empty"),
        (b"labels:\n  a\x07: 1", 2, r"holds '\\x07'"),
        (b"labels:\n  a\xe9: 1", 2, "not text in UTF-8"),
    ],
)
def test_yaml_that_cannot_be_read(write, text, line, message):
    file = write("tree.yaml", text)
    with pytest.raises(DataError, match=message) as caught:
        LabelTree.from_yaml(file)
    assert str(caught.value).startswith(f"{file}, line {line}: " if line else f"{file}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"labels": {"a": 1,\n "b": 2,}}', ", line 2: a comma with nothing after it"),
        ('{"labels": {"a": 1 // first\n}}', ", line 1: a comment, which JSON has not"),
        ('{"labels":\n\t{"a": 1,\n\t"a": 2}}', ", line 3: key 'a' appears twice"),
        ('{"labels": {"a": 1,\n "b": [2]}}', ", line 2: 'b' needs an id, or names"),
        ('{"labels": {"a": NaN}}', ": not JSON: NaN is not a JSON value"),
    ],
)
def test_json_that_cannot_be_read(write, text, message):
    file = write("tree.json", text)
    with pytest.raises(DataError, match=f"^{file}{message}"):
        LabelTree.from_yaml(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source: me", r"tree\.yaml: section 'labels' is missing"),
        ("labels: tree.yaml", r"tree\.yaml, line 1: labels must be names .*ids"),
        ("labels: {a: 1}\nignore: [a]", r"tree\.yaml: .* no foreground label"),
        ("labels: " + "{a: " * 5000, r"tree\.yaml: nested too deeply"),
    ],
)
def test_yaml_that_is_no_tree(write, text, message):
    with pytest.raises(DataError, match=message):
        LabelTree.from_yaml(write("tree.yaml", text))


# Tables

TABLE = """\
0\tnothing\tnothing\t-
1\tdog\tpet\tanimal
2\tdog:head\tdog\t\tanimal
3\tboat\tboat\tboat
255\tvoid (ignore)\t-\t
"""


def test_a_table_has_parents_from_near_to_far(write):
    tree = LabelTree.from_table(write("labels.txt", TABLE), background=["nothing"], ignore=[255])
    assert tree.name == write("labels.txt", TABLE).parent.name
    assert tree.labels == (
        Label(("nothing",), 0, BG),
        Label(("animal", "pet", "dog"), 1),
        Label(("animal", "dog", "dog:head"), 2),
        Label(("boat",), 3),
        Label(("void (ignore)",), 255, IGNORE),
    )


def test_columns_choose_the_path(write):
    file = write("labels.txt", "1\tdog\tanimal\tthing\t9\n2\tsky\tsky\tstuff\t7\n")
    tree = LabelTree.from_table(file, columns=[3, 2, 1])
    assert [label.path for label in tree.labels] == [("thing", "animal", "dog"), ("stuff", "sky")]
    tree = LabelTree.from_table(file, columns=[3, 1], ignore=["stuff"])
    assert tree.labels == (Label(("thing", "dog"), 1), Label(("stuff", "sky"), 2, IGNORE))


def test_a_prefix_chooses_rows(write):
    file = write("labels.txt", "a:0\tvoid\na:1\troad\nb,c:0\ttree\nb,c:1\tcar\n")
    assert LabelTree.from_table(file, prefix="a", ignore=[0]) == LabelTree(
        "a", (Label(("void",), 0, IGNORE), Label(("road",), 1))
    )
    assert LabelTree.from_table(file, prefix="c").names == {0: "tree", 1: "car"}
    with pytest.raises(DataError, match=r"line 1: 'a:0'.* choose .*prefix='a'"):
        LabelTree.from_table(file)
    with pytest.raises(DataError, match=r"no id has the prefix 'd'; .*prefixes.*: a, b, c"):
        LabelTree.from_table(file, prefix="d")


@pytest.mark.parametrize(
    ("text", "how", "message"),
    [
        ("0\ta\n1", {}, ", line 2: .*1 columns, .*lacks? a name"),
        ("0\ta\n1\t", {}, ", line 2: .*1 columns, .*lacks? a name"),
        ("0\ta\n1\t\tb", {}, ", line 2: name ''"),
        (
            "0\ta\tb\n1\tc",
            {"columns": [2, 1]},
            r", line 2: .*2 columns.* one of columns \[2, 1\]",
        ),
        ("0\ta\tb", {"columns": [1, -1]}, ", line 1: .*3 columns"),
        ("0\ta\tb", {"columns": []}, ", line 1: .*3 columns"),
        ("0\ta\nid\tname", {}, ", line 2: id 'id' of 'name' is not a whole number"),
        ("0\ta\n\n0\tb", {}, ", line 3: id 0 of 'b' is already .*'a'"),
        ("0\ta\n1\tb", {"ignore": [2]}, ": ignore: no label has id 2"),
        ("0\ta\n1\tdog", {"background": ["dgo"]}, ": background: .* did you mean 'dog'"),
        ("0\ta\n1\tb", {"background": ["a"], "ignore": [0]}, ": ignore: 'a' is background already"),
        ("0\ta\n1\tb", {"ignore": [0, "b"]}, ": .* no foreground label"),
        ("", {}, ": is empty; a label tree expected"),
    ],
)
def test_tables_that_cannot_be_read(write, text, how, message):
    with pytest.raises(DataError, match=rf"labels\.txt{message}"):
        LabelTree.from_table(write("labels.txt", text), **how)


# Shipped trees


def facts(name: str) -> tuple[int, int, int, list[int]]:
    """Foreground, background and ignored labels; classes at each depth without the background."""
    tree = load_label_tree(name)
    kinds = [label.kind for label in tree.labels]
    depths = [tree.classes(depth) for depth in range(1, tree.max_depth + 1)]
    counts = [len(classes) - (classes.background is not None) for classes in depths]
    return kinds.count(FG), kinds.count(BG), kinds.count(IGNORE), counts


FACTS = {
    "cityscapes": (19, 0, 16, [7, 19]),
    "cityscapes27": (27, 0, 8, [7, 27]),
    "coco_stuff": (91, 91, 1, [1, 2, 15, 91]),
    "coco_stuffthings": (182, 0, 1, [2, 4, 27, 182]),
    "coco_things": (91, 91, 1, [1, 2, 12, 91]),
    "kitti_step": (19, 0, 1, [7, 19]),
    "mapillary_vistas": (65, 0, 1, [7, 36, 65]),
    "partimagenet": (40, 1, 0, [11, 40]),
    "partimagenet158": (598, 1, 1, [11, 158, 598]),
    "pascalpart": (388, 1, 1, [20, 388]),
    "pascalpart_grouped": (388, 1, 1, [20, 120, 388]),
    "potsdam": (6, 0, 1, [6]),
    "potsdam3": (6, 0, 1, [3, 6]),
    "sugarbeets": (1, 1, 1, [1]),
    "vaihingen": (6, 0, 1, [6]),
    "voc10": (20, 1, 1, [20]),
    "voc12": (20, 1, 1, [20]),
}


@pytest.mark.parametrize(("name", "expected"), FACTS.items())
def test_what_is_shipped(name, expected):
    assert load_label_tree(name).name == name
    assert facts(name) == expected


def test_nothing_else_is_shipped():
    assert set(FACTS) == set(LABEL_TREES)
    assert {file.suffix for file in SHIPPED.iterdir()} == {".yaml"}


@pytest.mark.parametrize(
    ("name", "number", "path", "kind"),
    [
        ("voc12", 15, "person", FG),
        ("voc12", 255, "unlabeled", IGNORE),
        ("cityscapes", 23, "sky--sky", FG),
        ("cityscapes", -1, "vehicle--license plate", IGNORE),
        ("kitti_step", 18, "vehicle--bicycle", FG),
        ("coco_things", 17, "things--outdoor-super-things--animal-things--dog", FG),
        ("coco_stuff", 17, "things--outdoor-super-things--animal-things--dog", BG),
        ("coco_stuff", 181, "stuff--outdoor-super-stuff--solid-stuff--wood", FG),
        ("pascalpart", 255, "motorbike--headlight_4", FG),
        ("pascalpart_grouped", 255, "motorbike--headlight--headlight_4", FG),
        ("pascalpart", 388, "tvmonitor--screen", FG),
        ("partimagenet", 25, "car--tire", FG),
        ("partimagenet158", 25, "car--garbage_truck--side mirror", FG),
        ("partimagenet158", 599, "void--background", BG),
        ("mapillary_vistas", 50, "object--traffic-sign--front", FG),
        ("vaihingen", 5, "clutter", FG),
    ],
)
def test_some_labels_of_what_is_shipped(name, number, path, kind):
    (label,) = (one for one in load_label_tree(name).labels if one.id == number)
    assert (label.name, label.kind) == (path, kind)


@pytest.mark.parametrize("name", LABEL_TREES)
def test_shipped_files_say_where_their_ids_come_from(name):
    file = SHIPPED / f"{name}.yaml"
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert max(map(len, text.splitlines())) <= 100
    assert len(yaml.safe_load(text)["source"]) > 10


def test_the_reference_labels_are_the_shipped_ones(data):
    folder = data.parent / "reference" / "labels"
    if not folder.is_dir():
        pytest.skip("no published label files beside the data folder")
    for file in sorted(folder.glob("*.txt")):
        published, ours = load_label_tree(file), load_label_tree(file.stem)
        assert published.labels == ours.labels, file.name
        assert published.to_text().split() == file.read_text().split()


@pytest.mark.parametrize(
    ("folder", "how", "counts"),
    [
        ("voc2012", {"ignore": [255], "background": [0]}, [4, 20]),
        ("pascal_part", {"background": ["background"]}, [13, 127]),
        ("cityscapes_train8", {"ignore": ["void", 9, 10, 14, 15, 16, 18, 29, 30]}, [7, 19]),
        ("cocostuff164k_sample", {"ignore": [255], "columns": [2, 1]}, [27, 182]),
        ("coco_panoptic", {"ignore": ["void"], "columns": [3, 2, 1]}, [2, 27, 133]),
        ("aerial_samples", {"ignore": [0], "prefix": "loveda"}, [7]),
    ],
)
def test_tables_of_real_data_sets(data, folder, how, counts):
    tree = LabelTree.from_table(data / folder / "labels.txt", **how)
    found = [tree.classes(depth) for depth in range(1, tree.max_depth + 1)]
    assert [len(one) - (one.background is not None) for one in found] == counts


# Loading by name


@pytest.mark.parametrize("alias", ALIASES)
def test_published_names_are_known(alias):
    assert load_label_tree(alias) == load_label_tree(ALIASES[alias])


def test_files_are_chosen_by_their_suffix(write):
    assert load_label_tree(write("zoo.txt", ZOO_TEXT)) == ZOO
    assert by_id(load_label_tree(str(write("zoo.YML", ZOO_YAML)))) == by_id(ZOO)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "cityscape",
            r"unknown label tree 'cityscape'; did you mean 'cityscapes'\? Known: .*voc12",
        ),
        ("x", r"unknown label tree 'x'\. Known: cityscapes, .*\.txt, \.yaml, \.yml or \.json"),
        ("voc12.csv", r"unknown label tree 'voc12\.csv'; did you mean 'voc12'"),
        (
            "labels/voc12.txt",
            r"labels/voc12\.txt: no such file; did you mean 'voc12'\? That .*regiontree",
        ),
        ("labels/x.txt", r"labels/x\.txt: no such file$"),
    ],
)
def test_names_of_nothing(name, message):
    with pytest.raises(DataError, match=message):
        load_label_tree(name)
