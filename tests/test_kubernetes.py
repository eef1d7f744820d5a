"""The manifests of examples/kubernetes: what Kubernetes would refuse, and what would not work.

``kuberay.json`` has the fields of KubeRay's RayJob that the manifests use, with their types, as its
custom resource definition of version 1.7.0 gives them. Any other field is an error.
"""

from __future__ import annotations

import copy
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from regiontree.cli import app

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "examples" / "kubernetes"
MANIFESTS = sorted(FOLDER.glob("*.yaml"))
SCHEMA = json.loads((ROOT / "tests" / "kuberay.json").read_text())


def load(path: Path) -> dict[str, Any]:
    found = yaml.safe_load(path.read_text())
    assert isinstance(found, dict)
    return found


def errors(manifest: dict[str, Any]) -> list[str]:
    return [
        error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(manifest)
    ]


def containers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = manifest["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [one for group in groups for one in group["template"]["spec"]["containers"]]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_kuberay_accepts_each_manifest(path: Path) -> None:
    assert errors(load(path)) == []


def test_the_check_refuses_what_kuberay_would() -> None:
    right = load(MANIFESTS[0])
    wrong = []
    for change in (
        lambda m: m["spec"].update(entryPoint="a field with another spelling"),
        lambda m: m["spec"].update(backoffLimit="two"),
        lambda m: m["spec"]["rayClusterSpec"].pop("headGroupSpec"),
        lambda m: m["metadata"].update(name="Capital letters"),
        lambda m: containers(m)[0].pop("name"),
    ):
        manifest = copy.deepcopy(right)
        change(manifest)
        wrong.append(len(errors(manifest)))
    assert wrong == [1] * 5


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_the_command_is_one_that_regiontree_takes(path: Path) -> None:
    program, name, *arguments = shlex.split(load(path)["spec"]["entrypoint"])
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    given = command.make_context(name, arguments, resilient_parsing=False).params
    assert program == "regiontree"
    assert (given["engine"], given["ray_address"]) == ("ray", "auto")


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_versions_are_those_of_the_package(path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = next(one for one in project["optional-dependencies"]["ray"] if "ray[data]" in one)
    series = re.search(r"==(\d+\.\d+)\.\*", wanted)
    assert series
    version = load(path)["spec"]["rayClusterSpec"]["rayVersion"]
    assert version.startswith(f"{series[1]}.")
    image = (FOLDER / "Dockerfile").read_text()
    assert f"rayproject/ray:{version}-py311" in image
    torch = re.search(r"^torch==\S+", (ROOT / "constraints.txt").read_text(), re.M)
    assert torch
    assert torch[0] in image


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_containers_get_what_they_ask_for(path: Path) -> None:
    """Ray counts the cores of a container by its limit, and memory above a request may be lost."""
    for container in containers(load(path)):
        given = container["resources"]["limits"]
        assert given == container["resources"]["requests"]
        assert int(given["memory"].removesuffix("Gi")) >= 2 * int(given["cpu"])
