"""One input that cannot be looked at ends no command: a failed line each, and the exit code."""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import socket
import subprocess
import sys
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
from regiontree.cli import app
from regiontree.datasets import masks
from regiontree.datasets.matfile import load_mat
from regiontree.engines import batch
from regiontree.engines.feeding import feed
from regiontree.errors import DataError, SettingsError
from regiontree.images import IMAGE_SUFFIXES
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
        "null byte": f"{folder}/nul\0{suffix}",
    }


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Make a folder one that cannot be listed. Permissions do not bind root, so `os` is patched."""
    real, closed = os.scandir, set()

    def scandir(path: Any = ".") -> Any:
        if os.path.abspath(path) in closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    return lambda folder: closed.add(os.path.abspath(folder))


# -- looking at paths -----------------------------------------------------------------------------


@POSIX
def test_no_path_raises_an_error_when_it_is_looked_at(tmp_path, locked):
    for words, path in odd_paths(tmp_path / "odd", ".jpg").items():
        if "pattern" not in words:
            assert words.rpartition(": ")[2] in path_problem(path)
        assert find_files([path], IMAGE_SUFFIXES) == [(Path(path), Path(path).parent)]
        if "null" not in words:
            with pytest.raises(OSError, match=r"."):
                sha256_of(Path(path))
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
    odd = odd_paths(tmp_path / "odd", ".npy")
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

    monkeypatch.setattr(Path, "replace", replace)


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


def test_a_file_that_vanishes_fails_alone(tmp_path, monkeypatch):
    files = [features(tmp_path / "in" / f"{i}.npy") for i in range(3)]
    real = batch._known_outcome

    def vanishing(job: Any, *rest: Any) -> Any:
        files[1].unlink(missing_ok=True)
        return real(job, *rest)

    monkeypatch.setattr(batch, "_known_outcome", vanishing)
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
