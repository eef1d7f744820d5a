"""Descriptors of leaves: what the network says of them, beside trees that do not change."""

from __future__ import annotations

import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import EXAMPLE, refused
from hypothesis import given
from PIL import Image
from safetensors import safe_open
from torch import Tensor
from trees import hand_tree, pixels_of, trees

from regiontree import RegionParser, RegionTree, Settings, StopReason
from regiontree.backbones.base import FeatureSpec
from regiontree.backbones.descriptors import descriptor_dim, mean_descriptors, split_features
from regiontree.backbones.featurefile import Features, load_features, save_features
from regiontree.backbones.own import OwnModel
from regiontree.backbones.tiles import Tiled, memory_needed
from regiontree.backbones.unfold import Unfolded
from regiontree.backbones.views import Views
from regiontree.backbones.vit import VisionTransformer, VitShape
from regiontree.engines.batch import plan, segment
from regiontree.engines.feeding import extract_many
from regiontree.engines.parsers import Absent, network_facts
from regiontree.engines.process import decoded, features
from regiontree.engines.process import trees as rows_of
from regiontree.errors import BackboneError, FeatureError, TreeError, TreeFileError
from regiontree.images.pillow import IMAGE_SUFFIXES
from regiontree.references.listing import list_references
from regiontree.tree.file import read_shapes
from regiontree.tree.nodata import with_no_data

CPU = torch.device("cpu")
SMALL = VitShape(width=24, depth=3, heads=4, patch=14, positions=5)
TREE = ("labels", "parents", "height", "ncut", "stop", "embedding")


class Net:
    """Features are mean colours, descriptors five products of them, each patch another."""

    name, digest, patch, dim, descriptor_dim = "net", "1", 8, 8, 5
    device, dtype = CPU, torch.float32

    def features(self, pixels: Tensor) -> Tensor:
        colours = torch.nn.functional.avg_pool2d(pixels, 8).permute(0, 2, 3, 1) + 0.1
        steps = torch.arange(5)
        return torch.cat([colours, 7 * torch.cos(20 * colours[..., :1] + steps)], dim=3)


class Plain(Net):
    """The same features without descriptors."""

    dim, descriptor_dim = 3, 0

    def features(self, pixels: Tensor) -> Tensor:
        return super().features(pixels)[..., :3]


class Shared(Net):
    """Its features serve as descriptors."""

    dim, descriptor_dim = 3, 3

    def features(self, pixels: Tensor) -> Tensor:
        return super().features(pixels)[..., :3]


def photograph(seed: int = 0, size: tuple[int, int] = (64, 96)) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    return np.array(Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC))


def parser(model: Any = None, **changes: Any) -> RegionParser:
    return RegionParser(backbone=model or Net(), **{"size": 96, "parts": 12, **changes})


def same_tree(one: RegionTree, other: RegionTree) -> bool:
    return all(getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in TREE)


# -- networks -------------------------------------------------------------------------------------


def encoder(weights: dict[str, Tensor], **spec: Any) -> VisionTransformer:
    made = VisionTransformer(SMALL, FeatureSpec(**spec)).eval()
    made.load_state_dict({name: weights[name] for name in made.state_dict()})
    return made


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    torch.manual_seed(0)
    made = VisionTransformer(SMALL)
    return {name: torch.randn_like(value) * 0.2 for name, value in made.state_dict().items()}


@pytest.mark.parametrize(
    "spec",
    [{}, {"facet": "key"}, {"layers": (1,)}, {"layers": (2, 3), "facet": "token"},
     {"layers": (1,), "facet": "token"}],
    ids=str,
)  # fmt: skip
def test_the_last_tokens_follow_features_that_stay_the_same(weights, spec):
    pixels = torch.rand(2, 3, 42, 70)
    plain = encoder(weights, **spec, descriptor="none")
    tokens = encoder(weights, facet="token", descriptor="none")(pixels)
    network = encoder(weights, **spec)
    found, length = network(pixels), descriptor_dim(network)
    assert (plain.descriptor_dim, length, network.dim) == (0, 24, plain.dim + 24)
    own, descriptors = split_features(found, length)
    assert torch.equal(own, plain(pixels))
    assert torch.equal(descriptors, tokens)


