"""Mask files give exactly the ids they store, or an error that names the file and says why."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import refused
from PIL import Image
from scipy.io import savemat

from regiontree.datasets import masks
from regiontree.datasets.labels import Kind, load_label_tree
from regiontree.errors import DataError

IDS = np.array([[0, 1, 2], [3, 1, 255]], dtype=np.uint8)


def png(path: Path, array: np.ndarray, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if mode == "P":
        image = Image.frombytes("P", array.shape[::-1], array.tobytes())
        image.putpalette(list(range(255, -1, -1)) * 3)
    image.save(path)
    return path


def raw_png(path: Path, rows: list[bytes], width: int, bits: int) -> Path:
    """A grey PNG written byte by byte, since Pillow writes no 2- and 4-bit ones."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, len(rows), bits, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    body = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


# -- index ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "P"])
def test_stored_values_whatever_the_palette(tmp_path, mode):
    ids = masks.read_index(png(tmp_path / "a.png", IDS, mode))
    assert ids.dtype == np.int32
    assert ids.tolist() == IDS.tolist()


def test_16_bits(tmp_path):
    values = np.array([[0, 1523], [26001, 65535]], dtype=np.uint16)
    assert masks.read_index(png(tmp_path / "a.png", values)).tolist() == values.tolist()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_one_bit_is_0_and_1(tmp_path, suffix):
    values = np.array([[False, True], [True, False]])
    Image.fromarray(values).save(tmp_path / f"a{suffix}")
    assert masks.read_index(tmp_path / f"a{suffix}").tolist() == values.astype(int).tolist()


def test_2_and_4_bits_are_not_stretched(tmp_path):
    two = raw_png(tmp_path / "two.png", [bytes([0b00_01_10_11])], 4, 2)
    four = raw_png(tmp_path / "four.png", [bytes([0x0F, 0x72])], 4, 4)
    assert masks.read_index(two).tolist() == [[0, 1, 2, 3]]
    assert masks.read_index(four).tolist() == [[0, 15, 7, 2]]


def test_divide_leaves_the_class(tmp_path):
    """Cityscapes: class * 1000 + instance where there are instances, else the class alone."""
    file = png(tmp_path / "a.png", np.array([[7, 26000], [26013, 999]], dtype=np.uint16))
    assert masks.read_index(file, divide=1000).tolist() == [[7, 26], [26, 999]]


def test_colours_are_no_ids(tmp_path):
    file = png(tmp_path / "a.png", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(DataError, match=r"a\.png.* is RGB; .*format \(colours"):
        masks.read_index(file)


def test_a_jpeg_is_no_mask(tmp_path):
    Image.fromarray(IDS).save(tmp_path / "a.png", format="JPEG")
    with pytest.raises(DataError, match=r"a\.png: a JPEG cannot be a mask"):
        masks.read_index(tmp_path / "a.png")


@pytest.mark.parametrize("keep", [20, 60, 300])
def test_cut_short(tmp_path, keep):
    noise = np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)
    file = png(tmp_path / "a.png", noise)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"a\.png: .*(damaged|is not an image)"):
        masks.read_index(file)


