"""Make the tables of the docs from the files of results; with --check, say which do not match.

A table in Markdown stands between two comments::

    <!-- table: results/refine-accurate.csv results/refine-default.csv
    where: way = patch grid; guided
    columns: preset | way | NM = nm_percent | NM / NH = {nm_percent} / {nh_percent}
    -->

    | preset | way | NM | NM / NH |
    ...

    <!-- end -->

The first line names files below ``benchmarks/``; their rows follow each other. All other lines may
be left out:

- ``where: COLUMN = VALUE; VALUE`` keeps the rows with one of these values. It may stand more than
  once. If `across` names the column, its values stand in this order.
- ``columns:`` says which columns are shown, in order: NAME, or ``HEADING = NAME``, or ``HEADING =``
  any text with {NAME} in it. Without it all columns are shown that have a figure, but those that
  `where` holds at one value.
- ``across: COLUMN, COLUMN`` puts the different values of these columns side by side. Rows that are
  equal in ``columns`` become one, and ``cells:``, written as `columns` is, says what is shown for
  each value; its headings may hold {COLUMN}, too.
- ``bold: COLUMN = VALUE; VALUE`` sets rows in bold.

    python benchmarks/tables.py            # writes the tables into README.md and docs/
    python benchmarks/tables.py --check    # exit status 1 if one does not match its CSV
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from _schema import read_results, schema

BENCHMARKS = Path(__file__).resolve().parent
REPOSITORY = BENCHMARKS.parent
BLOCK = re.compile(r"(?P<head><!-- table: (?P<spec>.*?)-->\n)(?P<body>.*?)(?P<end><!-- end -->)",
                   re.S)  # fmt: skip
KEYS = ("where", "columns", "across", "cells", "bold")

Row = dict[str, str]


@dataclass(frozen=True)
class Item:
    """A column of a Markdown table: its heading, and a template of its cells."""

    heading: str
    template: str

    def cell(self, row: Row) -> str:
        """Empty where none of the columns that the template names has a value."""
        names = re.findall(r"\{(.+?)\}", self.template)
        if names and not any(row[name] for name in names):
            return ""
        return filled(self.template, row)


@dataclass
class Spec:
    """What a marker asks for."""

    files: list[str]
    where: list[tuple[str, list[str]]] = field(default_factory=list)
    bold: list[tuple[str, list[str]]] = field(default_factory=list)
    across: list[str] = field(default_factory=list)
    columns: str = ""
    cells: str = ""


def parse(text: str) -> Spec:
    """The spec in a marker, after ``table:``."""
    first, *lines = text.strip().splitlines()
    spec = Spec(first.split())
    for line in lines:
        key, colon, value = (part.strip() for part in line.partition(":"))
        if not colon or key not in KEYS:
            raise ValueError(f"a line must begin with one of {', '.join(KEYS)}, got {line!r}")
        if key in ("where", "bold"):
            name, _, values = value.partition("=")
            getattr(spec, key).append((name.strip(), [v.strip() for v in values.split(";")]))
        elif key == "across":
            spec.across = [name.strip() for name in value.split(",")]
        else:
            setattr(spec, key, value)
    return spec


def filled(template: str, row: Row) -> str:
    return re.sub(r"\{(.+?)\}", lambda found: row[found[1]], template)


def items(text: str, titles: dict[str, str]) -> list[Item]:
    """The columns that a line ``columns:`` or ``cells:`` asks for."""
    found = []
    for part in text.split(" | "):
        heading, equals, template = (piece.strip() for piece in part.partition(" = "))
        template = template if equals else heading
        if template in titles:
            heading = heading if equals else titles[template]
            template = f"{{{template}}}"
        found.append(Item(heading, template))
    return found


def markdown(text: str, folder: Path = BENCHMARKS) -> str:
    """The table that a marker asks for, of the files below `folder`."""
    spec = parse(text)
    rows: list[Row] = []
    titles: dict[str, str] = {}
    for name in spec.files:
        results = read_results(folder / name)
        columns = schema(results.table)
        if titles and [column.name for column in columns] != list(titles):
            raise ValueError(f"{name} has other columns than {spec.files[0]}")
        titles = {column.name: column.title for column in columns}
        rows += results.rows
    for name, values in spec.where:
        if missing := set(values) - {row[name] for row in rows}:
            raise ValueError(f"no row has {name} = {sorted(missing)[0]}")
        rows = [row for row in rows if row[name] in values]
    if not rows:
        raise ValueError("no row is left")
    constant = {name for name, values in spec.where if len(values) == 1}
    shown = items(spec.columns, titles) if spec.columns else [
        Item(titles[name], f"{{{name}}}") for name in titles
        if name not in constant and any(row[name] for row in rows)
    ]  # fmt: skip
    if spec.across:
        order = dict(spec.where)
        values = [tuple(row[name] for name in spec.across) for row in rows]
        values.sort(key=lambda v: [order[name].index(part) if name in order else 0
                                   for name, part in zip(spec.across, v, strict=True)])  # fmt: skip
        cells = items(spec.cells, titles)
        header, body = side_by_side(rows, shown, spec.across, cells, list(dict.fromkeys(values)))
    else:
        header = [item.heading for item in shown]
        body = [[item.cell(row) for item in shown] for row in rows]
        for name, values in spec.bold:
            for row, cells in zip(rows, body, strict=True):
                if row[name] in values:
                    cells[:] = [cell and f"**{cell}**" for cell in cells]
    return table_text(header, body)


def side_by_side(
    rows: Sequence[Row],
    keys: Sequence[Item],
    across: Sequence[str],
    cells: Sequence[Item],
    values: Sequence[tuple[str, ...]],
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table with the `values` of the columns `across` side by side."""
    lines: dict[tuple[str, ...], dict[tuple[str, ...], Row]] = {}
    for row in rows:
        line = lines.setdefault(tuple(key.cell(row) for key in keys), {})
        value = tuple(row[name] for name in across)
        if value in line:
            raise ValueError(f"two rows have {dict(zip(across, value, strict=True))}")
        line[value] = row
    wanted = [
        (item, value)
        for item in cells
        for value in values
        if any(item.cell(line[value]) for line in lines.values() if value in line)
    ]
    header = [key.heading for key in keys] + [
        filled(item.heading, dict(zip(across, value, strict=True))) for item, value in wanted
    ]
    return header, [
        [*key, *(item.cell(line[value]) if value in line else "" for item, value in wanted)]
        for key, line in lines.items()
    ]


