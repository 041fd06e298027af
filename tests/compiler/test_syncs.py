"""Syncs among each other: order, circles, fields that two write, and what a manifest says of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sfsync.compiler.manifest import Api, Guards, OnGone, OnLimit, OnRemoved
from sfsync.compiler.surroundings import OrgView
from sfsync.contract import Field
from tests.compiler.conftest import org_of

MODELS = {
    "models/c.sql": "select customer_id, account_id, last_name, title from raw.customers",
    "models/a.sql": "select account_id, name, parent from raw.accounts",
}
ACCOUNTS = """version: 1
syncs:
  - name: accounts
    model: a
    object: Account
    identity: {Account_Id__c: account_id}
    fields: {Name: name}
"""
CONTACTS = """version: 1
syncs:
  - name: contacts
    model: c
    object: Contact
    identity: {Customer_Id__c: customer_id}
    fields:
      LastName: last_name
      AccountId: {column: account_id, lookup: Account.Account_Id__c}
"""


def test_parents_come_first_whatever_the_names(lab) -> None:
    found = lab.compile(MODELS | {"syncs/z.yml": ACCOUNTS, "syncs/a.yml": CONTACTS})
    assert found.levels == (("accounts",), ("contacts",))
    assert [s.name for s in found.syncs] == ["accounts", "contacts"]
    assert found.syncs[1].parents == ("accounts",)


def test_a_parent_that_only_writes_the_field_goes_first_and_is_no_key_holder(lab) -> None:
    accounts = ACCOUNTS.replace("{Account_Id__c: account_id}", "{Other__c: account_id}")
    accounts = accounts.replace("{Name: name}", "{Name: name, Account_Id__c: parent}")
    found = lab.compile(MODELS | {"syncs/z.yml": accounts, "syncs/a.yml": CONTACTS}, blind=True)
    assert found.levels == (("accounts",), ("contacts",))
    assert found.outlines[1].after == ("accounts",)


def test_priority_orders_a_level(lab) -> None:
    late = CONTACTS.replace("contacts", "first").replace("Customer_Id__c: customer_id", "Email: customer_id")
    late = (
        late.replace(
            "LastName: last_name\n      AccountId: {column: account_id, lookup: Account.Account_Id__c}",
            "LastName: {column: last_name, shared: true}",
        )
        + "    priority: 5\n"
    )
    contacts = CONTACTS.replace("LastName: last_name", "LastName: {column: last_name, shared: true}")
    found = lab.compile(MODELS | {"syncs/a.yml": contacts, "syncs/b.yml": late})
    assert found.levels == (("first", "contacts"),)
    assert (found.syncs[0].siblings, found.syncs[1].siblings) == (("contacts",), ("first",))


CIRCLE = ACCOUNTS.replace(
    "{Name: name}", "{Name: name, Main__c: {column: parent, lookup: Contact.Customer_Id__c}}"
)
TREE = ACCOUNTS.replace(
    "{Name: name}", "{Name: name, ParentId: {column: parent, lookup: Account.Account_Id__c}}"
)


@pytest.mark.parametrize(("one", "two"), [("syncs/a.yml", "syncs/c.yml"), ("syncs/z.yml", "syncs/c.yml")])
def test_a_circle_is_opened_at_the_same_place_whatever_the_files(lab, one: str, two: str) -> None:
    found = lab.compile(MODELS | {one: CIRCLE, two: CONTACTS}, blind=True)
    assert found.levels == (("accounts",), ("contacts",))
    late = {outline.name: (outline.after, outline.late) for outline in found.outlines}
    assert late == {"accounts": ((), (("Main__c", "contacts"),)), "contacts": (("accounts",), ())}


def _with(**changed: Field) -> OrgView:
    """The org, with these fields put in or replaced."""
    objects = []
    for name, field in changed.items():
        found = org_of().contract.object(name)
        objects.append(replace(found, fields=(*(f for f in found.fields if f.name != field.name), field)))
    return org_of(*objects)


def _main(**flags: bool) -> Field:
    return Field(
        "Main__c", "Main", "reference", reference_to=("Contact",), relationship_name="Main__r", **flags
    )


def test_a_circle_is_opened_where_the_org_lets_it(lab) -> None:
    found = lab.compile(
        MODELS | {"syncs/a.yml": CIRCLE, "syncs/c.yml": CONTACTS}, org=_with(Account=_main(updateable=False))
    )
    assert found.levels == (("contacts",), ("accounts",))
    assert [(sync.name, sync.late) for sync in found.syncs] == [("contacts", ("accounts",)), ("accounts", ())]


def test_a_circle_that_cannot_be_opened_is_named_with_all_fields(lab) -> None:
    fixed = Field(
        "AccountId",
        "Account",
        "reference",
        nillable=False,
        reference_to=("Account",),
        relationship_name="Account",
    )
    found = lab.refused(
        MODELS | {"syncs/a.yml": CIRCLE, "syncs/c.yml": CONTACTS},
        org=_with(Account=_main(updateable=False), Contact=fixed),
    )
    assert found[0] == (
        "syncs/a.yml:7:52: syncs look up each other in a circle: accounts.Main__c -> contacts, "
        "contacts.AccountId -> accounts; none of these lookups can be sent after the record is made",
        "make one of these fields optional and editable, or leave it out",
    )


def test_a_lookup_into_the_own_object_is_late(lab) -> None:
    (sync,) = lab.compile(MODELS | {"syncs/a.yml": TREE}).syncs
    assert sync.late == ("accounts",)


def test_a_lookup_into_the_own_object_must_be_editable(lab) -> None:
    fixed = Field(
        "ParentId",
        "Parent",
        "reference",
        updateable=False,
        reference_to=("Account",),
        relationship_name="Parent",
    )
    found = lab.refused(MODELS | {"syncs/a.yml": TREE}, org=_with(Account=fixed))
    assert (
        "Account.ParentId looks up its own object, and can only be set when a record is made" in found[0][0]
    )


@pytest.mark.parametrize(
    ("one", "two", "shared"),
    [
        ("Title: title", "Title: title", False),
        ("Title: {column: title, shared: true}", "Title: title", False),
        ("Title: title", "title: {column: title, shared: true}", False),
        ("Title: {column: title, shared: true}", "Title: {column: title, shared: true}", True),
        ("Title: title", "Department: title", True),
        ("Title: title", "Customer_Id__c: title", False),
        ("Title: title", "Customer_Id__c: {column: title, shared: true}", True),
    ],
)
def test_one_field_written_twice(lab, one: str, two: str, shared: bool) -> None:
    base = (
        CONTACTS.split("    fields:")[0]
        + "    fields: {{LastName: {{column: last_name, shared: true}}, {}}}\n"
    )
    second = base.replace("contacts", "more").replace("Customer_Id__c: customer_id", "Email: customer_id")
    files = MODELS | {"syncs/a.yml": _fill(base, one), "syncs/b.yml": _fill(second, two)}
    if shared:
        assert len(lab.compile(files).syncs) == 2
    else:
        (found,) = lab.refused(files)
        assert "both write Contact." in found[0]
        assert found[1] == "map it in one of them, or say `shared: true` in both"


@pytest.mark.parametrize(
    ("one", "two", "told"),
    [
        ("{set: {Title: Left}}", "{set: {title: Gone}}", "set"),
        ("{set: {Title: Left}, shared: true}", "{set: {title: Gone}}", "set"),
        ("{set: {Title: Left}, shared: true}", "{set: {title: Gone}, shared: true}", ""),
        ("{set: {Title: Left}}", "{set: {Department: Gone}, on_return: {Title: Back}}", "set"),
        ("{set: {Title: Left}}", "mapped", "set"),
        ("{set: {Title: Left}}", "{set: {Department: Gone}}", ""),
    ],
)
def test_one_field_set_where_rows_leave_and_written_by_another(lab, one: str, two: str, told: str) -> None:
    fields = "    fields: {LastName: {column: last_name, shared: true}}\n"
    base = CONTACTS.split("    fields:")[0]
    second = base.replace("contacts", "more").replace("Customer_Id__c: customer_id", "Email: customer_id")
    other = f"    on_removed: {two}\n" + fields
    if two == "mapped":
        other = "    fields: {Title: title, LastName: {column: last_name, shared: true}}\n"
    files = MODELS | {"syncs/a.yml": f"{base}    on_removed: {one}\n{fields}", "syncs/b.yml": second + other}
    if not told:
        assert len(lab.compile(files).syncs) == 2
        return
    (found,) = lab.refused(files)
    assert "both write Contact.Title" in found[0]
    assert (
        found[1] == f"{told} it in one of them, or say `shared: true` in both (in on_removed, beside `set`)"
    )


def _fill(text: str, fields: str) -> str:
    return text.replace("{{", "{").replace("}}", "}").replace("{}", fields)


def test_options_become_values(lab) -> None:
    more = """    on_removed: delete
    on_gone: stop
    on_limit: refuse
    delete_adopted: true
    results: all
    retry_rejected_after: 12h
    push: {api: bulk, send: all}
    guards: {max_deletes: null, max_delete_share: 50%}
    tags: [crm]
"""
    found = lab.compile(MODELS | {"syncs/a.yml": ACCOUNTS + more}).syncs[0]
    assert (found.on_removed, found.on_gone, found.on_limit) == (
        OnRemoved.DELETE,
        OnGone.STOP,
        OnLimit.REFUSE,
    )
    assert (found.api, found.send_all, found.results_all, found.delete_adopted) == (
        Api.BULK,
        True,
        True,
        True,
    )
    assert found.retry_rejected_after_s == 43_200
    assert found.guards == Guards(max_deletes=None, max_delete_share=0.5, min_rows=1)
    assert (found.tags, found.timezone, found.path, found.object_label) == (
        ("crm",),
        "UTC",
        "syncs/a.yml",
        "Account",
    )


def test_default_guards(lab) -> None:
    assert lab.compile(MODELS | {"syncs/a.yml": ACCOUNTS}).syncs[0].guards == Guards()
