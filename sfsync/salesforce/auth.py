"""Signing in: from a Login to a token, by OAuth alone.

Owns:      Login, the three ways to sign in, the words for each way they fail, and ids in their 18 character form.
Does not:  keep, refresh or share a token (door does), or use SOAP `login()`, which current API versions lack.
Invariant: no secret and no token appears in an error or in a repr.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from sfsync.errors import AuthError, register_secret
from sfsync.salesforce.failures import NoAnswerError, shorten
from sfsync.salesforce.transport import Reply, Request, Transport

_TIMEOUT_S = 60.0
_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")
_SUFFIX = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


@dataclass(frozen=True, slots=True)
class Login:
    """Everything needed to sign in. login_url: origin of the My Domain or login host; for access_token the instance."""

    auth: str  # password | client_credentials | access_token
    login_url: str
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)
    security_token: str = field(default="", repr=False)
    access_token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        for secret in (self.client_secret, self.password, self.security_token, self.access_token):
            register_secret(secret)


@dataclass(frozen=True, slots=True)
class Token:
    """Proof of one sign-in. Ids have 18 characters."""

    access_token: str = field(repr=False)
    instance_url: str  # an origin, without a trailing slash
    org_id: str
    user_id: str


def sign_in(login: Login, transport: Transport) -> Token:
    """Get a token, or find out whose the given one is.

    Raises:
        AuthError: the org refused, with the next step.
        NoAnswerError: no connection to the host.
    """
    if login.auth == "access_token":
        return _inspect(login, transport)
    form = {"grant_type": login.auth}
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    if login.auth == "password":
        form |= {
            "client_id": login.client_id,
            "client_secret": login.client_secret,
            "username": login.username,
            "password": login.password + login.security_token,
        }
    else:
        pair = f"{login.client_id}:{login.client_secret}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    url = f"{login.login_url}/services/oauth2/token"
    reply = transport.exchange(Request("POST", url, headers, urlencode(form), read_timeout_s=_TIMEOUT_S))
    body = _object(reply, login)
    if reply.status != 200 or "access_token" not in body:
        raise _refused(
            login, reply.status, str(body.get("error", "")), str(body.get("error_description", ""))
        )
    return _token(body, login)


def id18(record_id: str) -> str:
    """The 18 character form of an id: three groups of five, each summed up by which letters are capitals."""
    first = record_id[:15]
    groups = (first[0:5], first[5:10], first[10:15])
    return first + "".join(_SUFFIX[sum(1 << k for k, c in enumerate(g) if "A" <= c <= "Z")] for g in groups)


def _token(body: dict[str, Any], login: Login) -> Token:
    access_token = str(body["access_token"])
    register_secret(access_token)
    org_id, user_id = _ids(str(body.get("id", "")))
    instance = origin(str(body.get("instance_url") or ""))
    if instance is None or org_id is None or user_id is None:
        raise AuthError(
            f"{_host(login)} answered a token without a usable 'instance_url' or 'id'",
            fix="check that `domain` is a Salesforce host and no gateway rewrites its answers",
        )
    return Token(access_token, instance, org_id, user_id)


def _inspect(login: Login, transport: Transport) -> Token:
    """A token handed to us carries no ids we may rely on: the org says whose it is."""
    headers = {"Authorization": f"Bearer {login.access_token}", "Accept": "application/json"}
    url = f"{login.login_url}/services/oauth2/userinfo"
    reply = transport.exchange(Request("GET", url, headers, read_timeout_s=_TIMEOUT_S))
    if reply.status in (400, 401, 403) and b"<html" not in reply.body[:500].lower():
        raise AuthError(
            f"{_host(login)} does not accept the access token of the profile: it has expired or was revoked",
            fix="get a new access token, or use `auth: client_credentials`, which renews itself",
            status=reply.status,
        )
    body = _object(reply, login)
    org_id, user_id = _id(body.get("organization_id")), _id(body.get("user_id"))
    if reply.status != 200 or org_id is None or user_id is None:
        raise _not_oauth(login, reply)
    return Token(login.access_token, login.login_url, org_id, user_id)


def _ids(identity_url: str) -> tuple[str | None, str | None]:
    parts = urlsplit(identity_url).path.rstrip("/").split("/")
    if len(parts) < 3 or parts[-3] != "id":
        return None, None
    return _id(parts[-2]), _id(parts[-1])


def _id(value: object) -> str | None:
    return id18(value) if isinstance(value, str) and _ID.fullmatch(value) else None


def origin(url: str) -> str | None:
    """Scheme, host and port of a URL; None if it is none."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") and parts.netloc else None


