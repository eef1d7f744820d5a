"""Who may ask the viewer's server: refuses what no page of ours asks for, and nothing else.

Only GET and HEAD are answered. Every path begins with a token drawn at random when the server
starts, compared in constant time: relative links keep it, other users of the machine and pages of
other sites cannot know it, and `Referrer-Policy` keeps it from leaving with a link. Where the
server is bound to the loopback interface, requests must also name it by a local name, which keeps
out sites that have their own name point there (DNS rebinding). No other origin is invited.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from regiontree.viewer.refusals import problem

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["LOCAL_NAMES", "Guard"]

LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
"""Names by which this machine may be addressed."""
_HEADERS = {
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "frame-ancestors 'none'",  # the pages bring the rest of theirs
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """An application behind a token and, if they are given, the names of its host.

    Requests are refused before they are looked at any further; every answer gets the headers that
    protect it.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: Collection[str] | None) -> None:
        self.app, self.token, self.hosts = app, token.encode(), hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import MutableHeaders

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await (self._refusal(scope) or self.app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        if scope["method"] not in ("GET", "HEAD"):
            answer = problem(405, "This server only shows things: it answers GET and HEAD.")
            answer.headers["Allow"] = "GET, HEAD"
            return answer
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if self.hosts is not None and (
            len(hosts) != 1 or re.sub(r":\d*$", "", hosts[0]).lower() not in self.hosts
        ):
            return problem(421, "This server answers only to the local names of its machine.")
        given = scope["path"].split("/")[1] if "/" in scope["path"] else ""
        if not secrets.compare_digest(given.encode("utf-8", "surrogatepass"), self.token):
            return problem(403, "This address lacks the token of the one shown in the terminal.")
        return None
