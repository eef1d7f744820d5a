"""Photographs in tar archives: their members, where they lie, and archives that are damaged."""

from __future__ import annotations

import io
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sources import ask, listed, read, tar_of

from regiontree.errors import SourceError
from regiontree.references.archives import members_of

PHOTOS = {"1.jpg": b"one", "1.json": b"{}", "b/2.jpg": b"x" * 3000, "b/.3.jpg": b"", "4.PNG": b""}


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "shard-0.tar"
    path.write_bytes(tar_of(PHOTOS))
    return path


def test_members_with_the_suffix_of_a_photograph_are_listed(shard):
    assert read(shard) == {
        "shard-0.tar/1.jpg": b"one",
        "shard-0.tar/b/2.jpg": b"x" * 3000,
        "shard-0.tar/4.PNG": b"",
    }
    assert ask(shard).left_out_text == "left out: 1 .json"


def test_shards_by_pattern_and_by_list(shard, tmp_path):
    (tmp_path / "shard-1.tar").write_bytes(tar_of({"1.jpg": b"other"}))
    ids = ["shard-0.tar/1.jpg", "shard-0.tar/b/2.jpg", "shard-0.tar/4.PNG", "shard-1.tar/1.jpg"]
    assert listed(tmp_path / "*.tar") == ids
    assert listed(tmp_path / "shard-0.tar", tmp_path / "shard-1.tar") == ids
    (tmp_path / "shards.txt").write_text("shard-0.tar\nshard-1.tar\n")
    assert listed(tmp_path / "shards.txt") == ids
    listing = ask(tmp_path / "shards.txt", tmp_path / "*.tar")
    assert (listing.count, listing.twice) == (4, 4)


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(NAMES.map(lambda name: name.strip("/") or "x"), st.binary(max_size=1200)),
             max_size=6),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    st.integers(0, 400),
)  # fmt: skip
def test_members_are_those_of_the_standard_library(files, format, longer):
    data = tar_of(
        {f"{'long/' * longer}{i}{name}": data for i, (name, data) in enumerate(files)}, format
    )
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        expected = [(one.name, one.offset_data, one.size) for one in archive if one.isreg()]
    found = [(one.name, one.offset, one.length) for one in members_of(io.BytesIO(data))]
    assert found == expected


def test_links_and_folders_are_no_members(tmp_path):
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, kind in (("a.jpg", tarfile.SYMTYPE), ("b.jpg", tarfile.LNKTYPE),
                           ("c.jpg", tarfile.DIRTYPE), ("d.jpg", tarfile.FIFOTYPE)):  # fmt: skip
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "x" * 150
            archive.addfile(entry)
        entry = tarfile.TarInfo("e.jpg")
        entry.size = 3
        archive.addfile(entry, io.BytesIO(b"abc"))
    (tmp_path / "a.tar").write_bytes(held.getvalue())
    assert read(tmp_path / "a.tar") == {"a.tar/e.jpg": b"abc"}


def test_names_that_lead_out_and_names_that_are_not_text(tmp_path):
    data = tar_of({"../../up.jpg": b"up", "/root.jpg": b"root", "\udcff.jpg": b"odd"})
    (tmp_path / "a.tar").write_bytes(data)
    assert read(tmp_path / "a.tar") == {
        "a.tar/../../up.jpg": b"up", "a.tar//root.jpg": b"root", r"a.tar/\xff.jpg": b"odd",
    }  # fmt: skip


def cut_at(data: bytes) -> dict[str, tuple[int, list[str], str]]:
    """Where an archive is cut, which members are before that, and what is said."""
    first = data.index(b"one")
    second = data.index(b"xxx")
    return {
        "in the first header": (100, [], "is cut short: it ends at byte 100 without an end mark"),
        "after the first member": (first + 512, ["1.jpg"], "without an end mark"),
        "in a later header": (second - 300, ["1.jpg"], "without an end mark"),
        "in a member": (second + 200, ["1.jpg"], "is cut short in b/2.jpg, at byte"),
        "in the filling": (second + 3001, ["1.jpg", "b/2.jpg"], "without an end mark"),
        "before the end mark": (len(tar_of({})) and data.rindex(b"ustar") - 257 + 512,
                                ["1.jpg", "b/2.jpg", "4.PNG"], "without an end mark"),
    }  # fmt: skip


@pytest.mark.parametrize("place", list(cut_at(tar_of(PHOTOS))))
def test_an_archive_that_is_cut_short(shard, place):
    """What is before the cut is read, the cut is named, and the other sources go on."""
    data = shard.read_bytes()
    length, names, said = cut_at(data)[place]
    shard.write_bytes(data[:length])
    other = shard.with_name("other.tar")
    other.write_bytes(tar_of({"5.jpg": b"five"}))
    assert listed(shard, other) == [*(f"shard-0.tar/{name}" for name in names), "other.tar/5.jpg"]
    listing = ask(shard, other)
    assert list(listing.problems) == [str(shard)]
    assert said in listing.problems[str(shard)]


@settings(max_examples=200)
@given(st.integers(0, 10**5), st.integers(0, 255), st.integers(0, 10**5))
def test_damage_raises_a_clear_error_or_none(at, value, length):
    data = bytearray(tar_of({f"{'n' * 150}{name}": data for name, data in PHOTOS.items()}))
    data[at % len(data)] = value
    data = data[: max(1, length % (2 * len(data)))]
    with suppress(SourceError):
        for member in members_of(io.BytesIO(data)):
            assert 0 <= member.offset <= member.offset + member.length <= len(data)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b"\xff\xd8" * 700, "is not a tar archive"), (b"\x1f\x8b", "cut short")],
)
def test_files_that_are_no_archives(tmp_path, content, said):
    path = tmp_path / "a.tar"
    path.write_bytes(content)
    assert said in ask(path).problems[str(path)]


def test_an_archive_without_photographs_is_told_of(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(tar_of({"1.txt": b""}))
    assert ask(path).problems == {str(path): "holds no photograph"}


@pytest.mark.parametrize("ending", [".tar.gz", ".tgz", ".tar.zst"])
def test_compressed_archives_are_refused(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"\x1f\x8b")
    assert "is compressed" in ask(path).problems[str(path)]


def test_a_header_that_claims_gigabytes_is_not_read(tmp_path):
    entry = tarfile.TarInfo("a")
    entry.type, entry.size = tarfile.XHDTYPE, 2**33
    (tmp_path / "a.tar").write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + b"\0" * 2048)
    (problem,) = ask(tmp_path / "a.tar").problems.values()
    assert problem.startswith("has a header of 8,589,934,592 bytes")
