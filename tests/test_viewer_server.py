"""The viewer's server over real HTTP: what it shows, what it refuses, how it starts and stops."""

from __future__ import annotations

import asyncio
import contextlib
import html
import http.client
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_sources import damaged, photograph, tree_of

from regiontree import RegionTree
from regiontree.display.pictures import cut_picture
from regiontree.errors import MissingExtraError, SettingsError, ViewError
from regiontree.forest.sources import open_outline, open_source
from regiontree.viewer import application, protection, server
from regiontree.viewer import page as viewer_page
from regiontree.viewer.answers import Recent
from regiontree.viewer.page import Links, page_html

pytest.importorskip("starlette", reason="the extra 'viewer' is not installed")
uvicorn = pytest.importorskip("uvicorn", reason="the extra 'viewer' is not installed")
pytest_plugins = ["browser"]

TOKEN = "a_token-OF-twenty-two"
LOCAL = {"127.0.0.1", "localhost", "[::1]"}


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return html.unescape(self.body.decode())

    @property
    def image(self) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(self.body)))


@dataclass
class Running:
    """A server at work: ask it for a path below its token."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{TOKEN}/"

    def get(self, path: str, **more: Any) -> Answer:
        return self.ask(f"/{TOKEN}/{path}", **more)

    def ask(
        self, path: str, *, method: str = "GET", host: str | None = "127.0.0.1", **headers: str
    ) -> Answer:
        """The request as written: no client makes its path tidy."""
        lines = [f"{method} {path} HTTP/1.1", "Connection: close"]
        lines += [] if host is None else [f"Host: {host}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
            response = http.client.HTTPResponse(connection, method=method)
            response.begin()
            return Answer(response.status, response.headers, response.read())


@contextlib.contextmanager
def running(trees: list[Path], hosts: set[str] | None = LOCAL, **options: Any) -> Iterator[Running]:
    images = options.get("images", ())
    outlines = [open_outline(tree, images=images) for tree in trees]
    app = application.make_app(outlines, TOKEN, hosts=hosts, **options)
    with socket.create_server(("127.0.0.1", 0)) as listener, server.serving(app, listener):
        yield Running(listener.getsockname()[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three trees and their photographs, and something that is nobody's business."""
    folder = tmp_path_factory.mktemp("served")
    for seed, name in enumerate(["a", "b & <b>ö", "c"]):
        photo = photograph(folder / f"{name}.png", (20, 30 + seed), seed)
        tree_of(photo, folder / f"{name}.npz", leaves=5 + seed, seed=seed)
    (folder / "secret.txt").write_text("SECRET")
    return folder


