"""What Label Studio asks a model: nested regions of a task's photograph, or a region for a click.

:class:`Backend` knows nothing of HTTP: requests and answers are JSON values. A request to predict:

    {"tasks": [{"id": 7, "data": {"image": "/data/upload/1/cat.jpg"}, "drafts": [...]}],
     "project": "1.1700000000", "label_config": "<View>...", "params": {"context": null}}

With a context, which holds what a person drew with a smart tool, the answer is one region:
:mod:`regiontree.bridges.clicks` chooses it. Label Studio sends all smart clicks that have not been
accepted yet. With Auto-Accept it sends the last click alone, so the earlier ones are remembered for
each user. The request does not name the user, but it has this user's drafts, which do. Without a
draft, nothing is remembered: clicks of two persons must not mix.

Trees are kept in memory, up to a number of bytes. So a click on a photograph that has been
predicted costs milliseconds.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regiontree._version import __version__
from regiontree.bridges.clicks import Box, Click, Clickable, fraction
from regiontree.bridges.downloads import Host, Login, address_of, download
from regiontree.bridges.labelinterface import Brush, LabelInterface
from regiontree.errors import DataError, RegionTreeError, check_number
from regiontree.export.coco import nodes_around
from regiontree.export.labelstudio import Runs, node_id
from regiontree.system.lazy import lazy
from regiontree.tree import RegionTree, StopReason
from regiontree.tree.kernel import Preorder, preorder
from regiontree.viewer.answers import Recent

__all__ = ["Backend", "Kept"]

MAX_REGIONS = 1000
_MAX_KEPT = 1 << 30  # bytes of trees
_PROJECTS = 1000  # whose address and token are kept
_PERSONS = 10_000  # whose last clicks are kept
_NEAR = 0.03  # of the photograph's sides: a click this near to the last one is "again"
_AGAIN = 120.0  # seconds after which a click begins anew
_BUDGET = 45.0  # seconds for one request; Label Studio waits 100
_CLICKS = 100  # that are read of one request

Json = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Kept:
    """A tree in memory, with what clicks and brushes need of it.

    Attributes
    ----------
    tree : RegionTree
    digest : str
        sha256 of the photograph's bytes.
    """

    tree: RegionTree
    digest: str

    @lazy
    def clickable(self) -> Clickable:
        """The tree's answers to clicks."""
        return Clickable(self.tree)

    @lazy
    def runs(self) -> Runs:
        """The runs of leaves in the rows of the photograph."""
        return Runs.of(self.tree.labels)

    @lazy
    def walk(self) -> Preorder:
        """The nodes in the order of a walk, which says what lies within what."""
        return preorder(self.tree.parents)

    @property
    def size(self) -> int:
        """Bytes in memory, about."""
        nodes = 200 * self.tree.n_nodes
        return self.tree.labels.nbytes + 16 * len(self.runs.start) + nodes

    def region(self, node: int, brush: Brush, label: str) -> Json:
        """A node as a brush region, without its id; its score is its stability."""
        inside = self.walk.holds(node, self.runs.value)
        made = self.runs.brush(inside, label)
        score = self.score(node)
        return {
            **made,
            "from_name": brush.name,
            "to_name": brush.image,
            **({} if score is None else {"score": score}),
        }

    def score(self, node: int) -> float | None:
        """The stability of a node, 0 to 1, if the tree has it."""
        if self.tree.stability is None or self.tree.stop[node] == StopReason.REST:
            return None
        return round(float(self.tree.stability[node]), 4)


