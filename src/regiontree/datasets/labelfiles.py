"""Label trees in files: three formats in, one out.

*Text*, as the published system has it: one tab a level; a group is a name, a label is name, id
and kind (0 foreground, 1 background, 2 ignored) with tabs between them. A label with lines
indented below it is a group that pixels can carry themselves, such as an aeroplane without a part::

    unlabeled → 255 → 2        (→ is a tab)
    animal → 3 → 0
    → dog → 1 → 0

*YAML*, our own: names nested over ids, and which of them are not foreground. A name is what is
written (``no`` is no truth value), ``_`` is the id of the group itself, and ``wheel_1..4: 7..10``
stands for four labels. Where several trees share their names, `labels` is a file beside::

    source: where the ids come from
    labels:
      animal: {_: 3, dog: 1}
      unlabeled: 255
    ignore: [unlabeled]        # and background: labels or whole groups; if ambiguous, animal--dog

*Tables*: id, own name, then parents from near to far, with tabs between them.

Whatever is wrong in a file is a DataError that names the file and, where there is one, the line.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import yaml

from regiontree.datasets.label import Kind, Label, Names, first_clash, prefixes
from regiontree.errors import DataError, nearest_name
from regiontree.system.reading import nearest, read_nodes, read_text

__all__ = ["read_published", "read_table", "read_yaml", "written"]

Named = tuple[str, tuple[Label, ...]]  # the name of a label tree, and its labels

_WHAT = "a label tree"
_SECTIONS = ("source", "labels", "background", "ignore")
_WHOLE = re.compile(r"-?[0-9]{1,10}")
_SERIES = re.compile(r"(.*?)([0-9]{1,5})\.\.([0-9]{1,5})")


# -- published text -------------------------------------------------------------------------------


def read_published(path: Path) -> Named:
    """The labels of a file in the published text format, and the name of the file."""
    draft = _Draft(path)
    above: list[str] = []  # path of the line before
    empty = 0  # the line before, if it is a group
    for line, text in _lines(path):
        body = text.lstrip()
        depth = len(text) - len(body)
        if text[:depth].strip("\t"):
            raise draft.error(line, "indented with blanks; use one tab a level")
        if empty and depth < len(above):
            break
        if depth > len(above):
            raise draft.error(line, f"indented by {depth} tabs where {len(above)} are the most")
        name, tab, rest = body.partition("\t")
        above[depth:] = [name]
        empty = 0 if tab else line
        if tab:
            # One published file has a blank between id and kind, so any space will do there.
            fields = rest.split()
            if len(fields) != 2:
                raise draft.error(line, f"{body!r} is not name, id and kind with tabs between")
            draft.add(line, above, *fields)
    if empty:
        hint = "has no labels below it; a label is written as name, id and kind, tabs between"
        raise draft.error(empty, f"group {above[-1]!r} {hint}")
    return draft.named(path.stem)


def written(labels: Sequence[Label]) -> str:
    """Labels in the published text format, as :func:`read_published` takes it."""
    lines = []
    above: Names = ()
    for label in labels:
        *groups, own = label.path
        shared = 0
        while shared < min(len(above), len(groups)) and above[shared] == groups[shared]:
            shared += 1
        lines += ["\t" * depth + groups[depth] for depth in range(shared, len(groups))]
        lines.append("\t" * len(groups) + f"{own}\t{label.id}\t{label.kind.value}")
        above = label.path
    return "\n".join(lines) + "\n"


# -- YAML -----------------------------------------------------------------------------------------


def read_yaml(path: Path) -> Named:
    """The labels of a file in our own format, YAML or JSON, and the name of the file."""
    names_file = path
    sections = _sections(path)
    names = sections["labels"]
    if isinstance(names, yaml.ScalarNode) and names.value:
        names_file = path.parent / names.value
        if not os.path.isfile(names_file):
            said = f"labels: there is no file {names.value!r} beside this one"
            raise _error(path, names.start_mark.line + 1, said)
        names = _sections(names_file)["labels"]
    draft = _Draft(names_file)
    if not isinstance(names, yaml.MappingNode):
        what = "must be names and ids, or a file beside this one that has them"
        raise draft.error(names.start_mark.line + 1, f"labels {what}")
    _add_nodes(draft, names, (), set())
    for section, kind in ("background", Kind.BACKGROUND), ("ignore", Kind.IGNORE):
        node = sections.get(section, yaml.SequenceNode("", []))
        for entry in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            where = f"{path}, line {entry.start_mark.line + 1}: {section}"
            if not isinstance(entry, yaml.ScalarNode):
                raise DataError(f"{where}: must be names of labels or groups")
            draft.mark(kind, entry.value, where)
    return draft.named(path.stem)


def _sections(file: Path) -> dict[str, yaml.Node]:
    """The top level of a YAML label tree. Nodes, not values: a name is then what is written."""
    sections = {}
    for line, key, value in _pairs(file, read_nodes(file, _WHAT, DataError)):
        if key not in _SECTIONS:
            raise _error(file, line, f"unknown section {key!r}{nearest(key, _SECTIONS)}")
        sections[key] = value
    if "labels" not in sections:
        raise DataError(f"{file}: section 'labels' is missing")
    return sections


def _pairs(file: Path, node: yaml.MappingNode) -> Iterator[tuple[int, str, yaml.Node]]:
    """Line, key and value of each entry."""
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise _error(file, line, "a list or mapping stands where a name is expected")
        yield line, key.value, value


def _add_nodes(draft: _Draft, node: yaml.MappingNode, above: Names, seen: set[int]) -> None:
    """Add the labels below a node whose path is `above`."""
    if id(node) in seen:
        raise draft.error(node.start_mark.line + 1, "an alias leads here; write the names out")
    seen.add(id(node))
    for line, name, value in _pairs(draft.file, node):
        if isinstance(value, yaml.MappingNode) and value.value and name != "_":
            _add_nodes(draft, value, (*above, name), seen)
        elif not isinstance(value, yaml.ScalarNode):
            raise draft.error(line, f"{name!r} needs an id, or names with ids below it")
        elif ".." in value.value:
            names, ids = _SERIES.fullmatch(name), _SERIES.fullmatch(value.value)
            if not names or not ids or ids[1] or not 0 < _length(names) == _length(ids):
                raise draft.error(line, f"{name}: {value.value} is not a series, as a_1..3: 7..9")
            for k in range(_length(names)):
                own = f"{names[1]}{int(names[2]) + k:0{len(names[2])}}"
                draft.add(line, (*above, own), str(int(ids[2]) + k))
        else:
            path = above if name == "_" and above else (*above, name)
            draft.add(line, path, value.value)


def _length(series: re.Match[str]) -> int:
    return int(series[3]) - int(series[2]) + 1


# -- tables ---------------------------------------------------------------------------------------


def read_table(
    path: Path,
    *,
    columns: Sequence[int] | None = None,
    ignore: Iterable[int | str] = (),
    background: Iterable[int | str] = (),
    prefix: str | None = None,
) -> Named:
    """The labels of a table, and the name of its folder, or `prefix`.

    Empty parents and ``-`` are left out, and neighbours of one name are one: ``boat`` in ``boat``
    is ``boat``.

    Parameters
    ----------
    columns : sequence of int, optional
        Columns of the path from the coarsest to the own name, the id's being 0, where the table
        has others or another order; by default all of them from the last to 1.
    ignore, background : iterable of int or str
        Ids, or names of labels or groups, as in our YAML.
    prefix : str, optional
        Take only the rows with this before the id: ``loveda`` takes ``loveda:3``, and ``potsdam``
        takes ``potsdam,vaihingen:3``.
    """
    draft = _Draft(path)
    met: set[str] = set()
    for line, text in _lines(path):
        cells = [cell.strip() for cell in text.split("\t")]
        before, colon, number = cells[0].rpartition(":")
        owners = before.split(",") if colon else []
        met.update(owners)
        if prefix is None and owners:
            raise draft.error(line, f"{cells[0]!r}: choose a prefix, as prefix={owners[0]!r}")
        if prefix is not None and prefix not in owners:
            continue
        used = range(len(cells) - 1, 0, -1) if columns is None else columns
        if not used or not all(0 < column < len(cells) for column in used):
            wanted = "a name" if columns is None else f"one of columns {list(columns)}"
            raise draft.error(line, f"{len(cells)} columns, the id in column 0, lack {wanted}")
        *groups, own = (cells[column] for column in used)
        names = [name for name in groups if name not in ("", "-")]
        draft.add(line, [name for name, _ in groupby([*names, own])], number)
    if not draft.labels:
        known = ", ".join(sorted(met)) or "none"
        raise DataError(f"{path}: no id has the prefix {prefix!r}; prefixes: {known}")
    for kind, entries in (Kind.BACKGROUND, background), (Kind.IGNORE, ignore):
        for entry in entries:
            draft.mark(kind, entry, f"{path}: {kind.name.lower()}")
    return draft.named(prefix or path.resolve().parent.name)


# -- what all formats share -----------------------------------------------------------------------


class _Draft:
    """Labels as a file lists them, and at which lines."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.labels: list[Label] = []
        self.lines: list[int] = []

    def error(self, line: int, problem: str) -> DataError:
        return _error(self.file, line, problem)

    def add(self, line: int, path: Sequence[str], number: str, kind: str = "0") -> None:
        """A label as written: its id and kind are still text."""
        for what, text in ("id", number), ("kind", kind):
            if not _WHOLE.fullmatch(text):
                raise self.error(line, f"{what} {text!r} of {path[-1]!r} is not a whole number")
        try:
            label = Label(tuple(path), int(number), int(kind))  # type: ignore[arg-type]
        except DataError as error:
            raise self.error(line, str(error)) from None
        self.labels.append(label)
        self.lines.append(line)

    def mark(self, kind: Kind, entry: int | str, where: str) -> None:
        """Give a kind to what an entry names: an id, or a label or group with all that is in it."""
        if isinstance(entry, int):
            chosen = [k for k, label in enumerate(self.labels) if label.id == entry]
            if not chosen:
                raise DataError(f"{where}: no label has id {entry}")
        else:
            nodes = {"--".join(node): node for one in self.labels for node in prefixes(one.path)}
            named = [name for name, node in nodes.items() if entry in (name, node[-1])]
            if not named:
                known = [*nodes, *(node[-1] for node in nodes.values())]
                raise DataError(
                    f"{where}: no label is called {entry!r}{nearest_name(entry, known)}"
                )
            if entry not in nodes and len(named) > 1:
                raise DataError(f"{where}: {entry!r} may be {' or '.join(named)}; write which")
            node = nodes[entry if entry in nodes else named[0]]
            chosen = [k for k, one in enumerate(self.labels) if one.path[: len(node)] == node]
        for k in chosen:
            if self.labels[k].kind not in (Kind.FOREGROUND, kind):
                raise DataError(f"{where}: {self.labels[k].name!r} is background already")
            self.labels[k] = dataclasses.replace(self.labels[k], kind=kind)

    def named(self, name: str) -> Named:
        """The labels with the name of their tree; two that contradict each other are an error."""
        if clash := first_clash(self.labels):
            raise self.error(self.lines[clash[0]], clash[1])
        return name, tuple(self.labels)


def _error(file: Path, line: int, problem: str) -> DataError:
    return DataError(f"{file}, line {line}: {problem}")


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers, without blanks at their end."""
    for line, text in enumerate(read_text(file, _WHAT, DataError).split("\n"), 1):
        if text.strip():
            yield line, text.rstrip()
