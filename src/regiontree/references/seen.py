"""Which texts came before, in eight bytes a text."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Seen"]


class Seen:
    """A set of texts that holds only their 64-bit hashes, as a few sorted arrays.

    Ten million texts take 80 MB, and up to twice as much while arrays are merged. Two texts have
    the same hash by chance: among ten million with a probability of 3 in a million, among a billion
    of 3 %. The hashes are those of BLAKE2b, so every process comes to the same result.
    """

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []  # each sorted, at least twice as long as the next

    def add(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Add texts. For each: whether it is new, so neither here nor earlier among `texts`.

        >>> seen = Seen()
        >>> seen.add(["a", "b", "a"]).tolist(), seen.add(["b", "c"]).tolist()
        ([True, True, False], [False, True])
        """
        import numpy as np  # not at the top, so that the command line starts without it

        digests = [blake2b(_bytes(text), digest_size=8).digest() for text in texts]
        hashes = np.frombuffer(b"".join(digests), dtype=np.uint64)
        unique, first = np.unique(hashes, return_index=True)
        known = np.zeros(len(unique), dtype=bool)
        for run in self._runs:
            known |= run[np.minimum(np.searchsorted(run, unique), len(run) - 1)] == unique
        new = np.zeros(len(texts), dtype=bool)
        new[first[~known]] = True
        self._keep(unique[~known])
        return new

    def _keep(self, run: NDArray[np.uint64]) -> None:
        import numpy as np

        if not len(run):
            return
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = np.concatenate([self._runs.pop(), run])
            run.sort(kind="stable")  # which merges two sorted halves
        self._runs.append(run)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
