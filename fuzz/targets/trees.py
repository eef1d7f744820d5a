"""Tree files: this package's, those of other programs, and what a tree's meta says."""

from __future__ import annotations

import contextlib
import io
import json
import random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from fuzz.containers import (
    bundle,
    bundle_mutator,
    change_npy,
    change_png,
    npy,
    npz,
    unbundle,
    zip_mutator,
)
from fuzz.mutate import json_mutator
from fuzz.target import Box, Mutator, Target
from regiontree.errors import RegionTreeError, TreeError, TreeFileError
from regiontree.forest.sources import open_outline, open_source
from regiontree.tree import ClipTree, RegionTree, is_clip_file, read_clip_meta
from regiontree.tree.file import read_meta
from regiontree.tree.foreign import read_any_tree
from regiontree.viewer.index import Card, index_html, thumbnail
from regiontree.viewer.page import page_html

__all__ = ["TARGETS"]

LABELS = np.array([[0, 0, 1, 2], [0, 0, 3, 3]], np.int32)
PARENTS = np.array([6, 4, 4, 5, 5, 6, 6], np.int32)
HEIGHT = np.array([0, 0, 0, 0, 0.25, 0.5, 1.0], np.float32)
META = {
    "natural_height": 0.3,
    "image": {"name": "photo.png", "size": [2, 4], "sha256": "0" * 64},
    "settings": {"preset": "default"},
    "grid": [1, 2],
    "patch": 2,
    "backbone": {"name": "embedded", "digest": "1"},
    "seconds": {"features": 0.5},
    "version": "0.1",
}


def tree() -> RegionTree:
    """Seven nodes over 2 x 4 pixels."""
    embedding = np.linspace(-1, 1, 14, dtype=np.float16).reshape(7, 2)
    return RegionTree(LABELS, PARENTS, HEIGHT, embedding=embedding, meta=META)


def tree_bytes(meta: dict[str, Any] | None = None) -> bytes:
    """The file of :func:`tree`, with other meta if it is given."""
    own = tree()
    text = json.dumps(
        {"format": "regiontree", "format_version": 1, **(META if meta is None else meta)}
    )
    names = ("labels", "parents", "area", "level", "height", "ncut", "stop", "embedding")
    return npz(**{name: getattr(own, name) for name in names}, meta=np.array(text))


# -- this package's files -------------------------------------------------------------------------


def _own(box: Box, data: bytes) -> None:
    path = box.write("case.npz", data)
    try:
        loaded = RegionTree.load(path)
    except RegionTreeError:
        for lighter in (read_meta, RegionTree.load_structure):
            with contextlib.suppress(RegionTreeError):
                lighter(path)
        raise
    again = RegionTree.load(loaded.save(path))
    assert again == loaded, "saved and loaded, the tree differs"
    assert sum(loaded.area[: loaded.n_leaves]) == loaded.labels.size
    structure = RegionTree.load_structure(path)
    assert np.array_equal(structure.parents, loaded.parents)
    str(loaded)


def _member(name: str) -> Mutator:
    return _change_meta if name == "meta.npy" else change_npy


def _change_meta(rng: random.Random, data: bytes) -> bytes:
    try:
        text = str(np.load(io.BytesIO(data), allow_pickle=False)).encode("utf-8", "surrogatepass")
    except (ValueError, OSError, EOFError, SyntaxError, TypeError, LookupError, MemoryError):
        return change_npy(rng, data)
    if rng.random() < 0.3:
        return change_npy(rng, data)
    return npy(np.array(json_mutator(rng, text).decode("utf-8", "replace")))


def _arrays() -> st.SearchStrategy[bytes]:
    small = st.integers(-2, 8)
    kind = st.sampled_from(["i1", "u1", "i4", "u4", "i8", "u8", "f4", "f8", "?"])

    @st.composite
    def build(draw: st.DrawFn) -> bytes:
        n = draw(st.integers(0, 9))
        rows, columns = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        labels = draw(st.lists(small, min_size=rows * columns, max_size=rows * columns))
        parents = draw(st.lists(small, min_size=n, max_size=n))
        if draw(st.booleans()):
            parents = [min(i + 1 + abs(p), n - 1) for i, p in enumerate(parents)]
        arrays: dict[str, Any] = {
            "labels": np.array(labels, "i8").reshape(rows, columns).astype(draw(kind)),
            "parents": np.array(parents, "i8").astype(draw(kind)),
        }
        if draw(st.booleans()):
            heights = draw(st.lists(st.floats(width=32), min_size=n, max_size=n))
            arrays["height"] = np.array(heights, draw(st.sampled_from(["f2", "f4", "f8"])))
        return npz(**arrays)

    return build()


def clip_bytes() -> bytes:
    """The file of the tree of a clip of three frames, two of them of another size."""
    own = tree()
    frames = [LABELS, LABELS.T, LABELS.T[::-1]]
    clip = ClipTree(frames, PARENTS, HEIGHT, embedding=own.embedding, meta=META)
    with TemporaryDirectory() as folder:
        return clip.save(f"{folder}/case.clip.npz").read_bytes()


