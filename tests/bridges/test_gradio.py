"""The app in a real browser, served by a real Gradio: upload, click, files, two visitors."""

from __future__ import annotations

import datetime
import re
import runpy
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio.route_utils import delete_files_created_by_app
from PIL import Image
from playwright.sync_api import Page, expect

from regiontree.parser import RegionParser
from regiontree.plugins.gradio import make_app
from regiontree.plugins.gradio.command import launch_options
from regiontree.plugins.gradio.visit import DOWNLOADS, parsed
from regiontree.tree import RegionTree

pytest_plugins = ["browser"]

PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.jpg"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    page = make_app({"preset": "fast"}, examples=[PHOTO])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    _, url, _ = page.launch(prevent_thread_lock=True, **launch_options("127.0.0.1", port))
    yield url
    page.close(verbose=False)


def opened(page: Page, address: str, photo: Path | None = PHOTO) -> Page:
    page.set_default_timeout(60_000)
    page.goto(address)
    if photo is not None:
        page.set_input_files("#photo input[type=file]", str(photo))
        expect(page.locator("#facts")).to_contain_text("leaves", timeout=60_000)
    return page


def shown(page: Page) -> str:
    return str(page.locator("#picture img").get_attribute("src"))


def changed(page: Page, before: str) -> str:
    page.wait_for_function(
        "before => document.querySelector('#picture img')?.src !== before", arg=before
    )
    return shown(page)


def click_at(page: Page, x: float, y: float) -> None:
    box = page.locator("#picture img").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * x, box["y"] + box["height"] * y)


def test_a_photograph_falls_apart_and_a_click_climbs(page: Page, address: str) -> None:
    opened(page, address)
    first = shown(page)
    number = page.locator("#regions input[type=number]")
    number.fill("4")
    number.press("Enter")
    cut = changed(page, first)
    click_at(page, 0.45, 0.3)  # the face
    chosen = changed(page, cut)
    choices = page.locator("#chain label")
    expect(choices.last).to_contain_text("the whole photograph")
    assert choices.count() >= 2
    choices.last.click()
    changed(page, chosen)
    page.locator("#all").click()
    expect(page.locator("#all")).to_be_hidden()


def test_the_tree_can_be_taken_home(page: Page, address: str, tmp_path: Path) -> None:
    opened(page, address)
    page.locator("#make").click()
    link = page.locator("#file a").first
    link.wait_for()
    with page.expect_download() as waited:
        link.click()
    waited.value.save_as(tmp_path / "a.npz")
    tree = RegionTree.load(tmp_path / "a.npz")
    assert tree.shape == (512, 512)


def test_a_bad_file_is_told_in_words(page: Page, address: str, tmp_path: Path) -> None:
    bad = tmp_path / "broken.jpg"
    bad.write_bytes(PHOTO.read_bytes()[:3000])
    opened(page, address, None)
    page.set_input_files("#photo input[type=file]", str(bad))
    said = page.locator(".toast-body, .toast-wrap").first
    expect(said).to_contain_text(re.compile("broken.jpg"), timeout=60_000)
    assert "Traceback" not in page.content()
    assert str(tmp_path) not in said.inner_text()
    assert "/gradio" not in said.inner_text()


def test_two_visitors_have_trees_of_their_own(
    browser: Any, page: Page, address: str, tmp_path: Path
) -> None:
    other = tmp_path / "drawn.png"
    picture = np.zeros((300, 400, 3), np.uint8)
    picture[:, 200:] = (200, 60, 40)
    Image.fromarray(picture).save(other)
    context = browser.new_context()
    second = context.new_page()
    opened(page, address)
    opened(second, address, other)
    expect(second.locator("#facts")).to_contain_text("400 x 300 pixels")
    expect(page.locator("#facts")).to_contain_text("512 x 512 pixels")
    before = shown(page)
    click_at(page, 0.45, 0.3)
    changed(page, before)
    context.close()


def test_a_tree_is_kept_for_an_hour_and_those_of_64_visitors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = make_app({"preset": "fast"})
    page.launch(prevent_thread_lock=True, **launch_options("127.0.0.1", 0))  # a free port
    try:
        kept = page.app.state_holder
        state = next(
            block for block in page.blocks.values()
            if isinstance(block, gr.State) and block.time_to_live == 3600
        )  # fmt: skip
        # Only a new photograph sets it, so its hour begins when the tree is made.
        assert [set_.name for set_ in page.fns.values() if state in set_.outputs] == ["parse"]
        for visitor in range(65):
            kept[str(visitor)][state._id] = "tree"
        assert "0" not in kept
        assert "1" in kept
        made = datetime.datetime.now()
        later = SimpleNamespace(now=lambda: made + datetime.timedelta(minutes=59))
        monkeypatch.setattr("gradio.state_holder.datetime", SimpleNamespace(datetime=later))
        assert kept["64"][state._id] == "tree"
        kept.delete_all_expired_state()
        assert kept["64"][state._id] == "tree"  # this look does not prolong it
        later.now = lambda: made + datetime.timedelta(minutes=61)
        kept.delete_all_expired_state()
        assert kept["64"][state._id] is None
    finally:
        monkeypatch.undo()
        page.close(verbose=False)


def test_photographs_wait_in_a_queue_of_twenty() -> None:
    page = make_app({"preset": "fast"})
    assert page._queue.max_size == 20
    (parse,) = [own for own in page.fns.values() if own.name == "parse"]
    assert parse.concurrency_limit == 1


def test_files_of_a_visitor_are_those_that_gradio_removes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    page = make_app({"preset": "fast"})
    visit = parsed(RegionParser(preset="fast", size=112, parts=20), PHOTO, 128)
    (download,) = [own for own in page.fns.values() if own.name == "download"]
    made = download.fn(visit, 4, DOWNLOADS[0])["value"]
    (file,) = download.outputs
    assert file.move_resource_to_block_cache(made) == made  # no second copy
    assert Path(made).is_file()
    delete_files_created_by_app(page, 3600)
    assert Path(made).is_file()
    delete_files_created_by_app(page, None)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_space_is_the_same_page() -> None:
    space = Path(__file__).parents[2] / "apps/space/app.py"
    page = runpy.run_path(str(space), run_name="space")["app"]
    mine = make_app()
    assert [own.name for own in page.fns.values()] == [own.name for own in mine.fns.values()]


def test_the_python_of_the_page_runs() -> None:
    text = (Path(__file__).parents[2] / "docs/how-to/app.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    names: dict[str, Any] = {}
    exec(block, names)  # our own file
    assert names["page"].title == "regiontree"


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(page: Page, address: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    opened(page, address)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
