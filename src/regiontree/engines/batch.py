"""Many photographs, one command: finished work is kept, bad files are recorded, the rest goes on.

A photograph is finished when its tree file exists, was made from the same bytes and with the same
settings. Tree files appear under their names only when complete, so an interruption at any moment
loses at most the photograph being worked on, and running again does the rest. With a GPU, the next
photographs are decoded while a tree is built.
"""

from __future__ import annotations

import glob
import json
import os
import time
import zipfile
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from regiontree.backbones.featurefile import Features
from regiontree.backbones.precomputed import FEATURE_SUFFIXES
from regiontree.backbones.tiles import Tiled, memory_needed
from regiontree.display.pictures import save_pictures
from regiontree.engines.feeding import Fed, feed
from regiontree.errors import (
    FeatureError,
    ImageError,
    RegionTreeError,
    SettingsError,
    TreeFileError,
)
from regiontree.images import IMAGE_SUFFIXES, grid_of, image_size
from regiontree.parser import RegionParser
from regiontree.settings import UNSAID
from regiontree.system.files import atomic_write, sha256_of
from regiontree.system.inputs import SUMMARY_NAME, find_files
from regiontree.tree.file import read_meta

__all__ = ["Job", "Outcome", "Summary", "largest", "plan", "segment", "suffixes_for"]


@dataclass(frozen=True, slots=True)
class Job:
    """A photograph to do: where it is and where its tree goes; or why it cannot be done."""

    source: Path
    output: Path | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job."""

    source: str
    status: Literal["done", "skipped", "failed"]
    output: str | None = None
    nodes: int | None = None
    leaves: int | None = None
    seconds: float | None = None
    error: str | None = None


@dataclass(slots=True)
class Summary:
    """A batch in figures; ``asdict`` is what ``--json`` prints."""

    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False
    planned: int = 0

    def count(self, status: str) -> int:
        """How many photographs ended that way: done, skipped or failed."""
        return sum(outcome.status == status for outcome in self.outcomes)

    @property
    def images_per_second(self) -> float:
        """Photographs done in a second; 0 if none was."""
        done = self.count("done")
        return done / self.seconds if done and self.seconds > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The summary as JSON values."""
        return {
            "planned": self.planned,
            **{status: self.count(status) for status in ("done", "skipped", "failed")},
            "interrupted": self.interrupted,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 4),
            "files": [asdict(outcome) for outcome in self.outcomes],
        }


def plan(
    paths: Sequence[str | Path], out: Path, suffixes: frozenset[str], *, pictures: bool = False
) -> list[Job]:
    """One job a photograph, no two with the same output.

    ``a/b/photo.jpg`` from folder ``a`` goes to ``out/b/photo.npz``. Where two would meet, both keep
    their suffix (``photo.jpg.npz``), and failing that also their folders.
    """
    photos = find_files(paths, suffixes, out)
    if not photos:
        raise SettingsError("no input: name at least one file, folder or pattern")
    if out.is_file():
        raise SettingsError(f"output folder {out} is a file; choose another name")
    here = os.path.abspath(out)
    if pictures and any(Path(p).is_dir() and os.path.abspath(p) == here for p in paths):
        raise SettingsError(
            f"pictures drawn into {out} would be photographs to the next run; choose an output "
            "folder other than the input folder"
        )
    folders = [os.path.dirname(os.path.abspath(file)) for file, _ in photos]
    try:
        common = os.path.commonpath(folders)
    except ValueError:  # different drives
        common = ""
    names: list[Path] = []
    for level in range(3):
        taken = Counter(os.path.normcase(name) for name in names) if names else None
        proposed = []
        for i, (file, root) in enumerate(photos):
            if taken is not None and taken[os.path.normcase(names[i])] == 1:
                proposed.append(names[i])
                continue
            below = file.relative_to(root)
            if level == 2:
                below = Path(os.path.relpath(os.path.abspath(file), common)) if common else below
            proposed.append(
                below.with_suffix(".npz") if level == 0 else below.with_name(below.name + ".npz")
            )
        names = proposed
    jobs = []
    taken = Counter(os.path.normcase(name) for name in names)
    inputs = {os.path.normcase(os.path.abspath(file)) for file, _ in photos}
    for (file, _), name in zip(photos, names, strict=True):
        error = None
        if not file.exists():
            what = (
                "no file matches this pattern"
                if glob.has_magic(str(file))
                else "no such file or folder"
            )
            error = f"{file}: {what}"
        elif file.is_dir():
            error = f"{file}: holds no images ({', '.join(sorted(suffixes))})"
        elif os.path.normcase(os.path.abspath(out / name)) in inputs:
            error = (
                f"{file}: its tree would overwrite the input {out / name}; choose another folder"
            )
        elif taken[os.path.normcase(name)] > 1:
            error = f"{file}: another input would also be written to {out / name}"
        jobs.append(Job(file, error=error) if error else Job(file, out / name))
    return jobs


def suffixes_for(parser: RegionParser) -> frozenset[str]:
    """What counts as input in a folder: photographs, or feature files for ``precomputed``."""
    return FEATURE_SUFFIXES if parser.settings.backbone == "precomputed" else IMAGE_SUFFIXES