class Backend:
    """A model for Label Studio.

    Parameters
    ----------
    parse
        Makes the tree of a photograph from the bytes of its file.
    regions : int
        How many nested regions a photograph is labelled with before a person sees it, 0 to 1,000:
        its most salient nodes. With 0, only clicks are answered.
    labels : sequence of str
        The labels of these regions by depth: the first for regions in no other, the second for
        regions in these, and so on; the last for all below. Empty: "region" if the project has it,
        else its first label. Label Studio colours regions by label, so several labels show the
        nesting in the picture.
    login : Login or None
        Label Studio's address and token. None: what it says itself when it connects the model.

    Raises
    ------
    SettingsError
        `regions` is out of range.
    """

    def __init__(
        self,
        parse: Callable[[bytes], RegionTree],
        *,
        regions: int = 24,
        labels: Sequence[str] = (),
        login: Login | None = None,
    ) -> None:
        self.regions = check_number("regions", regions, 0, MAX_REGIONS, whole=True)
        self.labels = tuple(labels)
        self._parse, self._login = parse, login
        self._logins: OrderedDict[str, Login] = OrderedDict()
        self._persons: OrderedDict[tuple[str, ...], _Sequence] = OrderedDict()
        self._trees: Recent[Kept] = Recent(_MAX_KEPT)
        self._lock, self._parsing = threading.Lock(), threading.Lock()

    @property
    def model_version(self) -> str:
        """What Label Studio shows as the model's version. Other settings make another version."""
        return f"regiontree {__version__}, {self.regions} regions"

    def setup(self, request: Json) -> Json:
        """Label Studio connects the model: its address and token are kept for the project.

        Raises
        ------
        DataError
            The labelling interface does not fit; says what it needs.
        SettingsError
            Label Studio's address is not one.
        """
        self.check_interface(request.get("schema"))
        url, token = request.get("hostname"), request.get("access_token")
        token = token if isinstance(token, str) else ""
        if self._login is not None:
            # The user's address counts. A token that the user gave goes nowhere else.
            login = self._login if self._login.token else Login(self._login.host, token)
        elif url:
            login = Login(Host.of(url), token)
        else:
            return {"model_version": self.model_version}
        with self._lock:
            _remember(self._logins, _project(request), login, _PROJECTS)
        return {"model_version": self.model_version}

    def check_interface(self, text: object) -> None:
        """Raise a DataError if a labelling interface lacks a brush or the labels."""
        interface = LabelInterface.read(text)
        self._labels(interface, self._brush(interface))

    def _brush(self, interface: LabelInterface) -> Brush:
        return interface.brush(self.labels[0] if self.labels else None)

    def _labels(self, interface: LabelInterface, brush: Brush) -> list[str]:
        """The label of each depth, the last for all below."""
        return [interface.label(brush, label) for label in self.labels or (None,)]

    def predict(self, request: Json) -> Json:
        """The regions of tasks, or the region of a click.

        A task that fails has no prediction, and ``errors`` says why. If all fail, so does the
        request. If the photographs of many tasks take too long, only the first is answered; Label
        Studio then asks for one task at a time, and what was parsed is kept.

        Raises
        ------
        RegionTreeError
            The request is wrong, or no photograph can be read; says why.
        """
        tasks = request.get("tasks")
        if not isinstance(tasks, list) or not tasks or not all(isinstance(t, dict) for t in tasks):
            raise DataError("a request to predict must have a list of tasks")
        interface = LabelInterface.read(request.get("label_config"))
        project, params = _project(request), request.get("params")
        context = params.get("context") if isinstance(params, dict) else None
        if isinstance(context, dict) and context.get("result"):
            drawn = _Drawn.read(context["result"])
            return {"results": [self._clicked(project, tasks[0], interface, drawn)]}
        results: list[Json | list[Json]] = []
        errors: list[Json] = []
        start = time.monotonic()
        for task in tasks:
            try:
                results.append(self._nested(project, task, interface))
            except RegionTreeError as error:
                if len(tasks) == 1:
                    raise
                results.append([])
                errors.append({"task": task.get("id"), "error": str(error)})
            if time.monotonic() - start > _BUDGET and len(results) < len(tasks):
                return {"results": results[:1], "model_version": self.model_version}
        if len(errors) == len(tasks):
            raise DataError("; ".join(f"task {one['task']}: {one['error']}" for one in errors[:3]))
        told = {"errors": errors} if errors else {}
        return {"results": results, "model_version": self.model_version, **told}

    def _nested(self, project: str, task: Json, interface: LabelInterface) -> Json:
        """The prediction of a task: its most salient nodes, each nested in the next larger one."""
        brush = self._brush(interface)
        labels = self._labels(interface, brush)
        kept = self._kept(project, task, brush, fresh=True)
        tree = kept.tree
        nodes = sorted(tree.salient(self.regions), reverse=True) if self.regions else []
        around = nodes_around(tree, nodes) if nodes else []
        depth = {-1: -1}
        for node in nodes:  # from the highest down
            depth[node] = depth[around[node]] + 1
        results = [
            {
                "id": node_id(node),
                **({"parentID": node_id(around[node])} if around[node] >= 0 else {}),
                **kept.region(node, brush, labels[min(depth[node], len(labels) - 1)]),
            }
            for node in nodes
        ]
        prediction: Json = {"model_version": self.model_version, "result": results}
        scores = {node: score for node in nodes if (score := kept.score(node)) is not None}
        if scores:
            mean = np.average(list(scores.values()), weights=tree.area[list(scores)])
            prediction["score"] = round(float(mean), 4)
        return prediction

    def _clicked(self, project: str, task: Json, interface: LabelInterface, drawn: _Drawn) -> Json:
        """The prediction of clicks: one region, or none where there is nothing to take."""
        brush = interface.brush(drawn.label)
        known = drawn.label if drawn.label in brush.labels or not brush.labels else None
        label = known or self._labels(interface, brush)[0]
        kept = self._kept(project, task, brush)
        drawn.check_size(kept.tree.shape)
        clicks, sequence = drawn.clicks, drawn.sequence
        person = _person(task)
        if person is not None and drawn.is_lone_click:
            key = (project, str(task.get("id")), person)
            with self._lock:
                before = self._persons.get(key)
                now = _Sequence.after(before, clicks[0], label, kept.digest, sequence)
                _remember(self._persons, key, now, _PERSONS)
            clicks, sequence = now.clicks, now.name
        node = kept.clickable.node(clicks, drawn.box)
        prediction: Json = {"model_version": self.model_version, "result": []}
        if node is None:
            return prediction
        region = {"id": sequence, **kept.region(node, brush, label), "meta": {"text": [f"{node}"]}}
        prediction["result"] = [region]
        prediction["score"] = region.get("score", 1.0)
        return prediction

    def _kept(self, project: str, task: Json, brush: Brush, *, fresh: bool = False) -> Kept:
        """The tree of a task's photograph.

        With `fresh`, the photograph is read again, and parsed again if it has changed.
        """
        data = task.get("data")
        with self._lock:
            login = self._logins.get(project, self._login)
        given = data.get(brush.value) if isinstance(data, dict) else None
        url = address_of(given, login, task.get("id"))
        found = self._trees.get((project, url))
        if found is not None and not fresh:
            return found
        photo = download(url, login)
        digest = hashlib.sha256(photo).hexdigest()
        with self._parsing:  # one at a time: a network fills the machine
            found = self._trees.get((project, url))
            if found is None or found.digest != digest:
                found = Kept(self._parse(photo), digest)
                self._trees.put((project, url), found, found.size)
        return found


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What a person drew with smart tools.

    Attributes
    ----------
    clicks : tuple of Click
    box : Box or None
    label : str or None
    size : tuple of int or None
        (H, W) of the photograph as the browser shows it.
    sequence : str
        The id of the answer: equal for equal first clicks.
    """

    clicks: tuple[Click, ...]
    box: Box | None
    label: str | None
    size: tuple[int, int] | None
    sequence: str

    @classmethod
    def read(cls, results: object) -> _Drawn:
        """What a context holds.

        Raises
        ------
        DataError
            A result is not a point or a box, or the photograph is shown turned.
        """
        if not isinstance(results, list):
            raise DataError("the context's result must be a list of regions")
        clicks: list[Click] = []
        box = label = size = None
        for result in results[:_CLICKS]:
            value = result.get("value") if isinstance(result, dict) else None
            if not isinstance(value, dict):
                raise DataError("a region of the context has no value")
            if result.get("image_rotation"):
                raise DataError("the image is shown turned; turn it back to use smart tools")
            kind = str(result.get("type", "")).lower()
            if kind.startswith("keypoint"):
                y, x = fraction("y", value.get("y")), fraction("x", value.get("x"))
                clicks.append(Click(y, x, _is_positive(result, value)))
            elif kind.startswith("rectangle"):
                box = _box(value)
            else:
                raise DataError(
                    f"smart regions must be key points or rectangles, got {kind or 'no type'!r}"
                )
            named = value.get(kind, value.get("labels"))
            if isinstance(named, list) and named and isinstance(named[0], str):
                label = named[0]
            sides = result.get("original_height"), result.get("original_width")
            if all(isinstance(side, int) for side in sides):
                size = sides
        start = repr((clicks[:1], box, label, results[0].get("id"))).encode()
        return cls(tuple(clicks), box, label, size, f"rt{hashlib.sha256(start).hexdigest()[:10]}")

    @property
    def is_lone_click(self) -> bool:
        """Whether it is one positive click."""
        return len(self.clicks) == 1 and self.box is None and self.clicks[0].inside

    def check_size(self, shape: tuple[int, int]) -> None:
        """Raise a DataError if the browser shows another size than the tree's."""
        if self.size is not None and self.size != shape:
            height, width = self.size
            raise DataError(
                f"Label Studio shows the image with {width} x {height} pixels, and its file has "
                f"{shape[1]} x {shape[0]}; was it replaced?"
            )


