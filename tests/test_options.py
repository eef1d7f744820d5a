"""Every option of the command line does what its line in ``--help`` says."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from conftest import EXAMPLE
from trees import random_tree
from typer.testing import CliRunner, Result

from regiontree import RegionTree, Settings
from regiontree.cli import app
from regiontree.clips.command import Selected

GROUP = typer.main.get_command(app)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)


# -- options that are settings --------------------------------------------------------------------

SETTINGS = {
    "--backbone precomputed": {"backbone": "precomputed"},
    "--size 140": {"view.size": 140},
    "--size 140x280": {"view.size": (140, 280)},
    "--views 2": {"view.views": 2},
    "--tiles own": {"view.tiles": "own"},
    "--tiles 1036": {"view.tiles": 1036},
    "--kernel 140 --stride 70": {"view.kernel": 140, "view.stride": 70},
    "--layers 9,12": {"backbone.layers": (9, 12)},
    "--facet key": {"backbone.facet": "key"},
    "--positions published": {"backbone.positions": "published"},
    "--dtype float32": {"backbone.dtype": "float32"},
    "--tree recursive": {"tree": "recursive"},
    "--parts 20": {"parts.count": 20},
    "--tree recursive --max-ncut 0.5": {"tree": "recursive", "tree.max_ncut": 0.5},
    "--tree recursive --max-perturbation 9": {"tree": "recursive", "tree.max_perturbation": 9},
    "--tree recursive --levels 3": {"tree": "recursive", "tree.levels": 3},
    "--refine none": {"refine": "none"},
    "--seed 7": {"seed": 7},
    "--embeddings": {"embeddings": True},
    "--no-embeddings": {"embeddings": False},
    "--preset published": {"preset": "published"},
    "--set parts.count=21 --set seed=3": {"parts.count": 21, "seed": 3},
}


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The parser and the rest of what `segment` hands to the work, which is not done."""
    seen: list[Any] = []
    monkeypatch.setattr(
        "regiontree.engines.command.run",
        lambda parser, paths, out, **rest: seen.append((parser, paths, out, rest)) or 0,
    )
    return seen


@pytest.mark.parametrize("said", SETTINGS)
def test_an_option_is_its_setting(said: str, parsed: list[Any]) -> None:
    assert call("segment", EXAMPLE, "-o", "out", *said.split()).exit_code == 0
    ((parser, *_),) = parsed
    changes = dict(SETTINGS[said])
    assert parser.settings == Settings.make(changes.pop("preset", "default"), **changes)


OF_CLIPS = {"--clip", "--joint", "--every", "--fps", "--start", "--end"}


def test_options_of_clips_reach_their_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        "regiontree.clips.command.run", lambda *given, **named: seen.append((given, named)) or 0
    )
    said = "--clip --every 2 --fps 5 --start 1.5 --end 9 --overwrite --json --set clip.window=20"
    assert call("segment", "a", "b", "-o", tmp_path, *said.split()).exit_code == 0
    assert call("segment", "a", "-o", tmp_path, "--joint").exit_code == 0
    (given, named), ((*_, joint), _) = seen
    assert given[1:] == (
        ["a", "b"], tmp_path, {"window": 20}, Selected(2, 5.0, 1.5, 9.0, False),
    )  # fmt: skip
    assert named == {"overwrite": True, "as_json": True, "refused": []}
    assert joint == Selected(joint=True)
    assert (
        set(re.findall(r"--\S+", said)) - {"--overwrite", "--json", "--set"} | {"--joint"}
        == OF_CLIPS
    )


def test_every_setting_with_an_option_is_tried() -> None:
    """A new option of `segment` needs a line in `SETTINGS`, or one of the tests named here."""
    others = {
        "--out", "--config", "--device", "--compile", "--max-pixels", "--mask", "--bands",
        "--page", "--overwrite", "--pictures", "--json", "--workers", "--engine", "--ray-address",
        "--format", "--column", "--id-column", *OF_CLIPS,
    }  # fmt: skip
    given = GROUP.commands["segment"].params
    options = {
        max(names, key=len) for one in given for names in (one.opts, one.secondary_opts) if names
    }
    assert options - {"paths"} == others | set(re.findall(r"--\S+", " ".join(SETTINGS)))


