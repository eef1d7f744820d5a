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
import venv
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


def main(chosen: list[str]) -> int:
    """Runs the tests of the chosen bridges, or of all; returns how many failed."""
    unknown = sorted(set(chosen) - set(bridges()))
    if unknown:
        sys.exit(f"no bridge is called {', '.join(unknown)}: choose from {', '.join(bridges())}")
    failed = []
    for name in chosen or bridges():
        print(f"== {name}", flush=True)
        try:
            python = environment(name)
        except subprocess.SubprocessError as error:
            print(f"{name}: not installed: {error}", file=sys.stderr)
            failed.append(name)
            continue
        tests = [python, "-m", "pytest", "-q", HERE / f"test_{name}.py"]
        told = {**os.environ, "OMP_NUM_THREADS": "1", "REGIONTREE_BRIDGE": name}
        if subprocess.run(tests, cwd=ROOT, env=told, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
