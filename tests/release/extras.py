"""Each extra of the built package alone, in an environment that holds nothing else.

    python tests/release/extras.py dist/regiontree-0.2.0-py3-none-any.whl
    python tests/release/extras.py dist/*.whl --extras plot export

1. An environment ``base`` gets torch and the wheel without extras. In it, every use of `uses.py`
   must fail with one line that names its extra.
2. For each extra, an environment above ``base`` gets ``regiontree[EXTRA]`` and nothing else. In it,
   the use of that extra must succeed, and ``pip check`` must find nothing.

torch is installed first, by the requirement in `constraints.txt`: pip then keeps it. Where pip
finds several builds of this version, it is the caller's settings of pip that choose.

``--resolve`` installs nothing. It asks uv which extras have wheels for each Python and system, and
writes the answers into ``tests/release/wheels.csv``.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WHEELS = HERE / "wheels.csv"
FOR_DEVELOPERS = {"bench", "docs", "fuzz", "release", "dev"}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# Names of uv: https://docs.astral.sh/uv/reference/cli/#uv-pip-compile--python-platform
SYSTEMS = {
    "Linux x86-64": "x86_64-manylinux_2_28",
    "Linux ARM": "aarch64-manylinux_2_39",
    "macOS ARM": "aarch64-apple-darwin",
    "Windows": "x86_64-pc-windows-msvc",
}
# Apple's wheels say the oldest system that they run on.
MACOS = {"MACOSX_DEPLOYMENT_TARGET": "14.0"}


def user_extras() -> list[str]:
    """The extras of `pyproject.toml` that are for users, in their order there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [one for one in project["optional-dependencies"] if one not in FOR_DEVELOPERS]


def without_wheels() -> set[str]:
    """The extras that have no wheels here, by `wheels.csv`; whether they build is not tried."""
    machine = {"arm64": "ARM", "aarch64": "ARM"}.get(platform.machine().lower(), "x86-64")
    kind = {"Darwin": "macOS", "Linux": "Linux"}.get(platform.system(), "Windows")
    here = kind if kind == "Windows" else f"{kind} {machine}"
    python = ".".join(platform.python_version_tuple()[:2])
    with WHEELS.open(encoding="utf-8", newline="") as file:
        rows = [
            row for row in csv.DictReader(file) if (row["system"], row["python"]) == (here, python)
        ]
    return {row["extra"] for row in rows if row["packages"] == "0"}


# -- installing -----------------------------------------------------------------------------------


class Environments:
    """The folder of the environments, and the wheel that they get."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder, self.wheel = folder, wheel.resolve()

    def base(self) -> Path:
        """The Python of an environment with torch and the wheel, and no extra."""
        python = self._new("base")
        constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
        (torch,) = re.findall(r"^torch==\S+$", constraints, flags=re.M)
        self._pip(python, "install", torch)
        self._pip(python, "install", str(self.wheel))
        return python

    def above(self, base: Path, extra: str) -> Path:
        """The Python of an environment above the base, with one extra."""
        python = self._new(extra)
        below = self._packages(base)
        text = f"import site; site.addsitedir({str(below)!r})\n"
        (self._packages(python) / "below.pth").write_text(text, encoding="utf-8")
        self._pip(python, "install", f"regiontree[{extra}] @ {self.wheel.as_uri()}")
        self._pip(python, "check")
        return python

    def _new(self, name: str) -> Path:
        place = self.folder / name
        venv.create(place, clear=True, with_pip=True)
        return place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def _packages(self, python: Path) -> Path:
        asked = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        return Path(
            subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        )

    def _pip(self, python: Path, *arguments: str) -> None:
        command = [python, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
        if run.returncode:
            raise InstallError(run.stdout + run.stderr)

    def megabytes(self, name: str) -> float:
        """Size of an environment on the disk, without what lies below it."""
        files = [path for path in (self.folder / name).rglob("*") if not path.is_symlink()]
        return sum(path.stat().st_size for path in files if path.is_file()) / 1e6


class InstallError(Exception):
    """pip failed, or found packages that do not fit."""


def used(python: Path, name: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """One use in an empty folder, with nothing of this user and of this checkout."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    told = {key: value for key, value in os.environ.items() if key not in hidden}
    with tempfile.TemporaryDirectory() as folder:
        told |= {"HOME": folder, "REGIONTREE_CACHE": str(cache), "HF_HUB_OFFLINE": "1",
                 "OMP_NUM_THREADS": "1", "FIFTYONE_DO_NOT_TRACK": "true",
                 "MPLBACKEND": "agg"}  # fmt: skip
        return subprocess.run(
            [python, HERE / "uses.py", name], cwd=folder, env=told, capture_output=True, text=True,
            errors="replace", check=False, timeout=900,
        )  # fmt: skip


def lacking(python: Path, extra: str, folder: Path) -> str:
    """What is wrong with how the base says that an extra is not there; empty if nothing is."""
    run = used(python, extra, folder / "no-weights")
    lines = run.stderr.strip().splitlines()
    if run.returncode == 0:
        return "works without its extra"
    # What an extra takes with it may be missed before its own packages are.
    names = {
        extra,
        *{"labelstudio": ("viewer",), "openvino": ("embedded",), "ray": ("store",)}.get(extra, ()),
    }
    if not lines or not any(f"regiontree[{name}]" in lines[-1] for name in names):
        return f"does not name its extra: {run.stderr.strip()[-2000:]}"
    return "" if "Traceback" not in run.stderr else f"is a traceback: {run.stderr[-2000:]}"


