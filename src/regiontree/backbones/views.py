"""Features of several views of an image: mirrored, or moved by part of a patch.

A vision transformer's features depend in part on where a patch lies in the image. This part says
nothing about what the patch shows. It differs between an image and its mirror image, so averaging
the features of both reduces it.

- 2 views: the network sees the image and its mirror image. The features are averaged.
- 4 views: the network sees the image moved by a quarter of a patch, left or right and up or down.
  The patch centres of the four views are half a patch apart. Together the views give a grid twice
  as fine, and the network still sees the image at the size it was trained at. Every other view is
  mirrored, in a chequerboard pattern. The later smoothing then averages neighbours from mirrored
  and unmirrored views.

docs/decisions.md holds the measurements.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from regiontree.backbones.base import Backbone
from regiontree.backbones.descriptors import descriptor_dim, halves
from regiontree.errors import BackboneError

__all__ = ["VIEWS", "Views", "grid_overlap"]

VIEWS = (1, 2, 4)
"""The numbers of views of an image that a user can choose."""


def grid_overlap(views: object, tiles: object) -> float:
    """Cells of the feature grid along one side of the network's patch: 2.0 or 1.0.

    It is 2.0 for four views without tiles, because four views make the grid twice as fine. With
    tiles, the grid is the network's own.

    Parameters
    ----------
    views, tiles
        The two settings, as read from a parser's settings or from a file.
    """
    return 2.0 if views == 4 and tiles is None else 1.0


class Views:
    """A :class:`~regiontree.backbones.base.Backbone` that joins 2 or 4 views of the image.

    With 4 views, ``patch`` is half the network's patch, so the grid has twice as many rows and
    columns. ``digest`` is the digest of the weights. ``name`` states the number of views, so that
    trees and stored features are not mistaken for those of one view.

    Parameters
    ----------
    backbone
        The network that sees each view.
    views
        2 or 4.

    Raises
    ------
    BackboneError
        4 views are asked for, and the network's patch has an odd number of pixels on a side.
    """

    def __init__(self, backbone: Backbone, views: int) -> None:
        if views == 4 and backbone.patch % 2:
            raise BackboneError(
                f"4 views need a patch whose side is an even number of pixels, and {backbone.name} "
                f"has patches of {backbone.patch} pixels; use 1 or 2 views"
            )
        self._backbone = backbone
        self._views = views
        self.name = f"{backbone.name} ({views} views)"
        self.digest = backbone.digest
        self.patch = backbone.patch // 2 if views == 4 else backbone.patch
        self.dim = backbone.dim
        self.descriptor_dim = descriptor_dim(backbone)
        self.device = backbone.device
        self.dtype = backbone.dtype

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """Features (B, h, w, dim), float32 on `device`, of pixels (B, 3, h * patch, w * patch).

        Pixels are floats in [0, 1]. With 2 views, features have unit length, and so have
        descriptors.
        """
        if self._views == 2:
            plain, mirrored = (
                halves(self._seen(pixels, mirrored), self.descriptor_dim)
                for mirrored in (False, True)
            )
            means = [
                normalize(normalize(one, dim=3) + normalize(other, dim=3), dim=3)
                for one, other in zip(plain, mirrored, strict=True)
            ]
            return means[0] if len(means) == 1 else torch.cat(means, dim=3)
        images, _, height, width = pixels.shape
        whole, half = self._backbone.patch, self.patch
        h, w = height // half, width // half
        rows, columns = -(-height // whole), -(-width // whole)
        # Each centre of a network's patch should lie at the centre of a half patch. So the views
        # start a quarter of a patch before and a quarter after the image's corner. They move by
        # whole pixels, so the centres are half a pixel off where half a patch is an odd number.
        before, after = (half + 1) // 2, half // 2
        more = rows * whole - height + after, columns * whole - width + after
        framed = pad(pixels, (before, more[1], before, more[0]), mode="replicate")
        shape = images, 2 * rows, 2 * columns, self.dim
        found = torch.empty(shape, dtype=torch.float32, device=self.device)
        for i, top in enumerate((0, before + after)):
            for j, left in enumerate((0, before + after)):
                view = framed[:, :, top : top + rows * whole, left : left + columns * whole]
                found[:, i::2, j::2] = self._seen(view, (i + j) % 2 == 1)
        return found[:, :h, :w]

    def _seen(self, pixels: Tensor, mirrored: bool) -> Tensor:
        """Features of the image, or of its mirror image, mirrored back to the image's grid."""
        if not mirrored:
            return self._backbone.features(pixels)
        return self._backbone.features(pixels.flip(3)).flip(2)
