"""Make the trees of many photographs with one command.

A photograph is finished if its tree file exists and was made from the same bytes with the same
settings. A run skips finished photographs, records files that cannot be read, and goes on with the
rest. A tree file gets its name only when it is complete. So an interruption loses at most the
photograph in work, and the next run does the rest. With a GPU, the next photographs are decoded
while a tree is built.
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
from regiontree.backbones.precomputed import FEATURE_SUFFIXES, find_features
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
from regiontree.images import Choice, grid_of, image_size, image_suffixes
from regiontree.images.choice import notice_of
from regiontree.parser import RegionParser
from regiontree.settings import record_differences
from regiontree.spectral.graph import MAX_PARTS
from regiontree.system.files import atomic_write, sha256_of
from regiontree.system.inputs import SUMMARY_NAME, find_files
from regiontree.tree.file import read_meta

__all__ = ["Job", "Outcome", "Summary", "largest", "plan", "segment", "suffixes_for"]


@dataclass(frozen=True, slots=True)
class Job:
    """A photograph to process.

    Attributes
    ----------
    source : Path
        The photograph.
    output : Path or None
        The tree file to write. None if there is an error.
    error : str or None
        Why the photograph cannot be processed.
    """

    source: Path
    output: Path | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a job.

    Attributes
    ----------
    source : str
        The photograph.
    status : {"done", "skipped", "failed"}
        ``skipped`` means that the tree was finished before.
    output : str or None
        The tree file.
    nodes, leaves : int or None
        Numbers of nodes and leaves of the tree. Only if it is done.
    seconds : float or None
        Time that the photograph took. Only if it is done.
    error : str or None
        Why the job failed.
    notice : str or None
        What the tree shows of a file with more bands or pages than a photograph.
    """

    source: str
    status: Literal["done", "skipped", "failed"]
    output: str | None = None
    nodes: int | None = None
    leaves: int | None = None
    seconds: float | None = None
    error: str | None = None
    notice: str | None = None


@dataclass(slots=True)
class Summary:
    """The results of a batch.

    Attributes
    ----------
    outcomes : list of Outcome
        The results so far, in the order of the jobs.
    seconds : float
        Time that the batch took.
    interrupted : bool
        Whether the user stopped the batch.
    planned : int
        Number of jobs.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False
    planned: int = 0

    def count(self, status: str) -> int:
        """Number of jobs with this status."""
        return sum(outcome.status == status for outcome in self.outcomes)

    @property
    def images_per_second(self) -> float:
        """Photographs done in a second; 0 if none is done."""
        done = self.count("done")
        return done / self.seconds if done and self.seconds > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The summary as ``--json`` prints it and ``summary.json`` stores it."""
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
    """One job for each photograph. No two jobs have the same output.

    The tree of ``a/b/photo.jpg`` from the folder ``a`` goes to ``out/b/photo.npz``. If two outputs
    would be the same, both keep their suffix (``photo.jpg.npz``). If that is not enough, both also
    keep their folders.

    Parameters
    ----------
    paths
        Photographs, folders and glob patterns.
    out
        Folder for the trees.
    suffixes
        Suffixes of the files that count as input in a folder.
    pictures
        Whether pictures are also drawn into `out`.

    Raises
    ------
    SettingsError
        There is no input, `out` is a file, or pictures would be drawn into an input folder.
    """
    photos = find_files(paths, suffixes, out)
    if not photos:
        raise SettingsError("no input: name at least one file, folder or pattern")
    if out.is_file():
        raise SettingsError(f"output folder {out} is a file; choose another name")
    here = os.path.abspath(out)
    if pictures and any(Path(p).is_dir() and os.path.abspath(p) == here for p in paths):
        raise SettingsError(
            f"the next run would read the pictures in {out} as photographs; choose an output "
            "folder that is not an input folder"
        )
    folders = [os.path.dirname(os.path.abspath(file)) for file, _ in photos]
    try:
        common = os.path.commonpath(folders)
    except ValueError:  # the files lie on different drives
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
    """Suffixes of input files: of photographs, or of feature files if features are precomputed."""
    return FEATURE_SUFFIXES if parser.settings.backbone.name == "precomputed" else image_suffixes()


