"""Arrays of NumPy files that may be damaged or hostile: no pickle, and no memory by mere claim.

``numpy.load`` allocates what a header claims before it reads. A file of 100 bytes can claim 100 GB.
Here the claim is compared with the bytes that are there.
"""

from __future__ import annotations

import os
import tokenize
import zipfile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BAD_HEADER", "read_npy", "read_npz"]

BAD_HEADER = (ValueError, TypeError, LookupError, OverflowError, SyntaxError, RecursionError,
              MemoryError, tokenize.TokenError)  # fmt: skip
"""What NumPy's header parser raises on damaged or hostile files."""


def read_npy(file: IO[bytes], length: int) -> NDArray[Any]:
    """The array of a ``.npy`` file.

    Parameters
    ----------
    file
        Open for reading, at its first byte.
    length
        Bytes of the file.

    Raises
    ------
    ValueError
        The file is damaged, holds Python objects, or is not as long as its header says.
    """
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, kind = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran, kind = np.lib.format.read_array_header_2_0(file)
        else:
            raise ValueError(f"its version is {version[0]}.{version[1]}")
    except BAD_HEADER as error:
        raise ValueError("the array's header is damaged") from error
    if kind.hasobject:
        raise ValueError("it holds Python objects, which could run code; save numbers only")
    size = kind.itemsize
    for side in shape:  # exact: Python's numbers do not overflow
        size *= side
    if min(shape, default=0) < 0 or len(shape) > 32 or size != length - file.tell():
        raise ValueError("the array is not as long as its header says")
    data = file.read(size)
    if len(data) != size:
        raise ValueError("it is cut short")
    array: NDArray[Any] = np.frombuffer(data, kind) if size else np.zeros(0, kind)
    return array.reshape(shape, order="F" if fortran else "C")


def read_npz(file: IO[bytes] | str | os.PathLike[str], names: set[str]) -> dict[str, NDArray[Any]]:
    """Those arrays of an ``.npz`` file that are in `names` and in the file.

    Raises
    ------
    ValueError
        As :func:`read_npy`, about one of the arrays.
    BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, zlib.error, lzma.LZMAError
        The zip file is damaged.
    """
    found = {}
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name in names and info.filename.endswith(".npy"):
                with archive.open(info) as member:
                    found[name] = read_npy(member, info.file_size)
    return found
