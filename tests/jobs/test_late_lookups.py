"""Lookups whose parents are made in the same run: trees of one object, circles of two, and all that can come between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest

from sfsync.local_org import control
from sfsync.records import Operation
from tests.conftest import OrgForTests
from tests.jobs.conftest import Team, of, outcomes, planned
from tests.support import doomed

PARENT = {"ParentId": {"column": "phone", "lookup": "Account.Account_Id__c"}, "Phone": None}
TREE = [("A1", "Root"), *((f"A{n}", f"Node {n}", f"A{n // 2}") for n in range(2, 32))]
"""A tree of five levels: the parent's key stands where phones do."""


def tree(team: Team, **keys: Any) -> Team:
    team.sync("accounts", fields=PARENT, **keys)
    team.accounts(TREE)
    team.contacts([])
    return team


def parents(org: Any) -> dict[str, str | None]:
    """Key of each account -> key of its parent, as the org has it."""
    keys = {r["Id"]: r["Account_Id__c"] for r in org.records("Account")}
    return {r["Account_Id__c"]: keys.get(r.get("ParentId", "")) for r in org.records("Account")}


WANTED = {row[0]: (row[2] if len(row) > 2 else None) for row in TREE}


@pytest.mark.parametrize("api", ["auto", "bulk"])
def test_a_tree_arrives_in_one_run(ready: Team, api: str) -> None:
    tree(ready, push={"api": api})
    plan = planned(ready.plan(), "accounts")
    assert (plan.changes.upserts, plan.changes.links, plan.changes.link_fields) == (31, 30, ("ParentId",))
    before = ready.calls()
    result = ready.run()
    assert outcomes(result, "accounts") == {"created": 31}
    assert result.exit_code == 0
    assert parents(ready.org) == WANTED
    assert ready.calls() - before <= plan.calls + 1
    # By Id, never by upsert: the second part makes nothing.
    kinds = [write["operation"] for write in ready.org.writes()]
    assert (kinds.count("created"), kinds.count("updated")) == (31, 30)
    again = ready.plan()
    assert not again.has_changes
    assert planned(again, "accounts").changes.fresh == 0, "the hashes of all rows were stored"


def test_samples_show_the_whole_record_and_what_follows(ready: Team) -> None:
    plan = planned(tree(ready).plan(), "accounts")
    shown = {s.key: s.changes for s in plan.samples}
    assert shown["A10"]["ParentId"] == (None, "A5")
    assert [b.operation for b in plan.batches] == [Operation.UPSERT, Operation.LINK]


def test_parents_that_are_there_are_named_at_once(ready: Team) -> None:
    tree(ready)
    ready.accounts(TREE[:15])
    ready.run()
    ready.accounts(TREE)
    plan = planned(ready.plan(), "accounts")
    assert (plan.changes.upserts, plan.changes.links) == (16, 0)
    assert outcomes(ready.run(), "accounts") == {"unchanged": 15, "created": 16}
    assert parents(ready.org) == WANTED


def test_known_records_that_move_below_new_ones(ready: Team) -> None:
    tree(ready)
    ready.accounts([("A1", "Root"), ("A2", "Two", "A1"), ("A3", "Three", "A1")])
    ready.run()
    ready.accounts([("A1", "Root"), ("A2", "Two", "A9"), ("A3", "Third", "A9"), ("A9", "New", "A1")])
    plan = planned(ready.plan(allow=["accounts.max_change_share"]), "accounts")
    c = plan.changes
    assert (c.upserts, c.updates, c.updated_fields, c.links, c.only_links) == (1, 2, 3, 2, 1)
    assert dict(plan.fields) == {"ParentId": 2, "Name": 1}
    result = ready.run()
    assert outcomes(result, "accounts") == {"unchanged": 1, "created": 1, "updated": 2}
    assert parents(ready.org) == {"A1": None, "A2": "A9", "A3": "A9", "A9": "A1"}
    assert not ready.plan().has_changes


