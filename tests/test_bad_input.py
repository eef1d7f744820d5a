"""Every bridge with bad input: its package missing or old, images of nothing, 50,000 regions.

The packages need not be there: an old one is a stand-in with an old version. The bridges
themselves, in ``tests/bridges``, have the real programs.
"""

from __future__ import annotations

import re
import sys
import time
import types
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trees import hand_tree

import regiontree
from regiontree import RegionTree
from regiontree.errors import ExportError, ImageError, MissingExtraError, TreeError
from regiontree.system import extras
from regiontree.system.extras import check_optional, least_version, optional
from regiontree.tree.stop import StopReason

UTM = (1.0, 0.0, 500_000.0, 0.0, -1.0, 4_600_000.0)


def masks_as_coco(folder: Path) -> None:
    from regiontree import AutomaticMaskGenerator

    AutomaticMaskGenerator(output_mode="coco_rle")


def service(folder: Path) -> None:
    from regiontree.bridges.service import check_installed

    check_installed()


def viewer(folder: Path) -> None:
    from regiontree.viewer.server import check_installed

    check_installed()


def cvat(folder: Path) -> None:
    from regiontree.bridges.cvat import create

    create()


def napari(folder: Path) -> None:
    from regiontree.plugins.napari.program import require_napari

    require_napari()


def export(form: str, name: str, **options: Any) -> Callable[[Path], None]:
    def call(folder: Path) -> None:
        hand_tree().export(form, folder / name, **options)

    return call


# The bridge, the module and the package that it needs, the extra, and a call.
BRIDGES: dict[str, tuple[str, str, str, Callable[[Path], Any]]] = {
    "AutomaticMaskGenerator": ("pycocotools", "pycocotools", "export", masks_as_coco),
    "supervision": (
        "supervision", "supervision", "supervision", lambda _: hand_tree().to_supervision()
    ),
    "fiftyone": ("fiftyone", "fiftyone", "fiftyone", regiontree.to_fiftyone),
    "coco": ("pycocotools", "pycocotools", "export", lambda _: hand_tree().to_coco()),
    "huggingface": ("pyarrow", "pyarrow", "store", export("huggingface", "out", photographs=False)),
    "geopackage": ("pyogrio", "pyogrio", "geo", export("geopackage", "a.gpkg")),
    "geotiff": ("rasterio", "rasterio", "geo", export("geotiff", "a.tif", transform=UTM)),
    "geojson": (
        "rasterio", "rasterio", "geo",
        export("geojson", "a.geojson", transform=UTM, crs="EPSG:32633"),
    ),
    "graphml": ("networkx", "networkx", "export", export("graphml", "a.graphml")),
    "higra": ("higra", "higra", "higra", export("higra", "a.tree")),
    "label-studio": ("starlette", "starlette", "labelstudio", service),
    "viewer": ("uvicorn", "uvicorn", "viewer", viewer),
    "cvat": ("cvat_sdk", "cvat-sdk", "cvat", cvat),
    "napari": ("napari", "napari", "napari", napari),
}  # fmt: skip