@pytest.fixture(scope="module")
def trees(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.npz"))


@pytest.fixture(scope="module")
def site(trees: list[Path]) -> Iterator[Running]:
    with running(trees, title="Holidays <3") as site:
        yield site


# -- what it shows --------------------------------------------------------------------------------


def test_the_index_names_every_image(site, trees):
    answer = site.get("")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert re.findall(r'<a href="(\d/)"', answer.text) == ["0/", "1/", "2/"]
    assert re.findall(r'<img src="(\S+)"', answer.text) == [f"{i}/thumbnail.jpg" for i in range(3)]
    assert "Holidays <3" in answer.text
    assert "b & <b>ö.png" in answer.text
    assert b"<b>" not in answer.body
    for tree in trees:
        assert f"{RegionTree.load(tree).n_leaves} regions" in answer.text


@pytest.mark.parametrize(
    ("image", "previous", "following"),
    [(0, None, "../1/"), (1, "../0/", "../2/"), (2, "../1/", None)],
)
def test_a_page_is_the_page_of_its_tree(site, trees, image, previous, following):
    links = Links(
        "../", previous, following, "tree.npz", "mask/{node}.png", "cut/{regions}.png",
        pieces="pieces/",
    )  # fmt: skip
    answer = site.get(f"{image}/")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer.body.decode() == page_html(open_source(trees[image]), links=links)


def test_the_only_image_needs_no_index(trees):
    with running(trees[:1], longest=16) as site:
        home = site.get("")
        assert (home.status, home.headers["Location"]) == (307, "0/")
        links = Links(
            tree="tree.npz", mask="mask/{node}.png", cut="cut/{regions}.png", pieces="pieces/"
        )
        expected = page_html(open_source(trees[0]), longest=16, links=links)
        assert site.get("0/").body.decode() == expected


def test_addresses_without_their_last_slash_lead_on(site):
    for path, where in ((f"/{TOKEN}", f"/{TOKEN}/"), (f"/{TOKEN}/1", f"/{TOKEN}/1/")):
        answer = site.ask(path)
        assert answer.status == 307
        assert answer.headers["Location"].endswith(where)


def test_a_thumbnail_is_a_small_jpeg_of_the_natural_cut(site, trees):
    answer = site.get("0/thumbnail.jpg")
    assert answer.headers["Content-Type"] == "image/jpeg"
    with Image.open(io.BytesIO(answer.body)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (480, 320))
    source = open_source(trees[0])
    natural = len(source.tree.cut_nodes())
    away = [
        np.abs(np.asarray(drawn, float) - answer.image).mean()
        for count in range(1, natural + 1)
        for drawn in [cut_picture(source.tree, source.picture(), n_regions=count, width=480)]
    ]
    assert away[-1] < 0.5 * min(away[:-1])


def test_a_mask_of_every_node(site, trees):
    tree = RegionTree.load(trees[1])
    for node in range(tree.n_nodes):
        answer = site.get(f"1/mask/{node}.png")
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.image.dtype == np.uint8
        assert np.array_equal(answer.image, 255 * tree.mask(node))


def test_a_cut_of_every_size(site, trees):
    tree = RegionTree.load(trees[1])
    for count in (*range(1, tree.n_leaves + 1), 10**9 - 1):
        image = site.get(f"1/cut/{count}.png").image
        assert image.dtype == np.uint16
        assert np.array_equal(image, tree.cut(n_regions=count) + 1)


def test_the_tree_is_the_bytes_of_its_file(site, trees):
    answer = site.get("2/tree.npz")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.body == trees[2].read_bytes()


def test_below_pieces_lies_the_tree_of_pieces(trees, tmp_path):
    with running(trees, min_area=3) as site:
        source = open_source(trees[1])
        pieces = source.tree.pieces(3)
        links = Links(
            "../../", "../../0/pieces/", "../../2/pieces/", "tree.npz", "mask/{node}.png",
            "cut/{regions}.png", whole="../",
        )  # fmt: skip
        expected = page_html(replace(source, tree=pieces, is_saved=False), links=links)
        assert site.get("1/pieces/").body.decode() == expected
        for node in (0, pieces.n_leaves, pieces.root):
            mask = site.get(f"1/pieces/mask/{node}.png").image
            assert np.array_equal(mask, 255 * pieces.mask(node))
        assert np.array_equal(site.get("1/pieces/cut/9.png").image, pieces.cut(n_regions=9) + 1)
        (tmp_path / "tree.npz").write_bytes(site.get("1/pieces/tree.npz").body)
        assert RegionTree.load(tmp_path / "tree.npz") == pieces
        for below, tree in (("", source.tree), ("pieces/", pieces)):  # none is taken for another
            assert np.array_equal(site.get(f"1/{below}mask/2.png").image, 255 * tree.mask(2))
        assert "There is no node" in site.get(f"1/pieces/mask/{pieces.n_nodes}.png").text


def test_thumbnails_lead_to_pieces_if_told_to(trees):
    with running(trees, pieces=True) as site:
        answer = site.get("")
        assert re.findall(r'<a href="(\S+)"', answer.text) == [f"{i}/pieces/" for i in range(3)]
    with running(trees[:1], pieces=True) as site:
        assert site.get("").headers["Location"] == "0/pieces/"


def test_head_is_get_without_the_body(site):
    for path in ("", "1/", "1/mask/0.png", "7/"):
        head, whole = site.get(path, method="HEAD"), site.get(path)
        assert head.body == b""
        assert (head.status, head.headers["Content-Length"]) == (
            whole.status, str(len(whole.body)),
        )  # fmt: skip


def test_a_cut_beyond_sixteen_bits_is_refused(tmp_path):
    leaves = 66_000
    tree = RegionTree(
        labels=np.arange(leaves).reshape(220, 300),
        parents=np.full(leaves + 1, leaves),
        height=np.r_[np.zeros(leaves), 1],
    )
    with running([tree.save(tmp_path / "flat.npz")]) as site:
        answer = site.get("0/cut/66000.png")
        assert answer.status == 400
        assert "16 bits holds 65,535 regions, this cut has 66,000" in answer.text
        assert site.get("0/cut/65535.png").image.max() == 1  # all of its children or none


# -- what it refuses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("3/", 404, "There is no image 3 here."),
        ("999999999/tree.npz", 404, "There is no image 999999999 here."),
        ("x/", 400, "a number of at most 9 digits for its image"),
        ("-1/", 400, "number"),
        ("0x0/", 400, "number"),
        ("%D9%A1/", 400, "number"),  # a digit to str.isdigit() and int()
        ("1" * 5000 + "/", 400, "number"),  # more than int() reads
        ("0/mask/11.png", 404, "There is no node 11: this tree has 0 to"),
        ("0/mask/x.png", 400, "digits for its node"),
        ("0/mask/-1.png", 400, "node"),
        ("0/mask/%00.png", 400, "node"),
        ("0/cut/0.png", 400, "A cut has at least 1 region."),
        ("0/cut/1.5.png", 400, "digits for its regions"),
        ("0/cut/1e3.png", 400, "regions"),
        ("0/mask/0.jpg", 404, "There is nothing at this address."),
        ("0/tree.npz/x", 404, "nothing"),
        ("0/0/", 404, "nothing"),
    ],
)  # fmt: skip
def test_a_wrong_address_gets_a_sentence(site, path, status, sentence):
    answer = site.get(path)
    assert answer.status == status
    assert sentence in answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    home = re.search(r'<a href="([./]*)"', answer.text)
    assert home is not None  # leads back to the index
    depth = path.count("/")
    assert home[1] == ("../" * depth or "./")


