"""Builds the site and fails on every warning; only warnings and errors are printed.

``mkdocs build --quiet`` cannot do this: it also turns off the counting of ``--strict``, so that
links that lead nowhere pass.

    python -m website.build            # all of it, into site/; the notebooks run for minutes
    python -m website.build --draft    # the same, but no notebook is run
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from mkdocs.commands.build import build as build_with_mkdocs
from mkdocs.config import load_config
from mkdocs.exceptions import Abort, MkDocsException

__all__ = ["build", "main"]

ROOT = Path(__file__).resolve().parents[1]


def build(config_file: Path, site_dir: Path | None = None, *, draft: bool = False) -> None:
    """Build the site that a file describes, into ``site_dir`` or where the file says.

    `draft` shows notebooks as ``mkdocs serve`` does: without running them.
    Any warning raises :class:`mkdocs.exceptions.Abort` at the end, after all have been printed.
    """
    place = {} if site_dir is None else {"site_dir": str(site_dir)}
    printing = logging.StreamHandler(sys.stderr)
    printing.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger = logging.getLogger("mkdocs")
    before = logger.level
    logger.setLevel(logging.WARNING)  # mkdocs counts the warnings that its logger lets pass
    logger.addHandler(printing)
    try:
        config = load_config(str(config_file), strict=True, **place)
        config.plugins.on_startup(command="serve" if draft else "build", dirty=False)
        try:
            build_with_mkdocs(config)
        finally:
            config.plugins.on_shutdown()
    finally:
        logger.removeHandler(printing)
        logger.setLevel(before)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; 1 if there is any warning or error."""
    parser = argparse.ArgumentParser(prog="python -m website.build")
    parser.add_argument("--config", type=Path, default=ROOT / "mkdocs.yml")
    parser.add_argument("--site", type=Path, help="the folder to write, instead of the config's")
    parser.add_argument("--draft", action="store_true", help="do not run the notebooks")
    given = parser.parse_args(arguments)
    try:
        build(given.config, given.site, draft=given.draft)
    except (Abort, MkDocsException) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
