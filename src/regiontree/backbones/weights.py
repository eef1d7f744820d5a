"""The checked weights of a backbone on this machine, found by name.

A name is one of :data:`~regiontree.backbones.catalog.CATALOG`, a repository of the Hugging Face hub
(``owner/model`` or ``owner/model@revision``), or a folder or checkpoint that is already here.

Every download is pinned. A catalogue entry names a commit of the repository if one was published.
The first download records the commit and the sha256 of each weight file. Every later start uses
this record: trust on first use. The sha256 of a file is also compared with the one that the hub
gives. It is computed once and remembered by path, size and time of change, because reading 4 GB
would take seconds at every start.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regiontree.backbones.address import UnreachableError, fetch_file
from regiontree.backbones.architectures import ARCHITECTURES
from regiontree.backbones.cache import cache_folder
from regiontree.backbones.catalog import CATALOG, Entry
from regiontree.backbones.checkpoints import is_checkpoint
from regiontree.backbones.hub import (
    COMMIT,
    NoRevisionError,
    blob_name,
    commit_of,
    download,
    hub_cache,
    is_complete,
)
from regiontree.backbones.registry import FAMILIES, is_of_a_family
from regiontree.backbones.weightfiles import check_whole, weight_files
from regiontree.errors import BackboneError, MissingExtraError, nearest_name
from regiontree.system.files import atomic_write, sha256_of

__all__ = ["Cached", "LocalModel", "cached_models", "find_model", "forget_digests", "is_here"]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A backbone whose weights are on this machine.

    Attributes
    ----------
    name : str
        The name as the user gave it.
    path : Path
        Folder with ``config.json`` and weights, or a checkpoint file.
    digest : str
        sha256 of the weight file. With several files, sha256 of the lines ``sha256  name``, in
        order of name.
    revision : str or None
        Commit of the hub's repository.
    """

    name: str
    path: Path
    digest: str
    revision: str | None


@dataclass(frozen=True, slots=True)
class Cached:
    """A backbone on this machine, not checked. `name` finds it; `megabytes` is 10^6 bytes."""

    name: str
    path: Path
    megabytes: float
    revision: str | None


def find_model(name: str, *, progress: bool = True) -> LocalModel:
    """The weights of a backbone, checked, and downloaded if they are not on this machine.

    Parameters
    ----------
    name
        A name of the catalogue, a repository of the hub, or a folder or checkpoint. A path must
        exist or start with ``./``, ``/`` or ``~``. ``@revision`` after a name or a repository asks
        for that commit, branch or tag.
    progress
        Show bars while downloading, if standard error is a terminal.

    Raises
    ------
    BackboneError
        There is no such name, no network, no access or no weights, or the weights are not the
        expected ones. The message says which, and what to do.
    MissingExtraError
        The weights come from the hub, and `huggingface_hub` is not installed.
    """
    try:
        return _find(name, progress)
    except UnreachableError as error:
        here = ", ".join(
            ["embedded", "precomputed:FOLDER", *(cached.name for cached in cached_models())]
        )
        raise BackboneError(f"{error}. Without network there are {here}") from None


def cached_models() -> list[Cached]:
    """Backbones on this machine, by name. No network is used, and no weights are read."""
    found = []
    for entry in CATALOG.values():
        if entry.url and (file := _file_of(entry, entry.url)).is_file():
            found.append(Cached(entry.name, file, file.stat().st_size / 1e6, None))
    try:
        cache = hub_cache()
    except MissingExtraError:
        return found
    names = {(entry.hub_id, entry.revision): entry.name for entry in CATALOG.values()}
    for config in cache.glob("models--*--*/snapshots/*/config.json"):
        snapshot, repository = config.parent, config.parents[2]
        if not is_complete(snapshot) or not _is_backbone(config):
            continue
        commit, hub_id = snapshot.name, "/".join(repository.name.split("--", 2)[1:])
        name = names.get((hub_id, commit))
        if name is None:
            usual = commit == _usual_commit(hub_id, repository)
            name = names.get((hub_id, None), hub_id) if usual else f"{hub_id}@{commit}"
        size = sum(file.stat().st_size for file in weight_files(snapshot)) / 1e6
        found.append(Cached(name, snapshot, size, commit))
    return sorted(found, key=lambda cached: cached.name)


