"""Runs a command with an accident at a chosen moment, and looks at what is left of its folder."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

__all__ = ["Ended", "Machine", "contents", "leftovers", "unfinished"]

HERE = Path(__file__).parent
What = Literal["nothing", "kill", "full", "clock"]
# Figures of a run that another run cannot repeat.
_TIMES = ("seconds", "images_per_second", "done", "skipped", "failed", "kept", "status", "started",
          "nodes", "leaves")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes
    ----------
    code : int
        Its exit code; -9 if it was killed.
    calls : int
        Calls that changed the folder. 0 if it was killed.
    said : str
        What it printed, to both outputs.
    """

    code: int
    calls: int
    said: str


class Machine:
    """A process that has imported regiontree and starts commands as its copies."""

    def __init__(self, shim: Path) -> None:
        environment = {**os.environ, "LD_PRELOAD": str(shim), "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(map(str, filter(None, sys.path)))
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "nursery.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", "the nursery did not start"

    @classmethod
    def built(cls, folder: Path) -> Machine:
        """With the shim compiled into `folder`.

        Raises
        ------
        OSError, subprocess.CalledProcessError
            There is no C compiler, or it cannot compile the shim.
        """
        shim = folder / "shim.so"
        compiler = os.environ.get("CC", "cc")
        command = [compiler, "-shared", "-fPIC", "-O2", "-o", shim, HERE / "shim.c", "-ldl"]
        subprocess.run(command, check=True, capture_output=True)
        return cls(shim)

    def run(
        self,
        argv: list[str] | dict[str, Any],
        folder: Path,
        *,
        what: What = "nothing",
        at: int = 0,
        after: float | None = None,
        copies: int = 1,
    ) -> list[Ended]:
        """Run a command in `folder`, with an accident, and wait for its end.

        Parameters
        ----------
        argv
            Arguments of ``regiontree``; or a function, its arguments, and which of these are paths.
        folder
            Its working folder. Changes below it are counted.
        what, at
            What happens at which of the counted calls.
        after
            Seconds after which the command is killed. None: never.
        copies
            How many processes run the command at once.
        """
        with tempfile.NamedTemporaryFile() as said:
            request = {
                **(argv if isinstance(argv, dict) else {"argv": argv}),
                "cwd": str(folder), "folder": str(folder), "what": what, "at": at, "after": after,
                "copies": copies, "said": said.name,
                "environment": {"REGIONTREE_CACHE": str(folder / "cache")},
            }  # fmt: skip
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
            text = Path(said.name).read_text(encoding="utf-8", errors="replace")
        return [Ended(one["code"], one["calls"], text) for one in answer]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


def fresh(folder: Path, start: Path) -> Path:
    """`folder` with the files of `start` and nothing else. Times of files are kept."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(start, folder, symlinks=True)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of each visible file. Summaries are read without times and counts of one run."""
    found = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if not file.is_file() or any(part.startswith(".") for part in name.split("/")):
            continue
        if name.endswith((".lock", ".part", ".part.etag")):
            continue
        data = file.read_bytes()
        if file.name.startswith("summary") and file.suffix == ".json":
            data = json.dumps(_timeless(json.loads(data)), sort_keys=True).encode()
        elif file.name.startswith("summary") or file.suffix == ".jsonl":
            continue  # figures of the JSON file again, with times; a log of all runs
        found[name] = data
    return found


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(one) for key, one in value.items() if key not in _TIMES}
    if isinstance(value, list):
        return [_timeless(one) for one in value]
    return value


def leftovers(folder: Path) -> list[str]:
    """Hidden files and folders."""
    return [str(file.relative_to(folder)) for file in folder.rglob(".*")]


def unfinished(folder: Path) -> list[str]:
    """Visible files that are not whole."""
    return [str(f.relative_to(folder)) for f in sorted(folder.rglob("*")) if not _is_whole(f)]


def _is_whole(file: Path) -> bool:
    if not file.is_file() or any(part.startswith(".") for part in file.parts):
        return True
    data, kind = file.read_bytes(), file.suffix
    try:
        if kind == ".npz":
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                return all(arrays[name] is not None for name in arrays)
        if kind in (".json", ".geojson", ".ipynb"):
            return json.loads(data) is not None
        if kind in (".png", ".jpg", ".tif"):
            Image.open(io.BytesIO(data)).load()
        if kind == ".html":
            return data.rstrip().endswith(b"</html>")
        if kind == ".csv":
            return data.endswith(b"\n")
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, SyntaxError):
        return False
    return bool(data) or kind in (".lock", ".part")
