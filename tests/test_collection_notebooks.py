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
    assert kinds.count(names["SCENES"].index("horse")) < len(kinds) / 4
    for n_categories in (6, 12, 24):
        assert names["right_in_the_other_half"](n_categories) < 0.7
    shown = [names["what"](category) for category in names["categories"]]
    assert shown.count("gravel") > 3
    assert "leaves" in shown
    cat, cup = (truth["scene00"] == names["SCENES"].index(name) for name in ("cat", "cup"))
    assert most_alike(cat, names["whole"].cut(n_regions=2)) < 0.2
    assert most_alike(cat, names["whole"].cut(n_regions=4)) > 0.7
    assert len(parts_of(cup, names["whole"].cut(n_regions=4))) == 1
    assert len(parts_of(cup, names["whole"].cut(n_regions=8))) > 1  # the coffee is one


def most_alike(thing: np.ndarray, labels: np.ndarray) -> float:
    """The largest IoU of a region with a thing."""
    regions = [labels == one for one in range(labels.max() + 1)]
    return max((thing & one).sum() / (thing | one).sum() for one in regions)


def parts_of(thing: np.ndarray, labels: np.ndarray) -> list[int]:
    """Regions that lie in a thing and cover a twentieth of it."""
    area, inside = (
        np.bincount(labels.ravel()),
        np.bincount(labels[thing], minlength=labels.max() + 1),
    )
    return np.flatnonzero((inside > 0.8 * area) & (inside > 0.05 * thing.sum())).tolist()