def _clip(box: Box, data: bytes) -> None:
    path = box.write("case.clip.npz", data)
    try:
        loaded = ClipTree.load(path)
        frames = [loaded.frame_labels(t) for t in range(loaded.n_frames)]
    except RegionTreeError:
        with contextlib.suppress(RegionTreeError):
            read_clip_meta(path)
        raise
    finally:
        is_clip_file(path)
    assert [frame.shape for frame in frames] == loaded.sizes
    assert loaded.area[-1] == sum(frame.size for frame in frames)
    str(loaded)
    try:  # that areas and spans are those of the pixels is known when all are read
        again = ClipTree.load(loaded.save(path))
    except TreeError as error:
        if "no pixel in any frame" not in str(error):
            raise AssertionError("what was read cannot be saved") from error
        raise TreeFileError(f"{path}: {error}") from error
    for t, frame in enumerate(frames):
        assert np.array_equal(again.frame_labels(t), frame), "saved and loaded, a frame differs"
        assert loaded.frame(t).shape == frame.shape


# -- of other programs ----------------------------------------------------------------------------


def _foreign(box: Box, data: bytes) -> None:
    _sound(box, read_any_tree(box.write("case.npz", data)))


def _picture(box: Box, data: bytes) -> None:
    picture, links = unbundle(data, 2)
    suffix = (
        ".npy" if picture[:1] == b"\x93" else ".tif" if picture[:2] in (b"II", b"MM") else ".png"
    )
    box.write("case.json", links)
    _sound(box, read_any_tree(box.write(f"case{suffix}", picture)))


def _sound(box: Box, found: RegionTree) -> None:
    path = found.save(box.folder / "saved.npz")
    again = RegionTree.load(path)
    path.unlink()
    assert again == found, "saved and loaded, the tree differs"


def _pictures() -> list[bytes]:
    links = json.dumps({"parents": [6, 4, 4, 5, 5, 6, -1], "height": HEIGHT.tolist()}).encode()
    found = [bundle(npy(LABELS), links)]
    for form, kind in ("PNG", "u1"), ("PNG", "u2"), ("TIFF", "i4"):
        file = io.BytesIO()
        Image.fromarray(LABELS.astype(kind)).save(file, form)
        found.append(bundle(file.getvalue(), links))
    return found


# -- what a tree says about itself ----------------------------------------------------------------


def _meta(box: Box, data: bytes) -> None:
    """Every page and picture of a tree whose meta is foreign, and the search for its photograph."""
    meta, summary = unbundle(data, 2)
    try:
        value = json.loads(meta)
        assert isinstance(value, dict)
        content = tree_bytes({k: v for k, v in value.items() if not k.startswith("format")})
    except (ValueError, RecursionError, AssertionError):
        return  # not JSON: that is trees.own's matter
    box.write("summary.json", summary)
    path = box.write("case.npz", content)
    outline = open_outline(path)
    source = open_source(path)
    page = page_html(source, longest=64)
    index = index_html([Card(outline, "0/", "0/thumbnail.jpg")], outline.name)
    assert "<script>fuzz" not in page, "meta became part of the page's code"
    assert "<script>fuzz" not in index, "meta became part of the page's code"
    assert thumbnail(source)[:2] == b"\xff\xd8"


_META_KEYS = ["name", "size", "sha256", "digest", "x"]


def _metas() -> st.SearchStrategy[bytes]:
    leaf = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9),
                     st.just("</script><script>fuzz"), st.just("\x1b[31m"))  # fmt: skip
    value = st.recursive(leaf, lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(_META_KEYS), inner, max_size=3),
    ), max_leaves=6)  # fmt: skip
    meta = st.dictionaries(st.sampled_from(sorted(META)), value, max_size=4)
    return meta.map(lambda m: bundle(json.dumps(m).encode("utf-8", "surrogatepass"), b"{}"))


def _meta_seeds() -> list[bytes]:
    files = {"files": [{"output": "case.npz", "source": "photo.png"}]}
    image = {**META, "image": {"name": "</script><script>fuzz", "size": [2, 4]}}
    return [bundle(json.dumps(m).encode(), json.dumps(files).encode()) for m in (META, image, {})]


TARGETS = (
    Target("trees.own", _own, lambda: [tree_bytes(), tree_bytes({})], (zip_mutator(_member),) * 3),
    Target("trees.clip", _clip, lambda: [clip_bytes()], (zip_mutator(_member),) * 3),
    Target(
        "trees.foreign",
        _foreign,
        lambda: [npz(labels=LABELS, parents=PARENTS, height=HEIGHT), tree_bytes()],
        (zip_mutator(_member),),
        _arrays,
        share=0.5,
    ),
    Target(
        "trees.picture",
        _picture,
        _pictures,
        (bundle_mutator(change_png, json_mutator), bundle_mutator(change_npy, json_mutator)),
        share=0.5,
    ),
    Target(
        "trees.meta", _meta, _meta_seeds, (bundle_mutator(json_mutator, json_mutator),), _metas,
        share=0.5,
    ),
)  # fmt: skip
