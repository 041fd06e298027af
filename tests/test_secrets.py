"""No secret that a project uses is written anywhere: no log, error, artifact, table of the state, spool or run file.

Real processes with the loudest logs, against an org that refuses sign-ins and rows and, as bad gateways do, sends back
what it was sent: headers with tokens and forms with passwords, in its words for a whole call and for single rows.
"""

from __future__ import annotations

import json
import re
import secrets
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.cli.conftest import PROGRAM, environment
from tests.conftest import OrgForTests
from tests.jobs.conftest import STATE, Team, fill
from tests.support import doomed
from tests.support.consent import refresh_token

SETTINGS = (
    *("username", "password", "security_token", "client_id", "client_secret", "access_token"),
    *("private_key", "refresh_token"),
)


class Watched:
    """A project whose secrets all come from the environment, and everything that its commands said."""

    def __init__(self, folder: Path, org: OrgForTests) -> None:
        self.org, self.home = org, folder.parent / "config"
        self.team = fill(Team(folder, org))
        self.env: dict[str, str] = {}
        self.said: list[str] = []
        self.secrets: dict[str, str] = {}
        self.by_password()

    def by_password(self, **wrong: str) -> None:
        org = self.org
        names = ("password", "security_token", "client_secret")
        secret = {name: wrong.get(name, str(getattr(org, name))) for name in names}
        self._sign_in("password", secret, username=org.username, client_id=org.client_id)

    def by_token(self, token: str) -> None:
        self._sign_in("access_token", {"access_token": token}, instance_url=self.org.url)

    def by_jwt(self) -> None:
        pem = self.org.running.private_key_file.read_text()
        self._sign_in("jwt", {"private_key": pem}, username=self.org.username, client_id=self.org.client_id)
        lines = pem.splitlines()[1:-1]
        self.secrets |= {
            f"line {number} of the key": line for number, line in enumerate(lines) if len(line) > 20
        }

    def by_refresh_token(self) -> None:
        self._sign_in(
            "refresh_token", {"refresh_token": refresh_token(self.org)}, client_id=self.org.client_id
        )

    def _sign_in(self, auth: str, secret: dict[str, str], **more: str) -> None:
        without = dict.fromkeys(SETTINGS)
        settings = (
            {"auth": auth} | {name: f"{{{{ env_var('SF_{name.upper()}') }}}}" for name in secret} | more
        )
        if auth == "access_token":
            without |= {"domain": None}
        self.env = {f"SF_{name.upper()}": value for name, value in secret.items()}
        self.secrets |= {f"{name} {value[:2]}": value for name, value in secret.items()}
        self.team.profile(**(without | settings))
        profile = self.team.folder / "profiles.yml"
        kept = [line for line in profile.read_text().splitlines() if not line.endswith(": null")]
        profile.write_text("\n".join(kept) + "\n")

    def call(self, *args: str, code: int, **env: str) -> None:
        """A command, with all that it can say."""
        kept = {
            "XDG_CONFIG_HOME": str(self.home),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        }
        more = {"SFSYNC_DEBUG": "1"} | kept | self.env | env
        done = subprocess.run(
            [*PROGRAM, *args],
            cwd=self.team.folder,
            env=environment(**more),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        said = f"$ sfsync {' '.join(args)}\n{done.stdout}\n{done.stderr}"
        self.said.append(said)
        assert done.returncode == code, said

    def found(self) -> list[str]:
        """Where a secret stands: in what was said, in the bytes of any file, in any text of the state."""
        token = re.compile(
            re.escape(self.org.org_id[:15]) + r"![\w.]{8,}|5Aep861\w{8,}|eyJ[\w-]{8,}\.[\w-]{8,}"
        )
        where = []
        for name, text in self._texts():
            where += [f"{secret} in {name}" for secret, value in self.secrets.items() if value in text]
            where += [f"a session's token in {name}" for _ in token.findall(text)[:1]]
        return where

    def _texts(self) -> list[tuple[str, str]]:
        texts = [(said.split("\n", 1)[0], said) for said in self.said]
        for path in sorted(self.team.folder.rglob("*")):
            if path.is_file():
                texts.append((str(path.relative_to(self.team.folder)), path.read_bytes().decode("latin-1")))
        return texts + columns(self.team.folder / STATE)


def columns(state: Path) -> list[tuple[str, str]]:
    """All texts of each column: a packed page of the file may hide what stands there."""
    with duckdb.connect(str(state), read_only=True) as db:
        listed = db.execute(
            "SELECT schema_name, table_name, column_name FROM duckdb_columns()"
            " WHERE NOT internal AND data_type = 'VARCHAR'"
        ).fetchall()
        return [
            (
                f"{schema}.{table}.{column}",
                str(
                    db.execute(f'SELECT string_agg("{column}", chr(10)) FROM "{schema}"."{table}"').fetchone()
                ),
            )
            for schema, table, column in listed
        ]


@pytest.fixture
def watched(tmp_path: Path, org: OrgForTests) -> Watched:
    return Watched(tmp_path / "team", org)


def echo(*values: str) -> str:
    return "refused: " + ", ".join(values)


def test_no_secret_is_left_anywhere(watched: Watched) -> None:
    org, team = watched.org, watched.team
    mine = [org.password, org.client_secret, org.security_token]
    watched.call("state", "init", "--empty", code=0)
    watched.call("debug", code=0)
    watched.call("plan", "--format", "json", code=0)
    # The org's own words, with our form in them, for a whole call of rows; in JSON and in lines.
    body = json.dumps([{"errorCode": "FIELD_INTEGRITY_EXCEPTION", "message": echo(*mine)}])
    refusal = {"fault": "status", "match": "/composite", "status": 400, "body": body, "times": "always"}
    org.faults([refusal])
    watched.call("run", "--log-format", "json", code=1)
    team.sync("contacts", push={"api": "bulk"})
    org.faults([refusal | {"match": "/jobs"}, refusal | {"status": 500}])
    watched.call("run", code=1)
    refused: dict[str, Any] = {"fault": "sign_in_refused", "description": echo(*mine, org.username)}
    org.faults([refused])
    watched.call("retry", code=2)
    watched.call("debug", "--log-format", "json", code=2)
    watched.by_password(password="wrong-" + secrets.token_hex(8))
    org.faults([])
    watched.call("retry", code=2)
    assert watched.found() == []


def test_a_token_that_the_org_sends_back_is_left_nowhere(watched: Watched) -> None:
    """In the words for a whole call, for single rows, in a page of a gateway, and in the files of a run that was killed."""
    org, team = watched.org, watched.team
    token = org.sign_in()
    watched.by_token(token)
    watched.call("state", "init", "--empty", code=0)
    said = echo(f"Authorization: Bearer {token}")
    page = {
        "fault": "status",
        "match": "/composite",
        "status": 502,
        "body": f"<html><body>{said}</body></html>",
    }
    rows = [{"success": False, "errors": [{"statusCode": "FIELD_INTEGRITY_EXCEPTION", "message": said}]}]
    garbled = {"fault": "garbled", "match": "PATCH /composite", "body": json.dumps(rows * 2)}
    org.faults([page, garbled, page | {"times": "always"}])
    watched.call("run", code=1)
    with duckdb.connect(str(team.folder / STATE), read_only=True) as db:
        told = db.execute("SELECT count(*) FROM rejected WHERE message LIKE 'refused: %'").fetchone()
    assert told is not None
    assert told[0] >= 2, "the org's words for rows are kept, without the token"
    org.faults([])
    org.sign_in()
    team.sql("UPDATE raw.accounts SET name = 'Changed'")
    watched.team.profile()  # by password again, from the file
    profile = (team.folder / "profiles.yml").read_text("utf-8")
    code = doomed.end(doomed.start(doomed.Order(team.folder, point="before record")))
    assert code == -9
    assert list((team.folder / ".sfsync" / "spool").rglob("run.duckdb")), "the run's own file is still there"
    (team.folder / "profiles.yml").write_text("", "utf-8")  # in which the secrets do stand, this once
    assert "password" in profile
    watched.secrets |= {
        name: str(getattr(org, name)) for name in ("password", "client_secret", "security_token")
    }
    assert watched.found() == []


def test_no_key_no_assertion_and_no_refresh_token_is_left_anywhere(watched: Watched) -> None:
    """Of a JWT, and of a refresh token that the org replaces; the org sends back what it was sent, and what it gave."""
    org = watched.org
    watched.by_jwt()
    watched.call("state", "init", "--empty", code=0)
    watched.call("run", "--log-format", "json", code=0)
    lines = [value for name, value in watched.secrets.items() if name.startswith("line ")]
    answer = {"error": "invalid_grant", "error_description": echo(*lines[:3])}
    refusal = {
        "fault": "status",
        "match": "/oauth2/token",
        "status": 400,
        "body": json.dumps(answer),
        "times": "always",
    }
    org.faults([refusal])
    watched.call("debug", code=2)
    watched.call("login", code=2)
    org.faults([])
    watched.call("compile", code=0, SF_PRIVATE_KEY="-----BEGIN PRIVATE KEY-----\\n" + lines[0])
    watched.call("debug", code=2, SF_PRIVATE_KEY="\n".join(["-----BEGIN PRIVATE KEY-----", *lines[:4]]))
    org.local("PUT", "/_local/app", {"rotate_refresh_tokens": True})
    watched.by_refresh_token()
    watched.team.sql("UPDATE raw.accounts SET name = 'Changed'")
    watched.call("run", "--log-format", "json", code=0)
    watched.call("login", "--log-format", "json", code=0)
    (kept,) = watched.home.rglob("*.json")
    now = str(json.loads(kept.read_text())["refresh_token"])
    assert now not in watched.secrets.values()
    watched.secrets |= {"the newest refresh token": now}
    org.faults([refusal | {"body": json.dumps(answer | {"error_description": echo(now)})}])
    watched.call("debug", code=2)
    org.faults([])
    kept.chmod(0o644)
    watched.call("debug", code=2)
    kept.chmod(0o600)
    watched.call("logout", code=0)
    assert not list(watched.home.rglob("*.json"))
    assert watched.found() == []