def test_a_token_is_not_given_twice(weights):
    network = encoder(weights, facet="token")
    assert network.dim == network.descriptor_dim == 24
    found = network(torch.rand(1, 3, 42, 70))
    own, descriptors = split_features(found, 24)
    assert own is descriptors is found


def test_without_descriptors_the_last_block_is_not_finished(weights):
    ran = []
    for choice in ("none", "token"):
        network = encoder(weights, descriptor=choice)
        network.blocks[-1].fc2.register_forward_hook(lambda *call, c=choice: ran.append(c))
        network(torch.rand(1, 3, 28, 28))
    assert ran == ["token"]
    assert len(encoder(weights, layers=(1,), descriptor="none").blocks) == 1


@pytest.mark.parametrize(
    "way",
    [
        lambda net: Views(net, 2),
        lambda net: Views(net, 4),
        lambda net: Unfolded(net, (32, 32), (16, 24)),
        lambda net: Tiled(net, net, size=48, tile=32),
        lambda net: Tiled(net, Views(net, 2), size=48, tile=32),
    ],
    ids=["2 views", "4 views", "unfolded", "tiles", "tiles and views"],
)
def test_views_crops_and_tiles_carry_both(way):
    pixels = torch.from_numpy(photograph()).permute(2, 0, 1)[None] / 255
    network, plain = way(Net()), way(Plain())
    assert (network.dim, descriptor_dim(network), descriptor_dim(plain)) == (8, 5, 0)
    own, descriptors = split_features(network.features(pixels), 5)
    assert torch.equal(own, plain.features(pixels))
    assert descriptors.shape == (*own.shape[:3], 5)
    flat = descriptors.reshape(-1, 5)
    assert float((flat - flat.mean(0)).abs().max()) > 0.1  # they are not all alike


@pytest.mark.parametrize("way", [lambda n: Views(n, 2), lambda n: Tiled(n, n, size=48, tile=32)])
def test_where_features_have_unit_length_descriptors_have_it_of_their_own(way):
    pixels = torch.from_numpy(photograph()).permute(2, 0, 1)[None] / 255
    for half in split_features(way(Net()).features(pixels), 5):
        assert torch.allclose(half.norm(dim=3), torch.ones(half.shape[:3]), atol=1e-5)


def test_descriptors_do_not_make_features_of_tiles_coarser():
    """A result of many values is half as precise; descriptors do not count as values."""
    from regiontree.backbones import tiles

    pixels = torch.from_numpy(photograph()).permute(2, 0, 1)[None] / 255
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "_HALF", 8 * 12 * 3)
        assert Tiled(Net(), Net(), size=48, tile=32).features(pixels).dtype == torch.float32
        patch.setattr(tiles, "_HALF", 8 * 12 * 3 - 1)
        assert Tiled(Net(), Net(), size=48, tile=32).features(pixels).dtype == torch.float16


def test_descriptors_count_for_memory():
    plain = memory_needed((3000, 4000), (214, 286), 384, 400)
    assert memory_needed((3000, 4000), (214, 286), 768, 400, 384) >= plain + 4 * 214 * 286 * 384
    assert memory_needed((3000, 4000), (214, 286), 384, 400, 384) == plain


@pytest.mark.parametrize("value", [-1, 9, 2.0, True, "5", None])
def test_a_length_that_cannot_be_is_named(value):
    model = Net()
    model.descriptor_dim = value  # type: ignore[misc]
    with refused(BackboneError, "Net", "descriptor_dim", repr(value)):
        OwnModel(model)


