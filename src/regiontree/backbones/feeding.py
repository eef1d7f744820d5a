"""Feeding a network: in batches that fit its memory, from files that are decoded meanwhile.

- :func:`run_batch` runs a network on a batch, and in smaller ones when memory runs out.
- :func:`extract_many` takes photographs to features. The next ones are read and resized by a thread
  in the background, those of one grid go through the network together, and results come in the
  order of the photographs.
- :class:`OwnModel` lets any object with the parts of a backbone be one, and checks what it gives.
- :func:`compiled` hands a network to torch's compiler.

On a CPU neither batches nor decoding beside the network pay: all its cores are at work already. So
there the default is one image at a time, decoded when its turn comes (docs/performance.md).
"""

from __future__ import annotations

import copy
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor, nn

from regiontree.backbones.base import DTYPES, Backbone, pick_device
from regiontree.errors import (
    BackboneError,
    ImageError,
    RegionTreeError,
    SettingsError,
    check_number,
)
from regiontree.featurefile import Features

if TYPE_CHECKING:
    from regiontree.images import LoadedImage
    from regiontree.parser import Photo, RegionParser

__all__ = ["Fed", "OwnModel", "compiled", "extract_many", "feed", "run_batch"]

_CUDA_BATCH = 8
_Result = TypeVar("_Result")
# What one photograph may raise; RuntimeError is how torch reports what it cannot do with it.
_OF_A_PHOTO = (RegionTreeError, OSError, MemoryError, RuntimeError, ValueError)


# -- a network and its memory ---------------------------------------------------------------------


def run_batch(
    backbone: Backbone, pixels: Tensor, limits: dict[tuple[int, int], int] | None = None
) -> Tensor:
    """Features of a batch, in as many runs as memory asks for.

    Parameters
    ----------
    pixels
        (B, 3, h * patch, w * patch) in [0, 1].
    limits
        How many images of (height, width) go at once, remembered from call to call: halved here
        whenever memory runs out.

    Returns
    -------
    (B, h, w, dim) float32 on the backbone's device.

    Raises
    ------
    BackboneError
        Not even one image fits; the message says what takes less.
    """
    limits = {} if limits is None else limits
    height, width = pixels.shape[2:]
    found: list[Tensor] = []
    waiting = pixels
    while len(waiting):
        count = min(len(waiting), limits.get((height, width), len(waiting)))
        features = _run_or_none(backbone, waiting[:count])
        if features is not None:
            found.append(features)
            waiting = waiting[count:]
        elif count > 1:
            limits[height, width] = count // 2
        else:
            raise BackboneError(
                f"{backbone.name}: an image of {height}x{width} pixels does not fit in the memory "
                f"of {backbone.device}; use a smaller size (--size), tiles (--tiles) or half "
                "precision (--dtype bfloat16)"
            )
    return found[0] if len(found) == 1 else torch.cat(found)


def _run_or_none(backbone: Backbone, pixels: Tensor) -> Tensor | None:
    """Features, or None if memory ran out. What had been taken is free again on return."""
    try:
        return backbone.features(pixels)
    except (RuntimeError, MemoryError) as error:
        if not _is_memory(error):
            raise
    if backbone.device.type == "cuda":
        torch.cuda.empty_cache()
    return None


