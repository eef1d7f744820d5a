"""A scene of any size as one region tree: three passes over windows, and the maps.

1. Each window's patches are grouped (:mod:`regiontree.scenes.groups`).
2. One tree is made of all groups (:mod:`regiontree.scenes.nodes`).
3. Each window gets its borders (:mod:`regiontree.scenes.leaves`).

Memory holds one window, the groups' means and the parts' matrices. It grows with the number of
patches only by a table of 4 bytes a patch, which is a file.

What a run has finished lies in the folder ``work`` of the output. So a run that was stopped goes on
where it was. The folder is removed at the end.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree._version import __version__
from regiontree.errors import SettingsError, TreeFileError, check_number, check_numbers
from regiontree.images import Bands
from regiontree.parser import RegionParser
from regiontree.refine.guided import Guided
from regiontree.scenes.features import SceneFeatures
from regiontree.scenes.grid import COARSER, SceneGrid
from regiontree.scenes.groups import Groups, all_groups, group_window, patches_of_group
from regiontree.scenes.leaves import leaves_of_window, write_leaves, write_piece
from regiontree.scenes.maps import picture_size, scene_tree, write_maps, write_picture
from regiontree.scenes.nodes import SceneNodes, scene_nodes
from regiontree.scenes.raster import Raster, gdal, raster_of
from regiontree.spectral.oversegment import ContiguousWard
from regiontree.system.files import atomic_write
from regiontree.system.paths import require_writable
from regiontree.system.reading import read_mapping
from regiontree.tree import RegionTree

__all__ = ["PARTS", "Scene", "parse_scene"]

PARTS = 2000
"""Parts of a scene, unless the settings say otherwise."""
WINDOW = 2048
"""Side of a window in pixels, about."""
PICTURE = 16_000_000
"""Most pixels of the reduced picture that polygons are drawn on."""
GRANULARITIES = (8, 64, 512)
"""Largest numbers of regions of the layers of polygons."""
REGIONS = 64
"""Regions of the picture of labels."""

Step = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Scene:
    """What :func:`parse_scene` has written to a folder.

    Attributes
    ----------
    folder : Path
    tree : RegionTree
        The tree on a reduced picture of the scene, ``overview.tif``. Its leaves have the numbers of
        ``leaves.tif``.
    area : (N,) int64
        Pixels of each node at the scene's own size.
    facts : mapping
        What ``scene.json`` says.
    """

    folder: Path
    tree: RegionTree
    area: NDArray[np.int64]
    facts: Mapping[str, Any]

    @property
    def leaves(self) -> Path:
        """The GeoTIFF of the leaf of each pixel; -1 where there is no data."""
        return self.folder / "leaves.tif"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of pixels of the scene."""
        height, width = self.facts["size"]
        return height, width

    @classmethod
    def open(cls, folder: str | Path) -> Scene:
        """A scene that was written before.

        Raises
        ------
        TreeFileError
            The folder holds no finished scene.
        """
        folder = Path(folder)
        facts = _finished(folder)
        if facts is None:
            raise TreeFileError(
                f"{folder}: holds no finished scene (it has no scene.json); make one with "
                "'regiontree scene'"
            )
        tree = RegionTree.load(folder / "tree.npz")
        return cls(folder, tree, np.array(facts["area"], np.int64), facts)


