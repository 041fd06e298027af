"""Starting and stopping the local org as a user's process does."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sfsync.errors import OrgError
from sfsync.local_org import control
from sfsync.local_org.schema import load_schema
from sfsync.local_org.server import _listen


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "org"
    yield path
    control.stop(path)


def test_start_find_stop_and_start_again(folder):
    assert control.find(folder) is None
    assert control.stop(folder) is False
    first = control.start(folder)
    assert control.start(folder) == first == control.find(folder)
    assert first.url.startswith("https://127.0.0.1:")
    for name in ("server.json", "identity.json", "key.pem", "records.duckdb", "server.log"):
        assert (folder / name).stat().st_mode & 0o077 == 0, name
    assert control.load(folder, csv(folder, "Account", "Name,Account_Id__c\nA,1\nB,2\n")) == [
        {"object": "Account", "created": 2, "updated": 0, "failed": 0, "errors": []}
    ]
    assert control.stop(folder) is True
    assert control.find(folder) is None
    with pytest.raises(OrgError, match="no local org runs"):
        control.show(folder)
    again = control.start(folder)
    assert (again.org_id, again.client_secret, again.url) == (first.org_id, first.client_secret, first.url)
    assert again.pid != first.pid
    assert control.show(folder)["counts"]["Account"] == 2
    control.reset(folder)
    assert control.show(folder)["counts"]["Account"] == 0
    assert control.show(folder)["org_id"] == first.org_id


def csv(folder: Path, name: str, text: str) -> Path:
    path = folder.parent / f"{name}.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_load(folder):
    control.start(folder)
    path = folder.parent / "seed.json"
    path.write_text(
        json.dumps(
            {
                "Account": [{"Account_Id__c": "1", "Name": "Ä", "NumberOfEmployees": 5}],
                "Contact": [
                    {
                        "Customer_Id__c": "c",
                        "LastName": "L",
                        "Account.Account_Id__c": "1",
                        "Is_Champion__c": True,
                    }
                ],
            }
        ),
        encoding="utf-8",
    )
    assert [r["created"] for r in control.load(folder, path)] == [1, 1]
    (result,) = control.load(
        folder, csv(folder, "Account", 'Account_Id__c,Name,Site\n1,"new, name",\n2,,x\n')
    )
    assert (result["created"], result["updated"], result["failed"]) == (0, 1, 1)
    assert result["errors"] == [
        {"row": 2, "code": "REQUIRED_FIELD_MISSING", "message": "Required fields are missing: [Name]"}
    ]
    assert control.journal(folder) == {"requests": [], "writes": [], "last": 0}
    with pytest.raises(OrgError, match="no object 'Nope'"):
        control.load(folder, csv(folder, "Nope", "a\n1\n"))
    with pytest.raises(OrgError, match="No such column 'Colour'"):
        control.load(folder, csv(folder, "Account", "Colour\nred\n"))


def test_calls_used_survive_a_restart(folder):
    import requests

    org = control.start(folder)
    session = requests.Session()
    session.trust_env, session.verify = False, str(org.ca_file)
    form = {
        "grant_type": "client_credentials",
        "client_id": org.client_id,
        "client_secret": org.client_secret,
    }
    token = session.post(f"{org.url}/services/oauth2/token", data=form).json()["access_token"]
    for _ in range(3):
        session.get(f"{org.url}/services/data/v67.0/limits", headers={"Authorization": f"Bearer {token}"})
    control.stop(folder)
    control.start(folder)
    assert control.show(folder)["api_calls"]["used"] == 3
    assert control.journal(folder)["last"] == 4


def test_its_own_schema_and_faults(folder, tmp_path):
    schema, faults = tmp_path / "schema.json", tmp_path / "faults.yml"
    fields = {
        "Key__c": {"type": "string", "length": 10, "external_id": True, "id_lookup": True, "unique": True}
    }
    schema.write_text(
        json.dumps({"objects": {"Thing__c": {"label": "Thing", "key_prefix": "a0X", "fields": fields}}})
    )
    faults.write_text("- fault: locked_rows\n  object: Thing__c\n  share: 0.5\n")
    control.start(folder, schema=schema, faults=faults)
    shown = control.show(folder)
    assert set(shown["counts"]) == {"Thing__c", "User", "Group", "Organization", "RecordType"}
    assert shown["faults"][0]["fault"] == "locked_rows"
    control.load(folder, csv(folder, "Thing__c", "Key__c\n1\n"))
    assert control.show(folder)["counts"]["Thing__c"] == 1


def test_every_object_of_a_schema_has_a_key_prefix_of_its_own(tmp_path):
    """Those that it gives, those of the built-in objects, and free ones for the others, whatever stands first."""
    names = ("Added__c", "Account", "Given__c", "Subscription__c", "Zone__c")
    objects = {name: {"fields": {"Key__c": {"type": "string", "length": 10}}} for name in names}
    objects["Given__c"]["key_prefix"] = "a01"
    path = tmp_path / "schema.json"
    path.write_text(json.dumps({"objects": objects}))
    prefixes = {o.name: o.key_prefix for o in load_schema(path).objects}
    assert len(set(prefixes.values())) == len(prefixes)
    fixed = {"Account": "001", "Given__c": "a01", "Subscription__c": "a00"}
    assert {name: prefixes[name] for name in fixed} == fixed


def test_another_schema_restarts_it_and_keeps_the_data(folder, tmp_path):
    first = control.start(folder)
    control.load(folder, csv(folder, "Account", "Name,Account_Id__c\nA,1\n"))
    schema = tmp_path / "schema.json"
    name = {"type": "string", "length": 255}
    schema.write_text(json.dumps({"objects": {"Account": {"fields": {"Name": name, "New__c": name}}}}))
    second = control.start(folder, schema=schema)
    assert second.pid != first.pid
    assert control.start(folder, schema=schema).pid == second.pid
    assert control.show(folder)["counts"]["Account"] == 1
    (done,) = control.load(folder, csv(folder, "Account", "Name,New__c\nB,x\n"))
    assert done["created"] == 1


BAD_STARTS = [  # id, schema text, faults text, message
    ("schema is no JSON", "{", None, "not JSON"),
    ("schema with an unknown property", '{"objects":{"A":{"fields":{"X":{"type":"string","size":1}}}}}', None, "unknown property 'size'"),
    ("unknown fault", None, "- fault: meteor\n", "unknown fault 'meteor'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "faults", "text"), [c[1:] for c in BAD_STARTS], ids=[c[0] for c in BAD_STARTS]
)
def test_a_start_that_fails_says_why(folder, tmp_path, schema, faults, text):
    paths = {}
    for name, content in (("schema", schema), ("faults", faults)):
        if content is not None:
            paths[name] = tmp_path / name
            paths[name].write_text(content)
    with pytest.raises(OrgError, match=text):
        control.start(folder, **paths)
    assert control.find(folder) is None


def test_a_stale_file_is_not_a_running_org(folder):
    org = control.start(folder)
    control.stop(folder)
    body = {name: str(getattr(org, name)) for name in org.__slots__} | {"pid": os.getpid()}
    (folder / "server.json").write_text(json.dumps(body))
    assert control.find(folder) is None
    fresh = control.start(folder)
    assert fresh.pid != os.getpid()
    os.kill(fresh.pid, 9)
    end = time.monotonic() + 5
    while control.find(folder) is not None and time.monotonic() < end:
        time.sleep(0.02)
    assert control.find(folder) is None
    assert control.start(folder).pid != fresh.pid


def test_two_starters_at_once_get_one_server(folder):
    found: list[control.LocalOrg] = []
    starters = [threading.Thread(target=lambda: found.append(control.start(folder))) for _ in range(3)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    assert len({org.pid for org in found}) == 1


def test_it_ends_by_itself_when_idle(folder):
    org = control.start(folder, idle_minutes=0.02)
    end = time.monotonic() + 10
    while control._alive(org.pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert not control._alive(org.pid)
    assert not (folder / "server.json").exists()


@pytest.mark.parametrize("comes_back", [False, True], ids=["gone", "another folder of that name"])
def test_it_ends_when_its_folder_is_deleted(folder, comes_back):
    org = control.start(folder)
    shutil.rmtree(folder)
    if comes_back:
        folder.mkdir()
        (folder / "records.duckdb").write_bytes(b"not its own")
        (folder / "server.json").write_text("{}")
    end = time.monotonic() + 10
    while control._alive(org.pid):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert {p.name for p in folder.glob("*")} == ({"records.duckdb", "server.json"} if comes_back else set())


def test_control_imports_nothing_heavy():
    code = "import sys, sfsync.local_org.control; print([m for m in ('duckdb', 'starlette', 'uvicorn', 'cryptography', 'yaml') if m in sys.modules])"  # fmt: skip
    root = Path(control.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"


def test_small_answers_do_not_wait_for_an_acknowledgement(tmp_path):
    """asyncio turns Nagle's algorithm off only where the socket names its protocol: else 40 ms more an answer."""
    with _listen(tmp_path) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.proto == socket.IPPROTO_TCP
