"""Make the trees of many photographs with one command.

A photograph is finished if its tree file exists and was made from the same bytes with the same
settings. A run skips finished photographs, records files that cannot be read, and goes on with the
rest. It replaces no tree unless the user asks for it. A tree file gets its name only when it is
complete. So an interruption loses at most the photographs in work, and the next run does the rest.

Worker processes do several photographs at once (:mod:`regiontree.engines.workers`). Several
commands can work on one folder, too.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from regiontree.backbones.tiles import Tiled, memory_needed
from regiontree.engines.finished import Job
from regiontree.engines.names import is_tree, name_trees
from regiontree.engines.photographs import Outcome, Photographs
from regiontree.engines.sharing import Batch
from regiontree.errors import SettingsError, check_number
from regiontree.forest.sources import TREE_SUFFIX
from regiontree.forest.summary import write_summary
from regiontree.images import grid_of, image_size, image_suffixes
from regiontree.parser import RegionParser
from regiontree.spectral.graph import MAX_PARTS
from regiontree.system.faults import attempt
from regiontree.system.inputs import FEATURE_SUFFIXES, SUMMARY_NAME, Found, search
from regiontree.system.paths import input_problem, reason

__all__ = ["Job", "Outcome", "Summary", "largest", "plan", "segment", "suffixes_for"]


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
    problem : str or None
        Why the summary could not be written to its file.
    folder : Path or None
        The output folder.
    found : Found or None
        What the inputs name. It tells what was left out.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False
    planned: int = 0
    problem: str | None = None
    folder: Path | None = None
    found: Found | None = None

    def count(self, status: str) -> int:
        """Number of jobs with this status."""
        return sum(outcome.status == status for outcome in self.outcomes)

    @property
    def images_per_second(self) -> float:
        """Photographs done in a second; 0 if none is done."""
        done = sum(outcome.seconds is not None for outcome in self.outcomes)
        return done / self.seconds if done and self.seconds > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The summary as ``--json`` prints it and ``summary.json`` stores it."""
        return {
            "planned": self.planned,
            **{status: self.count(status) for status in ("done", "skipped", "failed")},
            "interrupted": self.interrupted,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 4),
            "folder": None if self.folder is None else os.path.abspath(self.folder),
            "left_out": {} if self.found is None else dict(sorted(self.found.left_out.items())),
            "files": [asdict(outcome) for outcome in self.outcomes],
        }


def plan(
    paths: str | Path | Sequence[str | Path],
    out: str | Path,
    suffixes: frozenset[str],
    *,
    pictures: bool = False,
    found: Found | None = None,
) -> list[Job]:
    """One job for each photograph. No two jobs have the same output.

    The tree of ``a/b/photo.jpg`` from the folder ``a`` goes to ``out/b/photo.npz``, unless that is
    the tree of another photograph: see :mod:`regiontree.engines.names`. A photograph that has a
    tree in `out` keeps its file.

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
    found
        What the paths name, if they were searched before.

    Raises
    ------
    SettingsError
        There is no input, `out` is a file, or pictures would be drawn into an input folder.
    """
    paths = [paths] if isinstance(paths, str | os.PathLike) else paths
    out = Path(out)
    found = found or search(paths, suffixes, out)
    _leave_out_trees(found, paths)
    if not found.files:
        trees = found.left_out[TREE_SUFFIX]
        said = f"the folders hold only trees ({trees:,}), and no features" if trees else "no input"
        raise SettingsError(f"{said}; name at least one file, folder or pattern")
    if os.path.isfile(out):
        raise SettingsError(f"output folder {out} is a file; choose another name")
    here = os.path.realpath(out)
    if pictures and any(os.path.isdir(p) and os.path.realpath(p) == here for p in paths):
        raise SettingsError(
            f"the next run would read the pictures in {out} as photographs; choose an output "
            "folder that is not an input folder"
        )
    errors = {file: _problem(file, found, suffixes) for file, _ in found.files}
    photos = [(file, root) for file, root in found.files if errors[file] is None]
    named = dict(zip([file for file, _ in photos], name_trees(photos, out), strict=True))
    inputs = {os.path.normcase(os.path.abspath(file)) for file in named}
    jobs = []
    for file, root in found.files:
        output, error = named.get(file), errors[file]
        if output is not None and os.path.normcase(os.path.abspath(output)) in inputs:
            error = f"{file}: its tree would overwrite the input {output}; choose another folder"
        jobs.append(Job(file, error=error) if error else Job(file, output, root=root))
    return jobs