opened: list[str] | None = None


def listen(event: str, arguments: tuple[Any, ...]) -> None:
    if opened is not None and event in ("open", "os.listdir", "os.scandir"):
        opened.append(str(arguments[0]))


sys.addaudithook(listen)  # for good, but it does nothing while `opened` is None


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "../../secret.txt",
        "0/../secret.txt",
        "0/mask/../../../secret.txt",
        "%2e%2e/secret.txt",
        "%2e%2e%2fsecret.txt",
        "0/%2e%2e%2f%2e%2e%2fsecret.txt",
        "..%5csecret.txt",
        "%252e%252e%252fsecret.txt",
        "//{folder}/secret.txt",
        "{folder}/secret.txt",
        "%2f{folder}%2fsecret.txt",
        "0/mask/{folder}/secret.txt",
        "0/mask/..%2f..%2fsecret.txt%00.png",
        "secret.txt%00",
        "secret.txt\0",
        "0/tree.npz%00",
        "0/tree.npz?path=../secret.txt",
        "a.png",
        "a.npz",
        "file:///{folder}/secret.txt",
        "http://127.0.0.1/secret.txt",
        ".",
        "..",
        "~",
        "%ff%fe/",
        "\xff/",
    ],
)
def test_no_part_of_an_address_is_a_path(site, folder, path):
    global opened
    opened = []
    try:
        for start in (f"/{TOKEN}/", "/", ""):
            answer = site.ask(start + path.replace("{folder}", str(folder)))
            assert answer.status in (200, 307, 400, 403, 404)  # 200: of a.npz itself, and of ../
            assert b"SECRET" not in answer.body
    finally:
        seen, opened = opened, None
    package = str(Path(viewer_page.__file__).parent)
    # Python reads modules of its own when they are first needed, such as encodings.idna.
    python = str(Path(os.__file__).parent)
    own = (package, python, str(folder / "a.npz"))
    assert not [file for file in seen if not file.startswith(own)]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "SPOON"])
