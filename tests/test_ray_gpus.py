"""The engine ray with GPUs: three stages, whose actors hold the network.

The GPUs are a number that the cluster is told. The network itself runs on the processor.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from conftest import refused
from crowd import Listed, expected_rows, make_parser, references, rows_of
from PIL import Image

from regiontree import RegionParser
from regiontree.engines.collection import CollectionSummary, segment_collection, settings_record
from regiontree.engines.engine import EngineOptions
from regiontree.errors import StoreError
from regiontree.forest.store import Store, open_store
from regiontree.system.resources import free_memory

pytest.importorskip("ray")
pytestmark = pytest.mark.cluster
MEMORY = 80 << 20


@pytest.fixture(scope="module")
def node(site_of_processes: Path) -> Iterator[None]:
    """A cluster of one node with two cores and two GPUs, to which this process is connected."""
    with started():
        yield


@contextmanager
def started(**system: object) -> Iterator[None]:
    """A cluster whose objects have the least memory that Ray takes; `system` is for Ray itself."""
    from regiontree.engines.raycluster import ray_data

    ray = ray_data()
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        ray.init(address="local", num_cpus=2, num_gpus=2, include_dashboard=False,
                 log_to_driver=False, logging_level=logging.ERROR, _temp_dir=folder,
                 object_store_memory=MEMORY, _system_config=system)  # fmt: skip
        try:
            yield
        finally:
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


# -- when memory runs out -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photographs that have two and a half times the memory of the objects."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    for i in range(40):
        small = rng.integers(0, 255, (5, 8, 3), np.uint8)
        photo = Image.fromarray(small).resize((1664, 1040), Image.Resampling.NEAREST)
        photo.save(folder / f"{i:03}.png", compress_level=1)
    assert 2.4 * MEMORY < 40 * 1664 * 1040 * 3
    return folder


@pytest.mark.parametrize("spills", [True, False])
def test_photographs_larger_than_the_memory_of_objects(site_of_processes, large, tmp_path, spills):
    with started(automatic_object_spilling_enabled=spills):
        summary, store = run(large, tmp_path / "s", make_parser())
    assert (summary.done, summary.failed) == (40, 0), summary.failures
    assert rows_of(store) == expected_rows(large, make_parser())


def test_a_photograph_that_is_killed_for_memory_fails_and_the_rest_goes_on(
    site_of_processes, crowd, tmp_path
):
    """The network of one photograph takes 5 GB where 3 GB are left."""
    photos, _ = crowd
    total, free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), free_memory()
    if free is None or free < 8e9:
        pytest.skip("too little memory")
    share = (total - free + 3e9) / total
    parser = make_parser("hungry@5000000000")
    with started(memory_usage_threshold=share, memory_monitor_refresh_ms=100):
        store = open_store(tmp_path / "s", settings_record(parser))
        from regiontree.engines.ray import RayEngine

        engine = RayEngine(EngineOptions(parser, store, more={"device": "cpu"}))
        summary = segment_collection(Listed(references(photos)), store, engine)
    assert "memory may have run out" in summary.failures["033.png"]
    assert summary.done + summary.failed == len(rows_of(store)) == 40
    # What ran beside it may have been killed as often; the next run tries that again.
    assert summary.done > 30
