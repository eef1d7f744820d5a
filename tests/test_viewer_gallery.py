"""A gallery stands on its own, is brought up to date piece by piece, and harms no other file."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_sources import damaged, photograph, tree_of

from regiontree import RegionTree
from regiontree.errors import ViewError
from regiontree.forest.saved import TreeFile
from regiontree.forest.sources import Outline, open_outline
from regiontree.viewer import gallery
from regiontree.viewer.gallery import MANIFEST, Gallery, Written, stems
from regiontree.viewer.index import Card

pytest_plugins = ["browser"]

NAMES = ("ant", "bee", "cat", "dog")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Four photographs and their trees, side by side."""
    folder = tmp_path / "sources"
    for seed, name in enumerate(NAMES):
        photo = photograph(folder / f"{name}.png", (20, 30 + seed), seed)
        tree_of(photo, folder / f"{name}.npz", leaves=4 + seed, seed=seed)
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "site"


def outlines(sources: Path, *names: str) -> dict[str, Outline]:
    return {name: open_outline(sources / f"{name}.npz") for name in names or NAMES}


def write(sources: Path, out: Path, *names: str, **options: Any) -> Written:
    return Gallery(out).write(outlines(sources, *names), title="Animals", **options)


def contents(out: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of each file: a file written again has another time."""
    return {
        file.relative_to(out).as_posix(): (file.read_bytes(), file.stat().st_mtime_ns)
        for file in sorted(out.rglob("*"))
        if file.is_file()
    }


def redone(before: dict[str, tuple[bytes, int]], after: dict[str, tuple[bytes, int]]) -> set[str]:
    """Names of the pages written between the two."""
    changed = {name for name in after if after[name] != before.get(name)}
    return {Path(name).stem for name in changed if name.startswith("pages/")}


def data_of(page: Path) -> dict[str, Any]:
    """The data of a page."""
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', page.read_text())
    assert data is not None
    return json.loads(data[1])


def links(page: Path) -> dict[str, str | None]:
    """What the data of a page says lies around it."""
    return data_of(page)["links"]


def whole(out: Path) -> list[str]:
    """Names that the index shows; every link of the site leads to a file of the site."""
    index = html.unescape((out / "index.html").read_text())
    shown = re.findall(r'<a href="pages/(.*?)\.html"', index)
    for path in re.findall(r'(?:href|src)="(?!data:)(.*?)"', index):
        assert (out / unquote(path)).is_file(), path
    for name in shown:
        page = out / f"pages/{name}.html"
        around = {kind: link for kind, link in links(page).items() if link is not None}
        assert {"index", "tree"} <= around.keys()
        for link in around.values():
            assert (page.parent / link).resolve().is_relative_to(out.resolve())
            assert (page.parent / link).is_file(), link
    return shown


# -- what it is -----------------------------------------------------------------------------------


def test_a_site_of_pieces_shows_and_offers_them(sources, out):
    write(sources, out)
    plain = contents(out)
    assert write(sources, out, pieces=True).made == set(NAMES)
    assert whole(out) == list(NAMES)
    of_pieces = contents(out)
    for name in NAMES:
        tree = RegionTree.load(sources / f"{name}.npz")
        page = out / f"pages/{name}.html"
        assert links(page)["tree"] == f"../pieces/{name}.npz"
        assert RegionTree.load(out / f"pieces/{name}.npz") == tree.pieces()
        assert data_of(page)["parents"] == tree.pieces().parents.tolist()
        for kind in ("trees/{}.npz", "thumbs/{}.jpg"):
            assert of_pieces[kind.format(name)][0] == plain[kind.format(name)][0]
    assert write(sources, out, pieces=True).made == set()
    assert write(sources, out, pieces=True, min_area=40).made == set(NAMES)
    large = RegionTree.load(out / "pieces/ant.npz")
    assert large == RegionTree.load(sources / "ant.npz").pieces(40)
    assert write(sources, out, *NAMES[:2], pieces=True).removed == set(NAMES[2:])
    assert sorted(file.stem for file in (out / "pieces").iterdir()) == list(NAMES[:2])
    assert write(sources, out, *NAMES[:2]).made == set(NAMES[:2])
    assert not list((out / "pieces").iterdir())
    assert whole(out) == list(NAMES[:2])


def test_a_site_is_whole(sources, out):
    written = write(sources, out)
    assert written == Written(set(NAMES), set(NAMES), set(), [])
    assert whole(out) == list(NAMES)
    assert sorted(contents(out)) == sorted(
        [MANIFEST, "index.html"]
        + [f"{kind.format(name)}" for name in NAMES
           for kind in ("pages/{}.html", "thumbs/{}.jpg", "trees/{}.npz")]
    )  # fmt: skip
    for i, name in enumerate(NAMES):
        around = links(out / f"pages/{name}.html")
        assert around["previous"] == (f"{NAMES[i - 1]}.html" if i else None)
        assert around["next"] == (f"{NAMES[i + 1]}.html" if i < 3 else None)
        tree = (out / f"trees/{name}.npz").read_bytes()
        assert tree == (sources / f"{name}.npz").read_bytes()
        with Image.open(out / f"thumbs/{name}.jpg") as picture:
            assert (picture.format, max(picture.size)) == ("JPEG", 480)


def test_it_names_no_folder_of_this_machine(sources, out, tmp_path):
    write(sources, out)
    for name, (data, _) in contents(out).items():
        assert str(tmp_path).encode() not in data, name


@given(st.lists(st.text(max_size=80), max_size=12))
def test_names_are_safe_and_no_two_alike(names):
    files = [Path(name.replace("\0", "")) for name in names]
    found = stems(files)
    assert len(set(found)) == len(found) == len(files)
    for name in found:
        assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", name)
        assert len(name) <= 70
    assert stems(files) == found


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["a/photo.jpg", "b/photo.jpg", "Photo.png"], ["photo", "photo-2", "photo-3"]),
        (["a.jpg", "a-2.jpg", "b/a.png"], ["a", "a-2", "a-3"]),
        (["CON.jpg", "nul.png", "com1.jpg"], ["con-image", "nul-image", "com1-image"]),
        (["My photo (1)%2F.jpg", "Straße.jpg"], ["my-photo-1-2f", "strae"]),
        (["写真.jpg", "🐈.png", "..."], ["image", "image-2", "image-3"]),
        (["x" * 200 + ".jpg", "x" * 201 + ".jpg"], ["x" * 60, "x" * 60 + "-2"]),
    ],
)
def test_names_by_example(files, expected):
    assert stems([Path(file) for file in files]) == expected


def test_odd_images_have_pages_too(tmp_path, out):
    names = ["one pixel", "un été", "写真", "a strip"]
    shapes = [(1, 1), (20, 30), (20, 30), (1, 300)]
    found = {}
    files = [tmp_path / f"{name}.png" for name in names]
    for seed, (photo, shape, stem) in enumerate(zip(files, shapes, stems(files), strict=True)):
        photograph(photo, shape)
        tree = tree_of(
            photo, photo.with_suffix(".npz"), leaves=1 if shape == (1, 1) else 5, seed=seed
        )
        found[stem] = open_outline(tree)
    Gallery(out).write(found, title='"Odd" <images> & others')
    assert whole(out) == ["one-pixel", "un-ete", "image", "a-strip"]
    text = (out / "index.html").read_text()
    assert "<images>" not in text
    assert all(name in text for name in names)
    for stem in found:  # what is thinner than a quarter of its length is drawn thicker
        with Image.open(out / f"thumbs/{stem}.jpg") as picture:
            assert min(picture.size) >= 120


@pytest.mark.parametrize(
    ("natural", "leaves", "facts"),
    [(1, 1, "1 region"), (5, 5, "5 regions"), (9, 400, "9 of 400 regions"),
     (1, 400, "1 of 400 regions"), (700, 1700, "64 of 1,700 regions")],
)  # fmt: skip
def test_a_card_says_how_many_regions_are_drawn(tmp_path, natural, leaves, facts):
    outline = Outline(TreeFile(tmp_path / "a.npz"), "a.jpg", None, natural, leaves)
    assert Card(outline, "a.html", "a.jpg").facts == facts


# -- brought up to date ---------------------------------------------------------------------------


def test_what_is_up_to_date_is_kept(sources, out):
    write(sources, out)
    before = contents(out)
    written = write(sources, out)
    assert (written.made, written.removed) == (set(), set())
    after = contents(out)
    assert redone(before, after) == set()
    assert {name: data for name, (data, _) in after.items()} == {
        name: data for name, (data, _) in before.items()
    }


def change_tree(sources: Path, out: Path) -> None:
    file = sources / "bee.npz"
    RegionTree.load(file).prune(n_regions=2).save(file)


def change_photograph(sources: Path, out: Path) -> None:
    photograph(sources / "bee.png", (20, 31), seed=9)


def lose_photograph(sources: Path, out: Path) -> None:
    (sources / "bee.png").unlink()


def lose_page(sources: Path, out: Path) -> None:
    (out / "pages/bee.html").unlink()


def lose_thumbnail(sources: Path, out: Path) -> None:
    (out / "thumbs/bee.jpg").unlink()


@pytest.mark.parametrize("change", [change_tree, change_photograph, lose_page, lose_thumbnail])
def test_only_what_has_changed_is_made_again(sources, out, change: Callable[[Path, Path], None]):
    write(sources, out)
    before = contents(out)
    change(sources, out)
    assert write(sources, out).made == {"bee"}
    after = contents(out)
    after.setdefault("pages/bee.html", (b"", 0))
    assert redone(before, after) == {"bee"}
    assert whole(out) == list(NAMES)
    tree = (sources / "bee.npz").read_bytes()
    assert after["trees/bee.npz"][0] == tree


def test_a_page_keeps_a_photograph_that_is_gone(sources, out):
    write(sources, out)
    before = contents(out)
    lose_photograph(sources, out)
    assert write(sources, out).made == set()
    assert redone(before, contents(out)) == set()


def test_no_page_is_made_without_the_photograph_that_the_tree_names(sources, out):
    lose_photograph(sources, out)
    written = write(sources, out)
    assert written.shown == set(NAMES) - {"bee"}
    (said,) = written.failed
    assert "bee.png was not found" in said
    assert "--images FOLDER" in said
    assert not (out / "pages/bee.html").exists()


def test_pages_have_no_metadata_of_the_photograph(tmp_path, out):
    exif = Image.Exif()
    exif[0x010E] = "taken at home"  # ImageDescription
    Image.new("RGB", (12, 9), "teal").save(tmp_path / "a.jpg", exif=exif)
    assert b"taken at home" in (tmp_path / "a.jpg").read_bytes()
    digest = hashlib.sha256((tmp_path / "a.jpg").read_bytes()).hexdigest()
    meta = {"image": {"name": "a.jpg", "size": [9, 12], "sha256": digest}}
    labels = np.arange(108).reshape(9, 12) // 54
    RegionTree(labels, np.array([2, 2, 2]), np.array([0, 0, 1]), meta=meta).save(tmp_path / "a.npz")
    assert write(tmp_path, out, "a").failed == []
    page = (out / "pages/a.html").read_text()
    pictures = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", page)
    files = [base64.b64decode(one) for one in pictures] + [
        each.read_bytes() for each in out.rglob("*.jpg")
    ]
    assert files
    for data in files:
        assert not Image.open(io.BytesIO(data)).getexif()


def test_the_trees_of_a_site_name_no_folder(sources, out):
    tree = RegionTree.load(sources / "bee.npz")
    image = {**tree.meta["image"], "path": "../secret/bee.png"}
    arrays = (tree.labels, tree.parents, tree.height, tree.ncut, tree.stop, tree.embedding)
    RegionTree(*arrays, {**tree.meta, "image": image}).save(sources / "bee.npz")
    write(sources, out)
    assert RegionTree.load(out / "trees/bee.npz") == tree
    for file, (data, _) in contents(out).items():
        assert b"secret" not in data, file


def test_a_photograph_that_changes_twice_is_shown_as_it_is(sources, out):
    change_photograph(sources, out)
    write(sources, out)
    photograph(sources / "bee.png", (20, 31), seed=10)
    assert write(sources, out).made == {"bee"}


def test_options_are_part_of_a_page(sources, out):
    write(sources, out, longest=16)
    assert write(sources, out, longest=16).made == set()
    assert write(sources, out, longest=20).made == set(NAMES)
    assert write(sources, out, longest=20, overwrite=True).made == set(NAMES)


def test_an_image_more_changes_its_neighbours(sources, out):
    write(sources, out, "ant", "bee", "dog")
    written = write(sources, out)
    assert written.made == {"bee", "cat", "dog"}
    assert whole(out) == list(NAMES)


def test_an_image_less_takes_its_files_along(sources, out):
    write(sources, out)
    (out / "CNAME").write_text("animals.example")
    (out / "pages" / "about.html").write_text("mine")
    written = write(sources, out, "ant", "bee", "dog")
    assert (written.made, written.removed) == ({"bee", "dog"}, {"cat"})
    assert whole(out) == ["ant", "bee", "dog"]
    files = contents(out)
    assert not [name for name in files if "cat" in name]
    assert files["CNAME"][0] == b"animals.example"
    assert files["pages/about.html"][0] == b"mine"


def test_an_image_that_failed_keeps_its_files_unseen(sources, out):
    write(sources, out)
    written = write(sources, out, "ant", "dog", keep={"cat"})
    assert written.removed == {"bee"}
    assert whole(out) == ["ant", "dog"]
    assert (out / "trees/cat.npz").is_file()
    assert write(sources, out, "ant", "dog").removed == {"cat"}


def test_the_title_is_of_the_index_only(sources, out):
    write(sources, out)
    again = Gallery(out).write(outlines(sources), title="Beasts")
    assert again.made == set()
    assert "<h1>Beasts</h1>" in (out / "index.html").read_text()


# -- when things go wrong -------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [["bee"], ["ant", "bee"], ["dog"]])
def test_a_bad_tree_is_left_out_and_nothing_leads_to_it(sources, out, bad):
    found = outlines(sources)
    for name in bad:
        damaged(sources / f"{name}.npz", "labels", b"damaged")  # which the outline does not see
    written = Gallery(out).write(found, title="Animals")
    good = [name for name in NAMES if name not in bad]
    assert whole(out) == good
    assert (written.shown, written.made, written.removed) == (set(good), set(good), set())
    assert [re.search(r"(\w+)\.npz: .*labels", said)[1] for said in written.failed] == bad


def test_a_tree_that_vanishes_on_the_way(sources, out):
    found = outlines(sources)
    (sources / "cat.npz").unlink()
    written = Gallery(out).write(found, title="Animals")
    assert whole(out) == ["ant", "bee", "dog"]
    assert "cat.npz: cannot be shown (No such file or directory)" in written.failed[0]


def test_no_image_at_all_leaves_the_old_site(sources, out):
    write(sources, out)
    before = contents(out)
    found = outlines(sources, "ant")
    (sources / "ant.npz").unlink()
    written = Gallery(out).write(found, title="Animals")
    assert (written.shown, written.removed, len(written.failed)) == (set(), set(), 1)
    assert {name: data for name, (data, _) in contents(out).items()} == {
        name: data for name, (data, _) in before.items()
    }


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_run_that_breaks_off_leaves_a_site_and_is_taken_up(sources, out, monkeypatch, error):
    real, calls = gallery.thumbnail, []

    def breaks(source: Any) -> bytes:
        calls.append(source)
        if len(calls) == 3:
            raise error
        return real(source)

    monkeypatch.setattr(gallery, "thumbnail", breaks)
    with pytest.raises(type(error)):
        write(sources, out)
    index = (out / "index.html").read_text()
    assert re.findall(r'<a href="pages/(.*?)\.html"', index) == ["ant", "bee"]
    for name in ("ant", "bee"):
        assert links(out / f"pages/{name}.html")["index"] == "../index.html"
        assert (out / f"thumbs/{name}.jpg").is_file()
    assert not list(out.rglob("*.tmp"))
    written = write(sources, out)
    assert written.made == {"cat", "dog"}
    assert whole(out) == list(NAMES)


def test_what_was_begun_and_given_up_is_taken_away(sources, out, monkeypatch):
    def breaks(source: Any) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(gallery, "thumbnail", breaks)
        with pytest.raises(KeyboardInterrupt):
            write(sources, out, "ant")
    assert (out / "trees/ant.npz").is_file()
    assert write(sources, out, "bee").removed == {"ant"}
    assert not (out / "trees/ant.npz").exists()


def test_a_rerun_that_breaks_off_still_shows_the_old_pages(sources, out, monkeypatch):
    write(sources, out)
    change_tree(sources, out)

    def breaks(source: Any) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(gallery, "thumbnail", breaks)
        with pytest.raises(KeyboardInterrupt):
            write(sources, out)
    assert whole(out) == list(NAMES)
    assert write(sources, out).made == {"bee"}


# -- folders that are not ours --------------------------------------------------------------------


def test_a_folder_with_anything_in_it_is_left_alone(out):
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(ViewError, match=rf"site: is not empty .*\(.*{MANIFEST}"):
        Gallery(out)
    assert [file.name for file in out.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_folder(out):
    out.write_text("x")
    with pytest.raises(ViewError, match="site: is a file"):
        Gallery(out)


def test_an_empty_folder_and_hidden_files_are_no_obstacle(sources, out):
    (out / ".git").mkdir(parents=True)
    (out / ".nojekyll").touch()
    write(sources, out, "ant")
    assert whole(out) == ["ant"]


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "[]",
        "3",
        "{}",
        "[" * 100_000,
        '{"format": "other", "version": 1, "pages": {}}',
        '{"format": "regiontree gallery", "version": 2, "pages": {}}',
        '{"format": "regiontree gallery", "version": "1", "pages": {}}',
        '{"format": "regiontree gallery", "version": 1}',
        '{"format": "regiontree gallery", "version": 1, "pages": 3}',
        '{"format": "regiontree gallery", "version": 1, "pages": {"../../secret": ""}}',
        '{"format": "regiontree gallery", "version": 1, "pages": {"/etc/passwd": ""}}',
        '{"format": "regiontree gallery", "version": 1, "pages": {"A": ""}}',
        '{"format": "regiontree gallery", "version": 1, "pages": {"a\\n": ""}}',
        '{"format": "regiontree gallery", "version": 1, "pages": {"": ""}}',
    ],
)
def test_a_manifest_that_is_not_ours_is_refused(out, manifest):
    out.mkdir()
    (out / MANIFEST).write_text(manifest)
    with pytest.raises(ViewError, match=rf"{MANIFEST}: is not the manifest of a gallery"):
        Gallery(out)


# -- in a browser ---------------------------------------------------------------------------------


def test_it_works_from_a_disk(sources, out, page):
    write(sources, out)
    page.goto((out / "index.html").as_uri())
    page.wait_for_function(
        "[...document.images].every((image) => image.complete && image.naturalWidth)"
    )
    page.get_by_role("link", name="bee.png").click()
    page.wait_for_url("**/pages/bee.html")
    page.get_by_role("link", name="Next").click()
    page.wait_for_url("**/pages/cat.html")
    tree = RegionTree.load(sources / "cat.npz")
    page.locator("#regions").click(position={"x": 50, "y": 50})
    with page.expect_download() as download:
        page.get_by_role("button", name="Mask").click()
    name = re.search(r"mask-(\d+)\.png", download.value.suggested_filename)
    mask = np.asarray(Image.open(download.value.path()))
    assert np.array_equal(mask, 255 * tree.mask(int(name[1])))
    with page.expect_download() as download:
        page.get_by_role("button", name="Tree").click()
    assert Path(download.value.path()).read_bytes() == (sources / "cat.npz").read_bytes()
    page.get_by_role("link", name="All images").click()
    page.wait_for_url("**/index.html")
