"""What is printed: safe on every terminal, and in every encoding.

File names are bytes. They may hold line feeds, escape sequences that move the cursor or hide
text, and bytes that are no UTF-8. Standard output may be an ASCII pipe, or closed. None of this
may end the work or let one name look like several messages.
"""

from __future__ import annotations

import codecs
import errno
import os
import re
import sys

__all__ = ["close_streams", "is_closed_pipe", "one_line", "prepare_streams", "printable", "say"]

# Control characters of ASCII and Latin-1, marks that reorder text, and surrogates. Surrogates
# stand for the bytes of a file name that are no UTF-8.
_UNSAFE = "\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_UNSAFE_TEXT = re.compile(f"[{_UNSAFE}]|\n(?!  )|\t")
_LIKE = {"└": "`", "├": "|", "│": "|", "─": "-", "…": "...", "×": "x", "–": "-", "—": "-",
         "→": "->", "’": "'", "−": "-"}  # fmt: skip
_PLAIN = "regiontree-plain"
_UNSAFE_LINE = re.compile(f"[{_UNSAFE}\n\t]")


def printable(text: str) -> str:
    r"""A message of one or more lines, with unsafe characters written as escapes.

    A line feed stays if two blanks follow it: so the program indents the lines of a list. Another
    line feed comes from a file name and is escaped.

    Examples
    --------
    >>> print(printable("cannot run:\n  a\x1b[2K.jpg: is empty"))
    cannot run:
      a\x1b[2K.jpg: is empty
    >>> print(printable("a\nb.jpg"))
    a\nb.jpg
    """
    return _UNSAFE_TEXT.sub(_escaped, text)


def one_line(text: str) -> str:
    r"""The same for a message of one line: every line feed is escaped.

    Examples
    --------
    >>> print(one_line("a\n  b\udcff.jpg"))
    a\n  b\xff.jpg
    """
    return _UNSAFE_LINE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name, as os.fsdecode stores it
        return f"\\x{code - 0xDC00:02x}"
    return found[0].encode("unicode_escape", "surrogatepass").decode()


def say(text: str) -> None:
    """Print a message on standard error."""
    print(printable(text), file=sys.stderr, flush=True)


def prepare_streams() -> None:
    """Make standard output and error accept every text, closed or in any encoding.

    A closed stream becomes a null device: Python would print messages for a closed standard error
    on standard output. A character that the encoding lacks is written in plain ASCII.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    codecs.register_error(_PLAIN, _in_plain_ascii)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_PLAIN)


def _in_plain_ascii(error: UnicodeError) -> tuple[str, int]:
    """What replaces characters that cannot be encoded: see :func:`codecs.register_error`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    bad = error.object[error.start : error.end]
    plain = (_LIKE.get(one) or _UNSAFE_TEXT.sub(_escaped, one) for one in bad)
    return "".join(
        one if one.isascii() else one.encode("ascii", "backslashreplace").decode() for one in plain
    ), error.end


def close_streams() -> OSError | None:
    """Write out what is printed. The error if that fails, for example because a pipe is closed.

    After an error, what is left to print is dropped, and Python's own end raises no second error.
    """
    failed = None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            failed = failed or error
            with open(os.devnull, "w", encoding="utf-8") as nothing:
                os.dup2(nothing.fileno(), stream.fileno())
    return failed


def is_closed_pipe(error: OSError) -> bool:
    """Whether an error says that nobody reads the output any more."""
    return error.errno in (errno.EPIPE, errno.ESHUTDOWN)
