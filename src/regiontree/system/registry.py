"""Registries: names, and the object of each name.

A package has one registry for each kind of part that users can add: tree builders, backbones,
export formats, metrics, data sets, image readers. regiontree's own entries are addresses like
``"regiontree.hierarchy.ward:SpectralWard"``, so that listing names imports nothing. Other packages
add entries in two ways: by an entry point of the registry's group in their ``pyproject.toml``, or
at run time by :meth:`Registry.register`.

>>> shapes: Registry[type] = Registry("shape", {"list": "builtins:list"})
>>> shapes.get("list")
<class 'list'>
>>> shapes.register("bag", set)
>>> shapes.names()
('list', 'bag')
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from regiontree.errors import RegionTreeError, SettingsError, nearest_name

if TYPE_CHECKING:  # it takes as long to import as all else that `import regiontree` does
    from importlib.metadata import EntryPoint

__all__ = ["Registry", "load_address", "load_file"]

T = TypeVar("T")


def load_address(address: str) -> object:
    """The object at ``"module:attribute"``."""
    module, _, attribute = address.partition(":")
    return cast(object, getattr(importlib.import_module(module), attribute))


def load_file(address: str) -> Path:
    """The path of the file ``"package:file.suffix"`` in the folder of that package.

    Raises
    ------
    ImportError
        There is no such package, or no such file in it.
    """
    from importlib.resources import files

    package, _, name = address.partition(":")
    path = Path(str(files(package) / name))
    if not path.is_file():
        raise ImportError(f"{path}: no such file")
    return path


class Registry(Generic[T]):
    """Names of one kind of part, in the order in which they were added.

    Parameters
    ----------
    what : str
        The kind of part, for messages: ``"tree"``, ``"backbone"``.
    entries : mapping of str to str or T
        The package's own entries: addresses ``"module:attribute"``, or the objects themselves.
    group : str or None
        Entry-point group in which other packages add entries. If None, there is no such group.
    error : type of RegionTreeError
        Class of the error that :meth:`get` raises for an unknown name.
    load : callable
        Function from an address to the object: :func:`load_address`, or :func:`load_file` if the
        parts are files of packages.

    Attributes
    ----------
    is_changed : bool
        Whether the program added an entry at run time. Another process does not have it.
    """

    def __init__(
        self,
        what: str,
        entries: Mapping[str, str | T],
        *,
        group: str | None = None,
        error: type[RegionTreeError] = SettingsError,
        load: Callable[[str], object] = load_address,
    ) -> None:
        self.what = what
        self.group = group
        self._error = error
        self._load_address = load
        self._entries: dict[str, str | T | EntryPoint] = dict(entries)
        self._foreign: set[str] = set()  # names that other packages added
        self._looked = group is None
        self._registered: set[str] = set()

    def register(self, name: str, entry: str | T) -> None:
        """Add an entry: an object, or its address ``"module:attribute"``.

        Raises
        ------
        SettingsError
            The name is taken, or is not a plain word.
        """
        if not name or name != name.strip() or ":" in name:
            raise SettingsError(
                f"{self.what} name {name!r} must be a word without colons and outer blanks"
            )
        if name in self._all():
            raise SettingsError(f"{self.what} {name!r} exists already; choose another name")
        self._entries[name] = entry
        self._registered.add(name)

    @property
    def is_changed(self) -> bool:
        """Whether this process registered an entry itself, which other processes lack."""
        return any(name in self._entries for name in self._registered)

    def names(self) -> tuple[str, ...]:
        """All names: this package's own first, then those of other packages."""
        return tuple(self._all())

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._all()

    def __len__(self) -> int:
        return len(self._all())

    def get(self, name: str) -> T:
        """The object of that name. It is imported when it is first used.

        Raises
        ------
        RegionTreeError
            The name is unknown (the message suggests the nearest), or another package's entry
            cannot be imported. The class is the registry's `error`.
        """
        entries = self._all()
        if not isinstance(name, str) or name not in entries:
            known = ", ".join(entries)
            raise self._error(
                f"unknown {self.what} {name!r}{nearest_name(name, entries) or '.'} Known: {known}"
            )
        entry = entries[name]
        if isinstance(entry, str):
            return cast(T, self._load_address(entry))
        if name in self._foreign:
            return self._load(cast("EntryPoint", entry))
        return cast(T, entry)

    def _load(self, point: EntryPoint) -> T:
        """Another package's object."""
        try:
            return cast(T, self._load_address(point.value))
        except (ImportError, AttributeError) as error:
            package = point.dist.name if point.dist else "an unnamed package"
            raise self._error(
                f"{self.what} {point.name!r} of {package} cannot be imported ({error}); repair or "
                "remove that package"
            ) from error

    def _all(self) -> dict[str, str | T | EntryPoint]:
        """The entries, including those of installed packages. They cannot replace our own names."""
        if not self._looked and self.group is not None:
            self._looked = True
            from importlib.metadata import entry_points

            for point in entry_points(group=self.group):
                if self._entries.setdefault(point.name, point) is point:
                    self._foreign.add(point.name)
        return self._entries
