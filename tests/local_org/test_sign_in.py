"""The local org's ways to sign in beyond passwords: the page, codes with PKCE, refresh tokens, JWTs, the app's settings."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from sfsync.errors import OrgError
from sfsync.local_org.app import App
from sfsync.local_org.consents import CODE_S, Consents
from sfsync.local_org.control import JWT_KEY as KEY
from tests.support.consent import CALLBACK, came_back, exchange, press, question, refresh_token

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def app(org: Any, **settings: Any) -> None:
    org.local("PUT", "/_local/app", settings)


def token(org: Any, **form: str) -> Any:
    return org.session.post(f"{org.url}/services/oauth2/token", data=form, headers={"Authorization": None})


def refreshed(org: Any, text: str, **more: str) -> Any:
    return token(org, grant_type="refresh_token", refresh_token=text, client_id=org.client_id, **more)


def works(org: Any, access_token: str) -> bool:
    return bool(org.get("/limits", headers={"Authorization": f"Bearer {access_token}"}).ok)


def said(answer: Any) -> tuple[int, str, str]:
    body = answer.json()
    return answer.status_code, body["error"], body["error_description"]


# The page and the code


def test_a_code_is_exchanged_for_a_session_that_can_be_renewed(org):
    page = org.session.get(question(org), headers={"Authorization": None})
    assert "Allow" in page.text
    assert org.username in page.text
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    answer = press(org, question(org))
    assert answer.headers["Location"].startswith(CALLBACK + "?")
    brought = came_back(answer)
    assert brought["state"] == "s t a t e"
    body = exchange(org, brought["code"]).json()
    assert body["scope"] == "api refresh_token"
    assert works(org, body["access_token"])
    again = refreshed(org, body["refresh_token"]).json()
    assert works(org, again["access_token"])
    assert "refresh_token" not in again  # rotation is off unless the app says so


def test_a_code_works_once(org):
    code = came_back(press(org, question(org)))["code"]
    assert exchange(org, code).ok
    assert said(exchange(org, code)) == (400, "invalid_grant", "expired authorization code")


def test_a_code_is_used_up_by_a_wrong_verifier(org):
    """Or whoever has caught the code could go on guessing."""
    code = came_back(press(org, question(org)))["code"]
    assert said(exchange(org, code, code_verifier="x")) == (400, "invalid_grant", "invalid code verifier")
    assert said(exchange(org, code)) == (400, "invalid_grant", "expired authorization code")


def test_a_code_belongs_to_its_callback(org):
    code = came_back(press(org, question(org)))["code"]
    answer = exchange(org, code, redirect_uri="http://localhost:1/other")
    assert said(answer) == (400, "redirect_uri_mismatch", "redirect_uri must match configuration")


def test_a_challenge_without_a_method_is_s256(org):
    code = came_back(press(org, question(org, code_challenge_method=None)))["code"]
    assert exchange(org, code).ok
    assert not exchange(org, came_back(press(org, question(org)))["code"], code_verifier=None).ok


def test_a_code_lives_a_quarter_of_an_hour(tmp_path):
    now = [1000.0]
    consents = Consents(tmp_path, lambda: now[0])
    code = consents.allow("app", CALLBACK, "", "api")
    now[0] += CODE_S + 1
    assert consents.exchange(code) is None


def test_denial_goes_back_to_the_app(org):
    assert came_back(press(org, question(org), "deny")) == {
        "error": "access_denied",
        "error_description": "end-user denied authorization",
        "state": "s t a t e",
    }


SHOWN = [  # id, changes to the question, settings, part of the page: nobody is sent to an address that may be a stranger's
    ("unknown app", {"client_id": "x"}, {}, "error=invalid_client_id"),
    ("unknown callback", {}, {"callback_urls": ["http://localhost:9/x"]}, "error=redirect_uri_mismatch"),
    ("callback elsewhere", {"redirect_uri": "https://evil.example/"}, {}, "error=redirect_uri_mismatch"),
    ("no callback", {"redirect_uri": None}, {}, "error=redirect_uri_mismatch"),
]


@pytest.mark.parametrize(("changes", "settings", "part"), [c[1:] for c in SHOWN], ids=[c[0] for c in SHOWN])
def test_what_is_wrong_with_the_app_is_shown_on_the_orgs_own_page(org, changes, settings, part):
    app(org, **settings)
    answer = press(org, question(org, **changes))
    assert answer.status_code == 400
    assert part in answer.text


def test_other_refusals_go_back(org):
    app(org, blocked=True)
    assert came_back(press(org, question(org)))["error"] == "OAUTH_APP_BLOCKED"
    app(org, blocked=False)
    assert came_back(press(org, question(org, scope="api everything")))["error"] == "invalid_scope"
    assert came_back(press(org, question(org, response_type="token")))["error"] == "unsupported_response_type"


def test_only_the_page_itself_presses_its_buttons(org):
    """A form of another site, which knows all but the seal."""
    form = {
        "client_id": org.client_id,
        "redirect_uri": CALLBACK,
        "response_type": "code",
        "decision": "allow",
    }
    for seal in ({}, {"seal": "0" * 64}):
        answer = org.session.post(
            f"{org.url}/services/oauth2/authorize", data=form | seal, allow_redirects=False
        )
        assert (answer.status_code, "not made by the org" in answer.text) == (400, True)


# Refresh tokens


def test_rotation_ends_the_token_before_and_a_copy_of_it_ends_all(org):
    app(org, rotate_refresh_tokens=True)
    first = refresh_token(org)
    second = refreshed(org, first).json()
    assert second["refresh_token"] != first
    third = refreshed(org, second["refresh_token"]).json()
    assert works(org, third["access_token"])
    expired = (400, "invalid_grant", "expired access/refresh token")
    assert said(refreshed(org, first)) == expired  # somebody has a copy
    assert said(refreshed(org, third["refresh_token"])) == expired
    assert not works(org, third["access_token"])


def test_revoking_a_refresh_token_ends_its_sessions(org):
    text = refresh_token(org)
    session = refreshed(org, text).json()["access_token"]
    assert org.session.post(f"{org.url}/services/oauth2/revoke", data={"token": text}).status_code == 200
    assert not works(org, session)
    assert not refreshed(org, text).ok
    assert org.session.post(f"{org.url}/services/oauth2/revoke", data={"token": text}).status_code == 400


def test_an_app_without_the_scope_gives_no_refresh_token(org):
    app(org, offline_access=False)
    body = exchange(org, came_back(press(org, question(org)))["code"]).json()
    assert "refresh_token" not in body
    app(org, offline_access=True)
    body = exchange(org, came_back(press(org, question(org, scope="api")))["code"]).json()
    assert "refresh_token" not in body


def test_the_secret_is_looked_at_when_it_comes_and_when_it_must(org):
    text = refresh_token(org)
    assert said(refreshed(org, text, client_secret="x"))[1] == "invalid_client"
    app(org, secret_required=True)
    assert said(refreshed(org, text))[1] == "invalid_client"
    assert refreshed(org, text, client_secret=org.client_secret).ok


def test_refresh_tokens_outlive_the_process_and_are_kept_as_digests(tmp_path):
    text, _ = Consents(tmp_path, time.time).begin("api refresh_token")
    kept = tmp_path / "consents.json"
    assert text not in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0
    later = Consents(tmp_path, time.time)
    family = later.family_of(text)
    assert family is not None
    newer = later.rotate(family)
    assert Consents(tmp_path, time.time).family_of(newer) is not None
    kept.write_text("[{]")
    assert Consents(tmp_path, time.time).family_of(newer) is None


# JWT bearer


def signed(org: Any, key: str | None = None, algorithm: str = "RS256", **changes: Any) -> str:
    claims = {
        "iss": org.client_id,
        "sub": org.username,
        "aud": "https://login.salesforce.com",
        "exp": int(time.time()) + 180,
    } | changes
    pem = key or (Path(org.folder) / KEY).read_text()
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, pem, algorithm=algorithm)


def by_jwt(org: Any, assertion: str) -> Any:
    return token(org, grant_type=JWT_BEARER, assertion=assertion)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"exp": f"{time.time() + 36_000:.0f}"},  # simple-salesforce sends a text
        {"exp": int((time.time() + 36_000) * 1000)},  # the sf CLI sends milliseconds
        {"aud": "https://login.salesforce.com/"},
    ],
    ids=["seconds", "text", "milliseconds", "slash"],
)
def test_a_signed_jwt_gives_a_session(org, changes):
    answer = by_jwt(org, signed(org, **changes))
    assert answer.ok, answer.text
    assert works(org, answer.json()["access_token"])
    assert "refresh_token" not in answer.json()
    assert by_jwt(org, signed(org, aud=org.url)).ok


WRONG = [  # id, changes, error, description
    ("other host", {"aud": "https://test.salesforce.com"}, "invalid_grant", "audience is invalid"),
    ("too old", {"exp": int(time.time()) - 5}, "invalid_grant", "expired authorization code"),
    ("no time", {"exp": None}, "invalid_grant", "invalid assertion"),
    ("unknown user", {"sub": "nobody@x.example"}, "invalid_grant", "user hasn't approved this consumer"),
    ("inactive user", {"sub": "otto.vogel@local.sfsync.example"}, "invalid_grant", "inactive user"),
    ("unknown app", {"iss": "x"}, "invalid_client_id", "client identifier invalid"),
]  # fmt: skip


def test_a_jwt_signs_in_the_user_that_it_names(org):
    token = by_jwt(org, signed(org, sub="ADA.marsh@local.sfsync.example")).json()["access_token"]
    who = org.request("GET", "/services/oauth2/userinfo", headers={"Authorization": f"Bearer {token}"}).json()
    assert who["preferred_username"] == "ada.marsh@local.sfsync.example"


@pytest.mark.parametrize(("changes", "error", "text"), [c[1:] for c in WRONG], ids=[c[0] for c in WRONG])
def test_a_jwt_that_is_refused(org, changes, error, text):
    assert said(by_jwt(org, signed(org, **changes))) == (400, error, text)


def test_a_jwt_of_a_stranger(org, raw_key):
    strange = signed(org, raw_key)
    good = signed(org).split(".")
    other = signed(org, sub="ada.marsh@local.sfsync.example").split(".")
    swapped = ".".join([good[0], other[1], good[2]])
    for text in (strange, swapped, signed(org, "s" * 32, "HS256"), "", "a.b", "a.b.c", "..."):
        assert said(by_jwt(org, text)) == (400, "invalid_grant", "invalid assertion")


@pytest.fixture(scope="module")
def raw_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem.decode()


# The app's settings


def test_settings_of_the_app_refuse_in_the_platforms_words(org):
    basic = {
        "grant_type": "client_credentials",
        "client_id": org.client_id,
        "client_secret": org.client_secret,
    }
    app(org, run_as=False)
    assert said(token(org, **basic)) == (400, "invalid_grant", "no client credentials user enabled")
    app(org, run_as=True, ip_restricted=True)
    assert said(token(org, **basic)) == (400, "invalid_grant", "ip restricted")
    app(org, ip_restricted=False, blocked=True)
    assert said(token(org, **basic))[1] == "OAUTH_APP_BLOCKED"
    app(org, blocked=False, flows=["password"])
    assert said(token(org, **basic)) == (400, "unsupported_grant_type", "grant type not supported")
    app(org, flows=list(App().flows), approved=False)
    assert said(by_jwt(org, signed(org)))[2] == "user hasn't approved this consumer"
    org.local("POST", "/_local/reset")
    assert by_jwt(org, signed(org)).ok


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"rotate": True}, "no setting 'rotate'"),
        ({"blocked": "yes"}, "'blocked' is true or false"),
        ({"flows": ["telepathy"]}, "no flow 'telepathy'"),
        ({"callback_urls": "http://localhost"}, "a list of texts"),
        ([], "are an object"),
    ],
)
def test_a_setting_that_there_is_not(org, settings, part):
    with pytest.raises(OrgError, match=part):
        org.local("PUT", "/_local/app", settings)
