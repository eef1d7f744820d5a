"""The Dockerfiles, as hadolint judges them and as dockerfile-parse reads them."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from dockersteps import steps  # noqa: E402

FILES = ("Dockerfile", ".devcontainer/Dockerfile")


@pytest.mark.parametrize("name", FILES)
def test_hadolint_finds_nothing(name: str) -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    run = subprocess.run([hadolint, ROOT / name], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")


def test_hadolint_would_find_something(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python\nRUN cd /tmp && pip install torch\n")
    hadolint = Path(sys.executable).parent / "hadolint"
    run = subprocess.run(
        [hadolint, tmp_path / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert {"DL3006", "DL3013"} <= {word for word in run.stdout.split() if word[:2] == "DL"}


@pytest.mark.parametrize("name", FILES)
def test_another_parser_reads_the_same_steps(name: str) -> None:
    file = io.BytesIO((ROOT / name).read_bytes())
    theirs = [
        (one["instruction"], " ".join(one["value"].split()))
        for one in DockerfileParser(fileobj=file).structure
        if one["instruction"] != "COMMENT"
    ]
    assert [(one.word, " ".join(one.rest.split())) for one in steps(ROOT / name)] == theirs
