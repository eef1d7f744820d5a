"""Files of networks: ONNX, checkpoints, and the records around weights."""

from __future__ import annotations

import io
import json
import random
from typing import Any

import numpy as np
import torch

from fuzz.containers import (
    bundle,
    bundle_mutator,
    change_safetensors,
    safetensors,
    unbundle,
    zip_mutator,
)
from fuzz.mutate import change_bytes, json_mutator
from fuzz.target import Box, Target
from regiontree.backbones.base import FeatureSpec
from regiontree.backbones.checkpoints import load_checkpoint
from regiontree.backbones.onnxfile import OnnxBackbone
from regiontree.backbones.saved import pixel_statistics, read_json
from regiontree.backbones.weightfiles import check_whole, weight_files
from regiontree.backbones.weights import _read_record, _sha256
from regiontree.errors import RegionTreeError

__all__ = ["TARGETS"]


# -- ONNX -----------------------------------------------------------------------------------------


def _onnx_seeds() -> list[bytes]:
    from onnx import TensorProto, helper, numpy_helper

    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["b", 3, "h", "w"])
    fixed = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, 64, 64])
    result = helper.make_tensor_value_info("features", TensorProto.FLOAT, None)
    pool = helper.make_node(
        "AveragePool", ["pixels"], ["map"], kernel_shape=[32, 32], strides=[32, 32]
    )
    same = helper.make_node("Identity", ["map"], ["features"])
    weight = numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "weight")
    conv = helper.make_node("Conv", ["map", "weight"], ["features"])
    shape = numpy_helper.from_array(np.array([0, 3, -1]), "shape")
    flat = [
        helper.make_node("Reshape", ["map", "shape"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["features"], perm=[0, 2, 1]),
    ]
    outside = numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "weight")
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    for key, value in ("location", "case.data"), ("offset", "0"), ("length", "48"):
        outside.external_data.add(key=key, value=value)

    def made(nodes: list[Any], given: Any, weights: list[Any], said: dict[str, str]) -> bytes:
        graph = helper.make_graph(nodes, "g", [given], [result], weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, said)
        return bytes(model.SerializeToString())

    said = {"regiontree.patch": "32", "regiontree.prefix": "0", "regiontree.mean": "0.5,0.5,0.5",
            "regiontree.std": "0.2,0.2,0.2", "regiontree.output": "features"}  # fmt: skip
    data = np.ones(12, np.float32).tobytes()
    return [
        bundle(made([pool, same], pixels, [], {}), b""),
        bundle(made([pool, conv], fixed, [weight], said), b""),
        bundle(made([pool, *flat], pixels, [shape], {}), b""),
        bundle(made([pool, conv], pixels, [outside], {}), data),
    ]


