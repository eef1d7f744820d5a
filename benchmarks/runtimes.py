"""What runs the embedded network fastest on a CPU, and what does it do to the features?

Question
    torch as it is or compiled, ONNX Runtime or OpenVINO; in float32 or with 8-bit products: how
    much faster is each, with how much memory, and how close are the features?
Method
    Ways run in turn on one photograph of each size (A B A B ...), each in the number of threads
    that is asked for. The ratio of processor times is the median over turns; on a busy machine it
    is steadier than wall time, and with one thread it is the same on an idle one. With two threads
    take the wall time: threads that wait for each other count as busy. Load time and peak memory
    are those of a fresh process for each way: from before the runtime is imported, with weights.
    The export to ONNX is not counted. Agreement is the cosine of each patch's feature with torch's
    in float32, over the photographs.
    8 bits: OpenVINO's is the package's dtype int8. ONNX Runtime's is quantize_dynamic with one
    scale a column. torch's is torch.ao's quantize_dynamic.
    With --scores N, N photographs of each of four data sets are parsed by the default in each
    way instead, and the trees are scored: NMCovering and NHCovering of the class tree within 24
    nodes (means over images, then data sets), and the adjusted Rand index of the cuts at 24 regions
    with those of torch in float32.
Printed
    A row for each way, size and number of threads; or a row for each way, with --scores.

    pip install openvino onnxruntime onnx
    python benchmarks/runtimes.py
    python benchmarks/runtimes.py --scores 8
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _agreement import adjusted_rand_index
from _common import (
    MB,
    SUBSETS,
    PeakMemory,
    arguments,
    chosen_samples,
    data_folder,
    first_photographs,
    is_child,
    print_closing,
    print_heading,
    print_results,
    ratio,
    resident,
    run_child,
)
from nodata import scores_of
from torch import Tensor, nn
from torch.nn import functional

from regiontree import RegionParser
from regiontree.backbones import Backbone, FeatureSpec
from regiontree.backbones.compiler import compiled
from regiontree.backbones.embedded import (
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    EmbeddedBackbone,
)
from regiontree.backbones.openvino import OpenVinoBackbone
from regiontree.datasets.catalog import open_dataset
from regiontree.images import load_image, to_pixels

CPU = torch.device("cpu")
SPEC = FeatureSpec(descriptor="none")
GRIDS = {"518 x 392": (28, 37), "518 x 518": (37, 37)}  # patches


# -- ways -----------------------------------------------------------------------------------------


def eager(_: str) -> Backbone:
    return EmbeddedBackbone(CPU, torch.float32, SPEC)


def torch_compiled(_: str) -> Backbone:
    return compiled(EmbeddedBackbone(CPU, torch.float32, SPEC))


def openvino(_: str) -> Backbone:
    return OpenVinoBackbone(CPU, torch.float32, SPEC)


def openvino_8(_: str) -> Backbone:
    return OpenVinoBackbone(CPU, torch.int8, SPEC)


def torch_8(_: str) -> Backbone:
    """torch.ao's dynamic quantisation of every linear layer but the last."""
    from torch.ao.quantization import quantize_dynamic

    network = EmbeddedBackbone(CPU, torch.float32, SPEC)
    last = network.model.blocks[-1]
    quantize_dynamic(network.model.blocks[:-1], {nn.Linear}, inplace=True)
    network.model.blocks[-1] = last
    return network


