"""Records that the org had before sfsync knew them: found by any identity, adopted, and only differences sent."""

from __future__ import annotations

from typing import Any

import pytest

from sfsync.jobs.explain import explain_command
from sfsync.jobs.state_check import state_check_command
from tests.jobs.conftest import SYNCS, Team, of, outcomes, planned


def made(org: Any, sobject: str, values: dict[str, Any]) -> str:
    """A record that somebody else made; its Id."""
    answer = org.post(f"/sobjects/{sobject}", json=values)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.fixture
def people(ready: Team) -> Team:
    """Contacts only, by e-mail, with the org asked for unknown keys."""
    ready.sync("accounts", match="unknown")
    ready.sync(
        "contacts",
        identity={"Email": "email"},
        match="unknown",
        fields={"Email": None, "Interests__c": None, "AccountId": None, "Customer_Id__c": "id"},
    )
    return ready


def test_by_external_id_what_the_org_has_is_adopted_and_only_differences_are_sent(ready: Team) -> None:
    ready.sync("accounts", match="unknown")
    made(ready.org, "Account", {"Account_Id__c": "A1", "Name": "Acme", "Phone": "1"})
    made(ready.org, "Account", {"Account_Id__c": "A2", "Name": "Old"})
    ready.accounts([("A1", "Acme", "1"), ("A2", "Bolt", None), ("A3", "New", None)])
    plan = ready.plan("accounts")
    changes = planned(plan, "accounts").changes
    assert (changes.upserts, changes.updates, changes.adopted, changes.matched) == (1, 1, 1, 2)
    result = ready.run("accounts")
    assert outcomes(result, "accounts") == {"created": 1, "adopted": 2}
    assert ready.run("accounts").calls == 0


def test_by_email_each_row_has_its_own_outcome(people: Team) -> None:
    org = people.org
    made(org, "Contact", {"LastName": "Ito", "Email": "AI@acme.example", "FirstName": "Ai"})
    for name in ("One", "Two"):
        made(org, "Contact", {"LastName": name, "Email": "twice@acme.example"})
    people.contacts(
        [
            {"id": "C1", "last": "Ito", "first": "Ai", "email": "ai@acme.example"},
            {"id": "C2", "last": "Who", "email": "twice@acme.example"},
            {"id": "C3", "last": "Blank", "email": ""},
            {"id": "C4", "last": "New", "email": "new@acme.example"},
        ]
    )
    api = people.plan("contacts", allow=("contacts.max_reject_share",)).api
    before = people.calls()
    result = people.run("contacts", allow=("contacts.max_reject_share",))
    assert outcomes(result, "contacts") == {"created": 1, "adopted": 1, "rejected": 2}
    assert result.calls == people.calls() - before == api.calls + api.planning_calls == 2
    codes = {code.code for code in of(result, "contacts").rejected_codes}
    assert codes == {"DUPLICATE_EXTERNAL_ID", "MISSING_ARGUMENT"}
    assert people.run("contacts").calls == 1  # the ambiguous key is asked for again


def test_several_fields_and_a_lookup_name_a_record(ready: Team) -> None:
    ready.sync(
        "contacts",
        identity={"LastName": "last", "AccountId": {"column": "account", "lookup": "Account.Account_Id__c"}},
        fields={"LastName": None, "AccountId": None, "Customer_Id__c": "id"},
        match="unknown",
    )
    ready.contacts(
        [
            {"id": "C1", "last": "Ito", "account": "A1"},
            {"id": "C2", "last": "Ito", "account": "A2"},
        ]
    )
    ready.run("accounts")
    account = next(r["Id"] for r in ready.org.records("Account") if r["Account_Id__c"] == "A1")
    record = made(ready.org, "Contact", {"LastName": "Ito", "AccountId": account})
    result = ready.run()
    assert outcomes(result, "contacts") == {"created": 1, "adopted": 1}
    rows = {row["Customer_Id__c"]: row for row in ready.org.records("Contact")}
    assert set(rows) == {"C1", "C2"}
    assert rows["C1"]["Id"] == record
    assert ready.run().calls == 0


