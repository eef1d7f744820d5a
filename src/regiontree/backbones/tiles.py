"""Features of a large photograph, from the whole at a reduced size and from overlapping tiles.

A network is trained at one size, some 37 patches a side. At that size, a large photograph holds
things that are smaller than a patch. So the network sees the photograph twice:

- as a whole, reduced to the size the network was trained at. This says what each place belongs to
  (*context*).
- in tiles of the size the network was trained at, at the full resolution. This says what is there
  (*detail*).

Tiles overlap. Near a tile's border the network sees the surroundings of a patch only on one side,
so a tile counts less there. The weights are a squared sine that falls to zero at the tile's border.
The weights of all tiles over a patch add up to 1. So features change smoothly across a tile's
border, and no seam shows. Every other tile is mirrored, in a chequerboard pattern. A network's
features depend in part on where a patch lies in the tile, which says nothing about what the patch
shows. This part cancels where tiles overlap.

A patch's feature is ``context * c + (1 - context) * d``. Here d is the feature of the tiles and c
the feature of the whole, both of unit length. Joint bilateral upsampling (Kopf et al., SIGGRAPH
2007) brings c to the finer grid of the tiles. It averages the nine nearest patches of the whole.
Those count most that are near and whose mean d is similar to the d of the fine patch. In the whole,
a border is as wide as a patch. The upsampling makes the border as sharp as in the tiles. Bilinear
resampling would turn the border into a broad band that belongs to neither side, and trees would be
worse than without tiles (docs/tiles.md). c and d come from one network, so they can be added. Their
sum needs half the memory of a concatenation. Descriptors are mixed in the same way, with the
weights of the features, and have unit length of their own.

Beyond the pixels and the result, the memory needed is that of one row of tiles.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool1d, interpolate, normalize

from regiontree.backbones.base import Backbone
from regiontree.backbones.descriptors import descriptor_dim, halves
from regiontree.errors import SettingsError, check_number
from regiontree.images import grid_of

__all__ = [
    "TILE",
    "Tiled",
    "memory_needed",
    "mix_context",
    "pool_features",
    "tile_starts",
    "tile_weights",
    "tile_window",
    "upsample_features",
]

TILE = 518
"""Side of a tile in pixels: the size that DINOv2 was trained at."""
_OVERLAP = 1 / 3  # least overlap of neighbouring tiles, as a share of a tile's side
_LIKENESS = 0.03  # a patch of the whole counts 1/e as much when its cosine is this much lower
_BLOCK_ENTRIES = 4_000_000  # values that are mixed at once: 16 MB as float32
_HALF = 64_000_000  # a result with more values than this is float16; as float32 they are 256 MB
# Bytes that do not depend on the photograph or the number of patches: torch, a network of 22
# million weights, a row of tiles, the blocks and windows of the tree and its refinement.
_AROUND = 1_000_000_000


class Tiled:
    """A :class:`~regiontree.backbones.base.Backbone` that joins a whole image and its tiles.

    ``digest`` is the digest of the weights. ``name`` states the tiles, so that trees and stored
    features are not mistaken for those of one view.

    Parameters
    ----------
    backbone
        The network that sees each tile. The patches of the result are the patches of this network.
    whole
        The network that sees the whole image. It must be the same network, perhaps over several
        views, so that the features have the same length.
    size
        Long side in pixels at which `whole` sees the image, 1 to 65,536.
    tile
        Side of a tile in pixels, from two patches to 65,536.
    context
        Weight of the whole's features, 0 to 1. The tiles' features have the weight 1 - `context`.

    Raises
    ------
    SettingsError
        A value is out of range, or the features of `whole` and `backbone` differ in length.
    """

    def __init__(
        self,
        backbone: Backbone,
        whole: Backbone,
        *,
        size: int = TILE,
        tile: int = TILE,
        context: float = 0.9,
    ) -> None:
        size = check_number("size", size, 1, 65_536, whole=True)
        tile = check_number("tile", tile, 2 * backbone.patch, 65_536, whole=True)
        context = check_number("context", context, 0, 1)
        if whole.dim != backbone.dim:
            raise SettingsError(
                f"the features of the tiles have length {backbone.dim} and the features of the "
                f"whole image have length {whole.dim}; use one network for both"
            )
        self._backbone = backbone
        self._whole = whole
        self._size, self._context = size, context
        self._tile = tile // backbone.patch
        weights = f"{context:g} : {1 - context:g}"
        self.name = f"{whole.name} at {size} + tiles of {tile} pixels ({weights})"
        self.digest = backbone.digest
        self.patch = backbone.patch
        self.dim = backbone.dim
        self.descriptor_dim = descriptor_dim(backbone)
        self.device = backbone.device
        self.dtype = backbone.dtype

    def tiles(self, grid: tuple[int, int]) -> int:
        """Number of tiles for an image of `grid` (rows, columns) patches."""
        rows, columns = (len(tile_starts(cells, self._tile)) for cells in grid)
        return rows * columns

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """Features (B, h, w, dim) of unit length, on `device`; descriptors have unit length, too.

        Parameters
        ----------
        pixels
            (B, 3, h * patch, w * patch), floats in [0, 1] or uint8. Of uint8 pixels, only one tile
            at a time is converted to floats.

        Returns
        -------
        (B, h, w, dim) float32, or float16 if an image has more than 64 million values, descriptors
        not counted. The rounding of float16 is far smaller than the differences between patches.
        """
        found = [self._image(image) for image in pixels]
        return torch.stack(found) if len(found) > 1 else found[0][None]

    def _image(self, pixels: Tensor) -> Tensor:
        patch = self.patch
        h, w = pixels.shape[1] // patch, pixels.shape[2] // patch
        own = self.dim - self.descriptor_dim or self.dim  # channels that the tree is built on
        kind = torch.float16 if h * w * own > _HALF else torch.float32
        result = torch.empty(h, w, self.dim, dtype=kind, device=self.device)
        context = self._seen_whole(pixels)
        for top, detail in self._rows(pixels, h, w):
            result[top : top + len(detail)] = self._unit(detail)
        mix_context(result, context, self._context, self.descriptor_dim)
        return result

    def _unit(self, features: Tensor) -> Tensor:
        """Features (h, w, dim) of unit length, descriptors apart from the rest."""
        found = [normalize(half, dim=2) for half in halves(features, self.descriptor_dim)]
        return found[0] if len(found) == 1 else torch.cat(found, dim=2)

    def _seen_whole(self, pixels: Tensor) -> Tensor:
        """Features (h', w', dim) of unit length of the image reduced to `size`."""
        patch = self._whole.patch
        grid = grid_of((pixels.shape[1], pixels.shape[2]), self._size, patch)
        small = _reduced(pixels, (grid[0] * patch, grid[1] * patch))
        return self._unit(self._whole.features(small[None])[0].float())

    def _rows(self, pixels: Tensor, h: int, w: int) -> Iterator[tuple[int, Tensor]]:
        """Weighted sums of the tiles' unit features, a block of rows at a time from the top down.

        Each item is the first row of a block and the block's sums (rows, w, dim). A block is
        yielded as soon as no later tile overlaps it.
        """
        tops, lefts = tile_starts(h, self._tile), tile_starts(w, self._tile)
        tall, wide = min(self._tile, h), min(self._tile, w)
        down, across = (
            torch.from_numpy(tile_weights(cells, starts, side)).to(self.device)
            for cells, starts, side in ((h, tops, tall), (w, lefts, wide))
        )
        total = torch.zeros(tall, w, self.dim, dtype=torch.float32, device=self.device)
        for i, top in enumerate(tops):
            for j, left in enumerate(lefts):
                tile = self._seen_tile(pixels, (top, left), (tall, wide), mirrored=(i + j) % 2 == 1)
                weight = down[i][:, None, None] * across[j][:, None]
                total[:, left : left + wide] += weight * self._unit(tile)
            done = (tops[i + 1] if top != tops[-1] else h) - top
            yield top, total[:done]
            total = torch.cat([total[done:], torch.zeros_like(total[:done])])

    def _seen_tile(
        self, pixels: Tensor, start: tuple[int, int], shape: tuple[int, int], *, mirrored: bool
    ) -> Tensor:
        (top, left), (tall, wide) = ([v * self.patch for v in pair] for pair in (start, shape))
        tile = _floating(pixels[:, top : top + tall, left : left + wide])[None]
        if not mirrored:
            return self._backbone.features(tile)[0].float()
        return self._backbone.features(tile.flip(3))[0].flip(1).float()


def memory_needed(
    size: tuple[int, int], grid: tuple[int, int], dim: int, parts: int, descriptor_dim: int = 0
) -> int:
    """Estimate of the largest memory in bytes, from the decoded photograph to the tree.

    Parameters
    ----------
    size
        (H, W) of the photograph in pixels. The tree's labels have this size too.
    grid
        (h, w) patches of the feature grid.
    dim
        Length of a feature, with its descriptor.
    parts
        Number of the tree's parts.
    descriptor_dim
        How many channels of `dim` are the descriptor.

    Notes
    -----
    The estimate adds up what is in memory at one time. It is above the measured values
    (docs/tiles.md).

    - All the time: the photograph, twice as much that the allocator keeps after decoding, and the
      features with their descriptors.
    - While the network sees the tiles: the resized photograph.
    - While features and descriptors are parted: one more copy of both.
    - While the tree is built: two float32 tables of the features, the eigenvectors, and eight
      tables of parts x parts.
    - While the tree is refined: one float32 table of the features, and the labels.

    Examples
    --------
    >>> f"{memory_needed((3000, 4000), (214, 286), 384, 1500) / 1e9:.1f} GB"
    '1.6 GB'
    """
    patches, pixels = grid[0] * grid[1], size[0] * size[1]
    own = dim - descriptor_dim or dim
    values = patches * own
    held = patches * dim * (2 if values > _HALF else 4)
    kept = 9 * pixels + held
    seen = 3 * pixels
    parted = held if own < dim else 0
    built = 8 * values + 600 * patches + 64 * parts**2
    refined = 4 * values + 8 * pixels
    return _AROUND + kept + max(seen, parted, built, refined)


def mix_context(
    features: Tensor, context: Tensor, share: float, descriptor_length: int = 0
) -> None:
    """Mix the features of tiles with those of a coarser view, in place.

    Parameters
    ----------
    features
        (h, w, d), the tiles' features of unit length, descriptors apart from the rest. They become
        the mixed ones, of unit length.
    context
        (h', w', d), those of the coarser view of the same area.
    share
        Weight of the coarser view, 0 to 1.
    descriptor_length
        How many channels of d, the last ones, are descriptors.
    """
    h, w, dim = features.shape
    own = dim - descriptor_length or dim  # channels that the tree is built on
    pooled = pool_features(features[:, :, :own], context.shape[:2])
    contexts = halves(context, descriptor_length)
    rows = max(1, _BLOCK_ENTRIES // (w * own))
    for top in range(0, h, rows):
        details = halves(features[top : top + rows].float(), descriptor_length)
        first = 0
        for coarse, detail in zip(contexts, details, strict=True):
            around = upsample_features(coarse, pooled, details[0], top, h)
            mixed = share * around + (1 - share) * detail
            channels = slice(first, first + detail.shape[2])
            features[top : top + rows, :, channels] = normalize(mixed, dim=2)
            first = channels.stop


def tile_starts(cells: int, tile: int) -> list[int]:
    """Starts of the tiles along one side, evenly spread; neighbours overlap by a third or more.

    Parameters
    ----------
    cells, tile
        Lengths of the side and of a tile in patches. If the side is not longer than a tile, the
        only start is 0.

    Examples
    --------
    >>> tile_starts(30, 37), tile_starts(60, 37), tile_starts(100, 37)
    ([0], [0, 23], [0, 21, 42, 63])
    """
    last = max(0, cells - tile)
    steps = -(-last // max(1, int(tile * (1 - _OVERLAP))))
    return [last * i // steps for i in range(steps + 1)] if steps else [0]


def tile_weights(cells: int, starts: list[int], tile: int) -> NDArray[np.float32]:
    """Weight of each cell of each tile, (tiles, tile) float32 > 0.

    `starts` are the first cells of the tiles, and `tile` is the number of cells of a tile. The
    weights over a cell add up to 1.
    """
    bump = tile_window(tile)
    total = np.zeros(cells)
    for start in starts:
        total[start : start + tile] += bump
    return np.stack([bump / total[start : start + tile] for start in starts]).astype(np.float32)


def tile_window(tile: int) -> NDArray[np.float64]:
    """A squared sine at the centres of `tile` cells: (tile,) float64 in (0, 1]."""
    return np.sin(np.pi * (np.arange(tile) + 0.5) / tile) ** 2


def pool_features(detail: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Mean feature of each cell of a coarser grid, (h', w', d) float32 of unit length.

    `detail` is (h, w, d), floating and of unit length, and `grid` is (h', w').
    """
    pooled = torch.empty(*grid, detail.shape[2], dtype=torch.float32, device=detail.device)
    for row in range(grid[0]):
        top, end = row * len(detail) // grid[0], -(-(row + 1) * len(detail) // grid[0])
        mean = detail[top:end].float().contiguous().mean(dim=0)
        pooled[row] = adaptive_avg_pool1d(mean.T, grid[1]).T
    return normalize(pooled, dim=2)


