"""The main line, end to end: a DuckDB file, a real org over HTTPS, and what stands there afterwards."""

from __future__ import annotations

import csv
import json
from collections import Counter
from typing import Any

import duckdb
import pytest

from sfsync.errors import StateError
from sfsync.jobs.state_init import state_init_command
from sfsync.jobs.status import status_command
from sfsync.records import Operation
from tests.jobs.conftest import Team, of, outcomes, planned


def sent(write: dict[str, Any]) -> dict[str, Any]:
    """The fields of a journal entry, without the Id that an update is addressed by."""
    return {field: text for field, text in write["fields"].items() if field != "Id"}


def test_a_real_org_without_state_is_refused_and_says_how_to_go_on(team: Team) -> None:
    with pytest.raises(StateError) as caught:
        team.run()
    assert caught.value.exit_code == 2
    assert "state init --empty" in (caught.value.fix or "")
    assert team.calls() == 0


def test_first_run_creates_everything_and_the_next_plan_has_nothing_to_do(ready: Team) -> None:
    result = ready.run()
    assert outcomes(result, "accounts") == {"created": 2}
    assert outcomes(result, "contacts") == {"created": 3}
    assert result.exit_code == 0
    contacts = ready.org.by("Contact", "Customer_Id__c")
    accounts = ready.org.by("Account", "Account_Id__c")
    assert contacts["C1"]["AccountId"] == accounts["A1"]["Id"]
    assert contacts["C2"]["LastName"] == "Müller"
    assert "AccountId" not in contacts["C3"]
    before = ready.calls()
    plan = ready.plan()
    assert not plan.has_changes
    assert plan.api.calls == 0
    assert ready.run().exit_code == 0
    assert ready.calls() == before


def test_state_init_twice_is_refused(ready: Team) -> None:
    with pytest.raises(StateError, match="there is a state already"):
        state_init_command(ready.options())


def test_one_changed_cell_is_one_cell_on_the_wire(ready: Team) -> None:
    ready.run()
    writes = len(ready.org.writes())
    ready.sql("UPDATE raw.contacts SET title = 'CEO' WHERE id = 'C2'")
    plan = planned(ready.plan(), "contacts")
    assert (plan.changes.updates, plan.changes.updated_fields) == (1, 1)
    assert plan.samples[0].changes == {"Title": ("CTO", "CEO")}
    assert plan.samples[0].key == "C2"
    result = ready.run()
    assert outcomes(result, "contacts") == {"unchanged": 2, "updated": 1}
    assert result.calls == 1
    [write] = ready.org.writes()[writes:]
    assert (write["object"], write["operation"], sent(write)) == ("Contact", "updated", {"Title": "CEO"})


def test_a_null_clears_and_keep_leaves(ready: Team) -> None:
    ready.sync("contacts", fields={"FirstName": {"column": "first", "nulls": "keep"}})
    ready.run()
    ready.sql("UPDATE raw.contacts SET first = NULL, email = NULL WHERE id = 'C1'")
    result = ready.run()
    assert outcomes(result, "contacts") == {"unchanged": 2, "updated": 1}
    record = ready.org.by("Contact", "Customer_Id__c")["C1"]
    assert "Email" not in record
    assert record["FirstName"] == "Ai"
    assert not ready.plan().has_changes


def test_a_to_b_to_a_ends_at_a(ready: Team) -> None:
    ready.run()
    for value in ("B", "A", "B", "A"):
        ready.sql(f"UPDATE raw.accounts SET name = '{value}' WHERE id = 'A1'")
        ready.run()
        assert ready.org.by("Account", "Account_Id__c")["A1"]["Name"] == value


def test_a_change_that_is_taken_back_before_a_run_sends_nothing(ready: Team) -> None:
    ready.run()
    ready.sql("UPDATE raw.accounts SET name = 'other' WHERE id = 'A1'")
    assert ready.plan().has_changes
    ready.sql("UPDATE raw.accounts SET name = 'Acme' WHERE id = 'A1'")
    assert not ready.plan().has_changes


