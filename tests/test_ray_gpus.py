"""The engine ray with GPUs: three stages, whose actors hold the network.

The GPUs are a number that the cluster is told. The network itself runs on the processor.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import refused
from crowd import expected_rows, make_parser, rows_of
from onenode import run, started

from regiontree import RegionParser
from regiontree.errors import StoreError

pytest.importorskip("ray")
pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def node(site_of_processes: Path) -> Iterator[None]:
    """A cluster of one node with two cores and two GPUs, to which this process is connected."""
    with started():
        yield


def test_the_rows_are_those_of_the_local_engine(node, crowd, tmp_path):
    photos, expected = crowd
    summary, store = run(photos, tmp_path / "s", make_parser())
    assert (summary.done, summary.failed) == (38, 2)
    assert rows_of(store) == expected


def test_a_photograph_that_kills_its_actor_fails_alone(node, crowd, tmp_path):
    photos, _ = crowd
    summary, store = run(photos, tmp_path / "s", make_parser("dies"))
    assert (summary.done, summary.failed) == (37, 3)
    assert "ended twice" in summary.failures["033.png"]
    assert len(rows_of(store)) == 40


def test_an_actor_that_is_killed_is_replaced(node, crowd, tmp_path):
    photos, _ = crowd
    parser = make_parser(f"dies once@{tmp_path / 'died'}")
    summary, store = run(photos, tmp_path / "s", parser)
    assert (tmp_path / "died").exists()
    assert (summary.done, summary.failed) == (38, 2)
    assert rows_of(store) == expected_rows(photos, parser)


def test_a_store_that_cannot_be_written_ends_the_run(node, crowd, tmp_path):
    photos, _ = crowd
    with refused(StoreError, "_parts"):
        run(photos, tmp_path / "s", make_parser(f"blocks@{tmp_path / 's' / '_parts'}"))


def test_a_model_of_the_users_own_goes_to_the_actors(node, crowd, site, tmp_path):
    photos, _ = crowd
    import tiny  # the module that the processes of the cluster know, too

    own = RegionParser(backbone=tiny.Colours("none"), parts=6, size=64)
    summary, store = run(photos, tmp_path / "s", own)
    assert summary.done == 38
    assert rows_of(store) == expected_rows(photos, own)


# -- when memory runs out -------------------------------------------------------------------------
