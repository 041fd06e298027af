"""Signing in: what is sent, what comes back, and the words for each way it fails."""

from __future__ import annotations

import base64
import json
from urllib.parse import parse_qs

import pytest

from sfsync.errors import AuthError
from sfsync.salesforce.auth import Desk, sign_in
from sfsync.salesforce.failures import NoAnswerError
from sfsync.salesforce.login import Login, id18
from sfsync.salesforce.transport import Transport

from .conftest import ORG_ID, USER_ID, http, refused

IDS = [  # published pairs of 15 characters and their suffix
    ("a0B5g00000XyZ9q", "EAF"),
    ("001D000000IqhSL", "IAZ"),
    ("012000000000000", "AAA"),
]


@pytest.mark.parametrize(("short", "suffix"), IDS)
def test_id18(short, suffix):
    assert id18(short) == id18(short + suffix) == short + suffix


@pytest.fixture
def wire(raw):
    transport = Transport(ca_file=raw.ca_file)
    yield transport
    transport.close()


def password_login(url: str) -> Login:
    return Login("password", url, "key", "s3cret&", "ops@acme.example", "hünter 22", "tok3n")


def test_the_password_flow_glues_the_security_token_on(raw, wire):
    token = sign_in(password_login(raw.url), Desk(wire))
    assert (token.org_id, token.user_id, token.instance_url) == (ORG_ID, USER_ID, raw.url)
    assert token.access_token == "00D5g00000AbCdE!token1"
    request = raw.seen[0]
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["password"],
        "client_id": ["key"],
        "client_secret": ["s3cret&"],
        "username": ["ops@acme.example"],
        "password": ["hünter 22tok3n"],
    }


def test_client_credentials_travel_by_basic_and_not_in_the_body(raw, wire):
    sign_in(Login("client_credentials", raw.url, "3MVG9.key", "s3cret"), Desk(wire))
    request = raw.seen[0]
    assert request.body == b"grant_type=client_credentials"
    assert base64.b64decode(request.headers["authorization"].removeprefix("Basic ")) == b"3MVG9.key:s3cret"


def test_an_access_token_is_asked_whose_it_is(raw, wire):
    raw.script = []
    body = {"organization_id": ORG_ID[:15], "user_id": USER_ID, "preferred_username": "ops@acme.example"}

    def userinfo(server, connection, request):
        assert request.headers["authorization"] == "Bearer 00Dgiven!token"
        connection.sendall(http(200, json.dumps(body)))

    raw.script = [userinfo]
    token = sign_in(Login("access_token", raw.url, access_token="00Dgiven!token"), Desk(wire))
    assert (token.org_id, token.user_id, token.access_token) == (ORG_ID, USER_ID, "00Dgiven!token")
    assert raw.seen[0].path == "/services/oauth2/userinfo"


@pytest.mark.parametrize("status", [401, 403])
def test_an_access_token_that_expired(raw, wire, status):
    raw.script = [http(status, "Bad_OAuth_Token", "text/html")]
    with pytest.raises(AuthError, match="has expired or was revoked") as caught:
        sign_in(Login("access_token", raw.url, access_token="00Dgiven!token"), Desk(wire))
    assert "client_credentials" in caught.value.fix


def oauth(error: str, description: str, status: int = 400) -> bytes:
    return http(status, json.dumps({"error": error, "error_description": description}))


FAILURES = [  # id, answer, part of the message, part of the fix
    (
        "wrong password",
        oauth("invalid_grant", "authentication failure"),
        "as ops@acme.example failed: user name, password or security token is wrong",
        "login history",
    ),
    (
        "no run-as user",
        oauth("invalid_grant", "no client credentials user enabled"),
        "no user to run as",
        "'Run As'",
    ),
    (
        "shared host",
        oauth("invalid_grant", "request not supported on this domain"),
        "does not offer the client credentials flow",
        "My Domain",
    ),
    (
        "not approved",
        oauth("invalid_grant", "user hasn't approved this consumer"),
        "has not approved",
        "pre-authorise",
    ),
    ("network", oauth("invalid_grant", "ip restricted"), "outside of the allowed IP ranges", "IP policy"),
    (
        "unknown key",
        oauth("invalid_client_id", "client identifier invalid"),
        "does not know the consumer key",
        "copy",
    ),
    (
        "wrong secret",
        oauth("invalid_client", "invalid client credentials", 401),
        "consumer secret does not fit",
        "copy",
    ),
    (
        "flow blocked",
        oauth("unsupported_grant_type", "grant type not supported"),
        "does not offer this way",
        "client_credentials",
    ),
    ("inactive user", oauth("inactive_user", "user is inactive"), "the user is inactive", "activate"),
    ("inactive org", oauth("inactive_org", "org is inactive"), "the org is inactive", "`domain`"),
    ("org locked", oauth("org_locked", "org is locked"), "the org is locked", "Salesforce"),
    ("app blocked", oauth("OAUTH_APP_BLOCKED", "blocked by admin"), "has blocked the app", "unblock"),
    ("app not there", oauth("OAUTH_APPROVAL_ERROR_GENERIC", "x"), "not installed or not approved", "install"),
    ("too many", oauth("rate_limit_exceeded", "exceeded rate limit"), "too many sign-ins", "wait"),
    ("unheard of", oauth("new_error", "something new"), r"the org refused: something new \(new_error", None),
    ("success without a token", http(200, "{}"), r"no reason given \(HTTP 200\)", None),
    (
        "a token without ids",
        http(200, '{"access_token":"00Dx!y"}'),
        "without a usable 'instance_url' or 'id'",
        "gateway",
    ),
    (
        "a login page",
        http(200, "<html>Sign in</html>", "text/html"),
        "does not speak OAuth: .* HTTP 200 and text/html",
        "proxy",
    ),
    ("not found", http(404, "<html>", "text/html"), "does not speak OAuth", "`domain`"),
    ("a REST error array", refused(404, "NOT_FOUND", "x"), "does not speak OAuth", "`domain`"),
    (
        "redirect",
        http(302, "", Location="https://acme.lightning.force.com/one?secret=1"),
        "redirects the sign-in to https://acme.lightning.force.com/one$",
        "My Domain",
    ),
]


@pytest.mark.parametrize(
    ("answer", "message", "fix"), [c[1:] for c in FAILURES], ids=[c[0] for c in FAILURES]
)
def test_each_failure_has_its_own_words(raw, wire, answer, message, fix):
    raw.token_step = answer
    with pytest.raises(AuthError, match=message) as caught:
        sign_in(password_login(raw.url), Desk(wire))
    assert (caught.value.fix is None) if fix is None else (fix in caught.value.fix)
    for secret in ("s3cret&", "hünter 22", "tok3n"):
        assert secret not in str(caught.value)


def test_a_server_error_is_no_verdict_on_the_credentials(raw, wire):
    raw.token_step = http(503, "<html>maintenance</html>", "text/html")
    with pytest.raises(NoAnswerError, match="answered the sign-in with HTTP 503"):
        sign_in(password_login(raw.url), Desk(wire))
