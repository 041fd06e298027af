"""Which child relationships of a describe are kept, and their form in a contract."""

from __future__ import annotations

from typing import Any

import pytest

from sfsync import child_objects
from sfsync.child_objects import ChildLink, is_shadow
from sfsync.contract import Contract, SObject, from_json, to_file, to_json
from sfsync.errors import SpecError


def child(name: str, field: str = "ParentId", **more: bool) -> dict[str, Any]:
    return {"childSObject": name, "field": field, "cascadeDelete": True, "restrictedDelete": False, **more}


BODY = {
    "name": "Account",
    "fields": [],
    "childRelationships": [
        child("Task", "WhatId"),
        child("AccountHistory"),
        child("AccountFeed"),
        child("AccountShare"),
        child("AccountChangeEvent"),
        child("Invoice__Share"),
        child("Claim_History__c", "Account__c"),
        child("Hidden__c", deprecatedAndHidden=True),
        child("Asset", cascadeDelete=False),  # only cleared
        child("Order", "AccountId", cascadeDelete=False, restrictedDelete=True),
        child("Contact", "AccountId"),
        child("Contact", "AccountId"),  # a polymorphic lookup may be told twice
        {"childSObject": None, "field": None, "cascadeDelete": True},
    ],
}
LINKS = (
    ChildLink("Claim_History__c", "Account__c", True),
    ChildLink("Contact", "AccountId", True),
    ChildLink("Order", "AccountId", False),
    ChildLink("Task", "WhatId", True),
)


def test_what_matters_to_a_delete_is_kept() -> None:
    assert SObject.from_describe(BODY).children == LINKS
    assert [link.object for link in LINKS if link.guarded] == ["Claim_History__c", "Contact"]
    assert SObject.from_describe(BODY | {"childRelationships": []}).children == ()


@pytest.mark.parametrize(
    "name", ["AccountHistory", "Deal__History", "Deal__Share", "Deal__Feed", "Deal__Tag"]
)
def test_shadows(name: str) -> None:
    assert is_shadow(name)


@pytest.mark.parametrize("name", ["Feed__c", "Share__C", "Feedback", "Historian"])
def test_no_shadows(name: str) -> None:
    assert not is_shadow(name)


@pytest.mark.parametrize("children", [None, (), LINKS])
@pytest.mark.parametrize("text", [to_json, to_file])
def test_a_contract_says_it_in_a_stable_order(children: tuple[ChildLink, ...] | None, text: Any) -> None:
    made = SObject("Account", "Account", "001", True, True, True, (), children=children)
    mixed = SObject("Account", "Account", "001", True, True, True, (), children=children and children[::-1])
    written = text(Contract((made,)))
    assert from_json(written).objects == (made,)
    assert written == text(Contract((mixed,)))
    assert ("children" in written) == (children is not None)


def test_a_file_has_a_line_for_each() -> None:
    made = SObject("Account", "Account", "001", True, True, True, (), children=LINKS[1:3])
    lines = to_file(Contract((made,))).splitlines()
    assert '    "Contact.AccountId": "cascade",' in lines
    assert '    "Order.AccountId": "restrict"' in lines


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ([], "'children' must be a JSON object"),
        ({"Contact": "cascade"}, "must say"),
        ({"Contact.AccountId": "clear"}, "must say"),
        ({"Contact.AccountId": ["cascade"]}, "must say"),
        ({".AccountId": "cascade"}, "must say"),
    ],
)
def test_bad_forms(body: Any, what: str) -> None:
    with pytest.raises(SpecError, match=what):
        child_objects.from_json(body, "object Account", "schema/prod.json")
