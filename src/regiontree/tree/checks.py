"""Checks of a tree's arrays, one a function. Each names the array and the first entry at fault."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regiontree import errors
from regiontree.errors import TreeError, plain_value
from regiontree.system.arrays import as_array
from regiontree.tree.kernel import is_inner
from regiontree.tree.stop import StopReason

__all__ = [
    "check_height",
    "check_labels",
    "check_ncut",
    "check_parents",
    "check_rows",
    "check_stability",
    "check_stop",
    "checked_array",
    "is_number",
    "json_copy",
    "leaf_areas",
    "whole_number",
]

_COUNTED = 4_000_000  # pixels counted at once

Bools = NDArray[np.bool_]


# -- values that a user gives ---------------------------------------------------------------------


def checked_array(
    name: str, value: ArrayLike, ndim: int, kinds: str, dtype: Any, length: int | None = None
) -> NDArray[Any]:
    """A contiguous copy of `value` as `dtype`.

    Parameters
    ----------
    name
        What messages call the array.
    ndim
        Number of dimensions that it must have.
    kinds
        Kinds of dtype that it may have: "iu", "fiu" or "f".
    length
        Number of entries that it must have, if not any.

    Raises
    ------
    TreeError
        Wrong shape or type, or values that do not fit `dtype` or are not finite.
    """
    array = as_array(name, value, TreeError)
    if array.ndim != ndim or array.dtype.kind not in kinds:
        what = {"iu": "integers", "fiu": "numbers", "f": "floats"}[kinds]
        raise TreeError(f"{name} must be {ndim}-D {what}, got shape {array.shape} of {array.dtype}")
    if length is not None and len(array) != length:
        raise TreeError(f"{name} has {len(array)} entries for {length} nodes")
    if array.dtype.kind in "iu" and array.size:
        limit = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else None
        if limit and (int(array.min()) < limit.min or int(array.max()) > limit.max):
            raise TreeError(f"{name} holds values that do not fit {np.dtype(dtype).name}")
    with np.errstate(over="ignore"):
        own = np.array(array, dtype=dtype, order="C")
    if own.dtype.kind == "f" and not np.isfinite(own).all():
        raise TreeError(f"{name} holds values that are not finite as {own.dtype}")
    return own


def whole_number(name: str, value: Any) -> int:
    """`value` as an int of Python: a number of Python, NumPy or torch.

    A float is refused, so that 1.5 does not pass for 1. So are True and False.
    """
    try:
        return errors.whole_number(value)
    except TypeError:
        raise TreeError(f"{name} must be a whole number, got {value!r}") from None


def is_number(value: Any) -> bool:
    """Whether `value` is a real number of Python, NumPy or torch. True and False are not."""
    number = plain_value(value)
    return isinstance(number, int | float) and not isinstance(number, bool)


def json_copy(meta: Any) -> dict[str, Any]:
    """A copy of `meta` as JSON would give it back.

    Numbers and arrays of NumPy and torch become numbers and lists, and paths become text.

    Raises
    ------
    TreeError
        `meta` is not a mapping, or holds something that JSON does not know.
    """
    try:
        copy = json.loads(json.dumps(dict(meta), allow_nan=False, default=_json_value))
    except (TypeError, ValueError, RecursionError) as error:
        raise TreeError(f"meta must be a mapping of JSON values: {error}") from error
    return dict(copy)


def _json_value(value: Any) -> Any:
    """What JSON writes for a value that it does not know."""
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if getattr(value, "shape", None) == ():
        return plain_value(value)
    if hasattr(value, "tolist"):
        return [plain_value(entry) for entry in value]
    raise TypeError(f"{type(value).__name__} is not a JSON value")


# -- arrays of a tree -----------------------------------------------------------------------------


def check_parents(parents: NDArray[np.int32]) -> None:
    """Raise a TreeError unless nodes are in Higra's order: leaves, then parents, the root last."""
    n = len(parents)
    if n == 0:
        raise TreeError("parents is empty: a tree has at least its root")
    index = np.arange(n - 1)
    wrong = np.flatnonzero((parents[:-1] <= index) | (parents[:-1] >= n))
    if len(wrong):
        i = int(wrong[0])
        raise TreeError(
            f"parents[{i}] is {parents[i]}: every node but the root needs a parent after "
            f"itself, in [{i + 1}, {n - 1}]"
        )
    if parents[-1] != n - 1:
        raise TreeError(f"parents[{n - 1}] is {parents[-1]}: the last node must be the root")
    inner = is_inner(parents)
    n_leaves = n - int(inner.sum())
    if inner[:n_leaves].any():
        i = int(np.argmax(inner))
        raise TreeError(f"node {i} has children but comes before a leaf: leaves come first")


def check_labels(labels: NDArray[np.int32], n_leaves: int) -> None:
    """Raise a TreeError unless there is a pixel and every label is a leaf."""
    if labels.size == 0:
        raise TreeError(f"labels has shape {labels.shape}: an image has at least one pixel")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= n_leaves:
        raise TreeError(
            f"labels hold {low} to {high}, but the leaves of this tree are 0 to {n_leaves - 1}"
        )


def leaf_areas(labels: NDArray[np.int32], n_leaves: int) -> NDArray[np.int64]:
    """Pixels of each leaf, (L,) int64; a TreeError if a leaf has none."""
    area = np.zeros(n_leaves, dtype=np.int64)
    # bincount makes a copy of 64 bits: a large image is counted in parts.
    for rows in np.array_split(labels, 1 + labels.size // _COUNTED):
        area += np.bincount(rows.reshape(-1), minlength=n_leaves)
    if (area == 0).any():
        raise TreeError(f"leaf {int(np.argmin(area))} has no pixel in labels")
    return area


def check_height(height: NDArray[np.float32], parents: NDArray[np.int32]) -> None:
    """Raise a TreeError unless heights are at least 0 and never above the parent's."""
    wrong = (height < 0) | (height > height[parents])
    if wrong.any():
        i = int(np.argmax(wrong))
        raise TreeError(
            f"height[{i}] is {height[i]:g} under a parent of {height[parents[i]]:g}: heights "
            "are at least 0 and never above the parent's"
        )


def check_ncut(ncut: NDArray[np.float32]) -> None:
    """Raise a TreeError unless normalised cuts are in [0, 1]."""
    wrong = (ncut < 0) | (ncut > 1)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise TreeError(f"ncut[{i}] is {ncut[i]:g}: a normalised cut lies in [0, 1]")


def check_rows(name: str, array: NDArray[Any], n: int, of: str = "nodes") -> None:
    """Raise a TreeError unless an array has a row for each of `n` nodes or leaves, and a column."""
    if len(array) != n:
        raise TreeError(f"{name} has {len(array)} rows for {n} {of}")


def check_stability(stability: NDArray[np.float16]) -> None:
    """Raise a TreeError unless stabilities are in [0, 1]."""
    wrong = (stability < 0) | (stability > 1)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise TreeError(f"stability[{i}] is {stability[i]:g}: a stability lies in [0, 1]")


def check_stop(stop: NDArray[np.uint8], inner: Bools) -> None:
    """Raise a TreeError unless leaves have a reason, and inner nodes have INNER."""
    wrong = (stop > max(StopReason)) | ((stop == StopReason.INNER) != inner)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise TreeError(f"stop[{i}] is {stop[i]}: inner nodes have 0, leaves a StopReason")
