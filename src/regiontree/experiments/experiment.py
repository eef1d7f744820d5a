"""What a run needs to know, whichever config it came from, and where its results lie.

That is where the published code puts them:
``<output>/<dataset>/<model>/<folder of the stage>/<split>/<variant>/``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from regiontree.settings import Settings

__all__ = ["BUDGETS", "Experiment"]

BUDGETS = (5, 10, 25, 50, 100, 200)  # numbers of nodes that scores are also given at
"""Numbers of nodes that scores are also given at."""

FOLDERS = {
    "extract_features": "features",
    "semantic_ncuts": "ncuts",
    "postprocess_crf": "crf",
    "create_stats": "stats",
}


@dataclass(frozen=True, slots=True)
class Experiment:
    """Everything a run needs to know, whichever config it came from.

    Attributes
    ----------
    config : Path or None
        The file it was read from.
    published : bool
        Whether that is a config of the published code.
    output : Path
        Root of all results.
    dataset, split : str, str or None
        Names; parts of the output path.
    datasets_config : Path or None
        The published ``datasets.json``, found; None in our own format.
    data : mapping, str or None
        Our own format: a name in the catalogue, the path of a data set's YAML, or its content
        inline (:mod:`regiontree.datasets` checks it). None in the published format.
    root : Path or None
        Folder of the data. With a published config: where relative paths in ``datasets.json``
        start, the current folder if None.
    model : str
        The backbone as the user wrote it.
    stages : tuple of str
        Of :data:`~regiontree.experiments.published.STAGES`, in that order.
    settings : Settings
        Everything that shapes a tree.
    protocols : tuple of {"pixel", "grid"}
        Resolutions to evaluate at; the first is the main one.
    match, threshold, budgets
        ``max`` or ``hungarian``; overlaps below the threshold count as 0; numbers of nodes.
    save_strips : bool
        Whether to draw pictures of the trees, beside them.
    conf_export : bool
        Whether to keep a copy of the config with the results.
    folders : mapping of str to str
        Output folder of each stage.
    variant : tuple of str
        Over-clustering, normalisation, distance, heuristic and merging, as parts of the path.
    remarks : tuple of str
        Settings honoured in another way, changed from outside, or found elsewhere.
    unsupported : tuple of str
        What was asked for and cannot be done: a run must refuse unless this is empty.
    """

    config: Path | None
    published: bool
    output: Path
    dataset: str
    split: str | None
    datasets_config: Path | None
    data: Mapping[str, Any] | str | None
    root: Path | None
    model: str
    stages: tuple[str, ...]
    settings: Settings
    protocols: tuple[str, ...]
    match: Literal["max", "hungarian"] = "max"
    threshold: float = 0.0
    budgets: tuple[int, ...] = BUDGETS
    save_strips: bool = False
    conf_export: bool = False
    folders: Mapping[str, str] = field(default_factory=lambda: dict(FOLDERS))
    variant: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()

    @property
    def features_dir(self) -> Path:
        """Features, shared by all splits: ``<output>/<dataset>/<model>/features``."""
        return self._of_model / self.folders["extract_features"]

    @property
    def trees_dir(self) -> Path:
        """Folder of the trees."""
        return self._of_variant(self._trees) / "trees"

    @property
    def pictures_dir(self) -> Path:
        """Folder of the trees' pictures."""
        return self._of_variant(self._trees) / "imgs"

    @property
    def stats_dir(self) -> Path:
        """Result files."""
        return self._of_variant("create_stats")

    def results_file(self, depth: int) -> Path:
        """Scores with classes merged at one depth of the label tree."""
        return self.stats_dir / f"results_{self._data_set}_{depth}.json"

    @property
    def hierarchical_results_file(self) -> Path:
        """Scores over all classes and their ancestors."""
        name = f"results_hier_{self._data_set}_{self.match}_{self.threshold}.json"
        return self.stats_dir / name

    @property
    def _trees(self) -> str:
        """The stage that leaves the trees that are scored."""
        return "postprocess_crf" if "postprocess_crf" in self.stages else "semantic_ncuts"

    @property
    def _data_set(self) -> str:
        return f"{_path_part(self.dataset)}_{_path_part(self.split or 'all')}"

    @property
    def _of_model(self) -> Path:
        return self.output / _path_part(self.dataset) / _path_part(self.model)

    def _of_variant(self, stage: str) -> Path:
        split = _path_part(self.split or "all")
        return self._of_model.joinpath(self.folders[stage], split, *self.variant)


def _path_part(name: str) -> str:
    """A name as one folder: ``facebook/dinov2-base`` -> ``facebook--dinov2-base``."""
    return re.sub(r"^\.+|[^\w.@+=-]+", "--", name)
