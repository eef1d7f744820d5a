"""Tables of an experiment: for people, for programs, and under the names of the published code.

``summary.json`` holds everything. ``summary.md`` and the terminal show the tables. A run of a
published config also writes ``results_<data set>_<split>_<depth>.json`` and
``results_hier_<data set>_<split>_<match>_<threshold>.json``, with the keys that its users expect
and fractions from 0 to 1. Every score stands beside the mean number of nodes of the trees: a
maximum over nodes can only rise when nodes are added.

The columns are those of the metrics (:data:`regiontree.metrics.report.METRICS`), coverings first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from regiontree._version import __version__
from regiontree.experiments.paper import paper_row
from regiontree.experiments.scoring import Scoring, View
from regiontree.experiments.summary import Summary, Table, json_text
from regiontree.metrics import CoveringScores, Scores
from regiontree.metrics.report import COVERINGS, Column

__all__ = ["Report"]

_CURVE = ("NMCovering (S)", "NMCovering (T)", "NHCovering", "nodes")


@dataclass(frozen=True)
class Report(Summary):
    """The scores of one data set.

    Attributes
    ----------
    dataset, model : str
    split : str or None
    scoring : Scoring
        How the trees were scored.
    results : mapping of View to mapping of str to scores
        The scores of each table, by the name of the metric.
    seconds : mapping of str to float
        The median seconds for one image, by stage.
    failed : sequence of str
        One sentence for each image that has no scores.
    segments : str
        What the segments of the data set are, if a metric is about them.
    """

    dataset: str
    split: str | None
    model: str
    scoring: Scoring
    results: Mapping[View, Mapping[str, Any]]
    seconds: Mapping[str, float]
    failed: Sequence[str]
    segments: str = ""

    @property
    def scores(self) -> dict[View, Scores | CoveringScores]:
        """The coverings of each table."""
        return {view: found[COVERINGS] for view, found in self.results.items()}

    # -- tables -----------------------------------------------------------------------------------

    def tables(self) -> list[Table]:
        """T to S and T to T_gt, a row for each protocol, and the curve of scores against nodes."""
        if self.scoring.labels is None:
            return [self._table("Segmentation covering", 0, None), *self._own_tables(0)]
        finest = self.scoring.labels.max_depth
        tables = [self._table("T to S, the finest classes", finest, "level")]
        if finest > 1:
            tables.append(self._table("T to T_gt, classes and their ancestors", None, "tree"))
        main = self.scoring.protocols[0]
        if curve := self._curve(main, finest):
            tables.append(Table(f"Cut to at most so many nodes ({main})", _CURVE, curve))
        return [*tables, *self._own_tables(finest)]

    def _own_tables(self, depth: int) -> list[Table]:
        """The tables of the metrics that have their own."""
        tables = []
        for protocol in self.scoring.protocols:
            view = View(protocol, depth)
            for name, metric in self.scoring.metrics_of(view).items():
                if metric.title:
                    rows = [
                        (row, [column.cell(scores) for column in metric.columns])
                        for row, scores in metric.rows(self.results[view][name]).items()
                    ]
                    said = f". {self.segments}" if metric.needs_segments and self.segments else ""
                    heads = [column.head for column in metric.columns]
                    tables.append(Table(f"{metric.title} ({protocol}){said}", heads, rows))
        return tables

    def _table(self, title: str, depth: int | None, paper: str | None) -> Table:
        """A table with one row for each protocol, and the paper's row if the paper prints one."""
        views = {protocol: View(protocol, depth) for protocol in self.scoring.protocols}
        columns: dict[str, Sequence[Column]] = {}
        for view in views.values():
            for name, metric in self.scoring.metrics_of(view).items():
                if not metric.title:
                    columns.setdefault(name, metric.columns)
        each = [(name, column) for name in columns for column in columns[name]]
        rows = [
            (protocol, [column.cell(self.results[view].get(name)) for name, column in each])
            for protocol, view in views.items()
        ]
        if paper and (printed := paper_row(self.dataset, self.split, paper)):
            said = [printed.get(column.paper) for _, column in each]
            cells = ["not said" if value is None else f"{value:.1f}" for value in said]
            rows.append(("the paper", cells))
        return Table(title, [column.head for _, column in each], rows)

    def _curve(self, protocol: str, finest: int) -> list[tuple[str, list[str]]]:
        scores = self.scores
        level, tree = scores[View(protocol, finest)], scores[View(protocol, None)]
        assert isinstance(level, Scores)
        assert isinstance(tree, Scores)
        return [
            (
                str(on_tree.budget),
                [*map(_percent, (on_level.nm, on_tree.nm, on_tree.nh)), f"{on_tree.nodes:.1f}"],
            )
            for on_level, on_tree in zip(level.curve, tree.curve, strict=True)
        ]

    def headline(self) -> str:
        """One line that says what was measured."""
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

    # -- files ------------------------------------------------------------------------------------

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON values. Scores are fractions from 0 to 1."""
        labels = self.scoring.labels
        return {
            "software": f"regiontree {__version__}",
            "dataset": self.dataset,
            "split": self.split,
            "model": self.model,
            "labels": labels.name if labels else None,
            "match": self.scoring.match,
            "threshold": self.scoring.threshold,
            **({"segments": self.segments} if self.segments else {}),
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
            "failed": list(self.failed),
            "tables": {view.key: _as_json(found) for view, found in self.results.items()},
            "paper": {
                table: printed
                for table in ("level", "tree")
                if (printed := paper_row(self.dataset, self.split, table))
            },
        }

    def published(self) -> dict[int | None, str]:
        """The texts of result files as the published code writes them, by depth.

        Depth None is the hierarchical file. Scores are those of the main protocol, as fractions
        from 0 to 1.
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
                # The two are equal, because every region is matched to its own best node.
                coverings = {"hnecovering": found.nm_covering, "nfcovering": found.nm_covering}
                first = {"mapping": {}}
            sizes = {"nodes": found.nodes, "leaves": found.leaves, "images": found.images}
            files[view.depth] = json_text({**first, **common, **coverings, **sizes})
        return files


def _as_json(found: Mapping[str, Any]) -> dict[str, Any]:
    """The coverings of a table, and under ``metrics`` the scores of the others if there are any."""
    others = {name: asdict(scores) for name, scores in found.items() if name != COVERINGS}
    return {**asdict(found[COVERINGS]), **({"metrics": others} if others else {})}


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"
