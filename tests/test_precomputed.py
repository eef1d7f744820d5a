"""Feature files as safetensors: our own and anybody's. NumPy's are in test_features_bad.py."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import blocks, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from regiontree import RegionParser, RegionTree
from regiontree.backbones.featurefile import Features, load_features, save_features
from regiontree.backbones.featurefolder import find_features, is_tree_file
from regiontree.backbones.precomputed import read_features
from regiontree.engines.batch import plan, segment, suffixes_for
from regiontree.errors import FeatureError, SettingsError
from regiontree.refine import Guided
from regiontree.system.inputs import FEATURE_SUFFIXES


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "Möwe.safetensors"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("names", [("features",), ("anything",), ("features", "more")])
def test_a_tensor_of_features_or_the_only_one(path, dtype, names):
    wanted = torch.from_numpy(blocks(4, 5, 6)).to(dtype)
    save_file({name: wanted if i == 0 else torch.zeros(2) for i, name in enumerate(names)}, path)
    found, digest = read_features(path)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.dtype == (np.float32 if dtype == torch.bfloat16 else wanted.numpy().dtype)
    assert np.array_equal(found, wanted.double().numpy())


def test_a_stored_feature_file_gives_the_tree_of_its_features(path):
    features = torch.from_numpy(blocks(12, 12, 8)).half()
    save_features(path, Features(features, (48, 48), {"name": "a.jpg"}, {"name": "x"}), {})
    parser = RegionParser(backbone="precomputed", parts=16, device="cpu")
    tree = parser.parse(path)
    assert tree.n_leaves > 1
    assert np.array_equal(tree.labels, parser.build(features).labels)
    assert tree.meta["image"]["name"] == path.name


@pytest.mark.parametrize(
    ("made_with", "overlap"),
    [
        ({"views": 4, "tiles": None}, 2),
        ({"views": 4, "tiles": "own"}, 1),
        ({"views": 1}, 1),
        ({}, 1),
    ],
)
def test_a_file_of_ours_tells_how_far_its_patches_overlap(path, made_with, overlap):
    features = torch.from_numpy(blocks(12, 12, 8)).half()
    save_features(path, Features(features, (48, 48), {"name": "a"}, {"name": "x"}), made_with)
    assert load_features(path).overlap == overlap
    parser = RegionParser(backbone="precomputed", device="cpu")
    assert parser.extract(path).overlap == overlap
    save_file({"features": features}, path)  # anybody's
    assert parser.extract(path).overlap == 1


def test_refinement_learns_how_far_patches_overlap(path, tmp_path, monkeypatch):
    told, refine = [], Guided.refine

    def watched(self, leaves, rgb, size):
        told.append(leaves.overlap)
        return refine(self, leaves, rgb, size)

    monkeypatch.setattr(Guided, "refine", watched)
    photo = tmp_path / "photos" / f"{path.stem}.png"
    photo.parent.mkdir()
    rgb = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(photo)
    features = torch.from_numpy(blocks(12, 12, 8)).half()
    save_features(
        path, Features(features, (96, 96), {"name": photo.name}, {"name": "x"}), {"views": 4}
    )
    RegionParser(backbone=f"precomputed:{tmp_path}", device="cpu").parse(photo)
    assert told == [2]


def test_it_is_found_by_the_photographs_name(path, tmp_path):
    photo = tmp_path / "photos" / "Möwe.jpg"
    photo.parent.mkdir()
    Image.new("RGB", (50, 40), "teal").save(photo)
    with pytest.raises(FeatureError, match=r"holds no Möwe\.npy, \.npz or \.safetensors for .*jpg"):
        find_features(tmp_path, photo)
    save_file({"features": torch.from_numpy(blocks(4, 5, 6))}, path)
    assert RegionParser(backbone=f"precomputed:{tmp_path}").parse(photo).shape == (40, 50)
    assert {".npy", ".npz", ".safetensors"} == FEATURE_SUFFIXES


# -- which file belongs to a photograph -----------------------------------------------------------


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """A folder of photographs, with the same name in two subfolders, and one for their features."""
    for k, part in enumerate(("train", "val")):
        (tmp_path / "photos" / part).mkdir(parents=True)
        Image.new("RGB", (50, 40), (90 * k, 80, 70)).save(tmp_path / "photos" / part / "0001.png")
        (tmp_path / "features" / part).mkdir(parents=True)
    return tmp_path / "photos", tmp_path / "features"


def used(features: Path, photo: Path | str, **settings) -> np.ndarray:
    parser = RegionParser(backbone=f"precomputed:{features}", device="cpu", **settings)
    return parser.extract(photo).patches.numpy()


@pytest.mark.parametrize("kind", [".npy", ".npz", ".safetensors"])
def test_features_lie_like_the_photographs(folders, kind, monkeypatch):
    photos, features = folders
    for k, part in enumerate(("train", "val")):
        array = np.full((4, 5, 6), k + 1, np.float32)
        file = features / part / f"0001{kind}"
        if kind == ".npy":
            np.save(file, array)
        elif kind == ".npz":
            np.savez(file, features=array)
        else:
            save_file({"features": torch.from_numpy(array)}, file)
    assert used(features, photos / "train" / "0001.png").max() == 1
    assert used(features, photos / "val" / "0001.png").max() == 2
    monkeypatch.chdir(photos / "val")
    assert used(features, "0001.png").max() == 2
    assert used(features, "../train/0001.png").max() == 1


def test_the_longest_common_path_decides(folders):
    photos, features = folders
    for k, where in enumerate((".", "val", "photos/val")):
        (features / where).mkdir(parents=True, exist_ok=True)
        np.save(features / where / "0001.npy", np.full((4, 5, 6), k + 1, np.float32))
        assert used(features, photos / "val" / "0001.png").max() == k + 1
    np.save(features / "photos" / "val" / "0001.png.npy", np.full((4, 5, 6), 9, np.float32))
    assert used(features, photos / "val" / "0001.png").max() == 9


@pytest.mark.parametrize("name", ["scan.v2.final.png", "Möwe 1.jpeg", ".hidden.png", "a.npy.png"])
def test_names_with_dots(tmp_path, name):
    Image.new("RGB", (50, 40)).save(tmp_path / name)
    stem = name.rpartition(".")[0]
    for wrong in ("scan.npy", "scan.v2.npy", "a.safetensors"):
        np.save(tmp_path / wrong, np.ones((4, 5, 6), np.float32))
    np.save(tmp_path / f"{stem}.npy", np.full((4, 5, 6), 2, np.float32))
    assert find_features(tmp_path, tmp_path / name).name == f"{stem}.npy"
    np.save(tmp_path / f"{name}.npy", np.full((4, 5, 6), 3, np.float32))
    assert find_features(tmp_path, tmp_path / name).name == f"{name}.npy"


def test_several_files_for_one_photograph_are_named(folders):
    photos, features = folders
    np.save(features / "0001.npy", blocks(4, 5, 6))
    np.savez(features / "0001.npz", features=blocks(4, 5, 6))
    with refused(FeatureError, "0001.npy and 0001.npz", "0001.png", "keep the one"):
        find_features(features, photos / "val" / "0001.png")
    save_file(
        {"features": torch.from_numpy(blocks(4, 5, 6))}, features / "val" / "0001.safetensors"
    )
    assert find_features(features, photos / "val" / "0001.png").parent.name == "val"


def test_one_file_never_serves_two_photographs(folders):
    photos, features = folders
    np.save(features / "0001.npy", blocks(4, 5, 6))
    parser = RegionParser(backbone=f"precomputed:{features}", device="cpu")
    train, val = photos / "train" / "0001.png", photos / "val" / "0001.png"
    parser.parse(train)
    parser.parse(train)
    with refused(FeatureError, str(val), str(train), "0001.npy", "val/0001.npy"):
        parser.parse(val)
    val.write_bytes(train.read_bytes())  # the same photograph
    parser.parse(val)
    Image.new("RGB", (50, 40), "red").save(val)
    np.save(features / "0001.npy", 2 * blocks(4, 5, 6))  # a new file may have a new owner
    parser.parse(val)


def test_a_batch_refuses_both_photographs_of_one_file(folders, tmp_path):
    photos, features = folders
    np.save(features / "0001.npy", blocks(4, 5, 6))
    Image.new("RGB", (50, 40), "teal").save(photos / "other.png")
    np.save(features / "other.npy", blocks(4, 5, 6))
    parser = RegionParser(backbone=f"precomputed:{features}", device="cpu")
    summary = segment(parser, plan([photos], tmp_path / "out", suffixes_for(parser)), tmp_path)
    status = {Path(one.source).relative_to(photos).as_posix(): one for one in summary.outcomes}
    assert {name: one.status for name, one in status.items()} == {
        "other.png": "done", "train/0001.png": "failed", "val/0001.png": "failed",
    }  # fmt: skip
    assert str(photos / "val" / "0001.png") in status["train/0001.png"].error
    assert str(photos / "train" / "0001.png") in status["val/0001.png"].error
    for k, part in enumerate(("train", "val")):
        np.save(features / part / "0001.npy", blocks(4, 5, 6, seed=k))
    summary = segment(parser, plan([photos], tmp_path / "out", suffixes_for(parser)), tmp_path)
    assert summary.count("failed") == 0


def test_a_tree_is_no_feature_file(folders, tmp_path):
    photos, features = folders
    photo, tree = photos / "val" / "0001.png", features / "val" / "0001.npz"
    RegionTree([[0, 1]], [2, 2, 2], [0, 0, 1]).save(tree)
    assert is_tree_file(tree)
    with refused(FeatureError, str(tree), "is a region tree", str(photo)):
        used(features, photo)
    with refused(FeatureError, str(tree), "is a region tree"):
        read_features(tree)
    save_file({"features": torch.full((4, 5, 6), 2.0)}, features / "0001.safetensors")
    assert used(features, photo).max() == 2
    save_file({"features": torch.full((4, 5, 6), 3.0)}, tree.with_suffix(".safetensors"))
    assert used(features, photo).max() == 3


def test_features_that_record_another_photograph_are_refused(folders):
    photos, features = folders
    train, val, file = (photos / "train" / "0001.png", photos / "val" / "0001.png",
                        features / "0001.safetensors")  # fmt: skip
    digest = hashlib.sha256(val.read_bytes()).hexdigest()

    def record(**source: str | None) -> None:
        patches = torch.from_numpy(blocks(4, 5, 6))
        save_features(file, Features(patches, (40, 50), source, {"name": "x"}), {})

    record(name="0001.png", sha256=digest)
    used(features, val)
    with refused(FeatureError, str(file), "another 0001.png", str(train), digest[:12]):
        used(features, train)
    record(name="beach.jpg", sha256=digest)  # the photograph was renamed since
    used(features, val)
    with refused(FeatureError, "beach.jpg", str(train)):
        used(features, train)
    record(name="beach.jpg")
    with refused(FeatureError, "beach.jpg", str(val)):
        used(features, val)
    record(name=None, sha256="0" * 64)  # made from an array: the digest is that of its pixels
    used(features, val)


def test_in_a_batch_recorded_photographs_decide_who_gets_a_file(folders, tmp_path):
    photos, features = folders
    val = photos / "val" / "0001.png"
    source = {"name": "0001.png", "sha256": hashlib.sha256(val.read_bytes()).hexdigest()}
    made = Features(torch.from_numpy(blocks(4, 5, 6)), (40, 50), source, {"name": "x"})
    save_features(features / "0001.safetensors", made, {})
    parser = RegionParser(backbone=f"precomputed:{features}", device="cpu")
    summary = segment(parser, plan([photos], tmp_path / "out", suffixes_for(parser)), tmp_path)
    assert [one.status for one in summary.outcomes] == ["failed", "done"]


def test_in_a_batch_a_name_too_long_for_a_feature_file_fails_alone(tmp_path):
    for name in ("a", "x" * 250):
        Image.new("RGB", (50, 40), "teal").save(tmp_path / f"{name}.png")
    np.save(tmp_path / "a.npy", blocks(4, 5, 6))
    parser = RegionParser(backbone=f"precomputed:{tmp_path}", device="cpu")
    jobs = plan([tmp_path], tmp_path / "out", frozenset({".png"}))
    summary = segment(parser, jobs, tmp_path / "out")
    assert [one.status for one in summary.outcomes] == ["done", "failed"]
    assert "holds no xxx" in summary.outcomes[1].error


def test_finished_trees_stay_if_the_folder_of_features_has_another_name(folders, tmp_path):
    photos, features = folders
    np.save(features / "val" / "0001.npy", blocks(4, 5, 6))
    photo, out = photos / "val" / "0001.png", tmp_path / "out"
    for folder, status in ((features, "done"), (features.parent / "renamed", "skipped")):
        features.rename(folder)
        parser = RegionParser(backbone=f"precomputed:{folder}", device="cpu")
        (outcome,) = segment(parser, plan([photo], out, frozenset()), out).outcomes
        assert outcome.status == status, outcome.error
        features = folder
    other = RegionParser(backbone=f"precomputed:{folder}", device="cpu", parts=3)
    (outcome,) = segment(other, plan([photo], out, frozenset()), out).outcomes
    assert outcome.status == "failed"
    assert "parts" in outcome.error
    assert "backbone" not in outcome.error


def test_a_missing_folder_of_features_is_told_once(folders, tmp_path):
    photos, _ = folders
    for wrong in (tmp_path / "none", photos / "val" / "0001.png", Path("x" * 300)):
        parser = RegionParser(backbone=f"precomputed:{wrong}", device="cpu")
        with refused(FeatureError, str(wrong)):
            segment(parser, plan([photos], tmp_path / "out", frozenset({".png"})), tmp_path)
        with refused(FeatureError, str(wrong)):
            parser.parse(photos / "val" / "0001.png")


def test_a_folder_of_trees_holds_no_features(tmp_path):
    RegionTree([[0, 1]], [2, 2, 2], [0, 0, 1]).save(tmp_path / "a.npz")
    with refused(SettingsError, "only trees", "no features"):
        plan([tmp_path], tmp_path / "out", FEATURE_SUFFIXES)


# -- grids that contradict the photograph ---------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "facts"),
    [
        ((384, 28, 37), ["the features come first", "transpose(1, 2, 0)", "480 x 640"]),
        ((384, 37, 37), ["the features come first"]),
        ((24, 3, 4), ["the features come first"]),
        ((37, 28, 24), ["rows and columns are exchanged", "37 x 28 patches"]),
        ((20, 60, 24), ["another photograph", "size='HEIGHTxWIDTH'"]),
    ],
)
def test_a_grid_that_contradicts_the_photograph(tmp_path, shape, facts):
    Image.new("RGB", (640, 480)).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", np.ones(shape, np.float32))
    with refused(FeatureError, str(tmp_path / "a.npy"), *facts):
        used(tmp_path, tmp_path / "a.png")


@pytest.mark.parametrize(
    "shape", [(28, 37, 6), (27, 37, 6), (28, 36, 6), (37, 37, 6), (1, 1, 1), (1, 2, 6), (2, 2, 6),
              (32, 40, 6), (480, 640, 3), (14, 18, 768), (64, 64, 64)],
)  # fmt: skip
def test_a_grid_that_rounding_padding_or_a_square_network_gives(tmp_path, shape):
    Image.new("RGB", (640, 480)).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", np.ones(shape, np.float32))
    assert used(tmp_path, tmp_path / "a.png").shape == shape


def test_an_exact_size_says_that_proportions_change(tmp_path):
    Image.new("RGB", (640, 480)).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", np.ones((37, 28, 6), np.float32))
    assert used(tmp_path, tmp_path / "a.png", size="518x392").shape == (37, 28, 6)
    tree = RegionParser(backbone=f"precomputed:{tmp_path}", size=(518, 392)).parse(
        tmp_path / "a.png"
    )
    assert tree.shape == (480, 640)


def test_our_own_record_of_the_photograph_settles_its_grid(tmp_path):
    photo = tmp_path / "a.png"
    Image.new("RGB", (640, 480)).save(photo)
    source = {"name": "a.png", "sha256": hashlib.sha256(photo.read_bytes()).hexdigest()}
    made = Features(torch.from_numpy(blocks(37, 28)), (480, 640), source, {"name": "x"})
    save_features(tmp_path / "a.safetensors", made, {"size": [518, 392]})
    parser = RegionParser(backbone=f"precomputed:{tmp_path}", device="cpu")
    assert parser.parse(photo).shape == (480, 640)


@pytest.mark.parametrize("shape", [(768, 14, 14), (384, 37, 49), (1024, 64, 64)])
def test_a_feature_file_alone_with_the_features_first(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.ones(shape, np.float32))
    with refused(FeatureError, str(tmp_path / "a.npy"), "(d, h, w)", "transpose(1, 2, 0)"):
        RegionParser(backbone="precomputed", device="cpu").parse(tmp_path / "a.npy")


# -- files that hold none -------------------------------------------------------------------------


def header(said: object, data: bytes = b"") -> bytes:
    text = said if isinstance(said, bytes) else json.dumps(said).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header({}), r"no tensor 'features' \(it has none\); .*save_file"),
        (
            header({n: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in "ab"}),
            r"no tensor 'features' \(it has a, b\)",
        ),
        (
            header({"a": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}}, b"abcd"),
            r"array \(h, w, d\) of floats, got shape \(1, 1\)",
        ),
        (
            header({"a": {"dtype": "I32", "shape": [1, 1, 1], "data_offsets": [0, 4]}}, b"abcd"),
            "of floats, got shape .* int32",
        ),
        (
            header({"a": {"dtype": "F16", "shape": [1, 1, 1], "data_offsets": [0, 2]}}, b"\0\x7e"),
            "1 of 1 patches hold NaN",
        ),
        (
            header({"a": {"dtype": "F32", "shape": [9, 9, 9], "data_offsets": [0, 2916]}}),
            "cannot be read as features",
        ),
        (header(b"{" + b"[" * 5000), "cannot be read as features"),
        (b"\xff" * 8 + b"{}", "cannot be read as features"),
        (header(b'{"a": 1'), "cannot be read as features"),
    ],
)
def test_files_that_hold_no_features(path, content, message):
    path.write_bytes(content)
    with pytest.raises(FeatureError, match=message) as caught:
        read_features(path)
    assert str(caught.value).startswith(f"{path}: ")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_file_is_a_feature_error_or_still_features(tmp_path_factory, changes):
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    save_file({"features": torch.ones(2, 3, 4)}, path)
    data = bytearray(path.read_bytes())
    for position, value in changes:
        data[position % len(data)] = value
    path.write_bytes(data)
    try:
        features, _ = read_features(path)
    except FeatureError:
        return
    assert features.ndim == 3
    assert np.isfinite(features).all()


@pytest.mark.parametrize(
    "changes",
    [{"views": 2}, {"layers": 3}, {"facet": "key"}, {"positions": "published"}, {"tiles": "own"},
     {"kernel": 140, "stride": 70}],
)  # fmt: skip
@pytest.mark.parametrize("backbone", ["precomputed", "precomputed:features"])
def test_what_only_a_network_can_be_asked_is_refused(backbone, changes):
    with refused(SettingsError, "precomputed", *list(changes)[:1]):
        RegionParser(backbone=backbone, **changes)