def test_mode_update_makes_nothing(people: Team) -> None:
    people.sync("contacts", mode="update")
    made(people.org, "Contact", {"LastName": "X", "Email": "a@x.example"})
    people.contacts(
        [{"id": "C1", "last": "Y", "email": "a@x.example"}, {"id": "C2", "last": "Z", "email": "b@x.example"}]
    )
    result = people.run("contacts")
    assert outcomes(result, "contacts") == {"adopted": 1, "no_match": 1}
    assert [row["LastName"] for row in people.org.records("Contact")] == ["Y"]


def test_what_is_written_on_create_alone_is_never_changed(people: Team) -> None:
    people.sync("contacts", fields={"Title": {"column": "title", "write": "on_create"}})
    made(people.org, "Contact", {"LastName": "X", "Email": "a@x.example", "Title": "By hand"})
    people.contacts(
        [
            {"id": "C1", "last": "Y", "email": "a@x.example", "title": "CEO"},
            {"id": "C2", "last": "Z", "email": "b@x.example", "title": "CEO"},
        ]
    )
    assert outcomes(people.run("contacts"), "contacts") == {"created": 1, "adopted": 1}
    people.sql("UPDATE raw.contacts SET title = 'CFO'")
    assert outcomes(people.run("contacts"), "contacts") == {"unchanged": 2}
    assert {r["LastName"]: r["Title"] for r in people.org.records("Contact")} == {"Y": "By hand", "Z": "CEO"}


def test_mode_create_leaves_alone_what_is_there(people: Team) -> None:
    people.sync("contacts", mode="create")
    made(people.org, "Contact", {"LastName": "X", "Email": "a@x.example"})
    people.contacts(
        [{"id": "C1", "last": "Y", "email": "a@x.example"}, {"id": "C2", "last": "Z", "email": "b@x.example"}]
    )
    result = people.run("contacts")
    assert outcomes(result, "contacts") == {"created": 1, "exists": 1}
    assert sorted(row["LastName"] for row in people.org.records("Contact")) == ["X", "Z"]


def test_mode_delete_deletes_what_rows_name_and_asks_once(people: Team) -> None:
    people.sync(
        "contacts",
        mode="delete",
        fields=dict.fromkeys(
            [
                "LastName",
                "FirstName",
                "Title",
                "Birthdate",
                "Last_Login__c",
                "Lifetime_Value__c",
                "Is_Champion__c",
                "Customer_Id__c",
            ]
        ),
    )
    made(people.org, "Contact", {"LastName": "X", "Email": "a@x.example"})
    people.contacts(
        [{"id": "C1", "last": "Y", "email": "a@x.example"}, {"id": "C2", "last": "Z", "email": "b@x.example"}]
    )
    result = people.run("contacts")
    assert outcomes(result, "contacts") == {"deleted": 1, "no_match": 1}
    assert people.org.records("Contact") == []
    again = people.run("contacts")
    assert outcomes(again, "contacts") == {"already_deleted": 1, "no_match": 1}


def test_by_id_updates_without_asking_where_match_is_never(people: Team) -> None:
    record = made(people.org, "Contact", {"LastName": "X", "Email": "a@x.example"})
    people.sync(
        "contacts", mode="update", match="never", identity={"Id": "id"}, fields={"Customer_Id__c": None}
    )
    people.contacts([{"id": record, "last": "Y"}])
    result = people.run("contacts")
    assert outcomes(result, "contacts") == {"adopted": 1}
    assert result.calls == 1
    assert people.run("contacts").calls == 0


def merge(team: Team, master: str, *others: str) -> None:
    team.org.local("POST", "/_local/merge", {"object": "Account", "master": master, "others": list(others)})


def accounts_of(team: Team) -> dict[str, str]:
    return {key: row["Id"] for key, row in team.org.by("Account", "Account_Id__c").items()}


