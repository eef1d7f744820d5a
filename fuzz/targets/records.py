"""What files of strangers beside trees say: photographs, owners, names, pictures, features."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from itertools import islice
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from fuzz.containers import bundle, bundle_mutator, change_png, change_safetensors, unbundle
from fuzz.mutate import change_text, json_mutator
from fuzz.target import Box, Target
from fuzz.targets.features import kept_bytes
from fuzz.targets.trees import META, tree_bytes
from regiontree.backbones.featurefolder import check_source, find_features, shared_features
from regiontree.display import drawn
from regiontree.engines.names import name_trees, names_for, owner_of
from regiontree.forest.origin import path_below, recorded_name, recorded_places, without_path
from regiontree.forest.sources import Places, open_source
from regiontree.forest.summary import write_summary
from regiontree.system.files import sha256_of
from regiontree.tree.file import read_meta

__all__ = ["TARGETS"]

_MOST_NAME = 255  # bytes


def _folder(box: Box, name: str) -> Path:
    box.written.add(name)
    made = box.folder / name
    made.mkdir()
    return made


# -- where the photograph of a tree lies ----------------------------------------------------------


def _origin(box: Box, data: bytes) -> None:
    image, summary = unbundle(data, 2)
    try:
        meta = {**META, "image": json.loads(image)}
        content = tree_bytes(meta)
    except (ValueError, RecursionError):
        return  # not JSON: that is trees.own's matter
    trees, photos = _folder(box, "trees"), _folder(box, "photos")
    photo = photos / "photo.png"
    Image.new("RGB", (4, 2)).save(photo)
    text = summary.replace(b"HERE", os.fsencode(box.folder))
    (trees / "summary.json").write_bytes(text)
    path = trees / "case.npz"
    path.write_bytes(content)
    meta = read_meta(path)
    name = Path(recorded_name(meta)).name
    for place in recorded_places(path, meta):
        assert place.is_absolute()
        assert place.name == name, "a record leads to a file of another name"
    below = path_below(meta)
    assert ".." not in below.split("/"), "a record leads out of the folder"
    assert not below.startswith("/")
    for place in Places.of([photos]).named(name or "x", below):
        if ".." not in name:
            assert photos in Path(os.path.abspath(place)).parents, "a file beside the folder"
    source = open_source(path, images=[photos])
    assert source.photo is None or source.photo.name == name
    owner_of(path, photo)
    image_meta = without_path(meta)["image"]
    assert not isinstance(image_meta, dict) or "path" not in image_meta
    report = {
        "folder": str(trees),
        "files": [{"source": str(photo), "output": str(trees / "other.npz"), "status": "done"}],
    }
    write_summary(trees, report)
    written = json.loads((trees / "summary.json").read_text())
    assert written["files"][0]["source"] == str(photo)


_PATHS = ("photo.png", "../photos/photo.png", "/etc/photo.png", "../../photo.png", "a/../photo.png",
          "..", ".", "", "a\0/photo.png", "~/photo.png", "C:\\photo.png", "//host/photo.png",
          "a" * 5000 + "/photo.png", "/".join(["a"] * 999) + "/photo.png", "\ud800/photo.png",
          "\x1b[31m/photo.png", "HERE/photos/photo.png", "HERE/trees/case.npz")  # fmt: skip


def _summaries() -> st.SearchStrategy[bytes]:
    path = st.one_of(st.sampled_from(_PATHS), st.text(max_size=9), st.none(), st.integers(),
                     st.lists(st.text(max_size=2), max_size=2))  # fmt: skip
    file = st.dictionaries(st.sampled_from(["source", "output", "status", "x"]), path, max_size=3)
    files = st.one_of(st.lists(st.one_of(file, path), max_size=3), path)
    summary = st.dictionaries(st.sampled_from(["files", "earlier", "folder"]),
                              st.one_of(files, path), max_size=3)  # fmt: skip
    image = st.dictionaries(st.sampled_from(["name", "path", "sha256", "size"]), path, max_size=4)
    return st.tuples(image, summary).map(lambda parts: bundle(*map(_json, parts)))


def _json(value: object) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _origin_seeds() -> list[bytes]:
    image = {**META["image"], "path": "../photos/photo.png"}
    one = {"source": "HERE/photos/photo.png", "output": "HERE/trees/case.npz", "status": "done"}
    old = {"source": "photos/photo.png", "output": "trees/case.npz"}
    return [
        bundle(_json(image), _json({"folder": "HERE/trees", "files": [one], "earlier": [one]})),
        bundle(_json(META["image"]), _json({"files": [old]})),
        *(bundle(_json({**image, "path": path, "name": path}), b"{}") for path in _PATHS),
    ]


# -- names of trees -------------------------------------------------------------------------------


def _names(box: Box, data: bytes) -> None:
    text, stranger = unbundle(data, 2)
    root, out = _folder(box, "photos"), _folder(box, "out")
    photos = []
    for line in text.split(b"\n")[:4]:
        below = root / os.fsdecode(line.replace(b"\0", b"").lstrip(b"/"))
        inside = Path(os.path.abspath(below))
        if root not in inside.parents:
            continue
        with contextlib.suppress(OSError):  # no file can have that name
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.write_bytes(line)
            photos.append((inside, root))
    photos = [(file, root) for file, root in dict.fromkeys(photos) if file.is_file()]
    if photos:
        first = out / next(names_for(*photos[0]))
        first.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            first.write_bytes(stranger)
    names = name_trees(photos, out)
    assert len(set(names)) == len(photos), "two photographs share a tree's file"
    for (photo, _), name in zip(photos, names, strict=True):
        assert out in name.parents, "a tree outside its folder"
        assert name.suffix == ".npz"
        assert len(os.fsencode(name.name)) <= _MOST_NAME
        assert name_trees(photos, out) == names, "names change from run to run"
        assert len(list(islice(names_for(photo, root), 9))) == 9
        owner_of(name, photo)


def _names_seeds() -> list[bytes]:
    long = b"a" * 251 + b".jpg"
    return [
        bundle(b"a.jpg\na.png\nb/a.jpg", tree_bytes()), bundle(b"a.jpg", b"PK"),
        bundle(b"a.jpg\nA.jpg\na.jpg.png", b""), bundle(long + b"\n" + long[:-3] + b"png", b"x"),
        bundle("é.jpg\ne\u0301.jpg".encode(), tree_bytes({})), bundle(b"\xff.jpg\n.jpg\nnpz", b""),
    ]  # fmt: skip


# -- pictures beside a tree -----------------------------------------------------------------------


def _drawn(box: Box, data: bytes) -> None:
    path = box.write("case.hierarchy.png", data)
    text = drawn._text(path, otherwise="")
    assert text is None or isinstance(text, str)
    shows = drawn._shows(path, "0" * 64)
    assert not shows or text in (None, "0" * 64)  # a picture whose end is cut shows nothing
    drawn._is_cut(path, box.folder / "case")


def _drawn_seeds() -> list[bytes]:
    found = []
    for zipped in (False, True):
        text = PngImagePlugin.PngInfo()
        text.add_text(drawn.MARK, "0" * 64, zip=zipped)
        text.add_itxt("x", "words", zip=zipped)
        file = io.BytesIO()
        Image.fromarray(np.zeros((2, 4, 3), np.uint8)).save(file, "PNG", pnginfo=text)
        found.append(file.getvalue())
    return found


# -- folders of features --------------------------------------------------------------------------


def _features(box: Box, data: bytes) -> None:
    name, kept = unbundle(data, 2)
    folder, photos = _folder(box, "features"), _folder(box, "case-photos")
    # The photograph's name is the user's own, and messages quote it as it is.
    letters = name.decode("ascii", "ignore")[:40]
    shown = "".join(c for c in letters if c.isalnum() or c in "-_ .").strip(".") or "x"
    photo = photos / f"{shown}.png"
    photo.write_bytes(name)
    suffix = ".npz" if kept[:2] == b"PK" else ".safetensors"
    (folder / f"{shown}{suffix}").write_bytes(kept)
    shared_features(folder, [photo, photos / f"{shown}.jpg"])
    found = find_features(folder, photo)
    assert found.parent == folder
    check_source(found, photo, sha256_of(photo))


def _feature_seeds() -> list[bytes]:
    return [
        bundle(b"photo", kept_bytes(hashlib.sha256(b"photo").hexdigest())),
        bundle(b"a", tree_bytes()),
        bundle(b"b.png", b""),
    ]


TARGETS = (
    Target("records.origin", _origin, _origin_seeds, (bundle_mutator(json_mutator, json_mutator),),
           _summaries),
    Target("records.names", _names, _names_seeds, (bundle_mutator(change_text, change_text),),
           share=0.5, names=("case", "photos")),
    Target("records.drawn", _drawn, _drawn_seeds, (change_png,) * 3, share=0.5),
    Target("records.folder", _features, _feature_seeds,
           (bundle_mutator(change_text, change_safetensors),), share=0.5),
)  # fmt: skip
