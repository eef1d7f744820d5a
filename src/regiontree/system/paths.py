"""Look at paths that a user names, without an exception, and check outputs before work starts.

``Path.exists`` and its kin raise an OSError for a name of 300 characters, for a folder without
permission and for a link to itself. One such path must not end the work on the others. So commands
look at inputs with the functions here. They return a sentence that says what is wrong.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import re
import stat
from pathlib import Path

from regiontree.errors import RegionTreeError, SettingsError
from regiontree.system.temporary import remove_leftovers, temporary_name

__all__ = [
    "CLIP_SUFFIX",
    "MAX_NAME_BYTES",
    "cut_name",
    "files_below",
    "fitted_name",
    "input_problem",
    "is_url",
    "path_problem",
    "reason",
    "require_writable",
    "suffix_of",
]

MAX_NAME_BYTES = 255
"""The most bytes of a file name on usual file systems."""
CLIP_SUFFIX = ".clip.npz"
"""How the name of the file of a clip's tree ends."""
_SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# A Path writes http:// as http:/. The drives of Windows have one letter.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
# What a shell passes for `<(program)`, and standard input. They end when their program ends.
_OPEN_PIPES = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")


def reason(error: OSError | ValueError) -> str:
    """Why the system refuses a path, in its own words: ``Permission denied``."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def path_problem(path: str | Path, wanted: str = "file or folder") -> str | None:
    """Why a path can be read neither as a file nor as a folder, in words that follow its name.

    None: the path is a regular file, or a folder that can be listed. No exception is raised,
    whatever the path is. The file is not opened: opening a named pipe would wait for ever. `wanted`
    is what the message says is missing.

    Examples
    --------
    >>> path_problem("there-is-none.jpg"), path_problem(".")
    ('no such file or folder', None)
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            with os.scandir(path):
                return None
    except (OSError, ValueError) as error:  # ValueError: the path contains a NUL character
        return _refusal(path, error, wanted)
    kind = stat.S_IFMT(mode)
    if kind not in _SPECIAL or (kind == stat.S_IFIFO and str(path).startswith(_OPEN_PIPES)):
        return None
    return f"is {_SPECIAL[kind]}, not a file; give a file"


def is_url(path: str | Path) -> bool:
    """Whether a path looks like a URL: ``https://example.org/photo.jpg``."""
    return _URL.match(str(path)) is not None


def _refusal(path: str | Path, error: OSError | ValueError, wanted: str) -> str:
    """A sentence on an error of looking at a path."""
    if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ENOTDIR):
        if os.path.islink(path):
            return f"is a link to {os.readlink(path)}, which does not exist"
        if is_url(path):
            return "is a URL, not a path; download the file and give its path"
        return f"no such {wanted}"
    if os.path.isdir(path):
        return f"is a folder that cannot be listed ({reason(error)})"
    return f"cannot be looked at ({reason(error)}); check the path"


def input_problem(path: str | Path) -> str | None:
    """The same for an argument that may be a pattern."""
    is_pattern = glob.has_magic(os.fspath(path)) and not os.path.lexists(path)
    return path_problem(path, f"file or folder{', and no file matches this pattern' * is_pattern}")


def suffix_of(path: str | Path) -> str:
    """The suffix of a file's name in lower case; ``.clip.npz``, of a clip's tree, is one suffix.

    So a search for trees of photographs leaves out those of clips.

    >>> suffix_of("a.PNG"), suffix_of("walk.clip.npz"), suffix_of("README")
    ('.png', '.clip.npz', '')
    """
    path = Path(path)
    return CLIP_SUFFIX if path.name.lower().endswith(CLIP_SUFFIX) else path.suffix.lower()


def files_below(folder: str | Path) -> tuple[list[Path], list[Path]]:
    """All files below a folder, and the folders that cannot be listed. Each list is sorted.

    Everything that is no folder counts as a file: broken links and named pipes too, which
    :func:`path_problem` describes. Hidden files, hidden folders and links to folders are left out.
    """
    files: list[Path] = []
    unlisted: list[Path] = []
    pending = [Path(folder)]
    while pending:
        place = pending.pop()
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(place / entry.name)
                    elif not os.path.isdir(entry.path):
                        files.append(place / entry.name)
        except OSError:
            unlisted.append(place)
    return sorted(files), sorted(unlisted)


def require_writable(
    folder: str | Path, error: type[RegionTreeError] = SettingsError, *, file: Path | None = None
) -> None:
    """Check that files can be written below a folder, which need not exist yet.

    A file is made and removed again, in the folder or in the nearest folder above it that exists.
    Permissions alone do not tell: disks are read-only, full, or of another user. The message names
    `file`, or else the folder.

    Raises
    ------
    RegionTreeError
        Of the kind `error`: the folder cannot be made, or nothing can be written there.
    """
    place = os.path.abspath(folder)
    try:
        if "\0" in place:
            raise ValueError("embedded null byte")
        while not os.path.lexists(place):
            if len(os.fsencode(os.path.basename(place))) > MAX_NAME_BYTES:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
            place = os.path.dirname(place)
        if not os.path.isdir(place):
            os.listdir(place)  # says why not
        for one in (place, os.path.dirname(place)):  # where an earlier trial may have been killed
            remove_leftovers(Path(one))
        trial = temporary_name(Path(place, "regiontree"))
        try:
            with open(trial, "xb") as opened:
                opened.write(b"\0" * 512)
        finally:
            if os.path.lexists(trial):
                os.unlink(trial)
    except (OSError, ValueError) as problem:
        what = f"output folder {folder}" if file is None else str(file)
        at = "" if place == os.path.abspath(folder) else f" at {place}"
        raise error(
            f"{what}: cannot be written{at} ({reason(problem)}); choose another folder"
        ) from problem


def fitted_name(stem: str, suffix: str) -> str:
    """`stem` and `suffix` as a file name of at most 255 bytes.

    A longer stem is cut. A part of its sha256 keeps it apart from other stems with the same start.

    Examples
    --------
    >>> fitted_name("photo", ".png")
    'photo.png'
    >>> fitted_name("x" * 300, ".png")[-20:]
    'xxx~0d4e2ca9e9cb.png'
    """
    whole = os.fsencode(stem)
    if len(whole) + len(suffix.encode()) <= MAX_NAME_BYTES:
        return stem + suffix
    mark = "~" + hashlib.sha256(whole).hexdigest()[:12]
    kept = MAX_NAME_BYTES - len(suffix.encode()) - len(mark)
    return cut_name(stem, kept) + mark + suffix


def cut_name(name: str, most: int) -> str:
    """The start of a name, as much as fits into `most` bytes, in whole characters.

    >>> cut_name("photo", 9), cut_name("\u00e9t\u00e9", 4)
    ('photo', '\u00e9t')
    """
    used = 0
    for i, character in enumerate(name):
        used += len(os.fsencode(character))
        if used > most:
            return name[:i]
    return name
