"""A large image as a whole and in tiles: weights that add up, seams that do not show."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from regiontree import RegionParser
from regiontree.backbones import Backbone, tiles
from regiontree.backbones.tiles import Tiled, memory_needed, tile_starts
from regiontree.errors import SettingsError
from regiontree.spectral.kmeans import kmeans

PATCH = 2


class Eyes:
    """A network whose features hold the patch's colours, and, at `bias`, its place in the view."""

    name, digest, patch, dim = "eyes", "d1", PATCH, 8
    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, bias: float = 0.0) -> None:
        self.bias = bias
        self.seen: list[tuple[int, ...]] = []
        self.mix = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))

    def features(self, pixels: Tensor) -> Tensor:
        assert pixels.dtype == torch.float32
        assert pixels.max() <= 1
        self.seen.append(tuple(pixels.shape))
        means = functional.avg_pool2d(pixels, PATCH).permute(0, 2, 3, 1)
        rows, columns = (
            self.bias * torch.linspace(-1, 1, cells).expand(*shape)
            for cells, shape in (
                (means.shape[1], (len(means), means.shape[2], means.shape[1])),
                (means.shape[2], (len(means), means.shape[1], means.shape[2])),
            )
        )
        place = torch.stack([rows.transpose(1, 2), columns], dim=3)
        return torch.cat([means, means @ self.mix, place], dim=3)


