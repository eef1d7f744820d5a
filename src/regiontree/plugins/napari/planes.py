"""The planes of image layers, each as an array that the parser takes for a photograph.

A layer is (..., H, W), or (..., H, W, 3 or 4) if it shows colours. Each position on its leading
axes is one plane: a time, a depth. Only one plane is read at a time, so a layer may lie over a file
that is larger than the memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import ImageError

__all__ = ["MAX_PIXELS", "Planes", "Treatment", "planes_of"]

MAX_PIXELS = 1 << 29
"""Most pixels of all planes together. Leaves and labels of so many take 4 GiB."""
Treatment = Literal["every plane", "this plane", "channels"]
"""What becomes of a layer with more than two axes.

A tree for each plane, a tree of the plane that is shown, or one tree of a picture whose channels
are the last of the leading axes.
"""


@dataclass(frozen=True)
class Planes:
    """The planes to parse.

    Attributes
    ----------
    name : str
        Of the layer, for messages.
    bands : tuple of arrays
        One array, or three that become red, green and blue; each (..., H, W), or one of (..., H, W,
        3 or 4). Any kind of array that can be indexed.
    leading : tuple of int
        Lengths of the axes before (H, W) that have planes; () for one plane.
    size : (int, int)
        (H, W) of a plane.
    at : tuple of int
        The position on axes that `bands` have before `leading`; only that position is parsed.
    """

    name: str
    bands: tuple[Any, ...]
    leading: tuple[int, ...]
    size: tuple[int, int]
    at: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """Number of planes."""
        return prod(self.leading)

    def plane(self, number: int) -> NDArray[Any]:
        """The pixels of a plane: (H, W), or (H, W, 3 or 4)."""
        step = np.unravel_index(number, self.leading) if self.leading else ()
        index = (*self.at, *(int(i) for i in step))
        found = [np.asarray(band[index] if index else band) for band in self.bands]
        return found[0] if len(found) == 1 else np.stack(found, axis=-1)

    def title(self, number: int) -> str:
        """What messages call a plane."""
        return self.name if self.count == 1 else f"{self.name}, plane {number + 1} of {self.count}"


def planes_of(
    name: str,
    layers: Sequence[Any],
    *,
    rgb: bool,
    treatment: Treatment = "every plane",
    step: Sequence[int] = (),
) -> Planes:
    """The planes of a layer, or of three layers that are the channels of one picture.

    Parameters
    ----------
    name
        What to call them.
    layers
        The data of one layer, or of two or three grey ones of one shape. Of two, the first is used,
        as of files with two bands.
    rgb
        Whether the last axis of the layer is colour.
    treatment
        Of axes before (H, W).
    step
        The position that is shown, for "this plane".

    Raises
    ------
    ImageError
        The layer is empty, has too few axes or too many pixels, or layers differ in shape.

    Examples
    --------
    >>> stack = np.arange(24).reshape(2, 3, 4)
    >>> planes = planes_of("cells", [stack], rgb=False)
    >>> planes.leading, planes.size, planes.plane(1).tolist() == stack[1].tolist()
    ((2,), (3, 4), True)
    >>> planes_of("cells", [stack], rgb=False, treatment="channels").plane(0).shape
    (3, 4)
    """
    shape = tuple(int(n) for n in layers[0].shape)
    for other in layers[1:]:
        if tuple(other.shape) != shape:
            raise ImageError(
                f"{name}: layers of {shape} and {tuple(other.shape)} cannot be the channels of one "
                "picture; select layers of one shape"
            )
    spatial = shape[:-1] if rgb else shape
    if len(spatial) < 2:
        raise ImageError(f"{name}: has {len(spatial)} axis, and a picture needs two")
    if 0 in shape:
        raise ImageError(f"{name}: is empty, its shape is {shape}; select a layer with pixels")
    leading, size = spatial[:-2], (spatial[-2], spatial[-1])
    bands: tuple[Any, ...] = tuple(layers[:3]) if len(layers) > 2 else (layers[0],)
    at: tuple[int, ...] = ()
    if treatment == "this plane" and leading:
        at = tuple(min(max(int(i), 0), n - 1) for i, n in zip(step, leading, strict=True))
        leading = ()
    elif treatment == "channels" and leading and not rgb:
        if len(layers) > 1:
            raise ImageError(f"{name}: select one layer if its first axis holds channels")
        bands = _channels(layers[0], len(leading) - 1)
        leading = leading[:-1]
    pixels = prod(leading) * prod(size)
    if pixels > MAX_PIXELS:
        raise ImageError(
            f"{name}: {prod(leading)} planes of {size[0]} x {size[1]} pixels are more than the "
            f"{MAX_PIXELS / 1e6:.0f} megapixels that fit in memory; crop the layer, or parse only "
            "the plane that is shown"
        )
    return Planes(name, bands, leading, size, at)


@dataclass(frozen=True)
class _Channel:
    """One channel of an array, that is indexed without that axis."""

    data: Any
    axis: int
    channel: int

    def __getitem__(self, index: tuple[int, ...]) -> Any:
        return self.data[(*index[: self.axis], self.channel)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.data[self.channel], dtype=dtype)


def _channels(data: Any, axis: int) -> tuple[Any, ...]:
    """The channels to show: the first three; of two the first, as of a file with two bands."""
    count = int(data.shape[axis])
    return tuple(_Channel(data, axis, channel) for channel in range(3 if count > 2 else 1))
