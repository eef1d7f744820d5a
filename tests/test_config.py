"""Configs: published ones load unchanged to what they mean, ours by example, wrong ones say why."""

from __future__ import annotations

import copy
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

from regiontree.datasets.catalog import entry
from regiontree.errors import ConfigError
from regiontree.experiments.config import Experiment, load_experiment
from regiontree.experiments.published import Published
from regiontree.settings import Settings

PRESETS_OF_OURS = ("default", "accurate", "fast")
OWN = [p for p in sorted((ROOT / "configs").glob("*.yaml")) if p.stem not in PRESETS_OF_OURS]
PAGE = (ROOT / "docs" / "configs.md").read_text(encoding="utf-8")

# What the published settings mean here, written out by hand: no preset is asked.
EXPECTED = Settings.make(
    backbone="dinov2_vitb14_reg",
    size=(840, 840),
    dtype="float32",
    affinity="minmax",
    distance="cosine",
    sigma=1.0,
    threshold=0.0,
    overclustering="simultaneous",
    parts=200,
    restarts=10,
    tolerance=1e-3,
    solver="auto",
    smoothing=0,
    contrast=None,
    views=1,
    facet="token",
    descriptor="none",
    vectors=None,
    tree="recursive",
    levels=9,
    max_ways=10,
    min_parts=1,
    max_ncut=0.8,
    max_perturbation=80.0,
    heuristic="maxgap",
    refine="none",
    seed=1234,
    stability=0,
)
VARIANT = ("simultaneous", "symmetrical", "cosine", "maxgap", "topdown")

# A published config with every key, no value the one that is taken when it is left out.
PUBLISHED: dict[str, Any] = {
    "output_root": "out",
    "model": "dino_vits8",
    "dataset": "shapes",
    "split": "few",
    "datasets_config": "./configs/datasets.json",
    "conf_export": True,
    "seed": 7,
    "dist_url": "env://",
    "schedule": ["extract_features", "semantic_ncuts", "create_stats"],
    "tasks": {
        "extract_features": {
            "output_folder": "f", "logging": "INFO", "log_filename": "features",
            "batch_size_per_gpu": 3, "num_workers": 11, "resume": True, "resize": [112, 224],
            "stride": None, "kernel": None, "unfold": False,
        },
        "semantic_ncuts": {
            "output_folder": "n", "logging": "DEBUG", "log_filename": "cuts", "save_strips": True,
            "num_workers": 12, "overclustering": "kmeans", "merging": "topdown",
            "normalization": "symmetrical", "distance": "l2", "adjacency": "exp",
            "heuristic": "fiedler", "scaling": "unit", "kover": 50, "thresh": 0.1, "sigma": 2,
            "max_kways": 4, "eig_stab_th": None, "mncut_th": 0.7, "max_perturb": 60,
            "min_points": 2, "resume": True, "levels": 5, "stride": None, "kernel": None,
            "unfold": False,
        },
        "postprocess_crf": {
            "output_folder": "c", "logging": "DEBUG", "log_filename": "crf", "num_workers": 45,
        },
        "create_stats": {
            "output_folder": "s", "logging": "DEBUG", "log_filename": "stats", "num_workers": 40,
            "save_strips": False,
        },
    },
}  # fmt: skip


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A working folder with configs/datasets.json, as the published code has it."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "datasets.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def changed(**changes: Any) -> dict[str, Any]:
    """PUBLISHED with values at dotted keys (``__`` for the dot) replaced; ... takes a key out."""
    config = copy.deepcopy(PUBLISHED)
    for key, value in changes.items():
        *sections, last = key.split("__")
        at = config
        for section in sections:
            at = at[section]
        if value is ...:
            del at[last]
        else:
            at[last] = value
    return config


def load(config: dict[str, Any], **overrides: Any) -> Experiment:
    Path("configs/mine.json").write_text(json.dumps(config))
    return load_experiment("configs/mine.json", **overrides)


def load_own(text: str, **overrides: Any) -> Experiment:
    Path("mine.yaml").write_text(text)
    return load_experiment("mine.yaml", **overrides)


