"""Every sentence of the pages and of ``--help``, and the test that would fail if it were false.

``tests/promises/`` has a file for each page. A line of it is the test, a tab and the sentence. In
place of a test stands a word from `NO_TEST` that says why there is none.

    python tests/sentences.py

brings the files up to date. A sentence that is new, or that has changed, gets a ``?``. Replace the
``?`` by the test that would fail if the sentence were false, or write that test, or strike the
sentence. `test_promises.py` refuses a ``?``. The tests of a page run with

    cd tests && pytest $(python sentences.py guide/many)
"""

from __future__ import annotations

import ast
import difflib
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROMISES = ROOT / "tests" / "promises"
OPEN = "?"
NO_TEST = {
    "-": "no promise: advice, a question, a definition, a reason, or what the next lines show",
    "measured": "a figure or a finding of a benchmark, which the page or its record names",
    "outside": "what another program, server or paper does",
    "machine": "needs a machine that tests do not have: a GPU, the hub, a cluster",
}
# Pages of studies: their figures come from CSV files, which tests/test_tables.py compares.
STUDIES = {"decisions"}


def pages() -> dict[str, list[str]]:
    """The sentences of each page, by the name of its file in ``tests/promises/``."""
    docs = ROOT / "docs"
    found = {"README": sentences((ROOT / "README.md").read_text(encoding="utf-8"))}
    for path in [*docs.glob("*.md"), *docs.glob("guide/*.md"), *docs.glob("how-to/*.md")]:
        if path.parent != docs or path.stem not in STUDIES:
            name = path.relative_to(docs).with_suffix("").as_posix()
            found[name] = sentences(path.read_text(encoding="utf-8"))
    for path in docs.glob("notebooks/*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
        found[f"notebooks/{path.stem}"] = sentences(text)
    found["help"] = help_sentences()
    return dict(sorted(found.items()))


# -- from pages to sentences ----------------------------------------------------------------------


def sentences(markdown: str) -> list[str]:
    """The sentences of a page and the rows of its tables, without code and generated tables."""
    text = re.sub(r"\A---\n.*?\n---\n", "", markdown, flags=re.S)
    text = re.sub(r"^```.*?^```$", "\n", text, flags=re.S | re.M)
    text = re.sub(r"<!-- table:.*?<!-- end -->", "\n", text, flags=re.S)
    text = re.sub(r"<!--.*?-->", "\n", text, flags=re.S)
    found: list[str] = []
    for block in _blocks(text):
        found += [block] if " | " in block else split(block)
    return list(dict.fromkeys(found))


def _blocks(text: str) -> Iterator[str]:
    """Paragraphs, items of lists and rows of tables, each in one line without Markdown."""
    for paragraph in re.split(r"\n\s*\n", text):
        lines: list[str] = []
        starts_table = True  # of whose rows the first is the head
        for line in paragraph.splitlines():
            if line.startswith(("#", "    ")) or re.fullmatch(r"[|:\- ]+", line):
                continue
            row = line.startswith("|")
            if row and starts_table:
                starts_table = False
                continue
            if row:
                line = " | ".join(cell.strip() for cell in line.strip().strip("|").split(" | "))
                lines.append(line)
            elif not lines or re.match(r"\s*([-*]|\d+\.) ", line):
                lines.append(re.sub(r"^\s*([-*]|\d+\.) ", "", line))
            else:
                lines[-1] += " " + line.strip()
        yield from filter(None, map(_plain, lines))


def _plain(line: str) -> str:
    line = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", line)
    line = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line)
    return " ".join(line.replace("**", "").replace("\t", " ").split())


def split(paragraph: str) -> list[str]:
    """The sentences of a paragraph; a full stop within backticks ends none."""
    kept: list[str] = []
    masked = re.sub(r"`[^`]*`", lambda code: "`" + "_" * (len(code[0]) - 2) + "`", paragraph)
    start = 0
    for end in re.finditer(r"(?<=[.!?])(?<!\bal\.)[)\"*]*\s+(?=[A-Z0-9`(\"*])", masked):
        kept.append(paragraph[start : end.end()].strip())
        start = end.end()
    return [sentence for sentence in [*kept, paragraph[start:].strip()] if sentence]


def help_sentences() -> list[str]:
    """What ``--help`` says: of the commands with their names, of each option only once."""
    import typer.main

    from regiontree.cli import app

    group = typer.main.get_command(app)
    found = [f"regiontree: {sentence}" for sentence in split(group.help or "")]
    for name, command in sorted(group.commands.items()):  # type: ignore[attr-defined]
        found += [f"{name}: {each}" for each in split(" ".join((command.help or "").split()))]
        for option in command.params:
            title = max(option.opts, key=len)
            title = title if title.startswith("-") else f"{name} {title}"
            text = " ".join((getattr(option, "help", None) or "").split())
            found += [f"{title}: {each}" for each in split(text)]
    return list(dict.fromkeys(found))


# -- the files in tests/promises/ ----------------------------------------------------------------


def read(name: str) -> dict[str, str]:
    """The test of each sentence, as the file of a page says."""
    path = PROMISES / f"{name}.tsv"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = [line.partition("\t") for line in lines if line]
    return {sentence: test for test, _, sentence in rows}


def update(old: dict[str, str], now: list[str]) -> dict[str, str]:
    """The rows of a page that says `now`; the tests of what has changed are kept behind a ?."""
    gone = [sentence for sentence in old if sentence not in now]
    rows = {}
    for sentence in now:
        if sentence in old:
            rows[sentence] = old[sentence]
            continue
        near = difflib.get_close_matches(sentence, gone, n=1, cutoff=0.6)
        test = old[near[0]].removeprefix(OPEN).strip() if near else ""
        rows[sentence] = f"{OPEN} {test}".strip()
    return rows


@cache
def tests_in(file: str) -> frozenset[str]:
    """Names of the tests in a file below ``tests/``, read without importing it."""
    path = ROOT / "tests" / file
    if not path.is_file():
        return frozenset()
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        for function in inner:
            if isinstance(function, ast.FunctionDef) and function.name.startswith("test_"):
                names.add(prefix + function.name)
    return frozenset(names)


def main(names: list[str]) -> None:
    """Bring the files up to date, or print the tests of the pages that are named."""
    if names:
        tests = {test for name in names for row in read(name).values() for test in row.split()}
        print(*sorted(test for test in tests if "::" in test))
        return
    now = pages()
    for path in PROMISES.rglob("*.tsv"):
        if path.relative_to(PROMISES).with_suffix("").as_posix() not in now:
            path.unlink()
    for name, said in now.items():
        path = PROMISES / f"{name}.tsv"
        rows = update(read(name), said)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{test}\t{sentence}\n" for sentence, test in rows.items())
        path.write_text(text, encoding="utf-8")
        waiting = sum(test.startswith(OPEN) for test in rows.values())
        if waiting:
            print(f"{path.relative_to(ROOT)}: {waiting} sentences wait for a test")


if __name__ == "__main__":
    main(sys.argv[1:])
