"""The notes of a release: the changelog's section of a version.

    python tests/release/notes.py v0.2.0

fails unless the tag is the version of this checkout, and the newest one of the changelog.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def section(changelog: str, version: str) -> str:
    """What the changelog says of its newest version, which must be `version`.

    Raises
    ------
    ValueError
        The newest version is another one, or lines for the next release stand above it.
    """
    parts = re.split(r"^## (.*)\n", changelog.split("\n[Unreleased]:")[0], flags=re.M)
    headings, texts = parts[1::2], parts[2::2]
    if not re.fullmatch(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", headings[1]):
        raise ValueError(f"the newest version of CHANGELOG.md is {headings[1]!r}, not {version}")
    if re.sub(r"<!--.*?-->", "", texts[0], flags=re.S).strip():
        raise ValueError("CHANGELOG.md has lines under [Unreleased]: move them to this version")
    return texts[1].strip() + "\n"


def main(tag: str) -> None:
    """Prints the notes of a tag."""
    text = (ROOT / "src" / "regiontree" / "_version.py").read_text(encoding="utf-8")
    (version,) = re.findall(r'^__version__ = "(.*)"$', text, flags=re.M)
    if tag != f"v{version}":
        sys.exit(f"the tag is {tag}, and the version of this checkout {version}")
    try:
        sys.stdout.write(section((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version))
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1])
