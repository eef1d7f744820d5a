"""pyarrow and fsspec, which stores need, or an error that names the extra to install."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from regiontree.errors import MissingExtraError

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
        It is not installed.
    """
    return _module(module, f"{what} needs pyarrow: pip install 'regiontree[store]'")


def fsspec() -> Any:
    """The module ``fsspec``.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    return _module(
        "fsspec", "addresses of object stores need fsspec: pip install 'regiontree[store]'"
    )


def _module(name: str, lack: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(lack) from error
