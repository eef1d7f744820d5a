"""``regiontree label-studio``: the service, from its settings to its end."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from regiontree.bridges.backend import Backend
from regiontree.bridges.downloads import Host, Login
from regiontree.bridges.service import check_installed, make_service
from regiontree.errors import SettingsError
from regiontree.system.signals import interruptible
from regiontree.system.terminal import say
from regiontree.tree import RegionTree
from regiontree.viewer.protection import LOCAL_NAMES
from regiontree.viewer.server import listen, serving

__all__ = ["backend_of", "serve_label_studio"]

_ADDRESS, _TOKEN = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def backend_of(
    parser_options: Mapping[str, Any] = _NOTHING,
    *,
    regions: int = 24,
    labels: Sequence[str] = (),
    pieces: bool = False,
    address: str | None = None,
) -> Backend:
    """The model for Label Studio.

    Parameters
    ----------
    parser_options
        Arguments of :class:`regiontree.RegionParser`.
    regions, labels
        As for :class:`regiontree.bridges.backend.Backend`.
    pieces
        Whether regions are connected: see :meth:`RegionTree.pieces`.
    address
        Label Studio's address. None: that of the environment's ``LABEL_STUDIO_URL``, else what
        Label Studio says when it connects the model. The token in ``LABEL_STUDIO_API_KEY`` is sent
        to this address only.

    Raises
    ------
    SettingsError
        A setting is wrong, or there is a token in the environment and no address to send it to.
    """
    from regiontree.parser import RegionParser  # heavy: it imports torch

    url, token = address or os.environ.get(_ADDRESS), os.environ.get(_TOKEN, "")
    if token and not url:
        raise SettingsError(
            f"{_TOKEN} is set, and it is not known where Label Studio is; give its address with "
            f"--label-studio or in {_ADDRESS}"
        )
    login = Login(Host.of(url), token) if url else None
    parser = RegionParser(**parser_options)

    def parse(photo: bytes) -> RegionTree:
        tree = parser.parse(photo)
        return tree.pieces() if pieces else tree

    return Backend(parse, regions=regions, labels=labels, login=login)


def serve_label_studio(
    *,
    host: str,
    port: int,
    address: str | None,
    regions: int,
    labels: Sequence[str],
    pieces: bool,
    parser_options: Mapping[str, Any],
) -> int:
    """Answer Label Studio until Ctrl-C or SIGTERM; the exit code.

    Raises
    ------
    RegionTreeError
        A setting is wrong, the port is in use, or the extra is not installed.
    """
    check_installed()
    backend = backend_of(
        parser_options, regions=regions, labels=labels, pieces=pieces, address=address
    )
    with listen(host, port) as listener:
        bound, port = listener.getsockname()[:2]
        is_local = ipaddress.ip_address(bound).is_loopback
        if not is_local and not (address or os.environ.get(_ADDRESS)):
            raise SettingsError(
                f"others can reach the service at {host}, so it must not take Label Studio's "
                f"address from a request; give it with --label-studio or in {_ADDRESS}"
            )
        names = {*LOCAL_NAMES, host.lower()} if is_local else None
        try:
            with (
                interruptible() as check,
                serving(make_service(backend, hosts=names), listener) as stopped,
            ):
                say("Connect this model in Label Studio, under Settings > Model; Ctrl-C ends it.")
                print(f"http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
                while not stopped.wait(0.5):
                    check()
        except KeyboardInterrupt:
            return 0
    raise SettingsError("the service has stopped by itself, which is a mistake of ours")
