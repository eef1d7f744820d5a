"""Feature files as safetensors: our own and anybody's. NumPy's are in test_features_bad.py."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import blocks
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from regiontree import RegionParser
from regiontree.backbones.featurefile import Features, load_features, save_features
from regiontree.backbones.precomputed import FEATURE_SUFFIXES, find_features, read_features
from regiontree.errors import FeatureError
from regiontree.refine import Guided


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
    save_features(path, Features(features, (96, 96), {"name": "a"}, {"name": "x"}), {"views": 4})
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
    np.save(path.with_suffix(".npy"), blocks(4, 5, 6))
    assert find_features(tmp_path, photo).suffix == ".npy"
    assert {".npy", ".npz", ".safetensors"} == FEATURE_SUFFIXES


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
