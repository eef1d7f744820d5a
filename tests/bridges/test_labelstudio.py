"""A Label Studio from its package, with our service as its model.

It starts with a folder and a user of its own. A project is made by its API, a picture is uploaded,
the model is connected, predictions are fetched, and a person's clicks are sent as the page sends
them. Masks are decoded by Label Studio's own SDK.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from label_studio_sdk.converter.brush import decode_rle
from label_studio_sdk.label_interface import LabelInterface as TheirInterface

import regiontree
from regiontree.bridges.backend import Backend
from regiontree.bridges.downloads import Host, Login
from regiontree.bridges.service import make_service
from regiontree.export.labelstudio import LABELS
from regiontree.viewer.server import listen, serving

PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
EMAIL, PASSWORD = "ann@regiontree.org", "secret of ann"
CONFIG = """<View>
<Image name="photo" value="$picture"/>
<BrushLabels name="masks" toName="photo" smart="false">
  <Label value="whole" background="#1f77b4"/><Label value="part" background="#ff7f0e"/>
</BrushLabels>
<KeyPointLabels name="points" toName="photo" smart="true" smartOnly="true">
  <Label value="whole"/><Label value="part"/></KeyPointLabels>
<RectangleLabels name="boxes" toName="photo" smart="true" smartOnly="true">
  <Label value="whole"/><Label value="part"/></RectangleLabels>
</View>"""


class Studio:
    """A Label Studio and a person who has logged in."""

    def __init__(self, url: str) -> None:
        self.url, self.session = url, requests.Session()
        self.session.get(f"{url}/user/login/", timeout=60).raise_for_status()
        sent = {"email": EMAIL, "password": PASSWORD, **self._csrf()}
        answer = self.session.post(f"{url}/user/login/", sent, headers={"Referer": url}, timeout=60)
        answer.raise_for_status()

    def _csrf(self) -> dict[str, str]:
        return {"csrfmiddlewaretoken": self.session.cookies["csrftoken"]}

    def ask(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        headers = {"X-CSRFToken": self.session.cookies["csrftoken"], "Referer": self.url}
        answer = self.session.request(method, self.url + path, headers=headers, timeout=120, **more)
        assert answer.status_code == status, f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer.json()


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("studio")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # Label Studio asks no model at a local address, unless it is told to.
    told = {**os.environ, "LABEL_STUDIO_BASE_DATA_DIR": str(folder), "COLLECT_ANALYTICS": "false",
            "USE_DEFAULT_BANNED_SUBNETS": "false"}  # fmt: skip
    told.pop("PYTHONPATH", None)  # its modules have names like ours
    command = [
        Path(sys.executable).parent / "label-studio", "start", "--no-browser", "--port", str(port),
        "--data-dir", folder, "--username", EMAIL, "--password", PASSWORD,
    ]  # fmt: skip
    url, start = f"http://localhost:{port}", time.monotonic()
    log = (folder / "log.txt").open("w")
    server = subprocess.Popen(command, env=told, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    try:
        while not _is_up(url):
            said = (folder / "log.txt").read_text()[-2000:]
            assert server.poll() is None, said
            assert time.monotonic() - start < 300, said
            time.sleep(0.5)
        print(f"Label Studio started in {time.monotonic() - start:.0f} s")
        yield Studio(url)
    finally:
        server.terminate()
        server.wait(20)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def _is_up(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=5).ok
    except requests.RequestException:
        return False


@pytest.fixture(scope="module")
def tree() -> regiontree.RegionTree:
    return regiontree.parse(PHOTO, device="cpu")


@pytest.fixture(scope="module")
def service(studio: Studio, tree: regiontree.RegionTree) -> Iterator[str]:
    """Our service, which reads the uploaded picture with the person's token."""
    token = studio.ask("POST", "/api/token/", 201)["token"]
    parser = regiontree.RegionParser(device="cpu")
    backend = Backend(
        parser.parse, regions=20, labels=("whole", "part"),
        login=Login(Host.of(studio.url), token),
    )  # fmt: skip
    with listen("127.0.0.1", 0) as listener, serving(make_service(backend), listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="module")
def project(studio: Studio, service: str) -> tuple[int, int, int]:
    """Numbers of a project, of its task, and of its connection to the model."""
    made = studio.ask("POST", "/api/projects/", 201, json={"title": "try", "label_config": CONFIG})
    number = made["id"]
    with PHOTO.open("rb") as file:
        sent = {"file": ("astronaut.jpg", file, "image/jpeg")}
        studio.ask("POST", f"/api/projects/{number}/import", 201, files=sent)
    (task,) = studio.ask("GET", f"/api/tasks?project={number}")["tasks"]
    model = {"project": number, "url": service, "title": "regiontree", "is_interactive": True}
    connected = studio.ask("POST", "/api/ml/", 201, json=model)
    assert connected["readable_state"] == "Connected"
    return number, task["id"], connected["id"]