def tried(environments: Environments, base: Path, extra: str) -> tuple[bool, str]:
    """Whether an extra installs and works, and a line about it."""
    begun = time.monotonic()
    try:
        python = environments.above(base, extra)
    except (InstallError, subprocess.TimeoutExpired) as error:
        return False, f"{extra}: not installed: {error}"
    installed = time.monotonic() - begun
    run = used(python, extra, environments.folder / "weights")
    if run.returncode:
        return False, f"{extra}: does not work:\n{run.stdout[-2000:]}{run.stderr[-4000:]}"
    seconds = time.monotonic() - begun - installed
    size = environments.megabytes(extra)
    return True, f"{extra}: {size:.0f} MB, {installed:.0f} s to install, {seconds:.0f} s to use"


def main_install(wheel: Path, extras: list[str], folder: Path, *, keep: bool) -> int:
    """Tries the extras; returns how many failed."""
    environments = Environments(folder, wheel)
    base = environments.base()
    failed = []
    print(f"base: {environments.megabytes('base'):.0f} MB with torch", flush=True)
    run = used(base, "none", folder / "no-weights")
    if run.returncode:
        print(f"base: does not work:\n{run.stdout[-2000:]}{run.stderr[-4000:]}", flush=True)
        failed.append("base")
    for extra in extras:
        if extra != "all" and (wrong := lacking(base, extra, folder)):
            print(f"without {extra}: {wrong}", flush=True)
            failed.append(f"without {extra}")
    with ThreadPoolExecutor(2) as pool:
        tries = pool.map(lambda extra: tried(environments, base, extra), extras)
        for extra, (passed, line) in zip(extras, tries, strict=True):
            print(line, flush=True)
            if not passed:
                failed.append(extra)
            elif not keep:
                shutil.rmtree(folder / extra)
    print(f"{len(extras) * 2 + 1 - len(failed)} passed, {len(failed)} failed")
    return len(failed)


# -- resolving ------------------------------------------------------------------------------------


def requirements(wheel: Path, extra: str) -> list[str]:
    """What the wheel requires, with one extra or, for "", without."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA")]
        head = archive.read(name).decode("utf-8").split("\n\n")[0]
    needs = re.findall(r"^Requires-Dist: (.*)$", head, flags=re.M)
    found = []
    for need in needs:
        told = re.search(r"""extra == ['"]([\w-]+)['"]""", need)
        if told is None or told[1] == extra:
            # uv knows the Python and the system, but not our extras.
            found.append(re.sub(r"""\s*(and|;)\s*extra == ['"][\w-]+['"]""", "", need))
    return found


def resolved(needs: list[str], python: str, system: str, cache: str) -> tuple[int, str]:
    """How many packages some requirements take; 0 and the reason where wheels are missing."""
    command = [
        shutil.which("uv") or Path(sys.executable).with_name("uv"),
        "pip", "compile", "-", "--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:",
        "--python-version", python, "--python-platform", SYSTEMS[system],
    ]  # fmt: skip
    told = {**os.environ, **MACOS, "UV_CACHE_DIR": cache}
    for place in (["--offline"], []):  # most answers of PyPI are those of the extra before
        run = subprocess.run(
            [*command, *place], input="\n".join(needs), env=told,
            capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        if run.returncode == 0:
            return len(run.stdout.splitlines()), ""
    said = " ".join(run.stderr.split())
    lack = re.search(r"[Bb]ecause (?:only )?([A-Za-z][\w-]*)\S* ha(?:s|ve) no ", said)
    return 0, lack[1] if lack else said[:200]


def main_resolve(wheel: Path, extras: Iterable[str]) -> int:
    """Writes `wheels.csv`; returns how many extras have no wheels somewhere."""
    asked = list(product(("", *extras), SYSTEMS, PYTHONS))
    rows, missing = [], 0
    with tempfile.TemporaryDirectory() as empty, ThreadPoolExecutor(4) as pool:
        cache = os.environ.get("UV_CACHE_DIR", empty)

        def answer(one: tuple[str, str, str]) -> tuple[int, str]:
            return resolved(requirements(wheel, one[0]), one[2], one[1], cache)

        # One question for everything together, so that the cache can answer the others.
        list(pool.map(answer, product(("all",), SYSTEMS, PYTHONS)))
        for (extra, system, python), (count, lack) in zip(
            asked, pool.map(answer, asked), strict=True
        ):
            rows.append([extra or "none", system, python, count, lack])
            missing += not count
            print(*rows[-1], flush=True)
    with WHEELS.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["extra", "system", "python", "packages", "no wheel of"])
        writer.writerows(rows)
    return missing


def main(arguments: list[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--extras", nargs="+", choices=user_extras(), help="by default all")
    parser.add_argument("--folder", type=Path, default=ROOT / ".venv-release")
    parser.add_argument("--keep", action="store_true", help="keep the environments")
    parser.add_argument("--resolve", action="store_true", help="install nothing: ask uv for wheels")
    told = parser.parse_args(arguments)
    if told.resolve:
        missing = main_resolve(told.wheel, told.extras or user_extras())
        print(f"{missing} have no wheels: see {WHEELS.relative_to(ROOT)}")
        return 0
    extras = told.extras or user_extras()
    if told.extras is None and (skipped := without_wheels()):
        print(f"no wheels here: {', '.join(sorted(skipped))}")
        extras = [one for one in extras if one not in skipped]
    return main_install(told.wheel, extras, told.folder, keep=told.keep)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
