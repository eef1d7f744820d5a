"""The embedded network run by OpenVINO, which is faster than torch on a CPU.

The encoder of :mod:`.vit` is written as a graph of OpenVINO's operations, with the same weights. In
float32 its features differ from torch's by rounding. With dtype int8, the matrix products of the
blocks run in 8 bits:

- A weight matrix W (out, in) is stored as whole numbers -127 to 127 with one scale a row, so that
  W[i] = scale[i] * Q[i].
- OpenVINO rounds the input of each product in groups of 32 numbers, each with a scale of its own,
  on processors that multiply 8-bit numbers natively (AVX2-VNNI, AVX-512 VNNI, AMX). On others the
  input stays float32, so that features differ between such processors.

The attention, the norms and the products that give the features themselves stay float32.

The graph is made at each start, which takes less time than reading it from a file.

References: Dettmers et al., LLM.int8(), NeurIPS 2022, for scales by row and by group;
https://docs.openvino.ai, properties of the CPU device.
"""

from __future__ import annotations

import sys
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regiontree.backbones.base import FeatureSpec
from regiontree.backbones.embedded import EmbeddedBackbone
from regiontree.backbones.vit import VisionTransformer, check_size, join_layers, stretch_positions
from regiontree.errors import BackboneError, MissingExtraError
from regiontree.system.signals import same_signal_stack

__all__ = ["OpenVinoBackbone"]

_GROUP = 32  # numbers of an input that share a scale

Floats = NDArray[np.float32]


