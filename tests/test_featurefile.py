"""Cached features: what is written comes back, and nothing else passes for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from regiontree.backbones.featurefile import (
    Features,
    load_features,
    read_features_meta,
    save_features,
)
from regiontree.errors import FeatureError

SETTINGS = {"size": [56, 56], "dtype": "float32"}


def features(scale: float = 1.0) -> Features:
    patches = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(0)) * scale
    return Features(patches, (56, 70), {"name": "a.jpg", "sha256": "ab"}, {"name": "net"})


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.safetensors"
    save_features(path, features(), SETTINGS)
    back = load_features(path)
    assert back.patches.dtype == torch.float16
    assert torch.equal(back.patches, features().patches.half())
    assert (back.image_size, back.source, back.backbone) == (
        (56, 70),
        {"name": "a.jpg", "sha256": "ab"},
        {"name": "net"},
    )
    assert read_features_meta(path)["settings"] == SETTINGS
    assert path.stat().st_size < 4 * 5 * 6 * 2 + 600  # half precision, and a header


def test_half_precision_keeps_directions() -> None:
    patches = torch.randn(1000, 384, generator=torch.Generator().manual_seed(1)) * 3
    cosine = torch.nn.functional.cosine_similarity(patches, patches.half().float(), dim=1)
    assert float(cosine.min()) > 1 - 1e-6


@pytest.mark.parametrize("value", [1e6, np.nan, np.inf])
def test_values_that_half_precision_cannot_hold_are_refused(tmp_path: Path, value: float) -> None:
    bad = features()
    bad.patches[0, 0, 0] = value
    with pytest.raises(FeatureError, match="not finite as float16"):
        save_features(tmp_path / "a.safetensors", bad, SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_damage_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_features(path, features(), SETTINGS)
    whole = path.read_bytes()
    for cut in (0, 4, 8, 60, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(FeatureError, match=r"a\.safetensors: damaged or not a feature file"):
            read_features_meta(path)
    for start in (b"\xff" * 8, b"PK\x03\x04junk", b"\x02\0\0\0\0\0\0\0[]"):
        path.write_bytes(start)
        with pytest.raises(FeatureError, match="damaged or not a feature file"):
            load_features(path)


def test_not_finite_on_disk_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_features(path, features(), SETTINGS)
    data = bytearray(path.read_bytes())
    data[-2:] = b"\x00\x7c"  # infinity in float16
    path.write_bytes(bytes(data))
    with pytest.raises(FeatureError, match="not finite"):
        load_features(path)


def test_a_file_that_does_not_say_what_it_is_of_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_features(path, features(), SETTINGS)
    path.write_bytes(path.read_bytes().replace(b'\\"source\\"', b'\\"sauce_\\"'))
    with pytest.raises(FeatureError, match="does not say what it was made from"):
        read_features_meta(path)


def test_other_versions_and_absent_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_features(path, features(), SETTINGS)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'format_version\\": 1', b'format_version\\": 7'))
    with pytest.raises(FeatureError, match="version 7"):
        read_features_meta(path)
    with pytest.raises(FeatureError, match=r"none\.safetensors: cannot be read"):
        load_features(tmp_path / "none.safetensors")
