"""Badges and first cells with which the notebooks run in Colab: ``python -m website.colab``.

The repository's address is ``Homepage`` in ``pyproject.toml``, and nowhere else: this program
writes it into each notebook of ``docs/notebooks/`` and into their list. Run it after a change of
the address, and after adding a notebook.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

__all__ = ["TAG", "badge", "install_cell", "repository", "with_colab", "with_links"]

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "docs/notebooks"
TAG = "colab"
"""The tag of the cell that acts in Colab alone; the site does not show it."""
_BADGE = re.compile(r"\n*\[!\[Open in Colab\]\([^)]*\)\]\([^)]*\)")
_EXTRAS = re.compile(r"pip install 'regiontree(\[[\w,]+\])'")
_ROW = re.compile(r"^(\| \[[^\]]+\]\(([\w-]+)\.md\) \|[^|]*\|).*$", re.M)


def repository(root: Path = ROOT) -> str:
    """The address of the repository, without a slash at its end."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    return str(tomllib.loads(text)["project"]["urls"]["Homepage"]).rstrip("/")


def badge(name: str, address: str) -> str:
    """A picture that leads to a notebook in Colab, as Markdown; `name` is the file's stem."""
    of_github = address.removeprefix("https://github.com/")
    if of_github == address:
        raise ValueError(f"Colab opens notebooks of https://github.com/, not of {address}")
    link = f"https://colab.research.google.com/github/{of_github}/blob/main/{FOLDER}/{name}.ipynb"
    return f"[![Open in Colab](../images/colab.svg)]({link})"


def install_cell(address: str, extras: str) -> str:
    """The source of the cell that fetches the repository and installs it, in Colab alone.

    `extras` is as pip writes them: ``[embedded,plot]``.
    """
    folder = address.rsplit("/", 1)[1]
    return f"""import os
import subprocess
import sys

if "google.colab" in sys.modules and not os.path.isfile("drawn_scenes.py"):
    repository = "{address}"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", repository], check=True)
    os.chdir("{folder}/{FOLDER}")
    sys.path.insert(0, os.getcwd())
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "../..{extras}"], check=True)"""


def with_colab(notebook: dict[str, Any], name: str, address: str) -> dict[str, Any]:
    """The notebook with its badge below the title, and the cell after it."""
    title, *rest = notebook["cells"]
    text = "".join(title["source"])
    if (extras := _EXTRAS.search(text)) is None:
        raise ValueError(f"{name}: the first cell says no pip install 'regiontree[...]'")
    heading, _, below = _BADGE.sub("", text).partition("\n")
    shown = f"{heading}\n\n{badge(name, address)}\n{below}"
    cell = {
        "cell_type": "code", "execution_count": None, "id": f"{name[:19]}-colab",
        "metadata": {"tags": [TAG]}, "outputs": [],
        "source": install_cell(address, extras[1]).splitlines(keepends=True),
    }  # fmt: skip
    others = [one for one in rest if TAG not in one["metadata"].get("tags", ())]
    title = {**title, "source": shown.splitlines(keepends=True)}
    return {**notebook, "cells": [title, cell, *others]}


def with_links(page: str, address: str) -> str:
    """The list of notebooks with a badge in the last column of each row."""
    return _ROW.sub(lambda row: f"{row[1]} {badge(row[2], address)} |", page)


def main() -> None:
    """Write all notebooks and their list."""
    address = repository()
    for path in sorted((ROOT / FOLDER).glob("*.ipynb")):
        notebook = with_colab(json.loads(path.read_text(encoding="utf-8")), path.stem, address)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    index = ROOT / FOLDER / "index.md"
    index.write_text(with_links(index.read_text(encoding="utf-8"), address), encoding="utf-8")


if __name__ == "__main__":
    main()
