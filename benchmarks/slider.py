"""What does the granularity slider of the plugin of napari cost?

Question
    A new cut is a table over leaves and one look-up a pixel. How long does it take for a large
    picture with many leaves, and is the compiled look-up worth its place beside NumPy's?
Method
    A made-up picture of square regions under a balanced binary tree, cut into a tenth of its
    leaves. The table says the value of each leaf. The look-up is compiled, by NumPy in blocks, and
    by one call of ``numpy.take``, in turn (A B C A B C). Also the rows of the tree dock. No window
    is needed; napari's own drawing comes on top.
Printed
    Milliseconds of each, and the time of ``numpy.take`` as a ratio of the compiled look-up's.
Target
    Milliseconds at 12 megapixels and 50,000 leaves.
"""

from __future__ import annotations

import statistics

import numpy as np
from _common import arguments, interleave, print_closing, print_heading, print_results, ratio

from regiontree.plugins.napari.cut import _fill_by_blocks, leaf_values, look_up
from regiontree.plugins.napari.rows import TreeRows
from regiontree.plugins.napari.stack import TreeStack
from regiontree.tree import RegionTree

_CASES = (((480, 640), 400), ((3000, 4000), 400), ((3000, 4000), 50_000))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="turns (default 9)")
    options = parser.parse_args()
    print_heading(__file__)
    rows = [_row(shape, leaves, options.repeats) for shape, leaves in _CASES]
    print_results("slider", rows, options.csv)
    print_closing()


def _row(shape: tuple[int, int], leaves: int, repeats: int) -> list[object]:
    tree = _tree(shape, leaves)
    stack = TreeStack((tree,))
    criterion = {"n_regions": leaves // 10}
    table = leaf_values(tree, 0, criterion).astype(stack.dtype)
    found = np.empty(shape, stack.dtype)
    flat = tree.labels.reshape(-1)
    times = interleave(
        {
            "table": lambda: leaf_values(tree, 0, criterion),
            "compiled": lambda: look_up(table, tree.labels, found),
            "blocks": lambda: _fill_by_blocks(table, flat, found.reshape(-1)),
            "take": lambda: np.take(table, tree.labels, out=found, mode="clip"),
            "rows": lambda: TreeRows(tree),
        },
        repeats,
    )
    median = {way: 1000 * statistics.median(found) for way, found in times.items()}
    return [
        shape[0] * shape[1] / 1e6, leaves, stack.dtype.itemsize * 8, median["table"],
        median["compiled"], median["blocks"], median["take"],
        ratio(times["take"], times["compiled"]), median["rows"],
    ]  # fmt: skip


def _tree(shape: tuple[int, int], leaves: int) -> RegionTree:
    """A balanced binary tree over squares of equal size."""
    across = int(np.ceil(np.sqrt(leaves)))
    rows, columns = (np.arange(n) * across // n for n in shape)
    labels = np.minimum(rows[:, None] * across + columns, leaves - 1)
    # Nodes 2 i and 2 i + 1 have one parent, as in a heap that is counted from its leaves.
    parents = leaves + np.arange(2 * leaves - 1) // 2
    parents[-1] = 2 * leaves - 2
    height = np.concatenate([np.zeros(leaves), np.linspace(0.1, 1, leaves - 1)])
    return RegionTree(labels, parents, height)


if __name__ == "__main__":
    main()