def test_an_adopted_record_is_completed_and_never_deleted(ready: Team) -> None:
    ready.org.post("/sobjects/Contact", json={"LastName": "By hand", "Customer_Id__c": "C3", "Title": "Boss"})
    ready.sync("contacts", on_removed="delete")
    result = ready.run()
    assert outcomes(result, "contacts") == {"created": 2, "adopted": 1}
    # The null that the upsert left out is cleared by the next run: until then nobody knows what stands there.
    assert outcomes(ready.run(), "contacts") == {"unchanged": 2, "updated": 1}
    record = ready.org.by("Contact", "Customer_Id__c")["C3"]
    assert record["LastName"] == "Okafor"
    assert "Title" not in record
    ready.sql("DELETE FROM raw.contacts WHERE id IN ('C2', 'C3')")
    assert planned(ready.plan(), "contacts").changes.deletes == 1
    result = ready.run(allow=["contacts.max_delete_share"])
    assert of(result, "contacts").removals == {"deleted": 1}
    assert set(ready.org.by("Contact", "Customer_Id__c")) == {"C1", "C3"}


def test_delete_adopted_says_otherwise_and_is_counted_apart(ready: Team) -> None:
    ready.org.post("/sobjects/Contact", json={"LastName": "By hand", "Customer_Id__c": "C3"})
    ready.sync("contacts", on_removed="delete", delete_adopted=True)
    ready.run()
    ready.sql("DELETE FROM raw.contacts WHERE id = 'C3'")
    plan = ready.plan()
    assert planned(plan, "contacts").changes.adopted_deletes == 1
    assert any("did not create" in warning for warning in plan.warnings)
    assert outcomes(ready.run(), "contacts") == {"unchanged": 2, "deleted": 1}


def test_a_record_deleted_by_a_person_is_gone_and_then_created_whole(ready: Team) -> None:
    ready.run()
    victim = ready.org.by("Contact", "Customer_Id__c")["C1"]["Id"]
    ready.org.delete(f"/sobjects/Contact/{victim}")
    ready.sql("UPDATE raw.contacts SET title = 'Back' WHERE id = 'C1'")
    result = ready.run()
    assert outcomes(result, "contacts") == {"unchanged": 2, "gone": 1}
    assert result.exit_code == 1
    assert "C1" not in ready.org.by("Contact", "Customer_Id__c")
    assert planned(ready.plan(), "contacts").changes.recreated == 1
    assert outcomes(ready.run(), "contacts") == {"unchanged": 2, "created": 1}
    record = ready.org.by("Contact", "Customer_Id__c")["C1"]
    assert (record["LastName"], record["Email"], record["Title"]) == ("Ito", "ai@acme.example", "Back")
    assert record["Id"] != victim
    assert not ready.plan().has_changes


@pytest.mark.parametrize("policy", ["skip", "stop"])
def test_on_gone(ready: Team, policy: str) -> None:
    ready.sync("contacts", on_gone=policy)
    ready.run()
    ready.org.delete(f"/sobjects/Contact/{ready.org.by('Contact', 'Customer_Id__c')['C1']['Id']}")
    ready.sql("UPDATE raw.contacts SET title = 'x' WHERE id = 'C1'")
    ready.run()
    result = ready.run()
    if policy == "skip":
        assert outcomes(result, "contacts") == {"unchanged": 2, "gone": 1}
        assert result.exit_code == 0
    else:
        assert result.exit_code == 3
        assert "on_gone: stop" in (of(result, "contacts").message or "")
    assert "C1" not in ready.org.by("Contact", "Customer_Id__c")


def test_a_deleted_record_that_was_deleted_before_is_a_success(ready: Team) -> None:
    ready.sync("contacts", on_removed="delete")
    ready.run()
    ready.org.delete(f"/sobjects/Contact/{ready.org.by('Contact', 'Customer_Id__c')['C3']['Id']}")
    ready.sql("DELETE FROM raw.contacts WHERE id = 'C3'")
    result = ready.run()
    assert outcomes(result, "contacts") == {"unchanged": 2, "already_deleted": 1}
    assert result.exit_code == 0


