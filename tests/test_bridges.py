"""Label Studio and CVAT, as far as the programs need not be there: clicks, requests, errors."""

from __future__ import annotations

import base64
import io
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regiontree import RegionTree
from regiontree.bridges import backend as backend_module
from regiontree.bridges.backend import Backend
from regiontree.bridges.clicks import Box, Click, Clickable, fraction
from regiontree.bridges.command import backend_of
from regiontree.bridges.cvat import Interaction, create
from regiontree.bridges.downloads import Host, Login, address_of, download
from regiontree.bridges.labelinterface import LabelInterface
from regiontree.bridges.service import make_service
from regiontree.errors import DataError, MissingExtraError, SettingsError, SourceError
from regiontree.tree.stop import StopReason

CONFIG = """<View>
<Image name="photo" value="$picture"/>
<Choices name="kind" toName="photo"><Choice value="day"/></Choices>
<BrushLabels name="masks" toName="photo" smart="false">
  <Label value="whole"/><Label value="part"/><Label value="detail"/></BrushLabels>
<KeyPointLabels name="points" toName="photo" smart="true"><Label value="part"/></KeyPointLabels>
</View>"""
JSON = {"content-type": "application/json"}
PROJECT = "7.1700000000"


def strips() -> RegionTree:
    """Eight columns of two pixels' height, halved three times; heights grow to the root."""
    labels = np.repeat(np.arange(8)[None], 2, axis=0)
    parents = [8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 14]
    height = [0.0] * 8 + [0.1, 0.11, 0.12, 0.13, 0.5, 0.55, 1.0]
    stability = np.linspace(0.2, 1.0, 15).astype(np.float16)
    return RegionTree(labels, parents, height, stability=stability)


# -- clicks ---------------------------------------------------------------------------------------


def test_each_further_click_climbs_one_step_up_to_below_the_root() -> None:
    clickable, click = Clickable(strips()), Click(0.5, 0.05)
    found = [clickable.node([click] * n) for n in range(1, 6)]
    assert found == [0, 8, 12, 12, 12]


def test_a_click_outside_takes_the_smallest_node_that_holds_all() -> None:
    clickable = Clickable(strips())
    tree = clickable.tree
    for first in range(8):
        for second in range(8):
            if first == second:
                continue
            clicks = [Click(0.5, (first + 0.5) / 8), Click(0.5, (second + 0.5) / 8)]
            found = clickable.node(clicks)
            shared = [n for n in tree.at(0, first) if n in tree.at(0, second)]
            assert found == min(shared, key=lambda n: tree.area[n])


def test_a_negative_click_goes_down_to_the_largest_node_without_it() -> None:
    clickable, first = Clickable(strips()), Click(0.5, 0.05)
    assert clickable.node([first, first, first, Click(0.5, 0.3, inside=False)]) == 8
    assert clickable.node([first, first, Click(0.5, 0.15, inside=False)]) == 0
    assert clickable.node([first, Click(0.5, 0.95, inside=False)]) == 0, "no need to go down"
    assert clickable.node([Click(0.5, 0.95, inside=False)]) is None


