"""CVAT: an auto-annotation function for its SDK, and for its command ``cvat-cli``.

::

    cvat-cli task auto-annotate 12 --function-module regiontree.bridges.cvat -p regions=int:24

annotates the frames of a task with nested masks. As an interaction function, whose agent answers
clicks and boxes in the editor::

    cvat-cli function create-native regions --function-module regiontree.bridges.cvat \\
        -p kind=str:interaction

CVAT's shapes have no parents. So each shape has these instead:

- ``z_order``: the depth of its nesting. Parts lie above their wholes.
- ``group``: shapes within the same larger shape form a group.
- ``score``: the stability of the node, if the tree has it.
- With ``attributes=bool:true``, the text attributes ``node``, ``parent`` and ``depth``. The task's
  label must have them, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.bridges.clicks import Box, Click, Clickable
from regiontree.errors import ImageError, MissingExtraError, SettingsError, check_number
from regiontree.export.coco import nodes_around
from regiontree.system.extras import optional
from regiontree.system.lazy import lazy
from regiontree.tree import RegionTree, StopReason
from regiontree.tree.borders import node_polygons, trace_arcs

__all__ = ["Detection", "Interaction", "create"]

_MAX_REGIONS = 10_000
_LABEL = 0  # the only label's number in the specification
_ATTRIBUTES = ("node", "parent", "depth")
_SHAPES = ("mask", "polygon")


def create(
    kind: str = "detection",
    *,
    regions: int = 24,
    label: str = "region",
    shape: str = "mask",
    pieces: bool = False,
    attributes: bool = False,
    preset: str = "default",
    backbone: str | None = None,
    device: str = "auto",
    **changes: Any,
) -> Detection | Interaction:
    """The function that CVAT calls: the parameters of ``cvat-cli`` are those of this one.

    Parameters
    ----------
    kind : {"detection", "interaction"}
        Regions of whole frames, or a region for clicks and a box.
    regions
        How many regions a frame has: its most salient nodes, 1 to 10,000.
    label
        The label of the shapes. The task must have it.
    shape : {"mask", "polygon"}
    pieces
        Whether regions are connected: see :meth:`RegionTree.pieces`.
    attributes
        Whether shapes have the attributes ``node``, ``parent`` and ``depth``.
    preset, backbone, device
        As for :class:`regiontree.RegionParser`.
    **changes
        Other settings of :class:`regiontree.RegionParser`.

    Raises
    ------
    MissingExtraError
        cvat-sdk is not installed, or too old; says which version is there.
    SettingsError
        A parameter is wrong.
    """
    if kind not in ("detection", "interaction"):
        raise SettingsError(f"kind must be detection or interaction, got {kind!r}")
    _sdk(kind)
    if shape not in _SHAPES:
        raise SettingsError(f"shape must be one of {', '.join(_SHAPES)}, got {shape!r}")
    if not isinstance(label, str) or not label.strip():
        raise SettingsError(f"label must be a text, got {label!r}")
    regions = check_number("regions", regions, 1, _MAX_REGIONS, whole=True)
    from regiontree.parser import RegionParser  # heavy: it imports torch

    if backbone is not None:
        changes["backbone"] = backbone
    parser = RegionParser(preset=preset, device=device, **changes)

    def parse(image: Any) -> RegionTree:
        if not (image.width and image.height):
            raise ImageError(f"the frame is empty: {image.width} x {image.height} pixels")
        tree = parser.parse(image)
        return tree.pieces() if pieces else tree

    if kind == "interaction":
        return Interaction(parse)
    return Detection(parse, regions, label, shape, attributes=attributes)


class Detection:
    """A detection function: nested regions of a frame.

    Parameters
    ----------
    parse
        Makes the tree of a Pillow image.
    regions, label, shape, attributes
        As for :func:`create`.
    """

    def __init__(
        self, parse: Any, regions: int, label: str, shape: str = "mask", *, attributes: bool = False
    ) -> None:
        self._parse, self.regions, self.label = parse, regions, label
        self.shape, self.attributes = shape, attributes

    @lazy
    def spec(self) -> Any:
        """``DetectionFunctionSpec``: one label, of masks or polygons."""
        sdk = _sdk("detection")
        own = {
            "type": "any" if self.shape == "mask" else self.shape,
            "attributes": [
                sdk.text_attribute_spec(name, i) for i, name in enumerate(self._attributes)
            ],
        }
        return sdk.DetectionFunctionSpec(labels=[sdk.label_spec(self.label, _LABEL, **own)])

    @property
    def _attributes(self) -> tuple[str, ...]:
        return _ATTRIBUTES if self.attributes else ()

    def detect(self, context: Any, image: Any) -> list[Any]:
        """The shapes of a frame, wholes before their parts.

        Parameters
        ----------
        context
            ``DetectionFunctionContext``. With a confidence threshold, only nodes of at least this
            stability are given; nodes without stability are.
        image
            A Pillow image.

        Raises
        ------
        RegionTreeError
            The frame is empty or cannot be parsed.
        """
        tree = self._parse(image)
        least = getattr(context, "conf_threshold", None)
        to_polygons = self.shape == "polygon" or getattr(context, "conv_mask_to_poly", False)
        nodes = sorted(tree.salient(self.regions), reverse=True)
        if not nodes:
            nodes = [tree.root] if tree.stop[tree.root] != StopReason.NO_DATA else []
        scores = {node: _score(tree, node) for node in nodes}
        nodes = [n for n in nodes if least is None or (scores[n] is None or scores[n] >= least)]
        around, depth, groups = nodes_around(tree, nodes), {-1: -1}, {-1: 0}
        shapes: list[Any] = []
        drawn = _polygons(tree, nodes) if to_polygons else _masks(tree, nodes)
        for place, node in enumerate(nodes):
            depth[node] = depth[around[node]] + 1
            groups[node] = place + 1
            facts = {"node": node, "parent": around[node], "depth": depth[node]}
            named = self._named(facts, groups[around[node]], scores[node])
            shapes += [self._made(points, named, to_polygons) for points in drawn[node]]
        return shapes

    def _named(self, facts: Mapping[str, int], group: int, score: float | None) -> dict[str, Any]:
        from cvat_sdk import models

        values = [
            models.AttributeValRequest(spec_id=i, value=str(facts[name]))
            for i, name in enumerate(self._attributes)
        ]
        made: dict[str, Any] = {"group": group, "z_order": facts["depth"], "attributes": values}
        if score is not None and "score" in models.LabeledShapeRequest.attribute_map:
            made["score"] = score
        return made

    def _made(self, points: Sequence[float], named: dict[str, Any], is_polygon: bool) -> Any:
        sdk = _sdk("detection")
        make = sdk.polygon if is_polygon else sdk.mask
        return make(_LABEL, list(points), **{**named, "attributes": list(named["attributes"])})


class Interaction:
    """An interaction function: a region for clicks, and for a box around a thing.

    Each further click inside the region takes the next larger one; negative clicks go down again.
    See :mod:`regiontree.bridges.clicks`.
    """

    def __init__(self, parse: Any) -> None:
        self._parse = parse

    @lazy
    def spec(self) -> Any:
        """``InteractionFunctionSpec``: points, negative points and a box, none of them needed."""
        sdk = _sdk("interaction")
        return sdk.InteractionFunctionSpec(min_pos_points=0, min_neg_points=0, min_bounding_boxes=0)

    def preprocess_image(self, context: Any, image: Any) -> Clickable:
        """The tree of an image, which the agent keeps for further clicks."""
        return Clickable(self._parse(image))

    def detect(self, context: Any, pp_image: Clickable, prompts: Any) -> list[Any]:
        """The mask of a node; none where nothing fits the prompts.

        Raises
        ------
        DataError
            A box without an area.
        """
        tree = pp_image.tree
        height, width = tree.shape
        clicks = [
            Click(_share(y, height), _share(x, width), inside)
            for inside, points in ((True, prompts.pos_points), (False, prompts.neg_points))
            for x, y in points
        ]
        box = None
        if prompts.bounding_box is not None:
            (left, top), (right, bottom) = prompts.bounding_box
            box = Box(
                _share(top, height), _share(left, width),
                _share(bottom, height), _share(right, width),
            )  # fmt: skip
        node = pp_image.node(clicks, box)
        if node is None:
            return []
        sdk = _sdk("interaction")
        return [
            sdk.InteractionResultShape(type="mask", points=points)
            for points in _masks(tree, [node])[node]
        ]


def _masks(tree: RegionTree, nodes: Sequence[int]) -> dict[int, list[list[float]]]:
    """Each node as one mask in CVAT's run lengths."""
    from cvat_sdk.masks import encode_mask

    return {node: [encode_mask(tree.mask(node))] for node in nodes}


