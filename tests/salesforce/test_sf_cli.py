"""Logins of Salesforce's CLI: a program in its place on the PATH, and the real one where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sfsync.errors import AuthError
from sfsync.ports import SystemClock
from sfsync.salesforce import sf_cli
from sfsync.salesforce.auth import Desk, sign_in
from sfsync.salesforce.login import Login, id18
from sfsync.salesforce.sign_in_words import WORDS
from sfsync.salesforce.transport import Transport

PROGRAM = Path(__file__).resolve().parents[1] / "support/sf_program.py"
REAL = shutil.which("sf")
LOGIN = Login("sf_cli", "sf:dev", target_org="dev")


class Cli:
    """What the program in the place of `sf` knows and did."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "sf.json"
        self.set()

    def set(self, **state: Any) -> None:
        self.file.write_text(json.dumps({"orgs": {}} | state))

    @property
    def asked(self) -> list[str]:
        log = self.file.with_suffix(".log")
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    program = tmp_path / "bin/sf"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{PROGRAM}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv("SF_STATE", str(tmp_path / "sf.json"))
    return Cli(tmp_path)


@pytest.fixture
def desk(org: Any) -> Iterator[Desk]:
    transport = Transport(ca_file=org.ca_file)
    yield Desk(transport, SystemClock())
    transport.close()


def known(org: Any, token: str | None = None) -> dict[str, Any]:
    """An org as `sf org display --json` tells it."""
    found = {
        "id": org.org_id,
        "apiVersion": "67.0",
        "accessToken": token or org.sign_in(),
        "instanceUrl": org.url,
        "username": org.username,
        "clientId": "PlatformCLI",
        "connectedStatus": "Connected",
        "alias": "dev",
    }
    return {"dev": found}


@pytest.mark.parametrize("hides", [False, True], ids=["before 2.136", "from 2.136 on"])
def test_a_login_is_borrowed(org, desk, cli, hides):
    orgs = known(org)
    cli.set(orgs=orgs, hides=hides)
    token = sign_in(LOGIN, desk)
    assert (token.org_id, token.instance_url) == (id18(org.org_id), org.url)
    assert token.access_token == orgs["dev"]["accessToken"]
    assert cli.asked == ["org display", *(["org auth show-access-token"] if hides else [])]


def test_no_cli(desk, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AuthError, match="`sf`, Salesforce's CLI, is not on the PATH") as caught:
        sign_in(LOGIN, desk)
    assert "npm install" in str(caught.value.fix)


def test_an_org_that_the_cli_does_not_know(desk, cli):
    with pytest.raises(AuthError, match="knows no org 'dev'") as caught:
        sign_in(LOGIN, desk)
    assert caught.value.fix == "see `sf org list`, or sign in: sf org login web --alias dev"


FAILED = [  # id, state, message, part of the fix
    ("login ended", {"fails": {"name": "RefreshTokenAuthError", "message": "Error authenticating with the refresh token due "
        "to: expired access/refresh token"}}, "has for 'dev' has ended: Error authenticating", "sf org login web --alias dev"),
    ("something else", {"fails": {"name": "X", "message": "The sky is falling."}},
        r"`sf org display` failed with exit code 1: The sky is falling\.", "by hand"),
    ("no JSON", {"prints": "hello"}, "`sf org display` failed with exit code 0: it printed no JSON", "by hand"),
    ("half a JSON", {"prints": '{"status": 0, "result": {', "code": 0}, "exit code 0: it printed no JSON", "by hand"),
    ("hidden for good", {"hides": "always"}, "has no command `sf org auth show-access-token`", "sf update"),
]  # fmt: skip


@pytest.mark.parametrize(("state", "message", "fix"), [c[1:] for c in FAILED], ids=[c[0] for c in FAILED])
def test_what_the_cli_says_is_told(org, desk, cli, state, message, fix):
    cli.set(orgs=known(org), **state)
    with pytest.raises(AuthError, match=message) as caught:
        sign_in(LOGIN, desk)
    assert fix in str(caught.value.fix)


def test_a_token_in_an_error_of_the_cli_is_not_shown(org, desk, cli):
    token = "00D5g00000AbCdE!" + "x" * 40  # which nobody has registered yet
    cli.set(fails={"name": "X", "message": f"cannot use {token} now"})
    with pytest.raises(AuthError, match=r"cannot use \*{8} now"):
        sign_in(LOGIN, desk)


def test_a_token_that_died_and_that_the_cli_cannot_renew(org, desk, cli):
    cli.set(orgs=known(org, org.org_id[:15] + "!dead.token"))
    (row,) = [row for row in WORDS if "sf_cli" in row.types]
    with pytest.raises(AuthError, match=row.says) as caught:
        sign_in(LOGIN, desk)
    assert caught.value.fix == row.fix_of("sf_cli")
    assert "sf org login web" in str(caught.value.fix)


def test_a_cli_that_does_not_end(desk, cli, monkeypatch):
    monkeypatch.setattr(sf_cli, "TIMEOUT_S", 0.5)
    cli.set(takes=5)
    with pytest.raises(AuthError, match=r"did not end within 0.5 s"):
        sign_in(LOGIN, desk)


def test_an_org_without_an_address(org, desk, cli):
    cli.set(orgs={"dev": {"accessToken": "00D5g00000AbCdE!x"}})
    with pytest.raises(AuthError, match="does not tell the address of 'dev'"):
        sign_in(LOGIN, desk)


@pytest.mark.skipif(REAL is None, reason="needs Salesforce's CLI, `sf`, on the PATH")
def test_the_real_cli(org, desk, tmp_path, monkeypatch):
    """It signs in to the local org by a token and by a JWT, and lends both logins."""
    private = {
        "HOME": str(tmp_path),
        "NODE_EXTRA_CA_CERTS": str(org.ca_file),
        "SF_USE_GENERIC_UNIX_KEYCHAIN": "true",
        "SFDX_DISABLE_DNS_CHECK": "true",
        "SF_DISABLE_TELEMETRY": "true",
        "SF_AUTOUPDATE_DISABLE": "true",
    }
    for name, value in private.items():
        monkeypatch.setenv(name, value)

    def run(*args: str, **env: str) -> str:
        command = [str(REAL), *args, "--json"]
        done = subprocess.run(
            command,
            env=os.environ | env,
            capture_output=True,
            text=True,
            timeout=180,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    login = ("org", "login")
    run(
        *login,
        "access-token",
        "--instance-url",
        org.url,
        "--no-prompt",
        "--alias",
        "dev",
        SF_ACCESS_TOKEN=org.sign_in(),
    )
    assert sign_in(LOGIN, desk).org_id == id18(org.org_id)
    key = str(org.running.private_key_file)
    run(*login, "jwt", "--username", org.username, "--jwt-key-file", key, "--client-id", org.client_id,
        "--instance-url", org.url, "--alias", "by-jwt", SF_AUDIENCE_URL=org.url)  # fmt: skip
    assert sign_in(Login("sf_cli", "sf:x", target_org="by-jwt"), desk).org_id == id18(org.org_id)
    with pytest.raises(AuthError, match="knows no org 'nobody'"):
        sign_in(Login("sf_cli", "sf:x", target_org="nobody"), desk)
