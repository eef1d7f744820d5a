"""The viewer and the gallery of a store: pages of thumbnails, rows without a tree, a browser."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from storerows import DAMAGED, rows_of, store_of_rows, tree_for

pytest.importorskip("pyarrow", reason="the extra 'store' is not installed")
pytest.importorskip("starlette", reason="the extra 'viewer' is not installed")
pytest.importorskip("uvicorn", reason="the extra 'viewer' is not installed")

from test_sources import photograph
from test_viewer_server import TOKEN, Running

from regiontree import RegionTree
from regiontree.errors import ViewError
from regiontree.forest.row import Row
from regiontree.forest.schema import table_of
from regiontree.forest.sources import open_source
from regiontree.forest.store import open_store
from regiontree.forest.storedtrees import StoredTree
from regiontree.viewer import application, command, gallery, index, server
from regiontree.viewer.inputs import Inputs
from regiontree.viewer.page import page_html

pytest_plugins = ["browser"]

FAILED = "sub/0bad.png"
IDS = ["aÉté/1.png", "aÉté/2.png", FAILED, "sub/3.png", "sub/4.png", "sub/5.png", "zoo/6.png"]


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    return rows_of(tmp_path / "photos", IDS, failed=[FAILED])


@pytest.fixture
def store(tmp_path: Path, rows: list[Row]) -> Path:
    """A store of seven rows, one of them without a tree."""
    store_of_rows(tmp_path / "STORE", rows)
    return tmp_path / "STORE"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three images a page of thumbnails."""
    for module in (index, application, gallery):
        monkeypatch.setattr(module, "MANY", 3)


def shown(*paths: str | Path) -> Inputs:
    return Inputs.read([*paths], (), lambda: None)


class Site(Running):
    """A server at work on a store."""

    def links(self, path: str) -> list[str]:
        """The addresses of the images of a page of thumbnails."""
        return re.findall(r'<li><a href="(.*?)"', self.get(path).text)


@pytest.fixture
def serve() -> Any:
    """A function that serves inputs until the test ends."""
    import contextlib
    import socket

    with contextlib.ExitStack() as stack:

        def start(inputs: Inputs) -> Site:
            app = application.make_app(
                inputs.row_outlines, TOKEN, images=inputs.places, names=inputs.names
            )
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            stack.enter_context(server.serving(app, listener))
            return Site(listener.getsockname()[1])

        yield start


# -- the server -----------------------------------------------------------------------------------


def test_a_row_has_the_page_of_its_tree(store, rows, serve, tmp_path):
    site = serve(shown(store))
    ids = [row.key for row in shown(store).rows]
    for i, id in enumerate(ids):
        row = next(row for row in rows if row.id == id)
        page = site.get(f"{i}/")
        if row.tree is None:
            assert page.status == 500
            assert "0bad.png cannot be shown." in page.text
            assert DAMAGED in page.text
            continue
        data = re.search(
            r'<script id="data" type="application/json">(.*?)</script>', page.body.decode()
        )
        payload = json.loads(data[1])
        assert (payload["name"], payload["notices"]) == (Path(id).name, [])
        assert payload["parents"] == row.tree.parents.tolist()
        assert site.get(f"{i}/tree.npz").body == row.tree.save(tmp_path / "x.npz").read_bytes()
        assert site.get(f"{i}/mask/0.png").status == 200


def test_no_page_tells_a_folder(store, serve, tmp_path):
    site = serve(shown(store))
    for path in ["", "?name=0bad", *(f"{i}/" for i in range(len(IDS)))]:
        assert str(tmp_path) not in site.get(path).text, path


def test_rows_are_listed_by_pages(store, serve, few):
    site = serve(shown(store))
    assert [site.links(path) for path in ("", "?page=2", "?page=3")] == [
        ["0/", "1/", "2/"], ["3/", "4/", "5/"], ["6/"],
    ]  # fmt: skip
    assert "images 4 to 6 of 7" in site.get("?page=2").text
    nav = re.search(r"<nav.*</nav>", site.get("?page=2").text)[0]
    assert re.findall(r'<a href="(.*?)"(?: rel="(.*?)")?>', nav) == [
        ("./", "prev"), ("./?page=3", "next"),
    ]  # fmt: skip
    home = re.search(r'"index":"(.*?)"', site.get("4/").body.decode())[1]
    assert home == "../?page=2"
    for path, status in (("?page=0", 404), ("?page=4", 404), ("?page=x", 400), ("?page=1", 200)):
        assert site.get(path).status == status


def test_many_pages_have_links_to_the_nearest_the_first_and_the_last():
    parts = index.parts_of(10_000)
    nav = index._pages(parts[9], lambda number: f"p{number}")
    assert re.sub("<.*?>", "", nav).split() == ["1", "…", "8", "9", "10", "11", "12", "…", "20"]
    assert re.sub("<.*?>", "", index._pages(parts[0], str)).split() == ["1", "2", "3", "…", "20"]
    assert index._pages(index.parts_of(500)[0], str) == ""


