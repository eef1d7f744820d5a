"""Listing and reading photographs of this machine: folders, patterns, lists, tables."""

from __future__ import annotations

import json
import os
import pickle
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from sources import SUFFIXES, ask, listed, read

from regiontree.errors import SourceError
from regiontree.references.addresses import address_of, clean, last_name, local_path
from regiontree.references.findings import Findings
from regiontree.references.folders import walk
from regiontree.references.listing import list_references
from regiontree.references.reading import read_bytes
from regiontree.references.reference import Reference
from regiontree.references.seen import Seen
from regiontree.references.tables import USUAL_COLUMNS
from regiontree.system.inputs import search


def fill(folder: Path, *names: str) -> Path:
    """Files whose bytes are their names."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return fill(tmp_path / "photos", "b.jpg", "a/2.jpg", "a/1.jpg", "a.png", "c/d/e.JPG", "n.txt")


# -- folders --------------------------------------------------------------------------------------


def test_a_folder_is_listed_in_the_order_of_its_paths(photos):
    assert listed(photos) == ["a/1.jpg", "a/2.jpg", "a.png", "b.jpg", "c/d/e.JPG"]
    assert read(photos)["a/1.jpg"] == b"a/1.jpg"
    listing = ask(photos)
    assert (listing.count, listing.twice, listing.problems) == (5, 0, {})
    assert listing.left_out_text == "left out: 1 .txt"


def test_a_listing_can_be_read_again(photos):
    listing = list_references(photos, SUFFIXES)
    first = list(listing)
    assert list(listing) == first
    assert listing.count == len(first)


def test_a_listing_streams(tmp_path):
    """The first photographs come before the second source is looked at."""
    fill(tmp_path / "first", *(f"{i}.jpg" for i in range(1500)))
    listing = list_references([tmp_path / "first", tmp_path / "second"], SUFFIXES)
    steps = iter(listing)
    next(steps)
    fill(tmp_path / "second", "late.jpg")
    assert [reference.id for reference in steps][-1] == "second/late.jpg"


def links(folder: Path) -> None:
    """Links of all kinds, beside real files."""
    fill(folder, "in/real.jpg", "in/deep/2.jpg", "in/.hidden/h.jpg", "out/far.jpg", "out/x/y.jpg")
    for place, target in {
        "in/again.jpg": "real.jpg",
        "in/a_first.jpg": "deep/2.jpg",
        "in/far.jpg": "../out/far.jpg",
        "in/far_too.jpg": "../out/far.jpg",
        "in/nowhere.jpg": "../none.jpg",
        "in/deep/up": "..",
        "in/linked": "../out",
        "in/linked_too": "../out",
        "in/secret.jpg": ".hidden/h.jpg",
        "out/x/back": "../../in",
        "out/x/top": "..",
    }.items():
        os.symlink(target, folder / place)


def test_links_are_followed_as_the_search_for_files_does(tmp_path):
    links(tmp_path)
    listing = ask(tmp_path / "in")
    found = search(tmp_path / "in", SUFFIXES)
    assert {r.address for r in list_references(tmp_path / "in", SUFFIXES)} >= {
        str(path) for path, _ in found.files if "linked" not in str(path)
    }
    assert listed(tmp_path / "in") == [
        "deep/2.jpg", "far.jpg", "linked/x/y.jpg", "nowhere.jpg", "real.jpg", "secret.jpg",
    ]  # fmt: skip
    assert listing.twice_named == ["a_first.jpg", "again.jpg", "far_too.jpg", "linked/far.jpg"]


NAMES = st.sampled_from(["a", "b", "a.jpg", "b.png", "a-b", "B", "c.txt", ".x"])


@given(st.sets(st.lists(NAMES, min_size=1, max_size=3).map("/".join), max_size=12))
def test_a_walk_finds_what_the_search_finds(tmp_path_factory, paths):
    folder = tmp_path_factory.mktemp("walk")
    for path in sorted(paths):
        file = folder / path
        if not file.exists() and not any(parent.is_file() for parent in file.parents):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"")
    told = Findings()
    walked = [file.path for file in walk(folder, SUFFIXES, told)]
    found = search(folder, SUFFIXES)
    assert walked == [str(path) for path, _ in found.files if path != folder]
    assert told.left_out + told.left_out == found.left_out + found.left_out


def test_the_output_folder_is_left_out(photos):
    fill(photos / "trees", "picture.png")
    assert "trees/picture.png" in listed(photos)
    assert "trees/picture.png" not in listed(photos, out=photos / "trees")


def test_a_folder_that_cannot_be_listed_is_named(photos, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    listing = ask(photos)
    problem = "is a folder that cannot be listed (Permission denied)"
    assert listing.problems == {str(photos / "a"): problem}
    assert listing.count == 3


def test_a_named_pipe_is_named_and_not_opened(photos):
    os.mkfifo(photos / "pipe.jpg")
    assert "named pipe" in ask(photos).problems[str(photos / "pipe.jpg")]
    with pytest.raises(SourceError, match="named pipe"):
        read_bytes(Reference("p", str(photos / "pipe.jpg"), "pipe.jpg"))


def test_names_that_are_not_text_have_an_address_that_is(tmp_path):
    with open(os.fsencode(tmp_path) + b"/\xff%.jpg", "wb") as file:
        file.write(b"odd")
    (reference,) = list_references(tmp_path, SUFFIXES)
    assert reference.id == r"\xff%.jpg"
    assert reference.address.startswith("file:///")
    assert reference.address.endswith("/%FF%25.jpg")
    assert read_bytes(reference) == b"odd"
    assert reference.path is not None
    assert reference.path.read_bytes() == b"odd"
    reference.address.encode()


@pytest.mark.parametrize("source", ["none", "none/*.jpg", "a\0b", "x" * 3000])
def test_a_source_that_is_not_there_is_named_and_the_rest_goes_on(photos, source):
    listing = ask(source, photos)
    assert list(listing.problems) == [source]
    assert listing.count == 5


def test_a_folder_without_photographs_says_what_it_holds(tmp_path):
    fill(tmp_path, "a.tar", "b.tar", "c.txt")
    problem = ask(tmp_path).problems[str(tmp_path)]
    assert problem.startswith("has no photograph in it; it holds 2 .tar, 1 .txt; to read these")


# -- ids ------------------------------------------------------------------------------------------


def test_ids_do_not_depend_on_how_photographs_are_named(photos):
    by_shell = sorted(photos.glob("*/*.jpg"))
    assert listed(photos / "*" / "*.jpg") == listed(*by_shell[:2], photos / "c" / "d" / "..")[:2]
    assert listed(photos / "**" / "*.jpg") == [
        name for name in sorted(listed(photos)) if name.endswith(".jpg")
    ]
    assert listed(photos / "b.jpg") == ["b.jpg"]


def test_photographs_of_the_same_name_in_two_folders_are_both_listed(tmp_path):
    fill(tmp_path, "train/1.jpg", "val/1.jpg")
    assert read(tmp_path / "train", tmp_path / "val") == {
        "train/1.jpg": b"train/1.jpg",
        "val/1.jpg": b"val/1.jpg",
    }


def test_a_photograph_is_listed_once_however_often_it_is_named(photos):
    listing = ask(photos / "a", photos, photos / "a" / "1.jpg", photos / "a" / "*.jpg")
    assert listing.count == 5
    assert listing.twice == 5
    assert listing.twice_named[0] == "a/1.jpg"
    assert "5 listed twice: a/1.jpg, a/2.jpg" in listing.left_out_text


def test_ids_of_2000_characters_and_with_slashes(tmp_path):
    long = "/".join(["folder"] * 300)
    rows = [{"path": "1.jpg", "key": long}, {"path": "2.jpg", "key": f"{long}/"}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert listed(tmp_path / "t.jsonl", id_column="key") == [long, f"{long}/"]
    assert len(long) > 2000
    listing = ask(*[tmp_path / "t.jsonl"] * 2, id_column="key")
    assert listing.twice == 2
    assert len(listing.left_out_text) < 250


@given(st.lists(st.lists(st.sampled_from("abcdefghij"), max_size=6), max_size=6))
def test_seen_says_what_a_set_says(blocks):
    seen, known = Seen(), set()
    for block in blocks:
        expected = []
        for text in block:
            expected.append(text not in known)
            known.add(text)
        assert seen.add(block).tolist() == expected


def test_seen_holds_eight_bytes_a_text():
    seen = Seen()
    for start in range(0, 20_000, 500):
        assert seen.add([str(i) for i in range(start, start + 500)]).all()
        assert not seen.add([str(i) for i in range(start, start + 500)]).any()
    assert sum(run.nbytes for run in seen._runs) == 8 * 20_000
    assert all(len(a) >= 2 * len(b) for a, b in pairwise(seen._runs))
    assert all(run.dtype == np.uint64 for run in seen._runs)


def test_references_travel_between_processes(photos):
    references = list(list_references(photos, SUFFIXES))
    assert pickle.loads(pickle.dumps(references)) == references
    assert pickle.loads(pickle.dumps(list_references(photos, SUFFIXES))).count == 0


# -- lists and tables -----------------------------------------------------------------------------


def test_a_list_has_an_address_a_line(photos):
    lines = ["b.jpg", "", f"  {photos}/a/1.jpg  ", f"file://{photos}/a/2.jpg", "b.jpg", "none.jpg"]
    (photos / "list.txt").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    found = read(photos / "list.txt")
    assert list(found) == ["b.jpg", f"{photos}/a/1.jpg", f"file://{photos}/a/2.jpg", "none.jpg"]
    assert list(found.values())[:3] == [b"b.jpg", b"a/1.jpg", b"a/2.jpg"]
    assert found["none.jpg"] == f"{photos}/none.jpg: no such file"
    assert ask(photos / "list.txt").twice_named == ["b.jpg"]


def test_a_list_and_a_folder_name_a_photograph_once(photos):
    (photos / "list.lst").write_text("b.jpg\na/1.jpg\n")
    listing = ask(photos / "list.lst", photos)
    assert (listing.count, listing.twice) == (5, 2)


def test_one_id_for_two_photographs_is_an_address_for_the_second(tmp_path):
    fill(tmp_path, "a/1.jpg", "b/1.jpg")
    for folder in ("a", "b"):
        (tmp_path / folder / "list.txt").write_text("1.jpg")
    assert read(tmp_path / "a" / "list.txt", tmp_path / "b" / "list.txt") == {
        "1.jpg": b"a/1.jpg",
        os.path.realpath(tmp_path / "b" / "1.jpg"): b"b/1.jpg",
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("b.jpg\n".encode("utf-16"), "UTF-16"),
        (b"a\0b.jpg\nb.jpg", "row 1 holds a NUL character"),
        (b"x" * 2**21 + b"\nb.jpg", "row 1 is longer than 1,048,576 bytes"),
    ],
)
def test_lists_that_are_wrong_in_places(photos, content, said):
    (photos / "list.txt").write_bytes(content)
    listing = ask(photos / "list.txt")
    assert said in listing.problems[str(photos / "list.txt")]
    assert listing.count == ("UTF-16" not in said)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_a_list_that_names_no_photograph_is_told_of(tmp_path, name):
    (tmp_path / name).write_text("\n\n")
    assert ask(tmp_path / name).problems == {str(tmp_path / name): "names no photograph"}


def test_a_text_among_photographs_is_no_list(photos):
    (photos / "n.txt").write_text("a/1.jpg")
    assert listed(photos / "*") == ["a.png", "b.jpg", "n.txt"]  # as a photograph, which fails
    assert listed(photos / "n.*") == ["n.txt"]
    assert listed(photos / "*.txt") == ["a/1.jpg"]


def parquet(path: Path, **columns: list) -> Path:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table(columns), path)
    return path


def test_a_table_of_parquet(photos):
    pictures, paths = [{"bytes": b"x"}] * 3, ["b.jpg", None, "a/1.jpg"]
    table = parquet(photos / "t.parquet", image=pictures, Path=paths, n=[7, 8, 9])
    assert read(table) == {"b.jpg": b"b.jpg", "a/1.jpg": b"a/1.jpg"}
    assert ask(table).problems == {str(table): "row 2 has no address"}
    assert listed(table, id_column="n") == ["7", "9"]
    assert listed(table, column="Path", id_column="Path") == ["b.jpg", "a/1.jpg"]


def test_texts_of_parquet_in_a_dictionary(photos):
    pa = pytest.importorskip("pyarrow")
    table = parquet(photos / "t.parquet", url=pa.array(["b.jpg", "b.jpg"]).dictionary_encode())
    assert listed(table) == ["b.jpg"]


def test_json_lines(photos):
    lines = ['{"n": 1, "file_name": "b.jpg"}', "", '{"file_name": "a.png", "n": 2}', "[" * 10**5]
    (photos / "t.ndjson").write_text("\n".join(lines))
    assert read(photos / "t.ndjson") == {"b.jpg": b"b.jpg", "a.png": b"a.png"}
    assert ask(photos / "t.ndjson").problems == {str(photos / "t.ndjson"): "row 4 is not JSON"}
    assert listed(photos / "t.ndjson", id_column="n") == ["1", "2"]


def test_the_column_of_addresses_is_the_first_of_the_usual_ones(tmp_path):
    page = (ROOT / "docs/how-to/sources.md").read_text()
    told = page.split("in small or capital letters: ")[1].split("\n- ")[0]
    assert tuple(re.findall(r"`(\w+)`", told)) == USUAL_COLUMNS
    for start in range(len(USUAL_COLUMNS)):
        row = {name.upper(): name for name in reversed(USUAL_COLUMNS[start:])}
        (tmp_path / "t.jsonl").write_text(json.dumps({**row, "other": "x"}))
        assert listed(tmp_path / "t.jsonl") == [USUAL_COLUMNS[start]]


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "no column of addresses with a usual name; choose one with --column: photograph, n"),
        ({"column": "foto"}, "no column 'foto'; it has photograph, n; did you mean 'photograph'?"),
        ({"column": "n"}, "column 'n' holds no texts"),
        ({"column": "photograph", "id_column": "m"}, "has no column 'm'; it has photograph, n"),
    ],
)
def test_columns_that_are_not_there(photos, kind, options, said):
    path = photos / f"t.{kind}"
    if kind == "parquet":
        parquet(path, photograph=["b.jpg"], n=[1])
    else:
        path.write_text('{"photograph": "b.jpg", "n": 1}')
    problem = ask(path, **options).problems[str(path)]
    assert said.split("; did")[0] in problem
    assert listed(path, column="photograph") == ["b.jpg"]


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"no table", "cut"])
def test_parquet_that_is_damaged(photos, damage):
    table = parquet(photos / "t.parquet", url=[f"{i}.jpg" for i in range(5000)])
    data = table.read_bytes()
    table.write_bytes(data[: len(data) // 2] if damage == "cut" else damage)
    assert "is no Parquet file or is damaged" in ask(table).problems[str(table)]


def test_ids_that_are_none(photos):
    rows = [{"url": "b.jpg", "id": value} for value in ("", None, 1.5, True, [1], 10**30, "x/y")]
    (photos / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert listed(photos / "t.jsonl", id_column="id") == [str(10**30), "x/y"]
    (problem,) = ask(photos / "t.jsonl", id_column="id").problems.values()
    assert problem == "5 rows are left out: row 1 has no text and no whole number as id"


def test_problems_are_counted_when_there_are_too_many_to_keep():
    found = Findings()
    for i in range(1500):
        found.add_problem(str(i), "is not there")
    assert (len(found.problems), found.problem_count) == (1000, 1500)


# -- reading --------------------------------------------------------------------------------------


def test_a_part_that_is_not_there_any_more(photos):
    reference = Reference("x", str(photos / "b.jpg"), "b.jpg", 2, 100)
    with pytest.raises(SourceError, match=r"has 3 of its 100 bytes from byte 2"):
        read_bytes(reference)


def test_a_file_of_more_than_4_gib_is_refused(tmp_path):
    with open(tmp_path / "large.jpg", "wb") as file:
        file.truncate(4 * 2**30 + 1)
    (said,) = read(tmp_path).values()
    assert said.endswith("large.jpg: has more than 4,294,967,296 bytes; make a smaller copy")


def test_folders_and_missing_files_are_not_read(photos):
    for path, said in ((photos, "is a folder"), (photos / "none.jpg", "no such file")):
        with pytest.raises(SourceError, match=said):
            read_bytes(Reference("x", str(path), "x"))


# -- addresses ------------------------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name))
def test_every_path_has_an_address_that_leads_back(name):
    path = "/folder/" + os.fsdecode(name).strip("/")
    address = address_of(path)
    address.encode()
    assert os.path.abspath(local_path(address)) == os.path.abspath(path)


@given(st.text(st.characters(), max_size=20), st.sampled_from(["", "https://example.org/"]))
def test_whatever_a_table_says_is_text_in_the_end(tmp_path_factory, text, start):
    """Half characters, which JSON may hold, and bytes that are not UTF-8."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "t.jsonl").write_text(json.dumps({"url": start + text, "id": f"x{text}"}))
    line = (start + text).encode("utf-8", "surrogatepass").replace(b"\n", b"")
    (folder / "l.txt").write_bytes(line + b"\xff")
    listings = [list_references(folder / "t.jsonl", SUFFIXES, id_column="id")]
    listings += [list_references(folder / name, SUFFIXES) for name in ("t.jsonl", "l.txt")]
    for listing in listings:
        for one in listing:
            (one.id + one.address + one.name).encode()
        assert listing.count + listing.problem_count >= 1
        str(listing.problems).encode()


def test_a_url_that_went_through_path():
    assert clean(Path("https://example.org/a.jpg")) == "https://example.org/a.jpg"
    assert last_name("s3://bucket/a b?.jpg") == "a b?.jpg"
