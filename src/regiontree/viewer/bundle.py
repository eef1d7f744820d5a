"""One script from the JavaScript modules of the folder ``web/``, without any JavaScript tool.

A user has only Python, and the page of a tree is one file, so Python joins the modules. An import
map with ``data:`` URLs would need no joining, but then the content security policy would have to
allow scripts from any ``data:`` URL. One script can be allowed alone, by its digest.

Each module becomes a function that is called once and returns what the module exports. So names
that a module does not export stay private, as they do in the browser. The modules use only these
forms, each on a line of its own that begins with the keyword::

    import { name, other } from "./module.js";
    export function name            (also: async function, class, const)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from regiontree.errors import ViewError

__all__ = ["bundle"]

_IMPORT = re.compile(r'import \{ (\w+(?:, \w+)*) \} from "\./([a-z]+)\.js";')
_IMPORT_FORM = 'an import must read `import { name, other } from "./module.js";`'
_EXPORT = re.compile(r"export (?:(?:async )?function|class|const) (\w+)\b")


@dataclass(frozen=True, slots=True)
class _Module:
    """A module whose imports and exports are read.

    Attributes
    ----------
    imports : list of (str, str, int)
        For each imported name: the name, its module, and the line.
    exports : list of str
    code : str
        The code, with imports from the functions of other modules and without ``export``.
    """

    imports: list[tuple[str, str, int]]
    exports: list[str]
    code: str


def bundle(entry: str, read: Callable[[str], str]) -> str:
    """A script that does what a module and all that it imports do.

    Parameters
    ----------
    entry
        Name of the module, without ``.js``. It alone may use ``await`` at its top level.
    read
        Gives the text of a module by its name. It may raise an OSError.

    Returns
    -------
    str
        The text of a script for ``<script type="module">``.

    Raises
    ------
    ViewError
        A module cannot be read, uses another form of import or export, or imports a name that is
        not exported; modules import each other in a circle; or the text would end its HTML element.

    Examples
    --------
    >>> modules = {"a": 'import { f } from "./b.js";\\nf();', "b": "export function f() {}"}
    >>> print(bundle("a", modules.__getitem__))
    const $b = (() => {
    function f() {}
    return { f };
    })();
    const { f } = $b;
    f();
    """
    modules: dict[str, _Module] = {}
    _collect(entry, [], modules, read)
    script = "\n".join(
        module.code if name == entry else _wrapped(name, module) for name, module in modules.items()
    )
    if re.search("</script|<!--", script, re.IGNORECASE):
        raise ViewError(f"{entry}.js: the script holds '</script' or '<!--', which HTML would read")
    return script


def _collect(
    name: str, importers: list[str], modules: dict[str, _Module], read: Callable[[str], str]
) -> None:
    """Add a module to `modules`, after the modules that it imports."""
    if name in modules:
        return
    if name in importers:
        circle = " -> ".join(f"{module}.js" for module in [*importers, name])
        raise ViewError(f"modules import each other in a circle: {circle}")
    try:
        module = _parse(name, read(name))
    except OSError as error:
        by = f", imported by {importers[-1]}.js" if importers else ""
        raise ViewError(f"{name}.js: cannot be read ({error.strerror}){by}") from error
    for imported, other, line in module.imports:
        _collect(other, [*importers, name], modules, read)
        if imported not in modules[other].exports:
            raise ViewError(f"{name}.js, line {line}: {other}.js does not export {imported}")
    modules[name] = module


def _parse(name: str, text: str) -> _Module:
    imports: list[tuple[str, str, int]] = []
    exports: list[str] = []
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        if re.match(r"import\b", line):
            found = _IMPORT.fullmatch(line)
            if found is None:
                raise ViewError(f"{name}.js, line {number}: {_IMPORT_FORM}, got {line!r}")
            names, other = found.groups()
            imports += [(imported, other, number) for imported in names.split(", ")]
            line = f"const {{ {names} }} = ${other};"
        elif re.match(r"export\b", line):
            found = _EXPORT.match(line)
            if found is None:
                raise ViewError(
                    f"{name}.js, line {number}: only a function, a class or a const can be "
                    f"exported, where it is defined; got {line!r}"
                )
            exports.append(found[1])
            line = line.removeprefix("export ")
        lines.append(line)
    return _Module(imports, exports, "\n".join(lines))


def _wrapped(name: str, module: _Module) -> str:
    """A function that is called once and returns what the module exports."""
    exports = f"return {{ {', '.join(module.exports)} }};"
    return f"const ${name} = (() => {{\n{module.code}\n{exports}\n}})();"
