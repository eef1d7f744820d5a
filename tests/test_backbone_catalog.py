"""The catalogue of backbones: consistent in itself, with the loader, and with its page."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from conftest import ROOT

from regiontree.backbones.architectures import ARCHITECTURES
from regiontree.backbones.catalog import CATALOG, Entry
from regiontree.backbones.weights import find_model
from regiontree.errors import BackboneError

PAGE = ROOT / "docs" / "backbones.md"
HEADS = "| name | weights | revision | patch | width | blocks | prefix | MB | licence | |"


def row(entry: Entry) -> str:
    if entry.hub_id:
        source = f"[{entry.hub_id}](https://huggingface.co/{entry.hub_id})"
    else:
        source = f"[{str(entry.url).rpartition('/')[2]}]({entry.url})"
    notes = ["gated"] * entry.gated + [entry.note] * bool(entry.note)
    cells = (
        f"`{entry.name}`",
        source,
        f"`{entry.revision[:7]}`" if entry.revision else "–",
        entry.patch,
        entry.width,
        entry.depth,
        entry.prefix,
        entry.megabytes or "–",
        entry.licence,
        "; ".join(notes),
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def table() -> str:
    return "\n".join(
        [HEADS, "|---|---|---|--:|--:|--:|--:|--:|---|---|", *map(row, CATALOG.values())]
    )


def test_the_page_shows_the_catalogue():
    """The table is generated: on a difference, put what is printed here in its place."""
    assert table() in PAGE.read_text(encoding="utf-8"), f"docs/backbones.md must have\n{table()}"


def test_the_page_names_the_families_that_load():
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    listed = re.search(r"config.json is one of: ([^.]*)\.", text)[1]
    assert listed.replace("`", "").split(", ") == [*ARCHITECTURES, "resnet"]


def test_the_page_s_own_model_is_a_backbone(monkeypatch):
    monkeypatch.chdir(ROOT)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    exec(block, names)  # our own file
    assert names["tree"].meta["backbone"]["name"].startswith("colours")
    assert names["tree"].n_leaves > 1


@pytest.mark.parametrize("entry", CATALOG.values(), ids=lambda entry: entry.name)
def test_entries_are_well_formed(entry):
    assert (entry.hub_id is None) != (entry.url is None)
    assert entry.revision is None or re.fullmatch("[0-9a-f]{40}", entry.revision)
    assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256)
    assert entry.sha256 is None or entry.revision or entry.url  # of which commit, otherwise?
    assert entry.url is None or entry.url.startswith("https://")
    assert entry.gated == (entry.family == "DINOv3")
    assert entry.megabytes is None or 10 < entry.megabytes < 30_000


def test_names_and_sources_are_each_used_once():
    assert all(name == entry.name for name, entry in CATALOG.items())
    sources = [entry.hub_id or entry.url for entry in CATALOG.values()]
    assert len(set(sources)) == len(sources)
    revisions = [entry.revision for entry in CATALOG.values() if entry.revision]
    assert len(set(revisions)) == len(revisions)


def test_sizes_of_files_are_those_of_their_networks():
    """A block has 4 width² parameters in its attention and mostly 8 in its MLP, of 4 bytes each."""
    for entry in CATALOG.values():
        if entry.megabytes is None or "_vit" not in entry.name:
            continue
        mlp = 12 if entry.name.endswith("plus") else 6 if "7b" in entry.name else 8
        least = (4 + mlp) * entry.width**2 * entry.depth * 4 / 1e6
        # MAE has a decoder, the others text encoders, SigLIP 2's with 256,000 words.
        more = {"MAE": 1.35, "CLIP": 1.8, "SigLIP": 2.4, "SigLIP 2": 4.5}.get(entry.family, 1.05)
        assert least < entry.megabytes < least * more + 6, entry.name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dino_vits8", (8, 384, 12, 1)),
        ("dinov2_vitg14_reg", (14, 1536, 40, 5)),
        ("dinov3_vith16plus", (16, 1280, 32, 5)),
        ("dinov3_vit7b16", (16, 4096, 40, 5)),
        ("mae_vith14", (14, 1280, 32, 1)),
        ("mocov3_vits16", (16, 384, 12, 1)),
        ("deit_vitt16_distilled", (16, 192, 12, 2)),
        ("clip_vitl14", (14, 1024, 24, 1)),
        ("siglip_vitso14", (14, 1152, 27, 0)),
        ("ijepa_vith14", (14, 1280, 32, 0)),
        ("dino_resnet50", (32, 2048, 4, 0)),
    ],
)
def test_shapes_of_the_field(name, expected):
    entry = CATALOG[name]
    assert (entry.patch, entry.width, entry.depth, entry.prefix) == expected


def test_the_catalogue_cannot_be_changed_by_accident():
    entry = CATALOG["dinov2_vits14"]
    with pytest.raises(TypeError):
        CATALOG["dinov2_vits14"] = replace(entry, hub_id="someone/else")  # type: ignore[index]


def test_every_name_is_its_own_nearest():
    """A slip in a long name suggests that name, not one of its many neighbours."""
    for name in CATALOG:
        with pytest.raises(BackboneError, match=f"did you mean '{name}'"):
            find_model(name.upper() + "_")
