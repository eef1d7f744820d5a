"""How processes share the images of a run."""

from __future__ import annotations

import torch.distributed as dist

from regiontree.engines.torchrun import Torchrun


def process(store: dist.Store) -> Torchrun:
    """One process of a group, as far as tickets go."""
    one = Torchrun.__new__(Torchrun)
    one._tickets, one._runs, one.rank = store, 0, 0
    return one


def test_a_process_takes_the_next_image_that_nobody_has_taken():
    store = dist.HashStore()
    slow, fast = process(store).tickets(6), process(store).tickets(6)
    assert next(slow) == 0  # and works on it while the other one goes on
    assert list(fast) == [1, 2, 3, 4, 5]
    assert list(slow) == []


def test_the_next_run_starts_again():
    one = process(dist.HashStore())
    assert list(one.tickets(3)) == list(one.tickets(3)) == [0, 1, 2]
