"""How much a network computes, counted and not measured."""

from __future__ import annotations

import torch

from regiontree.backbones.base import Backbone

__all__ = ["count_operations"]


def count_operations(network: Backbone, pixels: torch.Tensor) -> int:
    """Floating-point operations of a network for one picture; 0 if torch does not run it.

    Products of matrices and convolutions are counted, which are nearly all. A multiplication counts
    as one operation and an addition as another. The network runs once, more slowly than usual.

    Parameters
    ----------
    network
        On any device.
    pixels
        (3, h * patch, w * patch): what the network sees. Its values do not count.

    Examples
    --------
    >>> class Colours:
    ...     dim, patch = 8, 2
    ...     def features(self, pixels):
    ...         return pixels[:, :, ::2, ::2].permute(0, 2, 3, 1) @ torch.ones(3, 8)
    >>> count_operations(Colours(), torch.zeros(3, 20, 40))  # 200 patches, 3 x 8 products and sums
    9600
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    # The fused attention of a CPU is one operation, which torch does not count.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        network.features(pixels[None])
    return int(counter.get_total_flops())