def test_a_row_whose_record_was_merged_goes_on_with_the_one_that_is_left(ready: Team) -> None:
    ready.sync("accounts", match="unknown")
    ready.accounts([("A1", "Acme", "1"), ("A2", "Bolt", None)])
    ready.run("accounts")
    winner = made(ready.org, "Account", {"Name": "Winner"})
    merge(ready, winner, accounts_of(ready)["A1"])
    ready.accounts([("A1", "Acme 2", "1"), ("A2", "Bolt", None)])
    assert outcomes(ready.run("accounts"), "accounts") == {"gone": 1, "unchanged": 1}
    assert outcomes(ready.run("accounts"), "accounts") == {"adopted": 1, "unchanged": 1}
    names = {row["Id"]: row["Name"] for row in ready.org.records("Account")}
    assert names[winner] == "Acme 2"
    assert len(names) == 2
    assert ready.run("accounts").calls == 0


def test_two_rows_on_one_record_after_a_merge_write_it_once(ready: Team) -> None:
    ready.sync("accounts", match="unknown")
    ready.accounts([("A1", "Acme", "1"), ("A2", "Bolt", None)])
    ready.run("accounts")
    ids = accounts_of(ready)
    merge(ready, ids["A1"], ids["A2"])
    ready.accounts([("A1", "Acme", "1"), ("A2", "Bolt 2", None)])
    assert outcomes(ready.run("accounts"), "accounts") == {"gone": 1, "unchanged": 1}
    for _ in range(2):
        assert outcomes(ready.run("accounts"), "accounts") == {"merged": 1, "unchanged": 1}
    assert [row["Name"] for row in ready.org.records("Account")] == ["Acme"]


def test_a_merged_record_is_followed_by_its_id(ready: Team) -> None:
    ready.sync("accounts", mode="update", match="unknown", identity={"Id": "id"})
    one, two, three = (made(ready.org, "Account", {"Name": name}) for name in ("a", "b", "c"))
    merge(ready, two, one)
    merge(ready, three, two)
    ready.accounts([(one, "New", None)])
    assert outcomes(ready.run("accounts"), "accounts") == {"adopted": 1}
    assert {row["Id"]: row["Name"] for row in ready.org.records("Account")} == {three: "New"}
    assert ready.run("accounts").calls == 0


def test_a_merged_record_is_not_followed_by_a_delete(ready: Team) -> None:
    ready.sync(
        "accounts",
        mode="delete",
        match="unknown",
        identity={"Id": "id"},
        fields={"Name": None, "Phone": None},
    )
    one, two = (made(ready.org, "Account", {"Name": name}) for name in ("a", "b"))
    merge(ready, two, one)
    ready.accounts([(one, "New", None)])
    assert outcomes(ready.run("accounts"), "accounts") == {"no_match": 1}
    assert [row["Id"] for row in ready.org.records("Account")] == [two]


def test_a_converted_lead_is_left_alone(ready: Team) -> None:
    ready.sync(
        "accounts",
        object="Lead",
        identity={"Email": "id"},
        match="unknown",
        fields={"Name": None, "Phone": "phone", "LastName": "name", "Company": "name"},
    )
    lead = made(ready.org, "Lead", {"LastName": "Ito", "Company": "Acme", "Email": "a@x.example"})
    ready.org.local("POST", "/_local/convert", {"lead": lead})
    ready.accounts([("a@x.example", "Sato", None)])
    assert outcomes(ready.run("accounts"), "accounts") == {"converted": 1}


