"""The engine ray, on a cluster on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from crowd import make_parser, path_of_python, ran, rows_of

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def node(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cluster of one node with two cores, to which this process is connected."""
    from regiontree.engines.raycluster import Connection

    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = path_of_python(site)
    connection = Connection(None, 2)
    yield
    connection.close()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


def test_the_rows_are_those_of_the_local_engine(node, crowd, tmp_path):
    photos, expected = crowd
    summary, store = ran(photos, tmp_path / "s", make_parser(), engine="ray", workers=None)
    assert (summary.done, summary.failed, summary.engine) == (38, 2, "ray")
    assert rows_of(store) == expected
