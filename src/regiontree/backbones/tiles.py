"""A photograph too large to be seen at once: as a whole, reduced, and in overlapping tiles.

A network knows one size, some 37 patches a side, and a large photograph holds things that are
smaller than a patch there. So it is shown twice:

- as a whole, at the size the network knows: what each place belongs to (*context*);
- in tiles of the size the network knows, at the full resolution: what is there (*detail*).

Tiles overlap, and a tile counts less the nearer a patch is to its border, where a network sees its
surroundings only on one side: weights are a squared sine, they fall to nothing at the border, and
those of all tiles over a patch add up to 1. So features change as smoothly across a tile's border
as anywhere else, and no seam shows. Every other tile is seen mirrored, in the manner of a
chequerboard: what a network's features hold of a patch's place in the tile, which is no property of
what it shows, cancels where tiles overlap.

A patch's feature is ``context * c + (1 - context) * d``, both of unit length: d the tiles', and c
the whole's, brought to the tiles' finer grid by joint bilateral upsampling (Kopf et al., SIGGRAPH
2007): of the nine patches of the whole around, those count most that are near and whose mean d is
like the patch's own. So a border in the whole, a patch wide there, becomes as sharp as tiles see
it; resampled bilinearly it would become a broad band of neither side, and trees worse than without
tiles (docs/tiles.md). c and d come from one network and so from one space: their sum needs half the
memory of the two side by side.

Memory beyond pixels and result is that of one row of tiles.
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
from regiontree.errors import SettingsError, check_number
from regiontree.images import grid_of

__all__ = [
    "TILE",
    "Tiled",
    "memory_needed",
    "pool_features",
    "tile_starts",
    "tile_weights",
    "tile_window",
    "upsample_features",
]

TILE = 518
"""Side of a tile in pixels: what DINOv2 was trained at."""
_OVERLAP = 1 / 3  # of a tile's side, at least
_LIKENESS = 0.03  # fall of the cosine at which a patch of the whole counts 1/e as much
_BLOCK_ENTRIES = 4_000_000  # values that are mixed at once: 16 MB as float32
_HALF = 64_000_000  # values of a result above which it is float16: 256 MB as float32
# Bytes that neither photograph nor patches change: torch, a network of 22 million weights, a row of
# tiles, the blocks and windows that the tree and its refinement work in.
_AROUND = 1_000_000_000


class Tiled:
    """A :class:`~regiontree.backbones.base.Backbone` over a large image and its tiles.

    Its digest is that of the weights; its name says the tiles, so that neither trees nor stored
    features pass for those of one view.

    Parameters
    ----------
    backbone
        What sees each tile; a patch of the result is one of its patches.
    whole
        What sees the image as a whole, of the same network: features of one length.
    size
        Long side in pixels at which it does.
    tile
        Side of a tile in pixels, at least two patches.
    context
        Weight of the whole against the tiles, 0 to 1.

    Raises
    ------
    SettingsError
        A value out of range, or `whole` has features of another length.
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
        check_number("size", size, 1, 65_536, whole=True)
        check_number("tile", tile, 2 * backbone.patch, 65_536, whole=True)
        check_number("context", context, 0, 1)
        if whole.dim != backbone.dim:
            raise SettingsError(
                f"tiles have features of length {backbone.dim} and the whole of {whole.dim}; use "
                "one network for both"
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
        self.device = backbone.device
        self.dtype = backbone.dtype

    def tiles(self, grid: tuple[int, int]) -> int:
        """How many tiles an image of so many patches is seen in."""
        rows, columns = (len(tile_starts(cells, self._tile)) for cells in grid)
        return rows * columns

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """(B, 3, h * patch, w * patch) -> (B, h, w, dim) of unit length.

        Parameters
        ----------
        pixels
            Floating in [0, 1]; or uint8, of which only a tile at a time becomes floating.

        Returns
        -------
        On `device`, float32; float16 if there are more than 64 million values, whose rounding is
        far below what tells patches apart.
        """
        found = [self._image(image) for image in pixels]
        return torch.stack(found) if len(found) > 1 else found[0][None]

    def _image(self, pixels: Tensor) -> Tensor:
        patch = self.patch
        h, w = pixels.shape[1] // patch, pixels.shape[2] // patch
        kind = torch.float16 if h * w * self.dim > _HALF else torch.float32
        result = torch.empty(h, w, self.dim, dtype=kind, device=self.device)
        context = self._seen_whole(pixels)
        for top, detail in self._rows(pixels, h, w):
            result[top : top + len(detail)] = normalize(detail, dim=2)
        pooled = pool_features(result, context.shape[:2])
        rows = max(1, _BLOCK_ENTRIES // (w * self.dim))
        for top in range(0, h, rows):
            detail = result[top : top + rows].float()
            around = upsample_features(context, pooled, detail, top, h)
            mixed = self._context * around + (1 - self._context) * detail
            result[top : top + rows] = normalize(mixed, dim=2)
        return result

    def _seen_whole(self, pixels: Tensor) -> Tensor:
        """Unit features of the image reduced to `size`, (h', w', dim)."""
        patch = self._whole.patch
        grid = grid_of((pixels.shape[1], pixels.shape[2]), self._size, patch)
        small = _reduced(pixels, (grid[0] * patch, grid[1] * patch))
        return normalize(self._whole.features(small[None])[0].float(), dim=2)

    def _rows(self, pixels: Tensor, h: int, w: int) -> Iterator[tuple[int, Tensor]]:
        """Weighted sums of the tiles' unit features from the top down: the first row of patches,
        and (rows, w, dim), as soon as no tile to come reaches into them."""
        tops, lefts = tile_starts(h, self._tile), tile_starts(w, self._tile)
        tall, wide = min(self._tile, h), min(self._tile, w)
        down, across = (
            torch.from_numpy(tile_weights(cells, starts, side)).to(self.device)
            for cells, starts, side in ((h, tops, tall), (w, lefts, wide))
        )
        total = torch.zeros(tall, w, self.dim, device=self.device)
        for i, top in enumerate(tops):
            for j, left in enumerate(lefts):
                tile = self._seen_tile(pixels, (top, left), (tall, wide), mirrored=(i + j) % 2 == 1)
                weight = down[i][:, None, None] * across[j][:, None]
                total[:, left : left + wide] += weight * normalize(tile, dim=2)
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


def memory_needed(size: tuple[int, int], grid: tuple[int, int], dim: int, parts: int) -> int:
    """Bytes that a process holds at the most, from the decoded photograph to the tree.

    Parameters
    ----------
    size
        (H, W) of the photograph, which the tree's labels have too.
    grid, dim
        (h, w) patches and the length of a feature.
    parts
        Of the tree.

    Notes
    -----
    An estimate from what is held at once, above what was measured (docs/tiles.md). All the time:
    the photograph, and twice as much that decoding it leaves to the allocator; the result. While
    tiles are seen: what the photograph is resized to. While the tree is built: two float32 tables
    of the result, eigenvectors, and eight tables of parts. While it is refined: one of the tables,
    and the labels.

    Examples
    --------
    >>> f"{memory_needed((3000, 4000), (214, 286), 384, 1500) / 1e9:.1f} GB"
    '1.6 GB'
    """
    patches, pixels = grid[0] * grid[1], size[0] * size[1]
    values = patches * dim
    kept = 9 * pixels + values * (2 if values > _HALF else 4)
    seen = 3 * pixels
    built = 8 * values + 600 * patches + 64 * parts**2
    refined = 4 * values + 8 * pixels
    return _AROUND + kept + max(seen, built, refined)


def tile_starts(cells: int, tile: int) -> list[int]:
    """Where tiles begin along a side, evenly spread, neighbours sharing a third or more.

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
    pooled = torch.empty(*grid, detail.shape[2], device=detail.device)
    for row in range(grid[0]):
        top, end = row * len(detail) // grid[0], -(-(row + 1) * len(detail) // grid[0])
        mean = detail[top:end].float().mean(dim=0)
        pooled[row] = adaptive_avg_pool1d(mean.T, grid[1]).T
    return normalize(pooled, dim=2)


def upsample_features(context: Tensor, pooled: Tensor, detail: Tensor, top: int, h: int) -> Tensor:
    """Joint bilateral upsampling of `context` (h', w', d) to the rows of a grid from `top` on.

    `detail` (rows, w, d) are those rows' unit features, `pooled` (h', w', d) the same over the
    cells of `context`; the grid has `h` rows. The result is of unit length.
    """
    rows, w, _ = detail.shape
    total = torch.zeros_like(detail)
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
    """Along a side, the coarse cells before, at and after each fine one's centre, and their
    weights: a Gaussian of their distance in coarse cells."""
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
    """(3, H, W) at another size, floating in [0, 1]; bilinear, antialiased."""
    if pixels.dtype != torch.uint8:
        return interpolate(pixels[None], size=size, mode="bilinear", antialias=True)[0]
    image = Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())  # a view of what came from one
    small = np.array(image.resize(size[::-1], Image.Resampling.BILINEAR))
    return _floating(torch.from_numpy(small).permute(2, 0, 1))


def _floating(pixels: Tensor) -> Tensor:
    return pixels.float() / 255.0 if pixels.dtype == torch.uint8 else pixels
