"""Where figures come from: processor, versions and commit. Needs the standard library only."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path

__all__ = ["processor", "provenance", "versions"]

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("regiontree", "torch", "numpy", "scipy", "numba")
# Instructions that decide how fast a processor computes, as /proc/cpuinfo names them.
FLAGS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "VNNI",
    "avx512_bf16": "bfloat16",
    "amx_tile": "AMX",
}


def provenance() -> dict[str, str]:
    """Comment lines of a file of results: `machine`, `versions` and `commit`."""
    return {"machine": processor(), "versions": versions(), "commit": commit()}


def processor() -> str:
    """Number of cores, model and instructions, such as ``2 x Some CPU (AVX2, AVX-512)``."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    if not names:
        return f"{os.cpu_count()} x {platform.processor() or platform.machine()}"
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    able = [name for flag, name in FLAGS.items() if flag in flags]
    return f"{os.cpu_count()} x {names[0]} ({', '.join(able) or 'no AVX2'})"


def versions() -> str:
    """Versions of Python and of the packages that do the work; torch's threads, if it is loaded."""
    parts = []
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            parts.append(f"{package} {metadata.version(package)}")
            if package in sys.modules and package == "torch":
                parts[-1] += f" with {sys.modules[package].get_num_threads()} threads"
    return ", ".join([*parts, f"Python {platform.python_version()}"])


def commit() -> str:
    """The commit of the code, and whether the code differs from it."""
    git = ["git", "-C", str(REPOSITORY)]
    try:
        found = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", "src", "fuzz", "benchmarks/*.py"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip() + (" and changes" if changed.stdout.strip() else "")
