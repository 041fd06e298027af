"""Signing in by a browser: the local org's page answered as a browser does, over HTTPS and a real callback."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests

from sfsync.errors import AuthError, OrgError
from sfsync.ports import SystemClock
from sfsync.salesforce.auth import Desk, sign_in
from sfsync.salesforce.browser import SCOPE, log_in, question, revoke
from sfsync.salesforce.login import Login, id18
from sfsync.salesforce.logins import Kept, Logins
from sfsync.salesforce.sign_in_words import WORDS, Words
from sfsync.salesforce.transport import Transport
from tests.support.consent import free_port, press, visit

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def logins(tmp_path: Path) -> Logins:
    return Logins(tmp_path / "config", keyring=False)


@pytest.fixture
def desk(org: Any, logins: Logins) -> Iterator[Desk]:
    transport = Transport(ca_file=org.ca_file)
    yield Desk(transport, SystemClock(), logins)
    transport.close()


@pytest.fixture
def login(org: Any) -> Login:
    callback = f"http://localhost:{free_port()}/OauthRedirect"
    return Login("oauth", org.url, client_id=org.client_id, callback_url=callback)


class Browser:
    """Presses a button and goes where the org sends it, in a thread of its own as a browser is a program of its own."""

    def __init__(
        self, org: Any, decision: str = "allow", before: Callable[[str], None] | None = None
    ) -> None:
        self.org, self.decision, self.before = org, decision, before
        self.pages: list[requests.Response] = []
        self._thread: threading.Thread | None = None

    def __call__(self, url: str) -> None:
        self._thread = threading.Thread(target=self._use, args=(url,))
        self._thread.start()

    def _use(self, url: str) -> None:
        if self.before is not None:
            self.before(url)
        answer = press(self.org, url, self.decision)
        if answer.status_code == 302:
            self.pages.append(visit(answer.headers["Location"]))

    def page(self) -> requests.Response:
        assert self._thread is not None
        self._thread.join(20)
        return self.pages[0]


def try_login(
    login: Login, desk: Desk, logins: Logins, show: Callable[[str], None], timeout_s: float = 20
) -> Kept:
    return log_in(login, desk, logins, show=show, timeout_s=timeout_s).kept


def test_a_user_signs_in_and_stays_signed_in(org, login, desk, logins):
    browser = Browser(org)
    made = log_in(login, desk, logins, show=browser, timeout_s=20)
    page = browser.page()
    assert page.status_code == 200
    assert f"signed in as {org.username}. You can close this page" in page.text
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert made.kept.username == org.username
    assert Path(made.place).stat().st_mode & 0o777 == 0o600
    for _ in range(2):
        token = sign_in(login, desk)
        assert token.org_id == id18(org.org_id)
        assert org.get("/limits", headers={"Authorization": f"Bearer {token.access_token}"}).ok


def test_the_question_is_asked_as_the_platform_wants_it(login):
    asked = question(login)
    query = {name: values[0] for name, values in parse_qs(urlsplit(asked.url).query).items()}
    assert urlsplit(asked.url).path == "/services/oauth2/authorize"
    assert (query["response_type"], query["code_challenge_method"], query["scope"]) == ("code", "S256", SCOPE)
    assert query["redirect_uri"] == login.callback_url
    assert 43 <= len(asked.verifier) <= 128  # RFC 7636, 4.1
    assert re.fullmatch(r"[\w-]{43}", query["code_challenge"])
    assert asked.verifier not in asked.url
    assert question(login).state != asked.state


def test_with_rotation_the_kept_token_moves_on(org, login, desk, logins):
    org.local("PUT", "/_local/app", {"rotate_refresh_tokens": True})
    first = try_login(login, desk, logins, Browser(org))
    sign_in(login, desk)
    sign_in(login, desk)
    now = logins.find(logins.name_of(login))
    assert now is not None
    assert now.refresh_token != first.refresh_token
    assert now.username == org.username


def test_strangers_cannot_answer_or_end_the_sign_in(org, login, desk, logins):
    """Pages that the browser has open may call any address of this machine; they do not know the state."""
    seen: list[int] = []

    def disturb(url: str) -> None:
        idle = socket.create_connection(("127.0.0.1", urlsplit(login.callback_url).port))  # browsers do so
        self_made = [{"code": "x"}, {"code": "x", "state": "guess"}, {"error": "access_denied", "state": ""}]
        seen.extend(visit(f"{login.callback_url}?{urlencode(one)}").status_code for one in self_made)
        seen.append(visit(login.callback_url.replace("OauthRedirect", "favicon.ico")).status_code)
        seen.append(int(idle.fileno() > 0))

    browser = Browser(org, before=disturb)
    assert try_login(login, desk, logins, browser).username == org.username
    assert seen == [400, 400, 400, 404, 1]


def test_an_answer_counts_once(org, login, desk, logins):
    pages = []

    def twice(url: str) -> None:
        address = press(org, url).headers["Location"]
        threads = [threading.Thread(target=lambda: pages.append(visit(address))) for _ in range(3)]
        for thread in threads:
            thread.start()

    assert try_login(login, desk, logins, twice).username == org.username
    assert len([r for r in org.requests() if r["path"] == "/services/oauth2/token"]) == 1


def test_denied_in_the_browser(org, login, desk, logins):
    browser = Browser(org, "deny")
    with pytest.raises(AuthError, match="access was denied in the browser"):
        try_login(login, desk, logins, browser)
    assert "Sign-in failed" in browser.page().text
    assert logins.find(logins.name_of(login)) is None


def test_nobody_answers(login, desk, logins):
    with pytest.raises(AuthError, match=r"nobody has signed in to .* within 0.2 s") as caught:
        try_login(login, desk, logins, lambda url: None, 0.2)
    assert login.callback_url in str(caught.value.fix)
    with socket.create_server(("127.0.0.1", urlsplit(login.callback_url).port)):
        pass  # the port is free again


def test_an_answer_at_the_last_moment_counts(org, login, desk, logins):
    """The code is being exchanged when the time is up."""
    org.faults([{"fault": "slow", "match": "/oauth2/token", "seconds": 2}])
    assert try_login(login, desk, logins, Browser(org), 1.5).username == org.username


def test_the_port_is_taken(login, desk, logins):
    for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
        try:
            taken = socket.create_server((host, urlsplit(login.callback_url).port), family=family)
        except OSError:
            continue  # no IPv6 here
        with taken, pytest.raises(AuthError, match="cannot be used: Address already in use") as caught:
            try_login(login, desk, logins, lambda url: None)
        assert "callback_url" in str(caught.value.fix)


def test_an_app_without_the_scope_is_named_and_its_session_ended(org, login, desk, logins):
    org.local("PUT", "/_local/app", {"offline_access": False})
    with pytest.raises(AuthError, match="gave no refresh token") as caught:
        try_login(login, desk, logins, Browser(org))
    assert "refresh_token" in str(caught.value.fix)
    assert [r["path"] for r in org.requests()][-1] == "/services/oauth2/revoke"


def test_another_user_than_the_profile_asks_for(org, login, desk, logins):
    wanted = replace(login, username="ada@acme.example")
    with pytest.raises(AuthError, match=f"{org.username} has signed in to .* asks for ada@acme.example"):
        try_login(wanted, desk, logins, Browser(org))
    assert logins.find(logins.name_of(wanted)) is None
    assert org.requests()[-1]["path"] == "/services/oauth2/revoke"
    right = replace(login, username=org.username.upper())
    assert try_login(right, desk, logins, Browser(org)).username == org.username


def test_a_login_that_cannot_be_kept_does_not_live_on_at_the_org(org, login, desk, logins, tmp_path):
    (tmp_path / "config").write_text("no folder")
    with pytest.raises(AuthError, match="which cannot be kept"):
        try_login(login, desk, logins, Browser(org))
    assert org.requests()[-1]["path"] == "/services/oauth2/revoke"


def test_nobody_is_signed_in(login, desk):
    with pytest.raises(AuthError, match=r"nobody is signed in to 127\.0\.0\.1") as caught:
        sign_in(login, desk)
    assert "sfsync login" in str(caught.value.fix)
    assert caught.value.exit_code == 2


def test_a_revoked_login_is_told_from_one_that_never_was(org, login, desk, logins):
    kept = try_login(login, desk, logins, Browser(org))
    assert revoke(login, desk, kept.refresh_token) is True
    assert revoke(login, desk, kept.refresh_token) is False
    with pytest.raises(AuthError, match="has expired, was revoked") as caught:
        sign_in(login, desk)
    assert "sfsync login --force" in str(caught.value.fix)
    org.faults([{"fault": "maintenance", "times": "always"}])
    with pytest.raises(OrgError, match="answered the revocation with HTTP 503"):
        revoke(login, desk, "5Aep861x")


# Each refusal of the table by a browser's login: of the code, and of the refresh token that is kept


ROWS = [row for row in WORDS if "oauth" in row.types]
AT_THE_CODE = {"code too late", "wrong code verifier", "callback not registered", "denied", "scope not allowed", "browser flow not offered"}  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {  # what the local org refuses by itself
    "not approved": {"approved": False},
    "network not allowed": {"ip_restricted": True},
    "wrong consumer secret": {"secret_required": True},
    "flow not offered": {"flows": []},
    "browser flow not offered": {"flows": ["password"]},
    "app blocked": {"blocked": True},
}


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_each_refusal_has_its_words_and_next_step(org, login, desk, logins, row: Words):
    at_the_code = row.name in AT_THE_CODE
    if not at_the_code:
        try_login(login, desk, logins, Browser(org))
    if row.name in SETTINGS:
        org.local("PUT", "/_local/app", SETTINGS[row.name])
    elif row.name != "denied":
        org.faults(
            [{"fault": "sign_in_refused", "error": row.error, "description": row.part or "whatever it says"}]
        )
    browser = Browser(org, "deny" if row.name == "denied" else "allow")
    with pytest.raises(AuthError) as caught:
        _ = try_login(login, desk, logins, browser) if at_the_code else sign_in(login, desk)
    error = caught.value
    assert row.says in error.what
    assert error.fix == row.fix_of("oauth")
    assert (error.exit_code, str(error.code).lower()) == (2, row.error)


# The system's keyring


USE = """
import sys
from pathlib import Path
from sfsync.salesforce.logins import Kept, Logins
logins, verb = Logins(Path(sys.argv[1])), sys.argv[2]
kept = Kept("https://x", "app", "https://x", "00D", "005", "ada@x", "5Aep861kept", "2026-01-01T00:00:00Z")
print({"keep": lambda: logins.keep("x-1", kept), "find": lambda: logins.find("x-1") == kept,
       "drop": lambda: logins.drop("x-1")}[verb]())
