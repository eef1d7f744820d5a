"""What does the default make of thin things, and of things of a kind that touch? Pictures of both.

Two drawings: poles of 2, 4, 8, 16 and 32 pixels before a sky, and three balls in a row; each parsed
with the default settings and cut into 3 to 24 regions. Written to docs/images, for docs/trees.md.

    python benchmarks/failures.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _common import REPOSITORY, arguments
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from regiontree import RegionParser
from regiontree.display.plot import granularity_strip

WIDE, TALL, HORIZON = 768, 512, 340
Picture = NDArray[np.uint8]


def landscape() -> Picture:
    """A sky that brightens downwards over grass with some grain."""
    down = np.linspace(0, 1, TALL)[:, None, None]
    sky = np.array([140, 180, 225]) + down * 0.35 * np.array([95, 55, 15])
    picture = np.broadcast_to(sky, (TALL, WIDE, 3)).copy()
    grain = np.random.default_rng(0).normal(0, 10, (TALL - HORIZON, WIDE, 1))
    picture[HORIZON:] = np.array([92, 122, 60]) + grain
    return picture.clip(0, 255).astype(np.uint8)


def poles() -> Picture:
    image = Image.fromarray(landscape())
    draw = ImageDraw.Draw(image)
    for x, width in zip((90, 220, 350, 500, 650), (2, 4, 8, 16, 32), strict=True):
        draw.rectangle((x, 90, x + width - 1, 400), fill=(70, 60, 55))
    return np.asarray(image)


def balls() -> Picture:
    """Orange, of one size, lit from above on the left; each touches the next."""
    picture = landscape().astype(float)
    y, x = np.mgrid[:TALL, :WIDE]
    radius = 76
    for middle in (230, 380, 530):
        light = 1.15 - np.hypot(x - middle + 0.35 * radius, y - 330 + 0.4 * radius) / (1.7 * radius)
        inside = np.hypot(x - middle, y - 330) < radius
        shaded = light.clip(0.35, 1.1)[:, :, None] * np.array([240, 140, 30])
        picture[inside] = shaded[inside]
    return picture.clip(0, 255).astype(np.uint8)


def main() -> None:
    options = arguments(__doc__, csv=False)
    options.add_argument("--output", type=Path, default=REPOSITORY / "docs" / "images")
    given = options.parse_args()
    parser = RegionParser()
    for name, picture in (("poles", poles()), ("balls", balls())):
        figure = granularity_strip(parser.parse(picture), picture, granularities=(3, 6, 12, 24))
        path = given.output / f"failure-{name}.png"
        figure.savefig(path, dpi=140)
        print(path)


if __name__ == "__main__":
    main()
