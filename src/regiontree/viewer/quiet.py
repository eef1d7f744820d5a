"""A uvicorn that leaves the program's logging as it is.

uvicorn gives its loggers new handlers and levels when it starts. A program that runs a uvicorn of
its own would lose its log of requests. And with such a log, the addresses of the viewer would be
written there, which contain its password.
"""

from __future__ import annotations

import logging
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["QuietConfig", "QuietProtocol"]


class QuietConfig(uvicorn.Config):
    """uvicorn's settings, without its logging."""

    def configure_logging(self) -> None:
        """Nothing: loggers belong to the program."""


class QuietProtocol(H11Protocol):
    """HTTP by h11, which refuses a request with two Host headers, without any log."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.logger = self.access_logger = logging.Logger("viewer", logging.CRITICAL + 1)
        self.access_log = False
