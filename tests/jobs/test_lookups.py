"""Lookups that are looked for before anything is sent: every kind, every policy, over HTTPS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest

from sfsync.errors import OrgError
from sfsync.jobs.plan import plan_command
from sfsync.local_org import control
from sfsync.project.lookups import EFFECTS, Kind, Policy
from tests.conftest import OrgForTests
from tests.jobs.conftest import Team, outcomes, planned


@pytest.fixture(scope="module")
def typed_org(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrgForTests]:
    """An org whose leads have record types, one of which this user may not give."""
    folder = tmp_path_factory.mktemp("typed_org")
    schema = json.loads(files("sfsync.local_org").joinpath("schema.json").read_text("utf-8"))
    schema["objects"]["Lead"]["record_type_infos"] = {
        "Partner": {"label": "Partner"},
        "Inside": {"label": "Inside", "available": False},
        "Direct": {"label": "Direct", "default": True},
    }
    schema["objects"]["Lead"]["record_types"] = 3
    for name in ("User", "Group"):  # in a real org, an administrator makes them
        schema["objects"][name]["createable"] = True
    path = folder / "schema.json"
    path.write_text(json.dumps(schema), "utf-8")
    org = OrgForTests(control.start(folder / "org", schema=path, idle_minutes=10), folder)
    org.begin()
    load(org, "User", USERS)  # takes the Ids that the users of every local org have; `world` begins anew
    yield org
    control.stop(folder / "org")


USERS = [
    {"Username": "ai@acme.example", "Email": "ai@acme.example", "LastName": "Ai", "IsActive": True},
    {"Username": "gone@acme.example", "Email": "gone@acme.example", "LastName": "Gone", "IsActive": False},
    {"Username": "two@acme.example", "Email": "two@acme.example", "LastName": "Two", "IsActive": True},
    {"Username": "too@acme.example", "Email": "two@acme.example", "LastName": "Two", "IsActive": True},
]
GROUPS = [
    {"Name": "Support", "DeveloperName": "Support", "Type": "Queue"},
    {"Name": "Sales", "DeveloperName": "Sales", "Type": "Regular"},
]

# kind -> (object, key, required field, lookup, Object.Field, a text that is there, texts that name no one record)
CASES: dict[Kind, tuple[str, str, str, str, str, str, tuple[str, ...]]] = {
    Kind.EXTERNAL_ID: ("Contact", "Customer_Id__c", "LastName", "AccountId", "Account.Account_Id__c", "a1", ("A9",)),
    Kind.OTHER_FIELD: ("Contact", "Customer_Id__c", "LastName", "AccountId", "Account.Name", "acme", ("Nobody", "Twin")),
    Kind.USER: (
        *("Contact", "Customer_Id__c", "LastName", "OwnerId", "User.Email", "AI@acme.example"),
        ("nobody@acme.example", "gone@acme.example", "two@acme.example"),
    ),
    Kind.QUEUE: ("Case", "Case_Id__c", "Subject", "OwnerId", "Group.DeveloperName", "Support", ("Sales", "None")),
    Kind.RECORD_TYPE: (
        *("Lead", "Lead_Id__c", "LastName", "RecordTypeId", "RecordType.DeveloperName", "partner"),
        ("Inside", "Nothing"),
    ),
}  # fmt: skip
DEFAULTS = {"OwnerId", "RecordTypeId"}
"""What every record has, whoever leaves it out."""


def world(org: OrgForTests) -> None:
    org.begin()
    accounts = [("A1", "Acme"), ("A2", "Twin"), ("A3", "Twin")]
    load(org, "Account", [{"Account_Id__c": key, "Name": name} for key, name in accounts])
    load(org, "User", USERS)
    load(org, "Group", GROUPS)


def load(org: OrgForTests, sobject: str, records: list[dict[str, Any]]) -> None:
    rows = [{"Alias": "u", **record} if sobject == "User" else record for record in records]
    assert org.local("POST", f"/_local/load?object={sobject}", rows)["errors"] == []


def things(team: Team, kind: Kind, policy: Policy, rows: list[tuple[str, str | None]], **keys: Any) -> Team:
    """One sync in place of the usual two: key, a name, and what the lookup is to be of."""
    sobject, key, name, lookup, parent, _, _ = CASES[kind]
    team._syncs.pop("accounts", None)
    team._syncs.pop("contacts", None)
    for old in (team.folder / "syncs").glob("*.yml"):
        old.unlink()
    fields: dict[str, Any] = {
        name: "last",
        lookup: {"column": "title", "lookup": parent, "on_missing": policy.value},
    }
    if sobject == "Lead":
        fields["Company"] = "first"
    spec = {"model": "dim_contacts", "object": sobject, "identity": {key: "id"}, "fields": fields}
    team._syncs["things"] = {**spec, "guards": {"max_reject_share": None, "max_change_share": None}, **keys}
    team.save()
    fill_things(team, rows)
    return team


def fill_things(team: Team, rows: list[tuple[str, str | None]]) -> None:
    team.contacts([{"id": k, "last": f"Ito {k}", "first": "Acme", "title": text} for k, text in rows])


def there(team: Team, kind: Kind) -> dict[str, dict[str, str]]:
    sobject, key, *_ = CASES[kind]
    return team.org.by(sobject, key)


@pytest.fixture
def typed(tmp_path: Any, typed_org: OrgForTests) -> Team:
    world(typed_org)
    return Team(tmp_path / "team", typed_org)


@pytest.mark.parametrize("policy", list(Policy))
@pytest.mark.parametrize("kind", list(Kind), ids=[kind.name for kind in Kind])
def test_every_kind_with_every_policy(typed: Team, kind: Kind, policy: Policy) -> None:
    _, _, _, lookup, _, good, missing = CASES[kind]
    rows: list[tuple[str, str | None]] = [
        ("K0", good),
        *((f"K{n}", text) for n, text in enumerate(missing, 1)),
        ("KN", None),
    ]
    things(typed, kind, policy, rows)
    typed.init_state()
    plan = planned(typed.plan(), "things")
    result = typed.run()
    counts, found = outcomes(result, "things"), there(typed, kind)
    effect, few = EFFECTS[kind][policy], len(missing)
    assert lookup in found["K0"], "the one that is there is found, whatever its capitals"
    default = found["KN"].get(lookup)
    assert (default is not None) == (lookup in DEFAULTS)
    assert found["K0"][lookup] != default
    if effect == "rejected by the plan":
        assert (plan.changes.refused, counts) == (few, {"created": 2, "rejected": few})
        assert {(code, field) for code, field, _ in plan.rejected} == {
            ("INVALID_CROSS_REFERENCE_KEY", lookup)
        }
    elif effect == "sent by reference; the org refuses it":
        assert (plan.changes.refused, counts) == (0, {"created": 2, "failed": few})
    else:
        assert (plan.changes.refused, counts) == (0, {"created": 2 + few})
        assert {found[f"K{n}"].get(lookup) for n in range(1, few + 1)} == {default}
    again = planned(typed.plan(), "things").changes
    assert again.updates == 0
    # Only what stays open is looked at again.
    parent = missing[0]
    appears = {
        Kind.EXTERNAL_ID: ("Account", {"Account_Id__c": parent, "Name": "New"}),
        Kind.OTHER_FIELD: ("Account", {"Account_Id__c": "A7", "Name": parent}),
        Kind.USER: (
            "User",
            {"Username": "new@acme.example", "Email": parent, "LastName": "New", "IsActive": True},
        ),
        Kind.QUEUE: ("Group", {"Name": "New", "DeveloperName": parent, "Type": "Queue"}),
    }
    if kind in appears:
        load(typed.org, appears[kind][0], [appears[kind][1]])
        counts = outcomes(typed.run(), "things")
        if effect.startswith("sent without the lookup"):
            assert counts.get("updated") == 1
        elif effect.startswith("sent with the lookup cleared"):
            assert counts == {"unchanged": 2 + few}
        else:
            assert counts.get("created") == 1
        assert (there(typed, kind)["K1"].get(lookup) == default) == effect.startswith("sent with the")


def test_what_is_known_costs_no_call_and_nothing_is_asked_twice(typed: Team) -> None:
    rows = [(f"K{n}", "AI@acme.example" if n % 2 else "ai@acme.example") for n in range(50)]
    things(typed, Kind.USER, Policy.REJECT, rows, match="never")
    typed.init_state()
    before = typed.calls()
    plan = typed.plan()
    assert typed.calls() - before == plan.api.planning_calls == 1, "fifty rows, one user, one call"
    typed.run()
    before = typed.calls()
    assert not typed.plan().has_changes
    assert typed.calls() == before, "rows that did not change ask nothing"


def test_rows_that_are_to_be_asked_for_need_an_org(typed: Team) -> None:
    things(typed, Kind.USER, Policy.REJECT, [("K1", "ai@acme.example")])
    typed.init_state()
    with pytest.raises(OrgError, match=r"things\.OwnerId names records of User that only the org knows"):
        plan_command(typed.options(offline=True))


def test_the_plan_names_who_was_found_and_the_org_gets_the_id(typed: Team) -> None:
    things(typed, Kind.USER, Policy.REJECT, [("K1", "ai@acme.example"), ("K2", "two@acme.example")])
    typed.init_state()
    plan = planned(typed.plan(), "things")
    (sample,) = plan.samples
    record = sample.changes["OwnerId"][1] or ""
    assert record.startswith("005")
    assert sample.names == {record: "ai@acme.example"}
    (row,) = plan.rejected_rows
    assert row.message.endswith("2 active users have Email two@acme.example")


def test_a_parent_of_this_run_is_there(typed: Team) -> None:
    """Its sync goes first; what is to be made counts, what is refused makes the child wait, or is missing."""
    for policy in (Policy.RESOLVE, Policy.NULL):
        world(typed.org)
        things(typed, Kind.EXTERNAL_ID, policy, [("K1", "A11"), ("K2", "A12"), ("K3", "A13")])
        accounts = {
            "model": "dim_accounts",
            "object": "Account",
            "identity": {"Account_Id__c": "id"},
            "fields": {"Name": "name"},
        }
        typed._syncs["accounts"] = {**accounts, "guards": {"max_reject_share": None}}
        typed.save()
        typed.accounts([("A11", "Eleven"), ("A12", None)])
        if policy is Policy.RESOLVE:
            typed.init_state()
        else:
            (typed.folder / ".sfsync/prod.duckdb").unlink()
            typed.init_state()
        counts = outcomes(typed.run(), "things")
        linked = {key for key, record in there(typed, Kind.EXTERNAL_ID).items() if "AccountId" in record}
        assert linked == {"K1"}
        expected = {"created": 1, "waiting": 1, "rejected": 1} if policy is Policy.RESOLVE else {"created": 3}
        assert counts == expected


def test_a_tree_whose_parents_are_looked_for(typed: Team) -> None:
    """Records of the same sync are on their way: they count as there, and the lookup follows."""
    things(typed, Kind.EXTERNAL_ID, Policy.NULL, [])
    fields = {
        "Name": "name",
        "ParentId": {"column": "phone", "lookup": "Account.Account_Id__c", "on_missing": "skip_field"},
    }
    typed._syncs["things"] = {
        "model": "dim_accounts",
        "object": "Account",
        "identity": {"Account_Id__c": "id"},
        "fields": fields,
    }
    typed.save()
    typed.accounts([("B1", "Root", "A1"), ("B2", "Child", "B1"), ("B3", "Odd", "B9")])
    typed.init_state()
    assert planned(typed.plan(), "things").changes.links == 1
    assert outcomes(typed.run(), "things") == {"created": 3}
    keys = {r["Id"]: r["Account_Id__c"] for r in typed.org.records("Account")}
    found = {r["Account_Id__c"]: keys.get(r.get("ParentId", "")) for r in typed.org.records("Account")}
    assert {key: found[key] for key in ("B1", "B2", "B3")} == {"B1": "A1", "B2": "B1", "B3": None}
    assert not typed.plan().has_changes