def test_a_search_finds_images_of_all_pages(store, serve, few):
    site = serve(shown(store))
    found = site.get("?name=aete%20PNG")
    assert re.findall(r'title="(.*?)"', found.text) == ["aÉté/1.png", "aÉté/2.png"]
    assert "2 images found by “aete PNG”" in found.text
    assert '<a href="./">All images</a>' in found.text
    assert "0 images found by “<x>”" in site.get("?name=%3Cx%3E").text
    assert b"<x>" not in site.get("?name=%3Cx%3E").body


def test_a_list_reads_no_picture_and_no_photograph(store, serve, monkeypatch, few):
    inputs = shown(store)
    read, real = [], StoredTree.load_structure

    def structure(self: StoredTree) -> RegionTree:
        read.append(self.id)
        return real(self)

    def refuse(*_: object) -> RegionTree:
        raise AssertionError("a tree is read")

    monkeypatch.setattr(StoredTree, "load", refuse)
    monkeypatch.setattr("regiontree.forest.finding.sha256_of", refuse)
    monkeypatch.setattr(StoredTree, "load_structure", structure)
    page = serve(inputs).get("?page=2")
    assert page.status == 200
    assert re.findall('title="(.*?)"', page.text) == [row.key for row in inputs.rows[3:6]]
    assert read == [row.id for row in inputs.rows[3:6] if row.error is None]
    assert page.text.count("<img") == len(read)


def test_a_row_without_a_tree_says_why(store, serve, capsys):
    inputs = shown(store)
    inputs.tell()
    said = capsys.readouterr().err
    assert "STORE: 1 row has no tree: sub/0bad.png (" in said
    assert DAMAGED in said
    page = serve(inputs).get("").text
    (item,) = re.findall(r'<li><a href="\d+/" title="sub/0bad.png".*?</li>', page)
    assert DAMAGED in item
    assert "<img" not in item


def test_a_store_that_is_compacted_is_still_shown(store, serve):
    inputs = shown(store)
    ids = [row.key for row in inputs.rows]
    site = serve(inputs)
    assert site.get("").status == 200
    open_store(store).compact(final=True)
    for i, id in enumerate(ids):
        assert site.get(f"{i}/").status == (500 if id == FAILED else 200)


def test_the_page_of_one_row(store, rows, tmp_path):
    out = tmp_path / "page.html"
    assert command.view([f"{store}::sub/3.png"], html=out) == 0
    (row,) = shown(f"{store}::sub/3.png").rows
    assert out.read_text() == page_html(open_source(row))
    with pytest.raises(ViewError, match="the inputs are 7 images"):
        command.view([store], html=out, overwrite=True)


def test_a_store_beside_photographs_and_trees(store, rows, tmp_path, monkeypatch):
    file = rows[0].tree.save(tmp_path / "trees" / "one.npz")
    given: dict[str, Any] = {}
    monkeypatch.setattr(
        command,
        "serve",
        lambda make, *_, **o: given.update(o, outlines=make.args[0], **make.keywords),
    )
    assert command.view([store, file]) == 0
    assert [outline.name for outline in given["outlines"]][:2] == ["1.png", "1.png"]
    assert given["outlines"][0].path == file
    assert len(list(given["names"]())) == len(given["outlines"]) == len(IDS) + 1
    assert command.view([store]) == 0
    assert given["title"] == "STORE"


def test_a_damaged_file_is_named_and_the_rest_is_shown(store, serve, capsys):
    shard = max(store.glob("*.parquet"), key=lambda file: file.stat().st_size)
    shard.write_bytes(shard.read_bytes()[:-100])
    inputs = shown(store)
    inputs.tell()
    assert f"{shard}: damaged or not of a store" in capsys.readouterr().err
    assert 0 < len(inputs.rows) < len(IDS)
    site = serve(inputs)
    statuses = {row.error: site.get(f"{i}/").status for i, row in enumerate(inputs.rows)}
    assert statuses.pop(None) == 200
    assert set(statuses.values()) <= {500}


def test_a_store_without_rows(tmp_path):
    open_store(tmp_path / "EMPTY", {})
    with pytest.raises(ViewError, match="nothing to show"):
        command.view([tmp_path / "EMPTY"])


# -- the gallery ----------------------------------------------------------------------------------


def names(out: Path) -> dict[str, list[str]]:
    """The images that each page of thumbnails shows."""
    return {
        file.name: re.findall(r'<a href="pages/(.*?)\.html"', html.unescape(file.read_text()))
        for file in sorted(out.glob("index*.html"))
    }


def times(out: Path) -> dict[str, int]:
    return {
        file.relative_to(out).as_posix(): file.stat().st_mtime_ns
        for folder in ("pages", "thumbs", "trees")
        for file in (out / folder).iterdir()
    }