def test_null_keys_and_an_empty_model_hold_removals_back(ready: Team) -> None:
    ready.sync("contacts", on_removed="delete")
    ready.run()
    ready.sql("DELETE FROM raw.contacts WHERE id = 'C3'", "INSERT INTO raw.contacts (last) VALUES ('Nobody')")
    plan = ready.plan()
    assert planned(plan, "contacts").changes.removals_held_back == 1
    assert any("no key" in warning for warning in plan.warnings)
    assert outcomes(ready.run(), "contacts") == {"unchanged": 2, "rejected": 1}
    ready.sql("DELETE FROM raw.contacts")
    result = ready.run()
    assert result.exit_code == 3
    assert "min_rows" in (of(result, "contacts").message or "")
    assert len(ready.org.records("Contact")) == 3


def test_guards_refuse_and_are_allowed_once(ready: Team) -> None:
    ready.sync("contacts", guards={"max_deletes": 1}, on_removed="delete")
    ready.run()
    ready.sql(
        "DELETE FROM raw.contacts WHERE id <> 'C1'", "UPDATE raw.accounts SET name = 'New' WHERE id = 'A1'"
    )
    [refusal] = ready.plan().refusals
    assert "--allow contacts.max_deletes" in refusal.fix
    result = ready.run()
    assert result.exit_code == 3
    assert outcomes(result, "accounts") == {"unchanged": 1, "updated": 1}
    assert len(ready.org.records("Contact")) == 3
    assert ready.run(allow=["contacts.max_deletes"]).exit_code == 0
    assert len(ready.org.records("Contact")) == 1


BAD_ROWS: list[tuple[str, dict[str, Any], str, str]] = [
    ("blank required", {"last": " "}, "REQUIRED_FIELD_MISSING", "LastName"),
    ("too long", {"last": "x" * 81}, "STRING_TOO_LONG", "LastName"),
    ("e-mail", {"last": "x", "email": "nobody"}, "INVALID_EMAIL_ADDRESS", "Email"),
    ("range", {"last": "x", "worth": 10**15}, "NUMBER_OUTSIDE_VALID_RANGE", "Lifetime_Value__c"),
    (
        "picklist",
        {"last": "x", "interests": "Skydiving"},
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        "Interests__c",
    ),
]


@pytest.mark.parametrize(("row", "code", "field"), [c[1:] for c in BAD_ROWS], ids=[c[0] for c in BAD_ROWS])
def test_a_bad_row_is_rejected_here_then_held(
    ready: Team, row: dict[str, Any], code: str, field: str
) -> None:
    ready.contacts([{"id": "C1", "last": "Ito"}, {"id": "X1", **row}])
    result = ready.run()
    item = of(result, "contacts")
    assert outcomes(result, "contacts") == {"created": 1, "rejected": 1}
    assert [(r.code, r.field, r.action) for r in item.rejected] == [(code, field, "create")]
    assert '"X1"' in item.rejected[0].identity
    assert result.exit_code == 1
    again = ready.run()
    assert outcomes(again, "contacts") == {"unchanged": 1, "held": 1}
    assert again.exit_code == 0
    assert [row["attempts"] for row in rejected_rows(ready)] == ["1"]
    ready.sql(
        "UPDATE raw.contacts SET last = 'Good', email = NULL, worth = 1, interests = NULL WHERE id = 'X1'"
    )
    assert outcomes(ready.run(), "contacts") == {"unchanged": 1, "created": 1}
    assert of(ready.run(), "contacts").rejected_file is None


def test_double_keys_are_rejected_after_folding_and_do_not_count_as_removed(ready: Team) -> None:
    ready.sync("contacts", on_removed="delete")
    ready.run()
    ready.sql("INSERT INTO raw.contacts (id, last) VALUES ('c1', 'Twin')")
    result = ready.run()
    assert outcomes(result, "contacts") == {"unchanged": 2, "rejected": 2}
    assert {r.code for r in of(result, "contacts").rejected} == {"DUPLICATE_VALUE"}
    assert len(ready.org.records("Contact")) == 3
    assert outcomes(ready.run(), "contacts") == {"unchanged": 2, "held": 2}


def rejected_rows(team: Team) -> list[dict[str, str]]:
    with (team.folder / "target/rejected/contacts.csv").open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.parametrize("key", ["'T1'", "NULL"], ids=["double", "null"])
