"""Checked values from the text of a file. A message names the line or the key of a mistake.

Configs, data sets and label trees are read here, in two steps. The first is syntax: YAML or JSON,
with plain values only and no key twice. The second is shape: a pydantic model that accepts no
unknown key and converts no type. All mistakes of a file are reported at once, one sentence each, in
the words of the file (``tasks.semantic_ncuts.kover must be a whole number, got 'many'``).

PyYAML and pydantic do the work. This file adds line numbers, plain words and the nearest key, which
their own messages lack (docs/dependencies.md).
"""

from __future__ import annotations

import json
import os
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar, get_args

import yaml
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from regiontree.errors import ConfigError, RegionTreeError, nearest_name
from regiontree.system.paths import path_problem

__all__ = ["Listed", "Place", "Section", "nearest", "read_mapping", "read_nodes",
           "read_text", "refuse", "shown", "validated"]  # fmt: skip

MAX_BYTES = 16 << 20  # a config has some 10 kB; a file named by mistake may have gigabytes

MAX_VALUES = 1_000_000  # in one file, each counted as often as aliases repeat it
MAX_YAML = 1 << 20  # PyYAML takes some 10 s for a MB

_MAX_DEPTH = 100  # brackets in brackets; no file of ours has more than 5
_BRACKETS = re.compile(r"[][{}]")
_NOT_TEXT = re.compile("[^\t\n -~\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# What PyYAML's constructors and Python's number parsing raise on values that they cannot read.
_BAD_TEXT = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, OverflowError)


