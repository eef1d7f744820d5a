"""The whole path of one image, on one page.

photograph -> pixels fitted to a patch grid        (images)
           -> one feature per patch                (backbones)
           -> smoothed where they agree            (spectral.smooth)
           -> affinity of patches, kept as factors (spectral.affinity)
           -> parts, from its leading eigenvectors (spectral.oversegment)
              or from the pixels themselves (images.superpixels)
           -> a tree over the parts                (hierarchy)
           -> its leaves' borders moved to the photograph's edges (refine)
           -> the tree over the image's own pixels (tree)
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from operator import index
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from regiontree._version import __version__
from regiontree.backbones import Backbone, load_backbone, pick_device, pick_dtype
from regiontree.backbones.compiler import compiled
from regiontree.backbones.featurefile import Features, overlap_of, read_features_meta
from regiontree.backbones.own import OwnModel
from regiontree.backbones.precomputed import check_features, find_features, read_features
from regiontree.backbones.run import run_batch
from regiontree.backbones.tiles import Tiled
from regiontree.backbones.unfold import Unfolded
from regiontree.backbones.views import Views
from regiontree.errors import FeatureError, SettingsError
from regiontree.hierarchy import Hierarchy, PartGraph, StopReason
from regiontree.images import (
    MAX_PIXELS,
    LoadedImage,
    Size,
    fitted,
    grid_of,
    load_image,
    nearest,
    to_pixels,
)
from regiontree.images.colours import patch_colours
from regiontree.images.superpixels import check_installed, image_parts
from regiontree.refine import PatchLeaves
from regiontree.settings import Settings
from regiontree.spectral.affinity import (
    EQUAL,
    Affinity,
    make_affinity,
    max_cosine_distance,
    unit_rows,
)
from regiontree.spectral.graph import MAX_PARTS, part_graph
from regiontree.spectral.oversegment import oversegment
from regiontree.spectral.smooth import smooth_features
from regiontree.tree import RegionTree

__all__ = ["RegionParser", "parse"]

# Long side in pixels that photographs are decoded at for a network that sees them smaller: what the
# default refinement asks for, so that one decoding serves both.
_DECODED = 840

Photo = str | Path | Image.Image | NDArray[Any] | LoadedImage


class RegionParser:
    """Turns photographs into region trees.

    Parameters
    ----------
    preset : {"default", "fast", "published"}
    backbone : str or Backbone
        A name, or a model of your own: see :class:`~regiontree.backbones.own.OwnModel`.
    device : str
        auto, cpu, cuda, cuda:N or mps.
    max_pixels : int
        Larger images are refused.
    compile : bool
        Whether torch's compiler makes the network faster: worth a minute or more, for many images.
    **changes
        Any attribute of :class:`~regiontree.settings.Settings`; an unknown one is an error.

    Examples
    --------
    >>> parser = RegionParser(parts=100)                          # doctest: +SKIP
    >>> tree = parser.parse("photo.jpg")                          # doctest: +SKIP
    >>> features = parser.features("photo.jpg")                   # doctest: +SKIP
    >>> tree = parser.build(features)          # the same, on the patch grid  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        preset: str = "default",
        backbone: str | Backbone | None = None,
        device: str = "auto",
        max_pixels: int = MAX_PIXELS,
        compile: bool = False,
        **changes: Any,
    ) -> None:
        self._own = None
        if isinstance(backbone, str):
            changes["backbone"] = backbone
        elif backbone is not None:
            self._own = OwnModel(backbone)
            changes = self._own.settings(device, changes)
        self.settings = Settings.make(preset, **changes)
        self.device = self._own.device if self._own else pick_device(device)
        self.max_pixels = max_pixels
        self.compile = compile
        if self.settings.needs_pixels:
            check_installed(self.settings.overclustering)  # now, not after the network has run

    @cached_property
    def backbone(self) -> Backbone:
        """The network, loaded when first needed."""
        network: Backbone
        if self._own:
            network = self._own
        else:
            dtype = pick_dtype(self.settings.dtype, self.device)
            spec = self.settings.feature_spec()
            network = load_backbone(self.settings.backbone, self.device, dtype, spec)
            if self.settings.dtype != "auto" and network.dtype != dtype:
                raise SettingsError(
                    f"dtype {self.settings.dtype!r} cannot be had of backbone {network.name!r}, "
                    f"which computes in {str(network.dtype).removeprefix('torch.')}; leave it out"
                )
        if self.compile:
            network = compiled(network)
        kernel, stride = self.settings.kernel, self.settings.stride
        seen = Unfolded(network, kernel, stride) if kernel and stride else network
        whole = Views(seen, self.settings.views) if self.settings.views > 1 else seen
        if self.settings.tiles is None or not isinstance(self.settings.size, int):
            return whole
        return Tiled(network, whole, size=self.settings.size)

    @property
    def is_precomputed(self) -> bool:
        """Whether features come from files, so that no network runs."""
        return self.settings.backbone.partition(":")[0] == "precomputed"

    def features_file(self, photo: Path) -> Path:
        """The file that holds a photograph's features with backbone ``precomputed:FOLDER``."""
        return find_features(Path(self.settings.backbone.partition(":")[2]), photo)

    def parse(self, photo: Photo) -> RegionTree:
        """The region tree of a photograph, leaves at the resolution of the photograph.

        With backbone ``precomputed``, `photo` is the feature file itself and the tree lives on its
        patch grid; with ``precomputed:FOLDER`` the features come from the file in FOLDER that is
        named like the photograph.

        Raises
        ------
        RegionTreeError
            A subclass that says what is wrong with the photograph, the features or the settings.
        """
        image = None if self.is_precomputed else self.load(photo)
        return self.finish(photo, self.extract(image or photo), image)

    def finish(
        self, photo: Photo, extracted: Features, image: LoadedImage | None = None
    ) -> RegionTree:
        """The second half of :meth:`parse`: the tree of what :meth:`extract` gave.

        `image` is the photograph as :meth:`load` gave it, if it is still there: unless what looks
        at it wants it finer, it is not decoded again.
        """
        return self.build(
            extracted.patches,
            rgb=self.pixels(image if image is not None and self._beyond() is None else photo),
            image_size=extracted.image_size,
            source=extracted.source,
            backbone=extracted.backbone,
            overlap=extracted.overlap,
        )

    @torch.inference_mode()
    def extract(self, photo: Photo, *, patches: Tensor | None = None) -> Features:
        """The first half of :meth:`parse`: patch features, and what they are of and from.

        :func:`regiontree.backbones.featurefile.save_features` keeps them for later, and `build`
        does the rest.
        `patches`, if given, are what the network made of the photograph, in a batch say.
        """
        if self.settings.backbone == "precomputed":
            features, digest, overlap = self._read(photo)
            grid = (features.shape[0], features.shape[1])
            named = Path(str(photo)).name
            source: dict[str, Any] = {"name": named, "sha256": digest}
            return Features(features, grid, source, {"name": "precomputed"}, overlap)
        image = self.load(photo)
        source = {"name": image.name, "sha256": image.digest}
        if self.is_precomputed:
            if not isinstance(photo, str | Path):
                raise FeatureError(f"{self.settings.backbone} needs the photograph's path")
            features, digest, overlap = self._read(self.features_file(Path(photo)))
            source["features_sha256"] = digest
            return Features(features, image.size, source, {"name": "precomputed"}, overlap)
        backbone = self.backbone_meta()  # loads it, whatever the image
        if patches is None:  # of one colour: one region, which no network is needed to say
            patches = torch.ones(1, 1, 1) if image.is_uniform else self._forward(image)
        return Features(patches, image.size, source, backbone, self.settings.overlap)

    @torch.inference_mode()
    def features(self, photo: Photo) -> Tensor:
        """Patch features of a photograph: (h, w, d) float32 on the parser's device."""
        if self.settings.backbone == "precomputed":
            return self._read(photo)[0]
        return self._forward(self.load(photo))

    def load(self, photo: Photo) -> LoadedImage:
        """The photograph, decoded as finely as the network needs it."""
        return load_image(photo, max_pixels=self.max_pixels, cover=self._cover())

    def network_input(self, image: LoadedImage) -> Tensor:
        """What the network sees of it: (3, h * patch, w * patch) in [0, 1]."""
        patch = self.backbone.patch
        grid = grid_of(image.size, self.seen_size(image.size), patch)
        return to_pixels(image.rgb, grid, patch, floating=self.settings.tiles is None)

    def seen_size(self, own: tuple[int, int]) -> Size:
        """The size at which an image of (H, W) pixels is seen, by tiles if there are any."""
        size, tiles = self.settings.size, self.settings.tiles
        if tiles is None or not isinstance(size, int):
            return size
        return max(2 * size, max(own)) if tiles == "own" else tiles

    def pixels(self, photo: Photo) -> NDArray[np.uint8] | None:
        """The photograph as `build` wants it: (H, W, 3) uint8, or None if it has no use for it.

        That is as its refinement asks, or as the network sees it, up to the rounding of the sides
        to whole patches; for the colours of patches alone, at a long side of 840 at least. No
        network is needed, so stored features give the tree that the photograph gives.
        """
        needed, refinement = self.settings.needs_pixels, self.settings.refinement()
        if self.settings.backbone == "precomputed" and needed:
            raise SettingsError(
                f"overclustering {self.settings.overclustering!r} divides the photograph, and "
                "backbone 'precomputed' has only features; use precomputed:FOLDER"
            )
        wanted = refinement is not None or self.settings.uses_colours
        if not needed and (not wanted or self.settings.backbone == "precomputed"):
            return None
        image = load_image(photo, max_pixels=self.max_pixels, cover=self._beyond() or self._cover())
        size = self.seen_size(image.size)
        seen = fitted(image.size, size) if isinstance(size, int) else size
        if not needed and refinement is not None:
            seen = refinement.photo_size(image.size, seen)
        elif not needed:  # colours alone, as fine as the default refinement wants them
            seen = fitted(seen, max(*seen, _DECODED))
        resized = Image.fromarray(image.rgb).resize(seen[::-1], Image.Resampling.BILINEAR)
        return np.asarray(resized)

    @torch.inference_mode()
    def build(
        self,
        features: Tensor | NDArray[np.floating[Any]],
        *,
        rgb: NDArray[np.uint8] | None = None,
        image_size: tuple[int, int] | None = None,
        source: dict[str, Any] | None = None,
        backbone: dict[str, Any] | None = None,
        overlap: float | None = None,
    ) -> RegionTree:
        """The region tree of patch features.

        Parameters
        ----------
        features
            (h, w, d), floating, finite.
        rgb
            (H, W, 3) uint8, the photograph at any resolution of at least (h, w): see `pixels`.
            Overclusterings of the image need it. Without it features alone smooth themselves and
            leaves stay on the patch grid, whatever `settings.contrast` and `settings.refine` say;
            ``meta["smoothed"]`` and ``meta["refined"]`` tell.
        image_size
            (H, W) of the image they belong to, at least (h, w); the patch grid itself if None.
        source, backbone
            What to record of the image and of the network in ``meta``.
        overlap
            Patches of the grid in one of the network's, a side; None: as the settings make it.
        """
        settings = self.settings
        if not isinstance(features, Tensor):
            features = torch.from_numpy(check_features(np.asarray(features), "features"))
        if features.ndim != 3 or features.numel() == 0:
            raise FeatureError(f"features must be (h, w, d), got shape {tuple(features.shape)}")
        h, w, d = features.shape
        size = _image_size(image_size, (h, w))

        # Apple's MPS has no float64, which the spectra need: there the tree is built on the CPU.
        device = "cpu" if self.device.type == "mps" else self.device
        unit = unit_rows(features.reshape(h * w, d).to(device))
        if settings.smoothing:
            unit = self._smoothed(unit.reshape(h, w, d), rgb).reshape(h * w, d)
        largest = max_cosine_distance(unit)
        # On the patch grid itself there is nothing to refine to.
        refinement = None if rgb is None or size == (h, w) else settings.refinement()
        refined = "none" if refinement is None else settings.refine
        smoothed = "none" if not settings.smoothing else "features"
        if rgb is not None and settings.uses_colours:
            smoothed = "features and colours"
        meta = self._meta(size, (h, w), source, backbone)
        meta |= {"smoothed": smoothed, "refined": refined}
        if largest < EQUAL:
            return _whole(size, meta)
        affinity = make_affinity(unit, settings.affinity_settings(), largest)
        parts = self._parts(unit, affinity, (h, w), rgb)
        graph = part_graph(unit, affinity, parts)
        hierarchy = settings.builder().build(graph, seed=settings.seed)

        embedding = _node_embeddings(hierarchy, graph)
        leaf_of_patch = hierarchy.leaf_of_part[parts.cpu().numpy()].reshape(h, w).astype(np.int32)
        if refinement is None or rgb is None:
            labels = nearest(leaf_of_patch, size)
        else:
            leaves = PatchLeaves(
                leaf_of_patch,
                hierarchy.parents.astype(np.int32),
                hierarchy.height.astype(np.float32),
                unit.reshape(h, w, d).float(),
                torch.from_numpy(embedding[: leaf_of_patch.max() + 1]).to(unit.device).float(),
                settings.overlap if overlap is None else overlap,
            )
            labels = refinement.refine(leaves, rgb, size)
        return RegionTree(
            labels=labels,
            parents=hierarchy.parents,
            height=hierarchy.height,
            ncut=hierarchy.ncut,
            stop=hierarchy.stop,
            embedding=embedding,
            meta=meta,
        )

    # -- the small print --------------------------------------------------------------------------

    def _smoothed(self, unit: Tensor, rgb: NDArray[np.uint8] | None) -> Tensor:
        steps, contrast = self.settings.smoothing, self.settings.contrast
        if rgb is None or contrast is None:
            return smooth_features(unit, steps=steps)
        colours = torch.from_numpy(patch_colours(rgb, (unit.shape[0], unit.shape[1])))
        colours = colours.permute(1, 2, 0).to(unit.device)
        return smooth_features(unit, steps=steps, colours=colours, contrast=contrast)

    def _parts(
        self,
        unit: Tensor,
        affinity: Affinity,
        grid: tuple[int, int],
        rgb: NDArray[np.uint8] | None,
    ) -> Tensor:
        """Part of each patch, (n,) int64: from the affinity graph, or from the photograph."""
        settings = self.settings
        method, seed = settings.overclustering, settings.seed
        if not settings.needs_pixels:
            chosen = settings.oversegment_settings()
            return oversegment(unit, affinity, settings.affinity_settings(), chosen, seed=seed)
        if rgb is None:
            raise FeatureError(
                f"overclustering {method!r} divides the photograph: pass it as rgb, or use "
                "simultaneous, features or none"
            )
        found = image_parts(
            rgb, grid, method, parts=settings.parts, seed=seed, restarts=settings.restarts
        )
        if found.max() >= MAX_PARTS:
            raise SettingsError(
                f"overclustering {method!r} divides the photograph into {found.max() + 1} parts; "
                f"at most {MAX_PARTS} fit; use a smaller size or another overclustering"
            )
        return torch.from_numpy(found.reshape(-1)).to(unit.device)

    def _forward(self, image: LoadedImage) -> Tensor:
        return run_batch(self.backbone, self.network_input(image)[None])[0]

    def _cover(self) -> Size | None:
        """What a photograph is decoded at, the same whatever the refinement: so are features.

        None: its own size.
        """
        if self.settings.tiles == "own":
            return None
        size = self.settings.tiles or self.settings.size
        if isinstance(size, int):
            return max(size, _DECODED)
        return fitted(size, max(*size, _DECODED))

    def _beyond(self) -> Size | None:
        """What the refinement wants it decoded at, if that is more."""
        refinement, cover = self.settings.refinement(), self._cover()
        if refinement is None or cover is None:
            return None
        most = cover if isinstance(cover, int) else max(cover)
        return refinement.long_side if refinement.long_side > most else None

    def _read(self, photo: Photo) -> tuple[Tensor, str, float]:
        """A feature file's features, its sha256 and, if it is one of our own, its overlap."""
        if not isinstance(photo, str | Path):
            raise FeatureError("the precomputed backbone needs a path; pass arrays to build()")
        features, digest = read_features(photo)
        try:
            overlap = overlap_of(read_features_meta(Path(photo)))
        except FeatureError:  # of anybody's
            overlap = 1.0
        return torch.from_numpy(np.ascontiguousarray(features)), digest, overlap

    def backbone_meta(self) -> dict[str, Any]:
        """What trees and feature files record of the network."""
        network = self.backbone
        return {
            "name": network.name,
            "sha256": network.digest,
            "dtype": str(network.dtype).removeprefix("torch."),
        }

    def _meta(
        self,
        size: tuple[int, int],
        grid: tuple[int, int],
        source: dict[str, Any] | None,
        backbone: dict[str, Any] | None,
    ) -> dict[str, Any]:
        if backbone is None:  # features cannot have come from a network that was never loaded
            loaded = "backbone" in self.__dict__
            backbone = self.backbone_meta() if loaded else {"name": "precomputed"}
        return {
            "software": f"regiontree {__version__}",
            "backbone": backbone,
            "settings": self.settings.as_dict(),
            "natural_height": self.settings.builder().natural_height,
            "image": {"size": list(size), "grid": list(grid), **(source or {})},
        }