class OpenVinoBackbone(EmbeddedBackbone):
    """A :class:`~regiontree.backbones.base.Backbone`: the embedded network, run by OpenVINO.

    It uses as many threads as torch does when the network is loaded.

    Parameters
    ----------
    device
        Must be the CPU.
    dtype
        torch.float32 or torch.int8.
    spec
        Layers and facet of the features. None: the defaults.

    Raises
    ------
    MissingExtraError
        OpenVINO is not installed, or the weights are not.
    BackboneError
        The device is not the CPU.
    """

    name = "embedded (openvino)"

    def __init__(
        self, device: torch.device, dtype: torch.dtype, spec: FeatureSpec | None = None
    ) -> None:
        if device.type != "cpu":
            raise BackboneError(
                f"runtime 'openvino' runs on the CPU, and the device is {str(device)!r}; use "
                "--device cpu, or runtime 'torch'"
            )
        openvino = _import_openvino()
        super().__init__(device, torch.float32, spec)
        self.dtype = dtype
        self._encoder = cast(VisionTransformer, self.model)
        is_8_bit = dtype == torch.int8
        with same_signal_stack():  # OpenVINO sets one, and may free it in another thread
            self._compiled = openvino.Core().compile_model(
                _Graph(self._encoder, is_8_bit).model(),
                "CPU",
                {
                    "NUM_STREAMS": "1",
                    "INFERENCE_NUM_THREADS": str(torch.get_num_threads()),
                    "INFERENCE_PRECISION_HINT": "f32",  # else a processor may choose bfloat16
                    "DYNAMIC_QUANTIZATION_GROUP_SIZE": str(_GROUP if is_8_bit else 0),
                    "ENABLE_CPU_PINNING": False,  # threads of the host process stay where they are
                },
            )
        self._encoder.blocks = nn.ModuleList()  # OpenVINO has the weights
        del self.model

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """Features (B, h, w, dim), float32, of pixels (B, 3, h * patch, w * patch).

        Pixels are floats in [0, 1].

        Raises
        ------
        SettingsError
            The image does not consist of whole patches.
        """
        check_size(pixels, self.patch)
        rows, columns = (side // self.patch for side in pixels.shape[2:])
        encoder = self._encoder
        published = encoder.spec.positions == "published"
        positions = stretch_positions(encoder.positions, 1, rows, columns, published)
        found = [self._run(image[None], positions) for image in self._normalised(pixels)]
        return torch.cat(found).reshape(len(pixels), rows, columns, self.dim)

    def _run(self, pixels: Tensor, positions: Tensor) -> Tensor:
        """Features (1, patches, dim) of one normalised image."""
        request = self._compiled.create_infer_request()  # several threads may run the network
        request.infer({"pixels": pixels.numpy(), "positions": positions.numpy()})
        outputs = [
            torch.from_numpy(request.get_output_tensor(i).data[:, 1:].copy())
            for i in range(len(self._compiled.outputs))
        ]
        number = len(self._encoder.wanted)
        return torch.cat([join_layers(outputs[:number]), *outputs[number:]], dim=-1)


def _import_openvino() -> Any:
    """The module openvino, imported without its telemetry.

    ``import openvino`` sends a message to Google Analytics and writes a file into the user's home
    folder, unless the package openvino-telemetry is missing.
    """
    imported = sys.modules.get("openvino")
    if imported is not None:
        return imported
    name = "openvino_telemetry"
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError:
        raise MissingExtraError(
            "runtime 'openvino' needs OpenVINO: pip install 'regiontree[openvino]'"
        ) from None
    finally:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
    return openvino


class _Graph:
    """The encoder as OpenVINO's operations.

    Inputs: ``pixels`` (1, 3, H, W), normalised; ``positions`` (1, 1 + patches, width). Outputs: one
    for each layer of the features, (1, 1 + patches, width), and then the last tokens if the encoder
    adds them.
    """

    def __init__(self, encoder: VisionTransformer, is_8_bit: bool) -> None:
        from openvino import opset13

        self.op: Any = opset13
        self.encoder = encoder
        self.is_8_bit = is_8_bit

    def model(self) -> Any:
        """The graph, ready to be compiled."""
        from openvino import Model

        op, encoder = self.op, self.encoder
        width, patch = encoder.shape.width, encoder.shape.patch
        pixels = op.parameter([1, 3, -1, -1], np.float32, name="pixels")
        positions = op.parameter([1, -1, width], np.float32, name="positions")
        for given in (pixels, positions):
            given.output(0).set_names({given.get_friendly_name()})
        kernel, stride = self.numbers(encoder.patches.weight), [patch, patch]
        grid = op.convolution(pixels, kernel, stride, [0, 0], [0, 0], [1, 1])
        grid = op.add(grid, self.numbers(_array(encoder.patches.bias)[None, :, None, None]))
        grid = op.reshape(grid, self.whole(0, width, -1), True)
        patches = op.transpose(grid, self.whole(0, 2, 1))
        x = op.add(op.concat([self.numbers(encoder.class_token), patches], 1), positions)
        kept: dict[int, Any] = {}
        for i, block in enumerate(encoder.blocks):
            if encoder.facet != "token" and i in encoder.wanted:
                kept[i] = self.part(block, x)
                if i + 1 == len(encoder.blocks) and not encoder.adds_tokens:
                    break
            x = self.block(block, x)
            if encoder.facet == "token" and i in encoder.wanted:
                kept[i] = self.norm(encoder.norm, x)
        outputs = [kept[i] for i in encoder.wanted]
        if encoder.adds_tokens:
            outputs.append(self.norm(encoder.norm, x))
        return Model(outputs, [pixels, positions], "encoder")

    def block(self, block: Any, x: Any) -> Any:
        """The block's output. Its layer scales are part of the weights."""
        op = self.op
        mixed = self.attention(block, self.norm(block.norm1, x))
        x = op.add(x, self.linear(mixed, *_scaled(block.proj, block.scale1)))
        hidden = self.linear(self.norm(block.norm2, x), block.fc1.weight, block.fc1.bias)
        hidden = op.gelu(hidden, "erf")
        return op.add(x, self.linear(hidden, *_scaled(block.fc2, block.scale2)))

    def attention(self, block: Any, x: Any) -> Any:
        """softmax(q k' / sqrt(d)) v of each head, heads concatenated."""
        op, heads = self.op, block.heads
        length = self.encoder.shape.width // heads
        qkv = self.linear(x, block.qkv.weight, block.qkv.bias)
        qkv = op.reshape(qkv, self.whole(0, 0, 3, heads, length), True)
        qkv = op.transpose(qkv, self.whole(2, 0, 3, 1, 4))
        first = op.constant(np.array(0, np.int64))
        query, key, value = (
            op.squeeze(part, self.whole(0)) for part in op.split(qkv, first, 3).outputs()
        )
        mixed = op.scaled_dot_product_attention(query, key, value, causal=False)
        mixed = op.transpose(mixed, self.whole(0, 2, 1, 3))
        return op.reshape(mixed, self.whole(0, 0, heads * length), True)

    def part(self, block: Any, x: Any) -> Any:
        """Queries, keys or values of the block's input, in float32."""
        width = self.encoder.shape.width
        start = ("query", "key", "value").index(self.encoder.facet) * width
        rows = slice(start, start + width)
        weight, bias = block.qkv.weight[rows], block.qkv.bias[rows]
        return self.linear(self.norm(block.norm1, x), weight, bias, is_8_bit=False)

    def linear(self, x: Any, weight: Tensor, bias: Tensor, is_8_bit: bool | None = None) -> Any:
        """x W' + b, with W as whole numbers and scales if the product is to run in 8 bits."""
        op = self.op
        if self.is_8_bit if is_8_bit is None else is_8_bit:
            scale, rounded = _rounded(_array(weight))
            matrix = op.multiply(op.convert(op.constant(rounded), np.float32), self.numbers(scale))
        else:
            matrix = self.numbers(weight)
        product = op.matmul(x, matrix, False, True)
        return op.add(product, self.numbers(_array(bias)[None, None]))

    def norm(self, norm: nn.LayerNorm, x: Any) -> Any:
        op = self.op
        centred = op.mvn(x, self.whole(-1), True, norm.eps, "inside_sqrt")
        scale, shift = (self.numbers(_array(a)[None, None]) for a in (norm.weight, norm.bias))
        return op.add(op.multiply(centred, scale), shift)

    def numbers(self, array: Tensor | Floats) -> Any:
        return self.op.constant(_array(array))

    def whole(self, *numbers: int) -> Any:
        return self.op.constant(np.array(numbers, np.int64))


def _array(array: Any) -> Floats:
    """A tensor or an array as a contiguous array."""
    if isinstance(array, Tensor):
        array = array.detach().numpy()
    return np.ascontiguousarray(array)


def _scaled(layer: nn.Linear, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of the layer followed by a product with `scale`."""
    return layer.weight * scale[:, None], layer.bias * scale


def _rounded(weight: Floats) -> tuple[Floats, NDArray[np.int8]]:
    """Scales (out, 1) and whole numbers (out, in), whose product is close to the weight.

    Examples
    --------
    >>> scale, rounded = _rounded(np.array([[0.5, -1.0], [0.0, 0.0]], np.float32))
    >>> rounded.tolist()
    [[64, -127], [0, 0]]
    """
    largest = np.abs(weight).max(axis=1, keepdims=True)
    scale = (np.where(largest > 0, largest, 1) / 127).astype(np.float32)
    return scale, np.rint(weight / scale).astype(np.int8)