def error_of(config: dict[str, Any] | str, **overrides: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        (load_own if isinstance(config, str) else load)(config, **overrides)
    return str(caught.value)


# -- published configs ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "dataset", "split", "changes"),
    [
        ("voc12", "voc12", "val", {}),
        ("coco_stuff", "coco", "val_stuff", {}),
        ("coco_things", "coco", "val_things", {}),
        ("cityscapes", "cityscapes", "val", {"size": (840, 1680), "parts": 300}),
        ("partimagenet", "partimagenet", "val", {}),
        ("pascalpart", "pascalpart", "val", {}),
    ],
)
def test_the_shipped_configs_load_unchanged(data, name, dataset, split, changes, monkeypatch):
    folder = data.parent / "reference" / "configs"
    if not folder.is_dir():
        pytest.skip("no published configs beside the data folder")
    monkeypatch.chdir(folder.parent)
    experiment = load_experiment(f"configs/{name}.json")
    expected = {**EXPECTED.as_dict(), **changes}
    expected["size"] = changes.get("size", (840, 840))
    assert experiment.settings == Settings.make(**expected)
    assert (experiment.dataset, experiment.split) == (dataset, split)
    assert experiment.stages == ("extract_features", "semantic_ncuts", "create_stats")
    assert experiment.unsupported == ()
    assert experiment.save_strips
    assert experiment.datasets_config == Path("configs/datasets.json")
    rest = Path(split, "simultaneous/symmetrical/cosine/maxgap/topdown")
    model = Path("data", dataset, "dinov2_vitb14_reg")
    assert experiment.features_dir == model / "features"
    assert experiment.trees_dir == model / "ncuts" / rest / "trees"
    assert experiment.stats_dir == model / "stats" / rest
    said = " ".join(experiment.remarks)
    for words in ("max_perturb 80", "uses 50", "resume false", "num_workers 90/40"):
        assert words in said


def test_every_key_of_a_published_config_arrives(home):
    experiment = load(PUBLISHED)
    assert experiment == Experiment(
        config=Path("configs/mine.json"),
        published=True,
        output=Path("out"),
        dataset="shapes",
        split="few",
        datasets_config=Path("configs/datasets.json"),
        data=None,
        root=None,
        model="dino_vits8",
        stages=("extract_features", "semantic_ncuts", "create_stats"),
        settings=Settings.make(
            backbone="dino_vits8",
            size=(112, 224),
            dtype="float32",
            affinity="exp",
            distance="euclidean",
            sigma=2.0,
            threshold=0.1,
            overclustering="features",
            parts=50,
            restarts=10,
            tolerance=1e-3,
            views=1,
            facet="token",
            descriptor="none",
            smoothing=0,
            contrast=None,
            tree="recursive",
            levels=5,
            max_ways=4,
            min_parts=2,
            max_ncut=0.7,
            max_perturbation=60.0,
            heuristic="fiedler",
            refine="none",
            seed=7,
            stability=0,
        ),
        protocols=("grid", "pixel"),
        match="max",
        threshold=0.0,
        budgets=(5, 10, 25, 50, 100, 200),
        save_strips=True,
        conf_export=True,
        folders={
            "extract_features": "f",
            "semantic_ncuts": "n",
            "postprocess_crf": "c",
            "create_stats": "s",
        },
        variant=("kmeans", "symmetrical", "l2", "fiedler", "topdown"),
        remarks=experiment.remarks,
        unsupported=(),
    )


def test_results_lie_where_the_published_code_puts_them(home):
    experiment = load(PUBLISHED)
    rest = "few/kmeans/symmetrical/l2/fiedler/topdown"
    assert experiment.features_dir == Path("out/shapes/dino_vits8/f")
    assert experiment.trees_dir == Path(f"out/shapes/dino_vits8/n/{rest}/trees")
    assert experiment.pictures_dir == Path(f"out/shapes/dino_vits8/n/{rest}/imgs")
    stats = Path(f"out/shapes/dino_vits8/s/{rest}")
    assert experiment.stats_dir == stats
    assert experiment.results_file(2) == stats / "results_shapes_few_2.json"
    assert experiment.hierarchical_results_file == stats / "results_hier_shapes_few_max_0.0.json"


def test_task_settings_left_out_have_their_published_values(home):
    tasks = {
        stage: {"output_folder": stage}
        for stage in ("extract_features", "semantic_ncuts", "create_stats")
    }
    experiment = load(changed(tasks=tasks, seed=..., model="dinov2_vitb14_reg"))
    assert experiment.settings == EXPECTED
    assert experiment.variant == VARIANT


def test_the_same_config_as_yaml_is_the_same_experiment(home):
    Path("mine.yml").write_text(yaml.safe_dump(PUBLISHED))
    assert load_experiment("mine.yml").settings == load(PUBLISHED).settings


