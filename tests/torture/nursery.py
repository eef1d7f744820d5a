"""Runs commands of regiontree in forked processes, each of which may meet with an accident.

It is started by :mod:`machine` under the shim (``shim.c``). It imports everything once and then
reads one request a line from standard input, so a command starts in milliseconds. It never runs a
command itself.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import pkgutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

KINDS = {"nothing": 0, "kill": 1, "full": 2, "clock": 3}


def import_everything() -> None:
    import regiontree

    for module in pkgutil.walk_packages(regiontree.__path__, "regiontree."):
        # Plugins have windows, whose libraries are those of the programs that they live in.
        if not module.name.endswith("__main__") and ".plugins." not in module.name:
            importlib.import_module(module.name)
    import torch

    torch.set_num_threads(1)


def name_categories() -> None:
    """Name a category and move a region, each at once, as the page of a collection does."""
    import numpy as np

    from regiontree.collection.edits import Move, Naming, edit_names

    parents = np.array([4, 4, 5, 5, 6, 6, 6])
    for edit in (Naming(4, "animal", ""), Move("a.jpg", 3, 4, None)):
        edit_names(Path("collection.csv"), parents, [edit])


def load_weights() -> None:
    """Load the embedded network, which keeps its weights in the cache folder."""
    import torch

    from regiontree.backbones import load_backbone

    load_backbone("embedded", torch.device("cpu"), torch.float32)


def work(request: dict[str, Any]) -> int:
    """Do what a request asks for, in this process; the exit code."""
    if "function" in request:
        module, name = request["function"].split(":")
        given = request["arguments"]
        given = {k: Path(v) if k in request.get("paths", ()) else v for k, v in given.items()}
        from regiontree.errors import RegionTreeError

        try:
            getattr(importlib.import_module(module), name)(**given)
        except RegionTreeError as error:
            print(f"regiontree: {error}", file=sys.stderr)
            return 2
        return 0
    from regiontree.cli import main

    sys.argv = ["regiontree", *request["argv"]]
    try:
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    return 0


def child(request: dict[str, Any], report: int) -> None:
    """The forked process: it never returns."""
    shim = ctypes.CDLL(None)
    shim.torture_calls.restype = ctypes.c_long
    code = 99
    try:
        said = os.open(request["said"], os.O_WRONLY | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(request["cwd"])
        os.environ.update(request.get("environment", {}))
        shim.torture_arm(
            request["folder"].encode(), KINDS[request["what"]], ctypes.c_long(request["at"])
        )
        code = work(request)
    except BaseException:  # noqa: BLE001 - shown in what the process said
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(report, shim.torture_calls().to_bytes(8, "little"))
        os._exit(code)


def run(request: dict[str, Any]) -> list[dict[str, int]]:
    """Run the copies that a request asks for; how each ended."""
    started = []
    for _ in range(request["copies"]):
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            child(request, write)
        os.close(write)
        started.append((pid, read))
    if request["after"] is not None:
        time.sleep(request["after"])
        for pid, _ in started:
            os.kill(pid, signal.SIGKILL)  # not yet waited for, so the number is still its own
    ended = []
    for pid, read in started:
        calls = os.read(read, 8)
        os.close(read)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        ended.append({"code": code, "calls": int.from_bytes(calls, "little")})
    return ended


def main() -> None:
    answers = os.dup(1)
    os.dup2(2, 1)  # what imports print is no answer
    import_everything()
    os.write(answers, b"ready\n")
    for line in sys.stdin:
        os.write(answers, (json.dumps(run(json.loads(line))) + "\n").encode())


if __name__ == "__main__":
    main()
