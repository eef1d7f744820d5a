"""What mkdocs calls while it builds the site: see ``hooks`` in mkdocs.yml.

Four kinds of pages are made here: the reference of the Python names, that of the commands, the
notebooks, and files of the repository that pages link to. The build fails if a public name has no
docstring, if a notebook raises an error, or if a page would load anything from another host.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # mkdocs loads this file by its path alone

from website import api, commands, docstrings, links, notebooks  # noqa: E402

# Parts of a page that a browser loads by itself. A link to follow is none of them.
_LOADED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b(?=[^>]*rel=["']?(?:stylesheet|preload|icon|preconnect))"""
    r"""[^>]*href=["']?((?:https?:)?//[^"'\s>]+)"""
)
_run_notebooks = True


def on_startup(*, command: str, dirty: bool) -> None:
    """While one writes (`mkdocs serve`), notebooks are shown without being run."""
    global _run_notebooks
    _run_notebooks = command == "build"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    package = docstrings.load_package()
    if missing := docstrings.undocumented(package):
        raise PluginError("\n".join(["Public names without a docstring:", *missing]))
    made: dict[str, str | bytes] = {
        f"reference/{name}": text for name, text in api.pages(package).items()
    }
    made["reference/command-line.md"] = commands.commands_page()
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        made |= _notebook(path)
    pages = [Path(file.abs_src_path) for file in files.documentation_pages()]
    for path in sorted(links.files_outside([*pages, *_PROJECT], ROOT) | set(_PROJECT)):
        made[links.place_on_site(path, ROOT)] = path.read_bytes()
    for address, content in made.items():
        if address.endswith(".md") and isinstance(content, bytes):
            content = content.decode("utf-8")
        files.append(File.generated(config, address, content=content))
    return files


_PROJECT = tuple(ROOT / f"{name}.md" for name in ("CONTRIBUTING", "CHANGELOG", "SECURITY"))


def _notebook(path: Path) -> dict[str, str | bytes]:
    notebook = notebooks.run_notebook(path) if _run_notebooks else _as_written(path)
    page = notebooks.notebook_page(notebook, path.stem)
    shown = dict.fromkeys(notebooks.named_pictures(notebook, path.stem), b"") | page.pictures
    if _run_notebooks and not all(shown.values()):
        raise PluginError(f"{path.name}: a cell with a name draws no picture")
    pictures = {f"notebooks/{name}": data for name, data in shown.items()}
    return {f"notebooks/{path.stem}.md": page.markdown, **pictures}


def _as_written(path: Path) -> Any:
    import nbformat

    return nbformat.read(path, as_version=4)


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Change links that lead out of docs/, or come from outside."""
    address = page.file.src_uri
    outside = address.removeprefix(f"{links.OUTSIDE}/")
    source = ROOT / "docs" / address if outside == address else ROOT / outside
    return links.rewrite(markdown, source, ROOT) if source.is_file() else markdown


def on_post_build(*, config: MkDocsConfig) -> None:
    """Refuse pages that would load anything from another host."""
    for path in sorted(Path(config.site_dir).rglob("*.html")):
        for match in _LOADED.finditer(path.read_text(encoding="utf-8")):
            raise PluginError(f"{path} loads {match[1] or match[2]} from another host")