def test_each_way_to_make_parts_has_our_name_for_it(home):
    for theirs, ours in (
        ("simultaneous", "simultaneous"),
        ("kmeans", "features"),
        ("null", "none"),
        ("pixelkmeans", "colours"),
        ("felzenszwalb", "felzenszwalb"),
        ("slic", "slic"),
        ("quickshift", "quickshift"),
        ("watershed", "watershed"),
    ):
        experiment = load(changed(tasks__semantic_ncuts__overclustering=theirs))
        assert experiment.settings.parts.name == ours
        assert experiment.variant[0] == theirs
        assert experiment.unsupported == ()
        text = f"dataset: x\nsettings: {{overclustering: {ours}}}"
        assert load_own(text).variant[0] == theirs


# -- done in another way, or not at all -----------------------------------------------------------


def test_remarks_name_key_and_value(home):
    config = changed(tasks__extract_features__resume=False, tasks__semantic_ncuts__kernel=28)
    wanted = (
        ("tasks.semantic_ncuts.max_perturb 60", "uses 50"),
        ("tasks.semantic_ncuts.overclustering 'kmeans'", "unit length"),
        ("resume false (tasks.extract_features)", "--overwrite"),
        ("tasks.semantic_ncuts: kernel 28", "unfold is false"),
        (
            "not used: dist_url env://, batch_size_per_gpu 3, num_workers 11/12/40, logging "
            "INFO/DEBUG, log_filename features/cuts/stats",
            "standard error",
        ),
    )
    for remark, (start, words) in zip(load(config).remarks, wanted, strict=True):
        assert remark.startswith(start)
        assert words in remark


def test_nothing_is_said_of_what_is_not_there(home):
    tasks = {"create_stats": {"output_folder": "stats"}}
    config = changed(tasks=tasks, schedule=["create_stats"], dist_url=...)
    assert load(config).remarks == ()


def test_stages_run_in_the_order_of_the_data(home):
    schedule = ["create_stats", "semantic_ncuts", "create_stats"]
    experiment = load(changed(schedule=schedule))
    assert experiment.stages == ("semantic_ncuts", "create_stats")
    assert experiment.remarks[0] == (
        "schedule create_stats, semantic_ncuts, create_stats is run in the order semantic_ncuts, "
        "create_stats"
    )


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("merging", None, "merging null is not available"),
        ("merging", "bottomup", "merging 'bottomup' is not available"),
        ("normalization", "randomwalk", "normalization 'randomwalk' is not available"),
        ("scaling", "standard", "scaling 'standard' is not available"),
        ("scaling", None, "scaling null is not available"),
        ("eig_stab_th", 0.1, "eig_stab_th 0.1 is not available"),
        ("unfold", True, "unfold true is not available"),
        ("distance", "mahalanobis", "distance 'mahalanobis' is not available"),
    ],
)
def test_what_cannot_be_done_is_said(home, key, value, said):
    config = changed(**{f"tasks__semantic_ncuts__{key}": value})
    (sentence,) = load(config).unsupported
    assert sentence.startswith(f"tasks.semantic_ncuts.{said}")
    assert "set it to" in sentence
    config["schedule"] = ["create_stats"]  # of trees that are there already
    assert load(config).unsupported == ()


@pytest.mark.parametrize(
    ("kernel", "stride", "sides"),
    [
        (56, 28, ((56, 56), (28, 28))),
        ([56, 112], [28], ((56, 112), (28, 28))),
    ],
)
def test_features_of_crops(home, kernel, stride, sides):
    config = changed(
        tasks__extract_features__unfold=True,
        tasks__extract_features__kernel=kernel,
        tasks__extract_features__stride=stride,
    )
    experiment = load(config)
    assert (experiment.settings.view.kernel, experiment.settings.view.stride) == sides
    assert experiment.unsupported == ()
    config["tasks"]["extract_features"]["unfold"] = False
    experiment = load(config)
    assert experiment.settings.view.kernel is experiment.settings.view.stride is None
    assert any("stride" in said and "unfold is false" in said for said in experiment.remarks)


def test_pictures_of_the_evaluation_are_those_of_the_trees(home):
    def said(trees: bool, stats: bool) -> list[str]:
        config = changed(
            tasks__semantic_ncuts__save_strips=trees, tasks__create_stats__save_strips=stats
        )
        experiment = load(config)
        assert experiment.save_strips == trees
        return [remark for remark in experiment.remarks if "pictures" in remark]

    assert said(True, True) == said(True, False) == said(False, False) == []
    (remark,) = said(False, True)
    assert remark.startswith("tasks.create_stats.save_strips true has no effect")
    assert load_own("dataset: x\npictures: true").save_strips


def test_unmerged_trees_have_their_own_folder(home):
    experiment = load(changed(tasks__semantic_ncuts__merging=None))
    assert experiment.variant[-1] == "unmerged"


