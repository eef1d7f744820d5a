"""Under ``torchrun``: one process a GPU, or several on CPUs, on one machine or many.

Tickets come from the key-value store that torchrun's processes meet in, an atomic counter. Counts
are summed by the process group: NCCL between GPUs, Gloo between CPUs. The output folder must be one
that all machines see. On CPUs torchrun gives every process of several one thread; OMP_NUM_THREADS
in the environment gives them more.
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

# The end of a run waits for the slowest image, however long that takes.
_PATIENCE = timedelta(days=1)


def is_under_torchrun() -> bool:
    """Whether the environment is that of one process among several."""
    return {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()


class Torchrun:
    """The crew that torchrun started.

    Raises
    ------
    SettingsError
        More processes on this machine than it has GPUs, where it has any.
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
        # A restart of the group by torchrun starts counting anew.
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
        """Numbers below `count` that no other process takes."""
        self._runs += 1
        counter = f"tickets/{self._runs}"
        while (ticket := self._tickets.add(counter, 1) - 1) < count:
            yield ticket

    def total(self, counts: Sequence[int]) -> list[int]:
        """The sum of each count over all processes."""
        sums = torch.tensor(list(counts), dtype=torch.int64, device=self._where)
        dist.all_reduce(sums)
        return [int(value) for value in sums.tolist()]

    def gather(self, text: str) -> list[str]:
        """The texts of all processes in process 0; an empty list in the others."""
        # Bytes, not objects: nothing is unpickled. A first round tells the lengths.
        mine = torch.frombuffer(bytearray(text.encode() or b" "), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(mine)]))
        longest = int(max(int(length) for length in lengths))
        padded = torch.zeros(longest, dtype=torch.uint8)
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
        """Leave the group of processes."""
        if dist.is_initialized():
            dist.destroy_process_group()


def _named(prefix: str, store: Any) -> Any:
    return dist.PrefixStore(prefix, store)  # type: ignore[attr-defined]
