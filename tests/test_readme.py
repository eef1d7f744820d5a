"""The README and the guide are true: their code runs, their commands exist, their links lead on."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from conftest import EXAMPLE, ROOT, blocks
from PIL import Image

README = ROOT / "README.md"
PAGES = [
    README,
    *sorted((ROOT / "docs").glob("guide/*.md")),
    *sorted(ROOT.glob("docs/how-to/*.md")),
]
# Its commands need a config of the published code: tests/test_published_run.py has one.
PAGES = [page for page in PAGES if page.name != "published.md"]
# Other tests run their Python: bridges/test_fiftyone.py, test_export_huggingface.py and
# bridges/test_gradio.py.
ELSEWHERE = {"fiftyone.md", "huggingface.md", "app.md"}


def code(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def tree():
    from regiontree import RegionParser

    return RegionParser(preset="fast").parse(EXAMPLE)


@pytest.mark.usefixtures("embedded_installed")
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if code(page, "python") and page.name not in ELSEWHERE],
    ids=name_of,
)
def test_the_python_runs_as_written(page, tree, tmp_path, monkeypatch):
    """From the first block of a page to its last; a page may speak of a tree made before."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "examples").mkdir()
    for copy in ("photo.jpg", "photos/photo.jpg", "new.jpg", "examples/astronaut.jpg"):
        shutil.copy(EXAMPLE, tmp_path / copy)
    film(tmp_path / "clip.mp4", frames=22)
    scene(tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"tree": tree}
    for block in code(page, "python"):
        exec(compile(block, name_of(page), "exec"), names)  # our own file
    if page.name == "clips.md":
        assert names["labels"].shape == (11, 96, 96)
        assert names["tree"].shape == (19, 320, 360)  # of the moving picture
        assert (tmp_path / "clip.webp").is_file()
        return
    if page.name == "scenes.md":
        assert (tmp_path / "out/leaves.tif").is_file()
        return
    assert names["tree"].shape == (512, 512)
    if page == README:
        assert names["labels"].max() == 7
        assert names["mask"].any()
        assert (tmp_path / "photo.npz").is_file()
    if page.name == "features.md":
        assert names["features"].shape == (37, 37, 384)
    if page.name == "many.md":
        assert (tmp_path / "trees/photo.npz").is_file()


def film(path: Path, frames: int = 4) -> None:
    """A film in which the camera moves along a photograph."""
    av = pytest.importorskip("av", reason="PyAV is not installed")
    photo = np.asarray(Image.open(EXAMPLE).convert("RGB").resize((160, 96)))
    with av.open(str(path), "w") as made:
        stream = made.add_stream("libx264", rate=12)
        stream.width, stream.height, stream.pix_fmt = 96, 96, "yuv420p"
        for t in range(frames):
            own = np.ascontiguousarray(photo[:, 2 * t : 2 * t + 96])
            made.mux(stream.encode(av.VideoFrame.from_ndarray(own, format="rgb24")))
        made.mux(stream.encode(None))


def scene(folder: Path) -> None:
    """A scene of four bands, and a mosaic that shows it."""
    rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed")
    photo = np.asarray(Image.open(EXAMPLE).convert("RGB").resize((96, 96))).transpose(2, 0, 1)
    place = rasterio.Affine(0.5, 0, 4000, 0, -0.5, 9000)
    form = {"driver": "GTiff", "width": 96, "height": 96, "count": 4, "dtype": "uint8"}
    with rasterio.open(
        folder / "scene.tif", "w", **form, transform=place, crs="EPSG:32633"
    ) as made:
        made.write(np.concatenate([photo, photo[:1]]))
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{b}"><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">scene.tif</SourceFilename>'
        f"<SourceBand>{b}</SourceBand></SimpleSource></VRTRasterBand>"
        for b in (1, 2, 3, 4)
    )
    (folder / "mosaic.vrt").write_text(
        f'<VRTDataset rasterXSize="96" rasterYSize="96"><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>4000, 0.5, 0, 9000, 0, -0.5</GeoTransform>{bands}</VRTDataset>"
    )


def commands() -> list[list[str]]:
    """Every command of the pages, once. Those for a cluster are in tests/test_cluster.py."""
    lines = []
    for page in PAGES:
        lines += "\n".join(code(page, "sh")).splitlines()
    own = [line for line in lines if line.startswith("regiontree ") and "--ray-address" not in line]
    found = [line.split("#")[0].split() for line in own]
    return [list(command) for command in dict.fromkeys(map(tuple, found))]


def test_the_commands_are_there():
    readme = "\n".join(code(README, "sh"))
    assert len(re.findall(r"^regiontree ", readme, flags=re.M)) >= 3
    assert {command[1] for command in commands()} >= {
        "segment", "show", "view", "gallery", "export", "run", "evaluate", "datasets",
    }  # fmt: skip


