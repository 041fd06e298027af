"""Two contracts and what differs between them: a table of changes, their words, and whom they trouble."""

from __future__ import annotations

import ast
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import sfsync
from sfsync.child_objects import ChildLink
from sfsync.contract import ALL, USED, Contract, Field, SObject, from_json, to_file
from sfsync.drift import Effect, compare, notes, shape, used_part
from sfsync.project.spec import SyncSpec
from sfsync.project.usage import Usage, usage_of_syncs

ORG = from_json((Path(sfsync.__file__).parent / "local_org" / "schema.json").read_text("utf-8"))

KEY = Field("Key__c", "Key", "string", length=20, external_id=True, id_lookup=True, unique=True)
WIDGET = SObject(
    "Widget__c",
    "Widget",
    "a01",
    createable=True,
    updateable=True,
    deletable=True,
    fields=(
        KEY,
        Field("Title__c", "Title", "string", length=80),
        Field("Price__c", "Price", "currency", precision=16, scale=2),
        Field("Seats__c", "Seats", "int", digits=8),
        Field("Plan__c", "Plan", "picklist", length=255, restricted_picklist=True, picklist=("Free", "Pro")),
        Field("Colour__c", "Colour", "picklist", length=255, picklist=("Blue", "Red")),
        Field("Owner__c", "Owner", "reference", reference_to=("Account",), relationship_name="Owner__r"),
        Field("Unused__c", "Unused", "string", length=10),
    ),
)
PARENT = SObject(
    "Account",
    "Account",
    "001",
    createable=True,
    updateable=True,
    deletable=True,
    fields=(replace(KEY, name="Account_Id__c"),),
)
SPEC: dict[str, Any] = {
    "name": "widgets",
    "model": "m",
    "object": "widget__c",  # as people write it
    "identity": {"Key__c": "id"},
    "fields": {
        "title__c": "title",
        "Price__c": "price",
        "Seats__c": "seats",
        "Plan__c": "plan",
        "Colour__c": "colour",
        "Owner__c": {"column": "account", "lookup": "Account.Account_Id__c"},
    },
    "on_removed": "delete",
}
STOPS, ROWS, NONE = Effect.STOPS, Effect.ROWS, Effect.NONE


def usage(**changes: Any) -> Usage:
    return usage_of_syncs([SyncSpec.model_validate(SPEC | changes)])


def contract(*objects: SObject, scope: str = USED) -> Contract:
    return Contract(objects, "00D000000000001AAA", "etl@acme.com", "67.0", scope=scope)


def with_field(name: str, sobject: SObject = WIDGET, **values: Any) -> SObject:
    return replace(
        sobject, fields=tuple(replace(f, **values) if f.name == name else f for f in sobject.fields)
    )


def without(name: str) -> SObject:
    return replace(WIDGET, fields=tuple(f for f in WIDGET.fields if f.name != name))


def more(field: Field) -> SObject:
    return replace(WIDGET, fields=(*WIDGET.fields, field))


DETAIL = ChildLink("Part__c", "Widget__c", cascades=True)
BLOCK = ChildLink("Order__c", "Widget__c", cascades=False)


def linked(*links: ChildLink) -> SObject:
    return replace(WIDGET, children=links)