def test_the_other_options_of_segment_reach_the_work(parsed: list[Any], tmp_path: Path) -> None:
    done = call(
        "segment", EXAMPLE, "b.jpg", "-o", tmp_path, "--device", "cpu", "--compile", "--mask", "m",
        "--max-pixels", 900, "--bands", "4,3,2", "--page", 5, "--overwrite", "--pictures", "--json",
        "--workers", 3,
    )  # fmt: skip
    assert done.exit_code == 0
    ((parser, paths, out, rest),) = parsed
    assert (list(map(str, paths)), out) == ([str(EXAMPLE), "b.jpg"], tmp_path)
    assert rest == {
        "overwrite": True, "pictures": True, "as_json": True, "mask": Path("m"), "workers": 3,
    }  # fmt: skip
    assert (parser.device.type, parser.sight.max_pixels) == ("cpu", 900)
    assert (parser.sight.choice.bands, parser.sight.choice.page) == ((4, 3, 2), 5)


def test_the_options_of_a_store_reach_the_work(
    parsed: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        "regiontree.engines.storing.run",
        lambda parser_on, paths, out, chosen, **rest: (
            seen.append((parser_on("cpu"), paths, out, chosen, rest)) or 0
        ),
    )
    done = call(
        "segment", "list.parquet", "s3://photos/", "-o", "s3://trees/", "--engine", "ray",
        "--ray-address", "head:6379", "--format", "parquet", "--column", "url",
        "--id-column", "key", "--workers", 3, "--device", "cuda", "--parts", 20, "--json",
        "--overwrite",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert not parsed
    ((parser, paths, out, chosen, rest),) = seen
    assert (paths, out) == (["list.parquet", "s3://photos/"], "s3://trees/")
    assert asdict(chosen) == {
        "engine": "ray", "format": "parquet", "device": "cuda", "ray_address": "head:6379",
        "column": "url", "id_column": "key", "workers": 3,
    }  # fmt: skip
    assert parser.settings.parts.count == 20
    assert (rest["as_json"], rest["refused"]) == (True, ["--overwrite"])


@pytest.mark.parametrize("number", [0, -1])
def test_a_limit_of_no_pixels_is_refused(number: int, parsed: list[Any]) -> None:
    done = call("segment", EXAMPLE, "-o", "out", "--max-pixels", number)
    assert done.exit_code == 2
    assert "max_pixels" in done.stderr
    assert str(number) in done.stderr


def test_crops_need_both_of_their_options() -> None:
    for one in ("--kernel", "--stride"):
        done = call("segment", EXAMPLE, "-o", "out", one, 140)
        assert done.exit_code == 2
        assert "kernel" in done.stderr
        assert "stride" in done.stderr


DEFAULTS = {
    "--size": "view.size", "--views": "view.views", "--facet": "backbone.features.facet",
    "--positions": "backbone.features.positions", "--dtype": "backbone.dtype",
    "--parts": "parts.count", "--seed": "seed", "--backbone": "backbone.name",
}  # fmt: skip
RECURSIVE = {
    "--max-ncut": "tree.max_ncut", "--max-perturbation": "tree.max_perturbation",
    "--levels": "tree.levels",
}  # fmt: skip


def test_help_says_the_defaults_of_the_settings() -> None:
    helps = {max(one.opts, key=len): one for one in GROUP.commands["segment"].params}
    for names, settings in (
        (DEFAULTS, Settings.make()),
        (RECURSIVE, Settings.make(tree="recursive")),
    ):
        for option, key in names.items():
            value: Any = settings
            for part in key.split("."):
                value = getattr(value, part)
            (said,) = re.findall(r"\[default: (.*?)\]", " ".join(helps[option].help.split()))
            assert type(value)(said) == value, option
    from regiontree.images import MAX_PIXELS

    assert f"[default: {MAX_PIXELS}]" in helps["--max-pixels"].help
    assert Settings.make() == Settings.make(tree="ward", refine="guided")


# -- options of the other commands ---------------------------------------------------------------

CALLS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "export": (
        "regiontree.export.command.run",
        "t.npz --to coco -o o --images p --images q --regions 3 --height 0.2 --depth 4 "
        "--contrast 0.3 --salient 5 --pieces --min-area 9 --condense 6 --min-stability 0.5 "
        "--all-nodes --granularities 2,3 --transform none --crs EPSG:4326 --url-prefix s3:// "
        "--link --option a=1 --option b=2 --overwrite --json",
        {
            "images": [Path("p"), Path("q")], "n_regions": 3, "height": 0.2, "depth": 4,
            "contrast": 0.3, "salient": 5, "pieces": True, "min_area": 9, "condense": 6,
            "min_stability": 0.5, "all_nodes": True, "granularities": "2,3", "transform": "none",
            "crs": "EPSG:4326", "url_prefix": "s3://", "link": True,
            "assignments": ["a=1", "b=2"],
            "overwrite": True, "as_json": True,
        },
    ),
    "view": (
        "regiontree.viewer.command.view",
        "t.npz --images p --html h --host 0.0.0.0 --port 8 --no-browser --longest 9 --pieces "
        "--min-area 9 --overwrite --preset fast --refine none --set seed=3 --bands 1 --page 2 "
        "--device cpu",
        {
            "images": [Path("p")], "html": Path("h"), "host": "0.0.0.0", "port": 8,
            "open_browser": False, "longest": 9, "pieces": True, "min_area": 9, "overwrite": True,
            "parser_options": {
                "device": "cpu", "bands": "1", "page": 2, "preset": "fast",
                "refine.method": "none", "seed": 3,
            },
        },
    ),
    "gallery": (
        "regiontree.viewer.command.gallery",
        "t.npz -o site --images p --title T --longest 9 --pieces --min-area 7 --overwrite "
        "--preset fast --refine none --set seed=3 --bands 1 --page 2 --device cpu",
        {
            "images": [Path("p")], "title": "T", "longest": 9, "pieces": True, "min_area": 7,
            "overwrite": True,
            "parser_options": {
                "device": "cpu", "bands": "1", "page": 2, "preset": "fast",
                "refine.method": "none", "seed": 3,
            },
        },
    ),
    "evaluate": (
        "regiontree.experiments.terminal.evaluate",
        "t --dataset d --split s --root r --protocol pixel --protocol grid --match hungarian "
        "--threshold 0.5 --budgets 2,3 --metric boundary --metric bsds -o o --json",
        {
            "protocols": ("pixel", "grid"), "match": "hungarian", "threshold": 0.5,
            "budgets": "2,3", "metrics": ["boundary", "bsds"], "out": Path("o"), "as_json": True,
        },
    ),
    "app": (
        "regiontree.plugins.gradio.command.serve_app",
        "--host 0.0.0.0 --port 8000 --max-side 640 --example a.jpg --example b.jpg "
        "--preset fast --set parts.count=9 --refine none --backbone embedded --device cpu",
        {
            "host": "0.0.0.0", "port": 8000, "max_side": 640,
            "examples": [Path("a.jpg"), Path("b.jpg")],
        },
    ),
    "evaluate --categories": (
        "regiontree.experiments.terminal.categories",
        "c --dataset d --split s --root r --depth 2 --depth 1 --names 5,7 -o o --json",
        {"depths": (2, 1), "names": "5,7", "out": Path("o"), "as_json": True},
    ),
}  # fmt: skip


