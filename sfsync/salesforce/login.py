"""What a sign-in starts with and ends with: Login, Token, and ids in their 18 character form.

Owns:      the two values, and reading ids and origins out of what an org answers.
Does not:  talk to an org (auth), or choose words for a refusal (sign_in_words).
Invariant: no secret and no token appears in a repr, and each is registered before anything can fail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from sfsync.errors import register_secret

_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")
_SUFFIX = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


@dataclass(frozen=True, slots=True)
class Login:
    """Everything needed to sign in; which fields are filled depends on `auth`.

    login_url: origin of the My Domain or login host; for access_token the instance.
    """

    auth: str  # one of connections.SIGN_INS
    login_url: str
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)
    security_token: str = field(default="", repr=False)
    access_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)  # PEM; line ends may be written as \n
    private_key_file: str = ""  # the same in a file
    audience: str = ""  # of a JWT: who is meant to read it
    callback_url: str = ""  # where a browser comes back to
    target_org: str = ""  # alias or user name that the `sf` CLI knows

    def __post_init__(self) -> None:
        secrets = (self.client_secret, self.password, self.security_token, self.access_token)
        for secret in (*secrets, self.refresh_token, self.private_key):
            register_secret(secret)

    @property
    def host(self) -> str:
        """Where to sign in, as messages show it."""
        return urlsplit(self.login_url).netloc


@dataclass(frozen=True, slots=True)
class Token:
    """Proof of one sign-in. Ids have 18 characters."""

    access_token: str = field(repr=False)
    instance_url: str  # an origin, without a trailing slash
    org_id: str
    user_id: str


def id18(record_id: str) -> str:
    """The 18 character form of an id: three groups of five, each summed up by which letters are capitals."""
    first = record_id[:15]
    groups = (first[0:5], first[5:10], first[10:15])
    return first + "".join(_SUFFIX[sum(1 << k for k, c in enumerate(g) if "A" <= c <= "Z")] for g in groups)


def read_id(value: object) -> str | None:
    """An id in its 18 character form; None for what is no id."""
    return id18(value) if isinstance(value, str) and _ID.fullmatch(value) else None


def ids_of(identity_url: str) -> tuple[str | None, str | None]:
    """Org and user of an identity URL: ``https://login.salesforce.com/id/00D.../005...``."""
    parts = urlsplit(identity_url).path.rstrip("/").split("/")
    if len(parts) < 3 or parts[-3] != "id":
        return None, None
    return read_id(parts[-2]), read_id(parts[-1])


def origin(url: str) -> str | None:
    """Scheme, host and port of a URL; None if it is none."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") and parts.netloc else None