class Exported:
    """The network in an ONNX file for one size of images, run by ONNX Runtime."""

    def __init__(self, path: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(path, options)
        self.mean = torch.tensor(IMAGENET_MEAN)[:, None, None]
        self.deviation = torch.tensor(IMAGENET_DEVIATION)[:, None, None]

    def features(self, pixels: Tensor) -> Tensor:
        given = ((pixels - self.mean) / self.deviation).numpy()
        return torch.from_numpy(self.session.run(None, {"pixels": given})[0])


def onnx(folder: str) -> Any:
    return Exported(f"{folder}/float32.onnx")


def onnx_8(folder: str) -> Any:
    return Exported(f"{folder}/int8.onnx")


def export(folder: Path, grid: tuple[int, int]) -> None:
    """Write float32.onnx and int8.onnx."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    network = EmbeddedBackbone(CPU, torch.float32, SPEC)
    zeros = torch.zeros(1, 3, *(side * network.patch for side in grid))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.model, (zeros,), str(folder / "float32.onnx"), dynamo=False, opset_version=17,
            input_names=["pixels"], output_names=["features"],
        )  # fmt: skip
    quantize_dynamic(
        folder / "float32.onnx", folder / "int8.onnx", weight_type=QuantType.QInt8,
        per_channel=True, op_types_to_quantize=["MatMul"],
        extra_options={"DefaultTensorType": 1, "MatMulConstBOnly": True},
    )  # fmt: skip


WAYS: dict[str, Callable[[str], Any]] = {
    "torch, float32": eager,
    "torch compiled, float32": torch_compiled,
    "ONNX Runtime, float32": onnx,
    "OpenVINO, float32": openvino,
    "torch.ao, int8": torch_8,
    "ONNX Runtime, int8": onnx_8,
    "OpenVINO, int8": openvino_8,
}
BASE = "torch, float32"


# -- measures -------------------------------------------------------------------------------------


def cost(way: str, folder: str, grid: list[int], threads: int) -> dict[str, Any]:
    """Load time in seconds and peak memory in bytes of one way, in this fresh process."""
    torch.set_num_threads(threads)
    pixels = torch.rand(1, 3, 14 * grid[0], 14 * grid[1])
    before = resident()
    with PeakMemory(before) as memory:
        start = time.perf_counter()
        network = WAYS[way](folder)
        load = time.perf_counter() - start
        network.features(pixels)
    return {"load": load, "memory": memory.extra / MB}


def in_turn(networks: dict[str, Any], pixels: Tensor, turns: int) -> dict[str, list[list[float]]]:
    """Wall and processor seconds of each way."""
    found: dict[str, list[list[float]]] = {name: [[], []] for name in networks}
    for network in networks.values():
        network.features(pixels)
    for _ in range(turns):
        for name, network in networks.items():
            wall, processor = time.perf_counter(), time.process_time()
            network.features(pixels)
            found[name][1].append(time.process_time() - processor)
            found[name][0].append(time.perf_counter() - wall)
    return found


def rows_of(
    shape: str, threads: int, photos: list[Path], names: list[str], turns: int
) -> list[list[object]]:
    """Rows of the table `runtimes` for images of one shape."""
    torch.set_num_threads(threads)
    grid = GRIDS[shape]
    images = [to_pixels(load_image(path).rgb, grid, 14)[None] for path in photos]
    with tempfile.TemporaryDirectory() as folder:
        export(Path(folder), grid)
        costs = {
            name: run_child(__file__, "cost", way=name, folder=folder, grid=list(grid),
                            threads=threads)
            for name in names
        }  # fmt: skip
        networks = {name: WAYS[name](folder) for name in names}
        times = in_turn(networks, images[0], turns)
        exact = [networks[BASE].features(image) for image in images]
        rows: list[list[object]] = []
        for name, network in networks.items():
            found = [network.features(image) for image in images]
            cosine = torch.cat([
                functional.cosine_similarity(a, b, dim=3).flatten()
                for a, b in zip(exact, found, strict=True)
            ])  # fmt: skip
            wall, processor = times[name]
            rows.append([
                name, shape, threads, statistics.median(wall), ratio(wall, times[BASE][0]),
                statistics.median(processor), ratio(processor, times[BASE][1]),
                costs[name]["load"], costs[name]["memory"], float(cosine.mean()),
                float(cosine.min()),
            ])  # fmt: skip
    return rows


# -- scores ---------------------------------------------------------------------------------------


SCORED: dict[str, dict[str, Any]] = {
    "torch, float32": {"dtype": "float32"},
    "torch, bfloat16": {"dtype": "bfloat16"},
    "OpenVINO, float32": {"backbone": {"runtime": "openvino"}},
    "OpenVINO, int8": {"dtype": "int8"},
}
DATA_SETS = ("coco_panoptic", "ade20k_parts", "pascal_part", "camvid")


def score_rows(limit: int) -> list[list[object]]:
    """Rows of the table `runtimes-scores`."""
    parsers = {name: RegionParser(device="cpu", **changes) for name, changes in SCORED.items()}
    scores: dict[str, list[list[tuple[float, float]]]] = {name: [] for name in parsers}
    agreement: dict[str, list[float]] = {name: [] for name in parsers}
    for data_set in DATA_SETS:
        dataset = open_dataset(SUBSETS / f"{data_set}.yaml", root=data_folder())
        for found in scores.values():
            found.append([])
        for sample in chosen_samples(dataset, limit):
            mask = dataset.truths(sample)[-1]
            trees = {name: parser.parse(sample.image) for name, parser in parsers.items()}
            exact = trees[BASE].cut(n_regions=24)
            for name, tree in trees.items():
                scored = scores_of(tree, mask, np.ones(mask.shape, bool), dataset)
                if scored is not None:
                    scores[name][-1].append(scored)
                agreement[name].append(adjusted_rand_index(exact, tree.cut(n_regions=24)))
    rows: list[list[object]] = []
    for name, found in scores.items():
        nm, nh = 100 * np.mean([np.mean(images, axis=0) for images in found if images], axis=0)
        agreed = agreement[name]
        rows.append([name, len(agreed), nm, nh, statistics.mean(agreed), min(agreed)])
    return rows


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--turns", type=int, default=7, help="timed turns  [7]")
    options.add_argument("--photos", type=int, default=8, help="for the agreement  [8]")
    options.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options.add_argument("--sizes", nargs="+", choices=GRIDS, default=list(GRIDS))
    options.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY")
    options.add_argument("--scores", type=int, metavar="N", help="score N images a data set")
    given = options.parse_args()
    print_heading(__file__)
    if given.scores:
        torch.set_num_threads(given.threads[0])
        print_results("runtimes-scores", score_rows(given.scores), given.csv, "scores")
        print_closing()
        return
    photos = first_photographs(given.photos)
    names = list(dict.fromkeys([BASE, *given.only]))
    rows = [
        row
        for threads in given.threads
        for shape in given.sizes
        for row in rows_of(shape, threads, photos, names, given.turns)
    ]
    print_results("runtimes", rows, given.csv)
    print_closing()


if __name__ == "__main__":
    if not is_child({"cost": cost}):
        main()
