"""Sums over groups of rows, the same bytes each time on any device."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["sum_by_group"]


def sum_by_group(values: Tensor, labels: Tensor, k: int) -> Tensor:
    """``G' V``: the sum of the rows of each group.

    Parameters
    ----------
    values
        (n, p) floating.
    labels
        (n,) int64 in [0, k) on the same device.

    Returns
    -------
    (k, p) of the type of `values`; 0 for a group without rows.

    Notes
    -----
    On the CPU rows are added in order. On a GPU, adding by index uses atomic operations in an order
    that changes from run to run, so there the membership matrix is multiplied.
    """
    if values.device.type == "cpu":
        return _by_index(values, labels, k)
    return _by_product(values, labels, k)


def _by_index(values: Tensor, labels: Tensor, k: int) -> Tensor:
    return values.new_zeros(k, values.shape[1]).index_add_(0, labels, values)


def _by_product(values: Tensor, labels: Tensor, k: int) -> Tensor:
    return torch.nn.functional.one_hot(labels, k).to(values.dtype).T @ values
