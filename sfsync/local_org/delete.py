"""Deleting rows: into the recycle bin, with what hangs on them.

Owns:      the delete operations of the write path: which Ids, what blocks, what cascades, which lookups are cleared.
Does not:  undelete, or purge the bin (undelete).
Invariant: a deleted record keeps its fields and says IsDeleted = true; nothing points at a record that went with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import duckdb

from sfsync.contract import Field, SObject
from sfsync.local_org.call import CHUNK, Call
from sfsync.local_org.columns import RefusedWriteError
from sfsync.local_org.row_rules import denials_of
from sfsync.local_org.rule_sql import denied_ids
from sfsync.local_org.stage import NO_ACCESS
from sfsync.local_org.store import Store, literal, quoted, table
from sfsync.local_org.write_sql import fail

_NUMBERS = itertools.count(1)
BIN = "org.bin"
"""What each delete took along: of records that went with their parent, and of lookups that it cleared."""


def children(store: Store, parent: SObject) -> Iterator[tuple[SObject, Field]]:
    """Every lookup of the org that may point at this object."""
    for sobject in store.contract.objects:
        for field in sobject.fields:
            if field.type == "reference" and parent.name in field.reference_to:
                yield sobject, field


def judge_deletes(store: Store, cursor: duckdb.DuckDBPyConnection, call: Call, number: str) -> None:
    """Fill `_judged_number` with the Id and the error of each row.

    Raises:
        RefusedWriteError: there is any column but `Id`.
    """
    headers = [str(c[0]) for c in cursor.execute(f"SELECT * FROM {call.incoming} LIMIT 0").description]
    if [h.lower() for h in headers if h != "_row"] != ["id"]:
        raise RefusedWriteError("INVALID_FIELD", "a delete takes the column Id and no other")
    sobject, judged = call.sobject, f"_judged_{number}"
    raw = quoted(next(h for h in headers if h.lower() == "id"))
    prefix = literal(sobject.key_prefix or "")
    malformed = fail("MALFORMED_ID", f"{literal('bad id ')} || s.id", "Id")
    forbidden = not sobject.deletable or "delete" in call.faults.lost_rights
    right = "true" if forbidden else "false"
    faults = ", ".join([*call.faults.sql(["id"], "Id", "id", CHUNK), "NULL::VARCHAR"])
    cursor.execute(
        f"""CREATE TEMP TABLE {judged} AS
            SELECT s._row, s.id, s.id AS target, CASE
              WHEN s.id IS NULL OR s.id = '' THEN {fail("MISSING_ARGUMENT", "'Id not specified'", "Id")}
              WHEN {right} THEN {fail("INSUFFICIENT_ACCESS_OR_READONLY", "'insufficient access rights on object id'")}
              WHEN s.fault IS NOT NULL THEN s.fault
              WHEN m.IsDeleted = 'true' THEN {fail("ENTITY_IS_DELETED", "'entity is deleted'")}
              WHEN m.Id IS NULL AND (id_18(s.id) IS NULL OR substr(s.id, 1, 3) <> {prefix}) THEN {malformed}
              WHEN m.Id IS NULL THEN {fail("INVALID_CROSS_REFERENCE_KEY", "'invalid cross reference id'")}
              WHEN s.again > 1 THEN {fail("DUPLICATE_VALUE", "'Duplicate id specified: ' || s.id", "Id")} END AS error
            FROM (SELECT *, coalesce({faults}) AS fault, count(*) OVER (PARTITION BY _row // {CHUNK}, id) AS again FROM (
                    SELECT _row, CASE WHEN length({raw}) = 15 THEN coalesce(id_18({raw}), {raw}) ELSE {raw} END AS id
                    FROM {call.incoming})) s
            LEFT JOIN {table(sobject.name)} m ON m.Id = s.id"""
    )
    _closed(store, cursor, call, judged)
    for child, field in children(store, sobject):
        if field.restricted_delete:
            _block(cursor, judged, sobject, child, field)


def _closed(store: Store, cursor: duckdb.DuckDBPyConnection, call: Call, judged: str) -> None:
    """Refuse records that the org's setup does not let this user delete."""
    whole = store.contract.object(call.sobject.name) or call.sobject
    for denial in denials_of(store, call, "delete"):
        if denial.object == whole.name:
            cursor.execute(
                f"UPDATE {judged} SET error = {NO_ACCESS} WHERE error IS NULL"
                f" AND id IN ({denied_ids(whole, denial.when)})"
            )


