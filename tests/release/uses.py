"""The smallest use of each extra, run by the Python of an environment that has it.

    python tests/release/uses.py NAME

makes files in the current folder, which is empty. It ends with 0 if the extra did its work. Without
the extra its last line on stderr names the extra. So the same use shows both: `extras.py` runs it
with the extra, and in an environment without any.

Nothing here imports what an extra brings, but for files that a use needs beforehand.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

import regiontree
from regiontree import RegionParser, RegionTree
from regiontree.errors import MissingExtraError, RegionTreeError

USES: dict[str, Callable[[], None]] = {}


def use(function: Callable[[], None]) -> Callable[[], None]:
    USES[function.__name__.strip("_")] = function
    return function


def small_tree() -> RegionTree:
    """Four quarters of 64 x 64 pixels below two halves below the root."""
    labels = np.kron([[0, 1], [2, 3]], np.ones((32, 32), int))
    return RegionTree(labels, [4, 4, 5, 5, 6, 6, 6], [0, 0, 0, 0, 0.5, 0.5, 1.0])


def photograph(name: str = "photo.png") -> Path:
    """A photograph of four colours, with noise."""
    colours = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [200, 200, 40]])
    pixels = np.kron(np.arange(4).reshape(2, 2), np.ones((56, 56), int))
    noise = np.random.default_rng(0).integers(-20, 20, (112, 112, 3))
    Image.fromarray((colours[pixels] + noise).astype(np.uint8)).save(name)
    return Path(name)


def features(name: str = "photo.npy") -> Path:
    """Features of the photograph: 8 x 8 patches, whose four quarters differ."""
    quarters = np.kron(np.arange(4).reshape(2, 2), np.ones((4, 4), int))
    noise = np.random.default_rng(1).normal(0, 0.1, (8, 8, 6))
    np.save(name, (np.eye(6)[quarters] + noise).astype(np.float32))
    return Path(name)


def command(*arguments: object) -> None:
    """Runs ``regiontree``. If it fails, its stderr is ours, and so is its exit code."""
    run = subprocess.run(
        [sys.executable, "-m", "regiontree", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    if run.returncode:
        print(run.stderr, file=sys.stderr)
        sys.exit(run.returncode)


@contextlib.contextmanager
def served(*arguments: object) -> Iterator[str]:
    """``regiontree`` with a command that serves, and the address that it says."""
    started = subprocess.Popen(
        [sys.executable, "-m", "regiontree", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert started.stdout is not None
    try:
        said = ""
        while not (address := re.search(r"http://[\w.:\[\]]+\S*", said)):
            line = started.stdout.readline()
            if not line:
                print(said, file=sys.stderr)
                sys.exit(started.wait(30))
            said += line
        yield address[0]
    finally:
        started.terminate()
        started.communicate(timeout=60)


def fetched(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=60) as answer:
        return bytes(answer.read())


@use
def none() -> None:
    """What needs no extra: features of one's own, trees, files, pictures, a page, a command."""
    photograph()
    features()
    command("--help")
    command("segment", "photo.png", "-o", "trees", "--backbone", "precomputed:.", "--pictures")
    tree = RegionTree.load("trees/photo.npz")
    assert tree.cut(n_regions=4).max() == 3
    command("view", "trees/photo.npz", "--images", "photo.png", "--html", "page.html")
    assert b"<html" in Path("page.html").read_bytes()
    command("export", "trees/photo.npz", "--to", "newick", "--out", "newick")
    command("settings")


@use
def embedded() -> None:
    photograph()
    command("segment", "photo.png", "-o", "trees", "--size", 112)
    assert RegionTree.load("trees/photo.npz").cut(n_regions=4).max() == 3


@use
def hub() -> None:
    folder = Path("network")
    folder.mkdir()
    config = {"model_type": "dinov2", "hidden_size": 32, "num_hidden_layers": 2,
              "num_attention_heads": 2, "image_size": 112, "patch_size": 14,
              "architectures": ["Dinov2Model"]}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"weight": torch.zeros(1)}, folder / "model.safetensors")
    with contextlib.suppress(ImportError):  # without it, what is not there is said below
        from transformers import Dinov2Config, Dinov2Model

        Dinov2Model(Dinov2Config(**config)).save_pretrained(folder)
    RegionParser(backbone=str(folder.resolve()), device="cpu", size=112).parse(photograph())
    import huggingface_hub  # noqa: F401  from here on the extra is there


@use
def onnx() -> None:
    path = Path("network.onnx")
    path.write_bytes(b"")
    with contextlib.suppress(ImportError):
        from onnx import TensorProto, helper, numpy_helper, save

        # One convolution: patches of 14 x 14 pixels to eight numbers each.
        weight = np.random.default_rng(2).normal(size=(8, 3, 14, 14)).astype(np.float32)
        node = helper.make_node("Conv", ["x", "w"], ["y"], strides=[14, 14])
        shape_in, shape_out = ["n", 3, "h", "w"], ["n", 8, "rows", "columns"]
        graph = helper.make_graph(
            [node], "patches",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape_in)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape_out)],
            [numpy_helper.from_array(weight, "w")],
        )  # fmt: skip
        opset = [helper.make_opsetid("", 17)]
        save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    RegionParser(backbone=f"onnx:{path}", device="cpu", size=112).parse(photograph())


