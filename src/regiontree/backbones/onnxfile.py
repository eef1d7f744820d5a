"""Patch features of a network in an ONNX file, run by onnxruntime.

The network may come from any training framework.

The network takes pixels (B, 3, H, W), float32 or float16. It gives patch features in one of three
layouts. To find out which, the program runs the network once or twice on an empty image:

- tokens (B, prefix + h * w, d): first the class token and registers, if any, then the patches row
  by row;
- a map (B, d, h, w), channels first;
- a map (B, h, w, d), channels last.

A network of one fixed size is run at that size. Its tokens are split into a prefix and a patch
grid, with the shortest prefix that fits. A network of any size is run on 224 x 224 and
224 x 448 pixels. The number of extra tokens in the second run gives the patch size; the tokens
that are left over are the prefix.

The file may state the following as text in its ``metadata_props``:

=====================  ============================================================================
regiontree.patch       side of a patch in pixels
regiontree.prefix      tokens in front of the patches
regiontree.mean, .std  per channel, comma-separated, for pixels in [0, 1]; default: ImageNet's
regiontree.output      name of the output to take; default: ``last_hidden_state``, or else the first
                       output that holds patch features
=====================  ============================================================================

Format: https://onnx.ai/onnx/repo-docs/IR.html and ExternalData.html.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontree.backbones.base import FeatureSpec
from regiontree.backbones.embedded import IMAGENET_DEVIATION, IMAGENET_MEAN
from regiontree.errors import BackboneError, MissingExtraError, SettingsError
from regiontree.system.damage import plain_reason
from regiontree.system.files import sha256_of
from regiontree.system.paths import path_problem

__all__ = ["OnnxBackbone", "load_onnx"]

_PROBE = 224  # pixels a side: a multiple of the patches in use, 7, 8, 14, 16, 28 and 32
_LARGEST_INPUT = 4096  # pixels a side of a fixed input; trying it takes 200 MB
_LARGEST_PATCH = 64
_LARGEST_PREFIX = 16  # a longer prefix is more likely a wrong guess of the grid
_DTYPES = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16}

Order = Literal["tokens", "channels first", "channels last"]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where an output holds the patch features; `prefix` counts the tokens in front of them."""

    output: str
    order: Order
    patch: int
    prefix: int
    dim: int