def mask_of(result: dict[str, Any]) -> np.ndarray:
    shape = result["original_height"], result["original_width"], 4
    return decode_rle(result["value"]["rle"]).reshape(shape)[..., 3] > 0


def test_label_studio_stores_the_nested_masks(
    studio: Studio, project: tuple[int, int, int], tree: regiontree.RegionTree
) -> None:
    number, task, _ = project
    ordered = f"/api/dm/actions?id=retrieve_tasks_predictions&project={number}"
    chosen = {"selectedItems": {"all": True, "excluded": []}}
    studio.ask("POST", ordered, json=chosen)
    (prediction,) = studio.ask("GET", f"/api/tasks/{task}")["predictions"]
    results = prediction["result"]
    nodes = sorted(tree.salient(20), reverse=True)
    assert [one["id"] for one in results] == [f"node{node}" for node in nodes]
    for one, node in zip(results, nodes, strict=True):
        assert (mask_of(one) == tree.mask(node)).all()
        above = [other for other in tree.ancestors(node) if other in nodes]
        assert one.get("parentID") == (f"node{above[0]}" if above else None)
        assert one["value"]["brushlabels"] == ["part" if above else "whole"]
        assert one["score"] == pytest.approx(float(tree.stability[node]), abs=1e-4)
    assert 0 < prediction["score"] <= 1
    assert TheirInterface(CONFIG).validate_prediction(
        {"result": results, "score": prediction["score"], "model_version": "a"}
    )


def click(x: float, y: float, positive: bool = True) -> dict[str, Any]:
    """A key point as the page sends it."""
    value = {"x": x, "y": y, "width": 0.25, "labels": ["part"], "keypointlabels": ["part"]}
    return {"original_width": 512, "original_height": 512, "image_rotation": 0, "value": value,
            "is_positive": positive, "id": f"k{x}", "from_name": "points", "to_name": "photo",
            "type": "keypointlabels", "origin": "manual"}  # fmt: skip


def clicked(studio: Studio, project: tuple[int, int, int], *drawn: dict[str, Any]) -> np.ndarray:
    """The mask that Label Studio gives the page for what a person drew."""
    sent = {"task": project[1], "context": {"result": list(drawn)}}
    answer = studio.ask("POST", f"/api/ml/{project[2]}/interactive-annotating", json=sent)
    assert not answer.get("errors"), answer
    (region,) = answer["data"]["result"]
    assert (region["from_name"], region["to_name"]) == ("masks", "photo")
    assert region["value"]["brushlabels"] == ["part"]
    return mask_of(region)


def test_clicks_climb_the_tree(
    studio: Studio, project: tuple[int, int, int], tree: regiontree.RegionTree
) -> None:
    x, y = 45, 25
    path = tree.at(int(y / 100 * 512), int(x / 100 * 512))
    masks = [clicked(studio, project, *[click(x, y)] * n) for n in range(1, 5)]
    nodes = [next(n for n in path if (tree.mask(n) == mask).all()) for mask in masks]
    areas = [int(tree.area[node]) for node in nodes]
    assert areas == sorted(set(areas)), "each click takes a larger node of the path"
    assert tree.root not in nodes
    smaller = clicked(studio, project, *[click(x, y)] * 4, click(90, 90, positive=False))
    assert not smaller[460, 460]
    assert smaller[128, 230]


def test_a_rectangle_takes_the_helmet(
    studio: Studio, project: tuple[int, int, int], tree: regiontree.RegionTree
) -> None:
    value = {
        "x": 56,
        "y": 67,
        "width": 42,
        "height": 33,
        "rotation": 0,
        "rectanglelabels": ["part"],
    }
    drawn = {**click(0, 0), "type": "rectanglelabels", "value": value, "from_name": "boxes"}
    mask = clicked(studio, project, drawn)
    prompt = np.zeros_like(mask)
    prompt[343:, 287:502] = True
    assert (mask & prompt).sum() > 0.8 * mask.sum()


def test_clicks_after_the_first_are_quick(studio: Studio, project: tuple[int, int, int]) -> None:
    clicked(studio, project, click(30, 60))
    answers: list[float] = []
    for _ in range(5):
        start = time.monotonic()
        clicked(studio, project, click(30, 60))
        answers.append(time.monotonic() - start)
    print(f"a click through Label Studio: {min(answers) * 1000:.0f} ms")
    assert min(answers) < 5, "parsing the photograph again would take longer on this machine"


def test_an_interface_without_a_brush_is_not_connected(
    studio: Studio, service: str, capfd: pytest.CaptureFixture[str]
) -> None:
    config = LABELS.replace("BrushLabels", "RectangleLabels")
    made = studio.ask("POST", "/api/projects/", 201, json={"title": "box", "label_config": config})
    model = {"project": made["id"], "url": service, "title": "regiontree"}
    refused = studio.ask("POST", "/api/ml/", 400, json=model)
    assert "422 Client Error" in str(refused["validation_errors"])
    assert "has no BrushLabels for an Image" in capfd.readouterr().err
