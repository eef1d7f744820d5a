"""Killed, out of room, in company, with a clock that goes back: the result is the undisturbed one.

After each accident every visible file is whole. The same command then ends well, does nothing again
that was finished, and leaves the bytes of a run that nothing disturbed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from commands import COMMANDS, Command, download, serving
from machine import Ended, Machine, contents, fresh, leftovers, unfinished

KILLS = int(os.environ.get("REGIONTREE_KILLS", "50"))
SEED = int(os.environ.get("REGIONTREE_SEED", "0"))


class Case:
    """A command in a folder of its own, and what it leaves undisturbed."""

    def __init__(self, machine: Machine, command: Command, folder: Path) -> None:
        self.machine, self.command = machine, command
        self.start, self.folder = folder / "start", folder / "work"
        self.start.mkdir()
        command.prepare(self.start)
        fresh(self.folder, self.start)
        ended = self.run()
        assert ended.code == 0, ended.said
        self.calls = ended.calls
        self.kills = min(KILLS, command.kills or KILLS)
        assert self.calls > 4, "the command changes nothing"
        self.wanted = contents(self.folder)

    def run(self, **accident: object) -> Ended:
        return self.machine.run(self.command.argv, self.folder, **accident)[0]  # type: ignore[arg-type]

    def is_well(self, ended: Ended) -> bool:
        """Whether a run ended well, or found a document that an earlier one had finished."""
        return ended.code == 0 or (
            self.command.document is not None
            and ended.code == 2
            and f"{self.command.document}: exists" in ended.said
        )

    def again(self) -> None:
        fresh(self.folder, self.start)

    def finished(self) -> dict[Path, tuple[int, int]]:
        """Inode and time of each finished file: a file written again has others."""
        files = {f for pattern in self.command.finished for f in self.folder.glob(pattern)}
        files = {f for f in files if not any(p.startswith(".") for p in f.parts)}
        return {f: (f.stat().st_ino, f.stat().st_mtime_ns) for f in files if f.is_file()}

    def check_after_accident(self) -> None:
        assert not unfinished(self.folder)

    def check_recovery(self) -> None:
        """The command, run once more, ends well with the undisturbed result."""
        for left in leftovers(self.folder):  # as if the accident was long ago
            os.utime(self.folder / left, (0, 0))  # a finished file may still have this name, too
        before = self.finished()
        ended = self.run()
        assert self.is_well(ended), ended.said
        after = self.finished()
        again = [f.name for f in before if after.get(f) != before[f]]
        assert len(again) <= self.command.in_work, f"finished work was done again: {again}"
        found = contents(self.folder)
        assert found.keys() == self.wanted.keys()
        assert [n for n in found if found[n] != self.wanted[n]] == []
        assert leftovers(self.folder) == []


@pytest.fixture(scope="module", params=[*COMMANDS, "download"])
def case(
    request: pytest.FixtureRequest, machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp("torture")
    if request.param == "weights":
        request.getfixturevalue("embedded_installed")
    with serving() if request.param == "download" else nullcontext(0) as port:
        command = download(port) if port else COMMANDS[request.param]
        yield Case(machine, command, folder)


def moments(calls: int, count: int) -> list[int]:
    """Calls to have an accident at: all of them, or as many, drawn at random."""
    every = range(1, calls + 1)
    if calls <= count:
        return list(every)
    return sorted(random.Random(SEED).sample(every, count))


def test_killed_at_a_call_that_changes_a_file(case: Case) -> None:
    at_calls = moments(case.calls, case.kills)
    missed = []
    for at in at_calls:
        case.again()
        ended = case.run(what="kill", at=at)
        if ended.code == 0 and ended.calls < at:  # an answer of a server came in fewer pieces
            missed.append(at)
            assert contents(case.folder) == case.wanted, at
            continue
        assert ended.code == -9, f"call {at}: code {ended.code}: {ended.said}"
        case.check_after_accident()
        case.check_recovery()
    assert 2 * len(missed) < len(at_calls), missed


def test_killed_again_and_again_at_random_moments(case: Case) -> None:
    """Each run is killed a little later than the last one, in a folder that keeps what was done."""
    rng = random.Random(SEED)
    case.again()
    for _ in range(case.kills):
        before = case.finished()
        ended = case.run(after=rng.uniform(0.0, 0.4))
        assert ended.code == -9 or case.is_well(ended), ended.said
        case.check_after_accident()
        after = case.finished()
        assert {f: after.get(f) for f in before} == before
    case.check_recovery()


def test_the_disk_is_full_from_a_write_on(case: Case) -> None:
    for at in moments(case.calls, max(5, case.kills // 2)):
        case.again()
        ended = case.run(what="full", at=at)
        assert "Traceback" not in ended.said, f"call {at}: {ended.said}"
        if ended.code == 0:  # everything was written before, or a cache was done without
            allowed = [{}, case.wanted] if case.command.is_cache else [case.wanted]
            assert contents(case.folder) in allowed, at
            continue
        assert ended.code in (1, 2), f"call {at}: code {ended.code}: {ended.said}"
        assert "space" in ended.said or "full" in ended.said, f"call {at}: {ended.said}"
        case.check_after_accident()
        assert leftovers(case.folder) == []
        case.check_recovery()


@pytest.mark.parametrize("copies", [2, 4])
def test_several_processes_on_one_folder(case: Case, copies: int) -> None:
    for _ in range(2 if case.kills < KILLS else 5):
        case.again()
        for ended in case.machine.run(case.command.argv, case.folder, copies=copies):
            assert case.is_well(ended), ended.said
        case.check_after_accident()
        case.check_recovery()


def test_the_clock_goes_back(case: Case) -> None:
    for at in moments(case.calls, 5):
        case.again()
        ended = case.run(what="clock", at=at)
        assert ended.code == 0, ended.said
        assert "-" not in ended.said.partition(" in ")[2].partition(" s")[0], ended.said
        case.check_recovery()
