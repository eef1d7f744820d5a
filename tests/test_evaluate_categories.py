"""Scoring a collection: which photographs are compared, what is told, tables and files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image
from test_masks import png
from typer.testing import CliRunner

from regiontree.cli import app
from regiontree.datasets.catalog import open_dataset
from regiontree.datasets.dataset import Sample
from regiontree.errors import DataError, SettingsError
from regiontree.experiments.categories import evaluate_categories, photographs_of

LABELS = {
    "source": "made up",
    "labels": {"animal": {"dog": 1, "cat": 2}, "sky": 3, "unlabeled": 0},
    "ignore": ["unlabeled"],
}


class Collection:
    """Four prototypes: dog, cat, half of the sky, and its other half."""

    n_prototypes = 4
    cuts = ([0, 0, 0, 0], [0, 0, 1, 1], [0, 2, 1, 1], [0, 2, 1, 3])

    def __init__(self, maps: dict[str, np.ndarray]) -> None:
        self.maps = maps
        self.asked: list[int] = []

    @property
    def ids(self) -> list[str]:
        return list(self.maps)

    def prototype_map(self, id: str) -> np.ndarray:
        return np.asarray(self.maps[id], np.int32)

    def division(self, n: int) -> np.ndarray:
        self.asked.append(n)
        return np.array(self.cuts[n - 1], np.int32)


TRUTHS = {
    "park": [[1, 1, 3, 3], [1, 1, 3, 3]],
    "sofa": [[2, 2, 3, 3], [2, 2, 0, 0]],
    "sub/both": [[1, 2, 3, 0], [1, 2, 3, 0]],
}
MAPS = {  # one pixel of the park has no prototype; half of the cat on the sofa is a dog
    "park": [[0, 0, 2, 2], [0, -1, 2, 2]],
    "sofa": [[1, 0, 3, 3], [1, 0, 3, 3]],
    "sub/both": [[0, 1, 2, 2], [0, 1, 2, 2]],
}


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    for name, truth in TRUTHS.items():
        png(tmp_path / "images" / f"{name}.png", np.zeros((2, 4, 3), np.uint8))
        png(tmp_path / "masks" / f"{name}.png", np.array(truth, np.uint8))
    (tmp_path / "labels.yaml").write_text(yaml.safe_dump(LABELS))
    file = tmp_path / "set.yaml"
    file.write_text(yaml.safe_dump({"images": "images", "masks": "masks", "labels": "labels.yaml"}))
    return file


def test_scores_at_each_depth_of_the_label_tree(spec: Path) -> None:
    collection = Collection(dict(MAPS))
    report = evaluate_categories(collection, open_dataset(spec), name="pets", names=(1, 3))
    assert (report.failed, report.without_truth, report.absent) == ((), 0, 0)
    assert list(report.results) == [2, 1]
    fine, coarse = report.results[2], report.results[1]
    # 20 pixels have a class: 6 dog, 6 cat, 8 sky. Wrong: one without a prototype, two cats.
    assert (fine.images, fine.pixels, fine.classes, fine.categories) == (3, 20, 3, 3)
    assert fine.accuracy == fine.names[3] == 17 / 20
    assert fine.iou == {"animal--dog": 5 / 8, "animal--cat": 4 / 6, "sky": 1.0}
    assert fine.names[1] == 8 / 20
    assert fine.without_prototype == 1 / 20
    # At depth 1, dogs and cats are animals.
    assert coarse.iou == {"animal": 11 / 12, "sky": 1.0}
    assert coarse.names[1] == 11 / 20
    assert len(coarse.curve) == 100
    # The three segments of the sky and of the animals are true positives. IoUs: 3 / 4, 1 and 1.
    assert coarse.quality == {"animal": pytest.approx((3 / 4 + 2) / 3), "sky": 1.0}


def test_one_depth_and_more_names_than_prototypes(spec: Path) -> None:
    report = evaluate_categories(
        Collection(dict(MAPS)), open_dataset(spec), name="pets", depths=(1,), names=(300,)
    )
    assert list(report.results) == [1]
    assert len(report.results[1].curve) == 300
    assert report.results[1].names[300] == report.results[1].curve[3] == 19 / 20


def test_what_cannot_be_compared_is_counted_and_told(spec: Path) -> None:
    maps = {**MAPS, "sofa": np.zeros((2, 5)), "x/y": np.zeros((1, 1)), "z": np.zeros((1, 1))}
    del maps["sub/both"]
    told: list[str | None] = []
    report = evaluate_categories(
        Collection(maps), open_dataset(spec), name="pets", on_image=told.append
    )
    wrong_size = (
        "sofa: the mask is 2 x 4 pixels, the photograph of the collection 2 x 5: they do not "
        "belong together"
    )
    assert report.failed == (wrong_size, "1 images are not in the collection: sub/both")
    assert told == [None, wrong_size, None]
    assert (report.without_truth, report.absent) == (2, 1)
    assert report.results[2].images == 1
    said = report.headline()
    assert "2 photographs of the collection have no ground truth" in said
    assert "1 images are not in the collection" in said


def test_an_unknown_mask_value_is_told_with_its_image(spec: Path) -> None:
    png(spec.parent / "masks" / "park.png", np.full((2, 4), 9, np.uint8))
    report = evaluate_categories(Collection(dict(MAPS)), open_dataset(spec), name="pets")
    (said,) = report.failed
    assert said.startswith("park: mask holds 9, which the label tree does not know")
    assert all(one.images == 2 for one in report.results.values())


def test_a_prototype_that_is_none_is_told(spec: Path) -> None:
    report = evaluate_categories(
        Collection({**MAPS, "park": np.full((2, 4), 4)}), open_dataset(spec), name="pets"
    )
    assert report.failed == (
        "park: prototypes are -1 to 3, got 4 to 4; the map is of another collection",
    )


def test_nothing_to_compare(spec: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing could be scored:\n  3 images are not in the coll"):
        evaluate_categories(Collection({}), open_dataset(spec), name="pets")
    data = yaml.safe_load(spec.read_text())
    spec.write_text(yaml.safe_dump({**data, "labels": None}))
    with pytest.raises(DataError, match="masks only tell regions apart"):
        evaluate_categories(Collection(dict(MAPS)), open_dataset(spec), name="pets")
    spec.write_text(yaml.safe_dump({**data, "images": "nowhere"}))
    with pytest.raises(DataError, match=r"cannot be scored:\n .*nowhere"):
        evaluate_categories(Collection(dict(MAPS)), open_dataset(spec), name="pets")


def test_wrong_numbers_are_named(spec: Path) -> None:
    with pytest.raises(SettingsError, match=r"depth.*\[1, 2\]"):
        evaluate_categories(Collection(dict(MAPS)), open_dataset(spec), name="pets", depths=(3,))
    with pytest.raises(SettingsError, match="names"):
        evaluate_categories(Collection(dict(MAPS)), open_dataset(spec), name="pets", names=(0,))


# -- which photograph an image has ----------------------------------------------------------------


def pairs(ids: list[str], samples: list[str]) -> dict[str, object]:
    found, _ = photographs_of(ids, [Sample(one, Path(f"{one}.jpg")) for one in samples])
    return {key: str(one) if isinstance(one, DataError) else one for key, one in found.items()}


def test_ids_are_matched_as_those_of_trees_are() -> None:
    assert pairs(["x/a", "b.jpg", "c"], ["x/a", "b", "c"]) == {"x/a": "x/a", "b": "b.jpg", "c": "c"}
    # by the end; the longer id has it
    assert pairs(["photos/x/a", "photos/a"], ["a", "x/a"]) == {"x/a": "photos/x/a", "a": "photos/a"}
    assert pairs(["x/a"], ["a", "x/a"]) == {"x/a": "x/a", "a": None}
    # by the last part
    assert pairs(["a.v2.jpg"], ["x/a.v2"]) == {"x/a.v2": "a.v2.jpg"}
    assert pairs(["a"], ["b"]) == {"b": None}


def test_ambiguous_ids_are_told() -> None:
    found = pairs(["p/a", "q/a"], ["a"])
    assert str(found["a"]).startswith("a: several photographs of that name: p/a, q/a; keep one")
    found = pairs(["a"], ["x/a", "y/a"])
    assert found["x/a"] == found["y/a"]
    assert str(found["x/a"]).startswith("a: its name fits several images: x/a, y/a; name the")
    assert photographs_of(["a"], [Sample("x/a", Path("a")), Sample("y/a", Path("a"))])[1] == 1


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that the command loads; each is the collection of these tests."""
    seen: list[Path] = []

    def load(folder: Path) -> Collection:
        seen.append(folder)
        return Collection(
            dict(MAPS) | ({"more": np.zeros((1, 1))} if "more" in str(folder) else {})
        )

    module = SimpleNamespace(Collection=SimpleNamespace(load=load))
    monkeypatch.setitem(sys.modules, "regiontree.collection", module)
    return seen