def test_only_reading_is_answered(site, method):
    answer = site.get("0/", method=method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example:1",
     "evil.example:127.0.0.1", "127.0.0.1@evil.example", "", "[::2]", "10.0.0.1",
     "localhost, evil.example", "[::1]evil.example", "[::1", "::1", "[localhost]",
     "localhost:80:80", "localhost:port", "evil.example#localhost", "localhost/.evil.example",
     "[::1]:80@evil.example"],
)  # fmt: skip
def test_another_name_for_this_machine_is_refused(site, host):
    answer = site.get("", host=host)
    assert answer.status in (400, 421)
    assert "Holidays" not in answer.text


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost:9000", "127.0.0.1:1", "[::1]:80", "[::1]"]
)
def test_local_names_are_answered_at_any_port(site, host):
    assert site.get("", host=host).status == 200  # the port of an ssh tunnel is another


def test_a_request_without_a_name_is_refused(site):
    assert site.get("", host=None).status == 400


def test_a_request_with_two_names_is_refused(site):
    assert site.get("", host="127.0.0.1", Host="evil.example").status == 400


def test_a_refusal_of_a_name_is_protected_too(site):
    headers = site.get("", host="evil.example").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_elsewhere_than_on_loopback_any_name_will_do_but_the_token_must_be_right(trees):
    with running(trees[:1], hosts=None) as site:
        assert site.get("0/", host="anything.example").status == 200
        assert site.ask("/0/", host="anything.example").status == 403


@pytest.mark.parametrize(
    "path",
    ["/", "/0/", "//0/", f"/{TOKEN[:-1]}/", f"/{TOKEN}x/", f"/{TOKEN.upper()}/", f"/%C3%A9{TOKEN}/",
     f"/x/../{TOKEN}/", f"/?token={TOKEN}", "/favicon.ico", "*", f"//{TOKEN}/", "/%ED%A0%80/"],
)  # fmt: skip
def test_without_the_token_there_is_nothing(site, path):
    answer = site.ask(path)
    assert answer.status == 403
    assert "lacks the token" in answer.text
    assert TOKEN not in answer.text


def test_the_token_is_compared_in_constant_time(site, monkeypatch):
    compared = []

    def compare(given: bytes, right: bytes) -> bool:
        compared.append((given, right))
        return False

    monkeypatch.setattr(protection.secrets, "compare_digest", compare)
    assert site.get("").status == 403
    assert compared == [(TOKEN.encode(), TOKEN.encode())]


@pytest.mark.parametrize(
    "path", ["", "0/", "0/mask/0.png", "0/tree.npz", "9/", "0/cut/0.png", ".."]
)
def test_every_answer_carries_the_headers_that_protect_it(site, path):
    headers = site.get(path, Origin="https://evil.example").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"  # the address holds the token
    assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] in ("private, no-cache", "no-store")
    assert not [name for name in headers if name.lower().startswith("access-control")]
    assert headers["Server"] is None


# -- made once, and while others wait -------------------------------------------------------------


def test_what_the_browser_has_is_not_sent_again(site):
    for path in ("1/", "1/thumbnail.jpg", "1/cut/3.png", "1/tree.npz"):
        tag = site.get(path).headers["ETag"]
        again = site.get(path, If_None_Match=tag)
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
        assert site.get(path, If_None_Match='"other"').status == 200
    assert site.get("1/cut/3.png").headers["ETag"] != site.get("1/cut/4.png").headers["ETag"]


def until(reached: Callable[[], bool]) -> None:
    """Wait for it, but not for ever."""
    end = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)