# -- trees ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("valid", [False, True])
def test_a_descriptor_is_the_mean_over_the_patches_of_its_leaf(valid):
    rgb = photograph()
    there = np.ones((64, 96), bool)
    if valid:
        there[:, 80:] = False
        there[:20, :30] = False
    whole = parser(refine="none")
    found = whole.extract(rgb, valid=there)
    tree = whole.build(found, rgb=whole.pixels(rgb, valid=there))
    sums: dict[int, list[np.ndarray]] = {}
    for y in range(8):
        for x in range(12):
            if there[8 * y : 8 * y + 8, 8 * x : 8 * x + 8].mean() >= 0.5:
                cell = tree.labels[8 * y : 8 * y + 8, 8 * x : 8 * x + 8]
                (leaf,) = {int(one) for one in cell.flat if tree.stop[one] != StopReason.NO_DATA}
                sums.setdefault(leaf, []).append(found.descriptors[y, x].double().numpy())
    gaps = int((tree.stop == StopReason.NO_DATA).sum())
    assert len(sums) == tree.n_leaves - gaps > 5
    assert gaps == valid
    assert tree.descriptor.dtype == np.float16
    for leaf, rows in sums.items():
        assert np.allclose(tree.descriptor[leaf], np.mean(rows, axis=0), atol=4e-3)
    assert not tree.descriptor[tree.stop[: tree.n_leaves] == StopReason.NO_DATA].any()


def test_a_mean_does_not_depend_on_blocks(monkeypatch):
    rows = torch.randn(1000, 7)
    leaf = np.random.default_rng(0).integers(-1, 5, 1000)
    once = mean_descriptors(rows, leaf, 5)
    expected = np.stack([rows[leaf == i].double().mean(0).numpy() for i in range(5)])
    assert np.array_equal(once, expected.astype(np.float16))
    monkeypatch.setattr("regiontree.backbones.descriptors._BLOCK_ENTRIES", 100)
    assert np.array_equal(mean_descriptors(rows, leaf, 5), once)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"refine": "crf"},
        {"views": 2},
        {"views": 4},
        {"kernel": 32, "stride": 16},
        {"size": 48, "tiles": 96},
        {"preset": "published", "size": 64, "descriptor": "token"},
    ],
    ids=str,
)
def test_trees_are_the_same_bytes_with_and_without(changes):
    rgb = photograph()
    tree, plain = parser(**changes).parse(rgb), parser(Plain(), **changes).parse(rgb)
    none = parser(**{**changes, "descriptor": "none"}).parse(rgb)
    assert same_tree(tree, plain)
    assert same_tree(tree, none)
    assert tree.n_leaves > 5
    assert tree.descriptor.shape == (tree.n_leaves, 5)
    assert plain.descriptor is None
    assert none.descriptor is None


@pytest.mark.usefixtures("embedded_installed")
@pytest.mark.parametrize("changes", [{}, {"layers": (9,), "facet": "key"}, {"facet": "token"}])
def test_trees_of_the_embedded_network_are_the_same_too(changes):
    tree, none = (
        RegionParser(size=140, device="cpu", descriptor=choice, **changes).parse(EXAMPLE)
        for choice in ("token", "none")
    )
    assert same_tree(tree, none)
    assert tree.descriptor.shape == (tree.n_leaves, 384)
    assert none.descriptor is None
    tokens = RegionParser(size=140, device="cpu", facet="token").features(EXAMPLE)
    mean = tokens.reshape(-1, 384).mean(0).numpy()
    root = tree.descriptors()[tree.root]
    assert float(mean @ root) > 0.98 * np.linalg.norm(mean) * np.linalg.norm(root)


def test_features_serve_as_descriptors_before_they_are_smoothed():
    whole = parser(Shared(), refine="none", smoothing=3)
    found = whole.extract(photograph())
    assert found.descriptors is found.patches
    tree = whole.build(found)
    leaf = tree.labels[4::8, 4::8].reshape(-1)
    raw = found.patches.reshape(-1, 3)
    assert np.allclose(tree.descriptor[leaf[5]], raw[leaf == leaf[5]].mean(0), atol=1e-3)