class Section(BaseModel):
    """A mapping in a file: no unknown keys, no conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


_Model = TypeVar("_Model", bound=Section)
_T = TypeVar("_T")
_Path = tuple[int | str, ...]

# Written as text and as a list in files, which have no paths and no tuples.
Place = Annotated[Path, Field(strict=False)]
"""A path, written as text in files."""
Listed = Annotated[tuple[_T, ...], Field(strict=False)]
"""A tuple, written as a list in files."""


# -- syntax ---------------------------------------------------------------------------------------


def read_mapping(path: Path, what: str = "a config") -> dict[str, Any]:
    """The keys and values of a YAML or JSON file.

    Parameters
    ----------
    path
        The suffix decides between YAML and JSON. A file with another suffix is JSON if it begins
        with a brace.
    what
        What the file should be, for messages: ``a config``.

    Raises
    ------
    ConfigError
        The file does not exist, is not text, is neither YAML nor JSON (with the line), or holds
        something else than a mapping.
    """
    text = read_text(path, what)
    is_json = _is_json(path, text)
    if not is_json:
        _check_yaml(path, text, what, ConfigError)
    with _parsing(path, ConfigError, is_json=is_json):
        value = _from_json(text) if is_json else yaml.load(text, _Loader)
    if (found := _not_text_in(value)) is not None:
        raise ConfigError(f"{path}: holds {found[0][:40]!r}, which is no text; remove it")
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {_other(value)}; {what} has keys and values")
    return value


def read_nodes(path: Path, what: str, error: type[RegionTreeError]) -> yaml.MappingNode:
    """A YAML or JSON file as nodes: each key and value as written, with its line.

    Here ``no`` stays text instead of a truth value, and ``1e5`` instead of a number.

    Raises
    ------
    RegionTreeError
        Of the kind `error`, in the cases of :func:`read_mapping`.
    """
    text = read_text(path, what, error)
    is_json = _is_json(path, text)
    _check_yaml(path, text, what, error)
    with _parsing(path, error, is_json=is_json):
        if is_json:
            json.loads(text, parse_constant=_no_constant)  # which says better what is wrong
            text = text.replace("\t", " ")  # between tokens, the only place where JSON has them
        root = yaml.compose(text, _Loader)
    if (found := _not_text_in(root)) is not None:
        odd, line = found
        raise error(f"{path}, line {line}: holds {odd[:40]!r}, which is no text; remove it")
    if not isinstance(root, yaml.MappingNode):
        value = [] if isinstance(root, yaml.SequenceNode) else root and root.value
        raise error(f"{path}: {_other(value)}; {what} has keys and values")
    return root


def read_text(path: Path, what: str, error: type[RegionTreeError] = ConfigError) -> str:
    """The text of a file that is not empty, with plain line ends, without a byte order mark.

    Raises
    ------
    RegionTreeError
        Of the kind `error`: there is no such file, or it is not text in UTF-8 (with the line).
    """
    if os.path.isdir(path):
        raise error(f"{path}: is a folder; name {what} in it")
    if problem := path_problem(path, "file; check the path"):
        raise error(f"{path}: {problem}")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise error(f"{path}: more than {MAX_BYTES >> 20} MB; this is not {what}")
    except OSError as failure:
        raise error(f"{path}: cannot be read ({failure.strerror})") from failure
    if b"\0" in data:
        raise error(f"{path}: binary, or text in UTF-16; {what} is text in UTF-8")
    data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        line = data.count(b"\n", 0, failure.start) + 1
        raise error(f"{path}, line {line}: not text in UTF-8; save it as UTF-8") from failure
    if control := _NOT_TEXT.search(text):
        line = text.count("\n", 0, control.start()) + 1
        raise error(f"{path}, line {line}: holds {control[0]!r}, which is no text; remove it")
    if not text.strip():
        raise error(f"{path}: is empty; {what} expected")
    return text


def _is_json(path: Path, text: str) -> bool:
    suffix = path.suffix.lower()
    return suffix == ".json" or (suffix not in (".yaml", ".yml") and text.lstrip().startswith("{"))


def _check_yaml(path: Path, text: str, what: str, error: type[RegionTreeError]) -> None:
    """Refuse what PyYAML would read for minutes: its time grows with length times depth."""
    if len(text) > MAX_YAML:
        raise error(f"{path}: more than {MAX_YAML >> 20} MB of YAML; this is not {what}")
    depth = 0
    for bracket in _BRACKETS.findall(text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        if depth > _MAX_DEPTH:
            raise error(f"{path}: nested too deeply; nothing here needs that")


def _not_text_in(value: object) -> tuple[str, int] | None:
    """A text in a parsed value that no file has, and its line if the value is a node.

    An escape such as ``"\\e"`` can stand for a control character.
    """
    seen: set[int] = set()  # YAML's aliases may name one value a million times
    waiting = [value]
    while waiting:
        one = waiting.pop()
        text = one.value if isinstance(one, yaml.ScalarNode) else one
        if isinstance(text, str) and _NOT_TEXT.search(text):
            return text, one.start_mark.line + 1 if isinstance(one, yaml.ScalarNode) else 0
        if isinstance(one, dict | list | tuple | yaml.CollectionNode) and id(one) not in seen:
            seen.add(id(one))
            inside = one.value if isinstance(one, yaml.CollectionNode) else one
            waiting += (*inside, *inside.values()) if isinstance(inside, dict) else inside
    return None


@contextmanager
def _parsing(path: Path, error: type[RegionTreeError], *, is_json: bool) -> Iterator[None]:
    """Turn a parser's complaint within the block into an `error` with the line."""
    try:
        yield
    except json.JSONDecodeError as wrong:
        raise error(f"{path}, {_json_mistake(wrong)}") from wrong
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        line = "" if mark is None else f", line {mark.line + 1}"
        hint = "; YAML is indented with spaces" if "'\\t'" in str(wrong.problem) else ""
        said = f"not YAML: {wrong.problem}{hint}"
        if isinstance(wrong, yaml.composer.ComposerError):  # it is, but not one that can be meant
            said = ", ".join(part for part in (wrong.context, wrong.problem) if part)
        raise error(f"{path}{line}: {said}") from wrong
    except RecursionError as wrong:
        raise error(f"{path}: nested too deeply; nothing here needs that") from wrong
    except _BAD_TEXT as wrong:
        raise error(f"{path}: not {'JSON' if is_json else 'YAML'}: {wrong}") from wrong


