"""Overlapping crops, averaged: against the plain fold where it exists, by hand elsewhere."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from conftest import EXAMPLE
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from regiontree import RegionParser
from regiontree.backbones import Backbone
from regiontree.backbones.unfold import Unfolded, window_starts
from regiontree.engines.batch import plan, segment
from regiontree.errors import SettingsError
from regiontree.images import IMAGE_SUFFIXES, load_image, to_pixels
from regiontree.settings import PRESETS, Settings

PATCH = 2


class CropSighted:
    """A network whose features depend on the whole crop, so that crops are not interchangeable."""

    name, digest, patch, dim = "sighted", "d1", PATCH, 5
    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def features(self, pixels: Tensor) -> Tensor:
        self.seen.append(tuple(pixels.shape))
        means = functional.avg_pool2d(pixels, self.patch)
        rows = torch.arange(means.shape[2], dtype=torch.float32)[:, None].expand(means.shape[2:])
        context = pixels.std(dim=(1, 2, 3))[:, None, None].expand(-1, *means.shape[2:])
        channels = [*means.unbind(1), rows.expand(len(pixels), -1, -1), context]
        return torch.stack(channels, dim=-1)


def images(height: int, width: int, count: int = 1) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("size", "kernel", "stride"),
    [((16, 24), (8, 8), (4, 4)), ((16, 24), (8, 12), (8, 4)), ((8, 8), (8, 8), (2, 2))],
)
def test_it_is_unfold_and_fold_where_windows_fit(size, kernel, stride):
    pixels = images(*size, count=2)
    network = CropSighted()
    columns = functional.unfold(pixels, kernel, stride=stride)  # (B, 3 * kernel area, crops)
    crops = columns.transpose(1, 2).reshape(-1, 3, *kernel)
    features = network.features(crops).permute(0, 3, 1, 2)  # of each crop, channels first
    small = [[side // PATCH for side in sides] for sides in (size, kernel, stride)]
    back = features.reshape(2, columns.shape[2], -1).transpose(1, 2)
    total = functional.fold(back, small[0], small[1], stride=small[2])
    count = functional.fold(torch.ones_like(back), small[0], small[1], stride=small[2])
    found = Unfolded(network, kernel, stride).features(pixels)
    torch.testing.assert_close(found, (total / count).permute(0, 2, 3, 1))


def test_where_they_do_not_fit_the_last_ones_touch_the_border():
    """A 5 x 7 grid under windows of 3 x 3 every 3: rows 0 2, columns 0 3 4."""
    pixels = images(10, 14)
    network = CropSighted()
    total, count = np.zeros((5, 7, 5)), np.zeros((5, 7, 1))
    for top in (0, 2):
        for left in (0, 3, 4):
            crop = pixels[:, :, 2 * top : 2 * top + 6, 2 * left : 2 * left + 6]
            total[top : top + 3, left : left + 3] += network.features(crop)[0].numpy()
            count[top : top + 3, left : left + 3] += 1
    assert count.min() == 1
    assert count.max() == 4
    found = Unfolded(network, (6, 6), (6, 6)).features(pixels)[0]
    np.testing.assert_allclose(found.numpy(), total / count, rtol=1e-5)


@given(st.integers(1, 40), st.integers(1, 20), st.integers(1, 20))
def test_every_patch_is_covered_and_no_window_leaves_the_image(length, kernel, stride):
    stride = min(stride, kernel)
    starts = window_starts(length, kernel, stride)
    width = min(kernel, length)
    assert starts == sorted(set(starts))
    assert all(0 <= start <= length - width for start in starts)
    assert {i for start in starts for i in range(start, start + width)} == set(range(length))
    if length >= kernel and (length - kernel) % stride == 0:
        assert starts == list(range(0, length - kernel + 1, stride))


@pytest.mark.parametrize("size", [(8, 8), (6, 4), (2, 2)])
def test_an_image_within_the_kernel_is_seen_whole(size):
    network = CropSighted()
    found = Unfolded(network, (8, 8), (4, 4)).features(images(*size))
    torch.testing.assert_close(found, network.features(images(*size)), rtol=0, atol=0)


def test_a_flat_image_is_cropped_along_its_length():
    network = CropSighted()
    Unfolded(network, (8, 8), (4, 4)).features(images(4, 20))
    assert {shape[2:] for shape in network.seen} == {(4, 8)}


@pytest.mark.parametrize("count", [1, 3])
def test_no_batch_holds_more_pixels_than_the_images(count):
    network = CropSighted()
    pixels = images(24, 32, count=count)
    found = Unfolded(network, (8, 8), (2, 2)).features(pixels)
    assert max(shape[0] * shape[2] * shape[3] for shape in network.seen) <= count * 24 * 32
    assert len(network.seen) == -(-9 * 13 // 12)  # and fills them: 12 crops of 64 pixels each
    alone = [Unfolded(CropSighted(), (8, 8), (2, 2)).features(image[None]) for image in pixels]
    torch.testing.assert_close(found, torch.cat(alone))


def test_it_is_a_backbone_that_says_how_it_looks():
    network = CropSighted()
    unfolded = Unfolded(network, (8, 6), (4, 2))
    assert isinstance(unfolded, Backbone)
    assert unfolded.name == "sighted unfolded (kernel 8x6, stride 4x2)"
    assert (unfolded.digest, unfolded.patch, unfolded.dim) == ("d1", PATCH, 5)
    assert (unfolded.device, unfolded.dtype) == (network.device, network.dtype)


@pytest.mark.parametrize(
    ("kernel", "stride", "said"),
    [
        ((7, 8), (4, 4), "kernel 7x8 is not a multiple of the backbone's patch of 2 pixels; .*8x8"),
        ((8, 8), (4, 1), "stride 4x1 is not a multiple of .*4x2"),
        ((8, 8), (0, 4), "stride 0x4 is not a multiple"),
        ((8, 4), (4, 6), "stride 4x6 exceeds kernel 8x4: .* use a smaller stride"),
    ],
)
def test_windows_off_the_patches_or_with_gaps_are_refused(kernel, stride, said):
    with pytest.raises(SettingsError, match=said):
        Unfolded(CropSighted(), kernel, stride)


# -- as settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kernel": 448}, "kernel is set without stride; set both or neither"),
        ({"stride": 224}, "stride is set without kernel"),
        ({"kernel": "wide", "stride": 14}, "kernel must be pixels like 448, .*got 'wide'"),
        ({"kernel": 448, "stride": 0}, "stride must be pixels"),
        ({"kernel": 448, "stride": (14, 14, 14)}, "stride must be pixels"),
        ({"kernel": (448, 224), "stride": 448}, "stride 448x448 exceeds kernel 448x224"),
        (
            {"kernel": 28, "stride": 14, "backbone": "precomputed:f"},
            "'precomputed:f' runs no network",
        ),
    ],
    ids=str,
)
def test_wrong_settings_are_named_before_any_work(changes, said):
    with pytest.raises(SettingsError, match=said):
        Settings.make(**changes)


def test_settings_are_equal_however_they_are_written():
    written = [(448, 224), ((448, 448), [224, 224]), ("448", "224x224")]
    records = [Settings.make(kernel=kernel, stride=stride).as_dict() for kernel, stride in written]
    assert records[0] == records[1] == records[2] == json.loads(json.dumps(records[0]))
    assert records[0]["kernel"] == [448, 448]
    for preset in PRESETS:
        assert Settings.make(preset).as_dict()["kernel"] is None


@pytest.mark.usefixtures("embedded_installed")
class TestPhotographs:
    def test_crops_give_other_features_of_the_same_things(self):
        whole = RegionParser(size=280, device="cpu", dtype="float32", views=1)
        crops = RegionParser(
            size=280, device="cpu", dtype="float32", kernel=140, stride=70, views=1
        )
        a, b = whole.features(EXAMPLE), crops.features(EXAMPLE)
        assert a.shape == b.shape == (20, 20, 384)
        cosine = functional.cosine_similarity(a, b, dim=-1)
        assert 0.3 < float(cosine.mean()) < 0.99
        # A corner patch has one crop: what the network says of that crop alone.
        pixels = to_pixels(load_image(EXAMPLE).rgb, (20, 20), 14)[None, :, :140, :140]
        corner = whole.backbone.features(pixels)[0, 0, 0, :384]
        torch.testing.assert_close(b[0, 0], corner, rtol=1e-4, atol=1e-4)

    def test_meta_tells_and_a_batch_does_not_mix_them(self, tmp_path):
        jobs = plan([str(EXAMPLE)], tmp_path, IMAGE_SUFFIXES)
        plain = RegionParser(size=140, device="cpu", views=1)
        crops = RegionParser(size=140, device="cpu", kernel=70, stride=42, views=1)
        assert segment(plain, jobs, tmp_path).outcomes[0].status == "done"
        refused = segment(crops, jobs, tmp_path).outcomes[0]
        assert refused.status == "failed"
        assert "kernel None -> [70, 70], stride None -> [42, 42]" in str(refused.error)
        meta = crops.parse(EXAMPLE).meta
        assert meta["settings"]["stride"] == [42, 42]
        assert meta["backbone"]["name"] == "embedded unfolded (kernel 70x70, stride 42x42)"

    def test_the_patch_is_known_when_the_network_is(self):
        with pytest.raises(SettingsError, match=r"kernel 100x100 is not a multiple .*98x98"):
            RegionParser(size=140, device="cpu", kernel=100, stride=14, views=1).parse(EXAMPLE)
