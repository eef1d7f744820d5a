"""The page of a collection: what its server answers, and what people do with it in a browser."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_discover import KINDS, SETTINGS, made_up

from regiontree import Collection
from regiontree.collection import discover
from regiontree.collection.names import read_names
from regiontree.collection.suggestiontable import SUGGESTIONS, Suggestion, write_suggestions
from regiontree.errors import CollectionError, ViewError
from regiontree.forest.finding import Places
from regiontree.tree import RegionTree
from regiontree.viewer import command, regionpictures, server
from regiontree.viewer.categories import make_collection_app
from regiontree.viewer.kept import KeptPictures
from regiontree.viewer.regionpictures import RegionPictures, region_picture

pytest.importorskip("starlette", reason="the extra 'viewer' is not installed")
pytest.importorskip("uvicorn", reason="the extra 'viewer' is not installed")
pytest_plugins = ["browser"]

TOKEN = "a_token-OF-twenty-two"
SCALE = 12  # pixels of a made-up photograph for each pixel of its small tree
COLORS = np.array([[200, 40, 40], [40, 160, 60], [50, 70, 200], [230, 200, 60]], np.uint8)


def add_photographs(folder: Path, seeds: range) -> None:
    """Made-up photographs, each with its tree beside it: every kind of thing has its colour."""
    for seed in seeds:
        small = made_up(seed)
        labels = np.kron(small.labels, np.ones((SCALE, SCALE), np.int32))
        rgb = COLORS[np.array(small.meta["kinds"])[labels]]
        Image.fromarray(rgb).save(folder / f"{seed:03d}.png")
        size, name = list(labels.shape), f"{seed:03d}.png"
        RegionTree(
            labels=labels,
            parents=small.parents,
            height=small.height,
            stop=small.stop,
            descriptor=small.descriptor,
            meta={**small.meta, "image": {"size": size, "name": name}},
        ).save(folder / f"{seed:03d}.npz")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photographs, trees and their collection."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "trees").mkdir()
    add_photographs(folder / "trees", range(14))
    discover(folder / "trees", folder / "animals", SETTINGS)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A collection that a test may change."""
    shutil.copytree(made, tmp_path / "made")
    return tmp_path / "made" / "animals"


class Site:
    """A server at work."""

    def __init__(self, port: int) -> None:
        self.port = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{TOKEN}/"

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, f"/{TOKEN}/{path}", body, named)
        answer = connection.getresponse()
        with contextlib.closing(connection):
            return answer.status, answer.read()

    def get(self, path: str) -> Any:
        status, body = self.ask(path)
        assert status == 200, body
        return json.loads(body)

    def change(self, *edits: dict[str, Any]) -> Any:
        status, body = self.ask(
            "names", "POST", json.dumps(edits).encode(), Content_Type="application/json"
        )
        assert status == 200, body
        return json.loads(body)


@contextlib.contextmanager
def running(folder: Path, port: int = 0, images: Any = (), trees: Any = None) -> Iterator[Site]:
    collection = Collection.load(folder, trees or folder.parent / "trees")
    app = make_collection_app(
        collection, TOKEN, title=folder.name, images=Places.of(images), hosts={"127.0.0.1"}
    )
    with server.listen("127.0.0.1", port) as listener, server.serving(app, listener):
        yield Site(listener.getsockname()[1])


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    with running(folder) as site:
        yield site


@pytest.fixture
def tab(site: Site, page: Any) -> Iterator[Any]:
    """A page that is left before the server stops."""
    yield page
    page.goto("about:blank")


def picture(body: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(body)) as image:
        assert image.format == "JPEG"
        return np.asarray(image)


# -- what the server answers ----------------------------------------------------------------------