@pytest.mark.parametrize("bridge", BRIDGES)
def test_a_missing_package_is_one_line_that_names_the_extra(bridge, tmp_path, monkeypatch):
    module, package, extra, call = BRIDGES[bridge]
    for name in [one for one in sys.modules if one == module or one.startswith(f"{module}.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError) as caught:
        call(tmp_path)
    said = str(caught.value)
    assert "\n" not in said
    assert package in said
    assert f"pip install 'regiontree[{extra}]'" in said
    assert list(tmp_path.iterdir()) == [], "nothing half written is left"


@pytest.mark.parametrize("bridge", BRIDGES)
def test_an_old_package_is_named_with_the_version_that_is_needed(
    bridge, tmp_path, monkeypatch, declared
):
    module, package, extra, call = BRIDGES[bridge]
    (needed,) = {
        match[1]
        for row in declared
        if (match := re.match(rf"{package}(?:\[.*\])?>=([\d.]+); .*extra == '{extra}'", row))
    }
    version, old = metadata.version, "0.0.9"
    monkeypatch.setattr(metadata, "version", lambda name: old if name == package else version(name))
    monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
    with pytest.raises(MissingExtraError) as caught:
        call(tmp_path)
    assert str(caught.value) == (
        f"{package} {old} is too old, {needed} or later is needed: "
        f"pip install -U 'regiontree[{extra}]'"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("found", "needed", "is_old"),
    [
        ("0.10.0", "0.18", True), ("0.17.1", "0.18", True), ("0.18.0rc1", "0.18", False),
        ("0.18", "0.18.0", False), ("0.100", "0.18", False), ("1", "0.18", False),
        ("2.10.1", "2.32", True), ("2.9", "2.10", True), ("1.2.10", "1.4", True),
        ("2024.10.0", "2024.6", False), ("2.60.0", "2.60.*", False), ("2.59", "2.60.*", True),
        ("1.4.post1", "1.4", False), ("unknown", "1", True),
    ],
)  # fmt: skip
def test_versions_are_compared_by_number(monkeypatch, found, needed, is_old):
    sign = "==" if "*" in needed else ">="
    rows = [f"Some_Package[x,y]{sign}{needed}; extra == 'export'", "some-package>=99; extra == 'x'"]
    monkeypatch.setattr(metadata, "requires", lambda name: rows)
    monkeypatch.setattr(metadata, "version", lambda name: found)
    monkeypatch.setitem(sys.modules, "some_package", types.ModuleType("some_package"))
    if is_old:
        with pytest.raises(MissingExtraError, match=f"some-package {found} is too old"):
            check_optional("some_package", "export", "it needs", package="some-package")
    else:
        check_optional("some_package", "export", "it needs", package="some-package")


def test_extras_are_those_of_the_project(declared):
    assert least_version("ray", "ray") == "2.60"
    assert least_version("cvat_sdk", "cvat") == "2.32"
    assert least_version("starlette", "labelstudio") == least_version("starlette", "viewer")
    assert least_version("numpy", "cvat") is None
    asked = {(extra, package) for _, package, extra, _ in BRIDGES.values()}
    assert all(least_version(package, extra) for extra, package in asked)


def test_a_folder_that_was_never_installed_takes_every_version(monkeypatch):
    def requires(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(extras.metadata, "requires", requires)
    assert least_version("rasterio", "geo") is None


def test_a_package_that_is_there_and_broken_says_why(tmp_path, monkeypatch):
    (tmp_path / "broken_one.py").write_text("raise ImportError('libx.so.3:\\n no such file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError) as caught:
        optional("broken_one", "geo", "maps need")
    assert str(caught.value) == (
        "maps need broken_one, which cannot be imported (libx.so.3: no such file): "
        "pip install 'regiontree[geo]'"
    )


# -- images of nothing ----------------------------------------------------------------------------

SUFFIXES = {
    "coco": ".json", "geojson": ".geojson", "geopackage": ".gpkg", "geotiff": ".tif",
    "graphml": ".graphml", "higra": ".tree", "label-studio": ".json", "labels-png": ".png",
    "labels-tiff": ".tif", "newick": ".nwk", "ome-tiff": ".ome.tif", "panoptic": ".json",
    "stack": ".tif", "tree": ".npz", "ucm": ".npy", "ucm-picture": ".png",
}  # fmt: skip


def written(form: str, tree: RegionTree, folder: Path, **options: Any) -> Path:
    path = folder / f"out{SUFFIXES[form]}"
    tree.export(form, path, **options)
    assert path.stat().st_size
    return path


@pytest.mark.parametrize("form", SUFFIXES)
def test_one_pixel_is_written_in_every_format(form, tmp_path):
    written(form, one_pixel(), tmp_path)


@pytest.mark.parametrize("form", SUFFIXES)
def test_an_image_without_data_is_written_or_refused_in_words(form, tmp_path):
    empty = RegionTree(
        np.zeros((3, 4), int), [0], [0.0], stop=[StopReason.NO_DATA], meta=one_pixel().meta
    )
    if form == "geopackage":
        with pytest.raises(ExportError, match="no pixel of the tree has data"):
            written(form, empty, tmp_path)
        return
    written(form, empty, tmp_path)
    if form == "coco":
        assert empty.to_coco()["annotations"] == []


def one_pixel() -> RegionTree:
    return RegionTree([[0]], [0], [0.0], meta={"image": {"name": "x.png"}})


def test_one_pixel_is_the_whole_image_and_so_no_mask():
    tree = one_pixel()
    assert tree.to_sam() == []
    assert tree.to_mask_generation()["masks"] == []


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_an_image_without_pixels_is_refused_before_anything_is_made(shape):
    with pytest.raises(ImageError, match="has no pixels"):
        regiontree.RegionParser().parse(np.zeros((*shape, 3), np.uint8))
    with pytest.raises(TreeError):
        RegionTree(np.zeros(shape, int), [0], [0.0])


# -- 50,000 regions -------------------------------------------------------------------------------


def many_regions(side: int = 224) -> RegionTree:
    """Each pixel is a leaf; a balanced tree above them of 100,351 nodes."""
    count = side * side
    parents, height, level, step = list(range(2 * count - 1)), [0.0] * count, list(range(count)), 1
    while len(level) > 1:
        above = []
        for left, right in zip(level[::2], level[1::2], strict=False):
            above.append(len(height))
            parents[left] = parents[right] = len(height)
            height.append(step / 20)
        level, step = above + level[2 * len(above) :], step + 1
    labels = np.arange(count, dtype=np.int32).reshape(side, side)
    return RegionTree(labels, parents, height, meta={"image": {"name": "x.png"}})


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("labels-png", {"n_regions": 60_000}), ("labels-tiff", {"n_regions": 60_000}),
        ("geotiff", {"n_regions": 60_000}), ("panoptic", {"n_regions": 60_000}),
        ("stack", {"granularities": (60_000,)}), ("ome-tiff", {"granularities": (60_000,)}),
        ("newick", {}), ("higra", {}), ("tree", {}), ("ucm", {}), ("ucm-picture", {}),
        pytest.param("coco", {"n_regions": 60_000}, marks=pytest.mark.slow),
        pytest.param("geopackage", {"granularities": (60_000,)}, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_fifty_thousand_regions_take_bounded_time(form, options, tmp_path):
    tree = many_regions()
    began = time.perf_counter()
    path = written(form, tree, tmp_path, **options)
    assert time.perf_counter() - began < 60  # seconds; most take less than one
    if form in ("labels-png", "labels-tiff"):
        from PIL import Image

        with Image.open(path) as image:
            assert len(np.unique(np.asarray(image))) == tree.n_leaves == 50_176
