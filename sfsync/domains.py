"""Where one signs in to an org: its address, from any form people write an org's domain in.

Owns:      that address, and whom a JWT for it is meant for.
Does not:  connect to anything.
Invariant: an address is an https origin; why a text is none is said without the text.
"""

from __future__ import annotations

import re
from typing import NoReturn
from urllib.parse import urlsplit

_PARTITIONS = {"sandbox", "develop", "scratch", "trailblaze", "demo", "patch", "free", "pc", "stmfa"}
_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")


def login_url(domain: str) -> str:
    """The origin to sign in at, from any form people write an org's domain in.

    Args:
        domain: ``acme``, ``acme--uat``, ``acme.my``, ``acme.my.salesforce.com``, a lightning host, a full https URL
            with or without a port, ``login`` or ``test``.

    Raises:
        ValueError: it is none of these; the message says why, without the value.
    """
    text = domain.strip()
    has_scheme = "://" in text
    try:
        parts = urlsplit(text if has_scheme else f"//{text}")
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        refuse("it is not an address")
    if has_scheme and parts.scheme.lower() != "https":
        refuse("it must use https")
    if parts.username is not None or parts.password is not None:
        refuse("it must not hold a user or a password")
    if ":" in host:  # IPv6
        return f"https://[{host}]" + (f":{port}" if port not in (None, 443) else "")
    if not _HOST.fullmatch(host):
        refuse("it is not a host name")
    if not has_scheme:
        host = _full_host(host)
    host = re.sub(r"\.lightning\.force\.com$|\.my\.salesforce-setup\.com$", ".my.salesforce.com", host)
    return f"https://{host}" + (f":{port}" if port not in (None, 443) else "")


def jwt_audience(login_url: str) -> str:
    """Which login host a JWT is for: Salesforce documents the shared ones, for orgs with their own domain, too.

    A host that is none of Salesforce's, such as an org emulator, is its own audience.
    """
    host = urlsplit(login_url).hostname or ""
    if not host.endswith(".salesforce.com"):
        return login_url
    labels = host.split(".")
    tests = (
        host == "test.salesforce.com" or "--" in labels[0] or not {"sandbox", "scratch"}.isdisjoint(labels)
    )
    return "https://test.salesforce.com" if tests else "https://login.salesforce.com"


def _full_host(host: str) -> str:
    if host in ("login", "test"):
        return f"{host}.salesforce.com"
    labels = host.split(".")
    if len(labels) == 1:
        return f"{host}.sandbox.my.salesforce.com" if "--" in host else f"{host}.my.salesforce.com"
    if labels[-1] == "my":
        return f"{host}.salesforce.com"
    if len(labels) == 2 and labels[1] in _PARTITIONS:
        return f"{host}.my.salesforce.com"
    return host


def refuse(why: str) -> NoReturn:
    """Say why a text is no address.

    Raises:
        ValueError: always.
    """
    raise ValueError(why)
