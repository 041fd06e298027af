"""Which objects this local org has: the built-in ones, or those of the user's file.

Owns:      reading the schema, and completing it with what every org has (system fields, users, key prefixes).
Does not:  describe it to clients (describe) or make tables (store).
Invariant: every object of a loaded schema has Id, the audit fields and a key prefix of its own.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from sfsync.contract import Contract, Field, SObject, from_json
from sfsync.errors import OrgError, SpecError, Where
from sfsync.local_org import currencies
from sfsync.local_org.ids import ALPHABET
from sfsync.local_org.person_accounts import with_person_accounts
from sfsync.local_org.record_types import FIELD as RECORD_TYPE_ID
from sfsync.local_org.record_types import with_record_types

BUILT_IN = "schema.json"
_ALWAYS = ("Group", "Organization", "User")
_AUDIT = (
    "Id",
    "IsDeleted",
    "CreatedDate",
    "CreatedById",
    "LastModifiedDate",
    "LastModifiedById",
    "SystemModstamp",
)
_MASTER = "MasterRecordId"
_MERGEABLE = ("Account", "Contact", "Lead", "Case")
_CONVERTED = (
    ("ConvertedDate", "date", (), None),
    ("ConvertedAccountId", "reference", ("Account",), "ConvertedAccount"),
    ("ConvertedContactId", "reference", ("Contact",), "ConvertedContact"),
    ("ConvertedOpportunityId", "reference", ("Opportunity",), "ConvertedOpportunity"),
)
_NOBODYS = (
    *_AUDIT,
    _MASTER,
    RECORD_TYPE_ID,
    *(name for name, *_ in _CONVERTED),
    "OwnerId",
    "IsClosed",
    "IsConverted",
    "IsWon",
)


def load_schema(path: Path | None) -> Contract:
    """The org's objects, completed.

    Raises:
        OrgError: the file cannot be read.
        SpecError: it is not an org contract, or names two objects alike.
    """
    built_in = from_json(files("sfsync.local_org").joinpath(BUILT_IN).read_text(encoding="utf-8"))
    if path is None:
        objects = tuple(replace(o, fields=_judged(_with_fate(o))) for o in built_in.objects)
        return with_record_types(replace(built_in, objects=objects), tuple(_audit(built_in).values()))
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise OrgError(
            f"the schema of the local org, {path}, cannot be read: {error.strerror}",
            fix="give `org: {schema: ...}` the path of an org contract, relative to the project folder",
        ) from None
    wanted = from_json(text, path=path)
    names = [o.name.lower() for o in wanted.objects]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"object '{name}' stands twice", where=Where(path))
    added = tuple(
        replace(o, fields=_judged(o.fields))
        for o in built_in.objects
        if o.name in _ALWAYS and wanted.object(o.name) is None
    )
    done = _complete(wanted, added, built_in, currencies.read(text, path))
    return with_person_accounts(done) if _wants_people(text, path) else done


def _wants_people(text: str, path: Path) -> bool:
    found = json.loads(text).get("person_accounts", False)
    if not isinstance(found, bool):
        raise SpecError("'person_accounts' is true or false", where=Where(path))
    return found


def _complete(
    wanted: Contract, added: tuple[SObject, ...], built_in: Contract, codes: tuple[str, ...]
) -> Contract:
    audit = _audit(built_in)
    known = {o.name: o.key_prefix for o in built_in.objects}
    given = {o.name: o.key_prefix or known.get(o.name) for o in wanted.objects}
    taken: set[str | None] = {*given.values(), *(o.key_prefix for o in added)}
    done = []
    for sobject in wanted.objects:
        prefix = given[sobject.name] or _free_prefix(taken)
        taken.add(prefix)
        done.append(
            replace(
                sobject,
                key_prefix=prefix,
                fields=_with_audit(replace(sobject, fields=_with_fate(sobject)), audit),
            )
        )
    system = tuple(audit.values())
    whole = currencies.with_currencies(replace(wanted, objects=(*done, *added)), codes, system)
    return with_record_types(whole, system)


def _audit(built_in: Contract) -> dict[str, Field]:
    pattern = built_in.object("Subscription__c")
    return {f.name: f for f in pattern.fields if f.name in _AUDIT} if pattern is not None else {}


def _with_fate(sobject: SObject) -> tuple[Field, ...]:
    """The object's fields with those that say what it was merged into, or converted to."""
    fate: list[tuple[str, str, tuple[str, ...], str | None]] = []
    if sobject.name in _MERGEABLE:
        fate.append((_MASTER, "reference", (sobject.name,), "MasterRecord"))
    if sobject.name == "Lead":
        fate += [*_CONVERTED, ("IsConverted", "boolean", (), None)]
    own = sobject.fields
    known = {f.name for f in own}
    made = (
        Field(
            name=name,
            label=relationship or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name),
            type=kind,
            length=18 if kind == "reference" else 0,
            nillable=kind != "boolean",
            createable=False,
            updateable=False,
            defaulted_on_create=kind == "boolean",
            reference_to=targets,
            relationship_name=relationship,
        )
        for name, kind, targets, relationship in fate
        if name not in known
    )
    return (*own, *made)


def _with_audit(sobject: SObject, audit: dict[str, Field]) -> tuple[Field, ...]:
    """The object's own fields with the audit fields it lacks; no file can make those writable."""
    own = tuple(f for f in sobject.fields if f.name not in audit)
    return _judged((*audit.values(), *own))


def _judged(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    """The fields, knowing which of them field-level security has: none that is required, a name, or the system's own.

    A checkbox is never null and yet may be closed.
    """

    def is_open(field: Field) -> bool:
        needed = not field.nillable and field.type != "boolean"
        return needed or field.name_field or field.compound_field_name == "Name" or field.name in _NOBODYS

    return tuple(replace(f, permissionable=False) if is_open(f) else f for f in fields)


def _free_prefix(taken: set[str | None]) -> str:
    for first in ALPHABET:
        for second in ALPHABET:
            if (prefix := f"a{first}{second}") not in taken:
                return prefix
    raise OrgError("the schema of the local org has more custom objects than there are key prefixes")
