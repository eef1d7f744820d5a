"""What a forward pass of each preset costs beside that of the published one.

The published preset sees any photograph as a square, the others keep its shape, so it is shown as
it is and stretched to a square.

python benchmarks/presets.py
"""

from __future__ import annotations

from functools import partial

from _common import (
    arguments,
    interleave,
    photographs,
    print_closing,
    print_heading,
    print_results,
    ratio,
)

from regiontree import RegionParser
from regiontree.images import grid_of, load_image, to_pixels
from regiontree.settings import PRESETS


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--repeats", type=int, default=5)
    given = options.parse_args()
    image = load_image(photographs(1)[0].source)
    print_heading("presets.py")
    rows = []
    for shape in ("as it is", "square"):
        ways = {}
        for name in PRESETS:
            parser = RegionParser(preset=name)
            size = parser.settings.view.size
            side = size if isinstance(size, int) else max(size)
            patch = parser.backbone.patch
            grid = grid_of(image.size, size if shape == "as it is" else (side, side), patch)
            pixels = to_pixels(image.rgb, grid, patch)[None]
            ways[name] = partial(parser.backbone.features, pixels)
        times = interleave(ways, given.repeats)
        rows += [[shape, name, ratio(times[name], times["published"])] for name in PRESETS]
    print(f"A photograph of {image.size[1]} x {image.size[0]}; time of published = 1:\n")
    print_results("presets", rows, given.csv)
    print_closing()


if __name__ == "__main__":
    main()