OF_COLLECTIONS = {"--categories", "--split"}


def test_options_of_a_collection_reach_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "collection.json").write_text("{}")
    seen: list[Any] = []
    monkeypatch.setattr(
        "regiontree.collection.exportcommand.run", lambda *given, **named: seen.extend(given) or 0
    )
    said = "--to coco -o o --categories 3 --split s.csv --link --url-prefix s3:// --regions 4"
    assert call("export", tmp_path, *said.split()).exit_code == 0
    folder, form, out, flags = seen
    assert (folder, form, out) == (str(tmp_path), "coco", Path("o"))
    assert {name: value for name, value in flags.items() if value is not None} == {
        "n_categories": 3, "split": "s.csv", "link": True, "url_prefix": "s3://", "n_regions": 4,
    }  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_options_reach_the_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, said, expected = CALLS[name]
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(place, lambda *_, **named: seen.append(named) or 0)
    assert call(*name.split(), *said.split()).exit_code == 0
    assert seen == [expected]
    command = name.split()[0]
    options = {max(one.opts, key=len) for one in GROUP.commands[command].params}
    lines = [f"{key} {CALLS[key][1]}" for key in CALLS if key.split()[0] == command]
    tried = {"--out"} | (OF_COLLECTIONS if command == "export" else set())
    tried |= set(re.findall(r"--\S+", " ".join(lines).replace("--no-browser", "--browser")))
    assert {one for one in options if one.startswith("--")} - {"--config"} <= tried | {"--help"}


