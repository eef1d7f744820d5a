"""``python -m fuzz``: fuzz all targets, or those that are named, and say what was found.

Exit code: 0 no fault, 1 faults (their inputs lie in the folder that is printed), 2 usage.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks._provenance import provenance

from fuzz.target import Target, kind_of
from fuzz.targets import KINDS, cases_of
from fuzz.worker import CURRENT, current_input, prepare, work

__all__ = ["main"]

_LIMIT = 900  # seconds for one target


@dataclass
class Result:
    """What a worker did."""

    target: str
    cases: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    faults: list[dict[str, Any]] = field(default_factory=list)
    broken: str = ""


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help="KIND or KIND.READER; default: all")
    parser.add_argument("--cases", type=int, default=10_000, help="cases for each kind")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--out", type=Path, default=Path("fuzz-found"), help="for inputs of faults")
    parser.add_argument("--csv", type=Path, help="write a table of counts")
    parser.add_argument("--try", dest="tried", type=Path, help="run one input of the target again")
    parser.add_argument("--seed", type=int, default=18, help="another one makes other cases")
    parser.add_argument("--unguided", action="store_true", help="do not use atheris")
    given = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # for equal cases in every run
        environment = {**os.environ, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
        os.execve(sys.executable, [sys.executable, "-m", "fuzz", *sys.argv[1:]], environment)
    began = time.monotonic()
    names = given.targets or KINDS
    named = {kind_of(name) for name in names}
    kinds = [kind for kind in KINDS if kind in named]
    targets, guided = prepare(kinds, guided=not given.unguided and given.tried is None)
    if not guided and given.tried is None:
        print("without atheris, inputs are changed without guidance by coverage")
    if unknown := set(names) - {*KINDS, *targets}:
        parser.error(f"no target {min(unknown)!r}; there are {', '.join([*KINDS, *targets])}")
    chosen = [one for one in targets.values() if {one.name, one.kind} & set(names)]
    if given.tried is not None:
        if len(chosen) != 1:
            parser.error("--try needs exactly one target")
        return _try(chosen[0], given.tried)
    plan = [(target, cases_of(target, targets, given.cases)) for target in chosen]
    plan.sort(key=lambda entry: -entry[1])
    results = _all(plan, given.jobs, given.out, guided=guided, seed=given.seed)
    return _told(results, given.csv, time.monotonic() - began)


def _all(plan: list[tuple[Target, int]], jobs: int, out: Path, **how: Any) -> list[Result]:
    """Fuzz each target in a copy of this process, `jobs` at a time."""
    waiting, running, results = list(plan), dict[int, _Running](), []
    while waiting or running:
        while waiting and len(running) < jobs:
            one = _started(*waiting.pop(0), how)
            running[one.process] = one
        ended, status, used = os.wait4(-1, os.WNOHANG)
        if ended:
            cpu = used.ru_utime + used.ru_stime
            results.append(_result(running.pop(ended), status, cpu))
            _keep(results[-1], out)
            continue
        for one in running.values():
            if time.monotonic() - one.began > _LIMIT:
                os.kill(one.process, signal.SIGKILL)
        time.sleep(0.05)
    return results


@dataclass
class _Running:
    """A process at work."""

    target: Target
    process: int
    folder: Path
    began: float


def _started(target: Target, cases: int, how: dict[str, Any]) -> _Running:
    memory = Path("/dev/shm")
    there = memory if os.access(memory, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=there))
    sys.stdout.flush()
    process = os.fork()
    if process:
        return _Running(target, process, folder, time.monotonic())
    said = os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    try:
        work(target, cases, folder, folder / "report", **how)
    except BaseException:  # noqa: BLE001 this copy must end here, whatever happened
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _result(one: _Running, status: int, cpu: float) -> Result:
    """What an ended process has done and found."""
    folder, report = one.folder, one.folder / "report"
    result = Result(one.target.name, seconds=time.monotonic() - one.began, cpu=cpu)
    text = report.read_text() if report.exists() else ""
    lines = [json.loads(line) for line in text.splitlines()]
    result.faults = [line for line in lines if "data" in line]
    begun = (folder / CURRENT).exists()
    if begun:
        result.cases, current = current_input(folder)
    if not any("done" in line for line in lines):
        said = (folder / "said").read_text(errors="replace").splitlines()[-40:]
        what = f"ended with status {status} after {result.cases} cases"
        result.broken = "\n".join([what, *said])
        if begun:
            crash = {"kind": "crash", "where": "", "detail": what, "data": current.hex()}
            result.faults.append(crash)
    shutil.rmtree(folder, ignore_errors=True)
    mark = f", {len(result.faults)} FAULTS" if result.faults or result.broken else ""
    spent = f"{result.seconds:.0f} s, {cpu:.0f} of CPU"
    print(f"{result.target}: {result.cases} cases in {spent}{mark}", flush=True)
    return result


def _keep(result: Result, out: Path) -> None:
    """Say what was found, and write the inputs, before other targets end: a run may be stopped."""
    if result.broken:
        print(f"\n{result.target}: {result.broken}")
    for fault in result.faults:
        data = bytes.fromhex(fault["data"])
        folder = out / result.target
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{hashlib.sha256(data).hexdigest()[:12]}.bin"
        file.write_bytes(data)
        print(f"\n{file}\n  {fault['kind']} in {fault['where']}\n  {fault['detail']}", flush=True)


def _told(results: list[Result], table: Path | None, seconds: float) -> int:
    """Write the counts; the exit code."""
    if table is not None:
        with table.open("w", newline="") as file:
            command = "python -m fuzz --csv benchmarks/results/fuzz.csv"
            about = {"table": "fuzz", "command": command, **provenance()}
            file.writelines(f"# {key}: {value}\n" for key, value in about.items())
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["target", "cases", "time_seconds", "cpu_time_seconds", "faults"])
            for r in sorted(results, key=lambda r: r.target):
                counts = r.cases, round(r.seconds), round(r.cpu), len(r.faults)
                rows.writerow([r.target, *counts])
    count = sum(len(result.faults) for result in results)
    cases = sum(result.cases for result in results)
    cpu = sum(result.cpu for result in results)
    spent = f"{seconds:.0f} s, {cpu:.0f} of CPU"
    print(f"\n{cases:,} cases of {len(results)} targets in {spent}: {count} faults")
    return int(any(result.faults or result.broken for result in results))


def _try(target: Target, file: Path) -> int:
    """Run one input in this process, so that a debugger can be used."""
    from fuzz.case import Judge

    with tempfile.TemporaryDirectory() as folder:
        fault = Judge(Path(folder)).verdict(target, file.read_bytes())
    if fault is None:
        print("passed")
        return 0
    print(f"{fault.kind} in {fault.where}\n{fault.detail}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
