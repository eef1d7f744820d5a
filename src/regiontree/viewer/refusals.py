"""What a request gets instead of what it asked for: a status and a sentence."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from regiontree.viewer.index import problem_html

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["AnswerError", "bug", "problem", "refused"]


class AnswerError(Exception):
    """Raised where a request cannot be answered; the reader sees the sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        self.status, self.sentence = status, sentence


def problem(status: int, sentence: str, home: str | None = None) -> Response:
    """A page that says so, with a link home."""
    from starlette.responses import HTMLResponse

    # Kept by nobody: what is wrong now may be right in a minute.
    return HTMLResponse(problem_html(sentence, home), status, {"Cache-Control": "no-store"})


async def refused(request: Request, error: Exception) -> Response:
    """The page of an AnswerError, or of the router's error for an unknown path."""
    home = "../" * (request.url.path.count("/") - 2) or "./"
    if isinstance(error, AnswerError):
        return problem(error.status, error.sentence, home)
    return problem(404, "There is nothing at this address.", home)


async def bug(request: Request, error: Exception) -> Response:
    """A mistake of ours, which the terminal is told."""
    traceback.print_exception(error)
    return problem(500, "The server has made a mistake; the terminal says more.")
