"""Optional packages: imported where they are used, or named with the extra that installs them.

The extras of ``pyproject.toml`` say which package each of them needs and from which version on.
They are read from the metadata of the installed regiontree, so each version is written once.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any

from regiontree.errors import MissingExtraError

__all__ = ["check_optional", "least_version", "optional"]

_ROW = re.compile(r"([\w.-]+)(?:\[[^\]]*\])?\s*(?:[=~>]=\s*([\d.]*\d))?")


def optional(module: str, extra: str, what: str, *, package: str | None = None) -> Any:
    """A module of an optional package.

    Parameters
    ----------
    module
        Its name, as ``rasterio.warp``.
    extra
        The extra of regiontree that installs it.
    what
        What needs it, as the beginning of a sentence: ``"COCO needs"``.
    package
        Its name on PyPI. Default: the first part of the module's name.

    Raises
    ------
    MissingExtraError
        It is not installed, is older than the extra asks for, or cannot be imported. The message is
        one line, with the version that was found and the one that is needed.

    Examples
    --------
    >>> optional("json", "export", "this example needs").loads("[3]")
    [3]
    >>> try:
    ...     optional("no_such_module", "export", "this example needs")
    ... except MissingExtraError as error:
    ...     print(error)
    this example needs no_such_module: pip install 'regiontree[export]'
    """
    package = package or module.partition(".")[0]
    check_optional(module, extra, what, package=package)
    try:
        return import_module(module)
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise MissingExtraError(
            f"{what} {package}, which cannot be imported ({reason}): {_install(extra)}"
        ) from error


def check_optional(module: str, extra: str, what: str, *, package: str | None = None) -> None:
    """Check that a module is there and new enough, without importing it.

    The parameters are those of :func:`optional`, and so are the errors, except that a package that
    cannot be imported is not found out.
    """
    root = module.partition(".")[0]
    package = package or root
    found = _version(root, package)
    if found is None:
        raise MissingExtraError(f"{what} {package}: {_install(extra)}")
    least = least_version(package, extra)
    if least is not None and found and _numbers(found) < _numbers(least):
        raise MissingExtraError(
            f"{package} {found} is too old, {least} or later is needed: {_install(extra, '-U ')}"
        )


def least_version(package: str, extra: str) -> str | None:
    """The oldest version of a package that an extra takes; None if it takes any.

    Also None if regiontree runs from a folder and was never installed, so nobody can say.
    """
    return _least().get((extra.lower(), _normal(package)))


def _least() -> dict[tuple[str, str], str]:
    try:
        return _parsed(tuple(metadata.requires("regiontree") or ()))
    except metadata.PackageNotFoundError:
        return {}


@cache
def _parsed(rows: tuple[str, ...]) -> dict[tuple[str, str], str]:
    """The least version for each extra and package."""
    found = {}
    for row in rows:
        wanted, _, condition = row.partition(";")
        extra = re.search(r"extra\s*==\s*['\"]([\w.-]+)['\"]", condition)
        match = _ROW.match(wanted.strip())
        if extra and match and match[2]:
            found[extra[1].lower(), _normal(match[1])] = match[2]
    return found


def _version(root: str, package: str) -> str | None:
    """The version that is installed; "" if it is there without a version; None if it is not."""
    loaded = sys.modules.get(root)
    if root in sys.modules and loaded is None:
        return None
    try:
        if loaded is None and find_spec(root) is None:
            return None
    except ValueError:  # a module that was put into sys.modules by hand
        pass
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return str(getattr(loaded, "__version__", ""))


def _numbers(version: str) -> tuple[int, ...]:
    """``1.4.0rc1`` as (1, 4): pre-releases count as their release, and zeros at the end as none."""
    release = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(part) for part in release[0].split(".")] if release else []
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _install(extra: str, flag: str = "") -> str:
    return f"pip install {flag}'regiontree[{extra}]'"
