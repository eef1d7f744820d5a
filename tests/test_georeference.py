"""Where a photograph lies, by every way in which a file may say it.

The truth is a pixel's colour: a photograph is stored with a known transform, and the point of each
region on the map is looked up in the stored pixels.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import refused
from PIL import Image

from regiontree import RegionTree
from regiontree.errors import ExportError, ImageError, MissingExtraError
from regiontree.export import command
from regiontree.export.geojson import to_geojson
from regiontree.export.georeference import georeference
from regiontree.images import load_image
from regiontree.system.files import sha256_of

pytest.importorskip("rasterio", reason="the extra 'geo' is not installed")
shapely = pytest.importorskip("shapely", reason="shapely is not installed")
import rasterio.rpc  # noqa: E402
import rasterio.warp  # noqa: E402
import tifffile  # noqa: E402
from rasterio.control import GroundControlPoint  # noqa: E402
from rasterio.transform import Affine  # noqa: E402
from shapely.geometry import shape  # noqa: E402

NORTH_UP = (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_600_000.0)
TURNED = (3.0, 4.0, 500_000.0, 4.0, -3.0, 4_600_000.0)
WORLD = "10.0\n0.0\n0.0\n-10.0\n500005.0\n4599995.0\n"  # NORTH_UP, by the centre of the first pixel
UTM = "EPSG:32633"
# Four colours in 4 x 6 pixels, unlike themselves after any turn.
CELLS = np.repeat(np.repeat([[10, 80], [160, 240]], 3, axis=1), 2, axis=0).astype(np.uint8)
CELLS[0, 4:] = 160


def geotiff(path: Path, transform: Any = NORTH_UP, **more: Any) -> Path:
    options = {"crs": UTM, **more}
    with rasterio.open(
        path, "w", driver=options.pop("driver", "GTiff"), height=4, width=6, count=1,
        dtype="uint8", transform=None if transform is None else Affine(*transform), **options,
    ) as image:  # fmt: skip
        image.write(CELLS, 1)
    return path


def tagged(path: Path, orientation: int = 1, point: bool = False) -> Path:
    """A GeoTIFF by tifffile, with an orientation or the keys of PixelIsPoint."""
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 2 if point else 1, 3072, 0, 1, 32633)
    tags = [
        (274, "H", 1, orientation, True),
        (33550, "d", 3, (10.0, 10.0, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, 500_000.0, 4_600_000.0, 0.0), True),
        (34735, "H", 16, keys, True),
    ]
    tifffile.imwrite(path, CELLS, photometric="minisblack", extratags=tags)
    return path


def tree_of(photo: Path, **image: Any) -> RegionTree:
    """A leaf for each colour of the photograph, as a parser sees it: upright."""
    grey = load_image(photo).rgb[:, :, 0].astype(int)
    values = np.array([10, 80, 160, 240])
    labels = np.argmin(abs(grey[:, :, None] - values), axis=2)
    meta = {"image": {"name": photo.name, "sha256": sha256_of(photo), **image}}
    return RegionTree(labels, np.full(5, 4), np.array([0, 0, 0, 0, 1.0]), meta=meta)


def regions(tree: RegionTree, place: Any) -> dict[int, Any]:
    transform, crs = place
    found = to_geojson(tree, transform=transform, crs=crs, depth=1)["features"]
    return {feature["id"]: shape(feature["geometry"]) for feature in found}


def check_colours(found: dict[int, Any], transform: Any = NORTH_UP, crs: Any = None) -> None:
    """Each stored pixel lies in the region of its colour."""
    a, b, c, d, e, f = transform
    for (row, column), colour in np.ndenumerate(CELLS):
        x, y = column + 0.45, row + 0.55
        x, y = a * x + b * y + c, d * x + e * y + f
        if crs is not None:
            ((x,), (y,)) = rasterio.warp.transform(crs, "EPSG:4326", [x], [y])
        inside = [leaf for leaf, region in found.items() if region.contains(shapely.Point(x, y))]
        assert inside == [[10, 80, 160, 240].index(colour)]


# -- GDAL's own -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "transform",
    [NORTH_UP, TURNED, (10, 0, 5e5, 0, 10, 46e5), (-10, 0, 5e5, 0, -10, 46e5),
     (10, 2, 5e5, 1, -9, 46e5)],
    ids=["north up", "turned", "south up", "mirrored", "sheared"],
)  # fmt: skip
def test_a_geotiff_says_where_its_regions_lie(tmp_path, transform):
    path = geotiff(tmp_path / "aerial ü.tif", transform)
    place = georeference(path, size=(4, 6))
    assert place[1] == rasterio.crs.CRS.from_epsg(32633)
    check_colours(regions(tree_of(path), place), transform, UTM)
    check_colours(regions(tree_of(path), (place[0], None)), transform)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_geotiff_that_is_turned_upright(tmp_path, orientation):
    """The tree has upright pixels, and the transform is for stored ones: GDAL ignores the tag."""
    path = tagged(tmp_path / "a.tif", orientation)
    tree = tree_of(path)
    assert tree.shape == ((6, 4) if orientation >= 5 else (4, 6))
    check_colours(regions(tree, georeference(path, size=tree.shape)), crs=UTM)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_world_file_speaks_of_stored_pixels(tmp_path, orientation, suffix):
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[274] = orientation
    lossless = {"lossless": True} if suffix == "webp" else {"quality": 100}
    Image.fromarray(CELLS).convert("RGB").save(path, exif=exif, **lossless)
    path.with_suffix(".wld").write_text(WORLD)
    tree = tree_of(path)
    assert tree.shape == ((6, 4) if orientation >= 5 else (4, 6))
    check_colours(regions(tree, georeference(path, size=tree.shape)))


def test_a_pixel_that_is_a_point_is_shifted_by_half(tmp_path):
    path = tagged(tmp_path / "a.tif", point=True)
    transform, _ = georeference(path)
    assert tuple(transform) == (10, 0, 499_995, 0, -10, 4_600_005)


def test_a_jpeg_2000_knows_its_place(tmp_path):
    path = geotiff(tmp_path / "a.jp2", driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")
    check_colours(regions(tree_of(path), georeference(path, size=(4, 6))), crs=UTM)
    Image.fromarray(CELLS).save(tmp_path / "plain.jp2")
    assert georeference(tmp_path / "plain.jp2") is None


def test_what_gdal_keeps_beside_a_photograph(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(CELLS).save(path)
    aux = tmp_path / "a.png.aux.xml"
    aux.write_text("<PAMDataset><PAMRasterBand band='1'><Metadata/></PAMRasterBand></PAMDataset>")
    assert georeference(path) is None
    numbers = "5e5, 10, 0, 46e5, 0, -10"
    aux.write_text(
        f"<PAMDataset><SRS>{rasterio.crs.CRS.from_epsg(32633).to_wkt()}</SRS>"
        f"<GeoTransform>{numbers}</GeoTransform></PAMDataset>"
    )
    check_colours(regions(tree_of(path), georeference(path, size=(4, 6))), crs=UTM)


def test_a_vrt_knows_its_place(tmp_path):
    geotiff(tmp_path / "a.tif")
    (tmp_path / "a.vrt").write_text(
        '<VRTDataset rasterXSize="6" rasterYSize="4"><SRS>EPSG:32633</SRS>'
        "<GeoTransform>5e5, 10, 0, 46e5, 0, -10</GeoTransform>"
        '<VRTRasterBand dataType="Byte" band="1"/></VRTDataset>'
    )
    transform, crs = georeference(tmp_path / "a.vrt", size=(4, 6))
    assert tuple(transform) == NORTH_UP
    assert crs == rasterio.crs.CRS.from_epsg(32633)


@pytest.mark.filterwarnings("error")
def test_an_ordinary_photograph_lies_nowhere(tmp_path):
    assert georeference(Path(__file__).parents[1] / "examples" / "astronaut.jpg") is None
    tifffile.imwrite(tmp_path / "a.tif", CELLS)
    assert georeference(tmp_path / "a.tif") is None


def test_a_camera_s_position_places_no_image(tmp_path):
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 0.0), 3: "E", 4: (11.0, 30.0, 0.0)}
    Image.fromarray(CELLS).save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.getexif().get_ifd(0x8825)[1] == "N"
    assert georeference(tmp_path / "a.jpg") is None


def test_what_is_no_raster_is_an_image_error(tmp_path):
    with refused(ImageError, "absent.tif", "no such file"):
        georeference(tmp_path / "absent.tif")
    (tmp_path / "a.tif").write_bytes(b"II*\0 not a TIFF")
    with refused(ImageError, "a.tif"):
        georeference(tmp_path / "a.tif")
    (tmp_path / "b.img").write_bytes(b"nothing")
    with refused(ImageError, "b.img", "--transform none"):
        georeference(tmp_path / "b.img")


def test_ground_control_points_may_lie_beside_a_photograph(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(CELLS).save(path)
    a, _, c, _, e, f = NORTH_UP
    points = "".join(
        f'<GCP Id="{x}{y}" Pixel="{x}" Line="{y}" X="{a * x + c}" Y="{e * y + f}"/>'
        for x in (0, 6) for y in (0, 4)
    )  # fmt: skip
    text = f'<PAMDataset><GCPList Projection="EPSG:32633">{points}</GCPList></PAMDataset>'
    (tmp_path / "a.png.aux.xml").write_text(text)
    check_colours(regions(tree_of(path), georeference(path, size=(4, 6))), crs=UTM)


def test_a_world_file_with_the_crs_in_another_file(tmp_path):
    """ArcGIS writes the crs to .aux.xml; a TIFF may have it in its tags."""
    wkt = rasterio.crs.CRS.from_epsg(32633).to_wkt()
    Image.fromarray(CELLS).save(tmp_path / "a.tif")
    (tmp_path / "a.tif.aux.xml").write_text(f"<PAMDataset><SRS>{wkt}</SRS></PAMDataset>")
    geotiff(tmp_path / "b.tif", transform=None)
    for path in (tmp_path / "a.tif", tmp_path / "b.tif"):
        assert georeference(path) is None
        path.with_suffix(".tfw").write_text(WORLD)
        check_colours(regions(tree_of(path), georeference(path, size=(4, 6))), crs=UTM)


# -- world files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["a.jpg a.jgw", "a.jpg a.jpgw", "a.jpg a.wld", "a.jpg a.JGW", "A.JPG A.JGW", "a.jpeg a.jgw",
     "a.png a.pgw", "a.png a.pngw", "a.tif a.tfw", "a.tif a.tifw", "a.tiff a.tfw", "a.tif a.tfwx",
     "a.webp a.wpw", "a.bmp a.bpw", "a.ppm a.pmw", "a.gif a.gfw", "a.jp2 a.j2w", "a.tga a.wld"],
)  # fmt: skip
def test_a_world_file_has_the_name_of_its_photograph(tmp_path, name):
    photo, world = (tmp_path / part for part in name.split())
    Image.fromarray(CELLS).convert("RGB").save(photo)
    world.write_text(WORLD)
    transform, crs = georeference(photo, size=(4, 6))
    assert tuple(transform) == NORTH_UP
    assert crs is None
    photo.with_suffix(".prj").write_text(
        rasterio.crs.CRS.from_epsg(32633).to_wkt(version="WKT1_ESRI")
    )
    _, crs = georeference(photo, size=(4, 6))
    assert crs.to_epsg() == 32633


def test_a_world_file_turns_and_may_have_commas(tmp_path):
    Image.fromarray(CELLS).save(tmp_path / "a.png")
    a, b, c, d, e, f = TURNED
    world = tmp_path / "a.pgw"
    numbers = [a, d, b, e, c + (a + b) / 2, f + (d + e) / 2]
    world.write_text("\r\n".join(f"{number:.6f}".replace(".", ",") for number in numbers))
    assert tuple(georeference(tmp_path / "a.png")[0]) == TURNED


@pytest.mark.parametrize(
    "text",
    ["", "10\n0\n0\n-10\n5", "10\n0\n0\nnan\n5\n5\n", "a\nb\nc\nd\ne\nf\n", "0\n" * 6,
     "1\n1\n1\n1\n0\n0"],
)  # fmt: skip
def test_a_damaged_world_file_is_named(tmp_path, text):
    Image.fromarray(CELLS).save(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text(text)
    with refused(ImageError, "a.pgw"):
        georeference(tmp_path / "a.png")


# -- ground control points ------------------------------------------------------------------------


def with_gcps(path: Path, points: list[tuple[float, ...]], crs: str, width: int = 6) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", height=4, width=width, count=1, dtype="uint8"
    ) as image:
        image.write(np.resize(CELLS, (4, width)), 1)
        image.gcps = [GroundControlPoint(r, c, x, y) for c, r, x, y in points], crs
    return path


def corners(transform: Any, bend: float = 0.0) -> list[tuple[float, ...]]:
    a, b, c, d, e, f = transform
    return [
        (x, y, a * x + b * y + c + bend * x * y, d * x + e * y + f)
        for x in (0, 3, 6) for y in (0, 2, 4)
    ]  # fmt: skip


def test_ground_control_points_on_a_plane_give_a_transform(tmp_path):
    path = with_gcps(tmp_path / "a.tif", corners(TURNED), UTM)
    transform, crs = georeference(path, size=(4, 6))
    assert tuple(transform) == pytest.approx(TURNED)
    check_colours(regions(tree_of(path), (transform, crs)), TURNED, UTM)


def test_bent_ground_control_points_give_a_function_through_them(tmp_path):
    points = corners(NORTH_UP, bend=1.5)
    path = with_gcps(tmp_path / "a.tif", points, UTM)
    transform, _ = georeference(path, size=(4, 6))
    assert callable(transform)
    column, row, x, y = np.array(points).T
    np.testing.assert_allclose(transform(column, row), (x, y), atol=1e-6)
    found = regions(tree_of(path), (transform, None))
    assert shapely.unary_union(list(found.values())).area == pytest.approx(
        sum(region.area for region in found.values())
    )
    assert all(region.is_valid for region in found.values())
    half, _ = georeference(path, size=(2, 3))
    np.testing.assert_allclose(half(column / 2, row / 2), (x, y), atol=1e-6)


def test_ground_control_points_across_the_antimeridian(tmp_path):
    """As of Sentinel-1: longitudes of 180 degrees and more are written as negative."""
    degrees = [(x, y, (179.97 + x / 100 + 180) % 360 - 180, 70 - y / 200)
               for x in (0, 3, 6) for y in (0, 2, 4)]  # fmt: skip
    path = with_gcps(tmp_path / "a.tif", degrees, "EPSG:4326")
    tree = RegionTree(np.zeros((4, 6), int), np.array([0]), np.array([0.0]))
    place = georeference(path, size=(4, 6))
    (feature,) = to_geojson(tree, transform=place[0], crs=place[1], all_nodes=True)["features"]
    found = shape(feature["geometry"])
    assert found.is_valid
    assert [part.bounds for part in found.geoms] == [
        pytest.approx((179.97, 69.98, 180, 70), abs=1e-4),
        pytest.approx((-180, 69.98, -179.97, 70), abs=1e-4),
    ]
    with refused(ExportError, "a.tif", "in degrees", "--crs none"):
        georeference(path, degrees=False)


def test_places_that_no_transform_says_are_refused(tmp_path):
    few = with_gcps(tmp_path / "few.tif", corners(NORTH_UP)[:3], UTM)  # in one column
    with refused(ExportError, "few.tif", "3 ground control points"):
        georeference(few)
    path = tmp_path / "rpc.tif"
    ones = [1.0, *[0.0] * 19]
    rpcs = rasterio.rpc.RPC(
        height_off=0, height_scale=1, lat_off=0, lat_scale=1, long_off=1, long_scale=1,
        line_off=1, line_scale=1, samp_off=1, samp_scale=1, line_num_coeff=ones,
        line_den_coeff=ones, samp_num_coeff=ones, samp_den_coeff=ones,
    )  # fmt: skip
    with rasterio.open(
        path, "w", driver="GTiff", height=4, width=6, count=1, dtype="uint8"
    ) as image:
        image.write(CELLS, 1)
        image.rpcs = rpcs
    with refused(ExportError, "rpc.tif", "RPC", "orthorectify", "--transform none"):
        georeference(path)


# -- sizes and pages ------------------------------------------------------------------------------


def test_a_smaller_copy_has_a_scaled_transform(tmp_path):
    path = geotiff(tmp_path / "a.tif")
    assert tuple(georeference(path, size=(2, 3))[0]) == (20, 0, 500_000, 0, -20, 4_600_000)
    assert tuple(georeference(path, size=(8, 12))[0]) == (5, 0, 500_000, 0, -5, 4_600_000)
    with refused(ExportError, "a.tif", "6 x 4", "12 x 4", "--transform none"):
        georeference(path, size=(4, 12))
    turned = tagged(tmp_path / "b.tif", 6)
    with refused(ExportError, "4 x 6", "6 x 4"):
        georeference(turned, size=(4, 6))
    transform, _ = georeference(turned, size=(3, 2))
    assert tuple(transform) == (0, 20, 500_000, 20, 0, 4_599_960)


def test_the_place_of_the_first_page_is_not_that_of_another(tmp_path):
    path = tmp_path / "a.tif"
    keys = (1, 1, 0, 1, 3072, 0, 1, 32633)
    with tifffile.TiffWriter(path) as file:
        for west in (None, 500_000.0, 600_000.0):
            tags = [] if west is None else [
                (33550, "d", 3, (10.0, 10.0, 0.0), True),
                (33922, "d", 6, (0.0, 0.0, 0.0, west, 4_600_000.0, 0.0), True),
                (34735, "H", 8, keys, True),
            ]  # fmt: skip
            file.write(CELLS, extratags=tags, metadata=None)
    (tmp_path / "a.tfw").write_text(WORLD)
    assert georeference(path)[0][2] == 500_000  # the world file
    (tmp_path / "a.tfw").unlink()
    assert georeference(path) is None
    assert georeference(path, page=1)[0][2] == 500_000
    assert georeference(path, page=2)[0][2] == 600_000
    with refused(ImageError, "a.tif", "page 7"):
        georeference(path, page=7)


# -- without rasterio -----------------------------------------------------------------------------


@pytest.fixture
def no_rasterio(monkeypatch):
    def hide() -> None:
        for name in [name for name in sys.modules if name.split(".")[0] == "rasterio"]:
            monkeypatch.setitem(sys.modules, name, None)

    return hide


def test_only_what_lies_on_a_map_needs_rasterio(tmp_path, no_rasterio):
    needs = [
        geotiff(tmp_path / "a.tif"),
        geotiff(tmp_path / "a.jp2", driver="JP2OpenJPEG"),
        with_gcps(tmp_path / "b.tif", corners(NORTH_UP), UTM),
    ]
    Image.fromarray(CELLS).save(tmp_path / "plain.png")
    Image.fromarray(CELLS).save(tmp_path / "plain.jp2")
    Image.fromarray(CELLS).save(tmp_path / "plain.tif")
    (tmp_path / "plain.pgw").write_text(WORLD)
    no_rasterio()
    for path in needs:
        with refused(MissingExtraError, "pip install 'regiontree[geo]'"):
            georeference(path)
    assert georeference(tmp_path / "plain.jp2") is None
    assert georeference(tmp_path / "plain.tif") is None
    assert tuple(georeference(tmp_path / "plain.png")[0]) == NORTH_UP


def test_without_rasterio_a_georeferenced_tree_fails_and_others_are_written(
    tmp_path, no_rasterio, capsys
):
    (tmp_path / "plain.png").write_bytes(b"")
    for path in (geotiff(tmp_path / "a.tif"), tmp_path / "plain.png"):
        Image.fromarray(CELLS).save(tmp_path / "plain.png")
        tree_of(path).save(path.with_suffix(".npz"))
    no_rasterio()
    assert command.run([tmp_path], "geojson", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert "a.tif" in said
    assert "regiontree[geo]" in said
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["plain.geojson"]


# -- the command ----------------------------------------------------------------------------------


def test_the_command_says_which_coordinates_were_chosen(tmp_path, capsys):
    Image.fromarray(CELLS).save(tmp_path / "plain.png")
    Image.fromarray(CELLS).save(tmp_path / "world.png")
    (tmp_path / "world.pgw").write_text(WORLD)
    photos = [geotiff(tmp_path / "a.tif"), tmp_path / "plain.png", tmp_path / "world.png"]
    for photo in photos:
        tree_of(photo).save(photo.with_suffix(".npz"))
    assert command.run([tmp_path], "geojson", tmp_path / "out") == 0
    said = capsys.readouterr().err
    assert "longitude and latitude (1 tree)" in said
    assert "pixels (1 tree)" in said
    assert "world.npz: the photograph says no coordinate system" in said
    features = json.loads((tmp_path / "out" / "world.geojson").read_bytes())["features"]
    check_colours({feature["id"]: shape(feature["geometry"]) for feature in features})


def test_a_site_without_a_place_on_earth_keeps_its_coordinates_by_crs_none(tmp_path, capsys):
    path = geotiff(tmp_path / "a.tif", crs='LOCAL_CS["site",UNIT["metre",1]]')
    tree_of(path).save(tmp_path / "a.npz")
    assert command.run([tmp_path], "geojson") == 2
    said = capsys.readouterr().err
    assert "site" in said
    assert "--crs" in said
    assert command.run([tmp_path], "geojson", crs="none") == 0
    features = json.loads((tmp_path / "a.geojson").read_bytes())["features"]
    check_colours({feature["id"]: shape(feature["geometry"]) for feature in features})


def test_the_tree_of_an_upright_copy_lies_right_by_the_command(tmp_path):
    path = tagged(tmp_path / "a.tif", 3)
    tree_of(path).save(tmp_path / "a.npz")
    assert command.run([tmp_path / "a.npz"], "geojson") == 0
    features = json.loads((tmp_path / "a.geojson").read_bytes())["features"]
    check_colours({feature["id"]: shape(feature["geometry"]) for feature in features}, crs=UTM)
