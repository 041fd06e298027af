"""What the org's web page shows, as plain values.

Owns:      the queries behind the page: objects, records of one object, one record, the journal.
Does not:  write HTML (page) or change anything.
Invariant: a page of an answer holds at most PER_PAGE rows, however many there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sfsync.contract import Field, SObject
from sfsync.local_org.ids import to_18
from sfsync.local_org.org import Org
from sfsync.local_org.store import quoted, table

PER_PAGE = 50
_LAST = ("IsDeleted", "CreatedDate", "CreatedById", "LastModifiedDate", "LastModifiedById", "SystemModstamp")
"""System fields stand at the end of a table: what somebody has written is looked for first."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One page of rows. number counts from 1."""

    names: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    total: int
    number: int

    @property
    def pages(self) -> int:
        return max(1, -(-self.total // PER_PAGE))

    @property
    def first(self) -> int:
        return (self.number - 1) * PER_PAGE + 1 if self.rows else 0

    @property
    def last(self) -> int:
        return (self.number - 1) * PER_PAGE + len(self.rows)


def objects(org: Org) -> list[dict[str, Any]]:
    """Every object with its live records and those in the recycle bin."""
    found = []
    with org.store.reading() as cursor:
        for sobject in sorted(org.contract.objects, key=lambda o: o.name):
            live, gone = cursor.execute(
                "SELECT count(*) FILTER (IsDeleted IS DISTINCT FROM 'true'), count(*) FILTER (IsDeleted = 'true')"
                f" FROM {table(sobject.name)}"
            ).fetchall()[0]
            found.append({"name": sobject.name, "label": sobject.label, "live": int(live), "gone": int(gone)})
    return found


def _place(field: Field) -> tuple[bool, bool, bool, bool]:
    """Id, name and external ids stand first: by them a record is known."""
    return field.name != "Id", not field.name_field, not field.external_id, field.name in _LAST


def records(org: Org, sobject: SObject, wanted: str, number: int, *, gone: bool) -> Sheet:
    """Records of an object, oldest Id first; of its fields those that hold something on this page.

    Args:
        wanted: a text that a field must contain, whatever its case; blank: all records.
        gone: those in the recycle bin instead of the live ones.
    """
    columns = [f.name for f in sorted(sobject.fields, key=_place)]
    listed = ", ".join(quoted(n) for n in columns)
    where = "IsDeleted = 'true'" if gone else "IsDeleted IS DISTINCT FROM 'true'"
    given: list[Any] = []
    if wanted:
        where += f" AND contains(lower(concat_ws(chr(31), {listed})), lower(?))"
        given = [wanted]
    with org.store.reading() as cursor:
        source = f"FROM {table(sobject.name)} WHERE {where}"
        total = int(cursor.execute(f"SELECT count(*) {source}", given).fetchall()[0][0])
        number = max(1, min(number, -(-total // PER_PAGE)))
        chosen = f"SELECT Id {source} ORDER BY Id LIMIT {PER_PAGE} OFFSET {(number - 1) * PER_PAGE}"
        rows = cursor.execute(
            f"SELECT {listed} FROM {table(sobject.name)} WHERE Id IN ({chosen}) ORDER BY Id", given
        ).fetchall()
    filled = [i for i, n in enumerate(columns) if n == "Id" or any(row[i] is not None for row in rows)]
    shown = tuple(tuple(row[i] for i in filled) for row in rows)
    return Sheet(tuple(columns[i] for i in filled), shown, total, number)


def record(org: Org, text: str) -> tuple[SObject, list[tuple[str, str, str, bool]]] | None:
    """A record with all its fields: name, label, value, and whether the value is the Id of a record."""
    full = to_18(text)
    sobject = next((o for o in org.contract.objects if full and full.startswith(o.key_prefix or "-")), None)
    if full is None or sobject is None:
        return None
    with org.store.reading() as cursor:
        fields = sorted(sobject.fields, key=_place)
        listed = ", ".join(quoted(f.name) for f in fields)
        rows = cursor.execute(f"SELECT {listed} FROM {table(sobject.name)} WHERE Id = ?", [full]).fetchall()
    if not rows:
        return None
    return sobject, [
        (f.name, f.label, "" if v is None else str(v), f.type == "reference" and v is not None)
        for f, v in zip(fields, rows[0], strict=True)
    ]


def journal(org: Org, wanted: str, number: int) -> Sheet:
    """Requests, the newest first; wanted: a text that method and path must contain."""
    org.journal.flush()
    where, given = "true", []
    if wanted:
        where, given = "contains(lower(method || ' ' || path), lower(?))", [wanted]
    with org.store.reading() as cursor:
        total = int(
            cursor.execute(f"SELECT count(*) FROM org.requests WHERE {where}", given).fetchall()[0][0]
        )
        number = max(1, min(number, -(-total // PER_PAGE)))
        rows = cursor.execute(
            "SELECT request, strftime(time, '%Y-%m-%d %H:%M:%S'), method, path, status, kind, counted FROM org.requests"
            f" WHERE {where} ORDER BY request DESC LIMIT {PER_PAGE} OFFSET {(number - 1) * PER_PAGE}",
            given,
        ).fetchall()
    names = ("Number", "Time (UTC)", "Method", "Path", "Status", "Kind", "Counted")
    return Sheet(names, tuple(rows), total, number)
