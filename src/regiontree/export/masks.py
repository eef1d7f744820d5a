"""A folder of masks: one PNG a node, and the tree beside them as JSON.

Any program can read this format, but it needs more space and time than others. ``0007.png`` is node
7: white inside, black outside, 1 bit a pixel. All numbers have as many digits as the root's.
``tree.json`` holds ``image`` (from the tree's meta, or null), ``size`` ([height, width] in pixels),
and lists of N values: ``parents`` (the root is its own), ``height``, ``area`` (pixels), ``level``
(0 at the root) and ``stop`` (why a leaf was not divided; ``no_data`` for pixels without data), and
``stability`` (0 to 1), if the tree has it.
"""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from regiontree.errors import ExportError
from regiontree.export.graph import node_attributes
from regiontree.system.files import atomic_folder
from regiontree.tree import RegionTree

__all__ = ["write_masks"]

_TREE_JSON = "tree.json"


def write_masks(tree: RegionTree, path: str | Path) -> Path:
    """Write the mask of every node, also the root's, and ``tree.json``; return the folder's path.

    The folder gets its name when it is complete. A folder of masks of that name is replaced.

    Raises
    ------
    ExportError
        Something else already has that name.
    """
    path = Path(path)
    if path.exists() and not _is_of_masks(path):
        raise ExportError(f"{path}: exists and is no folder of masks; choose another name")
    rows = [node_attributes(tree, node) for node in range(tree.n_nodes)]
    described = {
        "image": tree.meta.get("image"),
        "size": list(tree.shape),
        "parents": tree.parents.tolist(),
        **{key: [row[key] for row in rows] for key in ("height", "area", "level", "stop")},
    }
    if tree.stability is not None:
        described["stability"] = [row["stability"] for row in rows]
    digits = len(str(tree.root))
    with atomic_folder(path) as folder:
        for node, mask in enumerate(tree.masks()):
            Image.fromarray(mask).save(folder / f"{node:0{digits}}.png")
        (folder / _TREE_JSON).write_text(json.dumps(described), encoding="ascii")
    return path


def _is_of_masks(path: Path) -> bool:
    """Whether a folder holds a tree and masks, and nothing else."""
    names = {file.name for file in path.iterdir()} if path.is_dir() else set()
    return _TREE_JSON in names and all(
        name.endswith(".png") and name[:-4].isdecimal() for name in names - {_TREE_JSON}
    )
