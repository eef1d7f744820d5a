"""Our own config format: which keys there are, and what they are when left out.

``docs/configs.md`` shows it by example. ``settings`` are checked by
:class:`~regiontree.settings.Settings`, the data set's content by :mod:`regiontree.datasets`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from regiontree.experiments.published import Text
from regiontree.system.reading import Listed, Section

__all__ = ["BUDGETS", "Own", "stage_of"]

BUDGETS = (5, 10, 25, 50, 100, 200)
"""Numbers of nodes that scores are also given at."""

_STAGE_NAMES = {
    "features": "extract_features",
    "trees": "semantic_ncuts",
    "evaluate": "create_stats",
}


def stage_of(name: object) -> object:
    """A stage's published name from ``features``, ``trees`` or ``evaluate``; others unchanged."""
    return _STAGE_NAMES.get(name, name) if isinstance(name, str) else name


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _stages(value: object) -> object:
    value = _listed(value)
    return [stage_of(name) for name in value] if isinstance(value, list) else value


def _data(value: object) -> object:
    if not (value and isinstance(value, str | dict)):
        raise ValueError("must be a name in the catalogue, a path or a mapping of keys to values")
    return value


class Own(Section):
    """A config in our own format."""

    dataset: Annotated[Any, AfterValidator(_data)]
    split: Text | None = None
    root: Text | None = None
    output: Text = "results"
    preset: Text = "default"
    settings: dict[str, Any] | None = None
    stages: Annotated[
        Listed[Literal["extract_features", "semantic_ncuts", "create_stats"]],
        BeforeValidator(_stages),
        Field(min_length=1),
    ] = ("extract_features", "semantic_ncuts", "create_stats")
    protocols: Annotated[
        Listed[Literal["pixel", "grid"]], BeforeValidator(_listed), Field(min_length=1)
    ] = ("pixel",)
    match: Literal["max", "hungarian"] = "max"
    threshold: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)
    budgets: Listed[Annotated[int, Field(ge=1)]] = BUDGETS
    pictures: bool = False
