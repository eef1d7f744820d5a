"""A collection as a data set of Hugging Face: see :mod:`regiontree.export.huggingface`.

A row is a photograph. Its `mask` has the number of the class of each pixel, from 1, and 0 where
nothing is named; ``id2label.json`` has their names. Its `regions` have the number of the region
instead: region j, counted from 0, has the value j + 1, the node ``nodes[j]``, the class
``classes[j]`` and the score ``scores[j]``.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

from regiontree.collection.exporting import Job
from regiontree.collection.photograph import ClassedPhotograph
from regiontree.collection.pictures import picture_of
from regiontree.export.huggingface import Column, write_rows
from regiontree.forest.labelmap import png_of

__all__ = ["write_huggingface"]

_NAMES = "id2label.json"  # as trainers of segmentation call it
_TEXT = """
Each row is a photograph. People named some categories of its regions; `id2label.json` has the name
of each value of `mask`. A class label is one less, since 0 is no name in `mask`.

```python
import numpy as np
from datasets import load_dataset

data = load_dataset("PATH", split="SPLIT")
row, names = data[0], data.features["classes"].feature.names
mask = np.asarray(row["mask"])  # (H, W): pixels of names[i] are mask == i + 1
region = np.asarray(row["regions"])  # (H, W): region j is region == j + 1
```
"""


def write_huggingface(job: Job, path: Path) -> None:
    """Write a folder of Parquet files and a card.

    Raises
    ------
    ExportError
        No photograph can be written, or the folder holds something else.
    MissingExtraError
        pyarrow is not installed.
    """
    address = job.collection.forest.address
    has_photographs = job.options["photographs"]
    names = job.classes.names

    def row(photo: ClassedPhotograph) -> dict[str, Any]:
        rows, columns = photo.tree.shape
        found: dict[str, Any] = {
            "id": photo.id,
            "width": columns,
            "height": rows,
            "mask": {"bytes": png_of(photo.class_map() + 1), "path": None},
            "regions": {"bytes": png_of(photo.regions + 1), "path": None},
            "nodes": photo.nodes.tolist(),
            "classes": photo.classes.tolist(),
            "scores": photo.scores.tolist(),
        }
        if has_photographs:
            picture = picture_of(photo.row, photo.tree, address, job.images)
            name = str(PurePosixPath(PurePosixPath(photo.id).name).with_suffix(picture.suffix))
            found["image"] = {"bytes": picture.data(), "path": name}
        return found

    columns = [
        Column("id", "string", "id of the photograph in its collection"),
        Column("image", "image", "the photograph, upright and of the size of the masks"),
        Column("width", "int32", "width of the photograph and of the masks in pixels"),
        Column("height", "int32", "their height"),
        Column("mask", "image", "class of each pixel, from 1; 0 is no name"),
        Column("regions", "image", "region of each pixel, from 1; 0 is no name"),
        Column("nodes", "int32", "the regions as nodes of the photograph's tree", many=True),
        Column("classes", "label", "class of each region, from 0", many=True, names=tuple(names)),
        Column("scores", "float32", "how like its class each region is, 0 to 1", many=True),
    ]
    of_value = {str(value): name for value, name in enumerate(names, 1)}
    write_rows(
        job.each(row),
        path,
        [one for one in columns if has_photographs or one.name != "image"],
        split=job.options["split"],
        text=_TEXT,
        files={_NAMES: (json.dumps(of_value, indent=1, ensure_ascii=False) + "\n").encode()},
    )
