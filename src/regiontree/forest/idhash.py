"""Numbers of 128 bits for ids, so that millions of ids are looked up by sorted numbers.

Each id is read as little-endian words of 8 bytes of its UTF-8, the last filled up with zeros. Two
lanes start from the length and mix in one word after the other by the finaliser of MurmurHash3. So
equal ids have equal numbers on every machine. Two different ids have the same number by chance only
once in 2**128.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regiontree.forest.arrow import pyarrow
from regiontree.system.jit import jit

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["hash_ids", "id_array"]

UInt64 = NDArray[np.uint64]

_FIRST = np.uint64(0x9E3779B97F4A7C15)
_SECOND = np.uint64(0xC2B2AE3D27D4EB4F)
_M1 = np.uint64(0xFF51AFD7ED558CCD)
_M2 = np.uint64(0xC4CEB9FE1A85EC53)
_33 = np.uint64(33)
_FEW = 1000  # ids for which loading the compiled loop does not pay
_CHUNK = 1 << 16  # ids that the slower function takes at once


def id_array(ids: Sequence[str] | pa.Array | pa.ChunkedArray) -> pa.Array:
    """Ids as one array of Arrow of the type ``large_string``."""
    pa = pyarrow()
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.cast(pa.large_string()).combine_chunks()
    if not isinstance(ids, pa.Array):
        return pa.array(ids, pa.large_string())
    return ids.cast(pa.large_string())


def hash_ids(ids: Sequence[str] | pa.Array | pa.ChunkedArray) -> UInt64:
    """The numbers of ids, (n, 2) uint64. None of the ids is null."""
    array = id_array(ids)
    n, start = len(array), array.offset
    _, bounds, data = array.buffers()
    if n == 0:
        return np.zeros((0, 2), np.uint64)
    offsets = np.frombuffer(bounds, np.int64)[start : start + n + 1]
    text = np.frombuffer(data if data is not None and data.size else b"\0", np.uint8)
    hashed = _hashed_slower if n < _FEW else _hashed
    return hashed(text, np.ascontiguousarray(offsets))


def _mixed(value: UInt64) -> UInt64:
    value = (value ^ (value >> _33)) * _M1
    value = (value ^ (value >> _33)) * _M2
    return value ^ (value >> _33)


@jit()
def _mixed_one(value: Any) -> Any:
    value = (value ^ (value >> _33)) * _M1
    value = (value ^ (value >> _33)) * _M2
    return value ^ (value >> _33)


def _hashed_slower(text: NDArray[np.uint8], offsets: NDArray[np.int64]) -> UInt64:
    """The same by NumPy, word after word for many ids at once."""
    out = np.empty((len(offsets) - 1, 2), np.uint64)
    padded = np.concatenate([text[offsets[0] : offsets[-1]], np.zeros(8, np.uint8)])
    offsets = offsets - offsets[0]
    for first in range(0, len(out), _CHUNK):
        bounds = offsets[first : first + _CHUNK + 1]
        start, length = bounds[:-1], np.diff(bounds)
        a = _mixed(length.astype(np.uint64) ^ _FIRST)
        b = _mixed(length.astype(np.uint64) ^ _SECOND)
        active = np.flatnonzero(length > 0)
        position = 0
        while active.size:
            at = start[active] + position
            filled = np.arange(8) < (length[active] - position)[:, None]
            octets = np.where(filled, padded[at[:, None] + np.arange(8)], 0).astype(np.uint8)
            word = octets.view("<u8").reshape(-1).astype(np.uint64)
            a[active] = _mixed(a[active] ^ word) + _FIRST
            b[active] = _mixed(b[active] ^ word) + _SECOND
            position += 8
            active = active[length[active] > position]
        out[first : first + _CHUNK, 0] = a
        out[first : first + _CHUNK, 1] = b
    return out


@jit(instead=_hashed_slower)
def _hashed(text: NDArray[np.uint8], offsets: NDArray[np.int64]) -> UInt64:
    n = len(offsets) - 1
    out = np.empty((n, 2), np.uint64)
    for i in range(n):
        length = np.uint64(offsets[i + 1] - offsets[i])
        a = _mixed_one(length ^ _FIRST)
        b = _mixed_one(length ^ _SECOND)
        for at in range(offsets[i], offsets[i + 1], 8):
            word = np.uint64(0)
            for j in range(min(8, offsets[i + 1] - at)):
                word |= np.uint64(text[at + j]) << np.uint64(8 * j)
            a = _mixed_one(a ^ word) + _FIRST
            b = _mixed_one(b ^ word) + _SECOND
        out[i, 0] = a
        out[i, 1] = b
    return out