def test_lists_are_those_of_the_collection(site: Site, folder: Path) -> None:
    collection = Collection.load(folder, folder.parent / "trees")
    lists = site.get("regions/6")
    for one in collection.categories(KINDS):
        assert lists["count"][one.node] == one.n_regions
        assert lists["share"][one.node] == pytest.approx(one.share, abs=1e-3)
        answer = site.get(f"category/{one.node}/6")
        pairs = set(zip(answer["regions"][::2], answer["regions"][1::2], strict=True))
        expected = {(int(r.photo), r.node) for r in collection.regions(one)}
        assert pairs == expected
        assert answer["total"] == one.n_regions
        assert (
            site.get(f"category/{one.node}/6?first={one.n_regions - 1}")["regions"]
            == (answer["regions"][-2:])
        )
        typical = lists["typical"][one.node]
        assert set(zip(typical[::2], typical[1::2], strict=True)) <= expected
    alike = collection.like("003", node=2, k=120)
    assert site.get("like/3/2")["regions"] == [
        [int(one.photo), one.node, round(one.likeness, 4)] for one in alike
    ]
    assert site.get("photographs?name=01")["photographs"] == [
        [1, "001"], [10, "010"], [11, "011"], [12, "012"], [13, "013"],
    ]  # fmt: skip
    places = site.get("map")
    assert len(places["x"]) == len(places["y"]) == collection.tree.n_leaves


def test_a_photograph_comes_with_its_finest_categories(site: Site, folder: Path) -> None:
    collection = Collection.load(folder, folder.parent / "trees")
    data = site.get("photograph/5")
    _, tree, prototype = collection.opened("005")
    assert data["id"] == "005"
    assert data["notice"] is None
    assert data["categories"] == collection.tree.labels[0][prototype].tolist()
    shown = picture(site.ask("photograph/5.jpg")[1])
    assert shown.shape == (*tree.shape, 3)
    assert picture(site.ask("photograph/5/small.jpg")[1]).shape == shown.shape


@pytest.mark.parametrize(
    "path",
    ["category/999/6", "regions/0", "regions/65", "photograph/14", "photograph/14.jpg",
     "region/14/0.jpg", "region/0/99.jpg", "like/14/0", "category/x/6", "region/../0.jpg"],
)  # fmt: skip
def test_what_is_not_there_is_said(site: Site, path: str) -> None:
    status, body = site.ask(path)
    assert status == 404
    assert b"There is no" in body


@pytest.mark.parametrize("path", ["category/0/6?first=-1", "photographs?first=1e3"])
def test_numbers_are_digits(site: Site, path: str) -> None:
    assert site.ask(path)[0] == 400


# -- pictures of regions --------------------------------------------------------------------------


def test_a_region_is_bright_and_what_surrounds_it_is_grey() -> None:
    labels = np.zeros((40, 60), np.int32)
    labels[10:22, 30:42] = 1
    tree = RegionTree(labels=labels, parents=[2, 2, 2], height=[0, 0, 1])
    rgb = np.where(labels[..., None] == 1, COLORS[0], COLORS[1]).astype(np.uint8)
    shown = region_picture(tree, 1, rgb, labels, side=90)
    assert shown.shape == (90, 90, 3)
    np.testing.assert_allclose(shown[45, 45], COLORS[0], atol=2)
    red, green, blue = shown[4, 4].astype(int)
    assert abs(red - green) <= 2
    assert abs(green - blue) <= 2
    assert (np.ptp(shown, axis=2) > 60).mean() == pytest.approx((12 / 24) ** 2, abs=0.05)


def test_pictures_are_made_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def count(tree: RegionTree, node: int, *more: Any) -> Any:
        made.append(node)
        return region_picture(tree, node, *more)

    monkeypatch.setattr(regionpictures, "region_picture", count)
    with running(folder) as site:
        first = site.ask("region/4/2.jpg")[1]
        assert picture(first).shape == (144, 144, 3)
    with running(folder) as site:
        assert site.ask("region/4/2.jpg")[1] == first
    assert made == [2]


