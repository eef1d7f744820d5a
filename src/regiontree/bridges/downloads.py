"""The photographs of Label Studio's tasks: fetched over HTTP, never read from a path.

A task names a photograph in one of these ways:

- A path of Label Studio's own, such as ``/data/upload/...`` or ``/data/local-files/?d=...``, or a
  whole address on its host. It is fetched there, with the token.
- An object store (``s3://``, ``gs://``, ``azure-blob://``). Label Studio resolves it.
- An address on another host. It is fetched without the token, and only from public addresses: a
  task must not make this server read from machines of the inner network. The address is checked
  after the connection stands, so a name that changes its address (DNS rebinding) gains nothing.

Anything else, such as ``file://``, is refused. Redirections follow the same rules, so a token never
goes to another host.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import re
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

from regiontree.errors import SettingsError, SourceError

__all__ = ["Host", "Login", "address_of", "download"]

_MAX_BYTES = 512 << 20
_SECONDS = 30.0
_REDIRECTIONS = 5
_STORES = ("s3", "gs", "azure-blob", "azure_spi")
_SHOWN = 200  # characters of an address in messages
# A personal access token of Label Studio is a JSON web token, which is exchanged for a short one.
_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")


@dataclass(frozen=True, slots=True)
class Host:
    """Where a Label Studio is: scheme, name and port, and the path that it lies below.

    Examples
    --------
    >>> Host.of("http://localhost:8080/").url
    'http://localhost:8080'
    """

    url: str

    @classmethod
    def of(cls, url: object) -> Host:
        """The host of an address.

        Raises
        ------
        SettingsError
            It is not an http or https address.
        """
        try:
            parts = urlsplit(url if isinstance(url, str) else "")
            fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            fits = False
        if not fits or parts.username is not None or parts.query or parts.fragment:
            raise SettingsError(
                f"Label Studio's address must be like http://localhost:8080, got {str(url)!r}"
            )
        return cls(f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/"))

    def holds(self, url: str) -> bool:
        """Whether an address is on this host, with its scheme and port."""
        return _origin(url) == _origin(self.url)


@dataclass(frozen=True, slots=True)
class Login:
    """A Label Studio with the token to read from it.

    Attributes
    ----------
    host : Host
    token : str
        A legacy token, or a personal access token. "" for none.
    """

    host: Host
    token: str = ""

    def __repr__(self) -> str:  # a token must not come into a log
        return f"Login({self.host.url!r})"

    def headers(self) -> dict[str, str]:
        """The header that a request needs.

        Raises
        ------
        SourceError
            Label Studio does not take the personal access token.
        """
        if not self.token:
            return {}
        if not _JWT.fullmatch(self.token):
            return {"Authorization": f"Token {self.token}"}
        body = json.dumps({"refresh": self.token}).encode()
        url = f"{self.host.url}/api/token/refresh"
        sent = {"Content-Type": "application/json"}
        status, _, answer = _request("POST", url, sent, body, is_trusted=True)
        try:
            access = json.loads(answer)["access"]
        except (ValueError, KeyError, TypeError):
            access = None
        if status != 200 or not isinstance(access, str):
            raise SourceError(
                f"{self.host.url} does not take the personal access token (HTTP {status}); make a "
                "new one under Account & Settings, and set LABEL_STUDIO_API_KEY to it"
            )
        return {"Authorization": f"Bearer {access}"}


def address_of(given: object, login: Login | None, task: object) -> str:
    """The address of a task's photograph.

    Parameters
    ----------
    given
        What the task has under the key of the image.
    login
        The project's Label Studio, if it is known.
    task
        The task's number.

    Raises
    ------
    SourceError
        It is not an address that may be read, or Label Studio's own address is not known.

    Examples
    --------
    >>> address_of("/data/upload/1/cat.jpg", Login(Host.of("http://localhost:8080")), 7)
    'http://localhost:8080/data/upload/1/cat.jpg'
    """
    if not isinstance(given, str) or not given.strip():
        raise SourceError(f"task {task} has no address of an image, got {_shown(given)}")
    given = given.strip()
    scheme = urlsplit(given).scheme.lower() if re.match(r"[\w+.-]+:", given) else ""
    if scheme in ("http", "https"):
        return given
    is_path = not scheme and given.startswith("/") and not given.startswith("//")
    if not is_path and scheme not in _STORES:
        raise SourceError(
            f"task {task}: the image {_shown(given)} is not read; it must be an http address, a "
            "file uploaded to Label Studio, or in one of its storages"
        )
    if login is None:
        raise SourceError(
            f"task {task}: the image {_shown(given)} lies in Label Studio, whose address is not "
            "known; give it with --label-studio, or connect the model again"
        )
    if is_path:
        path = urlsplit(login.host.url).path
        own = given.removeprefix(path) if path and given.startswith(f"{path}/") else given
        return login.host.url + own
    if not re.fullmatch("[0-9]{1,18}", str(task)):
        raise SourceError(f"the image {_shown(given)} needs a task's number, got {_shown(task)}")
    name = base64.urlsafe_b64encode(given.encode()).decode()
    return f"{login.host.url}/tasks/{task}/resolve/?{urlencode({'fileuri': name})}"


def download(url: str, login: Login | None) -> bytes:
    """The bytes at an address.

    Raises
    ------
    SourceError
        They cannot be read, are too many, or the address is not public; says why.
    """
    for _ in range(_REDIRECTIONS + 1):
        own = login is not None and login.host.holds(url)
        headers = login.headers() if login is not None and own else {}
        status, moved, data = _request("GET", url, headers, None, is_trusted=own)
        if status in (301, 302, 303, 307, 308) and moved:
            url = urljoin(url, moved)
            continue
        if status == 200:
            return data
        hint = "; check the token in LABEL_STUDIO_API_KEY" if own and status in (401, 403) else ""
        raise SourceError(f"{_shown(url)}: cannot be read (HTTP {status}){hint}")
    raise SourceError(f"{_shown(url)}: more than {_REDIRECTIONS} redirections")


def _request(
    method: str, url: str, headers: dict[str, str], body: bytes | None, *, is_trusted: bool
) -> tuple[int, str | None, bytes]:
    """Status, place of a redirection, and body of one request."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https"):
        raise SourceError(f"{_shown(url)}: is not an http address")
    kind = _Https if parts.scheme == "https" else _Http
    connection = kind(host, port, timeout=_SECONDS)
    connection.is_trusted = is_trusted
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if parts.query:
        path += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    try:
        connection.request(method, path, body, {"User-Agent": "regiontree", **headers})
        answer = connection.getresponse()
        data = answer.read(_MAX_BYTES + 1)
    except _NotPublicError as error:
        raise SourceError(
            f"{_shown(url)}: {error} is not a public address; a task may name one only on Label "
            "Studio's own host"
        ) from None
    except (OSError, http.client.HTTPException, ssl.SSLError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise SourceError(f"{_shown(url)}: cannot be read ({reason})") from error
    finally:
        connection.close()
    if len(data) > _MAX_BYTES:
        raise SourceError(f"{_shown(url)}: has more than {_MAX_BYTES >> 20} MiB")
    return answer.status, answer.getheader("Location"), data


class _NotPublicError(Exception):
    """The address behind a name is not public."""


def _check_peer(connection: Any) -> None:
    """Raise a _NotPublicError before anything is sent, unless the host is Label Studio's own."""
    address = ipaddress.ip_address(connection.sock.getpeername()[0].split("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    if not (connection.is_trusted or address.is_global):
        connection.close()
        raise _NotPublicError(address)


class _Http(http.client.HTTPConnection):
    is_trusted = False

    def connect(self) -> None:
        super().connect()
        _check_peer(self)


class _Https(http.client.HTTPSConnection):
    is_trusted = False

    def connect(self) -> None:
        super().connect()
        _check_peer(self)


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80)


def _shown(given: object) -> str:
    """An address in a message, without its query, which may hold a signature."""
    text = str(given).split("?")[0]
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
