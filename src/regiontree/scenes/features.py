"""Features of any part of a scene, the same whichever part is asked for.

The network sees tiles of the scene at two resolutions: the scene's own, and a quarter of it. A
tile at a quarter shows four times as far (*context*). As in :mod:`regiontree.backbones.tiles`,
tiles overlap, count less towards their borders, every other one is mirrored, and a patch's feature
is 0.9 of the context's and 0.1 of its own tiles'. A photograph is seen as a whole there. A scene
has no view of its whole: a patch of such a view would be a village.

Tiles lie at fixed places of the scene. So a patch's feature does not depend on the window in which
it is computed, and no seam shows where windows end.

A tile without data is not shown to the network. Other pixels without data have the colours around
them, within the tile.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from regiontree.backbones import Backbone
from regiontree.backbones.descriptors import descriptor_dim, halves
from regiontree.backbones.run import run_batch
from regiontree.backbones.tiles import mix_context, tile_starts, tile_weights
from regiontree.images.valid import filled, resized
from regiontree.scenes.grid import COARSER, Area, SceneGrid, within
from regiontree.scenes.raster import Raster

__all__ = ["MARGIN", "SceneFeatures"]

MARGIN = COARSER
"""Patches around a part whose features are not exact: there, the coarser view is cut off."""
_CONTEXT = 0.9  # as in backbones.tiles
_KEPT = 3  # columns of tiles that are kept, for the window to the right


class SceneFeatures:
    """Features of unit length of the patches of a scene.

    Parameters
    ----------
    raster
    grid
    network
        What sees the tiles. Descriptors are left out.
    tile
        Side of a tile in pixels.
    """

    def __init__(self, raster: Raster, grid: SceneGrid, network: Backbone, tile: int) -> None:
        own = network.dim - descriptor_dim(network) or network.dim
        cells, coarse = grid.cells, (grid.cells[0] // COARSER, grid.cells[1] // COARSER)
        side = max(2, tile // network.patch)
        self.grid, self.dim = grid, own
        self._fine = _Level(raster, network, cells, side, 1)
        self._coarse = _Level(raster, network, coarse, side, COARSER)

    def part(self, cells: Area) -> Tensor:
        """Features (h, w, d) float32 of unit length, of the patches of an area.

        The area begins and ends where patches of the coarser view do. Features within
        :data:`MARGIN` patches of its border are not exact, unless the scene ends there.
        """
        rows, columns = (slice(s.start // COARSER, s.stop // COARSER) for s in cells)
        features = self._fine.part(cells)
        mix_context(features, self._coarse.part((rows, columns)), _CONTEXT)
        return features


class _Level:
    """The tiles of a scene at one resolution; `scale` is the side of its pixels in the scene's."""

    def __init__(
        self, raster: Raster, network: Backbone, cells: tuple[int, int], side: int, scale: int
    ) -> None:
        self._raster, self._network, self._scale = raster, network, scale
        self._size = min(side, cells[0]), min(side, cells[1])  # of a tile, in patches
        starts = tile_starts(cells[0], side), tile_starts(cells[1], side)
        self._starts = starts
        self._weights = [
            torch.from_numpy(tile_weights(n, list(s), size)).to(network.device)
            for n, s, size in zip(cells, starts, self._size, strict=True)
        ]
        self._own = network.dim - descriptor_dim(network) or network.dim
        self._seen: OrderedDict[tuple[int, int], Tensor | None] = OrderedDict()

    def part(self, cells: Area) -> Tensor:
        """Weighted means of the tiles' features, (h, w, d) float32 of unit length."""
        tall, wide = cells[0].stop - cells[0].start, cells[1].stop - cells[1].start
        total = torch.zeros(tall, wide, self._own, device=self._network.device)
        tops, lefts = (
            [i for i, start in enumerate(s) if start < side.stop and start + size > side.start]
            for s, size, side in zip(self._starts, self._size, cells, strict=True)
        )
        for j in lefts:
            for i in tops:
                tile = self._tile(i, j, _KEPT * len(tops))
                if tile is None:
                    continue
                place = self._place(i, j)
                shared = _shared(place, cells)
                rows, columns = within(shared, place)
                weight = self._weights[0][i][rows][:, None] * self._weights[1][j][columns]
                total[within(shared, cells)] += weight[:, :, None] * tile[rows, columns]
        return normalize(total, dim=2)

    def _place(self, i: int, j: int) -> Area:
        (top, left), (tall, wide) = (self._starts[0][i], self._starts[1][j]), self._size
        return slice(top, top + tall), slice(left, left + wide)

    def _tile(self, i: int, j: int, keep: int) -> Tensor | None:
        """The features (h, w, d) of a tile, of unit length; None if it holds no data."""
        if (i, j) in self._seen:
            self._seen.move_to_end((i, j))
            return self._seen[i, j]
        found = self._of_network(self._place(i, j), mirrored=(i + j) % 2 == 1)
        self._seen[i, j] = found
        while len(self._seen) > keep:
            self._seen.popitem(last=False)
        return found

    @torch.no_grad()
    def _of_network(self, place: Area, *, mirrored: bool) -> Tensor | None:
        rgb = self._colours(place)
        if rgb is None:
            return None
        network = self._network
        rgb = np.array(rgb[:, ::-1] if mirrored else rgb)
        pixels = torch.from_numpy(rgb).permute(2, 0, 1)[None].float().div_(255.0)
        found = run_batch(network, pixels.to(network.device))[0]
        own = halves(found, descriptor_dim(network))[0].float()
        return normalize(own.flip(1) if mirrored else own, dim=2)

    def _colours(self, place: Area) -> NDArray[np.uint8] | None:
        """What the network sees, (H, W, 3) uint8; None if there is no data."""
        step = self._network.patch * self._scale
        rows, columns = (slice(s.start * step, s.stop * step) for s in place)
        pixels = self._raster.read(rows, columns)
        if not pixels.valid.any():
            return None
        if self._scale == 1:
            return pixels.rgb if pixels.valid.all() else filled(pixels.rgb, pixels.valid)
        size = pixels.rgb.shape[0] // self._scale, pixels.rgb.shape[1] // self._scale
        return resized(pixels.rgb, size, None if pixels.valid.all() else pixels.valid)


def _shared(one: Area, other: Area) -> Area:
    rows, columns = (
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )
    return rows, columns
