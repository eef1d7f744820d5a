"""Weights by name: a small hub on this machine, and what can go wrong between it and us."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from conftest import refused
from safetensors.torch import save

from regiontree.backbones import weights
from regiontree.backbones.address import UnreachableError, fetch_file
from regiontree.backbones.cache import cache_folder
from regiontree.backbones.catalog import CATALOG
from regiontree.backbones.weights import cached_models, find_model, forget_digests
from regiontree.errors import BackboneError, MissingExtraError

constants = pytest.importorskip(
    "huggingface_hub.constants", reason="the extra 'hub' is not installed"
)

pytestmark = pytest.mark.hub

OLD, NEW = "a" * 40, "b" * 40
CONFIG = json.dumps({"model_type": "dinov2", "patch_size": 14}).encode()


def tensors(seed: int = 0, count: int = 64) -> bytes:
    torch.manual_seed(seed)
    return save({"a": torch.rand(count), "b": torch.rand(3, 5)})


def record_of(hub_id: str) -> Path:
    """The file that says what was first downloaded as the main revision."""
    record = cache_folder() / "weights" / f"{hub_id.replace('/', '--')}@main.json"
    assert record.is_file()
    return record


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclasses.dataclass
class Hub:
    """What the server holds, what it answers, and what it was asked."""

    address: str = ""
    repositories: dict[str, dict[str, dict[str, bytes]]] = dataclasses.field(default_factory=dict)
    gated: set[str] = dataclasses.field(default_factory=set)
    refuse_token: bool = False
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    cut_after: list[int] = dataclasses.field(default_factory=list)  # bytes of the next answers
    ranges: bool = True
    etag: str | None = None
    asked: list[str] = dataclasses.field(default_factory=list)

    def model(self, hub_id: str, commits: dict[str, dict[str, bytes]]) -> None:
        """Commits in order of time: the last is main."""
        self.repositories[hub_id] = commits


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.hub.asked.append(f"{self.command} {path} {self.headers.get('Range', '')}".strip())
        parts = path.strip("/").split("/")
        if path.startswith("/files/"):
            return self.file(self.hub.files.get(parts[1]), body)
        if path == "/moved":
            return self.say(302, {"Location": "http://example.invalid/file"})
        if self.hub.refuse_token and self.headers.get("Authorization"):
            message = "Invalid credentials in Authorization header"
            return self.say(401, {"X-Error-Message": message})
        api = parts[:2] == ["api", "models"]
        hub_id = "/".join(parts[2:4] if api else parts[:2])
        commits = self.hub.repositories.get(hub_id)
        if commits is None:
            return self.say(401 if api else 404, {"X-Error-Code": "RepoNotFound"})
        revision = parts[5] if api and len(parts) > 5 else "main" if api else parts[3]
        commit = list(commits)[-1] if revision == "main" else revision
        if commit not in commits:
            return self.say(404, {"X-Error-Code": "RevisionNotFound"})
        if api:
            return self.say(200, {}, json.dumps(self.info(hub_id, commit, commits)).encode())
        if hub_id in self.hub.gated and not self.headers.get("Authorization"):
            return self.say(401, {"X-Error-Code": "GatedRepo"})
        if hub_id in self.hub.gated and "good" not in self.headers["Authorization"]:
            return self.say(403, {"X-Error-Code": "GatedRepo"})
        data = commits[commit].get("/".join(parts[4:]))
        return self.file(data, body, {"X-Repo-Commit": commit})

    def info(self, hub_id: str, commit: str, commits: dict[str, dict[str, bytes]]) -> object:
        siblings = [
            {
                "rfilename": name,
                "size": len(data),
                "blobId": hashlib.sha1(data).hexdigest(),
                **({} if name.endswith(".json") else {"lfs": self.large(data)}),
            }
            for name, data in commits[commit].items()
        ]
        return {"id": hub_id, "modelId": hub_id, "sha": commit, "siblings": siblings}

    def large(self, data: bytes) -> object:
        return {"sha256": sha256(data), "size": len(data), "pointerSize": 134}

    def file(self, data: bytes | None, body: bool, more: dict[str, str] | None = None) -> None:
        if data is None:
            return self.say(404, {"X-Error-Code": "EntryNotFound"})
        etag = f'"{self.hub.etag or sha256(data)}"'
        headers = {**(more or {}), "ETag": etag, "X-Linked-Size": str(len(data))}
        status, asked = 200, self.headers.get("Range")
        if asked and self.hub.ranges and self.headers.get("If-Range", etag) == etag:
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            if start >= len(data):
                return self.say(416, {"Content-Range": f"bytes */{len(data)}"})
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            status, data = 206, data[start:]
        return self.say(status, headers, data, body)

    def say(
        self, status: int, headers: dict[str, str], data: bytes = b"", body: bool = True
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if not body:
            return
        if status in (200, 206) and self.hub.cut_after and data is not None and len(data) > 500:
            data = data[: self.hub.cut_after.pop(0)]
            self.close_connection = True
        self.wfile.write(data)


@pytest.fixture
def server():
    """A hub that answers on 127.0.0.1."""
    state = Hub()
    answers = type("AnswersOfOne", (Answers,), {"hub": state})
    listening = ThreadingHTTPServer(("127.0.0.1", 0), answers)
    state.address = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    listening.shutdown()
    listening.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch) -> Path:
    """Caches of our own and of the hub that begin empty; no token; no way out."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REGIONTREE_CACHE", str(tmp_path / "ours"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    at(monkeypatch, "http://127.0.0.1:9")  # where nothing listens
    return tmp_path


def at(monkeypatch, address: str) -> None:
    """What HF_ENDPOINT sets when the library is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def online(server, monkeypatch) -> Hub:
    at(monkeypatch, server.address)
    return server


def offline(monkeypatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def downloads(asked: list[str]) -> list[str]:
    return [
        line.rpartition("/")[2] for line in asked if line.startswith("GET") and "/api/" not in line
    ]


# -- the hub --------------------------------------------------------------------------------------


def test_first_download_takes_settings_and_weights_and_later_starts_ask_nobody(
    online, caches, monkeypatch
):
    data = tensors()
    files = {
        "config.json": CONFIG,
        "preprocessor_config.json": b"{}",
        "model.safetensors": data,
        "pytorch_model.bin": b"a pickle",
        "modeling_mine.py": b"import os",
        "README.md": b"#",
    }
    online.model("someone/small", {OLD: files})
    first = find_model("someone/small")
    assert (first.name, first.digest, first.revision) == ("someone/small", sha256(data), OLD)
    assert (first.path / "model.safetensors").read_bytes() == data
    wanted = ["config.json", "preprocessor_config.json", "model.safetensors"]
    assert downloads(online.asked) == wanted
    assert sorted(file.name for file in first.path.iterdir()) == sorted(wanted)

    online.asked.clear()
    assert find_model("someone/small") == first
    assert online.asked == []
    offline(monkeypatch)
    assert find_model("someone/small") == first


def test_main_that_moves_on_is_not_followed(online):
    """The commit of the first download stays, even if it has to be downloaded again."""
    online.model("someone/small", {OLD: {"config.json": CONFIG, "model.safetensors": tensors(1)}})
    first = find_model("someone/small")
    online.repositories["someone/small"][NEW] = {
        "config.json": CONFIG,
        "model.safetensors": tensors(2),
    }
    assert find_model("someone/small") == first
    for file in (first.path / "model.safetensors", first.path / "config.json"):
        file.resolve().unlink()
        file.unlink()
    assert find_model("someone/small") == first

    # The new commit is taken where it is asked for, and where the old one is forgotten.
    assert find_model(f"someone/small@{NEW}").digest == sha256(tensors(2))
    record_of("someone/small").unlink()
    assert find_model("someone/small").revision == NEW


def test_a_commit_that_is_gone_is_not_replaced_by_another(online, caches):
    online.model("someone/small", {OLD: {"config.json": CONFIG, "model.safetensors": tensors(1)}})
    first = find_model("someone/small")
    (first.path / "model.safetensors").resolve().unlink()
    online.model("someone/small", {NEW: {"config.json": CONFIG, "model.safetensors": tensors(2)}})
    with refused(BackboneError, OLD, "first download", f"delete {record_of('someone/small')}"):
        find_model("someone/small")


def test_another_file_under_the_same_commit_is_refused_until_told(online):
    online.model("someone/small", {OLD: {"config.json": CONFIG, "model.safetensors": tensors(1)}})
    first = find_model("someone/small")
    (first.path / "model.safetensors").resolve().unlink()
    online.model("someone/small", {OLD: {"config.json": CONFIG, "model.safetensors": tensors(2)}})
    record = record_of("someone/small")
    with refused(
        BackboneError, sha256(tensors(2)), "not what was first downloaded", f"delete {record}"
    ):
        find_model("someone/small")
    record.unlink()
    assert find_model("someone/small").digest == sha256(tensors(2))


@pytest.mark.parametrize("damage", ["altered", "cut"])
def test_damaged_weights_are_found_and_the_message_mends_them(online, damage):
    online.model("someone/small", {OLD: {"config.json": CONFIG, "model.safetensors": tensors()}})
    model = find_model("someone/small")
    blob = (model.path / "model.safetensors").resolve()
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data if damage == "altered" else data[:100])
    with refused(BackboneError, str(blob), sha256(tensors()), "altered") as error:
        find_model("someone/small")
    assert f"delete {blob}, then run `regiontree backbones someone/small --download`" in str(
        error.value
    )
    blob.unlink()
    assert find_model("someone/small") == model


def test_a_download_that_is_cut_off_ends_whole(online, monkeypatch):
    """Within one call the library tries again; between calls, it keeps whole files only."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    data = tensors(count=5000)
    online.model("someone/small", {OLD: {"config.json": CONFIG, "model.safetensors": data}})
    online.cut_after = [700]
    assert find_model("someone/small").digest == sha256(data)
    assert downloads(online.asked) == ["config.json", "model.safetensors", "model.safetensors"]


def test_shards_are_all_taken_and_all_count(online, monkeypatch):
    shards = {f"model-0000{i}-of-00002.safetensors": tensors(i) for i in (1, 2)}
    index = json.dumps({"weight_map": dict(zip("ab", shards, strict=True))}).encode()
    files = {"config.json": CONFIG, "model.safetensors.index.json": index, **shards}
    online.model("someone/large", {OLD: files})
    model = find_model("someone/large")
    lines = "".join(f"{sha256(data)}  {name}\n" for name, data in shards.items())
    assert model.digest == sha256(lines.encode())
    last = model.path / list(shards)[-1]
    last.resolve().unlink()
    offline(monkeypatch)
    with pytest.raises(BackboneError, match="HF_HUB_OFFLINE is set"):
        find_model("someone/large")


def test_an_index_cannot_lead_out_of_its_folder(online):
    index = json.dumps({"weight_map": {"a": "../../escape.safetensors"}}).encode()
    files = {"config.json": CONFIG, "model.safetensors.index.json": index}
    online.model("someone/evil", {OLD: files})
    with refused(BackboneError, "model.safetensors.index.json", "not an index"):
        find_model("someone/evil")


def test_pickles_only_of_the_known_kind(online):
    online.model("someone/old", {OLD: {"config.json": CONFIG, "pytorch_model.bin": b"tensors"}})
    assert find_model("someone/old").digest == sha256(b"tensors")
    online.model("someone/odd", {OLD: {"config.json": CONFIG, "weights.pkl": b"", "net.pt": b""}})
    with refused(BackboneError, "config.json, net.pt, weights.pkl", "pickles"):
        find_model("someone/odd")


def test_a_catalogue_entry_is_pinned_to_its_commit_and_its_sha256(online, monkeypatch):
    entry = CATALOG["dinov2_vits14"]
    files = {"config.json": CONFIG, "model.safetensors": tensors()}
    online.model(entry.hub_id, {entry.revision: files, NEW: files})
    with refused(BackboneError, entry.sha256, sha256(tensors())):
        find_model("dinov2_vits14")
    assert find_model(f"dinov2_vits14@{NEW}").revision == NEW  # asked for: its owner's business
    entry = CATALOG["dinov2_vitb14"]
    online.model(entry.hub_id, {entry.revision: files, NEW: files})
    assert find_model("dinov2_vitb14").revision == entry.revision
    listed = {cached.name: cached.revision for cached in cached_models()}
    assert listed["dinov2_vitb14"] == entry.revision


def test_gated_models_say_what_is_missing(online, monkeypatch):
    files = {"config.json": CONFIG, "model.safetensors": tensors()}
    entry = CATALOG["dinov3_vitb16"]
    online.model(entry.hub_id, {entry.revision: files})
    online.gated.add(entry.hub_id)
    page = f"{online.address}/{entry.hub_id}"
    with refused(BackboneError, "gated", "no token", "accept", page, "HF_TOKEN", "hf auth login"):
        find_model("dinov3_vitb16")
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with refused(BackboneError, "gated", "token", "no access"):
        find_model("dinov3_vitb16")
    online.refuse_token = True
    with refused(BackboneError, "refuses the token", "401"):
        find_model("dinov3_vitb16")
    online.refuse_token = False
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    assert find_model("dinov3_vitb16").revision == entry.revision


def test_what_the_hub_does_not_have(online):
    online.model("someone/small", {OLD: {"config.json": CONFIG, "model.safetensors": tensors()}})
    with refused(BackboneError, f"no revision {NEW}", "commits"):
        find_model(f"someone/small@{NEW}")
    with refused(
        BackboneError, "facebook/dinov2-smal", "did you mean", "'facebook/dinov2-small'", "'dinov2_"
    ):
        find_model("facebook/dinov2-smal")
    online.model("someone/text", {OLD: {"README.md": b""}})
    with refused(BackboneError, "someone/text", "not a model", "found nothing"):
        find_model("someone/text")


def test_without_network_it_says_what_there_is(online, monkeypatch):
    files = {"config.json": CONFIG, "model.safetensors": tensors()}
    online.model("someone/small", {OLD: files})
    find_model("someone/small")
    monkeypatch.setattr("time.sleep", lambda _: None)
    at(monkeypatch, "http://127.0.0.1:9")
    with refused(BackboneError, "127.0.0.1:9", "precomputed:FOLDER", "someone/small"):
        find_model("someone/else")
    offline(monkeypatch)
    with refused(BackboneError, "HF_HUB_OFFLINE", "someone/small"):
        find_model("dinov2_vitb14")


def test_a_server_that_is_no_hub(online, monkeypatch):
    at(monkeypatch, f"{online.address}/files/x#")
    online.files["x"] = b"<html>"
    with refused(BackboneError, f"{online.address}/files/x#", "hub"):
        find_model("someone/page")


def test_a_cache_that_was_copied_here_needs_no_network(online, caches, monkeypatch):
    """Of a repository with no pinned commit, downloaded elsewhere by another program."""
    entry = CATALOG["dino_vitb8"]
    assert entry.revision is None
    huggingface_hub = pytest.importorskip("huggingface_hub")
    files = {"config.json": CONFIG, "model.safetensors": tensors()}
    online.model(entry.hub_id, {OLD: files})
    for name in files:
        huggingface_hub.HfApi().hf_hub_download(entry.hub_id, name)
    offline(monkeypatch)
    assert find_model("dino_vitb8").revision == OLD
    assert [cached.name for cached in cached_models()] == ["dino_vitb8"]


def test_a_full_disk_and_a_closed_one(online, monkeypatch):
    online.model("someone/small", {OLD: {"config.json": CONFIG, "model.safetensors": tensors()}})
    for number, remedy in ((errno.ENOSPC, "make room, or set HF_HOME"), (errno.EROFS, "set HF_")):

        def full(*_: object, number: int = number, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("huggingface_hub.HfApi.hf_hub_download", full)
        with refused(BackboneError, "cannot be kept in", os.strerror(number), remedy):
            find_model("someone/small")


def test_settings_of_the_environment_are_honoured(server, caches):
    """As a user sets them: in a process of its own."""
    files = {"config.json": CONFIG, "model.safetensors": tensors()}
    server.model("someone/small", {OLD: files})
    code = (
        "from regiontree.backbones.weights import find_model\n"
        "print(find_model('someone/small').path)"
    )
    environment = {
        **os.environ,
        "HF_HOME": str(caches / "höme"),
        "HF_ENDPOINT": server.address,
        "REGIONTREE_CACHE": str(caches / "eigenes"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    path = caches / "höme" / "hub" / "models--someone--small" / "snapshots" / OLD
    assert Path(done.stdout.strip()) == path
    assert done.stderr == ""  # no bars on what is no terminal


def test_without_the_extra_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'regiontree\[hub\]'$"):
        find_model("dinov2_vitb14")
    assert cached_models() == []


def test_a_damaged_record_is_not_taken_for_no_record(online):
    online.model("someone/small", {OLD: {"config.json": CONFIG, "model.safetensors": tensors()}})
    find_model("someone/small")
    record = record_of("someone/small")
    record.write_text('{"commit": 3}')
    with refused(BackboneError, str(record), "damaged", "delete it"):
        find_model("someone/small")
    assert [cached.name for cached in cached_models()] == [f"someone/small@{OLD}"]


def test_a_digest_is_computed_once(online, monkeypatch):
    online.model("someone/small", {OLD: {"config.json": CONFIG, "model.safetensors": tensors()}})
    model = find_model("someone/small")
    read: list[Path] = []
    monkeypatch.setattr(weights, "sha256_of", lambda path: read.append(path) or model.digest)
    find_model("someone/small")
    assert read == []
    forget_digests()
    find_model("someone/small")
    assert read == [(model.path / "model.safetensors").resolve()]


def test_listing_leaves_out_text_models_and_halves(online, caches):
    online.model("someone/small", {OLD: {"config.json": CONFIG, "model.safetensors": tensors()}})
    online.model(
        "someone/text", {OLD: {"config.json": b'{"model_type": "bert"}', "model.safetensors": b""}}
    )
    model = find_model("someone/small")
    find_model("someone/text")
    online.asked.clear()
    (cached,) = cached_models()
    assert (cached.name, cached.path, cached.revision) == ("someone/small", model.path, OLD)
    assert cached.megabytes == pytest.approx(len(tensors()) / 1e6)
    assert online.asked == []
    (model.path / "model.safetensors").unlink()
    assert cached_models() == []


# -- folders and files ----------------------------------------------------------------------------


def test_a_folder_of_ones_own(tmp_path, monkeypatch):
    folder = tmp_path / "mäin modél"
    folder.mkdir()
    (folder / "config.json").write_bytes(CONFIG)
    (folder / "model.safetensors").write_bytes(tensors())
    model = find_model(str(folder))
    assert (model.path, model.digest, model.revision) == (folder, sha256(tensors()), None)
    monkeypatch.chdir(tmp_path)
    assert find_model("./mäin modél").digest == model.digest
    # A change of the weights is another digest, not an error: they are the user's own.
    (folder / "model.safetensors").write_bytes(tensors(1))
    assert find_model(str(folder)).digest == sha256(tensors(1))
    # A name of the catalogue is never taken from the folder one happens to be in.
    folder.rename(tmp_path / "dinov2_vitb14")
    with pytest.raises(BackboneError, match="facebook/dinov2-base cannot be downloaded"):
        find_model("dinov2_vitb14")
    assert find_model("./dinov2_vitb14").digest == sha256(tensors(1))


def test_folders_that_are_no_model_say_what_they_hold(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    with refused(BackboneError, str(folder), "holds nothing"):
        find_model(str(folder))
    (folder / "net.pt").write_bytes(b"")
    with refused(BackboneError, "config.json and weights", "holds net.pt"):
        find_model(str(folder))
    (folder / "config.json").write_bytes(CONFIG)
    with refused(BackboneError, "no weights", "config.json, net.pt"):
        find_model(str(folder))
    shards = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    (folder / "model-1.safetensors").write_bytes(tensors())
    with refused(BackboneError, "1 of the 2 files", "model-2.safetensors"):
        find_model(str(folder))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (tensors()[:-1], r"has \d+ bytes and should have \d+"),
        (tensors()[:30], "is damaged or cut short"),
        (b"", "is damaged or cut short"),
        (b"\xff" * 40, "is damaged or cut short"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "run `git lfs pull`"),
    ],
    ids=["no end", "no header", "empty", "noise", "a pointer"],
)
def test_half_a_file_is_seen(tmp_path, data, message):
    (tmp_path / "config.json").write_bytes(CONFIG)
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(BackboneError, match=message):
        find_model(str(tmp_path))


def test_checkpoint_files(tmp_path):
    path = tmp_path / "vit-s-300ep.pth.tar"
    path.write_bytes(b"tensors")
    assert find_model(str(path)) == weights.LocalModel(str(path), path, sha256(b"tensors"), None)
    for name, hint in (("a.onnx", "ask for onnx:"), ("a.pkl", "give the folder of a model")):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(BackboneError, match=hint):
            find_model(str(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dinov2_vitb15", r"did you mean 'dinov2_vitb14'\?"),
        ("DINOv2-ViTB14", r"did you mean 'dinov2_vitb14'\?"),
        ("embeded", r"did you mean 'embedded'\?"),
        ("", "unknown backbone ''"),
        ("x" * 5000, "unknown backbone"),
        ("./nowhere", "neither .*folder nor .*file"),
        ("~/no such folder", "neither .*folder nor .*file"),
        ("someone/a--b", "someone/a--b.*folder.*hub"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(BackboneError, match=message):
        find_model(name)


# -- an address -----------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(server, monkeypatch):
    """MoCo v3's entry with an address on this machine."""
    data = bytes(range(256)) * 20
    server.files["vit.pth.tar"] = data
    url = f"{server.address}/files/vit.pth.tar"
    monkeypatch.setattr(
        weights,
        "CATALOG",
        {"mocov3_vits16": dataclasses.replace(CATALOG["mocov3_vits16"], url=url)},
    )
    monkeypatch.setattr(weights, "fetch_file", lambda *a, **k: fetch_file(*a, **k, plain_http=True))
    return data


def test_a_checkpoint_from_its_authors_is_trusted_on_first_use(server, checkpoint, monkeypatch):
    model = find_model("mocov3_vits16")
    assert model.path.read_bytes() == checkpoint
    assert (model.digest, model.revision) == (sha256(checkpoint), None)
    assert [cached.name for cached in cached_models()] == ["mocov3_vits16"]
    server.asked.clear()
    assert find_model("mocov3_vits16") == model
    assert server.asked == []
    model.path.write_bytes(b"something else")
    with refused(BackboneError, str(model.path), "altered", "delete", "--download"):
        find_model("mocov3_vits16")
    model.path.unlink()
    server.files["vit.pth.tar"] = b"another file"
    with refused(BackboneError, "vit.pth.tar", sha256(b"another file"), sha256(checkpoint)):
        find_model("mocov3_vits16")
    names = {file.name for file in model.path.parent.iterdir()}
    assert names - {"vit.pth.tar.lock"} == {"record.json"}
    offline(monkeypatch)
    with refused(BackboneError, "HF_HUB_OFFLINE"):
        find_model("mocov3_vits16")


def test_a_cut_connection_is_taken_up_again(server, tmp_path):
    data = os.urandom(5000)
    server.files["a.pth"] = data
    server.cut_after = [1000, 2000]
    fetch_file(f"{server.address}/files/a.pth", tmp_path / "a.pth", plain_http=True)
    assert (tmp_path / "a.pth").read_bytes() == data
    assert [line.partition("a.pth ")[2] for line in server.asked] == [
        "",
        "bytes=1000-",
        "bytes=3000-",
    ]
    assert {file.name for file in tmp_path.iterdir()} - {"a.pth.lock"} == {"a.pth"}


def test_a_program_that_was_stopped_goes_on(server, tmp_path):
    data = os.urandom(5000)
    server.files["a.pth"] = data
    server.cut_after = [1000, 0, 0]
    target = tmp_path / "a.pth"
    with refused(UnreachableError, "after 1000 bytes", "run the same command"):
        fetch_file(f"{server.address}/files/a.pth", target, plain_http=True)
    assert not target.exists()
    assert (tmp_path / "a.pth.part").stat().st_size == 1000
    server.cut_after = []
    fetch_file(f"{server.address}/files/a.pth", target, sha256=sha256(data), plain_http=True)
    assert target.read_bytes() == data
    assert server.asked[-1].endswith("bytes=1000-")


@pytest.mark.parametrize("how", ["the file changed", "no ranges", "more than all"])
def test_what_cannot_be_gone_on_with_starts_again(server, tmp_path, how):
    old, new = os.urandom(5000), os.urandom(4000)
    server.files["a.pth"] = new
    (tmp_path / "a.pth.part").write_bytes(old if how == "more than all" else old[:1000])
    tag = sha256(old if how == "the file changed" else new)
    (tmp_path / "a.pth.part.etag").write_text(f'"{tag}"')
    server.ranges = how != "no ranges"
    fetch_file(f"{server.address}/files/a.pth", tmp_path / "a.pth", plain_http=True)
    assert (tmp_path / "a.pth").read_bytes() == new


def test_only_https(server, tmp_path):
    server.files["a.pth"] = b"x"
    target = tmp_path / "a.pth"
    for url in (f"{server.address}/files/a.pth", "ftp://example.org/a", "file:///etc/hosts"):
        with refused(BackboneError, url, "https"):
            fetch_file(url, target)
    with refused(BackboneError, "http://example.invalid/file", "https"):
        fetch_file(f"{server.address}/moved", target, plain_http=True)
    with refused(BackboneError, "http://example.org/a", "https"):
        fetch_file("http://example.org/a", target, plain_http=True)
    assert server.asked == ["GET /moved"]


def test_what_an_address_can_answer(server, tmp_path):
    with refused(BackboneError, "/files/none.pth", "404"):
        fetch_file(f"{server.address}/files/none.pth", tmp_path / "a", plain_http=True)
    with refused(UnreachableError, "http://127.0.0.1:9/a", "refused"):
        fetch_file("http://127.0.0.1:9/a", tmp_path / "a", plain_http=True)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_is_named_and_what_to_do(server, tmp_path):
    server.files["a.pth"] = b"x"
    (tmp_path / "a.part").symlink_to("/dev/full")
    with refused(BackboneError, "No space left", "make room", "REGIONTREE_CACHE"):
        fetch_file(f"{server.address}/files/a.pth", tmp_path / "a", plain_http=True)