def test_missing_and_not_an_image(tmp_path):
    with pytest.raises(DataError, match=r"none\.png: no such file"):
        masks.read_index(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("not pixels")
    with pytest.raises(DataError, match=r"text\.png: is not an image"):
        masks.read_index(tmp_path / "text.png")


# -- RGB ------------------------------------------------------------------------------------------


def test_red_channel(tmp_path):
    rgb = np.dstack([IDS, IDS * 0 + 9, IDS * 0 + 200]).astype(np.uint8)
    assert masks.read_red(png(tmp_path / "a.png", rgb)).tolist() == IDS.tolist()
    with pytest.raises(DataError, match=r"b\.png: must be an RGB image.* is L"):
        masks.read_red(png(tmp_path / "b.png", IDS))


def test_colours(tmp_path):
    code = {(255, 255, 255): 0, (0, 0, 255): 1, (255, 0, 0): 40}
    rgb = np.array([[(255, 0, 0), (0, 0, 255)], [(255, 255, 255), (255, 0, 0)]], np.uint8)
    alpha = np.dstack([rgb, np.full((2, 2), 255, np.uint8)])
    assert masks.read_colours(png(tmp_path / "a.png", rgb), code).tolist() == [[40, 1], [0, 40]]
    assert masks.read_colours(png(tmp_path / "b.png", alpha), code).tolist() == [[40, 1], [0, 40]]


def test_unknown_colour_is_named_and_placed(tmp_path):
    rgb = np.zeros((3, 3, 3), np.uint8)
    rgb[2, 1] = rgb[2, 2] = (252, 255, 0)
    message = r"a\.png: colour fcff00 at row 2, column 1 \(2 pixels in all\)"
    with pytest.raises(DataError, match=message):
        masks.read_colours(png(tmp_path / "a.png", rgb), {(0, 0, 0): 5})


def test_panoptic(tmp_path):
    """id = R + 256 G + 65536 B; the JSON says what category it is."""
    rgb = np.array([[(0, 0, 0), (1, 2, 0)], [(1, 2, 3), (9, 0, 0)]], np.uint8)
    segments = [
        {"id": 1 + 2 * 256, "category_id": 17},
        {"id": 1 + 2 * 256 + 3 * 65536, "category_id": 200},
        {"id": 9, "category_id": 17},
    ]
    file = tmp_path / "panoptic.json"
    annotation = {"image_id": 139, "file_name": "000139.png", "segments_info": segments}
    file.write_text(json.dumps({"annotations": [annotation]}))
    found = masks.read_segments(file)
    mask = png(tmp_path / "000139.png", rgb)
    assert masks.read_panoptic(mask, found).tolist() == [[0, 17], [200, 17]]
    with pytest.raises(DataError, match=r"other\.png: .*JSON.* has no annotation"):
        masks.read_panoptic(png(tmp_path / "other.png", rgb), found)
    rgb[0, 0] = (5, 0, 0)
    with pytest.raises(DataError, match=r"000139\.png: segment 5 is not in"):
        masks.read_panoptic(png(mask, rgb), found)


def test_panoptic_json_of_another_kind(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"images": []}))
    with pytest.raises(DataError, match=r"a\.json: .*damaged .*annotations"):
        masks.read_segments(tmp_path / "a.json")


def test_categories_become_a_label_tree(tmp_path):
    categories = [
        {"id": 1, "name": "person", "supercategory": "person", "isthing": 1},
        {"id": 200, "name": "rug", "supercategory": "textile", "isthing": 0},
    ]
    (tmp_path / "a.json").write_text(json.dumps({"annotations": [], "categories": categories}))
    tree = masks.read_categories(tmp_path / "a.json")
    assert [(label.path, label.id, label.kind) for label in tree.labels] == [
        (("void",), 0, Kind.IGNORE),
        (("thing", "person"), 1, Kind.FOREGROUND),
        (("stuff", "textile", "rug"), 200, Kind.FOREGROUND),
    ]


# -- .mat -----------------------------------------------------------------------------------------


def save_bsds(path: Path, annotators: list[np.ndarray]) -> Path:
    """groundTruth: a 1 x K cell of structs with Segmentation and Boundaries, as in BSDS500."""
    cells = np.empty((1, len(annotators)), dtype=object)
    for k, one in enumerate(annotators):
        cells[0, k] = {"Segmentation": one.astype(np.uint16), "Boundaries": one > 1}
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"groundTruth": cells})
    return path


@pytest.mark.parametrize("count", [1, 2, 5])
def test_bsds(tmp_path, count):
    annotators = [np.arange(6).reshape(2, 3) // (k + 1) + 1 for k in range(count)]
    found = masks.read_bsds(save_bsds(tmp_path / "8068.mat", annotators))
    assert [one.tolist() for one in found] == [one.tolist() for one in annotators]
    assert {one.dtype for one in found} == {np.dtype(np.int32)}


def test_bsds_that_is_not(tmp_path):
    savemat(tmp_path / "a.mat", {"other": 1})
    with pytest.raises(DataError, match=r"a\.mat: has no 'groundTruth'"):
        masks.read_bsds(tmp_path / "a.mat")
    save_bsds(tmp_path / "b.mat", [np.ones((2, 3)), np.ones((3, 2))])
    with pytest.raises(DataError, match=r"b\.mat: .*masks of all annotators.*same size"):
        masks.read_bsds(tmp_path / "b.mat")


@pytest.mark.parametrize("keep", [0, 100, 150, 300])
def test_mat_cut_short(tmp_path, keep):
    file = save_bsds(tmp_path / "a.mat", [np.arange(400).reshape(20, 20)])
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"a\.mat: .*(damaged|has no 'groundTruth')"):
        masks.read_bsds(file)