def test_typical_regions_of_a_photograph_are_made_together(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    read = RegionPictures.read

    def count(self: RegionPictures, number: int, longest: int) -> Any:
        opened.append(number)
        return read(self, number, longest)

    monkeypatch.setattr(RegionPictures, "read", count)
    with running(folder) as site:
        lists = site.get("regions/6")
        flat = [pair for own in lists["typical"] for pair in zip(own[::2], own[1::2], strict=True)]
        for photo, node in set(flat):
            assert site.ask(f"region/{photo}/{node}.jpg")[0] == 200
    assert sorted(opened) == sorted({photo for photo, _ in flat})


def test_a_photograph_that_is_gone_is_said_and_its_regions_keep_their_shape(folder: Path) -> None:
    photo = folder.parent / "trees" / "002.png"
    away = folder / "elsewhere" / "002.png"
    away.parent.mkdir()
    photo.rename(away)
    with running(folder) as site:
        assert "002.png" in site.get("photograph/2")["notice"]
        assert site.ask("photograph/2.jpg")[0] == 404
        shown = picture(site.ask("region/2/0.jpg")[1])
        assert np.unique(shown // 40).size > 1
    with running(folder, images=[away]) as site:
        assert site.get("photograph/2")["notice"] is None
        assert np.ptp(picture(site.ask("region/2/0.jpg")[1]), axis=2).max() > 60


def test_a_changed_photograph_gets_new_pictures(tmp_path: Path) -> None:
    kept = KeptPictures(tmp_path / "p.sqlite")
    kept.put("a\udcff'", {3: b"x"}, "one")
    assert kept.get("a\udcff'", 3, "one") == b"x"
    assert kept.get("a\udcff'", 3, "two") is None
    assert kept.get("a\udcff'", 4, "one") is None
    kept.close()


@pytest.mark.parametrize("damage", [b"", b"no database at all" * 100])
def test_a_damaged_file_of_pictures_is_replaced(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "p.sqlite"
    path.write_bytes(damage)
    kept = KeptPictures(path)
    kept.put("a", {1: b"x"}, "s")
    kept.close()
    assert KeptPictures(path).get("a", 1, "s") == b"x"


def test_a_folder_that_cannot_be_written_has_pictures_in_memory(tmp_path: Path) -> None:
    kept = KeptPictures(tmp_path / "missing" / "p.sqlite")
    kept.put("a", {1: b"x"}, "s")
    assert kept.get("a", 1, "s") == b"x"
    assert not (tmp_path / "missing").exists()


def test_the_file_of_pictures_is_a_database_that_others_can_read(folder: Path) -> None:
    with running(folder) as site:
        site.ask("region/0/0.jpg")
    with contextlib.closing(sqlite3.connect(folder / "pictures.sqlite")) as base:
        (name, node), *_ = base.execute("SELECT photograph, what FROM pictures").fetchall()
    assert (name, node) == ("000", 0)


# -- changes --------------------------------------------------------------------------------------


def test_a_name_is_in_the_table_when_the_answer_comes(site: Site, folder: Path) -> None:
    parents = Collection.load(folder).tree.parents
    answer = site.change({"category": 9, "name": "מים, water", "was": ""})
    assert read_names(folder / "collection.csv", parents).own == {9: "מים, water"}
    assert answer["own"] == [[9, "מים, water"]]
    site.change({"photo": 3, "node": 1, "category": 9, "was": None})
    assert read_names(folder / "collection.csv", parents).moved == {("003", 1): 9}
    assert [3, 1, 9] in site.get("names")["moved"]
    assert [3, 1] in np.reshape(site.get("category/9/6")["regions"], (-1, 2)).tolist()


def test_two_servers_and_a_text_editor_work_on_one_table(site: Site, folder: Path) -> None:
    table = folder / "collection.csv"
    with running(folder) as other:
        site.change({"category": 9, "name": "wolf", "was": ""})
        other.change({"category": 8, "name": "grass", "was": ""})
        table.write_text(table.read_text("utf-8-sig").replace("wolf", "fox"), "utf-8-sig")
        answer = site.change({"category": 9, "name": "dog", "was": "wolf"})
    assert dict(answer["own"]) == {9: "dog", 8: "grass"}
    assert answer["told"] == ["Category 9: somebody else had named it “fox” in the meantime."]
    assert any("fox" in file.read_text() for file in folder.glob("collection-*.csv"))


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"[]", "text/plain", 415),
        (b"[]", "application/x-www-form-urlencoded", 415),
        (b"{}", "application/json", 400),
        (b"[{}]", "application/json", 400),
        (b'[{"category": 1, "name": 5, "was": ""}]', "application/json", 400),
        (b'[{"category": true, "name": "a", "was": ""}]', "application/json", 400),
        (b'[{"photo": 99, "node": 1, "category": 1, "was": null}]', "application/json", 400),
        (b'[{"photo": -1, "node": 1, "category": 1, "was": null}]', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"[" + b" " * (1 << 20) + b"]", "application/json", 413),
        (b'[{"category": 9999, "name": "a", "was": ""}]', "application/json", 400),
    ],
)
def test_what_is_no_change_is_refused_and_changes_nothing(
    site: Site, folder: Path, body: bytes, kind: str, status: int
) -> None:
    assert site.ask("names", "POST", body, Content_Type=kind)[0] == status
    assert not (folder / "collection.csv").exists()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_refused(site: Site, method: str) -> None:
    assert site.ask("names", method)[0] == 405


