"""Who may ask a server of the viewer, and what it says instead of an answer.

Four rules decide who gets an answer:

- Only GET and HEAD are answered, and POST where an application takes changes.
- Every path begins with a token, drawn at random when the server starts and compared in constant
  time. Other users of the machine and pages of other sites cannot know it. Relative links keep it,
  and ``Referrer-Policy`` stops browsers from telling it to other sites.
- On the loopback interface, a request must name the server by a local name. So a site whose own
  name points to this machine (DNS rebinding) gets nothing. The check is ours, because Starlette's
  TrustedHostMiddleware reads IPv6 hosts only from version 1.7, which FiftyOne does not allow.
- No other origin may read answers: there are no CORS headers. A change must be JSON, which a page
  of another origin cannot send without asking first.
"""

from __future__ import annotations

import re
import secrets
import traceback
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from regiontree.viewer.answers import AnswerError
from regiontree.viewer.index import problem_html

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["LOCAL_NAMES", "protected"]

LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
"""Host names of this machine, as a browser writes them."""

# A name, an IPv4 address or an IPv6 address in brackets, and perhaps a port. Nothing else is left
# over, so what is compared is the whole host.
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{0,5})?")
_HEADERS = {
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "frame-ancestors 'none'",  # each page has the rest of its policy
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def protected(
    routes: Sequence[BaseRoute],
    token: str,
    hosts: Collection[str] | None,
    *,
    changes: bool = False,
) -> ASGIApp:
    """An application of routes below ``/TOKEN/``, under the rules above.

    Parameters
    ----------
    routes
    token
        The beginning of every path: letters, digits, ``-`` and ``_``.
    hosts
        Names by which requests may address the server, without port; None for any name.
    changes
        Whether POST is answered.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.routing import Mount

    app: ASGIApp = Starlette(
        routes=[Mount(f"/{token}", routes=routes)],
        exception_handlers={
            AnswerError: _tell_refusal,
            HTTPException: _tell_refusal,
            Exception: _tell_bug,
        },
    )
    app = _Guard(app, token, ("GET", "HEAD", "POST") if changes else ("GET", "HEAD"))
    if hosts is not None:
        app = _KnownHosts(app, hosts)
    return _ProtectiveHeaders(app)


class _Guard:
    """An application that answers only some methods, and only below its token."""

    def __init__(self, app: ASGIApp, token: str, methods: tuple[str, ...]) -> None:
        self.app, self.token, self.methods = app, token.encode(), methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._refusal(scope) or self.app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        if scope["method"] not in self.methods:
            answer = _problem(405, f"This server only answers {' and '.join(self.methods)}.")
            answer.headers["Allow"] = ", ".join(self.methods)
            return answer
        given = scope["path"].split("/")[1] if "/" in scope["path"] else ""
        if not secrets.compare_digest(given.encode("utf-8", "surrogatepass"), self.token):
            return _problem(403, "This address lacks the token of the one shown in the terminal.")
        return None


class _KnownHosts:
    """An application that answers only requests that address it by one of its names."""

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self.app, self.names = app, frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.responses import PlainTextResponse

        given = [value for name, value in scope["headers"] if name == b"host"]
        host = _HOST.fullmatch(given[0].decode("latin-1")) if len(given) == 1 else None
        if host is None or host[1].lower() not in self.names:
            await PlainTextResponse("Invalid host header", 400)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class _ProtectiveHeaders:
    """An application whose every answer has the headers that protect it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import MutableHeaders

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)


# -- instead of an answer -------------------------------------------------------------------------


def _problem(status: int, sentence: str, home: str | None = None) -> Response:
    """A page with the sentence, and a link to the page of thumbnails if `home` is its URL."""
    from starlette.responses import HTMLResponse

    # No browser may keep this page: the problem may be solved in a minute.
    return HTMLResponse(problem_html(sentence, home), status, {"Cache-Control": "no-store"})


async def _tell_refusal(request: Request, error: Exception) -> Response:
    """The page of an AnswerError, or of Starlette's error for an unknown address."""
    home = "../" * (request.url.path.count("/") - 2) or "./"
    if isinstance(error, AnswerError):
        return _problem(error.status, error.sentence, home)
    return _problem(404, "There is nothing at this address.", home)


async def _tell_bug(request: Request, error: Exception) -> Response:
    """A page that says only that there is a bug. The terminal shows the traceback."""
    traceback.print_exception(error)
    return _problem(500, "The server has made a mistake; the terminal says more.")
