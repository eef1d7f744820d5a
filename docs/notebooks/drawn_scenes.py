"""Folders of photographs for the notebooks, pasted together from pictures of scikit-image.

The pieces are photographs: a cat, a cup, an astronaut, bricks, grass and gravel. Sky, horse and
leaves are drawn. So it is known what every pixel shows, and no data set is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter
from skimage import data

__all__ = ["LEAVES", "SCENES", "draw_leaves", "draw_scenes"]

SCENES = ("sky", "wall", "meadow", "gravel", "cat", "cup", "person", "horse")
"""What a pixel of a scene can show. Its number is its place."""
LEAVES = ("gravel", "smooth leaf", "toothed leaf")
"""What a pixel of a photograph of leaves can show."""

SIZE = WIDTH, HEIGHT = 480, 360
_TALL = {"cat": 130, "cup": 110, "person": 210, "horse": 150}
# The astronaut's outline in her photograph.
_PERSON = [
    (97, 511), (100, 420), (96, 355), (112, 290), (160, 250), (182, 215), (192, 165), (165, 120),
    (158, 75), (180, 38), (225, 25), (270, 50), (285, 95), (277, 140), (258, 190), (290, 220),
    (315, 245), (345, 280), (385, 295), (410, 360), (420, 420), (430, 511),
]  # fmt: skip

Truth = NDArray[np.uint8]
Drawing = tuple[Image.Image, Truth]


def draw_scenes(
    folder: str | Path, count: int = 24, *, horses: Collection[int] = ()
) -> dict[str, Truth]:
    """Write scenes of two things on the ground, before a sky or a wall.

    Parameters
    ----------
    folder
        Gets the photographs, 360 x 480, as ``scene00.jpg`` and so on.
    count
        How many.
    horses
        Numbers of the scenes in which one thing is a horse.

    Returns
    -------
    dict of str to (360, 480) uint8
        What each pixel of a photograph shows, as its place in `SCENES`, by the photograph's id.
    """
    return _written(folder, "scene", count, partial(_scene, horses=horses))


def draw_leaves(folder: str | Path, count: int = 16) -> dict[str, Truth]:
    """Write photographs of gravel with three smooth and three toothed leaves.

    Their colours, lengths and directions differ within each kind, and the light between
    photographs.

    Returns
    -------
    dict of str to (360, 480) uint8
        What each pixel of ``leaves00`` and so on shows, as its place in `LEAVES`.
    """
    return _written(folder, "leaves", count, _leaves)


def _written(
    folder: str | Path, name: str, count: int, draw: Callable[[int], Drawing]
) -> dict[str, Truth]:
    folder, truth = Path(folder), {}
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        key = f"{name}{number:02}"
        picture, truth[key] = draw(number)
        picture.save(folder / f"{key}.jpg", quality=92)
    return truth


def _scene(number: int, horses: Collection[int]) -> Drawing:
    rng = np.random.default_rng(number)
    behind, ground = SCENES[number % 2], SCENES[2 + number // 2 % 2]
    horizon = int(rng.integers(150, 210))
    picture = _sky(rng) if behind == "sky" else _piece_of("wall", rng)
    picture.paste(_piece_of(ground, rng), (0, horizon))
    truth = np.full((HEIGHT, WIDTH), SCENES.index(behind), np.uint8)
    truth[horizon:] = SCENES.index(ground)
    names = list(rng.permutation(["cat", "cup", "person"])[:2])
    if number in horses:
        names[0] = "horse"
    for side, name in enumerate(names):
        tall = int(_TALL[name] * rng.uniform(0.8, 1.2))
        thing = _things()[name]
        thing = thing.resize((round(thing.width * tall / thing.height), tall))
        if rng.random() < 0.5:
            thing = thing.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        left = side * WIDTH // 2 + int(rng.integers(0, max(1, WIDTH // 2 - thing.width)))
        lowest = HEIGHT - tall
        top = min(lowest, int(horizon + rng.integers(20, 110) - 0.55 * tall))
        place = (min(left, WIDTH - thing.width), lowest if name == "person" else top)
        _paste(thing, place, picture, truth, SCENES.index(name))
    return ImageEnhance.Brightness(picture).enhance(rng.uniform(0.75, 1.15)), truth


def _leaves(number: int) -> Drawing:
    rng = np.random.default_rng(1000 + number)
    picture = _piece_of("gravel", rng)
    truth = np.zeros((HEIGHT, WIDTH), np.uint8)
    for place, kind in enumerate(rng.permutation([1, 2] * 3).tolist()):
        leaf = _leaf(rng, toothed=LEAVES[kind] == "toothed leaf")
        middle = np.array([place % 3 * 160 + 80, place // 3 * 180 + 90]) + rng.integers(-14, 15, 2)
        most = np.array(SIZE) - leaf.size
        left, top = np.clip(middle - np.array(leaf.size) // 2, 0, most).tolist()
        shadow = Image.new("L", SIZE)
        shadow.paste(leaf.getchannel("A").point(lambda value: value // 2), (left + 4, top + 5))
        picture.paste((0, 0, 0), (0, 0), shadow.filter(ImageFilter.GaussianBlur(3)))
        _paste(leaf, (left, top), picture, truth, kind)
    left_light, right_light = rng.uniform(0.5, 1.3, 2)
    light = np.linspace(left_light, right_light, WIDTH)[None, :, None]
    return _picture(np.asarray(picture) * light), truth


def _leaf(rng: np.random.Generator, *, toothed: bool) -> Image.Image:
    """A leaf on nothing, drawn at four times its size."""
    length = 4 * int(rng.uniform(95, 130))
    along = np.linspace(0, 1, 400)
    half = length * rng.uniform(0.20, 0.27) * np.sin(np.pi * along**0.8) ** 0.9
    if toothed:
        half *= 1 - 0.15 * (along * 14 % 1)
    green = rng.uniform((40, 100, 20), (120, 150, 50))
    leaf, vein = tuple(green.astype(int)), tuple((green * 1.35).astype(int))
    picture = Image.new("RGBA", (length + 40, int(2 * half.max()) + 40))
    draw, middle, x = ImageDraw.Draw(picture), picture.height / 2, 20 + along * length
    outline = np.concatenate([half, -half[::-1]]) + middle
    draw.polygon([*zip([*x, *x[::-1]], outline, strict=True)], fill=leaf)
    draw.line((20, middle, 20 + length, middle), fill=vein, width=8)
    for start in np.linspace(0.12, 0.85, 7):
        side = 0.8 * np.interp(start + 0.08, along, half)
        for end in (middle - side, middle + side):
            whole = (20 + start * length, middle, 20 + (start + 0.08) * length, end)
            draw.line(whole, fill=vein, width=4)
    turned = picture.rotate(rng.uniform(0, 360), Image.Resampling.BICUBIC, expand=True)
    small = turned.resize((turned.width // 4, turned.height // 4))
    return small.crop(small.getbbox())


def _paste(
    thing: Image.Image, place: tuple[int, int], picture: Image.Image, truth: Truth, kind: int
) -> None:
    """Put a thing into a picture, and its number where the thing covers the picture."""
    picture.paste(thing, place, thing)
    inside = np.asarray(thing.getchannel("A")) > 127
    left, top = place
    truth[top : top + thing.height, left : left + thing.width][inside] = kind


def _sky(rng: np.random.Generator) -> Image.Image:
    down = np.linspace(0, 1, HEIGHT)[:, None, None]
    blue = (1 - down) * np.array([80, 135, 210]) + down * np.array([235, 240, 245])
    coarse = Image.fromarray(rng.integers(0, 255, (6, 10)).astype(np.uint8))
    cloud = np.asarray(coarse.resize(SIZE, Image.Resampling.BICUBIC), float)[..., None] / 255
    return _picture(blue + 160 * np.clip(cloud - 0.55, 0, 1))


def _piece_of(stuff: str, rng: np.random.Generator) -> Image.Image:
    """A piece of a texture, anywhere in it."""
    whole = _textures()[stuff]
    if rng.random() < 0.5:
        whole = whole.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    left, top = (
        int(rng.integers(0, most + 1 - side)) for most, side in zip(whole.size, SIZE, strict=True)
    )
    return whole.crop((left, top, left + WIDTH, top + HEIGHT))


@cache
def _textures() -> dict[str, Image.Image]:
    """Squares of 512 to 640 pixels."""
    given = {
        "wall": (np.rot90(data.brick()), (70, 25, 15), (235, 170, 140)),
        "meadow": (data.grass(), (10, 35, 0), (170, 215, 110)),
        "gravel": (data.gravel(), (25, 22, 20), (225, 215, 205)),
    }
    found = {}
    for name, (grey, dark, light) in given.items():
        share = grey[..., None] / 255
        coloured = _picture((1 - share) * np.array(dark) + share * np.array(light))
        side = 512 if name == "wall" else 640  # bricks are not larger than heads
        found[name] = coloured.resize((side, side))
    return found


@cache
def _things() -> dict[str, Image.Image]:
    """Each with the pixels around it transparent."""
    horse = ~data.horse()  # a black shape
    brown = np.array([92, 58, 36]) + np.random.default_rng(0).normal(0, 10, (*horse.shape, 1))
    outline = Image.fromarray((horse * 255).astype(np.uint8))
    cat, cup, person = (_picture(one()) for one in (data.chelsea, data.coffee, data.astronaut))
    return {
        "cat": _cut(cat, lambda draw: draw.ellipse((66, -30, 374, 292), fill=255)),
        "cup": _cut(cup, lambda draw: draw.ellipse((84, 22, 472, 366), fill=255)),
        "person": _cut(person, lambda draw: draw.polygon(_PERSON, fill=255)),
        "horse": _cut(_picture(brown), lambda draw: draw.bitmap((0, 0), outline, fill=255)),
    }


def _cut(picture: Image.Image, draw: Callable[[ImageDraw.ImageDraw], None]) -> Image.Image:
    """The part of a picture inside the shape that `draw` draws."""
    shape = Image.new("L", picture.size)
    draw(ImageDraw.Draw(shape))
    picture.putalpha(shape.filter(ImageFilter.GaussianBlur(1)))
    return picture.crop(shape.getbbox())


def _picture(values: NDArray[np.floating | np.uint8]) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