def counted(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], None]) -> list[Any]:
    """Calls of a function of the application; `act` runs within each."""
    calls, real = [], getattr(application, name)

    def call(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        act()
        return real(*arguments, **options)

    monkeypatch.setattr(application, name, call)
    return calls


def test_a_page_is_made_once_however_many_ask(trees, monkeypatch):
    go = threading.Event()
    made = counted(monkeypatch, "page_html", lambda: go.wait(10) or None)
    with running(trees) as site:
        bodies: list[bytes] = []
        asking = [
            threading.Thread(target=lambda: bodies.append(site.get("0/").body)) for _ in range(4)
        ]
        for thread in asking:
            thread.start()
        until(lambda: bool(made))
        time.sleep(0.1)
        go.set()
        for thread in asking:
            thread.join()
        bodies.append(site.get("0/").body)
    assert len(made) == 1
    assert len(bodies) == 5
    assert len(set(bodies)) == 1


def test_work_on_some_images_keeps_nobody_else_waiting(trees, monkeypatch):
    go = threading.Event()

    def wait() -> None:
        assert go.wait(10)

    with running([trees[i % 3] for i in range(5)]) as site:
        ready = site.get("4/").body
        begun = counted(monkeypatch, "page_html", wait)
        statuses: list[int] = []
        asking = [
            threading.Thread(target=lambda i=i: statuses.append(site.get(f"{i}/").status))
            for i in range(4)
        ]
        for thread in asking:
            thread.start()
        until(lambda: len(begun) == 2)
        assert site.get("").status == 200
        assert site.get("4/").body == ready
        time.sleep(0.1)
        assert len(begun) == 2  # at a time, which bounds the memory
        go.set()
        for thread in asking:
            thread.join()
        assert statuses == [200] * 4


def test_the_last_things_are_kept_up_to_a_size():
    recent: Recent[str] = Recent(100)
    for name in "abc":
        recent.put(name, name, 40)
    assert [recent.get(name) for name in "abc"] == [None, "b", "c"]
    recent.get("b")
    recent.put("d", "d", 40)
    assert [recent.get(name) for name in "bcd"] == ["b", None, "d"]
    recent.put("d", "D", 60)  # again, larger
    assert [recent.get(name) for name in "bd"] == ["b", "D"]
    recent.put("e", "e", 1000)  # larger than all: alone, but there
    assert [recent.get(name) for name in "bde"] == [None, None, "e"]
    recent.put("f", "f", 1)
    assert [recent.get(name) for name in "ef"] == [None, "f"]


# -- files that change under it -------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path, trees: list[Path]) -> list[Path]:
    """Copies of two trees and their photographs, to be changed."""
    folder = tmp_path / "own"
    folder.mkdir()
    for tree in trees[::2]:
        for file in (tree, tree.with_suffix(".png")):
            shutil.copy(file, folder)
    return sorted(folder.glob("*.npz"))


def test_a_tree_that_changes_is_read_again(own):
    with running(own) as site:
        before = site.get("0/mask/0.png")
        tag = site.get("0/").headers["ETag"]
        changed = RegionTree.load(own[0]).prune(n_regions=2)
        changed.save(own[0])
        after = site.get("0/mask/0.png")
        assert np.array_equal(after.image, 255 * changed.mask(0))
        assert not np.array_equal(after.image, before.image)
        assert site.get("0/", If_None_Match=tag).status == 200


def test_a_tree_that_vanishes_is_told_of_and_comes_back(own):
    with running(own) as site:
        assert site.get("0/").status == 200
        data = own[0].read_bytes()
        own[0].unlink()
        for path in ("0/", "0/thumbnail.jpg", "0/mask/0.png", "0/tree.npz"):
            answer = site.get(path)
            assert answer.status == 410
            assert "a.png cannot be shown: its tree's file is gone." in answer.text
        assert site.get("1/").status == 200
        own[0].write_bytes(data)
        assert site.get("0/").status == 200


def test_a_damaged_tree_is_told_of_without_its_place(own, capfd):
    with running(own) as site:
        damaged(own[0], "labels", b"damaged")
        answer = site.get("0/")
        assert answer.status == 500
        assert "a.png cannot be shown. a.npz: " in answer.text
        assert "labels" in answer.text
        assert str(own[0].parent) not in answer.text
    assert f"{own[0]}: " in capfd.readouterr().err  # the terminal may know it


def test_a_photograph_that_changes_or_goes_is_noticed(own):
    photo = own[0].with_suffix(".png")
    with running(own) as site:
        tag = site.get("0/").headers["ETag"]
        photograph(photo, seed=9)
        assert "has changed since" in site.get("0/", If_None_Match=tag).text
        photo.unlink()
        assert "The photograph a.png was not found." in site.get("0/").text
        assert site.get("0/thumbnail.jpg").status == 200


def test_memory_that_runs_out_costs_one_answer(trees, monkeypatch):
    def fail(*_: Any) -> bytes:
        raise MemoryError("no room for 300 MB")

    with running(trees) as site:
        monkeypatch.setattr(RegionTree, "mask", fail)
        answer = site.get("0/mask/0.png")
        assert answer.status == 500
        assert "a.png cannot be shown. no room for 300 MB." in answer.text
        assert site.get("0/").status == 200


def test_a_mistake_of_ours_is_told_in_the_terminal_only(trees, monkeypatch, capfd):
    with running(trees) as site:
        monkeypatch.setattr(application, "page_html", lambda *_, **__: 1 / 0)
        answer = site.get("0/")
        assert answer.status == 500
        assert "The server has made a mistake" in answer.text
        assert "ZeroDivision" not in answer.text
    said = capfd.readouterr().err
    assert said.count("ZeroDivisionError") == 1


# -- where it listens -----------------------------------------------------------------------------


def test_a_port_in_use_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ViewError, match=f"port {port} of 127.0.0.1 is in use"):
            server.listen("127.0.0.1", port)


