"""At which sizes a photograph is looked at: decoded, shown to the network, and used for borders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from regiontree.images.choice import Choice
from regiontree.images.grid import Size, fitted, grid_of, to_pixels
from regiontree.images.load import MAX_PIXELS, LoadedImage, Photo, load_image
from regiontree.images.masks import Masked
from regiontree.images.valid import resized

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Borders", "Sight"]

# Long side in pixels that photographs are decoded at for a network that sees them smaller. The
# default refinement asks for it, so one decoding serves both.
_DECODED = 840


_EVERYTHING = Choice()


class Borders(Protocol):
    """What draws borders on the photograph, as far as sizes go: a refinement."""

    @property
    def long_side(self) -> int:
        """Long side in pixels at which it draws."""

    def photo_size(self, own: tuple[int, int], seen: tuple[int, int]) -> tuple[int, int]:
        """(H', W') at which it draws on a photograph of (H, W) pixels.

        Parameters
        ----------
        own, seen
            (H, W) of the photograph itself, and as the network sees it.
        """


@dataclass(frozen=True, slots=True)
class Sight:
    """How the photographs of one run are looked at.

    Features do not depend on the refinement: the network's picture is made from the same decoding
    whatever draws the borders.

    Attributes
    ----------
    size : int or (int, int)
        Long side in pixels, or exact (height, width), at which the network sees a photograph.
    tiles : int, "own" or None
        Long side at which it also sees the photograph in tiles.
    borders : Borders or None
        What draws borders on the photograph.
    max_pixels : int
        Larger photographs are refused.
    choice : Choice
        Which bands and which page of a file are shown.
    """

    size: Size
    tiles: int | Literal["own"] | None = None
    borders: Borders | None = None
    max_pixels: int = MAX_PIXELS
    choice: Choice = _EVERYTHING

    def load(self, photo: Photo | Masked) -> LoadedImage:
        """The photograph, decoded as finely as the network needs it.

        Raises
        ------
        ImageError
            The photograph cannot be read.
        """
        return self._loaded(photo, self._network_cover())

    def seen_size(self, own: tuple[int, int]) -> Size:
        """The size at which a photograph of (H, W) pixels is seen, in tiles if there are any."""
        if self.tiles is None or not isinstance(self.size, int):
            return self.size
        return max(2 * self.size, max(own)) if self.tiles == "own" else self.tiles

    def network_input(self, image: LoadedImage, patch: int) -> Tensor:
        """What a network with such patches sees: (3, h * patch, w * patch).

        Pixels that are not there have the colours around them. Values are float32 in [0, 1]; with
        tiles they are uint8, in a quarter of the memory.
        """
        grid = grid_of(image.size, self.seen_size(image.size), patch)
        rgb = image.rgb
        if image.valid is not None:
            rgb = resized(rgb, (grid[0] * patch, grid[1] * patch), image.valid)
        return to_pixels(rgb, grid, patch, floating=self.tiles is None)

    def pixels(self, photo: Photo | Masked) -> NDArray[np.uint8]:
        """The photograph as the network sees it, (H, W, 3) uint8, sides not rounded to patches.

        Pixels that are not there have the colours around them.
        """
        image = self._loaded(photo, self._cover())
        return _resized(image, self._seen(image))

    def border_pixels(self, photo: Photo | Masked) -> NDArray[np.uint8]:
        """The photograph as fine as borders are drawn on it, (H, W, 3) uint8.

        Without a refinement it is as fine as the default one wants it, for the colours of patches.
        Pixels that are not there have the colours around them.
        """
        image = self._loaded(photo, self._cover())
        seen = self._seen(image)
        if self.borders is None:
            return _resized(image, fitted(seen, max(*seen, _DECODED)))
        return _resized(image, self.borders.photo_size(image.size, seen))

    @property
    def is_one_decoding(self) -> bool:
        """Whether :meth:`load` decodes finely enough for borders, too."""
        return self._border_cover() is None

    def _loaded(self, photo: Photo | Masked, cover: Size | None) -> LoadedImage:
        chosen = self.choice
        source, valid = (photo.photo, photo.valid) if isinstance(photo, Masked) else (photo, None)
        return load_image(
            source,
            max_pixels=self.max_pixels,
            cover=cover,
            bands=chosen.bands,
            page=chosen.page,
            valid=valid,
        )

    def _seen(self, image: LoadedImage) -> tuple[int, int]:
        size = self.seen_size(image.size)
        return fitted(image.size, size) if isinstance(size, int) else size

    def _cover(self) -> Size | None:
        return self._border_cover() or self._network_cover()

    def _network_cover(self) -> Size | None:
        """The size that decoding must cover for the network; None: the photograph's own."""
        if self.tiles == "own":
            return None
        size = self.tiles or self.size
        if isinstance(size, int):
            return max(size, _DECODED)
        return fitted(size, max(*size, _DECODED))

    def _border_cover(self) -> Size | None:
        """The size that decoding must cover for borders, if that is more than for the network."""
        cover = self._network_cover()
        if self.borders is None or cover is None:
            return None
        most = cover if isinstance(cover, int) else max(cover)
        return self.borders.long_side if self.borders.long_side > most else None


def _resized(image: LoadedImage, size: tuple[int, int]) -> NDArray[np.uint8]:
    return resized(image.rgb, size, image.valid)