def test_children_of_a_rejected_record_wait_with_all_below_them(ready: Team) -> None:
    tree(ready)
    ready.sql("UPDATE raw.accounts SET name = NULL WHERE id = 'A2'")
    plan = planned(ready.plan(allow=["accounts.max_reject_share"]), "accounts")
    below = {key for key in WANTED if _is_below(key, "A2")}
    assert plan.changes.waiting == len(below) == 14
    result = ready.run(allow=["accounts.max_reject_share"])
    assert outcomes(result, "accounts") == {"created": 16, "rejected": 1, "waiting": 14}
    ready.sql("UPDATE raw.accounts SET name = 'Two' WHERE id = 'A2'")
    assert outcomes(ready.run(), "accounts") == {"unchanged": 16, "created": 15}
    assert parents(ready.org) == WANTED


def _is_below(key: str, top: str) -> bool:
    parent = WANTED[key]
    return parent is not None and (parent == top or _is_below(parent, top))


def test_a_record_whose_parent_the_org_refuses_is_made_and_its_lookup_waits(ready: Team) -> None:
    tree(ready)
    ready.org.faults([_refuse("A2")])
    result = ready.run()
    assert outcomes(result, "accounts") == {"created": 28, "rejected": 1, "waiting": 2}
    assert {row.parent_key for row in of(result, "accounts").waiting} == {"A2"}
    assert result.exit_code == 1
    ready.org.faults([])
    assert outcomes(ready.retry(), "accounts") == {"unchanged": 28, "created": 1, "updated": 2}
    assert parents(ready.org) == WANTED


def _refuse(key: str) -> dict[str, Any]:
    return {"fault": "apex_limit", "object": "Account", "field": "Account_Id__c", "values": [key]}


def test_lookups_without_an_answer_are_in_doubt_and_go_next(ready: Team) -> None:
    tree(ready)
    ready.org.faults(
        [{"match": "PATCH /composite/sobjects", "fault": "status", "status": 503, "after": 1, "times": 9}]
    )
    result = ready.run()
    assert outcomes(result, "accounts") == {"created": 1, "in_doubt": 30}
    ready.org.faults([])
    allow = ["accounts.max_change_share"]
    assert outcomes(ready.run(allow=allow), "accounts") == {"unchanged": 1, "updated": 30}
    assert parents(ready.org) == WANTED


def test_lookups_in_a_job_that_is_left_are_read_by_the_next_run(ready: Team) -> None:
    tree(ready, push={"api": "bulk", "max_wait": "2s"})
    ready.org.faults([{"fault": "job_stuck", "after": 1, "polls": 6}])
    result = ready.run()
    assert outcomes(result, "accounts") == {"created": 1, "submitted": 30}
    ready.org.faults([])
    result = ready.run(allow=["accounts.max_change_share"])
    assert result.recovered
    assert outcomes(result, "accounts") == {"unchanged": 31}
    assert parents(ready.org) == WANTED


def test_what_is_left_when_a_run_ends_between_the_passes_goes_next(ready: Team) -> None:
    tree(ready)
    start = ready.calls()
    result = ready.run(stop_requested=lambda: ready.calls() > start)
    assert result.exit_code == 130
    assert outcomes(result, "accounts") == {"created": 1, "stopped": 30}
    assert set(parents(ready.org).values()) == {None}
    plan = planned(ready.plan(allow=["accounts.max_change_share"]), "accounts")
    assert (plan.changes.updates, plan.changes.links) == (30, 0)
    assert outcomes(ready.run(allow=["accounts.max_change_share"]), "accounts") == {
        "unchanged": 1,
        "updated": 30,
    }
    assert parents(ready.org) == WANTED
    assert not ready.plan().has_changes


