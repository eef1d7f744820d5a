"""Docstrings as Markdown: the roles of Sphinx become links of the site.

The package's docstrings refer to names with roles::

    :class:`~regiontree.tree.RegionTree`, :meth:`parse`, :mod:`regiontree.plot`

On the site, each role becomes a link to the name's own entry. A name that does not exist becomes a
link that leads nowhere, which the strict build refuses. Examples become blocks of code, and so do
paragraphs whose lines start with arrows. Of a field that is made with ``setting(...)``, the value
becomes the default, and the text becomes the description of a parameter.
"""

from __future__ import annotations

import ast
import re
from typing import Any

import griffe

__all__ = ["RolesExtension", "markdown_of"]

_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):`(~?)([^`]+)`")
_DOCTEST = re.compile(r"^>>> .*?(?=\n\s*\n|\Z)", flags=re.M | re.S)
_FLAG = re.compile(r" *# doctest: \+\w+")
_PARAGRAPH = re.compile(r"^\S.*(?:\n.*\S.*)*", flags=re.M)
_STEP = re.compile(r"^ +-> ", flags=re.M)
_LITERAL_BLOCK = re.compile(r"(?:(?<=\S)| )::$", flags=re.M)


class RolesExtension(griffe.Extension):
    """Changes every docstring of the package once all of it is loaded."""

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **kwargs: Any) -> None:
        """Change the docstrings of a package and of all that is inside it."""
        self._change(pkg, pkg)

    def _change(self, found: griffe.Object, package: griffe.Module) -> None:
        if isinstance(found, griffe.Class):
            _describe_settings(found)
        if found.docstring:
            found.docstring.value = markdown_of(found.docstring.value, found, package)
        if isinstance(found, griffe.Attribute):
            found.value = _default(found.value)
        if isinstance(found, griffe.Function):
            for parameter in found.parameters:
                parameter.default = _default(parameter.default)
        for member in found.members.values():
            if not member.is_alias:
                self._change(member, package)  # type: ignore[arg-type]


def markdown_of(text: str, scope: griffe.Object, package: griffe.Module) -> str:
    """A docstring's text as Markdown; names are looked up from the object that it describes."""

    def link(match: re.Match[str]) -> str:
        short, name = match[1], match[2].strip().removesuffix("()")
        shown = name.rpartition(".")[2] if short else name
        if named := re.fullmatch(r"(.+?)\s*<(.+)>", name, flags=re.S):
            shown, name = named[1], named[2]
        path = _path(name, scope, package)
        return f"`{shown}`" if path is None else f"[`{shown}`][{path}]"

    def code(match: re.Match[str]) -> str:
        return f"```pycon\n{_FLAG.sub('', match[0])}\n```"

    def steps(match: re.Match[str]) -> str:
        if len(_STEP.findall(match[0])) < 2:
            return match[0]
        return f"```{{ .text .steps }}\n{match[0]}\n```"

    linked = _ROLE.sub(link, _LITERAL_BLOCK.sub(":", _PARAGRAPH.sub(steps, text)))
    return _DOCTEST.sub(code, linked)


def _describe_settings(found: griffe.Class) -> None:
    """Add the texts of a class's settings to its docstring, which is still as it was written."""
    rows = []
    for name, member in found.members.items():
        call = None if member.is_alias else getattr(member, "value", None)
        if _is_setting(call) and len(call.arguments) > 1:
            rows += [name, f"    {ast.literal_eval(str(call.arguments[1]))}"]
    if rows and found.docstring and "\n---" not in found.docstring.value:
        found.docstring.value += "\n".join(["", "", "Parameters", "----------", *rows])


def _is_setting(value: Any) -> bool:
    return isinstance(value, griffe.ExprCall) and str(value.function) == "setting"


def _default(value: str | griffe.Expr | None) -> str | griffe.Expr | None:
    """``48`` for ``setting(48, "Frames of a window.", low=2)``; other defaults as they are."""
    if isinstance(value, griffe.ExprCall) and _is_setting(value) and value.arguments:
        return value.arguments[0]
    return value


def _path(name: str, scope: griffe.Object, package: griffe.Module) -> str | None:
    """Where the site describes a name; None if another package does."""
    first, _, rest = name.partition(".")
    if first == package.name:
        path = rest
        found: Any = package
    elif (owner := _owner(scope, first)) is not None:
        return f"{owner.path}.{name}"
    else:
        try:
            home = scope.resolve(first)
        except griffe.NameResolutionError:
            return None if "." in name else name
        if not home.startswith(package.name):
            return None
        path = ".".join(filter(None, (home.partition(".")[2], rest)))
        found = package
    if not path:
        return package.path
    try:
        found = package[path]
        if found.is_alias:
            found = found.final_target
    except (KeyError, griffe.AliasResolutionError):
        return name
    if found.is_attribute and not found.docstring and "property" not in found.labels:
        return str(found.parent.canonical_path)  # fields stand in the table of their class
    return str(found.canonical_path)


def _owner(scope: griffe.Object, name: str) -> griffe.Class | None:
    """The class around an object, or the object itself, that inherits a method of that name."""
    for owner in (scope, scope.parent):
        if isinstance(owner, griffe.Class) and name in owner.inherited_members:
            return owner
    return None