def test_options_of_run_replace_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        "regiontree.experiments.config.load_experiment",
        lambda path, **named: seen.append((path, named)) or "experiment",
    )
    monkeypatch.setattr("regiontree.experiments.plan.prepare", lambda _: "plan")
    monkeypatch.setattr(
        "regiontree.experiments.terminal.run",
        lambda plan, **named: seen.append((plan, named)) or 0,
    )
    said = (
        "--conf c.json --model embedded --output_root o --dataset d --split s --root r "
        "--datasets_config j --stage trees --stage evaluate --size 140 --refine none --set seed=3 "
        "--device cpu --compile --overwrite --json"
    )
    assert call("run", *said.split()).exit_code == 0
    assert seen == [
        (
            Path("c.json"),
            {
                "model": "embedded", "output": "o", "dataset": "d", "split": "s", "root": "r",
                "datasets_config": "j", "stages": ["trees", "evaluate"], "size": "140",
                "refine": "none", "changes": {"seed": 3}, "preset": None,
            },
        ),
        ("plan", {"device": "cpu", "compile": True, "overwrite": True, "as_json": True}),
    ]  # fmt: skip
    for wrong in ("", "a.yaml --conf b.yaml"):
        assert call("run", *wrong.split()).exit_code == 2


# -- how far a tree is shown ----------------------------------------------------------------------


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return random_tree(np.random.default_rng(3), 40, (30, 30)).save(tmp_path / "t.npz")


def test_text_goes_down_to_the_cut_that_was_asked_for(large: Path) -> None:
    tree = RegionTree.load(large)
    assert call("show", large).stdout.rstrip("\n") == tree.to_text(n_regions=20)
    assert call("show", large, "--regions", 5).stdout.rstrip("\n") == tree.to_text(n_regions=5)
    assert call("show", large, "--depth", 2).stdout.rstrip("\n") == tree.to_text(max_depth=2)


def test_text_of_pieces(large: Path) -> None:
    tree = RegionTree.load(large)
    for said, pieces in (((), tree.pieces()), (("--min-area", 2), tree.pieces(2))):
        shown = call("show", large, "--pieces", *said, "--regions", 9).stdout
        assert shown.rstrip("\n") == pieces.to_text(n_regions=9)
    few = call("show", large, "--pieces", "--condense", 6).stdout
    assert few.rstrip("\n") == tree.pieces().condense(6).to_text()


def test_the_smallest_piece_is_refused_without_pieces(large: Path) -> None:
    for command in (("show", large), ("view", large), ("export", large, "--to", "newick")):
        refused = call(*command, "--min-area", 2)
        assert refused.exit_code == 2
        assert "--min-area 2 is about pieces; pass --pieces, too" in refused.output


def test_the_stability_of_condensed_nodes_is_a_choice(large: Path, tmp_path: Path) -> None:
    tree = RegionTree.load(large)
    stability = np.random.default_rng(0).random(tree.n_nodes).astype(np.float16)
    path = replace(tree, stability=stability).save(tmp_path / "steady.npz")
    steady = RegionTree.load(path)
    small = steady.condense(6, min_stability=0.5)
    assert small != steady.condense(6)
    said = call("show", path, "--condense", 6, "--min-stability", 0.5).stdout
    assert said.rstrip("\n") == small.to_text()
    for command in (("show", large), ("export", large, "--to", "newick")):
        refused = call(*command, "--min-stability", 0.5)
        assert refused.exit_code == 2
        assert "--min-stability 0.5 is about condensing; pass --condense, too" in refused.output


def test_a_figure_goes_down_to_the_cut_into_12(large: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    tree = RegionTree.load(large)
    for more, n_regions in (((), 12), (("--regions", 5), 5)):
        file = tmp_path / f"{n_regions}.svg"
        assert call("show", large, "--figure", file, *more).exit_code == 0
        shown = {
            a for node in tree.cut_nodes(n_regions=n_regions) for a in (node, *tree.ancestors(node))
        }
        assert file.read_text().count("<image ") == len(shown)
