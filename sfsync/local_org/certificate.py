"""The certificate of a local org: its own authority, for this machine's loopback only.

Owns:      making key and certificate at first start, and again when they are near their end.
Does not:  trust anything: a client is told the file's path and trusts it alone.
Invariant: the key is readable by its owner only and never leaves the folder.
"""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sfsync.ports import write_private

CERTIFICATE = "ca.pem"
KEY = "key.pem"
_DAYS = 3_650


def ensure(folder: Path) -> tuple[Path, Path]:
    """The certificate's and the key's file, made if absent or unusable."""
    certificate, key = folder / CERTIFICATE, folder / KEY
    if not (certificate.exists() and key.exists() and _usable(certificate, key)):
        _make(certificate, key)
    return certificate, key


def _usable(certificate: Path, key: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError):
        return False
    return datetime.now(UTC) - datetime.fromtimestamp(certificate.stat().st_mtime, UTC) < timedelta(
        days=_DAYS - 30
    )


def _make(certificate: Path, key: Path) -> None:
    # imported here: a start with a certificate in place does without half of cryptography
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sfsync local org")])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    public = private.public_key()
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(private, hashes.SHA256())
    )
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(key, secret.decode())
    write_private(certificate, built.public_bytes(serialization.Encoding.PEM).decode(), mode=0o644)
