"""Small stores of trees to test with, and photographs that the trees could have been made from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from test_sources import photograph
from trees import random_tree

from regiontree import RegionTree
from regiontree.forest.row import Row
from regiontree.forest.schema import table_of
from regiontree.forest.store import Store, open_store
from regiontree.system.files import sha256_of

DAMAGED = "is damaged or cut short (image file is truncated)"


def tree_for(photo: Path, *, leaves: int = 6, seed: int = 0, dim: int | None = None) -> RegionTree:
    """A random tree as if it had been made from a photograph."""
    with Image.open(photo) as opened:
        shape = opened.height, opened.width
    made = random_tree(np.random.default_rng(seed), leaves, shape, dim=dim)
    image = {"name": photo.name, "sha256": sha256_of(photo), "size": list(shape)}
    meta = {"image": image, "settings": {"seed": seed}, "backbone": {"name": "random"}}
    arrays = (made.labels, made.parents, made.height, made.ncut, made.stop, made.embedding)
    return RegionTree(*arrays, meta=meta)


def rows_of(
    folder: Path, ids: Sequence[str], *, failed: Collection[str] = (), dim: int | None = 3
) -> list[Row]:
    """A row for each id, with its photograph below a folder."""
    rows = []
    for seed, name in enumerate(ids):
        photo = photograph(folder / name, (20, 30 + seed), seed)
        digest = sha256_of(photo)
        if name in failed:
            said = f"{photo}: {DAMAGED}"
            rows.append(Row(name, str(photo), error=said, sha256=digest))
        else:
            tree = tree_for(photo, leaves=5 + seed % 3, seed=seed, dim=dim)
            rows.append(Row(name, str(photo), tree, sha256=digest))
    return rows


def store_of_rows(folder: Path, rows: Sequence[Row], *, parts: int = 2) -> Store:
    """A store with these rows: a shard of most of them, and a part that no shard holds yet."""
    store = open_store(folder, {"seed": 1})
    size = -(-len(rows) // parts)
    pieces = [rows[start : start + size] for start in range(0, len(rows), size)]
    for piece in pieces[:-1]:
        store.add(table_of(piece))
    if pieces[:-1]:
        store.compact(final=True)
    store.add(table_of(pieces[-1]))
    return store


def trees_in_files(rows: Sequence[Row], folder: Path) -> Path:
    """The same trees in a folder of ``.npz`` files: ``a/b.npz`` for ``a/b.jpg``."""
    for row in rows:
        if row.tree is not None:
            row.tree.save((folder / row.id).with_suffix(".npz"))
    return folder
