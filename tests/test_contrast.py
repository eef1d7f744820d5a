"""The contrast of a photograph, and cuts by it."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize
from typer.testing import CliRunner

from regiontree import RegionParser, RegionTree
from regiontree.cli import app
from regiontree.errors import TreeError
from regiontree.spectral import contrast as module
from regiontree.spectral.contrast import photo_contrast


def features(h: int, w: int, d: int = 16, seed: int = 0) -> torch.Tensor:
    """Three bands of patches that are alike, with some noise."""
    chance = torch.Generator().manual_seed(seed)
    base = torch.randn(3, d, generator=chance)
    bands = base[torch.arange(h) * 3 // h][:, None].expand(h, w, d)
    return normalize(bands + 0.3 * torch.randn(h, w, d, generator=chance), dim=-1)


def by_hand(rows: np.ndarray, there: np.ndarray) -> float:
    """The formula, one patch and one pair at a time."""
    h, w, _ = rows.shape
    mean = np.mean([rows[y, x] for y in range(h) for x in range(w) if there[y, x]], axis=0)
    logs = []
    for y, x in itertools.product(range(h), range(w)):
        for other in ((y + 1, x), (y, x + 1)):
            if other[0] < h and other[1] < w and there[y, x] and there[other]:
                logs.append(math.log(max(1e-6, 1 - float(rows[y, x] @ rows[other]))))
    return float(((1 - mean @ mean) / (60 * math.exp(np.mean(logs)))) ** 0.25)


@pytest.mark.parametrize("size", [(5, 7), (1, 6), (6, 1), (2, 2)])
def test_it_is_the_formula(size: tuple[int, int]) -> None:
    given = features(*size)
    everywhere = np.ones(size, bool)
    assert photo_contrast(given) == pytest.approx(
        by_hand(given.double().numpy(), everywhere), abs=1e-4
    )


def test_patches_that_are_not_there_do_not_count() -> None:
    given = features(6, 8)
    there = torch.ones(6, 8, dtype=torch.bool)
    there[:2, 3:] = there[4, 1] = False
    wrong = given.clone()
    wrong[~there] = 5.0
    found = photo_contrast(wrong, there)
    assert found == pytest.approx(by_hand(given.double().numpy(), there.numpy()), abs=1e-4)
    assert found != photo_contrast(given)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    given = features(9, 5)
    whole = photo_contrast(given)
    for entries in (1, 5 * 16 * 2, 5 * 16 * 4):
        monkeypatch.setattr(module, "_BLOCK_ENTRIES", entries)
        assert photo_contrast(given) == whole


def test_more_noise_is_less_contrast() -> None:
    chance = torch.Generator().manual_seed(1)
    noise = torch.randn(8, 8, 16, generator=chance)
    plain = torch.zeros(8, 8, 16)
    plain[:, :4, 0] = plain[:, 4:, 1] = 1.0
    found = [photo_contrast(normalize(plain + share * noise, dim=-1)) for share in (0.02, 0.1, 0.3)]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1] > 0


def test_one_patch_and_equal_patches_have_one_too() -> None:
    assert photo_contrast(normalize(torch.ones(1, 1, 4), dim=-1)) == 1.0
    assert 0 < photo_contrast(normalize(torch.ones(4, 4, 4), dim=-1)) < math.inf


def test_a_tree_is_cut_by_contrast() -> None:
    rows = features(12, 12, 32)
    tree = RegionParser(parts=30, tree="ward").build(rows)
    assert tree.meta["contrast"] == tree.contrast > 0
    for level in (0.0, 0.1, 0.4, 2.0):
        nodes = tree.cut_nodes(contrast=level)
        assert nodes.tolist() == tree.cut_nodes(height=level / tree.contrast).tolist()
        assert np.array_equal(tree.cut(contrast=level), tree.cut(height=level / tree.contrast))
        assert tree.prune(contrast=level).n_leaves == len(nodes)


def test_a_photograph_without_data_has_a_contrast() -> None:
    rows = features(4, 4)
    tree = RegionParser(tree="ward").build(rows, valid=np.zeros((4, 4), bool))
    assert tree.contrast == 1.0
    assert tree.cut_nodes(contrast=0.3).tolist() == [0]


def test_exports_of_a_folder_are_cut_by_one_contrast(tmp_path: Path) -> None:
    parser = RegionParser(parts=30, tree="ward")
    counts = set()
    for seed in range(3):
        rows = features(12, 12, 32, seed)
        noisy = normalize(rows + 0.3 * seed * features(12, 12, 32, seed + 10), dim=-1)
        parser.build(noisy).save(tmp_path / f"trees/{seed}.npz")
    words = ["export", str(tmp_path / "trees"), "--contrast", "0.2", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*words, "--to", "labels-png"])
    assert result.exit_code == 0, result.output
    for seed in range(3):
        tree = RegionTree.load(tmp_path / f"trees/{seed}.npz")
        found = np.asarray(Image.open(tmp_path / f"out/{seed}.labels.png"))
        assert np.array_equal(found, 1 + tree.cut(height=0.2 / tree.contrast))
        counts.add(found.max())
    assert len(counts) > 1
    tree = RegionTree.load(tmp_path / "trees/0.npz")
    number = len(tree.cut_nodes(contrast=0.2))
    assert len(tree.to_coco(contrast=0.2)["annotations"]) == number
    assert len(tree.to_geojson(contrast=0.2)["features"]) == number
    assert len(tree.to_panoptic(contrast=0.2)[0]["annotations"][0]["segments_info"]) == number


def test_trees_without_contrast_say_what_to_do() -> None:
    labels, parents, height = [[0, 1]], [2, 2, 2], [0, 0, 1]
    tree = RegionTree(np.array(labels), np.array(parents), np.array(height))
    with pytest.raises(TreeError, match="no contrast; make it again, or cut it by height"):
        tree.cut(contrast=0.5)
    for wrong in (0, -1.0, "high", [1]):
        bad = RegionTree(
            np.array(labels), np.array(parents), np.array(height), meta={"contrast": wrong}
        )
        with pytest.raises(TreeError, match="contrast in meta must be a number above 0"):
            bad.cut_nodes(contrast=0.5)
    with pytest.raises(TreeError, match="one of n_regions, height, depth and contrast"):
        tree.cut(contrast=0.5, height=0.5)
    with pytest.raises(TreeError, match="prune: give min_area or one criterion"):
        tree.prune(contrast=0.5, min_area=3)