def test_copies_that_are_alike_in_everything_have_a_line_each(ready: Team, key: str) -> None:
    ready.run()
    twin = f"INSERT INTO raw.contacts (id, last) VALUES ({key}, 'Twin')"
    ready.sql(twin, twin, twin)
    assert outcomes(ready.run(), "contacts") == {"unchanged": 3, "rejected": 3}
    assert len(rejected_rows(ready)) == 3
    ready.sql(twin)
    assert outcomes(ready.run(), "contacts") == {"unchanged": 3, "held": 3, "rejected": 1}
    assert len(rejected_rows(ready)) == 4
    assert status_command(ready.options()).syncs[1].refused == 4
    ready.contacts([{"id": "C1", "last": "Ito"}])
    ready.run()
    assert not (ready.folder / "target/rejected/contacts.csv").exists()


def test_children_of_a_rejected_parent_wait(ready: Team) -> None:
    ready.sql("UPDATE raw.accounts SET name = NULL WHERE id = 'A1'")
    plan = planned(ready.plan(), "contacts")
    assert [(w.key, w.parent, w.parent_key) for w in plan.waiting_rows] == [("C1", "accounts", "A1")]
    result = ready.run()
    assert outcomes(result, "contacts") == {"created": 2, "waiting": 1}
    assert result.exit_code == 1
    ready.sql("UPDATE raw.accounts SET name = 'Acme' WHERE id = 'A1'")
    assert outcomes(ready.run(), "contacts") == {"unchanged": 2, "created": 1}


def test_an_unknown_parent_is_the_orgs_to_refuse_and_tried_every_run(ready: Team) -> None:
    ready.sql("UPDATE raw.contacts SET account = 'A9' WHERE id = 'C1'")
    result = ready.run()
    assert outcomes(result, "contacts") == {"created": 2, "failed": 1}
    assert of(result, "contacts").rejected[0].code == "INVALID_FIELD"
    ready.org.post("/sobjects/Account", json={"Name": "By hand", "Account_Id__c": "A9"})
    assert outcomes(ready.run(), "contacts") == {"unchanged": 2, "created": 1}


def test_a_lookup_is_set_moved_and_cleared(ready: Team) -> None:
    ready.run()
    accounts = ready.org.by("Account", "Account_Id__c")
    ready.sql(
        "UPDATE raw.contacts SET account = 'A2' WHERE id = 'C1'",
        "UPDATE raw.contacts SET account = NULL WHERE id = 'C2'",
        "UPDATE raw.contacts SET account = 'A1' WHERE id = 'C3'",
    )
    assert outcomes(ready.run(), "contacts") == {"updated": 3}
    contacts = ready.org.by("Contact", "Customer_Id__c")
    assert contacts["C1"]["AccountId"] == accounts["A2"]["Id"]
    assert "AccountId" not in contacts["C2"]
    assert contacts["C3"]["AccountId"] == accounts["A1"]["Id"]


def test_send_all_sends_every_mapped_field_of_a_changed_row_only(ready: Team) -> None:
    ready.sync("contacts", push={"send": "all"})
    ready.run()
    writes = len(ready.org.writes())
    ready.sql("UPDATE raw.contacts SET title = 'CEO' WHERE id = 'C2'")
    assert planned(ready.plan(), "contacts").changes.updates == 1
    assert outcomes(ready.run(), "contacts") == {"unchanged": 2, "updated": 1}
    [write] = ready.org.writes()[writes:]
    assert {"Title", "LastName", "Email"} <= set(sent(write))
    assert not ready.plan().has_changes


def test_a_new_mapped_field_is_sent_and_the_others_are_left_alone(ready: Team) -> None:
    ready.sync("contacts", fields={"Title": None})
    ready.run()
    writes = len(ready.org.writes())
    ready.sync("contacts", fields={"Title": "title"})
    plan = planned(ready.plan(), "contacts")
    assert dict(plan.fields) == {"Title": 3}
    ready.run()
    assert [set(sent(write)) for write in ready.org.writes()[writes:]] == [{"Title"}] * 3
    assert not ready.plan().has_changes


