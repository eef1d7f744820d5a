"""Fuzzing: everything that reads foreign bytes, tried with 10,000 bad inputs of each kind.

A *target* (:mod:`fuzz.targets`) hands bytes to one reader and checks what comes out. A *case* is
one input of a target. It passes in two ways: the reader gives a right result, or it raises a clear
:class:`~regiontree.errors.RegionTreeError`. :mod:`fuzz.case` says what clear means, and what else
is a fault: another exception, a hang, too much memory, a warning, printed text, a file left behind.

Two drivers make the cases (:mod:`fuzz.worker`):

- hypothesis builds well-formed files with arbitrary content;
- atheris changes valid files and keeps what reaches new code. Where atheris is not installed, the
  same changes are made without that guidance.

``make fuzz`` runs all targets. Seeds are fixed, so a run can be repeated. ``found/TARGET/`` keeps
the input of every fault that was found; ``tests/test_fuzz.py`` runs them in every test run.
"""
