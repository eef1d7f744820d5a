"""Sums over groups of rows. Equal input gives equal bytes on the same device."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["sum_by_group", "sum_by_index", "sum_by_product"]


def sum_by_group(values: Tensor, labels: Tensor, k: int) -> Tensor:
    """``G' V``: the sum of the rows of each group.

    Parameters
    ----------
    values
        V, (n, p) floating.
    labels
        (n,) int64, the group of each row, in [0, k), on the device of `values`.
    k
        Number of groups.

    Returns
    -------
    Tensor
        (k, p), of the dtype of `values`. The sum of a group without rows is 0.

    Notes
    -----
    On the CPU the rows are added in their order. On a GPU, addition by index uses atomic
    operations, whose order changes from run to run. So on a GPU the values are multiplied by the
    membership matrix G instead.
    """
    if values.device.type == "cpu":
        return sum_by_index(values, labels, k)
    return sum_by_product(values, labels, k)


def sum_by_index(values: Tensor, labels: Tensor, k: int) -> Tensor:
    """The (k, p) sums of :func:`sum_by_group` by addition, row by row.

    `values` is (n, p) floating and `labels` (n,) int64 in [0, k), on one device. The bytes repeat
    on the CPU only.
    """
    return values.new_zeros(k, values.shape[1]).index_add_(0, labels, values)


def sum_by_product(values: Tensor, labels: Tensor, k: int) -> Tensor:
    """The (k, p) sums of :func:`sum_by_group` by a product with the membership matrix (n, k).

    `values` is (n, p) floating and `labels` (n,) int64 in [0, k), on one device.
    """
    return torch.nn.functional.one_hot(labels, k).to(values.dtype).T @ values
