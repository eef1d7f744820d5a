"""One input that cannot be looked at ends no command: a failed line each, and the exit code."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import socket
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import blocks, refused
from PIL import Image
from trees import random_tree
from typer.testing import CliRunner, Result

from regiontree import RegionParser, RegionTree
from regiontree.backbones.registry import FAMILIES
from regiontree.cli import app
from regiontree.datasets import masks
from regiontree.datasets.matfile import load_mat
from regiontree.engines.feeding import feed
from regiontree.engines.photographs import Photographs
from regiontree.errors import DataError, ImageError, SettingsError
from regiontree.images import IMAGE_SUFFIXES, load_image
from regiontree.system.faults import attempt, fault_text
from regiontree.system.files import sha256_of
from regiontree.system.inputs import find_files
from regiontree.system.paths import files_below, fitted_name, path_problem, require_writable
from regiontree.system.terminal import one_line, printable

LONG = "a" * 300
POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX files")


def command(*arguments: object) -> Result:
    """A command in this process. An exception that it does not expect is raised."""
    return CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)


def process(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, with its real streams."""
    environment = {**os.environ, **options.pop("environment", {})}
    return subprocess.run(
        [sys.executable, "-m", "regiontree", *map(str, arguments)],
        capture_output=True, text=True, env=environment, timeout=120, **options,
    )  # fmt: skip


def segment(out: Path, *paths: object, more: tuple[object, ...] = ()) -> Result:
    """`segment` on feature files: the whole batch without a network."""
    return command(
        "segment", "-o", out, "--backbone", "precomputed", "--device", "cpu", "--set",
        "parts.count=16", *more, "--", *paths,
    )  # fmt: skip


def features(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, blocks(8, 8, 8, seed=seed))
    return path


def tree(path: Path, seed: int = 1, **meta: Any) -> Path:
    made = random_tree(np.random.default_rng(seed), 6, (5, 8))
    path.parent.mkdir(parents=True, exist_ok=True)
    return RegionTree(made.labels, made.parents, made.height, meta=meta).save(path)


def failed_lines(result: Result | subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in result.stderr.splitlines() if line.startswith("failed: ")]


def odd_paths(folder: Path, suffix: str) -> dict[str, str]:
    """Inputs that cannot be looked at, by what the message must say."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"dangling{suffix}").symlink_to("nowhere")
    (folder / f"loop{suffix}").symlink_to(f"loop{suffix}")
    os.mkfifo(folder / f"pipe{suffix}")
    cut = os.getcwd()
    os.chdir(folder)  # the path of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(f"sock{suffix}")
    finally:
        os.chdir(cut)
    return {
        "File name too long": str(folder / f"{LONG}{suffix}"),
        "which does not exist": str(folder / f"dangling{suffix}"),
        "Too many levels of symbolic links": str(folder / f"loop{suffix}"),
        "a named pipe": str(folder / f"pipe{suffix}"),
        "a socket": str(folder / f"sock{suffix}"),
        f"none{suffix}: no such file or folder": str(folder / f"none{suffix}"),
        "no file matches this pattern": str(folder / f"q*{suffix}"),
    }


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Make a folder one that cannot be listed. Permissions do not bind root, so `os` is patched."""
    real, closed = os.scandir, set()

    def scandir(path: Any = ".") -> Any:
        if not isinstance(path, int) and os.path.abspath(path) in closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    return lambda folder: closed.add(os.path.abspath(folder))


# -- looking at paths -----------------------------------------------------------------------------


@POSIX
def test_no_path_raises_an_error_when_it_is_looked_at(tmp_path, locked):
    nul = {"null byte": "a\0.jpg"}  # no shell can give it, but Python can
    for words, path in (odd_paths(tmp_path / "odd", ".jpg") | nul).items():
        if "pattern" not in words:
            assert words.rpartition(": ")[2] in path_problem(path)
        assert find_files([path], IMAGE_SUFFIXES) == [(Path(path), Path(path).parent)]
        with pytest.raises((OSError, ValueError), match=r"."):
            sha256_of(Path(path))
        with pytest.raises(ImageError, match=re.escape(path)):
            load_image(path)
    assert "a device" in path_problem("/dev/null")
    assert path_problem(tmp_path) is None
    locked(tmp_path)
    assert "cannot be listed (Permission denied)" in path_problem(tmp_path)


@POSIX
def test_what_a_shell_pipes_in_is_read(tmp_path):
    code = "from regiontree.system.paths import path_problem; print(path_problem('/dev/stdin'))"
    done = subprocess.run([sys.executable, "-c", code], input=b"x", capture_output=True, check=True)
    assert done.stdout.strip() == b"None"


