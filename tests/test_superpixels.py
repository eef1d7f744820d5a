"""Over-clusterings of the photograph: parts follow what is in it, at any resolution, or say why."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from conftest import EXAMPLE, blocks
from PIL import Image

from regiontree import RegionParser
from regiontree.engines.batch import plan, segment
from regiontree.errors import FeatureError, MissingExtraError, SettingsError
from regiontree.images import IMAGE_SUFFIXES
from regiontree.images.superpixels import IMAGE_METHODS, image_parts
from regiontree.settings import Settings

COLOURS = np.array([[200, 40, 40], [40, 180, 60], [50, 60, 200], [230, 220, 120]], np.uint8)
GRID = (12, 18)
SUPERPIXELS = [method for method in IMAGE_METHODS if method != "colours"]
needs_extra = pytest.mark.skipif(
    find_spec("skimage") is None,
    reason="the extra 'superpixels' is not installed",
)
each_method = pytest.mark.parametrize(
    "method", ["colours", *(pytest.param(name, marks=needs_extra) for name in SUPERPIXELS)]
)


def quarters(grid: tuple[int, int]) -> np.ndarray:
    """Which of four quarters each cell lies in."""
    rows, columns = np.indices(grid)
    return 2 * (rows >= grid[0] // 2) + (columns >= grid[1] // 2)


def scene(pixels_a_patch: int = 14) -> np.ndarray:
    """Four quarters of one colour each under a little noise."""
    rows, columns = (cells * pixels_a_patch for cells in GRID)
    noise = np.random.default_rng(0).integers(-6, 7, (rows, columns, 3))
    return (COLOURS[quarters((rows, columns))].astype(int) + noise).astype(np.uint8)


def noise(grid: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*grid, 3), dtype=np.uint8)


def photograph(long_side: int) -> np.ndarray:
    image = Image.open(EXAMPLE).convert("RGB")
    return np.asarray(image.resize((long_side, long_side), Image.Resampling.BILINEAR))


# -- image_parts ----------------------------------------------------------------------------------


@each_method
def test_parts_keep_to_what_is_in_the_image(method):
    parts = image_parts(scene(), GRID, method, parts=24, seed=0)
    assert parts.shape == GRID
    assert parts.dtype == np.int64
    assert np.array_equal(np.unique(parts), np.arange(parts.max() + 1))
    crossing = [p for p in range(parts.max() + 1) if len(np.unique(quarters(GRID)[parts == p])) > 1]
    assert not crossing
    assert parts.max() >= 3


def test_colours_do_not_ask_where_a_pixel_lies():
    """Of four colours in any arrangement, four parts: those colours."""
    which = np.random.default_rng(1).integers(0, 4, GRID)
    rgb = COLOURS[which]
    parts = image_parts(rgb, GRID, "colours", parts=4, seed=0)
    pairs = set(zip(which.flat, parts.flat, strict=True))
    assert len(pairs) == 4


def test_colours_have_the_nearest_centre_of_all_pixels():
    """The best k-means of three groups of greys is known; patches see one pixel of each only."""
    rgb = np.full((30, 60, 3), 100, np.uint8)
    rgb[:, ::3] = 20  # the centre of each 3 x 3 patch is never one of these
    rgb[:, 40:] += 100
    parts = image_parts(rgb, (10, 20), "colours", parts=3, seed=0, restarts=5)
    assert parts.max() == 1
    assert len(np.unique(parts[:, :13])) == len(np.unique(parts[:, 14:])) == 1


@needs_extra
def test_a_patch_takes_the_segment_at_its_centre():
    """As scikit-image's own segments, shrunk by Pillow's nearest neighbour."""
    from skimage.segmentation import slic

    rgb = photograph(280)[:, :210]
    segments = slic(rgb, n_segments=60, compactness=10, min_size_factor=0.25)
    shrunk = np.asarray(
        Image.fromarray(segments.astype(np.int32)).resize((15, 20), Image.Resampling.NEAREST)
    )
    parts = image_parts(rgb, (20, 15), "slic", parts=60, seed=0)
    pairs = set(zip(shrunk.flat, parts.flat, strict=True))
    assert len(pairs) == len(np.unique(shrunk)) == parts.max() + 1


@needs_extra
@pytest.mark.parametrize("method", ["slic", "watershed", "colours"])
def test_the_number_aimed_at_is_approached(method):
    found = [
        image_parts(photograph(420), (30, 30), method, parts=k, seed=0).max() for k in (50, 200)
    ]
    assert 35 <= found[0] + 1 <= 60
    assert 140 <= found[1] + 1 <= 240


@needs_extra
@pytest.mark.parametrize("method", ["felzenszwalb", "quickshift"])
def test_scales_follow_the_resolution(method):
    """One photograph has about as many parts at any size, and some hundreds of them."""
    small, large = (
        image_parts(photograph(side), (60, 60), method, parts=1, seed=0).max() + 1
        for side in (420, 840)
    )
    assert 100 <= large <= 320
    assert 0.6 < small / large < 1.6


@each_method
def test_the_same_seed_gives_the_same_parts(method):
    rgb = photograph(210)
    first, again = (image_parts(rgb, (15, 15), method, parts=30, seed=3) for _ in range(2))
    assert np.array_equal(first, again)


def test_colours_follow_the_seed():
    one, other = (
        image_parts(noise((40, 40)), (20, 20), "colours", parts=9, seed=s) for s in (1, 2)
    )
    assert not np.array_equal(one, other)


@each_method
@pytest.mark.parametrize("size", [(1, 1), (1, 30), (40, 2)])
def test_odd_shapes_and_more_parts_than_patches(method, size):
    grid = (size[0], max(1, size[1] // 2))
    parts = image_parts(noise(size), grid, method, parts=200, seed=0)
    assert parts.shape == grid
    assert np.array_equal(np.unique(parts), np.arange(parts.max() + 1))


@pytest.mark.parametrize(
    ("rgb", "method", "error", "said"),
    [
        (np.zeros((20, 20), np.uint8), "slic", FeatureError, r"rgb must be \(H, W, 3\) uint8"),
        (np.zeros((20, 20, 3)), "slic", FeatureError, r"got \(20, 20, 3\) float64"),
        (np.zeros((4, 20, 3), np.uint8), "slic", FeatureError, "4 x 20 pixels.*grid"),
        (np.zeros((20, 20, 3), np.uint8), "voronoi", SettingsError, "slic, .*got 'voronoi'"),
    ],
)
def test_wrong_input_is_named(rgb, method, error, said):
    with pytest.raises(error, match=said):
        image_parts(rgb, (5, 5), method, parts=4, seed=0)


@pytest.mark.parametrize("method", SUPERPIXELS)
def test_without_the_extra_one_line_says_what_to_install(method, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'regiontree\[superpixels\]'$"):
        image_parts(scene(1), GRID, method, parts=4, seed=0)
    with pytest.raises(MissingExtraError, match=f"'{method}' needs scikit-image"):
        RegionParser(backbone="precomputed", overclustering=method)  # before any work
    assert image_parts(scene(1), GRID, "colours", parts=4, seed=0).max() == 3


# -- in the parser --------------------------------------------------------------------------------


def parser(method: str, **changes) -> RegionParser:
    defaults = {"backbone": "precomputed", "device": "cpu", "smoothing": 0}
    return RegionParser(**{**defaults, "overclustering": method, **changes})


@each_method
def test_a_tree_over_image_parts_has_their_borders(method):
    """Features say what belongs together, the image where it ends."""
    features = blocks(*GRID)
    rgb = scene()
    count = {} if method in ("felzenszwalb", "quickshift") else {"parts": 24}
    tree = parser(method, **count).build(features, rgb=rgb)
    parts = image_parts(rgb, GRID, method, parts=24, seed=1234)
    pairs = set(zip(parts.flat, tree.labels.flat, strict=True))
    assert len(pairs) == parts.max() + 1  # no part is divided
    halves = tree.cut(n_regions=2)
    assert len(np.unique(halves[:, :9])) == len(np.unique(halves[:, 9:])) == 1


@needs_extra
def test_more_parts_than_fit_are_refused():
    grid = (70, 70)
    features = np.random.default_rng(0).normal(size=(*grid, 2)).astype(np.float32)
    with pytest.raises(SettingsError, match=r"into 4\d\d\d parts; at most 4096 fit; use a smaller"):
        parser("quickshift").build(features, rgb=noise(grid))


def test_a_missing_photograph_is_named():
    with pytest.raises(FeatureError, match="overclustering 'colours' divides the photograph: pass"):
        parser("colours").build(blocks())


def test_a_feature_file_has_no_pixels(tmp_path):
    np.save(tmp_path / "scene.npy", blocks())
    with pytest.raises(SettingsError, match=r"'colours' .*photograph.* use precomputed:FOLDER"):
        parser("colours").parse(tmp_path / "scene.npy")


def test_features_in_a_folder_and_pixels_from_the_photograph(tmp_path):
    (tmp_path / "features").mkdir()
    np.save(tmp_path / "features/photo.npy", blocks(*GRID))
    Image.fromarray(scene()).save(tmp_path / "photo.png")
    folder = f"precomputed:{tmp_path / 'features'}"
    tree = parser("colours", backbone=folder, parts=4, size=252).parse(tmp_path / "photo.png")
    assert tree.shape == scene().shape[:2]
    assert np.array_equal(
        tree.labels[7::14, 7::14],
        parser("colours", parts=4).build(blocks(*GRID), rgb=scene()).labels,
    )


def test_pixels_are_what_the_network_sees():
    wide = np.asarray(Image.open(EXAMPLE).convert("RGB"))[:256]
    folder = {"backbone": "precomputed:anywhere"}
    assert parser("colours", size=840, **folder).pixels(wide).shape == (420, 840, 3)
    assert parser("colours", size=(280, 140), **folder).pixels(wide).shape == (280, 140, 3)
    seen = parser("colours", size=128, **folder).pixels(wide)
    assert seen.dtype == np.uint8
    blurred = np.asarray(Image.fromarray(wide).reduce(4)).astype(int)
    assert np.abs(seen - blurred).mean() < 6


@pytest.mark.usefixtures("embedded_installed")
class TestPhotographs:
    @each_method
    def test_the_example_becomes_the_same_tree_twice(self, method):
        settings = {"size": 280, "device": "cpu", "overclustering": method}
        first, again = (RegionParser(**settings).parse(EXAMPLE) for _ in range(2))
        assert first == again
        assert first.shape == (512, 512)
        assert first.meta["settings"]["overclustering"] == method
        assert first.n_leaves > 3

    def test_features_kept_and_pixels_read_later_give_the_tree_of_the_photograph(self):
        settings = {"size": 280, "device": "cpu", "overclustering": "colours"}
        first, later = RegionParser(**settings), RegionParser(**settings)
        kept = first.extract(EXAMPLE)
        tree = later.build(
            kept.patches,
            rgb=later.pixels(EXAMPLE),
            image_size=kept.image_size,
            source=kept.source,
            backbone=kept.backbone,
            descriptors=kept.descriptors,
        )
        assert tree == first.parse(EXAMPLE)
        assert "backbone" not in vars(later)  # no network was loaded for it

    def test_one_colour_is_one_region(self):
        tree = RegionParser(device="cpu", overclustering="colours").parse(
            np.full((50, 80, 3), 77, np.uint8)
        )
        assert (tree.n_nodes, tree.shape) == (1, (50, 80))

    def test_a_batch_does_not_mix_over_clusterings(self, tmp_path):
        jobs = plan([str(EXAMPLE)], tmp_path, IMAGE_SUFFIXES)
        for method, status in (
            ("features", "done"),
            ("colours", "failed"),
            ("features", "skipped"),
        ):
            summary = segment(
                RegionParser(size=140, device="cpu", overclustering=method), jobs, tmp_path
            )
            assert summary.outcomes[0].status == status
            if status == "failed":
                assert "overclustering features -> colours" in str(summary.outcomes[0].error)


def test_settings_say_whether_pixels_are_needed():
    for method in ("simultaneous", "features", "none"):
        assert not Settings.make(overclustering=method).needs_pixels
    for method in IMAGE_METHODS:
        assert Settings.make(overclustering=method).needs_pixels
        assert json.loads(json.dumps(Settings.make(overclustering=method).as_dict())) == (
            Settings.make(overclustering=method).as_dict()
        )