def _other(value: object) -> str:
    """What a file holds instead of a mapping."""
    if value is None:
        return "is empty"
    return f"holds {'a list' if isinstance(value, list) else shown(value)}"


def _from_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(n for n in names if names.count(n) > 1)!r} appears twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _json_mistake(error: json.JSONDecodeError) -> str:
    """The decoder's complaint with its line, in plain words for the two usual mistakes."""
    before, rest = error.doc[: error.pos].rstrip(), error.doc[error.pos :].lstrip()
    if rest.startswith(("//", "/*", "#")):
        return f"line {error.lineno}: a comment, which JSON has not; remove it"
    if rest.startswith(","):  # where Python 3.13 points
        before, rest = before + ",", rest[1:].lstrip()
    if before.endswith(",") and rest.startswith(("}", "]")):
        line = before.count("\n") + 1
        return f"line {line}: a comma with nothing after it; remove it"
    return f"line {error.lineno}: not JSON: {error.msg} (column {error.colno})"


class _Loader(yaml.SafeLoader):
    """Plain values; a key twice is a mistake, and 1e-3 is a number as in JSON.

    Aliases are counted as often as they are used. A file of 500 bytes can stand for billions of
    values ("billion laughs"), which checks and merges would visit one by one.
    """

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._sizes: dict[int, int] = {}  # of each list and mapping, with all that is in it

    def compose_sequence_node(self, anchor: Any) -> yaml.SequenceNode:
        node: yaml.SequenceNode = super().compose_sequence_node(anchor)
        self._count(node, node.value)
        return node

    def _count(self, node: yaml.Node, inside: Iterable[yaml.Node]) -> None:
        size = 1
        for one in inside:
            if isinstance(one, yaml.CollectionNode) and id(one) not in self._sizes:
                raise yaml.composer.ComposerError(
                    None, None, "a value contains itself; write it out", node.start_mark
                )
            size += self._sizes.get(id(one), 1)
        if size > MAX_VALUES:
            what = f"aliases stand for more than {MAX_VALUES:,} values; nothing here needs that"
            raise yaml.composer.ComposerError(None, None, what, node.start_mark)
        self._sizes[id(node)] = size

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        self._count(node, (one for pair in node.value for one in pair))
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.composer.ComposerError(
                        None, None, f"key {key.value!r} appears twice", key.start_mark
                    )
                seen.add(key.value)
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


# -- shape ----------------------------------------------------------------------------------------


def validated(model: type[_Model], raw: Mapping[str, Any], source: str | Path) -> _Model:
    """`raw` as a model.

    Raises
    ------
    ConfigError
        Naming `source`: every mistake, one a line, each with the full path of its key.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        refuse(source, _mistakes(model, raw, error.errors(include_url=False)))


def refuse(source: str | Path, mistakes: Sequence[str]) -> NoReturn:
    """Raise the mistakes of one file as one error. A long list of known names is told once."""
    if len(mistakes) == 1:
        raise ConfigError(f"{source}: {mistakes[0]}")
    told: set[str] = set()
    listed = ""
    for mistake in mistakes:
        said, mark, known = mistake.rpartition(_KNOWN)
        listed += f"\n  {f'{said}{_KNOWN}as above' if mark and known in told else mistake}"
        told.add(known)
    raise ConfigError(f"{source}: {len(mistakes)} mistakes{listed}")


def shown(value: object) -> str:
    """A value as a file's author wrote it, shortened."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return reprlib.repr(value)


def nearest(name: object, known: Iterable[object]) -> str:
    """The end of a sentence: a suggestion of the nearest of `known`, else all of them.

    Examples
    --------
    >>> nearest("splitt", ["dataset", "split"]), nearest(5, ["dataset", "split"])
    ("; did you mean 'split'?", '; known: dataset, split')
    """
    names = [str(one) for one in known]
    return nearest_name(name, names) or f"{_KNOWN}{', '.join(names)}"


_KNOWN = "; known: "
_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "path_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
}


