"""CVAT's own driver, loader and agent with our functions. A CVAT server is not among them.

The driver asks a client for a task's frames and labels and gives it the shapes. The client here is
ours; everything between is CVAT's: the checks of the specification and of each shape, and how
masks are packed.
"""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import cvat_sdk.auto_annotation as cvataa
import cvat_sdk.models as models
import numpy as np
import pytest
from cvat_cli._internal.agent import get_function_driver_class
from cvat_cli._internal.common import FunctionLoader
from cvat_sdk.auto_annotation import driver
from cvat_sdk.masks import decode_mask
from PIL import Image

from regiontree import RegionTree
from regiontree.bridges.cvat import Detection, Interaction
from regiontree.errors import ImageError, MissingExtraError
from regiontree.tree.stop import StopReason

SIDE = 32


def tree_of_squares() -> RegionTree:
    """Sixteen squares of 8 x 8 pixels, nested by four; two leaves touch only at corners."""
    labels = np.kron(np.arange(16).reshape(4, 4), np.ones((8, 8), int))
    parents = [16, 16, 17, 17, 16, 16, 17, 17, 18, 18, 19, 19, 18, 18, 19, 19, 20, 20, 20, 20, 20]
    stability = np.linspace(0, 1, 21).astype(np.float16)
    return RegionTree(labels, parents, [0] * 16 + [0.5] * 4 + [1.0], stability=stability)


def annotate(
    function: Any, monkeypatch: pytest.MonkeyPatch, attributes: tuple[str, ...] = (), **options: Any
) -> list[Any]:
    """The shapes that CVAT's driver would send to the server, for a task of two frames."""
    label = models.Label(
        id=70, name="region", type="any", sublabels=[],
        attributes=[
            models.Attribute(name=name, mutable=False, input_type="text", values=[""], id=100 + i)
            for i, name in enumerate(attributes)
        ],
    )  # fmt: skip
    image = Image.new("RGB", (SIDE, SIDE), "red")
    samples = [
        SimpleNamespace(frame_index=i, frame_name=f"{i}.jpg",
                        media=SimpleNamespace(load_image=lambda: image))
        for i in (3, 4)
    ]  # fmt: skip
    dataset = SimpleNamespace(labels=[label], samples=samples)
    monkeypatch.setattr(driver, "TaskDataset", lambda *_, **__: dataset)
    sent: list[Any] = []

    def update(_: Any, __: Any, *, patched_labeled_data_request: Any) -> None:
        sent.extend(patched_labeled_data_request.shapes)

    api = SimpleNamespace(partial_update_annotations=update)
    client: Any = SimpleNamespace(logger=logging.getLogger(), tasks=SimpleNamespace(api=api))
    cvataa.annotate_task(client, 12, function, **options)
    return sent


def mask_of(shape: Any) -> np.ndarray:
    return decode_mask(shape.points, image_width=SIDE, image_height=SIDE)


def test_the_driver_takes_the_nested_masks_of_every_frame(monkeypatch: Any) -> None:
    tree = tree_of_squares()
    function = Detection(lambda image: tree, 12, "region", attributes=True)
    shapes = annotate(function, monkeypatch, ("node", "parent", "depth"))
    nodes = sorted(tree.salient(12), reverse=True)
    assert [shape.frame for shape in shapes] == [3] * 12 + [4] * 12
    by_number = {}
    for place, (shape, node) in enumerate(zip(shapes[:12], nodes, strict=True)):
        by_number[place + 1] = node
        assert (mask_of(shape) == tree.mask(node)).all()
        above = [other for other in tree.ancestors(node) if other in nodes]
        values = {value.spec_id: value.value for value in shape.attributes}
        assert values == {100: str(node), 101: str(above[0] if above else -1), 102: str(len(above))}
        assert by_number.get(shape.group) == (above[0] if above else None)
        assert (shape.z_order, shape.label_id, shape.source) == (len(above), 70, "auto")
        if "score" in models.LabeledShapeRequest.attribute_map:
            assert shape.score == pytest.approx(float(tree.stability[node]), abs=1e-3)


def filled(points: list[float]) -> np.ndarray:
    """The pixels whose centre lies in a polygon, by crossings of a ray to the left."""
    ring = np.array(points).reshape(-1, 2)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    inside = np.zeros((SIDE, SIDE), bool)
    for (x1, y1), (x2, y2) in zip(ring, np.roll(ring, -1, 0), strict=True):
        if y1 != y2:
            inside ^= ((y1 > y) != (y2 > y)) & (x > x1 + (y - y1) * (x2 - x1) / (y2 - y1))
    return inside


