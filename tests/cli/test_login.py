"""`sfsync login` and `logout` as processes: a browser is a program that answers the local org's page."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sfsync.jobs.session import Session
from sfsync.jobs.status import status_command
from sfsync.local_org import control
from tests.cli.conftest import PROGRAM, environment
from tests.conftest import OrgForTests
from tests.jobs.conftest import Team, fill
from tests.jobs.test_sign_in import by
from tests.support.consent import free_port, press, visit

ROOT = Path(__file__).resolve().parents[2]
TOKEN = re.compile(r"5Aep861\w{20,}|00D\w{12}![\w.]{20,}")


class Desk:
    """A project whose target signs in by a browser, and the commands of one user."""

    def __init__(self, folder: Path, org: OrgForTests) -> None:
        self.org, self.home = org, folder / "home"
        self.team = fill(Team(folder / "team", org))
        self.callback = f"http://localhost:{free_port()}/OauthRedirect"
        self.sign_in(auth="oauth", callback_url=self.callback)
        self.said: list[str] = []

    def sign_in(self, **settings: Any) -> None:
        by(self.team, **settings)

    def env(self, **more: str) -> dict[str, str]:
        none = {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring", "XDG_CONFIG_HOME": str(self.home)}
        kept = {
            n: v for n, v in environment(**none, **more).items() if n not in ("DISPLAY", "WAYLAND_DISPLAY")
        }
        if "BROWSER" not in more:
            kept.pop("BROWSER", None)
        return kept

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        folder, mine = self.team.folder, self.env(**env)
        return subprocess.Popen(
            [*PROGRAM, *args],
            cwd=folder,
            env=mine,
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )

    def end(self, process: subprocess.Popen[str], code: int) -> str:
        out, err = process.communicate(timeout=120)
        self.said.append(out + err)
        assert process.returncode == code, out + err
        return out + err

    def call(self, *args: str, code: int = 0, **env: str) -> str:
        return self.end(self.start(*args, **env), code)

    def log_in(self, *args: str) -> str:
        """With a browser that a person opens at the address that is printed."""
        process = self.start("login", "--no-browser", *args)
        assert process.stderr is not None
        line = process.stderr.readline()
        while "sign in on this page: " not in line:
            assert line, "the process has ended"
            line = process.stderr.readline()
        self.said.append(line)
        visit(press(self.org, line.partition("page: ")[2].strip()).headers["Location"])
        return self.end(process, 0)

    @property
    def logins(self) -> list[Path]:
        return list(self.home.rglob("*.json"))


@pytest.fixture
def desk(tmp_path: Path, org: OrgForTests) -> Desk:
    return Desk(tmp_path, org)


def test_a_day_with_a_login(desk):
    """Sign in once, work without a browser, sign out; nothing of it in the project or in what was said."""
    org = desk.org
    org.local("PUT", "/_local/app", {"rotate_refresh_tokens": True})
    said = desk.call("state", "init", "--empty", code=2)
    assert "nobody is signed in to 127.0.0.1" in said
    assert "Fix: sign in: sfsync login" in said
    said = desk.log_in()
    assert "1 API call, for the org's name, is booked in no account: there is no state yet" in said
    assert f"Signed in as Local Admin <{org.username}>" in said
    assert f"Org: Local Org ({org.org_id}), production, {org.url}" in said
    (path,) = desk.logins
    assert f"The login is kept in {path}" in said
    assert path.stat().st_mode & 0o777 == 0o600
    desk.call("state", "init", "--empty")
    assert "5 to create" in desk.call("plan")
    desk.call("run")
    assert len(org.records("Contact")) == 3
    spent, calls = status_command(desk.team.options()).spent, desk.team.calls()
    assert "The login that is kept works" in desk.call("login")
    assert status_command(desk.team.options()).spent - spent == desk.team.calls() - calls == 1, "it is booked"
    with Session(desk.team.options(), "run") as session:
        session.open_store(write=True)
        said = desk.call("login")
    assert "The login that is kept works" in said
    assert "is booked in no account" in said, "a run at work is no reason not to sign in"
    desk.sign_in(auth="oauth", callback_url=desk.callback, api_limit={"daily_calls": 1})
    said = desk.call("login")
    assert f"Org: {org.org_id}, {org.url}" in said
    assert "the API limit of this project is reached" in said
    desk.sign_in(auth="oauth", callback_url=desk.callback)
    assert desk.call("logout") == (
        f"The login of {org.username} to {org.url.removeprefix('https://')} was revoked at the org and removed from "
        "this machine.\n"
    )
    assert desk.logins == []
    assert desk.call("logout").startswith("No login to 127.0.0.1")
    desk.team.sql("UPDATE raw.accounts SET name = 'Changed'")
    assert "nobody is signed in" in desk.call("run", code=2)
    assert not [text for text in desk.said if TOKEN.search(text)]
    files = [p for p in desk.team.folder.rglob("*") if p.is_file()]
    assert not [p for p in files if TOKEN.search(p.read_bytes().decode("latin-1"))]


def test_the_browser_of_the_machine_is_opened(desk):
    program = f"{sys.executable} {ROOT / 'tests/support/browser_program.py'} %s"
    said = desk.call("login", BROWSER=program, ORG_CA_FILE=str(desk.org.ca_file))
    assert "Signed in as Local Admin" in said
    assert "no browser could be opened" not in said


def test_without_a_browser_the_address_is_all_there_is(desk):
    said = desk.call("login", "--timeout", "1s", code=2)
    assert "no browser could be opened here: open the page by hand" in said
    assert "nobody has signed in" in said


def test_force_replaces_and_revokes_the_login_before(desk):
    desk.log_in()
    (path,) = desk.logins
    before = path.read_text()
    desk.log_in("--force")
    assert desk.logins == [path]
    assert path.read_text() != before
    path.write_text(before)
    path.chmod(0o600)
    assert "sfsync login --force" in desk.call("debug", code=2)


def test_a_login_that_died_is_made_anew_without_force(desk):
    desk.log_in()
    desk.org.local("PUT", "/_local/app", {"rotate_refresh_tokens": False})
    (path,) = desk.logins
    token = re.search(r"5Aep861\w+", path.read_text())
    assert token is not None
    desk.org.session.post(f"{desk.org.url}/services/oauth2/revoke", data={"token": token[0]})
    said = desk.log_in()
    assert "Signed in as Local Admin" in said


def test_a_login_outlives_a_kill_right_after_it_was_renewed(desk):
    """The org has replaced the token, and the first request with the new session is under way."""
    org = desk.org
    org.local("PUT", "/_local/app", {"rotate_refresh_tokens": True})
    desk.log_in()
    desk.call("state", "init", "--empty")
    renewals = [r for r in org.requests() if r["kind"] == "token"]
    org.faults([{"fault": "slow", "match": "/composite", "seconds": 8, "before_work": True}])
    process = desk.start("run")
    until = time.monotonic() + 60
    while len([r for r in org.requests() if r["kind"] == "token"]) == len(renewals):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(1.5)  # it works with the session by now
    process.kill()
    process.communicate()
    org.faults([])
    desk.call("run")
    assert len(org.records("Contact")) == 3


def test_in_ci_nobody_is_asked(desk):
    for args in (("login",), ("login", "--no-browser"), ("login", "--force")):
        said = desk.call(*args, code=2, CI="true")
        assert "nobody can use a browser in CI" in said
        assert "auth: jwt" in said
    assert not [r for r in desk.org.requests() if "authorize" in r["path"]]


def test_a_login_leaves_the_machine_even_if_the_org_cannot_be_told(desk):
    desk.log_in()
    desk.org.faults([{"fault": "maintenance", "times": "always"}])
    said = desk.call("logout", code=1)
    assert "The login lives on there until it is revoked" in said
    assert "removed from this machine" in said
    assert "revoked at the org and" not in said
    assert desk.logins == []


def test_a_login_that_cannot_be_read_can_be_removed(desk):
    desk.log_in()
    (path,) = desk.logins
    path.write_text("{")
    assert "Fix: remove it, and sign in again: sfsync logout, sfsync login" in desk.call("login", code=2)
    said = desk.call("logout", code=1)
    assert "is damaged. The login lives on there until it is revoked" in said
    assert desk.logins == []
    assert "Signed in as" in desk.log_in()


def test_other_ways_to_sign_in_say_who_that_is(desk):
    org = desk.org
    desk.sign_in(auth="jwt", username=org.username, private_key_file=str(org.running.private_key_file))
    said = desk.call("login")
    assert f"<{org.username}>" in said
    assert "signs in by itself (auth: jwt)" in said
    assert "signs in by itself (auth: jwt)" in desk.call("logout")


def test_a_login_to_the_local_org_outlives_its_process(tmp_path, org):
    own = control.start(tmp_path / "org", idle_minutes=5)
    try:
        running = OrgForTests(own, tmp_path / "org")
        running.sign_in()
        desk = Desk(tmp_path, running)
        desk.log_in()
        control.stop(tmp_path / "org")
        control.start(tmp_path / "org", idle_minutes=5)
        assert "The login that is kept works" in desk.call("login")
    finally:
        control.stop(tmp_path / "org")


def test_versions_of_any_org(desk):
    org = desk.org
    desk.sign_in(auth="jwt", username=org.username, private_key_file=str(org.running.private_key_file))
    assert desk.call("org", "versions") == (
        f"Org: {org.url}\nAPI version 67.0: the newest that both sides know\n"
        "Offered: 42.0 to 67.0; sfsync works with 46.0 to 67.0\n"
    )


def test_the_app_is_set_up_before_there_is_one(desk):
    desk.sign_in(auth="oauth", client_id="{{ env_var('SF_NOT_MADE_YET') }}")
    said = desk.call("login", "--setup")
    assert "1. Look through the files" in said
    assert "<ExternalClientApplication" in said
    assert (desk.team.folder / "target/setup/sfdx-project.json").exists()
    assert "--run-as goes with --setup" in desk.call("login", "--run-as", "x", code=2)
