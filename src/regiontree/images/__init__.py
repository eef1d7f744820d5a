"""Readers of photographs, patch grids, colours, and superpixels of the photograph."""

from regiontree.images.choice import Bands, Choice
from regiontree.images.grid import Size, fitted, grid_of, nearest, parse_size, to_pixels
from regiontree.images.load import (
    MAX_PIXELS,
    LoadedImage,
    Photo,
    image_size,
    load_again,
    load_image,
)
from regiontree.images.pillow import IMAGE_SUFFIXES
from regiontree.images.readers import (
    READERS,
    Decoded,
    ImageReader,
    ImageRequest,
    image_suffixes,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "READERS",
    "Bands",
    "Choice",
    "Decoded",
    "ImageReader",
    "ImageRequest",
    "LoadedImage",
    "Photo",
    "Size",
    "fitted",
    "grid_of",
    "image_size",
    "image_suffixes",
    "load_again",
    "load_image",
    "nearest",
    "parse_size",
    "to_pixels",
]
