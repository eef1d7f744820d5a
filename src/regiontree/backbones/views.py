"""A network shown an image several times over, a little differently each time.

A vision transformer's features hold something of where a patch stands in the image, which is no
property of what it shows. That differs between an image and its mirror image, and averages out.

- 2 views: the image and its mirror image, features averaged.
- 4 views: the image moved by a quarter of a patch to both sides and up and down, so that patch
  centres are half a patch apart: a grid twice as fine from a network at the size it knows. Every
  other view is of the mirror image, in the manner of a chequerboard, so that neighbours average out
  what differs where features are smoothed.

Measured in docs/decisions.md.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from regiontree.backbones.base import Backbone
from regiontree.errors import BackboneError

__all__ = ["VIEWS", "Views", "grid_overlap"]

VIEWS = (1, 2, 4)
"""How often a network may see an image."""


def grid_overlap(views: object, tiles: object) -> float:
    """Patches of the grid in one of the network's, a side, by these two settings: four views make
    it twice as fine, tiles keep to the network's."""
    return 2.0 if views == 4 and tiles is None else 1.0


class Views:
    """A :class:`~regiontree.backbones.base.Backbone` over 2 or 4 views of the image.

    With 4, ``patch`` is half the network's: a feature for each half patch a side. Its digest is
    that of the weights; its name says the views, so that neither trees nor stored features pass for
    those of one view.

    Raises
    ------
    BackboneError
        4 views of a network whose patch has no half in whole pixels.
    """

    def __init__(self, backbone: Backbone, views: int) -> None:
        if views == 4 and backbone.patch % 2:
            raise BackboneError(
                f"4 views are half a patch apart, and {backbone.name} has patches of "
                f"{backbone.patch} pixels; use 1 or 2 views"
            )
        self._backbone = backbone
        self._views = views
        self.name = f"{backbone.name} ({views} views)"
        self.digest = backbone.digest
        self.patch = backbone.patch // 2 if views == 4 else backbone.patch
        self.dim = backbone.dim
        self.device = backbone.device
        self.dtype = backbone.dtype

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """(B, 3, h * patch, w * patch) in [0, 1] -> (B, h, w, dim) float32 on `device`."""
        if self._views == 2:
            both = (self._seen(pixels, mirrored) for mirrored in (False, True))
            return normalize(sum(normalize(features, dim=3) for features in both), dim=3)  # type: ignore[arg-type]
        images, _, height, width = pixels.shape
        whole, half = self._backbone.patch, self.patch
        h, w = height // half, width // half
        rows, columns = -(-height // whole), -(-width // whole)
        # Patch centres belong in the middle of half patches: a quarter of a patch before and after
        # where they are. Pixels being whole, what is not even is half a pixel off.
        before, after = (half + 1) // 2, half // 2
        more = rows * whole - height + after, columns * whole - width + after
        framed = pad(pixels, (before, more[1], before, more[0]), mode="replicate")
        found = torch.empty(images, 2 * rows, 2 * columns, self.dim, device=self.device)
        for i, top in enumerate((0, before + after)):
            for j, left in enumerate((0, before + after)):
                view = framed[:, :, top : top + rows * whole, left : left + columns * whole]
                found[:, i::2, j::2] = self._seen(view, (i + j) % 2 == 1)
        return found[:, :h, :w]

    def _seen(self, pixels: Tensor, mirrored: bool) -> Tensor:
        """Features of an image, or, put back in their places, of its mirror image."""
        if not mirrored:
            return self._backbone.features(pixels)
        return self._backbone.features(pixels.flip(3)).flip(2)
