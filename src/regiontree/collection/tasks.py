"""A collection for Label Studio: tasks with predictions that people check.

The file is a list of tasks, as of :mod:`regiontree.export.labelstudio`. A prediction has the names
as brush labels. Its ``score`` is the mean of its regions' scores, each weighted by its pixels, and
0 without regions. So a project sorted by the score begins with the photographs that are most in
doubt. The labelling interface of the project stands beside the file, with the ending ``.xml``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from regiontree._version import __version__
from regiontree.collection.exporting import Job
from regiontree.collection.photograph import ClassedPhotograph
from regiontree.export.coco import photo_name
from regiontree.export.labelstudio import (
    URL_PREFIX,
    Runs,
    interface_of,
    node_id,
    write_label_studio,
)
from regiontree.forest.storedtrees import key_of_id
from regiontree.system.files import atomic_write

__all__ = ["write_tasks"]


def write_tasks(job: Job, path: Path) -> None:
    """Write one JSON of tasks, and the labelling interface beside it.

    Raises
    ------
    ExportError
        No photograph can be written.
    """
    prefix = job.options.get("url_prefix", URL_PREFIX)

    def work(photo: ClassedPhotograph) -> dict[str, Any]:
        return _task(photo, job.classes.names, prefix)

    write_label_studio(job.each(work), path)
    with atomic_write(path.with_suffix(".xml")) as file:
        file.write(interface_of(job.classes.names).encode() + b"\n")


def _task(photo: ClassedPhotograph, names: list[str], prefix: str) -> dict[str, Any]:
    runs = Runs.of(photo.regions)
    results = [
        {
            "id": node_id(node),
            **runs.brush(runs.value == i, names[label]),
            "score": round(score, 4),
        }
        for i, (node, label, score) in enumerate(
            zip(photo.nodes.tolist(), photo.classes.tolist(), photo.scores.tolist(), strict=True)
        )
    ]
    area = photo.tree.area[photo.nodes]
    score = float(np.average(photo.scores, weights=area)) if results else 0.0
    name = photo_name(photo.tree, key_of_id(photo.id))
    prediction = {
        "model_version": f"regiontree {__version__}",
        "score": round(score, 4),
        "result": results,
    }
    return {
        "data": {"image": prefix + quote(name), "photo": photo.id},
        "predictions": [prediction],
    }