@pytest.mark.parametrize("api", ["collections", "bulk"])
def test_a_known_lead_that_was_converted_is_tried_once(ready: Team, api: str) -> None:
    ready.sync(
        "accounts",
        object="Lead",
        identity={"Email": "id"},
        match="unknown",
        fields={"Name": None, "Phone": "phone", "LastName": "name", "Company": "name"},
        on_removed="delete",
        push={"api": api},
        guards={"max_change_share": None, "max_delete_share": None},
    )
    keys = ("a@x.example", "b@x.example", "c@x.example")
    ready.accounts([(key, "Ito", "1") for key in keys])
    assert outcomes(ready.run("accounts"), "accounts") == {"created": 3}
    leads = ready.org.by("Lead", "Email")
    for key in keys[:2]:
        ready.org.local("POST", "/_local/convert", {"lead": leads[key]["Id"]})
    ready.accounts([(keys[0], "Ito", "2"), (keys[2], "Ito", "2")])
    result = ready.run("accounts")
    # The org deletes a converted lead, and does not write it.
    assert outcomes(result, "accounts") == {"updated": 1, "deleted": 1, "converted": 1}
    assert of(result, "accounts").rejected_codes == ()
    assert result.exit_code == 0
    again = ready.run("accounts")
    assert (outcomes(again, "accounts"), again.calls) == ({"unchanged": 1, "converted": 1}, 0)
    explained = explain_command(ready.options(), "accounts", keys[0])
    assert (explained.verdict, explained.origin) == ("converted", "converted")
    assert state_check_command(ready.options()).faults == ()
    ready.accounts([(keys[2], "Ito", "2")])
    ready.sync("accounts", delete_adopted=True)
    assert ready.run("accounts").calls == 0, "nor is it deleted"
    explained = explain_command(ready.options(), "accounts", keys[0])
    assert (explained.verdict, len(explained.why)) == ("kept", 1)
    assert "the lead was converted" in explained.why[0]


def test_calls_of_asking_and_sending_are_those_of_the_plan(people: Team) -> None:
    for n in range(3):
        made(people.org, "Contact", {"LastName": "Ito", "Email": f"{n}@x.example"})
    people.contacts([{"id": f"C{n}", "last": "Sato", "email": f"{n}@x.example"} for n in range(6)])
    before = people.calls()
    plan = people.plan("contacts")
    assert people.calls() - before == plan.api.planning_calls == 1
    before = people.calls()
    result = people.run("contacts")
    assert outcomes(result, "contacts") == {"created": 3, "adopted": 3}
    assert people.calls() - before == result.calls == plan.api.calls + plan.api.planning_calls


def title_of(team: Team, email: str) -> str | None:
    return team.org.by("Contact", "Email")[email].get("Title")


def test_a_field_that_is_only_filled_leaves_what_people_write(people: Team) -> None:
    people.sync("contacts", fields={"Title": {"column": "title", "write": "if_blank"}})
    made(
        people.org,
        "Contact",
        {"LastName": "Y", "Email": "a@x.example", "Title": "By hand", "Customer_Id__c": "C1"},
    )
    made(people.org, "Contact", {"LastName": "Z", "Email": "b@x.example", "Customer_Id__c": "C2"})
    rows = [
        {"id": f"C{n}", "last": last, "email": f"{letter}@x.example", "title": "CEO"}
        for n, last, letter in ((1, "Y", "a"), (2, "Z", "b"), (3, "New", "c"))
    ]
    people.contacts(rows)
    people.run("contacts")
    assert [title_of(people, f"{letter}@x.example") for letter in "abc"] == ["By hand", "CEO", "CEO"]
    assert people.run("contacts").calls == 0
    # Ours may change as long as nobody else changed it.
    ids = {email: row["Id"] for email, row in people.org.by("Contact", "Email").items()}
    people.org.patch(f"/sobjects/Contact/{ids['b@x.example']}", json={"Title": "Queen"})
    people.org.patch(f"/sobjects/Contact/{ids['a@x.example']}", json={"Title": None})
    people.sql("UPDATE raw.contacts SET title = 'CFO'")
    plan = planned(people.plan("contacts"), "contacts")
    assert (plan.changes.updates, plan.changes.unchanged) == (2, 1)
    assert outcomes(people.run("contacts"), "contacts") == {"updated": 2, "unchanged": 1}
    assert [title_of(people, f"{letter}@x.example") for letter in "abc"] == ["CFO", "Queen", "CFO"]
    assert people.run("contacts").calls == 0


