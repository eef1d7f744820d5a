"""Tests against other programs, each in an environment of its own.

The programs that regiontree works with ask for many packages, and not always for the same
versions. So each bridge has a folder ``.venv-bridges/NAME`` that lies above the environment of the
development: what is there already is seen, and only what is missing is installed.

    python tests/bridges/run.py               all bridges
    python tests/bridges/run.py supervision   one of them

A bridge NAME has ``requirements/NAME.txt``, what to install, and ``test_NAME.py``, its tests.
"""

import os
import subprocess
import sys
import sysconfig
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def bridges() -> list[str]:
    """Names of all bridges, in order."""
    return sorted(path.stem for path in (HERE / "requirements").glob("*.txt"))


def environment(name: str) -> Path:
    """The Python of a bridge, with everything installed that it asks for."""
    folder = ROOT / ".venv-bridges" / name
    wanted = (HERE / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    python, done = folder / "bin" / "python", folder / "installed"
    if done.is_file() and done.read_text(encoding="utf-8") == wanted:
        return python
    venv.create(folder, clear=True, with_pip=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    below = folder / "lib" / version / "site-packages" / "below.pth"
    # addsitedir, so that editable packages of the environment below are found, too.
    packages = sysconfig.get_path("purelib")
    below.write_text(f"import site; site.addsitedir({packages!r})\n", encoding="utf-8")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "-r", HERE / "requirements" / f"{name}.txt"], check=True, cwd=ROOT, timeout=900
    )
    done.write_text(wanted, encoding="utf-8")
    return python


def tested(name: str) -> tuple[bool, str]:
    """Whether the tests of a bridge passed, and what they printed."""
    begun = time.monotonic()
    try:
        python = environment(name)
    except subprocess.SubprocessError as error:
        return False, f"{name}: not installed: {error}\n"
    installed = time.monotonic()
    tests = [python, "-m", "pytest", "-q", HERE / f"test_{name}.py"]
    told = {**os.environ, "OMP_NUM_THREADS": "1", "REGIONTREE_BRIDGE": name}
    printed = ""
    for _ in range(2):  # a window system that crashes now and then is not what is tested
        run = subprocess.run(
            tests, cwd=ROOT, env=told, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", check=False,
        )  # fmt: skip
        printed += run.stdout
        if run.returncode >= 0:
            break
        printed += f"{name}: ended by signal {-run.returncode}\n"
    seconds = f"{installed - begun:.0f} s to install, {time.monotonic() - installed:.0f} s of tests"
    return run.returncode == 0, f"== {name}: {seconds}\n{printed}"


def main(chosen: list[str]) -> int:
    """Runs the tests of the chosen bridges, or of all, two at a time; returns how many failed."""
    unknown = sorted(set(chosen) - set(bridges()))
    if unknown:
        sys.exit(f"no bridge is called {', '.join(unknown)}: choose from {', '.join(bridges())}")
    failed = []
    names = chosen or bridges()
    with ThreadPoolExecutor(2) as pool:
        for name, (passed, printed) in zip(names, pool.map(tested, names), strict=True):
            print(printed, flush=True)
            if not passed:
                failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