def test_an_image_of_equal_patches_has_one_descriptor_and_one_of_one_colour_none():
    equal = torch.ones(4, 5, 3)
    given_ = Features(equal, (32, 40), {}, {}, descriptors=torch.arange(40.0).reshape(4, 5, 2))
    tree = parser().build(given_)
    assert tree.descriptor.tolist() == [[19.0, 20.0]]
    there = np.ones((32, 40), bool)
    there[8:] = False
    tree = parser().build(replace(given_, valid=there))
    assert tree.descriptor.tolist() == [[4.0, 5.0], [0.0, 0.0]]
    assert parser().parse(np.full((64, 96, 3), 9, np.uint8)).descriptor is None


def test_descriptors_that_cannot_be_are_said():
    patches = torch.rand(4, 5, 3) + 0.1
    for wrong, *facts in (
        (torch.rand(4, 4, 2), "(4, 5)", "(4, 4, 2)"),
        (torch.rand(4, 5), "(4, 5)"),
        (torch.ones(4, 5, 2, dtype=torch.int64), "int64"),
        (np.ones((4, 5, 2), np.int64), "int64"),
        (np.full((4, 5), "a"), "descriptors"),
        (torch.full((4, 5, 2), torch.nan), "not finite"),
        (torch.full((4, 5, 2), 1e6), "half precision", "backbone.descriptor"),
    ):
        found = Features(patches, (32, 40), {}, {}, descriptors=wrong)
        with refused(FeatureError, "descriptors", *facts):
            parser().build(found)
        assert parser(descriptor="none").build(found).descriptor is None


def test_descriptors_are_given_as_arrays_too():
    found = parser().extract(photograph())
    tree = parser().build(found)
    arrays = found.patches.numpy(), found.descriptors.numpy()
    given_ = {"image_size": found.image_size, "source": found.source, "backbone": found.backbone}
    assert parser().build(arrays[0], descriptors=arrays[1], **given_) == tree
    assert parser().build(arrays[0], **given_).descriptor is None


def test_features_alone_are_what_trees_are_built_on():
    rgb = photograph()
    found = parser().features(rgb)
    assert found.shape == (8, 12, 3)
    assert torch.equal(found, parser(Plain()).features(rgb))
    assert parser().extract(rgb, patches=found).descriptors is None
    whole = parser().backbone.features(torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255)
    parted = parser().extract(rgb, patches=whole[0])
    assert torch.equal(parted.patches, found)
    assert parted.descriptors.shape == (8, 12, 5)


def test_the_setting_is_recorded_and_older_trees_had_none():
    from regiontree.settings import record_differences

    now = Settings.make().as_dict()
    assert now["descriptor"] == "token"
    assert Settings.make("published").as_dict()["descriptor"] == "none"
    before = {name: value for name, value in now.items() if name != "descriptor"}
    assert record_differences(before, now) == {"descriptor": ("none", "token")}


# -- carriers -------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(4):
        Image.fromarray(photograph(i)).save(folder / f"{i}.png")
    return folder


def test_batches_are_parted_like_single_photographs(photos):
    files, whole = sorted(photos.iterdir()), parser()
    for file, found in extract_many(whole, files, batch=3):
        single = whole.extract(file)
        assert torch.allclose(found.patches, single.patches, atol=1e-6)
        assert torch.allclose(found.descriptors, single.descriptors, atol=1e-4)


def test_workers_get_them_through_shared_memory(photos, tmp_path):

    jobs = plan([str(photos)], tmp_path / "out", IMAGE_SUFFIXES)
    summary = segment(parser(), jobs, tmp_path / "out", workers=2)
    assert [outcome.status for outcome in summary.outcomes] == ["done"] * 4
    for job in jobs:
        tree = RegionTree.load(job.output)
        assert tree.descriptor.tobytes() == parser().parse(job.source).descriptor.tobytes()