def test_only_the_versions_of_matlab_that_have_cells_are_read(tmp_path):
    old = tmp_path / "old.mat"
    savemat(old, {"groundTruth": np.ones((2, 3))}, format="4")
    with refused(DataError, "old.mat", "version 4"):
        masks.read_bsds(old)
    new = save_bsds(tmp_path / "new.mat", [np.ones((2, 3))])
    data = bytearray(new.read_bytes())
    data[124:126] = b"\0\2"
    new.write_bytes(data)
    with refused(DataError, "new.mat", "7.3", "-v7"):
        masks.read_bsds(new)


@pytest.mark.parametrize(
    ("at", "value", "fact"),
    [
        (24, 4, "unknown kind 0"),  # flags of the variable, an array of cells
        (40, 2**31 - 1, "values, more than it can hold"),  # its sides
        (32, 9, "kind 9 in a wrong place"),  # the type of its sides
        (36, 4, "sides of a matrix take 4 bytes"),
    ],
)
def test_a_mat_file_is_checked_before_compiled_code_reads_it(tmp_path, at, value, fact):
    file = save_bsds(tmp_path / "a.mat", [np.ones((2, 3))])
    data = bytearray(file.read_bytes())
    at += 120  # 128 bytes of header; the variable's own tag takes 8
    data[at : at + 4] = struct.pack("<I", value if fact[:7] != "unknown" else 0)
    file.write_bytes(data)
    with refused(DataError, "a.mat", fact):
        masks.read_bsds(file)


def save_pascal_part(path: Path, objects: list[tuple[str, np.ndarray, list]]) -> Path:
    """anno.objects(k): class, class_ind, mask, parts(j): part_name, mask; as Pascal-Part has it."""
    part = np.dtype([("part_name", object), ("mask", object)])
    thing = np.dtype([(name, object) for name in ("class", "class_ind", "mask", "parts")])
    things = np.empty((1, len(objects)), dtype=thing)
    for k, (name, mask, parts) in enumerate(objects):
        inner = np.empty((1, len(parts)), dtype=part)
        for j, (part_name, part_mask) in enumerate(parts):
            inner[0, j] = (part_name, part_mask.astype(np.uint8))
        things[0, k] = (name, 1.0, mask.astype(np.uint8), inner if parts else np.zeros((0, 0)))
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"anno": {"imname": path.stem, "objects": things}})
    return path


def box(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((4, 6), bool)
    mask[rows, columns] = True
    return mask


def test_pascal_part(tmp_path):
    """Later parts over earlier ones; an object without parts is itself; the rest is ignored."""
    tree = load_label_tree("pascalpart")
    id_of = {"--".join(label.path): label.id for label in tree.labels}
    everything, left = slice(None), slice(0, 3)
    file = save_pascal_part(
        tmp_path / "2008_000002.mat",
        [
            (
                "person",
                box(everything, left),
                [
                    ("torso", box(slice(0, 3), slice(0, 2))),
                    ("neck", box(slice(0, 1), slice(0, 1))),
                ],
            ),
            ("boat", box(slice(0, 2), slice(4, 6)), []),
        ],
    )
    torso, neck, boat = id_of["person--torso"], id_of["person--neck"], id_of["boat"]
    rest = id_of["unlabeled"]
    assert masks.read_pascal_part(file, tree).tolist() == [
        [neck, torso, rest, 0, boat, boat],
        [torso, torso, rest, 0, boat, boat],
        [torso, torso, rest, 0, 0, 0],
        [rest, rest, rest, 0, 0, 0],
    ]
    rest_kind = next(label.kind for label in tree.labels if label.id == rest)
    assert rest_kind == Kind.IGNORE


def test_pascal_part_in_groups_has_the_same_ids(tmp_path):
    whole = box(slice(None), slice(None))
    objects = [("aeroplane", whole, [("lwing", box(slice(0, 1), slice(0, 6)))])]
    file = save_pascal_part(tmp_path / "a.mat", objects)
    flat, grouped = (
        masks.read_pascal_part(file, load_label_tree(name))
        for name in ("pascalpart", "pascalpart_grouped")
    )
    assert flat.tolist() == grouped.tolist()


def test_pascal_part_with_unknown_names(tmp_path):
    tree, whole = load_label_tree("pascalpart"), box(slice(None), slice(None))
    file = save_pascal_part(tmp_path / "a.mat", [("person", whole, [("wing", whole)])])
    with pytest.raises(DataError, match=r"a\.mat: part 'wing of person' is not in the label tree"):
        masks.read_pascal_part(file, tree)
    file = save_pascal_part(tmp_path / "b.mat", [("dragon", whole, [])])
    with pytest.raises(DataError, match=r"b\.mat: class 'dragon' is not in the label tree"):
        masks.read_pascal_part(file, tree)