def test_a_run_that_is_killed_at_any_moment_goes_on_in_the_next(ready: Team) -> None:
    """A process each time, killed at ever later moments, until one lives: the tree grows, and nothing is made twice."""
    guards = dict.fromkeys(("max_deletes", "max_delete_share", "max_change_share"))
    tree(ready, guards=guards)
    died = 0
    for number in range(3):
        ready.accounts(
            [(f"{number}-{key}", name, *(f"{number}-{up}" for up in above)) for key, name, *above in TREE]
        )
        for moment in range(4 + 3 * number, 60, 9):
            code = doomed.end(doomed.start(doomed.Order(ready.folder, die_at=moment)))
            died += code == -9
            ready.org.until_quiet()
            if code != -9:
                break
        ready.run()
        assert parents(ready.org) == {
            f"{n}-{key}": (f"{n}-{above}" if above else None)
            for n in range(number + 1)
            for key, above in WANTED.items()
        }
        assert not ready.plan().has_changes
    assert died > 5


def test_a_run_is_taken_back_whole(ready: Team) -> None:
    tree(ready)
    ready.run()
    result = ready.run(undo="latest", allow=["accounts.max_delete_share"])
    assert outcomes(result, "accounts") == {"deleted": 31}
    assert ready.org.records("Account") == []


def test_the_canary_goes_first_and_all_lookups_last(ready: Team) -> None:
    tree(ready)
    assert outcomes(ready.run(canary=3), "accounts") == {"created": 31}
    assert parents(ready.org) == WANTED
    assert not ready.plan().has_changes


def test_lookups_that_the_budget_does_not_allow_go_next(ready: Team) -> None:
    tree(ready)
    ready.profile(api_limit={"daily_calls": ready.calls() + 1})
    result = ready.run()
    assert outcomes(result, "accounts") == {"created": 1, "deferred": 30}
    assert result.exit_code == 1
    ready.profile(api_limit={"daily_calls": 5000})
    assert outcomes(ready.run(allow=["accounts.max_change_share"]), "accounts") == {
        "unchanged": 1,
        "updated": 30,
    }
    assert parents(ready.org) == WANTED


def test_what_stood_there_before_a_late_lookup_comes_back(ready: Team) -> None:
    """Records that people made are adopted; `undo: exact` puts back the parent that they had."""
    rows = [{"Account_Id__c": "A1", "Name": "Theirs"}, {"Account_Id__c": "A2", "Name": "Two"}]
    ready.org.local("POST", "/_local/load?object=Account", rows)
    ids = {key: record["Id"] for key, record in ready.org.by("Account", "Account_Id__c").items()}
    ready.org.patch(f"/sobjects/Account/{ids['A2']}", json={"ParentId": ids["A1"]})
    tree(ready, undo="exact")
    ready.accounts([("A1", "Theirs"), ("A2", "Two", "A9"), ("A9", "New")])
    assert outcomes(ready.run(), "accounts") == {"adopted": 2, "created": 1}
    assert parents(ready.org) == {"A1": None, "A2": "A9", "A9": None}
    ready.run(undo="latest", allow=["accounts.max_change_share", "accounts.max_delete_share"])
    assert parents(ready.org) == {"A1": None, "A2": "A1"}


def test_a_tree_whose_records_are_found_by_name(ready: Team) -> None:
    """The key that the lookup names is a field like any other; records are made by plain creates."""
    ready.sync(
        "accounts",
        match="unknown",
        identity={"Name": "name"},
        fields={**PARENT, "Name": None, "Account_Id__c": "id"},
    )
    ready.accounts([("A1", "Root"), ("A2", "Two", "A1"), ("A3", "Three", "A2")])
    ready.contacts([])
    plan = planned(ready.plan("accounts"), "accounts")
    assert [batch.operation for batch in plan.batches] == [Operation.CREATE, Operation.LINK]
    assert outcomes(ready.run("accounts"), "accounts") == {"created": 3}
    assert parents(ready.org) == {"A1": None, "A2": "A1", "A3": "A2"}
    assert not ready.plan("accounts").has_changes


# ---------------------------------------------------------------- deleting

ALL_MAY_GO: dict[str, Any] = {
    "guards": {"max_delete_share": "100%", "min_rows": 0},
    "allow_cascade": ["Contact", "Opportunity"],
}


