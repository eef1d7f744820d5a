"""Addresses: paths of this machine, and URLs of other places."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from urllib.parse import quote, unquote, unquote_to_bytes

from regiontree.system.paths import is_url

__all__ = [
    "address_of",
    "as_text",
    "beside",
    "clean",
    "last_name",
    "local_path",
    "printable",
    "scheme_of",
    "suffix_of",
    "without_login",
]

_ONE_SLASH = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")  # what Path makes of ://
_LOGIN = re.compile(r"//[^/@\s]*@")


def clean(given: str | Path) -> str:
    """A path or URL as text. A URL that went through Path gets its second slash back.

    >>> clean(Path("s3://bucket/a.jpg"))
    's3://bucket/a.jpg'
    """
    text = os.fsdecode(given)
    return _ONE_SLASH.sub(r"\1://", text) if not text.startswith("file:") else text


def scheme_of(address: str) -> str:
    """What a URL begins with, in lower case; empty for a path of this machine.

    >>> scheme_of("S3://bucket/a.jpg"), scheme_of("file:///a.jpg"), scheme_of("a.jpg")
    ('s3', '', '')
    """
    scheme = address.partition(":")[0].lower() if is_url(address) else ""
    return "" if scheme == "file" else scheme


def local_path(address: str) -> str:
    """The path of an address on this machine: a path, or a URL that begins with ``file:``.

    >>> local_path("file:///photos/a%20b.jpg"), local_path("a.jpg")
    ('/photos/a b.jpg', 'a.jpg')
    """
    if not (is_url(address) and address[:5].lower() == "file:"):
        return address
    path = address[5:]
    if path.startswith("//"):
        path = "/" + path[2:].partition("/")[2]
    if os.name == "nt" and re.match(r"/[A-Za-z]:", path):
        path = path[1:]
    return os.fsdecode(unquote_to_bytes(path))


def address_of(path: str) -> str:
    """The address of a path of this machine: the path, or a URL if the path is no proper text.

    The names of files are bytes. Those that are not UTF-8 cannot stand in a table of texts.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        try:
            return "file://" + quote(os.fsencode(os.path.abspath(path)))
        except UnicodeEncodeError:  # no file has such a name
            return as_text(path)
    return path


def as_text(name: str) -> str:
    """A name with ``\\xff`` for each byte that is not UTF-8, ``\\ud800`` for half a character."""
    try:
        name.encode()
    except UnicodeEncodeError:
        try:
            return os.fsencode(name).decode(errors="backslashreplace")
        except UnicodeEncodeError:
            return name.encode(errors="backslashreplace").decode()
    return name


def last_name(address: str) -> str:
    """The file name of an address, without a URL's query.

    >>> last_name("https://example.org/a/photo%201.jpg?width=300"), last_name("a/photo.jpg")
    ('photo 1.jpg', 'photo.jpg')
    """
    scheme = scheme_of(address)
    if scheme in ("http", "https"):
        path = address.partition("?")[0].partition("#")[0].partition("://")[2]
        name = path.rpartition("/")[2] if "/" in path else ""
        return unquote(name) if "%" in name else name
    if scheme:
        return posixpath.basename(address.rstrip("/"))
    return os.path.basename(local_path(address))


def suffix_of(address: str) -> str:
    """The suffix of an address in lower case.

    >>> suffix_of("s3://bucket/A.TAR"), suffix_of("photos")
    ('.tar', '')
    """
    return os.path.splitext(last_name(address))[1].lower()


def beside(place: str, address: str) -> str:
    """An address that a list or table at `place` holds: a relative one starts from its folder.

    >>> beside("s3://bucket/lists/a.txt", "photos/1.jpg")
    's3://bucket/lists/photos/1.jpg'
    >>> beside("lists/a.txt", "https://example.org/1.jpg")
    'https://example.org/1.jpg'
    """
    if is_url(address):
        return address
    if scheme_of(place):
        if address.startswith("/"):
            return address
        folder = place.partition("?")[0] if place.lower().startswith("http") else place
        folder = folder.rpartition("/")[0]
        return f"{folder}/{address}"
    return os.path.abspath(os.path.join(os.path.dirname(local_path(place)), address))


def printable(text: str) -> str:
    """A text for a message: ``?`` for what a terminal would take for a command.

    >>> printable("a\\x1bb\\n")
    'a?b?'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in as_text(text))


def without_login(text: str) -> str:
    """A text in which the login of each URL is hidden.

    >>> without_login("https://me:secret@example.org/a.jpg")
    'https://***@example.org/a.jpg'
    """
    return _LOGIN.sub("//***@", text)
