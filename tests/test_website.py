"""The site: names without a docstring are found, links are changed, notebooks are kept clean."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT

griffe = pytest.importorskip("griffe", reason="the extra 'docs' is not installed")


@pytest.fixture
def website(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from website import docstrings, links, notebooks, roles

    return {"docstrings": docstrings, "links": links, "notebooks": notebooks, "roles": roles}


def package(tmp_path, website, text):
    (tmp_path / "little").mkdir()
    (tmp_path / "little/__init__.py").write_text(text)
    return website["docstrings"].load_package("little", tmp_path)


def test_a_package_with_docstrings_passes(tmp_path, website):
    text = '''"""A package."""
__all__ = ["SIZE", "Base", "Child", "run"]
SIZE = 3
"""A size."""
class Base:
    """A base."""
    def go(self):
        """Go."""
class Child(Base):
    """A child."""
    def go(self): ...
    def _hidden(self): ...
def run():
    """Run."""
def private(): ...
'''
    assert website["docstrings"].undocumented(package(tmp_path, website, text)) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("__all__ = []", "module little has no docstring"),
        ('"""A."""\n__all__ = ["run"]\ndef run(): ...', "function little.run"),
        ('"""A."""\n__all__ = ["SIZE"]\nSIZE = 3', "attribute little.SIZE"),
        ('"""A."""\n__all__ = ["A"]\nclass A:\n    """A."""\n    def go(self): ...', "little.A.go"),
        ('"""A."""\n__all__ = ["gone"]', "names 'gone', which is not there"),
    ],
)
def test_what_lacks_a_docstring_is_named(tmp_path, website, text, found):
    missing = website["docstrings"].undocumented(package(tmp_path, website, text))
    assert len(missing) == 1
    assert found in missing[0]


def test_every_public_name_of_ours_has_a_docstring(website):
    assert website["docstrings"].undocumented(website["docstrings"].load_package()) == []


def test_roles_become_links(tmp_path, website):
    text = '"""A."""\n__all__ = ["run"]\ndef run():\n    """Run."""\n'
    little = package(tmp_path, website, text)

    def markdown(docstring):
        return website["roles"].markdown_of(docstring, little, little)

    assert markdown("See :func:`run`.") == "See [`run`][little.run]."
    assert markdown("See :func:`~little.run`.") == "See [`run`][little.run]."
    assert markdown("See :func:`running <little.run>`.") == "See [`running`][little.run]."
    assert markdown("See :func:`little.walk`.") == "See [`little.walk`][little.walk]."  # refused
    assert markdown("See :class:`numpy.ndarray`.") == "See `numpy.ndarray`."
    assert markdown("a -> b") == "a -> b"
    drawn = "a  (x)\n  -> b  (y)\n     more\n  -> c"
    assert markdown(f"A.\n\n{drawn}\n\nB.") == f"A.\n\n```{{ .text .steps }}\n{drawn}\n```\n\nB."
    assert markdown(">>> run()  # doctest: +SKIP\n3") == "```pycon\n>>> run()\n3\n```"


def test_the_default_of_a_setting_is_its_value_alone(tmp_path, website):
    text = '''"""A."""
from dataclasses import dataclass
@dataclass
class Sizes:
    """Sizes."""
    window: int = setting(48, "Frames.", low=2)
    other: int = len("abc")
'''
    (tmp_path / "little").mkdir()
    (tmp_path / "little/__init__.py").write_text(text)
    extensions = griffe.load_extensions(website["roles"].RolesExtension)
    little = griffe.load("little", search_paths=[tmp_path], extensions=extensions)
    assert str(little["Sizes.window"].value) == "48"
    assert little["Sizes"].docstring.value.endswith("window\n    Frames.")
    shown = {one.name: str(one.default) for one in little["Sizes"].parameters}
    assert shown["window"] == "48"
    assert shown["other"] == "len('abc')"


def test_links_that_leave_docs_lead_to_copies(tmp_path, website):
    links = website["links"]
    (tmp_path / "docs/guide").mkdir(parents=True)
    page = tmp_path / "docs/guide/a.md"
    (tmp_path / "CHANGES.md").write_text("[a](docs/guide/a.md#top)")
    page.write_text("[c](../../CHANGES.md#x) [b](b.md) [w](https://example.org)")
    assert links.files_outside([page], tmp_path) == {tmp_path / "CHANGES.md"}
    assert links.rewrite(page.read_text(), page, tmp_path) == (
        "[c](../repository/CHANGES.md#x) [b](b.md) [w](https://example.org)"
    )
    changes = tmp_path / "CHANGES.md"
    assert links.rewrite(changes.read_text(), changes, tmp_path) == "[a](../guide/a.md#top)"


def test_a_notebook_becomes_a_page(website):
    nbformat = pytest.importorskip("nbformat")
    v4 = nbformat.v4
    code = v4.new_code_cell("print(3)")
    code.outputs = [v4.new_output("stream", text="\x1b[1m3\x1b[0m\n")]
    drawn = v4.new_code_cell("draw()")
    drawn.outputs = [v4.new_output("display_data", data={"image/png": "AAEC"})]
    book = v4.new_notebook(cells=[v4.new_markdown_cell("# Title"), code, drawn])
    page = website["notebooks"].notebook_page(book, "book")
    assert page.markdown.startswith("# Title\n")
    assert "\n3\n" in page.markdown
    assert "](book-2-0.png)" in page.markdown
    assert page.pictures == {"book-2-0.png": b"\x00\x01\x02"}


@pytest.mark.parametrize("path", sorted(ROOT.glob("docs/notebooks/*.ipynb")), ids=lambda p: p.stem)
def test_notebooks_are_stored_without_outputs(path):
    """Their pages are made by running them; in the repository, a change is a change of source."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs"), f"clear the outputs of {path.name}"
        assert cell.get("execution_count") is None


