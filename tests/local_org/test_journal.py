"""A request is in the journal as soon as its client can know that it has ended."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from sfsync.local_org import grants
from sfsync.local_org.fault_rules import parse_rules
from sfsync.local_org.gate import Gate
from sfsync.local_org.journal import Line
from sfsync.local_org.org import Org, open_org
from sfsync.local_org.schema import load_schema

PATH = "/services/data/v67.0/limits"


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Org]:
    org = open_org(tmp_path, load_schema(None), [])
    yield org
    org.store.close()


def token_of(org: Org) -> str:
    who = org.identity
    form = {
        "grant_type": "client_credentials",
        "client_id": who.client_id,
        "client_secret": who.client_secret,
    }
    answer: Any = grants.token(org.auth, form, None, "https://localhost").body
    return str(answer["access_token"])


async def in_three_parts(scope: Any, receive: Any, send: Any) -> None:
    """An app that answers like a long file."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for part, more in ((b"a", True), (b"b", True), (b"", False)):
        await send({"type": "http.response.body", "body": part, "more_body": more})


def ask(org: Org, app: Any, path: str, *, token: str | None = None) -> list[tuple[int, bool]]:
    """Ask an app behind the gate; what the journal said when the last byte of the answer left."""
    seen: list[tuple[int, bool]] = []

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            seen.extend((r["status"], r["counted"]) for r in org.journal.read(0, 100)["requests"])

    headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
    scope = {"type": "http", "method": "GET", "path": path, "headers": headers, "query_string": b""}
    asyncio.run(Gate(app, org)(scope, None, send))
    return seen


BROKEN = [{"fault": "status", "status": 503}]
CASES = [  # id, path, signed in, faults, (status, counted) in the journal
    ("answered", PATH, True, [], (200, True)),
    ("no token", PATH, False, [], (401, False)),
    ("no such version", "/services/data/v99.0/limits", True, [], (404, False)),
    ("not counted", "/services/data", False, [], (200, False)),
    ("a server error", PATH, True, BROKEN, (503, True)),
]


@pytest.mark.parametrize(
    ("path", "signed_in", "faults", "line"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_the_line_is_there_before_the_last_byte_leaves(embedded, path, signed_in, faults, line) -> None:
    embedded.faults.set(parse_rules(faults))
    token = token_of(embedded) if signed_in else None
    assert ask(embedded, in_three_parts, path, token=token) == [line]
    after = embedded.journal.read(0, 100)["requests"]
    assert [(r["status"], r["counted"]) for r in after] == [line], "written once"


def test_a_handler_that_fails_is_noted_too(embedded) -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(embedded, failing, PATH, token=token_of(embedded))
    assert [(r["status"], r["counted"]) for r in embedded.journal.read(0, 100)["requests"]] == [(0, True)]


def test_a_reader_waits_for_lines_on_their_way_to_the_file(embedded) -> None:
    journal, found = embedded.journal, list[Any]()
    journal.add(Line(journal.next_number(), datetime(2026, 1, 1), "GET", PATH, 200, "limits", True))  # noqa: DTZ001 - naive by contract
    reader = threading.Thread(target=lambda: found.append(journal.read(0, 100)["requests"]))
    with (
        embedded.store.write()
    ):  # somebody else writes: the line has left the waiting room and is not in the file
        keeper = threading.Thread(target=journal.flush)
        keeper.start()
        while journal._waiting:
            time.sleep(0.001)
        reader.start()
        reader.join(0.2)
    keeper.join()
    reader.join()
    assert [r["path"] for r in found[0]] == [PATH]