def parse_scene(
    path: str | Path,
    out: str | Path,
    *,
    parser: RegionParser | None = None,
    bands: Bands | None = None,
    window: int = WINDOW,
    regions: int = REGIONS,
    granularities: Sequence[int] = GRANULARITIES,
    picture_pixels: int = PICTURE,
    overwrite: bool = False,
    on_step: Step | None = None,
) -> Scene:
    """One region tree of a raster of any size, and its maps.

    Parameters
    ----------
    path
        A raster that GDAL reads: a GeoTIFF, a ``.vrt`` of many files.
    out
        Folder of the results. A run that was stopped there goes on. One that is finished is not
        done again, but maps of other cuts are written.
    parser
        The network and the settings. ``view.size`` is the side of a tile, and the scene is seen at
        its own resolution. None: the usual ones with 2000 parts.
    bands
        As for :class:`~regiontree.RegionParser`. None: the parser's.
    window
        Side of a window in pixels, about. A smaller one takes less memory, and more time.
    regions
        Most regions of the picture of labels, ``regions.tif``, 2 to 65,535.
    granularities
        Largest numbers of regions of the layers of ``regions.gpkg``.
    picture_pixels
        Most pixels of the reduced picture, from 10,000. Polygons are drawn on it.
    overwrite
        Whether what lies in the folder from other settings or another scene is removed.
    on_step
        Is called with the name of a pass, how many of its windows are done, and how many it has.

    Returns
    -------
    Scene
        The folder then holds ``leaves.tif``, ``tree.npz``, ``overview.tif``, ``regions.tif`` with
        ``regions.qml``, ``regions.gpkg``, and ``scene.json``.

    Raises
    ------
    ImageError
        The raster is missing or damaged, or no pixel holds data.
    SettingsError
        A value is out of range; the settings ask for what a scene cannot have; or the folder holds
        a scene of other settings.
    ExportError
        The scene is bent on the map, or a file cannot be written.
    MissingExtraError
        rasterio or pyogrio is not installed.

    Examples
    --------
    >>> scene = parse_scene("scene.tif", "out")                            # doctest: +SKIP
    >>> scene.tree.cut(n_regions=64)               # on the reduced picture  # doctest: +SKIP
    """
    out = Path(out)
    parser = RegionParser(parts=PARTS) if parser is None else parser
    check_scene_settings(parser)
    window = check_number("window", window, 64, 65_536, whole=True)
    regions = check_number("regions", regions, 2, 65_535, whole=True)
    picture_pixels = check_number("picture_pixels", picture_pixels, 10_000, 2**31, whole=True)
    layers = check_numbers("granularities", granularities, 1, 2**31, whole=True)
    require_writable(out)
    with gdal(), raster_of(path, parser.sight.choice.bands if bands is None else bands) as raster:
        asked = _asked(raster, parser, window, picture_pixels)
        kept = _kept(out, asked, overwrite)
        maps = {"regions": regions, "granularities": list(layers)}
        if kept is None or not kept.items() >= maps.items():
            if kept is None:
                _Run(raster, parser, out, asked, on_step or _silent).do()
            scene = Scene.open(out)
            write_maps(scene.tree, scene.area, scene.leaves, out, raster.place, regions, layers)
            _write_json(out / "scene.json", {**scene.facts, **maps})
        return Scene.open(out)


def check_scene_settings(parser: RegionParser) -> None:
    """Raise a SettingsError for settings that a scene cannot have."""
    settings = parser.settings
    view = settings.view
    wrong = None
    if settings.is_precomputed:
        wrong = f"backbone {settings.backbone.name!r} has no network, and a scene is seen by one"
    elif view.tiles is not None:
        wrong = "a scene is always seen in tiles at its own resolution; leave tiles out"
    elif not isinstance(view.size, int):
        wrong = "size is the side of a tile of a scene; give one number"
    elif not isinstance(settings.parts, ContiguousWard):
        wrong = (
            f"parts of a scene are 'contiguous'; leave out overclustering {settings.parts.name!r}"
        )
    elif getattr(settings.tree, "uses_affinity", True):
        wrong = (
            f"tree builder {settings.tree.name!r} needs the affinity of all patches, which a scene "
            "has not in memory; use ward"
        )
    elif not (settings.refine is None or isinstance(settings.refine, Guided)):
        wrong = f"a scene is refined by 'guided' or 'none', not by {settings.refine.name!r}"
    elif parser.sight.choice.page is not None:
        wrong = "a scene has no pages; name a page of a TIFF as GTIFF_DIR:2:scene.tif in a .vrt"
    if wrong is not None:
        raise SettingsError(wrong)


def _silent(what: str, done: int, total: int) -> None:
    """No progress is shown."""


# -- what a folder was made with ------------------------------------------------------------------


def _asked(raster: Raster, parser: RegionParser, window: int, picture: int) -> dict[str, Any]:
    """What results depend on, as JSON values."""
    status = raster.path.stat()
    return {
        "software": f"regiontree {__version__}",
        "name": raster.path.name,
        "size": list(raster.shape),
        "bytes": status.st_size,
        "changed": status.st_mtime_ns,
        "image": raster.facts,
        "settings": _settings_of(parser).as_dict(),
        "backbone": parser.describe(),
        "window": window,
        "picture_pixels": picture,
    }


def _settings_of(parser: RegionParser) -> Any:
    """The settings that a scene's tree records: nodes have no stability."""
    return dataclasses.replace(parser.settings, stability=0)


def _finished(out: Path) -> dict[str, Any] | None:
    path = out / "scene.json"
    return dict(read_mapping(path, "what a scene was made with")) if path.exists() else None