def test_polygons_cover_the_same_pixels(monkeypatch: Any) -> None:
    rng = np.random.default_rng(5)
    labels = np.kron(rng.integers(0, 2, (8, 8)), np.ones((4, 4), int))
    tree = RegionTree(labels, [2, 2, 2], [0, 0, 1])
    function = Detection(lambda image: tree, 5, "region")
    shapes = annotate(function, monkeypatch, conv_mask_to_poly=True)
    assert {shape.type.value for shape in shapes} == {"polygon"}
    covered = np.zeros((SIDE, SIDE), int)
    for shape in shapes[: len(shapes) // 2]:
        assert len(shape.points) >= 6
        covered += filled(shape.points)
    assert (covered >= 1).all(), "the outlines of both regions leave no pixel out"
    squares = tree_of_squares()
    only = Detection(lambda image: squares, 20, "region", "polygon")
    shapes = annotate(only, monkeypatch)[:20]
    for shape, node in zip(shapes, sorted(squares.salient(20), reverse=True), strict=True):
        assert (filled(shape.points) == squares.mask(node)).all()
        assert len(shape.points) == 8, "only the corners of the square"


def test_a_threshold_leaves_steady_regions(monkeypatch: Any) -> None:
    tree = tree_of_squares()
    function = Detection(lambda image: tree, 20, "region")
    shapes = annotate(function, monkeypatch, conf_threshold=0.6)
    steady = [node for node in range(20) if float(tree.stability[node]) >= 0.6]
    assert len(shapes) == 2 * len(steady) < 40


def test_a_frame_of_one_colour_is_one_region_and_one_without_data_none(monkeypatch: Any) -> None:
    whole = RegionTree(np.zeros((SIDE, SIDE), int), [0], [0])
    shapes = annotate(Detection(lambda image: whole, 5, "region"), monkeypatch)
    assert [mask_of(shape).all() for shape in shapes] == [True, True]
    empty = RegionTree(np.zeros((SIDE, SIDE), int), [0], [0], stop=[StopReason.NO_DATA])
    assert annotate(Detection(lambda image: empty, 5, "region"), monkeypatch) == []


def test_cvats_loader_makes_the_function_from_parameters(monkeypatch: Any) -> None:
    given = {"regions": 9, "label": "region", "device": "cpu"}
    function = FunctionLoader("regiontree.bridges.cvat", None, given).load()
    shapes = annotate(function, monkeypatch)
    assert {shape.frame for shape in shapes} == {3, 4}
    with pytest.raises(ImageError, match="empty"):
        function.detect(SimpleNamespace(), SimpleNamespace(width=0, height=3))


class Prompts:
    def __init__(self, pos: Any = (), neg: Any = (), box: Any = None) -> None:
        self.pos_points, self.neg_points, self.bounding_box = pos, neg, box


def test_an_interaction_climbs_and_takes_boxes() -> None:
    tree = tree_of_squares()
    function = Interaction(lambda image: tree)
    fields = get_function_driver_class(function.spec).get_remote_function_fields(function.spec)
    assert fields, "CVAT's agent takes the specification"
    kept = function.preprocess_image(None, None)

    def mask(prompts: Prompts) -> np.ndarray:
        (shape,) = function.detect(None, kept, prompts)
        assert shape.type == "mask"
        return mask_of(shape)

    assert (mask(Prompts([(3, 3)])) == tree.mask(0)).all()
    assert (mask(Prompts([(3, 3), (4, 4)])) == tree.mask(16)).all()
    assert (mask(Prompts([(3, 3), (4, 4)], [(12, 3)])) == tree.mask(0)).all()
    assert (mask(Prompts(box=((15.0, 0.5), (32.0, 16.2)))) == tree.mask(17)).all()
    assert function.detect(None, kept, Prompts()) == []


def test_cvats_loader_makes_the_interaction() -> None:
    function = FunctionLoader("regiontree.bridges.cvat", None, {"kind": "interaction"}).load()
    assert isinstance(function.spec, cvataa.InteractionFunctionSpec)


def test_an_old_sdk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cvataa, "InteractionFunctionSpec")
    with pytest.raises(MissingExtraError, match=r"cvat-sdk [0-9.]+ is too old.*'interaction'"):
        FunctionLoader("regiontree.bridges.cvat", None, {"kind": "interaction"}).load()
