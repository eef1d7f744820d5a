"""The viewer's web server: where it listens, how it starts, and how it stops.

What it answers is in :mod:`regiontree.viewer.application` and :mod:`regiontree.viewer.categories`.
They are apart because one is about sockets, threads and signals, the others about addresses and
images.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from regiontree.errors import ViewError, check_number
from regiontree.system.extras import check_optional
from regiontree.system.signals import interruptible
from regiontree.system.terminal import say
from regiontree.viewer.protection import LOCAL_NAMES

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["check_installed", "listen", "open_in_browser", "serve", "serving"]

_PATIENCE = 3.0  # seconds that answers under way get when the server stops


def check_installed() -> None:
    """Raise a MissingExtraError if the server's packages are not installed; it names the extra."""
    for package in ("starlette", "uvicorn"):
        check_optional(
            package, "viewer", "the viewer's server (--html writes a page without it) needs"
        )


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound to an address; port 0 takes a free port.

    Raises
    ------
    SettingsError
        `port` is not a whole number from 0 to 65,535.
    ViewError
        The address cannot be bound; the message names it.
    """
    port = check_number("port", port, 0, 65_535, whole=True)
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family)
    except (OSError, UnicodeError) as error:  # UnicodeError: a part of the name is too long
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise ViewError(
                f"port {port} of {host} is in use: give another with --port, or 0 for a free one"
            ) from error
        reason = getattr(error, "strerror", None) or error
        raise ViewError(f"cannot serve at {host}, port {port}: {reason}") from error


def serve(
    make: Callable[..., ASGIApp],
    shown: str,
    listener: socket.socket,
    *,
    host: str,
    open_browser: bool = True,
) -> None:
    """Serve an application until Ctrl-C or SIGTERM. These are the normal end, not an error.

    Parameters
    ----------
    make
        Makes the application. It is called with the token, and with ``hosts=`` the names by which
        requests may address it: see :func:`regiontree.viewer.protection.protected`.
    shown
        What it shows, for the terminal.
    listener
        A socket from :func:`listen`.
    host
        The name that :func:`listen` was given.
    open_browser
        Whether to show the page in the user's browser, if there is one.

    Raises
    ------
    KeyboardInterrupt
        A signal came before the server showed its address.
    ViewError
        The server stopped by itself.
    """
    address, port = listener.getsockname()[:2]
    local = ipaddress.ip_address(address).is_loopback
    everywhere = ipaddress.ip_address(address).is_unspecified
    token = secrets.token_urlsafe(16)
    app = make(token, hosts={*LOCAL_NAMES, host.lower()} if local else None)
    bracketed = f"[{host}]" if ":" in host else host
    name = socket.gethostname() if everywhere else bracketed
    told = False
    try:
        with interruptible() as check, serving(app, listener) as stopped:
            say(f"Showing {shown}; Ctrl-C ends it.")
            if local and "SSH_CONNECTION" in os.environ:
                tunnel = f"ssh -L {port}:{name}:{port} {socket.gethostname()}"
                say(f"From your own machine: {tunnel}, then open this address there:")
            told = True
            print(f"http://{name}:{port}/{token}/", flush=True)
            if open_browser and _has_browser():
                here = ("[::1]" if ":" in address else "127.0.0.1") if everywhere else name
                url = f"http://{here}:{port}/{token}/"
                threading.Thread(target=open_in_browser, args=(url,), daemon=True).start()
            while not stopped.wait(0.5):
                check()
    except KeyboardInterrupt:
        if not told:
            raise
        return
    raise ViewError("the server has stopped by itself, which is a mistake of ours")


@contextmanager
def serving(app: ASGIApp, listener: socket.socket) -> Iterator[threading.Event]:
    """Answer requests at a bound socket, in a thread, until the block ends.

    The block begins when the server is up. It receives an event that is set if the server stops.

    The thread and its workers are daemons: the program can end while a large picture is half made.
    An interruption may come at any moment: before ``Thread.start`` has returned, or a second time
    while the server stops. So the thread has a socket of its own, which no other thread closes.
    """
    import uvicorn

    from regiontree.viewer.quiet import QuietConfig, QuietProtocol

    config = QuietConfig(
        app, http=QuietProtocol, lifespan="off", ws="none",
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


def _has_browser() -> bool:
    """Whether a browser would open before the user's eyes.

    Over ssh it would open on the other machine. Without a display it would run in the terminal.
    """
    if "BROWSER" in os.environ:
        return True
    if "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


def open_in_browser(url: str) -> None:
    """Show the page at an address in the user's browser, if a browser can be controlled."""
    with suppress(webbrowser.Error):
        webbrowser.open(url)
