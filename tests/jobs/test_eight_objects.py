"""The example in examples/crm: eight objects that refer to each other are loaded by one run and emptied by another."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sfsync.artifacts import Result
from sfsync.jobs.plan import plan_command
from sfsync.jobs.run import RunOptions, run_command
from sfsync.jobs.session import Options
from sfsync.local_org import control
from sfsync.plan.plan import Plan
from sfsync.project.load import load_project
from tests.conftest import OrgForTests
from tests.jobs.conftest import TestClock

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "crm"

KEYS = {  # object -> its key in the org, the seed that it comes from, and the seed's key
    "Account": ("Account_Id__c", "companies", "company_id"),
    "Contact": ("Customer_Id__c", "people", "person_id"),
    "Product__c": ("Product_Id__c", "products", "product_id"),
    "Subscription__c": ("Subscription_Id__c", "subscriptions", "subscription_id"),
    "Invoice__c": ("Invoice_Id__c", "invoices", "invoice_id"),
    "Invoice_Line__c": ("Line_Id__c", "invoice_lines", "line_id"),
    "Case": ("Case_Id__c", "tickets", "ticket_id"),
}
JUNCTION, JUNCTION_KEY = "Account_Product__c", "Account_Product_Id__c"
LINKS = [  # object, field, parent, and the column of the seed that names the parent
    ("Account", "ParentId", "Account", "parent_id"),
    ("Account", "Primary_Contact__c", "Contact", "primary_contact_id"),
    ("Contact", "AccountId", "Account", "company_id"),
    ("Contact", "ReportsToId", "Contact", "manager_id"),
    ("Subscription__c", "Account__c", "Account", "company_id"),
    ("Subscription__c", "Product__c", "Product__c", "product_id"),
    ("Subscription__c", "Billing_Contact__c", "Contact", "billing_contact_id"),
    ("Invoice__c", "Subscription__c", "Subscription__c", "subscription_id"),
    ("Invoice_Line__c", "Invoice__c", "Invoice__c", "invoice_id"),
    ("Invoice_Line__c", "Product__c", "Product__c", "product_id"),
    ("Case", "ContactId", "Contact", "person_id"),
    ("Case", "ParentId", "Case", "parent_ticket_id"),
]
ABOVE = [  # parent, child: no record of the parent goes before the last of the child
    ("Account", "Contact"),  # the other half of the circle only names a contact, and loses it
    ("Account", JUNCTION),
    ("Product__c", JUNCTION),
    ("Account", "Subscription__c"),
    ("Product__c", "Subscription__c"),
    ("Contact", "Subscription__c"),
    ("Subscription__c", "Invoice__c"),
    ("Invoice__c", "Invoice_Line__c"),
    ("Product__c", "Invoice_Line__c"),
    ("Account", "Case"),
    ("Contact", "Case"),
]
OWN_GUARDS = "  guards: { min_rows: 0, max_delete_share: null }\n"
"""What the README says to write below `syncs:` in order to empty everything."""


@dataclass
class Crm:
    """A copy of the example, and the org that belongs to it."""

    folder: Path
    org: OrgForTests

    @property
    def options(self) -> Options:
        return Options(project_dir=self.folder, env={}, clock=TestClock())

    def plan(self) -> Plan:
        return plan_command(self.options)

    def run(self, *allow: str, undo: str | None = None) -> Result:
        result = run_command(self.options, RunOptions(allow=allow, undo=undo))
        assert all(item.closes for item in result.syncs), result.syncs
        return result

    def seed(self, name: str) -> list[dict[str, str]]:
        with (self.folder / "seeds" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def empty_seeds(self) -> None:
        """Leave the head line of each."""
        for path in (self.folder / "seeds").glob("*.csv"):
            path.write_text(path.read_text("utf-8").splitlines()[0] + "\n", "utf-8")

    def keys(self, sobject: str) -> dict[str, str]:
        """Id -> key of the records that are there."""
        return {r["Id"]: r[KEYS[sobject][0]] for r in self.org.records(sobject)}


@pytest.fixture
def crm(tmp_path: Path) -> Iterator[Crm]:
    folder = tmp_path / "crm"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".sfsync", "target"))
    private = folder / ".sfsync" / "org"
    org = OrgForTests(control.start(private, schema=folder / "schema" / "local.json"), private)
    try:
        org.begin()
        yield Crm(folder, org)
    finally:
        control.stop(private)


def counts(result: Result) -> dict[str, dict[str, int]]:
    """Sync -> outcomes, those of rows and those of removed records together."""
    return {
        item.name: {str(o): item.count(o) for o in {*item.model, *item.removals} if item.count(o)}
        for item in result.syncs
    }


def test_eight_objects_are_loaded_by_one_run_emptied_by_another_and_brought_back(crm: Crm) -> None:
    sizes = load(crm)
    check_links(crm)
    check_owners(crm)
    check_parents_are_held(crm)

    before = counted(crm)
    plan = crm.plan()
    assert not plan.has_changes
    assert (plan.api.calls, counted(crm)) == (0, before)

    allow, emptying = emptied(crm, sizes)
    check_order(crm, sum(sizes.values()))
    again = crm.run(*allow)
    assert (again.exit_code, set(map(len, counts(again).values()))) == (0, {0})
    assert not plan_command(crm.options, allow=allow).has_changes

    back = crm.run(undo=emptying)
    assert counts(back) == {name: {"restored": n} for name, n in sizes.items()}
    shutil.copytree(EXAMPLE / "seeds", crm.folder / "seeds", dirs_exist_ok=True)
    check_links(crm)
    check_owners(crm)


def load(crm: Crm) -> dict[str, int]:
    """One run from nothing; the number of records of each sync."""
    result = crm.run()
    assert result.exit_code == 0
    found = counts(result)
    assert len(found) == len({item.object for item in result.syncs}) == 8
    assert {frozenset(outcomes) for outcomes in found.values()} == {frozenset({"created"})}
    sizes = {item.object: found[item.name]["created"] for item in result.syncs}
    for sobject, (_, seed, key) in KEYS.items():
        assert set(crm.keys(sobject).values()) == {row[key] for row in crm.seed(seed)}
        assert sizes[sobject] == len(crm.seed(seed)) > 0
    return {item.name: found[item.name]["created"] for item in result.syncs}


def check_links(crm: Crm) -> None:
    """Every lookup is what the seeds say, the circle and the trees included."""
    keys = {sobject: crm.keys(sobject) for sobject in KEYS}
    for sobject, field, parent, column in LINKS:
        key, seed, seed_key = KEYS[sobject]
        wanted = {row[seed_key]: row[column] or None for row in crm.seed(seed)}
        assert any(wanted.values())
        records = crm.org.records(sobject)
        found = {r[key]: keys[parent][r[field]] if r.get(field) else None for r in records}
        assert found == wanted, f"{sobject}.{field}"
    accounts, products = keys["Account"], keys["Product__c"]
    pairs = {(accounts[r["Account__c"]], products[r["Product__c"]]) for r in crm.org.records(JUNCTION)}
    bought = [row for row in crm.seed("subscriptions") if row["status"] != "cancelled"]
    assert pairs == {(row["company_id"], row["product_id"]) for row in bought}
    assert 0 < len(pairs) == len(crm.org.records(JUNCTION))


def check_owners(crm: Crm) -> None:
    """One field, two kinds of owner: users have the cases, the queue has the subscriptions."""
    users = {r["Id"]: r["Username"] for r in crm.org.records("User")}
    agents = {row["ticket_id"]: f"{row['agent']}@local.sfsync.example" for row in crm.seed("tickets")}
    assert len(set(agents.values())) == 2
    assert {r["Case_Id__c"]: users[r["OwnerId"]] for r in crm.org.records("Case")} == agents
    queues = {r["Id"]: r["DeveloperName"] for r in crm.org.records("Group")}
    assert {queues.get(r["OwnerId"]) for r in crm.org.records("Subscription__c")} == {"Support_Queue"}


def check_parents_are_held(crm: Crm) -> None:
    """In this org the order of deletes matters: a parent with children does not go."""
    for sobject in ("Account", "Product__c"):
        sold = {r[sobject.removesuffix("__c") + "__c"] for r in crm.org.records("Subscription__c")}
        record = next(r for r in crm.org.records(sobject) if r["Id"] in sold)
        [answer] = crm.org.delete(f"/composite/sobjects?ids={record['Id']}").json()
        [error] = answer["errors"]
        assert error["statusCode"] == "DELETE_FAILED"
        assert error["message"].startswith(f"Your attempt to delete {record['Name']} ")


def emptied(crm: Crm, sizes: dict[str, int]) -> tuple[list[str], str]:
    """Empty all seeds, see the plan refused, and run with each guard allowed by name; the guards, and the run's id."""
    crm.empty_seeds()
    allow = [refusal.allow or "" for refusal in crm.plan().refusals]
    assert {f"{sync}.min_rows" for sync in sizes} < set(allow)
    assert {name.split(".")[1] for name in allow} == {"min_rows", "max_delete_share"}
    project = crm.folder / "sfsync_project.yml"
    text = project.read_text("utf-8")
    project.write_text(text.replace("  mode: mirror\n", f"  mode: mirror\n{OWN_GUARDS}"), "utf-8")
    assert (crm.plan().refusals, crm.plan().has_changes) == ((), True)
    project.write_text(text, "utf-8")

    crm.org.start = crm.org.local("GET", "/_local/journal?after=0")["last"]  # from here on, deletes
    result = crm.run(*allow)
    assert (result.exit_code, counts(result)) == (0, {name: {"deleted": n} for name, n in sizes.items()})
    for sobject in (*KEYS, JUNCTION):
        assert crm.org.records(sobject) == []
    return allow, result.run_id


def check_order(crm: Crm, total: int) -> None:
    """The org's own journal: each record went by a delete of its own, children before parents."""
    writes: list[dict[str, Any]] = crm.org.writes()
    assert ({w["operation"] for w in writes}, len(writes)) == ({"deleted"}, total)
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for place, write in enumerate(writes):
        first.setdefault(write["object"], place)
        last[write["object"]] = place
    for parent, child in ABOVE:
        assert last[child] < first[parent], f"{parent} went before the last {child}"


def counted(crm: Crm) -> int:
    """API calls that the org has counted."""
    return sum(1 for request in crm.org.requests() if request["counted"])


def test_it_loads_without_a_warning_and_its_readme_knows_the_guards() -> None:
    project = load_project(EXAMPLE, vars=None)
    assert project.warnings == ()
    assert {sync.spec.mode for sync in project.syncs} == {"mirror"}
    assert OWN_GUARDS.strip() in (EXAMPLE / "README.md").read_text("utf-8")
