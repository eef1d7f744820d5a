"""Masks of everything in an image, with the classes and calls that users of SAM know.

:class:`AutomaticMaskGenerator` takes the place of ``SamAutomaticMaskGenerator`` and of
``SAM2AutomaticMaskGenerator``. :class:`MaskGenerationPipeline` takes the place of transformers'
``pipeline("mask-generation")``. Both make the tree of the image and give masks of its nodes:
:mod:`regiontree.export.sam` says what the records hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from regiontree.errors import SettingsError
from regiontree.export.maskgeneration import to_mask_generation
from regiontree.export.sam import (
    MAX_BYTES,
    MaskOptions,
    checked_mode,
    chosen_masks,
    mask_options,
    mask_records,
    to_sam,
)
from regiontree.parser import RegionParser
from regiontree.settings import Settings
from regiontree.system.stages import values_of
from regiontree.tree import RegionTree

__all__ = ["AutomaticMaskGenerator", "MaskGenerationPipeline"]


class AutomaticMaskGenerator:
    """Masks of everything in an image, as records of SAM's form.

    Parameters
    ----------
    model : RegionParser, Settings, str or None
        What makes the trees: a parser, settings, or the name of a preset. None: the default.
    pred_iou_thresh : float
        Masks with a lower ``predicted_iou`` are left out, 0 to 1. The value is the mean IoU of such
        nodes with what people marked, and never above 0.82. So SAM's threshold of 0.88 leaves
        nothing.
    stability_score_thresh : float
        Masks whose node has a lower stability are left out, 0 to 1.
    box_nms_thresh : float or None
        Of two masks whose boxes have a larger IoU, only the better one stays. None: both.
    min_mask_region_area : int
        Holes of fewer pixels are filled, and pieces of fewer pixels are left out of masks.
    output_mode : {"binary_mask", "uncompressed_rle", "coco_rle"}
        Form of ``segmentation``. The first takes a byte for each pixel and mask.
    masks : int or None
        At most so many masks. None: 100, or all that a choice below gives.
    pieces : bool or int
        Whether regions in several places are divided into their connected pieces, each a mask. A
        number is the least pixels of a piece; see :meth:`RegionTree.pieces`.
    max_bytes : float
        Most memory that binary masks may take together.
    **choice
        Other masks than those of the ranking: ``n_regions``, ``height``, ``depth`` or ``contrast``
        for the regions of a cut, ``salient`` for salient nodes, ``all_nodes``. See
        :class:`~regiontree.export.sam.MaskOptions`.

    Raises
    ------
    SettingsError
        An argument is unknown or out of range, or it is an argument of SAM that means nothing for a
        tree. The message then says what to use.
    MissingExtraError
        ``coco_rle``, and pycocotools is not installed.

    Examples
    --------
    >>> generator = AutomaticMaskGenerator()                          # doctest: +SKIP
    >>> masks = generator.generate(image)   # (H, W, 3) uint8, RGB    # doctest: +SKIP
    >>> detections = sv.Detections.from_sam(masks)                    # doctest: +SKIP
    """

    def __init__(
        self,
        model: RegionParser | Settings | str | None = None,
        *,
        pred_iou_thresh: float = 0.0,
        stability_score_thresh: float = 0.0,
        box_nms_thresh: float | None = None,
        min_mask_region_area: int = 0,
        output_mode: str = "binary_mask",
        masks: int | None = None,
        pieces: bool | int = False,
        max_bytes: float = MAX_BYTES,
        **choice: Any,
    ) -> None:
        self.options: MaskOptions = mask_options(
            {
                "pred_iou_thresh": pred_iou_thresh,
                "stability_score_thresh": stability_score_thresh,
                "box_nms_thresh": box_nms_thresh,
                "min_mask_region_area": min_mask_region_area,
                "masks": masks,
                **choice,
            }
        )
        self.output_mode: str = checked_mode(output_mode)
        self.pieces = pieces
        self.max_bytes = max_bytes
        self.parser: RegionParser = _parser(model)

    def generate(self, image: Any, valid: Any = None) -> list[dict[str, Any]]:
        """The masks of an image, the one with the highest ``predicted_iou`` first.

        Parameters
        ----------
        image
            (H, W, 3) uint8 RGB, or anything else that :meth:`RegionParser.parse` reads: a path, a
            Pillow image, bytes, arrays of other types.
        valid
            Which pixels are there, as for :meth:`RegionParser.parse`.

        Returns
        -------
        list of dict
            See :mod:`regiontree.export.sam`. It is empty for an image of one colour.

        Raises
        ------
        ImageError
            The image has no pixels or cannot be read.
        ExportError
            Binary masks would take more memory than `max_bytes`.
        """
        return self.generate_from_tree(self.tree(image, valid))

    def generate_from_tree(self, tree: RegionTree) -> list[dict[str, Any]]:
        """The masks of a tree that exists, for example one that was saved or condensed."""
        return to_sam(
            tree, output_mode=self.output_mode, max_bytes=self.max_bytes, **values_of(self.options)
        )

    def iterate(self, image: Any, valid: Any = None) -> Iterator[dict[str, Any]]:
        """The records of :meth:`generate`, one at a time, so that masks do not fill the memory."""
        yield from mask_records(
            chosen_masks(self.tree(image, valid), self.options), self.output_mode
        )

    def tree(self, image: Any, valid: Any = None) -> RegionTree:
        """The tree whose node numbers the records hold."""
        tree = self.parser.parse(image, valid)
        return _in_pieces(tree, self.pieces)


class MaskGenerationPipeline:
    """Masks of everything in an image, in the form of transformers' ``mask-generation``.

    Parameters
    ----------
    model, pieces
        As for :class:`AutomaticMaskGenerator`.
    **options
        Defaults of the arguments of a call.

    Examples
    --------
    >>> generator = MaskGenerationPipeline()       # pipeline("mask-generation")  # doctest: +SKIP
    >>> outputs = generator("photo.jpg", output_rle_mask=True)                    # doctest: +SKIP
    >>> outputs["masks"], outputs["scores"], outputs["rle_mask"]                  # doctest: +SKIP
    """

    task = "mask-generation"

    def __init__(
        self,
        model: RegionParser | Settings | str | None = None,
        *,
        pieces: bool | int = False,
        **options: Any,
    ) -> None:
        self._defaults = options
        _checked_call(options)
        self.pieces = pieces
        self.parser: RegionParser = _parser(model)

    def __call__(self, image: Any, **options: Any) -> Any:
        """The masks of an image, or of each image of a list.

        Parameters
        ----------
        image
            As for :meth:`AutomaticMaskGenerator.generate`, or a list of images.
        **options
            ``output_rle_mask``, ``output_bboxes_mask``, ``max_bytes``, and all of
            :class:`~regiontree.export.sam.MaskOptions`.

        Returns
        -------
        dict, or a list of them
            See :mod:`regiontree.export.maskgeneration`.

        Raises
        ------
        RegionTreeError
            As :meth:`AutomaticMaskGenerator.generate`.
        """
        used = {**self._defaults, **options}
        _checked_call(used)  # before the network runs
        if isinstance(image, list | tuple):
            return [self(one, **options) for one in image]
        return to_mask_generation(_in_pieces(self.parser.parse(image), self.pieces), **used)


_OF_CALL = ("output_rle_mask", "output_bboxes_mask", "max_bytes")


def _checked_call(options: dict[str, Any]) -> MaskOptions:
    """The options of masks among those of a call."""
    return mask_options({name: one for name, one in options.items() if name not in _OF_CALL})


def _parser(model: Any) -> RegionParser:
    """The parser that a user gave or described."""
    if isinstance(model, RegionParser):
        return model
    if model is None:
        return RegionParser()
    if isinstance(model, Settings):
        return RegionParser(settings=model)
    if isinstance(model, str):
        return RegionParser(preset=model)
    raise SettingsError(
        "model must be a RegionParser, Settings or the name of a preset, got "
        f"{type(model).__name__}; for a network of your own take RegionParser(backbone=...)"
    )


def _in_pieces(tree: RegionTree, pieces: bool | int) -> RegionTree:
    """The tree, divided into connected pieces if they are asked for."""
    if pieces is False:
        return tree
    return tree.pieces() if pieces is True else tree.pieces(pieces)