def test_without_parts_there_is_nothing_to_merge(home):
    config = changed(
        tasks__semantic_ncuts__merging=None, tasks__semantic_ncuts__overclustering="null"
    )
    assert load(config).unsupported == ()


@pytest.mark.parametrize("stage", ["density_projection", "postprocess_ncuts"])
def test_stages_that_cannot_be_run_are_fine_until_scheduled(home, stage):
    config = changed(**{f"tasks__{stage}": {"output_folder": "x"}})
    assert load(config).unsupported == ()
    config["schedule"] = ["semantic_ncuts", stage]
    (sentence,) = load(config).unsupported
    assert sentence == (
        f"schedule: {stage} is not available in this version; take it out of the schedule"
    )


# -- datasets.json --------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["one/two", "one", "."])
def test_datasets_json_is_found_from_the_config_up(tmp_path, monkeypatch, place):
    config = tmp_path / "one" / "two" / "mine.json"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps(PUBLISHED))
    target = tmp_path / place / "configs" / "datasets.json"
    target.parent.mkdir(parents=True)
    target.write_text("{}")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    experiment = load_experiment("../one/two/mine.json")
    assert experiment.datasets_config is not None
    assert os.path.samefile(experiment.datasets_config, target)
    assert experiment.remarks[0].startswith(
        "datasets_config ./configs/datasets.json is not in the current folder; "
    )


def test_datasets_json_is_found_right_beside_the_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "mine.json").write_text(json.dumps(PUBLISHED))
    (tmp_path / "sub" / "datasets.json").write_text("{}")
    assert load_experiment("sub/mine.json").datasets_config == tmp_path / "sub" / "datasets.json"


def test_the_current_folder_comes_first(home):
    other = home / "other"
    (other / "configs").mkdir(parents=True)
    (other / "configs" / "datasets.json").write_text("{}")
    (other / "mine.json").write_text(json.dumps(PUBLISHED))
    experiment = load_experiment("other/mine.json")
    assert experiment.datasets_config == Path("configs/datasets.json")
    assert not any("datasets_config" in remark for remark in experiment.remarks)


def test_a_missing_datasets_json_names_all_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "mine.json").write_text(json.dumps(PUBLISHED))
    with pytest.raises(ConfigError) as caught:
        load_experiment("a/b/mine.json")
    for folder in (tmp_path / "a" / "b", tmp_path / "a", tmp_path):
        assert str(folder / "configs" / "datasets.json") in str(caught.value)
    assert str(tmp_path / "a" / "b" / "datasets.json") in str(caught.value)


# -- what the command line changes ----------------------------------------------------------------


def test_each_override_takes_the_place_of_a_published_value(home):
    (home / "others.json").write_text("{}")
    experiment = load(
        PUBLISHED,
        model="embedded",
        output="elsewhere",
        dataset="other",
        split="all",
        root="/data",
        datasets_config="others.json",
        stages=["trees", "create_stats"],
        size="140x280",
    )
    assert experiment.model == experiment.settings.backbone.name == "embedded"
    assert experiment.features_dir == Path("elsewhere/other/embedded/f")
    assert experiment.split == "all"
    assert experiment.root == Path("/data")
    assert experiment.datasets_config == Path("others.json")
    assert experiment.stages == ("semantic_ncuts", "create_stats")
    assert experiment.settings.view.size == (140, 280)
    said = experiment.remarks
    for key, before, now in (
        ("model", "'dino_vits8'", "'embedded'"),
        ("output_root", "'out'", "'elsewhere'"),
        ("dataset", "'shapes'", "'other'"),
        ("split", "'few'", "'all'"),
        ("datasets_config", "'./configs/datasets.json'", "'others.json'"),
        ("tasks.extract_features.resize", "[112, 224]", "'140x280'"),
    ):
        assert f"{key} {before} of the config is replaced by {now}" in said
    assert any(remark.startswith("schedule ") and "replaced" in remark for remark in said)
    assert "relative paths in others.json start from /data" in said


def test_an_override_that_changes_nothing_is_not_worth_a_remark(home):
    same = load(PUBLISHED, model="dino_vits8", output=Path("out"), split="few", size=(112, 224))
    assert same == load(PUBLISHED)


def test_leaving_out_a_stage_leaves_out_what_it_cannot_do(home):
    config = changed(schedule=["semantic_ncuts", "postprocess_ncuts"])
    assert load(config, stages=["trees"]).unsupported == ()


