"""Builds the package, and checks what was built.

    python tests/release/dist.py            build into dist/, and check
    python tests/release/dist.py --quick    without an installed package and its types

The source distribution is built from the checkout. It is unpacked, and built again from itself:
both times the bytes must be the same. Everything else is checked on these two files.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from extras import Environments, used

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DIST = ROOT / "dist"
CLIENT = ROOT / "tests" / "client"
# Tracked, and of no use without the repository.
NOT_IN_SDIST = re.compile(r"\.pre-commit-config\.yaml$|\.devcontainer/|\.dockerignore$")
# What an installed package never holds.
NOT_IN_WHEEL = re.compile(r"(^|/)(tests?|docs|benchmarks|__pycache__)/|\.pyc$|(^|/)conftest\.py$")


class CheckError(Exception):
    """Something is wrong with what was built."""


def run(*command: object, folder: Path = ROOT, told: dict[str, str] | None = None) -> str:
    """What a command prints.

    Raises
    ------
    CheckError
        It failed.
    """
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env={**os.environ, **(told or {})},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=600,
    )  # fmt: skip
    if done.returncode:
        raise CheckError(f"{' '.join(map(str, command))}\n{done.stdout[-6000:]}")
    return done.stdout


def version() -> str:
    """The version of this checkout."""
    text = (ROOT / "src" / "regiontree" / "_version.py").read_text(encoding="utf-8")
    (found,) = re.findall(r'^__version__ = "(.*)"$', text, flags=re.M)
    return str(found)


def tracked(under: str = "") -> set[str]:
    """Files of the checkout that git tracks."""
    return set(run("git", "ls-files", "-z", under or ".").split("\0")) - {""}


# -- building -------------------------------------------------------------------------------------


def built(source: Path, out: Path) -> tuple[Path, Path]:
    """Source distribution and wheel of a folder, with the time of the last commit in them."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or run("git", "log", "-1", "--format=%ct").strip()
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source,
        told={"SOURCE_DATE_EPOCH": epoch})  # fmt: skip
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


