"""From a photograph to its region tree: every step of the path in one file.

photograph -> pixels fitted to a patch grid                  (images)
           -> one feature per patch                          (backbones)
           -> features smoothed, but not across edges        (spectral.smooth)
           -> parts, from neighbours or leading eigenvectors (spectral.oversegment)
              or from the photograph's own pixels            (images.superpixels)
           -> affinity of parts, for builders that use it    (spectral.affinity)
           -> a tree over the parts                          (hierarchy)
           -> how steady each node of it is                  (hierarchy.stability)
           -> borders moved to the photograph's edges        (refine)
           -> the tree over the photograph's pixels          (tree)
"""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontree._version import __version__
from regiontree.backbones import Backbone, load_backbone, pick_device, pick_dtype
from regiontree.backbones.compiler import compiled
from regiontree.backbones.descriptors import (
    check_descriptors,
    descriptor_dim,
    mean_descriptors,
    split_features,
)
from regiontree.backbones.featurefile import (
    Features,
    load_descriptors,
    load_valid,
    overlap_of,
    read_features_meta,
)
from regiontree.backbones.featurefolder import Owners, check_source, find_features
from regiontree.backbones.layout import check_grid, check_pixels, shape_hint
from regiontree.backbones.openvino import OpenVinoBackbone
from regiontree.backbones.own import OwnModel
from regiontree.backbones.precomputed import check_features, read_features
from regiontree.backbones.run import run_batch
from regiontree.backbones.tiles import Tiled
from regiontree.backbones.unfold import Unfolded
from regiontree.backbones.views import Views
from regiontree.errors import (
    FeatureError,
    ImageError,
    SettingsError,
    check_number,
    plain_tuple,
    whole_number,
)
from regiontree.hierarchy.base import Hierarchy, node_embeddings
from regiontree.hierarchy.stability import node_stability
from regiontree.images import MAX_PIXELS, Bands, Choice, LoadedImage, Photo, load_image, nearest
from regiontree.images.colours import patch_colours
from regiontree.images.given import as_given
from regiontree.images.maskfiles import mask_for
from regiontree.images.masks import Masked, masked, unmasked
from regiontree.images.sight import Sight
from regiontree.images.superpixels import check_installed
from regiontree.images.valid import (
    PatchGaps,
    both,
    check_valid,
    filled,
    mask_digest,
    valid_at,
    valid_patches,
)
from regiontree.refine import PatchLeaves, Refinement
from regiontree.refine.regions import keep_leaves
from regiontree.settings import Settings
from regiontree.spectral.affinity import all_equal, make_affinity, unit_rows
from regiontree.spectral.contrast import photo_contrast
from regiontree.spectral.graph import part_graph
from regiontree.spectral.oversegment import PatchGraph
from regiontree.spectral.smooth import smooth_features
from regiontree.system.arrays import as_array
from regiontree.system.locks import Lock
from regiontree.system.threads import threads_after_fork
from regiontree.tree import RegionTree, StopReason
from regiontree.tree.nodata import with_no_data

__all__ = ["Patches", "Photo", "RegionParser", "parse"]


