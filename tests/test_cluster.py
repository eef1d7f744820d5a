"""The engine ray on a cluster of several nodes of this machine, of which some die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crowd import SETTINGS, Listed, expected_rows, make_parser, references, rows_of
from test_workers import wait_for

from regiontree.engines.collection import segment_collection, settings_record
from regiontree.engines.engine import EngineOptions, Status
from regiontree.forest.store import open_store

pytest.importorskip("ray")
pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def cluster(site_of_processes: Path) -> Iterator[Any]:
    """A cluster of a head and two nodes, with a core each."""
    import ray
    from ray._private.utils import get_ray_address_file
    from ray.cluster_utils import Cluster

    Path(get_ray_address_file(None)).parent.mkdir(parents=True, exist_ok=True)
    given = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        started = Cluster(True, head_node_args={**given, "temp_dir": folder})
        started.nodes = [started.add_node(**given, wait=False) for _ in range(2)]
        started.wait_for_nodes()
        yield started
        ray.shutdown()
        started.shutdown()


def test_a_command_that_is_killed_is_finished_by_the_same_command(cluster, crowd, tmp_path):
    photos, _ = crowd
    given = [sys.executable, "-m", "regiontree", "segment", str(photos), "-o", str(tmp_path / "s"),
             "--engine", "ray", "--ray-address", cluster.address, "--json", "--backbone",
             "tiny:slow@0.1", *SETTINGS]  # fmt: skip
    process = subprocess.Popen(given, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: len(list(tmp_path.glob("s/_parts/*.parquet"))) > 4, 300)
    finally:
        process.kill()
        process.wait()
    done = subprocess.run(given, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr  # two are broken
    said = json.loads(done.stdout)
    assert said["skipped"] > 3
    assert (said["done"] + said["skipped"], said["failed"]) == (38, 2)
    found = rows_of(open_store(tmp_path / "s", create=False))
    assert found == expected_rows(photos, make_parser("slow@0.1"))


def test_a_worker_that_dies_in_a_part_leaves_half_a_file_and_no_half_row(cluster, crowd, tmp_path):
    photos, _ = crowd
    died = tmp_path / "died"
    parser = make_parser(f"dies in a part@{died}")
    store = open_store(tmp_path / "s", settings_record(parser))
    from regiontree.engines.ray import RayEngine

    engine = RayEngine(EngineOptions(parser, store, more={"address": cluster.address}))
    summary = segment_collection(Listed(references(photos)), store, engine)
    assert "part-" in died.read_text()
    assert (summary.done, summary.failed) == (38, 2)
    assert rows_of(store) == expected_rows(photos, parser)


def test_a_command_that_dies_in_a_shard_is_finished_by_the_same_command(cluster, crowd, tmp_path):
    photos, expected = crowd
    died = tmp_path / "died"
    given = ["segment", str(photos), "-o", str(tmp_path / "s"), "--engine", "ray", "--ray-address",
             cluster.address, "--json", "--backbone", "tiny:none", *SETTINGS]  # fmt: skip
    dies = (
        "import sys, tiny; tiny.die_writing('shard-', sys.argv.pop(1)); "
        "from regiontree.cli import main; main()"
    )
    killed = subprocess.run([sys.executable, "-c", dies, str(died), *given], capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    half = Path(died.read_text())
    assert 1000 < half.stat().st_size < 10_000
    os.utime(half, (0, 0))  # a leftover is removed after a while
    done = subprocess.run(
        [sys.executable, "-m", "regiontree", *given], capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr  # two are broken
    said = json.loads(done.stdout)
    assert (said["done"], said["skipped"], said["failed"]) == (0, 38, 2)
    assert rows_of(open_store(tmp_path / "s", create=False)) == expected
    assert not half.exists()
    assert len(list(tmp_path.glob("s/shard-*"))) == 2


def test_the_address_may_stand_in_the_environment(cluster, crowd, tmp_path):
    photos, _ = crowd
    given = [sys.executable, "-m", "regiontree", "segment", str(photos / "000.png"), "-o",
             str(tmp_path / "s"), "--engine", "ray", "--backbone", "tiny:none",
             *SETTINGS]  # fmt: skip
    environment = {**os.environ, "RAY_ADDRESS": cluster.address}
    done = subprocess.run(given, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "3 machines, 3 cores" in done.stderr


def test_a_node_that_is_killed_takes_no_photograph_with_it(cluster, crowd, tmp_path):
    photos, _ = crowd
    parser = make_parser("slow@0.05")
    store = open_store(tmp_path / "s", settings_record(parser))
    from regiontree.engines.ray import RayEngine

    seen: list[str] = []

    def kill(status: Status) -> None:
        seen.append(status.id)
        if len(seen) == 4:
            cluster.remove_node(cluster.nodes[0], allow_graceful=False)

    engine = RayEngine(EngineOptions(parser, store, more={"address": cluster.address}))
    summary = segment_collection(Listed(references(photos)), store, engine, on_status=kill)
    assert (summary.done, summary.failed) == (38, 2)
    assert sorted(seen) == sorted(set(seen))
    assert rows_of(store) == expected_rows(photos, parser)