def parse(photo: Photo, **options: Any) -> RegionTree:
    """The region tree of a photograph: ``RegionParser(**options).parse(photo)``.

    Parsers are kept for reuse, so that a second photograph does not load the network again.
    """
    return _parser(tuple(sorted(options.items()))).parse(photo)


@lru_cache(maxsize=4)
def _parser(options: tuple[tuple[str, Any], ...]) -> RegionParser:
    return RegionParser(**dict(options))


def _whole(size: tuple[int, int], meta: dict[str, Any]) -> RegionTree:
    """A tree of one region: nothing in the image differs."""
    return RegionTree(
        labels=np.zeros(size, np.int32),
        parents=np.zeros(1, np.int32),
        height=np.zeros(1, np.float32),
        stop=np.array([StopReason.UNIFORM], np.uint8),
        meta=meta,
    )


def _image_size(given: tuple[int, int] | None, grid: tuple[int, int]) -> tuple[int, int]:
    """(H, W) as given, checked: no patch without a pixel."""
    if given is None:
        return grid
    try:
        height, width = (index(side) for side in given)
    except (TypeError, ValueError):
        raise FeatureError(f"image_size must be whole numbers (H, W), got {given!r}") from None
    if height < grid[0] or width < grid[1]:
        raise FeatureError(
            f"an image of {(height, width)} pixels cannot have a grid of {grid} patches"
        )
    return height, width


def _node_embeddings(hierarchy: Hierarchy, graph: PartGraph) -> NDArray[np.float16]:
    """Unit-length mean of the unit patch features of each node, (N, d)."""
    sums = np.zeros((len(hierarchy.parents), graph.sums.shape[1]))
    for leaf, part in zip(hierarchy.leaf_of_part.tolist(), graph.sums, strict=True):
        sums[leaf] += part
    for i, parent in enumerate(hierarchy.parents[:-1].tolist()):
        sums[parent] += sums[i]
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    unit: NDArray[np.float16] = (sums / np.maximum(length, 1e-12)).astype(np.float16)
    return unit
