"""A raw HTTPS server whose every byte a test decides: for faults of the wire that no well-behaved server makes.

It signs in whoever asks, lists API versions, and answers everything else from a script: a list of steps, one per
request, each bytes to send, or a function of the request and the socket that does what it likes.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sfsync.ports import SystemClock
from sfsync.salesforce.door import Door, open_door
from sfsync.salesforce.login import Login

ORG_ID, USER_ID = "00D5g00000AbCdEEAV", "0055g000001XyZAAA0"


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Step = bytes | Callable[["RawServer", socket.socket, Seen], None]


def http(
    status: int, body: bytes | str = b"", content_type: str = "application/json", **headers: str
) -> bytes:
    """A well-formed answer."""
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {content_type}", f"Content-Length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def refused(status: int, code: str, message: str, **headers: str) -> bytes:
    """The org's own error array."""
    return http(status, json.dumps([{"errorCode": code, "message": message}]), **headers)


@dataclass
class RawServer:
    url: str = ""
    ca_file: Path = Path()
    script: list[Step] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    tokens: int = 0
    """Sign-ins so far; the newest token is valid."""
    token_step: Step | None = None
    """Instead of a sign-in."""
    connections: int = 0
    stall_s: float = 0
    """How long a body waits in the network before it is read."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def calls(self) -> list[Seen]:
        """Requests other than signing in and asking for versions."""
        return [s for s in self.seen if "/oauth2/" not in s.path and s.path != "/services/data"]

    def answer(self, connection: socket.socket, request: Seen) -> None:
        with self.lock:
            self.seen.append(request)
            if request.path == "/services/oauth2/token":
                self.tokens += 1
                step = self.token_step or http(200, json.dumps(self.token()))
            elif request.path == "/services/data":
                step = http(200, json.dumps([{"version": v} for v in ("30.0", "66.0", "67.0", "68.0")]))
            else:
                step = self.script.pop(0) if self.script else http(200, "[]")
        if callable(step):
            step(self, connection, request)
        else:
            connection.sendall(step)

    def token(self) -> dict[str, str]:
        return {
            "access_token": f"00D5g00000AbCdE!token{self.tokens}",
            "instance_url": self.url,
            "id": f"https://login.salesforce.com/id/{ORG_ID}/{USER_ID}",
        }


def _serve(server: RawServer, listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            plain, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_connection, args=(server, plain, context), daemon=True).start()


def _connection(server: RawServer, plain: socket.socket, context: ssl.SSLContext) -> None:
    with suppress(OSError, ValueError), context.wrap_socket(plain, server_side=True) as connection:
        server.connections += 1
        reader = connection.makefile("rb")
        while line := reader.readline():
            method, path, _ = line.decode().split(" ")
            headers = {}
            while (header := reader.readline().decode().strip()) != "":
                name, _, value = header.partition(":")
                headers[name.strip().lower()] = value.strip()
            if "content-length" in headers:
                threading.Event().wait(server.stall_s)
            body = reader.read(int(headers.get("content-length", 0)))
            server.answer(connection, Seen(method, path, headers, body))


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "raw test server")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="session")
def raw_certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return _certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def raw(raw_certificate: tuple[Path, Path]) -> Iterator[RawServer]:
    """The server, on a free port of loopback."""
    certificate, key = raw_certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))
    server = RawServer(f"https://127.0.0.1:{listener.getsockname()[1]}", certificate)
    threading.Thread(target=_serve, args=(server, listener, context), daemon=True).start()
    yield server
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


class CountingLedger:
    """Counts like the real one, in memory; refuses from `allowed` on."""

    def __init__(self, allowed: int = 10**9) -> None:
        self.allowed = allowed
        self.booked: list[str] = []
        self.batches: list[int] = []
        self.observed: list[tuple[int, int]] = []
        self.lock = threading.Lock()

    def reserve(self, kind: str, calls: int = 1, batches: int = 0) -> None:
        from sfsync.errors import ApiLimitError

        with self.lock:
            if len(self.booked) + calls > self.allowed:
                raise ApiLimitError("no calls left")
            self.booked += [kind] * calls
            self.batches += [batches] if batches else []

    def observe(self, used: int, maximum: int) -> None:
        self.observed.append((used, maximum))


@pytest.fixture
def ledger() -> CountingLedger:
    return CountingLedger()


@pytest.fixture
def raw_door(raw: RawServer, ledger: CountingLedger) -> Iterator[Door]:
    """A door to the raw server, API version fixed."""
    login = Login("client_credentials", raw.url, client_id="key", client_secret="s3cret")
    door = open_door(login, ledger=ledger, clock=SystemClock(), ca_file=raw.ca_file, api_version="67.0")
    yield door
    door.close()