def test_a_change_needs_the_token(site: Site, folder: Path) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
    body = b'[{"category": 1, "name": "a", "was": ""}]'
    connection.request("POST", "/wrong/names", body, {"Content-Type": "application/json"})
    with contextlib.closing(connection):
        assert connection.getresponse().status == 403
    assert not (folder / "collection.csv").exists()


def test_a_damaged_table_is_named(site: Site, folder: Path) -> None:
    (folder / "collection.csv").write_text("category,name,parent\n1,dog,9999\n")
    body = b'[{"category": 1, "name": "a", "was": ""}]'
    status, said = site.ask("names", "POST", body, Content_Type="application/json")
    assert status == 500
    assert b"line 2: parent must be" in said
    assert str(folder).encode() not in said


# -- the command ----------------------------------------------------------------------------------


def test_a_collection_is_shown_alone(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ViewError, match="is a collection, which is shown alone"):
        command.view([folder, folder.parent / "trees"])
    with pytest.raises(ViewError, match="by a server only"):
        command.view([folder], html=tmp_path / "page.html")
    with pytest.raises(ViewError, match="--pieces is for trees"):
        command.view([folder], pieces=True)


def test_a_collection_that_is_not_finished_is_refused(folder: Path) -> None:
    (folder / "model.npz").unlink()
    with pytest.raises(CollectionError, match="is not finished"):
        command.view([folder])


