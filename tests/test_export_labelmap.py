"""Label images and stacks: read back by Pillow and tifffile, pixel for pixel."""

from __future__ import annotations

import sys
import tracemalloc
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from trees import hand_tree, pixels_of, random_tree, refines, regions_of, trees

from regiontree import RegionTree
from regiontree.errors import ExportError, MissingExtraError, TreeError
from regiontree.export.labelmap import (
    to_label_image,
    to_label_stack,
    write_label_image,
    write_label_stack,
)

CRITERIA = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"n_regions": st.integers(1, 15)}),
    st.fixed_dictionaries({"height": st.floats(0, 1)}),
    st.fixed_dictionaries({"depth": st.integers(0, 6)}),
)
OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


def star(n_leaves: int) -> RegionTree:
    """A root over many leaves, in an image of 256 columns."""
    rows = -(-n_leaves // 256)
    labels = np.minimum(np.arange(rows * 256), n_leaves - 1).reshape(rows, 256)
    height = np.append(np.zeros(n_leaves), 1.0)
    return RegionTree(labels=labels, parents=np.full(n_leaves + 1, n_leaves), height=height)


@pytest.fixture
def tree() -> RegionTree:
    return random_tree(np.random.default_rng(3), 40, (30, 50))


# -- one cut --------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(tree=trees(), cut=CRITERIA)
def test_region_j_plus_1_is_the_jth_node_of_the_cut(tree, cut):
    image = to_label_image(tree, **cut)
    pixels = pixels_of(tree)
    nodes = tree.cut_nodes(**cut)
    assert image.dtype == np.uint16
    assert image.shape == tree.shape
    for number, node in enumerate(nodes.tolist(), 1):
        assert frozenset(np.flatnonzero(image == number).tolist()) == pixels[node]
    assert image.min() == 1
    assert image.max() == len(nodes)


def test_without_a_criterion_the_cut_is_the_natural_one():
    tree = hand_tree()
    natural = RegionTree(tree.labels, tree.parents, tree.height, meta={"natural_height": 0.5})
    assert to_label_image(natural).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]
    assert to_label_image(tree).max() == 4


def test_sixteen_bits_hold_65535_regions_and_no_more():
    image = to_label_image(star(65_535))
    assert image[0, 0] == 1
    assert image[-1, -1] == 65_535
    with pytest.raises(ExportError, match=r"65,535 regions, this cut has 65,536; cut coarser"):
        to_label_image(star(65_536))
    assert to_label_image(star(65_536), n_regions=65_535).max() == 1


@pytest.mark.parametrize("name", ["photo.png", "photo.TIF", "Übersicht – 表.tiff"])
def test_an_image_read_by_pillow_and_tifffile(tree, tmp_path, name):
    tifffile = pytest.importorskip("tifffile")
    path = write_label_image(tree, tmp_path / "out" / name, n_regions=12)
    assert path == tmp_path / "out" / name
    with Image.open(path) as image:
        assert image.mode == "I;16"
        assert np.array_equal(np.asarray(image), tree.cut(n_regions=12) + 1)
    if path.suffix != ".png":
        assert np.array_equal(tifffile.imread(path), tree.cut(n_regions=12) + 1)
        assert tifffile.imread(path).dtype == np.uint16
    assert path.stat().st_size < 2 * tree.labels.size, "compressed"
    assert [file.name for file in path.parent.iterdir()] == [name]


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_images_one_pixel_high_or_wide(shape, tmp_path):
    tree = random_tree(np.random.default_rng(0), min(4, shape[0] * shape[1]), shape)
    for suffix in (".png", ".tif"):
        with Image.open(write_label_image(tree, tmp_path / f"a{suffix}", height=0)) as image:
            assert np.array_equal(np.asarray(image), tree.cut(height=0) + 1)


def test_a_wrong_suffix_or_criterion_writes_nothing(tree, tmp_path):
    with pytest.raises(ExportError, match=r"a\.jpg: a label image is written as \.png, \.tif"):
        write_label_image(tree, tmp_path / "a.jpg")
    with pytest.raises(TreeError, match="one of n_regions, height, depth and contrast"):
        write_label_image(tree, tmp_path / "a.png", n_regions=2, depth=1)
    assert not list(tmp_path.iterdir())


# -- stacks ---------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(tree=trees(), granularities=st.lists(st.integers(1, 15), min_size=1, max_size=6))
def test_pages_run_from_coarse_to_fine_each_cut_once(tree, granularities):
    stack = to_label_stack(tree, granularities=granularities)
    cuts = [tree.cut(n_regions=count) for count in sorted(granularities)]
    assert {page.tobytes() for page in stack} == {
        (cut + 1).astype(np.uint16).tobytes() for cut in cuts
    }
    counts = stack.max(axis=(1, 2)).tolist()
    assert counts == sorted(set(counts))
    for coarse, fine in zip(stack, stack[1:], strict=False):
        assert refines(regions_of(fine), regions_of(coarse))


