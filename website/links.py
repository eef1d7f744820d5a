"""Links between pages of the site and files of the repository that lie outside ``docs/``.

On disk, ``docs/performance.md`` links to ``../benchmarks/README.md``, and ``CONTRIBUTING.md`` to
``docs/trees.md``. The site publishes such files, too, below ``repository/``, and changes the links.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["OUTSIDE", "files_outside", "place_on_site", "rewrite"]

OUTSIDE = "repository"
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")


def place_on_site(file: Path, root: Path) -> str:
    """Address in the site, relative to its root, of a file of the repository."""
    inside = PurePosixPath(file.relative_to(root).as_posix())
    if inside.parts[0] == "docs":
        return str(inside.relative_to("docs"))
    return f"{OUTSIDE}/{inside}"


def files_outside(pages: list[Path], root: Path) -> set[Path]:
    """Files outside ``docs/`` that the pages link to, and files that these link to in turn."""
    found: set[Path] = set()
    waiting = list(pages)
    while waiting:
        page = waiting.pop()
        for target in _targets(page, root):
            if target not in found and not target.is_relative_to(root / "docs"):
                found.add(target)
                if target.suffix == ".md":
                    waiting.append(target)
    return found


def rewrite(markdown: str, page: Path, root: Path) -> str:
    """The page's text with links as they must be on the site; other links stay as they are."""
    here = PurePosixPath(place_on_site(page, root)).parent

    def changed(match: re.Match[str]) -> str:
        target = _file(match[2], page)
        if target is None or not target.is_relative_to(root):
            return match[0]
        address = os.path.relpath(place_on_site(target, root), here)
        return f"{match[1]}{address}{match[3] or ''}{match[4]}"

    return _LINK.sub(changed, markdown)


def _targets(page: Path, root: Path) -> Iterator[Path]:
    for match in _LINK.finditer(page.read_text(encoding="utf-8")):
        target = _file(match[2], page)
        if target is not None and target.is_relative_to(root):
            yield target


def _file(link: str, page: Path) -> Path | None:
    """The file that a link leads to, if it is one."""
    if re.match(r"[a-z]+:", link):
        return None
    target = Path(os.path.normpath(page.parent / link))
    return target if target.is_file() else None
