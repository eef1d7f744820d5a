"""The engine ray where memory is short: that of Ray's objects, and that of the machine."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from crowd import Listed, expected_rows, make_parser, references, rows_of
from onenode import MEMORY, run, started
from PIL import Image

from regiontree.engines.collection import segment_collection, settings_record
from regiontree.engines.engine import EngineOptions
from regiontree.forest.store import open_store
from regiontree.system.resources import free_memory

pytest.importorskip("ray")
pytestmark = pytest.mark.cluster


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
