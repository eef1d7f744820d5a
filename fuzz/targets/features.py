"""Feature files: those that a run keeps, and those of other programs."""

from __future__ import annotations

import json

import numpy as np
import torch
from hypothesis import strategies as st

from fuzz.containers import change_npy, change_safetensors, npy, npz, safetensors, zip_mutator
from fuzz.target import Box, Target
from regiontree.backbones.featurefile import Features, load_features, read_features_meta
from regiontree.backbones.precomputed import read_features

__all__ = ["TARGETS", "kept_bytes"]

_META = {
    "format": "regiontree-features", "format_version": 1, "image_size": [28, 42],
    "source": {"name": "photo.png", "sha256": "0" * 64},
    "backbone": {"name": "embedded", "digest": "1", "dtype": "float32"},
    "settings": {"views": 4, "tiles": None},
}  # fmt: skip
_VALUES = np.linspace(-1, 1, 24, dtype=np.float16).reshape(2, 3, 4)


def kept_bytes(sha256: str = "0" * 64) -> bytes:
    """A feature file of this package, made from a photograph with this sha256."""
    one = {"dtype": "F16", "shape": [2, 3, 4], "data_offsets": [0, 48]}
    header = {
        "__metadata__": {
            "meta": json.dumps({**_META, "source": {"name": "photo.png", "sha256": sha256}})
        },
        "features": one,
    }
    return safetensors(header, _VALUES.tobytes())


def _kept(box: Box, data: bytes) -> None:
    path = box.write("case.safetensors", data)
    features: Features = load_features(path)
    read_features_meta(path)
    assert features.patches.ndim == 3
    assert 0 not in features.patches.shape
    assert features.patches.dtype == torch.float16
    assert bool(torch.isfinite(features.patches).all())
    assert all(type(side) is int and side > 0 for side in features.image_size), features.image_size
    assert 0 < features.overlap < 1e6


def _foreign(box: Box, data: bytes) -> None:
    array, digest = read_features(box.write("case.npy", data))
    assert len(digest) == 64
    assert array.ndim == 3
    assert array.size
    assert array.dtype.kind == "f"
    assert np.isfinite(array).all()
    torch.from_numpy(array)


def _foreign_seeds() -> list[bytes]:
    wide = _VALUES.astype(np.float32)
    tensor = {"dtype": "F32", "shape": [2, 3, 4], "data_offsets": [0, 96]}
    brain = {"dtype": "BF16", "shape": [2, 3, 4], "data_offsets": [0, 48]}
    return [
        npy(wide), npy(_VALUES.astype(">f8")), npy(np.asfortranarray(wide)), npz(features=wide),
        npz(features=wide, other=wide), safetensors({"features": tensor}, wide.tobytes()),
        safetensors({"x": brain}, _VALUES.tobytes()), kept_bytes(),
    ]  # fmt: skip


def _any_array() -> st.SearchStrategy[bytes]:
    @st.composite
    def build(draw: st.DrawFn) -> bytes:
        kinds = ["f2", ">f4", "f8", "g", "c8", "i4", "u1", "?", "S3", "U2", "M8[s]"]
        kind = np.dtype(draw(st.sampled_from(kinds)))
        shape = draw(st.lists(st.integers(0, 4), max_size=5).map(tuple))
        count = int(np.prod(shape)) * kind.itemsize
        body = draw(st.binary(min_size=min(count, 64), max_size=min(count, 64)))
        raw = (body * (count // max(len(body), 1) + 1))[:count]
        array = np.frombuffer(raw or b"", kind) if count else np.zeros(0, kind)
        array = np.resize(array, shape)
        form = draw(st.sampled_from([npy, lambda a: npz(features=a), lambda a: npz(x=a)]))
        return form(array)

    return build()


TARGETS = (
    Target("features.kept", _kept, lambda: [kept_bytes()], (change_safetensors,) * 3),
    Target(
        "features.foreign",
        _foreign,
        _foreign_seeds,
        (change_npy, change_safetensors, zip_mutator(lambda name: change_npy)),
        _any_array,
    ),
)
