"""One HTTP exchange: sent once, with time limits, read whole or reported as no answer.

Owns:      TLS trust, proxies, time limits, streaming of bodies from and to files, and telling failures apart.
Does not:  know tokens, count calls, follow redirects, wait, or try again.
Invariant: an answer that is returned is complete; a file it was written to is complete too, or does not exist.
"""

from __future__ import annotations

import re
import socket
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from os import environ
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import certifi
from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager, Timeout
from urllib3 import exceptions as failed
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import make_headers

from sfsync import __version__
from sfsync.errors import OrgError, SfsyncError, register_secret
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


_OWN_HEADERS = {"User-Agent": f"sfsync/{__version__}", "Accept-Encoding": "gzip, deflate"}
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")


class Transport:
    """A pool of connections shared by threads."""

    def __init__(self, *, ca_file: Path | None = None, connections: int = 8) -> None:
        self._ca_file = ca_file
        self._kept: dict[str, PoolManager] = {}  # by proxy; "" for none
        # The context is pinned: no bundle of the environment is put over it.
        self._options: dict[str, Any] = {
            "num_pools": 4,
            "maxsize": connections,
            "ssl_context": _trust(ca_file),
            "cert_reqs": "CERT_REQUIRED",
            "socket_options": [*HTTPConnection.default_socket_options, *_KEEP_ALIVE],
        }

    def close(self) -> None:
        """Close idle connections."""
        for pools in self._kept.values():
            pools.clear()

    def exchange(self, request: Request) -> Reply:
        """Send once and read the whole answer.

        Raises:
            NoAnswerError: nothing usable came back; it says whether the request can have arrived.
            SfsyncError: a file of ours cannot be read or written.
        """
        headers = _headers(request)
        try:
            if isinstance(request.body, Path):
                headers["Content-Length"] = str(request.body.stat().st_size)
                with request.body.open("rb") as handle:
                    return self._exchange(request, headers, handle)
            return self._exchange(request, headers, _encoded(request.body))
        except (failed.HTTPError, UnicodeError) as error:
            raise _no_answer(request, error, self._ca_file) from error
        except OSError as error:  # of a file: everything of the network is an HTTPError
            raise SfsyncError(
                f"{request.shown}: {error.filename or 'a file'}: {error.strerror or error}",
                fix="check the free space and the rights of the project's .sfsync folder",
            ) from error

    def _exchange(self, request: Request, headers: dict[str, str], data: Any) -> Reply:
        response = self._pools(request.url).request(
            request.method,
            request.url,
            body=data,
            headers=headers,
            timeout=Timeout(connect=CONNECT_TIMEOUT_S, read=request.read_timeout_s),
            retries=False,
            redirect=False,
            preload_content=False,
        )
        try:
            if request.to_file is not None and response.status < 400:
                _check_has_end(request, response)
                _write(response, request.to_file)
                reply = Reply(response.status, response.headers, b"", request.to_file)
            else:
                reply = Reply(response.status, response.headers, response.read(decode_content=True))
        except (failed.ProtocolError, failed.DecodeError) as error:
            response.close()
            host = urlsplit(request.url).netloc
            raise NoAnswerError(
                f"{request.shown}: the answer of {host} broke off: {_last(_causes(error))}", sent=True
            ) from error
        except BaseException:
            response.close()  # what is unread must not be taken for the next answer
            raise
        response.release_conn()
        return reply

    def _pools(self, url: str) -> PoolManager:
        proxy = _proxy(url)
        pools = self._kept.get(proxy)
        if pools is None:
            made = self._through(proxy) if proxy else PoolManager(**self._options)
            made.pool_classes_by_scheme = _POOLS
            pools = self._kept.setdefault(proxy, made)
        return pools

    def _through(self, proxy: str) -> ProxyManager:
        """Connections by way of a proxy, as the environment writes it: scheme and credentials may be there or not."""
        from requests.utils import get_auth_from_url, prepend_scheme_if_needed

        try:
            proxy = prepend_scheme_if_needed(proxy, "http")
            user, password = get_auth_from_url(proxy)
            register_secret(password)
            headers = make_headers(proxy_basic_auth=f"{user}:{password}") if user else None
            return ProxyManager(proxy, proxy_headers=headers, **self._options)
        except (failed.HTTPError, ValueError):
            raise NoAnswerError(
                "the proxy that the environment names cannot be used",
                sent=False,
                fix="write HTTPS_PROXY as http://host:port or http://user:password@host:port",
            ) from None


