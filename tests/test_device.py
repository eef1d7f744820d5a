"""The whole path stays on the device it is given, whether or not this machine has one.

:mod:`elsewhere` stands for the device: it fails where tensors of two devices meet, and writes down
what comes back. Where there is CUDA, the same is done there, too, and numbers agree.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from elsewhere import THERE, Device, Elsewhere, here, moved, there

from regiontree import RegionParser
from regiontree.backbones.base import Backbone, FeatureSpec
from regiontree.backbones.embedded import EmbeddedBackbone
from regiontree.backbones.run import run_batch
from regiontree.backbones.tiles import Tiled
from regiontree.backbones.unfold import Unfolded
from regiontree.backbones.views import Views

pytestmark = pytest.mark.device

CPU = torch.device("cpu")
GRID, DIM = (16, 20), 24
needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA device on this machine"
)


# -- the stand-in ---------------------------------------------------------------------------------


class TestStandIn:
    def test_what_is_computed_there_is_what_is_computed_here(self):
        one, other = torch.rand(3, 4), torch.rand(4, 2)
        with Device() as device:
            made = there(one) @ there(other) + torch.ones(3, 2, device=THERE)
            assert isinstance(made, Elsewhere)
            assert made.device == THERE
        assert torch.equal(here(made), one @ other + 1)
        assert device.fetched == []

    @pytest.mark.parametrize(
        "mix",
        [
            lambda far, near: far + near,
            lambda far, near: near @ far,
            lambda far, near: torch.cat([far, near]),
            lambda far, near: far[near.argsort()],
            lambda far, near: near.index_add_(0, torch.arange(4), far),
        ],
    )
    def test_tensors_of_two_devices_do_not_meet(self, mix):
        with Device(), pytest.raises(RuntimeError, match="tensors of two devices"):
            mix(there(torch.rand(4)), torch.rand(4))

    @pytest.mark.parametrize(
        ("fetch", "count"),
        [
            (lambda far: far.cpu(), 6),
            (lambda far: far.to("cpu", torch.float64), 6),
            (lambda far: far.tolist(), 6),
            (lambda far: float(far.sum()), 1),
            (lambda far: bool((far > 2).any()), 1),
            (lambda far: torch.empty(6).copy_(far), 6),
            (lambda far: far[:2].cpu(), 2),
        ],
    )
    @pytest.mark.parametrize("inference", [False, True])
    def test_what_comes_back_is_written_down(self, fetch, count, inference):
        with torch.inference_mode(inference), Device() as device:
            fetch(there(torch.rand(6)))
        assert [n for _, n in device.fetched] == [count]

    def test_a_change_in_place_is_seen(self):
        with Device():
            far = there(torch.zeros(4))
            assert far.add_(1) is far
            far[1:3] = 5
        assert here(far).tolist() == [1, 5, 5, 1]


# -- trees ----------------------------------------------------------------------------------------


def features() -> np.ndarray:
    """Four quarters, two of them alike, with a little variety."""
    rng = np.random.default_rng(0)
    found = 0.3 * rng.standard_normal((*GRID, DIM))
    found[:, :, 0] += 1
    found[:8, :10, 1] += 2
    found[8:, :10, 2] += 2
    found[:8, 10:, 3] += 2
    found[8:, 10:, 3:5] += 2
    return found.astype(np.float32)


def photo() -> np.ndarray:
    rng = np.random.default_rng(1)
    rgb = np.full((112, 140, 3), 60, np.uint8)
    rgb[:60, :75] = 200, 40, 40
    rgb[60:, :75] = 40, 200, 40
    return np.clip(rgb + rng.normal(0, 4, rgb.shape), 0, 255).astype(np.uint8)


SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "crf": {"refine": "crf"},
    "features alone": {"contrast": None, "refine": "none"},
    "recursive": {"preset": "published"},
    "recursive, exp": {"preset": "published", "affinity": "exp"},
    "k-means of features": {"preset": "published", "overclustering": "features"},
    "every patch a part": {"preset": "published", "overclustering": "none"},
    "colours": {"preset": "published", "overclustering": "colours"},
}


def built(changes: dict[str, Any], device: str | None = "cpu") -> Any:
    """The tree of the features, or the parser's call that builds it if `device` is None."""
    settings = {"parts": 30, "size": 140, "backbone": "precomputed:."} | changes
    if settings.get("overclustering") == "none":
        del settings["parts"]
    parser = RegionParser(device=device or "cpu", **settings)
    given = {"rgb": photo(), "image_size": (112, 140)}
    if device:
        return parser.build(features(), **given)
    parser.device = THERE
    return partial(parser.build, features(), **given)