def table_text(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table. A column of figures is set to the right."""
    figures = [
        all(re.match(r"[*+(<~-]*\d|$", row[i]) for row in body) and any(row[i] for row in body)
        for i in range(len(header))
    ]
    rule = ["---:" if figure else "---" for figure in figures]
    return "".join("| " + " | ".join(row) + " |\n" for row in (header, rule, *body))


def pages(root: Path = REPOSITORY) -> list[Path]:
    """The pages that may hold tables."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def made(text: str, folder: Path = BENCHMARKS) -> str:
    """A page with its tables made again."""
    if (markers := text.count("<!-- table:")) != len(BLOCK.findall(text)):
        raise ValueError(f"{markers} markers '<!-- table:', but not each has its '<!-- end -->'")
    return BLOCK.sub(lambda m: f"{m['head']}\n{markdown(m['spec'], folder)}\n{m['end']}", text)


def wrong_pages(root: Path = REPOSITORY, *, write: bool = False) -> list[str]:
    """What is wrong with the pages' tables, a line each; with `write` they are written first."""
    wrong = []
    for page in pages(root):
        before = page.read_text(encoding="utf-8")
        name = page.relative_to(root).as_posix()
        try:
            after = made(before, root / "benchmarks")
        except (ValueError, KeyError, OSError) as error:
            wrong.append(f"{name}: {error}")
            continue
        if before == after:
            continue
        if write:
            page.write_text(after, encoding="utf-8")
            print(f"wrote {name}")
        else:
            pairs = zip(before.splitlines(), after.splitlines(), strict=False)
            at = next((line for line, (old, new) in enumerate(pairs, 1) if old != new), 0)
            wrong.append(f"{name}, line {at}: a table does not match its CSV")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if one differs")
    check = parser.parse_args().check
    if wrong := wrong_pages(write=not check):
        sys.exit("\n".join([*wrong, "run python benchmarks/tables.py"]))


if __name__ == "__main__":
    main()
