"""Stores at addresses: object stores of S3's kind, and fsspec's memory."""

from __future__ import annotations

import numpy as np
import pytest
from stores import SETTINGS, failed_row, rows_equal, tree_row

pytest.importorskip("pyarrow")
fsspec = pytest.importorskip("fsspec")

from regiontree import Forest  # noqa: E402
from regiontree.errors import StoreError  # noqa: E402
from regiontree.forest.convert import convert  # noqa: E402
from regiontree.forest.schema import table_of  # noqa: E402
from regiontree.forest.storage import folder_at  # noqa: E402
from regiontree.forest.store import is_store, open_store  # noqa: E402


@pytest.fixture(scope="module")
def s3():
    """The address of a bucket on a server of this machine."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    pytest.importorskip("s3fs")
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        system = fsspec.filesystem("s3", skip_instance_cache=True)
        system.mkdir("trees")
        yield "s3://trees"
    server.stop()


@pytest.fixture(params=["memory", "s3"])
def address(request, tmp_path):
    if request.param == "memory":
        return f"memory://{tmp_path.name}/STORE"
    return f"{request.getfixturevalue('s3')}/{tmp_path.name}/STORE"


def test_a_store_at_an_address(address):
    assert not is_store(address)
    store = open_store(address, SETTINGS)
    assert is_store(address)
    rows = [*(tree_row(f"a/{i}") for i in range(9)), failed_row("bad")]
    for start in range(0, 10, 2):
        store.add(table_of(rows[start : start + 2]))
    before = Forest(address)
    with store.writing("segment"):
        with pytest.raises(StoreError, match="is being written to by 'regiontree segment'"):
            open_store(address).writing("convert").__enter__()
        assert len(store.compact(final=True)) == 2
    assert all(rows_equal(before.row(row.id), row) for row in rows)  # opened before
    assert not store.folder.files("_parts")
    forest = Forest(address)
    assert {row.id for row in forest.rows()} == {row.id for row in rows}
    assert all(rows_equal(forest.row(row.id), row) for row in rows)
    assert open_store(address).known(["a/3", "b", "bad"]).tolist() == [True, False, False]
    assert len(forest.filter(lambda row: row["error"] is None)) == 9
    import pyarrow.compute as pc

    assert len(forest.filter(pc.field("id") == "a/3")) == 1
    with pytest.raises(StoreError, match="other settings"):
        open_store(address, {**SETTINGS, "seed": 2})


def test_a_folder_becomes_a_store_at_an_address(address, tmp_path):
    trees = {f"{i}.npz": tree_row(str(i)).tree.save(tmp_path / f"trees/{i}.npz") for i in range(3)}
    assert convert(tmp_path / "trees", address).done == 3
    assert convert(tmp_path / "trees", address).skipped == 3
    convert(address, tmp_path / "back")
    for name, path in trees.items():
        assert (tmp_path / "back" / name).read_bytes() == path.read_bytes()


def test_files_of_a_folder_at_an_address(address):
    folder = folder_at(address)
    assert folder.files() == {}
    assert folder.read("a") is None
    with folder.writing("below/a") as file:
        file.write(b"12")
        file.write(b"3")
    folder.write("b", b"4")
    assert folder.files() == {"b": 1}
    assert folder.files("below") == {"below/a": 3}
    assert not folder.create("b", b"5")
    assert folder.read("b") == b"4"
    folder.move("below/a", "c")
    assert folder.files() == {"b": 1, "c": 3}
    assert folder.files("below") == {}
    writing = folder.writing("half")
    writing.__enter__().write(b"1")
    assert not writing.__exit__(ValueError, ValueError(), None)
    assert "half" not in folder.files()
    folder.remove("b")
    folder.remove("b")
    assert folder.files() == {"c": 3}


def test_a_large_file_is_sent_whole(s3):
    """More than one piece of an upload."""
    folder = folder_at(f"{s3}/large")
    data = np.random.default_rng(0).integers(0, 256, 60 << 20, dtype=np.uint8).tobytes()
    with folder.writing("a") as file:
        file.write(data)
    assert folder.read("a") == data


def test_an_address_that_nothing_answers(monkeypatch):
    with pytest.raises(StoreError, match="nothere://a/b"):
        open_store("nothere://a/b")


def test_a_bucket_that_is_not_there(s3):
    with pytest.raises(StoreError, match=r"s3://no-such-bucket/s/_store\.json: cannot be"):
        open_store("s3://no-such-bucket/s", SETTINGS)


def test_a_login_that_is_missing_is_said(monkeypatch, tmp_path):
    """The message says what to set; no other machine is asked for a login."""
    pytest.importorskip("s3fs")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(StoreError, match=r"_store\.json: needs rights .* set AWS_ACCESS_KEY_ID"):
        open_store("s3://trees-without-login/s")
