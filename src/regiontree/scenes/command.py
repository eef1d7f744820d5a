"""``regiontree scene``: a scene behind a progress bar, and what it has become."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from regiontree.errors import SettingsError
from regiontree.parser import RegionParser
from regiontree.scenes.scene import PARTS, Scene, parse_scene
from regiontree.system.progress import Bar, progress_bar
from regiontree.system.signals import interruptible
from regiontree.system.temporary import remove_leftovers
from regiontree.system.terminal import say

__all__ = ["EXIT_INTERRUPTED", "numbers", "run", "scene_parser"]

EXIT_INTERRUPTED = 130
"""The user stopped the command."""


def scene_parser(given: Mapping[str, Any], device: str, *, compile: bool = False) -> RegionParser:
    """The parser of the user's settings, with the usual number of parts of a scene."""
    return RegionParser(device=device, compile=compile, **{"parts.count": PARTS, **given})


def numbers(text: str) -> tuple[int, ...]:
    """Numbers that are separated by commas.

    Raises
    ------
    SettingsError
        A part of the text is no whole number.

    Examples
    --------
    >>> numbers("8, 64")
    (8, 64)
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SettingsError(
            f"granularities must be whole numbers like 8,64, got {text!r}"
        ) from None


def run(
    parser: RegionParser,
    path: Path,
    out: Path,
    *,
    bands: str | None,
    window: int,
    regions: int,
    granularities: Sequence[int],
    picture_pixels: int,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Parse a scene behind a progress bar on standard error; the exit code.

    Parameters are those of :func:`regiontree.scenes.parse_scene`.

    Raises
    ------
    RegionTreeError
        As `parse_scene`.
    """
    if out.is_dir():
        remove_leftovers(out)
    start = time.perf_counter()
    try:
        with interruptible() as check, progress_bar("scene", None) as bar:
            scene = parse_scene(
                path, out, parser=parser, bands=bands, window=window, regions=regions,
                granularities=granularities, picture_pixels=picture_pixels, overwrite=overwrite,
                on_step=_shown(bar, check),
            )  # fmt: skip
    except KeyboardInterrupt:
        say("interrupted: run the same command again to go on")
        return EXIT_INTERRUPTED
    say(_line(scene, time.perf_counter() - start))
    if as_json:
        print(json.dumps(_summary(scene), indent=1))
    return 0


def _shown(bar: Bar, check: Callable[[], None]) -> Callable[[str, int, int], None]:
    def step(what: str, done: int, total: int) -> None:
        bar.expect(total)
        bar.reach(done, rate=what)
        check()

    return step


def _line(scene: Scene, seconds: float) -> str:
    height, width = scene.shape
    return (
        f"{width} x {height} pixels, {scene.tree.n_leaves} leaves in {seconds:.1f} s; leaves.tif, "
        f"tree.npz, overview.tif, regions.tif and regions.gpkg in {scene.folder}"
    )


def _summary(scene: Scene) -> dict[str, Any]:
    return {
        "folder": str(scene.folder),
        "size": list(scene.shape),
        "leaves": scene.tree.n_leaves,
        "nodes": scene.tree.n_nodes,
        "overview": list(scene.tree.shape),
    }
