"""Figures and axes placed in inches, and the fonts, titles and columns of all figures."""

from __future__ import annotations

import io
from typing import Any, cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = [
    "COLUMN",
    "FONT",
    "HEAD",
    "INK",
    "Box",
    "add_panel",
    "column_axes",
    "figure_of",
    "new_figure",
    "set_title",
]

INK = "#202226"
"""Colour of lines and text."""
FONT = 6.5
"""Size of text in points."""

_FONT_OF_TITLES = 8.0  # points
HEAD = 0.2  # height of a title in inches
"""Height of a title in inches."""
COLUMN = 0.78  # width of a column in inches; the leaves of a tree stand in columns
"""Width in inches of a column: the leaves of a tree stand in columns side by side."""
_LARGEST = 2.0  # largest scale of text and lines, 1 being that of new figures
_PRINT = 300  # dots an inch of photographs in saved figures

Box = tuple[float, float, float, float]
"""Left, right, top and bottom."""


class _Figure(Figure):
    """A figure that notebooks show without pyplot, and that is saved at the resolution of print."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        super().savefig(file, format="png")
        return file.getvalue()

    def savefig(self, fname: Any, **settings: Any) -> None:
        super().savefig(fname, **{"dpi": _PRINT, **settings})


def new_figure(width: float, height: float) -> Figure:
    """A figure of that many inches, in which Matplotlib moves nothing."""
    figure = _Figure(figsize=(width, height))
    figure.set_layout_engine("none")
    return figure


def add_panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes placed in inches from the upper left corner."""
    across, down = figure.get_size_inches()
    place = left / across, 1 - (top + height) / down, width / across, height / down
    return figure.add_axes(place)


def column_axes(ax: Axes | None, box: Box, inches: float) -> tuple[Axes, float]:
    """Axes whose unit is a column, and the scale of text and lines. New columns have `inches`."""
    left, right, top, bottom = box
    wide, tall = right - left, bottom - top
    if ax is None:
        ax = new_figure(wide * inches, tall * inches).add_axes((0, 0, 1, 1))
    room = ax.get_window_extent()
    scale = min(room.width / wide, room.height / tall) / figure_of(ax).dpi / COLUMN
    margin = max(0.0, scale / _LARGEST - 1) / 2  # so that a small tree is not drawn too large
    ax.set_xlim(left - margin * wide, right + margin * wide)
    ax.set_ylim(bottom + margin * tall, top - margin * tall)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax, min(scale, _LARGEST)


def set_title(ax: Axes, text: str) -> None:
    """Write a title above the left end of axes."""
    ax.set_title(text, loc="left", fontsize=_FONT_OF_TITLES, pad=3)


def figure_of(ax: Axes) -> Figure:
    """The whole figure that holds the axes, not a subfigure."""
    return cast(Figure, ax.get_figure(root=True))