def _leave_out_trees(found: Found, paths: Sequence[str | Path]) -> None:
    """Take trees out of the files of folders: feature files have the same suffix."""
    given = set(map(Path, paths))
    trees = {
        file
        for file, _ in found.files
        if file.suffix.lower() == TREE_SUFFIX and file not in given and is_tree(file)
    }
    found.left_out[TREE_SUFFIX] += len(trees)
    found.left_out += Counter()  # without zeros
    found.files = [(file, root) for file, root in found.files if file not in trees]


def _problem(file: Path, found: Found, suffixes: frozenset[str]) -> str | None:
    """Why an input is no photograph that can be processed."""
    if file in found.problems:
        return f"{file}: {found.problems[file]}"
    if problem := input_problem(file):
        return f"{file}: {problem}"
    is_folder = os.path.isdir(file)
    return f"{file}: holds no images ({', '.join(sorted(suffixes))})" if is_folder else None


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
        # An error is reported when this photograph is processed.
        size = attempt(partial(image_size, photo, parser.sight.max_pixels))
        if not isinstance(size, Exception):
            sizes.append((size, photo))
    if not sizes:
        return None
    size, source = max(sizes, key=lambda found: found[0][0] * found[0][1])
    network = parser.backbone
    assert isinstance(network, Tiled)
    grid = grid_of(size, parser.sight.seen_size(size), network.patch)
    parts = getattr(parser.settings.parts, "count", MAX_PARTS)
    memory = memory_needed(size, grid, network.dim, parts, network.descriptor_dim) / 1e9
    tiles = network.tiles(grid)
    return (
        f"largest: {source}, {size[1]} x {size[0]}: {tiles} tile{'s' * (tiles > 1)}, "
        f"{grid[1]} x {grid[0]} patches, up to {memory:.1f} GB of memory"
    )


def segment(
    parser: RegionParser,
    jobs: Sequence[Job],
    out: str | Path,
    *,
    overwrite: bool = False,
    pictures: bool = False,
    found: Found | None = None,
    workers: int | None = None,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
    on_notice: Callable[[str], None] = lambda said: None,
) -> Summary:
    """The summary of a batch, which is also written to ``summary.json`` in `out`.

    Results come in the order of the jobs. Neither their order nor the trees depend on the number of
    workers. If the user interrupts the batch, the summary has the jobs that are finished.

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
        Whether pictures of each tree are drawn beside it, also of a finished tree that lacks some.
    found
        What the inputs name, for the summary.
    workers
        Number of processes that each do whole photographs, 0 to 1024. 0: this process does all.
        None: this process begins, and workers take over if the rest would take it more than some
        20 seconds. For one or two photographs no worker is started. A network on a GPU, a compiled
        one and the user's own model stay in this process, and the workers do the rest of the work.
    on_outcome
        Called with the result of each job.
    on_notice
        Called with each sentence on how the work is divided.

    Raises
    ------
    SettingsError
        `workers` is not a whole number in its range.
    BackboneError
        The backbone cannot be loaded, so no photograph can be processed.
    FeatureError
        The folder of the features does not exist, or cannot be listed.
    """
    out = Path(out)
    if workers is not None:
        workers = check_number("workers", workers, 0, 1024, whole=True)
    summary = Summary(planned=len(jobs), folder=out, found=found)
    batch = Batch(Photographs(parser, out, overwrite, pictures), jobs, workers, on_notice)
    start = time.perf_counter()
    try:
        with closing(batch.outcomes()) as outcomes:
            for outcome in outcomes:
                summary.outcomes.append(outcome)
                on_outcome(outcome)
    except KeyboardInterrupt:
        summary.interrupted = True
        summary.outcomes += batch.rest()
    finally:
        summary.seconds = time.perf_counter() - start
        if summary.outcomes:
            # The trees are finished, so a full disk here must not end the command with an error.
            try:
                write_summary(out, summary.as_dict())
            except OSError as error:
                summary.problem = f"{out / SUMMARY_NAME}: was not written ({reason(error)})"
    return summary
