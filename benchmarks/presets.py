"""What a forward pass of each preset costs beside that of the published one.

python benchmarks/presets.py
"""

from __future__ import annotations

import torch
from _common import (
    arguments,
    interleave,
    photographs,
    print_closing,
    print_heading,
    print_table,
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
    ways = {}
    for name in PRESETS:
        parser = RegionParser(preset=name)
        grid = grid_of(image.size, parser.settings.size, parser.backbone.patch)
        pixels = to_pixels(image, grid, parser.backbone.patch)[None]
        ways[name] = lambda network=parser.backbone, pixels=pixels: network.features(pixels)
    print_heading("presets.py")
    with torch.inference_mode():
        times = interleave(ways, given.repeats)
    print_table(
        ["preset", "forward / published"],
        [[name, f"{ratio(times[name], times['published']):.2f}"] for name in PRESETS],
    )
    print_closing()


if __name__ == "__main__":
    main()
