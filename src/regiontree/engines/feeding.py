"""Run many photographs through a network: decode them ahead and run them in batches.

A background thread reads and resizes the next photographs. Photographs with the same patch grid
form a batch. The results come in the order of the photographs.

On a CPU, neither batches nor a decoding thread save time, because the network already uses all
cores. So the default on a CPU is one photograph at a time, without the thread
(docs/performance.md).
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from regiontree.backbones.featurefile import Features
from regiontree.backbones.run import run_batch
from regiontree.errors import ImageError, check_number
from regiontree.images import LoadedImage, Photo
from regiontree.images.masks import Masked
from regiontree.parser import RegionParser
from regiontree.system.faults import attempt
from regiontree.system.threads import threads_after_fork

__all__ = ["Fed", "extract_many", "feed"]

_CUDA_BATCH = 8
_Result = TypeVar("_Result")


@dataclass(slots=True, eq=False)
class Fed:
    """A photograph on its way through the network.

    Attributes
    ----------
    photo : Photo or None
        The photograph as the caller gave it.
    image : LoadedImage or None
        The decoded photograph. None if decoding failed or is not needed.
    features : Features, Exception or None
        The features, or the error of this photograph. None if `photo` is None.
    seconds : float
        Time spent waiting for the decoding, plus this photograph's share of the time of its batch.
    """

    photo: Photo | Masked | None
    _decoding: Future[tuple[LoadedImage | None, Tensor | Features]] | None
    _pixels: Tensor | None = None
    image: LoadedImage | None = None
    features: Features | Exception | None = None
    seconds: float = 0.0

    def wait(self) -> None:
        """Wait until the photograph is decoded."""
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
        elif isinstance(error, Exception):  # a reader of another package may raise anything
            self.features = error
        else:
            raise error
        self._decoding = None

    def waits_with(self, other: Fed) -> bool:
        """Whether both photographs still have to go through the network, with the same grid."""
        pixels, others = self._pixels, other._pixels
        return pixels is not None and others is not None and pixels.shape == others.shape


def extract_many(
    parser: RegionParser,
    photos: Iterable[Photo | Masked],
    *,
    batch: int | None = None,
    ahead: int = 2,
) -> Iterator[tuple[Photo | Masked, Features | Exception]]:
    """Each photograph with its features, or with the error that it raised, in their order.

    With a batch of 1, the features equal those of
    :meth:`~regiontree.parser.RegionParser.extract` bit for bit. With a larger batch they differ by
    rounding.

    Parameters
    ----------
    parser
        Holds the network.
    photos
        Paths, Pillow images or arrays, or :class:`~regiontree.images.masks.Masked` ones. They are
        read a few batches ahead of the results.
    batch
        Number of photographs that run together, 1 to 4096. They must have the same grid and be near
        each other in the order. If memory runs out, fewer run together. None: 8 on CUDA, else 1.
    ahead
        Number of batches that are decoded while one runs, 0 to 4096.

    Raises
    ------
    BackboneError
        The network cannot be loaded, so no photograph can be processed.
    SettingsError
        `batch` or `ahead` is not a whole number in its range.
    """
    if isinstance(photos, str | bytes | os.PathLike):  # or each letter would be a photograph
        photos = [cast(Photo, photos)]
    with closing(feed(parser, photos, batch=batch, ahead=ahead)) as feeding:
        for fed in feeding:
            missing = ImageError(
                "a photograph must be a path, a Pillow image or an array, got None"
            )
            yield cast("Photo | Masked", fed.photo), fed.features or missing


def feed(
    parser: RegionParser,
    photos: Iterable[Photo | Masked | None],
    *,
    batch: int | None = None,
    ahead: int | None = None,
) -> Generator[Fed, None, None]:
    """Each photograph with its pixels and its features, in their order.

    The network is loaded when the first photograph comes.

    Parameters
    ----------
    parser, batch
        As for :func:`extract_many`.
    photos
        As for :func:`extract_many`. None keeps its place among the results without any work.
    ahead
        As for :func:`extract_many`. None: 0 on a CPU, else 2.

    Raises
    ------
    BackboneError, SettingsError
        As for :func:`extract_many`.
    """
    if batch is None:
        batch = _CUDA_BATCH if parser.device.type == "cuda" else 1
    if ahead is None:
        ahead = 0 if parser.device.type == "cpu" else 2
    batch = check_number("batch", batch, 1, 4096, whole=True)
    ahead = check_number("ahead", ahead, 0, 4096, whole=True)
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
                        parser.backbone  # noqa: B018 - an error of the network must stop the run
                    line.append(Fed(photo, submit(_decoded, parser, photo)))
                if not line:
                    return
                line[0].wait()
                if line[0].waits_with(line[0]):
                    _run(parser, _companions(line, batch), limits)
                yield line.popleft()
        finally:  # if the caller stops early, photographs that wait are not decoded
            thread.shutdown(wait=True, cancel_futures=True)


def _at_once(work: Callable[..., _Result], *arguments: Any) -> Future[_Result]:
    """Do the work now. It replaces ``submit``, whose thread would start more OpenMP threads."""
    future: Future[_Result] = Future()
    result = attempt(partial(work, *arguments))
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
    return future


@threads_after_fork()
def _decoded(
    parser: RegionParser, photo: Photo | Masked
) -> tuple[LoadedImage | None, Tensor | Features]:
    """The image and the network's input, or the features if no network is needed."""
    if parser.settings.is_precomputed:
        return None, parser.extract(photo)
    image = parser.sight.load(photo)
    if image.is_uniform:
        return image, parser.extract(image)
    pixels = parser.sight.network_input(image, parser.backbone.patch)
    return image, pixels.pin_memory() if parser.device.type == "cuda" else pixels


def _companions(line: deque[Fed], batch: int) -> list[Fed]:
    """The first photograph in line, and the next ones that can run in the same batch."""
    found = [line[0]]
    for fed in islice(line, 1, 2 * batch):
        if len(found) == batch:
            break
        fed.wait()
        if fed.waits_with(line[0]):
            found.append(fed)
    return found


@threads_after_fork()
def _run(parser: RegionParser, group: list[Fed], limits: dict[tuple[int, int], int]) -> None:
    """Set the features, or the error, of each photograph of the group.

    A graphics card may run out of memory while the pixels are copied to it, or while the network
    runs.
    """
    start = time.perf_counter()
    found = attempt(partial(_patches, parser, group, limits))
    if isinstance(found, Exception):
        if len(group) > 1:  # one photograph may cause the error, so each runs alone
            for fed in group:
                _run(parser, [fed], limits)
            return
        group[0].features, group[0]._pixels = found, None
        return
    share = (time.perf_counter() - start) / len(group)
    for fed, patches in zip(group, found, strict=True):
        assert fed.image is not None
        fed.features = attempt(partial(parser.extract, fed.image, patches=patches))
        fed._pixels = None
        fed.seconds += share


def _patches(parser: RegionParser, group: list[Fed], limits: dict[tuple[int, int], int]) -> Tensor:
    """What the network makes of a group: (n, h, w, d)."""
    device = parser.backbone.device
    copied = [fed._pixels.to(device, non_blocking=True) for fed in group if fed._pixels is not None]
    batch = torch.stack(copied) if len(copied) > 1 else copied[0][None]
    found = run_batch(parser.backbone, batch, limits)
    if device.type == "cuda":  # CUDA runs in the background, so wait before taking the time
        torch.cuda.synchronize(device)
    return found