def largest(parser: RegionParser, photos: Iterable[Path]) -> str | None:
    """A sentence on the memory that the largest photograph needs; None without tiles.

    Only the headers of the photographs are read.
    """
    if not isinstance(parser.backbone if parser.settings.view.tiles else None, Tiled):
        return None
    sizes = []
    for photo in photos:
        with suppress(ImageError):  # the error is reported when this photograph is processed
            sizes.append((image_size(photo, parser.sight.max_pixels), photo))
    if not sizes:
        return None
    size, source = max(sizes, key=lambda found: found[0][0] * found[0][1])
    network = parser.backbone
    assert isinstance(network, Tiled)
    grid = grid_of(size, parser.sight.seen_size(size), network.patch)
    parts = getattr(parser.settings.parts, "count", MAX_PARTS)
    memory = memory_needed(size, grid, network.dim, parts) / 1e9
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
    """The summary of a batch, which is also written to ``summary.json`` in `out`.

    The jobs run in their order. If the user interrupts the batch, the summary has the jobs so far.

    Parameters
    ----------
    parser
        Makes the trees.
    jobs
        The result of :func:`plan`.
    out
        Folder for ``summary.json``.
    overwrite
        Whether finished trees are made again.
    pictures
        Whether pictures of each tree are drawn beside it.
    on_outcome
        Called with the result of each job.

    Raises
    ------
    BackboneError
        The backbone cannot be loaded, so no photograph can be processed.
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
    """The results of the jobs, in their order."""
    started: deque[tuple[Job, Outcome | None]] = deque()

    def photos() -> Iterator[Path | None]:
        for job in jobs:
            started.append((job, _known_outcome(job, parser, overwrite)))
            yield None if started[-1][1] else job.source

    # Building a tree takes longer than a batch of the network could save.
    with closing(feed(parser, photos(), batch=1)) as feeding:
        for fed in feeding:
            job, known = started.popleft()
            yield known or _done(job, parser, fed, pictures)


def _known_outcome(job: Job, parser: RegionParser, overwrite: bool) -> Outcome | None:
    """The result of a job that needs no work: failed or finished before. Otherwise None."""
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
    """Build and save the tree of a job from its features; the result of the job."""
    assert job.output is not None
    source, start = str(job.source), time.perf_counter()
    try:
        if not isinstance(fed.features, Features):
            raise fed.features or FeatureError(f"{source}: has no features; run the batch again")
        tree = parser.build(fed.features, rgb=parser.pixels(job.source, decoded=fed.image))
        tree.save(job.output)
        if pictures:
            photo = None if parser.settings.backbone.name == "precomputed" else job.source
            save_pictures(tree, photo, job.output.with_suffix(""))
    except (RegionTreeError, OSError, MemoryError, RuntimeError, ValueError) as error:
        # torch raises RuntimeError if it cannot process one image, mostly for lack of memory.
        message = str(error) if isinstance(error, RegionTreeError) else f"{job.source}: {error!r}"
        message = message if source in message else f"{source}: {message}"
        return Outcome(source, "failed", error=message)
    seconds = round(fed.seconds + time.perf_counter() - start, 3)
    notice = notice_of(tree.meta.get("image", {}))
    return Outcome(
        source, "done", str(job.output), tree.n_nodes, tree.n_leaves, seconds, notice=notice
    )


def _chosen(choice: Choice) -> str:
    """A choice of bands and page in words."""
    chosen = choice.as_dict()
    said = {k: ",".join(map(str, v)) if isinstance(v, list) else v for k, v in chosen.items()}
    return " and ".join(f"{k} {v}" for k, v in said.items()) or "the usual bands and page"


def _is_finished(job: Job, parser: RegionParser) -> bool:
    """Whether the tree of a job exists and was made from these bytes with these settings.

    Raises
    ------
    TreeFileError
        The tree was made with other settings, or another kind of file has its name. The user must
        decide whether to overwrite it.
    """
    assert job.output is not None
    if not job.output.exists():
        return False
    try:
        meta = read_meta(job.output)
    except TreeFileError as error:
        if zipfile.is_zipfile(job.output):  # an undamaged file that is not a tree: keep it
            raise TreeFileError(
                f"{error}; the file has the name of this tree: move it or pass --overwrite"
            ) from error
        return False  # a damaged file: make the tree again
    image = meta.get("image", {})
    if image.get("sha256") != sha256_of(job.source):
        return False  # another photograph with the same name
    folder = parser.settings.backbone.folder
    if folder is not None:
        features = find_features(folder, job.source)
        if image.get("features_sha256") != sha256_of(features):
            return False  # other features of the same photograph
    read, asked = Choice.of_meta(meta), parser.sight.choice
    if (read.bands, read.page or 0) != (asked.bands, asked.page or 0):
        raise TreeFileError(
            f"{job.output} was made from {_chosen(read)}, not {_chosen(asked)}; choose another "
            "output folder or pass --overwrite"
        )
    changed = record_differences(meta.get("settings", {}), parser.settings.as_dict())
    if changed:
        differences = ", ".join(f"{key} {old} -> {new}" for key, (old, new) in changed.items())
        raise TreeFileError(
            f"{job.output} was made with other settings ({differences}); choose another output "
            "folder or pass --overwrite"
        )
    return True
