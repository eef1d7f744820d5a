"""geopandas reads the maps that regiontree writes: layers, projections, nesting."""

from __future__ import annotations

import geopandas
import numpy as np
import pytest
from test_recipe_pages import check_fields

from regiontree import RegionTree
from regiontree.export.geojson import write_geojson
from regiontree.export.geopackage import write_geopackage

UTM = (2.0, 0.0, 500_000.0, 0.0, -2.0, 4_600_000.0)


@pytest.fixture
def tree() -> RegionTree:
    """64 squares of 8 x 8 pixels; four make a larger square, and so on."""
    row, column = np.divmod(np.arange(64 * 64), 64)
    number = np.zeros(64 * 64, int)
    for bit in range(3):  # squares of one larger square get numbers that follow each other
        number += ((column >> (3 + bit)) & 1) << (2 * bit)
        number += ((row >> (3 + bit)) & 1) << (2 * bit + 1)
    parents = [64 + i // 4 for i in range(64)] + [80 + i // 4 for i in range(16)] + [84] * 5
    height = np.repeat([0, 0.2, 0.5, 1.0], [64, 16, 4, 1])
    return RegionTree(labels=number.reshape(64, 64), parents=np.array(parents), height=height)


def test_layers_of_a_geopackage(tree, tmp_path):
    path = write_geopackage(
        tree, tmp_path / "t.gpkg", granularities=(4, 16, 64), transform=UTM, crs="EPSG:32633"
    )
    names = geopandas.list_layers(path).dropna().name.tolist()
    assert names == ["regions_4", "regions_16", "regions_64"]
    before = None
    for name in names:
        frame = geopandas.read_file(path, layer=name)
        assert frame.crs.to_epsg() == 32633
        assert frame.is_valid.all()
        assert np.allclose(frame.area, 4 * frame["area"])
        assert frame.total_bounds.tolist() == [500_000, 4_599_872, 500_128, 4_600_000]
        if before is not None:
            joined = geopandas.sjoin(
                frame.set_geometry(frame.representative_point()), before, predicate="within"
            )
            assert (joined.coarser_left == joined.node_right).all()
        before = frame


def test_geojson_lies_where_the_geopackage_does(tree, tmp_path):
    place = {"transform": UTM, "crs": "EPSG:32633"}
    polygons = write_geopackage(tree, tmp_path / "t.gpkg", granularities=(16,), **place)
    degrees = write_geojson(tree, tmp_path / "t.geojson", n_regions=16, **place)
    one = geopandas.read_file(polygons).sort_values("node")
    other = geopandas.read_file(degrees).to_crs("EPSG:32633").sort_values("node")
    assert one.node.tolist() == other.node.tolist()
    apart = [a.hausdorff_distance(b) for a, b in zip(one.geometry, other.geometry, strict=True)]
    assert max(apart) < 0.01  # metres


@pytest.mark.usefixtures("embedded_installed")
def test_the_recipe_for_fields_gives_their_hectares(tmp_path, monkeypatch) -> None:
    check_fields(tmp_path, monkeypatch)
