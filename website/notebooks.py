"""Notebooks as pages: each is run from first to last cell and shown with what it printed."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from website.colab import TAG

__all__ = ["NotebookPage", "named_pictures", "notebook_page", "run_notebook"]

_TIMEOUT = 300  # seconds a cell may take
_TERMINAL = re.compile(r"\x1b\[[0-9;]*m")  # colours of a terminal
_PICTURES = {"image/png": ".png", "image/jpeg": ".jpg", "image/svg+xml": ".svg"}


@dataclass
class NotebookPage:
    """A notebook as Markdown, and the pictures that the Markdown shows, by their file names."""

    markdown: str
    pictures: dict[str, bytes] = field(default_factory=dict)


def run_notebook(path: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of all its cells. The file stays as it is.

    It runs in its own folder with the kernel of this Python. An error in a cell is raised.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=_TIMEOUT,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors only
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    return notebook


def notebook_page(notebook: nbformat.NotebookNode, name: str) -> NotebookPage:
    """The page of a notebook; `name` is that of its file, without the suffix.

    A picture has the number of its cell, or the ``name`` in the metadata of the cell. Other pages
    show those with a name. The cell for Colab is not shown.
    """
    page = NotebookPage("")
    parts = []
    for number, cell in enumerate(notebook.cells):
        if TAG in cell.metadata.get("tags", ()):
            continue
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(_fenced(cell.source, "python"))
        for index, output in enumerate(cell.get("outputs", [])):
            own = cell.metadata.get("name", f"{number}-{index}")
            parts.append(_shown(output, f"{name}-{own}", page.pictures))
    heading, *rest = parts  # the first cell holds the title
    note = f"*This page is a notebook: [download it]({name}.ipynb) and run it yourself.*"
    page.markdown = "\n\n".join([heading, note, *rest]) + "\n"
    return page


def named_pictures(notebook: nbformat.NotebookNode, name: str) -> list[str]:
    """File names of the pictures that other pages may show, drawn or not."""
    own = [cell.metadata["name"] for cell in notebook.cells if "name" in cell.metadata]
    return [f"{name}-{one}.png" for one in own]


def _shown(output: Any, name: str, pictures: dict[str, bytes]) -> str:
    if output.output_type == "stream":
        return _output(output.text)
    data = output.get("data", {})
    for kind, suffix in _PICTURES.items():
        if kind in data:
            raw = data[kind]
            pictures[name + suffix] = raw.encode() if "svg" in kind else base64.b64decode(raw)
            return f"![what the cell above drew]({name}{suffix})"
    if "text/html" in data:
        return f'<div class="notebook-output">{"".join(data["text/html"])}</div>'
    return _output("".join(data.get("text/plain", "")))


def _output(text: str) -> str:
    return _fenced(_TERMINAL.sub("", text).rstrip("\n"), "{ .text .notebook-output }")


def _fenced(text: str, language: str) -> str:
    fence = "```" if "```" not in text else "````"
    return f"{fence}{language}\n{text}\n{fence}"
