"""Loops that numba compiles, and what runs where it cannot."""

from __future__ import annotations

import sys
import threading
import warnings

import numpy as np
import pytest

from regiontree.system import jit as module
from regiontree.system.jit import jit


@jit()
def doubled(value):
    return 2 * value


@jit()
def total(values):
    found = 0
    for value in values:
        found += doubled(value)
    return found


def slow(values):
    return -1


@jit(instead=slow)
def with_another(values):
    return len(values)


@pytest.fixture
def untouched(monkeypatch):
    """A process in which no loop was compiled so far."""
    monkeypatch.setattr(module, "_why_not", None)
    for loop in (doubled, total, with_another):
        monkeypatch.setattr(loop, "_fast", None)


def test_a_loop_calls_another_of_its_module(untouched):
    assert total(np.arange(5)) == 20
    assert total.compiled().signatures  # numba did it


def test_many_threads_at_once(untouched):
    found = []
    threads = [threading.Thread(target=lambda: found.append(total(np.arange(5)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [20] * 4


def test_without_numba_the_slower_function_runs_and_it_is_said_once(untouched, monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert with_another(np.arange(3)) == -1
        assert with_another(np.arange(3)) == -1
        assert total(np.arange(5)) == 20
    (only,) = said
    assert "pip install numba" in str(only.message)


def test_numba_that_cannot_compile(untouched, monkeypatch):
    import numba

    def broken(*args, **kwargs):
        raise RuntimeError("LLVM has no such target\nand more")

    monkeypatch.setattr(numba, "njit", broken)
    with pytest.warns(RuntimeWarning, match=r"\(LLVM has no such target\)"):
        assert with_another(np.arange(3)) == -1


def test_a_folder_that_cannot_be_written_does_not_stop_the_compiler(untouched, monkeypatch):
    import numba

    plain = numba.njit

    def without_disk(*args, cache=False, **kwargs):
        if cache:
            raise OSError("no space left")
        return plain(*args, **kwargs)

    monkeypatch.setattr(numba, "njit", without_disk)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert with_another(np.arange(3)) == 3


def test_a_program_can_tell_that_loops_are_compiled(untouched, monkeypatch):
    said = []
    monkeypatch.setattr(module, "_is_on_disk", lambda made: False)
    module.announce(lambda: said.append("compiling"))
    assert total(np.arange(5)) == 20
    assert with_another(np.arange(3)) == 3
    assert said == ["compiling"]


def test_what_is_on_disk_is_known(untouched):
    assert total(np.arange(5)) == 20  # and its code is kept
    assert module._is_on_disk(module._compiled(total.function, True))
    assert module._is_on_disk(len)  # numba does not say
