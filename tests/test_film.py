"""Films of a cut: one colour a region in all frames, readable by other programs."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from regiontree.cli import app
from regiontree.display.film import drawn_frames, save_film
from regiontree.display.pictures import hierarchy_colors
from regiontree.errors import ExportError
from regiontree.tree import ClipTree

av = pytest.importorskip("av", reason="PyAV is not installed")


@pytest.fixture
def tree():
    labels = np.zeros((4, 40, 60), np.int32)
    for t in range(4):
        labels[t, 10:30, 5 + 10 * t : 25 + 10 * t] = 1
    labels[:, 30:] = 2
    return ClipTree(labels, [4, 3, 3, 4, 4], [0, 0, 0, 0.4, 1], meta={"natural_height": 0.1})


def frames_of(path):
    if path.suffix == ".mp4":
        with av.open(str(path)) as film:
            return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    picture = Image.open(path)
    found = []
    for t in range(picture.n_frames):
        picture.seek(t)
        found.append(np.asarray(picture.convert("RGB")))
    return found


def test_a_region_has_its_colour_in_every_frame(tree):
    pictures = [np.asarray(p).astype(int) for p in drawn_frames(tree, n_regions=3, width=60)]
    colours = hierarchy_colors(tree)
    for t, picture in enumerate(pictures):
        inside = picture[14:26, 9 + 10 * t : 21 + 10 * t].reshape(-1, 3)
        assert (inside == inside[0]).all()  # far from the borders
        assert np.array_equal(inside[0], pictures[0][20, 15])
    assert len({tuple(colour) for colour in colours}) == 5


@pytest.mark.parametrize("ending", ["mp4", "gif", "webp"])
def test_other_programs_read_the_film(tree, tmp_path, ending):
    path = save_film(tree, tmp_path / f"a.{ending}", n_regions=3, width=60, fps=10)
    found = frames_of(path)
    drawn = [np.asarray(p).astype(int) for p in drawn_frames(tree, n_regions=3, width=60)]
    assert len(found) == 4
    for own, expected in zip(found, drawn, strict=True):
        assert own.shape == expected.shape
        assert np.abs(own.astype(int) - expected).mean() < 14  # compressed
    assert [file.name for file in tmp_path.iterdir()] == [f"a.{ending}"]


def test_frames_lie_under_the_colours(tree):
    photo = np.zeros((40, 60, 3), np.uint8)
    (dark,) = [np.asarray(p) for p in list(drawn_frames(tree, [photo] * 4, width=60))[:1]]
    (light,) = [np.asarray(p) for p in list(drawn_frames(tree, width=60))[:1]]
    assert dark[35, 30].sum() < light[35, 30].sum()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"frames": [np.zeros((40, 60, 3), np.uint8)] * 2}, "frame 2 is missing"),
        ({"frames": [np.zeros((60, 40, 3), np.uint8)] * 4}, "frame 0 has 60 x 40"),
        ({"fps": 0}, "fps"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_left(tree, tmp_path, options, said):
    with pytest.raises(ExportError, match=said):
        save_film(tree, tmp_path / "a.gif", **options)
    assert not list(tmp_path.iterdir())


def test_other_endings_and_sizes_are_refused(tree, tmp_path):
    with pytest.raises(ExportError, match=r"a\.png: a film ends in"):
        save_film(tree, tmp_path / "a.png")
    uneven = ClipTree([np.zeros((2, 3), int), np.ones((4, 4), int)], [2, 2, 2], [0, 0, 1])
    with pytest.raises(ExportError, match="different sizes"):
        save_film(uneven, tmp_path / "a.gif")


def test_show_writes_a_film_over_the_clip(tree, tmp_path):
    path = tree.save(tmp_path / "a")
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8)) for _ in range(4)]
    pictures[0].save(tmp_path / "clip.gif", save_all=True, append_images=pictures[1:], duration=90)
    film = tmp_path / "film.mp4"
    asked = ["show", str(path), "--regions", "3", "--figure", str(film)]
    result = CliRunner().invoke(app, [*asked, "--images", str(tmp_path / "clip.gif")])
    assert result.exit_code == 0, result.output
    assert len(frames_of(film)) == 4
    again = CliRunner().invoke(app, asked)
    assert again.exit_code == 2
    assert "exists already; give --overwrite" in again.stderr
