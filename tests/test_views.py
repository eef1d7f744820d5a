"""Several views of an image: every feature in its place."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regiontree import RegionParser
from regiontree.backbones.views import Views
from regiontree.errors import BackboneError, SettingsError


class Network:
    """Features are mean colours of patches, beside what a mirror changes: the column's number."""

    name, digest, dim = "mean", "0" * 64, 4
    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, patch: int = 14, place: float = 0.0) -> None:
        self.patch, self.place = patch, place

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        p = self.patch
        assert pixels.shape[2] % p == pixels.shape[3] % p == 0
        cells = pixels.unfold(2, p, p).unfold(3, p, p).mean((4, 5)).permute(0, 2, 3, 1)
        columns = torch.arange(cells.shape[2]) - (cells.shape[2] - 1) / 2
        place = self.place * columns.expand(*cells.shape[:3])
        return torch.cat((cells, place[..., None]), 3)


def ramp(height: int, width: int) -> torch.Tensor:
    """A picture whose colours are its coordinates."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack((y, x, torch.ones_like(x)))[None].float()


@pytest.mark.parametrize("patch", [14, 16, 8])
@pytest.mark.parametrize("grid", [(6, 8), (7, 9), (2, 2), (1, 5)])
def test_four_views_are_a_grid_twice_as_fine_each_feature_in_its_place(patch, grid):
    views = Views(Network(patch), 4)
    assert views.patch == patch // 2
    half = patch // 2
    found = views.features(ramp(grid[0] * half, grid[1] * half))
    assert found.shape == (1, *grid, 4)
    centres = [(np.arange(n) + 0.5) * half for n in grid]
    off = (half % 2) / 2  # a quarter of a patch need not be a whole number of pixels
    inside = [(c > patch) & (c < n * half - patch) for c, n in zip(centres, grid, strict=True)]
    y, x = found[0, ..., 0].numpy(), found[0, ..., 1].numpy()
    assert np.allclose(y[inside[0]], centres[0][inside[0], None], atol=off)
    assert np.allclose(x[:, inside[1]], centres[1][inside[1]], atol=off)
    assert (np.diff(y, axis=0) > 0).all()
    assert (np.diff(x, axis=1) > 0).all()


def test_two_views_average_what_a_mirror_changes():
    pixels = torch.rand(2, 3, 28, 42)
    one = Network(14, place=0.3).features(pixels)
    two = Views(Network(14, place=0.3), 2).features(pixels)
    assert two.shape == one.shape
    assert one[..., 3].abs().max() > 0.1
    assert two[..., 3].abs().max() < 0.02
    assert torch.allclose(torch.linalg.vector_norm(two, dim=3), torch.ones(2, 2, 3))


def test_of_four_views_every_other_is_of_the_mirror_image():
    found = Views(Network(14, place=1.0), 4).features(torch.rand(1, 3, 28, 56))[0, ..., 3]
    plain = torch.tensor([-1.5, -0.5, 0.5, 1.5])
    assert torch.equal(found[0, 0::2], plain)
    assert torch.equal(found[0, 1::2], -plain)
    assert torch.equal(found[1, 0::2], -plain)
    assert torch.equal(found[1, 1::2], plain)


def test_name_and_digest_say_what_was_run():
    assert Views(Network(), 4).name == "mean (4 views)"
    assert Views(Network(), 4).digest == Network.digest


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"views": 3}, "views must be one of 1, 2, 4, got 3"),
        ({"views": True}, "views must be one of 1, 2, 4, got True"),
        ({"views": 2, "backbone": "precomputed:x"}, "views is a setting of the network"),
    ],
)
def test_wrong_numbers_of_views_are_refused(changes, said):
    with pytest.raises(SettingsError, match=said):
        RegionParser(**changes, device="cpu")


def test_patches_without_a_middle_have_no_four_views():
    assert Views(Network(7), 2).patch == 7
    with pytest.raises(BackboneError, match="mean has patches of 7 pixels; use 1 or 2 views"):
        Views(Network(7), 4)


@pytest.mark.usefixtures("embedded_installed")
def test_a_photograph_in_four_views():
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (60, 90, 3), dtype=np.uint8)
    parser = RegionParser(size=140, views=4, device="cpu")
    tree = parser.parse(photo)
    assert tree.meta["image"]["grid"] == [13, 20]
    assert tree.meta["backbone"]["name"].endswith("(4 views)")
    tiny = parser.parse(photo[:3, :5])  # no more patches than pixels
    assert tiny.meta["image"]["grid"] == [3, 5]
