"""The public names of the package, room by room, and a check that each of them has a docstring.

A name is public if its module lists it in ``__all__``. Of a public class, each method and property
whose name does not start with an underscore needs a docstring, too, unless a base class has one.
The sources are read, not run.

    python -m website.docstrings    # tells what is missing; exit code 1 if anything is
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import griffe

__all__ = ["load_package", "modules_of", "public_names", "rooms", "undocumented"]

SOURCES = Path(__file__).resolve().parents[1] / "src"


def load_package(name: str = "regiontree", sources: Path = SOURCES) -> griffe.Module:
    """The package as its sources describe it."""
    package = griffe.load(name, search_paths=[sources], resolve_aliases=True)
    assert isinstance(package, griffe.Module)
    return package


def modules_of(module: griffe.Module) -> Iterator[griffe.Module]:
    """The module and all modules inside it, by name."""
    yield module
    for name in sorted(module.modules):
        if not module.members[name].is_alias:
            yield from modules_of(module.modules[name])


def rooms(package: griffe.Module) -> list[griffe.Module]:
    """The package itself, then its rooms: modules and packages right below it that have names."""
    found = [package]
    for name in sorted(package.modules):
        if any(module.exports for module in modules_of(package.modules[name])):
            found.append(package.modules[name])
    return found


def public_names(module: griffe.Module) -> list[str]:
    """The names in a module's ``__all__``, in its order."""
    return [str(name) for name in module.exports or []]


def undocumented(package: griffe.Module) -> list[str]:
    """The modules and public names without a docstring, and the public names that do not exist.

    Each is one line: the place in the sources, then what is wrong.
    """
    missing = []
    for module in modules_of(package):
        if not module.docstring:
            missing.append(f"{_place(module)}: module {module.path} has no docstring")
        for name in public_names(module):
            if name not in module.members:
                missing.append(f"{_place(module)}: __all__ names {name!r}, which is not there")
                continue
            member = module.members[name]
            if member.is_alias or name.startswith("__"):
                continue  # the check sees the name where it is defined
            missing += [_told(found) for found in (member, *_methods(member)) if _is_bare(found)]
    return missing


def _methods(member: griffe.Object | griffe.Alias) -> Iterator[griffe.Object | griffe.Alias]:
    if not member.is_class:
        return
    for name, method in member.members.items():
        if name.startswith("_") or method.is_alias:
            continue
        if method.is_function or "property" in method.labels:
            yield method


def _is_bare(found: griffe.Object | griffe.Alias) -> bool:
    if found.docstring:
        return False
    owner = found.parent
    if not isinstance(owner, griffe.Class):
        return True
    bases = [base.members.get(found.name) for base in owner.mro()]
    return not any(base is not None and base.docstring for base in bases)


def _told(found: griffe.Object | griffe.Alias) -> str:
    return f"{_place(found)}: {found.kind.value} {found.path} has no docstring"


def _place(found: griffe.Object | griffe.Alias) -> str:
    file = found.filepath
    line = found.lineno or 1
    shown = file.relative_to(SOURCES.parent) if file.is_relative_to(SOURCES.parent) else file
    return f"{shown}:{line}"


if __name__ == "__main__":
    found = undocumented(load_package())
    if found:
        print(*found, sep="\n")
        sys.exit(f"{len(found)} public names without a docstring")