@pytest.mark.parametrize("port", [-1, 65_536, 1.5, "80"])
def test_a_port_is_a_number_of_sixteen_bits(port):
    with pytest.raises(SettingsError, match="port must be a whole number"):
        server.listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no name", "x" * 70, "\0"])  # 192.0.2: of no network
def test_a_host_that_is_not_here_is_named(host):
    with pytest.raises(ViewError, match=f"cannot serve at {host}, port 0"):
        server.listen(host, 0)


def test_packages_that_are_not_installed_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'regiontree\[viewer\]'"):
        server.check_installed()


# -- starting and stopping ------------------------------------------------------------------------


@pytest.fixture
def died(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What threads died of, once those that the test has started have ended."""
    died: list[Any] = []
    before = set(threading.enumerate())
    monkeypatch.setattr(threading, "excepthook", lambda thread: died.append(thread.exc_value))
    yield died
    until(lambda: set(threading.enumerate()) <= before)
    assert died == []


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server takes a while to start."""
    real = uvicorn.Server.startup

    async def startup(self: uvicorn.Server, **options: Any) -> None:
        await asyncio.sleep(0.3)
        await real(self, **options)

    monkeypatch.setattr(uvicorn.Server, "startup", startup)


def test_it_is_up_when_its_address_is_told(trees, slow, monkeypatch):
    made, real = [], uvicorn.Server.__init__
    monkeypatch.setattr(
        uvicorn.Server, "__init__", lambda self, config: (made.append(self), real(self, config))[1]
    )
    with running(trees):
        assert [server.started for server in made] == [True]


@pytest.mark.parametrize("patience", [3.0, 0.0])  # 0: as if a second interruption followed at once
def test_an_interruption_while_it_starts(trees, slow, died, monkeypatch, patience):
    monkeypatch.setattr(server, "_PATIENCE", patience)
    real = threading.Thread.start

    def start(self: threading.Thread) -> None:
        real(self)
        raise KeyboardInterrupt  # the thread is there, but nobody has been told

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(KeyboardInterrupt), running(trees):
        pytest.fail("the block begins")


def test_a_second_interruption_while_it_stops(trees, died, monkeypatch):
    monkeypatch.setattr(server, "_PATIENCE", 0.0)
    with running(trees) as site:
        assert site.get("").status == 200


def test_interrupted_before_it_is_up_it_has_shown_nothing(trees, slow, died, monkeypatch, capsys):
    real = uvicorn.Server.startup

    async def startup(self: uvicorn.Server, **options: Any) -> None:
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
        await real(self, **options)

    monkeypatch.setattr(uvicorn.Server, "startup", startup)
    with server.listen("127.0.0.1", 0) as listener, pytest.raises(KeyboardInterrupt):
        server.serve(
            partial(application.make_app, [open_outline(trees[0])]), "a", listener, host="localhost"
        )
    assert capsys.readouterr().out == ""


# -- a process ------------------------------------------------------------------------------------


@contextlib.contextmanager
def process(*arguments: object, **environment: str) -> Iterator[tuple[Any, str]]:
    """``regiontree view`` in a process of its own, and the address that it says."""
    hidden = ("SSH_CONNECTION", "DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    inherited = {name: value for name, value in os.environ.items() if name not in hidden}
    started = subprocess.Popen(
        [sys.executable, "-m", "regiontree", "view", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**inherited, **environment},
    )  # fmt: skip
    try:
        said = ""
        while not (address := re.search(r"http://\S+/", said)):
            line = started.stdout.readline()
            assert line, started.stderr.read()
            said += line
        yield started, address[0]
    finally:
        started.terminate()  # it has a temporary folder to remove
        try:
            started.communicate(timeout=20)
        finally:
            started.kill()


def asked(url: str, path: str = "") -> Answer:
    host, port, rest = re.fullmatch(r"http://([^/]+?):(\d+)(/.*)", url).groups()
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=20)
    connection.request("GET", rest + path)
    response = connection.getresponse()
    answer = Answer(response.status, response.headers, response.read())
    connection.close()
    return answer


def test_a_signal_ends_it_cleanly_even_during_work(folder, tmp_path):
    labels = np.arange(12_000_000).reshape(3000, 4000) // 3_000_000
    large = RegionTree(labels, np.full(5, 4), np.array([0, 0, 0, 0, 1])).save(
        tmp_path / "large.npz"
    )
    tokens = set()
    for number in (signal.SIGINT, signal.SIGTERM):
        with process(large, folder) as (started, url):
            assert asked(url).status == 200
            port, token = url.split(":")[2].split("/")[:2]
            tokens.add(token)
            # An answer that takes a second, and will be under way when the signal comes.
            with socket.create_connection(("127.0.0.1", int(port))) as waiting:
                waiting.sendall(f"GET /{token}/0/ HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                time.sleep(0.05)
                started.send_signal(number)
                assert started.wait(60) == 0
            assert "Traceback" not in started.stderr.read()
            socket.create_server(("127.0.0.1", int(port))).close()  # it is free again
    assert len(tokens) == 2  # another each time
    assert min(map(len, tokens)) >= 22  # 128 bits in base64


def test_the_browser_is_shown_the_page(folder, tmp_path):
    script, note = tmp_path / "browser.sh", tmp_path / "shown"
    script.write_text(f'#!/bin/sh\necho "$1" > "{note}.part" && mv "{note}.part" "{note}"\n')
    script.chmod(0o755)
    with process(folder, BROWSER=str(script)) as (_, url):
        until(note.exists)
        assert note.read_text().strip() == url


def test_a_browser_that_fails_does_no_harm_and_ssh_gets_a_hint(folder):
    away = {"BROWSER": "/nowhere/at/all", "SSH_CONNECTION": "10.0.0.2 50000 10.0.0.1 22"}
    with process(folder, **away) as (started, url):
        assert asked(url).status == 200
        started.send_signal(signal.SIGTERM)
        assert started.wait(60) == 0
        said = started.stderr.read()
        port = url.split(":")[2].split("/")[0]
        assert f"ssh -L {port}:127.0.0.1:{port} " in said
        assert "Traceback" not in said


def test_a_browser_that_cannot_be_controlled_does_no_harm(monkeypatch):
    def fail(url: str) -> bool:
        raise webbrowser.Error("no display")

    monkeypatch.setattr(webbrowser, "open", fail)
    server.open_in_browser("http://127.0.0.1/")


def test_it_serves_every_interface_if_told_to(folder):
    with process(folder, "--host", "0.0.0.0", "--no-browser") as (_, url):
        port, token = url.split(":")[2].split("/")[:2]
        there = f"http://127.0.0.1:{port}/{token}/"
        assert asked(there).status == 200
        assert asked(f"http://127.0.0.1:{port}/wrong/").status == 403


# -- in a browser ---------------------------------------------------------------------------------


def test_from_the_index_to_a_mask(site, trees, page, tmp_path):
    page.goto(site.url)
    page.get_by_role("link", name="a.png").click()
    page.wait_for_url("**/0/")
    page.get_by_role("link", name="Next").click()
    page.wait_for_url("**/1/")
    assert page.locator("h1").inner_text() == "b & <b>ö.png"
    tree = RegionTree.load(trees[1])
    page.locator("#regions").click(position={"x": 40, "y": 40})
    with page.expect_download() as download:
        page.get_by_role("button", name="Mask").click()
    name = re.search(r"mask-(\d+)\.png", download.value.suggested_filename)
    mask = np.asarray(Image.open(download.value.path()))
    assert np.array_equal(mask, 255 * tree.mask(int(name[1])))
    with page.expect_download() as download:
        page.get_by_role("button", name="Tree").click()
    assert Path(download.value.path()).read_bytes() == trees[1].read_bytes()
    page.get_by_role("link", name="All images").click()
    page.wait_for_url(site.url)
    assert page.locator("#images img").count() == 3


def test_pieces_are_a_click_away_and_back(site, trees, page):
    page.goto(f"{site.url}1/")
    page.wait_for_selector("html[data-ready]")
    assert not page.is_checked("#pieces")
    page.check("#pieces")
    page.wait_for_url("**/1/pieces/")
    page.wait_for_selector("html[data-ready]")
    assert page.is_checked("#pieces")
    tree = RegionTree.load(trees[1])
    assert page.evaluate("viewer.tree.parents.length") == tree.pieces().n_nodes
    page.keyboard.press("]")
    page.wait_for_url("**/2/pieces/")
    page.go_back()
    page.wait_for_url("**/1/pieces/")
    page.wait_for_selector("html[data-ready]")
    assert page.is_checked("#pieces")
    page.click("text=Pieces")
    page.wait_for_url("**/1/")
    page.wait_for_selector("html[data-ready]")
    assert not page.is_checked("#pieces")
    assert page.evaluate("viewer.tree.parents.length") == tree.n_nodes


@pytest.fixture(scope="module")
def many(trees: list[Path]) -> Iterator[Running]:
    with running([trees[i % 3] for i in range(40)], title="Many") as site:
        yield site


def test_the_index_loads_only_what_is_seen(many, page):
    asked_for: list[str] = []
    page.set_viewport_size({"width": 390, "height": 500})
    page.on("request", lambda request: asked_for.append(request.url))
    page.goto(many.url)
    page.wait_for_load_state("networkidle")
    first = sum(url.endswith(".jpg") for url in asked_for)
    assert 0 < first < 40
    with page.expect_request(f"{many.url}39/thumbnail.jpg"):
        page.keyboard.press("End")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390  # nothing sticks out


def test_the_index_by_keyboard(many, page):
    page.goto(many.url)
    where = "document.activeElement.getAttribute('href')"
    for key, expected in [
        ("ArrowRight", "0/"), ("ArrowRight", "1/"), ("ArrowLeft", "0/"), ("ArrowLeft", "0/"),
        ("End", "39/"), ("ArrowRight", "39/"), ("Home", "0/"),
    ]:  # fmt: skip
        page.keyboard.press(key)
        assert page.evaluate(where) == expected
    page.keyboard.press("ArrowDown")
    below = page.evaluate(
        "[document.activeElement.getBoundingClientRect().top > 100 ,"
        " Math.abs(document.activeElement.getBoundingClientRect().left - 24) < 2]"
    )
    assert below == [True, True]
    page.keyboard.press("ArrowUp")
    assert page.evaluate(where) == "0/"
    page.keyboard.press("Enter")
    page.wait_for_url("**/0/")


def test_the_filter_finds_names_whatever_their_case_and_accents(many, page):
    page.goto(many.url)
    page.keyboard.press("/")
    page.keyboard.type("Ö.P B")
    visible = page.locator("#images li:visible")
    assert visible.count() == 13
    assert set(visible.locator(".name").all_inner_texts()) == {"b & <b>ö.png"}
    assert page.locator("#facts").inner_text() == "13 of 40 images"
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "1/"
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    assert visible.count() == 40
    assert page.locator("#facts").inner_text() == "40 images"


def test_the_index_needs_no_script(many, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(many.url)
    assert not page.locator("#filter").is_visible()
    page.locator("#images a").nth(1).click()
    page.wait_for_url("**/1/")
    context.close()


def test_a_picture_that_fails_leaves_its_name(own, browser):
    with running(own) as site:
        own[0].unlink()
        context = browser.new_context()  # the failed picture is an error on the console
        page = context.new_page()
        page.goto(site.url)
        page.wait_for_selector("a.broken")
        assert page.locator("a.broken").inner_text().startswith("a.png")
        assert page.locator("a:not(.broken)").count() == 1
        context.close()
