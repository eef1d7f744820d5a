"""Names of a collection as the page and the server exchange them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar

from regiontree.collection.collection import Collection
from regiontree.collection.edits import Edit, Move, Naming, check_edit
from regiontree.errors import CollectionError
from regiontree.viewer.answers import AnswerError

__all__ = ["edits_of", "names_data"]

T = TypeVar("T")


def names_data(collection: Collection, told: Sequence[str]) -> dict[str, Any]:
    """All names, as JSON values. The type ``Names`` in ``web/naming.js`` has the same fields.

    Returns
    -------
    dict
        - ``own``, the names that people gave: for each its category and its text.
        - ``parents``, the category above each.
        - ``moved``, single regions: for each its photograph, its node and its category.
        - ``suggested``, for some categories a name that a network suggested, and its confidence.
        - ``told``, sentences for the user.
    """
    names, numbers = collection.names, collection.members.numbers
    moved = names.moved.items()
    return {
        "own": list(names.own.items()),
        "parents": names.parents.tolist(),
        "moved": [[numbers[key], node, to] for (key, node), to in moved if key in numbers],
        "suggested": [[one.category, one.label, one.confidence] for one in collection.suggestions],
        "told": list(told),
    }


def edits_of(body: bytes, collection: Collection) -> list[Edit]:
    """The edits in the body of a request.

    It holds a list. A member that names a category has ``category``, ``name`` and ``was``; one that
    moves a region has ``photo``, a number, ``node``, ``category`` and ``was``.

    Raises
    ------
    AnswerError
        It is something else, or an edit is not possible.
    """
    try:
        found = [_edit(one, collection.ids) for one in _checked(json.loads(body), list)]
        for edit in found:
            check_edit(edit, collection.tree.n_nodes)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise AnswerError(400, "The change is not one that this server knows.") from error
    except CollectionError as error:
        raise AnswerError(400, f"{error}.") from error
    return found


def _edit(member: Any, ids: Sequence[str]) -> Edit:
    category, was = member["category"], member["was"]
    if "photo" not in member:
        return Naming(_number(category), _checked(member["name"], str), _checked(was, str))
    to, before = (None if one is None else _number(one) for one in (category, was))
    return Move(ids[_number(member["photo"])], _number(member["node"]), to, before)


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value


def _checked(value: Any, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError(value)
    return value