def _kept(out: Path, asked: dict[str, Any], overwrite: bool) -> dict[str, Any] | None:
    """What the finished scene in a folder says; None if it has to be made or continued.

    Raises
    ------
    SettingsError
        The folder holds a scene of other settings, and it must not be overwritten.
    """
    begun = out / "work" / "settings.json"
    found = _finished(out)
    before = found
    if before is None and begun.exists():
        before = dict(read_mapping(begun, "what a scene was begun with"))
    asked = json.loads(json.dumps(asked))
    other = [] if before is None else [key for key in asked if before.get(key) != asked[key]]
    if other and not overwrite:
        raise SettingsError(
            f"{out}: holds a scene of another {' and '.join(map(_said, other))}; choose another "
            "folder, or replace it with --overwrite"
        )
    if other or overwrite:
        (out / "scene.json").unlink(missing_ok=True)
        shutil.rmtree(out / "work", ignore_errors=True)
        found = None
    if found is None:
        _write_json(begun, asked)
    return found


def _said(key: str) -> str:
    names = {
        "bytes": "length of the file",
        "changed": "time of the file",
        "image": "choice of bands",
        "software": "version of regiontree",
        "picture_pixels": "picture size",
        "size": "size in pixels",
    }
    return names.get(key, key)


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    with atomic_write(path) as file:
        file.write(json.dumps(values, indent=1).encode())


# -- the passes -----------------------------------------------------------------------------------


class _Run:
    """The making of one scene."""

    def __init__(
        self, raster: Raster, parser: RegionParser, out: Path, asked: dict[str, Any], say: Step
    ) -> None:
        self.raster, self.parser, self.out, self.asked, self.say = raster, parser, out, asked, say
        self.work = out / "work"
        self.grid = SceneGrid(raster.shape, parser.backbone.patch, asked["window"])
        self.windows = self.grid.windows()

    def do(self) -> None:
        """Make all files but the maps."""
        self._group()
        groups = all_groups(self.work, self.windows, self.grid.cells)
        nodes = self._nodes(groups)
        self._refine(groups, nodes)
        write_leaves(self.out / "leaves.tif", self.work, self.windows, self.grid, self.raster.place)
        size = picture_size(self.raster.shape, self.asked["picture_pixels"])
        tree, area = scene_tree(self.out / "leaves.tif", nodes, groups, size, self._meta(size))
        digest = write_picture(self.out / "overview.tif", self.raster, tree)
        meta = {**tree.meta, "image": {**tree.meta["image"], "sha256": digest}}
        dataclasses.replace(tree, meta=meta).save(self.out / "tree.npz")
        _write_json(self.out / "scene.json", {**self.asked, "area": area.tolist()})
        shutil.rmtree(self.work)

    def _group(self) -> None:
        settings = self.parser.settings
        size = settings.view.size
        assert isinstance(size, int)  # checked before
        features = SceneFeatures(self.raster, self.grid, self.parser.backbone, size)
        patches = patches_of_group(self.raster, self.grid)
        for done, window in enumerate(self.windows):
            self.say("grouping", done, len(self.windows))
            path = self.work / f"{window.name}.npz"
            if not path.exists():
                group_window(features, self.raster, window, settings.smooth, patches).save(path)
        self.say("grouping", len(self.windows), len(self.windows))

    def _nodes(self, groups: Groups) -> SceneNodes:
        path = self.work / "nodes.npz"
        if not path.exists():
            self.say("tree", 0, 1)
            settings = self.parser.settings
            assert isinstance(settings.parts, ContiguousWard)  # checked before
            scene_nodes(
                groups, self.windows, settings.parts.count, settings.tree, settings.seed,
                str(self.raster.path),
            ).save(path)  # fmt: skip
        return SceneNodes.load(path)

    def _refine(self, groups: Groups, nodes: SceneNodes) -> None:
        settings = self.parser.settings
        for number, window in enumerate(self.windows):
            self.say("borders", number, len(self.windows))
            path = self.work / f"{window.name}.tif"
            if path.exists():
                continue
            labels = leaves_of_window(
                self.raster, self.grid, groups, nodes, number, window, settings.refine,
                settings.overlap,
            )  # fmt: skip
            if labels is not None:
                write_piece(path, labels)
        self.say("borders", len(self.windows), len(self.windows))

    def _meta(self, size: tuple[int, int]) -> dict[str, Any]:
        settings = self.parser.settings
        return {
            "software": self.asked["software"],
            "backbone": self.asked["backbone"],
            "settings": self.asked["settings"],
            "natural_height": settings.tree.natural_height,
            "smoothed": self._smoothed(),
            "refined": "none" if settings.refine is None else settings.refine.name,
            "image": {
                "size": list(size),
                "grid": list(self.grid.cells),
                "name": "overview.tif",
            },
            "scene": {
                "name": self.asked["name"],
                "size": self.asked["size"],
                "context": COARSER,
                **self.raster.facts,
            },
        }

    def _smoothed(self) -> str:
        if not self.parser.settings.smooth.steps:
            return "none"
        return "features and colours" if self.parser.settings.uses_colours else "features"