@contextlib.contextmanager
def process(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``regiontree view`` in a process of its own, and the address that it says."""
    hidden = ("SSH_CONNECTION", "DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    started = subprocess.Popen(
        [sys.executable, "-m", "regiontree", "view", str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={name: value for name, value in os.environ.items() if name not in hidden},
    )  # fmt: skip
    try:
        assert started.stdout is not None
        address = started.stdout.readline().strip()
        assert re.fullmatch(r"http://\S+/", address)
        yield started, address
    finally:
        started.kill()
        started.communicate()


# -- in the browser -------------------------------------------------------------------------------


def opened(page: Any, url: str, at: str = "") -> Any:
    page.goto(url + at)
    page.wait_for_selector("html[data-ready]")
    return page


def rows(page: Any) -> list[int]:
    found: list[str] = page.eval_on_selector_all(".row", "all => all.map(r => r.dataset.category)")
    return list(map(int, found))


def until(page: Any, true: str) -> None:
    """Wait until an expression is true. Playwright's own waiting would need eval in the page."""
    wait_until(lambda: page.evaluate(true))


def wait_until(true: Any) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_rows_show_the_categories_and_the_slider_divides_them(
    tab: Any, site: Site, folder: Path
) -> None:
    collection = Collection.load(folder)
    opened(tab, site.url)
    tab.focus("#categories-slider")
    for _ in range(40):
        tab.keyboard.press("ArrowLeft")
    until(tab, "document.querySelectorAll('.row').length === 1")
    for count in range(2, KINDS + 1):
        tab.keyboard.press("ArrowRight")
        until(tab, f"document.querySelectorAll('.row').length === {count}")
        expected = collection.tree.cut_nodes(n_regions=count).tolist()
        assert sorted(rows(tab)) == expected
    shares = {one.node: one.share for one in collection.categories(KINDS)}
    assert rows(tab) == sorted(shares, key=lambda node: -shares[node])
    tab.wait_for_selector(".tile img")
    assert f"{KINDS} categories" in tab.inner_text(".bar .facts")
    until(tab, "[...document.images].filter(i => i.complete).every(i => i.naturalWidth)")


def test_names_are_given_in_place_from_row_to_row_and_taken_back(
    tab: Any, site: Site, folder: Path
) -> None:
    parents = Collection.load(folder).tree.parents

    def own() -> dict[int, str]:
        return dict(read_names(folder / "collection.csv", parents).own)

    opened(tab, site.url)
    first, second, *_ = rows(tab)
    tab.keyboard.press("n")
    tab.keyboard.type("dog")
    tab.keyboard.press("Enter")
    tab.keyboard.type("grass, green")
    tab.keyboard.press("Enter")
    until(tab, "document.querySelector('#saved').textContent === 'All names are saved'")
    wait_until(lambda: own() == {first: "dog", second: "grass, green"})
    tab.keyboard.press("Control+z")
    wait_until(lambda: own() == {first: "dog"})
    tab.keyboard.press("Control+Shift+z")
    wait_until(lambda: own() == {first: "dog", second: "grass, green"})
    tab.click("#undo")
    tab.click("#undo")
    wait_until(lambda: own() == {})
    assert tab.is_disabled("#undo")
    field = tab.locator(f"[data-category='{first}'] input.name")
    field.fill("cat")
    field.press("Escape")
    assert field.input_value() == ""
    assert own() == {}


def test_a_name_covers_what_a_split_category_consists_of(tab: Any, site: Site) -> None:
    opened(tab, site.url)
    tab.focus("#categories-slider")
    for _ in range(40):
        tab.keyboard.press("ArrowLeft")
    until(tab, "document.querySelectorAll('.row').length === 1")
    (root,) = rows(tab)
    tab.fill(f"[data-category='{root}'] input.name", "all")
    tab.press(f"[data-category='{root}'] input.name", "Enter")
    tab.click(f"[data-category='{root}'] .split")
    until(tab, "document.querySelectorAll('.row').length > 1")
    child = rows(tab)[0]
    field = tab.locator(f"[data-category='{child}'] input.name")
    assert field.get_attribute("placeholder") == "all (from above)"
    field.fill("part")
    field.press("Enter")
    tab.click(f"[data-category='{child}'] .join")
    until(tab, "document.querySelectorAll('.row').length === 1")
    assert tab.input_value(f"[data-category='{root}'] input.name") == "all"


def test_names_that_cannot_be_saved_cannot_be_written(
    tab: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, site: Site
) -> None:
    monkeypatch.setattr(Collection, "can_be_named", False)
    opened(tab, site.url)
    assert tab.locator("input.name").first.get_attribute("readonly") is not None
    assert tab.inner_text("#saved") == "Names cannot be saved here"


def test_a_suggestion_is_shown_as_a_question_and_is_no_name(
    tab: Any, site: Site, folder: Path
) -> None:
    shown = opened(tab, site.url)
    category = rows(shown)[0]
    write_suggestions([Suggestion(category, "dog", 0.62)], folder / SUGGESTIONS)
    opened(tab, site.url)
    field = tab.locator(f"[data-category='{category}'] input.name")
    assert field.get_attribute("placeholder") == "dog? (62\u00a0%)"
    assert field.input_value() == ""
    assert site.get("names")["own"] == []


def test_all_regions_of_a_category_and_more_like_one(tab: Any, site: Site, folder: Path) -> None:
    collection = Collection.load(folder, folder.parent / "trees")
    opened(tab, site.url)
    category = rows(tab)[0]
    tab.click(f"[data-category='{category}'] .all")
    count = len(collection.regions(category))
    until(tab, f"document.querySelectorAll('.tiles .tile').length === {count}")
    tile = tab.locator(".tiles .tile").first
    photo, node = (int(tile.get_attribute(f"data-{name}")) for name in ("photo", "node"))
    tile.locator("> a").first.focus()
    tab.keyboard.press("l")
    until(tab, "location.hash.startsWith('#like=')")
    tab.wait_for_selector(".tiles .tile")
    shown = tab.eval_on_selector_all(
        ".tiles .tile", "all => all.map(t => [Number(t.dataset.photo), Number(t.dataset.node)])"
    )
    alike = collection.like(collection.ids[photo], node, k=len(shown))
    assert shown == [[int(one.photo), one.node] for one in alike]
    tab.go_back()
    tab.wait_for_selector(".bar input.name")
    tab.keyboard.press("Escape")
    tab.wait_for_selector(".row")


def test_the_number_of_regions_changes_what_is_shown(tab: Any, site: Site) -> None:
    opened(tab, site.url)
    tab.wait_for_selector(".tile img")
    for _ in range(5):
        tab.keyboard.press(",")
    until(tab, "document.querySelector('#regions').textContent === '1'")
    until(
        tab,
        "[...document.querySelectorAll('.row .facts')].map(f => f.textContent.match(/(\\d+) reg/))"
        ".reduce((sum, found) => sum + Number(found[1]), 0) === 14",
    )


def test_keys(tab: Any, site: Site) -> None:
    opened(tab, site.url)
    count = int(tab.inner_text("#count"))
    tab.keyboard.press("-")
    until(tab, f"document.querySelectorAll('.row').length < {count}")
    tab.keyboard.press("+")
    until(tab, f"document.querySelectorAll('.row').length === {count}")
    for key, shown in ((",", 5), (".", 6)):
        tab.keyboard.press(key)
        until(tab, f"document.querySelector('#regions').textContent === '{shown}'")
    category = next(
        node for node in rows(tab) if tab.is_enabled(f"[data-category='{node}'] .split")
    )
    before = rows(tab)
    tab.focus(f"[data-category='{category}'] .all")
    tab.keyboard.press("s")
    wait_until(lambda: category not in rows(tab))
    child = next(node for node in rows(tab) if node not in before)
    tab.focus(f"[data-category='{child}'] .all")
    tab.keyboard.press("j")
    wait_until(lambda: sorted(rows(tab)) == sorted(before))
    for key, view in (("2", "map"), ("3", "photographs"), ("1", "categories")):
        tab.keyboard.press(key)
        until(tab, f"location.hash === '#{view}'")


def test_the_map_leads_to_categories(tab: Any, site: Site) -> None:
    opened(tab, site.url, "#map")
    tab.wait_for_selector("canvas.plane")
    box = tab.locator("canvas.plane").bounding_box()
    places = site.get("map")
    inked = tab.evaluate(
        "() => { const c = document.querySelector('canvas.plane');"
        " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        " for (let i = 3; i < d.length; i += 4) if (d[i] > 200)"
        "  return [(i >> 2) % c.width / devicePixelRatio,"
        "          Math.floor((i >> 2) / c.width) / devicePixelRatio]; }"
    )
    assert len(places["x"]) > 1
    tab.mouse.move(box["x"] + inked[0], box["y"] + inked[1] + 1)
    tab.wait_for_selector(".tip:not([hidden])")
    tab.mouse.click(box["x"] + inked[0], box["y"] + inked[1] + 1)
    until(tab, "location.hash.startsWith('#category=')")


def test_a_photograph_is_shown_by_category_and_a_region_is_moved(
    tab: Any, site: Site, folder: Path
) -> None:
    collection = Collection.load(folder, folder.parent / "trees")
    opened(tab, site.url, "#photographs")
    tab.wait_for_selector(".photograph img")
    assert tab.locator(".photograph").count() == 14
    tab.fill("#filter", "003")
    until(tab, "document.querySelectorAll('.photograph').length === 1")
    tab.click(".photograph")
    tab.wait_for_selector(".legend li")
    count = int(tab.inner_text("#count"))
    shown = collection.label_map("003", count)
    assert tab.locator(".legend li").count() == len(np.unique(shown))
    box = tab.locator("canvas.regions").bounding_box()
    tab.mouse.click(box["x"] + 0.97 * box["width"], box["y"] + 0.97 * box["height"])
    tab.wait_for_selector(".chosen .target")
    nodes = collection.tree.cut_nodes(n_regions=count).tolist()
    label = int(shown[-1, -1])
    assert tab.get_attribute(".chosen input.name", "data-category") == str(nodes[label])
    other = next(node for node in nodes if node != nodes[label])
    tab.fill(".chosen .target", "nobody")
    tab.click(".chosen form button")
    assert tab.evaluate("document.querySelector('.target').validationMessage")
    tab.fill(".chosen .target", f"category {other}")
    tab.click(".chosen form button")
    until(tab, f"document.querySelector('.chosen input.name').dataset.category === '{other}'")
    until(tab, "document.querySelector('#saved').textContent === 'All names are saved'")
    moved = Collection.load(folder, folder.parent / "trees").label_map("003", count)
    assert moved[-1, -1] == nodes.index(other)
    tab.click("text=Move back")
    wait_until(lambda: not Collection.load(folder).names.moved)


def test_the_colours_of_a_photograph_are_those_of_the_legend(tab: Any, site: Site) -> None:
    opened(tab, site.url, "#photograph=6")
    tab.wait_for_selector(".legend li")
    drawn, listed = tab.evaluate(
        """() => {
          const c = document.querySelector('canvas.regions');
          const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
          const drawn = new Set();
          for (let i = 0; i < d.length; i += 4)
            if (d[i + 3] > 120 && d[i + 3] < 135) drawn.add(`${d[i]} ${d[i + 1]} ${d[i + 2]}`);
          const listed = [...document.querySelectorAll('.legend .swatch')]
            .map((s) => s.style.backgroundColor.match(/[0-9]+/g).join(' '));
          return [[...drawn], listed];
        }"""
    )
    assert len(drawn) == len(listed)  # each within the rounding of a half-transparent pixel
    for one in drawn:
        values = np.array(one.split(), int)
        assert min(np.abs(values - np.array(two.split(), int)).max() for two in listed) <= 2


def test_a_name_survives_a_server_that_is_away(page: Any, folder: Path, browser: Any) -> None:
    with running(folder) as site:
        port = site.port
        opened(page, site.url)
        page.wait_for_load_state("networkidle")
        category = rows(page)[0]
    wrong = page.locator("#saved.waiting")
    context = page.context
    context.set_default_timeout(15_000)
    page.evaluate(
        "window.fetch = ((real) => (...a) => window.away"
        " ? Promise.reject(new TypeError()) : real(...a))(window.fetch); window.away = true"
    )
    page.fill(f"[data-category='{category}'] input.name", "dog")
    page.press(f"[data-category='{category}'] input.name", "Enter")
    wrong.wait_for()
    assert "Not saved yet: 1 change" in page.inner_text("#saved")
    with running(folder, port):
        page.evaluate("window.away = false")
        until(page, "document.querySelector('#saved').textContent === 'All names are saved'")
        page.goto("about:blank")
    parents = Collection.load(folder).tree.parents
    assert read_names(folder / "collection.csv", parents).own == {category: "dog"}


def test_names_survive_the_kill_of_the_program(page: Any, folder: Path) -> None:
    with process(folder) as (program, url):
        opened(page, url)
        category = rows(page)[0]
        page.fill(f"[data-category='{category}'] input.name", "dog")
        page.press(f"[data-category='{category}'] input.name", "Enter")
        until(
            page,
            "document.querySelector('#saved').textContent === 'All names are saved'"
            " && document.querySelector('#undo').disabled === false",
        )
        page.wait_for_load_state("networkidle")
        program.send_signal(signal.SIGKILL)
        program.wait()
    page.goto("about:blank")
    with process(folder) as (_, url):
        opened(page, url)
        assert page.input_value(f"[data-category='{category}'] input.name") == "dog"
        page.goto("about:blank")


def test_names_of_others_appear_when_the_window_comes_back(
    tab: Any, site: Site, folder: Path
) -> None:
    opened(tab, site.url)
    category = rows(tab)[0]
    parents = Collection.load(folder).tree.parents
    read_names(folder / "collection.csv", parents).named(category, "שלום").save(
        folder / "collection.csv", [category]
    )
    tab.evaluate("window.dispatchEvent(new Event('focus'))")
    until(
        tab,
        f"document.querySelector('[data-category=\"{category}\"] input.name').value === 'שלום'",
    )


def test_a_collection_of_one_photograph(page: Any, tmp_path: Path) -> None:
    (tmp_path / "trees").mkdir()
    add_photographs(tmp_path / "trees", range(1))
    discover(tmp_path / "trees", tmp_path / "one", SETTINGS)
    with running(tmp_path / "one") as site:
        opened(page, site.url)
        assert rows(page)
        opened(page, site.url, "#map")
        page.wait_for_selector("canvas.plane")
        page.goto("about:blank")


def test_no_port_stays_open(folder: Path) -> None:
    with running(folder) as site:
        port = site.port
    with contextlib.closing(socket.socket()) as connection:
        assert connection.connect_ex(("127.0.0.1", port)) != 0
