"""The notebooks about collections say what is true of the photographs that they draw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT

pytest.importorskip("skimage", reason="scikit-image is not installed")
pyplot = pytest.importorskip("matplotlib.pyplot", reason="Matplotlib is not installed")

NOTEBOOKS = ROOT / "docs" / "notebooks"


@pytest.fixture
def drawn_scenes(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(NOTEBOOKS))
    import drawn_scenes

    return drawn_scenes


@pytest.fixture
def run(
    drawn_scenes: Any, embedded_installed: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Any:
    """Runs the code of a notebook, but for its last cell, and gives its names."""
    pyplot.switch_backend("agg")
    monkeypatch.setattr("tempfile.mkdtemp", lambda: str(tmp_path))

    def named(notebook: str) -> dict[str, Any]:
        text = (NOTEBOOKS / f"{notebook}.ipynb").read_text(encoding="utf-8")
        codes = [
            "".join(c["source"]) for c in json.loads(text)["cells"] if c["cell_type"] == "code"
        ]
        names: dict[str, Any] = {}
        assert "rmtree" in codes[-1]  # it removes the files
        with torch.enable_grad():
            for code in codes[:-1]:
                exec(code, names)  # the project's own notebook
        pyplot.close("all")
        return names

    return named


def test_scenes_are_known_pixel_by_pixel(drawn_scenes: Any, tmp_path: Path) -> None:
    place = drawn_scenes.SCENES.index
    truth = drawn_scenes.draw_scenes(tmp_path / "a", 8, horses=[5])
    assert [key for key, one in truth.items() if (one == place("horse")).any()] == ["scene05"]
    for one in truth.values():
        shown = [drawn_scenes.SCENES[kind] for kind in np.unique(one)]
        assert len(set(shown) & {"sky", "wall"}) == 1
        assert len(set(shown) & {"meadow", "gravel"}) == 1
        assert len(shown) == 4  # and two things
    sky, meadow = (
        np.concatenate([opened(tmp_path / "a", key)[one == kind] for key, one in truth.items()])
        for kind in (place("sky"), place("meadow"))
    )
    assert (sky.mean(0).argmax(), meadow.mean(0).argmax()) == (2, 1)  # blue and green
    drawn_scenes.draw_scenes(tmp_path / "b", 8, horses=[5])
    for key in truth:
        assert np.array_equal(opened(tmp_path / "a", key), opened(tmp_path / "b", key))


def test_photographs_of_leaves_hold_as_many_of_both_kinds(
    drawn_scenes: Any, tmp_path: Path
) -> None:
    from scipy.ndimage import label

    truth = drawn_scenes.draw_leaves(tmp_path, 4)
    for key, one in truth.items():
        for kind in (1, 2):
            pieces = np.bincount(label(one == kind)[0].ravel())[1:]
            assert (pieces > 100).sum() == 3  # a tooth may be cut off
        photo = opened(tmp_path, key).astype(int)
        green = photo[..., 1] - photo[..., 2]
        assert green[one > 0].mean() > green[one == 0].mean() + 30


def opened(folder: Path, key: str) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(folder / f"{key}.jpg"))


@pytest.mark.slow
def test_a_segmenter_learns_the_names_of_a_collection(run: Any) -> None:
    names = run("collection")
    assert set(names["classes"]) == {"sky", "wall", "meadow", "gravel", "cat", "cup", "person"}
    given, found, real = names["given"], names["found"], names["real"]
    assert (names["work"] / "data" / "classes.txt").is_file()
    assert len(names["test"]) == 4
    assert (given > 0).mean() > 0.9
    assert (given == real)[given > 0].mean() > 0.95  # names are those of what is shown
    assert (found == given)[given > 0].mean() > 0.9
    assert (found == real).mean() > 0.9
    assert (given == names["most"])[given > 0].mean() < 0.5


@pytest.mark.slow
def test_failures_are_those_that_the_notebook_shows(run: Any) -> None:
    names = run("collection-failures")
    coarse, among = names["around_the_horse"](12)
    fine, own = names["around_the_horse"](24)
    assert {region.photo for region in own} == {"scene05"}
    assert len({region.photo for region in among}) > 5
    assert coarse.n_regions > 5 * fine.n_regions
    forest, truth = names["scenes"].forest, names["truth"]
    kinds = [np.bincount(truth[r.photo][forest[r.photo].mask(r.node)]).argmax() for r in among]
    assert kinds.count(names["SCENES"].index("cat")) > len(kinds) / 2
    for n_categories in (6, 12, 24):
        assert names["right_in_the_other_half"](n_categories) < 0.7
    shown = [names["what"](category) for category in names["categories"]]
    assert sorted(shown) == ["gravel"] * 5 + ["leaves"]
    tree = names["whole"]
    suit = names["truth"]["scene00"] == names["SCENES"].index("person")
    photo = names["photo"].astype(int)
    badge = suit & (photo[..., 2] > photo[..., 0] + 40)  # what is blue on the orange suit
    covered = {}
    for n_regions in (4, 16):
        labels = tree.cut(n_regions=n_regions)
        inside = np.bincount(labels[badge], minlength=labels.max() + 1)
        covered[n_regions] = np.max(inside / np.bincount(labels.ravel()))
    assert covered[4] < 0.1 < covered[16]
