"""One photograph of a batch, from its job to its outcome: the same in every process.

A worker process opens :func:`open_work`. On a CPU it loads its own network. With a GPU, or with the
user's own model, it asks the process that started it for the features of the pixels that it
decoded (``Distant``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from regiontree.backbones.base import Backbone
from regiontree.backbones.descriptors import descriptor_dim
from regiontree.backbones.featurefile import Features
from regiontree.backbones.run import run_batch
from regiontree.display.drawn import draw, draw_missing
from regiontree.engines.feeding import Fed, feed
from regiontree.engines.finished import Job, is_finished, save_tree
from regiontree.engines.link import Message
from regiontree.engines.parsers import Absent, network_facts, parser_of, parser_options
from regiontree.engines.worker import Caller
from regiontree.errors import FeatureError
from regiontree.images.choice import notice_of
from regiontree.parser import RegionParser
from regiontree.system.faults import attempt, fault_text
from regiontree.tree import RegionTree

__all__ = [
    "Outcome",
    "Photographs",
    "as_job",
    "as_reference",
    "features_for",
    "open_parser",
    "open_work",
    "options_for",
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a job.

    Attributes
    ----------
    source : str
        The photograph.
    status : {"done", "skipped", "failed"}
        ``skipped`` means that the tree was finished before, with its pictures if they are asked
        for. ``done`` means that the tree or some of its pictures were made now.
    output : str or None
        The tree file. A job may fail after its tree was written, because a picture fails.
    nodes, leaves : int or None
        Numbers of nodes and leaves of the tree. Only if it was made now.
    seconds : float or None
        Time that the photograph took. Only if its tree was made now.
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


@dataclass(frozen=True, slots=True)
class Photographs:
    """The work on each photograph of a batch.

    Attributes
    ----------
    parser : RegionParser
    out : Path
        Folder of the trees.
    overwrite, pictures : bool
        See :func:`regiontree.engines.batch.segment`.
    """

    parser: RegionParser
    out: Path
    overwrite: bool = False
    pictures: bool = False

    def known(self, job: Job) -> Outcome | None:
        """The result of a job that needs no tree: failed or finished before. Otherwise None."""
        source = str(job.source)
        if job.output is None:
            return Outcome(source, "failed", error=job.error)
        if self.overwrite:
            return None
        output = job.output

        def work() -> Outcome | None:
            if not is_finished(job, self.parser):
                return None
            drawn = self.pictures and draw_missing(output, self._shown(job))
            return Outcome(source, "done" if drawn else "skipped", str(output))

        known = attempt(work)
        if isinstance(known, Exception):
            return Outcome(source, "failed", str(output), error=fault_text(known, source))
        return known

    def done(self, job: Job, fed: Fed) -> Outcome:
        """Build and save the tree of a job from its features; the result of the job.

        The tree is built on the CPU, also if the network runs on a GPU. So it does not depend on
        which process builds it.
        """
        assert job.output is not None
        source, start = str(job.source), time.perf_counter()
        written: list[Path] = []
        parser = self.parser.copied(device=torch.device("cpu"))

        def work() -> tuple[RegionTree, bool]:
            if not isinstance(fed.features, Features):
                raise fed.features or FeatureError(
                    f"{source}: has no features; run the batch again"
                )
            tree = parser.build(fed.features, rgb=parser.pixels(job.photo, decoded=fed.image))
            output, is_new = save_tree(tree, job, parser, self.out, overwrite=self.overwrite)
            written.append(output)
            if self.pictures and is_new:
                draw(tree, output, self._shown(job))
            elif self.pictures:
                draw_missing(output, self._shown(job))
            return tree, is_new

        made = attempt(work)
        file = str(written[0]) if written else None
        if isinstance(made, Exception):
            return Outcome(source, "failed", file, error=fault_text(made, source))
        tree, is_new = made
        if not is_new:
            return Outcome(source, "skipped", file)
        seconds = round(fed.seconds + time.perf_counter() - start, 3)
        notice = notice_of(tree.meta.get("image", {}))
        return Outcome(source, "done", file, tree.n_nodes, tree.n_leaves, seconds, notice=notice)

    def whole(self, job: Job) -> Outcome:
        """The result of one job, from decoding to writing."""
        with closing(feed(self.parser, [job.photo], batch=1, ahead=0)) as feeding:
            return self.done(job, next(feeding))

    def _shown(self, job: Job) -> Path | None:
        """The photograph in pictures; None if the tree was made from features alone."""
        return None if self.parser.settings.backbone.name == "precomputed" else job.source


# -- in a worker ----------------------------------------------------------------------------------


def options_for(work: Photographs, network: Backbone | None) -> Message:
    """What :func:`open_work` needs to know, as JSON values.

    Parameters
    ----------
    work
        The work of the batch.
    network
        The network, if workers ask for features. None: each worker loads its own.
    """
    return {
        **parser_options(work.parser),
        "out": str(work.out),
        "overwrite": work.overwrite,
        "pictures": work.pictures,
        "network": None if network is None else network_facts(network),
    }


def open_work(options: Message, caller: Caller) -> tuple[Callable[[Message], Message], Message]:
    """What a worker does with a job, and facts about its network. Its rows are outcomes.

    Raises
    ------
    BackboneError
        The network cannot be loaded.
    """
    parser, facts = open_parser(options, caller)
    work = Photographs(parser, Path(options["out"]), options["overwrite"], options["pictures"])
    return lambda reference: asdict(work.whole(as_job(reference))), facts


def open_parser(options: Message, caller: Caller) -> tuple[RegionParser, Message]:
    """The parser of a worker, and facts about its network.

    Parameters
    ----------
    options
        Those of :func:`~regiontree.engines.parsers.parser_options`. ``network`` has facts about the
        network of the process that started this one, if the worker asks it for features. None: the
        worker loads its own.
    caller
        The process that started this one.

    Raises
    ------
    BackboneError
        The network cannot be loaded.
    """
    parser, told = parser_of(options), options["network"]
    if told is not None:
        return parser.copied(network=Distant(caller, told)), {}
    if parser.settings.is_precomputed:
        return parser, {}
    network = parser.backbone
    return parser, {"patch": network.patch, "dim": network.dim,
                    "descriptor_dim": descriptor_dim(network)}  # fmt: skip


def as_reference(job: Job) -> Message:
    """A job as JSON values."""
    paths = {"source": job.source, "output": job.output, "root": job.root, "mask": job.mask}
    said = {name: None if path is None else str(path) for name, path in paths.items()}
    return {**said, "is_users": job.is_users}


def as_job(reference: Message) -> Job:
    """The job that :func:`as_reference` wrote down."""
    output, root, mask = (
        None if reference[name] is None else Path(reference[name])
        for name in ("output", "root", "mask")
    )
    return Job(
        Path(reference["source"]), output, root=root, mask=mask, is_users=reference["is_users"]
    )


class Distant(Absent):
    """The network of the process that started this one, as a backbone on the CPU.

    Parameters
    ----------
    caller
        That process.
    facts
        The attributes of the network, as :func:`options_for` tells them.
    """

    def __init__(self, caller: Caller, facts: Message) -> None:
        super().__init__(facts)
        self._caller = caller

    def features(self, pixels: Tensor) -> Tensor:
        """See :meth:`regiontree.backbones.base.Backbone.features`."""
        return torch.from_numpy(self._caller.ask(pixels.numpy()).copy())


def features_for(network: Backbone, pixels: Any) -> Any:
    """The features that ``Distant`` asked for: arrays instead of tensors."""
    with torch.no_grad():
        given = torch.from_numpy(pixels).to(network.device)
        return run_batch(network, given).cpu().numpy()
