"""A tree's photograph is found where it lies, told from others, and never trusted to be there."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from trees import hand_tree, random_tree, trees

from regiontree import RegionTree
from regiontree.errors import ImageError, SettingsError, TreeFileError
from regiontree.forest import finding
from regiontree.forest.saved import TreeFile
from regiontree.forest.sources import Places, Source, open_outline, open_source, require_images
from regiontree.system.files import sha256_of


def photograph(path: Path, shape: tuple[int, int] = (20, 30), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (*shape, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def tree_of(photo: Path, file: Path, *, leaves: int = 6, seed: int = 0, **image: object) -> Path:
    """A random tree saved as if it had been made from a photograph; `image` changes its meta."""
    with Image.open(photo) as opened:
        shape = opened.height, opened.width
    about = {"name": photo.name, "sha256": sha256_of(photo), "size": list(shape), **image}
    tree = random_tree(np.random.default_rng(seed), leaves, shape)
    return replaced_meta(tree, {"image": about}).save(file)


def replaced_meta(tree: RegionTree, meta: dict) -> RegionTree:
    return RegionTree(tree.labels, tree.parents, tree.height, tree.ncut, tree.stop, None, meta)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return photograph(tmp_path / "photos" / "été.png")


@pytest.fixture
def tree(tmp_path: Path, photo: Path) -> Path:
    return tree_of(photo, tmp_path / "trees" / "a.npz")


# -- where it lies --------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["file", "folder", "beside", "summary"])
def test_a_photograph_is_found_in_every_place(tmp_path, photo, tree, place):
    images = []
    if place == "file":
        images = [tmp_path / "nowhere", photo]
    elif place == "folder":
        images = [tmp_path, photo.parent]
    elif place == "beside":
        photo = photo.rename(tree.parent / photo.name)
    else:
        files = [{"source": str(photo), "output": str(tree), "status": "done"}]
        (tmp_path / "summary.json").write_text(json.dumps({"files": files}))
    source = open_source(tree, images=images)
    assert (source.photo, source.notice, source.name) == (photo, None, "été.png")
    assert source.tree == RegionTree.load(tree)


def test_folders_are_not_searched_further_down(tmp_path, photo, tree):
    source = open_source(tree, images=[tmp_path])
    assert (source.photo, source.notice) == (None, "The photograph été.png was not found.")


def test_a_photograph_is_found_where_the_tree_says(tmp_path, photo):
    tree = tree_of(photo, tmp_path / "trees" / "a.npz", path=f"../photos/{photo.name}")
    assert open_source(tree).photo == photo
    (tmp_path / "trees").rename(tmp_path / "elsewhere")
    assert open_source(tmp_path / "elsewhere" / "a.npz").photo == photo
    away = tmp_path / "far" / "away"
    away.parent.mkdir()
    (tmp_path / "photos").rename(away)
    moved = tmp_path / "elsewhere" / "a.npz"
    assert open_source(moved).photo is None
    assert open_source(moved, images=[away]).photo == away / photo.name
    away.rename(tmp_path / "far" / "photos")
    assert open_source(moved, images=[away.parent]).photo == tmp_path / "far/photos" / photo.name


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../secret.png", "x\0y", "", 3, None, "a/" * 100_000 + "été.png", "\ud800"],
)
def test_a_recorded_path_leads_to_no_other_file(tmp_path, photo, path):
    photo.rename(tmp_path / "secret.png")
    tree = tree_of(tmp_path / "secret.png", tmp_path / "trees/a.npz", name="été.png", path=path)
    source = open_source(tree, images=[tmp_path])
    assert source.photo is None
    assert "--images FOLDER" in str(source.lack)


def test_what_lacks_is_told_with_what_to_do(tmp_path, photo, tree):
    assert open_source(tree, images=[photo]).lack is None
    missing = str(open_source(tree).lack)
    assert missing.startswith(f"{tree}: The photograph été.png was not found.")
    assert open_outline(tree).lack == missing
    photograph(photo, seed=5)
    assert "has changed since" in str(open_source(tree, images=[photo]).lack)
    unknown = tree_of(photo, tmp_path / "b.npz", sha256=None)
    assert open_source(unknown, images=[photo]).lack is None
    features = tree_of(photo, tmp_path / "c.npz", name="x.safetensors")
    assert open_source(features).lack is None


@pytest.mark.parametrize("where", ["there", "elsewhere", "moved"])
def test_a_summary_of_an_earlier_version_still_tells(tmp_path, photo, tree, monkeypatch, where):
    files = [{"source": "photos/été.png", "output": "trees/a.npz", "status": "done"}]
    (tmp_path / "trees/summary.json").write_text(json.dumps({"files": files}))
    folder = tmp_path
    if where == "moved":
        folder = tmp_path / "new"
        folder.mkdir()
        for name in ("photos", "trees"):
            (tmp_path / name).rename(folder / name)
    monkeypatch.chdir(tmp_path if where == "there" else "/")
    assert open_source(folder / "trees/a.npz").photo == folder / "photos/été.png"


def test_the_file_with_the_right_bytes_wins_over_a_likelier_place(tmp_path, photo, tree):
    other = photograph(tmp_path / "other" / photo.name, seed=1)
    photograph(tree.parent / photo.name, seed=2)
    source = open_source(tree, images=[other, photo.parent])
    assert (source.photo, source.notice) == (photo, None)
    changed = open_source(tree, images=[other])
    assert changed.photo == other
    assert "has changed since" in str(changed.notice)


def test_a_photograph_whose_digest_was_not_recorded_is_shown_with_a_notice(tmp_path, photo):
    tree = tree_of(photo, tmp_path / "a.npz", sha256=None)
    source = open_source(tree, images=[photo])
    assert source.photo == photo
    assert "does not say whether this is the été.png" in str(source.notice)


def test_a_photograph_that_cannot_be_read(photo, tree, monkeypatch):
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(finding, "sha256_of", refuse)
    source = open_source(tree, images=[photo])
    assert source.photo is None
    assert source.notice == "The photograph été.png cannot be read (Permission denied)."


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[" * 100_000,
        "[]",
        '{"files": 3}',
        '{"files": [{"source": 1, "output": 2}]}',
        '{"files": [{"output": "a"}]}',
    ],
)
def test_a_summary_of_another_program_says_nothing(tmp_path, photo, tree, content):
    (tmp_path / "summary.json").write_text(content)
    assert open_source(tree).photo is None


def test_a_summary_cannot_pass_another_file_for_the_photograph(tmp_path, photo, tree):
    secret = photo.rename(tmp_path / "secret.png")
    files = [{"source": str(secret), "output": str(tree)}]
    (tmp_path / "summary.json").write_text(json.dumps({"files": files}))
    assert open_source(tree).photo is None


@pytest.mark.parametrize(
    "name",
    ["x" * 5000, "a\0b.jpg", "\ud800.jpg", "..", ".", "../..", "/", "/etc/", "con\nsole"],
)
def test_a_name_that_no_photograph_has(tmp_path, photo, name):
    tree = tree_of(photo, tmp_path / "a.npz", name=name)
    for source in (open_source(tree, images=[tmp_path]), open_outline(tree, images=[tmp_path])):
        assert source.photo is None
        assert source.notice


def test_a_path_for_a_name_leads_nowhere_else(tmp_path, photo):
    tree = tree_of(photo, tmp_path / "trees" / "a.npz", name=f"../photos/{photo.name}")
    assert open_source(tree).photo is None
    assert open_source(tree, images=[photo.parent]).photo == photo


@pytest.mark.parametrize(
    "meta", [{}, {"image": None}, {"image": 3}, {"image": []}, {"image": {"name": 3}}]
)
def test_a_tree_that_does_not_name_its_photograph(tmp_path, meta):
    tree = replaced_meta(hand_tree(), meta).save(tmp_path / "a.npz")
    for source in (open_source(tree), open_outline(tree)):
        assert (source.name, source.photo) == ("a.npz", None)
        assert source.notice == "The tree does not say which photograph it was made from."


@pytest.mark.parametrize("name", ["x.npy", "x.v2.npz", "x.safetensors", "X.SafeTensors"])
def test_a_tree_made_from_features_has_no_photograph(tmp_path, name):
    (tmp_path / name).write_bytes(b"features")
    meta = {"image": {"name": name, "sha256": sha256_of(tmp_path / name)}}
    source = open_source(replaced_meta(hand_tree(), meta).save(tmp_path / "a.npz"))
    assert source.photo is None
    assert source.notice == f"The tree was made from the features in {name}, without a photograph."


def test_places_sorted_once_are_the_same_as_a_list(tmp_path, photo, tree):
    given = [photo, tmp_path / "folder", tmp_path / "folder" / "nothing.png"]
    (tmp_path / "folder").mkdir()
    places = Places.of(given)
    assert list(places.named(photo.name)) == [photo, tmp_path / "folder" / photo.name]
    assert open_source(tree, images=places) == open_source(tree, images=given)


# -- its picture ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "longest", "expected"),
    [
        ((20, 30), None, (20, 30)),
        ((20, 30), 30, (20, 30)),
        ((20, 30), 15, (10, 15)),
        ((1, 400), 100, (1, 100)),
        ((400, 1), 1, (1, 1)),
    ],
)
def test_a_picture_has_the_shape_of_the_tree(tmp_path, shape, longest, expected):
    photo = photograph(tmp_path / "a.png", shape)
    source = open_source(tree_of(photo, tmp_path / "a.npz", leaves=1))
    assert source.picture(longest).shape == (*expected, 3)
    white = replace(source, photo=None).picture(longest)
    assert white.shape == (*expected, 3)
    assert (white == 255).all()
    if expected == shape:
        with Image.open(photo) as opened:
            assert np.array_equal(source.picture(longest), np.asarray(opened))


def test_a_changed_photograph_is_fitted_to_the_tree(tmp_path, photo, tree):
    photograph(photo, (60, 30))
    assert open_source(tree, images=[photo]).picture().shape == (20, 30, 3)


def test_a_photograph_that_is_none_is_an_image_error(tmp_path, tree):
    (tmp_path / "no.png").write_bytes(b"no")
    with pytest.raises(ImageError, match=r"no\.png"):
        Source(RegionTree.load(tree), TreeFile(tree), tmp_path / "no.png").picture()


# -- told without its pixels ----------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(trees(), st.none() | st.floats(0, 1.5))
def test_an_outline_says_what_the_whole_tree_says(tmp_path_factory, tree, natural):
    file = tmp_path_factory.mktemp("outline") / "a.npz"
    meta = {"image": {"name": "a.jpg", "size": list(tree.shape)}}
    tree = replaced_meta(tree, meta if natural is None else {**meta, "natural_height": natural})
    tree.save(file)
    outline, source = open_outline(file), open_source(file)
    assert (outline.n_regions, outline.n_leaves) == (len(tree.cut_nodes()), tree.n_leaves)
    assert (outline.name, outline.photo, outline.notice) == (
        source.name, source.photo, source.notice,
    )  # fmt: skip
    assert outline.shape == tree.shape


@pytest.mark.parametrize("size", [None, 3, [1], [1, 2, 3], ["1", 2], [True, 2], [1.5, 2]])
def test_an_outline_has_no_shape_where_the_file_says_none(tmp_path, size):
    tree = replaced_meta(hand_tree(), {"image": {"size": size}}).save(tmp_path / "a.npz")
    assert open_outline(tree).shape is None


def damaged(tree: Path, name: str, data: bytes) -> Path:
    """The tree with one member replaced."""
    with zipfile.ZipFile(tree) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(tree, "w") as archive:
        for member, content in {**members, f"{name}.npy": data}.items():
            archive.writestr(member, content)
    return tree


def test_an_outline_does_not_look_at_the_pixels(photo, tree):
    damaged(tree, "labels", b"damaged")
    assert open_outline(tree).n_leaves == 6
    with pytest.raises(TreeFileError, match="labels"):
        open_source(tree)


@pytest.mark.parametrize("name", ["parents", "height", "stop", "meta"])
def test_an_outline_of_a_damaged_file_names_it(tree, name):
    damaged(tree, name, b"damaged")
    with pytest.raises(TreeFileError, match=rf"a\.npz: .*{name}"):
        open_outline(tree)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": [-1, 0, 0, 0, 0.25, 0.5, 1]}, r"height\[0\]"),
        ({"stop": [0, 1, 1, 2, 0, 0, 0]}, "stop|leaf|labels|leaves"),
        ({"stop": [0] * 7}, "labels"),
        ({"natural_height": "high"}, "cut: height"),
    ],
)
def test_an_outline_that_contradicts_itself(tmp_path, change, message):
    tree = hand_tree()
    natural = change.pop("natural_height", 0.0)
    file = replaced_meta(tree, {"natural_height": natural}).save(tmp_path / "a.npz")
    for name, values in change.items():
        array = np.array(values, getattr(tree, name).dtype)
        with (tmp_path / "member").open("wb") as stream:
            np.lib.format.write_array(stream, array, version=(1, 0))
        damaged(file, name, (tmp_path / "member").read_bytes())
    with pytest.raises(TreeFileError, match=rf"a\.npz: .*({message})"):
        open_outline(file)


# -- what the user says ----------------------------------------------------------------------------


def test_a_place_for_photographs_must_be_there(tmp_path, photo):
    require_images([photo, str(photo.parent)])
    for wrong in (tmp_path / "gone", "a" * 300):
        with refused(SettingsError, "--images", str(wrong)):
            require_images([photo, wrong])
