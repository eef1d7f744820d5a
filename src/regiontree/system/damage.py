"""What a library says about a damaged file, in words for a user.

Readers of foreign files raise exceptions of many kinds. Some have a sentence about the file. Others
speak of Python's own objects (``'int' object is not subscriptable``) or quote the file, control
characters included. :func:`plain_reason` keeps the first kind and replaces the second.
"""

from __future__ import annotations

import re

__all__ = ["plain_reason"]

_UNFIT = "its parts contradict each other"
_LONGEST = 160  # characters
# Sentences about Python's objects, and advice to a programmer.
_OWN_WORDS = re.compile(
    r"object|attribute|argument|<\w|\bNone|\btype\b|index|unpack|keyword|literal|operand|iterable"
    r"|truth value|codec|callable|recursion|allow_pickle|instance|malformed node|safe_open"
    r"|int too|convert|dtype\(|unhashable|sys\.|Error\b"
)
_BY_KIND: tuple[tuple[type[Exception], str], ...] = (
    (MemoryError, "it claims more than the memory holds"),
    (RecursionError, "it is nested too deeply"),
    (UnicodeError, "it holds text that is not UTF-8"),
    (EOFError, "it ends early"),
)


def plain_reason(error: Exception) -> str:
    """Why a file cannot be read, as a part of a sentence: one line without control characters.

    Examples
    --------
    >>> plain_reason(ValueError("CRC check failed")), plain_reason(IndexError("list index"))
    ('CRC check failed', 'its parts contradict each other')
    """
    for kind, words in _BY_KIND:
        if isinstance(error, kind):
            return words
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        key = error.args[0]
        return f"it has no {key!r}" if key.isprintable() and len(key) < 60 else _UNFIT
    text = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split())
    if not text or isinstance(error, KeyError) or _OWN_WORDS.search(text):
        return _UNFIT
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