def scene(height: int, width: int) -> Tensor:
    """Ten coloured areas with some noise: (3, height, width) uint8."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    centres = rng.uniform((0, 0), (height, width), (10, 2))
    area = np.argmin([np.hypot(y - cy, x - cx) for cy, cx in centres], axis=0)
    image = rng.uniform(0, 255, (10, 3))[area] + rng.normal(0, 12, (height, width, 3))
    return torch.from_numpy(np.clip(image, 0, 255).astype(np.uint8)).permute(2, 0, 1)


@given(st.integers(1, 300), st.integers(2, 60))
def test_tiles_cover_a_side_evenly_and_overlap_by_a_third(cells, tile):
    starts = tile_starts(cells, tile)
    assert starts[0] == 0
    assert starts[-1] == max(0, cells - tile)
    steps = np.diff(starts)
    if len(steps):
        assert steps.min() >= 1
        assert steps.max() <= max(1, 2 * tile / 3)
        assert steps.max() - steps.min() <= 1


@given(st.integers(1, 200), st.integers(2, 40))
def test_weights_over_a_patch_add_up_to_one(cells, tile):
    starts, tile = tile_starts(cells, tile), min(tile, cells)
    total = np.zeros(cells)
    for start, weight in zip(starts, tiles.tile_weights(cells, starts, tile), strict=True):
        assert (weight > 0).all()
        total[start : start + tile] += weight
    np.testing.assert_allclose(total, 1, rtol=1e-5)


def test_it_is_the_weighted_sum_of_whole_and_tiles():
    """By hand, one tile after the other, on the whole grid at once."""
    network, pixels = Eyes(bias=0.3), scene(46, 70)[None]
    tiled = Tiled(network, network, size=24, tile=20, context=0.3)
    h, w, tile = 23, 35, 10
    floating = pixels.float() / 255
    detail = torch.zeros(h, w, 8)
    tops, lefts = tile_starts(h, tile), tile_starts(w, tile)
    down, across = tiles.tile_weights(h, tops, tile), tiles.tile_weights(w, lefts, tile)
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):
            crop = floating[:, :, 2 * top : 2 * (top + tile), 2 * left : 2 * (left + tile)]
            flip = (i + j) % 2 == 1
            seen = network.features(crop.flip(3) if flip else crop)[0]
            seen = functional.normalize(seen.flip(1) if flip else seen, dim=2)
            weight = torch.from_numpy(np.outer(down[i], across[j]))[:, :, None]
            detail[top : top + tile, left : left + tile] += weight * seen
    detail = functional.normalize(detail, dim=2)
    small = functional.interpolate(floating, size=(16, 24), mode="bilinear", antialias=True)
    context = functional.normalize(network.features(small)[0], dim=2)
    pooled = functional.adaptive_avg_pool2d(detail.permute(2, 0, 1)[None], (8, 12))[0]
    pooled = functional.normalize(pooled.permute(1, 2, 0), dim=2)
    expected = torch.empty_like(detail)
    for y, x in np.ndindex(h, w):
        # Where its centre lies among those of the whole's patches, and which of them it lies in.
        down, across = (y + 0.5) * 8 / h - 0.5, (x + 0.5) * 12 / w - 0.5
        around = torch.zeros(8)
        for i, j in np.ndindex(3, 3):
            row = min(max(math.floor(down + 0.5) + i - 1, 0), 7)
            column = min(max(math.floor(across + 0.5) + j - 1, 0), 11)
            like = float(detail[y, x] @ pooled[row, column])
            near = -((row - down) ** 2) - (column - across) ** 2
            around += math.exp(near + (like - 1) / tiles._LIKENESS) * context[row, column]
        around = functional.normalize(around, dim=0)
        expected[y, x] = functional.normalize(0.3 * around + 0.7 * detail[y, x], dim=0)
    torch.testing.assert_close(tiled.features(floating)[0], expected, rtol=0, atol=1e-5)
    # Bytes are reduced by Pillow, which rounds to bytes again.
    torch.testing.assert_close(tiled.features(pixels)[0], expected, rtol=0, atol=1e-2)
    assert isinstance(tiled, Backbone)


@pytest.mark.parametrize("border", [16, 19, 20, 23])
def test_borders_of_the_whole_become_as_sharp_as_tiles_see_them(border):
    """The whole knows left and right in cells of ten patches, its second cell mixed."""
    one, other = torch.eye(4)[:2]
    detail = torch.where(torch.arange(40)[:, None] < border, torch.eye(4)[2], torch.eye(4)[3])
    detail = detail.expand(30, 40, 4).contiguous()
    share = torch.tensor([1.0, min(1, border / 10 - 1), max(0, border / 10 - 2), 0.0])[:, None]
    context = functional.normalize(share * one + (1 - share) * other, dim=1).expand(3, 4, 4)
    pooled = tiles.pool_features(detail, (3, 4))
    found = tiles.upsample_features(context.contiguous(), pooled, detail, 0, 30)
    side = (found @ one > found @ other).float()
    assert torch.equal(side, (torch.arange(40) < border).float().expand(30, 40))


def test_no_view_is_larger_than_a_tile_or_the_whole():
    network = Eyes()
    tiled = Tiled(network, network, size=24, tile=20)
    tiled.features(scene(46, 70)[None])
    assert network.seen[0] == (1, 3, 16, 24)
    assert set(network.seen[1:]) == {(1, 3, 20, 20)}
    assert len(network.seen) == 1 + tiled.tiles((23, 35))


@pytest.mark.parametrize("size", [(2, 2), (2, 90), (20, 20), (90, 2)])
def test_small_and_flat_images(size):
    network = Eyes()
    found = Tiled(network, network, size=24, tile=20).features(scene(*size)[None])
    assert found.shape == (1, size[0] // 2, size[1] // 2, 8)
    torch.testing.assert_close(found.norm(dim=3), torch.ones(found.shape[:3]))


def test_a_batch_is_its_images():
    network = Eyes(bias=0.3)
    tiled = Tiled(network, network, size=24, tile=20)
    one, other = scene(46, 70), scene(46, 70).flip(1)
    both = tiled.features(torch.stack([one, other]))
    for image, found in zip((one, other), both, strict=True):
        assert torch.equal(tiled.features(image[None])[0], found)


def test_large_results_are_half_as_precise(monkeypatch):
    network, pixels = Eyes(), scene(46, 70)[None]
    tiled = Tiled(network, network, size=24, tile=20)
    precise = tiled.features(pixels)
    monkeypatch.setattr(tiles, "_HALF", precise.numel() - 1)
    rough = tiled.features(pixels)
    assert (precise.dtype, rough.dtype) == (torch.float32, torch.float16)
    torch.testing.assert_close(rough.float(), precise, rtol=0, atol=1e-3)


class TestSeams:
    """A network that sees where in the tile a patch lies, and tiles that begin elsewhere."""

    def features(self, pixels: Tensor) -> Tensor:
        network = Eyes(bias=0.4)
        return Tiled(network, network, size=60, tile=40, context=0.5).features(pixels[None])[0]

    @pytest.mark.parametrize("shift", [2, 4, 6])
    def test_moved_tiles_change_few_patches(self, monkeypatch, shift):
        parser = RegionParser(
            backbone="precomputed:-", refine="none"
        )  # 400 parts: coarser ones straddle borders
        here = parser.build(self.features(scene(160, 160))).cut(n_regions=3)

        def moved(cells: int, tile: int) -> list[int]:
            first, *between, last = tile_starts(cells, tile)
            return [first, *(start + shift for start in between), last]

        monkeypatch.setattr(tiles, "tile_starts", moved)
        there = parser.build(self.features(scene(160, 160))).cut(n_regions=3)
        assert 0 < changed(here, there) < 0.03

    def test_features_change_as_smoothly_where_tiles_end(self, monkeypatch):
        """In a photograph of one colour all that differs is what tiles see of themselves."""
        grey = torch.full((3, 160, 160), 100, dtype=torch.uint8)
        smooth = steps(self.features(grey))
        assert smooth.max() < 4 * smooth.mean()
        monkeypatch.setattr(tiles, "tile_window", np.ones)  # plain averages of tiles
        assert steps(self.features(grey)).max() > 2 * smooth.max()


def steps(features: Tensor) -> Tensor:
    """How much each patch's feature differs from its neighbour's to the right."""
    return (features[:, 1:] - features[:, :-1]).norm(dim=2)


def changed(one: np.ndarray, other: np.ndarray) -> float:
    """Share of patches in another region, regions being matched by what they share."""
    table = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(table, (one.ravel(), other.ravel()), 1)
    return 1 - table.max(axis=1).sum() / one.size


def test_equal_bytes_each_time():
    network, pixels = Eyes(bias=0.3), scene(46, 70)[None]
    tiled = Tiled(network, network, size=24, tile=20)
    assert torch.equal(tiled.features(pixels), tiled.features(pixels))


def test_its_name_says_how_it_sees_and_its_digest_whose_weights():
    tiled = Tiled(Eyes(), Eyes(), size=24, tile=20, context=0.25)
    assert tiled.digest == "d1"
    assert tiled.name == "eyes at 24 + tiles of 20 pixels (0.25 : 0.75)"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tile": 3}, r"tile must be a whole number in \[4, 65536\], got 3"),
        ({"size": 0}, r"size must be a whole number"),
        ({"context": 1.5}, r"context must be a number in \[0, 1\], got 1.5"),
    ],
)
def test_what_cannot_be_is_said(changes, said):
    with pytest.raises(SettingsError, match=said):
        Tiled(Eyes(), Eyes(), **changes)


def test_one_network_for_both():
    other = Eyes()
    other.dim = 5
    with pytest.raises(SettingsError, match=r"length 8 .*whole.* 5; use one network"):
        Tiled(Eyes(), other)


def test_a_large_scan_fits_six_gigabytes():
    assert memory_needed((12_000, 12_000), (857, 857), 384, 2000) < 6e9


def test_memory_is_said_from_what_grows_with_photograph_and_patches():
    small = memory_needed((3000, 4000), (214, 286), 384, 400)
    photo = memory_needed((6000, 8000), (214, 286), 384, 400)
    patches = memory_needed((3000, 4000), (428, 572), 384, 400)
    assert small < patches
    assert photo - small >= 3 * 36_000_000
    assert patches - small >= 8 * 3 * 214 * 286 * 384


class TestManyPatches:
    """What of the tree's way takes a share of the patches, or a block of rows at a time."""

    def test_centres_from_a_sample_serve_every_point(self):
        rng = torch.Generator().manual_seed(0)
        means = 10 * torch.randn(6, 5, generator=rng)
        own = torch.randint(0, 6, (4000,), generator=rng)
        points = means[own] + torch.randn(4000, 5, generator=rng)
        found, every = kmeans(points, 6, seed=0, sample=300), kmeans(points, 6, seed=0)
        assert len(found.labels) == 4000
        assert found.inertia < 1.1 * every.inertia
        distance = (points - found.centres[found.labels]).square().sum()
        assert found.inertia == pytest.approx(float(distance), rel=1e-3)
        assert changed(found.labels.numpy(), every.labels.numpy()) < 0.01

    def test_up_to_the_sample_nothing_changes(self):
        points = torch.randn(300, 5, generator=torch.Generator().manual_seed(0))
        sampled, every = kmeans(points, 6, seed=0, sample=300), kmeans(points, 6, seed=0)
        assert torch.equal(sampled.labels, every.labels)


