"""Whether the grid of patch features can be that of a photograph: what contradicts it, and a hint.

Features are (h, w, d). Libraries for training give (d, h, w), and a grid is easily transposed. Both
make a tree of noise without an error, so both are recognised by the photograph's proportions:

- A grid fits if its sides, each rounded up or down to whole patches, have the proportions.
- A square grid fits any photograph, because many networks see every photograph as a square.
- Settings with an exact size (``size="518x1036"``) say that proportions change, so then every grid
  fits.
"""

from __future__ import annotations

from collections.abc import Sequence

from regiontree.errors import FeatureError

__all__ = ["check_grid", "check_pixels", "shape_hint"]

# Lengths of the features of common networks.
_LENGTHS = frozenset({
    96, 128, 192, 256, 320, 384, 512, 576, 640, 768, 896, 960, 1024, 1152, 1280, 1408, 1536, 1664,
    1792, 2048, 2560, 3072, 4096,
})  # fmt: skip
# A side of fewer pixels says little of the proportions, after one or two roundings.
_THIN = 16
# Padding to whole windows changes proportions by less than this.
_PADDING = 1.25


def check_grid(
    name: str, shape: Sequence[int], image: tuple[int, int] | None, *, strict: bool = False
) -> None:
    """Raise a FeatureError if features (h, w, d) contradict the photograph's proportions.

    Parameters
    ----------
    name
        What the message calls the features.
    shape
        Of the features.
    image
        (H, W) of the photograph in pixels. None if it is unknown: then only features that look
        like (d, h, w) are refused, a common length of features before a much smaller grid.
    strict
        Whether every grid that contradicts the photograph is refused, not only one that would fit
        with its axes in another order.

    Examples
    --------
    >>> check_grid("features", (28, 37, 384), (480, 640))
    >>> check_grid("features", (384, 28, 37), (480, 640))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    regiontree.errors.FeatureError: features: ...: the features come first, so give (h, w, d), ...
    """
    rows, columns, length = shape
    if image is None:
        if rows in _LENGTHS and rows >= 4 * max(columns, length):
            raise FeatureError(
                f"{name}: shape {tuple(shape)} looks like (d, h, w): {_FIRST}. If it is a grid of "
                f"{rows} x {columns} patches, give the photograph's (H, W) as image_size"
            )
        return
    if rows == columns or _fits((rows, columns), image):
        return
    said = (
        f"{name}: a grid of {rows} x {columns} patches of length {length} contradicts a photograph "
        f"of {image[0]} x {image[1]} pixels (height x width)"
    )
    inner = (columns, length)
    if rows > max(inner) and (columns == length or _fits(inner, image)):
        raise FeatureError(f"{said}: {_FIRST}")
    if _fits((columns, rows), image):
        raise FeatureError(
            f"{said}: rows and columns are exchanged, here or in the size, or the camera's "
            f"orientation was ignored. Give (h, w, d), with features.swapaxes(0, 1). {_EXACT}"
        )
    if strict and _stretch((rows, columns), image) > _PADDING:
        raise FeatureError(f"{said}: it belongs to another photograph, or to a crop. {_EXACT}")


def check_pixels(rgb: tuple[int, int], image: tuple[int, int], grid: tuple[int, int]) -> None:
    """Raise a FeatureError unless the pixels `rgb` can show the image with that grid, all (H, W).

    Raises
    ------
    FeatureError
        There are fewer pixels than patches, or the proportions differ.
    """
    if rgb[0] < grid[0] or rgb[1] < grid[1]:
        raise FeatureError(
            f"rgb has {rgb[0]} x {rgb[1]} pixels (height x width), fewer than the grid of "
            f"{grid[0]} x {grid[1]} patches; give the photograph at a higher resolution"
        )
    if rgb[0] == rgb[1] or image[0] == image[1] or min(rgb) < _THIN or _fits(rgb, image):
        return
    said = f"rgb has shape ({rgb[0]}, {rgb[1]}, 3)"
    if _fits(rgb[::-1], image):
        raise FeatureError(
            f"{said}, but the image has {image[0]} x {image[1]} pixels (height x width): they are "
            f"exchanged in one of them; image_size is (H, W). {_EXACT}"
        )
    if _stretch(rgb, image) > _PADDING:
        raise FeatureError(
            f"{said}, which has other proportions than the image of {image[0]} x {image[1]} "
            f"(height x width); give the pixels of this photograph. {_EXACT}"
        )


def shape_hint(shape: Sequence[int]) -> str:
    """The end of the message about features that are not (h, w, d), if the shape tells more."""
    if len(shape) == 4:
        return f"; it is a batch of {shape[0]}: give the features of one photograph, features[0]"
    if len(shape) == 2:
        return "; patches in a row need their grid: give features.reshape(h, w, -1)"
    return ""


_FIRST = (
    "the features come first, so give (h, w, d), with features.transpose(1, 2, 0) or of a tensor "
    "features.permute(1, 2, 0)"
)
_EXACT = (
    "If the network saw the photograph at a size of other proportions, say so with "
    "size='HEIGHTxWIDTH'"
)


def _fits(grid: tuple[int, int], image: tuple[int, int]) -> bool:
    """Whether one is the other at a lower resolution, each side rounded up or down."""
    for (h, w), (height, width) in ((grid, image), (image, grid)):
        if (h - 1) * width < (w + 1) * height and (w - 1) * height < (h + 1) * width:
            return True
    return False


def _stretch(grid: tuple[int, int], image: tuple[int, int]) -> float:
    """By which factor, at least 1, the proportions differ."""
    ratio = grid[0] * image[1] / (grid[1] * image[0])
    return max(ratio, 1 / ratio)
