"""A sign that one command writes to a store, which a second command reads and a crash leaves stale.

The sign is a small file with the writer's machine, process and start. The writer renews it. A sign
is stale if its process has ended on this machine, or if it was not renewed for :data:`STALE`
seconds. A stale sign is replaced, so a killed writer keeps nobody out.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from typing import Any

from regiontree.errors import StoreError
from regiontree.forest.storage import Folder, LocalFolder
from regiontree.system.files import locked

__all__ = ["STALE", "signed"]

STALE = 120.0
"""Seconds after which a sign that is not renewed is stale."""
_RENEWED = 20.0  # seconds


@contextmanager
def signed(folder: Folder, name: str, doing: str) -> Iterator[Callable[[], None]]:
    """Hold the sign `name` in a store's folder during the block.

    The block gets a function that raises a StoreError if another command has taken the sign since:
    it took this one for dead, for example while the machine slept.

    Parameters
    ----------
    doing
        What the command does, for the message that another one gets: ``"segment"``.

    Raises
    ------
    StoreError
        Another command holds it. The message says which, and since when.
    """
    own = {
        "doing": doing,
        "machine": socket.gethostname(),
        "process": os.getpid(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
        "token": secrets.token_hex(8),
    }

    def check() -> None:
        if (_read(folder, name) or {}).get("token") != own["token"]:
            raise StoreError(f"{folder.address}: another command has begun to write to it")

    _take(folder, name, own)
    check()
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(folder, name, own, ended), daemon=True)
    renewing.start()
    try:
        yield check
    finally:
        ended.set()
        renewing.join()
        if (_read(folder, name) or {}).get("token") == own["token"]:
            folder.remove(name)


def _take(folder: Folder, name: str, own: dict[str, Any]) -> None:
    if not folder.create(name, _data(own)):
        # On this machine, one process after the other looks at a stale sign.
        alone = locked(folder.path) if isinstance(folder, LocalFolder) else nullcontext()
        with alone:
            other = _read(folder, name)
            if other is not None and other["token"] != own["token"] and not _is_stale(other):
                raise StoreError(
                    f"{folder.address}: is being written to by 'regiontree {other['doing']}' "
                    f"(process {other['process']} on {other['machine']}, since {other['since']}); "
                    "wait until it has ended. If it was killed, the store is free after "
                    f"{STALE:g} seconds"
                )
            folder.write(name, _data(own))


def _data(own: dict[str, Any]) -> bytes:
    return json.dumps({**own, "renewed": time.time()}).encode()


def _read(folder: Folder, name: str) -> dict[str, Any] | None:
    """The sign that lies there; None if there is none or it cannot be understood."""
    try:
        sign = json.loads(folder.read(name) or b"")
        known = {"doing": str, "machine": str, "process": int, "since": str, "token": str}
        if all(isinstance(sign[key], kind) for key, kind in known.items()):
            return {**sign, "renewed": float(sign["renewed"])}
    except (ValueError, LookupError, TypeError, StoreError):
        pass
    return None


def _is_stale(sign: dict[str, Any]) -> bool:
    if time.time() - sign["renewed"] > STALE:
        return True
    return sign["machine"] == socket.gethostname() and not _is_running(sign["process"])


def _is_running(process: int) -> bool:
    if sys.platform == "win32":  # a signal would end the process there
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _renew(folder: Folder, name: str, own: dict[str, Any], ended: threading.Event) -> None:
    while not ended.wait(_RENEWED):
        try:
            if (_read(folder, name) or own).get("token") == own["token"]:
                folder.write(name, _data(own))
        except StoreError:
            continue  # it is tried again; meanwhile the sign may become stale