def forget_digests() -> None:
    """Delete the remembered sha256 values. Each is computed again when it is next needed."""
    (cache_folder() / "digests.json").unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Origin:
    """The source of a backbone's weights: an address, a repository or a path."""

    address: Entry | None = None
    hub_id: str | None = None
    revision: str | None = None
    sha256: str | None = None
    path: Path | None = None


def _origin(name: str) -> _Origin:
    base, _, revision = name.partition("@")
    entry = CATALOG.get(base)
    if entry and entry.url and not revision:
        return _Origin(address=entry)
    if entry and entry.hub_id:
        sha256 = entry.sha256 if revision in ("", entry.revision) else None
        return _Origin(hub_id=entry.hub_id, revision=revision or entry.revision, sha256=sha256)
    path = os.path.expanduser(name)
    if os.path.exists(path):
        return _Origin(path=Path(path))
    if name.startswith((".", "~")) or os.path.isabs(path):
        raise BackboneError(f"backbone {name!r} is neither a folder nor a file")
    if _HUB_ID.fullmatch(base):
        return _Origin(hub_id=base, revision=revision or None)
    near = nearest_name(
        base.partition(":")[0].lower().replace("-", "_"), [*CATALOG, *FAMILIES, "precomputed"]
    )
    raise BackboneError(
        f"unknown backbone {name!r}{near or '.'} `regiontree backbones` lists the names; also "
        "known are hub ids OWNER/MODEL, folders ./FOLDER, precomputed:FOLDER, onnx:FILE"
        f"{''.join(f', {kind}:' for kind in FAMILIES if kind not in ('embedded', 'onnx'))}"
    )


def _find(name: str, progress: bool) -> LocalModel:
    origin = _origin(name)
    if origin.address:
        return _from_address(origin.address, str(origin.address.url), progress)
    if origin.hub_id:
        return _from_hub(name, origin.hub_id, origin.revision, origin.sha256, progress)
    assert origin.path is not None
    return _from_disk(name, origin.path)


def is_here(name: str) -> bool:
    """Whether that backbone needs no download; always true for a family, which finds its weights.

    Raises
    ------
    BackboneError
        There is no such name.
    """
    if is_of_a_family(name):
        return True
    origin = _origin(name)
    if origin.address:
        return _file_of(origin.address, str(origin.address.url)).is_file()
    return origin.path is not None or any(
        name.partition("@")[0] in (cached.name, cached.name.partition("@")[0])
        for cached in cached_models()
    )


def _from_disk(name: str, path: Path) -> LocalModel:
    if path.is_dir():
        if not (path / "config.json").is_file():
            listed = ", ".join(sorted(file.name for file in path.iterdir())[:8]) or "nothing"
            raise BackboneError(
                f"backbone {name!r}: the folder of a model holds config.json and weights; {path} "
                f"holds {listed}"
            )
        files = weight_files(path)
    elif is_checkpoint(path):
        files = [path]
    else:
        hint = f"ask for onnx:{name}" if path.suffix == ".onnx" else "give the folder of a model"
        raise BackboneError(
            f"backbone {name!r} is not a checkpoint, which ends in .pth, .pth.tar or .pt; {hint}"
        )
    for file in files:
        check_whole(file)
    return LocalModel(name, path, _digest(files), None)


