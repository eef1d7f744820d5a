"""Settings by stage: names, defaults, ranges, contradictions, records, and the command line."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import EXAMPLE, ROOT
from typer.testing import CliRunner

from regiontree import RegionParser
from regiontree.cli import app
from regiontree.errors import ConfigError, SettingsError, UnusedSettingError
from regiontree.hierarchy import RecursivePartition, SpectralWard
from regiontree.refine import Guided, LeafCrf
from regiontree.settings import (
    CHOICES,
    FLAT_NAMES,
    PRESETS,
    RECORDS,
    Settings,
    known_keys,
    record_differences,
)
from regiontree.settings.command import assigned, given_settings, settings_table
from regiontree.spectral.oversegment import ContiguousWard, FeatureClustering
from regiontree.system.registry import Registry
from regiontree.system.stages import OnlyIf, check_settings, keys_of, setting

run = CliRunner().invoke


# -- names ----------------------------------------------------------------------------------------


def test_one_setting_has_four_ways_to_be_said():
    said = [
        Settings.make(parts=200),
        Settings.make(parts={"count": 200}),
        Settings.make(**{"parts.count": 200}),
        Settings.make("default", parts=np.int64(200)),
    ]
    assert all(one == said[0] for one in said)
    assert said[0].parts.count == 200


def test_a_plain_value_sets_the_main_key_of_its_stage():
    made = Settings.make(tree="recursive", refine="crf", affinity="exp", smooth=1, backbone="dino")
    assert isinstance(made.tree, RecursivePartition)
    assert isinstance(made.refine, LeafCrf)
    assert (made.affinity.kind, made.smooth.steps, made.backbone.name) == ("exp", 1, "dino")


def test_numbers_of_the_presets_are_those_of_the_page_on_the_method():
    presets = {name: Settings.make(name) for name in ("default", "accurate", "fast", "published")}
    assert [one.smooth.steps for one in presets.values()] == [2, 4, 2, 0]
    assert presets["default"].smooth.contrast == 20
    ward = presets["default"].tree
    assert (ward.natural_height, ward.exponent, ward.power, ward.vectors) == (0.33, 3, 0.25, 50)
    assert [one.view.views for one in presets.values()] == [1, 4, 1, 1]
    assert presets["published"].view.size == (840, 840)
    assert presets["published"].backbone.dtype == "float32"
    assert presets["published"].tree.max_perturbation == 80
    assert presets["published"].parts.restarts == 10
    assert presets["default"].view.size == presets["accurate"].view.size == 518
    assert presets["fast"].view.size == 392
    assert [one.parts.name for one in presets.values()] == [
        "contiguous", "contiguous", "contiguous", "simultaneous",
    ]  # fmt: skip
    assert [one.parts.count for one in presets.values()] == [400, 400, 400, 200]
    assert presets["published"].parts.vectors is None  # as many as parts


def test_numbers_of_the_refinements_are_those_of_their_page():
    published, guided = Settings.make(refine="crf").refine, Settings.make().refine
    crf = published.settings
    assert (published.temperature, published.long_side) == (0.1, 2048)
    assert (crf.smooth_xy, crf.smooth_weight) == (1, 3)
    assert (crf.edge_xy, crf.edge_rgb, crf.edge_weight) == (67, 3, 4)
    assert (crf.steps, crf.memory_limit) == (10, 8e9)
    assert (guided.regions, guided.threads, guided.specks) == (12, 0.25, 0.5)


def test_every_flat_name_is_a_setting_and_every_stage_has_meanings():
    known = known_keys()
    assert {key for keys in FLAT_NAMES.values() for key in keys} <= known.keys()
    without = [name for name, key in known.items() if len(key.meaning.split()) < 3]
    assert without == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prats": 3}, ("'prats'", "'parts'")),
        ({"tree": {"max_nct": 0.5}}, ("'tree.max_nct'", "'tree.max_ncut'")),
        ({"view": 3}, ("'view'", "'views'")),
        ({"parts": 3, "parts.count": 4}, ("parts.count 4", "parts 3")),
        ({"smooth": {"steps": 3}, "smoothing": 4}, ("smoothing 4", "smooth.steps 3")),
        ({"tree": "wird"}, ("'wird'", "'ward'")),
        ({"parts": {"method": "slick"}}, ("'slick'", "'slic'")),
    ],
)
def test_wrong_names_and_doubles_are_told_with_what_was_written(changes, words):
    with pytest.raises(SettingsError) as caught:
        Settings.make(**changes)
    assert all(word in str(caught.value) for word in words)


# -- one source of defaults -----------------------------------------------------------------------


def test_defaults_are_those_of_the_records_themselves():
    made = Settings.make()
    assert made == Settings()
    for stage, record in RECORDS.items():
        assert getattr(made, stage) == record()
    assert (made.parts, made.tree, made.refine) == (ContiguousWard(), SpectralWard(), Guided())


def test_every_method_of_every_stage_can_be_made_from_its_name():
    for stage, choice in CHOICES.items():
        for name in choice.names():
            record = getattr(Settings.make(**{f"{stage}.{choice.selector}": name}), stage)
            assert (record is None) == (name == "none" and choice.none)
            if record is not None:
                assert record.name == name
                assert is_dataclass(record)


def test_numpy_numbers_become_plain_ones():
    made = Settings.make(parts=np.int32(7), tree={"power": np.float32(0.5)})
    assert type(made.parts.count) is int
    assert type(made.tree.power) is float
    json.dumps(made.as_dict())


# -- settings without effect ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sigma": 0.5}, ("sigma", "affinity.kind is exp")),
        ({"smoothing": 0, "contrast": 5.0}, ("contrast", "smooth.steps")),
        ({"overclustering": "none", "parts": 7}, ("parts", "'none'")),
        ({"overclustering": "felzenszwalb", "parts": 7}, ("parts", "'felzenszwalb'")),
        ({"overclustering": "features", "solver": "reference"}, ("solver", "'features'")),
        ({"overclustering": "features", "tree": "recursive", "vectors": 7}, ("vectors",)),
        ({"max_ncut": 0.5}, ("max_ncut", "'recursive'")),
        ({"tree": "recursive", "exponent": 2.0}, ("exponent", "'ward'")),
        ({"refine": {"method": "guided", "steps": 3}}, ("refine.steps", "'crf'")),
        ({"refine": "none", "refine.coarse": 1.0}, ("refine.coarse", "'guided'")),
        ({"affinity": "exp"}, ("affinity", "'contiguous'", "'ward'")),
        ({"overclustering": "none", "threshold": 0.1}, ("threshold", "'none'", "'ward'")),
        ({"restarts": 3}, ("restarts", "'simultaneous'", "'contiguous'")),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(changes, words):
    with pytest.raises(UnusedSettingError) as caught:
        Settings.make(**changes)
    assert all(word in str(caught.value) for word in words)
    with pytest.raises(UnusedSettingError):
        RegionParser(device="cpu", **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"sigma": 1.0},  # what holds anyway
        {"tree": "recursive", "affinity": "exp", "sigma": 0.5},
        {"overclustering": "simultaneous", "affinity": "exp"},
        {"overclustering": "features", "vectors": 7},  # of the tree
        {"max_ncut": 0.8, "levels": 9},
        {"overclustering": "none", "parts": 400},
    ],
)
def test_what_has_an_effect_or_changes_nothing_is_accepted(changes):
    Settings.make(**changes)


def test_what_a_preset_says_for_another_method_does_not_count_as_a_change():
    made = Settings.make("published", tree="ward", parts={"method": "features", "count": 50})
    assert made.tree == SpectralWard()
    assert made.parts == FeatureClustering(count=50, restarts=10, tolerance=1e-3)


# -- records --------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tree": {"natural_height": 0.2}},
        {"parts": {"method": "slic", "count": 90}},
        {"refine": {"method": "crf", "edge_xy": 30.0, "precision": "single"}},
        {"backbone": {"layers": [-1, 3], "facet": "key"}},
        {"tree": "ward", "parts": {"method": "simultaneous", "vectors": 60}},
        {
            "tree": {"builder": "ward", "vectors": 30},
            "parts": {"method": "simultaneous", "vectors": 60},
        },
    ],
    ids=str,
)
def test_a_record_is_json_and_gives_the_settings_back(preset, changes):
    made = Settings.make(preset, **changes)
    record = json.loads(json.dumps(made.as_dict()))
    assert Settings.make(**record) == made
    assert Settings.make(preset, **changes).as_dict() == made.as_dict()


def test_a_record_names_what_has_no_flat_name_only_where_it_differs():
    assert set(Settings().as_dict()) == set(FLAT_NAMES)
    more = Settings.make(tree={"natural_height": 0.2}).as_dict()
    assert set(more) - set(FLAT_NAMES) == {"tree.natural_height"}
    assert record_differences(Settings().as_dict(), more) == {"tree.natural_height": (None, 0.2)}


def test_records_of_older_programs_stand_for_the_values_they_were_made_with():
    now = Settings.make(views=1, facet="token", contrast=None, refine="none").as_dict()
    old = {name: value for name, value in now.items() if name not in ("views", "facet", "contrast",
           "refine", "layers", "positions", "tiles")}  # fmt: skip
    assert record_differences(old, now) == {}
    assert record_differences(old, Settings.make("accurate").as_dict()).keys() >= {
        "views",
        "facet",
        "refine",
    }


# -- the command line -----------------------------------------------------------------------------


def test_assignments_are_read_as_their_setting_wants_them():
    said = ["parts.count=20", "tree.power=.5", "view.size=84x98", "backbone.layers=9,12"]
    assert assigned(said) == {
        "parts.count": 20, "tree.power": 0.5, "view.size": "84x98", "backbone.layers": "9,12",
    }  # fmt: skip
    assert assigned(["contrast=none", "refine.method=none"]) == {
        "contrast": None,
        "refine.method": "none",
    }


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["parts.count"], "stage.key=value"),
        (["=3"], "stage.key=value"),
        (["parts.conut=3"], "'parts.count'"),
        (["seed=1", "seed=2"], "twice"),
    ],
)
def test_wrong_assignments_are_told(texts, words):
    with pytest.raises(SettingsError, match=words):
        assigned(texts)


def test_options_and_assignments_go_before_the_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("preset: fast\nparts: 50\ntree: {exponent: 2.5, power: 0.5}\nseed: 3\n")
    given = given_settings({"parts": 60}, config=file, assignments=["tree.power=0.75"])
    made = Settings.make(given.pop("preset"), **given)
    assert (made.view.views, made.seed) == (1, 3)
    assert (made.parts.count, made.tree.exponent, made.tree.power) == (60, 2.5, 0.75)
    assert given_settings({}, config=file, preset="published")["preset"] == "published"
    with pytest.raises(SettingsError, match="contradicts"):
        given_settings({"parts": 60}, assignments=["parts.count=70"])
    file.write_text("tree: {exponnet: 2}")
    with pytest.raises(ConfigError, match=r"mine\.yaml.*exponnet.*exponent"):
        given_settings({}, config=file)


@pytest.mark.usefixtures("embedded_installed")
class TestCommands:
    """Every command that parses takes any setting."""

    def test_segment(self, tmp_path):
        file = tmp_path / "mine.yaml"
        file.write_text("preset: fast\nview: {size: 140}\n")
        done = run(app, ["segment", str(EXAMPLE), "-o", str(tmp_path / "out"), "--device", "cpu",
                         "--config", str(file), "--set", "tree.natural_height=0.5"])  # fmt: skip
        assert done.exit_code == 0, done.output
        from regiontree import RegionTree

        meta = RegionTree.load(tmp_path / "out" / "astronaut.npz").meta
        assert meta["settings"]["size"] == 140
        assert meta["settings"]["tree.natural_height"] == meta["natural_height"] == 0.5

    def test_view_and_gallery(self, tmp_path):
        common = ["--device", "cpu", "--preset", "fast", "--set", "view.size=140",
                  "--set", "parts.count=30"]  # fmt: skip
        page = tmp_path / "page.html"
        done = run(app, ["view", str(EXAMPLE), "--html", str(page), *common])
        assert done.exit_code == 0, done.output
        assert page.is_file()
        site = tmp_path / "site"
        done = run(app, ["gallery", str(EXAMPLE), "-o", str(site), *common])
        assert done.exit_code == 0, done.output
        from regiontree import RegionTree

        (tree,) = site.rglob("*.npz")
        assert RegionTree.load(tree).n_leaves == 30

    @pytest.mark.parametrize("command", ["segment", "view", "gallery"])
    def test_a_wrong_setting_is_told_before_any_work(self, command, tmp_path):
        out = [] if command == "view" else ["-o", str(tmp_path / "out")]
        done = run(app, [command, str(EXAMPLE), *out, "--set", "affinity.sigma=2"])
        assert done.exit_code == 2
        assert "affinity.kind" in done.output
        assert not (tmp_path / "out").exists()


def test_run_takes_any_setting_instead_of_the_configs_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from regiontree.experiments.config import load_experiment

    Path("mine.yaml").write_text("dataset: x\nsettings: {parts: 50, tree: {exponent: 2.5}}\n")
    plain = load_experiment("mine.yaml")
    assert (plain.settings.parts.count, plain.settings.tree.exponent) == (50, 2.5)
    changed = load_experiment("mine.yaml", changes={"parts.count": 60, "tree.power": 0.5})
    assert changed.settings == Settings.make(parts=60, tree={"exponent": 2.5, "power": 0.5})
    faster = load_experiment("mine.yaml", preset="fast")
    assert faster.settings == Settings.make("fast", parts=50, tree={"exponent": 2.5})
    with pytest.raises(ConfigError, match=r"--set affinity\.sigma"):
        load_experiment("mine.yaml", changes={"affinity.sigma": 2.0})


def test_the_table_tells_every_setting_with_its_range_and_meaning():
    text = settings_table(Settings())
    for name, key in known_keys().items():
        assert f"{name} = " in text
        assert key.meaning.split(".")[0].split(":")[0][:20] in " ".join(text.split())
    rows = json.loads(settings_table(Settings.make(parts=60), only="parts.count", as_json=True))
    assert rows[0]["value"] == 60
    assert rows[0]["default"] == 400
    assert rows[0]["range"] == "1 to 4096"
    assert "tree.levels = 9" in settings_table(Settings.make("published"), only="tree")
    assert "affinity.sigma" in settings_table(Settings(), only="sigma")
    with pytest.raises(SettingsError, match="did you mean"):
        settings_table(Settings(), only="tre")


def test_the_settings_command_prints_the_table():
    done = run(app, ["settings", "parts", "--set", "parts.count=77"])
    assert done.exit_code == 0
    assert "parts.count = 77" in done.output
    assert yaml.safe_load(run(app, ["settings", "--json"]).output)


# -- the machinery --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Blur:
    kind: str = setting("gauss", "Kernel.", choices=("gauss", "box"))
    sigma: float | None = setting(
        1.0, "Width.", low=0.1, high=9, none="no blur", only_if=OnlyIf("kind", ("gauss",))
    )
    sharp: bool = setting(False, "Whether edges stay.")
    title: str = setting("a", "Text.")

    def __post_init__(self) -> None:
        check_settings(self)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kind": "ring"}, "kind must be one of gauss, box, got 'ring'"),
        ({"sigma": 10}, "sigma must be a number in"),
        ({"sigma": True}, "sigma must be a number in"),
        ({"sigma": "1"}, "sigma must be a number in"),
        ({"kind": None}, "kind must be one of gauss, box, got None"),
        ({"sharp": 1}, "sharp must be true or false"),
        ({"title": ""}, "title must be text"),
    ],
)
def test_a_record_checks_itself(wrong, said):
    with pytest.raises(SettingsError, match=said):
        Blur(**wrong)


def test_a_record_knows_its_keys():
    assert Blur(sigma=None).sigma is None
    assert [key.range_text for key in keys_of(Blur).values()] == [
        "gauss, box", "0.1 to 9, or none: no blur", "text", "text",
    ]  # fmt: skip
    assert list(keys_of(Blur)) == [field.name for field in fields(Blur)]


def test_a_registry_takes_names_once_and_suggests_the_nearest():
    registry: Registry[type] = Registry("shape", {"list": "builtins:list"})
    registry.register("bag", set)
    assert registry.names() == ("list", "bag")
    assert (registry.get("list"), registry.get("bag")) == (list, set)
    for wrong in ("list", "", " x", "a:b"):
        with pytest.raises(SettingsError, match="shape"):
            registry.register(wrong, dict)
    with pytest.raises(SettingsError, match=r"unknown shape 'bga'; did you mean 'bag'\?"):
        registry.get("bga")


def test_the_page_of_settings_shows_the_table_as_it_is():
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    shown = page[page.index("```text\n") + len("```text\n") :].partition("\n```")[0]
    assert shown == settings_table(Settings(), width=96), "run: COLUMNS=96 regiontree settings"
    file = page[page.index("```yaml\n") + len("```yaml\n") :].partition("```")[0]
    made = Settings.make("fast", **{k: v for k, v in yaml.safe_load(file).items() if k != "preset"})
    assert (made.parts.count, made.tree.name, made.tree.max_ncut) == (200, "recursive", 0.7)