def upsample_features(context: Tensor, pooled: Tensor, detail: Tensor, top: int, h: int) -> Tensor:
    """Features (rows, w, c) of unit length: `context` brought to a finer grid, from row `top` on.

    The method is joint bilateral upsampling of `context` (h', w', c). `detail` (rows, w, d) holds
    the tiles' unit features of the fine rows. `pooled` (h', w', d) holds the means of the tiles'
    features over the cells of `context`. The fine grid has `h` rows.
    """
    rows, w, _ = detail.shape
    total = torch.zeros(rows, w, context.shape[2], dtype=detail.dtype, device=detail.device)
    down, across = (
        _nearby(start, count, cells, coarse, detail.device)
        for start, count, cells, coarse in (
            (top, rows, h, context.shape[0]),
            (0, w, w, context.shape[1]),
        )
    )
    for row, near_row in down:
        for column, near_column in across:
            like = (detail * pooled[row][:, column]).sum(dim=2)
            weight = near_row[:, None] * near_column * ((like - 1) / _LIKENESS).exp()
            total += weight[:, :, None] * context[row][:, column]
    return normalize(total, dim=2)


def _nearby(
    start: int, count: int, cells: int, coarse: int, device: torch.device
) -> list[tuple[Tensor, Tensor]]:
    """The three coarse cells nearest to each fine cell along one side, and their weights.

    The three items are the coarse cells before, at and after the centre of each fine cell. A weight
    is a Gaussian of the distance between the centres, in coarse cells.
    """
    at = (np.arange(start, start + count) + 0.5) * coarse / cells - 0.5
    found = []
    for step in (-1, 0, 1):
        cell = np.clip(np.floor(at + 0.5) + step, 0, coarse - 1)
        weight = np.exp(-((cell - at) ** 2)).astype(np.float32)
        found.append((
            torch.from_numpy(cell.astype(np.int64)).to(device),
            torch.from_numpy(weight).to(device),
        ))  # fmt: skip
    return found


def _reduced(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels (3, height, width), floats in [0, 1], resampled to `size`; bilinear, antialiased."""
    if pixels.dtype != torch.uint8:
        return interpolate(pixels[None], size=size, mode="bilinear", antialias=True)[0]
    image = Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())  # permute gives a view, no copy
    small = np.array(image.resize(size[::-1], Image.Resampling.BILINEAR))
    return _floating(torch.from_numpy(small).permute(2, 0, 1))


def _floating(pixels: Tensor) -> Tensor:
    return pixels.float() / 255.0 if pixels.dtype == torch.uint8 else pixels
