"""Photographs of object stores and web servers, both of this machine."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from sources import (
    SUFFIXES,
    ask,
    impatient,  # noqa: F401  a fixture
    listed,
    read,
    serving,
    tar_of,
)

from regiontree.errors import MissingExtraError, SourceError
from regiontree.references import remote
from regiontree.references.faults import PAUSES
from regiontree.references.listing import list_references
from regiontree.references.reading import read_bytes
from regiontree.references.reference import Reference
from regiontree.references.streams import open_stream

pytest.importorskip("fsspec")


def at(address: str, offset: int | None = None, length: int | None = None) -> Reference:
    return Reference("x", address, "x", offset, length)


# -- in memory: what all places have in common ----------------------------------------------------


@pytest.fixture
def memory() -> Iterator[str]:
    import fsspec

    system = fsspec.filesystem("memory")
    names = ["x/1.jpg", "x/2.jpg", "y/1.jpg", ".h/3.jpg", "n.txt", "v1.5/a#?[1].jpg", "plain"]
    for name in names:
        system.pipe(f"/photos/{name}", name.encode())
    yield "memory://photos"
    system.rm("/photos", recursive=True)


def put(address: str, data: bytes) -> str:
    import fsspec

    fsspec.filesystem("memory").pipe("/" + address.removeprefix("memory://"), data)
    return address


def test_a_folder_elsewhere(memory):
    assert read(memory) == {name: name.encode() for name in
                            ("v1.5/a#?[1].jpg", "x/1.jpg", "x/2.jpg", "y/1.jpg")}  # fmt: skip
    listing = ask(f"{memory}/")
    assert (listing.count, listing.left_out_text) == (4, "left out: 1 without suffix, 1 .txt")
    assert listed(f"{memory}/v1.5") == ["a#?[1].jpg"]


def test_folders_elsewhere_have_ids_below_their_common_folder(memory):
    assert listed(f"{memory}/x", f"{memory}/y") == ["x/1.jpg", "x/2.jpg", "y/1.jpg"]
    assert ask(f"{memory}/x", memory).twice_named == ["x/1.jpg", "x/2.jpg"]
    assert listed(f"{memory}/x", "memory://elsewhere")[0] == f"{memory}/x/1.jpg"


def test_folders_here_and_elsewhere(memory, tmp_path):
    (tmp_path / "1.jpg").write_bytes(b"here")
    assert read(tmp_path, f"{memory}/x") == {
        "1.jpg": b"here", f"{memory}/x/1.jpg": b"x/1.jpg", f"{memory}/x/2.jpg": b"x/2.jpg",
    }  # fmt: skip


def test_patterns_elsewhere(memory):
    assert listed(f"{memory}/*/1.jpg") == ["x/1.jpg", "y/1.jpg"]
    assert listed(f"{memory}/**/?.jpg") == ["x/1.jpg", "x/2.jpg", "y/1.jpg"]
    problem = "no file matches this pattern"
    assert ask(f"{memory}/*.gif").problems == {f"{memory}/*.gif": problem}


def test_a_photograph_elsewhere(memory):
    assert read(f"{memory}/x/1.jpg") == {f"{memory}/x/1.jpg": b"x/1.jpg"}
    assert read(f"{memory}/plain") == {f"{memory}/plain": b"plain"}
    (said,) = read(f"{memory}/none.jpg").values()
    assert said == f"{memory}/none.jpg: is not there"


def test_lists_and_tables_elsewhere(memory, tmp_path):
    put(f"{memory}/list.lst", f"x/1.jpg\n{memory}/y/1.jpg\nx/1.jpg\nnone.jpg\n".encode())
    assert read(f"{memory}/list.lst") == {
        "x/1.jpg": b"x/1.jpg",
        f"{memory}/y/1.jpg": b"y/1.jpg",
        "none.jpg": f"{memory}/none.jpg: is not there",
    }
    put(f"{memory}/t.jsonl", b'{"url": "x/1.jpg", "n": 5}\n{"url": "y/1.jpg", "n": 5}')
    assert listed(f"{memory}/t.jsonl") == ["x/1.jpg", "y/1.jpg"]
    assert ask(f"{memory}/t.jsonl", id_column="n").twice_named == ["5"]
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    held = io.BytesIO()
    parquet.write_table(pa.table({"url": ["x/1.jpg", "y/1.jpg"]}), held)
    put(f"{memory}/t.parquet", held.getvalue())
    assert read(f"{memory}/*.parquet") == {"x/1.jpg": b"x/1.jpg", "y/1.jpg": b"y/1.jpg"}


def test_archives_elsewhere(memory):
    data = tar_of({"1.jpg": b"one", "a.txt": b"", "b/2.jpg": b"x" * 3000})
    put(f"{memory}/s/0.tar", data)
    put(f"{memory}/s/1.tar", data[: data.index(b"xxx") + 10])
    assert read(f"{memory}/s/*.tar") == {
        "0.tar/1.jpg": b"one", "0.tar/b/2.jpg": b"x" * 3000, "1.tar/1.jpg": b"one",
    }  # fmt: skip
    listing = ask(f"{memory}/s/*.tar")
    assert "is cut short in b/2.jpg" in listing.problems[f"{memory}/s/1.tar"]
    (reference, *_) = list_references(f"{memory}/s/0.tar", SUFFIXES)
    put(f"{memory}/s/0.tar", data[:10])
    with pytest.raises(SourceError, match="is cut short or was changed"):
        read_bytes(reference)


def test_a_folder_elsewhere_without_photographs(memory):
    problem = ask(f"{memory}/n").problems
    assert problem == {f"{memory}/n": "is not there"}
    put(f"{memory}/t/0.tar", b"")
    said = ask(f"{memory}/t/").problems[f"{memory}/t/"]
    assert said == (
        "has no photograph in it; it holds 1 .tar; "
        "to read these, give 'memory://photos/t/*.tar'"
    )  # fmt: skip


def test_addresses_of_unknown_kinds_are_refused(memory):
    put(f"{memory}/list.lst", b"reference://x.jpg\nsimplecache::memory://photos/x/1.jpg\n")
    found = read(f"{memory}/list.lst")
    assert "is of an unknown kind; known are file://, s3://" in found["reference://x.jpg"]
    assert "is not there" in found["simplecache::memory://photos/x/1.jpg"]
    assert "unknown kind" in ask("ftp://example.org/photos/").problems["ftp://example.org/photos/"]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match=r"regiontree\[store\]"):
        ask("memory://photos")
    with pytest.raises(MissingExtraError, match=r"regiontree\[store\]"):
        read_bytes(at("https://example.org/1.jpg"))
    with pytest.raises(MissingExtraError, match=r"install 'regiontree\[s3\]'$"):
        ask("s3://bucket/photos")
    with pytest.raises(MissingExtraError, match=r"install 'regiontree\[store\]' gcsfs$"):
        ask("gs://bucket/photos")


def test_a_missing_package_of_s3_is_named(monkeypatch):
    import fsspec

    def refuse(scheme):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "get_filesystem_class", refuse)
    with pytest.raises(MissingExtraError, match=r"regiontree\[s3\]"):
        ask("s3://bucket/photos")


def test_streams_elsewhere_read_as_files_do(memory, monkeypatch):
    data = bytes(range(256)) * 40
    put(f"{memory}/data", data)
    monkeypatch.setattr("regiontree.references.streams._BLOCK", 1000)
    here, there = io.BytesIO(data), open_stream(f"{memory}/data")
    steps = [(0, 0, 10), (500, 1, 800), (-300, 2, 50), (0, 1, 999), (100, 0, 5000), (10, 0, 1)]
    for place, whence, count in [*steps, (len(data) + 5, 0, 3)]:
        assert here.seek(place, whence) == there.seek(place, whence)
        assert here.read(count) == there.read(count)
        assert here.tell() == there.tell()


# -- the web --------------------------------------------------------------------------------------


FILES = {"/photos/1.jpg": b"one", "/photos/b/2.jpg": b"two" * 400_000, "/photos/empty.jpg": b""}


class Web:
    """A server of files that counts requests and can be told what to answer."""

    def __init__(self) -> None:
        self.files = dict(FILES)
        self.ranges = True
        self.first: dict[str, list[int]] = {}  # path -> answers that come before the file
        self.asked: Counter[str] = Counter()

    def __call__(self, handler) -> None:
        path = handler.path.partition("?")[0]
        self.asked[path] += 1
        if self.first.get(path):
            handler.send(self.first[path].pop(0))
        elif path in self.files:
            handler.send(206 if self.ranges else 200, self.files[path])
        elif path.endswith("/"):
            inside = sorted({name[len(path) :].partition("/")[0] + "/" * ("/" in name[len(path) :])
                             for name in self.files if name.startswith(path)})  # fmt: skip
            links = "".join(f'<a href="{name}">{name}</a>\n' for name in inside)
            page = f'<a href="?C=N;O=D">Name</a><a href="../">Up</a>{links}'
            handler.send(200, page.encode(), Content_Type="text/html")
        else:
            handler.send(404)


@pytest.fixture
def web() -> Web:
    return Web()


@pytest.fixture
def site(web) -> Iterator[str]:
    with serving(web) as address:
        yield address


def test_photographs_of_the_web(site, web):
    assert read(f"{site}/photos/1.jpg?size=big") == {f"{site}/photos/1.jpg?size=big": b"one"}
    assert read(f"{site}/photos/empty.jpg") == {f"{site}/photos/empty.jpg": b""}
    assert sum(web.asked.values()) == 2  # one request each


def test_a_list_of_addresses_of_the_web(site, tmp_path):
    (tmp_path / "list.txt").write_text(f"{site}/photos/1.jpg\n{site}/none.jpg\n")
    assert read(tmp_path / "list.txt") == {
        f"{site}/photos/1.jpg": b"one",
        f"{site}/none.jpg": f"{site}/none.jpg: is not there (the server answers 404)",
    }


def test_pages_that_list_files(site):
    assert read(f"{site}/photos/") == {
        "1.jpg": b"one", "empty.jpg": b"", "b/2.jpg": b"two" * 400_000,
    }  # fmt: skip
    assert listed(f"{site}/photos/*/*.jpg") == ["b/2.jpg"]


def test_archives_of_the_web(site, web):
    web.files["/s/0.tar"] = tar_of({"1.jpg": b"one", "2.jpg": b"x" * 3000})
    assert read(f"{site}/s/0.tar") == {"0.tar/1.jpg": b"one", "0.tar/2.jpg": b"x" * 3000}


def test_a_server_that_sends_only_whole_files(site, web):
    """Lists are read, archives are refused, and no archive is fetched for one member."""
    web.ranges = False
    web.files |= {"/s/0.tar": tar_of({"1.jpg": b"one"}), "/list.txt": b"photos/1.jpg\n"}
    assert read(f"{site}/list.txt") == {"photos/1.jpg": b"one"}
    said = ask(f"{site}/s/0.tar").problems[f"{site}/s/0.tar"]
    assert said == "the server sends no parts of files; download the file"
    with pytest.raises(SourceError, match="no parts of files"):
        read_bytes(at(f"{site}/s/0.tar", 512, 3))


@pytest.mark.parametrize("status", [401, 403])
def test_an_address_of_the_web_that_needs_rights(site, web, status, impatient):  # noqa: F811
    web.first = {"/photos/1.jpg": [status] * 9, "/photos/": [status] * 9, "/0.tar": [status] * 9}
    (said,) = read(f"{site}/photos/1.jpg").values()
    assert said.startswith(f"{site}/photos/1.jpg: needs rights that you do not have (the server ")
    assert "give a signed address, or set FSSPEC_HTTP" in said
    for source in (f"{site}/photos/", f"{site}/0.tar"):
        assert f"(the server answers {status})" in ask(source, "none").problems[source]
    assert impatient == []


def test_faults_that_pass_are_tried_again(site, web, impatient):  # noqa: F811
    web.first = {"/photos/1.jpg": [503, 429, 500], "/photos/": [502], "/s/0.tar": [504]}
    web.files["/s/0.tar"] = tar_of({"1.jpg": b"one"})
    assert read(f"{site}/photos/1.jpg") == {f"{site}/photos/1.jpg": b"one"}
    assert impatient == [*PAUSES]
    assert len(listed(f"{site}/photos/")) == 3
    assert len(read(f"{site}/s/0.tar")) == 1


def test_faults_that_last_are_told(site, web, impatient):  # noqa: F811
    web.first = {"/photos/1.jpg": [503] * 9}
    (said,) = read(f"{site}/photos/1.jpg").values()
    assert said.endswith("cannot be read (the server answers 503), after 4 attempts")
    assert web.asked["/photos/1.jpg"] == 4


def test_a_fault_that_does_not_pass_is_not_tried_again(site, web, impatient):  # noqa: F811
    web.first = {"/photos/1.jpg": [400] * 9}
    (said,) = read(f"{site}/photos/1.jpg").values()
    assert said.endswith("cannot be read (the server answers 400)")
    assert web.asked["/photos/1.jpg"] == 1


def test_an_answer_that_is_cut_short(impatient):  # noqa: F811
    def cut(handler) -> None:
        handler.close_connection = True
        handler.send(200, b"only a part", Content_Length="1000")

    with serving(cut) as site, pytest.raises(SourceError, match="after 4 attempts"):
        read_bytes(at(f"{site}/1.jpg"))


def test_no_server(impatient):  # noqa: F811
    with serving(lambda handler: None) as site:
        pass
    with pytest.raises(SourceError, match=r"1\.jpg: cannot be read \(.*after 4 attempts"):
        read_bytes(at(f"{site}/1.jpg"))


def test_a_server_that_does_not_answer(monkeypatch, impatient):  # noqa: F811
    import aiohttp

    short = aiohttp.ClientTimeout(total=0.2)
    monkeypatch.setattr("aiohttp.ClientTimeout", lambda **_: short)
    end = threading.Event()
    with serving(lambda handler: end.wait(20)) as site:
        with pytest.raises(SourceError, match="did not answer in time, after 4 attempts"):
            read_bytes(at(f"{site}/1.jpg"))
        end.set()


def test_an_answer_without_end_does_not_fill_the_memory(monkeypatch):
    sent = []

    def endless(handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while len(sent) < 1000:
            sent.append(handler.wfile.write(b"x" * 2**20))

    monkeypatch.setattr(remote, "MOST_BYTES", 2**22)
    with serving(endless) as site, pytest.raises(SourceError, match="more than 4,194,304 bytes"):
        read_bytes(at(f"{site}/1.jpg"))
    assert len(sent) < 100


def test_a_login_in_an_address_is_not_told(site):
    address = site.replace("//", "//me:secret@") + "/none.jpg"
    (said,) = read(address).values()
    assert "secret" not in said
    assert said.startswith("http://***@127.0.0.1")


# -- S3 -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server, monkeypatch, tmp_path):
    """A client of an S3 server on this machine that has an empty bucket ``photos``."""
    import boto3
    import s3fs

    for name, value in {
        "AWS_ENDPOINT_URL": s3_server, "AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "no"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3")
    client.create_bucket(Bucket="photos")
    yield client
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="photos"):
        for entry in page.get("Contents", []):
            client.delete_object(Bucket="photos", Key=entry["Key"])
    client.delete_bucket(Bucket="photos")
    s3fs.S3FileSystem.clear_instance_cache()


def upload(client, **files: bytes) -> None:
    for name, data in files.items():
        client.put_object(Bucket="photos", Key=name, Body=data)


def test_photographs_of_s3(s3):
    upload(s3, **{"a/1.jpg": b"one", "a/é #?+%20.jpg": b"two", "a/": b"", "a/.h/3.jpg": b"",
                  "ab/4.jpg": b"", "a/n.txt": b""})  # fmt: skip
    assert read("s3://photos/a") == {"1.jpg": b"one", "é #?+%20.jpg": b"two"}
    assert read("s3://photos/a/1.jpg") == {"s3://photos/a/1.jpg": b"one"}
    assert listed("s3://photos") == ["a/1.jpg", "a/é #?+%20.jpg", "ab/4.jpg"]
    assert listed("s3://photos/*/?.jpg") == ["a/1.jpg", "ab/4.jpg"]
    assert ask("s3://photos/a").left_out == {".txt": 1}


def test_s3_is_listed_page_by_page(s3, monkeypatch):
    monkeypatch.setattr(remote, "_PAGE", 4)
    names = [f"{i:02}.jpg" for i in range(10)]
    upload(s3, **dict.fromkeys(names, b""))
    assert listed("s3://photos/") == names


def test_archives_and_tables_of_s3(s3):
    data = tar_of({"1.jpg": b"one", "2.jpg": b"x" * 3000})
    table = json.dumps({"url": "s3://photos/p.jpg"}).encode()
    upload(s3, **{"s/0.tar": data, "s/1.tar": data[:-6000], "t.jsonl": table, "p.jpg": b"p"})
    assert read("s3://photos/s/*.tar")["0.tar/2.jpg"] == b"x" * 3000
    assert list(ask("s3://photos/s/*.tar").problems) == ["s3://photos/s/1.tar"]
    assert read("s3://photos/t.jsonl") == {"s3://photos/p.jpg": b"p"}


def test_what_is_not_in_s3(s3):
    upload(s3, **{"a/1.jpg": b"one"})
    listing = ask(
        "s3://photos/none/", "s3://no-such-bucket/a", "s3://photos/a", "s3://photos/0.tar"
    )
    assert listing.count == 1
    assert listing.problems == {
        "s3://photos/none/": "has no photograph in it",
        "s3://no-such-bucket/a": "is not there (the server answers 404)",
        "s3://photos/0.tar": "is not there",
    }
    with pytest.raises(SourceError, match="is not there"):
        read_bytes(at("s3://photos/none.jpg"))


def test_s3_without_a_login(s3, monkeypatch):
    import s3fs

    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    s3fs.S3FileSystem.clear_instance_cache()
    listing = ask("s3://photos/a/", "s3://photos/0.tar")
    assert len(listing.problems) == 2
    for said in listing.problems.values():
        assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE" in said


def test_s3_that_refuses(impatient):  # noqa: F811
    """A server that knows the login and denies the request, as S3 does."""
    pytest.importorskip("s3fs")
    import s3fs

    def deny(handler) -> None:
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        handler.send(403, body, Content_Type="application/xml")

    with serving(deny) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server)
        patch.setenv("AWS_ACCESS_KEY_ID", "me")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        s3fs.S3FileSystem.clear_instance_cache()
        (said,) = ask("s3://secret/photos/").problems.values()
        assert said.startswith("needs rights that you do not have, or is not there")
        assert "AWS_PROFILE" in said
        with pytest.raises(SourceError, match="needs rights"):
            read_bytes(at("s3://secret/1.jpg"))
    s3fs.S3FileSystem.clear_instance_cache()
    assert impatient == []
