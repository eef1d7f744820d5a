"""Attributes that are computed when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

__all__ = ["lazy"]

T = TypeVar("T")


class lazy(Generic[T]):  # noqa: N801  named as the decorator that it is
    """A method as an attribute: computed once for each object, then kept in the object.

    It is ours because ``functools.cached_property`` of Python 3.11 holds one lock for all objects
    of a class while it computes (python/cpython#87634). This one holds none. Two threads that ask
    at the same moment may both compute, so the method must give equal values each time.

    Examples
    --------
    >>> class Square:
    ...     side = 3
    ...     @lazy
    ...     def area(self):
    ...         return self.side**2
    >>> square = Square()
    >>> square.area, vars(square)
    (9, {'area': 9})
    """

    def __init__(self, method: Callable[[Any], T]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, owner: None, kind: type) -> lazy[T]: ...
    @overload
    def __get__(self, owner: object, kind: type | None = None) -> T: ...
    def __get__(self, owner: object | None, kind: type | None = None) -> lazy[T] | T:
        if owner is None:
            return self
        value = self._method(owner)
        return vars(owner).setdefault(self._name, value)  # type: ignore[no-any-return]
