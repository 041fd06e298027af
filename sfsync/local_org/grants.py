"""The token endpoint: every way to sign in by OAuth, and every way to be refused.

Owns:      what each grant demands, in the order in which the platform looks at it, and OAuth's errors.
Does not:  keep tokens (auth), or codes and refresh tokens (consents).
Invariant: a refusal is an object with `error` and `error_description`, and signs nobody in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping

from sfsync.local_org import assertion
from sfsync.local_org.answers import Answer
from sfsync.local_org.app import JWT_BEARER
from sfsync.local_org.auth import Auth

_NO_STORE = {"Cache-Control": "no-cache, no-store", "Pragma": "no-cache"}


class Refused(Exception):  # noqa: N818 - it is no failure of ours
    """A sign-in that is refused, as the platform says it."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.answer = Answer(status, {"error": error, "error_description": description})


def token(auth: Auth, form: Mapping[str, str], authorization: str | None, origin: str) -> Answer:
    """Answer POST /services/oauth2/token."""
    try:
        return Answer(200, _token(auth, form, authorization, origin), _NO_STORE)
    except Refused as refusal:
        return refusal.answer


def _token(auth: Auth, form: Mapping[str, str], authorization: str | None, origin: str) -> dict[str, str]:
    grant = form.get("grant_type", "")
    if grant not in auth.app.flows or grant == "soap":
        raise Refused("unsupported_grant_type", "grant type not supported")
    if grant == JWT_BEARER:
        client_id, user_id = _jwt(auth, form.get("assertion", ""), origin)
        _check_app(auth, client_id)
        return auth.issue(origin, user_id=user_id)
    client, secret = form.get("client_id"), form.get("client_secret")
    basic = bool(authorization and authorization.lower().startswith("basic "))
    if basic:
        client, secret = _pair(authorization or "")
    _check_app(auth, client)
    demanded = grant in ("password", "client_credentials") or auth.app.secret_required
    if (secret is None and demanded) or (
        secret is not None and not same(secret, auth.identity.client_secret)
    ):
        raise Refused("invalid_client", "invalid client credentials", 401 if basic else 400)
    match grant:
        case "password":
            return _password(auth, form, origin)
        case "client_credentials":
            if not auth.app.run_as:
                raise Refused("invalid_grant", "no client credentials user enabled")
            _check_user(auth, auth.identity.username)
            return auth.issue(origin)
        case "authorization_code":
            return _code(auth, form, origin)
        case _:
            return _refresh(auth, form, origin)


def _check_app(auth: Auth, client: str | None) -> None:
    if client is None or not same(client, auth.identity.client_id):
        raise Refused("invalid_client_id", "client identifier invalid")
    if auth.app.blocked:
        raise Refused("OAUTH_APP_BLOCKED", "this app is blocked by admin")
    if auth.app.ip_restricted:
        raise Refused("invalid_grant", "ip restricted")


def _check_user(auth: Auth, username: str) -> None:
    if auth.is_active(username) is False:
        raise Refused("invalid_grant", "inactive user")


def _password(auth: Auth, form: Mapping[str, str], origin: str) -> dict[str, str]:
    who = auth.identity
    person = auth.people.by_name(form.get("username", ""))  # one password opens them all
    if not same(form.get("password", ""), who.password + who.security_token) or person is None:
        raise Refused("invalid_grant", "authentication failure")
    _check_user(auth, person.username)
    return auth.issue(origin, user_id=person.user_id)


def _jwt(auth: Auth, text: str, origin: str) -> tuple[str, str | None]:
    """The app that a JWT names, and its user, once that may come in."""
    audiences = {origin, "https://login.salesforce.com"}  # this org is a production one
    try:
        claims = assertion.read(text, auth.folder, audiences, auth.time())
    except assertion.BadAssertionError as refusal:
        raise Refused("invalid_grant", str(refusal)) from None
    if same(claims.client_id, auth.identity.client_id):
        _check_user(auth, claims.username)
        person = auth.people.by_name(claims.username)
        if person is None or not auth.app.approved:
            raise Refused("invalid_grant", "user hasn't approved this consumer")
        return claims.client_id, person.user_id
    return claims.client_id, None


def _code(auth: Auth, form: Mapping[str, str], origin: str) -> dict[str, str]:
    consent = auth.consents.exchange(form.get("code", ""))
    if consent is None:
        raise Refused("invalid_grant", "expired authorization code")
    if form.get("redirect_uri") != consent.redirect_uri:
        raise Refused("redirect_uri_mismatch", "redirect_uri must match configuration")
    digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
    given = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    if consent.challenge and not same(given, consent.challenge):
        raise Refused("invalid_grant", "invalid code verifier")
    _check_user(auth, auth.identity.username)
    if not auth.app.offline_access or "refresh_token" not in consent.scope.split():
        return auth.issue(origin, scope=consent.scope)
    refresh_token, family = auth.consents.begin(consent.scope)
    return auth.issue(origin, scope=consent.scope, family=family) | {"refresh_token": refresh_token}


def _refresh(auth: Auth, form: Mapping[str, str], origin: str) -> dict[str, str]:
    family = auth.consents.family_of(form.get("refresh_token", ""))
    if family is None:
        raise Refused("invalid_grant", "expired access/refresh token")
    if not auth.app.approved:
        raise Refused("invalid_grant", "user hasn't approved this consumer")
    _check_user(auth, auth.identity.username)
    answer = auth.issue(origin, scope=family.scope, family=family.number)
    if auth.app.rotate_refresh_tokens:
        answer |= {"refresh_token": auth.consents.rotate(family)}
    return answer


def _pair(authorization: str) -> tuple[str | None, str | None]:
    try:
        text = base64.b64decode(authorization.partition(" ")[2], validate=True).decode()
    except ValueError:
        return None, None
    client, _, secret = text.partition(":")
    return client, secret


def same(one: str, other: str) -> bool:
    """Whether two secrets are one, without telling by the time how much of them is."""
    return hmac.compare_digest(one.encode(), other.encode())