def _from_hub(
    name: str, hub_id: str, revision: str | None, sha256: str | None, progress: bool
) -> LocalModel:
    repository = hub_cache() / f"models--{hub_id.replace('/', '--')}"
    record_file = _record_file(hub_id, revision)
    record = _read_record(record_file)
    commit: str | None = record["commit"] if record else None
    if commit is None and revision and COMMIT.fullmatch(revision):
        commit = revision
    said: dict[str, str] = {}
    if commit is None or not is_complete(repository / "snapshots" / commit):
        try:
            commit, said = download(hub_id, commit or revision, progress=progress)
        except UnreachableError:
            # If nothing is pinned, use the commit that the branch had at the last request.
            commit = commit or commit_of(repository, revision or "main")
            if commit is None or not is_complete(repository / "snapshots" / commit):
                raise
        except NoRevisionError as error:
            if record is None:
                raise
            raise BackboneError(
                f"{error}. The first download used this commit; to take the current one, delete "
                f"{record_file}"
            ) from None
    folder = repository / "snapshots" / commit
    files = weight_files(folder)
    for file in files:
        found = _sha256(file)
        expected = {said.get(file.name), blob_name(file)}
        expected |= {sha256} if file.name == "model.safetensors" else set()
        again = f"delete {file.resolve()}, then run `regiontree backbones {name} --download`"
        for wanted in expected - {None, found}:
            raise BackboneError(
                f"{file} has sha256 {found}, expected {wanted}: it was altered, or is half a "
                f"download; {again}"
            )
        if record and record["files"].get(file.name) != found:
            raise BackboneError(
                f"{file} has sha256 {found} and is not what was first downloaded; {again}. To "
                f"trust it as it is, delete {record_file}"
            )
    if record is None:
        seen = {"commit": commit, "files": {file.name: _sha256(file) for file in files}}
        _write_json(record_file, seen)
    return LocalModel(name, folder, _digest(files), commit)


def _from_address(entry: Entry, url: str, progress: bool) -> LocalModel:
    file = _file_of(entry, url)
    record_file = file.with_name("record.json")
    record = _read_record(record_file)
    wanted = entry.sha256 or (record["files"].get(file.name) if record else None)
    if not file.is_file():
        fetch_file(url, file, sha256=wanted, progress=progress)
    found = _sha256(file)
    if wanted not in (None, found):
        raise BackboneError(
            f"{file} has sha256 {found}, expected {wanted}: it was altered; delete it, then run "
            f"`regiontree backbones {entry.name} --download`"
        )
    if record is None:
        _write_json(record_file, {"commit": None, "files": {file.name: found}})
    return LocalModel(entry.name, file, found, None)


def _file_of(entry: Entry, url: str) -> Path:
    return cache_folder() / "weights" / entry.name / url.rpartition("/")[2]


def _usual_commit(hub_id: str, repository: Path) -> str | None:
    """The commit that a hub id without a revision means on this machine."""
    try:
        record = _read_record(_record_file(hub_id, None))
    except BackboneError:
        return None
    return record["commit"] if record else commit_of(repository, "main")


def _is_backbone(config: Path) -> bool:
    try:
        settings = json.loads(config.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(settings, dict) and settings.get("model_type") in {*ARCHITECTURES, "resnet"}


# -- what was seen before -------------------------------------------------------------------------


def _record_file(hub_id: str, revision: str | None) -> Path:
    """The file that records the first download of a revision."""
    name = f"{hub_id.replace('/', '--')}@{urllib.parse.quote(revision or 'main', safe='')}.json"
    return cache_folder() / "weights" / name


def _read_record(path: Path) -> dict[str, Any] | None:
    """``{"commit": str or null, "files": {name: sha256}}``; None before the first download."""
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        record = None
    match record:
        case {"commit": str() | None, "files": dict()}:
            return dict(record)
    raise BackboneError(
        f"{path}, the record of the first download, is damaged; delete it to trust the files that "
        "are there now"
    )


def _write_json(path: Path, value: Any) -> None:
    try:
        with atomic_write(path) as file:
            file.write(json.dumps(value, indent=1).encode())
    except OSError:
        pass  # with a read-only home the next start computes this again


def _sha256(file: Path) -> str:
    """sha256 of a file, remembered as long as its size and time of change stay the same."""
    path = file.resolve()
    stat = path.stat()
    memory = cache_folder() / "digests.json"
    try:
        known = json.loads(memory.read_bytes())
    except (OSError, ValueError, RecursionError):
        known = None
    known = known if isinstance(known, dict) else {}
    match known.get(str(path)):
        case [stat.st_size, stat.st_mtime_ns, str(digest)]:
            return digest
    digest = sha256_of(path)
    kept = {name: value for name, value in known.items() if os.path.exists(name)}
    _write_json(memory, {**kept, str(path): [stat.st_size, stat.st_mtime_ns, digest]})
    return digest


def _digest(files: list[Path]) -> str:
    """The `digest` of :class:`LocalModel` for these files."""
    if len(files) == 1:
        return _sha256(files[0])
    lines = (f"{_sha256(file)}  {file.name}\n" for file in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