def test_a_scheduled_crf_refines_the_leaves_and_has_the_trees(home):
    config = changed(schedule=["semantic_ncuts", "postprocess_crf"])
    crf, plain = load(config), load(changed(schedule=["semantic_ncuts"]))
    assert crf.unsupported == ()
    assert (crf.settings.methods["refine"], plain.settings.refine) == ("crf", None)
    folder = crf.folders["postprocess_crf"]
    assert crf.trees_dir.relative_to(crf.features_dir.parent).parts[0] == folder
    assert plain.trees_dir.relative_to(plain.features_dir.parent).parts[0] != folder
    assert any(remark.startswith("postprocess_crf: leaves are refined") for remark in crf.remarks)
    assert load(config, refine="guided").settings.methods["refine"] == "guided"


def test_overrides_of_our_own_format(home):
    experiment = load_own(
        "dataset: voc12\nsettings: {parts: 7}",
        model="precomputed:feats/voc",
        output="out",
        dataset="coco",
        split="val",
        root="/data",
        stages=["evaluate"],
        size=300,
    )
    assert experiment.data == experiment.dataset == "coco"
    assert experiment.settings == Settings.make(backbone="precomputed:feats/voc", size=300, parts=7)
    assert experiment.stages == ("create_stats",)
    assert experiment.root == Path("/data")
    # A model's name is one folder, whatever it holds.
    assert experiment.features_dir == Path("out/coco/precomputed--feats--voc/features")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"size": "big"}, "size: size must be a long side"),
        ({"stages": ["tree"]}, "schedule[0] must be"),
        ({"stages": []}, "schedule must have at least 1 values"),
        ({"model": ""}, "model must be text"),
        ({"datasets_config": "none.json"}, "datasets_config none.json: no such file"),
    ],
)
def test_overrides_are_checked_like_the_config(home, overrides, said):
    assert said in error_of(PUBLISHED, **overrides)


def test_datasets_json_has_no_place_in_our_own_format(home):
    message = error_of("dataset: voc12", datasets_config="configs/datasets.json")
    assert "datasets_config configs/datasets.json belongs to published configs" in message


# -- our own format -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS_OF_OURS)
def test_our_own_presets_have_a_config_each(name):
    experiment = load_experiment(ROOT / "configs" / f"{name}.yaml")
    assert experiment.settings == Settings.make(name)
    assert 24 in experiment.budgets


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_shipped_configs_are_the_published_settings(path):
    experiment = load_experiment(path)
    changes: dict[str, Any] = {"backbone": "embedded"}
    if path.stem == "cityscapes":
        changes |= {"size": (840, 1680), "parts": 300}
    expected = {**EXPECTED.as_dict(), "size": (840, 840), **changes}
    assert experiment.settings == Settings.make(**expected)
    assert experiment.variant == VARIANT
    assert set(experiment.protocols) == {"grid", "pixel"}
    assert not experiment.published
    assert experiment.unsupported == experiment.remarks == ()


def test_there_is_a_config_for_each_data_set():
    named = [path for path in OWN if path.stem != "published"]
    found = {(load_experiment(path).data, load_experiment(path).split) for path in named}
    assert found == {
        ("voc12", "val"), ("coco", "val_stuff"), ("coco", "val_things"), ("cityscapes", "val"),
        ("partimagenet", "val"), ("pascalpart", "val"), ("kitti_step", "val"),
        ("mapillary_vistas", "val"), ("potsdam", "train"), ("vaihingen", "train"),
        ("bsds500", "test"),
    }  # fmt: skip
    for name, split in found:
        assert split in entry(name).splits


def test_there_is_a_config_for_any_other_data_set(home):
    (home / "mine.yaml").write_text("images: photos")
    experiment = load_experiment(ROOT / "configs" / "published.yaml", dataset="mine.yaml")
    assert (experiment.dataset, experiment.data) == ("mine", "mine.yaml")
    assert experiment.remarks == ()


def test_a_name_is_a_config(home):
    experiment = load_own("dataset: voc12")
    assert experiment == Experiment(
        config=Path("mine.yaml"),
        published=False,
        output=Path("results"),
        dataset="voc12",
        split=None,
        datasets_config=None,
        data="voc12",
        root=None,
        model="embedded",
        stages=("extract_features", "semantic_ncuts", "create_stats"),
        settings=Settings(),
        protocols=("pixel",),
        variant=("contiguous", *VARIANT[1:-1], "ward"),
    )
    assert experiment.trees_dir == Path(
        "results/voc12/embedded/ncuts/all/contiguous/symmetrical/cosine/maxgap/ward/trees"
    )
    assert experiment.results_file(0).name == "results_voc12_all_0.json"


