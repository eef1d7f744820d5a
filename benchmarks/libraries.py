"""Could a library take the place of our own code, and what would change?

Question
    Three pieces of this project have a counterpart in a library: connected pieces and the watershed
    of the refinement (scikit-image), and the reading of configs (ruamel.yaml, if it is installed).
    Are results the same, and which takes longer?
Method
    Pieces and watershed: photographs with a long side of 840, one of each data set in turn. The map
    whose connected pieces are counted is the natural cut of the photograph's own tree (preset
    fast). The watershed floods the edge image of the refinement from the centres of patches of 7
    pixels. Configs: every file of ``configs/``. Ours and the library in turn (A B A B).
Printed
    Median time of both, the library's as a ratio of ours, and the share of equal pixels or files.
Target
    None: docs/dependencies.md says what was decided.
"""

from __future__ import annotations

import statistics
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from _common import (
    REPOSITORY,
    arguments,
    interleave,
    photographs,
    print_closing,
    print_heading,
    print_results,
    ratio,
)
from PIL import Image
from skimage.measure import label
from skimage.segmentation import watershed

from regiontree import RegionParser
from regiontree.images import fitted, load_image
from regiontree.images.colours import lab_colours
from regiontree.refine.guided import Guided, edge_height
from regiontree.refine.guided import watershed as own_watershed
from regiontree.refine.regions import components, patch_centres
from regiontree.system.reading import read_mapping

_SIDE, _PATCH = 840, 7
Row = list[object]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--limit", type=int, default=6, help="photographs (default 6)")
    parser.add_argument("--repeats", type=int, default=5, help="turns (default 5)")
    options = parser.parse_args()
    print_heading(__file__)
    rows = _of_photographs(options.limit, options.repeats)
    rows += _of_configs(options.repeats)
    print_results("libraries", rows, options.csv)
    print_closing()


def _of_photographs(limit: int, repeats: int) -> list[Row]:
    """Rows of connected pieces and of the watershed."""
    times: dict[str, list[float]] = {}
    equal: dict[str, list[float]] = {"pieces": [], "watershed": []}
    parser, settings = RegionParser(preset="fast"), Guided()
    for photo in photographs(limit):
        image = load_image(photo.source)
        size = fitted(image.size, _SIDE)
        rgb = np.asarray(Image.fromarray(image.rgb).resize(size[::-1]))
        regions = parser.parse(rgb).cut().astype(np.int32)
        ours, theirs = components(regions), label(regions, connectivity=1, background=-1) - 1
        equal["pieces"].append(float(np.mean(ours == theirs)))

        colours = lab_colours(rgb)
        height = edge_height(colours, settings.coarse * _PATCH)
        height += settings.detail * edge_height(colours, settings.fine * _PATCH)
        y, x = patch_centres((size[0] // _PATCH, size[1] // _PATCH), size)
        springs = (y[:, None] * size[1] + x).reshape(-1)
        markers = np.zeros(size[0] * size[1], np.int32)
        markers[springs] = np.arange(len(springs)) + 1
        markers = markers.reshape(size)
        flooded, other = own_watershed(height, springs), watershed(height, markers) - 1
        equal["watershed"].append(float(np.mean(flooded == other)))
        ways = {
            "pieces": partial(components, regions),
            "pieces, library": partial(label, regions, connectivity=1, background=-1),
            "watershed": partial(own_watershed, height, springs),
            "watershed, library": partial(watershed, height, markers),
        }
        for name, taken in interleave(ways, repeats).items():
            times.setdefault(name, []).extend(taken)
    return [
        _row(name, "scikit-image", times[name], times[f"{name}, library"], statistics.mean(shares))
        for name, shares in equal.items()
    ]


def _of_configs(repeats: int) -> list[Row]:
    """The row of reading configs; none without ruamel.yaml."""
    if find_spec("ruamel") is None:
        return []
    from ruamel.yaml import YAML

    files = sorted((REPOSITORY / "configs").glob("*.yaml"))

    def ours() -> list[object]:
        return [read_mapping(file) for file in files]

    def theirs() -> list[object]:
        return [_loaded(YAML(typ="safe", pure=True), file) for file in files]

    same = statistics.mean(a == b for a, b in zip(ours(), theirs(), strict=True))
    times = interleave({"ours": ours, "theirs": theirs}, repeats)
    return [_row("configs", "ruamel.yaml", times["ours"], times["theirs"], same)]


def _loaded(yaml: object, file: Path) -> object:
    return yaml.load(file)  # type: ignore[attr-defined]


def _row(what: str, library: str, ours: list[float], theirs: list[float], same: float) -> Row:
    milliseconds = [1e3 * statistics.median(taken) for taken in (ours, theirs)]
    return [what, library, *milliseconds, ratio(theirs, ours), 100 * same]


if __name__ == "__main__":
    main()
