"""pyarrow and fsspec, which stores need, or an error that names the extra to install."""

from __future__ import annotations

from typing import Any

from regiontree.system.extras import optional

__all__ = ["fsspec", "pyarrow"]


def pyarrow(module: str = "pyarrow", what: str = "a store of trees") -> Any:
    """The module ``pyarrow``, or one of its modules.

    Parameters
    ----------
    module
    what
        What needs it, for the message.

    Raises
    ------
    MissingExtraError
        It is not installed, or too old.
    """
    return optional(module, "store", f"{what} needs")


def fsspec() -> Any:
    """The module ``fsspec``.

    Raises
    ------
    MissingExtraError
        It is not installed, or too old.
    """
    return optional("fsspec", "store", "addresses of object stores need")
