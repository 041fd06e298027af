"""What a token is worth, and who the user is.

Owns:      access tokens in memory, their revocation, identity bodies.
Does not:  decide who gets one (grants, soap_login), or look at any other request (gate asks `user_of`).
Invariant: a token is opaque, belongs to one user, and dies with the process, by revoke, or after two idle hours.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfsync.local_org.app import App
from sfsync.local_org.consents import Consents
from sfsync.local_org.identity import Identity
from sfsync.local_org.ids import ALPHABET
from sfsync.local_org.people import People, Person

IDLE_S = 7_200.0


@dataclass(slots=True)
class _Session:
    seen: float
    family: str | None  # of the refresh token it came by
    user_id: str


class Auth:
    """The sign-in desk of one org."""

    def __init__(
        self,
        identity: Identity,
        folder: Path,
        now: Callable[[], float],
        off_s: Callable[[], float] = lambda: 0.0,
        is_active: Callable[[str], bool | None] = lambda username: True,
        *,
        people: People,
    ) -> None:
        """off_s: by how much the time that is shown differs from `now`. is_active: of a user; None for no such user."""
        self.identity, self.folder, self.is_active = identity, folder, is_active
        self.people = people
        self.app = App()
        self.consents = Consents(folder, now)
        self._now, self._off_s = now, off_s
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()

    def time(self) -> float:
        """The time that the org shows."""
        return self._now() + self._off_s()

    def user_of(self, authorization: str | None) -> str | None:
        """The user's Id behind an Authorization header, or None; a good token lives on."""
        kind, _, token = (authorization or "").partition(" ")
        if kind.lower() not in ("bearer", "oauth"):
            return None
        with self._lock:
            session = self._sessions.get(token.strip())
            if session is None or self._now() - session.seen > IDLE_S:
                return None
            if session.family is not None and not self.consents.lives(session.family):
                return None
            session.seen = self._now()
        return session.user_id

    def revoke(self, token: str | None) -> bool:
        """Kill one token (with a refresh token die its access tokens), or all access tokens (None)."""
        with self._lock:
            if token is None:
                self._sessions.clear()
                return True
            if self._sessions.pop(token, None) is not None:
                return True
        return self.consents.end(token)

    def issue(
        self, origin: str, *, scope: str = "api id", family: str | None = None, user_id: str | None = None
    ) -> dict[str, str]:
        """Sign a user in, the administrator if none is named; what the token endpoint answers."""
        user_id = user_id or self.identity.user_id
        tail = "".join(secrets.choice(ALPHABET + "._") for _ in range(96))
        token = f"{self.identity.org_id[:15]}!{tail}"
        with self._lock:
            self._sessions[token] = _Session(self._now(), family, user_id)
        issued = str(int(self.time() * 1000))
        url = self.identity_url(origin, user_id)
        signature = hmac.new(self.identity.client_secret.encode(), (url + issued).encode(), hashlib.sha256)
        return {
            "access_token": token,
            "signature": base64.b64encode(signature.digest()).decode(),
            "scope": scope,
            "instance_url": origin,
            "id": url,
            "token_type": "Bearer",
            "issued_at": issued,
        }

    def identity_url(self, origin: str, user_id: str | None = None) -> str:
        """The URL that names a user of this org."""
        return f"{origin}/id/{self.identity.org_id}/{user_id or self.identity.user_id}"

    def identity_body(self, origin: str, who: Person, version: str | None = None) -> dict[str, Any]:
        """What GET /id/{org}/{user} answers."""
        org_id = self.identity.org_id
        return {
            "id": self.identity_url(origin, who.user_id),
            "asserted_user": True,
            "user_id": who.user_id,
            "organization_id": org_id,
            "username": who.username,
            "nick_name": who.alias,
            "display_name": who.name,
            "email": who.email,
            "email_verified": True,
            "first_name": who.first_name,
            "last_name": who.last_name,
            "timezone": "Etc/UTC",
            "photos": {
                "picture": f"{origin}/profilephoto/005/F",
                "thumbnail": f"{origin}/profilephoto/005/T",
            },
            "urls": _urls(origin, org_id[:15], version or "{version}"),
            "active": True,
            "user_type": "STANDARD",
            "language": "en_US",
            "locale": "en_US",
            "utcOffset": 0,
            "last_modified_date": "2026-01-01T00:00:00Z",
            "is_app_installed": True,
        }

    def userinfo_body(self, origin: str, who: Person) -> dict[str, Any]:
        """What GET /services/oauth2/userinfo answers."""
        body = self.identity_body(origin, who)
        return {
            "sub": body["id"],
            "user_id": body["user_id"],
            "organization_id": body["organization_id"],
            "preferred_username": body["username"],
            "nickname": body["nick_name"],
            "name": body["display_name"],
            "email": body["email"],
            "email_verified": True,
            "given_name": body["first_name"],
            "family_name": body["last_name"],
            "zoneinfo": body["timezone"],
            "photos": body["photos"],
            "profile": f"{origin}/{body['user_id']}",
            "picture": body["photos"]["picture"],
            "address": {},
            "urls": body["urls"],
            "active": True,
            "user_type": "STANDARD",
            "language": "en_US",
            "locale": "en_US",
            "utcOffset": 0,
            "updated_at": body["last_modified_date"],
            "is_app_installed": True,
            "is_salesforce_integration_user": False,
        }


def _urls(origin: str, org15: str, version: str) -> dict[str, str]:
    data = f"{origin}/services/data/v{version}/"
    soap = f"{origin}/services/Soap"
    return {
        "enterprise": f"{soap}/c/{version}/{org15}",
        "metadata": f"{soap}/m/{version}/{org15}",
        "partner": f"{soap}/u/{version}/{org15}",
        "rest": data,
        "sobjects": f"{data}sobjects/",
        "search": f"{data}search/",
        "query": f"{data}query/",
        "recent": f"{data}recent/",
        "tooling_rest": f"{data}tooling/",
        "profile": f"{origin}/",
        "custom_domain": origin,
    }