# -- as a setting ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tiles": "large"}, "tiles must be a long side in pixels or 'own', got 'large'"),
        ({"tiles": 700}, "tiles must be .*1036"),
        ({"tiles": 2072, "size": (518, 518)}, "size as a long side"),
        ({"tiles": "own", "kernel": 448, "stride": 224}, "tiles do not go with kernel"),
        ({"tiles": "own", "backbone": "precomputed:x"}, "tiles do not go with backbone"),
    ],
)
def test_wrong_tiles_are_refused(changes, said):
    with pytest.raises(SettingsError, match=said):
        RegionParser(**changes, device="cpu")


class Colours:
    name, digest, patch, dim = "colours", "1", 14, 3
    device, dtype = torch.device("cpu"), torch.float32

    def features(self, pixels):
        pooled = torch.nn.functional.avg_pool2d(pixels + 0.1, self.patch)
        return pooled.permute(0, 2, 3, 1)


def test_a_parser_sees_a_photograph_in_tiles(tmp_path):
    rng = np.random.default_rng(0)
    photo = np.kron(rng.integers(0, 256, (6, 9, 3)), np.ones((50, 50, 1))).astype(np.uint8)
    parser = RegionParser(backbone=Colours(), size=140, tiles="own", parts=60)
    tree = parser.parse(photo)
    assert tree.shape == (300, 450)
    assert tree.meta["image"]["grid"] == [21, 32]
    assert "tiles of 518 pixels" in tree.meta["backbone"]["name"]
    assert tree.meta["settings"]["tiles"] == "own"
    features = parser.features(photo)
    again = parser.build(features, image_size=(300, 450), rgb=parser.pixels(photo))
    assert np.array_equal(again.labels, tree.labels)