@pytest.fixture(scope="module")
def strict_org(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrgForTests]:
    """An org in which no account can be deleted that has accounts below it."""
    folder = tmp_path_factory.mktemp("strict_org")
    schema = json.loads(files("sfsync.local_org").joinpath("schema.json").read_text("utf-8"))
    schema["objects"]["Account"]["fields"]["ParentId"]["restricted_delete"] = True
    path = folder / "schema.json"
    path.write_text(json.dumps(schema), "utf-8")
    yield OrgForTests(control.start(folder / "org", schema=path, idle_minutes=10), folder)
    control.stop(folder / "org")


@pytest.mark.parametrize("api", ["auto", "bulk"])
def test_a_tree_is_deleted_from_its_leaves(tmp_path: Any, strict_org: OrgForTests, api: str) -> None:
    strict_org.begin()
    team = tree(Team(tmp_path / "team", strict_org), on_removed="delete", push={"api": api})
    # The keys' own order would begin with the root.
    team.sync("accounts", **ALL_MAY_GO)
    team.init_state()
    team.run()
    team.accounts([])
    plan = planned(team.plan(), "accounts")
    levels = [batch.level for batch in plan.batches if batch.operation is Operation.DELETE]
    assert levels == [0, 1, 2, 3, 4]
    result = team.run()
    assert outcomes(result, "accounts") == {"deleted": 31}
    assert strict_org.records("Account") == []
    if api == "auto":
        assert of(result, "accounts").calls == plan.calls == 1, "the levels share a Composite"


def test_what_hangs_below_a_circle_is_deleted_though_the_circle_cannot_be(
    tmp_path: Any, strict_org: OrgForTests
) -> None:
    strict_org.begin()
    team = tree(Team(tmp_path / "team", strict_org), on_removed="delete")
    team.sync("accounts", **ALL_MAY_GO)
    # In the keys' own order A3 would go before A4, which refers to it, and be refused.
    team.accounts([("A1", "One", "A2"), ("A2", "Two", "A1"), ("A3", "Below", "A2"), ("A4", "Deep", "A3")])
    team.init_state()
    team.run()
    team.accounts([])
    plan = planned(team.plan(), "accounts")
    assert [(batch.level, batch.rows) for batch in plan.batches] == [(0, 1), (1, 1), (2, 2)]
    assert outcomes(team.run(), "accounts") == {"deleted": 2, "rejected": 2}
    assert set(strict_org.by("Account", "Account_Id__c")) == {"A1", "A2"}


def test_where_the_org_only_clears_the_lookup_no_call_more_is_spent(ready: Team) -> None:
    tree(ready, on_removed="delete", **ALL_MAY_GO)
    ready.run()
    ids = {key: record["Id"] for key, record in ready.org.by("Account", "Account_Id__c").items()}
    ready.accounts([])
    plan = planned(ready.plan(), "accounts")
    (deletes,) = [batch for batch in plan.batches if batch.operation is Operation.DELETE]
    assert (deletes.level, deletes.rows, plan.calls) == (0, 31, 1)
    result = ready.run()
    assert outcomes(result, "accounts") == {"deleted": 31}
    gone = [write["id"] for write in ready.org.writes() if write["operation"] == "deleted"]
    assert len(gone) == 31
    order = {record: number for number, record in enumerate(gone)}
    assert all(order[ids[key]] < order[ids[above]] for key, above in WANTED.items() if above is not None)


# ---------------------------------------------------------------- circles


@pytest.fixture(scope="module")
def circle_org(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrgForTests]:
    """An org whose accounts refer to a contact."""
    folder = tmp_path_factory.mktemp("circle_org")
    schema = json.loads(files("sfsync.local_org").joinpath("schema.json").read_text("utf-8"))
    schema["objects"]["Account"]["fields"]["Primary_Contact__c"] = {
        "label": "Primary Contact", "type": "reference", "length": 18, "reference_to": ["Contact"],
        "relationship_name": "Primary_Contact__r",
    }  # fmt: skip
    path = folder / "schema.json"
    path.write_text(json.dumps(schema), "utf-8")
    yield OrgForTests(control.start(folder / "org", schema=path, idle_minutes=10), folder)
    control.stop(folder / "org")


