"""Each sentence of the pages and of ``--help`` stands beside a test, or says why it has none."""

from __future__ import annotations

import re

import pytest
import sentences

PAGES = sentences.pages()
HOW = (
    "Run `python tests/sentences.py`. Then replace each ? in {file} by the test that would fail if "
    "the sentence were false, write that test, or strike the sentence. Sentences that promise "
    f"nothing get one of {', '.join(sentences.NO_TEST)} (see tests/sentences.py)."
)


def faults(rows: dict[str, str], said: list[str]) -> list[str]:
    """What is wrong with the rows of a page that says `said`."""
    found = [f"new or changed: {sentence}" for sentence in said if sentence not in rows]
    found += [f"not on the page any more: {one}" for one in rows if one not in said]
    for sentence, tests in rows.items():
        if not tests or sentences.OPEN in tests:
            found.append(f"waits for a test: {sentence}")
        elif tests not in sentences.NO_TEST:
            for test in tests.split():
                file, _, name = test.partition("::")
                if name not in sentences.tests_in(file):
                    found.append(f"there is no test {test}, of: {sentence}")
    return found


@pytest.mark.parametrize("name", PAGES)
def test_every_sentence_has_its_test(name):
    wrong = faults(sentences.read(name), PAGES[name])
    assert not wrong, "\n".join([HOW.format(file=f"tests/promises/{name}.tsv"), *wrong])


def test_each_file_has_its_page():
    files = {
        path.relative_to(sentences.PROMISES).with_suffix("").as_posix()
        for path in sentences.PROMISES.rglob("*.tsv")
    }
    assert files == set(PAGES)


PAGE = """---
title: x
---
# Title

First sentence, with `a. B` in
it. Second (of two). **Third** [link](x.md)! e.g. this

| head | er |
|---|---|
| one. Two | b |

- item. Another
  line

```sh
code. More
```
<!-- table: t.csv
x -->
| generated | 1 |
<!-- end -->
"""
SAID = [
    "First sentence, with `a. B` in it.",
    "Second (of two).",
    "Third link! e.g. this",
    "one. Two | b",
    "item.",
    "Another line",
]
TEST = "test_promises.py::test_each_file_has_its_page"


def test_a_page_becomes_sentences():
    assert sentences.sentences(PAGE) == SAID


def test_help_becomes_sentences():
    said = sentences.help_sentences()
    assert "segment: A second run skips finished images." in said
    assert len([one for one in said if one.startswith("--bands: ")]) == 1  # of three commands
    assert any(one.startswith("--max-pixels: ") for one in said)


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ({}, "new or changed: It never fails."),
        ({"It never fails.": "-", "Old.": "-"}, "not on the page any more: Old."),
        ({"It never fails.": ""}, "waits for a test: It never fails."),
        ({"It never fails.": f"? {TEST}"}, "waits for a test: It never fails."),
        ({"It never fails.": "test_promises.py::test_no"}, "there is no test test_promises.py"),
        ({"It never fails.": "test_gone.py::test_no"}, "there is no test test_gone.py"),
        ({"It never fails.": "maybe"}, "there is no test maybe"),
    ],
)
def test_a_promise_without_a_test_is_noticed(rows, fault):
    assert any(one.startswith(fault) for one in faults(rows, ["It never fails."]))


def test_a_promise_with_a_test_passes():
    for tests in (TEST, f"{TEST} {TEST}", "-"):
        assert faults({"It never fails.": tests}, ["It never fails."]) == []


def test_a_changed_sentence_waits_with_its_test():
    old = {"The exit code is 1 if some fail.": TEST, "Unchanged.": "-"}
    now = ["Unchanged.", "The exit code is 2 if some fail.", "Quite another thing: 12345 67890"]
    assert sentences.update(old, now) == {
        "Unchanged.": "-",
        "The exit code is 2 if some fail.": f"? {TEST}",
        "Quite another thing: 12345 67890": "?",
    }


def test_tests_are_found_without_importing_them():
    found = sentences.tests_in("test_backbone.py")
    assert "TestEmbedded::test_it_loads_and_parses_without_a_network" in found
    assert "test_altered_weights_are_refused" in found
    assert all(re.fullmatch(r"(Test\w+::)?test_\w+", name) for name in found)
