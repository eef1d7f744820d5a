"""How long many photographs take on given machines, computed from what one photograph takes.

A machine has cores, and maybe GPUs for the network. Each core does whole photographs:

    photographs a second = cores / seconds of a core for one photograph

Beside GPUs, the cores do everything but the network, and the slower of the two decides:

    photographs a second = min(cores / seconds without the network, GPUs / seconds of the network)
    seconds of the network on a GPU = operations / (peak of the GPU x share of the peak in use)

    time = start + photographs / (machines x photographs a second)

One process puts the rows of a store into shards, while all others work. If that takes longer, it
decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from regiontree.errors import SettingsError, check_number, nearest_name

__all__ = [
    "GPUS",
    "GPU_USE",
    "STEPS",
    "Assumed",
    "Forecast",
    "Machine",
    "Needs",
    "forecast",
    "numbers_by_name",
    "parse_machines",
]

STEPS = ("decoding", "network", "tree", "borders", "writing")
"""What is done with a photograph."""
GPUS = {"T4": 65.0, "L4": 121.0, "A100": 312.0, "H100": 989.0}
"""Tera-operations a second in dense float16 or bfloat16, from the makers' data sheets."""
GPU_USE = 0.3
"""Share of the peak of a GPU that a network is assumed to use."""
_FORM = re.compile(
    r"(?:(?P<number>\d{1,9})x)?(?P<cores>\d{1,9})"
    r"(?:\+(?:(?P<gpus>\d{1,9})x)?(?P<gpu>[a-z][\w.-]*))?",
    re.ASCII | re.IGNORECASE,
)
_LATE = 16_384  # rows that at most wait for a shard when the last photograph is done