def evaluate(*options: object):
    result = CliRunner().invoke(app, ["evaluate", *map(str, options)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_tables_are_printed_and_the_files_say_everything(
    spec: Path, loaded: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    # PQ: the dogs have IoU 3/4 and 1 and one false positive, the cats 1/2, which is none, and 1.
    # So the mean is (7/10 + 1/2 + 1) / 3.
    options = ("--categories", "pets-more", "--dataset", spec, "--names", "2,3", "-o", out)
    result = evaluate(*options)
    assert result.exit_code == 0, result.output
    assert loaded == [Path("pets-more")]
    assert "1 photographs of the collection have no ground truth" in result.stdout
    assert "4 prototypes; 3 images" in result.stdout
    rows = [" ".join(line.replace("│", " ").split()) for line in result.stdout.splitlines()]
    assert "depth 2 3 3 85.0 76.4 73.3" in rows
    # The names curve is 8, 14, 17, 17, ... of 20: two names are cat and sky. Its mean is 0.844.
    assert "depth 2, right 70.0 85.0 84.4" in rows
    found = json.loads((out / "summary.json").read_text())
    assert found == json.loads(evaluate(*options, "--json").stdout)
    assert found["without_truth"] == 1
    fine = found["depths"]["2"]
    assert fine["iou"]["animal--cat"] == 4 / 6
    assert fine["names_iou"]["3"]["sky"] == 1
    assert len(fine["curve"]) == 100
    assert "| depth 2 | 3 | 3 | 85.0 | 76.4 | 73.3 |" in (out / "summary.md").read_text()


def test_one_depth(spec: Path, loaded: list[Path]) -> None:
    result = evaluate("--categories", "pets", "--dataset", spec, "--depth", 1, "--json")
    assert list(json.loads(result.stdout)["depths"]) == ["1"]


def test_an_image_without_a_score_is_exit_code_1(spec: Path, loaded: list[Path]) -> None:
    Image.new("L", (9, 9), 1).save(spec.parent / "masks" / "sofa.png")
    result = evaluate("--categories", "pets", "--dataset", spec)
    assert result.exit_code == 1
    assert "sofa: the mask is 9 x 9 pixels" in result.stderr
    assert "2 images" in result.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("trees", "--categories", "c"), "give either trees or --categories COLLECTION, not both"),
        ((), "give trees to score, or --categories COLLECTION"),
        (("--categories", "c", "--budgets", "5,10,25,50,100,200"), "--budgets is for trees"),
        (("--categories", "c", "--match", "max"), "--match is for trees; leave it out"),
        (("--categories", "c", "--protocol", "grid"), "--protocol is for trees"),
        (("--categories", "c", "--metric", "boundary"), "--metric is for trees"),
        (("--categories", "c", "--threshold", "0.5"), "--threshold is for trees"),
        (("--categories", "c", "--names", "5,x"), "names must be whole numbers separated by comm"),
        (("--categories", "c", "--names", ","), "names is empty"),
        (("--categories", "c", "--depth", "3"), "depth"),
        (("trees", "--depth", "1"), "--depth needs --categories"),
        (("trees", "--names", "10,20,50,100"), "--names needs --categories"),
    ],
)
def test_options_that_do_not_fit_are_named(
    spec: Path, loaded: list[Path], options: tuple[str, ...], said: str
) -> None:
    result = evaluate(*options, "--dataset", spec)
    assert result.exit_code == 2
    assert said in result.stderr
