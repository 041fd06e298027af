"""What `schema pull` and `schema check` print, as golden files; hostile names stay text."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

from sfsync.contract import Contract, Field, SObject
from sfsync.drift import compare, notes
from sfsync.jobs.schema_check import SchemaCheckResult
from sfsync.jobs.schema_pull import SchemaPullResult
from sfsync.project.spec import SyncSpec
from sfsync.project.usage import usage_of_syncs
from sfsync.report.schema_report import check_json, check_markdown, check_text, pull_text

CONTACT = SObject(
    "Contact",
    "Contact",
    "003",
    createable=True,
    updateable=True,
    deletable=True,
    fields=(
        Field("Customer_Id__c", "Customer Id", "string", length=40, external_id=True, unique=True),
        Field("LastName", "Last Name", "string", length=80, nillable=False),
        Field("Title", "Title", "string", length=128),
        Field("Email", "Email", "email", length=80),
        Field(
            "LeadSource", "Lead Source", "picklist", restricted_picklist=True, picklist=("Web", "Fax|`<b>`")
        ),
        Field("Fax", "Fax", "phone", length=40),
    ),
)
SYNCS = usage_of_syncs(
    [
        SyncSpec.model_validate(
            {
                "name": "contacts",
                "model": "m",
                "object": "Contact",
                "identity": {"Customer_Id__c": "id"},
                "fields": {"LastName": "l", "Title": "t", "Email": "e", "LeadSource": "s"},
                "on_removed": "delete",
            }
        )
    ]
)
CONTRACT = Contract((CONTACT,), "00D000000000001AAA", "etl@acme.com", "67.0", scope="all")
AT = datetime(2026, 7, 22, 9, 30, tzinfo=UTC)


def moved_on() -> Contract:
    fields = [f for f in CONTACT.fields if f.name != "Email"]
    fields = [replace(f, length=40) if f.name == "Title" else f for f in fields]
    fields = [replace(f, picklist=("Web",)) if f.name == "LeadSource" else f for f in fields]
    fields = [replace(f, label="Facsimile") if f.name == "Fax" else f for f in fields]
    now = replace(CONTACT, deletable=False, fields=(*fields, Field("Rank__c", "Rank", "double", precision=4)))
    return replace(CONTRACT, objects=(now,), username="ann@acme.com")


def checked(org: Contract) -> SchemaCheckResult:
    return SchemaCheckResult(
        run_id="20260722T093000-abcdef",
        project="acme_crm",
        target="prod",
        at=AT,
        file="schema/prod.json",
        contract=CONTRACT,
        org=org,
        notes=notes(CONTRACT, org),
        drifts=compare(CONTRACT, org, SYNCS),
        calls=1,
    )


def test_check_text(golden) -> None:
    golden("schema_check.txt", check_text(checked(moved_on()), color=False, width=0))
    golden("schema_check_60.txt", check_text(checked(moved_on()), color=False, width=60))
    golden("schema_check_none.txt", check_text(checked(CONTRACT), color=False, width=0))
    assert "\x1b[31;1m" in check_text(checked(moved_on()), color=True, width=80)


def test_check_markdown(golden) -> None:
    text = check_markdown(checked(moved_on()))
    golden("schema_check.md", text)
    assert "<b>" not in text
    assert all(line.count("|") == 5 for line in text.splitlines() if line.startswith("|"))


def test_check_json(golden) -> None:
    text = check_json(checked(moved_on()))
    golden("schema_check.json", text)
    body = json.loads(text)
    assert body["breaking"] == sum(item["breaking"] for item in body["drift"]) == 4


def pulled(**changes: object) -> SchemaPullResult:
    made = SchemaPullResult(
        file="schema/prod.json",
        contract=moved_on(),
        is_new=False,
        changed=True,
        added=("Contact.Rank__c",),
        dropped=("Contact.Department",),
        drifts=tuple(d for d in compare(CONTRACT, moved_on(), SYNCS) if d.field == "Title"),
        lacking=tuple(d for d in compare(moved_on(), moved_on(), SYNCS) if d.breaking),
        calls=1,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_pull_text(golden) -> None:
    golden("schema_pull.txt", pull_text(pulled(), color=False, width=0))
    quiet = pulled(changed=False, added=(), dropped=(), drifts=(), lacking=())
    golden("schema_pull_unchanged.txt", pull_text(quiet, color=False, width=0))
    many = pulled(added=tuple(f"Contact.F{n}__c" for n in range(50)), lacking=())
    assert "  + and 30 more\n" in pull_text(many, color=False, width=0)
