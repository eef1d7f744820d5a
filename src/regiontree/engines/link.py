"""What a worker and the process that started it say to each other.

A message is one line of JSON, so nothing is unpickled. An array lies in memory that both processes
share, and a message tells its shape and dtype. The memory has no name: it is gone when both
processes are, however they end.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import tempfile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from regiontree import errors
from regiontree.system.faults import fault_text

__all__ = [
    "CAN_SHARE",
    "Message",
    "SharedArray",
    "error_of",
    "read_message",
    "told",
    "write_message",
]

Message = dict[str, Any]
"""What one line says: a kind, and what belongs to it."""
CAN_SHARE = sys.platform != "win32"
"""Whether two processes can share memory that has no name."""
_MARK = "\0"


def write_message(stream: IO[bytes], message: Message) -> None:
    """Write one message.

    Raises
    ------
    OSError
        The process at the other end has ended.
    """
    stream.write(json.dumps(message).encode("ascii") + b"\n")
    stream.flush()


def read_message(stream: IO[bytes]) -> Message | None:
    """The next message; None if the process at the other end has ended."""
    try:
        line = stream.readline()
    except (OSError, ValueError):  # closed meanwhile
        return None
    if not line.endswith(b"\n"):  # it ended within a line
        return None
    found: Message = json.loads(line)
    return found


def told(error: Exception) -> Message:
    """An error as a message."""
    said = fault_text(error, _MARK).removeprefix(f"{_MARK}: ")
    own = isinstance(error, errors.RegionTreeError)
    return {"error": type(error).__name__ if own else "RegionTreeError", "said": said}


def error_of(message: Message) -> errors.RegionTreeError:
    """The error that :func:`told` made a message of. One of another package has the base class."""
    kind = getattr(errors, message["error"], errors.RegionTreeError)
    error: errors.RegionTreeError = kind(message["said"])
    return error


class SharedArray:
    """Memory that two processes share, for one array at a time.

    Parameters
    ----------
    descriptor
        The number under which the other process gave it. None: new memory.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        if descriptor is None:
            if hasattr(os, "memfd_create"):
                descriptor = os.memfd_create("regiontree")
            else:
                with tempfile.TemporaryFile() as file:
                    descriptor = os.dup(file.fileno())
        self.descriptor = descriptor
        self._memory: mmap.mmap | None = None

    def put(self, array: NDArray[Any]) -> Message:
        """Store an array; what the other process needs to know to read it."""
        shape, dtype = array.shape, array.dtype
        self._view(shape, dtype)[...] = array
        return {"shape": list(shape), "dtype": dtype.str}

    def get(self, said: Message) -> NDArray[Any]:
        """The array that the other process stored. It lies in the shared memory."""
        return self._view(tuple(said["shape"]), np.dtype(said["dtype"]))

    def _view(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        needed = max(1, int(np.prod(shape)) * dtype.itemsize)
        if self._memory is None or len(self._memory) < needed:
            if os.fstat(self.descriptor).st_size < needed:
                os.truncate(self.descriptor, needed)
            # An array may still lie in the smaller piece, which is freed with it.
            self._memory = mmap.mmap(self.descriptor, os.fstat(self.descriptor).st_size)
        return np.ndarray(shape, dtype, self._memory)

    def close(self) -> None:
        """Let go of the memory. Arrays in it stay valid."""
        self._memory = None
        os.close(self.descriptor)