def largest(parser: RegionParser, photos: Iterable[Path]) -> str | None:
    """With tiles, what the largest photograph will take, from its header alone."""
    if not isinstance(parser.backbone if parser.settings.tiles else None, Tiled):
        return None
    sizes = []
    for photo in photos:
        with suppress(ImageError):  # said when its turn comes
            sizes.append((image_size(photo, parser.max_pixels), photo))
    if not sizes:
        return None
    size, source = max(sizes, key=lambda found: found[0][0] * found[0][1])
    network = parser.backbone
    assert isinstance(network, Tiled)
    grid = grid_of(size, parser.seen_size(size), network.patch)
    memory = memory_needed(size, grid, network.dim, parser.settings.parts) / 1e9
    tiles = network.tiles(grid)
    return (
        f"largest: {source}, {size[1]} x {size[0]}: {tiles} tile{'s' * (tiles > 1)}, "
        f"{grid[1]} x {grid[0]} patches, up to {memory:.1f} GB of memory"
    )


def segment(
    parser: RegionParser,
    jobs: Sequence[Job],
    out: Path,
    *,
    overwrite: bool = False,
    pictures: bool = False,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> Summary:
    """Run jobs in their order and write ``summary.json`` beside their trees.

    Raises
    ------
    BackboneError
        The backbone cannot be loaded: no photograph could be done.
    """
    summary = Summary(planned=len(jobs))
    start = time.perf_counter()
    try:
        with closing(_outcomes(parser, jobs, overwrite, pictures)) as outcomes:
            for outcome in outcomes:
                summary.outcomes.append(outcome)
                on_outcome(outcome)
    except KeyboardInterrupt:
        summary.interrupted = True
    finally:
        summary.seconds = time.perf_counter() - start
        if summary.outcomes:
            with atomic_write(out / SUMMARY_NAME) as file:
                file.write(json.dumps(summary.as_dict(), indent=1).encode())
    return summary


def _outcomes(
    parser: RegionParser, jobs: Sequence[Job], overwrite: bool, pictures: bool
) -> Generator[Outcome, None, None]:
    begun: deque[tuple[Job, Outcome | None]] = deque()

    def photos() -> Iterator[Path | None]:
        for job in jobs:
            begun.append((job, _settled(job, parser, overwrite)))
            yield None if begun[-1][1] else job.source

    # A tree takes longer than its share of a batch could save.
    with closing(feed(parser, photos(), batch=1)) as feeding:
        for fed in feeding:
            job, settled = begun.popleft()
            yield settled or _done(job, parser, fed, pictures)


def _settled(job: Job, parser: RegionParser, overwrite: bool) -> Outcome | None:
    """What is to be said of a job without doing it; None: it is to be done."""
    source = str(job.source)
    if job.output is None:
        return Outcome(source, "failed", error=job.error)
    try:
        if not overwrite and _is_finished(job, parser):
            return Outcome(source, "skipped", str(job.output))
    except (RegionTreeError, OSError) as error:
        return Outcome(source, "failed", str(job.output), error=str(error))
    return None


def _done(job: Job, parser: RegionParser, fed: Fed, pictures: bool) -> Outcome:
    """The job's tree, built and saved, once its features are there."""
    assert job.output is not None
    source, start = str(job.source), time.perf_counter()
    try:
        if not isinstance(fed.features, Features):
            raise fed.features or FeatureError(f"{source}: has no features")
        tree = parser.finish(job.source, fed.features, fed.image)
        tree.save(job.output)
        if pictures:
            photo = None if parser.settings.backbone == "precomputed" else job.source
            save_pictures(tree, photo, job.output.with_suffix(""))
    except (RegionTreeError, OSError, MemoryError, RuntimeError, ValueError) as error:
        # RuntimeError is how torch reports what it cannot do with one image (memory above all).
        said = str(error) if isinstance(error, RegionTreeError) else f"{job.source}: {error!r}"
        said = said if source in said else f"{source}: {said}"
        return Outcome(source, "failed", error=said)
    seconds = round(fed.seconds + time.perf_counter() - start, 3)
    return Outcome(source, "done", str(job.output), tree.n_nodes, tree.n_leaves, seconds)


def _is_finished(job: Job, parser: RegionParser) -> bool:
    """Whether the job's tree exists, of these bytes and these settings.

    Raises
    ------
    TreeFileError
        It exists with other settings: neither kept as if it were right nor overwritten unasked.
    """
    assert job.output is not None
    if not job.output.exists():
        return False
    try:
        meta = read_meta(job.output)
    except TreeFileError as error:
        if zipfile.is_zipfile(job.output):  # whole, but something else: not ours to replace
            raise TreeFileError(
                f"{error}; it is in the way of this tree: move it or pass --overwrite"
            ) from error
        return False  # damaged: make it again
    image = meta.get("image", {})
    if image.get("sha256") != sha256_of(job.source):
        return False  # another photograph by the same name
    of_folder = parser.settings.backbone.startswith("precomputed:")
    if of_folder and image.get("features_sha256") != sha256_of(parser.features_file(job.source)):
        return False  # other features of the same photograph
    before, now = {**UNSAID, **meta.get("settings", {})}, parser.settings.as_dict()
    changed = [key for key in now if before.get(key) != now[key]]
    if changed:
        differences = ", ".join(f"{key} {before.get(key)} -> {now[key]}" for key in changed)
        raise TreeFileError(
            f"{job.output} was made with other settings ({differences}); choose another output "
            "folder or pass --overwrite"
        )
    return True
