"""The patches of a scene, and the windows in which it is worked on.

A scene is seen at its own resolution. Patch (0, 0) begins at the first pixel, and each patch has
the same number of pixels. The last patches reach beyond the scene, and what is there holds no data.
Whole groups of :data:`COARSER` x :data:`COARSER` patches make the grid, one for each patch of the
coarser view.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COARSER", "Area", "SceneGrid", "SceneWindow", "within"]

COARSER = 4
"""Patches along the side of a patch of the coarser view."""

Area = tuple[slice, slice]
"""Rows and columns, of patches or of pixels."""


@dataclass(frozen=True, slots=True)
class SceneWindow:
    """A rectangle of patches; `row` and `column` are its place among the windows."""

    row: int
    column: int
    cells: Area

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.row:04d}-{self.column:04d}"


@dataclass(frozen=True, slots=True)
class SceneGrid:
    """The patch grid of a scene.

    Attributes
    ----------
    shape : (int, int)
        Pixels of the scene.
    patch : int
        Pixels along the side of a patch.
    side : int
        Largest side of a window in pixels.

    Examples
    --------
    >>> grid = SceneGrid((1000, 500), 14, 560)
    >>> grid.cells, len(grid.windows())
    ((72, 36), 2)
    """

    shape: tuple[int, int]
    patch: int
    side: int

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        step = self.patch * COARSER
        rows, columns = (-(-side // step) * COARSER for side in self.shape)
        return rows, columns

    def windows(self) -> list[SceneWindow]:
        """Windows that cover the grid, each patch once, row by row, of nearly equal sizes."""
        most = max(1, self.side // (self.patch * COARSER))  # patches of the coarser view
        spans = []
        for cells in self.cells:
            coarse = cells // COARSER
            count = -(-coarse // most)
            ends = [COARSER * (coarse * i // count) for i in range(count + 1)]
            spans.append([slice(*pair) for pair in zip(ends, ends[1:], strict=False)])
        return [
            SceneWindow(i, j, (rows, columns))
            for i, rows in enumerate(spans[0])
            for j, columns in enumerate(spans[1])
        ]

    def around(self, cells: Area, margin: int) -> Area:
        """The cells with a margin of patches, as far as the grid goes."""
        rows, columns = (
            slice(max(0, side.start - margin), min(most, side.stop + margin))
            for side, most in zip(cells, self.cells, strict=True)
        )
        return rows, columns

    def pixels(self, cells: Area) -> Area:
        """The pixels of cells. They may reach beyond the scene."""
        rows, columns = (slice(s.start * self.patch, s.stop * self.patch) for s in cells)
        return rows, columns

    def inside(self, cells: Area) -> Area:
        """The pixels of cells that lie in the scene."""
        rows, columns = (
            slice(min(most, s.start), min(most, s.stop))
            for s, most in zip(self.pixels(cells), self.shape, strict=True)
        )
        return rows, columns


def within(inner: Area, outer: Area) -> Area:
    """The place of an area, counted from the corner of one that holds it."""
    rows, columns = (
        slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, outer, strict=True)
    )
    return rows, columns
