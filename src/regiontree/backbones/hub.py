"""A model's settings and weights, downloaded from the Hugging Face hub into the hub's own cache.

`huggingface_hub` downloads the files, so HF_HOME, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE have
their usual meaning. Files that other programs have downloaded are found. Only ``config.json``,
``preprocessor_config.json`` and the weights of a repository are downloaded, never code.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
import sys
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, cast

from regiontree._version import __version__
from regiontree.backbones.address import UnreachableError
from regiontree.backbones.catalog import CATALOG
from regiontree.backbones.weightfiles import choose_weights, shards_of, weight_files
from regiontree.errors import BackboneError, MissingExtraError
from regiontree.system.locks import Together

__all__ = [
    "COMMIT",
    "NoRevisionError",
    "blob_name",
    "commit_of",
    "download",
    "hub_cache",
    "is_complete",
]

COMMIT = re.compile(r"[0-9a-f]{40}")
"""Pattern of the full name of a commit: 40 hexadecimal digits."""
_TIMEOUT = 30.0  # seconds without an answer
_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


class NoRevisionError(BackboneError):
    """The hub has the model, but not that commit, branch or tag of it."""


def hub_cache() -> Path:
    """The folder of the hub's cache on this machine.

    Raises
    ------
    MissingExtraError
        `huggingface_hub` is not installed.
    """
    try:
        from huggingface_hub import constants
    except ImportError:
        raise MissingExtraError(
            "models of the Hugging Face hub need huggingface_hub: pip install 'regiontree[hub]'"
        ) from None
    return Path(constants.HF_HUB_CACHE)


def download(hub_id: str, revision: str | None, *, progress: bool) -> tuple[str, dict[str, str]]:
    """The commit, and the sha256 of large files by name. Files not yet in the cache are downloaded.

    Raises
    ------
    UnreachableError
        The hub does not answer, or HF_HUB_OFFLINE is set.
    NoRevisionError, BackboneError
        The hub has no such revision or model, refuses access, or has no weights that are safe to
        load.
    """
    from huggingface_hub import HfApi

    errors: Any = import_module("huggingface_hub.errors")
    api = HfApi(library_name="regiontree", library_version=__version__)
    # hf_xet raises RuntimeError; a server that is no hub causes KeyError, TypeError or ValueError.
    broken = (OSError, errors.HTTPError, RuntimeError, KeyError, TypeError, ValueError)
    try:
        info = api.model_info(hub_id, revision=revision, files_metadata=True, timeout=_TIMEOUT)
        there = {file.rfilename: file for file in info.siblings or []}
        first = choose_weights(there)
        if "config.json" not in there or first is None:
            raise BackboneError(_lacking(hub_id, there))
        with _bars(progress):
            for name in ("config.json", "preprocessor_config.json", first):
                if name in there:
                    path = api.hf_hub_download(hub_id, name, revision=info.sha)
            if first.endswith(".index.json"):
                for shard in shards_of(Path(path)):
                    api.hf_hub_download(hub_id, shard, revision=info.sha)
    except BackboneError:
        raise
    except broken as error:
        _explain(error, errors, hub_id, revision)
    return str(info.sha), {name: file.lfs.sha256 for name, file in there.items() if file.lfs}


def is_complete(snapshot: Path) -> bool:
    """Whether a commit's folder in the cache has settings and all weights."""
    try:
        return (snapshot / "config.json").is_file() and bool(weight_files(snapshot))
    except (BackboneError, OSError):
        return False


def commit_of(repository: Path, revision: str) -> str | None:
    """The commit that a branch or tag named at the last request; None if the cache has none."""
    try:
        commit = (repository / "refs" / revision).read_text().strip()
    except OSError:
        return None
    return commit if COMMIT.fullmatch(commit) else None


def blob_name(file: Path) -> str | None:
    """The sha256 of a large file, read from its link into the cache; None if there is none."""
    try:
        name = Path(os.readlink(file)).name
    except OSError:  # no link: on a file system without links the cache holds copies
        return None
    return name if re.fullmatch(r"[0-9a-f]{64}", name) else None


def _lacking(hub_id: str, names: Collection[str]) -> str:
    """The message that says why a repository cannot be loaded."""
    found = sorted(name for name in names if not name.endswith((".md", ".gitattributes", ".txt")))
    pickles = any(name.endswith((".pkl", ".pickle", ".pt", ".pth", ".ckpt")) for name in names)
    return (
        f"{hub_id} is not a model that can be loaded: expected config.json and model.safetensors "
        f"or pytorch_model.bin, found {', '.join(found[:8]) or 'nothing'}"
        f"{'; pickles of other kinds are refused, as they may run code' if pickles else ''}"
    )


def _explain(error: Exception, errors: Any, hub_id: str, revision: str | None) -> NoReturn:
    """Raise an error that says what a failed request or write means, and what to do."""
    from huggingface_hub import constants, get_token

    page = f"{constants.ENDPOINT}/{hub_id}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    code = getattr(error, "errno", None)
    if isinstance(error, errors.GatedRepoError):
        token = "the token that is set has no access" if get_token() else "no token is set"
        said = (
            f"{hub_id} is gated and {token}: accept its licence at {page}, then set HF_TOKEN or "
            "run `hf auth login`"
        )
    elif isinstance(error, errors.RevisionNotFoundError):
        raise NoRevisionError(
            f"{hub_id} has no revision {revision}; its revisions are listed at {page}/commits/main"
        ) from None
    elif isinstance(error, (errors.RepositoryNotFoundError, errors.HFValidationError)):
        known = {entry.hub_id: entry.name for entry in CATALOG.values() if entry.hub_id}
        near = difflib.get_close_matches(hub_id, known.keys() - {hub_id}, n=1)
        hint = f"; did you mean {near[0]!r}, here {known[near[0]]!r}?" if near else "."
        said = (
            f"{hub_id!r} is neither a folder here nor a model of the hub{hint} A private one needs "
            "HF_TOKEN or `hf auth login`"
        )
    elif status in (401, 403):
        said = (
            f"the hub refuses the token that is set ({status}): set HF_TOKEN to one that may read "
            f"{page}, or run `hf auth login`"
        )
    elif code in _FULL or code in _CLOSED:
        remedy = "make room, or set HF_HOME" if code in _FULL else "set HF_HOME"
        said = (
            f"{hub_id} cannot be kept in {constants.HF_HUB_CACHE} ({os.strerror(code)}): {remedy} "
            "to a folder elsewhere"
        )
    else:
        if isinstance(error, errors.OfflineModeIsEnabled):
            reason = "HF_HUB_OFFLINE is set"
        elif isinstance(error, (KeyError, TypeError, ValueError)):
            reason = f"{constants.ENDPOINT} does not answer as the hub does"
        else:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            reason = f"{constants.ENDPOINT}: {lines[0]}"
        raise UnreachableError(f"{hub_id} cannot be downloaded: {reason}") from None
    raise BackboneError(said) from None


def _bars(show: bool) -> AbstractContextManager[None]:
    """The hub's own progress bars, on a terminal only."""
    return nullcontext() if show and sys.stderr.isatty() else _no_bars()


def _hide_bars() -> Callable[[], None]:
    bars: Any = import_module("huggingface_hub.utils")
    if bars.are_progress_bars_disabled():
        return lambda: None
    bars.disable_progress_bars()
    return cast(Callable[[], None], bars.enable_progress_bars)


_no_bars = Together(_hide_bars)