NEED = Field("Need__c", "Need", "string", length=10, nillable=False)
CASES: list[tuple[str, SObject, SObject, str, str, Effect]] = [
    # was, now, "place kind", words, effect
    ("narrowed", WIDGET, with_field("Title__c", length=40), "Widget__c.Title__c narrowed", "narrowed from 80 to 40 characters", ROWS),
    ("widened", WIDGET, with_field("Title__c", length=255), "Widget__c.Title__c widened", "widened from 80 to 255 characters", NONE),
    ("digits", WIDGET, with_field("Price__c", precision=12), "Widget__c.Price__c narrowed", "narrowed from 14 to 10 digits before the point", ROWS),
    ("scale", WIDGET, with_field("Price__c", precision=14, scale=0), "Widget__c.Price__c rounded", "0 digits behind the point now, was 2: values are rounded", ROWS),
    ("whole", WIDGET, with_field("Seats__c", digits=4), "Widget__c.Seats__c narrowed", "narrowed from 8 to 4 digits before the point", ROWS),
    ("type", WIDGET, with_field("Title__c", type="textarea"), "Widget__c.Title__c type", "of type textarea now, was string", STOPS),
    ("gone", WIDGET, without("Title__c"), "Widget__c.Title__c field_gone", "gone from the org, or hidden from this user", STOPS),
    ("unused gone", WIDGET, without("Unused__c"), "Widget__c.Unused__c field_gone", "gone from the org, or hidden from this user", NONE),
    ("unused narrowed", WIDGET, with_field("Unused__c", length=1), "Widget__c.Unused__c narrowed", "narrowed from 10 to 1 characters", NONE),
    ("unused type", WIDGET, with_field("Unused__c", type="phone"), "Widget__c.Unused__c type", "of type phone now, was string", NONE),
    ("values", WIDGET, with_field("Plan__c", picklist=("Pro",)), "Widget__c.Plan__c values_gone", 'value "Free" gone from the list', ROWS),
    ("free values", WIDGET, with_field("Colour__c", picklist=()), "Widget__c.Colour__c values_gone", 'values "Blue", "Red" gone from the list', NONE),
    ("new value", WIDGET, with_field("Plan__c", picklist=("Free", "Pro", "Max")), "Widget__c.Plan__c values_new", 'value "Max" new in the list', NONE),
    ("restricted", WIDGET, with_field("Colour__c", restricted_picklist=True), "Widget__c.Colour__c restricted", "takes only the values of its list now", ROWS),
    ("free", WIDGET, with_field("Plan__c", restricted_picklist=False), "Widget__c.Plan__c unrestricted", "takes values that are not in its list now", NONE),
    ("required", WIDGET, with_field("Title__c", nillable=False), "Widget__c.Title__c required", "became required: a row without a value is refused", ROWS),
    ("unmapped required", WIDGET, with_field("Unused__c", nillable=False), "Widget__c.Unused__c required", "nothing is created without it now, and no sync maps it", STOPS),
    ("new required", WIDGET, more(NEED), "Widget__c.Need__c required_new", "new, and nothing is created without it: string of 10 characters, required; no sync maps it", STOPS),
    ("optional", with_field("Title__c", nillable=False), WIDGET, "Widget__c.Title__c optional", "may be blank now", NONE),
    ("closed", WIDGET, with_field("Title__c", createable=False, updateable=False), "Widget__c.Title__c lost_access", "this user may see it, but it may not be set on create or updated any more", STOPS),
    ("formula", WIDGET, with_field("Title__c", createable=False, updateable=False, calculated=True), "Widget__c.Title__c lost_access", "a formula now, so it may not be set on create or updated any more", STOPS),
    ("once", WIDGET, with_field("Title__c", updateable=False), "Widget__c.Title__c lost_access", "this user may see it, but it may not be updated any more", ROWS),
    ("key not set", WIDGET, with_field("Key__c", createable=False), "Widget__c.Key__c lost_access", "this user may see it, but it may not be set on create any more", STOPS),
    ("open", with_field("Title__c", updateable=False), WIDGET, "Widget__c.Title__c gained_access", "may be updated now", NONE),
    ("no key", WIDGET, with_field("Key__c", external_id=False, id_lookup=False), "Widget__c.Key__c no_external_id", "no external id any more", STOPS),
    ("key not unique", WIDGET, with_field("Key__c", unique=False), "Widget__c.Key__c not_unique", "not unique any more", ROWS),
    ("unique", WIDGET, with_field("Title__c", unique=True), "Widget__c.Title__c unique", "must be unique now", ROWS),
    ("case", WIDGET, with_field("Key__c", case_sensitive=True), "Widget__c.Key__c case", "tells small from capital letters now", ROWS),
    ("parent", WIDGET, with_field("Owner__c", reference_to=("Lead",)), "Widget__c.Owner__c refers", "does not refer to Account any more", STOPS),
    ("relationship", WIDGET, with_field("Owner__c", relationship_name="Boss__r"), "Widget__c.Owner__c relationship", "relationship Owner__r -> Boss__r", STOPS),
    ("label", WIDGET, with_field("Title__c", label="Name"), "Widget__c.Title__c other", 'label "Title" -> "Name"', NONE),
    ("no create", WIDGET, replace(WIDGET, createable=False), "Widget__c lost_create", "this user may not create records any more", STOPS),
    ("no delete", WIDGET, replace(WIDGET, deletable=False), "Widget__c lost_delete", "this user may not delete records any more", STOPS),
    ("may delete", replace(WIDGET, deletable=False), WIDGET, "Widget__c gained_delete", "this user may delete records now", NONE),
    ("record types", WIDGET, replace(WIDGET, record_types=2), "Widget__c record_types", "has record types now, which may narrow picklists", NONE),
    ("parent's key", PARENT, replace(PARENT, fields=(replace(PARENT.fields[0], unique=False),)), "Account.Account_Id__c not_unique", "not unique any more", STOPS),
    ("cascades", linked(), linked(DETAIL), "Widget__c cascades", "Part__c.Widget__c cascades now: its records are deleted along with these", STOPS),
    ("notes cascade", linked(), linked(ChildLink("Note", "ParentId", True)), "Widget__c cascades", "Note.ParentId cascades now: its records are deleted along with these", ROWS),
    ("restricts", linked(), linked(BLOCK), "Widget__c restricts", "Order__c.Widget__c forbids deletes now: a record is refused while one of its records refers to it", ROWS),
    ("restricts no more", linked(replace(DETAIL, cascades=False)), linked(DETAIL), "Widget__c cascades", "Part__c.Widget__c cascades now: its records are deleted along with these", STOPS),
    ("released", linked(DETAIL, BLOCK), linked(BLOCK), "Widget__c released", "Part__c.Widget__c no longer cascades", NONE),
    ("not pulled", without("Title__c"), WIDGET, "Widget__c.Title__c not_pulled", "used, and not in the contract: string of 80 characters", STOPS),
]  # fmt: skip


