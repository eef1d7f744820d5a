"""Named collections in the formats of other programs, read back and compared with the names."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from test_discover import KINDS, SETTINGS, kinds_of, made_up, save_all
from test_export_labelstudio import mask_of
from typer.testing import CliRunner

from regiontree import Collection
from regiontree.cli import app
from regiontree.collection import discover
from regiontree.collection.classes import Classes, named_classes
from regiontree.collection.exporting import FORMATS
from regiontree.collection.outputs import folder_splits, split_stems
from regiontree.collection.photograph import joined_nodes
from regiontree.errors import CollectionError, ExportError, SettingsError
from regiontree.forest import convert
from regiontree.tree import RegionTree

COUNT = 9
# Commas, quotes, right to left, markup: a name may hold anything.
NAMES = ['sky, "blue"', "\u05e2\u05e5 \u05d2\u05d1\u05d5\u05d4", "<sea & 'land'>"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trees with their photographs beside them, and a collection without names."""
    root = tmp_path_factory.mktemp("made")
    for split in ("train", "val"):
        (root / "trees" / split).mkdir(parents=True)
    for seed in range(COUNT):
        folder = root / "trees" / ("train" if seed < 6 else "val")
        save_all(folder, [seed], no_data=seed % 2 == 1)
        pixels = np.random.default_rng(seed).integers(0, 255, (5, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    discover(root / "trees", root / "out", SETTINGS)
    return root


@pytest.fixture
def named(made: Path, tmp_path: Path) -> Collection:
    """A copy of the collection: three of four categories have names, and one region is moved."""
    shutil.copytree(made / "trees", tmp_path / "trees")
    shutil.copytree(made / "out", tmp_path / "out")
    collection = Collection.load(tmp_path / "out", tmp_path / "trees")
    names = collection.names
    categories = collection.categories(KINDS)
    for one, name in zip(categories, NAMES, strict=False):
        names = names.named(one.node, name)
    # A finer category below the first has the name of the second: one class in two places.
    below = min(node for node in range(collection.tree.n_nodes)
                if categories[0].node in collection.tree.ancestors(node))  # fmt: skip
    names = names.named(below, NAMES[1])
    names.save(tmp_path / "out" / "collection.csv", [])
    region = collection.regions(categories[3])[0]
    with (tmp_path / "out" / "collection.csv").open("a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerow([f"{region.photo}#{region.node}", "", categories[2].node])
    return Collection.load(tmp_path / "out", tmp_path / "trees")


def masks_of(collection: Collection) -> dict[str, NDArray[np.int32]]:
    """For each photograph the number of each pixel's name, from 1; 0 for none."""
    return {key: collection.named_map(key)[0] + 1 for key in collection.ids}


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


# -- coco -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("joined", [True, False])
def test_coco_holds_the_pixels_of_every_name(
    named: Collection, tmp_path: Path, joined: bool
) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    done = named.export("coco", tmp_path / "named.json", joined=joined)
    assert (done.photographs, done.failed) == (COUNT, {})
    data = coco.COCO(str(tmp_path / "named.json"))
    assert [one["name"] for one in data.loadCats(data.getCatIds())] == sorted(NAMES)
    photos = data.loadImgs(data.getImgIds())
    assert [one["id"] for one in photos] == list(range(1, COUNT + 1))
    for image, (key, expected) in zip(photos, masks_of(named).items(), strict=True):
        assert image["photo"] == key
        assert image["file_name"] == f"{key.split('/')[0]}/{int(key.split('/')[1])}.png"
        assert (image["height"], image["width"]) == expected.shape
        found = np.zeros_like(expected)
        tree = named.forest[key]
        for one in data.loadAnns(data.getAnnIds(image["id"])):
            mask = data.annToMask(one).astype(bool)
            assert not found[mask].any()
            found[mask] = one["category_id"]
            np.testing.assert_array_equal(mask, tree.mask(one["node"]))
            assert one["area"] == mask.sum()
            assert one["id"] == image["id"] * 10_000_000 + one["node"]
            y, x = np.nonzero(mask)
            box = [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
            assert one["bbox"] == box
            assert 0 <= one["score"] <= 1
        np.testing.assert_array_equal(found, expected)
    nodes = len(read(tmp_path / "named.json")["annotations"])
    regions = sum((np.bincount(masks_of(named)[key][named.forest[key].labels == leaf]).argmax() > 0)
                  for key in named.ids for leaf in range(named.forest[key].n_leaves))  # fmt: skip
    assert nodes < regions if joined else nodes == regions


def test_a_region_that_was_moved_has_the_score_of_a_person(
    named: Collection, tmp_path: Path
) -> None:
    named.export("coco", tmp_path / "a.json", joined=False)
    ((key, node),) = named.names.moved
    data = read(tmp_path / "a.json")
    number = named.ids.index(key) + 1
    (one,) = [a for a in data["annotations"] if (a["image_id"], a["node"]) == (number, node)]
    assert one["score"] == 1
    assert min(a["score"] for a in data["annotations"]) < 1


def test_joined_nodes_are_the_largest_of_one_class() -> None:
    tree = RegionTree(
        labels=[[0, 1, 2, 3]], parents=[4, 4, 5, 5, 6, 6, 6], height=[0, 0, 0, 0, 0.3, 0.4, 1]
    )
    cut = np.arange(4)
    for classes, nodes in {
        (0, 0, 1, 1): [4, 5],
        (2, 2, 2, 2): [6],
        (0, 0, 0, -1): [2, 4],
        (-1, -1, -1, -1): [],
        (0, 1, 1, 0): [0, 1, 2, 3],
    }.items():
        assert joined_nodes(tree, cut, np.array(classes, np.int32)).tolist() == nodes


def test_the_name_above_is_the_supercategory(named: Collection, tmp_path: Path) -> None:
    tree, path = named.tree, named.folder / "collection.csv"
    # One of the two coarsest categories is divided in the next cuts; the other is named beside it.
    second, first, below = next(
        (upper, other, one)
        for one in named.categories(KINDS)
        for upper, other in (named.categories(2), named.categories(2)[::-1])
        if upper.node in tree.ancestors(one.node)
    )
    names = named.names
    for node in names.own:
        names = names.named(node, "")
    for node, name in {first.node: "other", second.node: "animal", below.node: "cat"}.items():
        names = names.named(node, name)
    names.save(path, [])
    fresh = Collection.load(named.folder, tmp_path / "trees")
    fresh.export("coco", tmp_path / "b.json")
    said = {one["name"]: one["supercategory"] for one in read(tmp_path / "b.json")["categories"]}
    assert said == {"animal": "animal", "cat": "animal", "other": "other"}


def test_ids_stay_when_a_photograph_is_gone(named: Collection, tmp_path: Path) -> None:
    named.export("coco", tmp_path / "all.json")
    (tmp_path / "trees" / "train" / "001.npz").write_bytes(b"no tree")
    (tmp_path / "trees" / "train" / "002.npz").unlink()
    made_up(3, no_data=False).save(tmp_path / "trees" / "train" / "003.npz")
    told: list[tuple[str, str | None]] = []
    fresh = Collection.load(named.folder, tmp_path / "trees")
    done = fresh.export("coco", tmp_path / "some.json", advance=lambda *one: told.append(one))
    assert done.photographs == COUNT - 3
    assert "train/001" in done.failed["train/001"]
    assert "is gone" in done.failed["train/002"]
    assert "has changed" in done.failed["train/003"]
    assert [key for key, said in told if said is not None] == list(done.failed)
    assert len(told) == COUNT
    before, after = read(tmp_path / "all.json"), read(tmp_path / "some.json")
    assert after["categories"] == before["categories"]
    left = {2, 3, 4}
    assert after["images"] == [one for one in before["images"] if one["id"] not in left]
    assert after["annotations"] == [
        one for one in before["annotations"] if one["image_id"] not in left
    ]


# -- panoptic and masks ---------------------------------------------------------------------------


def test_panoptic_pictures_hold_the_segments(named: Collection, tmp_path: Path) -> None:
    named.export("panoptic", tmp_path / "p.json")
    data = read(tmp_path / "p.json")
    assert [one["isthing"] for one in data["categories"]] == [1] * 3
    masks = masks_of(named)
    assert len(data["annotations"]) == COUNT
    for image, one in zip(data["images"], data["annotations"], strict=True):
        picture = np.array(Image.open(tmp_path / "p" / one["file_name"])).astype(int)
        segment = picture[..., 0] + 256 * picture[..., 1] + 65536 * picture[..., 2]
        assert one["image_id"] == image["id"]
        found = np.zeros_like(masks[image["photo"]])
        for own in one["segments_info"]:
            found[segment == own["id"]] = own["category_id"]
            assert own["area"] == (segment == own["id"]).sum()
        assert {own["id"] for own in one["segments_info"]} == set(np.unique(segment)) - {0}
        np.testing.assert_array_equal(found, masks[image["photo"]])


def test_labels_png_are_the_map_of_names(named: Collection, tmp_path: Path) -> None:
    named.export("labels-png", tmp_path / "labels")
    for key, expected in masks_of(named).items():
        with Image.open(tmp_path / "labels" / f"{key}.png") as picture:
            assert picture.mode == "L"
            np.testing.assert_array_equal(np.array(picture), expected)
    lines = (tmp_path / "labels" / "classes.txt").read_text("utf-8").splitlines()
    classes = read(tmp_path / "labels" / "classes.json")["classes"]
    assert lines == [one["name"] for one in classes] == sorted(NAMES)
    assert [one["id"] for one in classes] == [1, 2, 3]


def test_masks_of_many_classes_have_16_bits(
    named: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def many(names: Any) -> Classes:
        own = named_classes(names)
        of_category = np.where(own.of_category < 0, -1, own.of_category + 300).astype(np.int32)
        more = [f"{i}" for i in range(300)]
        return Classes([*more, *own.names], [*more, *own.supercategories], 303, of_category)

    monkeypatch.setattr("regiontree.collection.exporting.named_classes", many)
    named.export("labels-png", tmp_path / "labels")
    for key, expected in masks_of(named).items():
        with Image.open(tmp_path / "labels" / f"{key}.png") as picture:
            found = np.array(picture)
        np.testing.assert_array_equal(found, np.where(expected, expected + 300, 0))


# -- training -------------------------------------------------------------------------------------


def test_training_keeps_the_split_and_the_pixels(named: Collection, tmp_path: Path) -> None:
    done = named.export("training", tmp_path / "data")
    assert (done.photographs, done.failed) == (COUNT, {})
    for key, expected in masks_of(named).items():
        split, name = key.split("/")
        assert split == ("train" if int(name) < 6 else "val")
        image = tmp_path / "data" / "images" / f"{key}.png"
        assert image.read_bytes() == (tmp_path / "trees" / split / f"{int(name)}.png").read_bytes()
        mask = np.array(Image.open(tmp_path / "data" / "masks" / f"{key}.png"))
        np.testing.assert_array_equal(mask, expected)
    assert len(list((tmp_path / "data").rglob("*.png"))) == 2 * COUNT
    assert {one.name for one in (tmp_path / "data").iterdir()} == {
        "images", "masks", "classes.txt", "classes.json"
    }  # fmt: skip


def test_links_and_a_table_of_splits(named: Collection, tmp_path: Path) -> None:
    table = tmp_path / "split.csv"
    table.write_text("photo,split\ntrain/000,test\nval/007,train\n", encoding="utf-8-sig")
    named.export("training", tmp_path / "data", link=True, split=str(table))
    images = tmp_path / "data" / "images"
    assert (images / "test" / "train" / "000.png").readlink() == (
        tmp_path / "trees" / "train" / "0.png"
    )
    assert (images / "train" / "val" / "007.png").is_symlink()
    assert (images / "val" / "008.png").is_symlink()
    for text, said in {
        "photo,split\ntrain/000,../x\n": "line 2: split must be a name",
        "photo,split\nnone,val\n": "'none' is not in the collection",
        "photo\nx\n": "no column 'split'",
    }.items():
        table.write_text(text)
        with pytest.raises(CollectionError, match=said):
            named.export("training", tmp_path / "other", split=str(table))
    assert not (tmp_path / "other").exists()


def test_a_store_gives_the_same_folder(named: Collection, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    named.export("training", tmp_path / "a")
    assert convert.run(str(tmp_path / "trees"), str(tmp_path / "store"), as_json=False) == 0
    stored = Collection.load(named.folder, tmp_path / "store")
    images = [tmp_path / "trees"]  # the made-up trees do not say where their photographs lie
    assert stored.export("training", tmp_path / "b", images=images).failed == {}
    files = {one.relative_to(tmp_path / "a") for one in (tmp_path / "a").rglob("*.*")}
    assert len(files) == 2 * COUNT + 2
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_folders_that_are_splits() -> None:
    found = folder_splits(
        {"train/a.jpg": "/data/test/x/a.jpg", "b": "/data/test/val/b.jpg", "c/test": "s3://t/val/c"}
    )
    assert found == {"train/a.jpg": "train", "b": "val", "c/test": ""}
    stems = split_stems({"a/train/x.jpg": "train", "train/a/x.png": "train", "X.jpg": ""})
    assert len({one.casefold() for one in stems.values()}) == 3
    assert stems["X.jpg"] == "X"


def test_photographs_that_are_gone_or_changed_or_turned(named: Collection, tmp_path: Path) -> None:
    folder = tmp_path / "trees" / "train"
    (folder / "0.png").unlink()
    (folder / "1.png").write_bytes(b"no picture")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(np.zeros((8, 5, 3), np.uint8)).save(folder / "2.png", exif=turned)
    done = named.export("training", tmp_path / "data")
    assert set(done.failed) == {"train/000", "train/001"}
    assert "0.png was not found. Say where" in done.failed["train/000"]
    with Image.open(tmp_path / "data" / "images" / "train" / "002.png") as picture:
        assert picture.size == (8, 5)  # upright, as the tree is
    assert not (tmp_path / "data" / "masks" / "train" / "000.png").exists()
    shutil.move(tmp_path / "trees" / "train" / "3.png", tmp_path / "3.png")
    tree = named.forest["train/004"]  # as if it showed some bands of its photograph
    tree.meta["image"]["choice"] = {"bands": [1]}
    tree.save(folder / "004.npz")
    fresh = Collection.load(named.folder, tmp_path / "trees")
    done = fresh.export("training", tmp_path / "again", images=[tmp_path])
    assert "train/003" not in done.failed
    copied = np.array(Image.open(tmp_path / "again" / "images" / "train" / "004.png"))
    assert (copied == copied[..., :1]).all()


# -- Label Studio and FiftyOne --------------------------------------------------------------------


def test_label_studio_gets_predictions(named: Collection, tmp_path: Path) -> None:
    named.export("label-studio", tmp_path / "tasks.json", url_prefix="https://x.org/")
    masks, names = masks_of(named), sorted(NAMES)
    tasks = read(tmp_path / "tasks.json")
    assert [one["data"]["photo"] for one in tasks] == list(named.ids)
    for task in tasks:
        key = task["data"]["photo"]
        assert "annotations" not in task
        (prediction,) = task["predictions"]
        assert prediction["model_version"].startswith("regiontree ")
        assert 0 <= prediction["score"] <= 1
        found = np.zeros_like(masks[key])
        for one in prediction["result"]:
            (name,) = one["value"]["brushlabels"]
            found[mask_of(one)] = names.index(name) + 1
        np.testing.assert_array_equal(found, masks[key])
        assert task["data"]["image"].startswith("https://x.org/")
    labels = ElementTree.parse(tmp_path / "tasks.xml").getroot().iter("Label")
    assert [one.get("value") for one in labels] == names


def test_fiftyone_finds_what_its_importer_reads(named: Collection, tmp_path: Path) -> None:
    """As COCODetectionDatasetImporter does it: ``data``, ``labels.json``, fields of annotations."""
    mask_utils = pytest.importorskip("pycocotools.mask")
    named.export("fiftyone", tmp_path / "fo")
    data = read(tmp_path / "fo" / "labels.json")
    files = {one.relative_to(tmp_path / "fo" / "data").as_posix()
             for one in (tmp_path / "fo" / "data").rglob("*.png")}  # fmt: skip
    assert {one["file_name"] for one in data["images"]} == files
    classes = {one["id"]: one["name"] for one in data["categories"]}
    masks, names = masks_of(named), sorted(NAMES)
    for image in data["images"]:
        found = np.zeros_like(masks[image["photo"]])
        for one in data["annotations"]:
            if one["image_id"] == image["id"]:
                x, y, w, h = one["bbox"]
                box = np.s_[y : y + h, x : x + w]
                inside = mask_utils.decode(one["segmentation"]).astype(bool)[box]
                found[box][inside] = names.index(classes[one["category_id"]]) + 1
        np.testing.assert_array_equal(found, masks[image["photo"]])
        with Image.open(tmp_path / "fo" / "data" / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"])


# -- Hugging Face ---------------------------------------------------------------------------------


def test_datasets_reads_the_names(
    named: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    done = named.export("huggingface", tmp_path / "hub", images=[tmp_path / "trees"])
    assert (done.photographs, done.failed) == (COUNT, {})
    data = datasets.load_dataset(str(tmp_path / "hub"), split="train")
    masks, names = masks_of(named), sorted(NAMES)
    assert data["id"] == list(named.ids)
    assert data.features["classes"].feature.names == names
    assert read(tmp_path / "hub" / "id2label.json") == {str(i + 1): names[i] for i in range(3)}
    for row in data:
        expected, tree = masks[row["id"]], named.forest[row["id"]]
        np.testing.assert_array_equal(np.asarray(row["mask"]), expected)
        regions = np.asarray(row["regions"])
        np.testing.assert_array_equal(regions > 0, expected > 0)
        for value, (node, label) in enumerate(zip(row["nodes"], row["classes"], strict=True), 1):
            np.testing.assert_array_equal(regions == value, tree.mask(node))
            assert (expected[regions == value] == label + 1).all()
        assert all(0 <= score <= 1 for score in row["scores"])
        photo = tmp_path / "trees" / row["id"].split("/")[0] / f"{int(row['id'][-3:])}.png"
        np.testing.assert_array_equal(np.asarray(row["image"]), np.array(Image.open(photo)))
    text = (tmp_path / "hub" / "README.md").read_text("utf-8")
    space: dict[str, Any] = {}
    code = text.split("```python\n")[1].split("```")[0]
    exec(code.replace('"PATH"', repr(str(tmp_path / "hub"))), space)
    np.testing.assert_array_equal(space["mask"], masks[space["row"]["id"]])
    named.export("huggingface", tmp_path / "hub", overwrite=True, photographs=False, split="val",
                 n_categories=2)  # fmt: skip
    (file,) = (tmp_path / "hub" / "data").iterdir()
    assert file.name == "val-00000-of-00001.parquet"
    with pytest.raises(ExportError, match="split must be a name"):
        named.export("huggingface", tmp_path / "x", split="a b")


# -- categories, refusals, the command ------------------------------------------------------------


def test_a_cut_has_names_where_people_gave_them(named: Collection, tmp_path: Path) -> None:
    done = named.export("labels-png", tmp_path / "cut", n_categories=KINDS)
    categories = named.categories(KINDS)
    unnamed = f"category {categories[3].node}"
    assert done.classes == [*sorted(NAMES), unnamed]
    classes = read(tmp_path / "cut" / "classes.json")["classes"]
    assert [one["named"] for one in classes] == [True] * 3 + [False]
    number = [done.classes.index(one.name or unnamed) + 1 for one in categories]
    for key in named.ids:
        expected = np.array([*number, 0])[named.label_map(key, KINDS)]
        found = np.array(Image.open(tmp_path / "cut" / f"{key}.png"))
        np.testing.assert_array_equal(found, expected)


def test_categories_that_share_a_name_are_one_class(named: Collection, tmp_path: Path) -> None:
    names = named.names
    for one in named.categories(KINDS)[:2]:
        names = names.named(one.node, "plant")
    names.save(named.folder / "collection.csv", [])
    fresh = Collection.load(named.folder, tmp_path / "trees")
    done = fresh.export("labels-png", tmp_path / "cut", n_categories=KINDS)
    assert len(done.classes) == KINDS - 1
    kinds = set()
    for key in fresh.ids:
        found = np.array(Image.open(tmp_path / "cut" / f"{key}.png"))
        plant = done.classes.index("plant") + 1
        tree = fresh.forest[key]
        kinds |= {kinds_of(tree)[leaf] for leaf in np.unique(tree.labels[found == plant]).tolist()}
    assert len(kinds) == 2


def test_what_cannot_be_is_refused(named: Collection, made: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no format 'labelstudio'; did you mean 'label-studio'"):
        named.export("labelstudio", tmp_path / "x.json")
    with pytest.raises(ExportError, match="has no option 'joinned'; did you mean 'joined'"):
        named.export("coco", tmp_path / "x.json", joinned=True)
    with pytest.raises(ExportError, match="n_categories must be"):
        named.export("coco", tmp_path / "x.json", n_categories=0)
    with pytest.raises(ExportError, match=r"name one that ends in \.json"):
        named.export("coco", tmp_path / "x")
    with pytest.raises(ExportError, match="does not use images; formats that do: training, hugg"):
        named.export("coco", tmp_path / "x.json", images=[tmp_path])
    (tmp_path / "x.xml").write_text("mine")
    with pytest.raises(ExportError, match=r"x\.xml: exists"):
        named.export("label-studio", tmp_path / "x.json")
    with pytest.raises(ExportError, match="no category has a name; write names into"):
        Collection.load(made / "out").export("coco", tmp_path / "x.json")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.md").write_text("mine")
    for form in ("labels-png", "training", "fiftyone"):
        with pytest.raises(ExportError, match=r"mine: exists; choose another name"):
            named.export(form, tmp_path / "mine")
        with pytest.raises(ExportError, match=r"holds notes\.md, which is not of this format"):
            named.export(form, tmp_path / "mine", overwrite=True)
    named.export("labels-png", tmp_path / "ours")
    named.export("labels-png", tmp_path / "ours", overwrite=True)
    assert sorted(one.name for one in (tmp_path / "mine").iterdir()) == ["notes.md"]
    shutil.rmtree(tmp_path / "trees")
    (tmp_path / "trees").mkdir()
    save_all(tmp_path / "trees", [77])
    with pytest.raises(ExportError, match=r"no photograph can be written: .*its tree is gone"):
        Collection.load(named.folder, tmp_path / "trees").export("coco", tmp_path / "x.json")
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize("form", FORMATS)
def test_an_interruption_leaves_nothing(named: Collection, tmp_path: Path, form: str) -> None:
    before = sorted(tmp_path.iterdir())

    def advance(photo: str, said: str | None) -> None:
        if photo == named.ids[4]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        named.export(form, tmp_path / f"x{FORMATS[form].suffix}", advance=advance)
    assert sorted(tmp_path.iterdir()) == before


def command(*arguments: Any) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["export", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_the_command(named: Collection, made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(made / "out", folder)
    shutil.copy(named.folder / "collection.csv", folder)
    out = tmp_path / "data"
    code, printed, said = command(folder, "--to", "training", "-o", out, "--link", "--json")
    told = json.loads(printed)
    assert (code, told["photographs"], told["failed"]) == (0, COUNT, {})
    assert told["classes"] == sorted(NAMES)
    assert f"9 photographs, 3 classes, 0 left out; wrote {out}" in said
    assert (out / "images" / "val" / "008.png").is_symlink()

    code, _, said = command(folder, "--to", "coco", "-o", tmp_path / "a.json", "--categories", 2,
                            "--option", "joined=false")  # fmt: skip
    assert code == 0
    assert len(read(tmp_path / "a.json")["categories"]) == 2
    for arguments, said in {
        (folder, "--to", "coco"): "name an output with -o",
        (folder, "--to", "coco", "-o", out / "x.json", "--regions", 3): "no option 'n_regions'",
        (folder, folder, "--to", "coco", "-o", out / "x.json"): "one collection at a time",
        (made / "trees", "--to", "coco", "-o", out / "x.json", "--link"): "does not use link",
    }.items():
        code, _, error = command(*arguments)
        assert (code, said in error) == (2, True), error
    broken = tmp_path / "broken"
    shutil.copytree(made / "trees", broken)
    (broken / "train" / "001.npz").write_bytes(b"no tree")
    about = read(folder / "collection.json") | {"source": str(broken)}
    (folder / "collection.json").write_text(json.dumps(about))
    code, printed, said = command(folder, "--to", "labels-png", "-o", tmp_path / "l", "--json")
    assert code == 1
    assert list(json.loads(printed)["failed"]) == ["train/001"]
    assert "left out: " in said


def test_options_have_a_range() -> None:
    for form in FORMATS.values():
        with pytest.raises(SettingsError):
            form.options(n_categories=0)
