"""Feeding a network: photographs are decoded ahead, run in batches, and come back in their order.

The next photographs are read and resized by a thread in the background. Those of one grid go
through the network together. Results come in the order of the photographs.

On a CPU neither batches nor decoding beside the network pay: all its cores are at work already. So
the default there is one image at a time, decoded when its turn comes (docs/performance.md).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from regiontree.backbones.featurefile import Features
from regiontree.backbones.run import run_batch
from regiontree.errors import ImageError, RegionTreeError, check_number
from regiontree.images import LoadedImage, Photo
from regiontree.parser import RegionParser

__all__ = ["Fed", "extract_many", "feed"]

_CUDA_BATCH = 8
_Result = TypeVar("_Result")
# What one photograph may raise; RuntimeError is how torch reports what it cannot do with it.
_OF_A_PHOTO = (RegionTreeError, OSError, MemoryError, RuntimeError, ValueError)


@dataclass(slots=True, eq=False)
class Fed:
    """A photograph on its way through the network.

    Attributes
    ----------
    photo : as it was given
    image : decoded; None if it could not be, or is not needed
    features : what came of it: features, or the error that stopped it; None if `photo` is
    seconds : that were waited for its decoding and, as its share of the batch, its run
    """

    photo: Photo | None
    _decoding: Future[tuple[LoadedImage | None, Tensor | Features]] | None
    _pixels: Tensor | None = None
    image: LoadedImage | None = None
    features: Features | Exception | None = None
    seconds: float = 0.0

    def wait(self) -> None:
        """Until it is decoded."""
        if self._decoding is None:
            return
        start = time.perf_counter()
        error = self._decoding.exception()
        self.seconds += time.perf_counter() - start
        if error is None:
            self.image, found = self._decoding.result()
            if isinstance(found, Features):
                self.features = found
            else:
                self._pixels = found
        elif isinstance(error, _OF_A_PHOTO):
            self.features = error
        else:
            raise error
        self._decoding = None

    def waits_with(self, other: Fed) -> bool:
        """Whether both are to run and on the same grid."""
        pixels, others = self._pixels, other._pixels
        return pixels is not None and others is not None and pixels.shape == others.shape


def extract_many(
    parser: RegionParser, photos: Iterable[Photo], *, batch: int | None = None, ahead: int = 2
) -> Iterator[tuple[Photo, Features | Exception]]:
    """Features of many photographs, in their order; of a bad one, the error it raised.

    What :meth:`~regiontree.parser.RegionParser.extract` gives of each: the same bits with a batch
    of 1, to rounding with more. `photos` is read a few batches ahead of what has been given.

    Parameters
    ----------
    batch
        Photographs run together, of one grid and near each other, fewer if memory runs out. None: 8
        on CUDA, else 1.
    ahead
        Batches that are decoded while one runs.

    Raises
    ------
    BackboneError
        The network cannot be loaded: no photograph could be done.
    SettingsError
        `batch` is no whole number of at least 1, or `ahead` none of at least 0.
    """
    with closing(feed(parser, photos, batch=batch, ahead=ahead)) as feeding:
        for fed in feeding:
            nothing = ImageError("a photograph is a path, a Pillow image or an array, got None")
            yield cast(Photo, fed.photo), fed.features or nothing


def feed(
    parser: RegionParser,
    photos: Iterable[Photo | None],
    *,
    batch: int | None = None,
    ahead: int | None = None,
) -> Generator[Fed, None, None]:
    """As :func:`extract_many`, with the photographs as they were decoded.

    None among the photographs is passed on in its turn: work that is done already, say. `ahead` is
    0 by default on a CPU, else 2. The network is loaded when the first photograph comes.
    """
    if batch is None:
        batch = _CUDA_BATCH if parser.device.type == "cuda" else 1
    if ahead is None:
        ahead = 0 if parser.device.type == "cpu" else 2
    check_number("batch", batch, 1, 4096, whole=True)
    check_number("ahead", ahead, 0, 4096, whole=True)
    coming = iter(photos)
    line: deque[Fed] = deque()
    limits: dict[tuple[int, int], int] = {}
    with ThreadPoolExecutor(1, "regiontree-decoding") as thread:
        submit = thread.submit if ahead else _at_once
        try:
            while True:
                for photo in islice(coming, (1 + ahead) * batch - len(line)):
                    if photo is None:
                        line.append(Fed(None, None))
                        continue
                    if not parser.settings.is_precomputed:
                        parser.backbone  # noqa: B018 - if it cannot load, nothing can be done
                    line.append(Fed(photo, submit(_decoded, parser, photo)))
                if not line:
                    return
                line[0].wait()
                if line[0].waits_with(line[0]):
                    _run(parser, _companions(line, batch), limits)
                yield line.popleft()
        finally:  # also when the caller has had enough: what has not begun is not decoded
            thread.shutdown(wait=True, cancel_futures=True)


def _at_once(work: Callable[..., _Result], *arguments: Any) -> Future[_Result]:
    """In the place of ``submit``, without a thread: one more would start its own team in OpenMP."""
    future: Future[_Result] = Future()
    try:
        future.set_result(work(*arguments))
    except _OF_A_PHOTO as error:
        future.set_exception(error)
    return future


def _decoded(parser: RegionParser, photo: Photo) -> tuple[LoadedImage | None, Tensor | Features]:
    """The photograph and what the network is to see of it, or features that need no network."""
    if parser.settings.is_precomputed:
        return None, parser.extract(photo)
    image = parser.sight.load(photo)
    if image.is_uniform:
        return image, parser.extract(image)
    pixels = parser.sight.network_input(image, parser.backbone.patch)
    return image, pixels.pin_memory() if parser.device.type == "cuda" else pixels


def _companions(line: deque[Fed], batch: int) -> list[Fed]:
    """The first in line and those near it that can run with it."""
    found = [line[0]]
    for fed in islice(line, 1, 2 * batch):
        if len(found) == batch:
            break
        fed.wait()
        if fed.waits_with(line[0]):
            found.append(fed)
    return found


def _run(parser: RegionParser, group: list[Fed], limits: dict[tuple[int, int], int]) -> None:
    """Features for each of the group, or the error of each."""
    device, start = parser.backbone.device, time.perf_counter()
    copied = [fed._pixels.to(device, non_blocking=True) for fed in group if fed._pixels is not None]
    try:
        batch = torch.stack(copied) if len(copied) > 1 else copied[0][None]
        found = run_batch(parser.backbone, batch, limits)
    except _OF_A_PHOTO as error:
        if len(group) > 1:  # one of them may be at fault
            for fed in group:
                _run(parser, [fed], limits)
            return
        group[0].features, group[0]._pixels = error, None
        return
    if device.type == "cuda":  # else the time would be that of asking for it
        torch.cuda.synchronize(device)
    share = (time.perf_counter() - start) / len(group)
    for fed, patches in zip(group, found, strict=True):
        assert fed.image is not None
        fed.features = parser.extract(fed.image, patches=patches)
        fed._pixels = None
        fed.seconds += share
