"""Tests of this folder need other programs: make bridges installs and runs them."""

import os
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Only the bridge that the runner names is imported: its program is installed, no other."""
    name = collection_path.stem.removeprefix("test_")
    if collection_path.name.startswith("test_") and name != os.environ.get("REGIONTREE_BRIDGE"):
        return True
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.bridge)