def _polygons(tree: RegionTree, nodes: Sequence[int]) -> dict[int, list[list[float]]]:
    """Each node as the outlines of its pieces. CVAT's polygons have no holes."""
    return {node: _outlines(tree.mask(node)) for node in nodes}


def _outlines(mask: NDArray[np.bool_]) -> list[list[float]]:
    """The outer rings of the connected pieces of a mask (H, W): x and y of each corner in turn."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    inside = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1)
    arcs = trace_arcs(inside.astype(np.int32))
    both = RegionTree.from_parents(inside.astype(np.int32), [2, 2, -1])
    (_, polygons) = list(node_polygons(arcs, both, np.array([0, 1])))[1]
    rings = [polygon[0] for polygon in polygons]
    # One pixel of padding at the top and at the left.
    corners = [np.stack([arcs.x[ring] + left - 1, arcs.y[ring] + top - 1], 1) for ring in rings]
    return [_turns(corner).ravel().astype(float).tolist() for corner in corners]


def _turns(corners: NDArray[np.int64]) -> NDArray[np.int64]:
    """The corners (n, 2) of a ring at which it turns."""
    ahead, back = np.roll(corners, -1, 0) - corners, corners - np.roll(corners, 1, 0)
    turns: NDArray[np.int64] = corners[ahead[:, 0] * back[:, 1] != ahead[:, 1] * back[:, 0]]
    return turns


def _score(tree: RegionTree, node: int) -> float | None:
    if tree.stability is None or tree.stop[node] == StopReason.REST:
        return None
    return round(float(tree.stability[node]), 4)


def _share(place: float, side: int) -> float:
    return min(max(float(place) / side, 0.0), 1.0)


def _sdk(kind: str) -> Any:
    """``cvat_sdk.auto_annotation``.

    Raises
    ------
    MissingExtraError
        It is not installed, or has not what this kind of function needs.
    """
    what = "the function for CVAT needs"
    sdk = optional("cvat_sdk.auto_annotation", "cvat", what, package="cvat-sdk")
    optional("cvat_sdk.masks", "cvat", what, package="cvat-sdk")
    needed = "InteractionFunctionSpec" if kind == "interaction" else "text_attribute_spec"
    if not hasattr(sdk, needed):
        from cvat_sdk.version import VERSION

        raise MissingExtraError(
            f"cvat-sdk {VERSION} is too old for a function of kind {kind!r}: pip install -U "
            "'regiontree[cvat]'"
        )
    return sdk