def test_a_picture_of_a_named_cell_has_its_name(website):
    nbformat = pytest.importorskip("nbformat")
    v4 = nbformat.v4
    cell = v4.new_code_cell("draw()", metadata={"name": "rare"})
    book = v4.new_notebook(cells=[v4.new_markdown_cell("# Title"), cell])
    assert website["notebooks"].named_pictures(book, "book") == ["book-rare.png"]
    assert website["notebooks"].notebook_page(book, "book").pictures == {}
    printed = v4.new_output("stream", text="3\n")
    cell.outputs = [printed, v4.new_output("display_data", data={"image/png": "AAEC"})]
    page = website["notebooks"].notebook_page(book, "book")
    assert page.pictures == {"book-rare.png": b"\x00\x01\x02"}
    assert "](book-rare.png)" in page.markdown


def test_pages_show_only_pictures_that_a_notebook_draws(website):
    nbformat = pytest.importorskip("nbformat")
    drawn = {
        name
        for path in ROOT.glob("docs/notebooks/*.ipynb")
        for name in website["notebooks"].named_pictures(nbformat.read(path, 4), path.stem)
    }
    shown = {
        name
        for path in ROOT.glob("docs/**/*.md")
        for name in re.findall(r"/notebooks/([\w-]+\.png)", path.read_text(encoding="utf-8"))
    }
    assert shown == drawn
    assert shown


LITTLE_SITE = """
site_name: little
docs_dir: pages
theme: {name: null, custom_dir: theme}
plugins: [autorefs]
validation: {nav: {omitted_files: warn}, links: {not_found: warn, anchors: warn}}
nav: [{Start: index.md}]
"""


@pytest.mark.parametrize(
    ("pages", "told"),
    [
        ({"index.md": "# A\n\n[top](#a)"}, None),
        ({"index.md": "# A\n\n[gone](gone.md)"}, "gone.md"),
        ({"index.md": "# A\n\n[gone](#nowhere)"}, "#nowhere"),
        ({"index.md": "# A\n\n[gone][little.nowhere]"}, "little.nowhere"),
        ({"index.md": "# A", "hidden.md": "# B"}, "hidden.md"),
    ],
    ids=["whole", "file", "anchor", "name", "nav"],
)
def test_a_warning_makes_the_build_fail(tmp_path, pages, told):
    """In a process of its own, as `make docs` runs it; without warnings it prints nothing."""
    pytest.importorskip("mkdocs_autorefs")
    (tmp_path / "pages").mkdir()
    (tmp_path / "theme").mkdir()
    (tmp_path / "theme/main.html").write_text("{{ page.content }}")
    (tmp_path / "mkdocs.yml").write_text(LITTLE_SITE)
    for name, text in pages.items():
        (tmp_path / "pages" / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "website.build", "--config", str(tmp_path / "mkdocs.yml")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if told is None:
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert (tmp_path / "site/index.html").is_file()
    else:
        assert done.returncode == 1
        assert "WARNING" in done.stderr
        assert told in done.stderr


def test_make_docs_builds_the_site_with_its_warnings():
    """`mkdocs build --quiet` lets every warning pass."""
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\ndocs:")[2]
    recipe = recipe.partition("\n\n")[0]
    assert "-m website.build\n" in recipe + "\n"
    assert "--draft" not in recipe
    assert "--quiet" not in recipe