@dataclass(frozen=True, slots=True)
class _Sequence:
    """The clicks of one person that belong to one region, each accepted by itself."""

    clicks: tuple[Click, ...]
    label: str
    digest: str
    name: str
    at: float

    @classmethod
    def after(
        cls, before: _Sequence | None, click: Click, label: str, digest: str, name: str
    ) -> _Sequence:
        """The sequence with one more click, or a new one if the click is not near the last one."""
        now = time.monotonic()
        if (
            before is None
            or (before.label, before.digest) != (label, digest)
            or now - before.at > _AGAIN
            or abs(before.clicks[-1].y - click.y) > _NEAR
            or abs(before.clicks[-1].x - click.x) > _NEAR
        ):
            return cls((click,), label, digest, name, now)
        return cls((*before.clicks, click)[-_CLICKS:], label, digest, before.name, now)


def _is_positive(result: Json, value: Json) -> bool:
    return bool(result.get("is_positive", value.get("is_positive", True)))


def _box(value: Mapping[str, Any]) -> Box:
    if value.get("rotation"):
        raise DataError("a smart rectangle must not be turned")
    sides = {name: value.get(name) for name in ("x", "y", "width", "height")}
    for name, side in sides.items():
        fraction(name, side)
    x, y, width, height = (float(side or 0.0) for side in sides.values())
    return Box(
        fraction("y", y), fraction("x", x), fraction("y", y + height), fraction("x", x + width)
    )


def _person(task: Json) -> str | None:
    """Who clicks: the user of the drafts, which are all of the one who asks. None: not known."""
    drafts = task.get("drafts")
    users = {
        str(draft["user"])
        for draft in (drafts if isinstance(drafts, Sequence) else ())
        if isinstance(draft, dict) and draft.get("user")
    }
    return users.pop() if len(users) == 1 else None


def _project(request: Json) -> str:
    return str(request.get("project", ""))[:100]


def _remember(kept: OrderedDict[Any, Any], key: Any, value: Any, most: int) -> None:
    """Keep a value, and drop the oldest above a number of values."""
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)
