"""The signed JWT by which a program signs in without a password.

Owns:      reading the private key, the claims, the RS256 signature, and a certificate for the key.
Does not:  send it (auth).
Invariant: the key never leaves this file; an error about it names where it comes from and shows none of it.
"""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sfsync.errors import AuthError, register_secret
from sfsync.salesforce.login import Login

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

LIFE_S = 180
"""How long an assertion may be used. Source: Salesforce Help, "OAuth 2.0 JWT Bearer Flow"."""

MIN_BITS = 2048
MAKE_KEY = (
    "openssl req -x509 -newkey rsa:2048 -nodes -days 730 -subj /CN=sfsync -keyout server.key -out server.crt"
)


def assertion(login: Login, now: datetime) -> str:
    """A JWT for this login, good for three minutes.

    Raises:
        AuthError: the private key cannot be used.
    """
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    claims = {
        "iss": login.client_id,
        "sub": login.username,
        "aud": login.audience or login.login_url,
        "exp": int(now.timestamp()) + LIFE_S,
    }
    signed = f"{_part({'alg': 'RS256'})}.{_part(claims)}"
    signature = _key(login).sign(signed.encode(), PKCS1v15(), SHA256())
    whole = f"{signed}.{_text(signature)}"
    register_secret(whole)
    return whole


def certificate_of(login: Login, now: datetime) -> str:
    """A certificate for the login's private key, which the app is to know: base64, good for two years.

    Raises:
        AuthError: the private key cannot be used.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding

    key = _key(login)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sfsync")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=730))
        .sign(key, SHA256())
    )
    return base64.b64encode(made.public_bytes(Encoding.DER)).decode()


def _part(body: dict[str, object]) -> str:
    return _text(json.dumps(body, separators=(",", ":")).encode())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _key(login: Login) -> RSAPrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    named, pem = _pem(login)
    if "PRIVATE KEY-----" not in pem:
        kind = "a certificate" if "BEGIN CERTIFICATE" in pem else "no private key in PEM form"
        raise AuthError(
            f"{named} is {kind}",
            fix="give the private key (-----BEGIN PRIVATE KEY-----); the certificate belongs into the app. "
            f"Both are made by: {MAKE_KEY}",
        )
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        raise AuthError(
            f"{named} is encrypted with a passphrase",
            fix="write it without one to a file that only you can read: openssl rsa -in server.key -out plain.key",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise AuthError(
            f"{named} cannot be read: it is cut off or damaged",
            fix="copy it whole, first and last line included; in an environment variable line ends may be \\n",
        ) from None
    if not isinstance(key, RSAPrivateKey) or key.key_size < MIN_BITS:
        found = f"RSA of {key.key_size} bits" if isinstance(key, RSAPrivateKey) else "of another kind"
        raise AuthError(
            f"{named} must be an RSA key of {MIN_BITS} bits or more, and is {found}",
            fix=f"make one: {MAKE_KEY}",
        )
    return key


def _pem(login: Login) -> tuple[str, str]:
    """What messages call the key, and its text."""
    if login.private_key:
        return "the `private_key` of the profile", login.private_key.replace("\\n", "\n")
    path = Path(login.private_key_file)
    named = f"the private_key_file {path}"
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise AuthError(
            f"{named} cannot be read: {error.strerror or error}",
            fix="check the path, which is relative to the project folder, and the rights of the file",
        ) from None
    except UnicodeDecodeError:
        raise AuthError(
            f"{named} is no private key in PEM form",
            fix="convert it: openssl pkcs12 -in key.p12 -nodes -nocerts -out server.key",
        ) from None
    register_secret(text)
    return named, text