def _host(login: Login) -> str:
    return urlsplit(login.login_url).netloc


def _object(reply: Reply, login: Login) -> dict[str, Any]:
    try:
        body = json.loads(reply.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _not_oauth(login, reply)
    return body


def _not_oauth(login: Login, reply: Reply) -> AuthError | NoAnswerError:
    host = _host(login)
    if reply.status >= 500:
        return NoAnswerError(
            f"{host} answered the sign-in with HTTP {reply.status}", sent=True, status=reply.status
        )
    target = reply.headers.get("Location", "").split("?")[0]
    if 300 <= reply.status < 400:
        return AuthError(
            f"{host} redirects the sign-in to {target or 'another place'}",
            fix="set `domain` to the org's own My Domain, e.g. `acme` for acme.my.salesforce.com",
            status=reply.status,
        )
    kind = reply.headers.get("Content-Type", "no content type").split(";")[0]
    return AuthError(
        f"{host} does not speak OAuth: it answered the sign-in with HTTP {reply.status} and {kind}",
        fix="check `domain`; a proxy or a login page in between answers like this, too",
        status=reply.status,
    )


_CHECK_SECRET = (
    "copy the consumer key and secret of the external client app anew into `client_id` and `client_secret`"
)
_FIXES: tuple[tuple[str, str, str, str], ...] = (
    # error, part of the description, what we say, the next step
    (
        "invalid_grant",
        "authentication failure",
        "user name, password or security token is wrong, or this network is not allowed to sign in",
        "check username, password and security_token (reset it in the user's settings), the user's login history "
        "says which; orgs made since Summer '23 block the password flow unless an admin allows it",
    ),
    (
        "invalid_grant",
        "no client credentials user",
        "the app has no user to run as",
        "in the external client app's policies, enable the client credentials flow and set 'Run As'",
    ),
    (
        "invalid_grant",
        "request not supported on this domain",
        "this host does not offer the client credentials flow",
        "set `domain` to the org's own My Domain; login and test do not serve this flow",
    ),
    (
        "invalid_grant",
        "hasn't approved",
        "the user has not approved the app",
        "pre-authorise the user's profile or permission set in the app's policies",
    ),
    (
        "invalid_grant",
        "ip restricted",
        "this network is outside of the allowed IP ranges",
        "relax the app's IP policy, or add this network to the profile's login IP ranges",
    ),
    ("invalid_client_id", "", "the org does not know the consumer key `client_id`", _CHECK_SECRET),
    ("invalid_client", "", "the consumer secret does not fit the consumer key", _CHECK_SECRET),
    (
        "unsupported_grant_type",
        "",
        "the org does not offer this way to sign in",
        "enable the flow in the app and the org (Setup, OAuth and OpenID Connect Settings), "
        "or use `auth: client_credentials`",
    ),
    ("inactive_user", "", "the user is inactive", "an admin must activate the user, or name another one"),
    (
        "inactive_org",
        "",
        "the org is inactive",
        "check `domain`: the org is closed, suspended or was deleted",
    ),
    ("org_locked", "", "the org is locked", "an admin must contact Salesforce"),
    (
        "oauth_app_blocked",
        "",
        "an admin has blocked the app in this org",
        "unblock it under Setup, Connected Apps OAuth Usage",
    ),
    (
        "oauth_approval_error_generic",
        "",
        "the app is not installed or not approved in this org",
        "an admin must install the app under Setup, Connected Apps OAuth Usage",
    ),
    (
        "oauth_ec_app_not_found",
        "",
        "the app is not known in this org",
        "check `domain` and `client_id`: a new app needs some minutes until it works",
    ),
    ("rate_limit_exceeded", "", "too many sign-ins in a short time", "wait some minutes and run again"),
    (
        "app_not_found",
        "",
        "the app is not known in this org",
        "check `domain` and `client_id`: a new app needs some minutes until it works",
    ),
)


def _refused(login: Login, status: int, error: str, description: str) -> AuthError:
    """Name the cause. Descriptions are matched in part only: their wording differs between releases."""
    meaning, fix = next(
        ((m, f) for code, part, m, f in _FIXES if error.lower() == code and part in description.lower()),
        (f"the org refused: {shorten(description) or error or 'no reason given'}", None),
    )
    who = f" as {login.username}" if login.auth == "password" else ""
    said = f" ({error}: {shorten(description)})" if error else f" (HTTP {status})"
    return AuthError(
        f"sign-in to {_host(login)}{who} failed: {meaning}{said}", fix=fix, code=error or None, status=status
    )
