"""The way out of the recycle bin: back, or away for good.

Owns:      undelete and emptying for Ids of any objects: which are there, what comes back with them, what stands in the way.
Does not:  delete (delete), or shape answers (soap_routes).
Invariant: with a record come back exactly the records that its own delete took along, and the lookups that it cleared
           and nobody has filled since.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import duckdb

from sfsync.contract import SObject
from sfsync.local_org.call import CHUNK
from sfsync.local_org.delete import BIN, children
from sfsync.local_org.fault_rows import RowFaults
from sfsync.local_org.org import Org
from sfsync.local_org.people import CURRENT
from sfsync.local_org.stage import folded
from sfsync.local_org.store import Store, instant, literal, quoted, table
from sfsync.local_org.write_sql import SEPARATOR, fail
from sfsync.local_org.writing import Result

BIN_DAYS = 15
_NUMBERS = itertools.count(1)
_NOT_THERE = fail("UNDELETE_FAILED", "'Entity is not in the recycle bin'")


def undelete(org: Org, ids: Sequence[str], request: int) -> list[Result]:
    """Bring records back; a result for each Id, in order, whatever became of the others."""
    moment = datetime.fromtimestamp(org.now(), UTC)
    with org.store.write() as cursor:
        judged = _judged(org, cursor, ids, instant(moment - timedelta(days=BIN_DAYS)))
        for sobject in _objects(org, ids):
            _restore(org, cursor, sobject, judged, instant(moment))
        _journal(org, cursor, judged, request, instant(moment))
        return _results(cursor, judged)


def empty(org: Org, ids: Sequence[str]) -> list[Result]:
    """Take records out of the bin for good; a result for each Id."""
    with org.store.write() as cursor:
        judged = _judged(org, cursor, ids, "", coming_back=False)
        for sobject in org.contract.objects:
            gone = f"SELECT id FROM {judged} WHERE error IS NULL"
            cursor.execute(f"DELETE FROM {table(sobject.name)} WHERE Id IN ({gone}) AND IsDeleted = 'true'")
        return _results(cursor, judged)


def _objects(org: Org, ids: Sequence[str]) -> list[SObject]:
    """The objects whose records are named, in the order in which they come."""
    by_prefix = {sobject.key_prefix: sobject for sobject in org.seen.objects}
    found = dict.fromkeys(text[:3] for text in ids)
    return [by_prefix[prefix] for prefix in found if prefix in by_prefix]


def _judged(
    org: Org, cursor: duckdb.DuckDBPyConnection, ids: Sequence[str], oldest: str, *, coming_back: bool = True
) -> str:
    """A table with `_row, id, object, error` of each Id."""
    judged = f"_undelete_{next(_NUMBERS)}"
    cursor.execute(
        f"CREATE TEMP TABLE {judged} AS SELECT row_number() OVER () - 1 AS _row, coalesce(id_18(t), t) AS id,"
        " NULL::VARCHAR AS object, NULL::VARCHAR AS error FROM (SELECT unnest(?::VARCHAR[]) AS t)",
        [list(ids)],
    )
    malformed = fail("MALFORMED_ID", "'malformed id ' || id", "Id")
    cursor.execute(f"UPDATE {judged} SET error = {malformed} WHERE id_18(id) IS NULL")
    for number, sobject in enumerate(_objects(org, ids)):
        rows = f"_undelete_rows_{number}"
        faults = org.faults.of_write(sobject.name) if coming_back else RowFaults()
        errors = ", ".join([*faults.sql(["id"], "Id", "id", CHUNK), "NULL::VARCHAR"])
        right = "true" if not sobject.deletable or "delete" in faults.lost_rights else "false"
        no_right = fail("INSUFFICIENT_ACCESS_OR_READONLY", "'insufficient access rights on object id'")
        taken = _taken(sobject) if coming_back else "NULL::VARCHAR"
        cursor.execute(
            f"""CREATE OR REPLACE TEMP TABLE {rows} AS SELECT s._row, CASE
                  WHEN {right} THEN {no_right}
                  WHEN s.fault IS NOT NULL THEN s.fault
                  WHEN m.Id IS NULL OR m.IsDeleted <> 'true' OR m.SystemModstamp < {literal(oldest)} THEN {_NOT_THERE}
                  ELSE {taken} END AS error
                FROM (SELECT _row, id, coalesce({errors}) AS fault FROM {judged}
                      WHERE error IS NULL AND substr(id, 1, 3) = {literal(sobject.key_prefix or "")}) AS s
                LEFT JOIN {table(sobject.name)} AS m ON m.Id = s.id"""
        )
        cursor.execute(
            f"UPDATE {judged} AS j SET object = {literal(sobject.name)}, error = r.error FROM {rows} AS r"
            " WHERE r._row = j._row"
        )
    unknown = fail("INVALID_CROSS_REFERENCE_KEY", "'invalid cross reference id'")
    cursor.execute(f"UPDATE {judged} SET error = {unknown} WHERE error IS NULL AND object IS NULL")
    twice = fail("DUPLICATE_VALUE", "'Duplicate id specified: ' || id", "Id")
    cursor.execute(
        f"UPDATE {judged} SET error = {twice} WHERE error IS NULL AND _row NOT IN (SELECT min(_row) FROM {judged} GROUP BY id)"
    )
    return judged


def _taken(sobject: SObject) -> str:
    """SQL of the error of a record `m` one of whose unique values a record that is not deleted has by now."""
    errors = []
    for field in sobject.fields:
        if not field.unique or field.name == "Id":
            continue
        words = literal(f"duplicate value found: {field.name} duplicates value on record with id: ")
        mine, theirs = folded(field, f"m.{quoted(field.name)}"), folded(field, f"u.{quoted(field.name)}")
        errors.append(
            f"(SELECT {fail('DUPLICATE_VALUE', f'{words} || substr(min(u.Id), 1, 15)')} FROM {table(sobject.name)} AS u"
            f" WHERE u.IsDeleted = 'false' AND {theirs} = {mine} HAVING count(*) > 0)"
        )
    return f"coalesce({', '.join([*errors, 'NULL::VARCHAR'])})"


def _restore(org: Org, cursor: duckdb.DuckDBPyConnection, sobject: SObject, judged: str, now: str) -> None:
    chosen = f"SELECT id FROM {judged} WHERE error IS NULL AND object = {literal(sobject.name)}"
    _bring_back(org.store, cursor, sobject, chosen, now, CURRENT.get() or org.identity.user_id)


def _bring_back(
    store: Store, cursor: duckdb.DuckDBPyConnection, sobject: SObject, chosen: str, now: str, user: str
) -> None:
    """Restore the records that the query `chosen` names, and what went with them."""
    back = f"_back_{next(_NUMBERS)}"
    cursor.execute(f"CREATE TEMP TABLE {back} AS {chosen}")
    stamp = f"LastModifiedDate = {literal(now)}, LastModifiedById = {literal(user)}, SystemModstamp = {literal(now)}"
    if sobject.field("MasterRecordId") is not None:  # a loser of a merge is nobody's any more
        stamp += ", MasterRecordId = NULL"
    cursor.execute(
        f"UPDATE {table(sobject.name)} SET IsDeleted = 'false', {stamp}"
        f" WHERE IsDeleted = 'true' AND Id IN (SELECT id FROM {back})"
    )
    for child, field in children(store, sobject):
        name, column = table(child.name), quoted(field.name)
        went = (
            f"FROM {BIN} WHERE parent IN (SELECT id FROM {back}) AND object = {literal(child.name)}"
            f" AND field = {literal(field.name)}"
        )
        if field.cascade_delete:
            _bring_back(store, cursor, child, f"SELECT id {went}", now, user)
        else:
            cursor.execute(
                f"UPDATE {name} AS c SET {column} = w.parent, SystemModstamp = {literal(now)}"
                f" FROM (SELECT id, any_value(parent) AS parent {went} GROUP BY id) AS w"
                f" WHERE w.id = c.Id AND c.{column} IS NULL AND c.IsDeleted = 'false'"
            )
    cursor.execute(f"DELETE FROM {BIN} WHERE parent IN (SELECT id FROM {back})")
    cursor.execute(f"DROP TABLE {back}")


def _journal(org: Org, cursor: duckdb.DuckDBPyConnection, judged: str, request: int, now: str) -> None:
    for (name,) in cursor.execute(f"SELECT DISTINCT object FROM {judged} WHERE error IS NULL").fetchall():
        number = org.store.take(cursor, "#call", 1)
        cursor.execute(
            "INSERT INTO org.write_calls VALUES (?, ?, CAST(? AS TIMESTAMP), ?, ['Id'])",
            [number, request, now.rstrip("Z"), name],
        )
        cursor.execute(
            f"INSERT INTO org.writes SELECT {number}, _row, id, 'undeleted', [id] FROM {judged}"
            f" WHERE error IS NULL AND object = {literal(name)}"
        )


def _results(cursor: duckdb.DuckDBPyConnection, judged: str) -> list[Result]:
    rows = cursor.execute(
        f"SELECT id, error IS NULL, string_split(error, '{SEPARATOR}') FROM {judged} ORDER BY _row"
    ).fetchall()
    cursor.execute(f"DROP TABLE {judged}")
    return [
        Result(
            record if good else None,
            good,
            False,
            None if good else error[0],
            None if good else error[1],
            () if good else tuple(name for name in error[2].split(",") if name),
        )
        for record, good, error in rows
    ]
