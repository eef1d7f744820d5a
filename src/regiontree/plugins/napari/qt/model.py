"""The rows of a tree as a model for Qt's tree view.

An index holds the number of its node, and everything else follows from the tree's arrays. So
nothing is made for rows that the view does not show, and 100,000 nodes open as fast as ten.
"""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QAbstractItemModel, QModelIndex, Qt
from qtpy.QtGui import QColor, QPixmap

from regiontree.plugins.napari.rows import COLUMNS, TreeRows

__all__ = ["TreeModel"]

_SWATCH = 12  # pixels


class TreeModel(QAbstractItemModel):
    """One tree at a time; see :class:`~regiontree.plugins.napari.rows.TreeRows`."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._rows: TreeRows | None = None
        self._colours: Any = None
        self._swatches: dict[int, QPixmap] = {}

    def show(self, rows: TreeRows | None, colours: Any = None) -> None:
        """Show another tree, or none.

        Parameters
        ----------
        rows
        colours
            From a node to red, green and blue in [0, 1].
        """
        self.beginResetModel()
        self._rows, self._colours, self._swatches = rows, colours, {}
        self.endResetModel()

    def node(self, index: QModelIndex) -> int | None:
        """The node of an index; None for an invalid one."""
        return int(index.internalId()) if index.isValid() else None

    def index_of(self, node: int) -> QModelIndex:
        """The index of a node, in the first column."""
        rows = self._rows
        if rows is None:
            return QModelIndex()
        row = 0 if node == rows.tree.root else rows.row(node)
        return self.createIndex(row, 0, node)

    # -- what Qt asks -----------------------------------------------------------------------------

    def index(self, row: int, column: int, parent: QModelIndex | None = None) -> QModelIndex:
        """The index of a row below a parent."""
        parent = parent or QModelIndex()
        if self._rows is None or not self.hasIndex(row, column, parent):
            return QModelIndex()
        if not parent.isValid():
            return self.createIndex(row, column, self._rows.tree.root)
        return self.createIndex(row, column, self._rows.child(int(parent.internalId()), row))

    def parent(self, index: QModelIndex | None = None) -> Any:
        """The index of the parent."""
        if index is None:
            return super().parent()
        if self._rows is None or not index.isValid():
            return QModelIndex()
        above = self._rows.parent(int(index.internalId()))
        return QModelIndex() if above is None else self.index_of(above)

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802  named by Qt
        """Number of children."""
        if self._rows is None:
            return 0
        if parent is None or not parent.isValid():
            return 1
        return 0 if parent.column() else self._rows.count(int(parent.internalId()))

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802  named by Qt
        """Number of columns."""
        return len(COLUMNS)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text, colour or alignment of a cell."""
        if self._rows is None or not index.isValid():
            return None
        node, column = int(index.internalId()), index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return self._rows.text(node, column)
        if role == Qt.ItemDataRole.DecorationRole and column == 0 and self._colours is not None:
            return self._swatch(node)
        if role == Qt.ItemDataRole.TextAlignmentRole and column:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None

    def headerData(  # noqa: N802  named by Qt
        self, section: int, orientation: Any, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Heads of the columns."""
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section]
        return None

    def _swatch(self, node: int) -> QPixmap:
        """A small square of the node's colour."""
        if node not in self._swatches:
            pixmap = QPixmap(_SWATCH, _SWATCH)
            pixmap.fill(QColor.fromRgbF(*(float(c) for c in self._colours(node))))
            self._swatches[node] = pixmap
        return self._swatches[node]