@needs_cuda
@pytest.mark.parametrize("changes", SETTINGS.values(), ids=SETTINGS)
def test_cuda_builds_the_trees_of_the_cpu(changes):
    one, other = built(changes), built(changes, "cuda")
    pairs = set(zip(one.cut(n_regions=4).flat, other.cut(n_regions=4).flat, strict=True))
    assert len(pairs) <= 8  # four, and a few pixels on borders
    assert one.height[-1] == pytest.approx(other.height[-1], abs=1e-3)


@pytest.mark.parametrize("changes", SETTINGS.values(), ids=SETTINGS)
def test_a_tree_is_built_where_its_features_are(changes):
    expected, build = built(changes), built(changes, None)
    with Device() as device:
        tree = build()
    merged = changes.get("preset") != "published"
    if merged:  # a compiled loop smooths the features here, and torch there
        assert np.mean(tree.labels != expected.labels) <= (0.001 if "refine" in changes else 0)
        assert np.array_equal(tree.parents, expected.parents)
        assert np.allclose(tree.height, expected.height, atol=1e-4)
    else:
        assert tree == expected
    assert tree.n_leaves > 1
    # Labels of pixels and patches come back, and tables of parts. Features of patches do only where
    # patches merge, once.
    patches = GRID[0] * GRID[1]
    all_parts = changes.get("overclustering") == "none"
    parts = patches if all_parts else 30
    sizes = [n for _, n in device.fetched if n > 1]
    assert sizes
    assert sizes.count(patches * DIM) == merged or all_parts
    assert max(sizes) <= max(112 * 140, parts * max(parts, DIM))


# -- networks -------------------------------------------------------------------------------------

WAYS: dict[str, Callable[[Backbone], Backbone]] = {
    "as it is": lambda network: network,
    "two views": lambda network: Views(network, 2),
    "four views": lambda network: Views(network, 4),
    "unfolded": lambda network: Unfolded(network, (56, 56), (28, 28)),
    "tiles": lambda network: Tiled(network, network, size=56, tile=56),
    "tiles and views": lambda network: Tiled(network, Views(network, 4), size=56, tile=56),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_photograph_goes_there_once_and_its_features_stay(way):
    pixels = torch.rand(1, 3, 84, 112)
    spec = FeatureSpec(layers=(1,), facet="value")
    expected = WAYS[way](EmbeddedBackbone(CPU, torch.float32, spec)).features(pixels)
    network = WAYS[way](moved(EmbeddedBackbone(CPU, torch.float32, spec)))
    with Device() as device:
        found = run_batch(network, pixels)
    assert isinstance(found, Elsewhere)
    torch.testing.assert_close(here(found), expected, atol=1e-4, rtol=1e-4)
    assert device.fetched == []


@needs_cuda
@pytest.mark.parametrize("way", WAYS)
def test_cuda_gives_the_features_of_the_cpu(way):
    pixels = torch.rand(2, 3, 84, 112)
    spec = FeatureSpec(layers=(1,), facet="value")
    one, other = (
        WAYS[way](EmbeddedBackbone(torch.device(device), torch.float32, spec)).features(pixels)
        for device in ("cpu", "cuda")
    )
    assert other.device.type == "cuda"
    assert float(torch.cosine_similarity(one, other.cpu(), dim=3).min()) > 0.999
