"""GeoPackage and GeoTIFF: what GDAL reads is the cut again, in the photograph's own projection."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from trees import hand_tree, random_tree, trees

from regiontree import RegionTree
from regiontree.display.pictures import hierarchy_colors
from regiontree.errors import ExportError, MissingExtraError, TreeError
from regiontree.export.command import run
from regiontree.export.geopackage import write_geopackage
from regiontree.export.geotiff import write_geotiff
from regiontree.tree.stop import StopReason

pyogrio = pytest.importorskip("pyogrio", reason="the extra 'geo' is not installed")
rasterio = pytest.importorskip("rasterio", reason="the extra 'geo' is not installed")
shapely = pytest.importorskip("shapely", reason="shapely is not installed")
from rasterio.features import rasterize  # noqa: E402

UTM = (0.5, 0.0, 500_000.0, 0.0, -0.5, 4_600_000.0)
TURNED = (3.0, 4.0, -7.0, -4.0, 3.0, 11.0)


def layer(path: Path, name: str) -> tuple[dict[str, Any], list[dict[str, Any]], list[Any]]:
    """What GDAL says of a layer, its rows, and their geometries."""
    meta, _, shapes, columns = pyogrio.raw.read(path, layer=name)
    rows = [
        dict(zip(meta["fields"].tolist(), values, strict=True))
        for values in zip(*(column.tolist() for column in columns), strict=True)
    ]
    return meta, rows, shapely.from_wkb(shapes).tolist()


def layers(path: Path) -> list[str]:
    return [name for name, kind in pyogrio.list_layers(path).tolist() if kind is not None]


def drawn(rows: list[dict[str, Any]], shapes: list[Any], size: Any, transform: Any) -> np.ndarray:
    """The node of each pixel, by GDAL; -1 outside all polygons."""
    pairs = [(shape, row["node"]) for shape, row in zip(shapes, rows, strict=True)]
    return rasterize(
        pairs, out_shape=size, transform=rasterio.Affine(*transform), fill=-1, dtype="int32"
    )


def with_gaps() -> RegionTree:
    """Two regions, and a column without data that the root holds."""
    return RegionTree(
        labels=np.array([[0, 0, 1, 2], [0, 0, 1, 2]]),
        parents=np.array([3, 3, 4, 4, 4]),
        height=np.array([0, 0, 0, 0.5, 1]),
        stop=np.array([1, 1, StopReason.NO_DATA, 0, 0]),
    )


# -- GeoPackage -----------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(tree=trees())
def test_every_layer_is_its_cut_pixel_for_pixel(tmp_path_factory, tree):
    path = write_geopackage(
        tree, tmp_path_factory.mktemp("maps") / "t.gpkg", granularities=(1, 2, 5, 99),
        transform=TURNED,
    )  # fmt: skip
    counts = sorted({len(tree.cut_nodes(n_regions=count)) for count in (1, 2, 5, 99)})
    assert layers(path) == [f"regions_{count}" for count in counts]
    for count in counts:
        meta, rows, shapes = layer(path, f"regions_{count}")
        assert meta["geometry_type"] == "MultiPolygon"
        assert all(shape.is_valid for shape in shapes)
        nodes = tree.cut_nodes(n_regions=count)
        assert [row["node"] for row in rows] == nodes.tolist()
        found = drawn(rows, shapes, tree.shape, TURNED)
        assert np.array_equal(found, nodes[tree.cut(n_regions=count)])


def test_columns_lead_from_layer_to_layer(tmp_path):
    tree = random_tree(np.random.default_rng(3), 40, (30, 20), dim=3)
    path = write_geopackage(tree, tmp_path / "t.gpkg", granularities=(3, 12, 40))
    colors = hierarchy_colors(tree)
    before: list[int] = []
    for name in layers(path):
        _, rows, _ = layer(path, name)
        for row in rows:
            node = row["node"]
            above = [node]
            while above[-1] != tree.root:
                above.append(int(tree.parents[above[-1]]))
            assert row["area"] == tree.area[node]
            assert row["height"] == pytest.approx(float(tree.height[node]))
            assert row["stability"] == pytest.approx(float(tree.stability[node]), abs=5e-4)
            assert row["level"] == len(above) - 1
            assert row["fill"] == "#{:02x}{:02x}{:02x}".format(*colors[node])
            parent = None if np.isnan(row["parent"]) else int(row["parent"])
            assert parent == (above[1] if len(above) > 1 else None)
            coarser = row["coarser"]
            assert (coarser is None or np.isnan(coarser)) == (not before)
            if before:
                assert int(coarser) == next(one for one in above if one in before)
        before = [row["node"] for row in rows]


def test_the_projection_is_kept_and_coordinates_are_not_converted(tmp_path):
    path = write_geopackage(hand_tree(), tmp_path / "t.gpkg", transform=UTM, crs="EPSG:32633")
    meta, _, shapes = layer(path, "regions_4")
    assert meta["crs"] == "EPSG:32633"
    assert shapely.union_all(shapes).bounds == (500_000, 4_599_999, 500_002, 4_600_000)


def test_without_a_place_pixels_lie_below_the_x_axis_as_qgis_shows_pictures(tmp_path):
    path = write_geopackage(hand_tree(), tmp_path / "t.gpkg")
    meta, rows, shapes = layer(path, "regions_4")
    assert shapely.union_all(shapes).bounds == (0, -2, 4, 0)
    assert dict(zip((r["node"] for r in rows), shapes, strict=True))[0].bounds == (0, -2, 2, 0)
    assert meta["crs"] is None or "Undefined" in meta["crs"]


def test_a_bent_photograph_has_polygons_too(tmp_path):
    def bent(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return x + 0.1 * y**2, -y

    path = write_geopackage(hand_tree(), tmp_path / "t.gpkg", transform=bent, crs="EPSG:3857")
    _, _, shapes = layer(path, "regions_4")
    assert shapely.union_all(shapes).bounds == pytest.approx((0, -2, 4.4, 0))


def test_what_has_no_data_is_in_no_polygon(tmp_path):
    path = write_geopackage(with_gaps(), tmp_path / "t.gpkg", granularities=(1, 2, 3))
    assert layers(path) == ["regions_1", "regions_2"]
    for name in layers(path):
        _, _, shapes = layer(path, name)
        assert shapely.union_all(shapes).bounds == (0, -2, 3, 0)


def test_a_tree_of_nothing_but_gaps_is_refused(tmp_path):
    empty = RegionTree(labels=np.zeros((2, 2), int), parents=np.zeros(1, int),
                       height=np.zeros(1), stop=np.array([StopReason.NO_DATA]))  # fmt: skip
    with pytest.raises(ExportError, match="no pixel of the tree has data"):
        write_geopackage(empty, tmp_path / "t.gpkg")
    assert list(tmp_path.iterdir()) == []


def test_equal_trees_give_equal_bytes_and_nothing_else_is_left(tmp_path):
    """SQLite counts changes in its header, and GDAL makes one more in about one file of ten."""
    tree = random_tree(np.random.default_rng(1), 50, (64, 64))
    made = [
        write_geopackage(tree, tmp_path / f"{i}.gpkg", transform=UTM, crs="EPSG:32633").read_bytes()
        for i in range(5)
    ]
    assert len(set(made)) == 1
    assert made[0][24:28] == made[0][92:96] == (1).to_bytes(4)
    assert len(list(tmp_path.iterdir())) == 5
    with closing(sqlite3.connect(tmp_path / "0.gpkg")) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_each_layer_has_a_style_that_takes_the_colour_from_its_column(tmp_path):
    path = write_geopackage(hand_tree(), tmp_path / "t.gpkg", granularities=(2, 4))
    with closing(sqlite3.connect(path)) as file:
        styles = file.execute(
            "SELECT f_table_name, styleQML FROM layer_styles WHERE useAsDefault"
        ).fetchall()
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert [name for name, _ in styles] == layers(path)
    root = ElementTree.fromstring(styles[0][1])
    fill = root.find(".//data_defined_properties//Option[@name='fillColor']")
    assert fill is not None
    assert fill.find("Option[@name='field']").get("value") == "fill"


def test_fifty_thousand_regions(tmp_path):
    side = 224
    count = side * side
    leaves = np.arange(count).reshape(side, side)
    tree = RegionTree(
        labels=leaves, parents=np.full(count + 1, count), height=np.append(np.zeros(count), 1.0)
    )
    path = write_geopackage(tree, tmp_path / "t.gpkg", granularities=(count,))
    _, rows, shapes = layer(path, f"regions_{count}")
    assert len(rows) == count
    assert {shape.area for shape in shapes} == {1.0}


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("t.shp", {}, "written as .gpkg"),
        ("t.gpkg", {"granularities": ()}, "granularities is empty"),
        ("t.gpkg", {"crs": "EPSG:32633"}, "give a transform"),
        ("t.gpkg", {"crs": "EPSG:1", "transform": UTM}, "'EPSG:1' is unknown"),
        ("t.gpkg", {"transform": (1, 0, 0, 1, 0, 0)}, "all pixels on one line"),
    ],
)
def test_what_no_geopackage_can_be_made_of(tmp_path, name, given, message):
    with pytest.raises(ExportError, match=message):
        write_geopackage(hand_tree(), tmp_path / name, **given)
    assert list(tmp_path.iterdir()) == []


def test_without_pyogrio_the_message_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyogrio", None)
    with pytest.raises(MissingExtraError, match=r"regiontree\[geo\]"):
        write_geopackage(hand_tree(), tmp_path / "t.gpkg")


# -- GeoTIFF --------------------------------------------------------------------------------------


def test_a_geotiff_is_the_cut_with_place_colours_and_style(tmp_path):
    tree = random_tree(np.random.default_rng(5), 30, (40, 60))
    path = write_geotiff(tree, tmp_path / "t.tif", n_regions=9, transform=UTM, crs="EPSG:32633")
    nodes = tree.cut_nodes(n_regions=9)
    colors = hierarchy_colors(tree)[nodes]
    with rasterio.open(path) as file:
        assert np.array_equal(file.read(1), tree.cut(n_regions=9) + 1)
        assert tuple(file.transform)[:6] == UTM
        assert file.crs.to_epsg() == 32633
        assert file.nodata == 0
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        table = file.colormap(1)
    assert [table[j + 1][:3] for j in range(len(nodes))] == [tuple(c) for c in colors.tolist()]
    root = ElementTree.parse(tmp_path / "t.qml").getroot()
    entries = [entry.attrib for entry in root.iter("paletteEntry")]
    assert [entry["label"] for entry in entries] == [f"node {node}" for node in nodes]
    assert [entry["value"] for entry in entries] == [str(j + 1) for j in range(len(nodes))]
    assert sorted(found.name for found in tmp_path.iterdir()) == ["t.qml", "t.tif"]


def test_overviews_have_the_number_that_most_pixels_have(tmp_path):
    labels = np.zeros((1200, 1400), int)
    labels[:, 700:] = 1
    labels[::3, ::3] = 0  # a ninth of the pixels of the right half
    tree = RegionTree(labels=labels, parents=np.array([2, 2, 2]), height=np.array([0, 0, 1.0]))
    path = write_geotiff(tree, tmp_path / "t.tif", n_regions=2)
    with rasterio.open(path) as file:
        assert file.overviews(1) == [2, 4]
    with rasterio.open(path, overview_level=1) as file:
        small = file.read(1)
    assert set(np.unique(small)) == {1, 2}
    assert (small[5:-5, small.shape[1] // 2 + 5 : -5] == 2).all()


def test_no_data_is_the_no_data_of_the_file(tmp_path):
    path = write_geotiff(with_gaps(), tmp_path / "t.tif", n_regions=3)
    with rasterio.open(path) as file:
        found = file.read(1, masked=True)
    assert found.mask[:, 3].all()
    assert not found.mask[:, :3].any()
    assert len({*found[0, :3].tolist()}) == 2
    entries = list(ElementTree.parse(tmp_path / "t.qml").getroot().iter("paletteEntry"))
    assert len(entries) == 2


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("t.png", {}, "written as .tif"),
        ("t.tif", {"transform": lambda x, y: (x, y)}, "bent on the map"),
        ("t.tif", {"crs": "EPSG:32633"}, "give a transform"),
        ("t.tif", {"crs": "nowhere", "transform": UTM}, "'nowhere' is unknown"),
    ],
)
def test_what_no_geotiff_can_be_made_of(tmp_path, name, given, message):
    with pytest.raises(ExportError, match=message):
        write_geotiff(hand_tree(), tmp_path / name, **given)
    assert list(tmp_path.iterdir()) == []


# -- by the command -------------------------------------------------------------------------------


@pytest.fixture
def field(tmp_path: Path) -> Path:
    """A GeoTIFF in zone 33, and the folder of its tree."""
    photo = tmp_path / "photos" / "field.tif"
    photo.parent.mkdir()
    with rasterio.open(
        photo, "w", driver="GTiff", height=2, width=4, count=3, dtype="uint8",
        crs="EPSG:32633", transform=rasterio.Affine(*UTM),
    ) as file:  # fmt: skip
        file.write(np.zeros((3, 2, 4), np.uint8))
    tree = hand_tree()
    made = RegionTree(
        labels=tree.labels, parents=tree.parents, height=tree.height, stop=tree.stop,
        meta={"image": {"name": "field.tif", "size": [2, 4]}},
    )  # fmt: skip
    made.save(tmp_path / "trees" / "field.npz")
    return photo


@pytest.mark.parametrize(("to", "suffix"), [("geopackage", ".gpkg"), ("geotiff", ".regions.tif")])
def test_the_command_takes_the_place_from_the_photograph(tmp_path, field, capsys, to, suffix):
    out = tmp_path / "out"
    assert run([tmp_path / "trees"], to, out, images=[field.parent]) == 0
    assert "the projection of the photograph" in capsys.readouterr().err
    made = out / f"field{suffix}"
    if to == "geotiff":
        with rasterio.open(made) as file:
            assert (file.crs.to_epsg(), tuple(file.transform)[:6]) == (32633, UTM)
    else:
        assert layer(made, "regions_4")[0]["crs"] == "EPSG:32633"
    assert (
        run([tmp_path / "trees"], to, out, images=[field.parent], crs="none", overwrite=True) == 0
    )
    assert "the coordinates of the transform" in capsys.readouterr().err
    arguments: dict[str, Any] = {"transform": "none", "overwrite": True}
    assert run([tmp_path / "trees"], to, out, images=[field.parent], **arguments) == 0
    assert "pixels" in capsys.readouterr().err


def test_granularities_are_an_option_of_the_geopackage(tmp_path, field):
    out = tmp_path / "field.gpkg"
    tree = tmp_path / "trees" / "field.npz"
    assert run([tree], "geopackage", out, images=[field.parent], granularities="2,3") == 0
    assert layers(out) == ["regions_2", "regions_3"]
    with pytest.raises(ExportError, match="n_regions"):
        run([tree], "geopackage", out, n_regions=3)
    with pytest.raises(TreeError, match="at least 1"):
        run([tree], "geopackage", out, granularities="0")