@pytest.mark.parametrize(
    ("was", "now", "place", "what", "effect"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_each_difference(was: SObject, now: SObject, place: str, what: str, effect: Effect) -> None:
    others = (PARENT,) if was.name != "Account" else (WIDGET,)
    found = compare(contract(was, *others), contract(now, *others), usage())
    told = [(f"{d.place} {d.kind}", d.what) for d in found]
    if place.endswith(("refers", "required")) and len(found) == 2:
        told = [t for t in told if t == (place, what)]
    assert (place, what) in told
    assert len(told) == 1
    drift = next(d for d in found if f"{d.place} {d.kind}" == place and d.what == what)
    assert drift.effect is effect
    assert drift.breaking == (effect is not NONE)
    assert str(drift) == f"{drift.place}: {what}"
    assert drift.syncs == (("widgets",) if drift.breaking or drift.field is None else ())


def test_what_no_sync_uses_breaks_nothing() -> None:
    """Every change of the table, of objects that the project does not use."""
    nobody = usage_of_syncs([])
    for _, was, now, _, _, _ in CASES:
        assert not [d for d in compare(contract(was), contract(now), nobody) if d.breaking]


def test_an_object_that_is_gone() -> None:
    (found,) = compare(contract(WIDGET, PARENT), contract(PARENT), usage())
    assert str(found) == "Widget__c: gone from the org, or this user may not see it"
    assert (found.effect, found.syncs) == (STOPS, ("widgets",))
    (found,) = compare(contract(WIDGET, PARENT), contract(WIDGET), usage())
    assert (found.place, found.effect, found.syncs) == (
        "Account",
        STOPS,
        ("widgets",),
    )  # looks parents up there
    (found,) = compare(contract(PARENT), contract(WIDGET, PARENT), usage())
    assert (found.kind, found.effect) == ("not_pulled", STOPS)


def test_deleting_counts_only_where_something_is_deleted() -> None:
    now = contract(replace(WIDGET, deletable=False), PARENT)
    (found,) = compare(contract(WIDGET, PARENT), now, usage(on_removed="keep"))
    assert found.effect is NONE


def test_new_fields_are_told_of_a_contract_that_has_all() -> None:
    now = contract(more(Field("New__c", "New", "email", length=80)), PARENT)
    assert compare(contract(WIDGET, PARENT), now, usage()) == ()
    (found,) = compare(contract(WIDGET, PARENT, scope=ALL), now, usage())
    assert (found.what, found.effect) == ("new: email of 80 characters", NONE)


def test_the_order_of_a_picklist_is_no_difference() -> None:
    turned = with_field("Plan__c", picklist=("Pro", "Free"))
    assert compare(contract(WIDGET), contract(turned)) == ()


def test_a_contract_has_no_drift_from_itself() -> None:
    for scope in (USED, ALL):
        whole = replace(ORG, scope=scope)
        assert compare(whole, whole) == ()


def test_any_change_of_any_property_is_a_difference() -> None:
    """Nothing that a contract holds of a field is lost in the comparison."""
    sample = {str: "other", int: 7, bool: None, tuple: ("x",), type(None): "other"}
    for name in Field.__dataclass_fields__:
        if name == "name":
            continue
        field = WIDGET.fields[1]
        value = getattr(field, name)
        changed = with_field(
            "Title__c", **{name: (not value) if isinstance(value, bool) else sample[type(value)]}
        )
        assert compare(contract(WIDGET), contract(changed)), name


def test_notes_of_another_org_user_and_version() -> None:
    was = contract(WIDGET)
    assert notes(was, was) == ()
    now = replace(was, org_id="00D000000000002AAA", username="ann@acme.com", api_version="66.0")
    assert notes(was, now) == (
        "the contract is of org 00D000000000001AAA, and this is org 00D000000000002AAA",
        "the rights in the contract are those of etl@acme.com, and this is ann@acme.com",
        "the contract was read with API 67.0, and this is API 66.0",
    )


def test_the_used_part_has_what_a_compile_reads() -> None:
    org = contract(
        more(NEED),
        PARENT,
        SObject("Lead", "Lead", "00Q", createable=True, updateable=True, deletable=True, fields=()),
    )
    part = used_part(org, usage())
    assert [o.name for o in part.objects] == ["Widget__c", "Account"]
    assert [f.name for f in part.objects[0].fields] == [
        *("Key__c", "Title__c", "Price__c", "Seats__c", "Plan__c", "Colour__c", "Owner__c", "Need__c")
    ]
    assert compare(part, org, usage()) == tuple(d for d in compare(org, org, usage()))


def test_amounts_bring_their_currency_and_what_cannot_be_written_whole_its_parts() -> None:
    code = Field("CurrencyIsoCode", "Currency", "picklist", 3, nillable=False, defaulted_on_create=True)
    money = replace(next(f for f in WIDGET.fields if f.name == "Price__c"), type="currency")
    title = replace(
        next(f for f in WIDGET.fields if f.name == "Title__c"), createable=False, updateable=False
    )
    part, other = (
        Field(f"Part{n}__c", "Part", "string", compound_field_name=name)
        for n, name in ((1, "Title__c"), (2, "Key__c"))
    )
    others = tuple(f for f in WIDGET.fields if f.name not in ("Price__c", "Title__c"))
    one = replace(WIDGET, fields=(*others, money, title, part, other))
    several = replace(one, fields=(*one.fields, code))
    kept = {f.name for f in used_part(contract(several, PARENT), usage()).objects[0].fields}
    assert {"CurrencyIsoCode", "Part1__c"} <= kept
    assert "Part2__c" not in kept
    old, new = (used_part(contract(w, PARENT), usage()) for w in (one, several))
    [found] = [d for d in compare(old, contract(several, PARENT), usage()) if d.kind == "currencies"]
    assert (found.field, found.effect, found.syncs) == ("CurrencyIsoCode", Effect.STOPS, ("widgets",))
    assert "which the file does not know" in found.what
    assert not [d for d in compare(new, contract(several, PARENT), usage()) if d.kind == "currencies"]
    # One sync makes records without amounts, another only writes them into records that are there: a compile warns.
    fields = {"title__c": "title"}
    makers = [SPEC | {"fields": fields}, SPEC | {"name": "prices", "mode": "update", "on_removed": "keep"}]
    both = usage_of_syncs(map(SyncSpec.model_validate, makers))
    [found] = [d for d in compare(old, contract(several, PARENT), both) if d.kind == "currencies"]
    assert (found.effect, found.syncs) == (NONE, ("prices",))


def test_what_hangs_on_records_that_no_sync_deletes_breaks_nothing() -> None:
    found = compare(
        contract(linked(), PARENT), contract(linked(DETAIL, BLOCK), PARENT), usage(on_removed="keep")
    )
    assert [(d.kind, d.effect) for d in found] == [("restricts", NONE), ("cascades", NONE)]
    old = compare(contract(WIDGET, PARENT), contract(linked(DETAIL), PARENT), usage())
    assert old == ()  # a file of before did not say


def test_what_hangs_on_parents_is_not_in_a_file() -> None:
    org = contract(linked(DETAIL), replace(PARENT, children=(DETAIL,)))
    kept = {o.name: o.children for o in used_part(org, usage()).objects}
    assert kept == {"Widget__c": (DETAIL,), "Account": None}


def test_shapes_in_words() -> None:
    account = ORG.object("Account")
    assert account is not None
    told = {
        name: shape(field) for name in ("Id", "ParentId", "AnnualRevenue") if (field := account.field(name))
    }
    assert told["ParentId"] == "reference to Account"
    assert told["AnnualRevenue"] == "currency of 18 + 0 digits"
    assert told["Id"].startswith("id")


def test_the_page_names_every_kind() -> None:
    """docs/reference/contract.md: each kind that the code can give, and no other."""
    root = Path(__file__).resolve().parents[1]
    text = (root / "docs/reference/contract.md").read_text("utf-8").partition("## Differences")[2]
    told = set(re.findall(r"`([a-z]+(?:_[a-z]+)*)`", text)) - {"stops", "rows", "kind"}
    source = (root / "sfsync/drift.py").read_text("utf-8")
    made = {kind for kind in _words(source) if not kind.startswith(("lost_{", "gained_{"))}
    assert told == made


def _words(source: str) -> set[str]:
    """The first word of every finding: yielded, returned, or made from a right."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Tuple) and len(node.elts) == 3:
            first = node.elts[0]
            for part in (first.body, first.orelse) if isinstance(first, ast.IfExp) else (first,):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    found.add(part.value)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Drift":
            kind = node.args[2]
            if isinstance(kind, ast.Constant):
                found.add(str(kind.value))
    rights = {f"{word}_{right}" for word in ("lost", "gained") for right in ("create", "update", "delete")}
    return (found | rights | {"narrowed", "widened"}) - {
        "created",
        "updated",
        "deleted",
        "create",
        "update",
        "delete",
    }


# ---------------------------------------------------------------- the file


def test_the_file_reads_back_whatever_is_in_it() -> None:
    rng = random.Random(7)
    for _ in range(50):
        objects = []
        for sobject in rng.sample(ORG.objects, 4):
            kept = tuple(f for f in sobject.fields if rng.random() < 0.4)
            kept = tuple(replace(f, label=rng.choice([f.label, 'a "q" \\ ü\n', ""])) for f in kept)
            objects.append(replace(sobject, fields=kept))
        made = contract(*objects, scope=rng.choice([USED, ALL]))
        read = from_json(to_file(made))
        assert compare(made, read) == compare(read, made) == ()
        assert (read.org_id, read.username, read.api_version, read.scope) == (
            *(made.org_id, made.username, made.api_version, made.scope),
        )
        assert to_file(read) == to_file(made)


def test_a_change_of_a_field_is_a_change_of_its_line() -> None:
    def lines(sobject: SObject) -> list[str]:
        return to_file(contract(sobject)).splitlines()

    def differing(now: SObject) -> list[str]:
        return [line.strip() for line in lines(now) if line not in lines(WIDGET)]

    assert differing(with_field("Title__c", length=40)) == [
        '"Title__c": {"label": "Title", "type": "string", "length": 40},'
    ]
    assert differing(with_field("Plan__c", picklist=("Free", "Max", "Pro"))) == ['"Max",']
    assert differing(replace(WIDGET, deletable=False)) == ['"deletable": false,']


BROKEN = [
    ("no JSON", "<<<<<<< HEAD\n{}", "not JSON"),
    ("a list", "[]", "an org contract is a JSON object with 'objects'"),
    ("deep", "[" * 100_000, "an org contract is a JSON object with 'objects'"),
    ("newer", '{"format": 9, "objects": {}}', "org contract of format 9; this sfsync reads format 1"),
    ("twice", '{"objects": {"A": {"fields": {"B": {"type": "string"}, "B": {"type": "id"}}}}}', "'B' stands twice in one JSON object"),
    ("no fields", '{"objects": {"A": {}}}', "object 'A' needs 'fields', a JSON object"),
    ("a field's type", '{"objects": {"A": {"fields": {"B": {}}}}}', "field A.B: no 'type'"),
    ("a field", '{"objects": {"A": {"fields": {"B": 7}}}}', "field A.B is no JSON object"),
    ("a property", '{"objects": {"A": {"fields": {"B": {"type": "id", "size": 1}}}}}', "field A.B: unknown property 'size'"),
    ("a length", '{"objects": {"A": {"fields": {"B": {"type": "id", "length": "80"}}}}}', "field A.B: 'length' must be a whole number"),
    ("a right", '{"objects": {"A": {"createable": "no", "fields": {}}}}', "object A: 'createable' must be true or false"),
    ("a list of numbers", '{"objects": {"A": {"fields": {"B": {"type": "id", "picklist": [1]}}}}}', "field A.B: 'picklist' must be a list of texts"),
    ("a scope", '{"scope": "some", "objects": {}}', "'scope' is 'some', which it cannot be"),
    ("a user", '{"username": 7, "objects": {}}', "'username' is 7, which it cannot be"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), [c[1:] for c in BROKEN], ids=[c[0] for c in BROKEN])
def test_files_that_are_no_contract(text: str, message: str) -> None:
    from sfsync.errors import SpecError

    with pytest.raises(SpecError) as found:
        from_json(text, path="schema/prod.json")
    assert str(found.value).partition(": ")[2].startswith(message)
