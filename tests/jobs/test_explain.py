"""`sfsync explain`: what becomes of one record and why, and what became of it before."""

from __future__ import annotations

import ast
import csv
import inspect
from typing import Any

import pytest

from sfsync.artifacts import ExplainResult
from sfsync.diff.split import LEFT_ALONE
from sfsync.errors import ProjectError, SfsyncError, StateError
from sfsync.jobs import verdict
from sfsync.jobs.explain import explain_command
from sfsync.jobs.state_forget import state_forget_command
from sfsync.report.explain_text import VERDICTS, explain_text
from tests.jobs.conftest import Team

KEY = "Customer_Id__c"
LOCKED = [{"fault": "rights_lost", "object": "Contact", "rights": ["update"]}]


def explain(team: Team, *key: str, sync: str = "contacts") -> ExplainResult:
    found = explain_command(team.options(), sync, *key)
    assert explain_text(found, color=False, width=80)  # whatever the verdict
    return found


def texts(result: ExplainResult, field: str) -> tuple[str | None, str | None, str | None]:
    (found,) = [item for item in result.fields if item.field == field]
    return found.acknowledged, found.model, found.to_send


@pytest.fixture
def ran(ready: Team) -> Team:
    ready.run()
    return ready


def test_a_row_that_is_new(ready: Team) -> None:
    result = explain(ready, "C2")
    assert (result.verdict, result.record_id, result.key) == ("create", None, "C2")
    assert texts(result, "Title") == (None, "CTO", "CTO")
    assert result.past == ()


@pytest.mark.parametrize("asked", ["C2", "c2", "Id"])
def test_what_changed_and_what_earlier_runs_did(ran: Team, asked: str) -> None:
    record = ran.org.by("Contact", KEY)["C2"]["Id"]
    ran.sql("UPDATE raw.contacts SET title = 'CEO' WHERE id = 'C2'")
    second = ran.run().run_id
    ran.sql("UPDATE raw.contacts SET title = 'Chair', last = NULL WHERE id = 'C2'")
    ran.sql("UPDATE raw.contacts SET last = 'Møller' WHERE id = 'C2'")
    calls = ran.calls()
    result = explain(ran, record if asked == "Id" else asked)
    assert ran.calls() == calls, "nothing is asked of the org"
    assert (result.verdict, result.record_id, result.origin, result.run_id) == (
        "update",
        record,
        "created",
        second,
    )
    assert texts(result, "Title") == ("CEO", "Chair", "Chair")
    assert texts(result, "FirstName")[2] is None
    assert [(past.operation, past.changed) for past in result.past] == [
        ("update", (("Title", "CTO", "CEO"),)),
        ("create", ()),
    ]


def test_a_row_that_is_as_it_was(ran: Team) -> None:
    result = explain(ran, "C2")
    assert (result.verdict, texts(result, "Title")) == ("unchanged", ("CTO", "CTO", None))


def test_a_row_that_sfsync_refuses_and_then_holds(ran: Team) -> None:
    ran.sql("UPDATE raw.contacts SET email = 'nobody' WHERE id = 'C1'")
    first = explain(ran, "C1")
    assert (first.verdict, first.refused) == ("rejected", None)
    assert first.why[0].startswith("INVALID_EMAIL_ADDRESS Email: ")
    ran.run()
    again = explain(ran, "C1")
    assert again.verdict == "held"
    assert again.refused is not None
    assert (again.refused.code, again.refused.attempts, again.refused.decided_by) == (
        "INVALID_EMAIL_ADDRESS",
        1,
        "sfsync",
    )


def test_a_row_that_the_org_refused(ran: Team) -> None:
    ran.org.faults(LOCKED)
    ran.sql("UPDATE raw.contacts SET title = 'CEO' WHERE id = 'C2'")
    ran.run()
    result = explain(ran, "C2")
    assert (result.verdict, result.refused and result.refused.decided_by) == ("held", "org")
    assert "`sfsync retry`" in result.why[0]


