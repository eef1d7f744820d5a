"""Arrays as users pass them: of NumPy, of torch, or anything that NumPy makes an array of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import RegionTreeError

__all__ = ["as_array"]


def as_array(name: str, value: Any, error: type[RegionTreeError]) -> NDArray[Any]:
    """The values as a NumPy array, which shares their memory if it can.

    A tensor may lie on any device and may require gradients. NumPy has no bfloat16, so a tensor of
    that type becomes float32, which holds the same values.

    Parameters
    ----------
    name
        What the message calls the value.
    value
        An array, a tensor, a list of lists, or an object with ``__array__``.
    error
        The error to raise.

    Raises
    ------
    RegionTreeError
        `value` is not an array: rows of unequal length, for example. Or entries are masked.
    """
    if np.ma.is_masked(value):
        raise error(f"{name} has masked entries; fill them first, with array.filled(value)")
    try:
        if hasattr(value, "detach"):
            tensor = value.detach().cpu()
            value = (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as cause:
        raise error(f"{name} is not an array: {cause}") from cause
