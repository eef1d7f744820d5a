"""Read MATLAB files that may be damaged or hostile.

SciPy reads a file of version 5 by recursion in compiled code, without a limit. A file of 240 kB
with 5,000 nested cells ends the process without an exception. A compressed file of 1 MB can fill
1 GB of memory. So the structure of a file is checked before SciPy reads it: how deep its cells and
structs are nested, and how large its content is.

The format is described in "MAT-File Format" of The MathWorks: a file is a list of elements, each
with a type, a length and a body. An element of type matrix holds further elements, and a compressed
element holds one element as a zlib stream.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any

from scipy.io import loadmat

__all__ = ["MAX_BYTES", "MAX_DEPTH", "load_mat"]

MAX_BYTES = 256 << 20
"""Files with more bytes of content are refused. A file of Pascal-Part has up to 80 MB."""
MAX_DEPTH = 64
"""Cells and structs that are nested deeper are refused. BSDS500 and Pascal-Part need 5."""

_HEADER = 128  # bytes at the start of a file of version 5
_MATRIX, _COMPRESSED = 14, 15  # types of elements
_CELL, _STRUCT, _OBJECT, _CHAR, _SPARSE, _FUNCTION, _OPAQUE = 1, 2, 3, 4, 5, 16, 17  # of matrices
_NUMBERS = range(6, 16)  # kinds of matrices of plain numbers
_COMPLEX = 1 << 11  # a flag of a matrix
_TEXT, _WHOLE = (1, 2, 16), (5, 6)  # types of elements that hold names, and sides
_VALUES = (1, 2, 3, 4, 5, 6, 7, 9, 12, 13)  # and values
_LETTERS = (*_VALUES, 16, 17, 18)
_MOST_SIDES = 32  # of a matrix, by SciPy
_LONGEST_NAME = 1 << 10  # bytes of a field's name; MATLAB writes 32 or 64
_STEP = 1 << 20


def load_mat(path: Path, **options: Any) -> dict[str, Any]:
    """The variables of a MATLAB file, as :func:`scipy.io.loadmat` gives them.

    Parameters
    ----------
    path
        The file.
    **options
        Arguments of ``loadmat``.

    Raises
    ------
    ValueError
        The file is nested too deeply, too large, or damaged.
    OSError
        The file cannot be read.
    """
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES >> 20} MB")
    with path.open("rb") as file:
        head = file.read(_HEADER)
        if b"\0" in head[:4]:
            raise ValueError("it is of MATLAB's version 4, which has no cells and structs")
        order = {b"IM": "<", b"MI": ">"}.get(head[126:128])
        if order is None:  # SciPy would guess, and read what was not checked
            raise ValueError("it has no header of MATLAB's version 5 to 7")
        if struct.unpack(f"{order}H", head[124:126])[0] >= 0x200:
            raise ValueError("it is of MATLAB's version 7.3; save it again with -v7")
        _check(file.read(), order)
    found: dict[str, Any] = loadmat(os.fspath(path), appendmat=False, **options)
    return found


def _check(data: bytes, order: str) -> None:
    """Raise a ValueError if the matrices are nested too deeply or their content is too large."""
    at = unpacked = 0
    while at + 8 <= len(data):
        kind, length = struct.unpack_from(f"{order}II", data, at)
        if kind == _COMPRESSED:
            inside = _inflated(data[at + 8 : at + 8 + length], MAX_BYTES - unpacked)
            unpacked += len(inside)
            _Walk(inside, order).matrix()
        else:
            _Walk(data[at : at + 8 + length], order).matrix()
        at += 8 + length


def _inflated(packed: bytes, most: int) -> bytes:
    """The content of a zlib stream, which may be cut short, of at most `most` bytes."""
    unpacker = zlib.decompressobj()
    content = bytearray()
    while packed and not unpacker.eof:
        content += unpacker.decompress(packed, _STEP)
        packed = unpacker.unconsumed_tail
        if len(content) > most:
            raise ValueError(f"its content has more than {MAX_BYTES >> 20} MB")
    return bytes(content)


class _Walk:
    """A walk over the matrices of one element, in the order in which SciPy reads them.

    SciPy ignores the declared length of a matrix and counts the matrices in it. So does this walk,
    with a list in place of recursion.
    """

    def __init__(self, data: bytes, order: str) -> None:
        self.data = data
        self.order = order
        self.at = 0

    def matrix(self) -> None:
        """Visit a matrix and all matrices in it. It ends where SciPy will raise an error.

        Raises
        ------
        ValueError
            Matrices are nested too deeply, or there are more than the bytes can hold.
        """
        waiting = [1]  # at each depth, how many matrices are still to come
        while waiting:
            if not waiting[-1]:
                waiting.pop()
                continue
            waiting[-1] -= 1
            if self.at + 8 > len(self.data):
                return
            kind, length = self._numbers(2)
            if kind != _MATRIX:
                return
            if length:
                count = self._inside()
                if count > len(self.data) // 8:
                    raise ValueError(f"it declares {count} matrices, more than it can hold")
                waiting.append(count)
            if len(waiting) > MAX_DEPTH:
                raise ValueError(f"cells and structs are nested deeper than {MAX_DEPTH}")

    def _inside(self) -> int:
        """Read a matrix up to the matrices in it, and return their number."""
        _, _, flags, _ = self._numbers(4)
        kind, parts = flags & 0xFF, 2 if flags & _COMPLEX else 1
        if kind not in (_CELL, _STRUCT, _OBJECT, _CHAR, _SPARSE, _FUNCTION, _OPAQUE, *_NUMBERS):
            raise ValueError(f"it holds a matrix of the unknown kind {kind}")
        if kind == _OPAQUE:
            for _ in range(3):  # name, type and class
                self._element(_TEXT)
            return 1
        sides = self._element(_WHOLE)
        if len(sides) % 4 or not 2 <= len(sides) // 4 <= _MOST_SIDES:
            raise ValueError(f"the sides of a matrix take {len(sides)} bytes")
        self._element(_TEXT)  # name
        if kind == _FUNCTION:
            return 1
        shape = struct.unpack(f"{self.order}{len(sides) // 4}i", sides)
        count: int = abs(math.prod(shape))
        # SciPy fills texts and structs without content as large as they claim to be.
        if kind != _SPARSE and count > len(self.data):
            raise ValueError(f"it declares {count} values, more than it can hold")
        if kind in (_CELL, _STRUCT, _OBJECT):
            if kind == _CELL:
                return count
            if kind == _OBJECT:
                self._element(_TEXT)  # class
            width = self._element(_WHOLE)[:4]
            names = self._element(_TEXT)
            each: int = int.from_bytes(width, "little" if self.order == "<" else "big")
            if not 0 < each <= _LONGEST_NAME:  # SciPy divides by it, in compiled code
                raise ValueError(f"its names of fields take {each} bytes each")
            return count * (len(names) // each)
        for _ in range({_CHAR: 1, _SPARSE: 2 + parts}.get(kind, parts)):
            self._element(_LETTERS if kind == _CHAR else _VALUES)
        return 0

    def _numbers(self, count: int) -> tuple[int, ...]:
        """The next unsigned numbers of four bytes; 0 after the end."""
        taken = self.data[self.at : self.at + 4 * count].ljust(4 * count, b"\0")
        self.at += 4 * count
        return struct.unpack(f"{self.order}{count}I", taken)

    def _element(self, kinds: tuple[int, ...]) -> bytes:
        """The body of the next element, which must be of one of these types.

        SciPy uses the type as an index in compiled code, without a check.
        """
        kind, length = self._numbers(2)
        if kind & 0xFFFF not in kinds or kind >> 16 > 4:
            raise ValueError(f"it has an element of kind {kind & 0xFFFF} in a wrong place")
        if kind >> 16:  # a short element: its body takes the four bytes of the length
            return self.data[self.at - 4 : self.at - 4 + (kind >> 16)]
        body = self.data[self.at : self.at + length]
        self.at += length + -length % 8
        return body