def test_refused_rows_are_counted_by_code_with_samples_of_each(ready: Team) -> None:
    ready.contacts(
        [{"id": f"L{n}", "last": "x" * 99} for n in range(30)]
        + [{"id": f"E{n}", "last": "x", "email": "none"} for n in range(3)]
    )
    item = of(ready.run(), "contacts")
    found = [(c.code, c.field, c.rows) for c in item.rejected_codes]
    assert found == [("STRING_TOO_LONG", "LastName", 30), ("INVALID_EMAIL_ADDRESS", "Email", 3)]
    assert Counter(row.code for row in item.rejected) == {"STRING_TOO_LONG": 5, "INVALID_EMAIL_ADDRESS": 3}
    results = json.loads((ready.folder / "target/run_results.json").read_text("utf-8"))["results"]
    assert [code["rows"] for r in results if r["object"] == "Contact" for code in r["rejected_codes"]] == [
        30,
        3,
    ]


def lead(team: Team) -> None:
    """Let the sync of contacts write another object under its old name."""
    only_contacts = ("AccountId", "Birthdate", "Last_Login__c", "Lifetime_Value__c", "Is_Champion__c")
    fields: dict[str, Any] = {**dict.fromkeys((*only_contacts, "Interests__c")), "Company": "first"}
    team.sync("contacts", object="Lead", identity={"Lead_Id__c": "id"}, fields=fields)


def test_a_changed_identity_refuses_its_own_sync_only(ready: Team) -> None:
    ready.run()
    lead(ready)
    ready.sql("UPDATE raw.accounts SET name = 'Acme 2' WHERE id = 'A1'")
    plan = ready.plan()
    [refusal] = plan.refusals
    assert refusal.what.startswith("sync 'contacts' has a snapshot of Contact by Customer_Id__c")
    assert "new name" in refusal.fix
    assert refusal.allow is None
    result = ready.run(allow=["contacts.identity"])
    assert result.exit_code == 3
    assert str(of(result, "contacts").status) == "refused"
    assert "new name" in (of(result, "contacts").message or "")
    assert outcomes(result, "accounts") == {"unchanged": 1, "updated": 1}
    assert ready.org.records("Lead") == []
    assert len(ready.org.records("Contact")) == 3
    ready.sync("contacts", object="Contact", identity={"Customer_Id__c": "id"}, fields={"Company": None})
    assert outcomes(ready.run("contacts"), "contacts") == {"unchanged": 3}


def test_children_wait_for_a_parent_sync_whose_identity_changed(ready: Team) -> None:
    ready.accounts([("A1", "Acme", "1")])
    ready.contacts([])
    ready.run()
    ready.sql("INSERT INTO raw.accounts VALUES ('A2', 'Bolt', NULL)")
    state = ready.folder / ".sfsync/prod.duckdb"
    with duckdb.connect(str(state)) as connection:
        connection.execute("""UPDATE snapshots SET identity = '["Old_Id__c"]' WHERE sync = 'accounts'""")
    ready.contacts([{"id": "C2", "last": "Müller", "account": "A2"}, {"id": "C3", "last": "Okafor"}])
    result = ready.run()
    assert result.exit_code == 3
    assert outcomes(result, "contacts") == {"created": 1, "waiting": 1}
    assert len(ready.org.records("Account")) == 1


def test_selection_runs_one_sync(ready: Team) -> None:
    result = ready.run("accounts")
    assert [item.name for item in result.syncs] == ["accounts"]
    assert ready.org.records("Contact") == []


def test_deletes_come_last_and_children_first(ready: Team) -> None:
    ready.sync("accounts", on_removed="delete", allow_cascade=["Opportunity"])
    ready.sync("contacts", on_removed="delete")
    ready.run()
    start = len(ready.org.writes())
    ready.sql(
        "DELETE FROM raw.accounts WHERE id = 'A1'",
        "DELETE FROM raw.contacts WHERE id = 'C1'",
        "UPDATE raw.contacts SET title = 'x' WHERE id = 'C3'",
    )
    ready.run()
    steps = [(w["object"], w["operation"]) for w in ready.org.writes()[start:]]
    assert steps == [("Contact", "updated"), ("Contact", "deleted"), ("Account", "deleted")]


def test_plan_operations_are_priced_by_way(ready: Team) -> None:
    batches = planned(ready.plan(), "contacts").batches
    assert [(b.operation, b.rows, b.calls) for b in batches] == [(Operation.UPSERT, 3, 1)]
