"""What does each family of networks cost, in time and memory, beside the embedded one?

Question
    How many images a second does each kind of network take to patch features here, and with how
    much memory: in float32, in bfloat16, and compiled?
Method
    Networks of the catalogue's shapes with random weights, which cost as much as trained ones, made
    here and loaded as those are. Each runs in a process of its own, on one photograph of size x
    size pixels (rounded to whole patches), in turn with the embedded network in the same precision
    (float32, not compiled, beside a compiled one); the ratio is the median over turns.
    Memory is the most that the process held above what it held before loading (weights included),
    and on CUDA what torch's allocator had given out at most.
Printed
    One row a network, size and way: parameters, patches, images a second, time as a multiple of the
    embedded network's, memory.
Target
    The same network as the embedded one takes at most 1.1 times as long through transformers.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from _common import (
    MB,
    PeakMemory,
    arguments,
    interleave,
    is_child,
    photographs,
    print_closing,
    print_heading,
    print_results,
    print_target,
    ratio,
    resident,
    run_child,
)

from regiontree.backbones import Backbone, FeatureSpec, pick_device
from regiontree.backbones.compiler import compiled
from regiontree.backbones.embedded import EmbeddedBackbone
from regiontree.backbones.run import run_batch
from regiontree.images import grid_of, load_image, to_pixels

_SMALL = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
_BASE = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
_DINO2 = {"patch_size": 14, "image_size": 518}
# Name in the catalogue -> classes in transformers, and how it differs from the class's own shape.
NETWORKS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "dinov2_vits14": (
        "Dinov2Config", "Dinov2Model",
        _DINO2 | {"hidden_size": 384, "num_attention_heads": 6},
    ),
    "dinov2_vitb14_reg": (
        "Dinov2WithRegistersConfig", "Dinov2WithRegistersModel",
        _DINO2 | {"hidden_size": 768, "num_attention_heads": 12},
    ),
    "dinov3_vits16": (
        "DINOv3ViTConfig", "DINOv3ViTModel", _SMALL | {"num_register_tokens": 4, "patch_size": 16},
    ),
    "dino_vits16": ("ViTConfig", "ViTModel", _SMALL | {"patch_size": 16}),
    "dino_vits8": ("ViTConfig", "ViTModel", _SMALL | {"patch_size": 8}),
    "dino_vitb16": ("ViTConfig", "ViTModel", _BASE | {"patch_size": 16}),
    "deit_vits16": ("DeiTConfig", "DeiTModel", _SMALL | {"patch_size": 16}),
    "mae_vitb16": ("ViTMAEConfig", "ViTMAEModel", _BASE | {"patch_size": 16}),
    "clip_vitb16": ("CLIPVisionConfig", "CLIPVisionModel", _BASE | {"patch_size": 16}),
    "siglip_vitb16": ("SiglipVisionConfig", "SiglipVisionModel", _BASE | {"patch_size": 16}),
    "ijepa_vith14": (
        "IJepaConfig", "IJepaModel",
        {"hidden_size": 1280, "num_attention_heads": 16, "intermediate_size": 5120,
         "num_hidden_layers": 32, "patch_size": 14, "image_size": 224},
    ),
}  # fmt: skip
QUICK = [name for name in NETWORKS if name not in ("dino_vits8", "ijepa_vith14")]
WAYS = ("float32", "bfloat16", "float16", "compiled")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=NETWORKS,
        default=QUICK,
        metavar="NETWORK",
        help=f"of {', '.join(NETWORKS)}; all but the slowest two by default",
    )
    parser.add_argument("--sizes", nargs="+", type=int, default=[518], help="pixels (518)")
    parser.add_argument(
        "--ways",
        nargs="+",
        choices=WAYS,
        default=["float32", "bfloat16"],
        help=f"of {', '.join(WAYS)}; compiled takes a minute a network",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N or mps (cpu)")
    parser.add_argument("--batch", type=int, default=1, help="images at once (1)")
    parser.add_argument("--repeats", type=int, default=3, help="timed turns (3)")
    options = parser.parse_args()  # fmt: skip
    print_heading(__file__)
    photo = photographs(1)[0]
    if not isinstance(photo.source, Path):
        raise SystemExit("no photograph: neither a data folder nor examples/ is there")

    rows = [
        (name, size, way, run_child(
            __file__, "measure", name=name, size=size, way=way, photo=str(photo.source),
            device=options.device, batch=options.batch, repeats=options.repeats,
        ))
        for size in options.sizes
        for name in options.only
        for way in options.ways
    ]  # fmt: skip
    print("Time of embedded = 1:\n")
    print_results(
        "backbones",
        [(name, size, way, found["parameters"], found["patches"], found["rate"], found["ratio"],
          found["memory"], found["cuda"] or None)
         for name, size, way, found in rows],
        options.csv,
    )  # fmt: skip
    same = [found["ratio"] for name, _, way, found in rows
            if name == "dinov2_vits14" and way != "compiled"]  # fmt: skip
    if same:
        print_target("dinov2_vits14 at most 1.1 times the embedded network", met=max(same) <= 1.1)
    print_closing()


def measure(
    name: str, size: int, way: str, photo: str, device: str, batch: int, repeats: int
) -> dict[str, Any]:
    """Time and memory of one network, in turn with the embedded one."""
    where = pick_device(device)
    dtype = torch.float32 if way == "compiled" else getattr(torch, way)
    image = load_image(Path(photo))

    def pixels_for(backbone: Backbone) -> torch.Tensor:
        grid = grid_of(image.size, (round(size / backbone.patch) * backbone.patch,) * 2,
                       backbone.patch)  # fmt: skip
        return to_pixels(image.rgb, grid, backbone.patch).expand(batch, -1, -1, -1).to(where)

    def run(backbone: Backbone) -> None:
        run_batch(backbone, pixels_of[backbone.name])
        if where.type == "cuda":
            torch.cuda.synchronize(where)

    with tempfile.TemporaryDirectory() as folder:
        parameters = make(name, Path(folder))
        base = resident()
        with PeakMemory(base) as memory:
            network = load(name, Path(folder), where, dtype)
            if way == "compiled":
                network = compiled(network)
            pixels_of = {network.name: pixels_for(network)}
            run(network)
    cuda = torch.cuda.max_memory_allocated(where) if where.type == "cuda" else 0
    embedded = EmbeddedBackbone(where, dtype, FeatureSpec(facet="token"))
    pixels_of["embedded"] = pixels_for(embedded)
    times = interleave(
        {"network": lambda: run(network), "embedded": lambda: run(embedded)}, repeats
    )
    grid = [side // network.patch for side in pixels_of[network.name].shape[2:]]
    return {
        "parameters": parameters / 1e6,
        "patches": grid[0] * grid[1],
        "rate": batch / statistics.median(times["network"]),
        "ratio": ratio(times["network"], times["embedded"]),
        "memory": memory.extra / MB,
        "cuda": cuda / MB,
    }


def make(name: str, folder: Path) -> int:
    """A network of that shape with random weights in a folder; its number of parameters."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    config, model, shape = NETWORKS[name]
    network = getattr(transformers, model)(getattr(transformers, config)(**shape))
    network.save_pretrained(folder)
    return int(network.num_parameters())


def load(name: str, folder: Path, device: torch.device, dtype: torch.dtype) -> Backbone:
    from regiontree.backbones.huggingface import HuggingFaceBackbone

    return HuggingFaceBackbone(
        folder, device, dtype, FeatureSpec(facet="token"), name=name, digest="random weights"
    )


if __name__ == "__main__":
    if not is_child({"measure": measure}):
        main()
