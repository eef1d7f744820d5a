"""Planes to trees, step by step, so that a window can show progress and the user can stop.

A step is some seconds at most: the pixels of a plane, the network, the tree. Between steps the
generator yields. Whoever closes it there leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import ImageError, RegionTreeError
from regiontree.images import load_image
from regiontree.plugins.napari.planes import Planes
from regiontree.plugins.napari.stack import TreeStack

if TYPE_CHECKING:
    from regiontree.parser import RegionParser
    from regiontree.tree import RegionTree

__all__ = ["STEPS", "Failure", "Parsers", "Progress", "parse_planes", "same_pixels"]

STEPS = 3
"""Steps of a plane."""


@dataclass(frozen=True)
class Progress:
    """How far the work is.

    Attributes
    ----------
    done : int
        Steps that are finished.
    text : str
        What comes next.
    """

    done: int
    text: str


@dataclass(frozen=True)
class Failure:
    """Why there are no trees, as one line for the user."""

    message: str


class Parsers:
    """Parsers by preset. Each keeps its network, so the second photograph starts at once."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, bool], RegionParser] = {}

    def get(self, preset: str, *, lean: bool = False) -> RegionParser:
        """The parser of a preset.

        Parameters
        ----------
        preset
            A name of :data:`regiontree.settings.presets.PRESETS`.
        lean
            Whether its trees have neither embeddings nor descriptors: those of a thousand planes
            would fill the memory.

        Raises
        ------
        RegionTreeError
            The preset does not exist.
        """
        from regiontree.parser import RegionParser  # loads torch

        if (preset, lean) not in self._made:
            changes: dict[str, Any] = {"embeddings": False} if lean else {}
            if lean and preset != "published":  # which has no descriptors
                changes["backbone"] = {"descriptor": "none"}
            self._made[preset, lean] = RegionParser(preset=preset, **changes)
        return self._made[preset, lean]


def parse_planes(
    parser_of: Callable[[], RegionParser], planes: Planes, file: Path | None = None
) -> Generator[Progress, None, TreeStack | Failure]:
    """The trees of all planes, one after another.

    Parameters
    ----------
    parser_of
        Gives the parser; called in the first step.
    planes
    file
        The file that the layer was opened from. If it shows the same picture as the one plane, the
        file is parsed, and the tree records its name and digest. None: there is no such file.

    Yields
    ------
    Progress
        Before each step.

    Returns
    -------
    TreeStack or Failure
        A failure for each fault that has a message of ours; other exceptions are raised.
    """
    trees: list[RegionTree] = []
    title = planes.name
    try:
        for number in range(planes.count):
            title, done = planes.title(number), STEPS * number
            yield Progress(done, f"{title}: reading")
            parser = parser_of()
            photo: Any = planes.plane(number)
            if planes.count == 1 and file is not None and same_pixels(photo, file):
                photo = file
            image = parser.sight.load(photo)
            yield Progress(done + 1, f"{title}: network")
            features = parser.extract(image)
            yield Progress(done + 2, f"{title}: tree")
            trees.append(parser.build(features, rgb=parser.pixels(photo, decoded=image)))
        return TreeStack(tuple(trees), planes.leading)
    except RegionTreeError as error:
        return Failure(f"{title}: {' '.join(str(error).split())}")
    except MemoryError:
        return Failure(f"{title}: does not fit in memory; crop the layer or parse fewer planes")


def same_pixels(pixels: NDArray[Any], file: Path) -> bool:
    """Whether a file shows the same 8-bit picture as an array; False if either cannot be read."""
    try:
        of_file, of_array = load_image(file), load_image(pixels)
    except (ImageError, OSError):
        return False
    return np.array_equal(of_file.rgb, of_array.rgb)