@pytest.fixture
def circle(tmp_path: Any, circle_org: OrgForTests) -> Team:
    """Accounts name their first contact, contacts their account."""
    circle_org.begin()
    team = Team(tmp_path / "team", circle_org)
    main = {"column": "phone", "lookup": "Contact.Customer_Id__c"}
    team.sync("accounts", fields={"Primary_Contact__c": main, "Phone": None})
    team.accounts([(f"A{n}", f"Acme {n}", f"C{n}") for n in range(1, 6)])
    team.contacts([{"id": f"C{n}", "last": f"Ito {n}", "account": f"A{n}"} for n in range(1, 6)])
    team.init_state()
    return team


def test_a_circle_of_two_objects_arrives_in_one_run(circle: Team) -> None:
    plan = circle.plan()
    assert [item.sync.name for item in plan.syncs] == ["accounts", "contacts"]
    assert [item.changes.links for item in plan.syncs] == [5, 0], "the first by name goes first"
    before = circle.calls()
    result = circle.run()
    assert (outcomes(result, "accounts"), outcomes(result, "contacts")) == ({"created": 5}, {"created": 5})
    assert circle.calls() - before <= plan.api.calls + 1
    contacts, accounts = circle.org.by("Contact", "Customer_Id__c"), circle.org.by("Account", "Account_Id__c")
    for n in range(1, 6):
        assert contacts[f"C{n}"]["AccountId"] == accounts[f"A{n}"]["Id"]
        assert accounts[f"A{n}"]["Primary_Contact__c"] == contacts[f"C{n}"]["Id"]
    assert not circle.plan().has_changes


def test_of_a_circle_whose_later_half_is_rejected_the_other_half_is_made(circle: Team) -> None:
    circle.sql("UPDATE raw.contacts SET last = NULL WHERE id = 'C3'")
    allow = ["contacts.max_reject_share"]
    plan = circle.plan(allow=allow)
    assert (planned(plan, "accounts").changes.links, planned(plan, "accounts").changes.links_waiting) == (
        4,
        1,
    )
    assert any("sent without a lookup" in warning for warning in plan.warnings)
    result = circle.run(allow=allow)
    assert outcomes(result, "accounts") == {"created": 4, "waiting": 1}
    assert outcomes(result, "contacts") == {"created": 4, "rejected": 1}
    assert [(w.key, w.field, w.parent_key) for w in of(result, "accounts").waiting] == [
        ("A3", "Primary_Contact__c", "C3")
    ]
    # Nothing is sent for it again, and it is told, as long as its parent is not there.
    calls = circle.calls()
    assert outcomes(circle.run(allow=allow), "accounts") == {"unchanged": 4, "waiting": 1}
    assert circle.calls() == calls
    circle.sql("UPDATE raw.contacts SET last = 'Three' WHERE id = 'C3'")
    assert outcomes(circle.run(), "accounts") == {"unchanged": 4, "updated": 1}
    assert "Primary_Contact__c" in circle.org.by("Account", "Account_Id__c")["A3"]


def test_a_sync_alone_leaves_to_the_org_what_the_others_make(circle: Team) -> None:
    result = circle.run("accounts")
    assert outcomes(result, "accounts") == {"failed": 5}
    assert {row.field for row in of(result, "accounts").rejected} == {"Primary_Contact__c"}


def test_a_circle_is_taken_back(circle: Team) -> None:
    circle.run()
    result = circle.run(undo="latest")
    counts = {**outcomes(result, "accounts")}
    for outcome, rows in outcomes(result, "contacts").items():
        counts[outcome] = counts.get(outcome, 0) + rows
    assert set(counts) <= {"deleted", "already_deleted"}
    assert circle.org.records("Account") == circle.org.records("Contact") == []