def test_a_row_that_waits_for_its_parent(ready: Team) -> None:
    ready.sql("UPDATE raw.accounts SET name = NULL WHERE id = 'A1'")
    result = explain(ready, "C1")
    assert (result.verdict, result.why) == (
        "waiting",
        ("AccountId refers to A1 of sync 'accounts', which is not in the org",),
    )


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({}, "on_removed: keep"),
        ({"on_removed": "delete"}, "sfsync did not make the record (delete_adopted)"),
    ],
    ids=["the sync keeps", "it was adopted"],
)
def test_a_row_that_left_the_model(ready: Team, spec: dict[str, Any], why: str) -> None:
    ready.sync("contacts", **spec)
    ready.org.post("/sobjects/Contact", json={"LastName": "Theirs", KEY: "C3"})
    ready.run()
    ready.sql("DELETE FROM raw.contacts WHERE id = 'C3'")
    result = explain(ready, "C3")
    assert result.verdict == "kept"
    assert why in result.why[0]


def test_a_row_to_be_deleted_and_one_whose_record_is_gone(ran: Team) -> None:
    ran.sync("contacts", on_removed="delete", on_gone="skip")
    ran.sql("DELETE FROM raw.contacts WHERE id = 'C3'")
    assert explain(ran, "C3").verdict == "delete"
    ran.org.delete(f"/sobjects/Contact/{ran.org.by('Contact', KEY)['C2']['Id']}")
    ran.sql("UPDATE raw.contacts SET title = 'x' WHERE id = 'C2'")
    ran.run()
    result = explain(ran, "C2")
    assert (result.verdict, result.why) == ("gone", ("on_gone: skip",))
    assert result.gone_at is not None


def test_what_is_masked_stays_so(ready: Team) -> None:
    ready.sync(
        "contacts",
        identity={KEY: {"column": "id", "pii": True}},
        fields={"Email": {"column": "email", "pii": True}},
    )
    ready.run()
    ready.sql("UPDATE raw.contacts SET email = 'new@acme.example' WHERE id = 'C1'")
    ready.run()
    result = explain(ready, "C1")
    told = explain_text(result, color=False, width=0)
    assert "acme.example" not in told
    assert "C1" not in told
    assert explain(ready, result.key) == result, "what is shown in its place finds it, too"
    assert ("Email", "***", "***") in result.past[0].changed


@pytest.mark.parametrize(
    ("sync", "key", "error", "words"),
    [
        ("contacts", "C99", StateError, "no row in its model, no record and no refused row with key 'C99'"),
        ("contact", "C1", SfsyncError, "nothing has that name"),
        ("tag:x", "C1", SfsyncError, "tag:x"),
        ("cont*", "C1", ProjectError, "'cont*' is not the name of a sync"),
    ],
)
def test_what_is_not_there(ran: Team, sync: str, key: str, error: type[SfsyncError], words: str) -> None:
    with pytest.raises(error) as caught:
        explain(ran, key, sync=sync)
    assert words in caught.value.what