class OnnxBackbone:
    """Patch features of the network in an ONNX file.

    The module's text describes the file, :class:`regiontree.backbones.base.Backbone` the methods.

    Parameters
    ----------
    path
        The ONNX file. Its external data, if any, must lie beside it.
    device
        CUDA needs an onnxruntime with CUDA support. For any other device the network runs on the
        CPU, with as many threads as torch uses.
    dtype
        Ignored: the network computes in the precision it was exported in. The attribute ``dtype``
        of the backbone gives that precision.
    spec
        Must be the default but for ``descriptor``, because the export has fixed the features. They
        serve as descriptors, too.

    Raises
    ------
    MissingExtraError
        onnxruntime or onnx is not installed.
    BackboneError
        The file cannot be used; the message names the file and says what to do.
    SettingsError
        `spec` is not the default.
    """

    def __init__(
        self, path: Path, device: torch.device, dtype: torch.dtype, spec: FeatureSpec
    ) -> None:
        if not spec.is_usual:
            raise SettingsError(
                f"layers, facet and positions cannot be chosen for {path}: the export of an "
                "ONNX file fixes its features; leave them out, or export the network again"
            )
        self._path = path
        self._session = _open(path, device)
        try:
            checked = _check_input(path, self._session)
            said: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        except UnicodeDecodeError as error:
            raise BackboneError(
                f"{path}: its names or metadata are not text in UTF-8; export it again"
            ) from error
        self._input, self._sides, self._one_by_one, self.dtype = checked
        self._mean, self._deviation = (
            torch.tensor(
                _numbers(path, said, f"regiontree.{key}", usual), dtype=torch.float32, device="cpu"
            )[:, None, None]
            for key, usual in (("mean", IMAGENET_MEAN), ("std", IMAGENET_DEVIATION))
        )
        if not (self._deviation > 0).all():
            raise BackboneError(f"{path}: regiontree.std in its metadata must be above 0")
        self._layout = self._find_layout(said)
        self.name = path.name
        self.digest = _digest(path)
        self.patch = self._layout.patch
        self.dim = self._layout.dim
        self.descriptor_dim = 0 if spec.descriptor == "none" else self.dim
        self.device = device

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """Patch features (B, h, w, dim), float32 on `device`.

        `pixels` is (B, 3, h * patch, w * patch), in [0, 1].

        Raises
        ------
        BackboneError
            The file is fixed to another image size, or the network fails on these pixels.
        """
        images, _, height, width = pixels.shape
        tall, wide = (own or side for own, side in zip(self._sides, (height, width), strict=True))
        if (tall, wide) != (height, width):
            raise BackboneError(
                f"{self._path}: takes images of {tall}x{wide} pixels only, got {height}x{width}; "
                f"pass --size {tall}x{wide}, or export it for any size"
            )
        normal = ((pixels.to("cpu", torch.float32) - self._mean) / self._deviation).to(self.dtype)
        batches = torch.split(normal, 1) if self._one_by_one else [normal]
        found = torch.from_numpy(
            np.concatenate([self._run([self._layout.output], batch)[0] for batch in batches])
        )
        layout = self._layout
        grid = height // layout.patch, width // layout.patch
        tokens = (images, layout.prefix + grid[0] * grid[1], layout.dim)
        shapes = {
            "tokens": tokens,
            "channels first": (images, layout.dim, *grid),
            "channels last": (images, *grid, layout.dim),
        }
        if tuple(found.shape) != shapes[layout.order]:
            raise BackboneError(
                f"{self._path}: gave shape {tuple(found.shape)} for {height}x{width} pixels, "
                f"expected {shapes[layout.order]}; was it exported for one size? Then fix its size"
            )
        if layout.order == "tokens":
            found = found[:, layout.prefix :].reshape(images, *grid, layout.dim)
        elif layout.order == "channels first":
            found = found.permute(0, 2, 3, 1)
        return found.to(self.device, torch.float32).contiguous()

    def _run(self, outputs: Sequence[str], pixels: Tensor) -> list[NDArray[Any]]:
        try:
            found: list[NDArray[Any]] = self._session.run(
                list(outputs), {self._input: pixels.contiguous().numpy()}, _quiet_run()
            )
        except _runtime_errors() as error:
            height, width = pixels.shape[2:]
            if "llocat" in str(error):  # torch's error, so that the caller tries a smaller batch
                raise torch.OutOfMemoryError(f"{self._path}: {_brief(error)}") from error
            raise BackboneError(
                f"{self._path}: cannot be run on {height}x{width} pixels ({_brief(error)}); export "
                "it for any size, or with its input fixed to the size it was made for"
            ) from error
        return found

    def _find_layout(self, said: Mapping[str, str]) -> _Layout:
        """The layout, from the file's metadata and the output shapes on empty images."""
        patch, prefix = (
            _whole(self._path, said, f"regiontree.{key}") for key in ("patch", "prefix")
        )
        names = [output.name for output in self._session.get_outputs()]
        named = said.get("regiontree.output")
        if named is not None and named not in names:
            raise BackboneError(
                f"{self._path}: has no output {named!r}, which regiontree.output in its metadata "
                f"names; it has {_printable(', '.join(names))}"
            )
        wanted = [named] if named is not None else names
        if "last_hidden_state" in wanted:
            wanted.insert(0, wanted.pop(wanted.index("last_hidden_state")))
        side = patch * max(1, _PROBE // patch) if patch else _PROBE
        height, width = (own or side for own in self._sides)
        sizes = [(height, width)]
        if self._sides[1] is None:
            sizes.append((height, 2 * width))
        elif self._sides[0] is None:
            sizes.append((2 * height, width))
        ran = [
            self._run(wanted, torch.zeros(1, 3, *size, dtype=self.dtype, device="cpu"))
            for size in sizes
        ]
        for i, name in enumerate(wanted):
            shapes = [outputs[i].shape for outputs in ran]
            if found := _fit(name, sizes, shapes, patch, prefix):
                return found
        raise BackboneError(
            f"{self._path}: holds no patch features: on {height}x{width} pixels it gives "
            + ", ".join(
                f"{_printable(name)} {out.shape}" for name, out in zip(wanted, ran[0], strict=True)
            )
            + "; export the tokens (B, tokens, d) or a map (B, d, h, w) of the last block, with "
            "regiontree.patch and regiontree.prefix in its metadata if they are unusual"
        )


def load_onnx(
    argument: str, device: torch.device, dtype: torch.dtype, spec: FeatureSpec
) -> OnnxBackbone:
    """The backbone that ``onnx:FILE`` names; `argument` is the part after the colon.

    Raises
    ------
    BackboneError
        The argument is empty.
    """
    if not argument:
        raise BackboneError("backbone 'onnx' needs a file after the colon: onnx:FILE")
    return OnnxBackbone(Path(argument), device, dtype, spec)


def _fit(
    output: str,
    sizes: Sequence[tuple[int, int]],
    shapes: Sequence[tuple[int, ...]],
    patch: int | None,
    prefix: int | None,
) -> _Layout | None:
    """The layout that explains an output's shapes on images of those sizes; None if none does.

    Examples
    --------
    >>> _fit("x", [(224, 224), (224, 448)], [(1, 257, 384), (1, 513, 384)], None, None)
    _Layout(output='x', order='tokens', patch=14, prefix=1, dim=384)
    >>> _fit("x", [(224, 224)], [(1, 768, 7, 7)], None, None)
    _Layout(output='x', order='channels first', patch=32, prefix=0, dim=768)
    >>> _fit("x", [(224, 224)], [(1, 1000)], None, None)
    """
    common = gcd(*(side for size in sizes for side in size))
    likely = range(2, _LARGEST_PATCH + 1) if patch is None else [patch]
    found = []
    for side in likely:
        if side < 1 or common % side:
            continue
        grids = [(height // side, width // side) for height, width in sizes]
        if all(len(shape) == 4 for shape in shapes):
            if all(shape[2:] == grid for shape, grid in zip(shapes, grids, strict=True)):
                found.append(_Layout(output, "channels first", side, 0, shapes[0][1]))
            elif all(shape[1:3] == grid for shape, grid in zip(shapes, grids, strict=True)):
                found.append(_Layout(output, "channels last", side, 0, shapes[0][3]))
        elif all(len(shape) == 3 for shape in shapes):
            extra = {
                shape[1] - rows * columns
                for shape, (rows, columns) in zip(shapes, grids, strict=True)
            }
            if len(extra) == 1:
                (front,) = extra
                if front == prefix or (prefix is None and 0 <= front <= _LARGEST_PREFIX):
                    found.append(_Layout(output, "tokens", side, front, shapes[0][2]))
    return min(found, key=lambda layout: layout.prefix, default=None)


def _open(path: Path, device: torch.device) -> Any:
    """An onnxruntime session."""
    if not os.path.isfile(path):
        what = path_problem(path, "ONNX file") or "is a folder; name the .onnx file in it"
        raise BackboneError(f"{path}: {what}")
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError(
            "running an ONNX file needs onnxruntime: pip install 'regiontree[onnx]'"
        ) from None
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda":
        providers = [("CUDAExecutionProvider", {"device_id": device.index or 0}), *providers]
    if device.type == "cuda" and providers[0][0] not in onnxruntime.get_available_providers():
        raise BackboneError(
            f"{path}: this onnxruntime does not run on CUDA; install onnxruntime-gpu in its place, "
            "or use --device cpu"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised as exceptions; onnxruntime prints nothing
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        # On the CPU a second attempt would only print. On CUDA it leads to the message below.
        session = onnxruntime.InferenceSession(
            str(path), options, providers=providers, enable_fallback=int(device.type == "cuda")
        )
    except _runtime_errors() as error:
        with path.open("rb") as file:
            start = file.read(8)
        raise BackboneError(
            f"{path}: is not an ONNX file, is damaged, or lacks its external data, which must lie "
            f"beside it (it starts with {start!r}; {_brief(error)}); download or export it again"
        ) from error
    if device.type == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        raise BackboneError(
            f"{path}: onnxruntime could not start CUDA; its version and that of CUDA and cuDNN "
            "must fit together; or use --device cpu"
        )
    return session


def _check_input(
    path: Path, session: Any
) -> tuple[str, tuple[int | None, int | None], bool, torch.dtype]:
    """The input's name, its fixed (height, width), whether it takes one image only, its dtype."""
    inputs = session.get_inputs()
    told = ", ".join(f"{_printable(given.name)} {given.type} {given.shape}" for given in inputs)
    wanted = "one input of pixels (B, 3, H, W), float32 or float16"
    if len(inputs) != 1 or inputs[0].type not in _DTYPES or len(inputs[0].shape) != 4:
        raise BackboneError(f"{path}: must have {wanted}; it has {told}; export it so")
    batch, channels, *sides = (
        side if isinstance(side, int) and side > 0 else None for side in inputs[0].shape
    )
    if batch not in (None, 1) or channels not in (None, 3):
        raise BackboneError(
            f"{path}: must have {wanted}, B being any or 1; it has {told}; export it so"
        )
    tall, wide = (side or 1 for side in sides)
    if max(tall, wide, tall * wide // _LARGEST_INPUT) > _LARGEST_INPUT:
        raise BackboneError(
            f"{path}: takes images of {tall}x{wide} pixels, which no network sees at once; export "
            "it for any size"
        )
    return inputs[0].name, (sides[0], sides[1]), batch == 1, _DTYPES[inputs[0].type]


def _numbers(
    path: Path, said: Mapping[str, str], key: str, usual: tuple[float, ...]
) -> tuple[float, ...]:
    """Three numbers from the metadata."""
    if key not in said:
        return usual
    try:
        numbers = tuple(float(number) for number in said[key].split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 3 or not np.isfinite(numbers).all():
        raise BackboneError(
            f"{path}: {key} in its metadata must be three numbers like 0.5,0.5,0.5, got "
            f"{said[key][:80]!r}"
        )
    return numbers


def _whole(path: Path, said: Mapping[str, str], key: str) -> int | None:
    """A whole number from the metadata."""
    text = said.get(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and int(text) <= 1024):
        raise BackboneError(
            f"{path}: {key} in its metadata must be a whole number up to 1024, got {text[:40]!r}"
        )
    return int(text)


def _digest(path: Path) -> str:
    """sha256 of the file, or of the digests of it and its external data in order of name."""
    try:
        import onnx
        from onnx.external_data_helper import ExternalDataInfo, uses_external_data
    except ImportError:
        raise MissingExtraError(
            "reading an ONNX file needs onnx: pip install 'regiontree[onnx]'"
        ) from None
    graph = onnx.load(str(path), load_external_data=False).graph
    outside = {
        ExternalDataInfo(tensor).location
        for tensor in graph.initializer
        if uses_external_data(tensor)
    }
    if not outside:
        return sha256_of(path)
    state = hashlib.sha256(sha256_of(path).encode())
    for name in sorted(outside):  # inside the file's folder: onnxruntime opens no others
        state.update(sha256_of(path.parent / name).encode())
    return state.hexdigest()


def _runtime_errors() -> tuple[type[Exception], ...]:
    """What onnxruntime raises; its own errors have no base class but Exception."""
    from onnxruntime.capi import (
        onnxruntime_pybind11_state as state,
    )

    own = (state.EPFail, state.Fail, state.InvalidArgument, state.InvalidGraph,
           state.InvalidProtobuf, state.NoModel, state.NoSuchFile, state.NotImplemented,
           state.RuntimeException)  # fmt: skip
    return (*own, RuntimeError, ValueError)


def _quiet_run() -> Any:
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    return options


def _brief(error: Exception) -> str:
    """The last part of onnxruntime's message, in one line."""
    if isinstance(error, UnicodeError):
        return plain_reason(error)
    text = _printable(str(error))
    return text if len(text) <= 200 else f"...{text[-200:]}"


def _printable(text: str) -> str:
    """Text from a file in one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
