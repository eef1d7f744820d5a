"""What makes the backbone's forward pass faster on this processor, and does it change the features?

Question
    Which of these pays on a CPU: inference mode instead of no-grad, bfloat16 instead of float32,
    batches of 2 or 4 images instead of one?
Method
    The embedded backbone on photographs resized to 840 x 840 (60 x 60 patches). All ways run in
    turn on the same pixels; a batch's time is divided by its images, and each way is compared with
    float32, one image at a time, in inference mode, within each turn. Agreement is the cosine of
    each patch's feature in one precision with its feature in the other, over all photographs.
Printed
    Seconds an image and speed relative to the baseline for each way; least and mean cosine.
Target
    What is kept is faster, and agrees: cosine above 0.999.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from _common import (
    arguments,
    interleave,
    photographs,
    print_closing,
    print_heading,
    print_results,
    print_target,
    ratio,
)
from torch import Tensor
from torch.nn import functional

from regiontree.backbones import pick_dtype
from regiontree.backbones.base import FeatureSpec
from regiontree.backbones.embedded import EmbeddedBackbone
from regiontree.images import load_image, to_pixels

BASELINE = "float32, inference mode"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="timed turns (default 5)")
    parser.add_argument(
        "--photos", type=int, default=8, help="for the agreement, 4 at least (default 8)"
    )
    parser.add_argument("--size", type=int, default=840, help="pixels, a multiple of 14 (840)")
    options = parser.parse_args()
    print_heading(__file__)

    cpu = torch.device("cpu")
    single = EmbeddedBackbone(cpu, torch.float32, FeatureSpec(facet="token"))
    half = EmbeddedBackbone(cpu, torch.bfloat16, FeatureSpec(facet="token"))
    side = options.size // single.patch
    photos = photographs(max(4, options.photos), repeat=True)  # batches of 4
    pixels = torch.stack(
        [to_pixels(load_image(p.source).rgb, (side, side), single.patch) for p in photos]
    )

    # `features` is itself in inference mode, so the network inside is what can be run without it.
    normalised = (pixels[:1] - single._mean) / single._deviation

    def without(context: Callable[[], torch.no_grad]) -> Callable[[], Tensor]:
        def way() -> Tensor:
            with context():
                features: Tensor = single.model(normalised)
                return features

        return way

    # Name of the way -> images in its batch, and the call.
    ways: dict[str, tuple[int, Callable[[], Tensor]]] = {
        BASELINE: (1, lambda: single.features(pixels[:1])),
        "float32, no-grad": (1, without(torch.no_grad)),
        "float32, batch of 2": (2, lambda: single.features(pixels[:2])),
        "float32, batch of 4": (4, lambda: single.features(pixels[:4])),
        "bfloat16": (1, lambda: half.features(pixels[:1])),
        "bfloat16, batch of 2": (2, lambda: half.features(pixels[:2])),
        "bfloat16, batch of 4": (4, lambda: half.features(pixels[:4])),
    }
    whole = interleave({name: way for name, (_, way) in ways.items()}, options.repeats)
    times = {name: [t / ways[name][0] for t in taken] for name, taken in whole.items()}
    print_results(
        "forward",
        [(name, statistics.median(t), ratio(times[BASELINE], t)) for name, t in times.items()],
        options.csv,
    )

    exact = torch.cat([single.features(p[None]) for p in pixels])
    cosine = _agreement(torch.cat([half.features(p[None]) for p in pixels]), exact)
    rows = [
        ("bfloat16 with float32", cosine),
        ("no-grad with inference mode", _agreement(without(torch.no_grad)(), exact[:1])),
        ("float32: batch of 4 with 1", _agreement(single.features(pixels[:4]), exact[:4])),
    ]
    print("Cosine of a patch's feature:\n")
    print_results(
        "forward-agreement",
        [
            (name, len(c), float(c.min()), float(c.mean()),
             100 * float((c > 0.999).double().mean()))
            for name, c in rows
        ],
        options.csv,
        "agreement",
    )  # fmt: skip
    chosen = str(pick_dtype("auto", cpu))[6:]
    print(f"On this processor dtype 'auto' means {chosen}.\n")
    faster = ratio(times[BASELINE], times["bfloat16"]) > 1
    print_target("bfloat16 faster than float32", met=faster)
    print_target("mean cosine above 0.999", met=bool(cosine.mean() > 0.999))
    print_target("least cosine above 0.999", met=bool(cosine.min() > 0.999))
    print_closing()


def _agreement(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of each patch, (patches,)."""
    return functional.cosine_similarity(a.flatten(0, -2).double(), b.flatten(0, -2).double())


if __name__ == "__main__":
    main()