def written(team: Team, folder: str) -> list[dict[str, str]]:
    with (team.folder / "target" / folder / "contacts.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def by_two(ready: Team) -> Team:
    """Contacts named by last name and account, one of them known, one refused here and one in the org."""
    ready.sync(
        "contacts",
        identity={"LastName": "last", "AccountId": {"column": "account", "lookup": "Account.Account_Id__c"}},
        fields={"LastName": None, "AccountId": None, KEY: "id"},
        match="unknown",
        results="all",
        on_removed="delete",
    )
    ready.contacts(
        [
            {"id": "C1", "last": "Ito", "account": "A1", "title": "CTO"},
            {"id": "C2", "last": "Ito", "account": "A2"},
            {"id": "C3", "last": "de la Cruz", "account": "A2", "email": "nobody"},
        ]
    )
    ready.run()
    ready.org.faults(LOCKED)
    ready.sql(
        "UPDATE raw.contacts SET title = 'CEO' WHERE id = 'C1'", "DELETE FROM raw.contacts WHERE id = 'C2'"
    )
    return ready


def test_an_identity_of_several_fields_is_told_and_asked_for_field_by_field(by_two: Team) -> None:
    assert {(row["LastName"], row["AccountId"]) for row in written(by_two, "results")} == {
        ("Ito", "A1"),
        ("Ito", "A2"),
    }
    by_two.run()
    refused = {
        (row["LastName"], row["AccountId"], row["action"], row["code"]) for row in written(by_two, "rejected")
    }
    assert refused == {
        ("Ito", "A1", "update", "INSUFFICIENT_ACCESS_OR_READONLY"),
        ("de la Cruz", "A2", "create", "INVALID_EMAIL_ADDRESS"),
    }
    (deleted,) = written(by_two, "results")
    assert (deleted["LastName"].lower(), deleted["AccountId"].lower(), deleted["action"]) == (
        "ito",
        "a2",
        "deleted",
    )
    by_name = explain(by_two, "AccountId=A1", "lastname=ito")
    assert (by_name.verdict, by_name.key) == ("held", "A1 / Ito")
    for asked in (("A1", "Ito"), ("A1 / Ito",), ('["A1","ito"]',), (by_name.record_id or "",)):
        assert explain(by_two, *asked) == by_name, asked
    assert explain(by_two, "A2", "De la Cruz").verdict == "held"
    with pytest.raises(StateError, match="by 2 fields, AccountId, LastName; 3 values are given"):
        explain(by_two, "de", "la", "Cruz")
    with pytest.raises(StateError, match="key 'A9 Ito'") as caught:
        explain(by_two, "A9", "Ito")
    assert "AccountId=... LastName=..." in (caught.value.fix or "")
    assert state_forget_command(by_two.options(), "contacts", ["A1 / Ito"]).records == 1


def test_a_word_that_several_records_share_names_none_of_them(ready: Team) -> None:
    ready.sync(
        "contacts",
        identity={"LastName": "last", "FirstName": "first"},
        fields={"LastName": None, "FirstName": None, KEY: "id"},
        match="unknown",
    )
    ready.contacts([{"id": "C1", "last": "b / c", "first": "a"}, {"id": "C2", "last": "c", "first": "a / b"}])
    ready.run()
    for ask in (
        lambda word: explain(ready, word),
        lambda word: state_forget_command(ready.options(), "contacts", [word]),
    ):
        with pytest.raises(StateError, match="'A / b / c' names 2 records") as caught:
            ask("A / b / c")
        assert """'["a / b","c"]'""" in (caught.value.fix or "")
    assert explain(ready, '["a / b","c"]').record_id == ready.org.by("Contact", KEY)["C2"]["Id"]
    assert (
        explain(ready, "FirstName=a", "LastName=b / c").record_id == ready.org.by("Contact", KEY)["C1"]["Id"]
    )
    assert state_forget_command(ready.options(), "contacts", ['["a / b","c"]']).records == 1
    with pytest.raises(StateError, match="no record or refused row"):
        state_forget_command(ready.options(), "contacts", ["a / b / d"])
    assert state_forget_command(ready.options(), "contacts", ["a / b / c"]).records == 1


def test_every_verdict_has_its_words() -> None:
    """The words that verdict_of returns, read off its code, as some are rare."""
    found = set(LEFT_ALONE)
    for node in ast.walk(ast.parse(inspect.getsource(verdict))):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
            words = ast.walk(node.value.elts[0])
            found |= {w.value for w in words if isinstance(w, ast.Constant) and isinstance(w.value, str)}
    found |= {"create", "update", "delete", "submitted", "stopped"}  # returned by a name
    assert found == set(VERDICTS)
