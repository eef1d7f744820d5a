"""GeoJSON: polygons read by shapely and GDAL must be the regions again, pixel for pixel.

Shapely's geometry and GDAL's rasteriser share no code with the tracing of borders, which is tested
by itself in test_export_borders.py.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import children_of, hand_tree, random_tree, trees

from regiontree import RegionTree
from regiontree.display.pictures import hierarchy_colors
from regiontree.errors import ExportError, MissingExtraError, TreeError
from regiontree.export.geojson import to_geojson, write_geojson

shapely = pytest.importorskip("shapely", reason="shapely is not installed")
rasterio = pytest.importorskip("rasterio", reason="the extra 'geo' is not installed")
from rasterio.features import rasterize  # noqa: E402
from shapely.geometry import shape  # noqa: E402

NORTH_UP = (0.5, 0.0, 500_000.0, 0.0, -0.5, 4_600_000.0)
TURNED = (3.0, 4.0, -7.0, -4.0, 3.0, 11.0)
Segment = frozenset[tuple[float, float]]


def geometries(collection: dict[str, Any]) -> dict[int, Any]:
    assert collection["type"] == "FeatureCollection"
    assert all(feature["type"] == "Feature" for feature in collection["features"])
    return {feature["id"]: shape(feature["geometry"]) for feature in collection["features"]}


def pixels(geometry: Any, size: tuple[int, int]) -> np.ndarray:
    """Pixels whose centre lies inside, by GDAL."""
    return rasterize([geometry], out_shape=size, dtype="uint8").astype(bool)


def rings(geometry: Any) -> Iterator[tuple[bool, Any]]:
    """Rings, and whether they are outer ones."""
    for polygon in getattr(geometry, "geoms", [geometry]):
        yield True, polygon.exterior
        yield from ((False, ring) for ring in polygon.interiors)


def segments(geometry: Any) -> Iterator[Segment]:
    for _, ring in rings(geometry):
        points = list(ring.coords)
        yield from (frozenset(pair) for pair in zip(points, points[1:], strict=False))


# -- regions are what they are --------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(tree=trees())
def test_every_node_is_its_pixels_valid_and_the_union_of_its_children(tree):
    """Random leaves are scattered: pieces, holes, and pieces in holes that touch at corners."""
    found = geometries(to_geojson(tree, all_nodes=True))
    assert list(found) == list(range(tree.n_nodes))
    for node, geometry in found.items():
        assert geometry.is_valid, shapely.is_valid_reason(geometry)
        assert geometry.area == tree.area[node]
        assert np.array_equal(pixels(geometry, tree.shape), tree.mask(node))
        below = [found[child] for child in children_of(tree, node)]
        if below:
            assert shapely.unary_union(below).equals(geometry)
    height, width = tree.shape
    assert found[tree.root].equals(shapely.box(0, 0, width, height))


@settings(max_examples=40, deadline=None)
@given(tree=trees())
def test_pieces_are_connected_by_sides_and_outer_rings_run_counter_clockwise(tree):
    from scipy.ndimage import label

    for transform in (None, NORTH_UP, TURNED):
        for node, geometry in geometries(
            to_geojson(tree, all_nodes=True, transform=transform)
        ).items():
            pieces = label(tree.mask(node))[1]
            assert geometry.geom_type == ("Polygon" if pieces == 1 else "MultiPolygon")
            assert sum(outer for outer, _ in rings(geometry)) == pieces
            for outer, ring in rings(geometry):
                assert ring.is_ccw == outer
                assert ring.is_simple


def test_a_tree_of_one_node_is_the_frame():
    tree = RegionTree(np.zeros((2, 3), int), np.array([0]), np.array([0.0]))
    (feature,) = to_geojson(tree, all_nodes=True)["features"]
    assert feature["geometry"]["coordinates"] == [[(0, 0), (3, 0), (3, 2), (0, 2), (0, 0)]]
    assert feature["properties"]["parent"] is None


# -- what is in a file ----------------------------------------------------------------------------


def test_properties_say_what_the_tree_says():
    tree = hand_tree()
    features = to_geojson(tree, all_nodes=True)["features"]
    assert features[4]["properties"] == {
        "node": 4, "parent": 5, "area": 2, "level": 2, "height": 0.25, "ncut": 0.0,
        "stop": "inner", "fill": "#{:02x}{:02x}{:02x}".format(*hierarchy_colors(tree)[4]),
    }  # fmt: skip
    assert [f["properties"]["parent"] for f in features] == [6, 4, 4, 5, 5, 6, None]
    assert features[0]["properties"]["stop"] == "high_cut"


def test_which_nodes_are_features():
    tree = hand_tree()
    natural = RegionTree(tree.labels, tree.parents, tree.height, meta={"natural_height": 0.25})

    def nodes(**options: Any) -> list[int]:
        return [feature["id"] for feature in to_geojson(natural, **options)["features"]]

    assert nodes() == [0, 3, 4]
    assert nodes(all_nodes=True) == [0, 1, 2, 3, 4, 5, 6]
    assert nodes(n_regions=2) == [0, 5]
    assert nodes(n_regions=3, all_nodes=True) == [0, 3, 4, 5, 6]
    assert nodes(depth=0, all_nodes=True) == [6]
    with pytest.raises(TreeError, match="one of n_regions, height, depth and contrast"):
        nodes(n_regions=3, depth=1)


@pytest.mark.parametrize("all_nodes", [False, True])
def test_the_file_is_the_dictionary_a_feature_a_line(tmp_path, all_nodes):
    tree = random_tree(np.random.default_rng(5), 12, (9, 11))
    path = write_geojson(tree, tmp_path / "ж.geojson", all_nodes=all_nodes, transform=TURNED)
    expected = to_geojson(tree, all_nodes=all_nodes, transform=TURNED)
    assert json.loads(path.read_text("utf-8")) == json.loads(json.dumps(expected))
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) == len(expected["features"]) + 2
    assert json.loads(lines[1].rstrip(","))["type"] == "Feature"


def test_equal_trees_give_equal_bytes(tmp_path):
    first, again = (
        write_geojson(
            random_tree(np.random.default_rng(5), 12, (9, 11)), tmp_path / name, all_nodes=True
        ).read_bytes()
        for name in "ab"
    )
    assert first == again


# -- on the map -----------------------------------------------------------------------------------


def test_a_transform_is_six_numbers_in_the_order_of_rasterio():
    tree = RegionTree(np.array([[0, 1]]), np.array([2, 2, 2]), np.array([0.0, 0.0, 1.0]))
    a, b = geometries(to_geojson(tree, transform=NORTH_UP)).values()
    assert a.bounds == (500_000, 4_599_999.5, 500_000.5, 4_600_000)
    assert b.bounds == (500_000.5, 4_599_999.5, 501_000 - 999, 4_600_000)
    from affine import Affine

    assert to_geojson(tree, transform=Affine(*NORTH_UP)) == to_geojson(tree, transform=NORTH_UP)
    gdal = (500_000.0, 0.5, 0.0, 4_600_000.0, 0.0, -0.5)
    turned = to_geojson(tree, transform=Affine.from_gdal(*gdal))
    assert turned == to_geojson(tree, transform=NORTH_UP)


@settings(max_examples=30, deadline=None)
@given(tree=trees(), transform=st.sampled_from([NORTH_UP, TURNED]))
def test_regions_on_the_map_lie_over_their_pixels(tree, transform):
    from affine import Affine

    found = geometries(to_geojson(tree, all_nodes=True, transform=transform))
    for node, geometry in found.items():
        assert geometry.is_valid
        back = rasterize(
            [geometry], out_shape=tree.shape, dtype="uint8", transform=Affine(*transform)
        )
        assert np.array_equal(back.astype(bool), tree.mask(node))


def test_with_a_crs_coordinates_are_longitude_and_latitude():
    """Against the formula of Web Mercator: x = R lon, y = R ln tan(pi / 4 + lat / 2)."""
    tree = hand_tree()
    mercator = (1000.0, 0.0, 1_490_000.0, 0.0, -1000.0, 6_890_000.0)  # kilometre pixels at Berlin
    metres = to_geojson(tree, all_nodes=True, transform=mercator)
    degrees = to_geojson(tree, all_nodes=True, transform=mercator, crs="EPSG:3857")
    assert "crs" not in degrees
    radius = 6_378_137.0
    for flat, round_ in zip(metres["features"], degrees["features"], strict=True):
        assert flat["properties"] == round_["properties"]
        for ring, found in zip(
            flat["geometry"]["coordinates"], round_["geometry"]["coordinates"], strict=True
        ):
            expected = [
                (math.degrees(x / radius), math.degrees(math.atan(math.sinh(y / radius))))
                for x, y in ring
            ]
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    assert all(
        ring.is_ccw == outer
        for geometry in geometries(degrees).values()
        for outer, ring in rings(geometry)
    )


def test_neighbours_still_share_their_vertices_in_degrees():
    tree = random_tree(np.random.default_rng(7), 9, (8, 9))
    found = geometries(to_geojson(tree, all_nodes=True, transform=NORTH_UP, crs="EPSG:32633"))
    frame = set(segments(found[tree.root]))
    shared = Counter(s for n in tree.cut_nodes(n_regions=6) for s in segments(found[n]))
    assert all(times == (1 if segment in frame else 2) for segment, times in shared.items())
    assert any(times == 2 for times in shared.values())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"transform": (1, 2, 3)}, r"six numbers \(a, b, c, d, e, f\) below 1e15, got \(1, 2, 3\)"),
        ({"transform": "abcdef"}, "six numbers"),
        ({"transform": 7}, "six numbers"),
        ({"transform": (1, 0, 0, 0, 1, math.nan)}, "six numbers"),
        ({"transform": (1e308, 0, 0, 0, 1, 0)}, "below 1e15"),
        ({"transform": (1, 0, 0, 0, 1, 0, 0, 1, 1)}, "six numbers"),
        ({"transform": (0, 1, 0, 0, 0, -1)}, "all pixels on one line"),
        ({"crs": "EPSG:32633"}, "give a transform"),
        ({"transform": NORTH_UP, "crs": "EPSG:1"}, "'EPSG:1' is unknown"),
        ({"transform": NORTH_UP, "crs": "nonsense"}, "'nonsense' is unknown"),
        ({"transform": NORTH_UP, "crs": "EPSG:4326"}, "nowhere on Earth; check"),
        ({"transform": (1e9, 0, 0, 0, -1, 0), "crs": "EPSG:32633"}, "EPSG:32633"),
        (
            {"transform": NORTH_UP, "crs": 'LOCAL_CS["site",UNIT["m",1]]'},
            "to degrees",
        ),
    ],
)
def test_a_place_that_is_none_writes_nothing(tmp_path, options, said):
    with pytest.raises(ExportError, match=said):
        write_geojson(hand_tree(), tmp_path / "a.geojson", **options)
    assert not list(tmp_path.iterdir())


# -- without rasterio ------------------------------------------------------------------------------


def test_only_maps_need_rasterio(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "rasterio"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert len(to_geojson(hand_tree(), transform=NORTH_UP)["features"]) == 4
    with pytest.raises(MissingExtraError, match=r"pip install 'regiontree\[geo\]'"):
        to_geojson(hand_tree(), transform=NORTH_UP, crs="EPSG:32633")
