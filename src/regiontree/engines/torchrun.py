"""A crew that ``torchrun`` started: one process for each GPU, or several processes on CPUs.

The processes can run on one machine or on several. All machines must see the same output folder.
Tickets come from an atomic counter in the key-value store of torchrun. The process group adds the
counts, by NCCL between GPUs and by Gloo between CPUs. If torchrun starts several processes on
CPUs, it gives each of them one thread. Set OMP_NUM_THREADS in the environment to give them more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from regiontree.errors import SettingsError

__all__ = ["Torchrun", "is_under_torchrun"]

# At the end of a run, all processes wait for the slowest image. This may take long.
_PATIENCE = timedelta(days=1)


def is_under_torchrun() -> bool:
    """Whether torchrun started this process, as its environment shows."""
    return {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()


class Torchrun:
    """The crew that torchrun started: see :class:`regiontree.engines.crew.Crew`.

    Parameters
    ----------
    device
        The user's choice of device. ``auto`` uses the GPUs if there are any.

    Raises
    ------
    SettingsError
        `device` is ``cuda`` and the machine has no GPU, or the machine has fewer GPUs than
        processes.
    """

    def __init__(self, device: str = "auto") -> None:
        local = int(os.environ.get("LOCAL_RANK", "0"))
        gpus = torch.cuda.device_count() if device in ("auto", "cuda") else 0
        if device == "cuda" and not gpus:
            raise SettingsError("device 'cuda' is not on this machine; use --device cpu")
        if gpus and local >= gpus:
            raise SettingsError(
                f"process {local} has no GPU: this machine has {gpus}; start at most as many "
                "processes, or pass --device cpu"
            )
        self.device: str | None = f"cuda:{local}" if gpus else "cpu" if device == "auto" else device
        self._where = torch.device(self.device if gpus else "cpu")
        if gpus:
            torch.cuda.set_device(self._where)
        store, self.rank, self.size = next(rendezvous("env://"))
        store.set_timeout(_PATIENCE)
        # If torchrun restarts the group, the tickets start again at 0.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        self._tickets = _named(f"regiontree/{attempt}", store)
        self._runs = 0
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if gpus else "gloo",
            store=_named(f"group/{attempt}", store),
            rank=self.rank,
            world_size=self.size,
            timeout=_PATIENCE,
        )

    def tickets(self, count: int) -> Iterator[int]:
        """The tickets of this process: see :meth:`regiontree.engines.crew.Crew.tickets`."""
        self._runs += 1
        counter = f"tickets/{self._runs}"
        while (ticket := self._tickets.add(counter, 1) - 1) < count:
            yield ticket

    def total(self, counts: Sequence[int]) -> list[int]:
        """Sums over all processes: see :meth:`regiontree.engines.crew.Crew.total`."""
        sums = torch.tensor(list(counts), dtype=torch.int64, device=self._where)
        dist.all_reduce(sums)
        return [int(value) for value in sums.tolist()]

    def gather(self, text: str) -> list[str]:
        """The texts of all processes: see :meth:`regiontree.engines.crew.Crew.gather`."""
        # The processes send bytes and no Python objects, so nothing is unpickled. First they send
        # the lengths of their texts.
        mine = torch.frombuffer(bytearray(text.encode() or b" "), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64, device="cpu") for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(mine)], device="cpu"))
        longest = int(max(int(length) for length in lengths))
        padded = torch.zeros(longest, dtype=torch.uint8, device="cpu")
        padded[: len(mine)] = mine
        everyone: Any = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(everyone, padded)
        if self.rank:
            return []
        return [
            bytes(row[: int(length)].numpy()).decode().strip()
            for row, length in zip(everyone, lengths, strict=True)
        ]

    def close(self) -> None:
        """Leave the process group."""
        if dist.is_initialized():
            dist.destroy_process_group()


def _named(prefix: str, store: Any) -> Any:
    """The store, with `prefix` before each key."""
    return dist.PrefixStore(prefix, store)  # type: ignore[attr-defined]