@dataclass(frozen=True, slots=True)
class Patches:
    """The patches of one photograph as parts are made of them.

    Attributes
    ----------
    unit : (n, d) float32 tensor
        The smoothed features of the patches that have data, at unit length, row by row of the grid.
    grid : (int, int)
        Rows and columns of patches, (h, w).
    size : (int, int)
        (H, W) of the photograph in pixels.
    gaps : PatchGaps or None
        Which patches of the grid have data. None: all of them, or none if `unit` has no row.
    valid : (H, W) bool or None
        Which pixels have data. None: all of them.
    rgb : (H', W', 3) uint8 or None
        The photograph, for what draws borders. Pixels without data have the colours around them.
    overlap : float
        As in :class:`~regiontree.refine.PatchLeaves`.
    descriptors : (h, w, e) tensor or None
        What leaves are described by.
    smoothed : str
        What smoothing used: none, features, or features and colours.
    """

    unit: Tensor
    grid: tuple[int, int]
    size: tuple[int, int]
    gaps: PatchGaps | None
    valid: NDArray[np.bool_] | None
    rgb: NDArray[np.uint8] | None
    overlap: float
    descriptors: Tensor | None
    smoothed: str

    @property
    def seen(self) -> NDArray[np.bool_] | None:
        """Which patches of the grid have data, (h, w); None for all of them."""
        return None if self.gaps is None else self.gaps.there

    def on_grid(self) -> Tensor:
        """`unit` on the grid, (h, w, d); a patch without data has the row of the nearest one."""
        return _on_grid(self.unit, self.gaps).reshape(*self.grid, -1)

    def spread(self, leaf: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """The leaf of each patch of the grid, (h, w) int32, of that of each row of `unit`."""
        own = leaf.astype(np.int32)
        return (own if self.gaps is None else own[self.gaps.nearest]).reshape(self.grid)


class RegionParser:
    """Makes region trees of photographs.

    Parameters
    ----------
    preset : {"default", "accurate", "fast", "published"}
    settings : Settings or None
        All settings, instead of a preset and changes.
    backbone : str, path, mapping, Backbone or None
        A name, the folder of a model, the settings of the stage ``backbone``, or a model of your
        own: see :class:`~regiontree.backbones.own.OwnModel`.
    device : str or torch.device
        auto, cpu, cuda, cuda:N or mps.
    max_pixels : int
        Photographs with more pixels than this are refused.
    bands : str, int or sequence of int, optional
        The one or three bands of a file to show, counted from 1: ``(4, 3, 2)``. None: the colours
        of a photograph, or the first bands of an image with many.
    page : int or None
        The page or frame of a file to show, counted from 0. None: the first.
    compile : bool
        Whether torch compiles the network, which makes it faster. The first photograph then takes a
        minute or more, so this pays for many photographs.
    **changes
        Settings that differ from the preset, as :meth:`regiontree.settings.Settings.make` takes
        them: ``parts=200`` or ``tree={"builder": "recursive", "levels": 5}``. Numbers may be those
        of NumPy or torch, and lists do for tuples; the tree records plain numbers.

    Attributes
    ----------
    settings : Settings
    device : torch.device
    sight : Sight
        The sizes at which photographs are decoded and given to the network.

    Raises
    ------
    SettingsError
        A setting is unknown, is out of range, contradicts another or would have no effect.
    BackboneError
        There is no such device, or the model of your own lacks a part.

    Examples
    --------
    >>> parser = RegionParser(parts=100)                                   # doctest: +SKIP
    >>> tree = parser.parse("photo.jpg")                                   # doctest: +SKIP
    >>> features = parser.features("photo.jpg")                            # doctest: +SKIP
    >>> tree = parser.build(features)            # the same, on the patch grid  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        preset: str = "default",
        settings: Settings | None = None,
        backbone: str | os.PathLike[str] | Mapping[str, Any] | Backbone | None = None,
        device: str | torch.device = "auto",
        max_pixels: int = MAX_PIXELS,
        bands: Bands | None = None,
        page: int | None = None,
        compile: bool = False,
        **changes: Any,
    ) -> None:
        named = isinstance(backbone, str | Mapping | os.PathLike)
        if named:
            changes["backbone"] = backbone
        max_pixels = check_number("max_pixels", max_pixels, 1, float("inf"))
        usual = None
        if settings is None:
            settings, usual = Settings.make(preset, **changes), Settings.make(preset)
        elif not isinstance(settings, Settings):
            raise SettingsError(
                f"settings must be made by Settings.make, got {type(settings).__name__}; give the "
                "changes alone, as RegionParser(**changes)"
            )
        elif changes or preset != "default":
            given = ", ".join(changes) or "preset"
            raise SettingsError(
                f"settings already contains every setting; leave out {given}, or leave out settings"
            )
        self._network: Backbone | None = None
        self._loading = Lock()
        self._record: tuple[Settings, dict[str, Any]] | None = None
        self._own = None
        self._owners = Owners()
        if backbone is not None and not named:
            self._own = OwnModel(backbone)
            settings = _of_own_model(self._own, device, settings, usual)
        self.settings: Settings = settings
        self.device: torch.device = self._own.device if self._own else pick_device(device)
        self.compile: bool = bool(compile)
        view = settings.view
        choice = Choice.of(bands, page)
        if choice.as_dict() and settings.backbone.name == "precomputed":
            raise SettingsError(
                "bands and page choose from photographs, and backbone 'precomputed' reads only "
                "features; leave them out"
            )
        self.sight: Sight = Sight(view.size, view.tiles, settings.refine, max_pixels, choice)
        if settings.needs_pixels:
            check_installed(settings.parts.name)  # before the network runs

    @property
    def backbone(self) -> Backbone:
        """The network with its views, crops or tiles. It is loaded when it is first used.

        If several threads ask at the same time, one loads the network and the others wait for it.

        Raises
        ------
        BackboneError
            The weights cannot be loaded.
        SettingsError
            The network cannot compute in the chosen precision.
        """
        if self._network is None:
            with self._loading:
                if self._network is None:
                    self._network = self._loaded()
        return self._network

    @property
    def own_model(self) -> Any:
        """The user's own model as it was given; None if the network has a name."""
        return None if self._own is None else self._own.model

    @property
    def needs_this_process(self) -> bool:
        """Whether the network cannot be loaded in another process, or should not be.

        It is the user's own model, is compiled, or is on a GPU, which has room for one.
        """
        is_elsewhere = self.device.type != "cpu" and not self.settings.is_precomputed
        return self._own is not None or self.compile or is_elsewhere

    def copied(
        self, *, network: Backbone | None = None, device: torch.device | None = None
    ) -> RegionParser:
        """A copy of this parser that builds trees on another device, or has another network.

        Parameters
        ----------
        network
            Takes the place of :attr:`backbone`. None: the same.
        device
            Where trees are built. None: the same.
        """
        other = copy.copy(self)
        other._network = self._network if network is None else network
        other.device = self.device if device is None else device
        return other

    @threads_after_fork()
    def _loaded(self) -> Backbone:
        network: Backbone
        if self._own:
            network = self._own
        else:
            asked = self.settings.backbone
            dtype = pick_dtype(asked.dtype, self.device)
            if asked.runs_in == "openvino":
                network = OpenVinoBackbone(self.device, dtype, asked.features)
            else:
                network = load_backbone(asked.name, self.device, dtype, asked.features)
            if asked.dtype != "auto" and network.dtype != dtype:
                raise SettingsError(
                    f"dtype {asked.dtype!r} is not available for backbone {network.name!r}, which "
                    f"computes in {str(network.dtype).removeprefix('torch.')}; leave dtype out"
                )
        if self.compile:
            network = compiled(network)
        view = self.settings.view
        seen = network
        if view.kernel is not None and view.stride is not None:
            seen = Unfolded(network, view.kernel, view.stride)
        whole = Views(seen, view.views) if view.views > 1 else seen
        if view.tiles is None or not isinstance(view.size, int):
            return whole
        return Tiled(network, whole, size=view.size)

    def describe(self) -> dict[str, Any]:
        """The facts about the network that trees and feature files record, as JSON values."""
        if self.settings.is_precomputed:
            return {"name": "precomputed"}
        network = self.backbone
        return {
            "name": network.name,
            "sha256": network.digest,
            "dtype": str(network.dtype).removeprefix("torch."),
        }

    def parse(self, photo: Photo | Masked, valid: Any = None) -> RegionTree:
        """The region tree of a photograph, with leaves at the resolution of the photograph.

        With backbone ``precomputed``, `photo` is a feature file, and the tree is on its patch grid.
        With ``precomputed:FOLDER``, the features come from the file in FOLDER that has the name of
        the photograph.

        Parameters
        ----------
        photo
        valid
            Which pixels are there: (H, W) bool or numbers, where 0 is not there, of the
            photograph's upright size; or the path of a mask image. The rest, and what the
            photograph itself declares as no data, becomes one leaf below the root, whose ``stop``
            is :attr:`StopReason.NO_DATA`. Nothing depends on the values of these pixels. None: all
            that the photograph has.

        Raises
        ------
        RegionTreeError
            A subclass whose message says what is wrong with the photograph, the features or the
            settings.
        """
        photo = masked(photo, valid)
        image = None if self.settings.is_precomputed else self.sight.load(photo)
        features = self.extract(photo if image is None else image)
        return self.build(features, rgb=self.pixels(photo, decoded=image))

    def features(self, photo: Photo | Masked, valid: Any = None) -> Tensor:
        """Patch features of a photograph: (h, w, d) float32 on the parser's device.

        `valid` as for `parse`. Features of patches that are not there have no meaning. Descriptors
        are not among them; `extract` gives both.
        """
        if self._reads_photo:
            return self._read(unmasked(photo)).patches
        return self._split(self._forward(self.sight.load(masked(photo, valid))))[0]

    def extract(
        self,
        photo: Photo | Masked,
        *,
        patches: Tensor | None = None,
        valid: Any = None,
        always: bool = False,
    ) -> Features:
        """Patch features of a photograph with all that `build` needs to know about them.

        :func:`regiontree.backbones.featurefile.save_features` writes them to a file.

        Parameters
        ----------
        photo, valid
            As for `parse`.
        patches
            (h, w, d): what the network computed of the photograph before, for example in a batch,
            with or without descriptors. If None, the network computes it now.
        always
            Whether the network runs for a photograph of one colour, too, so that it has the grid
            that other photographs of its size have. Otherwise it is one patch.

        Raises
        ------
        RegionTreeError
            As for `parse`.
        """
        photo = masked(photo, valid)
        given = unmasked(photo)
        if self._reads_photo:
            read = self._read(given)
            grid = (read.patches.shape[0], read.patches.shape[1])
            check_grid(str(given), read.patches.shape, None)
            source: dict[str, Any] = {"name": given.name, "sha256": read.source["sha256"]}
            there = None if read.valid is None else valid_patches(read.valid, grid)
            if isinstance(photo, Masked):
                of = f"the patch grid of {given}"
                own = mask_for(photo.valid, grid, of, self.sight.max_pixels)
                if own is not None:
                    source["mask_sha256"] = mask_digest(own)
                there = both(there, own)
            return dataclasses.replace(read, image_size=grid, source=source, valid=there)
        image = self.sight.load(photo)
        there = None if image.valid is None else nearest(image.valid, image.size)
        source = {"name": image.name, "sha256": image.digest, **image.facts}
        folder = self.settings.backbone.folder
        if folder is not None:
            if not isinstance(given, Path):
                raise FeatureError(f"{self.settings.backbone.name} needs the photograph's path")
            path = find_features(folder, given)
            read = self._read(path)
            digest, seen = read.source["sha256"], read.valid
            is_sure = check_source(path, given, image.digest)
            self._owners.claim(path, digest, given, image.digest)
            if self._keeps_proportions and not is_sure:
                check_grid(str(path), read.patches.shape, image.size, strict=True)
            source["features_sha256"] = digest
            if seen is not None and seen.shape == image.size:
                there = both(there, seen)
            return dataclasses.replace(read, image_size=image.size, source=source, valid=there)
        backbone = self.describe()  # loads the network, even if the photograph does not need it
        overlap, descriptors = self.settings.overlap, None
        if patches is None and image.is_uniform and not always:  # one region: no network is run
            patches = torch.ones(1, 1, 1, dtype=torch.float32, device="cpu")
        else:
            patches, descriptors = self._split(self._forward(image) if patches is None else patches)
        return Features(patches, image.size, source, backbone, overlap, there, descriptors)

    def pixels(
        self, photo: Photo | Masked, *, decoded: LoadedImage | None = None, valid: Any = None
    ) -> NDArray[np.uint8] | None:
        """The photograph as `build` needs it, (H, W, 3) uint8, or None if `build` does not use it.

        No network is needed. So `build` makes the same tree of stored features as `parse` does.
        Pixels that are not there have the colours around them.

        Parameters
        ----------
        photo, valid
            As for `parse`.
        decoded
            The photograph as ``sight.load`` gave it. If it is large enough, the photograph is not
            decoded again.
        """
        needed, has_photo = self.settings.needs_pixels, not self._reads_photo
        if needed and not has_photo:
            raise SettingsError(
                f"overclustering {self.settings.parts.name!r} needs the photograph, and backbone "
                "'precomputed' has only features; use precomputed:FOLDER"
            )
        photo = masked(photo, valid)
        if decoded is not None and self.sight.is_one_decoding:
            photo = decoded
        if needed:
            return self.sight.pixels(photo)
        wanted = self.settings.refine is not None or self.settings.uses_colours
        return self.sight.border_pixels(photo) if wanted and has_photo else None

    @torch.inference_mode()
    @threads_after_fork()
    def build(
        self,
        features: Features | Tensor | NDArray[np.floating[Any]],
        *,
        rgb: Photo | None = None,
        image_size: Sequence[int] | None = None,
        source: dict[str, Any] | None = None,
        backbone: dict[str, Any] | None = None,
        overlap: float | None = None,
        valid: Any = None,
        descriptors: Tensor | NDArray[np.floating[Any]] | None = None,
    ) -> RegionTree:
        """The region tree of patch features.

        Parameters
        ----------
        features
            (h, w, d), floating and finite, as an array or a tensor; or the result of `extract`,
            which contains all other arguments except `rgb`.
        rgb
            The photograph at any resolution of at least (h, w), (H, W, 3) uint8: see `pixels`.
            Other arrays, Pillow images, paths and open files are read as `parse` reads them.
            Over-clusterings of the photograph need it. Without `rgb`, smoothing uses the features
            alone and leaves stay on the patch grid, even if the settings say otherwise. The tree
            records this in ``meta["smoothed"]`` and ``meta["refined"]``.
        image_size
            (H, W) of the photograph in pixels, at least (h, w), as a tuple, a list or an array. If
            None, (h, w).
        source, backbone
            Facts about the photograph and about the network for ``meta``.
        overlap
            Number of grid patches along the side of one network patch. If None, the settings give
            it.
        valid
            (H, W) bool or numbers: which pixels of the photograph are there, at `image_size`. A
            patch is there if at least half of it is. Features of other patches have no effect.
        descriptors
            (h, w, e), floating and finite: what leaves are described by. They do not change the
            tree. None, or if the settings say ``none``: the tree has no descriptors.

        Raises
        ------
        FeatureError
            The features have a wrong shape, type or value, or contradict the photograph's
            proportions (:mod:`regiontree.backbones.layout`); or `image_size` and `rgb` contradict
            each other.
        ImageError
            `rgb` is not a photograph, or `valid` has another shape or holds no numbers.
        """
        facts = (("source", source), ("backbone", backbone))
        for name, given in facts:
            if given is not None and not isinstance(given, Mapping):
                raise FeatureError(f"{name} must be a mapping of facts, got {given!r}")
        if isinstance(features, Features):
            source = features.source if source is None else source
            backbone = features.backbone if backbone is None else backbone
        patches = self.prepare(
            features, rgb=rgb, image_size=image_size, overlap=overlap, valid=valid,
            descriptors=descriptors,
        )  # fmt: skip
        del features
        settings, size, (h, w), valid = self.settings, patches.size, patches.grid, patches.valid
        meta = self._meta(size, (h, w), source, backbone)
        meta["smoothed"] = patches.smoothed
        refinement = self._refinement(patches)
        meta["refined"] = "none" if refinement is None else refinement.name
        if valid is not None:
            meta["image"]["no_data"] = int(valid.size - valid.sum())
        if not len(patches.unit):
            meta["contrast"] = 1.0
            return RegionTree(**self._whole(size, StopReason.NO_DATA), meta=meta)
        unit, gaps, seen = patches.unit, patches.gaps, patches.seen
        meta["contrast"] = photo_contrast(
            patches.on_grid(),
            None if seen is None else torch.from_numpy(seen).to(unit.device),
        )
        if all_equal(unit):
            arrays = self._whole(size, StopReason.UNIFORM)
            if patches.descriptors is not None:
                rows = np.zeros(len(unit), np.int32)
                arrays["descriptor"] = _pooled(patches.descriptors, rows, 1, gaps)
            return _finished(arrays, valid, meta)
        affinity = make_affinity(unit, settings.affinity)
        graph_of_patches = PatchGraph(unit, affinity, settings.affinity, (h, w), seen)
        parts = settings.parts.group(graph_of_patches, patches.rgb, seed=settings.seed)
        graph = part_graph(unit, affinity, parts)
        hierarchy = settings.tree.build(graph, seed=settings.seed)

        embedding = node_embeddings(hierarchy, graph)
        leaf_of_row = hierarchy.leaf_of_part[parts.cpu().numpy()].astype(np.int32)
        stability = self._stability(graph_of_patches, hierarchy, leaf_of_row)
        labels = self.draw(
            patches, leaf_of_row, hierarchy.parents, hierarchy.height, embedding
        )  # fmt: skip
        # Make room: the tree keeps a copy of the labels. The graph holds the affinity.
        described, leaf_of_patch = patches.descriptors, patches.spread(leaf_of_row)
        del unit, affinity, patches, graph_of_patches, graph
        arrays = {
            "labels": labels,
            "parents": hierarchy.parents,
            "height": hierarchy.height,
            "ncut": hierarchy.ncut,
            "stop": hierarchy.stop,
            "embedding": embedding if settings.embeddings else None,
            "stability": stability,
        }
        if described is not None:
            n_leaves = int((hierarchy.stop != StopReason.INNER).sum())
            arrays["descriptor"] = _pooled(described, leaf_of_row, n_leaves, gaps)
        if valid is not None:
            arrays["labels"] = keep_leaves(labels, leaf_of_patch, hierarchy.parents, valid)
        return _finished(arrays, valid, meta)

    def prepare(
        self,
        features: Features | Tensor | NDArray[np.floating[Any]],
        *,
        rgb: Photo | None = None,
        image_size: Sequence[int] | None = None,
        overlap: float | None = None,
        valid: Any = None,
        descriptors: Tensor | NDArray[np.floating[Any]] | None = None,
    ) -> Patches:
        """A photograph's patches as parts are made of them: checked, smoothed, at unit length.

        This is the first half of :meth:`build`, which takes the same arguments. What makes one tree
        of many photographs calls it for each of them.

        Raises
        ------
        FeatureError, ImageError
            As :meth:`build`.
        """
        fits = image_size is None and isinstance(features, Features)  # as `extract` knows
        if isinstance(features, Features):
            image_size = features.image_size if image_size is None else image_size
            overlap = features.overlap if overlap is None else overlap
            valid = features.valid if valid is None else valid
            descriptors = features.descriptors if descriptors is None else descriptors
            features = features.patches
        if overlap is not None:
            overlap = check_number("overlap", overlap, 1e-3, 1e3)
        settings = self.settings
        if not isinstance(features, Tensor):
            array = check_features(as_array("features", features, FeatureError), "features")
            features = torch.from_numpy(array)
        if features.ndim != 3 or features.numel() == 0:
            hint = shape_hint(features.shape)
            raise FeatureError(
                f"features must be (h, w, d), got shape {tuple(features.shape)}{hint}"
            )
        h, w, d = features.shape
        described = None
        if descriptors is not None and self._wants_descriptors:
            described = check_descriptors(descriptors, (h, w))
        size = _image_size(image_size)
        if self._keeps_proportions and not fits:
            check_grid("features", features.shape, size)
        size = size or (h, w)
        if size[0] < h or size[1] < w:
            raise FeatureError(f"an image of {size} pixels cannot have a grid of {(h, w)} patches")
        rgb = self._pixels_given(rgb, size, (h, w))
        said = self._smoothing_said(rgb)
        there = None if valid is None else check_valid(valid, size, "the image")
        gaps = None
        # The spectra need float64. Apple's MPS has none, so the tree is then built on the CPU.
        device = "cpu" if self.device.type == "mps" else self.device
        rows = features.reshape(h * w, d)
        if there is None or there.any():
            if there is not None:
                rgb = None if rgb is None else filled(rgb, there)
                gaps = PatchGaps.of(there, (h, w))
                rows = rows[torch.from_numpy(gaps.index)]
            unit = unit_rows(rows.to(device))
            if settings.smooth.steps:
                unit = self._smoothed(unit, (h, w), rgb, there, gaps)
        else:
            unit = rows[:0].to(device)
        if overlap is None:
            overlap = settings.overlap
        return Patches(unit, (h, w), size, gaps, there, rgb, overlap, described, said)

    def draw(
        self,
        patches: Patches,
        leaf: NDArray[np.integer[Any]],
        parents: NDArray[np.integer[Any]],
        height: NDArray[np.floating[Any]],
        embedding: NDArray[np.floating[Any]],
    ) -> NDArray[np.int32]:
        """The leaf of each pixel of a photograph, (H, W) int32, with borders at its edges.

        Parameters
        ----------
        patches
            What :meth:`prepare` gave, with at least one patch that is there.
        leaf
            (n,) leaf of each patch that is there. Each leaf has a patch.
        parents, height
            (N,), as in :class:`~regiontree.tree.RegionTree`.
        embedding
            (N, d) mean feature of each node, of unit length.

        Notes
        -----
        A leaf may have no pixel with data; see :func:`regiontree.refine.regions.keep_leaves`.
        """
        leaf_of_patch, refinement = patches.spread(leaf), self._refinement(patches)
        if refinement is None or patches.rgb is None:
            return nearest(leaf_of_patch, patches.size)
        own = torch.from_numpy(embedding[: leaf_of_patch.max() + 1])
        leaves = PatchLeaves(
            leaf_of_patch,
            parents.astype(np.int32),
            height.astype(np.float32),
            patches.on_grid().float(),
            own.to(patches.unit.device).float(),
            patches.overlap,
            patches.seen,
            patches.valid,
        )
        return refinement.refine(leaves, patches.rgb, patches.size)

    # -- steps of the path ------------------------------------------------------------------------

    def _refinement(self, patches: Patches) -> Refinement | None:
        """What draws the borders. Pixels as large as patches have no finer borders to find."""
        is_finest = patches.size == patches.grid
        return None if patches.rgb is None or is_finest else self.settings.refine

    @property
    def _reads_photo(self) -> bool:
        """Whether `photo` is a feature file."""
        return self.settings.backbone.name == "precomputed"

    @property
    def _wants_descriptors(self) -> bool:
        return self.settings.backbone.features.descriptor != "none"

    def _split(self, found: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features and descriptors of what the network gave, or of features alone."""
        network = self.backbone
        length = descriptor_dim(network) if found.shape[-1] == network.dim else 0
        patches, descriptors = split_features(found, length)
        return patches, descriptors if self._wants_descriptors else None

    def _read(self, photo: Any) -> Features:
        """What a feature file holds. ``source`` has only its sha256; the image has its grid."""
        if not isinstance(photo, Path):
            raise FeatureError("the precomputed backbone needs a path; pass arrays to build()")
        features, digest = read_features(photo)
        overlap, there, descriptors = 1.0, None, None
        try:
            overlap = overlap_of(read_features_meta(photo))
            there = load_valid(photo)
            descriptors = load_descriptors(photo) if self._wants_descriptors else None
        except FeatureError:  # another program wrote the file
            pass
        patches, grid = torch.from_numpy(np.ascontiguousarray(features)), features.shape[:2]
        source = {"sha256": digest}
        return Features(patches, grid, source, self.describe(), overlap, there, descriptors)

    @property
    def _keeps_proportions(self) -> bool:
        """Whether the network sees a photograph in its own proportions."""
        return isinstance(self.settings.view.size, int)

    def _pixels_given(
        self, rgb: Any, size: tuple[int, int], grid: tuple[int, int]
    ) -> NDArray[np.uint8] | None:
        """The photograph that `build` was given, (H, W, 3) uint8, after checks of its shape."""
        if rgb is None:
            return None
        try:
            given = as_given(rgb)
            if isinstance(given, np.ndarray):
                plain = given.dtype == np.uint8 and given.ndim == 3 and given.shape[2] == 3
                given = given if plain else load_image(given, max_pixels=given.size).rgb
            elif self.settings.needs_pixels:
                given = self.sight.pixels(given)
            else:
                given = self.sight.border_pixels(given)
        except ImageError as error:
            raise ImageError(f"rgb must be the photograph, (H, W, 3) uint8: {error}") from error
        pixels: NDArray[np.uint8] = given
        if self._keeps_proportions:
            check_pixels((pixels.shape[0], pixels.shape[1]), size, grid)
        return pixels

    def _forward(self, image: LoadedImage) -> Tensor:
        # Not in inference mode, because the features may be used in training.
        with torch.no_grad(), threads_after_fork():
            pixels = self.sight.network_input(image, self.backbone.patch)
            return run_batch(self.backbone, pixels[None])[0]

    def _smoothing_said(self, rgb: NDArray[np.uint8] | None) -> str:
        """What smoothing uses, for ``meta``: none, features, or features and colours."""
        if not self.settings.smooth.steps:
            return "none"
        return (
            "features" if rgb is None or not self.settings.uses_colours else "features and colours"
        )

    def _smoothed(
        self,
        unit: Tensor,
        grid: tuple[int, int],
        rgb: NDArray[np.uint8] | None,
        valid: NDArray[np.bool_] | None,
        gaps: PatchGaps | None,
    ) -> Tensor:
        """The rows of the patches that are there, smoothed over the grid. `unit` may change."""
        steps, contrast = self.settings.smooth.steps, self.settings.smooth.contrast
        features = _on_grid(unit, gaps).reshape(*grid, -1)
        there = None if gaps is None else torch.from_numpy(gaps.there).to(unit.device)
        if rgb is None or contrast is None:
            smooth = smooth_features(features, steps=steps, there=there, in_place=True)
        else:
            seen = None if valid is None else valid_at(valid, rgb.shape[:2])
            colours = torch.from_numpy(patch_colours(rgb, grid, seen))
            colours = colours.permute(1, 2, 0).to(unit.device)
            smooth = smooth_features(
                features, steps=steps, colours=colours, contrast=contrast, there=there,
                in_place=True,
            )  # fmt: skip
        rows = smooth.reshape(unit.shape[0] if gaps is None else -1, unit.shape[1])
        return rows if gaps is None else rows[torch.from_numpy(gaps.index).to(unit.device)]

    def _stability(
        self, patches: PatchGraph, hierarchy: Hierarchy, leaf: NDArray[np.int32]
    ) -> NDArray[np.float16] | None:
        """The stability of each node; None if the settings want none. `leaf` is of each patch."""
        draws = self.settings.stability
        if draws == 0:
            return None
        count, own = len(hierarchy.leaf_of_part), leaf.astype(np.int64)
        return node_stability(
            patches.rows, patches.grid, patches.there, own, hierarchy.parents, count, draws
        )

    def _whole(self, size: tuple[int, int], stop: StopReason) -> dict[str, Any]:
        """The arrays of a tree of one region: all patches of the image are equal or missing."""
        return {
            "labels": np.zeros(size, np.int32),
            "parents": np.zeros(1, np.int32),
            "height": np.zeros(1, np.float32),
            "ncut": np.zeros(1, np.float32),
            "stop": np.array([stop], np.uint8),
            "embedding": None,
            "stability": np.ones(1, np.float16) if self.settings.stability else None,
        }

    def _settings_record(self) -> dict[str, Any]:
        """The settings as trees record them, put together once."""
        if self._record is None or self._record[0] is not self.settings:
            self._record = self.settings, self.settings.as_dict()
        return self._record[1]

    def _meta(
        self,
        size: tuple[int, int],
        grid: tuple[int, int],
        source: dict[str, Any] | None,
        backbone: dict[str, Any] | None,
    ) -> dict[str, Any]:
        if backbone is None:  # without a loaded network, the features come from elsewhere
            backbone = self.describe() if self._network else {"name": "precomputed"}
        return {
            "software": f"regiontree {__version__}",
            "backbone": backbone,
            "settings": self._settings_record(),
            "natural_height": self.settings.tree.natural_height,
            "image": {"size": list(size), "grid": list(grid), **(source or {})},
        }


def parse(photo: Photo, valid: Any = None, **options: Any) -> RegionTree:
    """The region tree of a photograph: ``RegionParser(**options).parse(photo, valid)``.

    The parser of the last call is kept with its network, so a second photograph with the same
    options is parsed at once. One network is kept at most: a call with other options drops the old
    one before it loads its own. For two networks in turn, make two parsers.
    """
    return _parser_of(options).parse(photo, valid)


@dataclass(frozen=True, slots=True)
class _Kept:
    """The parser of the last call.

    Attributes
    ----------
    asked : str or None
        The options as a text. None if they are not all plain values.
    key : tuple
        What decides whether two parsers are equal, besides the user's own model.
    own : object
        The user's own model, or None.
    """

    parser: RegionParser
    asked: str | None
    key: tuple[Any, ...]
    own: object


_kept: _Kept | None = None
_keeping = Lock()


def _parser_of(options: dict[str, Any]) -> RegionParser:
    """The kept parser if it has these options, else a new one, which is kept from now on."""
    global _kept
    kept, asked = _kept, repr(options) if _is_plain(options) else None
    if kept is not None and asked is not None and kept.asked == asked:
        return kept.parser  # without the milliseconds that it takes to check the settings
    fresh, model = RegionParser(**options), options.get("backbone")
    own = None if isinstance(model, str | Mapping | os.PathLike) else model
    sight = fresh.sight
    key = (fresh.settings, str(fresh.device), sight.max_pixels, sight.choice, fresh.compile)
    with _keeping:
        if _kept is None or _kept.own is not own or _kept.key != key:
            _kept = _Kept(fresh, asked, key, own)
        elif asked is not None:
            _kept = dataclasses.replace(_kept, asked=asked)
        return _kept.parser


def _is_plain(value: object) -> bool:
    """Whether equal texts mean equal values: only for values whose text says all about them."""
    if type(value) is dict:
        return all(type(key) is str and _is_plain(item) for key, item in value.items())
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))  # type: ignore[call-overload]
    return value is None or type(value) in (str, int, float, bool)


def _of_own_model(
    model: OwnModel, device: str | torch.device, settings: Settings, usual: Settings | None
) -> Settings:
    """The settings, with the name and the precision of the user's own model.

    Raises
    ------
    SettingsError
        The user chose a device, a precision or features that the model does not support.
    """
    model.check_device(device)
    precision = str(model.dtype).removeprefix("torch.")
    asked = settings.backbone
    if usual is not None:
        if asked.dtype not in ("auto", precision, usual.backbone.dtype):
            raise SettingsError(
                f"dtype {asked.dtype!r} is not the dtype of backbone {model.name!r}, which is "
                f"{precision}; leave dtype out"
            )
        for name in ("layers", "facet", "positions"):
            if getattr(asked.features, name) != getattr(usual.backbone.features, name):
                raise SettingsError(
                    f"{name} cannot be set for backbone {model.name!r}, your own model; "
                    "change its features() instead"
                )
    backbone = dataclasses.replace(asked, name=model.name, dtype=precision)
    return dataclasses.replace(settings, backbone=backbone)


def _on_grid(unit: Tensor, gaps: PatchGaps | None) -> Tensor:
    """A row for each patch of the grid; a patch that is not there has that of the nearest."""
    return unit if gaps is None else unit[torch.from_numpy(gaps.nearest).to(unit.device)]


def _pooled(
    descriptors: Tensor, leaf_of_row: NDArray[np.int32], n_leaves: int, gaps: PatchGaps | None
) -> NDArray[np.float16]:
    """The mean descriptor of each leaf over its patches, without patches that are not there.

    `leaf_of_row` is the leaf of each patch that is there.
    """
    rows = descriptors.reshape(-1, descriptors.shape[2])
    leaf = leaf_of_row
    if gaps is not None:
        leaf = np.full(len(rows), -1, np.int32)
        leaf[gaps.index] = leaf_of_row
    return mean_descriptors(rows, leaf, n_leaves)


def _finished(
    arrays: dict[str, Any], valid: NDArray[np.bool_] | None, meta: dict[str, Any]
) -> RegionTree:
    """The tree, with a leaf for the pixels that are not there."""
    return RegionTree(**(arrays if valid is None else with_no_data(~valid, **arrays)), meta=meta)


def _image_size(given: Sequence[int] | None) -> tuple[int, int] | None:
    """The image size (H, W) as given, as plain numbers."""
    if given is None:
        return None
    try:
        height, width = (whole_number(side) for side in plain_tuple(given))
    except (TypeError, ValueError):
        raise FeatureError(f"image_size must be whole numbers (H, W), got {given!r}") from None
    return height, width
