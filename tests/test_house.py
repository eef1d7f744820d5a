"""The house: few modules at the root, imports that only go down, and a map that is true.

The contract is the one that ``make lint`` checks (``[tool.importlinter]`` in ``pyproject.toml``).
Here it is also shown to fail where it must, on a copy of the package with a planted import.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "src" / "regiontree"
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "importlinter"
]["contracts"]
# The rooms that share a layer, the highest layer first.
LAYERS = [
    {room.strip() for room in layer.split("|")}
    for contract in CONTRACTS
    if contract["type"] == "layers"
    for layer in contract["layers"]
]
MAP_HEAD = ["room", "what flows through it", "modules"]


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_root_holds_at_most_nine_modules():
    assert len(list(PACKAGE.glob("*.py"))) <= 9


def test_importing_the_package_loads_neither_numpy_nor_torch():
    said = python("-c", "import regiontree, sys; print({'numpy', 'torch'} & set(sys.modules))")
    assert said.stdout.strip() == "set()", said.stderr


def test_ci_runs_every_test():
    """Each command of ``.ci/run`` that tests, and the marks that it selects in the Makefile."""
    commands = re.findall(r"^make (\S+)$", (ROOT / ".ci" / "run").read_text(), flags=re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    rules = dict(re.findall(r"^(test\S*):.*\n((?:\t.*\n)+)", makefile, flags=re.MULTILINE))
    tests = [rules[name] for name in commands if name in rules]
    selected = [re.search(r"pytest .*-m \"?(.+?)\"?\n", rule) for rule in tests]
    marks = ["not slow and not torture and not cluster", "slow and not cluster"]
    assert sorted(found[1] for found in selected if found) == marks
    assert {"torture", "cluster"} <= set(commands)


# -- the contract ---------------------------------------------------------------------------------


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contract of `folder`/pyproject.toml on the package in `folder`/src."""
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return python(
        "-c", program, "--no-cache", "--no-logo", "--config", str(folder / "pyproject.toml"),
        PYTHONPATH=str(folder / "src"),
    )  # fmt: skip


@pytest.fixture
def linter() -> None:
    if importlib.util.find_spec("importlinter") is None:
        pytest.skip("import-linter is not installed: it comes with the extra 'dev'")


@pytest.fixture
def copied(linter: None, tmp_path: Path) -> Path:
    """A copy of the package and its contract, to plant imports in."""
    shutil.copytree(
        PACKAGE,
        tmp_path / "src" / "regiontree",
        ignore=shutil.ignore_patterns("__pycache__", "*.js", "*.html", "*.yaml"),
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def plant(folder: Path, **modules: str) -> None:
    """Write modules into the room `system` of a copy."""
    for name, text in modules.items():
        (folder / "src" / "regiontree" / "system" / f"{name}.py").write_text(text)


def test_imports_keep_to_the_contract(linter):
    said = lint_imports(ROOT)
    assert said.returncode == 0, said.stdout + said.stderr


def test_an_import_that_goes_up_breaks_the_contract(copied):
    plant(copied, planted="def late():\n    import regiontree.parser\n")
    said = lint_imports(copied)
    assert said.returncode == 1, said.stdout + said.stderr
    assert "regiontree.system.planted -> regiontree.parser" in said.stdout


def test_modules_of_one_room_that_import_each_other_break_the_contract(copied):
    plant(
        copied,
        planted_one="import regiontree.system.planted_two\n",
        planted_two="def late():\n    import regiontree.system.planted_one\n",
    )
    said = lint_imports(copied)
    assert said.returncode == 1, said.stdout + said.stderr
    assert "planted_one" in said.stdout
    assert "planted_two" in said.stdout


def test_a_room_that_the_contract_does_not_name_breaks_it(copied):
    room = copied / "src" / "regiontree" / "attic"
    room.mkdir()
    (room / "__init__.py").write_text("")
    said = lint_imports(copied)
    assert said.returncode == 1, said.stdout + said.stderr
    assert "attic" in said.stdout + said.stderr


# -- the map --------------------------------------------------------------------------------------


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]


def rows_of_map(page: str) -> list[tuple[list[str], list[str]]]:
    """Rooms and modules that each row of the map names, as written between backticks."""
    lines = iter(page.splitlines())
    for line in lines:
        if cells(line) == MAP_HEAD:
            break
    else:
        raise AssertionError(f"no table is headed {' | '.join(MAP_HEAD)}")
    next(lines)  # the rule below the head
    named = []
    for line in lines:
        if not line.startswith("|"):
            break
        rooms, _, modules = cells(line)
        named.append((re.findall(r"`([^`]+)`", rooms), re.findall(r"`([^`]+)`", modules)))
    return named


def plain(name: str) -> str:
    """The name of a module or room: without ``.py``, or the slash of a folder."""
    return name.removesuffix(".py").removesuffix("/")


def modules_of(room: str) -> set[str]:
    """The modules of a room and the folders of modules in it; none where the room is a file."""
    folder = PACKAGE / room
    files = {file.stem for file in folder.glob("*.py")} - {"__init__"}
    return files | {file.parent.name for file in folder.glob("*/__init__.py")}


@pytest.fixture(scope="module")
def house_map() -> list[tuple[list[str], list[str]]]:
    return rows_of_map((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


def check_rooms(named: list[tuple[list[str], list[str]]]) -> None:
    """Every room once, in the order of the contract, from either end; a layer in any order."""
    layer_of = {room: number for number, layer in enumerate(LAYERS) for room in layer}
    rooms = [plain(room) for rooms, _ in named for room in rooms]
    rooms = [room for room in rooms if room not in ("__init__", "__main__")]
    assert sorted(rooms) == sorted(layer_of)
    order = [layer_of[room] for room in rooms]
    assert order in (sorted(order), sorted(order, reverse=True))


def check_modules(named: list[tuple[list[str], list[str]]]) -> None:
    """Every module of each room, and nothing that is not there."""
    for rooms, names in named:
        expected = set().union(*(modules_of(plain(room)) for room in rooms))
        modules = {plain(name) for name in names}
        assert not expected - modules, f"{rooms}: not in the map"
        # A room that is one file may name itself, and files that are not Python may be named.
        there = {
            name
            for name in modules - expected
            for room in rooms
            if name == plain(room) or (PACKAGE / plain(room) / name).exists()
        }
        assert not modules - expected - there, f"{rooms}: named, and not there"


def test_the_map_names_the_rooms_in_the_order_of_the_contract(house_map):
    check_rooms(house_map)


def test_the_map_names_every_module_of_each_room_and_no_other(house_map):
    check_modules(house_map)


def test_a_map_that_is_not_true_is_noticed():
    rooms = [room for layer in LAYERS for room in sorted(layer)]
    true = [([room], sorted(modules_of(room))) for room in rooms]
    check_rooms(true)
    check_rooms(true[::-1])
    check_modules(true)
    for wrong in (true[:-1], [true[-1], *true[:-1]], [*true, (["attic"], [])]):
        with pytest.raises(AssertionError):
            check_rooms(wrong)
    for change in (lambda modules: modules[1:], lambda modules: [*modules, "attic.py"]):
        with pytest.raises(AssertionError):
            check_modules([(room, change(modules)) for room, modules in true])


def test_the_map_is_read_from_its_table():
    head = "Text\n\n| room | what flows through it | modules |\n|---|---|---|\n"
    rows = "| `tree/` | trees | `file.py`, `stop.py` |\n| `cli.py` | words | |\n\n| a | b | c |\n"
    assert rows_of_map(head + rows) == [(["tree/"], ["file.py", "stop.py"]), (["cli.py"], [])]