def _is_memory(error: Exception) -> bool:
    """Whether memory ran out: on CPUs and Apple's MPS only the message of torch's error says so."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(said in str(error) for said in ("can't allocate memory", "out of memory"))


# -- many photographs -----------------------------------------------------------------------------


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
            yield cast("Photo", fed.photo), fed.features or nothing


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
                    if not parser.is_precomputed:
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
    if parser.is_precomputed:
        return None, parser.extract(photo)
    image = parser.load(photo)
    if image.is_uniform:
        return image, parser.extract(image)
    pixels = parser.network_input(image)
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


# -- a model of one's own -------------------------------------------------------------------------


class OwnModel:
    """Any object with the parts of a :class:`~regiontree.backbones.base.Backbone`, checked.

    Raises
    ------
    BackboneError
        A part is missing or is not what it must be.

    Examples
    --------
    Mean colours of patches as features:

    >>> import numpy as np
    >>> from regiontree import RegionParser
    >>> class Colours:
    ...     name, digest, patch, dim = "colours", "1", 8, 3
    ...     device, dtype = torch.device("cpu"), torch.float32
    ...     def features(self, pixels):
    ...         return torch.nn.functional.avg_pool2d(pixels, 8).permute(0, 2, 3, 1)
    >>> photo = np.full((64, 96, 3), 90, np.uint8)
    >>> photo[:, 48:] = 200, 20, 30
    >>> tree = RegionParser(backbone=Colours(), size=96, views=1).parse(photo)
    >>> tree.cut(n_regions=2)[0, 47:49].tolist()
    [0, 1]
    """

    name: str
    digest: str
    patch: int
    dim: int
    device: torch.device
    dtype: torch.dtype

    def __init__(self, model: Any) -> None:
        kind = type(model).__name__
        parts = {
            "name": (str, "text"),
            "digest": (str, "text"),
            "patch": (int, "a whole number of pixels"),
            "dim": (int, "a whole number"),
            "device": (torch.device, "a torch.device"),
            "dtype": (torch.dtype, f"one of {', '.join(f'torch.{name}' for name in DTYPES)}"),
        }
        for part, (wanted, said) in parts.items():
            if not hasattr(model, part):
                raise BackboneError(
                    f"backbone {kind} has no attribute {part!r}; it needs {', '.join(parts)} and a "
                    "method features()"
                )
            value = getattr(model, part)
            right = isinstance(value, wanted) and not isinstance(value, bool)
            if wanted is int and right:
                right = value >= 1
            if not right or (part == "dtype" and value not in DTYPES.values()):
                raise BackboneError(f"backbone {kind}: {part} must be {said}, got {value!r}")
            setattr(self, part, value)
        if not callable(getattr(model, "features", None)):
            raise BackboneError(f"backbone {kind} has no method features(pixels)")
        if not model.name or model.name.partition(":")[0] == "precomputed":
            raise BackboneError(f"backbone {kind}: name {model.name!r} is taken; choose another")
        self.model = model

    @torch.inference_mode()
    def features(self, pixels: Tensor) -> Tensor:
        """(B, 3, h * patch, w * patch) in [0, 1] -> (B, h, w, dim) float32 on `device`.

        Raises
        ------
        BackboneError
            The model gave something else.
        """
        images, _, height, width = pixels.shape
        expected = images, height // self.patch, width // self.patch, self.dim
        found: object = self.model.features(pixels)
        if (
            not isinstance(found, Tensor)
            or found.shape != expected
            or not found.is_floating_point()
        ):
            got = type(found).__name__
            if isinstance(found, Tensor):
                got = f"{tuple(found.shape)} of {found.dtype}"
            raise BackboneError(
                f"backbone {self.name!r}: features() of pixels {tuple(pixels.shape)} must be a "
                f"tensor {expected} of floats, got {got}"
            )
        return found.to(self.device, torch.float32)

    def settings(self, device: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Settings that say what the model says of itself.

        Raises
        ------
        SettingsError
            A device, precision or choice of features that it does not follow.
        """
        precision = str(self.dtype).removeprefix("torch.")
        if device != "auto":
            asked = pick_device(device)
            if (asked.type, asked.index or 0) != (self.device.type, self.device.index or 0):
                raise SettingsError(
                    f"device {device!r} is not that of backbone {self.name!r}, which is on "
                    f"{self.device}; move the model, and leave device out"
                )
        if changes.get("dtype", "auto") not in ("auto", precision):
            raise SettingsError(
                f"dtype {changes['dtype']!r} is not that of backbone {self.name!r}, {precision}; "
                "leave it out"
            )
        for name in ("layers", "facet", "positions"):
            if name in changes:
                raise SettingsError(
                    f"{name} cannot be chosen of backbone {self.name!r}, a model of your own: let "
                    "its features() give what you want"
                )
        return {**changes, "backbone": self.name, "dtype": precision}


# -- the compiler ---------------------------------------------------------------------------------


def compiled(backbone: Backbone) -> Backbone:
    """The backbone with its network compiled, for images of any size; itself stays as it is.

    The first image then takes a minute or more, and features differ by rounding. If the compiler
    fails, the network runs as it is, and a warning says so once. Of a model of your own, the calls
    of its module ``model`` itself are compiled, not those of its methods.

    Raises
    ------
    SettingsError
        It has no network that torch could compile.
    """
    own: Any = backbone.model if isinstance(backbone, OwnModel) else backbone
    network = getattr(own, "model", None)
    if not isinstance(network, nn.Module):
        raise SettingsError(
            f"backbone {backbone.name!r} has no torch module as its attribute 'model' to compile; "
            "leave compile out"
        )
    own = copy.copy(own)
    own.model = _Compiled(network)
    return OwnModel(own) if isinstance(backbone, OwnModel) else cast(Backbone, own)


class _Compiled(nn.Module):
    """A network that is compiled as long as that works."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._fast: Any = None
        self._failed = False

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("network"), name)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        if self._failed:
            return self.network(*inputs, **named)
        try:
            if self._fast is None:
                self._fast = torch.compile(self.network, dynamic=True)
            return self._fast(*inputs, **named)
        except RuntimeError as error:  # the compiler's errors are, and so are the network's own
            if _is_memory(error):
                raise
            found = self.network(*inputs, **named)
            said = str(error).strip().partition("\n")[0]
        self._failed = True
        warnings.warn(
            f"the network cannot be compiled here and runs as it is ({said})",
            RuntimeWarning,
            stacklevel=2,
        )
        return found
