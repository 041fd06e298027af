"""JWTs that come in: the certificate they are judged by, and what they say.

Owns:      the app's key pair in the org's folder, the signature, the times and audience of an assertion.
Does not:  look the user up (grants).
Invariant: a text that is not signed by the registered certificate says nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sfsync.local_org.control import JWT_KEY as KEY
from sfsync.ports import write_private

CERTIFICATE = "jwt_cert.pem"
_MILLISECONDS = 10**11
"""Above it an `exp` is in milliseconds, as the `sf` CLI sends it."""


class BadAssertionError(Exception):
    """An assertion that is refused; the message is the org's description."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good assertion says."""

    client_id: str
    username: str
    audience: str


def ensure(folder: Path) -> None:
    """Make the app's key pair if it is not there: the user takes the key, the org looks at the certificate."""
    if (folder / KEY).exists() and (folder / CERTIFICATE).exists():
        return
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sfsync local app")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(folder / CERTIFICATE, built.public_bytes(serialization.Encoding.PEM).decode(), mode=0o644)
    write_private(folder / KEY, pem.decode())


def read(text: str, folder: Path, audiences: Collection[str], now: float) -> Claims:
    """Judge an assertion.

    Raises:
        BadAssertionError: unsigned, signed by somebody else, too old, or for another host.
    """
    head, _, signature = text.rpartition(".")
    header, _, body = head.partition(".")
    claims = _json(body)
    if _json(header).get("alg") != "RS256" or not _signed(head, signature, folder):
        raise BadAssertionError("invalid assertion")
    try:
        expires = float(claims["exp"])  # simple-salesforce sends a text
        names = [claims[name] for name in ("iss", "sub", "aud")]
    except (KeyError, TypeError, ValueError):
        raise BadAssertionError("invalid assertion") from None
    if expires > _MILLISECONDS:
        expires /= 1000
    if expires < now:
        raise BadAssertionError("expired authorization code")
    client_id, username, audience = (str(name) for name in names)
    if audience.rstrip("/") not in audiences:
        raise BadAssertionError("audience is invalid")
    return Claims(client_id, username, audience)


def _json(part: str) -> dict[str, Any]:
    try:
        found = json.loads(_bytes(part))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _bytes(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)


def _signed(head: str, signature: str, folder: Path) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509 import load_pem_x509_certificate

    try:
        key = load_pem_x509_certificate((folder / CERTIFICATE).read_bytes()).public_key()
        if isinstance(key, RSAPublicKey):
            key.verify(_bytes(signature), head.encode(), PKCS1v15(), SHA256())
            return True
    except (InvalidSignature, ValueError, OSError):
        pass
    return False