def test_variant_follows_the_settings(home):
    experiment = load_own(
        "dataset: x\nsettings: {overclustering: features, distance: euclidean, heuristic: fiedler,"
        " tree: recursive}"
    )
    assert experiment.variant == ("kmeans", "symmetrical", "euclidean", "fiedler", "topdown")


def test_a_data_set_may_be_a_file_or_inline(home):
    (home / "sets").mkdir()
    (home / "sets" / "mine.yaml").write_text("images: photos")
    experiment = load_own("dataset: sets/mine.yaml")
    assert (experiment.dataset, experiment.data) == ("mine", "sets/mine.yaml")
    inline = load_own("dataset: {name: garden, images: photos}")
    assert (inline.dataset, inline.data) == ("garden", {"name": "garden", "images": "photos"})
    unnamed = load_own("dataset: {images: photos}")
    assert unnamed.dataset == "mine"  # as the config
    outside = load_own("dataset: {name: ../../x, images: photos}")
    assert outside.features_dir == Path("results/----..--x/embedded/features")


def test_refinement_of_our_own_is_a_setting(home):
    assert load_own("dataset: x").settings.methods["refine"] == "guided"
    assert (
        load_own("dataset: x\nsettings: {refine: crf, crf_steps: 3}").settings.values()[
            "refine.steps"
        ]
        == 3
    )
    assert load_own("dataset: x", refine="none").settings.refine is None


def test_numbers_as_python_writes_them(home):
    text = "dataset: x\nthreshold: 0\nbudgets: [9, 3, 9]\nmatch: hungarian\nsettings:"
    experiment = load_own(f"{text} {{tree: recursive, affinity: {{kind: exp, sigma: 1e-2}}}}")
    assert experiment.settings.affinity.sigma == 0.01
    assert experiment.budgets == (3, 9)
    assert experiment.hierarchical_results_file.name == "results_hier_x_all_hungarian_0.0.json"


