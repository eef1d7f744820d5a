"""The page of the command line: what ``--help`` says of each command."""

from __future__ import annotations

import os
import subprocess
import sys

from typer.main import get_command

__all__ = ["commands_page"]


def commands_page() -> str:
    """Markdown with the help of the program and of each of its commands."""
    from regiontree.cli import app

    names = list(get_command(app).commands)  # type: ignore[attr-defined]
    parts = [
        "# Command line",
        "",
        "What each command prints when you add `--help`. "
        "The [guide](../guide/first-tree.md) shows the commands at work.",
        "",
        *_help([]),
    ]
    for name in names:
        parts += [f"## regiontree {name}", "", *_help([name])]
    return "\n".join(parts) + "\n"


def _help(command: list[str]) -> list[str]:
    environment = {**os.environ, "COLUMNS": "88", "TERM": "dumb", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "regiontree", *command, "--help"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return ["```text", done.stdout.strip("\n"), "```", ""]
