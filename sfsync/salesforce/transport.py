"""One HTTP exchange: sent once, with time limits, read whole or reported as no answer.

Owns:      TLS trust, proxies, time limits, streaming of bodies from and to files, and telling failures apart.
Does not:  know tokens, count calls, follow redirects, wait, or try again.
Invariant: an answer that is returned is complete; a file it was written to is complete too, or does not exist.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from ipaddress import ip_address
from os import environ
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import certifi
import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from sfsync.errors import OrgError, SfsyncError
from sfsync.salesforce.failures import NoAnswerError
from sfsync.salesforce.limits import CALL_TIMEOUT_S

Body = bytes | str | Path | None
"""What a request carries: bytes, text sent as UTF-8, or a file that is streamed from disk."""

CONNECT_TIMEOUT_S = 10.0
SEND_TIMEOUT_S = 120.0
"""Longest standstill of an upload."""

READ_TIMEOUT_S = CALL_TIMEOUT_S + 30.0
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: Body = None
    to_file: Path | None = None
    read_timeout_s: float = READ_TIMEOUT_S

    @property
    def shown(self) -> str:
        """Method and path for messages; the query may hold values and stays out."""
        return f"{self.method} {urlsplit(self.url).path}"


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer, whatever its status; `path` holds the body when it went to a file."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    path: Path | None = None


class _PatientConnection(HTTPSConnection):
    """Quick to give up on connecting, patient with a slow upload: urllib3 uses one limit for both."""

    def request(self, *args: Any, **kwargs: Any) -> None:
        self.timeout = SEND_TIMEOUT_S  # the pool has connected before, with its own limit
        super().request(*args, **kwargs)


class _PatientPool(HTTPSConnectionPool):
    ConnectionCls = _PatientConnection


_POOLS = {"http": HTTPConnectionPool, "https": _PatientPool}


# A call may be silent for minutes; gateways forget a silent connection after five or so, and then nobody would notice.
_KEEP_ALIVE: list[tuple[int, int, int]] = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
if hasattr(socket, "TCP_KEEPIDLE"):
    _KEEP_ALIVE += [
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 20),
    ]


class _PinnedTrust(HTTPAdapter):
    """Connections that trust exactly the context they were made with, whatever the environment says."""

    def __init__(self, context: ssl.SSLContext, connections: int) -> None:
        self._context = context
        super().__init__(pool_connections=4, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        options = [*HTTPConnection.default_socket_options, *_KEEP_ALIVE]
        super().init_poolmanager(*args, ssl_context=self._context, socket_options=options, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, ssl_context=self._context, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave the context's trust alone: requests would load its own bundle into it for each connection."""
        conn.cert_reqs = "CERT_REQUIRED"


class Transport:
    """A pool of connections shared by threads."""

    def __init__(self, *, ca_file: Path | None = None, connections: int = 8) -> None:
        self._session = requests.Session()
        # No .netrc, no REQUESTS_CA_BUNDLE over ca_file; proxies are taken from the environment by hand, below.
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.mount("https://", _PinnedTrust(_trust(ca_file), connections))
        self._session.mount("http://", HTTPAdapter(pool_maxsize=connections, max_retries=0))
        self._ca_file = ca_file

    def close(self) -> None:
        """Close idle connections."""
        self._session.close()

    def exchange(self, request: Request) -> Reply:
        """Send once and read the whole answer.

        Raises:
            NoAnswerError: nothing usable came back; it says whether the request can have arrived.
            SfsyncError: a file of ours cannot be read or written.
        """
        try:
            if isinstance(request.body, Path):
                with request.body.open("rb") as handle:
                    return self._exchange(request, handle)
            return self._exchange(request, _encoded(request.body))
        except requests.RequestException as error:
            raise _no_answer(request, error, self._ca_file) from error
        except OSError as error:  # of a file: everything of the network is a RequestException
            raise SfsyncError(
                f"{request.shown}: {error.filename or 'a file'}: {error.strerror or error}",
                fix="check the free space and the rights of the project's .sfsync folder",
            ) from error

    def _exchange(self, request: Request, data: Any) -> Reply:
        with self._session.request(
            request.method,
            request.url,
            data=data,
            headers=dict(request.headers),
            timeout=(CONNECT_TIMEOUT_S, request.read_timeout_s),
            allow_redirects=False,
            stream=True,
            proxies=_proxies(request.url),
        ) as response:
            if request.to_file is not None and response.ok:
                _check_has_end(request, response)
                _write(response, request.to_file)
                return Reply(response.status_code, response.headers, b"", request.to_file)
            return Reply(response.status_code, response.headers, response.content)


def _encoded(body: bytes | str | None) -> bytes | None:
    return body.encode() if isinstance(body, str) else body


