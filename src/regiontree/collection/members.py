"""The photographs of a collection, as its files list them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regiontree.collection.files import CollectionFiles
from regiontree.errors import CollectionError, nearest_name
from regiontree.system.lazy import lazy

__all__ = ["Members"]

_KIND = "photographs"  # of the files' parts


class Members:
    """The photographs that have their categories, in the order of the files.

    Each property reads the files when it is first asked for.

    Raises
    ------
    CollectionError
        A file is damaged.
    """

    def __init__(self, files: CollectionFiles) -> None:
        self._files = files

    @lazy
    def _places(self) -> dict[str, tuple[Path, int]]:
        """Part and place of each photograph."""
        found: dict[str, tuple[Path, int]] = {}
        for path in self._files.parts(_KIND):
            part = self._files.read_part(path, set())
            found |= {one["id"]: (path, i) for i, one in enumerate(part.photographs)}
        return found

    @lazy
    def ids(self) -> Sequence[str]:
        """Their ids."""
        return list(self._places)

    @lazy
    def numbers(self) -> dict[str, int]:
        """The place of each id in `ids`."""
        return {key: i for i, key in enumerate(self._places)}

    @lazy
    def references(self) -> dict[str, str]:
        """The path or URL of each photograph, by its id."""
        parts = self._files.read_parts(_KIND, set())
        return {one["id"]: one["reference"] for part in parts for one in part.photographs}

    @lazy
    def stamps(self) -> list[str]:
        """What tells each photograph and its tree from others, in the order of `ids`."""
        found = []
        for part in self._files.read_parts(_KIND, set()):
            for one, count in zip(part.photographs, np.diff(part.start).tolist(), strict=True):
                found.append(f"{one.get('sha256')} {one.get('size')} {count}")
        return found

    @lazy
    def _by_reference(self) -> dict[str, str]:
        return {reference: key for key, reference in self.references.items()}

    def find(self, photo: str | Path) -> str | None:
        """The id of a photograph by its id or path; None if it is not among them."""
        key = str(photo)
        if key in self.numbers:
            return key
        for known in (key, str(Path(key).resolve())):
            if known in self._by_reference:
                return self._by_reference[known]
        return None

    def id_of(self, photo: str | Path) -> str:
        """The id of a photograph by its id or path.

        Raises
        ------
        CollectionError
            It is not among them.
        """
        key = self.find(photo)
        if key is None:
            raise CollectionError(
                f"{str(photo)!r} is not in the collection{nearest_name(photo, self.numbers)}; add "
                "its tree with regiontree discover --add"
            )
        return key

    def prototypes(self, key: str) -> NDArray[np.int32]:
        """The prototype of each node of a photograph, (N,) int32; -1 for no data."""
        path, i = self._places[key]
        part = self._files.read_part(path, {"prototype"})
        found: NDArray[np.int32] = part.arrays["prototype"][part.start[i] : part.start[i + 1]]
        return found
