"""Methods of a tree whose work is done in higher rooms: figures, and formats of other programs.

Each looks its function up among :data:`regiontree.system.doors.TREE_DOORS`. So the tree imports
nothing from above, and a type checker still sees a method with its own signature.

The classes here are the types of keyword arguments. They say to type checkers and editors which
options a method has. Nothing reads them when a program runs: the function that does the work has
the same options, with their defaults, and checks them. A test compares both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, cast

import numpy as np
from numpy.typing import NDArray

from regiontree.system.doors import TREE_DOORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "CocoKeywords",
    "ContourMapKeywords",
    "CutKeywords",
    "GeoJsonKeywords",
    "LabelStudioKeywords",
    "MaskGenerationKeywords",
    "MaskKeywords",
    "SamKeywords",
    "StackKeywords",
    "SupervisionKeywords",
    "TreeDoors",
]


class CutKeywords(TypedDict, total=False):
    """Which cut: at most one of them, as for :meth:`RegionTree.cut`; none is the natural cut."""

    n_regions: int | None
    height: float | None
    depth: int | None
    contrast: float | None


class CocoKeywords(CutKeywords, total=False):
    """Options of :meth:`RegionTree.to_coco`."""

    salient: int | None
    all_nodes: bool
    attributes: bool


class LabelStudioKeywords(CutKeywords, total=False):
    """Options of :meth:`RegionTree.to_label_studio`."""

    all_nodes: bool
    url_prefix: str


class GeoJsonKeywords(CutKeywords, total=False):
    """Options of :meth:`RegionTree.to_geojson`."""

    transform: Any
    crs: Any
    all_nodes: bool


class StackKeywords(TypedDict, total=False):
    """Options of :meth:`RegionTree.to_label_stack`."""

    granularities: Sequence[int]


class ContourMapKeywords(TypedDict, total=False):
    """Options of :meth:`RegionTree.to_ucm`."""

    size: Literal["double", "image"]


class MaskKeywords(CutKeywords, total=False):
    """Which masks: those of :class:`regiontree.AutomaticMaskGenerator`."""

    salient: int | None
    all_nodes: bool
    masks: int | None
    pred_iou_thresh: float
    stability_score_thresh: float
    box_nms_thresh: float | None
    min_mask_region_area: int


class SamKeywords(MaskKeywords, total=False):
    """Options of :meth:`RegionTree.to_sam`."""

    output_mode: str
    max_bytes: float


class MaskGenerationKeywords(MaskKeywords, total=False):
    """Options of :meth:`RegionTree.to_mask_generation`."""

    output_rle_mask: bool
    output_bboxes_mask: bool
    max_bytes: float


class SupervisionKeywords(MaskKeywords, total=False):
    """Options of :meth:`RegionTree.to_supervision`."""

    compact: bool
    max_bytes: float


class TreeDoors:
    """What :class:`~regiontree.tree.RegionTree` can be shown as and exported to."""

    def show(self, image: Any = None, *, n_regions: int = 16) -> Figure:
        """One figure of photograph, cut, hierarchy and tree: :func:`regiontree.plot.overview`.

        Notebooks display the Matplotlib figure. Elsewhere, call its ``savefig(path)``. `image` is a
        path, a Pillow image or an array; None draws plain colours.

        Raises
        ------
        MissingExtraError
            Matplotlib, of the extra ``plot``, is not installed.
        """
        figure: Figure = TREE_DOORS.get("show")(self, image, n_regions=n_regions)
        return figure

    def _repr_html_(self) -> str:
        return str(TREE_DOORS.get("_repr_html_")(self))

    # -- for other programs: regiontree.export describes the formats and their options

    def export(self, to: str, path: str | Path, **options: Any) -> Path:
        """Write the tree in any format by its name: :func:`regiontree.export.export_tree`."""
        return cast(Path, TREE_DOORS.get("export")(self, to, path, **options))

    def to_coco(self, name: str | None = None, **options: Unpack[CocoKeywords]) -> dict[str, Any]:
        """A COCO data set of the nodes: :func:`regiontree.export.coco.to_coco`."""
        return cast("dict[str, Any]", TREE_DOORS.get("to_coco")(self, name, **options))

    def to_panoptic(
        self, name: str | None = None, **cut: Unpack[CutKeywords]
    ) -> tuple[dict[str, Any], NDArray[np.uint8]]:
        """A cut as COCO panoptic: :func:`regiontree.export.panoptic.to_panoptic`."""
        return cast(
            "tuple[dict[str, Any], NDArray[np.uint8]]",
            TREE_DOORS.get("to_panoptic")(self, name, **cut),
        )

    def to_label_studio(
        self, name: str | None = None, **options: Unpack[LabelStudioKeywords]
    ) -> dict[str, Any]:
        """A Label Studio task: :func:`regiontree.export.labelstudio.to_label_studio`."""
        return cast("dict[str, Any]", TREE_DOORS.get("to_label_studio")(self, name, **options))

    def to_label_image(self, **cut: Unpack[CutKeywords]) -> NDArray[np.uint16]:
        """A cut, regions from 1: :func:`regiontree.export.labelmap.to_label_image`."""
        return cast(NDArray[np.uint16], TREE_DOORS.get("to_label_image")(self, **cut))

    def to_label_stack(self, **options: Unpack[StackKeywords]) -> NDArray[np.uint16]:
        """Cuts, coarse to fine: :func:`regiontree.export.labelmap.to_label_stack`."""
        return cast(NDArray[np.uint16], TREE_DOORS.get("to_label_stack")(self, **options))

    def to_ucm(self, **options: Unpack[ContourMapKeywords]) -> NDArray[np.float32]:
        """Heights of all borders: :func:`regiontree.export.contourmap.ultrametric_contour_map`."""
        return cast(NDArray[np.float32], TREE_DOORS.get("to_ucm")(self, **options))

    def to_geojson(self, **options: Unpack[GeoJsonKeywords]) -> dict[str, Any]:
        """Polygons: :func:`regiontree.export.geojson.to_geojson`."""
        return cast("dict[str, Any]", TREE_DOORS.get("to_geojson")(self, **options))

    def to_newick(self) -> str:
        """The tree alone, as text: :func:`regiontree.export.newick.to_newick`."""
        return cast(str, TREE_DOORS.get("to_newick")(self))

    def to_networkx(self) -> Any:
        """A ``networkx.DiGraph``: :func:`regiontree.export.graph.to_networkx`."""
        return TREE_DOORS.get("to_networkx")(self)

    def to_higra(self) -> tuple[Any, Any, Any]:
        """Higra tree, altitudes, leaf map: :func:`regiontree.export.higra.to_higra`."""
        return cast("tuple[Any, Any, Any]", TREE_DOORS.get("to_higra")(self))

    def to_masks(self, folder: str | Path) -> Path:
        """A PNG of every node, into a folder: :func:`regiontree.export.masks.write_masks`."""
        return cast(Path, TREE_DOORS.get("to_masks")(self, folder))

    def to_sam(self, **options: Unpack[SamKeywords]) -> list[dict[str, Any]]:
        """Records as of SAM's automatic mask generator: :func:`regiontree.export.sam.to_sam`."""
        return cast("list[dict[str, Any]]", TREE_DOORS.get("to_sam")(self, **options))

    def to_mask_generation(self, **options: Unpack[MaskGenerationKeywords]) -> dict[str, Any]:
        """As transformers: :func:`regiontree.export.maskgeneration.to_mask_generation`."""
        return cast("dict[str, Any]", TREE_DOORS.get("to_mask_generation")(self, **options))

    def to_supervision(self, **options: Unpack[SupervisionKeywords]) -> Any:
        """``supervision.Detections``: :func:`regiontree.export.supervision.to_supervision`."""
        return TREE_DOORS.get("to_supervision")(self, **options)