def _block(
    cursor: duckdb.DuckDBPyConnection, judged: str, sobject: SObject, child: SObject, field: Field
) -> None:
    """Refuse rows whose children forbid it."""
    name = f"m.{quoted('Name')}" if sobject.field("Name") else "m.Id"
    words = literal(
        f" could not be completed because it is associated with the following {child.label.lower()}s.: "
    )
    message = f"'Your attempt to delete ' || coalesce(b.name, b.id) || {words} || b.held"
    cursor.execute(
        f"""UPDATE {judged} j SET error = {fail("DELETE_FAILED", message)} FROM (
              SELECT c.{quoted(field.name)} AS id, any_value({name}) AS name, min(c.Id) AS held
              FROM {table(child.name)} c JOIN {table(sobject.name)} m ON m.Id = c.{quoted(field.name)}
              WHERE c.IsDeleted = 'false' AND c.{quoted(field.name)} IN (SELECT id FROM {judged} WHERE error IS NULL)
              GROUP BY 1) b WHERE b.id = j.id AND j.error IS NULL"""
    )


def bin_rows(
    store: Store, cursor: duckdb.DuckDBPyConnection, sobject: SObject, chosen: str, now: str, user_id: str
) -> None:
    """Put the records named by the query `chosen` (one column, Ids) into the bin, with what hangs on them."""
    gone = f"_bin_{next(_NUMBERS)}"
    cursor.execute(f"CREATE TEMP TABLE {gone} AS {chosen}")
    cursor.execute(
        f"""UPDATE {table(sobject.name)} SET IsDeleted = 'true', LastModifiedDate = {literal(now)},
              LastModifiedById = {literal(user_id)}, SystemModstamp = {literal(now)}
            WHERE IsDeleted = 'false' AND Id IN (SELECT id FROM {gone})"""
    )
    for child, field in children(store, sobject):
        points = f"{quoted(field.name)} IN (SELECT id FROM {gone}) AND IsDeleted = 'false'"
        hit = cursor.execute(f"SELECT count(*) FROM {table(child.name)} WHERE {points}").fetchall()[0][0]
        if hit:
            cursor.execute(
                f"INSERT INTO {BIN} SELECT {quoted(field.name)}, {literal(child.name)}, Id, {literal(field.name)}"
                f" FROM {table(child.name)} WHERE {points}"
            )
        if hit and field.cascade_delete:
            below = f"SELECT Id AS id FROM {table(child.name)} WHERE {points}"
            bin_rows(store, cursor, child, below, now, user_id)
        elif hit:
            cursor.execute(
                f"UPDATE {table(child.name)} SET {quoted(field.name)} = NULL, SystemModstamp = {literal(now)}"
                f" WHERE {points}"
            )
    cursor.execute(f"DROP TABLE {gone}")


def erase_rows(
    store: Store, cursor: duckdb.DuckDBPyConnection, sobject: SObject, chosen: str, now: str
) -> None:
    """Take the records named by the query `chosen` away for good, with what cascades; no bin keeps them."""
    gone = f"_erased_{next(_NUMBERS)}"
    cursor.execute(f"CREATE TEMP TABLE {gone} AS {chosen}")
    for child, field in children(store, sobject):
        points = f"{quoted(field.name)} IN (SELECT id FROM {gone})"
        if field.cascade_delete:
            below = f"SELECT Id AS id FROM {table(child.name)} WHERE {points}"
            if cursor.execute(f"{below} LIMIT 1").fetchall():
                erase_rows(store, cursor, child, below, now)
        else:
            cursor.execute(
                f"UPDATE {table(child.name)} SET {quoted(field.name)} = NULL, SystemModstamp = {literal(now)}"
                f" WHERE {points}"
            )
    cursor.execute(f"DELETE FROM {table(sobject.name)} WHERE Id IN (SELECT id FROM {gone})")
    cursor.execute(f"DROP TABLE {gone}")
