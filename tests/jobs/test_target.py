"""Who signs in: the same from profiles.yml and from what was kept of it, and nothing kept that should not be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sfsync.errors import SfsyncError
from sfsync.jobs.session import Options, Session

SECRET_WORDS = ("s3cret-9x", "p4ss-9x", "t0ken-9x", "00D!x-9x")
ENV = {
    "SECRET": "s3cret-9x",
    "PASS": "p4ss-9x",
    "TOKEN": "t0ken-9x",
    "SESSION": "00D!x-9x",
    "APP": "the-app",
    "ME": "ops@acme.example",
    "NONE": "",
    "HOME": "/nowhere",
}
CLIENT = {
    "domain": "acme",
    "auth": "client_credentials",
    "client_id": "key",
    "client_secret": "{{ env_var('SECRET') }}",
}
PERSON: dict[str, Any] = CLIENT | {
    "domain": "test",
    "auth": "password",
    "username": "{{ env_var('ME') }}",
    "password": "{{ env_var('PASS') }}",
    "security_token": "{{ env_var('TOKEN') }}",
}
SESSION = {
    "auth": "access_token",
    "instance_url": "https://acme.my.salesforce.com/",
    "access_token": "{{ env_var('SESSION') }}",
}
SIGNS_IN = {"client_id": "key", "client_secret": "s3cret-9x"}
AS_PERSON = SIGNS_IN | {
    "username": "ops@acme.example",
    "password": "p4ss-9x",
    "security_token": "t0ken-9x",
}

JWT = {
    "domain": "acme",
    "auth": "jwt",
    "client_id": "key",
    "username": "{{ env_var('ME') }}",
    "private_key": "{{ env_var('SECRET') }}",
}
REFRESH = {
    "domain": "login",
    "auth": "refresh_token",
    "client_id": "key",
    "refresh_token": "{{ env_var('TOKEN') }}",
}

CASES: list[tuple[str, dict[str, Any], dict[str, str], bool]] = [
    # id, org, who signs in, whether profiles.yml is read once only
    ("client", CLIENT, SIGNS_IN, True),
    (
        "jwt",
        JWT,
        {"client_id": "key", "username": "ops@acme.example", "private_key": "s3cret-9x"},
        True,
    ),
    ("refresh token", REFRESH, {"client_id": "key", "refresh_token": "t0ken-9x"}, True),
    (
        "client from variables",
        CLIENT | {"client_id": "{{ env_var('APP') }}"},
        SIGNS_IN | {"client_id": "the-app"},
        True,
    ),
    ("person", PERSON, AS_PERSON, True),
    (
        "no token",
        PERSON | {"security_token": "{{ env_var('NONE') }}"},
        AS_PERSON | {"security_token": ""},
        True,
    ),
    (
        "a default",
        PERSON | {"security_token": "{{ env_var('UNSET', '') }}"},
        AS_PERSON | {"security_token": ""},
        True,
    ),
    ("session", SESSION, {"access_token": "00D!x-9x"}, True),
    ("a secret in the file", CLIENT | {"client_secret": "s3cret-9x"}, SIGNS_IN, False),
    (
        "a secret of two parts",
        PERSON | {"password": "{{ env_var('PASS') }}{{ env_var('TOKEN') }}"},
        AS_PERSON | {"password": "p4ss-9xt0ken-9x"},
        False,
    ),
    (
        "a secret beside a word",
        PERSON | {"password": "x-{{ env_var('PASS') }}"},
        AS_PERSON | {"password": "x-p4ss-9x"},
        False,
    ),
    (
        "a name of two parts",
        CLIENT | {"client_id": "{{ env_var('APP') }}-1"},
        SIGNS_IN | {"client_id": "the-app-1"},
        False,
    ),
    (
        "a secret by default",
        CLIENT | {"client_secret": "{{ env_var('UNSET', 's3cret-9x') }}"},
        SIGNS_IN,
        False,
    ),
]


def project(root: Path, org: dict[str, Any], **warehouse: str) -> Path:
    (root / "sfsync_project.yml").write_text("name: acme\nversion: '1'\nprofile: acme\n")
    target = {"warehouse": {"type": "duckdb", **warehouse}, "org": {"type": "salesforce", **org}}
    (root / "profiles.yml").write_text(json.dumps({"acme": {"target": "dev", "outputs": {"dev": target}}}))
    return root


LOOK = """
import json, sys
from pathlib import Path
from sfsync.errors import SfsyncError
from sfsync.jobs.session import Options, Session
with Session(Options(Path(sys.argv[1]), env=json.loads(sys.argv[2])), "plan") as session:
    found = dict(session.credentials)
words = json.loads(sys.argv[3])
shown = str(SfsyncError(" ".join(words)))
print(json.dumps({"found": found, "read": "sfsync.connections" in sys.modules, "hidden": [w for w in words if w not in shown]}))
"""


def look(root: Path, env: dict[str, str]) -> dict[str, Any]:
    """What a fresh process finds: a command's memory of secrets and modules is the process's own."""
    command = [sys.executable, "-c", LOOK, str(root), json.dumps(env), json.dumps(SECRET_WORDS)]
    here = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    found: dict[str, Any] = json.loads(
        subprocess.run(command, env=here, capture_output=True, check=True).stdout
    )
    return found


@pytest.mark.parametrize(("org", "who", "once"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_who_signs_in_is_the_same_from_what_was_kept(
    tmp_path: Path, org: dict[str, Any], who: dict[str, str], once: bool
) -> None:
    root = project(tmp_path, org)
    with Session(Options(root, env=ENV), "plan") as session:
        assert session.credentials == who
    again = look(root, ENV)
    assert again["found"] == who
    assert again["read"] != once
    used = {word for word in SECRET_WORDS if any(word in text for text in who.values())}
    if "password" in who and who["password"].startswith("x-"):
        used.discard("p4ss-9x")  # the secret is the whole text
    assert used <= set(again["hidden"]) or not once
    kept = b"".join(p.read_bytes() for p in (root / ".sfsync" / "compiled").rglob("*.json"))
    assert not [word for word in (*SECRET_WORDS, "the-app", "ops@acme") if word.encode() in kept]


def test_a_secret_of_the_day_is_used(tmp_path: Path) -> None:
    root = project(tmp_path, CLIENT)
    look(root, ENV)
    again = look(root, ENV | {"SECRET": "t0ken-9x"})
    assert again == {"found": SIGNS_IN | {"client_secret": "t0ken-9x"}, "read": False, "hidden": ["t0ken-9x"]}


def test_the_database_s_secret_is_hidden_too(tmp_path: Path) -> None:
    root = project(tmp_path, CLIENT)
    text = (root / "profiles.yml").read_text()
    postgres = (
        '"type": "postgres", "host": "h", "dbname": "d", "user": "u", "password": "{{ env_var(\'PASS\') }}"'
    )
    (root / "profiles.yml").write_text(text.replace('"type": "duckdb"', postgres))
    for _ in range(2):
        found = look(root, ENV)
        assert found["found"] == SIGNS_IN
        assert found["hidden"] == ["s3cret-9x", "p4ss-9x"]
    assert not found["read"]


def test_a_secret_that_is_missing_is_told_from_what_was_kept(tmp_path: Path) -> None:
    root = project(tmp_path, CLIENT)
    look(root, ENV)
    for value, said in ((None, "SECRET is not set"), ("", "must not be blank")):
        env = {k: v for k, v in ENV.items() if k != "SECRET"} | ({} if value is None else {"SECRET": value})
        with Session(Options(root, env=env), "plan") as session, pytest.raises(SfsyncError, match=said):
            _ = session.credentials
