"""What a release promises: names, versions, the changelog, extras, types, workflows."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import tomllib
from datetime import date
from pathlib import Path

import publicnames
import pytest
import yaml
from conftest import ROOT

import regiontree
from regiontree.system.doors import TREE_DOORS
from regiontree.tree import doors

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
FOR_DEVELOPERS = {"bench", "docs", "fuzz", "dev", "release"}
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
GROUPS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

sys.path.insert(0, str(ROOT / "tests" / "release"))
import extras  # noqa: E402

# -- public names ---------------------------------------------------------------------------------


def test_public_names_are_those_of_the_list():
    if changes := publicnames.changes():
        pytest.fail(changes, pytrace=False)


def test_a_change_of_a_public_name_is_told_with_what_to_do(monkeypatch, tmp_path):
    listed = publicnames.LIST.read_text(encoding="utf-8").splitlines()
    other = tmp_path / "list.txt"
    gone = next(line for line in listed if line.startswith("regiontree.parse("))
    other.write_text("\n".join([*listed, "regiontree.older()"]).replace(gone + "\n", "") + "\n")
    monkeypatch.setattr(publicnames, "LIST", other)
    told = publicnames.changes()
    assert f"+{gone}" in told.splitlines()
    assert "-regiontree.older()" in told.splitlines()
    assert "DeprecationWarning" in told
    assert "CHANGELOG.md" in told


def test_the_list_has_modules_methods_settings_and_commands():
    listed = publicnames.LIST.read_text(encoding="utf-8").splitlines()
    assert "regiontree.RegionTree.newick()" not in listed
    assert any(line.startswith("regiontree.RegionTree.cut(*, n_regions: ") for line in listed)
    assert "regiontree.errors.ImageError class of RegionTreeError" in listed
    assert "setting parts.count" in listed
    assert "setting size is view.size" in listed
    assert "command view --port = 0" in listed
    for module in publicnames.MODULES:
        assert any(line.startswith(f"{module}.") for line in listed), module
    assert not [
        line for line in listed if re.search(r"\._|0x[0-9a-f]{6}", line) and "__v" not in line
    ]


def test_what_is_deprecated_is_what_the_page_says():
    page = (ROOT / "docs" / "stability.md").read_text(encoding="utf-8")
    now = page.split("## What is deprecated now\n\n")[1].split("\n\n")[0]
    warned = [
        path.name
        for path in (ROOT / "src").rglob("*.py")
        if re.search(r"\bwarn\([^)]*DeprecationWarning", path.read_text(encoding="utf-8"))
    ]
    assert (now == "Nothing.") == (not warned)
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    settings = table["tool"]["pytest"]["ini_options"]["filterwarnings"]
    assert "error::DeprecationWarning:regiontree" in settings


def test_short_names_of_settings_work_and_warn_of_nothing(recwarn):
    short = regiontree.Settings.make(size=448, tree="consensus", parts=100)
    long = regiontree.Settings.make(
        **{"view.size": 448, "tree.builder": "consensus", "parts.count": 100}
    )
    assert short == long
    assert not [one for one in recwarn if issubclass(one.category, DeprecationWarning)]


# -- types ----------------------------------------------------------------------------------------

KEYWORDS = {
    name: re.search(r"Unpack\[(\w+)\]", str(inspect.signature(getattr(doors.TreeDoors, name))))
    for name in TREE_DOORS
    if hasattr(doors.TreeDoors, name)
}


@pytest.mark.parametrize("name", sorted(TREE_DOORS))
def test_each_door_takes_what_its_function_takes(name):
    from regiontree.export.sam import MaskOptions

    real = inspect.signature(TREE_DOORS.get(name)).parameters
    door = inspect.signature(getattr(regiontree.RegionTree, name)).parameters
    told = [one for one in list(door.values())[1:] if one.kind is not one.VAR_KEYWORD]
    wanted = list(real.values())[1 : len(told) + 1]
    renamed = {"path": "folder"}  # to_masks writes a folder
    assert [(p.name, p.kind, p.default) for p in told] == [
        (renamed.get(p.name, p.name) if name == "to_masks" else p.name, p.kind, p.default)
        for p in wanted
    ]
    rest = {p.name: p.annotation for p in list(real.values())[len(told) + 1 :]}
    if rest.pop("options", None) and KEYWORDS[name]:  # **options of masks
        rest |= {one.name: str(one.type) for one in dataclasses.fields(MaskOptions)}
    if KEYWORDS[name] is None:
        assert not rest
        return
    kind = getattr(doors, KEYWORDS[name][1])
    said = {key: _text(one) for key, one in kind.__annotations__.items()}
    assert said.keys() == rest.keys()
    loose = {"transform": "Any", "size": 'Literal["double", "image"]'}
    for key, annotation in rest.items():
        assert said[key] == loose.get(key, annotation).replace("'", '"'), key


def _text(annotation: object) -> str:
    return str(getattr(annotation, "__forward_arg__", annotation)).replace("'", '"')


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "src" / "regiontree" / "py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["classifiers"]
    lines = (ROOT / "tests/client/wrong.py").read_text(encoding="utf-8").splitlines()
    assert sum(line.endswith("# wrong") for line in lines) >= 10
    used = (ROOT / "tests/client/good.py").read_text(encoding="utf-8")
    for name in [*regiontree.__all__, *TREE_DOORS]:
        assert re.search(rf"\b{name}\b", used) or name == "_repr_html_", name


# -- versions and the changelog -------------------------------------------------------------------


def versions() -> list[tuple[str, str]]:
    """Versions of the changelog and their dates, as its headings say them."""
    return re.findall(r"^## \[([\d.]+)\] - (\S+)$", CHANGELOG, flags=re.M)


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    newest, day = versions()[0]
    assert regiontree.__version__ == newest == citation["version"]
    assert citation["date-released"] == date.fromisoformat(day)
    for path in (ROOT / "examples" / "kubernetes").iterdir():
        for found in re.findall(r"REGISTRY/[\w-]+:([\w.]+)", path.read_text(encoding="utf-8")):
            assert found == newest, path.name


def test_the_changelog_has_the_form_of_keep_a_changelog():
    headings = re.findall(r"^## (.*)$", CHANGELOG, flags=re.M)
    assert CHANGELOG.startswith("# Changelog\n")
    assert headings[0] == "[Unreleased]"
    assert headings[1:] == [f"[{version}] - {day}" for version, day in versions()]
    numbers = [tuple(map(int, version.split("."))) for version, _ in versions()]
    days = [date.fromisoformat(day) for _, day in versions()]
    assert all(len(number) == 3 for number in numbers)
    assert numbers == sorted(set(numbers), reverse=True)
    assert days == sorted(days, reverse=True)
    for part in re.split(r"^## ", CHANGELOG, flags=re.M)[1:]:
        groups = re.findall(r"^### (.*)$", part, flags=re.M)
        assert groups == [group for group in GROUPS if group in groups], part[:40]
        for text in re.split(r"^###+ .*$", part, flags=re.M)[1:]:
            lines = text.split("\n[Unreleased]:")[0].splitlines()
            assert all(re.match(r"(- |  |$)", line) for line in lines), text[:80]


def test_the_changelog_links_each_version_to_what_changed():
    links = dict(re.findall(r"^\[(\S+)\]: (\S+)$", CHANGELOG, flags=re.M))
    names = [version for version, _ in versions()]
    home = PROJECT["urls"]["Homepage"]
    wanted = {"Unreleased": f"{home}/compare/v{names[0]}...HEAD"}
    for version, before in zip(names, names[1:], strict=False):
        wanted[version] = f"{home}/compare/v{before}...v{version}"
    wanted[names[-1]] = f"{home}/releases/tag/v{names[-1]}"
    assert links == wanted


def test_the_citation_is_complete():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "license", "type"} <= citation.keys()
    paper = citation["preferred-citation"]
    assert {"type", "title", "authors", "year", "collection-title"} <= paper.keys()
    assert all({"family-names", "given-names"} <= author.keys() for author in paper["authors"])


# -- extras ---------------------------------------------------------------------------------------


def inside(extra: str) -> set[str]:
    """The extras that an extra takes with it."""
    found: set[str] = set()
    for need in EXTRAS[extra]:
        if told := re.match(r"regiontree\[([\w,]+)\]", need):
            found |= set(told[1].split(","))
    direct = {need.split(";")[0] for need in EXTRAS[extra]}
    found |= {other for other, needs in EXTRAS.items() if other != extra and set(needs) <= direct}
    return found


def left_out() -> set[str]:
    """The extras that the page about installing says are not in ``all``."""
    page = (ROOT / "docs/guide/install.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", page, flags=re.M)
    return {name for name, brings in rows if "not in `all`" in brings}


def test_all_is_every_extra_for_users_but_those_that_the_page_names():
    users = set(EXTRAS) - FOR_DEVELOPERS - {"all"}
    assert inside("all") <= users
    missing = users - inside("all") - left_out()
    assert not missing, f"add {missing} to `all` in pyproject.toml, or say why not in install.md"
    assert not left_out() & inside("all")


def test_a_torch_that_is_there_is_kept():
    assert "torch>=2.6" in PROJECT["dependencies"]
    assert not [need for needs in EXTRAS.values() for need in needs if need.startswith("torch")]


def test_openvino_brings_the_network_that_it_runs():
    assert inside("openvino") == {"embedded"}
    assert inside("labelstudio") == {"viewer"}


def test_each_extra_has_a_smallest_use():
    import uses

    wanted = set(EXTRAS) - FOR_DEVELOPERS
    assert wanted | {"none"} == set(uses.USES)
    assert set(extras.user_extras()) == wanted


def test_each_extra_has_wheels_where_the_table_says():
    rows = [line.split(",") for line in extras.WHEELS.read_text(encoding="utf-8").splitlines()[1:]]
    found = {(extra, system, python) for extra, system, python, *_ in rows}
    names = ["none", *extras.user_extras()]
    assert found == {(e, s, p) for e in names for s in extras.SYSTEMS for p in extras.PYTHONS}
    assert extras.SYSTEMS["Linux x86-64"].endswith("_2_28")  # glibc, as the page says
    assert extras.SYSTEMS["Linux ARM"].endswith("_2_39")
    counts = {(extra, system, python): int(count) for extra, system, python, count, _ in rows}
    pythons = {line.rsplit(" ", 1)[1] for line in PROJECT["classifiers"] if " 3." in line}
    assert pythons == set(extras.PYTHONS)
    for system in extras.SYSTEMS:
        for python in extras.PYTHONS:
            assert counts["none", system, python], f"{system}, Python {python}"
    page = (ROOT / "docs/guide/install.md").read_text(encoding="utf-8")
    told = set()
    for extra, system, versions_ in re.findall(
        r"^\| `(\w+)` \| ([^|]+) \| ([\d., ]+) \|", page, re.M
    ):
        systems = extras.SYSTEMS if system == "everywhere" else system.split(", ")
        told |= {(extra, one, python) for one in systems for python in versions_.split(", ")}
    assert told == {place for place, count in counts.items() if not count}


# -- pages and workflows --------------------------------------------------------------------------


def test_the_readme_of_pypi_has_absolute_links():
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    hook = table["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for change in hook["substitutions"]:
        text = re.sub(change["pattern"], change["replacement"], text)
    addresses = re.findall(r"\]\(([^)]+)\)", text)
    assert len(addresses) > 10
    assert all(address.startswith("https://") for address in addresses)
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert pictures
    assert all("raw.githubusercontent.com" in address for address in pictures)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_have_few_rights_and_call_the_makefile(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] in ({}, {"contents": "read"})
    assert "concurrency" in workflow
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name, job in workflow["jobs"].items():
        assert "timeout-minutes" in job, name
    for target in re.findall(r"run: make ([\w-]+)", text):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target
    assert "secrets." not in text


def test_notes_of_a_release_are_the_section_of_its_version():
    import notes

    newest = versions()[0][0]
    text = notes.section(CHANGELOG, newest)
    assert text.startswith("The first release." if newest == "0.2.0" else "###")
    assert "### Added" in text
    assert "[Unreleased]" not in text
    with pytest.raises(ValueError, match=r"newest version"):
        notes.section(CHANGELOG, "9.9.9")
    waiting = CHANGELOG.replace("## [Unreleased]\n", "## [Unreleased]\n\n### Added\n\n- A thing.\n")
    with pytest.raises(ValueError, match="Unreleased"):
        notes.section(waiting, newest)


def test_the_workflows_are_those_of_the_pages():
    assert [path.stem for path in WORKFLOWS] == ["docs", "release", "test"]
