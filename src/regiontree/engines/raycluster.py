"""The connection to a Ray cluster: one at an address, or one started on this machine."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regiontree.errors import MissingExtraError, RegionTreeError, SettingsError
from regiontree.system.resources import cores

__all__ = ["Connection", "quiet", "ray_data"]

_LONGEST = 40  # letters of the path of Ray's folder, below which it makes sockets
_RAY_ADDRESS = "RAY_ADDRESS"


def ray_data() -> Any:
    """The module ``ray``, with Ray Data loaded.

    Raises
    ------
    MissingExtraError
        Ray Data is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its other words are in its folder
    # A task that is killed for memory would be done again for ever, and the run would never end.
    os.environ.setdefault("RAY_task_oom_retries", "3")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError(
            f"the engine ray needs Ray Data ({error}): pip install 'regiontree[ray]'"
        ) from error
    return ray


class Connection:
    """A connection to a cluster, which lasts until it is closed.

    A program that has connected itself stays connected.

    Parameters
    ----------
    address
        Address of the cluster. None: that of the environment variable RAY_ADDRESS; without one, a
        cluster is started on this machine, and ended with the connection.
    workers
        Cores of the cluster that is started. None: those that this process may use.

    Raises
    ------
    SettingsError
        `workers` was given for a cluster that exists, or there is no cluster at the address.
    """

    def __init__(self, address: str | None, workers: int | None) -> None:
        self.ray = ray_data()
        self.is_ours = not self.ray.is_initialized()
        self._folder: str | None = None
        address = address or os.environ.get(_RAY_ADDRESS)
        if workers is not None and (address or not self.is_ours):
            raise SettingsError(
                "--workers is for a cluster that is started here; the cluster that exists has its "
                "own number of cores, so leave --workers out"
            )
        if not self.is_ours:
            return
        said: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address:
            said["address"] = address
        else:
            self._folder = _short_folder()
            said |= {"address": "local", "num_cpus": workers or cores(), "_temp_dir": self._folder,
                     "include_dashboard": False}  # fmt: skip
        try:
            with _own_signals():
                self.ray.init(**said)
        except (OSError, RuntimeError, ValueError) as error:
            self.close()
            where = f"--ray-address {address}" if address else "Ray on this machine"
            first = (str(error).strip() or repr(error)).splitlines()[0]
            raise SettingsError(f"{where}: cannot be connected to ({first})") from error

    def close(self) -> None:
        """Leave the cluster, and end it if it was started here."""
        if self.is_ours and self.ray.is_initialized():
            self.ray.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def _short_folder() -> str:
    """A folder for Ray's logs and sockets. The path of a socket has 107 letters at most."""
    usual = tempfile.gettempdir()
    place = usual if len(usual) <= _LONGEST or os.name != "posix" else "/tmp"
    return str(Path(tempfile.mkdtemp(prefix="ray-", dir=place)).resolve())


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the handlers of signals. Ray sets one for SIGTERM, which ends the program at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def quiet(ray: Any) -> Iterator[Any]:
    """A context of Ray Data for the block that prints nothing; the program's own stays as it is."""
    from ray.data import DataContext

    said = logging.getLogger("ray.data")
    level = said.level
    said.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            # a copied context names old settings; max_retries has another name from Ray 2.61 on
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            context = DataContext.get_current().copy()
            context.enable_progress_bars = False
            context.print_on_execution_start = False
            context.enable_auto_log_stats = False
            with DataContext.current(context):
                yield context
    finally:
        said.setLevel(level)


def plain_error(error: Exception) -> RegionTreeError:
    """What Ray raised, as an error in one line."""
    cause = error.__cause__ if isinstance(error.__cause__, RegionTreeError) else error
    if isinstance(cause, RegionTreeError):
        return cause
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return RegionTreeError(f"Ray: {lines[-1] if lines else repr(error)}")
