"""Readers of photographs, patch grids, colours, and superpixels of the photograph."""

from regiontree.images.grid import Size, fitted, grid_of, nearest, parse_size, to_pixels
from regiontree.images.load import (
    IMAGE_SUFFIXES,
    MAX_PIXELS,
    LoadedImage,
    Photo,
    image_size,
    load_image,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "LoadedImage",
    "Photo",
    "Size",
    "fitted",
    "grid_of",
    "image_size",
    "load_image",
    "nearest",
    "parse_size",
    "to_pixels",
]
