"""Where the viewer's server listens, and the thread that answers there."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from regiontree.errors import ViewError, check_number

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["listen", "serving"]

_PATIENCE = 3.0  # seconds that answers under way are given when the server stops


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to an address; port 0 takes a free one.

    Raises
    ------
    ViewError
        The address cannot be bound; the message names it.
    """
    check_number("port", port, 0, 65_535, whole=True)
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label too long for any name
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise ViewError(
                f"port {port} of {host} is in use: give another with --port, or 0 for a free one"
            ) from error
        reason = getattr(error, "strerror", None) or error
        raise ViewError(f"cannot serve at {host}, port {port}: {reason}") from error


@contextmanager
def serving(app: ASGIApp, listener: socket.socket) -> Iterator[threading.Event]:
    """Answer requests at a bound socket, in a thread, until the block ends.

    The block begins when the server is up. It is given an event, which is set if the server stops.

    A daemon thread, whose workers are so, too: a large picture half made does not keep the program.
    An interruption may come at any moment, even before ``Thread.start`` has returned or again while
    the server stops; so the thread has a socket of its own, which nobody closes under it.
    """
    import uvicorn

    config = uvicorn.Config(
        app, log_level="critical", access_log=False, lifespan="off", ws="none",
        server_header=False, proxy_headers=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    stopped = threading.Event()
    own = listener.dup()

    def run() -> None:
        try:
            with own:
                server.run(sockets=[own])
        finally:
            stopped.set()

    try:
        threading.Thread(target=run, name="regiontree-viewer", daemon=True).start()
        while not (server.started or stopped.wait(0.01)):
            pass
        yield stopped
    finally:
        server.should_exit = True
        stopped.wait(_PATIENCE)
