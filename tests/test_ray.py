"""The engine ray, on one node of this machine: the same rows, whatever dies meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import blocks, refused
from crowd import SETTINGS, Listed, expected_rows, make_parser, ran, references, rows_of

from regiontree import RegionParser
from regiontree.engines.collection import segment_collection, settings_record
from regiontree.engines.engine import EngineOptions
from regiontree.engines.process import decoded, features
from regiontree.engines.raycluster import quiet
from regiontree.engines.raystages import _staged, _staged_table, references_table
from regiontree.errors import RegionTreeError, SettingsError, StoreError
from regiontree.forest.store import open_store
from regiontree.hierarchy import BUILDERS

pytest.importorskip("ray")
pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def node(site_of_processes: Path) -> Iterator[None]:
    """A cluster of one node with two cores, to which this process is connected."""
    from regiontree.engines.raycluster import Connection

    connection = Connection(None, 2)
    yield
    connection.close()


# -- one node -------------------------------------------------------------------------------------


def test_the_rows_are_those_of_the_local_engine(node, crowd, tmp_path):
    photos, expected = crowd
    summary, store = ran(photos, tmp_path / "s", make_parser(), engine="ray", workers=None)
    assert (summary.done, summary.failed, summary.engine) == (38, 2, "ray")
    assert rows_of(store) == expected
    again, _ = ran(photos, tmp_path / "s", make_parser(), engine="ray", workers=None)
    assert (again.done, again.skipped, again.failed) == (0, 38, 2)
    assert rows_of(store) == expected


def test_a_photograph_that_kills_its_process_fails_alone(node, crowd, tmp_path):
    photos, _ = crowd
    parser = make_parser("dies")
    summary, store = ran(photos, tmp_path / "s", parser, engine="ray", workers=None)
    assert (summary.done, summary.failed) == (37, 3)
    assert "ended twice" in summary.failures["033.png"]
    assert len(rows_of(store)) == 40


def test_a_slow_photograph_holds_up_no_other(node, crowd, tmp_path, monkeypatch):
    photos, _ = crowd
    parser = make_parser("red is slow@3")
    store = open_store(tmp_path / "s", settings_record(parser))
    from regiontree.engines.ray import RayEngine

    monkeypatch.setattr("regiontree.engines.ray._WAVE", 30)  # so there are two
    order: list[str] = []
    engine = RayEngine(EngineOptions(parser, store))
    segment_collection(
        Listed(references(photos)), store, engine, on_status=lambda status: order.append(status.id)
    )
    assert len(order) == 40
    assert rows_of(store) == expected_rows(photos, parser)


def test_a_process_that_is_killed_is_replaced(node, crowd, tmp_path):
    photos, _ = crowd
    parser = make_parser(f"dies once@{tmp_path / 'died'}")
    summary, store = ran(photos, tmp_path / "s", parser, engine="ray", workers=None)
    assert (tmp_path / "died").exists()
    assert (summary.done, summary.failed) == (38, 2)
    assert rows_of(store) == expected_rows(photos, parser)


def test_a_network_that_cannot_be_loaded_is_told_at_once(node, crowd, tmp_path):
    photos, _ = crowd
    with refused(RegionTreeError, "weights"):
        ran(photos, tmp_path / "s", make_parser("missing"), engine="ray", workers=None)


def test_a_store_that_cannot_be_written_ends_the_run(node, crowd, tmp_path):
    photos, _ = crowd
    parser = make_parser(f"blocks@{tmp_path / 's' / '_parts'}")
    with refused(StoreError, "_parts"):
        ran(photos, tmp_path / "s", parser, engine="ray", workers=None)


def test_a_store_that_a_machine_does_not_see_is_refused(node):
    parser = make_parser()
    store = open_store("memory://trees", settings_record(parser))  # of this process alone
    from regiontree.engines.ray import RayEngine

    with refused(SettingsError, "memory://trees", "all machines"):
        RayEngine(EngineOptions(parser, store))


def test_the_stages_are_placed_as_the_page_says(node, crowd, tmp_path):
    """One stage of tasks on a core each; with GPUs also a pool of actors that reserves no core."""
    from ray.data._internal.compute import TaskPoolStrategy

    from regiontree.engines.ray import RayEngine

    parser = make_parser()
    engine = RayEngine(EngineOptions(parser, open_store(tmp_path / "s", settings_record(parser))))
    blocks = [references_table(references(crowd[0]))]
    with quiet(engine.ray):
        ((name, tasks, core, gpus),) = _placed(engine._stages(blocks))
        assert ("whole" in name, type(tasks), core, gpus) == (True, TaskPoolStrategy, 1, None)
        engine.gpus = 2
        trees, network, decoding = _placed(engine._stages(blocks))
    assert ("finish" in trees[0], "Network" in network[0], "decode" in decoding[0]) == (True,) * 3
    assert (trees[2:], network[2:], decoding[2:]) == ((1, None), (0, 1), (1, None))
    assert network[1].max_size == 2
    assert type(trees[1]) is type(decoding[1]) is TaskPoolStrategy


def _placed(stages: Any) -> list[tuple[Any, ...]]:
    """Of each stage, the last first: its name, who does it, and the cores and GPUs of one."""
    stage = stages._logical_plan.dag
    found = []
    while stage.input_dependencies:
        told = stage.ray_remote_args
        found.append((stage.name, stage.compute, told["num_cpus"], told.get("num_gpus")))
        (stage,) = stage.input_dependencies
    return found


def test_features_may_come_from_files(node, tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(3):
        np.save(tmp_path / f"in/{i}.npy", blocks(12, 12, 8, seed=i))
    parser = RegionParser(backbone="precomputed", parts=16, device="cpu")
    _, store = ran(tmp_path / "in", tmp_path / "s", parser, engine="ray", workers=None)
    assert rows_of(store) == expected_rows(tmp_path / "in", parser)


def test_a_model_of_the_users_own_goes_to_the_cluster(node, crowd, site, tmp_path):
    photos, _ = crowd
    import tiny  # the module that the processes of the cluster know, too

    own = RegionParser(backbone=tiny.Colours("none"), parts=6, size=64)
    summary, store = ran(photos, tmp_path / "s", own, engine="ray", workers=None)
    assert summary.done == 38
    assert rows_of(store) == expected_rows(photos, own)


def test_what_other_processes_lack_is_refused(node, tmp_path, monkeypatch):
    monkeypatch.setattr(BUILDERS, "_registered", {"ward"})
    with refused(SettingsError, "registered", "other processes"):
        ran(tmp_path, tmp_path / "s", make_parser(), engine="ray", workers=None)


def test_ray_is_imported_only_when_it_is_chosen() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "import sys; from regiontree.engines import storing; "
         "print({'ray', 'pyarrow'} & set(sys.modules))"], capture_output=True, text=True,
    )  # fmt: skip
    assert said.stdout.strip() == "set()", said.stderr


@pytest.mark.parametrize(
    ("more", "facts"),
    [
        ({"device": "cuda"}, ["cuda", "no GPU"]),
        ({"device": "mps"}, ["mps", "auto, cpu or cuda"]),
        ({"workers": 2}, ["--workers"]),
    ],
)
def test_what_the_cluster_does_not_have_is_refused(node, tmp_path, more, facts):
    (tmp_path / "in").mkdir()
    with refused(SettingsError, *facts):
        ran(
            tmp_path / "in",
            tmp_path / "s",
            make_parser(),
            engine="ray",
            **{"workers": None, **more},
        )


def test_a_photograph_is_the_same_after_its_way(site, crowd):
    photos, _ = crowd
    parser = make_parser()
    for reference in references(photos)[:8]:
        before = decoded(reference, parser)
        (after,) = _staged(_staged_table(before))
        assert (after.reference, after.error, after.sha256) == (
            before.reference, before.error, before.sha256,
        )  # fmt: skip
        if before.pixels is not None:
            assert torch.equal(after.pixels, before.pixels)
            assert after.pixels.dtype == before.pixels.dtype
            (seen,), (expected,) = features([after], parser), features([before], parser)
            assert torch.equal(seen.features.patches, expected.features.patches)


# -- a cluster of its own -------------------------------------------------------------------------


def test_the_command_starts_a_cluster_and_ends_it(crowd, site_of_processes, tmp_path):
    photos, expected = crowd
    given = [sys.executable, "-m", "regiontree", "segment", str(photos), "-o", str(tmp_path / "s"),
             "--engine", "ray", "--workers", "1", "--json", "--backbone", "tiny:none",
             *SETTINGS]  # fmt: skip
    (tmp_path / "t").mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment["TMPDIR"] = str(tmp_path / "t")
    done = subprocess.run(given, capture_output=True, text=True, env=environment)
    assert done.returncode == 1, done.stderr  # two are broken
    said = json.loads(done.stdout)  # Ray has written nothing there
    assert (said["done"], said["failed"], said["engine"]) == (38, 2, "ray")
    assert "1 machines, 1 cores, no GPU" in done.stderr
    assert rows_of(open_store(tmp_path / "s", create=False)) == expected
    assert not list((tmp_path / "t").glob("ray-*"))
