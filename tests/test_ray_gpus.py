"""The engine ray with GPUs: three stages, whose actors hold the network.

The GPUs are a number that the cluster is told. The network itself runs on the processor.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import refused
from crowd import Listed, expected_rows, make_parser, references, rows_of

from regiontree import RegionParser
from regiontree.engines.collection import CollectionSummary, segment_collection, settings_record
from regiontree.engines.engine import EngineOptions
from regiontree.errors import StoreError
from regiontree.forest.store import Store, open_store

pytest.importorskip("ray")
pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def node(site_of_processes: Path) -> Iterator[None]:
    """A cluster of one node with two cores and two GPUs, to which this process is connected."""
    from regiontree.engines.raycluster import ray_data

    ray = ray_data()
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        ray.init(address="local", num_cpus=2, num_gpus=2, include_dashboard=False,
                 log_to_driver=False, logging_level=logging.ERROR, _temp_dir=folder)  # fmt: skip
        yield
        ray.shutdown()


def run(photos: Path, place: Path, parser: RegionParser) -> tuple[CollectionSummary, Store]:
    """A run over the files of a folder, in three stages."""
    from regiontree.engines.ray import RayEngine

    store = open_store(place, settings_record(parser))
    engine = RayEngine(EngineOptions(parser, store, more={"device": "cpu"}))
    engine.gpus = 2
    return segment_collection(Listed(references(photos)), store, engine), store


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
