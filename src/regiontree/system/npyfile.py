"""Arrays of NumPy files that may be damaged or hostile: no pickle, and no memory by mere claim.

``numpy.load`` allocates what a header claims before it reads. A file of 100 bytes can claim 100 GB.
Here the claim is compared with the bytes that are there.
"""

from __future__ import annotations

import ast
import io
import lzma
import os
import re
import struct
import tokenize
import zipfile
import zlib
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DAMAGE", "members", "read_header", "read_npy", "read_npz"]

DAMAGE = (OSError, ValueError, TypeError, LookupError, ArithmeticError, SyntaxError, EOFError,
          MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
          tokenize.TokenError)  # fmt: skip
"""What NumPy, zipfile and its decompressors raise on damaged or hostile files."""

_LONG = re.compile(rb"(\d)L\b")
_MAX_HEADER = 1 << 16  # bytes; NumPy itself refuses more than 10,000

# What NumPy's header parser raises on damaged or hostile files.
_BAD_HEADER = (ValueError, TypeError, LookupError, OverflowError, SyntaxError, RecursionError,
               MemoryError, tokenize.TokenError)  # fmt: skip


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
    shape, fortran, kind = read_header(file)
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


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and type in the header of a ``.npy`` file; the array follows in `file`.

    Raises
    ------
    ValueError
        The header is damaged, or of a version that numbers do not need.
    """
    try:
        version = np.lib.format.read_magic(file)
        width = {(1, 0): 2, (2, 0): 4}[version]
        length = file.read(width)
        claimed = int.from_bytes(length, "little")
        header = file.read(min(claimed, _MAX_HEADER))
        if len(header) != claimed:
            raise ValueError("cut short")
        if b"\\" in header:  # Python's parser would print a warning; no header needs one
            raise ValueError("a backslash")
        header = _LONG.sub(rb"\1", header)  # Python 2 wrote 3L for 3
        ast.literal_eval(header.decode("latin-1"))  # NumPy would warn, and try once more
        length = len(header).to_bytes(width, "little")
        parse = {2: np.lib.format.read_array_header_1_0, 4: np.lib.format.read_array_header_2_0}
        return parse[width](io.BytesIO(length + header))
    except _BAD_HEADER as error:
        raise ValueError("the array's header is damaged") from error


def members(path: str | os.PathLike[str]) -> set[str]:
    """The names of the files in an ``.npz`` file: ``labels.npy``, for example.

    Raises
    ------
    BadZipFile, OSError, ValueError
        The zip file is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


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
