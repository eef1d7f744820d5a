"""Batches through the real command line: bad files, interruptions, resuming, names, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import EXAMPLE, blocks
from PIL import Image

from regiontree import RegionParser, RegionTree
from regiontree.engines import batch, sharing
from regiontree.engines.batch import largest, plan
from regiontree.errors import SettingsError
from regiontree.images import IMAGE_SUFFIXES
from regiontree.images import load as images
from regiontree.images.readers import ImageRequest
from regiontree.system.inputs import find_files, kinds_text, search

FEATURES = ("--backbone", "precomputed", "--device", "cpu")


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "regiontree", *map(str, arguments)],
        capture_output=True, text=True, env={**os.environ, **environment},
    )  # fmt: skip


def segment_features(
    paths, out: Path, *more: object
) -> tuple[subprocess.CompletedProcess[str], dict]:
    """`regiontree segment` on feature files: the whole batch machinery without a network."""
    done = run("segment", *paths, "-o", out, "--json", *FEATURES, "--parts", 16, *more)
    return done, json.loads(done.stdout) if done.stdout.startswith("{") else {}


def feature_file(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, blocks(12, 12, 8, seed=seed))
    return path


# -- what is meant by a list of paths -------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("b.jpg", "a.PNG", "deep/er/c.webp", "notes.txt", ".hidden.jpg", ".cache/d.jpg"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def test_folders_are_searched_to_any_depth(photos):
    found = [str(file.relative_to(photos)) for file, _ in find_files([photos], IMAGE_SUFFIXES)]
    assert found == ["a.PNG", "b.jpg", str(Path("deep/er/c.webp"))]


def test_patterns_and_files_mix_and_nothing_is_done_twice(photos):
    given = [photos / "b.jpg", f"{photos}/*.jpg", f"{photos}/**/*.webp", photos]
    names = [file.name for file, _ in find_files(given, IMAGE_SUFFIXES)]
    assert names == ["b.jpg", "c.webp", "a.PNG"]


def test_what_a_folder_holds_besides_is_counted(photos, tmp_path):
    for name in ("A.TXT", "b.xmp", "deep/README", "out/tree.npz"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(b"x")
    found = search([photos], IMAGE_SUFFIXES, photos / "out")
    assert found.left_out == {".txt": 2, ".xmp": 1, "": 1}
    assert found.left_out_text == "left out: 2 .txt, 1 without suffix, 1 .xmp"
    assert search([photos / "b.jpg"], IMAGE_SUFFIXES).left_out_text is None
    many = {f".{i}": i for i in range(1, 12)}
    assert kinds_text(many).endswith("4 .4, 6 of 3 other kinds")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a permission")
def test_links_are_followed_once(photos, tmp_path):
    (tmp_path / "other/inner").mkdir(parents=True)
    (tmp_path / "other/o.png").write_bytes(b"x")
    (tmp_path / "other/inner/i.png").write_bytes(b"x")
    (tmp_path / "beside.png").write_bytes(b"x")
    links = {
        "link": tmp_path / "other", "twice": tmp_path / "other", "deep/loop": photos,
        "deep/up": tmp_path, "again": photos / "deep", "part": tmp_path / "other/inner",
        "B.png": photos / "a.PNG", "deep/same.jpg": photos / "b.jpg", "far.png": tmp_path /
        "beside.png", "further.png": tmp_path / "beside.png",
    }  # fmt: skip
    for name, target in links.items():
        (photos / name).symlink_to(target)
    found = search([photos], IMAGE_SUFFIXES)
    names = [file.relative_to(photos).as_posix() for file, _ in found.files]
    assert names == ["a.PNG", "b.jpg", "deep/er/c.webp", "far.png", "link/inner/i.png",
                     "link/o.png"]  # fmt: skip
    assert found.twice == 3
    assert "3 links to files that are there already" in str(found.left_out_text)
    assert len(search([photos, photos / "link", tmp_path / "other"], IMAGE_SUFFIXES).files) == 6


@pytest.mark.skipif(sys.platform == "win32", reason="links need a permission")
def test_a_link_to_nothing_is_told(photos, tmp_path):
    (photos / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    jobs = {job.source.name: job for job in plan([photos], tmp_path / "out", IMAGE_SUFFIXES)}
    assert "gone.jpg: is a link to" in str(jobs["gone.jpg"].error)


def test_a_folder_that_cannot_be_read_is_told(photos, tmp_path, monkeypatch):
    real = os.scandir

    def refuse(path: Path):
        if Path(path).name == "er":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    jobs = plan([photos], tmp_path / "out", IMAGE_SUFFIXES)
    assert [job.error is None for job in jobs] == [True, True, False]
    assert "er: is a folder that cannot be listed (Permission denied)" in str(jobs[2].error)


def test_a_file_with_pattern_characters_is_a_file(tmp_path):
    odd = tmp_path / "photo[1].jpg"
    odd.write_bytes(b"x")
    assert find_files([odd], IMAGE_SUFFIXES) == [(odd, tmp_path)]


def test_names_below_a_folder_are_kept(photos, tmp_path):
    out = tmp_path / "out"
    assert [job.output for job in plan([photos], out, IMAGE_SUFFIXES)] == [
        out / "a.npz", out / "b.npz", out / "deep/er/c.npz",
    ]  # fmt: skip


def test_inputs_of_one_name_get_different_outputs(tmp_path):
    for name in ("x/p.jpg", "x/p.png", "y/p.jpg", "y/q.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    out = tmp_path / "out"
    files = [tmp_path / n for n in ("x/p.jpg", "x/p.png", "y/p.jpg", "y/q.jpg")]
    jobs = plan(files, out, IMAGE_SUFFIXES)
    assert [str(job.output.relative_to(out)) for job in jobs] == [
        str(Path("x/p.jpg.npz")), "p.png.npz", str(Path("y/p.jpg.npz")), "q.npz",
    ]  # fmt: skip


def test_results_inside_the_input_folder_are_not_input(photos):
    out = photos / "out"
    out.mkdir()
    (out / "b.hierarchy.png").write_bytes(b"x")
    assert len(plan([photos], out, IMAGE_SUFFIXES)) == 3
    with pytest.raises(SettingsError, match=r"next run would read the pictures .* as photographs"):
        plan([photos], photos, IMAGE_SUFFIXES, pictures=True)


def test_no_tree_is_written_over_an_input(tmp_path):
    """Feature archives and trees share the suffix .npz."""
    np.savez(tmp_path / "a.npz", features=blocks(6, 6, 4))
    before = (tmp_path / "a.npz").read_bytes()
    done, summary = segment_features([tmp_path / "a.npz"], tmp_path)
    assert done.returncode == 2  # nothing could be done
    assert "would overwrite the input" in summary["files"][0]["error"]
    assert (tmp_path / "a.npz").read_bytes() == before
    assert segment_features([tmp_path / "a.npz"], tmp_path / "out")[1]["done"] == 1


def test_trees_beside_their_features_are_not_taken_for_features(tmp_path):
    feature_file(tmp_path / "a.npy")
    np.savez(tmp_path / "b.npz", features=blocks(6, 6, 4))
    assert segment_features([tmp_path / "a.npy"], tmp_path)[1]["done"] == 1
    done, summary = segment_features([tmp_path], tmp_path)
    assert [Path(file["source"]).name for file in summary["files"]] == ["a.npy", "b.npz"]
    assert summary["left_out"] == {".npz": 1}
    assert summary["skipped"] == 1
    assert "would overwrite the input" in summary["files"][1]["error"]
    assert "left out: 1 .npz" in done.stderr


def test_a_strangers_file_under_the_trees_name_is_not_replaced(tmp_path):
    feature_file(tmp_path / "in/a.npy")
    (tmp_path / "out").mkdir()
    np.savez(tmp_path / "out/a.npz", theirs=np.ones(3))
    done, summary = segment_features([tmp_path / "in"], tmp_path / "out")
    assert done.returncode == 2
    assert "not a region tree" in summary["files"][0]["error"]
    assert "--overwrite" in summary["files"][0]["error"]
    assert "theirs" in np.load(tmp_path / "out/a.npz")


def test_an_output_folder_that_is_a_file_is_refused(photos):
    with pytest.raises(SettingsError, match=r"notes.txt is a file"):
        plan([photos], photos / "notes.txt", IMAGE_SUFFIXES)


# -- running --------------------------------------------------------------------------------------


def test_bad_files_are_recorded_and_the_rest_is_done(tmp_path):
    good = [feature_file(tmp_path / f"in/{i}.npy", seed=i) for i in range(2)]
    (tmp_path / "in/broken.npy").write_bytes(good[0].read_bytes()[:200])
    (tmp_path / "in/text.npy").write_text("hello")
    (tmp_path / "in/empty.npy").write_bytes(b"")
    nan = blocks(6, 6, 4)
    nan[2, 3] = np.nan
    np.save(tmp_path / "in/nan.npy", nan)
    (tmp_path / "nothing").mkdir()
    out = tmp_path / "out"

    done, summary = segment_features(
        [tmp_path / "in", tmp_path / "gone.npy", tmp_path / "nothing", tmp_path / "*.jpg"], out
    )

    assert done.returncode == 1
    assert (summary["planned"], summary["done"], summary["failed"]) == (9, 2, 7)
    errors = {
        Path(f["source"]).name: f["error"] for f in summary["files"] if f["status"] == "failed"
    }
    assert "no such file or folder" in errors["gone.npy"]
    assert "holds no images" in errors["nothing"]
    assert "no file matches this pattern" in errors["*.jpg"]
    assert "1 of 36 patches hold NaN" in errors["nan.npy"]
    assert all(name in error for name, error in errors.items())  # each message names its file
    assert all(error in done.stderr for error in errors.values())  # and a person sees them all
    assert "2 done, 0 skipped, 7 failed" in done.stderr
    assert json.loads((out / "summary.json").read_text()) == summary
    assert sorted(p.name for p in out.iterdir()) == ["0.npz", "1.npz", "summary.json"]


def test_running_again_skips_what_is_finished_and_tells_what_changed(tmp_path):
    for i in range(3):
        feature_file(tmp_path / f"in/{i}.npy", seed=i)
    out = tmp_path / "out"
    assert segment_features([tmp_path / "in"], out)[1]["done"] == 3
    before = {p.name: p.read_bytes() for p in out.glob("*.npz")}

    feature_file(tmp_path / "in/1.npy", seed=9)  # another image under the old name
    (out / "2.npz").write_bytes(before["2.npz"][:100])  # a damaged result
    done, summary = segment_features([tmp_path / "in"], out)
    assert done.returncode == 1
    assert [file["status"] for file in summary["files"]] == ["skipped", "failed", "done"]
    assert "1.npy: has changed since" in summary["files"][1]["error"]
    assert "--overwrite" in summary["files"][1]["error"]
    assert {p.name: p.read_bytes() for p in out.glob("*.npz")} == before
    done, summary = segment_features([tmp_path / "in/1.npy"], out, "--overwrite")
    assert summary["done"] == 1
    after = {p.name: p.read_bytes() for p in out.glob("*.npz")}
    assert after["1.npz"] != before["1.npz"]
    assert {**after, "1.npz": b""} == {**before, "1.npz": b""}


def test_trees_without_embeddings_are_the_same_otherwise_and_not_replaced_unasked(tmp_path):
    feature_file(tmp_path / "in/a.npy")
    out, small = tmp_path / "out", tmp_path / "small"
    segment_features([tmp_path / "in"], out, "--embeddings")
    segment_features([tmp_path / "in"], small, "--no-embeddings")
    tree, other = RegionTree.load(out / "a.npz"), RegionTree.load(small / "a.npz")
    assert tree.embedding is not None
    assert other.embedding is None
    names = ("labels", "parents", "height", "ncut", "stop")
    assert all(np.array_equal(getattr(tree, name), getattr(other, name)) for name in names)
    settings = other.meta["settings"]
    assert settings == {**tree.meta["settings"], "embeddings": False}

    for folder, option, said in (
        (small, "--embeddings", "False -> True"),
        (out, "--no-embeddings", "True -> False"),
    ):
        before = (folder / "a.npz").read_bytes()
        done, summary = segment_features([tmp_path / "in"], folder, option)
        assert done.returncode == 2
        assert f"made with other settings (embeddings {said})" in summary["files"][0]["error"]
        assert (folder / "a.npz").read_bytes() == before
    _, summary = segment_features([tmp_path / "in"], small, "--no-embeddings")
    assert summary["skipped"] == 1


def test_results_of_other_settings_are_neither_trusted_nor_overwritten_unasked(tmp_path):
    feature_file(tmp_path / "in/a.npy")
    out = tmp_path / "out"
    segment_features([tmp_path / "in"], out)
    before = (out / "a.npz").read_bytes()

    done, summary = segment_features([tmp_path / "in"], out, "--seed", 5)
    assert done.returncode == 2
    assert "made with other settings (seed 1234 -> 5)" in summary["files"][0]["error"]
    assert (out / "a.npz").read_bytes() == before
    done, summary = segment_features([tmp_path / "in"], out, "--seed", 5, "--overwrite")
    assert summary["done"] == 1
    assert RegionTree.load(out / "a.npz").meta["settings"]["seed"] == 5


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_batch_keeps_what_was_finished(tmp_path, how):
    count = 600
    for i in range(count):
        feature_file(tmp_path / f"in/{i:03}.npy", seed=i)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "regiontree", "segment", str(tmp_path / "in"), "-o", str(out),
               "--backbone", "precomputed", "--parts", "60", "--device", "cpu"]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(list(out.glob("*.npz"))) < 5:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    finished = {p.name: p.stat().st_mtime_ns for p in out.glob("*.npz")}
    assert 5 <= len(finished) < count
    for path in out.glob("*.npz"):
        RegionTree.load(path)  # every file that has its name is whole
    if how != signal.SIGKILL:
        assert process.returncode == 130
        assert "interrupted: run the same command again" in said
        assert json.loads((out / "summary.json").read_text())["interrupted"] is True
        assert not list(out.glob(".*.tmp"))

    keep = sorted(finished)[:8]
    again = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    summary = json.loads(again.stdout)
    assert summary["skipped"] == len(finished)
    assert summary["done"] == count - len(finished)
    assert all((out / name).stat().st_mtime_ns == finished[name] for name in keep)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--backbone", "nothing"], "unknown backbone 'nothing'"),
        (["--parts", "0"], "parts.count must be a whole number"),
        (["--size", "tall"], "HEIGHTxWIDTH"),
        (["--device", "cuda:99"], "device 'cuda:99' is not on this machine"),
        (["--preset", "best"], "unknown preset 'best'"),
        (["--tree", "oak"], "unknown tree 'oak'"),
        (["--size", "100x100"], "not a multiple of the backbone's patch"),
    ],
)
def test_wrong_options_are_one_line_and_exit_2(arguments, said, tmp_path):
    done = run("segment", EXAMPLE, "-o", tmp_path / "out", *arguments)
    assert done.returncode == 2  # also where it is found when the only image meets the backbone
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_no_input_and_unknown_options_are_usage_errors(tmp_path):
    assert run("segment", "-o", tmp_path).returncode == 2
    assert run("segment", EXAMPLE, "-o", tmp_path, "--speed", "9").returncode == 2
    assert run("segment", EXAMPLE).returncode == 2


def test_show_prints_the_tree(tmp_path):
    feature_file(tmp_path / "a.npy")
    segment_features([tmp_path / "a.npy"], tmp_path / "out")
    done = run("show", tmp_path / "out/a.npz")
    assert done.stdout.rstrip("\n") == str(RegionTree.load(tmp_path / "out/a.npz"))
    few = run("show", tmp_path / "out/a.npz", "--condense", 4).stdout
    assert len(few.splitlines()) == 2 + RegionTree.load(tmp_path / "out/a.npz").condense(4).n_nodes
    shallow = run("show", tmp_path / "out/a.npz", "--depth", 0).stdout
    assert "more below" in shallow
    missing = run("show", tmp_path / "b.npz")
    assert missing.returncode == 2
    assert "b.npz: no such file" in missing.stderr


def test_show_draws_the_tree(tmp_path):
    feature_file(tmp_path / "a.npy")
    segment_features([tmp_path / "a.npy"], tmp_path / "out")
    file, figure = tmp_path / "out/a.npz", tmp_path / "t.png"
    done = run("show", file, "--condense", 4, "--figure", figure)
    assert done.returncode == 0
    assert "photograph" in done.stderr  # there is none: regions are plain colours
    with Image.open(figure) as image:
        assert image.width > 100
        assert image.height > 100
    before = figure.read_bytes()
    again = run("show", file, "--figure", figure)
    assert (again.returncode, again.stdout) == (2, "")
    assert "exists; choose another name or pass --overwrite" in again.stderr
    assert figure.read_bytes() == before
    assert run("show", file, "--figure", figure, "--overwrite").returncode == 0
    assert figure.read_bytes() != before
    odd = run("show", file, "--figure", tmp_path / "t.pgn")
    assert "no figure format '.pgn'; did you mean 'png'?" in odd.stderr
    assert run("show", file, "--depth", 1, "--figure", tmp_path / "p.svg").returncode == 0
    nodes = int((RegionTree.load(file).level <= 1).sum())
    assert (tmp_path / "p.svg").read_text().count("<image ") == nodes


def test_version_is_printed():
    assert run("--version").stdout.startswith("regiontree 0.")


@pytest.mark.usefixtures("embedded_installed")
def test_photographs_from_end_to_end(tmp_path):
    """Real pixels, real network, pictures, and the files a corrupt folder holds."""
    folder = tmp_path / "photos"
    folder.mkdir()
    photo = Image.open(EXAMPLE)
    photo.save(folder / "good.png")
    photo.convert("CMYK").save(folder / "print.jpg")
    (folder / "cut.jpg").write_bytes(EXAMPLE.read_bytes()[:9000])
    (folder / "text.png").write_text("not an image")
    (folder / "zero.jpg").write_bytes(b"")
    out = tmp_path / "out"
    done = run(
        "segment", folder, "-o", out, "--size", 280, "--device", "cpu", "--pictures", "--json"
    )
    assert done.returncode == 1
    summary = json.loads(done.stdout)
    status = {Path(f["source"]).name: f["status"] for f in summary["files"]}
    assert status == {
        "good.png": "done", "print.jpg": "done", "cut.jpg": "failed", "text.png": "failed",
        "zero.jpg": "failed",
    }  # fmt: skip
    tree = RegionTree.load(out / "good.npz")
    assert tree.shape == (512, 512)
    names = {p.name for p in out.iterdir()}
    assert {"good.npz", "good.hierarchy.png", "good.cuts.png", "print.hierarchy.png"} <= names
    for name in names:
        if name.endswith(".png"):
            Image.open(out / name).verify()


@pytest.mark.usefixtures("embedded_installed")
def test_photographs_with_their_own_features(tmp_path):
    """precomputed:FOLDER takes the photograph's size and the folder's features."""
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(EXAMPLE.read_bytes())
    feature_file(tmp_path / "features/photo.npy")
    features = f"precomputed:{tmp_path / 'features'}"
    done = run("segment", photo, "-o", tmp_path / "out", "--backbone", features, "--parts", 12)
    assert done.returncode == 0, done.stderr
    tree = RegionTree.load(tmp_path / "out/photo.npz")
    assert tree.shape == (512, 512)
    assert tree.meta["image"]["grid"] == [12, 12]
    again = ("segment", photo, "-o", tmp_path / "out", "--backbone", features, "--parts", 12)
    assert "0 done, 1 skipped" in run(*again).stderr
    feature_file(tmp_path / "features/photo.npy", seed=3)  # new features: the tree is stale
    assert "its features in" in run(*again).stderr
    assert "1 done, 0 skipped" in run(*again, "--overwrite").stderr


# -- with the next photographs decoded meanwhile, as beside a GPU ---------------------------------


class Colours:
    """Colours of patches: a network that takes no time."""

    name, digest, patch, dim = "colours", "1", 8, 3
    device, dtype = torch.device("cpu"), torch.float32

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(pixels, 8).permute(0, 2, 3, 1) + 0.1


@pytest.fixture(params=[0, 2])
def ahead(request, monkeypatch) -> int:
    monkeypatch.setattr(sharing, "feed", partial(sharing.feed, ahead=request.param))
    return request.param


@pytest.fixture
def folder(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for i in range(5):
        photo = Image.fromarray(rng.integers(0, 255, (40, 64, 3), np.uint8))
        photo.save(tmp_path / "in" / f"{i}.png")
    (tmp_path / "in" / "1.png").write_bytes(b"\x89PNG cut short")
    return tmp_path


def in_process(folder: Path, **more: object) -> batch.Summary:
    parser = RegionParser(backbone=Colours(), size=64, views=1, parts=8)
    jobs = plan([folder / "in"], folder / "out", IMAGE_SUFFIXES)
    return batch.segment(parser, jobs, folder / "out", **more)


def test_decoding_ahead_changes_neither_order_nor_trees(folder, ahead):
    summary = in_process(folder)
    assert [Path(o.source).name for o in summary.outcomes] == [f"{i}.png" for i in range(5)]
    assert [o.status for o in summary.outcomes] == ["done", "failed", "done", "done", "done"]
    alone = RegionParser(backbone=Colours(), size=64, views=1, parts=8)
    for i in (0, 2, 3, 4):
        tree, expected = (
            RegionTree.load(folder / f"out/{i}.npz"),
            alone.parse(folder / f"in/{i}.png"),
        )
        assert np.array_equal(tree.labels, expected.labels)
        image = {**expected.meta["image"], "path": f"../in/{i}.png"}
        assert tree.meta == {**expected.meta, "image": image}
    (folder / "out/3.npz").unlink()
    again = in_process(folder)
    assert [o.status for o in again.outcomes] == ["skipped", "failed", "skipped", "done", "skipped"]


def test_each_photograph_is_decoded_once_and_finished_ones_not_at_all(folder, ahead, monkeypatch):
    decoded: list[str] = []
    real = images.PillowReader.decode

    def counted(self: images.PillowReader, request: ImageRequest):
        decoded.append(Path(request.name).name)
        return real(self, request)

    monkeypatch.setattr(images.PillowReader, "decode", counted)
    in_process(folder)
    assert sorted(decoded) == [f"{i}.png" for i in range(5)]
    decoded.clear()
    in_process(folder)
    assert decoded == ["1.png"]  # the one without a tree


def test_pictures_that_are_missing_are_drawn_without_the_network(folder, ahead, monkeypatch):
    in_process(folder)
    monkeypatch.setattr(Colours, "features", lambda *_: pytest.fail("the network ran"))
    summary = in_process(folder, pictures=True)
    assert [o.status for o in summary.outcomes] == ["done", "failed", "done", "done", "done"]
    out = folder / "out"
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in out.glob("*.png")}
    assert sum(p.name.startswith("0.cut-") for p in before) >= 2
    again = in_process(folder, pictures=True)
    assert [o.status for o in again.outcomes] == ["skipped", "failed"] + ["skipped"] * 3
    (out / "0.cuts.png").unlink()
    (out / "2.hierarchy.png").write_bytes(b"")
    third = in_process(folder, pictures=True)
    assert [o.status for o in third.outcomes] == ["done", "failed", "done", "skipped", "skipped"]
    after = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in out.glob("*.png")}
    assert {p: data for p, (data, _) in after.items()} == {
        p: data for p, (data, _) in before.items()
    }
    drawn = {p.name for p in after if after[p][1] != before[p][1]}
    assert drawn == {"0.cuts.png", "2.hierarchy.png"}
    cut_off = out / "3.cuts.png"
    cut_off.write_bytes(cut_off.read_bytes()[:-20])
    assert in_process(folder, pictures=True).outcomes[3].status == "done"
    assert cut_off.read_bytes() == before[cut_off][0]


def test_a_picture_that_fails_fails_the_job_and_the_next_run_draws_it(folder, ahead):
    out = folder / "out"
    (out / "0.cuts.png").mkdir(parents=True)
    summary = in_process(folder, pictures=True)
    assert [o.status for o in summary.outcomes] == ["failed", "failed", "done", "done", "done"]
    assert summary.outcomes[0].output == str(out / "0.npz")
    tree = (out / "0.npz").read_bytes()
    assert in_process(folder, pictures=True).count("failed") == 2
    (out / "0.cuts.png").rmdir()
    again = in_process(folder, pictures=True)
    assert [o.status for o in again.outcomes] == ["done", "failed"] + ["skipped"] * 3
    assert (out / "0.cuts.png").is_file()
    assert (out / "0.npz").read_bytes() == tree


def test_pictures_of_an_earlier_tree_are_drawn_again(folder, ahead):
    in_process(folder, pictures=True)
    out = folder / "out"
    before = (out / "0.hierarchy.png").read_bytes()
    photo = Image.open(folder / "in/0.png").transpose(Image.Transpose.ROTATE_180)
    photo.save(folder / "in/0.png")
    in_process(folder, overwrite=True)
    assert in_process(folder, pictures=True).outcomes[0].status == "done"
    assert (out / "0.hierarchy.png").read_bytes() != before
    (out / "0.cut-777.png").write_bytes((out / "3.cuts.png").read_bytes())  # of another tree
    (out / "0.cut-778.png").write_bytes((folder / "in/2.png").read_bytes())  # not drawn by us
    in_process(folder, overwrite=True, pictures=True)
    assert not (out / "0.cut-777.png").exists()
    assert (out / "0.cut-778.png").exists()


def test_an_interruption_keeps_what_is_done_and_leaves_no_thread(folder, ahead):
    def stop(outcome: batch.Outcome) -> None:
        if outcome.source.endswith("2.png"):
            raise KeyboardInterrupt

    summary = in_process(folder, on_outcome=stop)
    assert summary.interrupted
    assert [Path(o.source).name for o in summary.outcomes] == ["0.png", "1.png", "2.png"]
    assert not [t for t in threading.enumerate() if t.name.startswith("regiontree-decoding")]
    assert sorted(p.name for p in (folder / "out").glob("*.npz")) == ["0.npz", "2.npz"]


def test_the_largest_photograph_is_found_by_headers_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in {"a.png": (300, 200), "b.jpg": (400, 300), "c.png": (500, 1)}.items():
        Image.new("RGB", size, "teal").save(tmp_path / name)
    (tmp_path / "d.png").write_bytes(b"no image")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow's own limit does not count
    photos = sorted(tmp_path.iterdir())
    parser = RegionParser(size=28, views=1, tiles="own", device="cpu")
    said = largest(parser, photos)
    assert said is not None
    assert said.startswith(f"largest: {tmp_path / 'b.jpg'}, 400 x 300: 1 tile, 29 x 21 patches")
    parser.sight = replace(parser.sight, max_pixels=10_000)
    assert "c.png" in (largest(parser, photos) or "")  # the others will be refused
    assert largest(parser, photos[-1:]) is None
    assert largest(RegionParser(size=28, device="cpu"), photos) is None
