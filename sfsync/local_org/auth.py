"""Signing in: the token endpoint, what a token is worth, and who the user is.

Owns:      OAuth answers and errors, tokens in memory, identity bodies.
Does not:  look at any other request (gate asks `user_of`).
Invariant: a token is opaque, belongs to one user, and dies with the process, by revoke, or after two idle hours.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable, Mapping
from typing import Any

from sfsync.local_org.answers import Answer
from sfsync.local_org.identity import Identity
from sfsync.local_org.ids import ALPHABET

IDLE_S = 7_200.0


def _error(error: str, description: str, status: int = 400) -> Answer:
    return Answer(status, {"error": error, "error_description": description})


class Auth:
    """The sign-in desk of one org."""

    def __init__(
        self, identity: Identity, now: Callable[[], float], off_s: Callable[[], float] = lambda: 0.0
    ) -> None:
        """off_s: by how much the time that is shown differs from `now`."""
        self._identity, self._now, self._off_s = identity, now, off_s
        self._tokens: dict[str, float] = {}
        self._lock = threading.Lock()

    def user_of(self, authorization: str | None) -> str | None:
        """The user's Id behind an Authorization header, or None; a good token lives on."""
        kind, _, token = (authorization or "").partition(" ")
        if kind.lower() not in ("bearer", "oauth"):
            return None
        with self._lock:
            seen = self._tokens.get(token.strip())
            if seen is None or self._now() - seen > IDLE_S:
                return None
            self._tokens[token.strip()] = self._now()
        return self._identity.user_id

    def revoke(self, token: str | None) -> bool:
        """Kill one token, or all of them (None)."""
        with self._lock:
            if token is None:
                self._tokens.clear()
                return True
            return self._tokens.pop(token, None) is not None

    def token(self, form: Mapping[str, str], authorization: str | None, origin: str) -> Answer:
        """Answer POST /services/oauth2/token."""
        grant = form.get("grant_type", "")
        client, secret = form.get("client_id"), form.get("client_secret")
        if authorization and authorization.lower().startswith("basic "):
            client, secret = _basic(authorization)
        if grant not in ("password", "client_credentials"):
            return _error("unsupported_grant_type", "grant type not supported")
        if client is None or not _same(client, self._identity.client_id):
            return _error("invalid_client_id", "client identifier invalid")
        if secret is None or not _same(secret, self._identity.client_secret):
            return _error("invalid_client", "invalid client credentials", 401 if authorization else 400)
        if grant == "password":
            expected = self._identity.password + self._identity.security_token
            name_ok = form.get("username", "").lower() == self._identity.username
            if not (_same(form.get("password", ""), expected) and name_ok):
                return _error("invalid_grant", "authentication failure")
        return Answer(200, self._issue(origin), {"Cache-Control": "no-cache, no-store", "Pragma": "no-cache"})

    def _issue(self, origin: str) -> dict[str, str]:
        tail = "".join(secrets.choice(ALPHABET + "._") for _ in range(96))
        token = f"{self._identity.org_id[:15]}!{tail}"
        with self._lock:
            self._tokens[token] = self._now()
        issued = str(int((self._now() + self._off_s()) * 1000))
        url = self.identity_url(origin)
        signature = hmac.new(self._identity.client_secret.encode(), (url + issued).encode(), hashlib.sha256)
        return {
            "access_token": token,
            "signature": base64.b64encode(signature.digest()).decode(),
            "scope": "api id",
            "instance_url": origin,
            "id": url,
            "token_type": "Bearer",
            "issued_at": issued,
        }

    def identity_url(self, origin: str) -> str:
        """The URL that names this user of this org."""
        return f"{origin}/id/{self._identity.org_id}/{self._identity.user_id}"

    def identity_body(self, origin: str, version: str | None = None) -> dict[str, Any]:
        """What GET /id/{org}/{user} answers."""
        who = self._identity
        return {
            "id": self.identity_url(origin),
            "asserted_user": True,
            "user_id": who.user_id,
            "organization_id": who.org_id,
            "username": who.username,
            "nick_name": "admin",
            "display_name": "Local Admin",
            "email": who.username,
            "email_verified": True,
            "first_name": "Local",
            "last_name": "Admin",
            "timezone": "Etc/UTC",
            "photos": {
                "picture": f"{origin}/profilephoto/005/F",
                "thumbnail": f"{origin}/profilephoto/005/T",
            },
            "urls": _urls(origin, who.org_id[:15], version or "{version}"),
            "active": True,
            "user_type": "STANDARD",
            "language": "en_US",
            "locale": "en_US",
            "utcOffset": 0,
            "last_modified_date": "2026-01-01T00:00:00Z",
            "is_app_installed": True,
        }

    def userinfo_body(self, origin: str) -> dict[str, Any]:
        """What GET /services/oauth2/userinfo answers."""
        body = self.identity_body(origin)
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


def _basic(authorization: str) -> tuple[str | None, str | None]:
    try:
        text = base64.b64decode(authorization.partition(" ")[2], validate=True).decode()
    except ValueError:
        return None, None
    client, _, secret = text.partition(":")
    return client, secret


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