def _check_has_end(request: Request, response: requests.Response) -> None:
    """A body that only ends with the connection could be cut anywhere without a sign; JSON shows it, CSV does not."""
    chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    if not chunked and "Content-Length" not in response.headers:
        raise NoAnswerError(
            f"{request.shown}: the answer does not say where it ends, so nobody can tell if it is whole",
            sent=True,
            fix="a proxy or gateway in between cuts Content-Length and chunked encoding off: it must pass them on",
        )


def _write(response: requests.Response, path: Path) -> None:
    """Stream the body beside `path` and rename, so that half an answer is never taken for one."""
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("wb") as handle:
            partial.chmod(0o600)  # rows in clear text
            for chunk in response.iter_content(_CHUNK):
                handle.write(chunk)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    """The public authorities, and the profile's own certificate on top of them."""
    bundle = environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE") if ca_file is None else None
    context = ssl.create_default_context(cafile=certifi.where())
    extra = ca_file or (Path(bundle) if bundle else None)
    if extra is None:
        return context
    # Gateways and emulators often present a certificate that is its own authority, without every extension.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        if extra.is_dir():
            context.load_verify_locations(capath=str(extra))
        else:
            context.load_verify_locations(cafile=str(extra))
    except (OSError, ssl.SSLError) as error:
        source = "ca_file" if ca_file is not None else "the CA bundle named by the environment"
        raise OrgError(
            f"{source} {extra} cannot be used: {error.strerror or error}",
            fix="give a file in PEM form (-----BEGIN CERTIFICATE-----) that this user may read",
        ) from None
    return context


def _proxies(url: str) -> dict[str, str]:
    """HTTPS_PROXY and friends, NO_PROXY honoured; never for this machine itself."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return {}
    try:
        if ip_address(host).is_loopback:
            return {}
    except ValueError:
        pass
    return dict(get_environ_proxies(url, no_proxy=None))


def _no_answer(request: Request, error: requests.RequestException, ca_file: Path | None) -> NoAnswerError:
    """Say what went wrong between us and the host, and whether the request can have arrived."""
    host = urlsplit(request.url).netloc
    causes = _causes(error)
    if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema)):
        return NoAnswerError(f"'{host}' is not a host name", sent=False, fix="check `domain` in the profile")
    untrusted = next((c for c in causes if isinstance(c, ssl.SSLCertVerificationError)), None)
    if untrusted is not None:
        return NoAnswerError(
            f"the certificate of {host} is not trusted: {untrusted.verify_message}",
            sent=False,
            fix="set `ca_file` in the profile to the certificate of your gateway or proxy"
            if ca_file is None
            else f"check that ca_file {ca_file} is the certificate that {host} presents",
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return NoAnswerError(
            f"the proxy for {host} did not connect: {_last(causes)}",
            sent=False,
            fix="check HTTPS_PROXY, or list the host in NO_PROXY",
        )
    # urllib3 counts it among its timeouts, so it is asked for first.
    if any(isinstance(c, NewConnectionError) for c in causes):
        return NoAnswerError(
            f"no connection to {host}: {_last(causes)}", sent=False, fix="check `domain` and the network"
        )
    if any(isinstance(c, ConnectTimeoutError) for c in causes):
        return NoAnswerError(
            f"{host} did not accept a connection within {CONNECT_TIMEOUT_S:g} s",
            sent=False,
            fix="check `domain`, the network and its firewall",
        )
    if isinstance(error, requests.exceptions.ReadTimeout):
        return NoAnswerError(
            f"{request.shown}: {host} sent nothing for {request.read_timeout_s:g} s; the org may have done the work",
            sent=None,
        )
    if isinstance(
        error, (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)
    ):
        return NoAnswerError(f"{request.shown}: the answer of {host} broke off: {_last(causes)}", sent=True)
    if isinstance(error, requests.exceptions.SSLError):
        return NoAnswerError(
            f"{request.shown}: the TLS connection to {host} failed: {_last(causes)}", sent=None
        )
    return NoAnswerError(f"{request.shown}: the connection to {host} was lost: {_last(causes)}", sent=None)


def _causes(error: BaseException) -> list[BaseException]:
    """The error and what it wraps, outermost first: requests hides urllib3's error in args, urllib3 in `reason`."""
    found: list[BaseException] = []
    queue: list[object] = [error]
    while queue and len(found) < 12:
        item = queue.pop(0)
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            queue += [getattr(item, "reason", None), item.__cause__, item.__context__, *item.args]
    return found


def _last(causes: list[BaseException]) -> str:
    """The operating system's own words if there are any, else the innermost ones."""
    system = [c for c in causes if isinstance(c, OSError) and c.strerror]
    return str(system[-1].strerror) if system else str(causes[-1])
