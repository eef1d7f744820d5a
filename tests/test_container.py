"""The image, the development container and Colab, as far as they can be tried without them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import ROOT
from dockersteps import run_stage, stages, steps

from regiontree import RegionTree

DOCKERFILE, DEVCONTAINER = ROOT / "Dockerfile", ROOT / ".devcontainer"
HOME = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Homepage"]
NOTEBOOKS = sorted(ROOT.glob("docs/notebooks/*.ipynb"))
# Keys of devcontainer.json with a Dockerfile: containers.dev/implementors/json_reference
KEYS = {
    "name", "forwardPorts", "portsAttributes", "otherPortsAttributes",
    "overrideFeatureInstallOrder",
    "containerEnv", "remoteEnv", "remoteUser", "containerUser", "updateRemoteUserUID",
    "userEnvProbe", "overrideCommand", "shutdownAction", "init", "privileged", "capAdd",
    "securityOpt", "mounts", "features", "customizations", "build", "appPort", "workspaceMount",
    "workspaceFolder", "runArgs", "initializeCommand", "onCreateCommand", "updateContentCommand",
    "postCreateCommand", "postStartCommand", "postAttachCommand", "waitFor", "hostRequirements",
}  # fmt: skip


# -- the image ------------------------------------------------------------------------------------


def test_the_image_runs_the_command_as_a_user_who_is_not_root() -> None:
    _, last = stages(DOCKERFILE)
    by_word = {step.word: step for step in last}
    assert by_word["ENTRYPOINT"].listed() == ["regiontree"]
    assert by_word["CMD"].listed() == ["--help"]
    user = by_word["USER"].rest
    assert int(user) > 0, "a number: Kubernetes then sees that it is not root"
    assert f"useradd --uid {user} " in by_word["RUN"].rest
    assert by_word["LABEL"].settings()["org.opencontainers.image.source"] == HOME


def test_the_last_stage_has_what_the_first_prepared_and_looks_for_it_there() -> None:
    first, last = stages(DOCKERFILE)
    made = [step.settings() for step in first if step.word == "ENV"]
    seen = {name: value for one in made for name, value in one.items()}
    own = next(step.settings() for step in last if step.word == "ENV")
    copied = [step.rest.split()[1:] for step in last if step.word == "COPY"]
    assert all(source == to for source, to in copied), "a virtual environment knows its place"
    for name in ("REGIONTREE_CACHE", "NUMBA_CACHE_DIR", "PATH"):
        assert own[name] == seen[name]
    assert {to for _, to in copied} == {
        own["REGIONTREE_CACHE"], own["NUMBA_CACHE_DIR"], own["PATH"].split("/bin:")[0]
    }  # fmt: skip
    assert [step.rest for step in last if step.word == "VOLUME"] == [own["NUMBA_CACHE_DIR"]]
    bases = [stage[0].rest.split()[0] for stage in (first, last)]
    assert bases[0] == bases[1], "compiled packages need the Python that they were installed for"


def test_docker_is_sent_what_is_copied_and_nothing_else() -> None:
    copied = {
        word.split("/")[0] for step in stages(DOCKERFILE)[0] if step.word == "COPY"
        for word in step.rest.split()[:-1]
    }  # fmt: skip
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert lines[1] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_has_no_health_check() -> None:
    assert "HEALTHCHECK" not in {step.word for step in steps(DOCKERFILE)}


def test_the_extras_of_the_image_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = next(s.rest for s in steps(DOCKERFILE) if s.rest.startswith("EXTRAS="))
    assert set(extras.removeprefix("EXTRAS=").split(",")) <= set(project["optional-dependencies"])


@pytest.mark.slow
def test_the_steps_of_the_image_make_a_command_that_needs_no_network(tmp_path: Path) -> None:
    root = tmp_path / "image"
    env = run_stage(stages(DOCKERFILE)[0], ROOT, root, TORCH_INDEX="")
    weights, loops = (Path(env[name]) for name in ("REGIONTREE_CACHE", "NUMBA_CACHE_DIR"))
    before = _files(weights), _files(loops)
    assert before[0]
    assert any(path.suffix == ".nbc" for path in before[1])
    sources = list((root / "opt/regiontree/lib").glob("*/site-packages/regiontree/**/*.py"))
    assert {path.stat().st_mtime_ns % 10**9 for path in sources} == {0}, "layers keep seconds"
    assert all(path.stat().st_mode & 0o004 for path in before[0]), "any user reads the network"
    assert all(path.stat().st_mode & 0o006 == 0o006 for path in before[1])
    work = tmp_path / "work"
    work.mkdir()
    command = ["regiontree", "segment", str(ROOT / "examples/astronaut.jpg"), "-o", "trees"]
    # A network namespace of its own has no way out.
    alone = ["unshare", "--net"] if _can_unshare() else []
    subprocess.run([*alone, *command], cwd=work, env=env, check=True, timeout=120)
    tree = RegionTree.load(work / "trees/astronaut.npz")
    assert tree.n_leaves > 20
    assert (_files(weights), _files(loops)) == before, "nothing was unpacked or compiled again"
    installed = subprocess.run(
        ["python", "-c", "import regiontree; print(regiontree.__file__)"],
        cwd=work, env=env, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert installed.stdout.startswith(f"{root}/opt/regiontree/lib/")


def _files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def _can_unshare() -> bool:
    tried = subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True)
    return tried.returncode == 0


# -- the development container --------------------------------------------------------------------


def test_the_development_container_has_only_keys_that_are_known() -> None:
    given = json.loads((DEVCONTAINER / "devcontainer.json").read_text("utf-8"))
    assert set(given) <= KEYS
    assert set(given["build"]) <= {
        "dockerfile",
        "context",
        "args",
        "options",
        "target",
        "cacheFrom",
    }
    assert (DEVCONTAINER / given["build"]["dockerfile"]).is_file()
    assert {int(port) for port in given["portsAttributes"]} <= set(given["forwardPorts"])


def test_the_development_container_is_set_up_by_targets_of_make() -> None:
    given = json.loads((DEVCONTAINER / "devcontainer.json").read_text("utf-8"))
    make, *targets = given["postCreateCommand"].split()
    assert make == "make"
    assert targets
    for target in targets:
        shown = subprocess.run(
            ["make", "--dry-run", "--always-make", target],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert shown.returncode == 0, shown.stderr
        assert "install" in shown.stdout or "npm ci" in shown.stdout


def test_the_development_container_has_the_programs_of_the_tests() -> None:
    (run,) = (step.rest for step in steps(DEVCONTAINER / "Dockerfile") if step.word == "RUN")
    assert {"chromium", "make", "nodejs", "npm", "git"} <= set(run.split())
    (base,) = (step.rest for step in steps(DEVCONTAINER / "Dockerfile") if step.word == "FROM")
    assert ":3.11" in base


# -- Colab ----------------------------------------------------------------------------------------


@pytest.fixture
def colab(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT))
    from website import colab

    return colab


def cells(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["cells"]
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_notebook_has_a_badge_that_opens_it(path: Path) -> None:
    repository = HOME.removeprefix("https://github.com/")
    link = f"https://colab.research.google.com/github/{repository}/blob/main/docs/notebooks/"
    for text in ("".join(cells(path)[0]["source"]), (path.parent / "index.md").read_text("utf-8")):
        badges = re.findall(r"\[!\[Open in Colab\]\(([^)]*)\)\]\(([^)]*)\)", text)
        assert ("../images/colab.svg", f"{link}{path.name}") in badges
    assert (path.parent / "../images/colab.svg").is_file()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_as_the_program_writes_them(path: Path, colab: Any) -> None:
    notebook = json.loads(path.read_text("utf-8"))
    assert colab.with_colab(notebook, path.stem, colab.repository()) == notebook


def test_another_address_reaches_badge_and_cell(colab: Any) -> None:
    notebook = json.loads(NOTEBOOKS[0].read_text("utf-8"))
    moved = colab.with_colab(notebook, NOTEBOOKS[0].stem, "https://github.com/ann/trees")
    text = json.dumps(moved)
    assert HOME not in text
    assert HOME.removeprefix("https://") not in text
    assert text.count("ann/trees") == 2
    assert len(moved["cells"]) == len(notebook["cells"])
    with pytest.raises(ValueError, match="not of https://example"):
        colab.badge("a", "https://example.org/x")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_first_cell_clones_and_installs_in_colab_and_does_nothing_elsewhere(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = next(cell for cell in cells(path) if cell["cell_type"] == "code")
    ran: list[list[str]] = []

    def run(command: list[str], *, check: bool) -> None:
        assert check
        ran.append(command)
        if command[0] == "git":
            (tmp_path / command[-1].rsplit("/", 1)[1] / "docs/notebooks").mkdir(parents=True)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    exec("".join(code["source"]), {})
    assert not ran
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    exec("".join(code["source"]), {})
    assert Path.cwd() == tmp_path / "regiontree/docs/notebooks"
    assert sys.path[0] == os.getcwd()
    assert ran[0][:2] == ["git", "clone"]
    assert ran[0][-1] == HOME
    extras = re.search(r"regiontree(\[[\w,]+\])", "".join(cells(path)[0]["source"]))
    assert extras is not None
    assert ran[1][-1] == f"../..{extras[1]}"
    (tmp_path / "regiontree/docs/notebooks/drawn_scenes.py").touch()
    exec("".join(code["source"]), {})
    assert len(ran) == 2, "a second run of the cell does nothing"


def test_the_site_does_not_show_the_cell_of_colab(colab: Any) -> None:
    nbformat = pytest.importorskip("nbformat")
    from website import notebooks

    for path in NOTEBOOKS:
        page = notebooks.notebook_page(nbformat.read(path, 4), path.stem).markdown
        assert "git" not in re.findall(r'subprocess.run\(\["(\w+)"', page)
        assert "colab.svg" in page
