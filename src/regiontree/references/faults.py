"""Why an address cannot be read, in words, and whether to try again."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from regiontree.errors import RegionTreeError, SourceError
from regiontree.references.addresses import printable, scheme_of, without_login
from regiontree.system.paths import reason

__all__ = ["PAUSES", "is_passing", "patiently", "said", "why_not", "why_of", "words_of"]

PAUSES = (0.5, 1.0, 2.0)
"""Seconds before each further attempt, after faults that pass."""

_T = TypeVar("_T")
_LOGINS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for a public bucket "
    "set FSSPEC_S3_ANON=true",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS; for a public bucket set FSSPEC_GCS_TOKEN=anon",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "http": 'give a signed address, or set FSSPEC_HTTP=\'{"headers": {"Authorization": "..."}}\'',
}
_FAMILIES = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "https": "http"}
# Errors of packages that need not be installed are known by their names.
_NO_LOGIN = {
    "CredentialRetrievalError",
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "SSOTokenLoadError",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
}
_PASSING_NAMES = {"ClientConnectionError", "ClientPayloadError", "HTTPClientError"}
_PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}
_PASSING_NUMBERS = {
    getattr(errno, name)
    for name in ("EBUSY", "EIO", "EREMOTEIO", "ECONNRESET", "ETIMEDOUT")
    if hasattr(errno, name)
}


def patiently(work: Callable[[], _T], address: str) -> _T:
    """The result of `work`, which reads an address. Faults that pass are tried again three times.

    The pauses are :data:`PAUSES`. Such faults are broken connections, time-outs, and servers that
    are too busy or have an error of their own.

    Raises
    ------
    SourceError
        The work failed; the message names the address, says why and what to do.
    """
    attempts = 1
    while True:
        try:
            return work()
        except RegionTreeError:
            raise
        except Exception as error:
            if attempts > len(PAUSES) or not is_passing(error):
                raise SourceError(said(address, why_not(error, address), attempts)) from error
        time.sleep(PAUSES[attempts - 1])
        attempts += 1


def said(address: str, why: str, attempts: int = 1) -> str:
    """A sentence on an address, without the login that the address may hold."""
    often = f", after {attempts} attempts" if attempts > 1 else ""
    return printable(without_login(f"{address}: {why}{often}"))


def why_of(error: SourceError, address: str) -> str:
    """What an error says of an address, without the address that it begins with."""
    text = str(error)
    for start in (f"{address}: ", f"{address.rstrip('/')}: "):
        text = text.removeprefix(printable(without_login(start)))
    return text


def is_passing(error: BaseException) -> bool:
    """Whether the same request may succeed a little later."""
    status = _status(error)
    if status is not None:
        return status in _PASSING_STATUS
    if isinstance(error, FileNotFoundError | PermissionError) or _lacks_rights(error):
        return False
    if isinstance(error, TimeoutError | ConnectionError) or _kinds(error) & _PASSING_NAMES:
        return True
    return isinstance(error, OSError) and error.errno in _PASSING_NUMBERS


def why_not(error: BaseException, address: str) -> str:
    """Why an address cannot be read and what to do, in words that follow its name."""
    scheme = scheme_of(address)
    family = _FAMILIES.get(scheme, scheme)
    status = _status(error)
    answer = f" (the server answers {status})" if status else ""
    if _lacks_rights(error) or status in (401, 403):
        hint = _LOGINS.get(family, "check the rights of the file")
        missing = ", or is not there" if family == "s3" and not _lacks_login(error) else ""
        return f"needs rights that you do not have{missing}{answer or words_of(error)}; {hint}"
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return f"is not there{answer}"
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return "did not answer in time"
    if status is not None:
        return f"cannot be read{answer}"
    return f"cannot be read{words_of(error)}"


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error, or the error behind it, tells of."""
    for cause in _causes(error):
        status = getattr(cause, "status", None)
        if isinstance(status, int) and 400 <= status < 600:
            return status
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if isinstance(status, int) and 400 <= status < 600:
                return status
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__


def _kinds(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _lacks_login(error: BaseException) -> bool:
    return any(_kinds(cause) & _NO_LOGIN for cause in _causes(error))


def _lacks_rights(error: BaseException) -> bool:
    return isinstance(error, PermissionError) or _lacks_login(error)


def words_of(error: BaseException) -> str:
    """What an error of another package says, in brackets: one line, and not too long.

    >>> words_of(ValueError("no\\n such\\x0f file."))
    ' (no such? file)'
    """
    if isinstance(error, UnicodeError):
        return " (text that is not UTF-8)"
    words = reason(error) if isinstance(error, OSError | ValueError) else str(error)
    words = " ".join((words or type(error).__name__).split()).rstrip(".")
    return f" ({printable(words[:300])}{'...' if len(words) > 300 else ''})"
