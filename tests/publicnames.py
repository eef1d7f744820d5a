"""The public names of the package, one a line, with what they take: ``tests/public_names.txt``.

    python tests/publicnames.py

writes the list anew. A test compares the list with the package. So a change of a public name is
seen in the diff of this file, and is never made by accident.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

LIST = Path(__file__).resolve().parent / "public_names.txt"
MODULES = (
    "regiontree",
    "regiontree.plot",
    "regiontree.metrics",
    "regiontree.export",
    "regiontree.errors",
)
HOW = """
The public names are no longer those of tests/public_names.txt.

A new name: say it in CHANGELOG.md under Added.
A name, parameter or option that is gone, renamed or has another default breaks programs of users.
Keep the old one beside the new one for at least one minor version, with a DeprecationWarning that
names the new one (docs/stability.md), and say it in CHANGELOG.md under Deprecated or Changed.

Then: python tests/publicnames.py
"""


def lines() -> list[str]:
    """The public names as the package has them now."""
    found: list[str] = []
    for module in MODULES:
        names = importlib.import_module(module)
        for name in sorted(names.__all__):
            found += described(f"{module}.{name}", getattr(names, name))
    return [*found, *settings(), *commands()]


def described(address: str, thing: Any) -> Iterator[str]:
    """A name, and the public names in it if it is a class."""
    if not inspect.isclass(thing):
        yield address + (signature(thing) if callable(thing) else "")
        return
    bases = [base.__name__ for base in thing.__bases__ if base is not object]
    yield f"{address} class" + (f" of {', '.join(bases)}" if bases else "")
    if issubclass(thing, Enum):
        yield from (f"{address}.{member.name} = {member.value!r}" for member in thing)
    elif not issubclass(thing, Exception):
        if thing.__init__ is not object.__init__ and not getattr(thing, "_is_protocol", False):
            yield f"{address}{signature(thing)}"
        for name in sorted(vars_of(thing)):
            member = inspect.getattr_static(thing, name, None)
            plain = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            yield f"{address}.{name}" + (signature(plain) if inspect.isfunction(plain) else "")


def vars_of(thing: type) -> set[str]:
    """Public names of a class and of its bases in this package, fields included."""
    found: set[str] = set()
    for base in thing.__mro__:
        if base.__module__.startswith("regiontree"):
            found |= vars(base).keys() | inspect.get_annotations(base).keys()
    return {name for name in found if not name.startswith("_")}


def signature(thing: Any) -> str:
    """Parameters without the first one of a method, with their types and defaults."""
    text = str(inspect.signature(thing))
    text = re.sub(r"\((self|cls)(, )?", "(", text, count=1)
    text = re.sub(r"<function ([\w.<>]+) at \w+>", r"\1", text)
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", text)  # annotations are texts


def settings() -> Iterator[str]:
    """Every setting by ``stage.key``, and the short names."""
    from regiontree.settings.names import FLAT_NAMES
    from regiontree.settings.stages import known_keys

    yield from (f"setting {key}" for key in sorted(known_keys()))
    for name, keys in sorted(FLAT_NAMES.items()):
        yield f"setting {name} is {' and '.join(keys)}"


def commands() -> Iterator[str]:
    """Every command of the command line, and its arguments and options."""
    import typer.main

    from regiontree.cli import app

    for name, command in sorted(typer.main.get_command(app).commands.items()):  # type: ignore[attr-defined]
        yield f"command {name}"
        for option in sorted(command.params, key=lambda one: one.opts[0].lstrip("-")):
            names = " ".join([*option.opts, *option.secondary_opts])
            default = "" if option.default is None or callable(option.default) else option.default
            needed = " required" if option.required else ""
            yield f"command {name} {names}{needed}" + (f" = {default}" if default != "" else "")


def changes() -> str:
    """What differs between the list and the package, and how to go on; empty if nothing does."""
    listed = LIST.read_text(encoding="utf-8").splitlines()
    diff = [
        line for line in difflib.unified_diff(listed, lines(), "list", "package", n=0, lineterm="")
        if not line.startswith("@@")
    ]  # fmt: skip
    return "\n".join([HOW, *diff]) if diff else ""


if __name__ == "__main__":
    LIST.write_text("\n".join(lines()) + "\n", encoding="utf-8")