REGIONTREE = [sys.executable, "-m", "regiontree"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder with a small photograph, in `photos/` as well, its tree in `trees/` and a store."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "photos").mkdir()
    for photo in ("photo.jpg", "photos/photo.jpg", "new.jpg"):
        Image.open(EXAMPLE).resize((90, 90)).save(folder / photo)
    made = [*REGIONTREE, "segment", "photos", "-o", "trees", "--size", "140"]
    subprocess.run(made, cwd=folder, check=True)
    scene(folder)
    film(folder / "clip.mp4")
    clip = [*REGIONTREE, "segment", "clip.mp4", "-o", "clips", "--size", "140"]
    subprocess.run(clip, cwd=folder, check=True)
    subprocess.run([*REGIONTREE, "convert", "trees", "-o", "STORE"], cwd=folder, check=True)
    subprocess.run([*REGIONTREE, "discover", "trees", "-o", "collection"], cwd=folder, check=True)
    return folder


@pytest.mark.usefixtures("embedded_installed")
@pytest.mark.parametrize(
    "command",
    [pytest.param(one, marks=pytest.mark.cluster) if "ray" in one else one for one in commands()],
    ids=" ".join,
)
def test_each_command_runs(command, small, tmp_path):
    """As written, with small pictures in place of the reader's folders."""
    verb, arguments = command[1], " ".join(command)
    shutil.copytree(small, tmp_path, dirs_exist_ok=True)
    if verb == "segment":
        shutil.rmtree(tmp_path / "trees")
    if command[-1] == "STORE" or (verb == "segment" and "STORE" in command):
        shutil.rmtree(tmp_path / "STORE")
    elif verb == "show" and "clip.clip.npz" in arguments:
        shutil.move(tmp_path / "clips/clip.clip.npz", tmp_path / "trees/clip.clip.npz")
    shutil.rmtree(tmp_path / "clips")
    (tmp_path / "masks").mkdir()
    Image.new("L", (90, 90), 1).save(tmp_path / "masks/photo.png")
    (tmp_path / "labels.txt").write_text("astronaut\t1\t0\n")
    (tmp_path / "drawings").mkdir()
    Image.new("L", (90, 90), 1).save(tmp_path / "drawings/photo_a0.png")
    described = code(ROOT / "docs/guide/measuring.md", "yaml")
    for name, text in zip(("mine.yaml", "drawings.yaml"), described, strict=True):
        (tmp_path / name).write_text(text)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "features").mkdir()
    np.save(tmp_path / "features/photo.npy", blocks(8, 8, 6))
    if verb == "run":
        command = [*command, "--size", "140x140"]
    elif verb in ("view", "gallery"):
        command = [*command, "--preset", "fast"]
    elif verb == "segment" and "precomputed" not in arguments:
        command = [*command, "--size", "140"]
    if verb == "view" and arguments.rstrip("/").endswith("collection"):
        shown_by_a_server([*REGIONTREE, "view", "collection"], tmp_path)
        return
    if verb == "app":  # in a browser: tests/bridges/test_gradio.py
        asked = [*REGIONTREE, *command[1:]]
        done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 2
        assert "regiontree[app]" in done.stderr
        return
    if verb == "label-studio":
        asked = [*REGIONTREE, *command[1:], "--port", "0"]
        shown_by_a_server(asked, tmp_path, "/health", b'"status":"UP"')
        return
    if verb == "view" and "--html" not in command:
        command += ["--html", "page.html"]  # a server would not end
    done = subprocess.run([*REGIONTREE, *command[1:]], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def shown_by_a_server(
    command: list[str], folder: Path, path: str = "", held: bytes = b"Categories"
) -> None:
    """The command tells an address, which shows a page, and ends when it is told to."""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        with urllib.request.urlopen(server.stdout.readline().strip() + path) as page:
            assert held in page.read()
        server.terminate()
    assert server.returncode == 0


def test_make_has_the_commands_that_the_readme_names():
    makefile = (ROOT / "Makefile").read_text()
    named = re.findall(r"\bmake (\w+)", README.read_text(encoding="utf-8"))
    assert {"demo", "test", "docs"} <= set(named)
    for target in named:
        assert re.search(rf"^{target}:", makefile, flags=re.M)
    for target in ("test", "docs"):
        assert f"make {target}" in (ROOT / ".ci/run").read_text()


def test_links_lead_somewhere():
    """To files, also in the editor and on the web page of the repository.

    Pages that only the site has are the reference and the notebooks; `make docs` checks those.
    """
    pages = [README, *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md"]
    made = (ROOT / "docs/reference", ROOT / "docs/notebooks")
    for page in pages:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            target = (page.parent / link).resolve()
            if not link.startswith("http") and target.parent not in made:
                assert target.exists(), f"{name_of(page)} links to {link}"
