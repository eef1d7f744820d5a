"""Suggested names: compared with a direct computation, on a small random CLIP."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_discover import SETTINGS, save_all
from torch.nn.functional import normalize
from typer.testing import CliRunner

from regiontree import Collection
from regiontree.backbones.textimage import TextImageModel
from regiontree.cli import app
from regiontree.collection import discover
from regiontree.collection.suggestions import read_labels, suggest
from regiontree.errors import BackboneError, CollectionError

transformers = pytest.importorskip("transformers", reason="the library whose networks these are")

CPU = torch.device("cpu")
LABELS = ["cat, tame", "sky", "b", "tree"]
SIDE, LENGTH = 16, 32


PIXELS = {
    "clip": ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]),
    "siglip": ([0.5] * 3, [0.5] * 3),
}


@pytest.fixture(scope="module", params=PIXELS)
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP or a SigLIP of random weights whose tokenizer knows letters."""
    folder = tmp_path_factory.mktemp(request.param)
    letters = [*"abcdefghijklmnopqrstuvwxyz,"]
    tokens = [*letters, *(f"{one}</w>" for one in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    transformers.CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    shared = {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 24,
    }  # fmt: skip
    end = vocabulary["<|endoftext|>"]
    text = {
        **shared, "vocab_size": len(tokens), "max_position_embeddings": LENGTH, "eos_token_id": end,
        "bos_token_id": end - 1, "pad_token_id": end,
    }  # fmt: skip
    vision = {**shared, "image_size": SIDE, "patch_size": 8}
    name = {"clip": "CLIP", "siglip": "Siglip"}[request.param]
    more = {"projection_dim": 12} if name == "CLIP" else {}
    torch.manual_seed(0)
    settings = getattr(transformers, f"{name}Config")
    config = settings(text_config=text, vision_config=vision, **more)
    model = getattr(transformers, f"{name}Model")(config)
    for weights in model.parameters():  # as they are made, all pictures look alike to it
        if weights.ndim > 1:
            weights.data *= 20
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    (tmp_path / "trees").mkdir()
    save_all(tmp_path / "trees", range(5))
    for seed in range(5):
        pixels = np.random.default_rng(seed).integers(0, 255, (5, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "trees" / f"{seed}.png")
    discover(tmp_path / "trees", tmp_path / "out", SETTINGS)
    return Collection.load(tmp_path / "out")


def expected(
    collection: Collection, network: Path, n: int, crops: int, prompt: str
) -> list[tuple[str, float]]:
    """Label and confidence of each category, by the library itself, one picture at a time."""
    model = transformers.AutoModel.from_pretrained(network).eval()
    kind = model.config.model_type
    tokenizer = transformers.CLIPTokenizer.from_pretrained(network)
    mean, deviation = (torch.tensor(one)[:, None, None] for one in PIXELS[kind])
    padding = {} if kind == "clip" else {"padding": "max_length", "max_length": LENGTH}

    def unit(found: Any) -> torch.Tensor:
        return normalize(getattr(found, "pooler_output", found)[0], dim=0)

    texts = []
    for label in LABELS:
        ids = tokenizer(prompt.format(label), return_tensors="pt", **padding)["input_ids"]
        texts.append(unit(model.get_text_features(input_ids=ids)))
    found = []
    for one in collection.categories(n):
        rows = []
        for region in collection.regions(one)[:crops]:
            tree = collection.forest[region.photo]
            y, x = np.nonzero(tree.mask(region.node))
            margin = round(0.1 * max(np.ptp(y) + 1, np.ptp(x) + 1))
            picture = np.array(Image.open(f"{collection.forest.address}/{int(region.photo)}.png"))
            crop = picture[max(y.min() - margin, 0) : y.max() + 1 + margin,
                           max(x.min() - margin, 0) : x.max() + 1 + margin]  # fmt: skip
            small = np.array(Image.fromarray(crop).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
            pixels = torch.from_numpy(small).permute(2, 0, 1) / 255
            pixels = (pixels - mean) / deviation
            rows.append(unit(model.get_image_features(pixel_values=pixels[None])))
        direction = normalize(torch.stack(rows).mean(dim=0), dim=0)
        logits = model.logit_scale.exp() * torch.stack(texts) @ direction
        chances = torch.softmax(logits, dim=0)
        found.append((LABELS[int(chances.argmax())], float(chances.max())))
    return found


@torch.no_grad()
@pytest.mark.parametrize("prompt", ["a photo of {}", "{} seen"])
def test_each_category_gets_the_nearest_label(
    collection: Collection, network: Path, prompt: str
) -> None:
    model = TextImageModel(network, CPU)
    found = suggest(collection, LABELS, model, n_categories=6, crops=3, prompt=prompt)
    assert found.failed == {}
    nodes = [one.node for one in collection.categories(6)]
    assert [one.category for one in found.suggestions] == nodes
    wanted = expected(collection, network, 6, 3, prompt)
    assert [one.label for one in found.suggestions] == [label for label, _ in wanted]
    chances = [one.confidence for one in found.suggestions]
    np.testing.assert_allclose(chances, [chance for _, chance in wanted], rtol=1e-3)
    assert len(set(chances)) > 1  # pictures matter


def test_texts_are_as_the_library_has_them_whatever_stands_beside(network: Path) -> None:
    model = TextImageModel(network, CPU)
    alone = torch.cat([model.of_texts([label]) for label in LABELS])
    torch.testing.assert_close(model.of_texts(LABELS * 10)[:4], alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.vector_norm(alone, dim=1), torch.ones(4))
    assert float((alone @ alone.T).min()) < 0.99


def test_the_command(collection: Collection, network: Path, tmp_path: Path) -> None:
    names = collection.folder / "collection.csv"
    collection.names.named(collection.tree.root, "mine").save(names, [])
    before = names.read_bytes()
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join([*LABELS, "", "sky"]), encoding="utf-8-sig")
    (tmp_path / "trees" / "3.png").unlink()
    arguments = [
        "name", collection.folder, "--labels", labels, "--backbone", network, "--categories", 4,
        "--crops", 50, "--prompt", "{}", "--device", "cpu", "--json",
    ]  # fmt: skip
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    told = json.loads(done.stdout)
    assert (done.exit_code, list(told["failed"])) == (1, ["003"])
    assert "3.png was not found" in done.stderr
    with (collection.folder / "collection-suggestions.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["category"]) for row in rows] == [x.node for x in collection.categories(4)]
    assert {row["suggestion"] for row in rows} <= set(LABELS)
    assert all(1 / len(LABELS) <= float(row["confidence"]) <= 1 for row in rows)
    assert names.read_bytes() == before


def test_what_cannot_be_is_refused(collection: Collection, network: Path, tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("\n \n")
    with pytest.raises(CollectionError, match="holds no labels"):
        read_labels(tmp_path / "none.txt")
    with pytest.raises(CollectionError, match="cannot be read"):
        read_labels(tmp_path / "missing.txt")
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(BackboneError, match="holds 'vit', which has no texts"):
        TextImageModel(tmp_path, CPU)
    model = TextImageModel(network, CPU)
    with pytest.raises(CollectionError, match="the prompt must contain"):
        suggest(collection, LABELS, model, prompt="a photo")
    for file in (tmp_path / "trees").glob("*.png"):
        file.unlink()
    with pytest.raises(CollectionError, match=r"no photograph can be read: .*was not found"):
        suggest(collection, LABELS, model)
    for file in ("config.json", "model.safetensors", "tokenizer_config.json"):
        shutil.copy(network / file, tmp_path / file)
    with pytest.raises(BackboneError, match="holds no tokenizer"):
        TextImageModel(tmp_path, CPU)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BackboneError, match="its tokenizer cannot be read"):
        TextImageModel(tmp_path, CPU)
    vocabulary = {f"{i}</w>": i for i in range(200)} | {
        "<|startoftext|>": 200,
        "<|endoftext|>": 201,
    }
    transformers.CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match="its tokenizer has 202 tokens and the network 56"):
        TextImageModel(tmp_path, CPU)