# -- wrong configs --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tasks__semantic_ncuts__kover": "many"},
         "tasks.semantic_ncuts.kover must be a whole number, got 'many'"),
        ({"tasks__semantic_ncuts__kover": 200.5},
         "tasks.semantic_ncuts.kover must be a whole number, got 200.5"),
        ({"tasks__semantic_ncuts__kover": True},
         "tasks.semantic_ncuts.kover must be a whole number, got true"),
        ({"tasks__semantic_ncuts__kover": 5000},
         "tasks.semantic_ncuts.kover: parts.count must be a whole number in [1, 4096], got 5000"),
        ({"tasks__semantic_ncuts__max_kways": 1},
         "tasks.semantic_ncuts.max_kways: tree.max_ways must be a whole number in [2, "),
        ({"tasks__semantic_ncuts__mncut_th": None},
         "tasks.semantic_ncuts.mncut_th must be a number, got null"),
        ({"tasks__semantic_ncuts__levles": 3},
         "unknown key tasks.semantic_ncuts.levles; did you mean 'levels'?"),
        ({"tasks__semantic_ncuts__distance": "cosin"},
         "tasks.semantic_ncuts.distance must be 'cosine', 'l2', 'euclidean' or 'mahalanobis', got "
         "'cosin'; did you mean 'cosine'?"),
        ({"tasks__semantic_ncuts__save_strips": "yes"},
         "tasks.semantic_ncuts.save_strips must be true or false, got 'yes'"),
        ({"tasks__semantic_ncuts__stride": "2"},
         "tasks.semantic_ncuts.stride must be null, a whole number or a list of two"),
        ({"tasks__extract_features__unfold": True, "tasks__extract_features__kernel": 56},
         "tasks.extract_features needs kernel and stride"),
        ({"tasks__extract_features__unfold": True, "tasks__extract_features__kernel": 0,
          "tasks__extract_features__stride": 28},
         "tasks.extract_features.kernel: view.kernel must be pixels like"),
        ({"tasks__extract_features__unfold": True, "tasks__extract_features__kernel": 28,
          "tasks__extract_features__stride": 56}, "stride 56x56 exceeds kernel 28x28"),
        ({"tasks__extract_features__resize": [840]},
         "tasks.extract_features.resize must have at least 2 values, got [840]"),
        ({"tasks__extract_features__resize": 840},
         "tasks.extract_features.resize must be a list, got 840"),
        ({"tasks__extract_features__resize": [840, 840.5]},
         "tasks.extract_features.resize[1] must be a whole number, got 840.5"),
        ({"tasks__extract_features__resize": [0, 840]},
         "tasks.extract_features.resize[0] must be greater than or equal to 1, got 0"),
        ({"tasks__extract_features__output_folder": "../up"},
         "tasks.extract_features.output_folder must be a folder inside the output, got '../up'"),
        ({"tasks__create_stats__output_folder": ...},
         "tasks.create_stats.output_folder is missing"),
        ({"tasks__create_stats": ...},
         "tasks.create_stats is missing"),
        ({"tasks__create_stats": []},
         "tasks.create_stats must be a mapping of keys to values, got []"),
        ({"tasks": ...}, "tasks is missing"),
        ({"schedule": ["semantic_ncut"]}, "; did you mean 'semantic_ncuts'?"),
        ({"schedule": "semantic_ncuts"}, "schedule must be a list, got 'semantic_ncuts'"),
        ({"schedule": []}, "schedule must have at least 1 values, got []"),
        ({"model": 5}, "model must be text, got 5"),
        ({"model": " "}, "model must be text"),
        ({"seed": -1}, "seed: seed must be a whole number"),
        ({"zzz": True}, "unknown key zzz; known: output_root, model, dataset, "),
    ],
)  # fmt: skip
def test_a_mistake_names_key_and_value(home, changes, said):
    message = error_of(changed(**changes))
    assert said in message
    assert message.startswith("configs/mine.json: ")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("split: val", "dataset is missing"),
        ("dataset: 5", "dataset must be a name of the catalogue"),
        ("dataset: x\nsplitt: val", "unknown key splitt; did you mean 'split'?"),
        ("dataset: x\n5: y", "unknown key [5]; known: dataset, "),
        ("dataset: no/such.yaml", "dataset no/such.yaml: no such file (tried "),
        (
            "dataset: x\npreset: publishd",
            "preset: unknown preset 'publishd'; did you m",
        ),
        ("dataset: x\nsettings: {part: 3}", "unknown key settings.part; did you mean 'parts'?"),
        ("dataset: x\nsettings: {preset: published}", "unknown key settings.preset"),
        (
            "dataset: x\nsettings: {parts: many}",
            "settings.parts: parts must be a whole number in [1, 4",
        ),
        (
            "dataset: x\nsettings: {parts: yes}",
            "settings.parts: parts must be a whole number",
        ),
        ("dataset: x\nsettings: {parts: 0}", "settings.parts: parts must be a whole number in"),
        ("dataset: x\nsettings: {tree: [a]}", "settings.tree: unknown tree ['a']"),
        (
            "dataset: x\nsettings: {tree: wird}",
            "settings.tree: unknown tree 'wird'; did you mean 'w",
        ),
        ("dataset: x\nsettings: {kernel: 448}", "settings.kernel: kernel is set without stride"),
        ("dataset: x\nsettings: {kernel: 448, stride: 224, parts: 0}", "settings.parts: parts"),
        (
            "dataset: x\nsettings: {backbone: 'precomputed:f', kernel: 448, stride: 224}",
            "kernel and stride are settings of the network",
        ),
        ("dataset: x\nsettings: {size: yes}", "settings.size: size must be"),
        ("dataset: x\nsettings: {size: [1, 2, 3]}", "settings.size: size must be a long side"),
        (
            "dataset: x\nsettings: {backbone: ''}",
            "settings.backbone: backbone must be text",
        ),
        ("dataset: x\nsettings: [parts]", "settings must be a mapping of keys to values, got ["),
        ("dataset: x\nstages: [features, leaves]", "stages[1] must be 'extract_features', "),
        ("dataset: x\nprotocols: pixels", "protocols must be 'pixel' or 'grid', got 'pixels'"),
        ("dataset: x\nmatch: min", "match must be 'max' or 'hungarian', got 'min'"),
        ("dataset: x\nthreshold: 2", "threshold must be less than or equal to 1, got 2"),
        ("dataset: x\nthreshold: .nan", "threshold must be a finite number, got nan"),
        ("dataset: x\nbudgets: [0]", "budgets[0] must be greater than or equal to 1, got 0"),
        ("dataset: x\npictures: 1", "pictures must be true or false, got 1"),
    ],
)
def test_a_mistake_of_our_own_names_key_and_value(home, text, said):
    message = error_of(text)
    assert said in message
    assert message.startswith("mine.yaml: ")
    assert "\n" not in message


def test_all_mistakes_come_at_once(home):
    message = error_of(
        changed(
            tasks__semantic_ncuts__kover="many",
            tasks__extract_features__resize=[840],
            schedule=["draw"],
            splt="val",
        )
    )
    head, *lines = message.splitlines()
    assert head == "configs/mine.json: 4 mistakes"
    assert [re.sub(r"^  (unknown key )?([\w.\[\]]+).*", r"\2", line) for line in lines] == [
        "schedule[0]",
        "tasks.extract_features.resize",
        "tasks.semantic_ncuts.kover",
        "splt",
    ]


