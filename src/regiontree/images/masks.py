"""A photograph together with a mask, as it travels through batches and the parser."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from regiontree.errors import ImageError
from regiontree.images.given import as_given
from regiontree.images.load import Photo

__all__ = ["Masked", "masked", "unmasked"]


@dataclass(frozen=True, slots=True, eq=False)
class Masked:
    """A photograph with a mask of its pixels.

    Attributes
    ----------
    photo
        What a photograph may be given as.
    valid
        (H, W) bool or numbers, not 0 where the photograph is there, of the photograph's upright
        size; or the path of a mask image.
    """

    photo: Photo
    valid: NDArray[Any] | str | Path


def unmasked(photo: Photo | Masked) -> Any:
    """The photograph without its mask, as :func:`~regiontree.images.given.as_given` gives it."""
    return as_given(photo.photo if isinstance(photo, Masked) else photo)


def masked(photo: Photo | Masked, valid: Any) -> Photo | Masked:
    """The photograph with a mask, if there is one: `valid` is None or as in :class:`Masked`.

    What the user gave is read as :func:`~regiontree.images.given.as_given` reads it.

    Raises
    ------
    ImageError
        The photograph has a mask already, or cannot be read as given.
    """
    if not isinstance(photo, Masked):
        photo = as_given(photo)
    if valid is None:
        return photo
    if isinstance(photo, Masked):
        raise ImageError("the photograph is Masked already; leave valid out, or join both masks")
    return Masked(photo, valid)
