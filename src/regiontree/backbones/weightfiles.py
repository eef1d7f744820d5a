"""Which files of a folder are a model's weights, and whether they are complete.

The layout is Hugging Face's: one file, or an index in JSON whose ``weight_map`` names several
files. ``model.safetensors`` is preferred. ``pytorch_model.bin`` is a pickle; its reader must load
only tensors from it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from regiontree.errors import BackboneError

__all__ = ["check_whole", "choose_weights", "shards_of", "weight_files"]

_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def choose_weights(names: Collection[str]) -> str | None:
    """The name of the weight file or of the index of weight files; None if there is neither."""
    return next((name for name in _WEIGHTS if name in names), None)


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model's weights, in order of name.

    Raises
    ------
    BackboneError
        The folder has no weight files, or some of them are missing.
    """
    there = {path.name for path in folder.iterdir() if path.is_file()}
    first = choose_weights(there)
    if first is None:
        raise BackboneError(
            f"{folder} has no weights: expected model.safetensors or pytorch_model.bin, found "
            f"{', '.join(sorted(there)[:8]) or 'no files'}"
        )
    if not first.endswith(".index.json"):
        return [folder / first]
    shards = shards_of(folder / first)
    missing = [shard for shard in shards if shard not in there]
    if missing:
        raise BackboneError(
            f"{folder} has {len(shards) - len(missing)} of the {len(shards)} files that {first} "
            f"names, {missing[0]} is missing: download or copy the rest"
        )
    return [folder / shard for shard in shards]


def shards_of(index: Path) -> list[str]:
    """The file names in an index of weight files. All of them lie in the folder of the index.

    Raises
    ------
    BackboneError
        The index is damaged.
    """
    ending = Path(index.name.removesuffix(".index.json")).suffix
    try:
        shards = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        good = all(Path(shard).name == shard and shard.endswith(ending) for shard in shards)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        shards, good = [], False
    if not shards or not good:
        raise BackboneError(f"{index} is not an index of weight files; get it again")
    return shards


def check_whole(file: Path) -> None:
    """Raise a BackboneError if a file is a Git LFS pointer, damaged or incomplete.

    The length of a safetensors file follows from its content: 8 bytes, little-endian, with the
    length of a JSON header; the header; data up to the largest offset in the header
    (https://huggingface.co/docs/safetensors).
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(24)
        if start.startswith(b"version https://git-lfs"):
            raise BackboneError(
                f"{file} is not the weights but Git LFS's pointer to them; run `git lfs pull` there"
            )
        if file.suffix != ".safetensors":
            return
        length = int.from_bytes(start[:8], "little")
        stream.seek(8)
        try:
            header = json.loads(stream.read(min(length, size)))
            ends = [what["data_offsets"][1] for name, what in header.items() if name[:2] != "__"]
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            raise BackboneError(f"{file} is damaged or cut short; get it again") from None
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise BackboneError(f"{file} has {size} bytes and should have {expected}; get it again")
