"""supervision takes the records of the mask generator unchanged, and Detections of a tree."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from regiontree import AutomaticMaskGenerator
from regiontree.errors import ExportError

ROOT = Path(__file__).resolve().parents[2]
PHOTO = ROOT / "examples" / "astronaut.jpg"
sys.path.insert(0, str(ROOT / "tests"))
from trees import hand_tree, random_tree  # noqa: E402


@pytest.fixture(scope="module")
def image():
    """(H, W, 3) uint8, RGB."""
    with Image.open(PHOTO) as photo:
        return np.asarray(photo.convert("RGB"))


@pytest.fixture(scope="module")
def generator():
    pytest.importorskip("onnx")
    return AutomaticMaskGenerator("fast", masks=40)


@pytest.fixture(scope="module")
def tree(generator, image):
    return generator.tree(image)


def test_from_sam_takes_the_records_unchanged(generator, tree, image):
    records = generator.generate(image)
    detections = sv.Detections.from_sam(records)
    assert len(detections) == len(records) == 40
    by_area = sorted(records, key=lambda record: record["area"], reverse=True)
    for mask, record in zip(detections.mask, by_area, strict=True):
        assert np.array_equal(mask, tree.mask(record["node"]))
    # supervision's own boxes of these masks
    assert np.array_equal(detections.xyxy, sv.mask_to_xyxy(detections.mask))
    assert np.array_equal(detections.area, [record["area"] for record in by_area])


@pytest.mark.parametrize("mode", ["uncompressed_rle", "coco_rle"])
def test_from_sam_takes_run_lengths(tree, mode):
    dense = sv.Detections.from_sam(tree.to_sam(masks=20))
    coded = sv.Detections.from_sam(tree.to_sam(masks=20, output_mode=mode))
    assert np.array_equal(dense.mask, coded.mask)
    assert np.array_equal(dense.xyxy, coded.xyxy)


def test_an_image_of_one_colour_has_no_detections(generator):
    records = generator.generate(np.zeros((64, 64, 3), np.uint8))
    assert len(sv.Detections.from_sam(records)) == 0
    tree = generator.tree(np.zeros((64, 64, 3), np.uint8))
    for compact in (False, True):
        empty = tree.to_supervision(compact=compact)
        assert len(empty) == 0
        assert len(empty[empty.data["depth"] == 1]) == 0


def test_detections_carry_the_tree(tree):
    found = tree.to_supervision(masks=30)
    assert len(found) == 30
    assert np.all(np.diff(found.confidence) <= 0)
    node = found.data["node"]
    for number in range(len(found)):
        assert np.array_equal(found.mask[number], tree.mask(node[number]))
    assert np.array_equal(found.data["height"], tree.height[node].astype(float))
    assert np.array_equal(found.data["depth"], tree.level[node])
    assert np.array_equal(found.data["stability"], tree.stability[node].astype(float))
    assert np.array_equal(found.xyxy, sv.mask_to_xyxy(found.mask))
    parent = found.data["parent"]
    assert (parent >= 0).any()
    for one, above in zip(node, parent, strict=True):
        chosen = [up for up in tree.ancestors(int(one)) if up in node]
        assert above == (chosen[0] if chosen else -1)


def test_detections_are_filtered_and_sliced(tree):
    found = tree.to_supervision(n_regions=12, all_nodes=True)
    deep = found[found.data["depth"] >= 3]
    assert 0 < len(deep) < len(found)
    assert set(deep.data["node"]) == {n for n in found.data["node"] if tree.level[n] >= 3}
    assert np.array_equal(deep.mask[0], tree.mask(int(deep.data["node"][0])))


def test_compact_masks_are_the_same_masks(tree):
    dense = tree.to_supervision(masks=30)
    small = tree.to_supervision(masks=30, compact=True)
    assert isinstance(small.mask, sv.CompactMask)
    assert np.array_equal(np.asarray(small.mask), dense.mask)
    assert np.array_equal(small.area, dense.area)
    rng = np.random.default_rng(0)
    for shape in ((1, 9), (9, 1), (7, 8)):
        scattered = random_tree(rng, 6, shape)
        both = (scattered.to_supervision(all_nodes=True, compact=one) for one in (False, True))
        one, other = both
        assert np.array_equal(one.mask, np.asarray(other.mask))


def test_a_tree_without_stability_has_nan():
    assert np.isnan(hand_tree().to_supervision().data["stability"]).all()


def test_masks_beyond_the_memory_are_refused(tree):
    with pytest.raises(ExportError, match=r"30 binary masks of 512 x 512 .* compact=True"):
        tree.to_supervision(masks=30, max_bytes=10**6)
    assert len(tree.to_supervision(masks=30, max_bytes=10**6, compact=True)) == 30


@pytest.mark.parametrize("compact", [False, True])
def test_annotators_draw_them(tree, image, compact):
    found = tree.to_supervision(n_regions=8, compact=compact)
    scene = image[:, :, ::-1].copy()
    index = sv.ColorLookup.INDEX
    drawn = sv.MaskAnnotator(color_lookup=index, opacity=1.0).annotate(scene.copy(), found)
    # A cut covers the image: each region has the colour of its number, and nothing is left over.
    for number in range(len(found)):
        mask = np.asarray(found.mask[number])
        assert len(np.unique(drawn[mask], axis=0)) == 1
    outlined = sv.PolygonAnnotator(color_lookup=index).annotate(scene.copy(), found)
    labels = [f"{node}" for node in found.data["node"]]
    written = sv.LabelAnnotator(color_lookup=index).annotate(scene.copy(), found, labels=labels)
    assert not np.array_equal(outlined, scene)
    assert not np.array_equal(written, scene)


def test_the_page_runs_as_written(tmp_path, monkeypatch):
    """Its blocks of Python in their order; those that need supervision are marked as py."""
    pytest.importorskip("onnx")
    page = (ROOT / "docs" / "how-to" / "sam.md").read_text(encoding="utf-8")
    shutil.copy(PHOTO, tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"```(?:python|py)\n(.*?)```", page, flags=re.S)
    assert any("import supervision" in block for block in blocks)
    for block in blocks:
        exec(compile(block, "sam.md", "exec"), names)  # our own file
    assert names["drawn"].shape == (512, 512, 3)
    assert 0 < len(names["top"]) < len(names["detections"])
    assert 0 < len(names["sure"]) < len(names["detections"])