@use
def openvino() -> None:
    photograph()
    command("segment", "photo.png", "-o", "trees", "--size", 112, "--device", "cpu",
            "--set", "backbone.runtime=openvino")  # fmt: skip
    import openvino as package

    assert package.__version__


@use
def superpixels() -> None:
    photograph()
    features()
    command("segment", "photo.png", "-o", "trees", "--backbone", "precomputed:.",
            "--set", "parts.method=slic")  # fmt: skip


@use
def viewer() -> None:
    photograph()
    small_tree().save("photo.npz")
    with served("view", "photo.npz", "--images", "photo.png", "--no-browser") as address:
        assert b"<html" in fetched(address)


@use
def labelstudio() -> None:
    features()
    with served("label-studio", "--port", 0, "--backbone", "precomputed:.") as address:
        found = re.match(r"http://[^/\s]+", address)
        assert found is not None
        assert b"UP" in fetched(found[0] + "/health")


@use
def app() -> None:
    from regiontree.plugins.gradio import make_app

    assert make_app({"preset": "fast"}).title == "regiontree"


@use
def video() -> None:
    from regiontree.display.film import save_film
    from regiontree.frames import open_frames
    from regiontree.tree import ClipTree

    labels = np.zeros((3, 64, 64), int)
    labels[:, :, 32:] = 1
    film = save_film(ClipTree(labels, [2, 2, 2], [0, 0, 1]), "film.mp4", width=64)
    assert [frame.image.size for frame in open_frames(film)] == [(64, 64)] * 3


@use
def cvat() -> None:
    from regiontree.bridges.cvat import create

    features("features.npy")
    assert create(backbone="precomputed:features.npy").spec is not None


@use
def plot() -> None:
    small_tree().show().savefig("tree.png")
    assert Path("tree.png").stat().st_size > 1000


@use
def export() -> None:
    tree = small_tree()
    tree.save("tree.npz")
    assert len(tree.to_networkx()) == 7
    assert len(tree.to_coco()["annotations"]) == 6
    command("export", "tree.npz", "--to", "coco", "--out", "coco")


@use
def geo() -> None:
    small_tree().save("tree.npz")
    photograph("tree.png")
    command("export", "tree.npz", "--to", "geopackage", "--out", "maps")
    command("export", "tree.npz", "--to", "geotiff", "--out", "maps")


@use
def higra() -> None:
    tree, altitudes, _ = small_tree().to_higra()
    assert tree.num_vertices() == len(altitudes)


@use
def supervision() -> None:
    assert len(small_tree().to_supervision()) > 0


@use
def store() -> None:
    Path("trees").mkdir()
    small_tree().save("trees/one.npz")
    command("convert", "trees", "-o", "store")
    assert len(regiontree.Forest("store")) == 1


@use
def s3() -> None:
    from regiontree.references.remote import size_of

    # Nothing answers there. Before that is found out, s3fs must be there.
    try:
        size_of("s3://regiontree-no-such-bucket/photo.png")
    except MissingExtraError:
        raise
    except RegionTreeError:
        import s3fs

        assert s3fs.__version__


@use
def ray() -> None:
    photograph()
    features()
    command("segment", "photo.png", "-o", "store", "--backbone", "precomputed:.",
            "--engine", "ray")  # fmt: skip
    assert len(regiontree.Forest("store")) == 1


@use
def search() -> None:
    from regiontree.collection.approximate import Approximate

    rows = np.random.default_rng(3).normal(size=(500, 8)).astype(np.float16)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert 7 in Approximate.build(rows).candidates(rows[7].astype(np.float32), 20)


@use
def fiftyone() -> None:
    from regiontree.export.fiftyone import require_fiftyone

    package = require_fiftyone()  # its database is tried by tests/bridges
    assert package.Detection(label="region").label == "region"


@use
def napari() -> None:
    from importlib.metadata import entry_points
    from importlib.util import find_spec

    (point,) = entry_points(group="napari.manifest", name="regiontree")
    if find_spec("npe2") is None:
        sys.exit("the plugin of napari needs napari: pip install 'regiontree[napari]'")
    from npe2 import PluginManifest

    from regiontree.plugins.napari.files import get_tree_reader

    manifest = PluginManifest.from_distribution("regiontree")
    assert manifest.contributions.widgets, point
    small_tree().save("tree.npz")
    read = get_tree_reader("tree.npz")
    assert read is not None
    assert read("tree.npz")[0][2] == "labels"


@use
def all_() -> None:
    for name, one in USES.items():
        if name not in ("all", "fiftyone"):
            folder = Path(name)
            folder.mkdir()
            with contextlib.chdir(folder):
                one()


def main(name: str) -> None:
    """Runs one use; a missing extra is one line."""
    try:
        USES[name]()
    except MissingExtraError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1])