def _onnx(box: Box, data: bytes) -> None:
    model, outside = unbundle(data, 2)
    box.write("case.data", outside)
    path = box.write("case.onnx", model)
    backbone = OnnxBackbone(path, torch.device("cpu"), torch.float32, FeatureSpec())
    assert backbone.patch > 0
    assert backbone.dim > 0
    assert len(backbone.digest) == 64
    side = backbone.patch * max(1, 64 // backbone.patch)
    found = backbone.features(torch.zeros(1, 3, side, side))
    assert found.ndim == 4
    assert found.shape[-1] == backbone.dim


def change_onnx(rng: random.Random, data: bytes) -> bytes:
    """An ONNX model with another shape, attribute, name or text in it."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_from_string(data)
    except (DecodeError, ValueError, RuntimeError):
        return change_bytes(rng, data)
    graph = model.graph
    if not (graph.node and graph.input):
        return change_bytes(rng, data)
    node = rng.choice(graph.node)
    number = rng.choice((-(2**63), -1, 0, 1, 2, 7, 224, 2**31 - 1, 2**40))
    text = rng.choice(("", "x", "map", "pixels", "features", "../../etc/passwd", "é", "\x1b[31m"))
    match rng.randrange(8):
        case 0 if node.attribute:
            ints = rng.choice(node.attribute).ints
            ints[:] = [rng.choice((number, *ints)) for _ in range(rng.randrange(4))]
        case 1:
            node.op_type = rng.choice(("Relu", "Softmax", "Flatten", "Shape", "Expand", "Gather"))
        case 2:
            if node.input:
                node.input[rng.randrange(len(node.input))] = text
        case 3:
            dims = graph.input[0].type.tensor_type.shape.dim
            if dims:
                rng.choice(dims).dim_value = number
        case 4:
            graph.input[0].type.tensor_type.elem_type = rng.randrange(20)
        case 5 if graph.initializer:
            one = graph.initializer[0]
            one.dims[:] = [rng.choice((number, *one.dims)) for _ in range(rng.randrange(5))]
        case 6 if graph.initializer and graph.initializer[0].external_data:
            rng.choice(graph.initializer[0].external_data).value = rng.choice(
                (text, str(number), "/etc/passwd", "case.onnx")
            )
        case _:
            key = rng.choice(("patch", "prefix", "mean", "std", "output"))
            values = ("", "0", "-1", "nan,nan,nan", "1e999,1,1", "1,2", "٣", "9" * 5000, text)
            one = model.metadata_props.add()
            one.key, one.value = f"regiontree.{key}", rng.choice(values)
    return bytes(model.SerializeToString())


# -- checkpoints ----------------------------------------------------------------------------------


def _checkpoint_seeds() -> list[bytes]:
    def block(width: int) -> dict[str, torch.Tensor]:
        named = {
            f"{n}.{kind}": torch.zeros(2) for n in ("norm1", "norm2") for kind in ("weight", "bias")
        }
        named |= {"attn.qkv.weight": torch.zeros(6, 2), "mlp.fc1.weight": torch.zeros(2, 2)}
        return {f"blocks.0.{name}": tensor for name, tensor in named.items()}

    vit = {"cls_token": torch.zeros(1, 1, 192), "pos_embed": torch.zeros(1, 5, 192),
           "patch_embed.proj.weight": torch.zeros(192, 3, 1, 1), **block(192)}  # fmt: skip
    dino = {**vit, "blocks.0.ls1.gamma": torch.zeros(2), "register_tokens": torch.zeros(1, 4, 192)}
    found = []
    for content in (vit, {"teacher": {f"backbone.{k}": v for k, v in dino.items()}}, {"model": {}}):
        for new in (True, False):
            file = io.BytesIO()
            torch.save(content, file, _use_new_zipfile_serialization=new)
            found.append(file.getvalue())
    return found


def _checkpoint(box: Box, data: bytes) -> None:
    config, tensors = load_checkpoint(box.write("case.pth", data))
    assert isinstance(config["model_type"], str)
    assert all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())
    assert all(type(value) is not int or value >= 0 for value in config.values()), config


# -- records, indices, settings of preprocessing --------------------------------------------------


def _records_seeds() -> list[bytes]:
    index = {"metadata": {}, "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    config = {"model_type": "dinov2", "hidden_size": 384}
    pixels = {"do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.2, 0.2, 0.2]}
    record = {"commit": "0" * 40, "files": {"model.safetensors": "0" * 64}}
    return [bundle(*(json.dumps(one).encode() for one in (index, config, pixels, record)))]


def _records(box: Box, data: bytes) -> None:
    """Each small file that lies beside weights; the first refusal that is not clear fails."""
    index, config, pixels, record = unbundle(data, 4)
    box.write("model.safetensors.index.json", index)
    box.write("model-1.safetensors", b"")
    box.write("model-2.safetensors", b"")
    box.write("preprocessor_config.json", pixels)
    path, kept = box.write("config.json", config), box.write("record.json", record)
    readers = (
        lambda: weight_files(box.folder),
        lambda: read_json(path),
        lambda: pixel_statistics(box.folder, (0.5,) * 3, (0.5,) * 3),
        lambda: _read_record(kept),
    )
    refused: RegionTreeError | None = None
    for read in readers:
        try:
            read()
        except RegionTreeError as error:
            refused = error
    if refused is not None:
        raise refused


def _weights(box: Box, data: bytes) -> None:
    header, memory = unbundle(data, 2)
    path = box.write("case.safetensors", header)
    from regiontree.backbones.cache import cache_folder

    cache_folder().mkdir(parents=True, exist_ok=True)
    (cache_folder() / "digests.json").write_bytes(memory)
    assert len(_sha256(path)) == 64
    check_whole(path)


def _weights_seeds() -> list[bytes]:
    tensor = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    whole = safetensors({"__metadata__": {"format": "pt"}, "a": tensor}, b"\0" * 8)
    return [bundle(whole, json.dumps({"x": [1, 2, "0" * 64]}).encode()), bundle(whole, b"")]


TARGETS = (
    Target("networks.onnx", _onnx, _onnx_seeds, (bundle_mutator(change_onnx, change_bytes),) * 2),
    Target("networks.checkpoint", _checkpoint, _checkpoint_seeds,
           (zip_mutator(lambda name: change_bytes),)),
    Target("networks.records", _records, _records_seeds, (bundle_mutator(*(json_mutator,) * 4),),
           names=("case", "index.json", "config.json", "record.json", "files"), share=0.7),
    Target("networks.weights", _weights, _weights_seeds,
           (bundle_mutator(change_safetensors, json_mutator),), share=0.7),
)  # fmt: skip
