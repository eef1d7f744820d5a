"""A Ray cluster of one node with GPUs that are only a number, and a run on it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crowd import Listed, references

from regiontree import RegionParser
from regiontree.engines.collection import CollectionSummary, segment_collection, settings_record
from regiontree.engines.engine import EngineOptions
from regiontree.forest.store import Store, open_store

MEMORY = 80 << 20


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