def test_a_field_that_is_only_filled_is_never_cleared(people: Team) -> None:
    people.sync("contacts", fields={"Title": {"column": "title", "write": "if_blank"}})
    people.contacts([{"id": "C1", "last": "Y", "email": "a@x.example", "title": "CEO"}])
    people.run("contacts")
    people.sql("UPDATE raw.contacts SET title = NULL")
    assert outcomes(people.run("contacts"), "contacts") == {"unchanged": 1}
    assert title_of(people, "a@x.example") == "CEO"


NAME_AND_ACCOUNT: dict[str, Any] = {
    "identity": {"LastName": "last", "AccountId": {"column": "account", "lookup": "Account.Account_Id__c"}},
    "fields": {"LastName": None, "AccountId": None, "Customer_Id__c": "id"},
    "match": "unknown",
}


@pytest.mark.parametrize("fault", ["lost_before_commit", "lost_after_commit"])
@pytest.mark.parametrize("api", ["collections", "bulk"])
def test_a_create_without_an_answer_is_never_doubled(ready: Team, fault: str, api: str) -> None:
    ready.sync("contacts", **NAME_AND_ACCOUNT, push={"api": api})
    ready.run("accounts")
    ready.contacts([{"id": f"C{n}", "last": f"O'Brien\\ {n}", "account": f"A{n % 2 + 1}"} for n in range(10)])
    match = "POST /composite/sobjects" if api == "collections" else "/jobs/ingest"
    ready.org.faults([{"fault": fault, "match": match, "times": 1}])
    first = outcomes(ready.run("contacts"), "contacts")
    ready.org.faults([])
    assert sum(first.values()) == 10
    for _ in range(2):
        last = ready.run("contacts")
    assert len(ready.org.records("Contact")) == 10
    assert outcomes(last, "contacts") == {"unchanged": 10}
    if api == "collections":
        assert first == {"in_doubt": 10}


def test_capitals_beyond_ascii_are_one_key_to_the_org(ready: Team) -> None:
    ready.sync("contacts", **NAME_AND_ACCOUNT)
    ready.run("accounts")
    account = next(r["Id"] for r in ready.org.records("Account") if r["Account_Id__c"] == "A1")
    made(ready.org, "Contact", {"LastName": "MÜLLER", "AccountId": account})
    ready.contacts([{"id": "C1", "last": "Müller", "account": "A1"}])
    assert outcomes(ready.run("contacts"), "contacts") == {"adopted": 1}
    assert len(ready.org.records("Contact")) == 1
    assert ready.run("contacts").calls == 0


def test_a_refused_create_is_held(ready: Team) -> None:
    ready.sync("contacts", **NAME_AND_ACCOUNT)
    ready.run("accounts")
    made(ready.org, "Contact", {"LastName": "Other", "Customer_Id__c": "C1"})  # which is unique
    ready.contacts([{"id": "C1", "last": "Ito", "account": "A1"}])
    assert outcomes(ready.run("contacts"), "contacts") == {"rejected": 1}
    again = ready.run("contacts")
    assert outcomes(again, "contacts") == {"held": 1}
    assert again.calls == 0


def test_a_designated_delete_can_be_taken_back(people: Team) -> None:
    people.sync(
        "contacts", mode="delete", fields=dict.fromkeys([*SYNCS["contacts"]["fields"], "Customer_Id__c"])
    )
    made(people.org, "Contact", {"LastName": "X", "Email": "a@x.example"})
    people.contacts([{"id": "C1", "last": "Y", "email": "a@x.example"}])
    assert outcomes(people.run("contacts"), "contacts") == {"deleted": 1}
    assert outcomes(people.run("contacts", undo="latest"), "contacts") == {"restored": 1}
    assert [row["Email"] for row in people.org.records("Contact")] == ["a@x.example"]


def test_what_exists_is_asked_for_once(people: Team) -> None:
    people.sync("contacts", mode="create")
    made(people.org, "Contact", {"LastName": "X", "Email": "a@x.example"})
    people.contacts([{"id": "C1", "last": "Y", "email": "a@x.example"}])
    assert outcomes(people.run("contacts"), "contacts") == {"exists": 1}
    again = people.run("contacts")
    assert (outcomes(again, "contacts"), again.calls) == ({"exists": 1}, 0)
