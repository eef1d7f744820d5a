"""The viewer's JavaScript: how its modules become one script, and its own tests in node."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from regiontree.errors import ViewError
from regiontree.viewer.bundle import bundle
from regiontree.viewer.document import document

ROOT = Path(__file__).resolve().parents[1]
WEB = ROOT / "src" / "regiontree" / "viewer" / "web"
NODE = shutil.which("node")


def read_web(name: str) -> str:
    return (WEB / f"{name}.js").read_text(encoding="utf-8")


def bundled(**modules: str) -> str:
    return bundle("main", modules.__getitem__)


def run(script: str) -> str:
    """What a module prints in node."""
    if NODE is None:
        pytest.skip("node is not installed")
    done = subprocess.run(
        [NODE, "--input-type=module", "-"], input=script, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- one script from modules ----------------------------------------------------------------------


def test_a_module_runs_once_before_what_imports_it():
    script = bundled(
        main='import { b } from "./b.js";\nimport { c } from "./c.js";\nconsole.log(b, c);',
        b='import { d } from "./d.js";\nexport const b = "b" + d;',
        c='import { d } from "./d.js";\nexport function c2() {}\nexport const c = "c" + d;',
        d='console.log("once");\nexport const d = "d";',
    )
    assert run(script) == "once\nbd cd\n"


def test_names_that_are_not_exported_stay_private():
    script = bundled(
        main='import { get } from "./a.js";\nconst secret = 1;\nconsole.log(secret, get());',
        a="const secret = 2;\nexport function get() {\n  return secret;\n}",
    )
    assert run(script) == "1 2\n"


def test_all_that_can_be_exported_and_a_wait_in_the_last_module():
    script = bundled(
        main='import { A, f, g, x } from "./a.js";\nconsole.log(new A().x, f(), await g(), x);',
        a="export class A {\n  x = 1;\n}\nexport function f() {\n  return 2;\n}\n"
        "export async function g() {\n  return 3;\n}\nexport const x = 4;",
    )
    assert run(script) == "1 2 3 4\n"


def test_text_that_only_looks_like_an_import_is_left_alone():
    text = '  // import { x } from "y"\n/** @import { T } from "./t.js" */\nconst exported = 1;'
    assert bundled(main=text) == text


@pytest.mark.parametrize(
    "line",
    [
        'import x from "./a.js";',
        'import * as x from "./a.js";',
        'import { x as y } from "./a.js";',
        'import { x } from "./sub/a.js";',
        'import { x } from "https://a.example/a.js";',
        'import "./a.js";',
        "import {",
        "export default 1;",
        "export let x = 1;",
        "export { x };",
        'export * from "./a.js";',
        "export const { x } = y;",
    ],
)
def test_other_forms_are_refused_with_their_line(line):
    with pytest.raises(ViewError, match=r"main\.js, line 2: ") as caught:
        bundled(main=f"\n{line}", a="export const x = 1;")
    assert repr(line) in str(caught.value)


def test_a_name_that_is_not_exported_cannot_be_imported():
    with pytest.raises(ViewError, match=r"main\.js, line 1: a\.js does not export y"):
        bundled(main='import { x, y } from "./a.js";', a="export const x = 1;\nconst y = 2;")


def test_a_circle_is_refused():
    with pytest.raises(ViewError, match=r"circle: main\.js -> a\.js -> b\.js -> a\.js"):
        bundled(
            main='import { a } from "./a.js";',
            a='import { b } from "./b.js";\nexport const a = 1;',
            b='import { a } from "./a.js";\nexport const b = 1;',
        )


def test_a_module_that_is_not_there_is_named():
    def read(name: str) -> str:
        if name == "main":
            return 'import { x } from "./gone.js";'
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.raises(ViewError, match=r"gone\.js: cannot be read .*imported by main\.js"):
        bundle("main", read)


@pytest.mark.parametrize("text", ['const x = "</script>";', "// </SCRIPT", "const y = '<!--';"])
def test_text_that_would_end_the_script_is_refused(text):
    with pytest.raises(ViewError, match=r"main\.js: .*HTML"):
        bundled(main=text)


# -- the modules of the pages ---------------------------------------------------------------------


def test_every_module_is_on_a_page():
    entries = {"page", "thumbnails", "categories"}
    scripts = [bundle(entry, read_web) for entry in sorted(entries)]
    used = {name for script in scripts for name in re.findall(r"^const \$(\w+) =", script, re.M)}
    assert used | entries == {file.stem for file in WEB.glob("*.js")}


def test_a_document_without_a_script_allows_none():
    parts = {"TITLE": "t", "FACTS": "", "BODY": ""}
    html = document("index.html", styles=[], script=None, images="data:", parts=parts)
    assert "<script" not in html
    assert "script-src 'none'" in html


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_the_tests_of_the_pure_modules_pass():
    assert NODE is not None
    files = sorted((ROOT / "tests" / "web").glob("*.test.js"))
    assert files
    done = subprocess.run(
        [NODE, "--test", *map(str, files)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
