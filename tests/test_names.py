"""Names of trees stay: whatever else is in the folders, and however the photographs are named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from regiontree import RegionParser, RegionTree
from regiontree.engines import finished
from regiontree.engines.batch import Summary, plan, segment
from regiontree.engines.names import Owner, names_for, owner_of
from regiontree.forest.sources import open_source
from regiontree.forest.summary import photographs_of
from regiontree.images import IMAGE_SUFFIXES
from regiontree.system.files import atomic_write
from regiontree.tree.file import read_meta


class Colours:
    """Colours of patches: a network that takes no time."""

    name, digest, patch, dim = "colours", "1", 8, 3
    device, dtype = torch.device("cpu"), torch.float32

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(pixels, 8).permute(0, 2, 3, 1) + 0.1


def photograph(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (16, 24, 3), np.uint8)
    Image.fromarray(noise).save(path, quality=90)
    return path


def parse(*paths: Path | str, out: Path | str, seed: int = 1234, **more: object) -> Summary:
    parser = RegionParser(backbone=Colours(), size=24, views=1, parts=4, refine="none", seed=seed)
    jobs = plan(paths, Path(out), IMAGE_SUFFIXES)
    return segment(parser, jobs, Path(out), **more)


def statuses(summary: Summary) -> list[str]:
    return [outcome.status for outcome in summary.outcomes]


def trees(out: Path) -> dict[str, bytes]:
    """The bytes of each tree in a folder, by its path in the folder."""
    return {file.relative_to(out).as_posix(): file.read_bytes() for file in out.rglob("*.npz")}


@pytest.fixture
def photos(tmp_path: Path) -> dict[str, Path]:
    names = ("A/photo.png", "B/photo.jpg", "B/photo.png", "C/photo.png", "A/other.png")
    return {name: photograph(tmp_path / name, seed) for seed, name in enumerate(names)}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


# -- twins ----------------------------------------------------------------------------------------


def test_photographs_of_one_stem_keep_their_trees_in_one_folder(photos, out):
    seen: dict[str, bytes] = {}
    for name in ("A/photo.png", "B/photo.jpg", "B/photo.png", "C/photo.png"):
        assert statuses(parse(photos[name], out=out)) == ["done"]
        assert trees(out).items() >= seen.items()
        seen = trees(out)
    assert set(seen) == {"photo.npz", "photo.jpg.npz", "photo.png.npz", "C/photo.png.npz"}
    sources = {open_source(out / file).photo for file in seen}
    assert sources == {photos[n] for n in photos if n != "A/other.png"}


def test_a_twin_that_comes_later_changes_nothing(tmp_path, out):
    photograph(tmp_path / "in/a.png")
    parse(tmp_path / "in", out=out)
    before = trees(out)
    photograph(tmp_path / "in/a.jpg", 1)
    summary = parse(tmp_path / "in", out=out)
    assert statuses(summary) == ["done", "skipped"]
    assert trees(out) == {**before, "a.jpg.npz": (out / "a.jpg.npz").read_bytes()}
    assert statuses(parse(tmp_path / "in", out=out)) == ["skipped", "skipped"]


def test_twins_of_one_run_both_keep_their_suffix_and_stay_when_one_goes(tmp_path, out):
    photograph(tmp_path / "in/a.png")
    photograph(tmp_path / "in/a.jpg", 1)
    parse(tmp_path / "in", out=out)
    before = trees(out)
    assert set(before) == {"a.png.npz", "a.jpg.npz"}
    (tmp_path / "in/a.jpg").unlink()
    assert statuses(parse(tmp_path / "in", out=out)) == ["skipped"]
    assert trees(out) == before


def test_equal_photographs_in_two_folders_have_two_trees(tmp_path, photos, out):
    copy = tmp_path / "D/photo.png"
    copy.parent.mkdir()
    copy.write_bytes(photos["A/photo.png"].read_bytes())
    parse(photos["A/photo.png"], out=out)
    assert statuses(parse(copy, out=out)) == ["done"]
    assert statuses(parse(copy, photos["A/photo.png"], out=out)) == ["skipped", "skipped"]
    assert {open_source(out / file).photo for file in trees(out)} == {copy, photos["A/photo.png"]}


def test_names_never_run_out(tmp_path):
    files = [photograph(tmp_path / f"{i}/x/y/p.png", seed=0) for i in range(4)]
    jobs = plan(files, tmp_path / "out", IMAGE_SUFFIXES)
    outputs = [job.output.relative_to(tmp_path / "out").as_posix() for job in jobs]
    assert len(set(outputs)) == 4
    assert outputs[0].startswith("p.png.")
    again = plan(files[::-1], tmp_path / "out", IMAGE_SUFFIXES)
    assert len({job.output for job in again}) == 4


def test_a_name_with_the_digest_is_found_again_when_shorter_names_are_free(tmp_path, out):
    files = [photograph(tmp_path / f"{i}/x/y/p.png", seed=i) for i in range(3)]
    parse(*files, out=out)
    before = trees(out)
    assert len(before) == 3
    assert statuses(parse(files[2], out=out)) == ["skipped"]
    for file in list(out.rglob("*.npz")):
        if open_source(file).photo != files[2]:
            file.unlink()
    assert statuses(parse(files[2], out=out)) == ["skipped"]
    assert len(trees(out)) == 1


def test_a_long_name_has_other_names_too(tmp_path):
    photo = photograph(tmp_path / ("é" * 120 + ".png"))
    names = names_for(photo, tmp_path)
    for _ in range(4):
        assert len(os.fsencode(next(names).name)) <= 255


# -- the same photograph, named differently -------------------------------------------------------


@pytest.mark.parametrize("spelling", ["relative", "linked", "file", "pattern", "above", "dots"])
def test_a_finished_photograph_is_known_however_it_is_named(tmp_path, monkeypatch, out, spelling):
    photo = photograph(tmp_path / "photos/sub/p.png")
    photograph(tmp_path / "photos/q.png", 1)
    parse(tmp_path / "photos", out=out)
    before = trees(out)
    assert set(before) == {"sub/p.npz", "q.npz"}
    if spelling == "relative":
        monkeypatch.chdir(tmp_path / "photos")
        summary = parse("sub/p.png", out="../out")
    elif spelling == "linked":
        (tmp_path / "link").symlink_to(tmp_path / "photos/sub")
        summary = parse(tmp_path / "link", out=out)
    elif spelling == "file":
        summary = parse(photo, out=out)
    elif spelling == "pattern":
        summary = parse(f"{tmp_path}/photos/**/p.*", out=out)
    elif spelling == "above":
        monkeypatch.chdir(tmp_path / "photos")
        summary = parse(tmp_path / "photos/sub/..", out=out)
    else:
        summary = parse(tmp_path / "photos/../photos/sub/./p.png", out=out)
    assert set(statuses(summary)) == {"skipped"}
    assert trees(out) == before


@pytest.mark.parametrize("moved", ["both", "photographs", "trees", "photographs, no summary"])
def test_a_finished_photograph_is_known_after_a_move(tmp_path, out, moved):
    photo = photograph(tmp_path / "set/photos/sub/p.png")
    out = tmp_path / "set/out"
    parse(tmp_path / "set/photos", out=out)
    before = trees(out)
    photos = tmp_path / "set/photos"
    if moved == "both":
        (tmp_path / "set").rename(tmp_path / "moved")
        photos, out = tmp_path / "moved/photos", tmp_path / "moved/out"
    elif moved.startswith("photographs"):
        photos = photos.rename(tmp_path / "images")
    else:
        out = out.rename(tmp_path / "elsewhere")
    if "no summary" in moved:
        (out / "summary.json").unlink()
    found = open_source(out / "sub/p.npz", images=[photos] if "graphs" in moved else ())
    assert found.photo == photos / "sub" / photo.name
    assert found.lack is None
    assert statuses(parse(photos, out=out)) == ["skipped"]
    assert trees(out) == before


def test_trees_of_earlier_versions_are_known_by_the_summary_or_the_digest(tmp_path, photos, out):
    photo = photos["A/photo.png"]
    parse(photo, out=out)
    tree = RegionTree.load(out / "photo.npz")
    image = {key: value for key, value in tree.meta["image"].items() if key != "path"}
    arrays = (tree.labels, tree.parents, tree.height, tree.ncut, tree.stop, tree.embedding)
    RegionTree(*arrays, {**tree.meta, "image": image}).save(out / "photo.npz")
    (out / "summary.json").unlink()
    before = trees(out)
    assert statuses(parse(photo, out=out)) == ["skipped"]
    assert statuses(parse(photos["B/photo.png"], out=out)) == ["done"]
    assert trees(out).items() > before.items()
    # The summary knows the tree of the photograph now, so another state of it is no other one.
    photograph(photo, 99)
    assert statuses(parse(photo, out=out)) == ["failed"]


# -- nothing is replaced unasked ------------------------------------------------------------------


def test_a_photograph_that_has_changed_is_told(photos, out):
    parse(photos["A/photo.png"], photos["B/photo.jpg"], out=out)
    before = trees(out)
    photograph(photos["A/photo.png"], 77)
    summary = parse(photos["A/photo.png"], photos["B/photo.jpg"], out=out)
    assert statuses(summary) == ["failed", "skipped"]
    assert "has changed since" in str(summary.outcomes[0].error)
    assert "--overwrite" in str(summary.outcomes[0].error)
    assert trees(out) == before
    assert statuses(parse(photos["A/photo.png"], out=out, overwrite=True)) == ["done"]
    after = trees(out)
    assert after["photo.jpg.npz"] == before["photo.jpg.npz"]
    assert set(after) == set(before)
    assert after != before


def test_overwrite_replaces_the_photographs_own_tree_only(photos, out):
    parse(photos["A/photo.png"], out=out)
    before = trees(out)
    summary = parse(photos["B/photo.png"], out=out, overwrite=True)
    assert statuses(summary) == ["done"]
    assert trees(out).items() > before.items()
    assert statuses(parse(photos["B/photo.png"], out=out, overwrite=True)) == ["done"]
    assert set(trees(out)) == {"photo.npz", "photo.png.npz"}


def test_a_damaged_tree_is_made_again_in_its_place(photos, out):
    parse(photos["A/photo.png"], photos["B/photo.png"], out=out)
    before = trees(out)
    for name in before:
        (out / name).write_bytes(before[name][:50])
    (out / "other.npz").write_bytes(b"")
    assert statuses(parse(photos["B/photo.png"], photos["A/other.png"], out=out)) == ["done"] * 2
    assert statuses(parse(photos["A/photo.png"], out=out)) == ["done"]
    assert trees(out) == {**before, "other.npz": (out / "other.npz").read_bytes()}


@pytest.mark.parametrize("content", [b"my notes", b"\x93NUMPY\x01\x00", b"PK"])
def test_a_file_that_is_no_tree_is_kept(photos, out, content, tmp_path):
    out.mkdir()
    if content == b"PK":
        np.savez(out / "photo.npz", theirs=np.ones(3))
    else:
        (out / "photo.npz").write_bytes(content)
    before = trees(out)
    summary = parse(photos["A/photo.png"], out=out)
    assert statuses(summary) == ["failed"]
    assert "move it or pass --overwrite" in str(summary.outcomes[0].error)
    assert trees(out) == before


# -- several processes ----------------------------------------------------------------------------


@pytest.fixture
def late(photos, out, monkeypatch):
    """A writing before which another process makes the tree of A/photo.png."""
    real = finished.write_tree_file

    def write(name: Path, *arguments: object, **options: object) -> Path:
        monkeypatch.setattr(finished, "write_tree_file", real)
        parse(photos["A/photo.png"], out=out)
        return real(name, *arguments, **options)

    return write


def test_a_tree_that_another_process_wrote_meanwhile_is_not_replaced(
    photos, out, monkeypatch, late
):
    """The other process has the name between the plan and the writing."""
    monkeypatch.setattr(finished, "write_tree_file", late)
    summary = parse(photos["B/photo.png"], out=out)
    assert statuses(summary) == ["done"]
    assert Path(str(summary.outcomes[0].output)).name == "photo.png.npz"
    assert open_source(out / "photo.npz").photo == photos["A/photo.png"]
    assert open_source(out / "photo.png.npz").photo == photos["B/photo.png"]

    monkeypatch.setattr(finished, "write_tree_file", late)
    summary = parse(photos["A/other.png"], out=out)  # and here it makes another tree
    assert statuses(summary) == ["done"]


def test_the_same_tree_by_another_process_is_kept(photos, out, monkeypatch, late):
    monkeypatch.setattr(finished, "write_tree_file", late)
    assert statuses(parse(photos["A/photo.png"], out=out)) == ["skipped"]
    monkeypatch.setattr(finished, "write_tree_file", late)
    (out / "photo.npz").unlink()
    summary = parse(photos["A/photo.png"], out=out, seed=7)
    assert statuses(summary) == ["failed"]
    assert "other settings" in str(summary.outcomes[0].error)
    assert set(trees(out)) == {"photo.npz"}


@pytest.mark.parametrize("links", [True, False])
def test_a_file_is_not_replaced_if_that_is_asked(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.delattr(os, "link")
        monkeypatch.setattr(os, "link", _no_links, raising=False)
    with atomic_write(tmp_path / "a", replace=False) as file:
        file.write(b"first")
    with pytest.raises(FileExistsError), atomic_write(tmp_path / "a", replace=False) as file:
        file.write(b"second")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def _no_links(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX shell")
def test_processes_on_one_folder_lose_nothing(tmp_path, out):
    """Four folders of photographs with the same names, in four processes at once."""
    for folder in "abcd":
        for i in range(6):
            path = tmp_path / folder / f"{i}.npy"
            path.parent.mkdir(exist_ok=True)
            np.save(path, np.random.default_rng([ord(folder), i]).random((5, 5, 4), np.float32))
    command = [sys.executable, "-m", "regiontree", "segment", "-o", str(out), "--parts", "4",
               "--backbone", "precomputed", "--device", "cpu"]  # fmt: skip
    running = [subprocess.Popen([*command, str(tmp_path / folder)]) for folder in "abcd"]
    assert [process.wait(120) for process in running] == [0, 0, 0, 0]
    files = {str(tmp_path / folder / f"{i}.npy") for folder in "abcd" for i in range(6)}
    made = sorted(out.rglob("*.npz"))
    places = [file.parent / read_meta(file)["image"]["path"] for file in made]
    assert sorted(map(os.path.normpath, places)) == sorted(files)
    assert {str(next(photographs_of(file))) for file in made} == files
    assert not list(out.rglob(".*"))


# -- what is recorded -----------------------------------------------------------------------------


def test_no_tree_names_a_folder_above_both(tmp_path, photos, out):
    parse(photos["A/photo.png"], out=out)
    assert read_meta(out / "photo.npz")["image"]["path"] == "../A/photo.png"
    whole = (out / "photo.npz").read_bytes()
    assert str(tmp_path).encode() not in whole
    assert str(tmp_path) not in json.dumps(read_meta(out / "photo.npz"))


def test_the_summary_keeps_the_photographs_of_earlier_runs(tmp_path, photos, out, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parse("A/photo.png", out="out")
    parse("B/photo.jpg", "A/other.png", out="out")
    (out / "other.npz").unlink()
    parse("C/photo.png", out="out")
    kept = json.loads((out / "summary.json").read_text())
    assert [file["source"] for file in kept["files"]] == [str(photos["C/photo.png"])]
    assert {(file["source"], file["output"]) for file in kept["earlier"]} == {
        (str(photos["A/photo.png"]), str(out / "photo.npz")),
        (str(photos["B/photo.jpg"]), str(out / "photo.jpg.npz")),
    }
    monkeypatch.chdir("/")
    assert list(photographs_of(out / "photo.npz")) == [photos["A/photo.png"]]


def test_owner_of_a_file(tmp_path, photos, out):
    assert owner_of(out / "photo.npz", photos["A/photo.png"]).owner is Owner.NOBODY
    parse(photos["A/photo.png"], out=out)
    assert owner_of(out / "photo.npz", photos["A/photo.png"]).owner is Owner.PHOTOGRAPH
    assert owner_of(out / "photo.npz", photos["B/photo.png"]).owner is Owner.OTHER
    moved = photos["A/photo.png"].rename(tmp_path / "photo.png")
    assert owner_of(out / "photo.npz", moved).owner is Owner.PHOTOGRAPH
    assert owner_of(out / "photo.npz", photos["A/other.png"]).owner is Owner.OTHER
    (out / "photo.npz").write_bytes(b"notes")
    assert owner_of(out / "photo.npz", moved).owner is Owner.STRANGER
