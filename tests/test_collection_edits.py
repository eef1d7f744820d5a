"""Single changes of names: what they change in the table, and what they leave alone."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from regiontree.collection.edits import LONGEST_NAME, Edit, Move, Naming, edit_names
from regiontree.collection.names import read_names
from regiontree.errors import CollectionError

# 0, 1 -> 4; 2, 3 -> 5; 4, 5 -> 6
PARENTS = np.array([4, 4, 5, 5, 6, 6, 6])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "collection.csv"


def text(path: Path) -> str:
    return path.read_bytes().decode("utf-8-sig")


def test_a_name_is_given_changed_and_taken_away(path: Path) -> None:
    names, told = edit_names(path, PARENTS, [Naming(4, " dog, black ", "")])
    assert (names.own, told) == ({4: "dog, black"}, [])
    assert text(path) == 'category,name,parent\r\n4,"dog, black",6\r\n'
    names, _ = edit_names(path, PARENTS, [Naming(4, "שלום", "dog, black")])
    assert read_names(path, PARENTS).own == names.own == {4: "שלום"}
    names, told = edit_names(path, PARENTS, [Naming(4, "", "שלום")])
    assert (names.own, told) == ({}, [])


def test_all_other_cells_and_lines_stay_as_they_are(path: Path) -> None:
    before = 'note,category,name,parent\r\n"mine, too",5,,6\r\n,2,cat,4\r\nx,a#b.jpg#7,,5\r\n'
    path.write_text(before, encoding="utf-8", newline="")
    names, _ = edit_names(path, PARENTS, [Naming(5, "plant", "")])
    assert text(path) == before.replace('"mine, too",5,,6', '"mine, too",5,plant,6')
    assert names.own == {5: "plant", 2: "cat"}
    assert names.moved == {("a#b.jpg", 7): 5}
    assert names.parents[2] == 4


def test_a_region_is_moved_and_moved_back(path: Path) -> None:
    names, told = edit_names(path, PARENTS, [Move("a#b.jpg", 3, 2, None)])
    assert (names.moved, told) == ({("a#b.jpg", 3): 2}, [])
    names, told = edit_names(path, PARENTS, [Move("a#b.jpg", 3, 5, 2)])
    assert (names.moved, told) == ({("a#b.jpg", 3): 5}, [])
    names, told = edit_names(path, PARENTS, [Move("a#b.jpg", 3, None, 5)])
    assert (names.moved, told) == ({}, [])
    assert read_names(path, PARENTS).moved == {}


def test_of_two_people_the_last_wins_is_told_and_nothing_is_lost(path: Path) -> None:
    edit_names(path, PARENTS, [Naming(4, "wolf", "")])
    names, told = edit_names(path, PARENTS, [Naming(4, "dog", ""), Naming(5, "plant", "")])
    assert names.own == {4: "dog", 5: "plant"}
    assert told == ["Category 4: somebody else had named it “wolf” in the meantime."]
    (kept,) = path.parent.glob("collection-*.csv")
    assert read_names(kept, PARENTS).own == {4: "wolf"}


def test_the_same_name_from_two_people_is_no_surprise(path: Path) -> None:
    edit_names(path, PARENTS, [Naming(4, "dog", "")])
    assert edit_names(path, PARENTS, [Naming(4, "dog", "")])[1] == []
    assert [file.name for file in path.parent.glob("*.csv")] == ["collection.csv"]


def test_what_somebody_else_moved_is_told(path: Path) -> None:
    edit_names(path, PARENTS, [Move("a", 1, 2, None)])
    _, told = edit_names(path, PARENTS, [Move("a", 1, 3, None)])
    assert told == ["Region 1 of a: somebody else had moved it to category 2 in the meantime."]
    _, told = edit_names(path, PARENTS, [Move("a", 1, None, 2)])
    assert "to category 3" in told[0]


def test_many_people_at_once_lose_no_name(path: Path) -> None:
    def name(category: int) -> None:
        for i in range(10):
            was = "" if i == 0 else f"{category}.{i - 1}"
            edit_names(path, PARENTS, [Naming(category, f"{category}.{i}", was)])

    threads = [threading.Thread(target=name, args=(category,)) for category in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_names(path, PARENTS).own == {category: f"{category}.9" for category in range(6)}
    assert [file.name for file in path.parent.glob("*.csv")] == ["collection.csv"]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (Naming(7, "a", ""), "there is no category 7: they are 0 to 6"),
        (Move("a", 1, 7, None), "there is no category 7"),
        (Naming(1, "a" * (LONGEST_NAME + 1), ""), "a name has at most 1000 characters, got 1001"),
    ],
)
def test_an_impossible_edit_changes_nothing(path: Path, edit: Edit, said: str) -> None:
    with pytest.raises(CollectionError, match=said):
        edit_names(path, PARENTS, [Naming(1, "b", ""), edit])
    assert not path.exists()


def test_a_damaged_table_is_named_and_left_as_it_is(path: Path) -> None:
    path.write_text("category,name,parent\n9,dog,4\n")
    with pytest.raises(CollectionError, match=r"collection\.csv, line 2: category must be"):
        edit_names(path, PARENTS, [Naming(1, "b", "")])
    assert path.read_text() == "category,name,parent\n9,dog,4\n"