@dataclass(frozen=True, slots=True)
class Machine:
    """Machines that are alike.

    Attributes
    ----------
    name : str
        As the user wrote it.
    number : int
        How many there are.
    cores : int
        Of each of them.
    gpu : str or None
        Name of the GPUs.
    gpus : int
        Of each of them.
    network_seconds : float or None
        Seconds of one GPU for the network, if they were measured.
    """

    name: str
    number: int
    cores: int
    gpu: str | None = None
    gpus: int = 0
    network_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Needs:
    """What a collection needs, as means over its photographs.

    Attributes
    ----------
    photographs : int
        How many there are.
    seconds : mapping
        Seconds of one core while all cores are busy, for each of :data:`STEPS`.
    start : float
        Seconds until every core is at work.
    operations : int
        Floating-point operations of the network.
    shards : float
        Seconds of one process to put one row into a shard. 0: there is no store.
    read, stored : float
        Bytes of a photograph, and of its tree.
    memory : int
        Most bytes of a process.
    """

    photographs: int
    seconds: Mapping[str, float]
    start: float = 0.0
    operations: int = 0
    shards: float = 0.0
    read: float = 0.0
    stored: float = 0.0
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Assumed:
    """What nobody measured.

    Attributes
    ----------
    peaks : mapping
        Tera-operations a second of GPUs by name.
    use : float
        Share of the peak that a network uses, above 0 and at most 1.
    core_price : float or None
        Of an hour of one core.
    gpu_prices : mapping
        Of an hour of one GPU alone, by name.
    """

    peaks: Mapping[str, float] = field(default_factory=lambda: GPUS)
    use: float = GPU_USE
    core_price: float | None = None
    gpu_prices: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run needs on some machines.

    Attributes
    ----------
    machine : Machine
    seconds : float
        From the command to its end.
    limit : {"start", "cores", "GPU", "shards"}
        What would make the run shorter if there were more of it, or if it were quicker.
    core_hours, gpu_hours : float
        Hours of all cores and of all GPUs, idle or not.
    memory : int
        Bytes of memory of one machine: those of a process for each core.
    bandwidth : float
        Bytes a second that the source has to give to all machines together.
    stored, read : float
        Bytes of all trees and of all photographs.
    price : float or None
        None if a price is not known.
    """

    machine: Machine
    seconds: float
    limit: str
    core_hours: float
    gpu_hours: float
    memory: int
    bandwidth: float
    stored: float
    read: float
    price: float | None


def forecast(machine: Machine, needs: Needs, assumed: Assumed | None = None) -> Forecast:
    """What a run needs on some machines.

    Parameters
    ----------
    machine
        GPUs that are not measured need a peak in `assumed`.
    needs
        What was measured.
    assumed
        What was not. None: the usual.

    Examples
    --------
    >>> needs = Needs(36_000, {"network": 3.0, "tree": 1.0}, operations=94 * 10**9)
    >>> forecast(Machine("4x10", 4, 10), needs).seconds / 3600
    1.0
    >>> beside = forecast(Machine("10+L4", 1, 10, "L4", 1), needs)  # the L4 takes 2.6 ms
    >>> beside.seconds / 3600, beside.limit
    (1.0, 'cores')
    """
    assumed = assumed or Assumed()
    paces = {"cores": machine.cores / max(_core_seconds(machine, needs), 1e-9)}
    if machine.gpu is not None:
        each = machine.network_seconds
        if each is None:
            each = needs.operations / (1e12 * assumed.peaks[machine.gpu] * assumed.use)
        paces["GPU"] = machine.gpus / max(each, 1e-9)
    limit = min(paces, key=lambda what: paces[what])
    pace = machine.number * paces[limit]
    # A photograph takes its time, however many cores there are.
    working = max(needs.photographs / pace, sum(needs.seconds.values()) * (needs.photographs > 0))
    if needs.shards * needs.photographs > working:
        limit, working = "shards", needs.shards * needs.photographs
    late = needs.shards * min(needs.photographs, _LATE)
    seconds = needs.start + working + late
    core_hours = machine.number * machine.cores * seconds / 3600
    gpu_hours = machine.number * machine.gpus * seconds / 3600
    return Forecast(
        machine,
        seconds,
        limit="start" if needs.start > working else limit,
        core_hours=core_hours,
        gpu_hours=gpu_hours,
        memory=machine.cores * needs.memory,
        bandwidth=needs.read * needs.photographs / working if working else 0.0,
        stored=needs.stored * needs.photographs,
        read=needs.read * needs.photographs,
        price=_price(machine, core_hours, gpu_hours, assumed),
    )


def _core_seconds(machine: Machine, needs: Needs) -> float:
    """Seconds of a core for one photograph."""
    whole = sum(needs.seconds.values())
    return whole if machine.gpu is None else whole - needs.seconds.get("network", 0.0)


def _price(machine: Machine, core_hours: float, gpu_hours: float, assumed: Assumed) -> float | None:
    of_gpu = 0.0 if machine.gpu is None else assumed.gpu_prices.get(machine.gpu)
    if assumed.core_price is None or of_gpu is None:
        return None
    return core_hours * assumed.core_price + gpu_hours * of_gpu


# -- what the user writes -------------------------------------------------------------------------


def parse_machines(texts: Iterable[str], peaks: Mapping[str, float] = GPUS) -> list[Machine]:
    """Machines from texts. A text may hold several, separated by commas.

    Parameters
    ----------
    texts
        ``64``: one machine of 64 cores. ``4x64``: four of them. ``2x16+L4``: two machines of 16
        cores with an L4 each. ``48+4xA100``: one with four.
    peaks
        The GPUs whose peaks are known.

    Raises
    ------
    SettingsError
        A text is not such a text, a number is out of range, or the GPU is unknown.

    Examples
    --------
    >>> [(m.number, m.cores, m.gpus, m.gpu) for m in parse_machines(["4x64, 2x16+L4", "8+2xh100"])]
    [(4, 64, 0, None), (2, 16, 1, 'L4'), (1, 8, 2, 'H100')]
    """
    words = [word.strip() for text in texts for word in text.split(",")]
    return [_parsed(word, peaks) for word in words]


def _parsed(text: str, peaks: Mapping[str, float]) -> Machine:
    found = _FORM.fullmatch(text)
    if found is None:
        raise SettingsError(
            f"machines must be like 64, 4x64 (4 machines of 64 cores) or 2x16+L4 (2 machines of 16 "
            f"cores with an L4 each), got {text!r}"
        )
    gpu = None if found["gpu"] is None else _known_gpu(found["gpu"], text, peaks)
    number, cores = int(found["number"] or 1), int(found["cores"])
    gpus = 0 if gpu is None else int(found["gpus"] or 1)
    check_number(f"{text}: number of machines", number, 1, 1_000_000, whole=True)
    check_number(f"{text}: cores", cores, 1, 4096, whole=True)
    if gpu is not None:
        check_number(f"{text}: GPUs", gpus, 1, 64, whole=True)
    return Machine(text, number, cores, gpu, gpus)


def _known_gpu(given: str, text: str, peaks: Mapping[str, float]) -> str:
    names = {name.casefold(): name for name in peaks}
    if given.casefold() not in names:
        raise SettingsError(
            f"{text}: no GPU {given!r} is known{nearest_name(given, peaks)}; known are "
            f"{', '.join(peaks)}; give the peak of another as --gpu-peak NAME=TERA-OPERATIONS"
        )
    return names[given.casefold()]


def numbers_by_name(option: str, texts: Iterable[str]) -> dict[str, float]:
    """Numbers from texts ``NAME=NUMBER``. A text may hold several, separated by commas.

    Raises
    ------
    SettingsError
        A text is not such a text, or its number is negative.

    Examples
    --------
    >>> numbers_by_name("--gpu-price", ["L4=0.8,T4=0.4", "H100=4"])
    {'L4': 0.8, 'T4': 0.4, 'H100': 4.0}
    """
    found: dict[str, float] = {}
    for word in (word.strip() for text in texts for word in text.split(",")):
        name, _, value = word.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not name.strip() or not 0 <= number < float("inf"):
            raise SettingsError(f"{option} must be NAME=NUMBER, like L4=0.8, got {word!r}")
        found[name.strip()] = number
    return found