def test_values_out_of_range_come_at_once_too(home):
    message = error_of(
        changed(
            tasks__semantic_ncuts__kover=0,
            tasks__semantic_ncuts__levels=0,
            tasks__create_stats=...,
            datasets_config="gone.json",
        )
    )
    for words in (
        "4 mistakes",
        "kover: parts",
        "levels: tree.levels",
        "create_stats is",
        "gone.json",
    ):
        assert words in message


# -- files that are no configs --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", b'{\n "dataset": "x", // which\n "split": "val"}',
         "line 2: a comment, which JSON has not; remove it"),
        ("a.json", b'{\n "dataset": "x" # which\n}', "line 2: a comment"),
        ("a.json", b'{\n "dataset": "x",\n\n}', "line 2: a comma with nothing after it; remove it"),
        ("a.json", b'{"dataset": "x",\n "budgets": [1, 2,]}', "line 2: a comma with nothing after"),
        ("a.json", b'{\n "dataset" "x"}', "line 2: not JSON: Expecting ':' delimiter (column 12)"),
        ("a.json", b'{"dataset": "x", "dataset": "y"}', "key 'dataset' appears twice"),
        ("a.json", b'{"dataset": "x", "threshold": NaN}', "NaN is not a JSON value"),
        ("a.json", b'{"dataset": ' + b"[" * 100_000, "nested too deeply"),
        ("a.yaml", b"dataset: x\nsettings:\n\tparts: 3", "line 3: not YAML: "),
        ("a.yaml", b"dataset: x\nsettings:\n\tparts: 3", "; YAML is indented with spaces"),
        ("a.yaml", b"dataset: x\nsplit: [val", "not YAML: "),
        ("a.yaml", b"dataset: x\nsplit: a\nsplit: b", "line 3: key 'split' appears twice"),
        ("a.yaml", b"dataset: !!python/object:os.system x", "line 1: not YAML: could not deter"),
        ("a.yaml", b"dataset: !!int ''", "not YAML: "),
        ("a.yaml", b"dataset: x\nsplit: 2024-13-45", "not YAML: month must be in 1..12"),
        ("a.json", b"", "is empty; a config expected"),
        ("a.yaml", b"\n# nothing yet\n", "is empty"),
        ("a.json", b"[1, 2]", "holds a list; a config has keys and values"),
        ("a.yaml", b"dataset", "holds 'dataset'; a config has keys and values"),
        ("a.json", b"\x89PNG\r\n\x1a\n\0\0\0", "binary, or text in UTF-16; a config is"),
        ("a.yaml", b"dataset: x\nsplit: caf\xe9", "line 2: not text in UTF-8"),
        ("a.yaml", b"dataset: x\n" + b"#" * (16 << 20), "more than 16 MB; this is not a con"),
    ],
)  # fmt: skip
def test_text_that_is_no_config(home, name, content, said):
    Path(name).write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_experiment(name)
    assert re.match(rf"{name}(, line \d+)?: ", str(caught.value))
    assert said in str(caught.value)


def test_files_that_are_not_there(home):
    with pytest.raises(ConfigError, match=r"^none.json: no such file; check the path$"):
        load_experiment("none.json")
    with pytest.raises(ConfigError, match=r"^configs: is a folder; name a config in it$"):
        load_experiment("configs")


def test_a_byte_order_mark_and_no_suffix_are_no_matter(home):
    Path("mine").write_bytes(b'\xef\xbb\xbf{"dataset": "x"}')
    assert load_experiment("mine").dataset == "x"


# -- the page -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.S))
def test_examples_on_the_page_load(home, text):
    assert load_own(text).unsupported == ()


def test_the_error_on_the_page_is_the_error(home):
    shown = re.findall(r"```text\n(.*?)```", PAGE, flags=re.S)[0].splitlines()
    wrong = changed(tasks__semantic_ncuts__kover="many", tasks__semantic_ncuts__levles=9)
    assert error_of(wrong).splitlines()[1:] == shown[1:]


def test_every_published_key_is_in_the_table():
    named = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`[^|]*) \|", PAGE, flags=re.M))))

    def keys(section: dict[str, Any]) -> set[str]:
        inside = (keys(value) for value in section.values() if isinstance(value, dict))
        return set(section).union(*inside)

    assert set(Published.model_fields) <= named
    stages = set(PUBLISHED["tasks"])
    assert keys(PUBLISHED) - stages <= named
