"""Tables of an experiment: for people, for programs, and under the names of the published code.

``summary.json`` holds everything; ``summary.md`` and the terminal show the tables; and where a
config of the published code asked for them, ``results_<data set>_<split>_<depth>.json`` and
``results_hier_<data set>_<split>_<match>_<threshold>.json`` carry the keys its users expect, with
fractions from 0 to 1. Every score stands beside the mean number of nodes of the trees it was
computed on: a maximum over nodes can only rise when nodes are added.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from regiontree._version import __version__
from regiontree.experiments.paper import paper_row
from regiontree.experiments.scoring import Scoring, View
from regiontree.metrics import CoveringScores, Scores
from regiontree.system.files import atomic_write

__all__ = ["Report", "Table"]

_HEADS = {
    "level": ("mIoU", "pAcc", "mAcc", "fIoU", "NMCovering", "nodes", "leaves"),
    "tree": ("mIoU", "pAcc", "NMCovering", "NHCovering", "nodes", "leaves"),
    "covering": ("ODS", "OIS", "best", "nodes", "leaves"),
    "curve": ("NMCovering (S)", "NMCovering (T)", "NHCovering", "nodes"),
}


@dataclass(frozen=True, slots=True)
class Table:
    """A title, column heads, and rows of a name and one cell a head."""

    title: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [
            f"**{self.title}**",
            "",
            "| | " + " | ".join(self.heads) + " |",
            "|---|" + "---:|" * len(self.heads),
            *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in self.rows),
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class Report:
    """The scores of one data set.

    Attributes
    ----------
    dataset, split, model : names
    scoring : how they were measured
    scores : the scores of each table
    seconds : median seconds an image of each stage
    failed : one sentence for each image that is not in the scores
    """

    dataset: str
    split: str | None
    model: str
    scoring: Scoring
    scores: Mapping[View, Scores | CoveringScores]
    seconds: Mapping[str, float]
    failed: Sequence[str]

    # -- tables -----------------------------------------------------------------------------------

    def tables(self) -> list[Table]:
        """Per protocol: T to S, T to T_gt, and the curve of score against nodes."""
        if self.scoring.labels is None:
            rows = [
                (protocol, _covering(self._of(protocol, 0))) for protocol in self.scoring.protocols
            ]
            return [Table("Segmentation covering", _HEADS["covering"], rows)]
        finest = self.scoring.labels.max_depth
        level = [(p, _level(self._of(p, finest))) for p in self.scoring.protocols]
        tree = [(p, _tree(self._of(p, None))) for p in self.scoring.protocols]
        for rows, table in ((level, "level"), (tree, "tree")):
            if printed := paper_row(self.dataset, self.split, table):
                rows.append(("the paper", _printed(printed, table)))
        tables = [Table("T to S, the finest classes", _HEADS["level"], level)]
        if finest > 1:
            tables.append(Table("T to T_gt, classes and their ancestors", _HEADS["tree"], tree))
        main = self.scoring.protocols[0]
        if curve := self._curve(main, finest):
            tables.append(Table(f"Cut to at most so many nodes ({main})", _HEADS["curve"], curve))
        return tables

    def _of(self, protocol: str, depth: int | None) -> Any:
        return self.scores[View(protocol, depth)]

    def _curve(self, protocol: str, finest: int) -> list[tuple[str, list[str]]]:
        level, tree = self._of(protocol, finest), self._of(protocol, None)
        return [
            (
                str(on_tree.budget),
                [*map(_percent, (on_level.nm, on_tree.nm, on_tree.nh)), f"{on_tree.nodes:.1f}"],
            )
            for on_level, on_tree in zip(level.curve, tree.curve, strict=True)
        ]

    def headline(self) -> str:
        """What was measured, in one line."""
        scores = next(iter(self.scores.values()))
        parts = [f"{self.dataset}{f' {self.split}' if self.split else ''}, {self.model}"]
        parts.append(f"{scores.images} images")
        if skipped := getattr(scores, "without_foreground", 0):
            parts.append(f"{skipped} without a foreground class not scored")
        if self.failed:
            parts.append(f"{len(self.failed)} failed")
        if self.seconds:
            names = {"extract_features": "features", "semantic_ncuts": "tree",
                     "create_stats": "scores"}  # fmt: skip
            times = " + ".join(f"{names[k]} {v:.2f}" for k, v in self.seconds.items())
            parts.append(f"{sum(self.seconds.values()):.2f} s an image ({times})")
        if self.scoring.labels is not None:
            parts.append(f"matching {self.scoring.match}, threshold {self.scoring.threshold:g}")
        return "; ".join(parts)

    def markdown(self) -> str:
        """Headline, tables and failures as Markdown."""
        text = "\n\n".join([self.headline(), *(table.markdown() for table in self.tables())])
        if self.failed:
            text += "\n\nFailed:\n\n" + "\n".join(f"- {said}" for said in self.failed)
        return text + "\n"

    def print(self, file: IO[str]) -> None:
        """The tables on a terminal."""
        from rich.console import Console
        from rich.table import Table as Drawn

        console = Console(file=file, highlight=False)
        console.print(self.headline(), markup=False, soft_wrap=True)
        for table in self.tables():
            drawn = Drawn(title=table.title, title_justify="left", title_style="bold")
            drawn.add_column("")
            for head in table.heads:
                drawn.add_column(head, justify="right")
            for name, cells in table.rows:
                drawn.add_row(name, *cells)
            console.print(drawn)

    # -- files ------------------------------------------------------------------------------------

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON values; scores are fractions."""
        labels = self.scoring.labels
        return {
            "software": f"regiontree {__version__}",
            "dataset": self.dataset,
            "split": self.split,
            "model": self.model,
            "labels": labels.name if labels else None,
            "match": self.scoring.match,
            "threshold": self.scoring.threshold,
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
            "failed": list(self.failed),
            "tables": {view.key: asdict(scores) for view, scores in self.scores.items()},
            "paper": {
                table: printed
                for table in ("level", "tree")
                if (printed := paper_row(self.dataset, self.split, table))
            },
        }

    def save(self, folder: Path) -> list[Path]:
        """Write ``summary.json`` and ``summary.md``; returns their paths."""
        written = []
        for name, text in (
            ("summary.json", _json(self.as_dict())),
            ("summary.md", self.markdown()),
        ):
            with atomic_write(folder / name) as file:
                file.write(text.encode())
            written.append(folder / name)
        return written

    def published(self) -> dict[int | None, str]:
        """Result files as the published code writes them, by depth (None: hierarchical).

        Of the main protocol; values are fractions from 0 to 1.
        """
        files: dict[int | None, str] = {}
        for view, found in self.scores.items():
            if view.protocol != self.scoring.protocols[0] or not isinstance(found, Scores):
                continue
            common = {
                "freq": list(found.frequency.values()),
                "miou": found.miou,
                "pacc": found.pacc,
                "macc": found.macc,
                "fwiou": found.fiou,
                **found.iou,
                "dataset": self.dataset,
            }
            if view.depth is None:
                coverings = {"nhcovering": found.nh_covering, "nmcovering": found.nm_covering}
                first: dict[str, Any] = {"thresh": self.scoring.threshold}
            else:
                # With every region matched to its own best node, these two are one.
                coverings = {"hnecovering": found.nm_covering, "nfcovering": found.nm_covering}
                first = {"mapping": {}}
            sizes = {"nodes": found.nodes, "leaves": found.leaves, "images": found.images}
            files[view.depth] = _json({**first, **common, **coverings, **sizes})
        return files


def _level(scores: Scores) -> list[str]:
    values = (scores.miou, scores.pacc, scores.macc, scores.fiou, scores.nm_covering)
    return [*map(_percent, values), *_sizes(scores)]


def _tree(scores: Scores) -> list[str]:
    values = (scores.miou, scores.pacc, scores.nm_covering, scores.nh_covering)
    return [*map(_percent, values), *_sizes(scores)]


def _covering(scores: CoveringScores) -> list[str]:
    return [*map(_percent, (scores.ods, scores.ois, scores.best)), *_sizes(scores)]


def _sizes(scores: Scores | CoveringScores) -> list[str]:
    return [f"{scores.nodes:.1f}", f"{scores.leaves:.1f}"]


def _printed(row: Mapping[str, float], table: str) -> list[str]:
    names = {"level": ("miou", "pacc", "macc", "fiou", "nm"), "tree": ("miou", "pacc", "nm", "nh")}
    return [*(f"{row[name]:.1f}" for name in names[table]), "not said", "not said"]


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
