"""What a run will take: the arithmetic, what is measured for it, and what the user is told."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import typer.main
from conftest import refused
from crowd import SETTINGS, add_photos, make_parser, references
from typer.testing import CliRunner, Result

from regiontree import RegionParser
from regiontree.backbones.operations import count_operations
from regiontree.cli import app
from regiontree.engines import foretelling, plan, timing
from regiontree.engines.machines import (
    GPU_USE,
    GPUS,
    STEPS,
    Assumed,
    Forecast,
    Machine,
    Needs,
    forecast,
    numbers_by_name,
    parse_machines,
)
from regiontree.engines.plan import make_plan
from regiontree.engines.survey import survey
from regiontree.engines.timing import CrewTimes, Times, time_crew
from regiontree.errors import BackboneError, SettingsError
from regiontree.forest.store import open_store
from regiontree.references.reference import Reference
from regiontree.system import resources

OPTIONS = {name: one.params for name, one in typer.main.get_command(app).commands.items()}
SECONDS = {"decoding": 0.1, "network": 2.0, "tree": 0.3, "borders": 0.4, "writing": 0.2}


def needs(photographs: int = 36_000, **more: Any) -> Needs:
    return Needs(photographs, SECONDS, **more)


# -- arithmetic -----------------------------------------------------------------------------------


def test_cores_share_the_photographs() -> None:
    found = forecast(Machine("2x10", 2, 10), needs(start=60.0, memory=7))
    assert found.seconds == pytest.approx(60 + 36_000 * 3.0 / 20)
    assert (found.limit, found.memory) == ("cores", 70)
    assert found.core_hours == pytest.approx(20 * found.seconds / 3600)
    assert found.gpu_hours == 0


def test_beside_a_slow_gpu_the_cores_wait_and_beside_a_fast_one_the_gpu_does() -> None:
    assumed = Assumed({"Slow": 1.0, "Fast": 1000.0}, use=0.5)
    given = needs(operations=10**11)  # 0.2 s on the slow one
    slow = forecast(Machine("100+Slow", 1, 100, "Slow", 1), given, assumed)
    assert (slow.seconds, slow.limit) == (pytest.approx(36_000 * 0.2), "GPU")
    fast = forecast(Machine("100+Fast", 1, 100, "Fast", 1), given, assumed)
    assert (fast.seconds, fast.limit) == (pytest.approx(36_000 * 1.0 / 100), "cores")
    four = forecast(Machine("3x100+4xSlow", 3, 100, "Slow", 4), given, assumed)
    assert four.seconds == pytest.approx(36_000 * 0.2 / 12)
    assert four.gpu_hours == pytest.approx(12 * four.seconds / 3600)


def test_a_network_that_was_measured_on_its_gpu_needs_no_peak() -> None:
    machine = Machine("this machine", 1, 50, "cuda", 1, network_seconds=0.1)
    found = forecast(machine, needs())
    assert (found.seconds, found.limit) == (pytest.approx(3600), "GPU")


def test_a_photograph_takes_its_time_however_many_cores_there_are() -> None:
    found = forecast(Machine("64", 1, 64), needs(photographs=5))
    assert found.seconds == pytest.approx(3.0)
    assert forecast(Machine("64", 1, 64), needs(photographs=0)).seconds == 0


def test_one_process_makes_the_shards_and_may_be_the_limit() -> None:
    few = forecast(Machine("10", 1, 10), needs(shards=0.01))
    assert (few.seconds, few.limit) == (pytest.approx(36_000 * 0.3 + 16_384 * 0.01), "cores")
    many = forecast(Machine("9x1000", 9, 1000), needs(shards=0.01))
    assert (many.seconds, many.limit) == (pytest.approx(360 + 163.84), "shards")


def test_bytes_and_money_are_sums() -> None:
    given = needs(read=2e6, stored=5e5)
    prices = Assumed(core_price=0.1, gpu_prices={"L4": 1.0})
    found = forecast(Machine("10", 1, 10), given, prices)
    assert (found.read, found.stored) == (7.2e10, 1.8e10)
    assert found.bandwidth == pytest.approx(7.2e10 / 10_800)
    assert found.price == pytest.approx(10 * 3 * 0.1)
    beside = forecast(Machine("10+2xL4", 1, 10, "L4", 2), given, prices)
    assert beside.price == pytest.approx(beside.seconds / 3600 * (10 * 0.1 + 2 * 1.0))
    assert forecast(Machine("10", 1, 10), given).price is None
    other = Machine("10+H100", 1, 10, "H100", 1)
    assert forecast(other, given, prices).price is None


def test_a_short_run_is_mostly_its_start() -> None:
    assert forecast(Machine("64", 1, 64), needs(photographs=9, start=20.0)).limit == "start"


# -- machines -------------------------------------------------------------------------------------


def test_machines_are_read_from_texts() -> None:
    found = parse_machines(["64", " 4x64 ,2x16+L4", "1x8+2xa100"])
    assert [(one.number, one.cores, one.gpu, one.gpus) for one in found] == [
        (1, 64, None, 0), (4, 64, None, 0), (2, 16, "L4", 1), (1, 8, "A100", 2),
    ]  # fmt: skip
    assert [one.name for one in found] == ["64", "4x64", "2x16+L4", "1x8+2xa100"]
    assert parse_machines(["8+B9"], {"B9": 1.0})[0].gpu == "B9"


@pytest.mark.parametrize(
    "text",
    ["", "x", "4x", "x64", "-4x64", "4*64", "4x64x2", "64+", "+L4", "64+2x", "1.5x8", "1e3", "６４",
     "64 cores", "4x64;8", "9" * 5000, "64\n"],
)  # fmt: skip
def test_a_text_that_names_no_machine_is_refused(text: str) -> None:
    with refused(SettingsError, "4x64", "2x16+L4"):
        parse_machines([text.replace("\n", "\n8")])


@pytest.mark.parametrize(
    ("text", "fact"),
    [("0x64", "machines"), ("2000000x1", "machines"), ("0", "cores"), ("5000", "cores"),
     ("8+0xL4", "GPUs"), ("8+65xL4", "GPUs"), ("8+H10", "'H100'"), ("8+Abacus", "--gpu-peak")],
)  # fmt: skip
def test_a_machine_that_cannot_be_is_refused(text: str, fact: str) -> None:
    with refused(SettingsError, text, fact):
        parse_machines(["2x8", text])


@pytest.mark.parametrize("text", ["L4", "=1", "L4=", "L4=x", "L4=-1", "L4=nan", "L4=inf", ""])
def test_a_price_without_a_name_or_a_number_is_refused(text: str) -> None:
    with refused(SettingsError, "--gpu-price", "L4=0.8"):
        numbers_by_name("--gpu-price", [text])


def test_numbers_are_read_by_name() -> None:
    found = numbers_by_name("--gpu-price", ["L4=0.8, T4=0", "H100 = 4"])
    assert found == {"L4": 0.8, "T4": 0.0, "H100": 4.0}


def test_the_gpus_that_help_names_are_known() -> None:
    assert list(GPUS) == ["T4", "L4", "A100", "H100"]
    (said,) = [one.help for one in OPTIONS["plan"] if "--gpu-peak" in one.opts]
    assert "T4, L4, A100 and H100 are known" in said
    (use,) = [one for one in OPTIONS["plan"] if "--gpu-use" in one.opts]
    assert use.default == GPU_USE == 0.3


# -- the sample -----------------------------------------------------------------------------------


def made_up(number: int, size: int = 1) -> list[Reference]:
    return [Reference(f"{i}.jpg", "a.tar", f"{i}.jpg", 0, i * size) for i in range(number)]


def test_a_sample_is_spread_over_the_sizes_and_does_not_depend_on_the_order() -> None:
    photos = made_up(1000)
    found = survey(iter(photos), 10)
    assert (found.count, found.bytes, found.is_exact) == (1000, 499_500, True)
    assert [one.length for one in found.sample] == [50 + 100 * i for i in range(10)]
    assert survey(reversed(photos), 10).sample == found.sample


def test_of_a_large_collection_a_part_is_looked_at() -> None:
    found = survey(made_up(20_000), 16)
    assert (found.count, found.is_exact, len(found.sample)) == (20_000, False, 16)
    assert found.bytes == pytest.approx(20_000**2 / 2, rel=0.1)
    sizes = [one.length or 0 for one in found.sample]
    assert sizes == sorted(sizes)
    assert sizes[0] < 2000 < 18_000 < sizes[-1]
    assert survey(made_up(20_000)[::-1], 16).sample == found.sample


def test_a_small_collection_is_its_own_sample() -> None:
    found = survey(made_up(3), 16)
    assert sorted(one.id for one in found.sample) == ["0.jpg", "1.jpg", "2.jpg"]
    assert survey([], 16).sample == ()


def test_sizes_that_only_a_reading_would_tell_are_unknown() -> None:
    found = survey([Reference(str(i), f"https://host/{i}.jpg", f"{i}.jpg") for i in range(5)], 2)
    assert (found.count, found.bytes, len(found.sample)) == (5, None, 2)


# -- operations of a network ----------------------------------------------------------------------


class Attention(torch.nn.Module):
    """One layer of attention over patches of one pixel."""

    patch, dim = 1, 16

    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.nn.Linear(3, 3 * 16, bias=False)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        tokens = pixels.flatten(2).transpose(1, 2)
        query, key, value = self.mix(tokens).reshape(1, -1, 3, 1, 16).permute(2, 0, 3, 1, 4)
        found = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        return found.reshape(1, *pixels.shape[2:], 16)


def test_products_are_counted_those_of_attention_too() -> None:
    tokens = 6 * 7
    products = tokens * 3 * 48 + 2 * tokens**2 * 16
    assert count_operations(Attention(), torch.zeros(3, 6, 7)) == 2 * products


@pytest.mark.parametrize("descriptor", ["none", "token"])
def test_the_embedded_network_has_the_operations_of_its_shape(
    embedded_installed: None, descriptor: str
) -> None:
    parser = RegionParser(device="cpu", descriptor=descriptor)
    rows, columns = 6, 8
    tokens, width, depth = rows * columns + 1, 384, 12
    block = 24 * tokens * width**2 + 4 * tokens**2 * width
    last = 2 * tokens * width**2  # only its values are features
    patches = 2 * rows * columns * 3 * 14**2 * width
    found = timing.operations(parser, [(3, 14 * rows, 14 * columns)])
    blocks = depth if descriptor == "token" else depth - 1
    assert found == pytest.approx(blocks * block + last + patches, rel=0.005)


# -- what is measured -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_photos(tmp_path_factory.mktemp("plan") / "in", 6, broken=(2,))


@pytest.fixture(scope="module")
def crews(site: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> list[CrewTimes]:
    """What one worker and two workers take."""
    out = tmp_path_factory.mktemp("out")
    found = [time_crew(make_parser(), references(photos), number, out) for number in (1, 2)]
    assert list(out.iterdir()) == []  # the trees are gone
    return found


def test_every_photograph_of_the_sample_is_timed(crews: list[CrewTimes], photos: Path) -> None:
    assert [crew.workers for crew in crews] == [1, 2]
    for crew in crews:
        assert len(crew.times) == 6
        assert crew.start > 0
        for i, one in enumerate(crew.times):
            assert one.read == (photos / f"{i:03}.png").stat().st_size
            assert (one.error is not None) == (i == 2) == (one.stored == 0) == (one.seen is None)
            assert one.memory > 10_000_000
            assert set(one.seconds) == set(STEPS)
            assert (one.seconds["network"] > 0.0001) == (i != 2)
        assert crew.times[0].seen == (3, 40, 64)
        assert crew.whole == pytest.approx(sum(one.whole for one in crew.times) / 6)


class OneIsLate:
    """Two workers, of which the second is ready later. Each does one piece of work in a turn."""

    size = 2
    given: ClassVar[list[tuple[int, str]]] = []
    alone: ClassVar[list[int]] = []  # pieces of work that ended while the other worker was idle

    def __init__(self, *_: Any) -> None:
        pass

    def rows(self, work: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
        busy: dict[int, int] = {}
        for turn in range(100):
            for pid in (1, 2)[: 1 + (turn > 4)]:
                if pid not in busy and (piece := next(work, None)) is not None:
                    busy[pid] = piece[0]
                    self.given.append((piece[0], piece[1][1]))
            done = min(busy, key=lambda pid: busy[pid])
            number = busy.pop(done)
            if not busy:
                self.alone.append(number)
            yield number, {"pid": done, "waited": 0.0, "times": asdict(Times(read=number))}

    def close(self) -> None:
        pass


def test_workers_are_busy_from_before_the_first_photograph_to_after_the_last(
    monkeypatch: pytest.MonkeyPatch, site: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(timing, "Workers", OneIsLate)
    crew = time_crew(make_parser(), made_up(5), 2, tmp_path)
    numbers = [one.read for one in crew.times]
    names = dict(OneIsLate.given)
    assert [names[number] for number in numbers] == [f"{i}.jpg" for i in range(5)]
    assert numbers[0] > 5  # the second worker came with the sixth piece of work
    assert not set(numbers) & set(OneIsLate.alone)
    assert OneIsLate.alone == [0, 1, 2, 3, 4]
    assert crew.workers == 2


def test_a_network_that_takes_long_shows_in_its_step_alone(site: Path, photos: Path) -> None:
    crew = time_crew(make_parser("slow@0.3"), references(photos)[:2], 1, photos.parent)
    assert crew.mean("network") > 0.3
    assert crew.whole - crew.mean("network") < 0.3


def test_without_borders_they_take_no_time(site: Path, photos: Path) -> None:
    crew = time_crew(make_parser(refine="none"), references(photos)[:1], 1, photos.parent)
    assert crew.mean("borders") == 0
    assert crew.mean("tree") > 0


def test_a_network_that_cannot_be_loaded_is_told(site: Path, photos: Path) -> None:
    with refused(BackboneError, "weights"):
        time_crew(make_parser("missing"), references(photos), 1, photos.parent)


def test_time_without_a_core_is_told_where_the_system_knows_it(monkeypatch, tmp_path) -> None:
    assert resources.waited_for_core() >= 0
    file = tmp_path / "schedstat"
    file.write_text("5000000000 2500000000 7\n")
    monkeypatch.setattr(resources, "Path", lambda name: file)
    assert resources.waited_for_core() == 2.5
    file.write_text("")
    assert resources.waited_for_core() == 0


def test_the_most_memory_is_not_below_what_is_held() -> None:
    held = resources.own_memory()
    most = resources.most_memory()
    assert held is None or (most is not None and most >= held * 0.9)


# -- the plan -------------------------------------------------------------------------------------


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> dict[int, CrewTimes]:
    """Crews with given times instead of worker processes."""
    one = Times(SECONDS, read=100, stored=1000, memory=5000, seen=(3, 8, 8))
    slower = {step: 1.5 * seconds for step, seconds in SECONDS.items()}
    crews = {
        1: CrewTimes(1, 8.0, [one, one]),
        4: CrewTimes(4, 10.0, [replace(one, seconds=slower), replace(one, seconds=slower)]),
    }

    def crew(parser: RegionParser, sample: Sequence[Reference], number: int, *_, **__) -> CrewTimes:
        found = crews[number]
        return replace(found, times=(found.times * len(sample))[: len(sample)])

    monkeypatch.setattr(plan, "time_crew", crew)
    return crews


def test_a_plan_is_made_of_what_was_measured(timed: dict[int, CrewTimes], site: Path) -> None:
    found = make_plan(
        make_parser(), made_up(400, size=2), machines=parse_machines(["2x20"]), photos=2, workers=4
    )
    assert found.factor == pytest.approx(1 / 1.5)
    assert found.spread == 0
    assert found.needs.start == pytest.approx(8 + 3 + 10)
    assert found.needs.read == 399
    here, there = found.forecasts
    assert here.machine.cores == 4
    assert here.seconds == pytest.approx(21 + 400 * 4.5 / 4)
    assert there.seconds == pytest.approx(21 + 400 * 4.5 / 40)
    assert (there.stored, there.memory) == (400_000, 100_000)


def test_few_photographs_start_no_workers(timed: dict[int, CrewTimes], site: Path) -> None:
    found = make_plan(make_parser(), made_up(5), photos=2, workers=4)
    (here,) = found.forecasts
    assert here.machine.cores == 1
    assert here.seconds == pytest.approx(8 + 5 * 3)


def test_operations_are_counted_if_a_machine_has_a_gpu(
    timed: dict[int, CrewTimes], site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = [3 * 10**12, 0]
    monkeypatch.setattr(plan, "operations", lambda parser, seen: counts.pop(0))
    machines = parse_machines(["50", "50+T4"])
    found = make_plan(make_parser(), made_up(999), machines=machines, photos=2, workers=4)
    assert found.needs.operations == 3 * 10**12
    at_gpu = 999 * 3 / (GPUS["T4"] * 0.3)
    assert found.forecasts[2].seconds == pytest.approx(21 + at_gpu)
    with refused(SettingsError, "50+T4", "operations"):
        make_plan(make_parser(), made_up(999), machines=machines, photos=2, workers=4)


def test_a_sample_without_a_tree_is_an_error(timed: dict[int, CrewTimes], site: Path) -> None:
    timed[1] = CrewTimes(1, 1.0, [Times(error="a.jpg: is empty")] * 2)
    with refused(SettingsError, "2 photographs", "a.jpg: is empty"):
        make_plan(make_parser(), made_up(400), photos=2, workers=4)


def test_what_failed_and_what_other_programs_took_is_said(
    timed: dict[int, CrewTimes], site: Path
) -> None:
    good = timed[4].times[0]
    timed[4] = CrewTimes(4, 10.0, [replace(good, waited=4.5), Times(error="b.jpg: is empty")])
    found = make_plan(make_parser(), made_up(2), photos=2, workers=4)
    assert found.interference == pytest.approx(0.5)
    assert list(found.failures.values()) == ["b.jpg: is empty"]
    assert found.needs.seconds["network"] == pytest.approx(1.5)  # the mean of 3 and 0
    said = foretelling.plan_text(found)
    for fact in ("1 of which failed", "50%", "standard error"):
        assert fact in said


def test_the_network_of_a_gpu_is_timed_on_it(site: Path) -> None:
    parser = make_parser("slow@0.05")
    assert timing.network_seconds(parser, [(3, 40, 64), (3, 40, 64), (3, 8, 8)]) > 0.05


# -- the command ----------------------------------------------------------------------------------


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["plan", *map(str, arguments)], catch_exceptions=False)


SMALL = ("--backbone", "tiny:none", *SETTINGS, "--workers", 2)


def test_a_small_real_run(site: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The network of the test has no products, so none would be counted.
    monkeypatch.setattr(plan, "operations", lambda parser, seen: 10**6 * len(seen))
    done = call(
        photos, *SMALL, "--json", "--photos", 4, "--machines", "4x64,2x16+L4", "--core-price",
        0.05, "--gpu-price", "l4=0.8",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["photographs"] == 6
    assert found["bytes"] == sum(file.stat().st_size for file in photos.iterdir())
    measured = found["measured"]
    assert (measured["photographs"], measured["workers"]) == (4, 2)
    assert set(measured["seconds_alone"]) == set(measured["seconds_together"]) == set(STEPS)
    assert [one["name"] for one in found["machines"]] == ["this machine", "4x64", "2x16+L4"]
    for one in found["machines"]:
        assert one["hours"] == pytest.approx(one["seconds"] / 3600)
        assert one["price"] > 0 or one["gpu"] is not None
        assert one["stored"] > 0
    assert found["assumed"]["gpu_prices"] == {"L4": 0.8}


def test_text_says_what_is_measured_and_what_is_assumed(
    site: Path, photos: Path, timed: dict[int, CrewTimes], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed[2] = timed[4]
    monkeypatch.setattr(plan, "operations", lambda parser, seen: 94 * 10**9)
    done = call(photos, *SMALL, "--photos", 6, "--machines", "4x64", "--machines", "2x16+L4",
                "--gpu-use", 0.25)  # fmt: skip
    assert done.exit_code == 0, done.stderr
    for fact in ("6 photographs", "decoding", "network", "this machine", "4x64", "2x16+L4",
                 "measured:", "assumed:", "25%", "121", "94 giga"):  # fmt: skip
        assert fact in done.stdout, done.stdout
    _, _, table, measured, assumed = done.stdout.strip().split("\n\n")
    assert "0.67 of what one core alone does" in measured
    assert [line.split()[0] for line in table.splitlines()] == [
        "machines",
        "this",
        "4x64",
        "2x16+L4",
    ]
    assert "price" not in assumed
    alone = call(photos, *SMALL, "--photos", 6)
    assert "tera" not in alone.stdout


def test_trees_may_go_into_a_store(site: Path, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    done = call(photos, *SMALL, "--photos", 6, "--format", "parquet", "--json")
    assert done.exit_code == 0, done.stderr
    measured = json.loads(done.stdout)["measured"]
    assert measured["tree_bytes"] > 0
    assert measured["shard_seconds"] >= 0
    assert len(measured["failed"]) == 1
    assert "cut short" in done.stderr or "002.png" in done.stderr


def test_a_store_as_output_means_a_store(
    site: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    seen: list[bool] = []

    def look(*_: Any, is_store: bool, **__: Any) -> None:
        seen.append(is_store)
        raise KeyboardInterrupt

    monkeypatch.setattr(foretelling, "make_plan", look)
    open_store(tmp_path / "store", {})
    (tmp_path / "trees").mkdir()
    for out in ("store", "trees", "new"):
        assert call(photos, *SMALL, "-o", tmp_path / out).exit_code == 130
    assert call(photos, *SMALL).exit_code == 130
    assert seen == [True, False, False, False]


def test_nothing_is_written(
    site: Path, photos: Path, timed: dict[int, CrewTimes], tmp_path: Path
) -> None:
    timed[2] = timed[4]
    before = sorted(photos.iterdir())
    assert call(photos, *SMALL, "-o", tmp_path / "trees").exit_code == 0
    assert sorted(photos.iterdir()) == before
    assert list(tmp_path.iterdir()) == []


def test_a_peak_makes_another_gpu_known(
    site: Path, photos: Path, timed: dict[int, CrewTimes], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed[2] = timed[4]
    monkeypatch.setattr(plan, "operations", lambda parser, seen: 10**12)
    more = ("--machines", "900+b9", "--gpu-peak", "B9=0.5", "--gpu-use", 1, "--gpu-price", "b9=36")
    done = call(photos, *SMALL, *more, "--core-price", 0, "--json")
    assert done.exit_code == 0, done.stderr
    _, found = json.loads(done.stdout)["machines"]
    assert (found["gpu"], found["limit"]) == ("B9", "start")
    assert found["seconds"] == pytest.approx(21 + 6 * 2)
    assert found["price"] == pytest.approx(found["seconds"] / 100)


def test_fewer_photographs_than_asked_for_are_told(
    site: Path, photos: Path, timed: dict[int, CrewTimes]
) -> None:
    timed[2] = timed[4]
    done = call(photos, *SMALL, "--photos", 50)
    assert done.exit_code == 0
    assert "only 6 of the 50" in done.stderr


@pytest.mark.parametrize(
    ("more", "fact"),
    [
        (("--machines", "lots"), "4x64"),
        (("--machines", "8+Abacus"), "Abacus"),
        (("--gpu-price", "Abacus=1"), "Abacus"),
        (("--gpu-peak", "Abacus=0"), "Abacus"),
        (("--gpu-use", "0"), "gpu_use"),
        (("--gpu-use", "1.5"), "gpu_use"),
        (("--core-price", "-1"), "core_price"),
        (("--format", "csv"), "csv"),
        (("--preset", "quick"), "quick"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_before_work(
    more: tuple[str, str], fact: str, site: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "survey", lambda *_: pytest.fail("the collection was listed"))
    done = call(photos, *SMALL, *more)
    assert done.exit_code == 2
    assert fact in done.stderr


def test_a_place_without_photographs_is_told(site: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt.bak").write_text("x")
    for place in (tmp_path, tmp_path / "gone"):
        done = call(place, *SMALL)
        assert done.exit_code == 2
        assert str(tmp_path) in done.stderr


def test_photographs_of_which_none_can_be_read_are_told(site: Path, tmp_path: Path) -> None:
    broken = add_photos(tmp_path / "in", 2, broken=(0, 1))
    done = call(broken, *SMALL, "--photos", 2)
    assert done.exit_code == 2
    assert "2 photographs" in done.stderr
    assert ".png" in done.stderr


def test_every_option_reaches_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        foretelling, "run", lambda *given, **named: seen.append((given, named)) or 0
    )
    done = call(
        "a", "b", "-o", "trees", "--machines", "4x64", "--machines", "8", "--photos", 9,
        "--workers", 3, "--format", "npz", "--column", "c", "--id-column", "i", "--core-price",
        0.5, "--gpu-price", "T4=1", "--gpu-peak", "X=2", "--gpu-use", 0.2, "--json", "--preset",
        "fast", "--seed", 3, "--device", "cpu", "--max-pixels", 900, "--bands", "2", "--page", 4,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    (((parser, sources, out), named),) = seen
    assert (sources, out) == (["a", "b"], "trees")
    assert named == {
        "machines": ["4x64", "8"], "photos": 9, "workers": 3, "format": "npz", "column": "c",
        "id_column": "i", "core_price": 0.5, "gpu_prices": ["T4=1"], "gpu_peaks": ["X=2"],
        "gpu_use": 0.2, "as_json": True,
    }  # fmt: skip
    assert (parser.settings.view.size, parser.settings.seed) == (392, 3)
    assert (parser.sight.max_pixels, parser.sight.choice.page) == (900, 4)


def test_an_interruption_is_told(site: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> Forecast:
        raise KeyboardInterrupt

    monkeypatch.setattr(plan, "time_crew", interrupt)
    done = call(photos, *SMALL)
    assert done.exit_code == 130
    assert "interrupted" in done.stderr


def test_plan_has_the_settings_of_segment() -> None:
    segment, planned = (
        {max(one.opts, key=len): one.help for one in OPTIONS[name]} for name in ("segment", "plan")
    )
    not_settings = {
        "--out", "--compile", "--mask", "--overwrite", "--pictures", "--workers", "--engine",
        "--ray-address", "--json", "--clip", "--joint", "--every", "--fps", "--start", "--end",
    }  # fmt: skip
    assert {name: planned.get(name) for name in segment.keys() - not_settings} == {
        name: segment[name] for name in segment.keys() - not_settings
    }


def test_numbers_are_finite() -> None:
    zero = Needs(10, dict.fromkeys(STEPS, 0.0))
    assert math.isfinite(forecast(Machine("1", 1, 1), zero).seconds)
    assert np.isfinite(forecast(Machine("8+L4", 1, 8, "L4", 1), zero).bandwidth)
