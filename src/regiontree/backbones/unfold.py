"""Features of overlapping crops from a sliding window, averaged for each patch.

A crop shows the network a part of the image at the resolution it was trained at. The network sees
each patch in several surroundings. This is the published ``unfold`` option (kernel, stride), for
any backbone.

The published code requires that the windows fit the image exactly. Here they need not. The last row
and the last column of windows move inwards until they end at the border, so every patch is covered.
If the windows fit exactly, the result is the published one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regiontree.backbones.base import Backbone
from regiontree.backbones.descriptors import descriptor_dim
from regiontree.errors import SettingsError

__all__ = ["Unfolded", "check_window", "window_starts"]


def check_window(kernel: tuple[int, int], stride: tuple[int, int]) -> None:
    """Check that crops leave no gaps: `stride` may not exceed `kernel` on either side.

    Parameters
    ----------
    kernel, stride
        Size of a crop and step between crops, (height, width) in pixels.

    Raises
    ------
    SettingsError
        The stride exceeds the kernel.
    """
    if stride[0] > kernel[0] or stride[1] > kernel[1]:
        raise SettingsError(
            f"stride {stride[0]}x{stride[1]} exceeds kernel {kernel[0]}x{kernel[1]}: the crops "
            "would leave gaps; use a smaller stride"
        )


def window_starts(length: int, kernel: int, stride: int) -> list[int]:
    """Starts of the windows along one side; the last window ends where the side ends.

    Parameters
    ----------
    length, kernel, stride
        Lengths of the side, of a window and of a step, in one unit. If the side is shorter than a
        window, the only start is 0.

    Examples
    --------
    >>> window_starts(10, 4, 3), window_starts(11, 4, 3), window_starts(3, 4, 3)
    ([0, 3, 6], [0, 3, 6, 7], [0])
    """
    last = max(0, length - kernel)
    return [*range(0, last, stride), last]


class Unfolded:
    """A :class:`~regiontree.backbones.base.Backbone` that averages features of overlapping crops.

    ``digest`` is the digest of the weights. ``name`` states the window too, so that trees and
    stored features are not mistaken for those of whole images.

    Parameters
    ----------
    backbone
        The network that sees each crop.
    kernel, stride
        Size of a crop and step between crops, (height, width) in pixels, in whole patches. If a
        side of the image is shorter than the kernel, the crop is as long as that side. So a folder
        may hold photographs of different shapes, and the flattest one does not fail.

    Raises
    ------
    SettingsError
        The kernel or the stride is not a multiple of the patch, or the stride exceeds the kernel.
    """

    def __init__(
        self, backbone: Backbone, kernel: tuple[int, int], stride: tuple[int, int]
    ) -> None:
        patch = backbone.patch
        for name, sides in (("kernel", kernel), ("stride", stride)):
            if any(side < 1 or side % patch for side in sides):
                near = "x".join(str(max(1, round(side / patch)) * patch) for side in sides)
                raise SettingsError(
                    f"{name} {sides[0]}x{sides[1]} is not a multiple of the backbone's patch of "
                    f"{patch} pixels; use {near}"
                )
        check_window(kernel, stride)
        self._backbone = backbone
        self._kernel, self._stride = kernel, stride
        window = "kernel {}x{}, stride {}x{}".format(*kernel, *stride)
        self.name = f"{backbone.name} unfolded ({window})"
        self.digest = backbone.digest
        self.patch = patch
        self.dim = backbone.dim
        self.descriptor_dim = descriptor_dim(backbone)
        self.device = backbone.device
        self.dtype = backbone.dtype

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """Features (B, h, w, dim), float32 on `device`, of pixels (B, 3, h * patch, w * patch).

        Pixels are floats in [0, 1]. A batch of crops never holds more pixels than the images.
        Attention grows with the square of a crop's patches, so crops never need more memory than
        whole images.
        """
        images, _, height, width = pixels.shape
        patch = self.patch
        tall, wide = min(self._kernel[0], height), min(self._kernel[1], width)
        starts = [
            (top, left)
            for top in window_starts(height, tall, self._stride[0])
            for left in window_starts(width, wide, self._stride[1])
        ]
        shape = (images, height // patch, width // patch, self.dim)
        total = torch.zeros(shape, dtype=torch.float32, device=self.device)
        count = torch.zeros(1, *shape[1:3], 1, dtype=torch.float32, device=self.device)
        at_once = height * width // (tall * wide)
        for first in range(0, len(starts), at_once):
            batch = starts[first : first + at_once]
            crops = [pixels[:, :, top : top + tall, left : left + wide] for top, left in batch]
            found = self._backbone.features(torch.cat(crops))
            for (top, left), crop in zip(batch, torch.split(found, images), strict=True):
                rows = slice(top // patch, (top + tall) // patch)
                columns = slice(left // patch, (left + wide) // patch)
                total[:, rows, columns] += crop
                count[:, rows, columns] += 1
        return total / count