def _mistakes(model: type[Section], raw: Any, errors: Sequence[ErrorDetails]) -> list[str]:
    """A sentence for each value or key that is wrong.

    Where a value may have several types, pydantic complains once for each type. Complaints about
    one place become one sentence, unless there is a complaint about something inside that place.
    """
    found: dict[_Path, list[ErrorDetails]] = {}
    for item in errors:
        # pydantic calls a tuple too short when it has wrong items, which have their own sentence.
        short = item["type"] == "too_short"
        if not (short and len(item["input"]) >= item["ctx"]["min_length"]):
            found.setdefault(_path(raw, item), []).append(item)
    said = []
    for path, items in found.items():
        types = dict.fromkeys(_EXPECTED[i["type"]] for i in items if i["type"] in _EXPECTED)
        if types and not any(len(o) > len(path) and o[: len(path)] == path for o in found):
            wanted = " or ".join(types)
            said.append(f"{_key(path)} must be {wanted}, got {shown(items[0]['input'])}")
        said += [_mistake(model, path, i) for i in items if i["type"] not in _EXPECTED]
    return said


def _path(raw: Any, item: ErrorDetails) -> _Path:
    """Keys and positions that lead to the mistake. pydantic's path also holds names of types."""
    path: list[int | str] = []
    is_there = False
    for part in item["loc"]:
        is_there = _has(raw, part)
        if is_there:
            raw = raw[part]
            path.append(part)
    last = item["loc"][-1] if item["loc"] else ""
    if item["type"] == "missing":
        path.append(last)
    elif item["type"] == "invalid_key" and not is_there:
        # A key of YAML may be a date, for example; pydantic's path has Python's text for it.
        keys = raw if isinstance(raw, Mapping) else ()
        path.append(next((str(key) for key in keys if repr(key) == last), str(last)))
    return tuple(path)


def _has(raw: Any, part: int | str) -> bool:
    if isinstance(raw, Mapping):
        return part in raw
    return isinstance(raw, list | tuple) and isinstance(part, int) and part < len(raw)


def _key(path: _Path) -> str:
    return "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in path).lstrip(".")


def _mistake(model: type[Section], path: _Path, item: ErrorDetails) -> str:
    """A pydantic error as one sentence that names key, value and what was expected."""
    kind, context, value = item["type"], item.get("ctx", {}), item["input"]
    key, got = _key(path), f"got {shown(value)}"
    if kind == "missing":
        return f"{key} is missing"
    if kind in ("extra_forbidden", "invalid_key"):
        return f"unknown key {key}{nearest(path[-1], _names_at(model, path[:-1]))}"
    if kind == "literal_error":
        names = re.findall(r"'([^']*)'", context["expected"])
        return f"{key} must be {context['expected']}, {got}{nearest_name(value, names)}"
    if kind == "value_error":
        # A whole section is too much to show; what is wrong in it is in the sentence.
        sentence = f"{key} {context['error']}".lstrip()
        return sentence if isinstance(value, Mapping) else f"{sentence}, {got}"
    if kind in ("too_short", "too_long"):
        count = context.get("min_length", context.get("max_length"))
        bound = "at least" if kind == "too_short" else "at most"
        return f"{key} must have {bound} {count} values, {got}"
    return f"{key} {item['msg'].replace('Input should', 'must')}, {got}"


def _names_at(model: type[Section], path: _Path) -> list[str]:
    """The keys that the section at `path` may hold, as files write them."""
    for key in path:
        for name, field in model.model_fields.items():
            if key in _written(name, field.alias, field.validation_alias):
                kinds = (field.annotation, *get_args(field.annotation))
                model = next(k for k in kinds if isinstance(k, type) and issubclass(k, Section))
    fields = model.model_fields.items()
    return [key for name, f in fields for key in _written(name, f.alias, f.validation_alias)]


def _written(name: str, alias: str | None, choices: object) -> list[str]:
    """A field's keys: its alias or the choices for it, else its name."""
    if isinstance(choices, AliasChoices):
        return [str(choice) for choice in choices.choices]
    return [alias or name]