def _headers(request: Request) -> dict[str, str]:
    """The request's headers and ours; a value that no header can carry is named without being shown."""
    for name, value in request.headers.items():
        if not _HEADER_VALUE.fullmatch(value):
            raise NoAnswerError(
                f"{request.shown}: the header {name} cannot be sent: its value has line breaks or characters beyond ASCII",
                sent=False,
                fix="check the token and the secrets of the profile for line breaks and stray characters",
            )
    return {**_OWN_HEADERS, **request.headers}


def _encoded(body: bytes | str | None) -> bytes | None:
    return body.encode() if isinstance(body, str) else body


def _check_has_end(request: Request, response: BaseHTTPResponse) -> None:
    """A body that only ends with the connection could be cut anywhere without a sign; JSON shows it, CSV does not."""
    chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    if not chunked and "Content-Length" not in response.headers:
        raise NoAnswerError(
            f"{request.shown}: the answer does not say where it ends, so nobody can tell if it is whole",
            sent=True,
            fix="a proxy or gateway in between cuts Content-Length and chunked encoding off: it must pass them on",
        )


def _write(response: BaseHTTPResponse, path: Path) -> None:
    """Stream the body beside `path` and rename, so that half an answer is never taken for one."""
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("wb") as handle:
            partial.chmod(0o600)  # rows in clear text
            for chunk in response.stream(_CHUNK, decode_content=True):
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


def _proxy(url: str) -> str:
    """What HTTPS_PROXY and friends say, NO_PROXY honoured; empty for none, and for this machine itself."""
    host = urlsplit(url).hostname or ""
    asked = sys.platform in ("darwin", "win32") or any(name.lower().endswith("_proxy") for name in environ)
    if host == "localhost" or not asked:
        return ""
    try:
        if ip_address(host).is_loopback:
            return ""
    except ValueError:
        pass
    from requests.utils import get_environ_proxies, select_proxy  # slow to load, and most have no proxy

    return select_proxy(url, get_environ_proxies(url, no_proxy=None)) or ""


def _no_answer(request: Request, error: Exception, ca_file: Path | None) -> NoAnswerError:
    """Say what went wrong between us and the host, and whether the request can have arrived."""
    host = urlsplit(request.url).netloc
    causes = _causes(error)
    if isinstance(error, (failed.LocationValueError, UnicodeError)):
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
    if isinstance(error, failed.ProxyError):
        return NoAnswerError(
            f"the proxy for {host} did not connect: {_last(causes)}",
            sent=False,
            fix="check HTTPS_PROXY, or list the host in NO_PROXY",
        )
    # urllib3 counts it among its timeouts, so it is asked for first.
    if any(isinstance(c, failed.NewConnectionError) for c in causes):
        return NoAnswerError(
            f"no connection to {host}: {_last(causes)}", sent=False, fix="check `domain` and the network"
        )
    if any(isinstance(c, failed.ConnectTimeoutError) for c in causes):
        return NoAnswerError(
            f"{host} did not accept a connection within {CONNECT_TIMEOUT_S:g} s",
            sent=False,
            fix="check `domain`, the network and its firewall",
        )
    if isinstance(error, failed.ReadTimeoutError):
        return NoAnswerError(
            f"{request.shown}: {host} sent nothing for {request.read_timeout_s:g} s; the org may have done the work",
            sent=None,
        )
    if isinstance(error, failed.SSLError):
        return NoAnswerError(
            f"{request.shown}: the TLS connection to {host} failed: {_last(causes)}", sent=None
        )
    return NoAnswerError(f"{request.shown}: the connection to {host} was lost: {_last(causes)}", sent=None)


def _causes(error: BaseException) -> list[BaseException]:
    """The error and what it wraps, outermost first: urllib3 hides it in `reason` or in args."""
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
