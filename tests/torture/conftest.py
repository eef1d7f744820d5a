"""The machine that all torture tests share, and the commands that it tortures."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import Machine

sys.path.insert(0, str(Path(__file__).parents[1]))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("torture")


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if not sys.platform.startswith("linux") or shutil.which("cc") is None:
        pytest.skip("accidents need Linux and a C compiler")
    made = Machine.built(tmp_path_factory.mktemp("shim"))
    yield made
    made.close()
