"""Headless Chromium for tests of web pages: fixtures `browser` and `page`.

A test module asks for them with ``pytest_plugins = ["browser"]``. Tests are skipped where there is
no playwright or no Chromium; $CHROMIUM names one that is not on PATH.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
           "--disable-background-networking", "--disable-component-update",
           "--disable-sync"]  # fmt: skip
LOCAL = ("file:", "data:", "blob:", "about:", "http://127.0.0.1:", "http://localhost:")


def chromium() -> str | None:
    """The Chromium to use: $CHROMIUM, else the first of the usual names on PATH."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A playwright Browser, started once."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = chromium()
    if path is None:
        pytest.skip(f"no browser: set $CHROMIUM, or put one of {', '.join(NAMES)} on PATH")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield started
        started.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A playwright Page of 1280 x 800 whose test fails on what no page of ours may do.

    That is: an error on the console (a breach of the content security policy is one), an exception
    that nothing catches, and a request to anywhere but this machine.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(10_000)
    wrong: list[str] = []
    page.on("console", lambda m: wrong.append(f"console: {m.text}") if m.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(f"exception: {error}"))
    page.on("request", lambda r: None if r.url.startswith(LOCAL) else wrong.append(f"to: {r.url}"))
    yield page
    context.close()
    assert not wrong, "the page did what it must not:\n" + "\n".join(wrong)
