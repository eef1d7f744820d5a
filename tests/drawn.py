"""Photographs that code draws, for the recipes: cars, fields and cells, with their truth.

Their names and sizes are those of the pages in ``docs/recipes``. ``website/recipes.py`` draws the
pictures of these pages from them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

__all__ = ["CAR_SIZE", "FIELD", "cars", "cells", "draw_car", "fields"]

CAR_SIZE = (280, 196)  # width, height
FIELD = 2.0  # metres a pixel
UTM = "EPSG:32633"
CORNER = (412_000.0, 5_318_000.0)
Mask = NDArray[np.uint8]
PARTS = ("background", "body", "window", "wheel")


def draw_car(rng: np.random.Generator) -> tuple[Image.Image, Mask]:
    """A car from the side on a road, and the number of the part of each pixel."""
    width, height = CAR_SIZE
    sky, road = rng.integers(150, 210, 3), rng.integers(90, 130)
    pixels = np.empty((height, width, 3))
    pixels[:130], pixels[130:] = sky, road
    image = Image.fromarray(pixels.astype(np.uint8))
    mask = Image.new("L", CAR_SIZE, 0)
    left, top = int(rng.integers(25, 60)), int(rng.integers(45, 60))
    body = tuple(int(one) for one in rng.choice([[190, 30, 30], [30, 60, 170], [210, 170, 40]]))
    shapes: list[tuple[int, str, list[int], tuple[int, ...]]] = [
        (1, "box", [left, top + 40, left + 180, top + 85], body),
        (1, "box", [left + 35, top, left + 140, top + 42], body),
        (2, "box", [left + 43, top + 8, left + 84, top + 38], (25, 35, 45)),
        (2, "box", [left + 92, top + 8, left + 133, top + 38], (25, 35, 45)),
        (3, "disc", [left + 15, top + 65, left + 60, top + 110], (12, 12, 12)),
        (3, "disc", [left + 120, top + 65, left + 165, top + 110], (12, 12, 12)),
        (3, "disc", [left + 27, top + 77, left + 48, top + 98], (190, 190, 195)),
        (3, "disc", [left + 132, top + 77, left + 153, top + 98], (190, 190, 195)),
    ]
    for part, kind, box, colour in shapes:
        for canvas, fill in ((image, colour), (mask, part)):
            draw = ImageDraw.Draw(canvas)
            (draw.rectangle if kind == "box" else draw.ellipse)(box, fill=fill)  # type: ignore[arg-type]
    noisy = np.asarray(image, float) + rng.normal(0, 5, (height, width, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), np.asarray(mask)


def cars(folder: Path, count: int = 6) -> dict[str, Mask]:
    """Write ``car-1.jpg`` and so on; the parts of each."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, truth = np.random.default_rng(1), {}
    for number in range(1, count + 1):
        image, truth[f"car-{number}"] = draw_car(rng)
        image.save(folder / f"car-{number}.jpg", quality=92)
    return truth


def fields(path: Path) -> Mask:
    """Write a GeoTIFF of fields in UTM; the number of the field of each pixel, 0 between them."""
    import rasterio
    from rasterio.transform import from_origin

    rng = np.random.default_rng(2)
    side = 280
    pixels, truth = np.full((side, side, 3), (96, 84, 70), float), np.zeros((side, side), np.uint8)
    colours = [[205, 190, 110], [60, 130, 50], [140, 170, 70], [150, 105, 70], [30, 80, 45],
               [220, 215, 160]]  # fmt: skip
    boxes = [(8, 8, 130, 170), (8, 182, 130, 272), (142, 8, 200, 120), (212, 8, 272, 120),
             (142, 132, 272, 196), (142, 208, 272, 272)]  # fmt: skip
    rows = np.mgrid[:side, :side][1]
    for number, ((top, left, bottom, right), colour) in enumerate(
        zip(boxes, colours, strict=True), 1
    ):
        stripes = 8 * np.sin(rows[top:bottom, left:right] * (0.4 + 0.15 * number))
        pixels[top:bottom, left:right] = np.array(colour) + stripes[..., None]
        truth[top:bottom, left:right] = number
    pixels += rng.normal(0, 6, pixels.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=3, dtype="uint8", crs=UTM,
        transform=from_origin(*CORNER, FIELD, FIELD), photometric="RGB",
    ) as file:  # fmt: skip
        file.write(pixels.clip(0, 255).astype(np.uint8).transpose(2, 0, 1))
    return truth


def cells(path: Path, planes: int = 3) -> NDArray[np.uint8]:
    """Write an OME-TIFF stack of stained cells; (Z, Y, X), the number of the cell, 0 outside."""
    import tifffile

    rng = np.random.default_rng(3)
    side = 256
    y, x = np.mgrid[:side, :side]
    places = [(60, 60, 30), (70, 185, 34), (190, 80, 36), (185, 195, 28)]
    stack = np.empty((planes, side, side, 3))
    truth = np.zeros((planes, side, side), np.uint8)
    for plane in range(planes):
        pixels = np.full((side, side, 3), (236, 226, 228), float)
        for number, (row, column, radius) in enumerate(places, 1):
            if number == 4 and plane == 0:
                continue  # this one begins in the second plane
            far = np.hypot(y - row - 2 * plane, x - column)
            pixels[far < radius] = (190, 150, 200)
            pixels[far < radius * 0.5] = (90, 40, 130)
            truth[plane][far < radius] = number
        stack[plane] = pixels + rng.normal(0, 5, pixels.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(
        path, stack.clip(0, 255).astype(np.uint8), ome=True, photometric="rgb",
        metadata={"axes": "ZYXS"},
    )  # fmt: skip
    return truth
