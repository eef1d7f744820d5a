"""What the processes of a Ray cluster do with a block: a table of references, or of what became of
them.

A process makes its parser once. Between two stages a photograph is a pickle in a column of bytes,
made and read by this module alone. It never leaves the object stores of the run.

Where the network runs on cores, one stage does all. Three stages took nearly twice the time for
small photographs: each stage is a task, and what passes between two is written and read.
"""

from __future__ import annotations

import json
import os
import pickle
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import torch

from regiontree.engines.engine import Status, done, written
from regiontree.engines.link import Message, told
from regiontree.engines.parsers import Absent, network_facts, parser_of
from regiontree.engines.process import Staged, decoded, features, trees
from regiontree.errors import BackboneError, StoreError
from regiontree.forest.arrow import pyarrow
from regiontree.forest.row import Row
from regiontree.forest.store import Store, open_store
from regiontree.parser import RegionParser
from regiontree.references.reference import Reference
from regiontree.system.faults import attempt

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Network",
    "Plan",
    "decode",
    "facts_of",
    "finish",
    "references_table",
    "sees_store",
    "whole",
]

_REFERENCE = ("id", "address", "name", "offset", "length")
_STATUS = ("id", "error", "notice", "seconds")


@dataclass(frozen=True, slots=True)
class Plan:
    """What each stage is told.

    Attributes
    ----------
    parser : str
        Options of the parser, as :func:`regiontree.engines.parsers.parser_options` gives them, as
        JSON.
    folder : str
        Working directory of the command, from which paths lead.
    store : Store
        Takes the rows.
    facts : str
        Facts about the network, as JSON; null if features come from files.
    device : str
        Where the network runs.
    compile : bool
        Whether it is compiled.
    """

    parser: str
    folder: str
    store: Store
    facts: str = "null"
    device: str = "cpu"
    compile: bool = False


def references_table(batch: Any) -> pa.Table:
    """A batch as a block."""
    pa = pyarrow()
    columns = zip(*(astuple(one) for one in batch), strict=True)
    kinds = [pa.string()] * 3 + [pa.int64()] * 2
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    return pa.table(arrays, names=list(_REFERENCE))


# -- before the first photograph ------------------------------------------------------------------


def facts_of(plan: Plan, own: Any) -> Message:
    """Load the network; facts about it, or its error."""
    found = attempt(lambda: network_facts(_with_network(plan, own).backbone))
    return {"error": told(found)} if isinstance(found, Exception) else found


def sees_store(plan: Plan) -> str | None:
    """Why this machine cannot write to the store; None if it can."""
    _enter(plan.folder)
    found = attempt(partial(open_store, plan.store.address, create=False))
    if isinstance(found, Exception):
        return str(found)
    return None if found.record == plan.store.record else f"{plan.store.address}: another store"


# -- the network on cores: one stage -------------------------------------------------------------


def whole(block: pa.Table, plan: Plan, own: Any = None) -> pa.Table:
    """The only stage: all work on the photographs of a block, and the statuses.

    Parameters
    ----------
    block
    plan
    own
        Where the user's own model lies in the object store. None: the network of the settings.
    """
    references = [Reference(**values) for values in block.select(_REFERENCE).to_pylist()]
    parser = _parser_with_network(plan.parser, plan.folder, plan.device, plan.compile, own)
    found = attempt(partial(done, references, parser, plan.store))
    return _told(found, [one.id for one in references])


# -- the network on GPUs: three stages -----------------------------------------------------------


def decode(block: pa.Table, plan: Plan) -> Iterator[pa.Table]:
    """The first stage: each photograph as soon as it is decoded, so that blocks stay small."""
    parser = _parser(plan.parser, plan.facts, plan.folder)
    for values in block.select(_REFERENCE).to_pylist():
        yield _staged_table(decoded(Reference(**values), parser))


class Network:
    """The second stage: an actor that holds the network.

    Parameters
    ----------
    plan
    own
        Where the user's own model lies in the object store. None: the network of the settings.
    """

    def __init__(self, plan: Plan, own: Any) -> None:
        self.parser = _with_network(plan, _model(own))
        self.parser.backbone  # noqa: B018 - loaded now, beside the first decoding

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        for staged in _staged(block):
            (found,) = features([staged], self.parser)
            yield _staged_table(found)


def finish(block: pa.Table, plan: Plan) -> pa.Table:
    """The last stage: build the trees of a block, write them as a part, and tell the statuses."""
    parser = _parser(plan.parser, plan.facts, plan.folder)
    rows: list[Row] = []
    seconds: list[float] = []
    for one in _staged(block):
        start = time.perf_counter()
        rows += trees([one], parser)
        seconds.append(one.seconds + time.perf_counter() - start)
    found = attempt(partial(written, rows, plan.store, seconds))
    return _told(found, [row.id for row in rows])


def _told(found: list[Status] | Exception, ids: list[str]) -> pa.Table:
    """Statuses as a block; or what must stop the run, since the next block would meet it, too."""
    pa = pyarrow()
    stop = None
    if isinstance(found, BackboneError | StoreError | OSError):
        stop, found = json.dumps(told(found)), [Status(one) for one in ids]
    elif isinstance(found, Exception):
        raise found
    columns = dict(zip(_STATUS, zip(*map(astuple, found), strict=True), strict=True))
    kinds = {
        "id": pa.string(),
        "error": pa.string(),
        "notice": pa.string(),
        "seconds": pa.float64(),
    }
    arrays = {name: pa.array(column, kinds[name]) for name, column in columns.items()}
    return pa.table({**arrays, "stop": pa.array([stop] * len(ids), pa.string())})


# -- in a process of the cluster ------------------------------------------------------------------


def _enter(folder: str) -> None:
    """Go where paths lead from, if this machine has the folder."""
    with suppress(OSError):
        os.chdir(folder)


@lru_cache(maxsize=2)
def _parser(options: str, facts: str, folder: str) -> RegionParser:
    """The parser of this process, without a network."""
    _enter(folder)
    parser, known = parser_of(json.loads(options)), json.loads(facts)
    return parser if known is None else parser.copied(network=Absent(known))


@lru_cache(maxsize=1)
def _parser_with_network(
    options: str, folder: str, device: str, compile: bool, own: Any
) -> RegionParser:
    """The parser of this process, with a network. There is such a process for each core."""
    _enter(folder)
    torch.set_num_threads(1)
    return parser_of(json.loads(options), device=device, own=_model(own), compile=compile)


def _model(own: Any) -> Any:
    """The user's own model, from the object store."""
    import ray

    return None if own is None else ray.get(own)


def _with_network(plan: Plan, own: Any) -> RegionParser:
    """A parser that loads its network here."""
    _enter(plan.folder)
    return parser_of(json.loads(plan.parser), device=plan.device, own=own, compile=plan.compile)


def _staged_table(one: Staged) -> pa.Table:
    """A photograph as a block of one row. Its pixels take a quarter of the memory meanwhile."""
    pa = pyarrow()
    pixels = one.pixels
    if pixels is not None and pixels.is_floating_point():  # they are whole numbers of 255ths
        one = replace(one, pixels=(pixels * 255).round_().to(torch.uint8))
    held = pickle.dumps((one, pixels is not None and pixels.is_floating_point()), protocol=5)
    return pa.table({"id": [one.reference.id], "held": pa.array([held], pa.large_binary())})


def _staged(block: pa.Table) -> Iterator[Staged]:
    for held in block.column("held"):
        one, was_floating = pickle.loads(held.as_buffer())
        if was_floating:
            one = replace(one, pixels=one.pixels.float().div_(255.0))
        yield one