def test_a_box_takes_the_node_of_the_best_bounding_box_as_counted_by_pixels() -> None:
    rng = np.random.default_rng(3)
    from regiontree.tree.kernel import is_inner  # the tree of a random partition

    labels = np.kron(np.arange(16).reshape(4, 4), np.ones((3, 3), int))
    parents = [16, 16, 17, 17, 16, 16, 17, 17, 18, 18, 19, 19, 18, 18, 19, 19, 20, 20, 20, 20, 20]
    tree = RegionTree(labels, parents, [0] * 16 + [0.5, 0.5, 0.6, 0.6, 1.0])
    assert is_inner(tree.parents).sum() == 5
    clickable = Clickable(tree)
    for _ in range(50):
        top, bottom = np.sort(rng.choice(13, 2, replace=False))
        left, right = np.sort(rng.choice(13, 2, replace=False))
        prompt = np.zeros((12, 12), bool)
        prompt[top:bottom, left:right] = True
        overlaps = []
        for node in range(tree.root):
            rows, columns = np.nonzero(tree.mask(node))
            own = np.zeros_like(prompt)
            own[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
            overlaps.append((own & prompt).sum() / (own | prompt).sum())
        found = clickable.node([], Box(top / 12, left / 12, bottom / 12, right / 12))
        assert found is not None
        assert overlaps[found] == pytest.approx(max(overlaps))


def test_a_click_on_pixels_without_data_takes_nothing() -> None:
    tree = RegionTree([[0, 1]], [2, 2, 2], [0, 0, 1], stop=[1, StopReason.NO_DATA, 0])
    assert Clickable(tree).node([Click(0, 0.9)]) is None
    assert Clickable(tree).node([Click(0, 0.1)]) == 0
    empty = RegionTree([[0]], [0], [0], stop=[StopReason.NO_DATA])
    assert Clickable(empty).node([Click(0, 0)]) is None
    beside = RegionTree(
        [[0, 1, 2]], [3, 3, 4, 4, 4], [0, 0, 0, 0.5, 1], stop=[1, 1, StopReason.NO_DATA, 0, 0]
    )
    clicks = [Click(0, 0.1), Click(0, 0.4)]
    assert Clickable(beside).node(clicks) == 3, "what is there, without what is not"
    assert Clickable(beside).node([clicks[0], Click(0, 0.9)]) == 0


def test_a_photograph_of_one_region_is_taken_whole() -> None:
    assert Clickable(RegionTree([[0, 0]], [0], [0])).node([Click(0, 0)]) == 0


@pytest.mark.parametrize("value", [None, "3", True, float("nan"), float("inf"), [1]])
def test_a_place_that_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(DataError, match="must be a number in percent"):
        fraction("x", value)


def test_places_outside_are_moved_to_the_edge() -> None:
    assert (fraction("x", -3), fraction("x", 250), fraction("x", 40)) == (0.0, 1.0, 0.4)


def test_fifty_thousand_regions_answer_clicks_and_boxes() -> None:
    side = 224
    labels = np.arange(side * side, dtype=np.int32).reshape(side, side)
    n = side * side
    parents = np.concatenate([n + np.arange(n) // side, np.full(side, n + side), [n + side]])
    height = np.concatenate([np.zeros(n), np.full(side, 0.5), [1.0]])
    clickable = Clickable(RegionTree(labels, parents, height))
    found = clickable.node([Click(0.5, 0.5)] * 2)
    assert found == n + side // 2
    assert clickable.node([], Box(0.5, 0, 0.5 + 1 / side, 1)) == n + side // 2


# -- the labelling interface ----------------------------------------------------------------------


def test_names_come_from_the_interface() -> None:
    interface = LabelInterface.read(CONFIG)
    brush = interface.brush()
    assert (brush.name, brush.image, brush.value) == ("masks", "photo", "picture")
    assert brush.labels == ("whole", "part", "detail")
    assert interface.label(brush) == "whole"
    with pytest.raises(DataError, match="no label 'cat': its brush 'masks' has whole, part"):
        interface.label(brush, "cat")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no labelling interface"),
        (None, "no labelling interface"),
        ("<View>", "is not XML"),
        ("<View/>", "no BrushLabels for an Image"),
        ('<View><BrushLabels name="a" toName="b"/></View>', "no BrushLabels for an Image"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><View>&b;</View>', "document type, which is refused"),
        ("<View>" + " " * (1 << 20), "more than 1,048,576 characters"),
    ],
)
def test_a_wrong_interface_is_told(text: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        LabelInterface.read(text)


# -- photographs ----------------------------------------------------------------------------------


@contextmanager
def web(answers: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """A web server on this machine; gives its address and the paths and tokens it is asked with."""
    asked: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization")))
            answer = answers.get(self.path.split("?")[0], 404)
            if isinstance(answer, str):
                self.send_response(302)
                self.send_header("Location", answer)
                body = b""
            else:
                self.send_response(200 if isinstance(answer, bytes) else answer)
                body = answer if isinstance(answer, bytes) else b""
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, sent["refresh"]))
            body = json.dumps({"access": "short"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "given",
    ["file:///etc/passwd", "/../etc/passwd\n", "//evil.org/a.jpg", "../a.jpg", "a.jpg", "", None, 3,
     "ftp://a.org/b.jpg", "C:\\a.jpg", {"a": 1}],
)  # fmt: skip
def test_no_path_of_a_task_is_ever_opened(given: object, monkeypatch: Any) -> None:
    login = Login(Host.of("http://127.0.0.1:9"))
    monkeypatch.setattr("builtins.open", lambda *_, **__: pytest.fail("a file was opened"))
    with pytest.raises(SourceError):
        download(address_of(given, login, 1), login)


def test_addresses_lead_to_label_studio() -> None:
    login = Login(Host.of("https://labels.org/studio/"))
    for given, url in {
        "/data/upload/1/a b.jpg": "https://labels.org/studio/data/upload/1/a b.jpg",
        "/studio/data/upload/1/a.jpg": "https://labels.org/studio/data/upload/1/a.jpg",
        "https://other.org/a.jpg": "https://other.org/a.jpg",
        "s3://bucket/a.jpg": "https://labels.org/studio/tasks/5/resolve/?fileuri="
        + base64.urlsafe_b64encode(b"s3://bucket/a.jpg").decode().replace("=", "%3D"),
    }.items():
        assert address_of(given, login, 5) == url
    with pytest.raises(SourceError, match="whose address is not known"):
        address_of("/data/upload/1/a.jpg", None, 5)
    with pytest.raises(SourceError, match="needs a task's number"):
        address_of("s3://a/b.jpg", login, "../5")


@pytest.mark.parametrize(
    "url", ["", "localhost:8080", "ftp://a.org", "http://", "http://u:p@a.org", None, "http://a:x"]
)
def test_a_wrong_address_of_label_studio_is_refused(url: object) -> None:
    with pytest.raises(SettingsError, match="must be like http://localhost:8080"):
        Host.of(url)


def test_the_token_goes_to_label_studio_only_and_others_must_be_public() -> None:
    with web({"/b.jpg": b"other"}) as (other, asked_other):
        own_answers: dict[str, Any] = {"/a.jpg": b"photo", "/away": f"{other}/b.jpg", "/no": 401,
                                       "/round": "/round"}  # fmt: skip
        with web(own_answers) as (own, asked):
            login = Login(Host.of(own), "secret")
            assert download(f"{own}/a.jpg", login) == b"photo"
            assert asked == [("/a.jpg", "Token secret")]
            for url in (f"{other}/b.jpg", f"{own}/away"):
                with pytest.raises(SourceError, match=r"127\.0\.0\.1 is not a public address"):
                    download(url, login)
            with pytest.raises(SourceError, match=r"HTTP 401.*check the token"):
                download(f"{own}/no", login)
            with pytest.raises(SourceError, match="more than 5 redirections"):
                download(f"{own}/round", login)
        assert asked_other == [], "not even a request came"


def test_a_personal_access_token_is_exchanged() -> None:
    with web({"/a.jpg": b"photo"}) as (own, asked):
        assert download(f"{own}/a.jpg", Login(Host.of(own), "aaa.bbb.ccc")) == b"photo"
    assert asked == [("/api/token/refresh", "aaa.bbb.ccc"), ("/a.jpg", "Bearer short")]
    assert "aaa" not in repr(Login(Host.of(own), "aaa.bbb.ccc"))


def test_too_large_a_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from regiontree.bridges import downloads

    monkeypatch.setattr(downloads, "_MAX_BYTES", 1 << 20)
    large = {"/a.jpg": bytes((1 << 20) + 1)}
    with web(large) as (own, _), pytest.raises(SourceError, match="has more than 1 MiB"):
        download(f"{own}/a.jpg", Login(Host.of(own)))


# -- predictions ----------------------------------------------------------------------------------


def decoded(result: dict[str, Any]) -> np.ndarray:
    """The mask of a result, unpacked bit by bit as the format's description says."""
    bits = "".join(f"{byte:08b}" for byte in result["value"]["rle"])
    place = 0

    def read(size: int) -> int:
        nonlocal place
        place += size
        return int(bits[place - size : place], 2)

    count, size, sizes = read(32), read(5) + 1, [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        same, length = read(1), read(sizes[read(2)]) + 1
        values += [read(size)] * length if same else [read(size) for _ in range(length)]
    shape = result["original_height"], result["original_width"], 4
    return np.array(values).reshape(shape)[..., 3] > 0


class Parsed:
    """A parser that counts; the photograph's bytes name the tree."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def __call__(self, photo: bytes) -> RegionTree:
        self.seen.append(photo)
        if photo == b"damaged":
            raise DataError("the photograph is damaged")
        return strips()


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> tuple[Backend, Parsed, dict[str, bytes]]:
    """A model, its parser, and the photographs of a Label Studio by address."""
    photos = {"http://ls.org/data/a.jpg": b"a", "http://ls.org/data/bad.jpg": b"damaged"}
    monkeypatch.setattr(backend_module, "download", lambda url, login: photos[url])
    parsed = Parsed()
    model = Backend(parsed, regions=6, login=Login(Host.of("http://ls.org")))
    return model, parsed, photos


def asked(*names: str, clicks: Any = None, user: str | None = None, **more: Any) -> dict[str, Any]:
    """A request to predict, as Label Studio sends it."""
    drafts = [{"user": user, "result": []}] if user else []
    tasks = [
        {"id": i, "data": {"picture": f"/data/{name}.jpg"}, "drafts": drafts}
        for i, name in enumerate(names)
    ]
    context = None if clicks is None else {"result": [clicked(*click) for click in clicks]}
    return {"tasks": tasks, "project": PROJECT, "label_config": CONFIG,
            "params": {"login": None, "password": None, "context": context}, **more}  # fmt: skip


def clicked(x: float, y: float, label: str = "part", positive: bool = True) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": 0.3, "labels": [label], "keypointlabels": [label]}
    return {"id": f"k{x}{y}", "type": "keypointlabels", "from_name": "points", "value": value,
            "original_width": 8, "original_height": 2, "image_rotation": 0,
            "is_positive": positive}  # fmt: skip


def test_a_prediction_has_nested_masks_with_scores_and_labels_by_depth(studio: Any) -> None:
    _, parsed, _ = studio
    login = Login(Host.of("http://ls.org"))
    model = Backend(parsed, regions=6, labels=("whole", "part"), login=login)
    (prediction,) = model.predict(asked("a"))["results"]
    tree, results = strips(), prediction["result"]
    chosen = sorted(tree.salient(6), reverse=True)
    assert [one["id"] for one in results] == [f"node{node}" for node in chosen]
    for one, node in zip(results, chosen, strict=True):
        assert (decoded(one) == tree.mask(node)).all()
        above = [other for other in tree.ancestors(node) if other in chosen]
        assert one.get("parentID") == (f"node{above[0]}" if above else None)
        assert one["value"]["brushlabels"] == ["part" if above else "whole"]
        assert (one["from_name"], one["to_name"]) == ("masks", "photo")
        assert one["score"] == pytest.approx(float(tree.stability[node]), abs=1e-4)
    weights = tree.area[chosen]
    expected = np.average([float(tree.stability[n]) for n in chosen], weights=weights)
    assert prediction["score"] == pytest.approx(expected, abs=1e-3)
    assert prediction["model_version"] == model.model_version


def test_the_usual_label_is_region_and_no_regions_are_given_for_none(studio: Any) -> None:
    _, parsed, _ = studio
    none = Backend(parsed, regions=0, login=Login(Host.of("http://ls.org")))
    assert none.predict(asked("a"))["results"][0]["result"] == []
    config = CONFIG.replace('value="detail"', 'value="region"')
    (made,) = studio[0].predict(asked("a", label_config=config))["results"]
    assert {one["value"]["brushlabels"][0] for one in made["result"]} == {"region"}


def test_clicks_that_wait_for_acceptance_climb_and_the_tree_is_made_once(studio: Any) -> None:
    model, parsed, _ = studio
    model.predict(asked("a"))
    found = []
    for count in (1, 2, 3):
        (prediction,) = model.predict(asked("a", clicks=[(5, 50)] * count))["results"]
        (region,) = prediction["result"]
        assert region["value"]["brushlabels"] == ["part"]
        found.append(decoded(region).sum())
    assert found == [2, 4, 8]
    assert parsed.seen == [b"a"]


def test_lone_clicks_climb_for_each_user_by_itself(studio: Any) -> None:
    model, _, _ = studio

    def area(user: str | None, x: float = 5, label: str = "part") -> tuple[int, str]:
        (made,) = model.predict(asked("a", clicks=[(x, 50, label)], user=user))["results"]
        return int(decoded(made["result"][0]).sum()), made["result"][0]["id"]

    first, name = area("ann@a.org")
    assert first == 2
    assert area("ann@a.org", 5.5) == (4, name), "the same id, so it replaces the smaller region"
    assert area("bob@a.org")[0] == 2, "another user begins anew"
    assert area("ann@a.org") == (8, name)
    assert area("ann@a.org", 40)[0] == 2, "elsewhere it begins anew"
    assert area("ann@a.org", 40, "whole")[0] == 2, "and so it does with another label"
    assert area(None)[0] == area(None)[0] == 2, "without a user nothing is remembered"


def test_what_is_remembered_is_bounded(studio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _, _ = studio
    monkeypatch.setattr(backend_module, "_PERSONS", 5)
    for i in range(20):
        model.predict(asked("a", clicks=[(5, 50)], user=f"user{i}@a.org"))
    assert len(model._persons) == 5


def test_a_changed_photograph_is_parsed_again_when_regions_are_asked_for(studio: Any) -> None:
    model, parsed, photos = studio
    model.predict(asked("a"))
    photos["http://ls.org/data/a.jpg"] = b"b"
    model.predict(asked("a", clicks=[(5, 50)]))
    assert parsed.seen == [b"a"]
    model.predict(asked("a"))
    model.predict(asked("a"))
    assert parsed.seen == [b"a", b"b"]


def test_one_task_fails_alone_and_says_why(studio: Any) -> None:
    model, _, _ = studio
    answer = model.predict(asked("a", "bad"))
    assert [bool(one) for one in answer["results"]] == [True, False]
    assert answer["errors"] == [{"task": 1, "error": "the photograph is damaged"}]
    with pytest.raises(DataError, match="the photograph is damaged"):
        model.predict(asked("bad"))
    with pytest.raises(DataError, match="task 0: the photograph is damaged; task 1"):
        model.predict(asked("bad", "bad"))


def test_many_slow_tasks_are_answered_with_the_first(studio: Any, monkeypatch: Any) -> None:
    model, parsed, photos = studio
    monkeypatch.setattr(backend_module, "_BUDGET", -1.0)
    photos["http://ls.org/data/b.jpg"] = b"b"
    answer = model.predict(asked("a", "b"))
    assert len(answer["results"]) == 1, "Label Studio then asks one by one"
    assert parsed.seen == [b"a"]
    assert len(model.predict(asked("b"))["results"]) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tasks": []}, "list of tasks"),
        ({"tasks": ["a"]}, "list of tasks"),
        ({"label_config": "<View/>"}, "no BrushLabels"),
        ({"params": {"context": {"result": [3]}}}, "has no value"),
        ({"params": {"context": {"result": [{"value": {}}]}}}, "key points or rectangles"),
        ({"params": {"context": {"result": [{"type": "keypointlabels", "value": {}}]}}}, "percent"),
        ({"params": {"context": {"result": [{**clicked(5, 5), "original_width": 9}]}}}, "9 x 2"),
        ({"params": {"context": {"result": [{**clicked(5, 5), "image_rotation": 90}]}}}, "turned"),
        ({"tasks": [{"id": 1, "data": {"picture": "file:///etc/passwd"}}]}, "is not read"),
        ({"tasks": [{"id": 1, "data": []}]}, "has no address"),
    ],
)
def test_wrong_requests_are_told(studio: Any, change: dict[str, Any], said: str) -> None:
    model, _, _ = studio
    with pytest.raises((DataError, SourceError), match=said):
        model.predict(asked("a", **change))


def test_a_smart_rectangle_takes_the_node_of_its_box(studio: Any) -> None:
    model, _, _ = studio
    value = {"x": 0, "y": 0, "width": 25, "height": 100, "rotation": 0, "rectanglelabels": ["part"]}
    drawn = {"type": "rectanglelabels", "value": value, "original_width": 8, "original_height": 2}
    request = asked("a", params={"context": {"result": [drawn]}})
    (made,) = model.predict(request)["results"]
    assert (decoded(made["result"][0]) == strips().mask(8)).all()


@pytest.mark.parametrize("regions", [-1, 1001, 50_000, 2.5, "many"])
def test_too_many_regions_are_refused(regions: Any) -> None:
    with pytest.raises(SettingsError, match="regions"):
        Backend(Parsed(), regions=regions)


# -- the service ----------------------------------------------------------------------------------


@pytest.fixture
def client(studio: Any) -> Any:
    pytest.importorskip("httpx")
    from starlette.testclient import TestClient

    app = make_service(studio[0], hosts={"localhost"})
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


def test_the_service_speaks_the_protocol(client: Any) -> None:
    assert client.get("/health").json()["status"] == "UP"
    setup = {"project": PROJECT, "schema": CONFIG, "hostname": "http://ls.org", "access_token": "t"}
    assert client.post("/setup", json=setup).json() == {
        "model_version": client.post("/versions", json={}).json()["versions"][0]
    }
    assert client.post("/validate", json={"config": CONFIG}).json() == {"status": "ok"}
    assert client.post("/webhook", json={"action": "START_TRAINING"}).json()["status"] == "ok"
    answer = client.post("/predict", json=asked("a"))
    assert answer.status_code == 200
    assert len(answer.json()["results"][0]["result"]) == 6


@pytest.mark.parametrize(
    ("path", "sent", "status", "said"),
    [
        ("/predict", {"content": b"{}", "headers": {"content-type": "text/plain"}}, 422, "json"),
        (
            "/predict",
            {"content": b"{", "headers": {"content-type": "application/json"}},
            422,
            "not",
        ),
        ("/predict", {"json": [1]}, 422, "must be a JSON object"),
        ("/predict", {"json": {}}, 422, "list of tasks"),
        ("/setup", {"json": {"schema": "<View/>"}}, 422, "no BrushLabels"),
        ("/nothing", {"json": {}}, 404, "nothing at /nothing"),
        ("/health", {"json": {}}, 405, "nothing at /health"),
    ],
)
def test_errors_are_json_without_a_traceback(
    client: Any, path: str, sent: dict[str, Any], status: int, said: str
) -> None:
    answer = client.post(path, **sent)
    assert answer.status_code == status
    assert said in answer.json()["error"]
    assert "Traceback" not in answer.text


def test_a_mistake_of_ours_is_told_without_its_traceback(client: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(backend_module, "download", lambda url, login: 1 / 0)
    answer = client.post("/predict", json=asked("a"))
    assert answer.status_code == 500
    assert answer.json() == {"error": "the service has made a mistake; its terminal says more"}


def test_another_host_name_is_refused(client: Any) -> None:
    assert client.get("/health", headers={"host": "evil.org"}).status_code == 400


def test_the_service_asks_for_the_password_of_the_environment(
    studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("httpx")
    from starlette.testclient import TestClient

    monkeypatch.setenv("BASIC_AUTH_USER", "ann")
    monkeypatch.setenv("BASIC_AUTH_PASS", "s3cret")
    client = TestClient(make_service(studio[0]))
    assert client.get("/health").status_code == 401
    assert client.get("/health", auth=("ann", "wrong")).status_code == 401
    assert client.get("/health", auth=("ann", "s3cret")).status_code == 200


def test_the_users_token_goes_to_no_address_that_a_request_names(studio: Any) -> None:
    _, parsed, _ = studio
    own = Backend(parsed, login=Login(Host.of("http://ls.org"), "mine"))
    setup = {"project": PROJECT, "schema": CONFIG, "hostname": "http://evil.org"}
    own.setup({**setup, "access_token": "theirs"})
    assert own._logins[PROJECT] == Login(Host.of("http://ls.org"), "mine")
    free = Backend(parsed)
    free.setup({**setup, "access_token": "theirs"})
    assert free._logins[PROJECT] == Login(Host.of("http://evil.org"), "theirs")


def test_a_token_without_an_address_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "secret")
    with pytest.raises(SettingsError, match="give its address with --label-studio") as error:
        backend_of()
    assert "secret" not in str(error.value)


def test_others_may_ask_only_if_label_studios_address_is_given(
    monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    from typer.testing import CliRunner

    from regiontree.cli import app

    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    result = CliRunner().invoke(app, ["label-studio", "--host", "0.0.0.0", "--port", "0"])
    assert result.exit_code == 2
    said = result.output + capfd.readouterr().err
    assert "others can reach the service at 0.0.0.0" in said


# -- missing packages -----------------------------------------------------------------------------


def test_missing_packages_name_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cvat_sdk", "label_studio_ml"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"regiontree\[cvat\]"):
        create()
    from regiontree.bridges import labelstudioml

    with pytest.raises(MissingExtraError, match=r"github.com/HumanSignal.*regiontree label-studio"):
        labelstudioml.RegionTreeModel  # noqa: B018 - the name is made when it is asked for
    with pytest.raises(AttributeError, match="Other"):
        labelstudioml.Other  # noqa: B018

    from regiontree.bridges import service

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtraError, match=r"regiontree\[labelstudio\]"):
        service.check_installed()


def test_an_empty_frame_is_refused_by_name() -> None:
    from regiontree.errors import ImageError
    from regiontree.images import load_image

    with pytest.raises(ImageError):
        load_image(Image.new("RGB", (0, 5)))
    with pytest.raises(ImageError):
        load_image(io.BytesIO(b""))


def test_an_interaction_keeps_its_tree() -> None:
    kept = Interaction(lambda image: strips()).preprocess_image(None, None)
    assert kept.node([Click(0.5, 0.05)]) == 0


@pytest.mark.parametrize("version", [1, 2])
def test_the_class_of_their_framework_answers_as_the_service_does(
    version: int, monkeypatch: pytest.MonkeyPatch, studio: Any
) -> None:
    """A stand-in for ``LabelStudioMLBase``, as versions 1 and 2 construct and call it."""
    from types import ModuleType

    from regiontree.bridges import labelstudioml

    class Base:
        def __init__(self, project_id: str | None = None, label_config: str | None = None) -> None:
            self.label_config = label_config
            if version == 2:
                self.project_id = project_id or ""
                self.kept: dict[str, str] = {}
                self.setup()

        def set(self, key: str, value: str) -> None:
            self.kept[key] = value

    package, module = ModuleType("label_studio_ml"), ModuleType("label_studio_ml.model")
    module.LabelStudioMLBase = Base  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "label_studio_ml", package)
    monkeypatch.setitem(sys.modules, "label_studio_ml.model", module)
    monkeypatch.setattr(labelstudioml, "_model", None)
    monkeypatch.setattr(labelstudioml, "_backend", studio[0])
    model = labelstudioml.RegionTreeModel(label_config=CONFIG)
    assert isinstance(model, Base)
    assert getattr(model, "kept", None) in (None, {"model_version": studio[0].model_version})
    request = asked("a")
    assert model.predict(request["tasks"], context=None) == studio[0].predict(request)["results"]
    (made,) = model.predict(request["tasks"], context={"result": [clicked(5, 50)]}, login=None)
    assert decoded(made["result"][0]).sum() == 2
    assert model.fit("ANNOTATION_CREATED", {}) == {}


def test_the_environment_gives_the_settings_of_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    from regiontree.bridges import labelstudioml

    monkeypatch.setattr(labelstudioml, "_backend", None)
    monkeypatch.setenv("REGIONTREE_REGIONS", "many")
    with pytest.raises(SettingsError, match="REGIONTREE_REGIONS must be a whole number"):
        labelstudioml.predictions([], CONFIG)
    monkeypatch.setenv("REGIONTREE_REGIONS", "7")
    monkeypatch.setenv("REGIONTREE_LABELS", "whole,part")
    with pytest.raises(DataError, match="list of tasks"):
        labelstudioml.predictions([], CONFIG)
    assert labelstudioml._backend is not None
    assert (labelstudioml._backend.regions, labelstudioml._backend.labels) == (7, ("whole", "part"))
