"""What happens to records by other hands than ours: merges, and the conversion of leads.

Owns:      both, with what they do to the records that point at them, and every way to be refused.
Does not:  shape answers (fate_routes, soap_fates), or write rows itself where a record is made (write).
Invariant: a loser says in MasterRecordId where it went, and no live record points at it any more; a converted lead
           names what it became and is read-only from then on.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb

from sfsync.contract import SObject
from sfsync.local_org.call import Call
from sfsync.local_org.columns import RefusedWriteError
from sfsync.local_org.delete import children
from sfsync.local_org.ids import to_18
from sfsync.local_org.org import Org
from sfsync.local_org.people import CURRENT
from sfsync.local_org.records import put_incoming
from sfsync.local_org.store import instant, literal, quoted, table
from sfsync.local_org.write import apply, forget

MERGEABLE = ("Account", "Case", "Contact", "Lead")
MAX_LOSERS = 2  # besides the master; SOAP API Developer Guide, "merge()"
_MASTER = "MasterRecordId"
_CONVERTED = "Closed - Converted"
_NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Merged:
    """The master, who was merged into it, and the records that were given to it."""

    master: str
    losers: tuple[str, ...]
    related: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Converted:
    """A lead and what it became."""

    lead: str
    account: str
    contact: str
    opportunity: str | None


def merge(org: Org, name: str, master: str, others: Sequence[str]) -> Merged:
    """Merge records of one object.

    Raises:
        RefusedWriteError: the object cannot be merged, a record is not there, or there are too many.
    """
    sobject = org.seen.object(name)
    if sobject is None or sobject.name not in MERGEABLE or sobject.field(_MASTER) is None:
        raise RefusedWriteError("INVALID_TYPE", f"{name} cannot be merged: {', '.join(MERGEABLE)} can")
    if not (sobject.updateable and sobject.deletable):
        raise RefusedWriteError("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id")
    if not 1 <= len(others) <= MAX_LOSERS:
        raise RefusedWriteError(
            "LIMIT_EXCEEDED", f"a merge takes 1 to {MAX_LOSERS} records besides the master, not {len(others)}"
        )
    with org.store.write() as cursor:
        kept, *losers = (_live(cursor, sobject, text) for text in (master, *others))
        if len({kept, *losers}) <= len(losers):
            raise RefusedWriteError("DUPLICATE_VALUE", f"Duplicate id specified: {kept}")
        related = _give(org, cursor, sobject, kept, losers)
        cursor.execute(
            f"UPDATE {table(sobject.name)} SET IsDeleted = 'true', {_MASTER} = {literal(kept)}, {_stamp(org)}"
            f" WHERE Id IN ({_listed(losers)})"
        )
        cursor.execute(f"UPDATE {table(sobject.name)} SET {_stamp(org)} WHERE Id = {literal(kept)}")
    return Merged(kept, tuple(losers), related)


def _give(
    org: Org, cursor: duckdb.DuckDBPyConnection, sobject: SObject, kept: str, losers: Sequence[str]
) -> tuple[str, ...]:
    """Let everything that points at a loser point at the master; the master never points at itself."""
    found: dict[str, None] = {}
    for child, field in children(org.store, sobject):
        if field.name == _MASTER:
            continue
        points = f"{quoted(field.name)} IN ({_listed(losers)}) AND IsDeleted = 'false'"
        rows = cursor.execute(f"SELECT Id FROM {table(child.name)} WHERE {points}").fetchall()
        if rows:
            found.update((str(record), None) for (record,) in rows)
            to = f"CASE WHEN Id = {literal(kept)} THEN NULL ELSE {literal(kept)} END"
            cursor.execute(
                f"UPDATE {table(child.name)} SET {quoted(field.name)} = {to}, {_stamp(org)} WHERE {points}"
            )
    return tuple(record for record in found if record not in losers)


def convert(
    org: Org,
    lead: str,
    *,
    account: str | None = None,
    contact: str | None = None,
    opportunity: str | None = "",
    status: str | None = None,
) -> Converted:
    """Convert a lead.

    Args:
        account, contact: records to take it; None makes new ones.
        opportunity: the name of the new one, "" one named after the company, None makes none.
        status: the lead's status from then on; None: the one that the org has for it.

    Raises:
        RefusedWriteError: the lead or another record is not there, the lead was converted before, or the org refuses
            a record that would be made.
    """
    sobject, org_of = org.seen.object("Lead"), org.seen.object
    if sobject is None or org_of("Account") is None or org_of("Contact") is None:
        raise RefusedWriteError(
            "INVALID_TYPE", "this user has no leads, accounts and contacts to convert them to"
        )
    with org.store.write() as cursor:
        found = _live(cursor, sobject, lead)
        row = cursor.execute(f"SELECT * FROM {table('Lead')} WHERE Id = {literal(found)}")
        names = [str(c[0]) for c in row.description]
        texts = {n: v for n, v in zip(names, row.fetchall()[0], strict=True) if v is not None}
        if account is None:
            account = _make(
                org, cursor, "Account", _taken(org, "Account", texts, {"Name": texts.get("Company", "")})
            )
        else:
            account = _live(cursor, _object(org, "Account"), account)
        if contact is None:
            contact = _make(org, cursor, "Contact", _taken(org, "Contact", texts, {"AccountId": account}))
        else:
            contact = _live(cursor, _object(org, "Contact"), contact)
        made = None
        if opportunity is not None and org_of("Opportunity") is not None:
            day = datetime.fromtimestamp(org.now(), UTC).date().isoformat()
            stage = next(
                iter(f.picklist if (f := _object(org, "Opportunity").field("StageName")) else ()), ""
            )
            body = {"Name": opportunity or f"{texts.get('Company', '')}-", "AccountId": account, "CloseDate": day, "StageName": stage}  # fmt: skip
            made = _make(org, cursor, "Opportunity", _taken(org, "Opportunity", {}, body))
        _mark(org, cursor, found, (account, contact, made), status)
    return Converted(found, account, contact, made)


def _mark(
    org: Org,
    cursor: duckdb.DuckDBPyConnection,
    lead: str,
    became: tuple[str, str, str | None],
    status: str | None,
) -> None:
    """Write into the lead what it became."""
    sobject = _object(org, "Lead")
    field = sobject.field("Status")
    wanted = status or _CONVERTED
    values: dict[str, str | None] = {
        "IsConverted": "true",
        "ConvertedDate": datetime.fromtimestamp(org.now(), UTC).date().isoformat(),
        "ConvertedAccountId": became[0],
        "ConvertedContactId": became[1],
        "ConvertedOpportunityId": became[2],
    }
    if field is not None and (not field.picklist or wanted in field.picklist):
        values["Status"] = wanted
    changes = ", ".join(
        f"{quoted(name)} = {'NULL' if text is None else literal(text)}"
        for name, text in values.items()
        if sobject.field(name) is not None
    )
    cursor.execute(f"UPDATE {table('Lead')} SET {changes}, {_stamp(org)} WHERE Id = {literal(lead)}")


def _object(org: Org, name: str) -> SObject:
    found = org.contract.object(name)
    if found is None:
        raise RefusedWriteError("INVALID_TYPE", f"this org has no object {name}")
    return found


def _taken(org: Org, name: str, lead: dict[str, str], more: dict[str, str]) -> dict[str, str]:
    """What a lead hands on: the standard fields that both have, and what is given besides."""
    sobject, source = _object(org, name), _object(org, "Lead")
    own = ("Id", "OwnerId", "Name", "Status")
    handed = {
        f.name: lead[f.name]
        for f in sobject.fields
        if f.createable and not f.custom and f.name in lead and f.name not in own and source.field(f.name)
    }
    return {k: v for k, v in (handed | more).items() if sobject.field(k) is not None}


def _make(org: Org, cursor: duckdb.DuckDBPyConnection, name: str, record: dict[str, str]) -> str:
    """A new record, as if somebody had typed it in."""
    incoming = f"_converted_{next(_NUMBERS)}"
    put_incoming(cursor, incoming, [dict(record)])
    result = apply(
        org.store,
        cursor,
        Call(_object(org, name), "insert", incoming, user_id=CURRENT.get(), journal=False, allow_save=True),
    )
    made, good, code, message = cursor.execute(f"SELECT id, success, code, message FROM {result}").fetchall()[
        0
    ]
    forget(cursor, result)
    cursor.execute(f"DROP TABLE {incoming}")
    if not good:
        raise RefusedWriteError(str(code), f"the {name} of the lead: {message}")
    return str(made)


def _live(cursor: duckdb.DuckDBPyConnection, sobject: SObject, text: str) -> str:
    """The Id of a record that is there, not deleted, and no converted lead."""
    record = to_18(text)
    if record is None or not record.startswith(sobject.key_prefix or ""):
        raise RefusedWriteError("MALFORMED_ID", f"bad id {text}")
    converted = "IsConverted" if sobject.name == "Lead" else "'false'"
    rows = cursor.execute(
        f"SELECT IsDeleted, {converted} FROM {table(sobject.name)} WHERE Id = {literal(record)}"
    ).fetchall()
    if not rows:
        raise RefusedWriteError("INVALID_CROSS_REFERENCE_KEY", f"invalid cross reference id: {record}")
    if rows[0][0] == "true":
        raise RefusedWriteError("ENTITY_IS_DELETED", f"entity is deleted: {record}")
    if rows[0][1] == "true":
        raise RefusedWriteError("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
    return record


def _stamp(org: Org) -> str:
    now = literal(instant(datetime.fromtimestamp(org.now(), UTC)))
    user = literal(CURRENT.get() or org.identity.user_id)
    return f"LastModifiedDate = {now}, LastModifiedById = {user}, SystemModstamp = {now}"


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(literal(record) for record in ids)