def test_a_tree_of_one_region_has_a_stack_of_one_page():
    tree = RegionTree(np.zeros((2, 3), int), np.array([0]), np.array([0.0]))
    assert to_label_stack(tree).tolist() == [[[1, 1, 1], [1, 1, 1]]]


def test_an_imagej_stack_has_a_labelled_slice_for_each_cut(tree, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    path = write_label_stack(tree, tmp_path / "ä.tif", granularities=(16, 2, 8, 40, 64))
    stack = to_label_stack(tree, granularities=(2, 8, 16, 40))
    with tifffile.TiffFile(path) as file:
        (series,) = file.series
        assert file.is_imagej
        assert series.axes == "ZYX"
        assert np.array_equal(series.asarray(), stack)
        counts = stack.max(axis=(1, 2))
        assert file.imagej_metadata["Labels"] == [f"{count} regions" for count in counts]
        assert file.imagej_metadata["max"] == 40
        for page in file.pages:
            # ImageJ undoes a predictor only under LZW: one here would give it wrong numbers.
            assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
            assert page.predictor == tifffile.PREDICTOR.NONE
    with Image.open(path) as image:
        assert image.n_frames == len(stack)
        for k in range(image.n_frames):
            image.seek(k)
            assert np.array_equal(np.asarray(image), stack[k])


@pytest.mark.parametrize("name", ["a.ome.tif", "a.OME.TIFF"])
def test_an_ome_stack_has_a_named_channel_for_each_cut(tree, tmp_path, name):
    tifffile = pytest.importorskip("tifffile")
    path = write_label_stack(tree, tmp_path / name, granularities=(1, 4, 9))
    stack = to_label_stack(tree, granularities=(1, 4, 9))
    with tifffile.TiffFile(path) as file:
        (series,) = file.series
        assert series.axes == "CYX"
        assert np.array_equal(series.asarray(), stack)
        pixels = ElementTree.fromstring(file.ome_metadata).find(f".//{OME}Pixels")
        assert len(file.pages) == len(stack)
    names = [channel.get("Name") for channel in pixels.iter(f"{OME}Channel")]
    assert names[0] == "1 region"
    assert names[1:] == [f"{page.max()} regions" for page in stack[1:]]
    sizes = {axis: int(pixels.get(f"Size{axis}")) for axis in "XYCZT"}
    assert sizes == {"X": 50, "Y": 30, "C": len(stack), "Z": 1, "T": 1}
    assert pixels.get("Type") == "uint16"


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_equal_trees_give_equal_bytes_and_others_do_not(tree, tmp_path, name):
    pytest.importorskip("tifffile")
    first = write_label_stack(tree, tmp_path / "1" / name).read_bytes()
    again = write_label_stack(tree, tmp_path / "2" / name).read_bytes()
    other = random_tree(np.random.default_rng(4), 40, (30, 50))
    assert first == again
    assert first != write_label_stack(other, tmp_path / "3" / name).read_bytes()


def test_a_stack_beyond_four_gigabytes_is_a_bigtiff(tree, tmp_path, monkeypatch):
    tifffile = pytest.importorskip("tifffile")
    monkeypatch.setattr("regiontree.export.labelmap.MAX_CLASSIC_TIFF", 1000)
    path = write_label_stack(tree, tmp_path / "a.ome.tif", granularities=(4, 8))
    with tifffile.TiffFile(path) as file:
        assert file.is_bigtiff
        assert np.array_equal(file.asarray(), to_label_stack(tree, granularities=(4, 8)))


def test_pages_are_written_one_by_one(tmp_path):
    pytest.importorskip("tifffile")
    labels = np.arange(2_000_000).reshape(1000, 2000) // 50_000
    fine = RegionTree(labels, np.append(np.repeat(np.arange(40, 60), 2), [60] * 21),
                      np.r_[np.zeros(40), np.linspace(0.1, 0.9, 20), 1])  # fmt: skip
    counts = tuple(range(20, 41))
    write_label_stack(fine, tmp_path / "warm.tif", granularities=(1,))
    tracemalloc.start()
    write_label_stack(fine, tmp_path / "a.tif", granularities=counts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.4 * len(counts) * 2 * labels.size


def test_wrong_granularities_and_suffixes_write_nothing(tree, tmp_path):
    pytest.importorskip("tifffile")
    with pytest.raises(ExportError, match="granularities is empty"):
        to_label_stack(tree, granularities=())
    with pytest.raises(TreeError, match="n_regions must be a number of at least 1, got 0"):
        write_label_stack(tree, tmp_path / "a.tif", granularities=(4, 0))
    with pytest.raises(ExportError, match=r"a\.png: a label stack is written as \.tif"):
        write_label_stack(tree, tmp_path / "a.png")
    with pytest.raises(ExportError, match="65,536"):
        write_label_stack(star(65_536), tmp_path / "a.tif", granularities=(70_000,))
    assert not list(tmp_path.iterdir())


def test_without_tifffile_one_line_says_what_to_install(tree, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'regiontree\[export\]'"):
        write_label_stack(tree, tmp_path / "a.tif")
