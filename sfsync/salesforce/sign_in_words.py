"""What an org says when it refuses a sign-in, what that means, and the next step: one table.

Owns:      WORDS, from which docs/reference/sign-in.md is made, and finding the row of a refusal.
Does not:  talk to an org (auth).
Invariant: rows are asked in their order; descriptions are matched in part only, for their wording differs between
           releases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sfsync.errors import AuthError
from sfsync.salesforce.failures import shorten
from sfsync.salesforce.login import Login

TYPES = ("password", "client_credentials", "jwt", "oauth", "refresh_token", "access_token", "sf_cli")
"""Every way to sign in."""

BY_TOKEN = ("password", "client_credentials", "jwt", "refresh_token", "oauth")
"""Ways to sign in that ask the token endpoint, and so can be refused by it."""

BAD_TOKEN = "bad_oauth_token"
"""What userinfo calls a token that it does not know."""

MAX_SKEW_S = 60


@dataclass(frozen=True, slots=True)
class Words:
    """One row. error, part: what the org says, lower case; part "" meets every description."""

    name: str
    error: str
    part: str
    says: str
    fix: str
    types: tuple[str, ...] = BY_TOKEN
    """Ways to sign in that can meet it."""
    fixes: Mapping[str, str] = field(default_factory=dict)
    """Next steps of those ways that need another one."""

    def fix_of(self, auth: str) -> str:
        """The next step for this way to sign in."""
        return self.fixes.get(auth, self.fix)

    def meets(self, error: str, description: str) -> bool:
        """Whether an answer of the org is meant. error, description: lower case."""
        return error == self.error and self.part in description


_CHECK_KEY = (
    "copy the consumer key of the external client app anew into `client_id`; check that `domain` is its org"
)
_CHECK_SECRET = (
    "copy the consumer key and secret of the external client app anew into `client_id` and `client_secret`"
)
_ENABLE = "enable the flow in the app and the org (Setup, OAuth and OpenID Connect Settings)"
_NEW_APP = "check `domain` and `client_id`: a new app needs some minutes until it works"
_LOG_IN_AGAIN = "sign in again: sfsync login --force, with the same --target"

WORDS: tuple[Words, ...] = (
    Words(
        "wrong user name or password",
        "invalid_grant",
        "authentication failure",
        "user name, password or security token is wrong, or this network is not allowed to sign in",
        "check username, password and security_token (reset it in the user's settings), the user's login history "
        "says which; orgs made since Summer '23 block the password flow unless an admin allows it",
        ("password",),
    ),
    Words(
        "no user to run as",
        "invalid_grant",
        "no client credentials user",
        "the app has no user to run as",
        "in the external client app's policies, enable the client credentials flow and set 'Run As'",
        ("client_credentials",),
    ),
    Words(
        "shared host",
        "invalid_grant",
        "request not supported on this domain",
        "this host does not offer the client credentials flow",
        "set `domain` to the org's own My Domain; login and test do not serve this flow",
        ("client_credentials",),
    ),
    Words(
        "not approved",
        "invalid_grant",
        "hasn't approved",
        "the user has not approved the app, or there is no such user",
        "check `username`; then set the app's policy to 'Admin approved users are pre-authorized' and pre-authorise the "
        "user's profile or a permission set of the user",
        ("jwt", "refresh_token", "oauth"),
        {
            "refresh_token": "the approval was withdrawn: have the user approve the app again, and put the new refresh "
            "token into `refresh_token`",
            "oauth": _LOG_IN_AGAIN,
        },
    ),
    Words(
        "network not allowed",
        "invalid_grant",
        "ip restricted",
        "this network is outside of the allowed IP ranges",
        "relax the app's IP policy, or add this network to the profile's login IP ranges",
    ),
    Words(
        "refresh token expired",
        "invalid_grant",
        "expired access/refresh token",
        "the refresh token has expired, was revoked, or was replaced by a newer one",
        "put a new refresh token into `refresh_token`; where the org rotates them, only one machine may use it, and "
        "what it got last is kept on that machine alone: `auth: jwt` has no such state",
        ("refresh_token", "oauth"),
        {"oauth": _LOG_IN_AGAIN},
    ),
    Words(
        "wrong audience",
        "invalid_grant",
        "audience is invalid",
        "the JWT names another login host than the org expects",
        "set `audience: login` for production and Developer Edition, `audience: test` for a sandbox or a scratch org",
        ("jwt",),
    ),
    Words(
        "wrong signature",
        "invalid_grant",
        "invalid assertion",
        "the org cannot verify the JWT's signature",
        "upload the certificate that belongs to the private key to the app ('Use digital signatures'), and check the "
        "clock of this machine",
        ("jwt",),
    ),
    Words(
        "JWT too late",
        "invalid_grant",
        "expired authorization code",
        "the JWT had expired when it arrived",
        "check the clock of this machine: a JWT lives three minutes",
        ("jwt",),
    ),
    Words(
        "code too late",
        "invalid_grant",
        "expired authorization code",
        "the code of this sign-in has expired, or was used before",
        _LOG_IN_AGAIN,
        ("oauth",),
    ),
    Words(
        "wrong code verifier",
        "invalid_grant",
        "invalid code verifier",
        "the code does not belong to this sign-in",
        "sign in again, and answer only the page that this command opened",
        ("oauth",),
    ),
    Words(
        "inactive user",
        "invalid_grant",
        "inactive user",
        "the user is inactive",
        "an admin must activate the user, or name another one",
    ),
    Words(
        "inactive user",
        "inactive_user",
        "",
        "the user is inactive",
        "an admin must activate the user, or name another one",
    ),
    Words(
        "unknown consumer key",
        "invalid_client_id",
        "",
        "the org does not know the consumer key `client_id`",
        _CHECK_SECRET,
        fixes=dict.fromkeys(("jwt", "refresh_token", "oauth"), _CHECK_KEY),
    ),
    Words(
        "wrong consumer secret",
        "invalid_client",
        "",
        "the consumer secret does not fit the consumer key",
        _CHECK_SECRET,
        ("password", "client_credentials", "refresh_token", "oauth"),
        dict.fromkeys(
            ("refresh_token", "oauth"),
            f"{_CHECK_SECRET}; an app that demands the secret takes none without it",
        ),
    ),
    Words(
        "flow not offered",
        "unsupported_grant_type",
        "",
        "the org does not offer this way to sign in",
        f"{_ENABLE}, or use `auth: client_credentials`",
        fixes={"client_credentials": f"{_ENABLE}, or use `auth: jwt`"},
    ),
    Words(
        "browser flow not offered",
        "unsupported_response_type",
        "",
        "the org does not offer to sign in with a browser",
        f"{_ENABLE}, or use `auth: client_credentials`",
        ("oauth",),
    ),
    Words(
        "callback not registered",
        "redirect_uri_mismatch",
        "",
        "the app does not know the address that the browser was to come back to",
        "add `callback_url` to the app's callback URLs, letter by letter and with its port",
        ("oauth",),
    ),
    Words(
        "denied",
        "access_denied",
        "",
        "access was denied in the browser",
        "sign in again and press Allow; an admin may have to allow the app first",
        ("oauth",),
    ),
    Words(
        "scope not allowed",
        "invalid_scope",
        "",
        "the app may not use what sfsync asks for",
        "add the scopes api and refresh_token ('Perform requests at any time') to the app",
        ("oauth",),
    ),
    Words(
        "session ended",
        BAD_TOKEN,
        "",
        "the access token has expired or was revoked",
        "get a new access token, or use `auth: client_credentials`, which renews itself",
        ("access_token", "sf_cli"),
        {
            "sf_cli": "sign in again with the CLI: sf org login web, with the alias of the profile's `target_org`"
        },
    ),
    Words(
        "inactive org",
        "inactive_org",
        "",
        "the org is inactive",
        "check `domain`: the org is closed, suspended or was deleted",
    ),
    Words("org locked", "org_locked", "", "the org is locked", "an admin must contact Salesforce"),
    Words(
        "app blocked",
        "oauth_app_blocked",
        "",
        "an admin has blocked the app in this org",
        "unblock it under Setup, Connected Apps OAuth Usage",
    ),
    Words(
        "app not approved",
        "oauth_approval_error_generic",
        "",
        "the app is not installed or not approved in this org",
        "an admin must install the app under Setup, Connected Apps OAuth Usage",
    ),
    Words("app not found", "oauth_ec_app_not_found", "", "the app is not known in this org", _NEW_APP),
    Words("app not found", "app_not_found", "", "the app is not known in this org", _NEW_APP),
    Words(
        "too many sign-ins",
        "rate_limit_exceeded",
        "",
        "too many sign-ins in a short time",
        "wait some minutes and run again",
    ),
)


def words_of(auth: str, error: str, description: str) -> Words | None:
    """The row of a refusal: one that this way to sign in is known to meet, else any with these words."""
    met = [row for row in WORDS if row.meets(error.lower(), description.lower())]
    return next((row for row in met if auth in row.types), met[0] if met else None)


def refused(login: Login, status: int, error: str, description: str, *, skew_s: float = 0.0) -> AuthError:
    """The error of a refused sign-in.

    Args:
        skew_s: by how much this machine's clock is before the org's; a JWT is judged by it.
    """
    found = words_of(login.auth, error, description)
    if found is not None:
        says, fix = found.says, found.fix_of(login.auth)
    else:
        says, fix = f"the org refused: {shorten(description) or error or 'no reason given'}", None
    if login.auth == "jwt" and abs(skew_s) > MAX_SKEW_S:
        side = "ahead of" if skew_s > 0 else "behind"
        fix = f"set the clock of this machine: it is {abs(skew_s):,.0f} s {side} the org's, and a JWT lives three minutes"
    who = f" as {login.username}" if login.username else ""
    said = ": ".join(filter(None, (error, shorten(description)))) if error else f"HTTP {status}"
    return AuthError(
        f"sign-in to {login.host}{who} failed: {says} ({said})", fix=fix, code=error or None, status=status
    )
