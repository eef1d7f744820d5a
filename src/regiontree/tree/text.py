"""A tree as text: a line a node, with area, depth, height and why a leaf ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.tree.kernel import children, preorder
from regiontree.tree.stop import StopReason

__all__ = ["counted", "node_lines"]


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number of things in words: ``1 node``, ``12 nodes``."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def node_lines(
    parents: NDArray[np.integer[Any]],
    area: NDArray[np.int64],
    level: NDArray[np.int32],
    height: NDArray[np.float32],
    stop: NDArray[np.uint8],
    ends: NDArray[np.bool_],
    stability: NDArray[np.float16] | None = None,
    more: Mapping[str, Sequence[str]] | None = None,
) -> list[str]:
    """A line of headings, then a line for each node from the root down, larger children first.

    Parameters
    ----------
    parents, area, level, height, stop : (N,)
        As in :class:`~regiontree.tree.RegionTree`.
    ends : (N,) bool
        Nodes whose children are counted, not shown.
    stability : (N,)
        Of each node, for a column of its own; a rest has a dash there. None: no such column.
    more
        Further columns by their headings: (N,) texts each.
    """
    start, nodes = children(parents, area)
    rows: list[tuple[str, int]] = []
    stack: list[tuple[int, str, str]] = [(len(parents) - 1, "", "")]
    while stack:
        node, lead, indent = stack.pop()
        rows.append((f"{lead}{node}", node))
        own = [] if ends[node] else nodes[start[node] : start[node + 1]].tolist()
        for child in reversed(own):  # the last pushed is the next to come out
            branch, below = ("└─ ", "   ") if child == own[-1] else ("├─ ", "│  ")
            stack.append((child, indent + branch, indent + below))
    width = max(len("node"), *(len(text) for text, _ in rows))
    below_node = preorder(parents).size - 1
    steady = "" if stability is None else "  stability"
    wide = {
        heading: max(len(heading), *(len(texts[i]) for _, i in rows))
        for heading, texts in (more or {}).items()
    }
    steady += "".join(f"  {heading:>{wide[heading]}}" for heading in wide)
    lines = [f"{'node':<{width}}    area  depth  height{steady}  why it ends"]
    for text, i in rows:
        reason = StopReason(int(stop[i]))
        why = "" if reason == StopReason.INNER else f"  {reason.sentence}"
        if ends[i] and reason == StopReason.INNER:
            why = f"  … {below_node[i]} more below"
        own = ""
        if stability is not None:
            own = f"  {'-' if reason == StopReason.REST else f'{stability[i]:.2f}':>9}"
        own += "".join(f"  {(more or {})[heading][i]:>{wide[heading]}}" for heading in wide)
        lines.append(
            f"{text:<{width}}  {area[i] / area[-1]:>6.1%}  {level[i]:>5}  {height[i]:>6.3f}"
            f"{own}{why}"
        )
    return lines
