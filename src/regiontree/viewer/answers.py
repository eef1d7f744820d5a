"""Answers of the server about images: made once, in threads, and the latest of them kept.

If several requests ask for the same answer, it is made once. An answer depends on the files that it
was made from: when a tree or its photograph changes, the answer is made again.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from regiontree.errors import RegionTreeError
from regiontree.forest.saved import stamp_of
from regiontree.forest.sources import Outline

if TYPE_CHECKING:
    from starlette.responses import Response

__all__ = ["AnswerError", "Answers", "Recent", "in_thread", "whole_number"]

_WORKERS = 2  # answers that are made at the same time: this limits the memory
_MAX_KEPT = 256 << 20  # bytes of answers

T = TypeVar("T")
Stamp = tuple[Hashable, tuple[int, ...] | None]
Key = tuple[int, str, Stamp]


class AnswerError(Exception):
    """A request cannot be answered. The reader sees the sentence, with an HTTP status."""

    def __init__(self, status: int, sentence: str) -> None:
        self.status, self.sentence = status, sentence


class Recent(Generic[T]):
    """The items that were asked for last, up to a total size in bytes.

    It is ours because caches like that of cachetools refuse an item above the limit. This one keeps
    the latest item whatever its size: a huge image is slow enough without being opened twice.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.size = limit, 0
        self.items: OrderedDict[Any, tuple[T, int]] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, key: Any) -> T | None:
        """The item of a key, None if it is not kept."""
        with self.lock:
            if key not in self.items:
                return None
            self.items.move_to_end(key)
            return self.items[key][0]

    def put(self, key: Any, item: T, size: int) -> None:
        """Keep an item of `size` bytes, and drop the items that were asked for the longest ago."""
        with self.lock:
            self.size += size - self.items.pop(key, (item, 0))[1]
            self.items[key] = item, size
            while self.size > self.limit and len(self.items) > 1:
                self.size -= self.items.popitem(last=False)[1][1]


async def in_thread(
    make: Callable[[], T],
    workers: asyncio.Semaphore,
    refusal: Callable[[Exception], tuple[str, str]],
) -> T:
    """What `make` makes, in a thread.

    Parameters
    ----------
    make
    workers
        Limits how many threads work at the same time.
    refusal
        Gives a sentence for the terminal and one for the reader, if it cannot be made.

    Raises
    ------
    AnswerError
        It cannot be made.
    """
    import anyio.to_thread

    async with workers:
        try:
            return await anyio.to_thread.run_sync(make, abandon_on_cancel=True)
        except (RegionTreeError, OSError, MemoryError) as error:
            told, sentence = refusal(error)
            print(told, file=sys.stderr, flush=True)
            raise AnswerError(500, sentence) from error


def whole_number(name: str, text: str) -> int:
    """A number in an address.

    Raises
    ------
    AnswerError
        The text is no number of at most 9 digits.
    """
    if not re.fullmatch("[0-9]{1,9}", text):
        raise AnswerError(
            400, f"The address must hold a number of at most 9 digits for its {name}."
        )
    return int(text)


class Answers:
    """The bodies of answers about images; the latest are kept in memory."""

    def __init__(self, outlines: Sequence[Outline]) -> None:
        self.outlines = outlines
        self.secret = secrets.token_hex(8)  # so that an entity tag of an earlier run never matches
        self.kept: Recent[bytes] = Recent(_MAX_KEPT)
        self.under_way: dict[Key, asyncio.Task[bytes]] = {}
        self.workers = asyncio.Semaphore(_WORKERS)
        self.lists = asyncio.Semaphore(1)

    async def get(
        self, i: int, what: str, media_type: str, make: Callable[[int], bytes], tags: str
    ) -> Response:
        """An answer about image i, or 304 if the browser has it already.

        Parameters
        ----------
        i
            Number of the image.
        what
            Distinguishes the answers about one image.
        media_type
            Of the answer.
        make
            Makes the body from the number of the image. It runs in a thread.
        tags
            Entity tags of what the browser has: the header ``If-None-Match``.

        Raises
        ------
        AnswerError
            The tree's file is gone, or the body cannot be made.
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
                task = self.under_way[key] = asyncio.create_task(self._make(key, make))
                task.add_done_callback(lambda _: self.under_way.pop(key))
            body = await task
        return Response(body, media_type=media_type, headers={"ETag": tag})

    async def told(self, make: Callable[[], T]) -> T:
        """What `make` makes, in a thread. It does not wait for answers about images.

        Raises
        ------
        AnswerError
            It cannot be made. The terminal says why.
        """

        def refusal(error: Exception) -> tuple[str, str]:
            return str(error), "The images cannot be listed; the terminal says why."

        return await in_thread(make, self.lists, refusal)

    async def _make(self, key: Key, make: Callable[[int], bytes]) -> bytes:
        outline = self.outlines[key[0]]

        def refusal(error: Exception) -> tuple[str, str]:
            told = f"{outline.saved}: {error}" if isinstance(error, OSError) else str(error)
            # The reader may be a stranger, who must not learn in which folder the file lies.
            shown = outline.saved.without_folders(str(error))
            return told, f"{outline.name} cannot be shown. {shown}."

        body = await in_thread(lambda: make(key[0]), self.workers, refusal)
        self.kept.put(key, body, len(body))
        return body

    def stamp(self, i: int) -> Stamp:
        """A value that changes when the tree or the photograph of image i changes.

        Raises
        ------
        AnswerError
            The tree's file is gone.
        """
        outline = self.outlines[i]
        stamp = outline.saved.stamp()
        if stamp is None:
            raise AnswerError(410, f"{outline.name} cannot be shown: its tree's file is gone.")
        return stamp, stamp_of(outline.photo) if isinstance(outline.photo, Path) else None
