"""Names of categories: what people write into the table, and what it means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regiontree.collection.names import Names, read_names
from regiontree.errors import CollectionError

# 0, 1 -> 4; 2, 3 -> 5; 4, 5 -> 6
PARENTS = np.array([4, 4, 5, 5, 6, 6, 6])


def table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["category,name,parent", *lines, ""]), encoding="utf-8")
    return path


def test_a_name_covers_what_lies_below_and_one_below_overrides_it(tmp_path: Path) -> None:
    names = read_names(table(tmp_path / "c.csv", "4,animal,6", "1,dog,4", "5,,6"), PARENTS)
    found = [names.name(category) for category in range(7)]
    assert found == ["animal", "dog", None, None, "animal", None, None]
    assert names.named(1, "  ").name(1) == "animal"
    assert names.named(6, "all").name(2) == "all"


def test_a_category_may_be_put_below_another(tmp_path: Path) -> None:
    names = read_names(table(tmp_path / "c.csv", "4,animal,6", "2,,4"), PARENTS)
    assert (names.name(2), names.name(3)) == ("animal", None)


def test_a_single_region_may_be_moved(tmp_path: Path) -> None:
    names = read_names(table(tmp_path / "c.csv", '"a#b/dog, 1.jpg#57",,5', "5,dog,"), PARENTS)
    assert names.moved == {("a#b/dog, 1.jpg", 57): 5}


@pytest.mark.parametrize("name", ["salt, pepper", 'the "best"', "שלום", "two\nlines", "=1+1"])
def test_any_name_comes_back(tmp_path: Path, name: str) -> None:
    path = tmp_path / "c.csv"
    Names(PARENTS, moved={("x,y.jpg", 3): 2}).named(2, name).save(path, [4, 5, 6])
    found = read_names(path, PARENTS)
    assert found.name(2) == name
    assert found.moved == {("x,y.jpg", 3): 2}
    np.testing.assert_array_equal(found.parents, PARENTS)


def test_of_two_people_the_last_wins_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    assert Names(PARENTS).save(path, [6]) is None
    first, second = read_names(path, PARENTS), read_names(path, PARENTS)
    assert first.named(4, "animal").save(path, [6]) is None
    other = second.named(5, "plant").save(path, [6])
    assert read_names(path, PARENTS).own == {5: "plant"}
    assert other is not None
    assert read_names(other, PARENTS).own == {4: "animal"}


def test_no_table_means_no_names(tmp_path: Path) -> None:
    assert read_names(tmp_path / "c.csv", PARENTS).own == {}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["7,dog,6"], r"line 2: category must be a number from 0 to 6, got '7'"),
        (["1,dog,4", "x,cat,4"], r"line 3: category must be"),
        (["1,dog,9"], r"line 2: parent must be a number from 0 to 6, got '9'"),
        (["a.jpg#x,,5"], r"line 2: node must be a whole number, got 'x'"),
        (["a.jpg#3,,"], r"line 2: parent must be"),
        (["4,,0"], r"category \d lies above itself"),
        (['1,"dog,4'], r"line \d: "),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(CollectionError, match=said):
        read_names(table(tmp_path / "c.csv", *lines), PARENTS)


def test_a_file_that_is_no_such_table(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("category;name;parent\n", encoding="utf-8")
    with pytest.raises(CollectionError, match="has no column 'category'"):
        read_names(path, PARENTS)
    path.write_bytes("category,name,parent\n1,Löwe,4\n".encode("latin-1"))
    with pytest.raises(CollectionError, match="is not UTF-8"):
        read_names(path, PARENTS)
    path.unlink()
    path.mkdir()
    with pytest.raises(CollectionError, match="cannot be read"):
        read_names(path, PARENTS)
