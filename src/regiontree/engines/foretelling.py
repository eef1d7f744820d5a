"""What ``regiontree plan`` prints, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from tempfile import TemporaryDirectory

from regiontree.engines.batch import suffixes_for
from regiontree.engines.command import EXIT_INTERRUPTED
from regiontree.engines.machines import (
    GPUS,
    STEPS,
    Assumed,
    Forecast,
    numbers_by_name,
    parse_machines,
)
from regiontree.engines.plan import HERE, Plan, make_plan
from regiontree.engines.storing import Choices, why_a_store
from regiontree.engines.survey import Survey
from regiontree.errors import SettingsError, check_number
from regiontree.parser import RegionParser
from regiontree.references.listing import list_references
from regiontree.system.progress import progress_bar
from regiontree.system.signals import interruptible
from regiontree.system.terminal import say

__all__ = ["plan_text", "run"]

_TOLD = 5  # problems of the listing and failures that are printed


def run(
    parser: RegionParser,
    sources: Sequence[str],
    out: str | None = None,
    *,
    machines: Sequence[str] = (),
    photos: int = 16,
    workers: int | None = None,
    format: str | None = None,
    column: str | None = None,
    id_column: str | None = None,
    core_price: float | None = None,
    gpu_prices: Sequence[str] = (),
    gpu_peaks: Sequence[str] = (),
    gpu_use: float = 0.3,
    as_json: bool = False,
) -> int:
    """Print what a run needs; the exit code.

    Parameters
    ----------
    parser
        Made from the settings.
    sources
        As ``regiontree segment`` takes them.
    out
        Where the trees would go. Nothing is written there.
    machines, gpu_prices, gpu_peaks
        Texts of the user: see :mod:`regiontree.engines.machines`.
    photos, workers
        As for :func:`~regiontree.engines.plan.make_plan`.
    format, column, id_column
        As for ``regiontree segment``.
    core_price
        Of an hour of a core.
    gpu_use
        Share of the peak of a GPU that the network uses.
    as_json
        Whether to print JSON instead of text.

    Raises
    ------
    RegionTreeError
        Nothing can be foretold: an option makes no sense, say, or there is no photograph.
    """
    photos = check_number("photos", photos, 1, 100_000, whole=True)
    assumed = _assumed(core_price, gpu_prices, gpu_peaks, gpu_use)
    others = parse_machines(machines, assumed.peaks)
    choices = Choices(format=format, column=column, id_column=id_column)
    with TemporaryDirectory(prefix="regiontree-") as nothing:
        is_store = why_a_store(sources, out or nothing, choices) is not None
    listing = list_references(
        sources, suffixes_for(parser), column=column, id_column=id_column, out=out
    )
    try:
        with interruptible() as check, progress_bar("measuring", 2 * photos) as bar:

            def surveyed(found: Survey) -> None:
                number = len(found.sample)
                bar.expect(2 * number)
                if number < photos:
                    bar.say(f"only {number} of the {photos} photographs that were asked for exist")

            def advance() -> None:
                bar.reach(bar.reached + 1)
                check()

            plan = make_plan(
                parser, listing, machines=others, assumed=assumed, photos=photos, workers=workers,
                is_store=is_store, on_survey=surveyed, on_photograph=advance,
            )  # fmt: skip
    except KeyboardInterrupt:
        say("interrupted: nothing is foretold")
        return EXIT_INTERRUPTED
    except SettingsError as error:
        raise SettingsError("; ".join([str(error), *_problems(listing.problems)])) from error
    if listing.left_out_text:
        say(listing.left_out_text)
    for problem in [*_problems(listing.problems), *_problems(plan.failures)]:
        say(problem)
    if as_json:
        more = {"left_out": dict(sorted(listing.left_out.items())), "twice": listing.twice,
                "problems": dict(listing.problems)}  # fmt: skip
        print(json.dumps({**plan.as_dict(), **more}, indent=1))
    else:
        print(plan_text(plan))
    return 0


def _assumed(
    core_price: float | None,
    gpu_prices: Sequence[str],
    gpu_peaks: Sequence[str],
    gpu_use: float,
) -> Assumed:
    """What the user gives instead of a measurement."""
    if core_price is not None:
        core_price = float(check_number("core_price", core_price, 0.0, 1e9))
    gpu_use = float(check_number("gpu_use", gpu_use, 0.001, 1.0))
    peaks = {**GPUS, **numbers_by_name("--gpu-peak", gpu_peaks)}
    if zero := [name for name, peak in peaks.items() if not peak]:
        raise SettingsError(f"--gpu-peak {zero[0]}=0: must be above 0")
    names = {name.casefold(): name for name in peaks}
    prices = {}
    for name, price in numbers_by_name("--gpu-price", gpu_prices).items():
        if name.casefold() not in names:
            known = ", ".join(peaks)
            raise SettingsError(f"--gpu-price {name}: no such GPU is known; known are {known}")
        prices[names[name.casefold()]] = price
    return Assumed(peaks, gpu_use, core_price, prices)


def _problems(found: Mapping[str, str]) -> list[str]:
    """The first problems, and how many more there are."""
    said = [f"{name}: {why}" if name not in why else why for name, why in found.items()]
    more = [f"and {len(said) - _TOLD:,} more"] if len(said) > _TOLD else []
    return said[:_TOLD] + more


# -- text -----------------------------------------------------------------------------------------


def plan_text(plan: Plan) -> str:
    """A plan as text: what one photograph takes, what each machine needs, and what is assumed."""
    found = plan.survey
    size = ""
    if found.bytes is not None:
        size = f", {'' if found.is_exact else 'about '}{_bytes(found.bytes)}"
    parts = [
        f"{found.count:,} photographs{size}; listed in {found.seconds:.1f} s",
        "\n".join(_step_lines(plan)),
        "\n".join(_machine_lines(plan.forecasts)),
        "\n".join(f"measured: {line}" for line in _measured(plan)),
        "\n".join(f"assumed: {line}" for line in _assumptions(plan)),
    ]
    return "\n\n".join(part for part in parts if part)


def _step_lines(plan: Plan) -> Iterator[str]:
    number = plan.together.workers
    many = f"{number} cores at once" if number > 1 else ""
    yield f"{'seconds of a core':18} {'one alone':>10} {many:>16}".rstrip()
    means = {step: (plan.alone.mean(step), plan.together.mean(step)) for step in STEPS}
    means["all"] = (plan.alone.whole, plan.together.whole)
    for step, (alone, together) in means.items():
        yield f"{step:18} {alone:10.3f} {f'{together:.3f}' if number > 1 else '':>16}".rstrip()


def _machine_lines(forecasts: Sequence[Forecast]) -> list[str]:
    """The table of machines, in columns."""
    rows = [("machines", "time", "limited by", "memory each", "reads", "price")]
    for one in forecasts:
        price = "" if one.price is None else f"{one.price:,.{2 if one.price >= 1 else 4}f}"
        reads = f"{_bytes(one.bandwidth)}/s"
        rows.append(
            (_name(one), _duration(one.seconds), one.limit, _bytes(one.memory), reads, price)
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i in (0, 2) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _name(one: Forecast) -> str:
    machine = one.machine
    if machine.name != HERE:
        return machine.name
    gpu = "" if machine.gpu is None else f" and {machine.gpu}"
    return f"{HERE}, {machine.cores} {'process' if machine.cores == 1 else 'processes'}{gpu}"


def _measured(plan: Plan) -> Iterator[str]:
    needs, number = plan.needs, plan.together.workers
    failed = f", {len(plan.failures)} of which failed" if plan.failures else ""
    spread = f"; standard error of the mean {plan.spread:.0%}" if plan.spread is not None else ""
    sample = len(plan.survey.sample)
    yield f"{sample} photograph{'s' * (sample > 1)}{failed}, on this machine{spread}"
    if number > 1:
        yield f"of {number} busy cores, each does {plan.factor:.2f} of what one core alone does"
    yield f"start {needs.start:.1f} s: the command, the network, the workers and their first trees"
    stored = plan.forecasts[0].stored
    kind = "a store" if plan.is_store else ".npz files"
    yield f"a tree {_bytes(needs.stored)}, all trees {_bytes(stored)} in {kind}"
    if needs.shards:
        yield f"a row takes {1000 * needs.shards:.1f} ms until it is in a shard, by one process"
    if plan.interference > 0.05:
        yield (
            f"other programs had the cores for {plan.interference:.0%} of the time; that time does "
            "not count, but figures of a quiet machine are better"
        )


def _assumptions(plan: Plan) -> Iterator[str]:
    yield "the other photographs are like those that were measured, and nothing else runs"
    others = plan.forecasts[1:]
    if others:
        yield "other machines have cores, disks and starts like these, and are all there at once"
        yield "cores of other machines slow each other down as these do, however many there are"
        yield "the source gives the bytes a second that the table says"
    for name in dict.fromkeys(one.machine.gpu for one in others if one.machine.gpu is not None):
        yield (
            f"a network uses {plan.assumed.use:.0%} of the {name}'s "
            f"{plan.assumed.peaks[name]:g} tera-operations a second; it needs "
            f"{plan.needs.operations / 1e9:.0f} giga-operations a photograph, by count"
        )
    if any(one.price is not None for one in plan.forecasts):
        yield "prices are those that were given, for the whole time"


def _duration(seconds: float) -> str:
    """
    >>> [_duration(s) for s in (8.04, 600, 9000, 1e6)]
    ['8.0 s', '10.0 min', '2.5 h', '277.8 h (11.6 days)']
    """
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    hours = f"{seconds / 3600:,.1f} h"
    return hours if seconds < 48 * 3600 else f"{hours} ({seconds / 86400:,.1f} days)"


def _bytes(number: float) -> str:
    """
    >>> [_bytes(n) for n in (0, 12_300, 600_000, 2.5e9, 1.2e15)]
    ['0 KB', '12 KB', '600 KB', '2.5 GB', '1200 TB']
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            count = number / size
            return f"{count:.0f} {unit}" if count >= 100 else f"{count:.3g} {unit}"
    return f"{number / 1e3:.0f} KB"
