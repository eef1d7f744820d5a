"""The web service that Label Studio asks: the protocol of its ML backends over HTTP.

Label Studio sends JSON to these addresses (github.com/HumanSignal/label-studio-ml-backend):

- ``GET /health`` and ``GET /``: whether the service is up.
- ``POST /setup``: a project connects the model, with its labelling interface, and with the address
  and the token of Label Studio.
- ``POST /predict``: regions of tasks, or the region of a click. See
  :mod:`regiontree.bridges.backend`.
- ``POST /versions``, ``/validate``, ``/train``, ``/webhook``: the model's version; whether a
  labelling interface fits; and nothing, as this model does not learn from annotations.

An error is told as ``{"error": ...}`` with a status, and as a line in the terminal. Requests must
be JSON, which a page of another site cannot send without asking first. On the loopback interface
they must also name the service by a local name, so that no site's own name can lead to it.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import traceback
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any

from regiontree.bridges.backend import Backend
from regiontree.errors import DataError, RegionTreeError
from regiontree.system.extras import check_optional
from regiontree.system.terminal import say

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

__all__ = ["check_installed", "make_service"]

_MAX_BODY = 256 << 20  # bytes: tasks come with the masks of their annotations
_WORKERS = 8  # requests at a time
_USER, _PASSWORD = "BASIC_AUTH_USER", "BASIC_AUTH_PASS"  # the names of Label Studio's own backends


def check_installed() -> None:
    """Raise a MissingExtraError if the service's packages are missing; it names the extra."""
    for package in ("starlette", "uvicorn"):
        check_optional(package, "labelstudio", "the service for Label Studio needs")


def make_service(backend: Backend, *, hosts: Collection[str] | None = None) -> ASGIApp:
    """The web application.

    If the environment has ``BASIC_AUTH_USER`` and ``BASIC_AUTH_PASS``, every request needs them.

    Parameters
    ----------
    backend
    hosts
        Names by which requests may address the service, without port; None for any name.
    """
    import anyio
    from starlette.applications import Starlette
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    limiter = anyio.CapacityLimiter(_WORKERS)
    user, password = os.environ.get(_USER), os.environ.get(_PASSWORD)
    wanted = base64.b64encode(f"{user}:{password}".encode()).decode() if user and password else None

    def answered(
        work: Callable[[dict[str, Any]], Any], *, has_body: bool = True
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            if wanted is not None:
                given = request.headers.get("authorization", "").removeprefix("Basic ")
                if not secrets.compare_digest(given.encode(), wanted.encode()):
                    return JSONResponse(
                        {"error": "wrong user or password"},
                        401,
                        {"WWW-Authenticate": "Basic realm=regiontree"},
                    )
            try:
                body = await _body(request) if has_body else {}
                found = await anyio.to_thread.run_sync(
                    lambda: work(body), limiter=limiter, abandon_on_cancel=True
                )
            except (RegionTreeError, OSError, MemoryError) as error:
                sentence = str(error) or type(error).__name__
                say(f"label-studio: {request.url.path}: {sentence}")
                status = 422 if isinstance(error, RegionTreeError) else 500
                return JSONResponse({"error": sentence}, status)
            return JSONResponse(found)

        return answer

    def health(_: dict[str, Any]) -> dict[str, Any]:
        return {"status": "UP", "model_class": "regiontree"}

    def validate(request: dict[str, Any]) -> dict[str, Any]:
        backend.check_interface(request.get("config"))
        return {"status": "ok"}

    def versions(_: dict[str, Any]) -> dict[str, Any]:
        return {"versions": [backend.model_version]}

    def nothing(_: dict[str, Any]) -> dict[str, Any]:
        return {"status": "ok", "result": "regiontree does not learn from annotations"}

    async def bug(request: Request, error: Exception) -> Response:
        traceback.print_exception(error)
        sentence = "the service has made a mistake; its terminal says more"
        return JSONResponse({"error": sentence}, 500)

    async def unknown(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 404)
        return JSONResponse({"error": f"there is nothing at {request.url.path}"}, status)

    getters = {"/": health, "/health": health, "/versions": versions}
    posters = {"/setup": backend.setup, "/predict": backend.predict, "/validate": validate,
               "/versions": versions, "/train": nothing, "/webhook": nothing}  # fmt: skip
    routes = [
        *(Route(path, answered(work, has_body=False)) for path, work in getters.items()),
        *(Route(path, answered(work), methods=["POST"]) for path, work in posters.items()),
    ]
    handlers: dict[Any, Any] = {404: unknown, 405: unknown, Exception: bug}
    app: ASGIApp = Starlette(routes=routes, exception_handlers=handlers)
    if hosts is not None:
        app = TrustedHostMiddleware(app, allowed_hosts=list(hosts), www_redirect=False)
    return app


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object that a request brings."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json":
        raise DataError(f"a request must be application/json, got {kind or 'no type'!r}")
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > _MAX_BODY:
            raise DataError(f"a request may have {_MAX_BODY >> 20} MiB at most")
        parts.append(part)
    try:
        body = json.loads(b"".join(parts))
    except (ValueError, RecursionError):
        raise DataError("the request is not JSON") from None
    if not isinstance(body, dict):
        raise DataError("a request must be a JSON object")
    return body
