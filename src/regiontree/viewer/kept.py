"""Answers are made in threads, a few at a time, and the last of them are kept.

What is being made is made once, however many ask. An answer belongs to the files that it was made
of: when a tree or its photograph changes, it is made again.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from regiontree.errors import RegionTreeError
from regiontree.forest.sources import Outline
from regiontree.viewer.refusals import AnswerError

if TYPE_CHECKING:
    from starlette.responses import Response

__all__ = ["Answers", "Recent"]

_WORKERS = 2  # pages and pictures made at a time: what bounds the memory
_ANSWERS = 256 << 20  # bytes of pages and pictures kept

T = TypeVar("T")
Stamp = tuple[tuple[int, ...] | None, ...]
Key = tuple[int, str, Stamp]


class Answers:
    """Bodies of answers about outlines, the last ones kept in memory."""

    def __init__(self, outlines: Sequence[Outline]) -> None:
        self.outlines = outlines
        self.secret = secrets.token_hex(8)  # entity tags of another run mean nothing
        self.kept: Recent[bytes] = Recent(_ANSWERS)
        self.under_way: dict[Key, asyncio.Task[bytes]] = {}
        self.workers = asyncio.Semaphore(_WORKERS)

    async def get(
        self, i: int, what: str, kind: str, make: Callable[[int], bytes], tags: str
    ) -> Response:
        """What `make` gives of outline i, unless the browser has it.

        `what` tells the answers about one outline apart, `kind` is the media type, `tags` are the
        entity tags of what the browser has.
        """
        from starlette.responses import Response

        key = (i, what, self.stamp(i))
        tag = f'"{hashlib.sha256(repr((self.secret, key)).encode()).hexdigest()[:32]}"'
        if tag in tags:
            return Response(status_code=304, headers={"ETag": tag})
        body = self.kept.get(key)
        if body is None:
            task = self.under_way.get(key)
            if task is None:
                task = self.under_way[key] = asyncio.create_task(self._made(key, make))
                task.add_done_callback(lambda _: self.under_way.pop(key))
            body = await task
        return Response(body, media_type=kind, headers={"ETag": tag})

    async def _made(self, key: Key, make: Callable[[int], bytes]) -> bytes:
        import anyio.to_thread

        outline = self.outlines[key[0]]
        async with self.workers:
            try:
                body = await anyio.to_thread.run_sync(make, key[0], abandon_on_cancel=True)
            except (RegionTreeError, OSError, MemoryError) as error:
                told = f"{outline.path}: {error}" if isinstance(error, OSError) else str(error)
                print(told, file=sys.stderr, flush=True)
                said = str(error).replace(str(outline.path), outline.path.name)
                raise AnswerError(500, f"{outline.name} cannot be shown. {said}.") from error
        self.kept.put(key, body, len(body))
        return body

    def stamp(self, i: int) -> Stamp:
        """What tells whether the files of outline i are the ones they were.

        Raises
        ------
        AnswerError
            The tree's is gone.
        """
        outline = self.outlines[i]
        stamp = _stamp(outline.path)
        if stamp is None:
            raise AnswerError(410, f"{outline.name} cannot be shown: its tree's file is gone.")
        return stamp, _stamp(outline.photo) if outline.photo else None


class Recent(Generic[T]):
    """What was asked for last, up to a size in bytes; the very last whatever its size."""

    def __init__(self, limit: int) -> None:
        self.limit, self.size = limit, 0
        self.items: OrderedDict[Any, tuple[T, int]] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, key: Any) -> T | None:
        """What is kept for a key; None if nothing is."""
        with self.lock:
            if key not in self.items:
                return None
            self.items.move_to_end(key)
            return self.items[key][0]

    def put(self, key: Any, item: T, size: int) -> None:
        """Keep an item of that size; what was asked for longest ago makes room."""
        with self.lock:
            self.size += size - self.items.pop(key, (item, 0))[1]
            self.items[key] = item, size
            while self.size > self.limit and len(self.items) > 1:
                self.size -= self.items.popitem(last=False)[1][1]


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
