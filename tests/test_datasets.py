"""Data sets: every layout pairs the right files, and what is missing is told, not tripped over."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT
from PIL import Image
from test_masks import box, png, save_bsds, save_pascal_part

from regiontree.datasets.catalog import CATALOGUE, check_dataset, entry, open_dataset, spec_of
from regiontree.datasets.labels import load_label_tree
from regiontree.datasets.published import published_dataset
from regiontree.datasets.spec import DatasetSpec
from regiontree.errors import ConfigError, DataError
from regiontree.system.reading import validated

SUBSETS = sorted((ROOT / "benchmarks" / "subsets").glob("*.yaml"))
RGB = np.zeros((2, 3, 3), np.uint8)
IDS = np.array([[0, 1, 1], [2, 2, 255]], np.uint8)


def fill(folder: Path, *names: str, array: np.ndarray = RGB) -> None:
    for name in names:
        png(folder / name, array)


def listing(file: Path, *ids: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(ids) + "\n")


def ids_of(dataset) -> list[str]:
    return [sample.id for sample in dataset.samples]


@pytest.fixture
def voc(tmp_path) -> Path:
    """VOC 2012 with two images in the list of val, one elsewhere."""
    root = tmp_path / "voc12"
    base = root / "VOCdevkit/VOC2012"
    fill(base / "JPEGImages", "2007_b.jpg", "2007_a.jpg", "2007_c.jpg")
    fill(base / "SegmentationClass", "2007_a.png", "2007_b.png", "2007_c.png", array=IDS)
    listing(base / "ImageSets/Segmentation/val.txt", "2007_b", "2007_a")
    return root


# -- layouts of the catalogue ---------------------------------------------------------------------


def test_voc(voc):
    dataset = open_dataset("voc12", "val", voc)
    assert ids_of(dataset) == ["2007_a", "2007_b"]
    assert dataset.labels.name == "voc12"
    assert dataset.truth(dataset.samples[0]).tolist() == IDS.tolist()
    assert dataset.problems == ("2 images were found, but the complete split has 1449",)


def coco(root: Path) -> Path:
    base = root / "dataset"
    fill(base / "images/val2017", "000000000139.jpg", "000000000285.jpg")
    fill(base / "annotations/val2017", "000000000139.png", "000000000285.png", array=IDS)
    rgb = np.array([[(0, 0, 0), (1, 1, 0), (1, 1, 0)]], np.uint8)
    fill(base / "annotations/panoptic_val2017", "000000000139.png", array=rgb)
    segments = [{"id": 257, "category_id": 18}]
    panoptic = {
        "annotations": [{"file_name": "000000000139.png", "segments_info": segments}],
        "categories": [{"id": 18, "name": "dog", "supercategory": "animal", "isthing": 1}],
    }
    (base / "annotations/panoptic_val2017.json").write_text(json.dumps(panoptic))
    return root


@pytest.mark.parametrize("kind", ["things", "stuff", "stuffthings"])
def test_coco(tmp_path, kind):
    dataset = open_dataset("coco", f"val_{kind}", coco(tmp_path))
    assert ids_of(dataset) == ["000000000139", "000000000285"]
    assert dataset.labels.name == f"coco_{kind}"
    assert dataset.truth(dataset.samples[1]).tolist() == IDS.tolist()


def test_cocostuff_has_the_files_of_coco(tmp_path):
    assert len(open_dataset("cocostuff", "val", coco(tmp_path))) == 2


def test_coco_panoptic(tmp_path):
    dataset = open_dataset("coco", "val_panoptic", coco(tmp_path))
    assert ids_of(dataset) == ["000000000139"]
    truth = dataset.truth(dataset.samples[0])
    assert truth.tolist() == [[0, 18, 18]]
    assert dataset.labels.classes().of(truth[0, :2]).tolist() == [-1, 2]
    assert dataset.labels.classes().names[2] == "thing--animal--dog"
    (missing,) = dataset.problems
    assert missing.startswith("1 of 2 images have no mask in")
    assert missing.endswith("panoptic_val2017: 000000000285")


def test_panoptic_without_its_json(tmp_path):
    (coco(tmp_path) / "dataset/annotations/panoptic_val2017.json").unlink()
    dataset = open_dataset("coco", "val_panoptic", tmp_path)
    assert len(dataset) == 0
    assert "panoptic_val2017.json does not exist" in dataset.problems[-1]


def test_cityscapes_cities_and_endings(tmp_path):
    images, masks = (tmp_path / "dataset" / kind / "val" for kind in ("leftImg8bit", "gtFine"))
    for name in ("aachen/aachen_000000_000019", "zurich/zurich_000001_000019"):
        fill(images, f"{name}_leftImg8bit.png")
        fill(masks, f"{name}_gtFine_labelIds.png", array=IDS)
        fill(masks, f"{name}_gtFine_color.png", f"{name}_gtFine_instanceIds.png")
    dataset = open_dataset("cityscapes", "val", tmp_path)
    assert ids_of(dataset) == ["aachen/aachen_000000_000019", "zurich/zurich_000001_000019"]
    assert dataset.samples[0].masks[0].name == "aachen_000000_000019_gtFine_labelIds.png"
    assert dataset.truth(dataset.samples[0]).tolist() == IDS.tolist()


def test_kitti_step_split_is_what_has_masks(tmp_path):
    fill(tmp_path / "STEP/training/image_02", "0000/000000.png", "0002/000000.png")
    maps = tmp_path / "STEP/kitti-step"
    fill(maps / "semantic_maps/val", "0002/000000.png", array=IDS)
    fill(maps / "panoptic_maps/val", "0002/000000.png", array=np.dstack([IDS, IDS * 0, IDS]))
    for split in ("val", "val_panoptic"):
        dataset = open_dataset("kitti_step", split, tmp_path)
        assert ids_of(dataset) == ["0002/000000"]
        assert dataset.truth(dataset.samples[0]).tolist() == IDS.tolist()
        assert dataset.problems == ("1 images were found, but the complete split has 2981",)


def test_partimagenet(tmp_path):
    fill(tmp_path / "PartImageNet/images/val", "n01440764_10029.JPEG", "n02071294_1.JPEG")
    for folder in ("val", "val_idx"):
        names = ("n01440764_10029.png", "n02071294_1.png")
        fill(tmp_path / "PartImageNet/annotations" / folder, *names, array=IDS)
    for split, tree in (("val", "partimagenet"), ("val_158", "partimagenet158")):
        dataset = open_dataset("partimagenet", split, tmp_path)
        assert (len(dataset), dataset.labels.name, dataset.problems) == (2, tree, ())


def test_potsdam_colours(tmp_path):
    fill(tmp_path / "2_Ortho_RGB", "top_potsdam_2_10_RGB.tif")
    colours = [(255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0)]
    row = np.array([[*colours, (255, 0, 0), (0, 0, 0)]], np.uint8)
    fill(tmp_path / "5_Labels_all", "top_potsdam_2_10_label.tif", array=row)
    dataset = open_dataset("potsdam", "original", tmp_path)
    assert ids_of(dataset) == ["top_potsdam_2_10"]
    truth = dataset.truth(dataset.samples[0])
    assert truth.tolist() == [[0, 1, 2, 3, 4, 5, 255]]
    names = [dataset.labels.names[i] for i in truth[0].tolist()]
    assert names == ["roads", "buildings", "vegetation", "tree", "car", "clutter", "unlabeled"]


UNSUPERVISED = [  # data set, split, depth of the label tree, number of classes, value: class
    ("cityscapes", "val_27", 2, 27, {7: "flat--road", 9: "flat--parking", 33: "vehicle--bicycle"}),
    ("cityscapes", "train_27", 2, 27, {31: "vehicle--train"}),
    ("potsdam", "original_3", 1, 3, {0: "roads and cars", 4: "roads and cars"}),
    ("potsdam", "train_3", 1, 3, {1: "buildings and clutter", 5: "buildings and clutter"}),
    ("potsdam", "train_tile_3", 1, 3, {2: "vegetation and trees", 3: "vegetation and trees"}),
    ("cocostuff", "val_27", 3, 27, {8: "things--outdoor-super-things--vehicle-things"}),
    ("cocostuff", "train_27", 3, 27, {181: "stuff--outdoor-super-stuff--solid-stuff"}),
    ("voc12", "val", 1, 21, {0: "background", 15: "person"}),
]


@pytest.mark.parametrize(("name", "split", "depth", "number", "some"), UNSUPERVISED)
def test_classes_of_unsupervised_segmentation(name, split, depth, number, some):
    spec = spec_of(name, split)
    classes = load_label_tree(spec.labels).classes(depth)
    assert len(classes) == number
    assert {value: classes.names[classes.class_of_id[value]] for value in some} == some
    plain = spec_of(name, split.removesuffix("_27").removesuffix("_3"))
    assert (spec.masks, spec.format, spec.colours) == (plain.masks, plain.format, plain.colours)
    assert (spec.images.dir, spec.images.strip) == (plain.images.dir, plain.images.strip)


def test_void_of_cityscapes_is_ignored_with_27_classes_too():
    wide, narrow = (load_label_tree(name).classes() for name in ("cityscapes27", "cityscapes"))
    assert wide.ignored == {-1, *range(7)}
    assert {9, 10, 14, 15, 16, 18, 29, 30} == narrow.ignored - wide.ignored


def test_the_curated_images_of_coco_stuff(tmp_path):
    base = coco(tmp_path) / "dataset"
    listing(base / "curated/val2017/Coco164kFull_Stuff_Coarse_7.txt", "000000000285")
    dataset = open_dataset("cocostuff", "val_27", tmp_path)
    assert ids_of(dataset) == ["000000000285"]
    assert dataset.problems == ("1 images were found, but the complete split has 2175",)


def test_bsds_annotators(tmp_path):
    data = tmp_path / "BSR/BSDS500/data"
    fill(data / "images/val", "8068.jpg")
    (data / "images/val/Thumbs.db").write_bytes(b"as in the archive")
    annotators = [IDS.astype(int) + k for k in (1, 2)]
    save_bsds(data / "groundTruth/val/8068.mat", annotators)
    dataset = open_dataset("bsds500", "val", tmp_path)
    (sample,) = dataset.samples
    found = dataset.truths(sample)
    assert [truth.tolist() for truth in found] == [one.tolist() for one in annotators]
    assert dataset.labels is None
    with pytest.raises(DataError, match="8068 has 2 annotators; use truths"):
        dataset.truth(sample)


def test_bsds_as_images_in_the_annotators_order(tmp_path):
    fill(tmp_path / "images", "8068.jpg")
    for k in (10, 9, 0):
        fill(tmp_path / "masks", f"8068_a{k}.png", array=IDS * 0 + np.uint8(k))
    given = {"images": "images", "masks": "masks", "format": "bsds"}
    dataset = open_dataset(validated(DatasetSpec, given, "test"), root=tmp_path)
    (sample,) = dataset.samples
    assert [int(truth[0, 0]) for truth in dataset.truths(sample)] == [0, 9, 10]


def test_pascal_part(tmp_path):
    fill(tmp_path / "VOCdevkit/VOC2010/JPEGImages", "2008_000002.jpg", "2008_000003.jpg")
    whole = box(slice(None), slice(None))
    parts = [("screen", box(slice(0, 2), slice(None)))]
    file = tmp_path / "Pascal-Part/Annotations_Part/2008_000002.mat"
    save_pascal_part(file, [("tvmonitor", whole, parts)])
    dataset = open_dataset("pascalpart", "trainval_mat", tmp_path)
    assert ids_of(dataset) == ["2008_000002"]
    found = np.unique(dataset.truth(dataset.samples[0])).tolist()
    assert [dataset.labels.names[i] for i in found] == ["tvmonitor--screen", "unlabeled"]


ALL_SPLITS = [(name, split) for name in CATALOGUE for split in entry(name).splits]


@pytest.mark.parametrize(("name", "split"), ALL_SPLITS)
def test_each_split_can_be_planned_without_its_files(name, split, tmp_path):
    dataset = open_dataset(name, split, tmp_path)
    assert (dataset.name, dataset.split, len(dataset)) == (name, split, 0)
    told = check_dataset(name, split, tmp_path)
    folder = tmp_path / dataset.spec.images.dir
    assert told[0] == f"images: folder {folder} cannot be listed (it does not exist)"
    assert any(line.startswith("get ") and str(tmp_path) in line for line in told)


def test_the_catalogue_keeps_the_published_layout():
    """Users of the published code have these folders already."""
    assert entry("voc12").root == Path("datasets/voc12")
    assert entry("coco").root / spec_of("coco", "val_things").masks.dir == Path(
        "datasets/cocostuff/dataset/annotations/val2017"
    )
    assert entry("kitti_step").root / spec_of("kitti_step").images.dir == Path(
        "datasets/KITTI/STEP/training/image_02"
    )


# -- what is missing ------------------------------------------------------------------------------


def test_complete_is_silent(voc):
    spec = spec_of("voc12", "val").model_copy(update={"expected": 2})
    assert check_dataset(spec, root=voc) == []


def test_problems_are_told_and_the_rest_goes_on(voc):
    base = voc / "VOCdevkit/VOC2012"
    names = ["2007_a", "2007_b", "2007_c", "gone1", "gone2", "gone3", "gone4"]
    listing(base / "ImageSets/Segmentation/val.txt", *names)
    (base / "SegmentationClass/2007_b.png").unlink()
    dataset = open_dataset("voc12", "val", voc)
    assert ids_of(dataset) == ["2007_a", "2007_c"]
    assert dataset.problems == (
        f"4 of 7 listed images are not in {base}/JPEGImages: gone1, gone2, gone3 and 1 more",
        f"1 of 7 images have no mask in {base}/SegmentationClass: 2007_b",
    )


def test_masks_without_images_are_told_where_no_list_names_them(tmp_path):
    fill(tmp_path / "images", "a.jpg", "b.jpg")
    fill(tmp_path / "masks", "a.png", "c.png", array=IDS)
    given = {"images": "images", "masks": "masks", "labels": "voc12"}
    dataset = open_dataset(validated(DatasetSpec, given, "test"), root=tmp_path)
    assert ids_of(dataset) == ["a"]
    assert dataset.problems == (
        f"1 of 2 masks in {tmp_path / 'masks'} have no image: c",
        f"1 of 2 images have no mask in {tmp_path / 'masks'}: b",
    )


def test_one_cause_is_told_once(voc):
    base = voc / "VOCdevkit/VOC2012"
    both = {"list": "ImageSets/Segmentation/val.txt"}
    images, masks = ({"dir": d, **both} for d in ("JPEGImages", "SegmentationClass"))
    spec = validated(DatasetSpec, {"images": images, "masks": masks}, "test")
    (base / "SegmentationClass/2007_b.png").unlink()
    dataset = open_dataset(spec, root=base)
    assert ids_of(dataset) == ["2007_a"]
    assert dataset.problems == (
        f"1 of 2 listed masks are not in {base / 'SegmentationClass'}: 2007_b",
    )
    shutil.rmtree(base / "SegmentationClass")
    dataset = open_dataset(spec, root=base)
    assert dataset.problems == (
        f"masks: folder {base / 'SegmentationClass'} cannot be listed (it does not exist)",
    )


def test_a_missing_list_means_no_samples(voc):
    (voc / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt").unlink()
    dataset = open_dataset("voc12", "val", voc)
    assert len(dataset) == 0
    assert re.search(r"images: list .*val\.txt cannot be read \(it does not", dataset.problems[0])


def test_check_says_what_to_get_and_where_to_put_it(tmp_path):
    told = check_dataset("voc12", "trainaug", tmp_path)
    folder = f"{tmp_path}/VOCdevkit/VOC2012/SegmentationClassAug"
    assert f"masks: folder {folder} cannot be listed (it does not exist)" in told
    assert any("VOCtrainval_11-May-2012.tar (2 GB) from http" in line for line in told)
    assert any("SegmentationClassAug.zip" in line for line in told)
    assert not any("SegmentationClassAug.zip" in line for line in check_dataset("voc12", "val"))


def test_two_files_of_one_id(tmp_path):
    fill(tmp_path / "images", "a.jpg", "a.png")
    spec = validated(DatasetSpec, {"images": "images"}, "test")
    dataset = open_dataset(spec, root=tmp_path)
    assert ids_of(dataset) == ["a"]
    assert dataset.problems[0].startswith("1 of 1 images in")


def test_hidden_files_and_links_upwards(tmp_path):
    """macOS leaves ._a.jpg beside a.jpg; a link to the folder itself must not go on for ever."""
    fill(tmp_path / "images", "sub/a.jpg", "._a.jpg", ".cache/b.jpg")
    (tmp_path / "images/sub/again").symlink_to(tmp_path / "images", target_is_directory=True)
    dataset = open_dataset(validated(DatasetSpec, {"images": "images"}, "test"), root=tmp_path)
    assert ids_of(dataset) == ["sub/a"]


def test_lists_with_suffixes_blank_lines_and_a_byte_order_mark(tmp_path):
    fill(tmp_path / "images", "x/a_left.JPG", "b_left.jpg")
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfx/a_left.JPG\r\n\r\nb\r\n")
    images = {"dir": "images", "list": "list.txt", "suffix": "jpg", "strip": "_left"}
    dataset = open_dataset(validated(DatasetSpec, {"images": images}, "test"), root=tmp_path)
    assert ids_of(dataset) == ["b", "x/a"]
    assert dataset.problems == ()


def test_without_masks_there_is_no_truth(tmp_path):
    fill(tmp_path / "images", "a.jpg")
    dataset = open_dataset(validated(DatasetSpec, {"images": "images"}, "x"), root=tmp_path)
    with pytest.raises(DataError, match="a has no ground truth"):
        dataset.truth(dataset.samples[0])


def test_a_bad_mask_is_found_when_read(voc):
    file = voc / "VOCdevkit/VOC2012/SegmentationClass/2007_a.png"
    png(file, RGB)
    dataset = open_dataset("voc12", "val", voc)
    with pytest.raises(DataError, match=f"{re.escape(str(file))}.* is RGB"):
        dataset.truth(dataset.samples[0])
    assert dataset.truth(dataset.samples[1]).shape == (2, 3)


def test_no_file_is_asked_for_its_state(tmp_path, monkeypatch):
    """Thousands of images on a network disk: two listings, and as few calls as for ten."""
    calls: list[str] = []

    def count(name):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, **k: calls.append(name) or real(*a, **k))

    made = {}
    for number in (10, 3_000):
        root = tmp_path / str(number)
        for folder, suffix in (("images", "jpg"), ("masks", "png")):
            (root / folder).mkdir(parents=True)
            for k in range(number):
                os.close(os.open(root / folder / f"{k:04}.{suffix}", os.O_CREAT))
        listing(root / "val.txt", *(f"{k:04}" for k in range(number)))
        made[number] = root
    for name in ("stat", "lstat", "scandir", "listdir"):
        count(name)
    images = {"dir": "images", "list": "val.txt"}
    spec = validated(DatasetSpec, {"images": images, "masks": "masks", "labels": "voc12"}, "x")
    told = {}
    for number, root in made.items():
        calls.clear()
        dataset = open_dataset(spec, root=root)
        assert (len(dataset), dataset.problems) == (number, ())
        told[number] = sorted(calls)
    assert told[10] == told[3_000]
    assert told[10].count("scandir") == 2


# -- specs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lables": "voc12"}, "unknown key lables; did you mean 'labels'?"),
        ({"images": {"dir": "a", "sufix": "q"}}, "unknown key images.sufix; did you mean 'suffix'"),
        ({"images": {"dir": "a", "suffix": "q", "suffixes": ["r"]}}, "unknown key images.suffixes"),
        ({"images": {"dir": "a", "lists": "b"}}, "unknown key images.lists; did you mean 'list'"),
        ({"labels": {"table": "t", "colums": [1]}}, "key labels.colums; did you mean 'columns'"),
        ({"labels": {"columns": [1]}}, "labels.table is missing"),
        ({"labels": {"table": "t", "ignore": ["a", 1.5]}},
         "labels.ignore[1] must be a whole number or text, got 1.5"),
        ({"images": {}}, "images.dir is missing"),
        ({"images": {"dir": 5}}, "images.dir must be text, got 5"),
        ({"images": 5}, "images must be a folder, or a mapping with the key dir, got 5"),
        ({"labels": 5}, "labels must be text or a mapping of keys to values, got 5"),
        ({"format": "idx"}, "format must be 'index', 'red', "),
        ({"format": "idx"}, "or 'pascal_part_mat', got 'idx'; did you mean 'index'?"),
        ({"expected": 0}, "expected must be greater than or equal to 1, got 0"),
        ({"expected": "500"}, "expected must be a whole number, got '500'"),
        ({"format": "panoptic"}, "format panoptic needs 'segments'"),
        ({"colours": {"ffffff": 1}}, "format index does not use 'colours'"),
        ({"format": "colours", "colours": {"whit": 1}},
         "colours.whit must be a colour, such as RRGGBB or a name like white, got 'whit'"),
        ({"format": "colours", "colours": {0: 1}}, "colours[0] must be text, got 0"),
        ({"format": "pascal_part_mat"}, "needs 'labels'"),
        ({"ids": "masks"}, "'ids: masks' needs 'masks'"),
        ({"format": "red", "divide": 1000}, "format red does not use 'divide'"),
    ],
)  # fmt: skip
def test_wrong_specs_say_which_key(change, message):
    with pytest.raises(ConfigError) as caught:
        validated(DatasetSpec, {"images": "a", **change}, "here")
    assert str(caught.value).startswith("here: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_misspelt_key_is_told_at_once():
    with pytest.raises(ConfigError) as caught:
        validated(DatasetSpec, {"images": "a", "mask": "b", "label": "c"}, "here")
    assert str(caught.value).splitlines() == [
        "here: 2 mistakes",
        "  unknown key mask; did you mean 'masks'?",
        "  unknown key label; did you mean 'labels'?",
    ]


@pytest.mark.parametrize(
    "given", [{"suffix": "jpg"}, {"suffix": ["jpg"]}, {"suffixes": [".jpg"]}, {"suffixes": "jpg"}]
)
def test_suffixes_are_one_or_several(given):
    spec = validated(DatasetSpec, {"images": {"dir": "a", **given}}, "here")
    assert spec.images.suffixes == (".jpg",)


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("voc2", None, "unknown data set 'voc2'; did you mean 'voc12'"),
        ("coco", "val_thing", "coco: unknown split 'val_thing'; did you mean 'val_things'"),
        ("bsds500", "zzz", "known: test, val, train"),
    ],
)
def test_unknown_names(name, split, message):
    with pytest.raises(ConfigError, match=message):
        open_dataset(name, split)


def write_spec(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_spec_file_is_relative_to_itself(tmp_path):
    fill(tmp_path / "photos", "a.jpg")
    dataset = open_dataset(write_spec(tmp_path, "images: photos\n"))
    assert (dataset.name, dataset.split, ids_of(dataset)) == ("mine", "all", ["a"])
    dataset = open_dataset(write_spec(tmp_path, '{"images": "photos"}', "other.json"))
    assert (dataset.name, ids_of(dataset)) == ("other", ["a"])


def test_root_from_the_environment(tmp_path, monkeypatch):
    fill(tmp_path / "data/photos", "a.jpg")
    file = write_spec(tmp_path, "images: photos\nroot: $SOME_DATA_ROOT\n")
    with pytest.raises(ConfigError, match="environment variable SOME_DATA_ROOT is not set"):
        open_dataset(file)
    assert len(open_dataset(file, root=tmp_path / "data")) == 1
    monkeypatch.setenv("SOME_DATA_ROOT", str(tmp_path / "data"))
    assert len(open_dataset(file)) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("images: [", ", line 1: not YAML: "),
        ("- a\n- b\n", ": holds a list; a data set has keys and values"),
        ("", ": is empty; a data set expected"),
        ("1: 2\n", "unknown key [1]; known: name, split"),
        ("2001-01-01: 2\n", "unknown key 2001-01-01; known: name, split"),
        ("x1: 2\ny2: 3\n", "unknown key y2; known: as above"),
        ("images: a\nimages: b\n", ", line 2: key 'images' appears twice"),
    ],
)
def test_files_that_are_no_specs(tmp_path, text, said):
    file = write_spec(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        open_dataset(file)
    assert str(caught.value).startswith(str(file))
    assert said in str(caught.value)


def test_spec_of_another_split_or_absent(tmp_path):
    file = write_spec(tmp_path, "images: photos\nsplit: val\n")
    with pytest.raises(ConfigError, match="describes split 'val', not 'train'"):
        open_dataset(file, "train")
    with pytest.raises(ConfigError, match=r"none\.yaml: no such file"):
        open_dataset(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("labels", "content", "said"),
    [
        ("tree.txt", None, "/tree.txt: no such file"),
        ("tree.txt", "a\t1", "/tree.txt, line 1: 'a\\t1' must be name, id and kind"),
        ("{table: tree.txt}", "a\tb", "/tree.txt, line 1: id 'a' of 'b' is not a whole number"),
        ("citiscapes", None, "unknown label tree 'citiscapes'; did you mean 'cityscapes'?"),
    ],
)
def test_without_its_label_tree_there_are_no_samples(tmp_path, labels, content, said):
    """But all that is missing is told, the label tree first."""
    fill(tmp_path / "photos", "a.jpg", "b.jpg")
    fill(tmp_path / "masks", "a.png", array=IDS)
    if content is not None:
        (tmp_path / "tree.txt").write_text(content)
    file = write_spec(tmp_path, f"images: photos\nmasks: masks\nlabels: {labels}\n")
    dataset = open_dataset(file)
    assert (len(dataset), dataset.labels) == (0, None)
    assert said in dataset.problems[0]
    assert dataset.problems[1].startswith("1 of 2 images have no mask")
    assert check_dataset(file) == list(dataset.problems)


def test_the_documented_example_works(tmp_path):
    """The YAML of docs/datasets.md, on files named as it says."""
    page = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, flags=re.S)
    assert len(blocks) >= 2
    fill(tmp_path / "photos", "barn.jpg", "sub/mill.jpg")
    fill(tmp_path / "masks", "barn.png", "sub/mill.png", array=IDS)
    (tmp_path / "labels.txt").write_text(
        "sky\t0\t1\nbuilding\n\twall\t1\t0\n\troof\t2\t0\nunlabeled\t255\t2\n"
    )
    dataset = open_dataset(write_spec(tmp_path, blocks[0]))
    assert (ids_of(dataset), dataset.problems) == (["barn", "sub/mill"], ())
    assert dataset.labels.max_depth == 2
    for block in blocks[1:]:
        validated(DatasetSpec, yaml.safe_load(block), "docs/datasets.md")


def test_the_documented_python_runs(voc, tmp_path, monkeypatch, capsys):
    """The Python of docs/datasets.md, where files lie as it says."""
    (tmp_path / "datasets").mkdir()
    shutil.move(voc, tmp_path / "datasets/voc12")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page, flags=re.S):
        exec(compile(block, "docs/datasets.md", "exec"), names)  # our own file
    assert names["truth"].tolist() == IDS.tolist()
    assert names["classes"].of(IDS).tolist() == [0, 1, 1, 2, 2, -1]
    assert "the complete split has 1449" in capsys.readouterr().out


def test_the_documented_table_is_the_catalogue():
    page = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    table = page.partition("## Catalogue")[2]
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", table, flags=re.M))
    assert set(rows) == set(CATALOGUE)
    for name, row in rows.items():
        assert entry(name).home in row
        for split in entry(name).splits:
            assert split in row, f"{name} {split}"


# -- the published datasets.json ------------------------------------------------------------------


def describe(folder: Path, img: dict, annot: dict, split: str = "val") -> Path:
    file = folder / "datasets.json"
    file.write_text(json.dumps({"mine": {split: {"img": img, "annot": annot}}}))
    return file


def published_voc() -> dict[str, dict]:
    base = "./datasets/voc12/VOCdevkit/VOC2012"
    ids = f"{base}/ImageSets/Segmentation/val.txt"
    return {
        "img": {"dir": f"{base}/JPEGImages", "list_txt": ids, "ext": "jpg"},
        "annot": {
            "dir": f"{base}/SegmentationClass",
            "list_txt": ids,
            "ext": "png",
            "labels_txt": "./labels/voc12.txt",
        },
    }


def test_published(voc, tmp_path):
    shutil.move(voc, tmp_path / "work/datasets/voc12")
    file = describe(tmp_path, **published_voc())
    search = [tmp_path / "elsewhere", tmp_path / "work"]
    dataset, remarks = published_dataset(file, "mine", "val", search=search)
    assert (ids_of(dataset), dataset.problems) == (["2007_a", "2007_b"], ())
    assert remarks == [
        "./labels/voc12.txt was not found, so regiontree's label tree 'voc12' is used instead"
    ]
    (tmp_path / "work/labels").mkdir()
    (tmp_path / "work/labels/voc12.txt").write_text("thing\t1\t0\nrest\t0\t1\n")
    dataset, remarks = published_dataset(file, "mine", "val", search=search)
    assert (remarks, dataset.labels.names) == ([], {1: "thing", 0: "rest"})


def test_classes_of_voc_2010_have_their_names():
    published, own = load_label_tree("voc10").names, load_label_tree("voc12").names
    assert published[18] == "table"
    assert own[11] == "dining-table"
    for number in range(11, 17):  # in the other order they are one later
        assert published[number][:4] == own[number + 1][:4]
    assert spec_of("voc10", "val").labels == "voc12"


def test_an_entry_tells_layout_licence_and_downloads():
    found = entry("voc12")
    assert "JPEGImages" in found.layout
    assert found.licence
    assert found.download[0].url.startswith("http")


def test_masks_without_labels_tell_regions_apart(tmp_path):
    fill(tmp_path / "photos", "a.jpg")
    fill(tmp_path / "masks", "a.png", array=IDS)
    (tmp_path / "mine.yaml").write_text("images: photos\nmasks: masks\n")
    dataset = open_dataset(tmp_path / "mine.yaml")
    assert dataset.labels is None
    assert np.array_equal(dataset.truth(dataset.samples[0]), IDS)


def test_published_dry_run(tmp_path):
    file = describe(tmp_path, **published_voc())
    dataset, _ = published_dataset(file, "mine", "val", search=[tmp_path / "x", tmp_path / "y"])
    assert (len(dataset), dataset.labels.name, len(dataset.problems)) == (0, "voc12", 3)
    for problem in dataset.problems:
        assert problem.startswith("./datasets/voc12/")
        assert problem.endswith(f"is in none of the folders searched: {tmp_path}/x, {tmp_path}/y")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "./labels/own.txt is in none of the folders searched: {search}"),
        ("a\t1\t0\na\t2\t0", "{search}/labels/own.txt, line 2: 'a' has both id 1 and id 2"),
    ],
)
def test_published_label_file_that_cannot_be_read(tmp_path, content, said):
    if content is not None:
        listing(tmp_path / "labels/own.txt", content)
    img, annot = {"dir": "./images"}, {"dir": "./masks", "labels_txt": "./labels/own.txt"}
    file = describe(tmp_path, img, annot)
    fill(tmp_path / "images", "a.jpg")
    dataset, remarks = published_dataset(file, "mine", "val", search=[tmp_path])
    assert (len(dataset), dataset.labels, remarks) == (0, None, [])
    assert dataset.problems == (
        said.format(search=tmp_path),
        f"./masks is in none of the folders searched: {tmp_path}",
    )


@pytest.mark.parametrize(
    ("folder", "labels", "slips"),
    [
        ("annotations/val", "partimagenet158", 1),
        ("annotations/val_idx/", "partimagenet158", 0),
        ("annotations/val", "partimagenet", 0),
    ],
)
def test_published_masks_of_partimagenet_with_other_labels(tmp_path, folder, labels, slips):
    file = describe(tmp_path, {"dir": "i"}, {"dir": folder, "labels_txt": f"l/{labels}.txt"})
    dataset, remarks = published_dataset(file, "mine", "val", search=[tmp_path])
    assert dataset.labels.name == labels  # as written
    said = [remark for remark in remarks if remark.startswith(f"{file}: mine.val: labels_txt l/")]
    assert len(said) == slips
    assert all("dir to annotations/val_idx" in remark for remark in said)


@pytest.mark.parametrize(("asked", "there"), [("val_things", "val_thing"), ("val", "vals")])
def test_published_split_with_an_s(tmp_path, asked, there):
    file = describe(tmp_path, {"dir": "images"}, {}, split=there)
    fill(tmp_path / "images", "a.jpg")
    dataset, remarks = published_dataset(file, "mine", asked, search=[tmp_path])
    assert (dataset.split, ids_of(dataset), dataset.samples[0].masks) == (there, ["a"], ())
    assert remarks == [f"split {asked!r} is not in {file}; {there!r} is used instead"]


@pytest.mark.parametrize("frames", [("000019", "000019"), ("000019", "000023")])
def test_published_lists_that_name_files_differently(tmp_path, frames):
    """As for Cityscapes, where even the number of the frame may be the same in all lines."""
    names = [f"{city}/{city}_000000_{f}" for city, f in zip(("bern", "ulm"), frames, strict=True)]
    for folder, ending in (("img", "_leftImg8bit"), ("gt", "_gtFine_labelIds")):
        fill(tmp_path / folder, *(f"{name}{ending}.png" for name in names), array=IDS)
        listing(tmp_path / f"{folder}.txt", *(f"{name}{ending}" for name in names))
    img, gt = ({"dir": f, "list_txt": f"{f}.txt", "ext": "png"} for f in ("img", "gt"))
    file = describe(tmp_path, img, gt)
    dataset, remarks = published_dataset(file, "mine", "val", search=[tmp_path])
    assert (ids_of(dataset), dataset.problems) == (names, ())
    assert "_leftImg8bit" in remarks[0]
    assert "_gtFine_labelIds" in remarks[0]


@pytest.mark.parametrize(
    ("name", "split", "img", "message"),
    [
        ("mime", "val", {"dir": "a"}, "unknown data set 'mime'; did you mean 'mine'"),
        ("mine", "vall", {"dir": "a"}, "mine has no split 'vall'; did you mean 'val'"),
        ("mine", "val", {"dirs": "a"}, "datasets.json, mine.val: unknown key img.dirs; .* 'dir'"),
        ("mine", "val", {"ext": "jpg"}, "mine.val.img has no 'dir'"),
    ],
)
def test_published_errors(tmp_path, name, split, img, message):
    file = describe(tmp_path, img, {})
    with pytest.raises(ConfigError, match=message):
        published_dataset(file, name, split, search=[tmp_path])


def test_the_published_file_opens_unchanged(data, tmp_path):
    file = data.parent / "reference" / "configs" / "datasets.json"
    if not file.is_file():
        pytest.skip("no published configs beside the data folder")
    for name, splits in json.loads(file.read_text()).items():
        for split, files in splits.items():
            dataset, remarks = published_dataset(file, name, split, search=[tmp_path])
            assert len(dataset) == 0
            folders = [files[side]["dir"] for side in ("img", "annot") if "dir" in files[side]]
            assert all(folder in " ".join(dataset.problems) for folder in folders)
            slips = [remark for remark in remarks if "set labels_txt to" in remark]
            assert len(slips) == ((name, split) == ("partimagenet", "val"))
            assert len(remarks) == 1 + len(slips), "only the label tree was replaced"
            assert dataset.labels is not None


# -- real subsets ---------------------------------------------------------------------------------


def test_there_is_a_spec_for_each_subset(data):
    assert {file.stem for file in SUBSETS} == {f.parent.name for f in data.glob("*/labels.txt")}


@pytest.mark.parametrize("file", SUBSETS, ids=lambda file: file.stem)
def test_subsets_open_and_every_id_is_known(file, data):
    dataset = open_dataset(file, root=data)
    assert dataset.problems == ()
    assert len(dataset) == len(list((data / file.stem / "images").iterdir()))
    classes = None if dataset.labels is None else dataset.labels.classes()
    for sample in dataset.samples:
        with Image.open(sample.image) as image:
            size = image.size[::-1]
        for truth in dataset.truths(sample):
            assert truth.shape == size
            if classes is not None:
                classes.of(np.unique(truth))