def test_stages_on_several_machines_carry_them(photos):
    whole = parser()
    away = whole.copied(network=Absent(network_facts(whole.backbone)))
    for reference in list_references([str(photos)], IMAGE_SUFFIXES):
        staged = features([decoded(reference, away)], whole)
        (row,) = rows_of(staged, away)
        assert row.tree.descriptor.tobytes() == whole.parse(reference.path).descriptor.tobytes()


@pytest.mark.parametrize("model", [Net, Shared])
def test_feature_files_give_the_tree_of_the_photograph(photos, tmp_path, model):
    file = photos / "0.png"
    whole, folder = parser(model()), tmp_path / "features"
    found = whole.extract(file)
    save_features(folder / "0.safetensors", found, {})
    with safe_open(folder / "0.safetensors", "pt") as stored:
        names = set(stored.keys())
    assert names == ({"features"} if model is Shared else {"features", "descriptors"})
    back = load_features(folder / "0.safetensors")
    assert torch.equal(back.descriptors, found.descriptors.half())
    tree = RegionParser(backbone=f"precomputed:{folder}", parts=12).parse(file)
    expected = whole.build(
        replace(found, patches=back.patches, descriptors=back.descriptors), rgb=whole.pixels(file)
    )
    assert tree.descriptor.tobytes() == expected.descriptor.tobytes()
    alone = RegionParser(backbone="precomputed", parts=12).parse(folder / "0.safetensors")
    assert alone.descriptor.shape == (alone.n_leaves, back.descriptors.shape[2])
    none = RegionParser(backbone=f"precomputed:{folder}", parts=12, descriptor="none")
    assert none.parse(file).descriptor is None
    assert none.extract(file).descriptors is None


def test_feature_files_without_them_are_read_as_before(photos, tmp_path):
    file, path = photos / "0.png", tmp_path / "0.safetensors"
    save_features(path, parser(Plain()).extract(file), {})
    assert load_features(path).descriptors is None
    tree = RegionParser(backbone="precomputed", parts=12).parse(path)
    assert tree.descriptor is None


def test_damaged_descriptors_of_a_file_are_noticed(tmp_path):
    path = tmp_path / "a.safetensors"
    bad = Features(torch.rand(4, 5, 3), (32, 40), {}, {}, descriptors=torch.rand(4, 5, 2))
    with refused(FeatureError, "descriptors", "not finite as float16"):
        save_features(path, replace(bad, descriptors=bad.descriptors * 1e6), {})
    save_features(path, replace(bad, descriptors=torch.rand(4, 4, 2)), {})
    with refused(FeatureError, "damaged"):
        load_features(path)


# -- the tree -------------------------------------------------------------------------------------


def described(tree: RegionTree, length: int = 2) -> RegionTree:
    rng = np.random.default_rng(tree.n_leaves)
    return replaced(tree, descriptor=rng.normal(size=(tree.n_leaves, length)))


def replaced(tree: RegionTree, **changes: Any) -> RegionTree:
    arrays = {name: getattr(tree, name) for name in (*TREE, "meta", "descriptor")}
    return RegionTree(**{**arrays, **changes})


def brute_force(tree: RegionTree) -> np.ndarray:
    """The descriptor of each node: the mean over its pixels, each with that of its leaf."""
    flat = tree.labels.reshape(-1)
    found = np.zeros((tree.n_nodes, tree.descriptor.shape[1]))
    for node, pixels in enumerate(pixels_of(tree)):
        seen = [leaf for leaf in flat[sorted(pixels)] if tree.stop[leaf] != StopReason.NO_DATA]
        if seen:
            found[node] = tree.descriptor[seen].astype(np.float64).mean(axis=0)
    return found


@given(trees())
def test_those_of_nodes_are_means_over_pixels(tree):
    tree = described(tree)
    assert tree.descriptors().dtype == np.float32
    assert np.allclose(tree.descriptors(), brute_force(tree), atol=1e-5)


