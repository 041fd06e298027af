"""Whole commands by each way to sign in, from profiles.yml and from what was kept of it; the org over real HTTPS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sfsync.errors import AuthError
from sfsync.jobs.run import RunOptions, run_command
from sfsync.jobs.session import Options
from sfsync.jobs.state_init import state_init_command
from tests.jobs.conftest import Team, fill
from tests.support.consent import refresh_token

SIGN_IN = ("password", "username", "security_token", "client_secret")


def by(team: Team, **settings: Any) -> None:
    """Have the profile sign in so."""
    team.profile(**settings)
    path = team.folder / "profiles.yml"
    lines = path.read_text("utf-8").splitlines()
    gone = tuple(f"      {name}:" for name in SIGN_IN if name not in settings)
    path.write_text(
        "\n".join(line for line in lines if not line.lstrip().startswith(tuple(n.strip() for n in gone)))
    )


def options(team: Team, **env: str) -> Options:
    return replace(team.options(), env={"HOME": str(team.folder.parent / "home"), **env})


def run(team: Team, **env: str) -> list[int]:
    result = run_command(options(team, **env), RunOptions())
    return [item.count(outcome) for item in result.syncs for outcome in ("created", "updated")]  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["file", "variable"])
def test_a_jwt_runs_a_project_again_and_again(team: Team, org: Any, key: str) -> None:
    fill(team)
    (team.folder / "server.key").write_text(org.running.private_key_file.read_text())
    env = {"SF_KEY": org.running.private_key_file.read_text()}
    by_file = {"private_key_file": "server.key"}
    by_variable = {"private_key": "{{ env_var('SF_KEY') }}"}
    by(team, auth="jwt", username=org.username, **(by_file if key == "file" else by_variable))
    state_init_command(options(team, **env))
    assert sum(run(team, **env)) == 5
    team.sql("UPDATE raw.accounts SET name = 'Changed'")
    assert sum(run(team, **env)) == 2
    said = " ".join(text for _, text in team.logged)
    assert "PRIVATE KEY" not in said


def test_a_refresh_token_that_rotates_lasts_from_run_to_run(team: Team, org: Any) -> None:
    fill(team)
    env = {"SF_REFRESH": refresh_token(org)}
    org.local("PUT", "/_local/app", {"rotate_refresh_tokens": True})
    by(team, auth="refresh_token", refresh_token="{{ env_var('SF_REFRESH') }}")
    state_init_command(options(team, **env))
    assert sum(run(team, **env)) == 5
    # A token that dies in the middle is renewed by the newest one, too.
    team.sql("UPDATE raw.accounts SET name = 'Changed'")
    org.faults([{"fault": "expired_token", "match": "/composite"}])
    assert sum(run(team, **env)) == 2
    kept = list((team.folder.parent / "home").rglob("*.json"))
    assert len(kept) == 1
    assert not [p for p in team.folder.rglob("*") if p.is_file() and b"5Aep861" in p.read_bytes()]


def test_a_refresh_token_that_died_is_exit_2(team: Team, org: Any) -> None:
    fill(team)
    by(team, auth="refresh_token", refresh_token="5Aep861never")
    with pytest.raises(AuthError, match="has expired, was revoked, or was replaced") as caught:
        state_init_command(options(team))
    assert caught.value.exit_code == 2
    assert not Path(team.folder / ".sfsync/prod.duckdb").exists()
