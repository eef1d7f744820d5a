"""Files with label trees: three formats to read, one to write.

*Text*, the published format. One tab indents a line by one level. The line of a group is its name.
The line of a label is its name, its id and its kind (0 foreground, 1 background, 2 ignored), with
tabs between them. A label with indented lines below it is also a group, such as an aeroplane whose
pixels may belong to no part::

    unlabeled → 255 → 2        (→ is a tab)
    animal → 3 → 0
    → dog → 1 → 0

*YAML*, the format of regiontree. `labels` maps nested names to ids. `background` and `ignore` list
labels or whole groups that are not foreground. If a name is ambiguous, write its whole path, such
as ``animal--dog``. Names are read as text, so ``no`` is a name and not a truth value. The name
``_`` gives the id of the group itself. ``wheel_1..4: 7..10`` stands for four labels. `labels` can
also be the name of another file in the same folder, so that several trees share their names::

    source: where the ids come from
    labels:
      animal: {_: 3, dog: 1}
      unlabeled: 255
    ignore: [unlabeled]

*Tables*. Each line has an id, the label's own name, and then its groups from the nearest to the
coarsest, with tabs between them.

Each mistake in a file raises a DataError. Its message names the file and, where possible, the line.
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
from regiontree.system.reading import nearest, read_nodes, read_text, shown

__all__ = ["read_published", "read_table", "read_yaml", "written"]

Named = tuple[str, tuple[Label, ...]]  # the name of a label tree and its labels

_WHAT = "a label tree"
_SECTIONS = ("source", "labels", "background", "ignore")
_WHOLE = re.compile(r"-?[0-9]{1,10}")
_SERIES = re.compile(r"(.*?)([0-9]{1,5})\.\.([0-9]{1,5})")


# -- published text -------------------------------------------------------------------------------


def read_published(path: Path) -> Named:
    """The stem of the file's name, and the labels of a file in the published text format.

    Raises
    ------
    DataError
        The file cannot be read or is not in this format, or labels contradict each other.
    """
    draft = _Draft(path)
    above: list[str] = []  # path of the previous line
    empty = 0  # number of the previous line, if that line is a group
    for line, text in _lines(path):
        body = text.lstrip()
        depth = len(text) - len(body)
        if text[:depth].strip("\t"):
            raise draft.error(line, "is indented with blanks; use one tab for each level")
        if empty and depth < len(above):
            break
        if depth > len(above):
            raise draft.error(
                line, f"is indented by {depth} tabs, but at most {len(above)} can follow here"
            )
        name, tab, rest = body.partition("\t")
        above[depth:] = [name]
        empty = 0 if tab else line
        if tab:
            # One published file has a blank instead of a tab between id and kind.
            fields = rest.split()
            if len(fields) != 2:
                raise draft.error(
                    line, f"{body!r} must be name, id and kind with tabs between them"
                )
            draft.add(line, above, *fields)
    if empty:
        hint = "has no labels below it; write a label as name, id and kind with tabs between them"
        raise draft.error(empty, f"group {above[-1]!r} {hint}")
    return draft.named(path.stem)


def written(labels: Sequence[Label]) -> str:
    """Labels as text in the published format, which :func:`read_published` reads."""
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
    """The stem of the file's name, and the labels of a YAML or JSON file of regiontree.

    Raises
    ------
    DataError
        The file cannot be read or is not in this format, or labels contradict each other.
    """
    names_file = path
    sections = _sections(path)
    names = sections["labels"]
    if isinstance(names, yaml.ScalarNode) and names.value:
        names_file = path.parent / names.value
        if not os.path.isfile(names_file):
            problem = f"labels: there is no file {names.value!r} in the folder of this file"
            raise _error(path, names.start_mark.line + 1, problem)
        names = _sections(names_file)["labels"]
    draft = _Draft(names_file)
    if not isinstance(names, yaml.MappingNode):
        what = "must be names with ids, or the name of a file in the same folder that has them"
        raise draft.error(names.start_mark.line + 1, f"labels {what}")
    _add_nodes(draft, names, (), set())
    for section, kind in ("background", Kind.BACKGROUND), ("ignore", Kind.IGNORE):
        node = sections.get(section, yaml.SequenceNode("", []))
        for entry in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            where = f"{path}, line {entry.start_mark.line + 1}: {section}"
            if not isinstance(entry, yaml.ScalarNode):
                raise DataError(f"{where}: must be a list of names of labels or groups")
            draft.mark(kind, entry.value, where)
    return draft.named(path.stem)


def _sections(file: Path) -> dict[str, yaml.Node]:
    """The sections of a YAML label tree, as nodes, so that each name stays the text as written."""
    sections = {}
    for line, key, value in _pairs(file, read_nodes(file, _WHAT, DataError)):
        if key not in _SECTIONS:
            raise _error(file, line, f"unknown section {key!r}{nearest(key, _SECTIONS)}")
        sections[key] = value
    if "labels" not in sections:
        raise DataError(f"{file}: section 'labels' is missing; add it with names and ids")
    return sections


def _pairs(file: Path, node: yaml.MappingNode) -> Iterator[tuple[int, str, yaml.Node]]:
    """Line number, key and value of each entry of a mapping."""
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise _error(file, line, "a name is expected here, not a list or a mapping")
        yield line, key.value, value


def _add_nodes(draft: _Draft, node: yaml.MappingNode, above: Names, seen: set[int]) -> None:
    """Add the labels of `node`, which lies below the path `above`. `seen` has the earlier nodes."""
    if id(node) in seen:
        raise draft.error(
            node.start_mark.line + 1, "a YAML alias refers to these names; write them out there"
        )
    seen.add(id(node))
    for line, name, value in _pairs(draft.file, node):
        if isinstance(value, yaml.MappingNode) and value.value and name != "_":
            _add_nodes(draft, value, (*above, name), seen)
        elif not isinstance(value, yaml.ScalarNode):
            raise draft.error(line, f"{name!r} needs an id, or names with ids below it")
        elif ".." in value.value:
            names, ids = _SERIES.fullmatch(name), _SERIES.fullmatch(value.value)
            if not names or not ids or ids[1] or not 0 < _length(names) == _length(ids):
                raise draft.error(line, f"{name}: {value.value} is not a series like a_1..3: 7..9")
            for k in range(_length(names)):
                own = f"{names[1]}{int(names[2]) + k:0{len(names[2])}}"
                draft.add(line, (*above, own), str(int(ids[2]) + k))
        else:
            path = above if name == "_" and above else (*above, name)
            draft.add(line, path, value.value)


def _length(series: re.Match[str]) -> int:
    """How many numbers a series such as ``1..4`` stands for."""
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
    """The name of the label tree, and the labels of a table.

    The name is `prefix`, or else the name of the table's folder. Groups that are empty or ``-`` are
    left out. Equal names that follow each other become one: ``boat`` in ``boat`` is ``boat``.

    Parameters
    ----------
    path : Path
        A text file with tabs between its columns. Column 0 holds the id.
    columns : sequence of int, optional
        The columns with the names, from the coarsest group to the label's own name. By default all
        columns from the last one to column 1.
    ignore, background : iterable of int or str
        Ids, or names of labels or groups, that are ignored or background.
    prefix : str, optional
        Read only the rows with this prefix before the id. For example, ``loveda`` reads the row
        ``loveda:3``, and ``potsdam`` reads the row ``potsdam,vaihingen:3``.

    Raises
    ------
    DataError
        The file cannot be read, a row is wrong, or labels contradict each other.
    """
    draft = _Draft(path)
    met: set[str] = set()
    for line, text in _lines(path):
        cells = [cell.strip() for cell in text.split("\t")]
        before, colon, number = cells[0].rpartition(":")
        owners = before.split(",") if colon else []
        met.update(owners)
        if prefix is None and owners:
            raise draft.error(
                line, f"{cells[0]!r} has a prefix; choose one, such as prefix={owners[0]!r}"
            )
        if prefix is not None and prefix not in owners:
            continue
        used = range(len(cells) - 1, 0, -1) if columns is None else columns
        if not used or not all(0 < column < len(cells) for column in used):
            wanted = "a name" if columns is None else f"one of columns {list(columns)}"
            raise draft.error(
                line, f"has {len(cells)} columns, with the id in column 0, but lacks {wanted}"
            )
        *groups, own = (cells[column] for column in used)
        names = [name for name in groups if name not in ("", "-")]
        draft.add(line, [name for name, _ in groupby([*names, own])], number)
    if not draft.labels:
        known = ", ".join(sorted(met)) or "none"
        raise DataError(f"{path}: no id has the prefix {prefix!r}; the prefixes are: {known}")
    for kind, entries in (Kind.BACKGROUND, background), (Kind.IGNORE, ignore):
        for entry in entries:
            draft.mark(kind, entry, f"{path}: {kind.name.lower()}")
    return draft.named(prefix or path.resolve().parent.name)


# -- shared by all formats ------------------------------------------------------------------------


class _Draft:
    """The labels that were read so far, and the line of each."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.labels: list[Label] = []
        self.lines: list[int] = []

    def error(self, line: int, problem: str) -> DataError:
        """An error whose message names the file and the line."""
        return _error(self.file, line, problem)

    def add(self, line: int, path: Sequence[str], number: str, kind: str = "0") -> None:
        """Add a label; its id and kind are texts, as in the file."""
        for what, text in ("id", number), ("kind", kind):
            if not _WHOLE.fullmatch(text):
                raise self.error(
                    line, f"{what} {shown(text)} of {shown(path[-1])} is not a whole number"
                )
        try:
            label = Label(tuple(path), int(number), int(kind))  # type: ignore[arg-type]
        except DataError as error:
            raise self.error(line, str(error)) from None
        self.labels.append(label)
        self.lines.append(line)

    def mark(self, kind: Kind, entry: int | str, where: str) -> None:
        """Set the kind of the labels that `entry` names: an id, or a name of a label or group."""
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
                raise DataError(
                    f"{where}: {entry!r} is ambiguous; write {' or '.join(named)} instead"
                )
            node = nodes[entry if entry in nodes else named[0]]
            chosen = [k for k, one in enumerate(self.labels) if one.path[: len(node)] == node]
        for k in chosen:
            if self.labels[k].kind not in (Kind.FOREGROUND, kind):
                raise DataError(f"{where}: {self.labels[k].name!r} is background already")
            self.labels[k] = dataclasses.replace(self.labels[k], kind=kind)

    def named(self, name: str) -> Named:
        """The name and the labels of the tree. Labels that contradict each other are an error."""
        if clash := first_clash(self.labels):
            raise self.error(self.lines[clash[0]], clash[1])
        return name, tuple(self.labels)


def _error(file: Path, line: int, problem: str) -> DataError:
    """An error whose message names the file and the line."""
    return DataError(f"{file}, line {line}: {problem}")


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file that are not blank, without blanks at their end: number and text."""
    for line, text in enumerate(read_text(file, _WHAT, DataError).split("\n"), 1):
        if text.strip():
            yield line, text.rstrip()