def unpacked(sdist: Path, folder: Path) -> Path:
    """The folder of an unpacked source distribution."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (found,) = folder.iterdir()
    return found


# -- checks ---------------------------------------------------------------------------------------


def names_are_the_version(sdist: Path, wheel: Path, work: Path) -> None:
    wanted = {f"regiontree-{version()}.tar.gz", f"regiontree-{version()}-py3-none-any.whl"}
    if {sdist.name, wheel.name} != wanted:
        raise CheckError(f"built are {sdist.name} and {wheel.name}, not {sorted(wanted)}")


def metadata_is_valid(sdist: Path, wheel: Path, work: Path) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)
    run(Path(sys.executable).with_name("check-wheel-contents"), wheel)


def wheel_is_complete(sdist: Path, wheel: Path, work: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
        texts = {name: archive.read(name) for name in archive.namelist()}
    wanted = {name.removeprefix("src/") for name in tracked("src")}
    if inside != wanted:
        raise CheckError(f"only in one of wheel and src: {sorted(inside ^ wanted)}")
    if found := sorted(name for name in inside if NOT_IN_WHEEL.search(name)):
        raise CheckError(f"does not belong into a wheel: {found}")
    for place in {str(ROOT), str(Path.home()), str(work)} - {"/"}:
        if found := sorted(name for name, text in texts.items() if place.encode() in text):
            raise CheckError(f"the path {place} stands in {found}")


def readme_has_no_relative_links(sdist: Path, wheel: Path, work: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA")]
        readme = archive.read(name).decode("utf-8").split("\n\n", 1)[1]
    for address in re.findall(r"\]\(([^)]+)\)", readme):
        if not address.startswith(("https://", "#")):
            raise CheckError(f"the README on PyPI has a link that leads nowhere: {address}")
        ours = re.match(r"https://(?:github|raw\.githubusercontent)\.com/regiontree/regiontree/"
                        rf"(?:blob/)?v{re.escape(version())}/(.*)", address)  # fmt: skip
        if ours and not (ROOT / ours[1].split("#")[0]).exists():
            raise CheckError(f"the README on PyPI names a file that does not exist: {address}")


def sdist_is_complete(sdist: Path, wheel: Path, work: Path) -> None:
    with tarfile.open(sdist) as archive:
        inside = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    missing = sorted(n for n in tracked() - inside if not NOT_IN_SDIST.search(n))
    foreign = sorted(inside - tracked() - {"PKG-INFO"})
    if missing or foreign:
        raise CheckError(f"the sdist lacks {missing} and should not have {foreign}")


def sdist_builds_itself(sdist: Path, wheel: Path, work: Path) -> None:
    again = built(unpacked(sdist, work / "unpacked"), work / "again")
    for first, second in zip((sdist, wheel), again, strict=True):
        if first.read_bytes() != second.read_bytes():
            raise CheckError(f"{first.name} differs when it is built from the sdist")


def tests_are_collected(sdist: Path, wheel: Path, work: Path) -> None:
    (folder,) = (work / "unpacked").iterdir()
    paths = os.pathsep.join(map(str, (folder / "src", folder)))
    said = run(sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider",
               "tests", folder=folder, told={"PYTHONPATH": paths})  # fmt: skip
    if not re.search(r"^\d{4,} tests collected", said, flags=re.M):
        raise CheckError(f"the sdist's tests are not collected: {said[-2000:]}")


def extra_is_installed(sdist: Path, wheel: Path, work: Path) -> None:
    environments = Environments(work / "environments", wheel)
    base = environments.base()
    for python, use in ((base, "none"), (environments.above(base, "plot"), "plot")):
        done = used(python, use, work / "cache")
        if done.returncode:
            raise CheckError(f"{use}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
    done = used(base, "plot", work / "cache")
    if "regiontree[plot]" not in done.stderr.strip().splitlines()[-1]:
        raise CheckError(f"without plot: {done.stderr[-2000:]}")


def types_are_seen(sdist: Path, wheel: Path, work: Path) -> None:
    """mypy and pyright, on a program that has the installed wheel, and nothing of this checkout."""
    python = work / "environments" / "plot" / "bin" / "python"
    client = shutil.copytree(CLIENT, work / "client")
    wrong = _marked(client / "wrong.py")
    checkers = {"mypy": _mypy(python, client)}
    pyright = ROOT / "node_modules" / ".bin" / "pyright"
    if pyright.exists():
        checkers["pyright"] = _pyright(pyright, python, client)
    else:
        print("  pyright is not here (npm ci): its view of the types was not checked")
    for name, found in checkers.items():
        if lines := sorted(found - {("wrong.py", line) for line in wrong}):
            raise CheckError(f"{name} finds mistakes where none are: {lines}")
        if lines := sorted(wrong - {line for _, line in found}):
            raise CheckError(f"{name} finds no mistake in wrong.py at lines {lines}")
        print(f"  {name} finds all {len(wrong)} mistakes and no others")


def _marked(path: Path) -> set[int]:
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    return {number for number, line in lines if line.endswith("# wrong")}


def _mypy(python: Path, client: Path) -> set[tuple[str, int]]:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--python-executable", python,
         "--cache-dir", client / ".cache", "good.py", "wrong.py"],
        cwd=client, env={**os.environ, "MYPYPATH": "", "PYTHONPATH": ""},
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    if "Found " not in done.stdout:
        raise CheckError(f"mypy: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    found = re.findall(r"^([^:\n]+):(\d+): error:", done.stdout, flags=re.M)
    return {(name, int(line)) for name, line in found}


def _pyright(program: Path, python: Path, client: Path) -> set[tuple[str, int]]:
    done = subprocess.run(
        [program, "--pythonpath", python, "good.py", "wrong.py"],
        cwd=client, env={**os.environ, "PYTHONPATH": ""},
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    if not re.search(r"^\d+ errors?", done.stdout, flags=re.M):
        raise CheckError(f"pyright: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    found = re.findall(r"([^/\s]+\.py):(\d+):\d+ - error", done.stdout)
    return {(name, int(line)) for name, line in found}


QUICK: tuple[Callable[[Path, Path, Path], None], ...] = (
    names_are_the_version,
    metadata_is_valid,
    wheel_is_complete,
    readme_has_no_relative_links,
    sdist_is_complete,
    sdist_builds_itself,
    tests_are_collected,
)
"""Checks in their order: the later ones take what the earlier ones unpacked."""
INSTALLED = (extra_is_installed, types_are_seen)
"""Checks of the installed package."""


def main(arguments: list[str]) -> int:
    """Builds and checks; returns how many checks failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="install nothing")
    told = parser.parse_args(arguments)
    shutil.rmtree(DIST, ignore_errors=True)
    sdist, wheel = built(ROOT, DIST)
    checks = QUICK if told.quick else (*QUICK, *INSTALLED)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for check in checks:
            begun = time.monotonic()
            try:
                check(sdist, wheel, Path(folder))
            except CheckError as error:
                failed += 1
                print(f"{check.__name__}: {error}", file=sys.stderr)
            print(f"{check.__name__}: {time.monotonic() - begun:.0f} s", flush=True)
    print(f"{len(checks) - failed} passed, {failed} failed")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
