"""A signal stops the work, even if its exception was lost on the way."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest

from regiontree.signals import interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_raises_and_again_at_the_next_check(number: int) -> None:
    before = signal.getsignal(number)
    with interruptible() as check:
        check()  # nothing yet
        with contextlib.suppress(KeyboardInterrupt):  # as a callback from C code would lose it
            os.kill(os.getpid(), number)
            pytest.fail("the signal raised nothing")
        with pytest.raises(KeyboardInterrupt):
            check()
    assert signal.getsignal(number) is before