"""


class Ring:
    """Processes that keep a login, one after another."""

    def __init__(self, folder: Path, backend: str) -> None:
        self.folder, self.file = folder, folder / "ring.json"
        self.env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
            "PYTHON_KEYRING_BACKEND": backend,
            "RING_FILE": str(self.file),
        }

    def __call__(self, verb: str) -> str:
        command = [sys.executable, "-c", USE, str(self.folder / "config"), verb]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @property
    def files(self) -> list[str]:
        return [path.name for path in (self.folder / "config").rglob("*.json")]


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    pytest.importorskip("keyring")
    return Ring(tmp_path, "tests.support.ring.FileRing")


def test_a_keyring_is_used_before_any_file(ring):
    assert ring("find") == "False"
    assert ring("keep") == "the system's keyring"
    assert ring.files == []
    assert "5Aep861kept" in ring.file.read_text()
    assert (ring("find"), ring("drop"), ring("find"), ring("drop")) == ("True", "True", "False", "False")


@pytest.mark.parametrize("state", ["locked", "broken"])
def test_a_login_moves_from_a_file_into_the_keyring(ring, state):
    ring.file.write_text(state)
    assert ring("keep") == str(ring.folder / "config/logins/x-1.json")
    assert ring("find") == "True"
    ring.file.write_text("{}")
    assert ring("find") == "True"  # still from the file
    assert ring("keep") == "the system's keyring"
    assert ring.files == []


def test_a_keyring_that_keeps_nothing_is_not_used(tmp_path):
    pytest.importorskip("keyring")
    for name in ("keyring.backends.null.Keyring", "keyring.backends.fail.Keyring"):
        ring = Ring(tmp_path, name)
        assert ring("keep").endswith("x-1.json")
        assert ring("drop") == "True"
