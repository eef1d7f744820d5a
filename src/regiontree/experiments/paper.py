"""Scores printed in the paper (Rossetti and Pirri, NeurIPS 2024), to stand beside ours.

In percent, maximum-overlap matching, DINOv2 ViT-B/14 with registers. The size of the trees behind
them is not printed there. A row belongs to a whole split, so it is shown beside a subset only as
what it is: the paper's.
"""

from __future__ import annotations

__all__ = ["PAPER", "paper_row"]

PAPER: dict[tuple[str, str], dict[str, dict[str, float]]] = {
    ("voc12", "val"): {
        "level": {"miou": 78.1, "pacc": 82.6, "macc": 91.2, "fiou": 78.1, "nm": 75.4},
    },
    ("coco", "val_things"): {
        "level": {"miou": 55.7, "pacc": 93.1, "macc": 85.0, "fiou": 78.8, "nm": 49.6},
    },
    ("coco", "val_stuff"): {
        "level": {"miou": 58.7, "pacc": 81.1, "macc": 80.3, "fiou": 67.3, "nm": 42.1},
        "tree": {"miou": 59.5, "pacc": 75.1, "nm": 53.5, "nh": 42.9},
    },
    ("cityscapes", "val"): {
        "level": {"miou": 48.8, "pacc": 82.8, "macc": 76.1, "fiou": 68.8, "nm": 44.8},
        "tree": {"miou": 53.7, "pacc": 78.8, "nm": 51.1, "nh": 43.8},
    },
    ("kitti_step", "val"): {
        "level": {"miou": 51.2, "pacc": 79.8, "macc": 76.5, "fiou": 65.7, "nm": 48.4},
        "tree": {"miou": 58.3, "pacc": 79.6, "nm": 54.2, "nh": 46.5},
    },
    ("mapillary_vistas", "val"): {
        "level": {"miou": 47.6, "pacc": 78.9, "macc": 72.1, "fiou": 66.1, "nm": 42.7},
    },
    ("potsdam", "train"): {
        "level": {"miou": 58.9, "pacc": 83.4, "macc": 83.2, "fiou": 65.0, "nm": 56.3},
    },
    ("pascalpart", "val"): {"tree": {"miou": 25.8, "pacc": 80.0, "nm": 39.5, "nh": 38.8}},
    ("partimagenet", "val"): {"tree": {"miou": 55.4, "pacc": 79.5, "nm": 65.8, "nh": 65.2}},
    ("partimagenet", "val_158"): {"tree": {"miou": 59.5, "pacc": 82.6, "nm": 67.8, "nh": 63.1}},
}
"""Scores in percent by data set and split, then by table of the paper.

``level`` is Table 1, T to S_gt; ``tree`` is Table 2, T to T_gt.
"""

# Names that the published files use for the same data.
_SAME = {
    ("coco", "val_thing"): ("coco", "val_things"),
    ("kitti", "val_step"): ("kitti_step", "val"),
    ("mapillaryvistas", "val"): ("mapillary_vistas", "val"),
    ("partimagenet158", "val"): ("partimagenet", "val_158"),
}


def paper_row(dataset: str, split: str | None, table: str) -> dict[str, float] | None:
    """The paper's scores for a data set and split, where its table "level" or "tree" has them.

    >>> paper_row("voc12", "val", "level")["nm"]
    75.4
    """
    key = (dataset, split or "val")
    return PAPER.get(_SAME.get(key, key), {}).get(table)
