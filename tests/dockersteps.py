"""What a Dockerfile says, read for tests, and its build steps run in a folder without Docker."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_SETTING = re.compile(r'([\w.]+)=("(?:[^"\\]|\\.)*"|\S*)')


@dataclass(frozen=True)
class Step:
    """One instruction: ``RUN`` and what follows it, with continued lines joined."""

    word: str
    rest: str

    def settings(self) -> dict[str, str]:
        """The names and values of an ENV or LABEL."""
        return {name: value.strip('"') for name, value in _SETTING.findall(self.rest)}

    def listed(self) -> list[str]:
        """The JSON list of an ENTRYPOINT or CMD."""
        words: list[str] = json.loads(self.rest)
        return words


def steps(path: Path) -> list[Step]:
    """The instructions of a Dockerfile, in order."""
    lines = [one for one in path.read_text("utf-8").splitlines() if not one.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Step(*line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def stages(path: Path) -> list[list[Step]]:
    """The instructions of each stage; a stage begins with its FROM."""
    found: list[list[Step]] = []
    for step in steps(path):
        if step.word == "FROM":
            found.append([])
        if found:
            found[-1].append(step)
    return found


def run_stage(stage: list[Step], context: Path, root: Path, **arguments: str) -> dict[str, str]:
    """Run a stage's own COPY and RUN steps with `root` in place of ``/``.

    The paths ``/opt`` and ``/build`` in the steps are moved below `root`. `arguments` are those of
    ``docker build --build-arg``. The environment that the steps made is returned.
    """
    kept = {name: os.environ[name] for name in os.environ if name.startswith(("PIP_", "SSL_"))}
    python = root / "python"
    python.mkdir(parents=True)
    (python / "python").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    env = {**kept, "HOME": str(root), "PATH": f"{python}:/usr/bin:/bin"}
    folder = root

    def moved(text: str) -> str:
        return re.sub(r"(?<![\w.*/])/(opt|build)\b", rf"{root}/\1", text)

    def filled(text: str) -> str:
        return _VARIABLE.sub(lambda match: env.get(match[1] or match[2], ""), moved(text))

    for step in stage[1:]:
        if step.word == "ARG":
            name, _, value = step.rest.partition("=")
            env[name] = arguments.get(name, value)
        elif step.word == "ENV":
            env |= {name: filled(value) for name, value in step.settings().items()}
        elif step.word == "WORKDIR":
            folder = Path(filled(step.rest))
            folder.mkdir(parents=True, exist_ok=True)
        elif step.word == "COPY":
            *sources, to = step.rest.split()
            for source in sources:
                _copy(context / source, folder / to)
        elif step.word == "RUN":
            subprocess.run(["/bin/sh", "-ec", moved(step.rest)], cwd=folder, env=env, check=True)
        else:
            raise ValueError(f"the steps of a stage here know no {step.word}")
    return env


def _copy(source: Path, to: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, to, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, to / source.name if to.is_dir() else to)
