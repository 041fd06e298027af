"""Every way to sign in and every way to be refused, against the local org over HTTPS, and refresh tokens that rotate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sfsync.connections import SIGN_INS
from sfsync.errors import AuthError, scrub
from sfsync.local_org.control import JWT_KEY as KEY
from sfsync.ports import SystemClock
from sfsync.salesforce.auth import Desk, sign_in
from sfsync.salesforce.login import Login, id18
from sfsync.salesforce.logins import Kept, Logins, config_folder
from sfsync.salesforce.sign_in_words import BY_TOKEN, TYPES, WORDS, Words
from sfsync.salesforce.transport import Transport
from tests.support.clock import QuickClock
from tests.support.consent import refresh_token


@pytest.fixture
def desk(org: Any, tmp_path: Path) -> Iterator[Desk]:
    transport = Transport(ca_file=org.ca_file)
    yield Desk(transport, SystemClock(), Logins(tmp_path / "config", keyring=False))
    transport.close()


def login_of(org: Any, auth: str, **changes: str) -> Login:
    """A login that works."""
    app = {"client_id": org.client_id}
    secret = {"client_secret": org.client_secret}
    found = {
        "client_credentials": app | secret,
        "password": app
        | secret
        | {"username": org.username, "password": org.password, "security_token": org.security_token},
        "jwt": app
        | {
            "username": org.username,
            "private_key_file": str(org.folder / KEY),
            "audience": "https://login.salesforce.com",
        },
    }
    if auth == "refresh_token" and "refresh_token" not in changes:
        changes = changes | {"refresh_token": refresh_token(org)}
    return Login(auth, org.url, **(found.get(auth, app) | changes))


WAYS = [way for way in BY_TOKEN if way != "oauth"]


@pytest.mark.parametrize("auth", WAYS)
def test_each_way_leads_to_the_same_user(org, desk, auth):
    token = sign_in(login_of(org, auth), desk)
    assert (token.org_id, token.instance_url) == (id18(org.org_id), org.url)
    answer = org.get("/limits", headers={"Authorization": f"Bearer {token.access_token}"})
    assert answer.status_code == 200


# Each refusal of the table


def app(**settings: Any) -> Callable[[Any, str], Login]:
    def arrange(org: Any, auth: str) -> Login:
        login = login_of(org, auth)
        org.local("PUT", "/_local/app", settings)
        return login

    return arrange


def with_(**changes: str) -> Callable[[Any, str], Login]:
    return lambda org, auth: login_of(org, auth, **changes)


def dead_token(org: Any, auth: str) -> Login:
    login = login_of(org, auth)
    org.session.post(f"{org.url}/services/oauth2/revoke", data={"token": login.refresh_token})
    return login


NATURAL: dict[str, Callable[[Any, str], Login]] = {  # what the local org refuses by itself
    "wrong user name or password": with_(password="n0t-this-0ne"),
    "no user to run as": app(run_as=False),
    "not approved": app(approved=False),
    "network not allowed": app(ip_restricted=True),
    "refresh token expired": dead_token,
    "wrong audience": with_(audience="https://test.salesforce.com"),
    "unknown consumer key": with_(client_id="n0t-this-0ne"),
    "wrong consumer secret": with_(client_secret="n0t-this-0ne"),
    "flow not offered": app(flows=[]),
    "app blocked": app(blocked=True),
    "session ended": with_(access_token="00D5g00000AbCdE!gone.0000"),
}

HERE = ("password", "client_credentials", "jwt", "refresh_token", "access_token")
"""Of the other two, test_browser and test_sf_cli play each row."""

CELLS = [(row, auth) for row in WORDS for auth in row.types if auth in HERE]


@pytest.mark.parametrize(("row", "auth"), CELLS, ids=[f"{row.name} by {auth}" for row, auth in CELLS])
def test_each_refusal_has_its_words_and_next_step(org, desk, row: Words, auth: str):
    if row.name in NATURAL:
        login = NATURAL[row.name](org, auth)
    else:
        login = login_of(org, auth)
        said = {"error": row.error, "description": row.part or "whatever it says"}
        org.faults([{"fault": "sign_in_refused", **said}])
    with pytest.raises(AuthError) as caught:
        sign_in(login, desk)
    error = caught.value
    assert row.says in error.what
    assert error.fix == row.fix_of(auth)
    assert (error.exit_code, error.code.lower()) == (2, row.error)
    for secret in (login.password, login.client_secret, login.refresh_token, login.security_token):
        assert not secret or secret not in f"{error} {error.fix}"


def test_the_types_are_those_of_the_profile():
    assert set(TYPES) == set(SIGN_INS)
    assert {auth for row in WORDS for auth in row.types} == set(TYPES)


def test_rows_are_apart():
    """No row hides another one of the same way to sign in."""
    for position, row in enumerate(WORDS):
        for auth in row.types:
            before = [r for r in WORDS[:position] if auth in r.types and r.meets(row.error, row.part)]
            assert not before, f"{row.name} is never reached by {auth}"


# JWT


def test_the_key_may_come_as_text_in_one_line(org, desk):
    pem = (org.folder / KEY).read_text()
    login = login_of(org, "jwt", private_key=pem.replace("\n", "\\n"), private_key_file="")
    assert sign_in(login, desk).org_id == id18(org.org_id)
    assert sign_in(replace(login, private_key=pem), desk).org_id == id18(org.org_id)


def test_a_wrong_clock_is_named(org, desk):
    slow = Desk(desk.transport, QuickClock(timedelta(minutes=-11)))
    with pytest.raises(AuthError, match="had expired when it arrived") as caught:
        sign_in(login_of(org, "jwt"), slow)
    assert "it is 6" in str(caught.value.fix)  # 660 s, give or take
    assert "behind the org's" in str(caught.value.fix)


def openssl(*args: str) -> str:
    done = subprocess.run(["openssl", *args], capture_output=True, text=True, check=True)
    return done.stdout


KEYS = [  # id, how it is made, message
    ("certificate", lambda: Path, "is a certificate"),
    ("encrypted", lambda: openssl("genpkey", "-algorithm", "RSA", "-aes256", "-pass", "pass:x"), "encrypted with a passphrase"),
    ("elliptic", lambda: openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"), "RSA key of 2048 bits or more, and is of another kind"),
    ("short", lambda: openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"), "and is RSA of 1024 bits"),
    ("cut", lambda: openssl("genpkey", "-algorithm", "RSA")[:800], "cut off or damaged"),
    ("text", lambda: "hello", "is no private key in PEM form"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), [c[1:] for c in KEYS], ids=[c[0] for c in KEYS])
def test_keys_that_cannot_sign(org, desk, tmp_path, make, message):
    text = make()
    pem = (org.folder / "jwt_cert.pem").read_text() if text is Path else text
    path = tmp_path / "server.key"
    path.write_text(pem)
    for login in (
        login_of(org, "jwt", private_key_file=str(path)),
        login_of(org, "jwt", private_key_file="", private_key=pem),
    ):
        with pytest.raises(AuthError, match=message) as caught:
            sign_in(login, desk)
        assert caught.value.fix
        assert not [line for line in pem.splitlines() if len(line) > 40 and line in str(caught.value)]
    assert not [r for r in org.requests() if r["path"].endswith("/token")]  # nothing was sent


def test_a_key_file_that_is_not_there(org, desk, tmp_path):
    with pytest.raises(AuthError, match=r"gone.key cannot be read: No such file") as caught:
        sign_in(login_of(org, "jwt", private_key_file=str(tmp_path / "gone.key")), desk)
    assert "relative to the project folder" in str(caught.value.fix)


def test_each_line_of_a_key_is_a_secret(org, desk):
    sign_in(login_of(org, "jwt"), desk)
    lines = (org.folder / KEY).read_text().splitlines()[1:-1]
    assert scrub(f"line 3: {lines[3]}") == "line 3: ********"


# Refresh tokens that rotate


def names(folder: Path) -> list[Path]:
    return sorted((folder / "config/logins").glob("*.json"))


def test_a_new_refresh_token_is_kept_and_used_from_then_on(org, desk, tmp_path):
    login = login_of(org, "refresh_token")
    sign_in(login, desk)
    assert names(tmp_path) == []  # the org did not rotate it
    org.local("PUT", "/_local/app", {"rotate_refresh_tokens": True})
    for _ in range(3):  # with the profile's own token, the second would be refused and end the family
        sign_in(login, desk)
    (path,) = names(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert login.refresh_token not in path.read_text()
    assert json.loads(path.read_text())["org_id"] == id18(org.org_id)


def test_it_is_on_disk_before_it_is_used(raw, tmp_path):
    """What a process that is killed right after the answer leaves behind."""
    from .conftest import http

    logins = Logins(tmp_path / "config", keyring=False)
    desk = Desk(Transport(ca_file=raw.ca_file), SystemClock(), logins)
    login = Login("refresh_token", raw.url, "key", refresh_token="5Aep861first")
    name = logins.name_of(login)
    raw.token_step = http(200, json.dumps({**raw.token(), "refresh_token": "5Aep861second"}))
    sign_in(login, desk)
    kept = logins.find(name)
    assert kept is not None
    assert kept.refresh_token == "5Aep861second"
    used = []

    def answer(server: Any, connection: Any, request: Any) -> None:
        used.append(request.body.decode())
        folder = tmp_path / "config/logins"
        folder.rename(tmp_path / "config/moved")
        folder.write_text("no folder")
        connection.sendall(http(200, json.dumps({**server.token(), "refresh_token": "5Aep861third"})))

    raw.token_step = answer
    with pytest.raises(AuthError, match="which cannot be kept") as caught:
        sign_in(login, desk)
    assert "5Aep861second" in used[0]
    assert "5Aep861third" not in f"{caught.value} {caught.value.fix}"


def test_two_processes_do_not_use_one_token_twice(org, tmp_path):
    """With rotation the org ends everything as soon as a token comes back that was replaced."""
    login = login_of(org, "refresh_token")
    org.local("PUT", "/_local/app", {"rotate_refresh_tokens": True})
    org.faults([{"fault": "slow", "match": "/oauth2/token", "seconds": 0.2, "times": 8}])
    code = (
        "import sys, json; from pathlib import Path\n"
        "from sfsync.ports import SystemClock; from sfsync.salesforce.auth import Desk, sign_in\n"
        "from sfsync.salesforce.login import Login; from sfsync.salesforce.logins import Logins\n"
        "from sfsync.salesforce.transport import Transport\n"
        "login, ca, folder = json.loads(sys.stdin.read())\n"
        "desk = Desk(Transport(ca_file=Path(ca)), SystemClock(), Logins(Path(folder), keyring=False))\n"
        "print(sign_in(Login(**login), desk).org_id)\n"
    )
    given = {"auth": "refresh_token", "login_url": org.url, "client_id": org.client_id}
    told = json.dumps(
        [given | {"refresh_token": login.refresh_token}, str(org.ca_file), str(tmp_path / "config")]
    )
    root = Path(__file__).resolve().parents[2]
    env = os.environ | {"PYTHONPATH": str(root)}
    pipe = subprocess.PIPE
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=env
        )
        for _ in range(4)
    ]
    results: list[Any] = [None] * len(children)

    def talk(number: int) -> None:
        results[number] = children[number].communicate(told, timeout=60)

    threads = [threading.Thread(target=talk, args=(n,)) for n in range(len(children))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [out.strip() for out, _ in results] == [id18(org.org_id)] * 4, results


def test_another_token_in_the_profile_is_another_login(org, desk):
    logins = desk.logins
    one, other = login_of(org, "refresh_token"), login_of(org, "refresh_token")
    assert logins.name_of(one) != logins.name_of(other)
    assert logins.name_of(one) == logins.name_of(replace(one))
    assert one.refresh_token not in logins.name_of(one)


# Logins on disk


def kept() -> Kept:
    return Kept("https://x", "app", "https://x", "00D", "005", "ada@x", "5Aep861kept", "2026-01-01T00:00:00Z")


def test_a_login_comes_back_as_it_was_kept(tmp_path):
    logins = Logins(tmp_path, keyring=False)
    assert logins.find("x-1") is None
    assert logins.keep("x-1", kept()) == str(tmp_path / "logins/x-1.json")
    assert logins.find("x-1") == kept()
    assert "5Aep861kept" not in repr(kept())
    assert (logins.drop("x-1"), logins.drop("x-1"), logins.find("x-1")) == (True, False, None)


DAMAGED = [  # id, text, message
    ("empty", "", "is damaged"),
    ("no object", "[]", "is damaged"),
    ("a key too few", '{"form": 1, "login_url": "x"}', "is damaged"),
    ("wrong kind", json.dumps({"form": 1, **dict.fromkeys(Kept.__slots__, 1)}), "is damaged"),
    ("newer", json.dumps({"form": 99, "what": "ever"}), "written by a newer sfsync"),
]


@pytest.mark.parametrize(("text", "message"), [c[1:] for c in DAMAGED], ids=[c[0] for c in DAMAGED])
def test_a_login_that_cannot_be_read(tmp_path, text, message):
    logins = Logins(tmp_path, keyring=False)
    logins.keep("x-1", kept())
    (tmp_path / "logins/x-1.json").write_text(text)
    with pytest.raises(AuthError, match=message) as caught:
        logins.find("x-1")
    assert "sfsync logout" in str(caught.value.fix)


def test_a_login_that_others_can_read_is_not_used(tmp_path):
    logins = Logins(tmp_path, keyring=False)
    logins.keep("x-1", kept())
    (tmp_path / "logins/x-1.json").chmod(0o640)
    with pytest.raises(AuthError, match=r"can be read by others \(mode 640\)") as caught:
        logins.find("x-1")
    assert "chmod 600" in str(caught.value.fix)


def test_the_folder_is_the_users_own(tmp_path):
    assert config_folder({"HOME": "/home/ada"}) == Path("/home/ada/.config/sfsync")
    assert config_folder({"HOME": "/home/ada", "XDG_CONFIG_HOME": "/cfg"}) == Path("/cfg/sfsync")
    assert config_folder({"HOME": "/home/ada", "XDG_CONFIG_HOME": "cfg"}) == Path("/home/ada/.config/sfsync")
