"""Signing in: from a Login to a Token, by OAuth alone.

Owns:      what each way to sign in sends, and reading the org's answer.
Does not:  keep, refresh or share a token (door does), choose the words of a refusal (sign_in_words), or use SOAP
           `login()`, which current API versions lack.
Invariant: no secret and no token appears in an error; a new refresh token is kept before it is used.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

from sfsync.errors import AuthError, register_secret
from sfsync.ports import Clock, SystemClock
from sfsync.salesforce.failures import NoAnswerError
from sfsync.salesforce.login import Login, Token, ids_of, origin, read_id
from sfsync.salesforce.logins import Kept, Logins
from sfsync.salesforce.sign_in_words import BAD_TOKEN, refused
from sfsync.salesforce.transport import Reply, Request, Transport

TIMEOUT_S = 60.0
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class Desk:
    """Where one signs in: the way to the org, the time, and the logins that are kept on this machine."""

    transport: Transport
    clock: Clock = field(default_factory=SystemClock)
    logins: Logins | None = None  # None: nothing is kept


def sign_in(login: Login, desk: Desk) -> Token:
    """Get a token, or find out whose the given one is.

    Raises:
        AuthError: the org refused, with the next step.
        NoAnswerError: no connection to the host.
    """
    match login.auth:
        case "access_token":
            return _inspect(login, desk.transport)
        case "sf_cli":
            from sfsync.salesforce.sf_cli import borrow  # late: only who borrows a login starts programs

            lent = borrow(login.target_org)
            return _inspect(
                replace(login, login_url=lent.instance_url, access_token=lent.access_token), desk.transport
            )
        case "refresh_token" | "oauth":
            return _refresh(login, desk)
        case "password":
            secret = login.password + login.security_token
            form = {"username": login.username, "password": secret}
            body = ask(login, desk, {"grant_type": "password", **client(login), **form})
        case "jwt":
            from sfsync.salesforce.assertion import assertion  # late: half of cryptography comes with it

            signed = assertion(login, desk.clock.now())
            body = ask(login, desk, {"grant_type": JWT_BEARER, "assertion": signed})
        case _:
            pair = base64.b64encode(f"{login.client_id}:{login.client_secret}".encode()).decode()
            body = ask(login, desk, {"grant_type": login.auth}, {"Authorization": f"Basic {pair}"})
    return token_of(body, login)


def client(login: Login) -> dict[str, str]:
    """The app in a form: its key, and its secret if it has one."""
    return {"client_id": login.client_id} | (
        {"client_secret": login.client_secret} if login.client_secret else {}
    )


def ask(
    login: Login, desk: Desk, form: Mapping[str, str], headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Post a form to the token endpoint; the answer, whose tokens are registered as secrets.

    Raises:
        AuthError: refused.
        NoAnswerError: no connection.
    """
    sent = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    url = f"{login.login_url}/services/oauth2/token"
    request = Request("POST", url, sent | dict(headers or {}), urlencode(form), read_timeout_s=TIMEOUT_S)
    reply = desk.transport.exchange(request)
    body = _object(reply, login)
    for name in ("access_token", "refresh_token", "id_token"):
        if isinstance(body.get(name), str):
            register_secret(body[name])
    if reply.status != 200 or "access_token" not in body:
        error, description = str(body.get("error", "")), str(body.get("error_description", ""))
        raise refused(login, reply.status, error, description, skew_s=_skew(reply, desk.clock))
    return body


def token_of(body: Mapping[str, Any], login: Login) -> Token:
    """The token of an answer.

    Raises:
        AuthError: it does not say where the org is, or whose the token is.
    """
    org_id, user_id = ids_of(str(body.get("id", "")))
    instance = origin(str(body.get("instance_url") or ""))
    if instance is None or org_id is None or user_id is None:
        raise AuthError(
            f"{login.host} answered a token without a usable 'instance_url' or 'id'",
            fix="check that `domain` is a Salesforce host and no gateway rewrites its answers",
        )
    return Token(str(body["access_token"]), instance, org_id, user_id)


def _refresh(login: Login, desk: Desk) -> Token:
    """By the refresh token that is kept: of a login, or the newest that the org gave for the profile's one."""
    if desk.logins is None:
        return token_of(ask(login, desk, _refresh_form(login, login.refresh_token)), login)
    name = desk.logins.name_of(login)
    with desk.logins.alone(name):
        kept = desk.logins.find(name)
        mine = kept.refresh_token if kept is not None else login.refresh_token
        if not mine:
            raise AuthError(
                f"nobody is signed in to {login.host} on this machine" + _as(login),
                fix="sign in: sfsync login, with the same --target; where nobody can (CI), use `auth: jwt` or "
                "`auth: client_credentials`",
            )
        body = ask(login, desk, _refresh_form(login, mine))
        token = token_of(body, login)
        new = body.get("refresh_token")
        if isinstance(new, str) and new and new != mine:
            username = kept.username if kept is not None else ""
            desk.logins.keep(name, Kept.of(login, token, new, desk.clock.now(), username))
    return token


def _as(login: Login) -> str:
    return f" as {login.username}" if login.username else ""


def _refresh_form(login: Login, refresh_token: str) -> dict[str, str]:
    return {"grant_type": "refresh_token", "refresh_token": refresh_token, **client(login)}


def _inspect(login: Login, transport: Transport) -> Token:
    """A token handed to us carries no ids we may rely on: the org says whose it is."""
    headers = {"Authorization": f"Bearer {login.access_token}", "Accept": "application/json"}
    url = f"{login.login_url}/services/oauth2/userinfo"
    reply = transport.exchange(Request("GET", url, headers, read_timeout_s=TIMEOUT_S))
    if reply.status in (400, 401, 403) and b"<html" not in reply.body[:500].lower():
        raise refused(login, reply.status, BAD_TOKEN, "")
    body = _object(reply, login)
    org_id, user_id = read_id(body.get("organization_id")), read_id(body.get("user_id"))
    if reply.status != 200 or org_id is None or user_id is None:
        raise _not_oauth(login, reply)
    return Token(login.access_token, login.login_url, org_id, user_id)


def _skew(reply: Reply, clock: Clock) -> float:
    """By how many seconds our clock is before the org's, as the answer tells; 0 where it does not."""
    try:
        return (clock.now() - parsedate_to_datetime(reply.headers.get("Date", ""))).total_seconds()
    except (ValueError, TypeError):
        return 0.0


def _object(reply: Reply, login: Login) -> dict[str, Any]:
    try:
        body = json.loads(reply.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _not_oauth(login, reply)
    return body


def _not_oauth(login: Login, reply: Reply) -> AuthError | NoAnswerError:
    host = login.host
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
