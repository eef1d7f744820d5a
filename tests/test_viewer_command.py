"""The commands view and gallery: what is parsed and what is not, what fails, what stays behind."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import blocks
from test_sources import damaged, photograph, tree_of

from regiontree import RegionParser, RegionTree
from regiontree.backbones.featurefile import Features
from regiontree.display.pictures import save_pictures
from regiontree.errors import BackboneError, MissingExtraError, SettingsError, ViewError
from regiontree.forest.sources import Outline, open_source
from regiontree.viewer import command
from regiontree.viewer.page import page_html


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photographs."""
    for seed, name in enumerate(("a", "b", "c")):
        photograph(tmp_path / "photos" / f"{name}.png", (24, 32), seed)
    return tmp_path / "photos"


@pytest.fixture
def options(tmp_path: Path, photos: Path) -> dict[str, Any]:
    """Of a parser that needs no network: the features of each photograph lie in a folder."""
    folder = tmp_path / "features"
    folder.mkdir()
    for seed, photo in enumerate(sorted(photos.iterdir())):
        np.save(folder / f"{photo.stem}.npy", blocks(12, 16, 8, seed=seed))
    return {"backbone": f"precomputed:{folder}", "parts": 8, "device": "cpu"}


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the photographs that are parsed."""
    names, real = [], RegionParser.build

    def build(self: RegionParser, features: Any, **rest: Any) -> RegionTree:
        if isinstance(features, Features):
            names.append(features.source["name"])
        return real(self, features, **rest)

    monkeypatch.setattr(RegionParser, "build", build)
    return names


class Served:
    """Stands for the server: what it was given, and the pages it would have shown."""

    outlines: list[Outline]
    options: dict[str, Any]
    shown: str
    trees: list[RegionTree]
    port: int

    def __call__(self, make: Any, shown: str, listener: socket.socket, **options: Any) -> None:
        self.outlines, self.options, self.shown = make.args[0], {**make.keywords, **options}, shown
        self.port = listener.getsockname()[1]
        sources = [open_source(o.path, images=self.options["images"]) for o in self.outlines]
        self.trees = [source.tree for source in sources]
        assert [(source.photo, source.notice) for source in sources] == [
            (outline.photo, outline.notice) for outline in self.outlines
        ]

    @property
    def names(self) -> list[str]:
        return [outline.name for outline in self.outlines]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Served:
    served = Served()
    monkeypatch.setattr(command, "serve", served)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return served


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


# -- what is parsed -------------------------------------------------------------------------------


def test_photographs_are_parsed_and_nothing_is_left_behind(
    photos, options, served, parsed, tmp_path, capsys
):
    before = files(photos)
    assert command.view([photos], parser_options=options, longest=99) == 0
    assert (served.names, parsed) == (["a.png", "b.png", "c.png"], ["a.png", "b.png", "c.png"])
    assert served.shown == "3 images"
    assert all(outline.notice is None for outline in served.outlines)
    parser = RegionParser(**options)
    assert served.trees[1] == parser.parse(photos / "b.png")
    assert (served.options["title"], served.options["longest"]) == ("photos", 99)
    assert files(photos) == before
    assert files(tmp_path / "temporary") == {}
    assert "'regiontree segment'" in capsys.readouterr().err


def test_trees_are_not_made_again(photos, options, served, parsed, tmp_path):
    tree_of(photos / "b.png", tmp_path / "trees" / "mine.npz")
    (tmp_path / "features" / "b.npy").unlink()
    assert command.view([photos, tmp_path / "trees"], parser_options=options) == 0
    assert served.names == ["a.png", "c.png", "b.png"]
    assert parsed == ["a.png", "c.png"]
    assert served.outlines[2].path == tmp_path / "trees" / "mine.npz"
    assert served.options["title"] == "Regions"


def test_a_folder_of_both_keeps_its_order(photos, options, served, parsed):
    tree_of(photos / "a.png", photos / "z.npz")
    command.view([photos], parser_options=options)
    assert served.names == ["b.png", "c.png", "a.png"]
    assert parsed == ["b.png", "c.png"]


def test_a_photograph_that_has_changed_has_no_tree(photos, options, served, parsed):
    tree_of(photos / "a.png", photos / "a.npz")
    photograph(photos / "a.png", (24, 32), seed=7)
    command.view([photos / "a.npz", photos / "a.png"], parser_options=options)
    assert served.names == ["a.png", "a.png"]
    assert parsed == ["a.png"]
    assert "has changed since" in str(served.outlines[0].notice)
    assert served.outlines[1].notice is None


def test_photographs_of_trees_are_looked_for_where_it_is_said(photos, served, tmp_path):
    tree = tree_of(photos / "a.png", tmp_path / "a.npz")
    assert command.view([tree]) == 0
    assert served.outlines[0].photo is None
    assert command.view([tree], images=[photos]) == 0
    assert served.outlines[0].photo == photos / "a.png"


def test_pictures_of_trees_are_no_photographs(photos, options, served, parsed):
    tree = RegionTree.load(tree_of(photos / "a.png", photos / "a.npz"))
    save_pictures(tree, photos / "a.png", photos / "a", granularities=(2,))
    photograph(photos / "b.cuts.png")  # of no tree
    np.save(Path(options["backbone"].split(":", 1)[1]) / "b.cuts.npy", blocks(12, 16, 8))
    command.view([photos], parser_options=options)
    assert served.names == ["a.png", "b.cuts.png", "b.png", "c.png"]


def test_nothing_heavy_is_imported_for_trees(photos, tmp_path):
    tree_of(photos / "a.png", photos / "a.npz")
    code = (
        "import sys; from pathlib import Path; from regiontree.viewer.command import view; "
        f"view([Path({str(photos / 'a.npz')!r})], html=Path({str(tmp_path / 'a.html')!r})); "
        "assert not {'torch', 'starlette', 'uvicorn'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "a.html").is_file()


@pytest.mark.usefixtures("embedded_installed")
def test_the_real_network(tmp_path):
    photograph(tmp_path / "noise.png", (24, 32))
    choices = {"preset": "fast", "device": "cpu"}
    assert command.gallery([tmp_path / "noise.png"], tmp_path / "site", parser_options=choices) == 0
    tree = RegionTree.load(tmp_path / "site" / "trees" / "noise.npz")
    assert tree.shape == (24, 32)
    assert tree.meta["backbone"]["name"] == "embedded"


# -- what fails -----------------------------------------------------------------------------------


@pytest.fixture
def mixed(photos: Path) -> list[Path]:
    """One good tree and four inputs that are no good."""
    tree_of(photos / "a.png", photos / "a.npz")
    damaged(tree_of(photos / "b.png", photos / "bad.npz"), "parents", b"damaged")
    (photos / "bad.jpg").write_bytes(b"no photograph")
    (photos.parent / "empty").mkdir()
    names = ("bad.npz", "bad.jpg", "gone.png", "a.npz")
    return [*(photos / name for name in names), photos.parent / "empty"]


def told(text: str) -> list[str]:
    """The failures that were reported."""
    return re.findall(r"^  (.*)$", text, re.MULTILINE)


def test_bad_inputs_are_told_of_and_the_rest_is_shown(mixed, options, served, capsys):
    assert command.view(mixed, parser_options=options) == 0
    assert served.names == ["a.png"]
    said = told(capsys.readouterr().err)
    assert len(said) == 4
    for expected in (
        "gone.png: no such file or folder", "empty: holds no photographs and no trees",
        "bad.npz: array 'parents'", "bad.jpg: is not an image",
    ):  # fmt: skip
        assert sum(expected in line for line in said) == 1, expected


def test_nothing_good_at_all(mixed, options, served, capsys):
    good = next(path for path in mixed if path.name == "a.npz")
    with pytest.raises(ViewError, match="nothing to show"):
        command.view([path for path in mixed if path != good], parser_options=options)
    assert len(told(capsys.readouterr().err)) == 4
    for path in mixed:
        if path != good:
            with pytest.raises(ViewError, match=re.escape(str(path))):
                command.view([path], parser_options=options)
    with pytest.raises(SettingsError, match="no input"):
        command.view([])


def test_a_place_for_photographs_must_be_there(photos, served):
    with pytest.raises(SettingsError, match=r"--images .*nowhere: no such file or folder"):
        command.view([photos], images=[photos / "nowhere"])


def test_without_a_network_the_trees_are_shown_all_the_same(photos, served, monkeypatch, capsys):
    tree_of(photos / "a.png", photos / "a.npz")

    def no_weights(*_: Any) -> None:
        raise BackboneError("no weights here")

    monkeypatch.setattr("regiontree.parser.load_backbone", no_weights)
    assert command.view([photos], parser_options={"device": "cpu"}) == 0
    assert served.names == ["a.png"]
    (said,) = told(capsys.readouterr().err)
    assert said.startswith("2 photographs")
    assert said.endswith("no weights here")
    with pytest.raises(BackboneError, match="no weights here"):
        command.view([photos / "b.png"], parser_options={"device": "cpu"})


def test_wrong_options_are_an_error_whatever_the_trees(photos, served):
    tree_of(photos / "a.png", photos / "a.npz")
    with pytest.raises(SettingsError, match="preset"):
        command.view([photos], parser_options={"preset": "best"})


def test_a_missing_extra_is_told_of_before_anything_is_parsed(photos, parsed, monkeypatch):
    monkeypatch.setitem(sys.modules, "starlette", None)
    with pytest.raises(MissingExtraError, match=r"regiontree\[viewer\]"):
        command.view([photos])
    assert parsed == []


def test_a_tree_without_its_photograph_is_shown_alone(photos, tmp_path, capsys):
    tree = tree_of(photos / "a.png", tmp_path / "trees" / "a.npz")
    (photos / "a.png").unlink()
    assert command.view([tree], html=tmp_path / "page.html") == 0
    said = "The photograph a.png was not found."
    assert said in capsys.readouterr().err
    assert said in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_files_need_no_server(photos, options, site, tmp_path):
    tree_of(photos / "a.png", photos / "a.npz")
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('starlette', 'uvicorn', 'anyio')))\n"  # not installed
        "from pathlib import Path\n"
        "from regiontree.viewer import command\n"
        "file, page, site = map(Path, sys.argv[1:])\n"
        "sys.exit(command.view([file], html=page) or command.gallery([file], site))"
    )
    made = [photos / "a.npz", tmp_path / "page.html", site]
    assert subprocess.run([sys.executable, "-c", code, *map(str, made)]).returncode == 0


def test_a_port_in_use_is_told_of_before_anything_is_parsed(photos, parsed, served):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ViewError, match=f"port {port} of 127.0.0.1 is in use"):
            command.view([photos], port=port)
    assert parsed == []
    tree_of(photos / "a.png", photos / "a.npz")
    assert command.view([photos / "a.npz"], port=port) == 0
    assert served.port == port


def test_a_size_out_of_range_is_told_of_before_anything_is_parsed(photos, parsed, tmp_path):
    with pytest.raises(SettingsError, match="longest must be a whole number"):
        command.view([photos], longest=0)
    with pytest.raises(SettingsError, match="longest must be a whole number"):
        command.gallery([photos], tmp_path / "site", longest=70_000)
    assert parsed == []


def test_an_interruption_while_parsing(photos, options, served, monkeypatch, tmp_path, capsys):
    def interrupted(self: RegionParser, features: Any, **rest: Any) -> RegionTree:
        raise KeyboardInterrupt

    monkeypatch.setattr(RegionParser, "build", interrupted)
    assert command.view([photos], parser_options=options) == 130
    assert command.gallery([photos], tmp_path / "site", parser_options=options) == 130
    assert "run the same command again" in capsys.readouterr().err
    assert files(tmp_path / "temporary") == {}


# -- one page -------------------------------------------------------------------------------------


def test_one_image_as_a_page(photos, options, parsed, tmp_path, capsys):
    html = tmp_path / "new" / "a.html"
    assert command.view([photos / "a.png"], html=html, parser_options=options, longest=20) == 0
    assert parsed == ["a.png"]
    assert "a.png" in html.read_text()
    assert f"wrote {html}" in capsys.readouterr().err
    tree = tree_of(photos / "b.png", tmp_path / "b.npz")
    arguments: dict[str, Any] = {"images": [photos], "html": html, "longest": 20}
    with pytest.raises(ViewError, match=r"a\.html: exists already; .*--overwrite"):
        command.view([tree], **arguments)
    assert "a.png" in html.read_text()
    assert command.view([tree], **arguments, overwrite=True) == 0
    assert html.read_text() == page_html(open_source(tree, images=[photos]), longest=20)
    with pytest.raises(ViewError, match="exists already"):
        command.view([tree], html=photos, overwrite=True)


def test_a_page_of_pieces(photos, served, tmp_path):
    tree = tree_of(photos / "a.png", tmp_path / "a.npz")
    options: dict[str, Any] = {"images": [photos], "pieces": True, "min_area": 3}
    assert command.view([tree], html=tmp_path / "a.html", longest=20, **options) == 0
    source = open_source(tree, images=[photos])
    pieces = replace(source, tree=source.tree.pieces(3), is_saved=False)
    assert (tmp_path / "a.html").read_text() == page_html(pieces, longest=20)
    assert command.view([tree], **options) == 0
    assert (served.options["pieces"], served.options["min_area"]) == (True, 3)
    with pytest.raises(SettingsError, match="min_area must be"):
        command.view([tree], images=[photos], pieces=True, min_area=0)


def test_several_images_are_no_page(photos, options, parsed, tmp_path):
    with pytest.raises(ViewError, match="3 images; 'regiontree gallery'"):
        command.view([photos], html=tmp_path / "a.html", parser_options=options)
    assert parsed == []
    assert not (tmp_path / "a.html").exists()


def test_one_good_image_among_bad_ones_is_a_page(photos, tmp_path, capsys):
    tree = tree_of(photos / "a.png", tmp_path / "a.npz")
    html = tmp_path / "a.html"
    assert command.view([tree, tmp_path / "gone.npz"], html=html) == 1
    assert html.is_file()
    assert len(told(capsys.readouterr().err)) == 1


# -- a gallery ------------------------------------------------------------------------------------


def gallery(paths: list[Path], out: Path, options: dict[str, Any], **more: Any) -> int:
    return command.gallery(paths, out, parser_options=options, **more)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


def test_a_gallery_keeps_the_trees_that_it_makes(photos, options, parsed, site, capsys):
    before = files(photos)
    assert gallery([photos], site, options) == 0
    assert parsed == ["a.png", "b.png", "c.png"]
    assert "pages: 3 made, 0 kept, 0 removed" in capsys.readouterr().err
    assert "<h1>photos</h1>" in (site / "index.html").read_text()
    assert RegionTree.load(site / "trees/b.npz") == RegionParser(**options).parse(photos / "b.png")
    del parsed[:]
    assert gallery([photos], site, options, title="Mine") == 0
    assert "0 made, 3 kept" in capsys.readouterr().err
    assert "<h1>Mine</h1>" in (site / "index.html").read_text()
    written = (site / "trees/b.npz").stat().st_mtime_ns
    assert gallery([photos], site, options, longest=20) == 0
    assert (site / "trees/b.npz").stat().st_mtime_ns == written  # though its page was made again
    assert gallery([photos], site, options) == 0
    assert parsed == []
    photograph(photos / "b.png", (24, 32), seed=8)
    assert gallery([photos], site, options) == 0
    assert parsed == ["b.png"]
    assert "1 made, 2 kept" in capsys.readouterr().err
    assert gallery([photos], site, options, overwrite=True) == 0
    assert parsed == ["b.png", "a.png", "b.png", "c.png"]
    photograph(photos / "b.png", (24, 32), seed=1)
    assert files(photos) == before


def test_an_interrupted_gallery_does_not_parse_again(photos, options, site, monkeypatch):
    real, names = RegionParser.build, []

    def build(self: RegionParser, features: Any, **rest: Any) -> RegionTree:
        if isinstance(features, Features):
            names.append(features.source["name"])
            if names[-1] == "c.png" and names.count("c.png") == 1:
                raise KeyboardInterrupt
        return real(self, features, **rest)

    monkeypatch.setattr(RegionParser, "build", build)
    assert gallery([photos], site, options) == 130
    assert gallery([photos], site, options) == 0
    assert names == ["a.png", "b.png", "c.png", "c.png"]


def test_other_settings_are_not_mixed_in_unasked(photos, options, site, capsys):
    assert gallery([photos], site, options) == 0
    before = files(site)
    with pytest.raises(ViewError, match="nothing to show"):
        gallery([photos], site, {**options, "parts": 6})
    assert "made with other settings (parts 8 -> 6)" in capsys.readouterr().err
    assert files(site) == before
    assert gallery([photos], site, {**options, "parts": 6}, overwrite=True) == 0


def test_a_gallery_of_bad_inputs(mixed, options, site, capsys):
    assert gallery(mixed, site, options) == 1
    said = capsys.readouterr().err
    assert len(told(said)) == 4
    assert "pages: 1 made" in said
    assert sorted(files(site / "pages")) == ["a.html"]
    with pytest.raises(ViewError, match=r"gone\.png: no such file"):
        gallery([mixed[2]], site / "other", options)
    assert not (site / "other").exists()


def test_an_input_that_fails_this_time_keeps_its_page(photos, options, site):
    assert gallery([photos], site, options) == 0
    page = (site / "pages/b.html").read_bytes()
    photo = (photos / "b.png").read_bytes()
    (photos / "b.png").write_bytes(b"being copied")
    assert gallery([photos], site, options) == 1
    assert (site / "pages/b.html").read_bytes() == page
    assert "b.html" not in (site / "index.html").read_text()
    assert "b.html" not in (site / "pages/a.html").read_text()
    (photos / "b.png").write_bytes(photo)
    assert gallery([photos], site, options) == 0
    assert "b.html" in (site / "index.html").read_text()


def test_two_photographs_of_one_name(photos, options, site):
    (photos / "more").mkdir()
    shutil.copy(photos / "b.png", photos / "more" / "a.png")
    features = Path(options["backbone"].removeprefix("precomputed:"))
    (features / "more").mkdir()
    shutil.copy(features / "b.npy", features / "more" / "a.npy")
    assert gallery([photos], site, options) == 0
    assert sorted(files(site / "pages")) == ["a-2.html", "a.html", "b.html", "c.html"]
    first, second = (
        RegionTree.load(site / f"trees/{name}.npz").meta["image"]["sha256"] for name in ("a", "a-2")
    )
    assert first != second


def test_a_gallery_is_not_its_own_input(photos, options, parsed):
    site = photos / "site"
    assert gallery([photos], site, options) == 0
    del parsed[:]
    assert gallery([photos], site, options) == 0
    assert parsed == []
    assert len(files(site / "pages")) == 3
    with pytest.raises(ViewError, match="lies in the gallery itself"):
        gallery([site / "trees"], site, options)
    with pytest.raises(ViewError, match="lies in the gallery itself"):
        gallery([site], site, options)


def test_thumbnails_of_a_gallery_are_no_photographs(photos, options, served, parsed, tmp_path):
    assert gallery([photos], tmp_path / "site", options) == 0
    del parsed[:]
    assert command.view([tmp_path / "site"], images=[photos], parser_options=options) == 0
    assert served.names == ["a.png", "b.png", "c.png"]
    assert parsed == []


def test_a_folder_of_something_else_is_refused_before_anything_is_parsed(photos, options, parsed):
    with pytest.raises(ViewError, match="photos: is not empty"):
        gallery([photos], photos, options)
    assert parsed == []


def test_a_folder_that_cannot_be_written(photos, options, site, monkeypatch):
    tree_of(photos / "a.png", photos / "a.npz")

    def full(source: Any) -> bytes:
        raise OSError(28, "No space left on device", "thumb.jpg")

    monkeypatch.setattr("regiontree.viewer.gallery.thumbnail", full)
    with pytest.raises(ViewError, match=r"thumb\.jpg: cannot be written \(No space left on device"):
        gallery([photos / "a.npz"], site, options)


def test_the_command_line(photos, site):
    tree_of(photos / "a.png", photos / "a.npz")

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        given = [sys.executable, "-m", "regiontree", *map(str, arguments)]
        return subprocess.run(given, capture_output=True, text=True)

    done = run("gallery", photos / "a.npz", "-o", site, "--title", "Ägypten")
    assert (done.returncode, "pages: 1 made" in done.stderr) == (0, True)
    assert "<h1>Ägypten</h1>" in (site / "index.html").read_text(encoding="utf-8")
    page = run("view", photos / "a.npz", photos / "gone.npz", "--html", site / "page.html")
    assert (page.returncode, "gone.npz" in page.stderr) == (1, True)
    none = run("view", photos / "gone.npz")
    assert (none.returncode, none.stdout) == (2, "")
    assert "gone.npz: no such file or folder" in none.stderr
    assert "Traceback" not in done.stderr + page.stderr + none.stderr
