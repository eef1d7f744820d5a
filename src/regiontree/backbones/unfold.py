"""A network seen through a sliding window: features of overlapping crops, averaged.

A crop shows the network a part of the image at the resolution it was trained at, and each patch is
seen in several surroundings. This is the published ``unfold`` option (kernel, stride), for any
backbone. Where the windows do not fit the image exactly, which the published fold requires, the
last row and column of them move inwards until they touch the border: every patch is covered, and
where they do fit nothing changes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regiontree.backbones.base import Backbone
from regiontree.errors import SettingsError

__all__ = ["Unfolded", "check_window", "window_starts"]


def check_window(kernel: tuple[int, int], stride: tuple[int, int]) -> None:
    """Raise a SettingsError if crops of `kernel` every `stride` pixels would leave gaps."""
    if stride[0] > kernel[0] or stride[1] > kernel[1]:
        raise SettingsError(
            f"stride {stride[0]}x{stride[1]} exceeds kernel {kernel[0]}x{kernel[1]}: no crop would "
            "cover what lies between; use a smaller stride"
        )


def window_starts(length: int, kernel: int, stride: int) -> list[int]:
    """Where windows begin along a side, the last one moved inwards to end with it.

    Examples
    --------
    >>> window_starts(10, 4, 3), window_starts(11, 4, 3), window_starts(3, 4, 3)
    ([0, 3, 6], [0, 3, 6, 7], [0])
    """
    last = max(0, length - kernel)
    return [*range(0, last, stride), last]


class Unfolded:
    """A :class:`~regiontree.backbones.base.Backbone` run over crops of the image.

    Its digest is that of the weights; its name says the window too, so that neither trees nor
    stored features pass for those of whole images.

    Parameters
    ----------
    backbone
        What is run on each crop.
    kernel, stride
        Size of a crop and step between crops, (height, width) in pixels, whole patches. An image
        smaller than the kernel on a side is seen whole on that side: photographs of one folder
        differ in shape, and the flattest should not fail.

    Raises
    ------
    SettingsError
        Not multiples of the patch, or a stride beyond the kernel, which would leave gaps.
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
                    f"{patch} pixels; {near} is"
                )
        check_window(kernel, stride)
        self._backbone = backbone
        self._kernel, self._stride = kernel, stride
        window = "kernel {}x{}, stride {}x{}".format(*kernel, *stride)
        self.name = f"{backbone.name} unfolded ({window})"
        self.digest = backbone.digest
        self.patch = patch
        self.dim = backbone.dim
        self.device = backbone.device
        self.dtype = backbone.dtype

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """(B, 3, h * patch, w * patch) in [0, 1] -> (B, h, w, dim) float32 on `device`.

        A batch of crops holds no more pixels than the images themselves, so attention, which grows
        with the square of a crop's patches, never needs more memory than without crops.
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
        total = torch.zeros(shape, device=self.device)
        count = torch.zeros(1, *shape[1:3], 1, device=self.device)
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
