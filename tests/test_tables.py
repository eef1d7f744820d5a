"""The tables of the docs are those of their CSV files, and every CSV has its table's columns."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import _provenance
import tables
from _provenance import provenance
from _schema import SCHEMAS, read_results, schema, write_results

FILES = sorted((ROOT / "benchmarks/results").rglob("*.csv"))


def test_every_table_matches_its_csv():
    assert tables.wrong_pages(ROOT) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_has_the_columns_of_its_table_and_figures_in_them(path):
    results = read_results(path)
    assert results.rows
    for column in schema(results.table):
        for row in results.rows:
            if column.form and row[column.name]:
                float(row[column.name])


def copy_of_a_page(folder: Path) -> tuple[Path, Path]:
    """A repository with one page and its file of results."""
    (folder / "benchmarks/results").mkdir(parents=True)
    (folder / "docs").mkdir()
    (folder / "README.md").write_text("No table.\n")
    csv = folder / "benchmarks/results/forward.csv"
    shutil.copy(ROOT / "benchmarks/results/forward.csv", csv)
    page = folder / "docs/page.md"
    page.write_text("Before\n\n<!-- table: results/forward.csv -->\n<!-- end -->\n\nAfter\n")
    return page, csv


def test_a_figure_that_changes_in_the_csv_or_the_page_is_found(tmp_path):
    page, csv = copy_of_a_page(tmp_path)
    assert "page.md, line 4" in tables.wrong_pages(tmp_path)[0]
    assert tables.wrong_pages(tmp_path, write=True) == []
    assert "| bfloat16 | 2.07 | 1.21 |" in page.read_text()
    assert tables.wrong_pages(tmp_path) == []
    page.write_text(page.read_text().replace("2.07", "2.01"))
    assert len(tables.wrong_pages(tmp_path)) == 1
    tables.wrong_pages(tmp_path, write=True)
    csv.write_text(csv.read_text().replace("2.07", "2.08"))
    assert len(tables.wrong_pages(tmp_path)) == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("# table: forward\n", "# table: forwards\n", "forwards"),
        ("speed_ratio", "speed", "speed"),
        ("2.07,", "", "cells"),
        ("# command:", "# comand:", "command"),
    ],
)
def test_a_file_that_does_not_have_its_tables_form_is_told(tmp_path, old, new, said):
    _, csv = copy_of_a_page(tmp_path)
    csv.write_text(csv.read_text().replace(old, new))
    (wrong,) = tables.wrong_pages(tmp_path)
    assert said in wrong
    assert "forward.csv" in wrong


@pytest.mark.parametrize(
    "spec",
    [
        "results/forward.csv\nwhere: way = float64",
        "results/forward.csv\nsort: way",
        "results/forward.csv results/threads.csv",
    ],
)
def test_a_marker_that_asks_for_what_is_not_there_is_told(spec):
    with pytest.raises(ValueError, match=r"float64|sort|other columns"):
        tables.markdown(spec)


def test_what_a_benchmark_writes_is_what_the_tables_read(tmp_path):
    path = tmp_path / "a" / "presets.csv"
    rows = [("square", "fast", 0.1468), ("as, it is", "fast", None), ("square", "default", 2 / 3)]
    write_results(path, "presets", rows, {"command": "python benchmarks/presets.py"})
    results = read_results(path)
    assert results.about == {"command": "python benchmarks/presets.py"}
    assert [row["time_ratio"] for row in results.rows] == ["0.15", "", "0.67"]
    assert tables.markdown(
        "presets.csv\ncolumns: photograph\nacross: preset\n"
        "cells: {preset} = time_ratio | in words = {time_ratio} times\n"
        "where: preset = default; fast",
        path.parent,
    ) == (
        "| photograph | default | fast | in words | in words |\n"
        "| --- | ---: | ---: | ---: | ---: |\n"
        "| square | 0.67 | 0.15 | 0.67 times | 0.15 times |\n"
        "| as, it is |  |  |  |  |\n"
    )


def test_titles_say_the_unit():
    titles = [column.title for column in schema("refine-cost")]
    assert titles[:3] == ["way", "leaves", "time, s"]
    assert all(len({spec.partition(":")[0] for spec in specs}) == len(specs)
               for specs in SCHEMAS.values())  # fmt: skip


def test_the_list_of_decisions_names_every_record():
    index = (ROOT / "docs/decisions.md").read_text(encoding="utf-8")
    records = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert records
    for record in records:
        assert f"(decisions/{record.name})" in index
        number, title = record.read_text(encoding="utf-8").splitlines()[0][2:].split(". ", 1)
        assert record.name.startswith(f"{int(number):02}-")
        assert title in index


def test_results_say_which_machine_versions_and_commit_they_come_from(tmp_path):
    about = provenance()
    assert list(about) == ["machine", "versions", "commit"]
    assert about["machine"].startswith(f"{os.cpu_count()} x ")
    for package in ("torch", "numpy", "regiontree", "Python"):
        assert package in about["versions"]
    rows = [("square", "fast", 0.1468)]
    write_results(tmp_path / "p.csv", "presets", rows, {"command": "a script", **about})
    assert read_results(tmp_path / "p.csv").about == {"command": "a script", **about}


def test_a_commit_is_told_and_whether_the_code_differs(tmp_path, monkeypatch):
    monkeypatch.setattr(_provenance, "REPOSITORY", tmp_path)
    assert _provenance.commit() == "unknown"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("a = 1\n")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "a"], check=True)
    clean = _provenance.commit()
    assert len(clean) == 40
    (tmp_path / "src" / "a.py").write_text("a = 2\n")
    assert _provenance.commit() == f"{clean} and changes"