STEMS = ["1", "2", "3", "4", "5", "6"]


def test_a_gallery_of_a_store(store, rows, tmp_path, few, capsys):
    out = tmp_path / "site"
    assert command.gallery([store], out) == 1  # one row has no tree
    said = capsys.readouterr().err
    assert "6 made, 0 kept, 0 removed" in said
    assert "sub/0bad.png" in said
    assert names(out) == {"index.html": STEMS[:3], "index-2.html": STEMS[3:]}
    for row in rows:
        if row.tree is not None:
            assert RegionTree.load(out / "trees" / f"{Path(row.id).stem}.npz") == row.tree
    page = (out / "pages" / "4.html").read_text()
    assert '"index":"../index-2.html"' in page
    for file in out.rglob("*.html"):
        assert str(tmp_path) not in file.read_text()

    before = times(out)
    assert command.gallery([store], out) == 1
    assert times(out) == before
    assert "0 made, 6 kept, 0 removed" in capsys.readouterr().err


def test_only_the_rows_that_have_changed_are_made_again(store, rows, tmp_path, capsys):
    out = tmp_path / "site"
    command.gallery([store], out)
    photo = Path(rows[2].reference)
    open_store(store).add(table_of([Row(FAILED, str(photo), tree_for(photo))]))
    photograph(tmp_path / "photos" / "sub" / "4.png", (20, 34), 50)
    before = times(out)
    capsys.readouterr()
    assert command.gallery([store], out) == 0
    made = {name for name, time in times(out).items() if before.get(name) != time}
    assert {Path(name).stem for name in made if name.startswith("pages")} >= {"0bad", "4"}
    assert "1" not in {Path(name).stem for name in made}
    assert "has changed since" in (out / "pages" / "4.html").read_text()


def test_pages_of_thumbnails_of_a_larger_site_are_removed(store, tmp_path, few):
    out = tmp_path / "site"
    command.gallery([store], out)
    (out / "index-9.html").write_text("mine")
    command.gallery([f"{store}::sub/3.png"], out)
    assert names(out) == {"index.html": ["3"], "index-9.html": []}


def test_the_index_of_a_large_site_is_not_written_after_each_page(store, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "_PAUSE", 1e9)
    calls, real = [], gallery.Gallery._write_indexes

    def counted(self: gallery.Gallery, *rest: Any) -> None:
        calls.append(rest)
        real(self, *rest)

    monkeypatch.setattr(gallery.Gallery, "_write_indexes", counted)
    command.gallery([store], tmp_path / "site")
    assert len(calls) == 2  # after the first page, and at the end
    assert names(tmp_path / "site")["index.html"] == STEMS


def test_a_gallery_without_the_photographs_needs_to_know_where_they_are(store, tmp_path, capsys):
    (tmp_path / "photos").rename(tmp_path / "moved")
    with pytest.raises(ViewError, match="nothing to show"):
        command.gallery([store], tmp_path / "site")
    assert "--images FOLDER" in capsys.readouterr().err
    command.gallery([store], tmp_path / "site", images=[tmp_path / "moved"])
    assert names(tmp_path / "site")["index.html"] == STEMS


# -- in a browser ---------------------------------------------------------------------------------


def all_pictures_are_there(page: Any) -> bool:
    """Whether every picture of a page comes within some seconds."""
    for _ in range(200):
        if page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth)"):
            return True
        page.wait_for_timeout(50)
    return False


def test_pages_of_thumbnails_in_a_browser(store, serve, page, few):
    site = serve(shown(store))
    page.goto(site.url)
    assert page.locator("#images li").count() == 3
    assert all_pictures_are_there(page)
    page.get_by_role("link", name="2", exact=True).click()
    page.wait_for_url("**/?page=2")
    assert all_pictures_are_there(page)
    assert DAMAGED in page.locator("#images .none").inner_text()
    assert page.locator("#facts").inner_text() == "images 4 to 6 of 7"
    page.keyboard.press("/")
    page.keyboard.type("zoo")
    assert page.locator("#images li:visible").count() == 0
    page.keyboard.press("Enter")
    page.wait_for_url("**/?name=zoo")
    page.locator("#images a").click()
    page.wait_for_selector("h1")
    assert page.title().startswith("6.png")
    page.get_by_role("link", name="All images").first.click()
    page.wait_for_url("**/?page=3")
    assert page.locator("#images li").count() == 1


def test_a_gallery_of_several_pages_in_a_browser(store, tmp_path, page, few):
    command.gallery([store], tmp_path / "site")
    page.goto((tmp_path / "site" / "index.html").as_uri())
    page.get_by_role("link", name="2", exact=True).click()
    page.wait_for_url("**/index-2.html")
    assert page.locator("#images li").count() == 3
    page.locator("#images a").first.click()
    page.wait_for_url("**/pages/4.html")