@given(trees())
def test_pixels_without_data_do_not_count(tree):
    tree = described(tree)
    absent = np.zeros(tree.shape, bool)
    absent[:1] = True
    gone = {int(leaf) for leaf in np.unique(tree.labels) if absent[tree.labels == leaf].all()}
    if gone:  # no leaf may lie in such pixels alone
        return
    arrays = {name: getattr(tree, name) for name in (*TREE, "descriptor")}
    whole = RegionTree(**with_no_data(absent, **arrays))
    leaf = int(np.flatnonzero(whole.stop == StopReason.NO_DATA)[0])
    assert not whole.descriptor[leaf].any()
    assert not whole.descriptors()[leaf].any()
    assert np.allclose(whole.descriptors(), brute_force(whole), atol=1e-5)


@given(trees())
def test_smaller_trees_have_the_means_of_what_they_join(tree):
    tree = described(tree)
    for small in (tree.prune(n_regions=3), tree.prune(depth=1), tree.condense(4)):
        flat, old = small.labels.reshape(-1), tree.labels.reshape(-1)
        for leaf in range(small.n_leaves):
            mean = tree.descriptor[old[flat == leaf]].astype(np.float64).mean(axis=0)
            assert np.allclose(small.descriptor[leaf], mean, atol=4e-3)
    assert np.array_equal(tree.prune(height=0).descriptor.shape[1], 2)


def test_leaves_that_stay_keep_theirs_bit_by_bit():
    tree = described(hand_tree(), 3)
    small = tree.prune(n_regions=3)
    assert small.n_leaves == 3
    kept = [row.tobytes() for row in tree.descriptor]
    assert sum(row.tobytes() in kept for row in small.descriptor) == 2


@pytest.mark.parametrize(
    ("descriptor", "said"),
    [
        (np.zeros(4), "descriptor must be 2-D floats"),
        (np.zeros((4, 2), int), "descriptor must be 2-D floats"),
        (np.zeros((7, 2)), "descriptor has 7 rows for 4 leaves"),
        (np.full((4, 2), 1e6), "descriptor holds .* not finite as float16"),
    ],
)
def test_wrong_ones_are_named(descriptor, said):
    with pytest.raises(TreeError, match=said):
        replaced(hand_tree(), descriptor=descriptor)


def test_a_tree_without_them_says_so():
    assert hand_tree().descriptor is None
    with refused(TreeError, "no descriptors", "backbone.descriptor"):
        hand_tree().descriptors()


def test_they_count_in_equality_and_travel(tmp_path):
    tree = described(hand_tree())
    assert tree != hand_tree()
    assert tree != replaced(tree, descriptor=tree.descriptor + 1)
    assert pickle.loads(pickle.dumps(tree)) == tree
    assert not tree.descriptor.flags.writeable
    path = tree.save(tmp_path / "a")
    assert RegionTree.load(path) == tree
    assert read_shapes(path)["descriptor"] == (4, 2)
    assert RegionTree.load_structure(path).descriptor is None


def test_files_name_the_first_version_that_they_fit(tmp_path):
    for tree, version in ((hand_tree(), 1), (described(hand_tree()), 3)):
        path = tree.save(tmp_path / str(version))
        with zipfile.ZipFile(path) as archive:
            assert ("descriptor.npy" in archive.namelist()) == (version == 3)
        assert f'"format_version": {version}' in str(np.load(path)["meta"])


def test_a_file_whose_rows_are_not_its_leaves_is_refused(tmp_path):
    tree = described(hand_tree())
    path = tree.save(tmp_path / "a")
    arrays = dict(np.load(path))
    arrays["descriptor"] = arrays["descriptor"][1:]
    np.savez(path, **arrays)
    with refused(TreeFileError, str(path), "descriptor", "3 rows for 4 leaves"):
        RegionTree.load(path)