@POSIX
def test_a_folder_tells_of_what_cannot_be_read_in_it(tmp_path, locked):
    odd_paths(tmp_path / "a", ".jpg")
    for name in ("b/x.jpg", "photo.jpg/inside.jpg", "b/.hidden/y.jpg", "b/z.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "locked").mkdir()
    locked(tmp_path / "locked")
    found = [str(file.relative_to(tmp_path)) for file, _ in find_files([tmp_path], IMAGE_SUFFIXES)]
    assert found == [
        "a/dangling.jpg", "a/loop.jpg", "a/pipe.jpg", "a/sock.jpg", "b/x.jpg", "locked",
        "photo.jpg/inside.jpg",
    ]  # fmt: skip
    assert files_below(tmp_path)[1] == [tmp_path / "locked"]


def test_an_output_folder_is_tried_before_work(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_bytes(b"x")
    require_writable(tmp_path / "a" / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]  # nothing is left behind
    for folder, why in [
        (file, "Not a directory"),
        (file / "sub", "Not a directory"),
        (tmp_path / LONG, "File name too long"),
        (tmp_path / LONG / "sub", "File name too long"),
        ("nul\0", "null byte"),
    ]:
        with refused(SettingsError, "cannot be written", why, "choose another folder"):
            require_writable(folder)

    def full(*_: Any) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("builtins.open", full)
    with refused(SettingsError, "Read-only file system"):
        require_writable(tmp_path)


def test_long_names_are_cut_and_stay_different():
    for stem in ("b" * 250, "ü" * 125, "b" * 249 + "\udcff"):
        name = fitted_name(stem, ".hierarchy.png")
        assert len(os.fsencode(name)) <= 255
        assert name.endswith(".hierarchy.png")
        assert name != fitted_name(stem + "c", ".hierarchy.png")
    assert fitted_name("b" * 241, ".hierarchy.png") == "b" * 241 + ".hierarchy.png"


# -- what is printed ------------------------------------------------------------------------------


def test_no_name_can_write_to_the_terminal():
    name = "a\nfailed: b\x1b[2J\r\x07\u202e\udcff.jpg"
    assert one_line(name) == r"a\nfailed: b\x1b[2J\r\x07\u202e\xff.jpg"
    assert printable(f"cannot run:\n  {name}") == "cannot run:\n  " + one_line(name)
    assert printable("Straße, 写真: é") == "Straße, 写真: é"


@POSIX
@pytest.mark.parametrize(
    ("encoding", "shown"), [("cp1252", "|- "), ("ascii", "|- "), ("utf-8", "├─ ")]
)
def test_a_tree_is_shown_in_every_encoding(encoding, shown, tmp_path):
    file = tree(tmp_path / "t.npz")
    done = subprocess.run(
        [sys.executable, "-m", "regiontree", "show", file],
        capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert shown in done.stdout.decode(encoding)


@POSIX
def test_closed_streams_are_quiet(tmp_path):
    file = tree(tmp_path / "t.npz")
    reading, writing = os.pipe()
    os.close(reading)
    shown = [sys.executable, "-m", "regiontree", "show", str(file)]
    done = subprocess.run(shown, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *shown], stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    # With standard error closed, Python would print messages into the JSON.
    listed = [sys.executable, "-m", "regiontree", "export", str(file), "nope", "--to", "newick",
              "--json"]  # fmt: skip
    done = subprocess.run(["sh", "-c", 'exec "$@" 2>&-', "sh", *listed], stdout=subprocess.PIPE)
    assert done.returncode == 1
    assert json.loads(done.stdout)["failed"] == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_under_standard_output_is_told(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "regiontree", "settings"], stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode not in (0, 70)
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_fault_of_the_program_keeps_its_traceback(tmp_path):
    code = (
        "import sys; from regiontree import cli\n"
        "def broken(**_): raise KeyError('gone')\n"
        "cli.app.registered_commands = []\n"
        "cli.app.command(name='settings')(lambda: broken())\n"
        "cli.app.command(name='other')(lambda: None)\n"
        "sys.argv = ['regiontree', 'settings']; cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 70
    assert "KeyError: 'gone'" in done.stderr
    assert "in broken" in done.stderr
    assert "please report" in done.stderr


# -- segment --------------------------------------------------------------------------------------


@POSIX
def test_segment_does_what_it_can(tmp_path, locked):
    good = [features(tmp_path / "in" / name) for name in ("a.npy", "b[1].npy", "new\nline.npy")]
    odd = odd_paths(tmp_path / "odd", ".npy") | {"null byte": "a\0.npy"}
    (tmp_path / "in" / "locked").mkdir()
    locked(tmp_path / "in" / "locked")
    (tmp_path / "in" / "empty.npy").write_bytes(b"")
    done = segment(tmp_path / "out", tmp_path / "in", *odd.values(), good[0], more=("--json",))
    lines = failed_lines(done)
    assert done.exit_code == 1
    assert len(lines) == len(odd) + 2
    for words in (*odd, "cannot be listed (Permission denied)", "empty (0 bytes)"):
        assert sum(words in line for line in lines) == 1, words
    summary = json.loads(done.stdout)
    assert (summary["done"], summary["failed"]) == (3, len(lines))
    assert all((tmp_path / "out" / f"{file.stem}.npz").is_file() for file in good)


@POSIX
def test_names_in_json_are_as_on_disk(tmp_path):
    odd = tmp_path / os.fsdecode(b"in\xff.npy")
    try:
        features(odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    done = segment(tmp_path / "out", odd, more=("--json",))
    (file,) = json.loads(done.stdout)["files"]
    assert Path(file["source"]) == odd
    assert odd.name == file["source"].rpartition("/")[2]


def test_segment_says_2_if_nothing_could_be_done(tmp_path):
    assert segment(tmp_path / "out", tmp_path / LONG, tmp_path / "none.npy").exit_code == 2
    assert segment(tmp_path / "out").exit_code == 2
    good = features(tmp_path / "a.npy")
    assert segment(tmp_path / "out", good, good).exit_code == 0
    assert segment(tmp_path / "out", good, tmp_path / "none.npy").exit_code == 1  # it was finished


@pytest.mark.parametrize("where", ["file", "file/sub", LONG])
def test_segment_tries_the_output_before_the_network(where, tmp_path, monkeypatch):
    monkeypatch.setattr(RegionParser, "backbone", property(lambda _: pytest.fail("was loaded")))
    (tmp_path / "file").write_bytes(b"")
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    done = command("segment", tmp_path / "a.png", "-o", tmp_path / where, "--device", "cpu")
    assert done.exit_code == 2
    assert done.stderr.startswith("regiontree: output folder ")
    assert "Traceback" not in done.stderr


def disk_full_at(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let the disk be full when a file whose name has this part gets its name."""
    real = Path.replace

    def replace(self: Path, target: Any) -> Path:
        if name in Path(target).name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self), None, str(target))
        return real(self, target)

    def link(source: Any, target: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(os, "link", link)  # as on a file system without links


def test_a_full_disk_at_the_summary_loses_no_tree(tmp_path, monkeypatch):
    disk_full_at(monkeypatch, "summary.json")
    done = segment(tmp_path / "out", features(tmp_path / "a.npy"), more=("--json",))
    assert done.exit_code == 1
    assert "summary.json: was not written (No space left on device)" in failed_lines(done)[0]
    assert json.loads(done.stdout)["done"] == 1
    RegionTree.load(tmp_path / "out" / "a.npz")


def test_a_full_disk_at_a_tree_or_a_picture_fails_that_photograph(tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        features(tmp_path / "in" / f"{name}.npy")
    disk_full_at(monkeypatch, "b.npz")
    done = segment(tmp_path / "out", tmp_path / "in")
    assert done.exit_code == 1
    (line,) = failed_lines(done)
    assert line.endswith(f"{tmp_path / 'out' / 'b.npz'}: No space left on device")
    disk_full_at(monkeypatch, "c.cuts.png")
    done = segment(tmp_path / "drawn", tmp_path / "in" / "c.npy", more=("--pictures",))
    assert done.exit_code == 2
    assert "c.cuts.png: No space left on device" in failed_lines(done)[0]
    assert not list(tmp_path.rglob("*.tmp"))


@POSIX
def test_a_limit_on_files_is_told_of_each_tree(tmp_path):
    """Every write of the process fails in the middle of a file, as on a full disk."""
    for i in range(2):
        np.save(tmp_path / f"{i}.npy", np.random.default_rng(i).normal(size=(24, 24, 64)))

    def limited() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2048, resource.RLIM_INFINITY))

    done = process(
        "segment", tmp_path / "0.npy", tmp_path / "1.npy", "-o", tmp_path / "out", "--backbone",
        "precomputed", "--device", "cpu", preexec_fn=limited,
    )  # fmt: skip
    assert done.returncode == 2
    assert len(failed_lines(done)) == 2
    assert all("File too large" in line for line in failed_lines(done))
    assert "Traceback" not in done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"summary.json"}


def test_a_long_name_has_pictures_that_are_told_from_photographs(tmp_path):
    photo = features(tmp_path / "in" / f"{'p' * 251}.npy")
    other = features(tmp_path / "in" / f"{'p' * 250}q.npy", 1)
    for _ in range(2):
        assert segment(tmp_path / "out", photo, other, more=("--pictures",)).exit_code == 0
    drawn = [path.name for path in (tmp_path / "out").glob("*.png")]
    assert len([name for name in drawn if name.endswith(".hierarchy.png")]) == 2
    assert all(len(os.fsencode(name)) <= 255 for name in drawn)
    done = command("gallery", tmp_path / "out", "-o", tmp_path / "site")
    assert done.exit_code == 0, done.stderr
    assert len(list((tmp_path / "site" / "pages").iterdir())) == 2


def test_a_file_that_vanishes_fails_alone(tmp_path, monkeypatch):
    files = [features(tmp_path / "in" / f"{i}.npy") for i in range(3)]
    real = Photographs.known

    def vanishing(work: Photographs, job: Any) -> Any:
        files[1].unlink(missing_ok=True)
        return real(work, job)

    monkeypatch.setattr(Photographs, "known", vanishing)
    done = segment(tmp_path / "out", tmp_path / "in")
    assert done.exit_code == 1
    assert "1.npy: no such feature file" in failed_lines(done)[0]


# -- one photograph's errors ----------------------------------------------------------------------


class Network:
    """A network of another package; its memory or its patience may end."""

    patch, dim, digest, name = 4, 3, "1", "theirs"
    device, dtype = torch.device("cpu"), torch.float32

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        if pixels.mean((1, 2, 3)).min() < 0.1:
            raise Unforeseen("dark")
        return torch.nn.functional.avg_pool2d(pixels, 4).permute(0, 2, 3, 1)


class Unforeseen(Exception):  # noqa: N818 - a stranger's name
    """An error that this package cannot know."""


def photographs() -> list[np.ndarray]:
    noise = np.random.default_rng(0).integers(60, 255, (3, 32, 32, 3), dtype=np.uint8)
    return [noise[0], noise[1], noise[2]]


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("ahead", [0, 2])
def test_a_network_that_raises_anything_fails_one_photograph(batch_size, ahead):
    parser = RegionParser(backbone=Network(), size=(32, 32), device="cpu", views=1)
    photos = photographs()
    photos[1] = photos[1] // 40
    found = [fed.features for fed in feed(parser, photos, batch=batch_size, ahead=ahead)]
    assert isinstance(found[1], Unforeseen)
    assert fault_text(found[1], "b.jpg").startswith("b.jpg: Unforeseen('dark') (in test_crashes.py")
    assert not isinstance(found[0], Exception)
    assert not isinstance(found[2], Exception)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried"), MemoryError(), Unforeseen()]
)
def test_memory_that_runs_out_at_the_copy_fails_one_photograph(batch_size, error, monkeypatch):
    parser = RegionParser(backbone=Network(), size=(32, 32), device="cpu", views=1)
    copies, real = [], torch.Tensor.to

    def to(self: torch.Tensor, *given: Any, **options: Any) -> torch.Tensor:
        if options.get("non_blocking"):
            copies.append(self)
            if self.max() == 0.25:
                raise error
        return real(self, *given, **options)

    monkeypatch.setattr(torch.Tensor, "to", to)
    photos = photographs()
    load = parser.sight.network_input
    seen: list[int] = []

    def network_input(image: Any, patch: int) -> torch.Tensor:
        seen.append(1)
        pixels = load(image, patch)
        return torch.full_like(pixels, 0.25) if len(seen) == 2 else pixels

    monkeypatch.setattr(type(parser.sight), "network_input", lambda _, *a: network_input(*a))
    found = [fed.features for fed in feed(parser, photos, batch=batch_size, ahead=1)]
    assert [isinstance(one, Exception) for one in found] == [False, True, False]
    if "memory" in repr(error).lower():
        assert "memory ran out" in fault_text(found[1], "b.jpg")


def test_a_family_that_cannot_be_loaded_is_one_line(tmp_path, monkeypatch):
    def broken(*_: Any) -> Any:
        raise Unforeseen("no such setting")

    monkeypatch.setattr(FAMILIES, "_entries", {**FAMILIES._entries, "theirs": broken})
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    done = command(
        "segment", tmp_path / "a.png", "-o", tmp_path / "out", "--backbone", "theirs:1", "--device",
        "cpu",
    )  # fmt: skip
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "Unforeseen('no such setting') (in test_crashes.py" in done.stderr


def test_an_error_keeps_no_arrays_in_memory():
    import weakref

    kept = []

    def work() -> None:
        large = np.zeros(9)
        kept.append(weakref.ref(large))
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise Unforeseen from error

    assert isinstance(attempt(work), Unforeseen)
    assert kept[0]() is None
    with pytest.raises(KeyboardInterrupt):
        attempt(lambda: (_ for _ in ()).throw(KeyboardInterrupt))


def test_a_reader_or_a_builder_that_raises_anything_fails_one_photograph(tmp_path, monkeypatch):
    for name in ("a", "b"):
        features(tmp_path / "in" / f"{name}.npy")
    real = RegionParser.build
    coming: list[Exception] = [Unforeseen("a plug-in's own")]

    def build(self: RegionParser, *given: Any, **options: Any) -> RegionTree:
        if coming:
            raise coming.pop()
        return real(self, *given, **options)

    monkeypatch.setattr(RegionParser, "build", build)
    done = segment(tmp_path / "out", tmp_path / "in")
    assert done.exit_code == 1, done.stderr
    assert 'a.npy: Unforeseen("a plug-in\'s own") (in test_crashes.py, line' in done.stderr
    coming += [RuntimeError("CUDA out of memory. Tried to allocate 2 GiB.\nGPU 0 has")]
    done = segment(tmp_path / "out", tmp_path / "in")
    assert done.exit_code == 1
    assert "a.npy: memory ran out (CUDA out of memory" in failed_lines(done)[0]
    assert segment(tmp_path / "out", tmp_path / "in").exit_code == 0


# -- trees: show, export, view, gallery -----------------------------------------------------------


def archive(path: Path, **members: tuple[str, str, int]) -> Path:
    """An ``.npz`` whose members have a header (dtype, shape) and so many zero bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, (dtype, shape, size) in members.items():
            text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
            header = text.ljust(117).encode() + b"\n"
            with zipped.open(f"{name}.npy", "w") as member:
                member.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
                member.write(bytes(size))
    return path


def bad_trees(folder: Path) -> list[Path]:
    """Files that are no trees: cut, declared huge, pickled, of features, nested, empty."""
    whole = tree(folder / "whole.npz").read_bytes()
    (folder / "whole.npz").unlink()
    (folder / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.npz").write_bytes(b"")
    archive(folder / "huge.npz", labels=("<i4", "(3000000000, 3000000000)", 8))
    archive(folder / "pickled.npz", labels=("|O", "(3, 3)", 8), parents=("<i4", "(1,)", 4))
    np.savez(folder / "features.npz", features=blocks(4, 4, 4))
    nested = json.dumps({"format": "regiontree", "format_version": 1})[:-1]
    np.savez(folder / "nested.npz", meta=np.array(nested + ', "a": ' + "[" * 100_000))
    np.savez(folder / "digits.npz", meta=np.array(nested + ', "a": ' + "1" * 5_000 + "}"))
    return sorted(folder.glob("*.npz"))


@POSIX
def test_show_tells_of_each_bad_tree_in_one_line(tmp_path):
    odd = odd_paths(tmp_path / "odd", ".npz")
    del odd["no file matches this pattern"]
    for words, path in odd.items():
        shown = command("show", path)
        assert shown.exit_code == 2
        assert words.rpartition(": ")[2].removesuffix(" or folder") in shown.stderr
        assert shown.stderr.count("\n") == 1
    for path in bad_trees(tmp_path / "bad"):
        shown = command("show", path)
        assert (shown.exit_code, shown.stderr.count("\n")) == (2, 1), path
        assert str(path) in shown.stderr
    figure = tmp_path / "odd" / "pipe.npz" / "sub" / "figure.png"
    shown = command("show", tree(tmp_path / "t.npz"), "--figure", figure)
    assert (shown.exit_code, shown.stdout) == (2, "")  # found before the tree is printed
    assert "cannot be written" in shown.stderr


@POSIX
@pytest.mark.parametrize("form", ["newick", "coco"])
def test_export_does_what_it_can(form, tmp_path, locked):
    pytest.importorskip("pycocotools")
    bad = bad_trees(tmp_path / "in" / "bad")
    good = [tree(tmp_path / "in" / "a.npz"), tree(tmp_path / "in" / f"{'b' * 251}.npz", 2)]
    odd = odd_paths(tmp_path / "odd", ".npz")
    (tmp_path / "in" / "locked").mkdir()
    locked(tmp_path / "in" / "locked")
    done = command(
        "export", tmp_path / "in", *odd.values(), "--to", form, "-o", tmp_path / "out", "--json"
    )
    assert done.exit_code == 1
    lines = failed_lines(done)
    assert len(lines) == len(odd) + len(bad) + 1
    for words in (*odd, "cannot be listed (Permission denied)"):
        assert sum(words in line for line in lines) == 1, words
    report = json.loads(done.stdout)
    assert (report["done"], report["failed"]) == (len(good), len(lines))
    if form == "newick":
        written = [path.name for path in (tmp_path / "out").iterdir()]
        assert len(written) == 2
        assert all(len(os.fsencode(name)) <= 255 for name in written)
    assert command("export", *bad, "--to", form, "-o", tmp_path / "none").exit_code == 2


@pytest.mark.parametrize("where", ["file/sub", LONG])
@pytest.mark.parametrize("form", ["newick", "coco"])
def test_export_tries_the_output_before_work(form, where, tmp_path, monkeypatch):
    pytest.importorskip("pycocotools")
    (tmp_path / "file").write_bytes(b"")
    file = tree(tmp_path / "t.npz")
    monkeypatch.setattr(RegionTree, "load", lambda *_: pytest.fail("was read"))
    done = command("export", file, "--to", form, "-o", tmp_path / where)
    assert done.exit_code == 2
    assert "cannot be written" in done.stderr


@POSIX
def test_gallery_and_view_show_what_they_can(tmp_path, locked, monkeypatch):
    bad = bad_trees(tmp_path / "in" / "bad")
    tree(tmp_path / "in" / "a.npz")
    tree(tmp_path / "in" / "b\udcff\x1b[2J\nc.npz", 2)
    odd = odd_paths(tmp_path / "odd", ".npz")
    (tmp_path / "in" / "locked").mkdir()
    locked(tmp_path / "in" / "locked")
    done = command("gallery", tmp_path / "in", *odd.values(), "-o", tmp_path / "site")
    assert done.exit_code == 1, done.stderr
    assert f"{len(bad) + len(odd) + 1} failed:" in done.stderr
    for words in odd:
        assert words in done.stderr
    assert len(list((tmp_path / "site" / "pages").iterdir())) == 2
    assert command("gallery", *bad, "-o", tmp_path / "other").exit_code == 2
    assert command("gallery", tmp_path / LONG, "-o", tmp_path / "other").exit_code == 2

    page = command("view", tmp_path / "in" / "a.npz", bad[0], "--html", tmp_path / "page.html")
    assert page.exit_code == 1, page.stderr
    assert (tmp_path / "page.html").is_file()
    (tmp_path / "file").write_bytes(b"")
    for where in (tmp_path / "file" / "page.html", tmp_path / LONG / "page.html"):
        done = command("view", tmp_path / "in" / "a.npz", "--html", where)
        assert (done.exit_code, "cannot be written" in done.stderr) == (2, True)
    for where in (tmp_path / "file" / "site", tmp_path / LONG):
        done = command("gallery", tmp_path / "in" / "a.npz", "-o", where)
        assert (done.exit_code, "cannot be written" in done.stderr) == (2, True)


def test_a_disk_that_fills_up_leaves_the_finished_pages(tmp_path, monkeypatch):
    for i, name in enumerate("abc"):
        tree(tmp_path / "in" / f"{name}.npz", i)
    disk_full_at(monkeypatch, "b.jpg")
    done = command("gallery", tmp_path / "in", "-o", tmp_path / "site")
    assert done.exit_code == 1
    assert "b.jpg: cannot be written (No space left on device)" in done.stderr
    assert (tmp_path / "site" / "pages" / "a.html").is_file()


# -- data sets: evaluate, run, datasets -----------------------------------------------------------


def element(kind: int, body: bytes) -> bytes:
    return struct.pack("<II", kind, len(body)) + body + bytes(-len(body) % 8)


def nested_mat(depth: int, length: int | None = None) -> bytes:
    """A MATLAB file of cells in cells. `length` is what each claims to have, if it lies."""
    number = [(6, struct.pack("<II", 6, 0)), (5, struct.pack("<2i", 1, 1)), (1, b""), (9, bytes(8))]
    data = element(14, b"".join(element(*part) for part in number))
    for i in range(depth):
        name = b"groundTruth" if i == depth - 1 else b""
        head = element(6, struct.pack("<II", 1, 0)) + element(5, struct.pack("<2i", 1, 1))
        body = head + element(1, name) + data
        lies = length is not None and i < depth - 1
        data = struct.pack("<II", 14, length if lies else len(body)) + body
    return mat_header() + data


def mat_header() -> bytes:
    return b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"


def test_a_mat_file_is_read_if_it_is_sound(tmp_path):
    from scipy.io import savemat

    cells = np.empty((1, 2), object)
    for i in range(2):
        cells[0, i] = {"Segmentation": np.full((3, 4), i, np.uint16)}
    for packed in (False, True):
        savemat(tmp_path / "a.mat", {"groundTruth": cells, "z": np.eye(2) * 1j},
                do_compression=packed)  # fmt: skip
        assert [one.max() for one in masks.read_bsds(tmp_path / "a.mat")] == [0, 1]
    (tmp_path / "deep.mat").write_bytes(nested_mat(20))
    assert load_mat(tmp_path / "deep.mat")["groundTruth"].shape == (1, 1)


@pytest.mark.parametrize("length", [None, 8])
def test_a_mat_file_that_would_end_the_process_is_refused(length, tmp_path):
    (tmp_path / "a.mat").write_bytes(nested_mat(5_000, length))
    with refused(DataError, "a.mat", "nested deeper than 64"):
        masks.read_bsds(tmp_path / "a.mat")


def test_a_mat_file_that_would_fill_the_memory_is_refused(tmp_path):
    packer = zlib.compressobj(9)
    packed = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(260)), packer.flush()])
    (tmp_path / "a.mat").write_bytes(mat_header() + element(15, packed))
    with refused(DataError, "a.mat", "more than 256 MB"):
        masks.read_bsds(tmp_path / "a.mat")


BOMB = b"\x89PNG\r\n\x1a\n" + b"".join(
    struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    for kind, body in [
        (b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ]
)


def test_a_hostile_mask_is_one_line_of_its_image(tmp_path):
    from test_experiments import make_data

    make_data(tmp_path, 5)
    names = {"name": "pets", "images": "images", "masks": "masks", "labels": "labels.txt"}
    (tmp_path / "set.yaml").write_text(json.dumps(names))
    for i in range(5):
        made = random_tree(np.random.default_rng(i), 5, (32, 32))
        if i != 3:
            made.save(tmp_path / "trees" / f"p{i:03}.npz")
    (tmp_path / "masks" / "p000.png").write_bytes(BOMB)
    (tmp_path / "masks" / "p001.png").write_bytes(b"")
    np.save(tmp_path / "trees" / "p003.npy", np.zeros((32, 32), int))
    (tmp_path / "trees" / "p003.json").write_text("[" * 100_000)
    done = command(
        "evaluate", tmp_path / "trees", tmp_path / LONG, "--dataset", tmp_path / "set.yaml",
        "--root", tmp_path, "--json",
    )  # fmt: skip
    assert done.exit_code == 1, done.stderr
    report = json.loads(done.stdout)
    said = "\n".join(report["failed"])
    assert len(report["failed"]) == 4
    for words in ("p000.png: is too large", "p001.png: is not an image", "p003.npy: cannot be",
                  "File name too long"):  # fmt: skip
        assert words in said
    assert report["tables"]["pixel, tree"]["images"] == 2
    none = command("evaluate", tmp_path / LONG, "--dataset", tmp_path / "set.yaml", "--root",
                   tmp_path)  # fmt: skip
    assert (none.exit_code, none.stderr.startswith("regiontree: ")) == (2, True)
    for where in (tmp_path / "set.yaml" / "sub", tmp_path / LONG):
        early = command("evaluate", tmp_path / "trees", "--dataset", tmp_path / "set.yaml",
                        "--root", tmp_path, "-o", where)  # fmt: skip
        assert (early.exit_code, early.stdout) == (2, "")
        assert "cannot be written" in early.stderr


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LAUGHS, "aliases stand for more than 1,000,000 values"),
        (MERGES, "aliases stand for more than 1,000,000 values"),
        ("a: &a [*a]", "contains itself"),
        ("a: " + "{a: " * 3_000, "nested too deeply"),
        ("a: " + "1" * 5_000, "4300 digits"),
    ],
)
def test_a_hostile_description_is_one_line(text, words, tmp_path):
    (tmp_path / "set.yaml").write_text(text)
    for arguments in (
        ("datasets", tmp_path / "set.yaml", "--check"),
        ("evaluate", tmp_path, "--dataset", tmp_path / "set.yaml"),
        ("settings", "--config", tmp_path / "set.yaml"),
        ("run", tmp_path / "set.yaml"),
    ):
        done = command(*arguments)
        assert done.exit_code == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


@POSIX
def test_files_that_cannot_be_looked_at_are_one_line(tmp_path):
    odd = odd_paths(tmp_path / "odd", ".yaml")
    del odd["no file matches this pattern"]
    for words, path in odd.items():
        for arguments in (("settings", "--config", path), ("run", path)):
            done = command(*arguments)
            assert (done.exit_code, done.stderr.count("\n")) == (2, 1), (arguments, done.stderr)
            assert words.rpartition(": ")[2].removesuffix(" or folder") in done.stderr
        for arguments in (
            ("datasets", path, "--check"),
            ("datasets", path),
            ("evaluate", tmp_path, "--dataset", path),
        ):
            done = command(*arguments)
            assert (done.exit_code, done.stderr.count("\n")) == (2, 1), (arguments, done.stderr)
        assert command("backbones", path).exit_code in (0, 2)
        assert command("backbones", Path(path).name).exit_code == 2


@POSIX
def test_a_data_set_tells_of_what_it_cannot_list(tmp_path, locked):
    from test_experiments import make_data

    make_data(tmp_path, 2)
    (tmp_path / "images" / "locked").mkdir()
    os.mkfifo(tmp_path / "images" / "p009.png")
    locked(tmp_path / "images" / "locked")
    names = {"name": "pets", "images": "images", "masks": "masks", "labels": "labels.txt"}
    (tmp_path / "set.yaml").write_text(json.dumps(names))
    done = command("datasets", tmp_path / "set.yaml", "--root", tmp_path, "--check")
    assert done.exit_code == 1
    assert "locked cannot be listed (Permission denied)" in done.stdout
    assert "p009.png is a named pipe" in done.stdout


def run_experiment(folder: Path, count: int) -> Path:
    from test_experiments import make_data

    return make_data(folder, count)


@pytest.mark.parametrize("where", ["pets.yaml/sub", LONG])
def test_run_tries_the_output_before_the_network(where, tmp_path, monkeypatch):
    config = run_experiment(tmp_path, 1)
    monkeypatch.setattr(RegionParser, "extract", lambda *_, **__: pytest.fail("was run"))
    done = command("run", config, "--output", tmp_path / where, "--device", "cpu")
    assert done.exit_code == 2
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [("p001.npz", "p001: semantic_ncuts:"), ("p001.safetensors", "p001: extract_features:"),
     ("p001.json", "p001: create_stats:"), ("summary.md", "summary.md")],
)  # fmt: skip
def test_a_full_disk_fails_one_image_or_one_file_of_a_run(name, words, tmp_path, monkeypatch):
    config = run_experiment(tmp_path, 3)
    disk_full_at(monkeypatch, name)
    done = command("run", config, "--device", "cpu")
    assert done.exit_code == 1, done.stderr
    assert "\nmodel     precomputed:" in done.stderr  # the plan has a line for each fact
    line = next(line for line in done.stderr.splitlines() if words in line)
    assert "No space left on device" in line


def test_a_long_name_in_a_data_set_fails_one_image(tmp_path):
    config = run_experiment(tmp_path, 2)
    for folder, suffix in (("images", ".png"), ("masks", ".png"), ("features", ".npy")):
        here = tmp_path / folder
        (here / f"p000{suffix}").rename(here / f"{'p' * 250}{suffix}")
    done = command("run", config, "--device", "cpu")
    assert done.exit_code == 1, done.stderr
    assert "File name too long" in done.stderr


def test_the_parser_of_arguments_ends_no_batch(tmp_path, monkeypatch):
    """It would refuse the whole command if one file may not be read."""
    good = tree(tmp_path / "t.npz")
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert command("show", good).exit_code == 0
    assert command("export", good, "--to", "newick", "-o", tmp_path / "out").exit_code == 0
    assert command("gallery", good, "-o", tmp_path / "site").exit_code == 0
    assert command("view", good, "--html", tmp_path / "page.html").exit_code == 0


@POSIX
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="has no /dev/full")
def test_help_on_a_full_disk_is_no_fault_of_the_program():
    for arguments in (("--help",), ("evaluate", "--help")):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [sys.executable, "-m", "regiontree", *arguments],
                stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
            )  # fmt: skip
        assert done.returncode == 1
        assert "standard output cannot be written" in done.stderr
        assert "Traceback" not in done.stderr


@POSIX
@pytest.mark.parametrize("kind", ["higra", "labels-tiff", "geojson"])
def test_an_export_to_a_full_disk_fails_and_leaves_nothing(tmp_path, kind):
    if kind == "higra":
        pytest.importorskip("higra")
    tree = random_tree(np.random.default_rng(0), 60, (60, 80)).save(tmp_path / "a.npz")

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))

    done = process("export", tree, "--to", kind, "-o", tmp_path / "out", preexec_fn=full)
    assert done.returncode == 2, done.stderr
    (failed,) = (line for line in done.stderr.splitlines() if line.startswith("failed:"))
    assert str(tmp_path / "out" / "a.") in failed
    assert "OSError(" not in done.stderr
    assert "TIFF" not in done.stderr
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
