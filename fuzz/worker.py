"""What one process does: it fuzzes one target.

Cases are counted and faults are written to the report as they are found, one line each in JSON. So
nothing is lost if a case ends the process. The input at hand is always in ``FOLDER/current``.
"""

from __future__ import annotations

import io
import json
import mmap
import random
import struct
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from fuzz.mutate import change_bytes
from fuzz.target import Target

__all__ = ["CURRENT", "current_input", "prepare", "work"]

CURRENT = "current"
LONGEST = 1 << 16  # bytes of an input
FAULTS = 40  # different faults of one target that are kept
HYPOTHESIS = 0.25  # share of the cases that hypothesis makes, where a target has a strategy


class Bench:
    """Runs the cases of one target, counts them, and reports each different fault once."""

    def __init__(self, target: Target, judge: Any, folder: Path, report: Path, cases: int) -> None:
        self.target, self.judge, self.cases, self.report = target, judge, cases, report
        self.done, self.seen = 0, set[str]()
        file = folder / CURRENT
        file.write_bytes(bytes(12 + LONGEST))
        with file.open("r+b") as opened:
            self.current = mmap.mmap(opened.fileno(), 0)

    def case(self, data: bytes) -> None:
        """Run one case."""
        data = data[:LONGEST]
        self.current[: 12 + len(data)] = struct.pack("<QI", self.done, len(data)) + data
        fault = self.judge.verdict(self.target, data)
        self.done += 1
        self.current[:8] = struct.pack("<Q", self.done)
        if fault is not None and fault.signature not in self.seen and len(self.seen) < FAULTS:
            self.seen.add(fault.signature)
            self.report_fault(fault, data)
        if self.done == self.cases:
            self._write({"done": self.done})

    def report_fault(self, fault: Any, data: bytes) -> None:
        """Make the input smaller and write it down."""
        from fuzz.minimise import minimised

        def same(shorter: bytes) -> bool:
            found = self.judge.verdict(self.target, shorter)
            return found is not None and found.signature == fault.signature

        seconds = 0.0 if fault.kind in ("hang", "memory") else 3.0
        small = minimised(data, same, seconds)
        known = {"kind": fault.kind, "where": fault.where, "detail": fault.detail}
        self._write({**known, "data": small.hex()})

    def _write(self, line: dict[str, Any]) -> None:
        with self.report.open("a") as file:
            file.write(json.dumps(line) + "\n")


def current_input(folder: Path) -> tuple[int, bytes]:
    """How many cases were done, and the input of the last one that was begun."""
    raw = (folder / CURRENT).read_bytes()
    done, length = struct.unpack("<QI", raw[:12])
    return done, raw[12 : 12 + length]


def prepare(kinds: Sequence[str], *, guided: bool = True) -> tuple[dict[str, Target], bool]:
    """The targets of these kinds, and whether atheris guides.

    If atheris guides, it sees which branches of readers are taken. It must change their code for
    that, which takes seconds. So this is done once, and :func:`work` runs in copies of the process.
    """
    try:
        if not guided:
            raise ImportError
        import atheris
    except ImportError:
        from fuzz.targets import all_targets

        return all_targets(kinds), False
    quiet = redirect_stderr(io.StringIO())  # atheris names each module
    with quiet, atheris.instrument_imports(include=["regiontree"]):
        from fuzz.targets import all_targets

        return all_targets(kinds), True


def work(
    target: Target, cases: int, folder: Path, report: Path, *, guided: bool, seed: int
) -> None:
    """Fuzz one target. With atheris this does not return: libFuzzer ends the process.

    Parameters
    ----------
    target
        What to fuzz.
    cases
        How many cases to run.
    folder
        An empty folder for the files of cases.
    report
        The file to write faults to.
    guided
        Whether atheris chooses the inputs.
    seed
        Of all random choices.
    """
    from fuzz.case import Judge

    warnings.simplefilter("ignore")  # mutators may warn; within a case, warnings are faults
    judge = Judge(folder)
    seeds = target.seeds()
    for valid in seeds:  # what readers import late is not a case's memory or time
        judge.verdict(target, valid)
    judge.limit_memory()
    bench = Bench(target, judge, folder, report, cases)
    for valid in seeds[:cases]:
        bench.case(valid)
    if target.strategy is not None:
        _by_hypothesis(bench, target, int(cases * HYPOTHESIS), seed)
    if bench.done == cases:
        return
    if guided:
        _by_atheris(bench, target, seeds, folder, seed)
    else:
        _by_mutation(bench, target, seeds, seed)


def _by_hypothesis(bench: Bench, target: Target, cases: int, number: int) -> None:
    from hypothesis import HealthCheck, Phase, given, seed, settings

    assert target.strategy is not None
    end = bench.done + cases

    @seed(number)
    @settings(
        max_examples=cases, database=None, deadline=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(target.strategy())
    def each(data: bytes) -> None:
        if bench.done < end:
            bench.case(data)

    each()


def _changes(target: Target) -> Callable[[random.Random, bytes], bytes]:
    """A change by one of the target's mutators or of bytes."""

    def change(rng: random.Random, data: bytes) -> bytes:
        try:
            return rng.choice((*target.mutators, change_bytes))(rng, data)
        except Exception:  # noqa: BLE001 what is spoilt already may be beyond taking apart
            return change_bytes(rng, data)

    return change


def _by_mutation(bench: Bench, target: Target, seeds: list[bytes], seed: int) -> None:
    """The same changes without guidance, each input from one to three changes of a seed."""
    rng, change = random.Random(seed), _changes(target)
    while bench.done < bench.cases:
        data = rng.choice(seeds)
        for _ in range(rng.randint(1, 3)):
            data = change(rng, data)
        bench.case(data)


def _by_atheris(
    bench: Bench, target: Target, seeds: list[bytes], folder: Path, number: int
) -> None:
    """Guided by coverage. Does not return: libFuzzer ends the process."""
    import atheris

    corpus = folder / "corpus"
    corpus.mkdir()
    for i, valid in enumerate(seeds):
        (corpus / str(i)).write_bytes(valid)
    change = _changes(target)

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.2:
            return bytes(atheris.Mutate(bytes(data), longest))
        return change(rng, bytes(data))[:longest]

    def run(data: bytes) -> None:
        if bench.done < bench.cases:
            bench.case(bytes(data))

    flags = {"runs": bench.cases - bench.done, "seed": number, "max_len": LONGEST, "len_control": 0,
             "timeout": 0, "rss_limit_mb": 0, "print_final_stats": 0, "verbosity": 0,
             "detect_leaks": 0, "artifact_prefix": f"{folder}/"}  # fmt: skip
    atheris.Setup(
        ["fuzz", *(f"-{name}={value}" for name, value in flags.items()), str(corpus)],
        run,
        custom_mutator=mutate,
    )
    atheris.Fuzz()
