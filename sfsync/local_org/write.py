"""The one write path: every API's rows come here as a table and leave as a view of results.

Owns:      insert, update and upsert as set-based SQL: match, validate, resolve parents, save, journal.
Does not:  parse requests (routes, bulk), convert a cell (write_sql), or delete (delete).
Invariant: a row is saved whole or refused with one code; the incoming table and the result have the same rows.

Incoming (a temp table of the same cursor): `_row BIGINT` and one VARCHAR column per uploaded header; NULL = absent,
'' = null, else text. Result: `_row, id, success BOOLEAN, created BOOLEAN, code, message, fields` (comma text).
The caller holds the transaction: ``with store.write() as cursor: result = apply(store, cursor, call)``.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import duckdb

from sfsync.local_org import delete as deletes
from sfsync.local_org import row_rules, save, stage
from sfsync.local_org.assignment import assign
from sfsync.local_org.call import CHUNK, Call
from sfsync.local_org.columns import RefusedWriteError, key_field, resolve
from sfsync.local_org.person_accounts import has_them, keep_contacts
from sfsync.local_org.rules import AssignmentRule
from sfsync.local_org.store import Store, instant
from sfsync.local_org.write_sql import SEPARATOR, fail

_NUMBERS = itertools.count(1)


def headers_of(cursor: duckdb.DuckDBPyConnection, incoming: str) -> tuple[str, ...]:
    """The uploaded headers, from the incoming table's own columns."""
    columns = cursor.execute(f"SELECT * FROM {incoming} LIMIT 0").description
    return tuple(str(c[0]) for c in columns if c[0] != "_row")


def apply(store: Store, cursor: duckdb.DuckDBPyConnection, call: Call) -> str:
    """Write the rows and return the name of the result (a temp view of this cursor); `forget` it when it was read.

    Raises:
        RefusedWriteError: the request as a whole is wrong (unknown field, key field, wrong JSON type); nothing written.
    """
    number = next(_NUMBERS)
    moment = datetime.fromtimestamp(store.clock(), UTC)
    user = call.user_id or store.identity.user_id
    result = f"_result_{number}"
    if call.operation in ("delete", "hardDelete"):
        deletes.judge_deletes(store, cursor, call, f"{number}")
        _delete(store, cursor, call, f"{number}", instant(moment), user)
        _results(cursor, call, f"{number}", result)
        return result
    columns = resolve(call.seen or store.contract, call.sobject, headers_of(cursor, call.incoming))
    key = key_field(call.sobject, call.external_id or "Id") if call.operation == "upsert" else None
    if call.operation == "update":
        key = call.sobject.field("Id")
    staged = stage.Staging(store, cursor, call, columns, key, f"{number}")
    rounds = staged.convert()
    saved = save.Saving(store, cursor, call, columns, f"{number}", instant(moment), user)
    rules = row_rules.RowRules(store, cursor, call, columns, saved)
    assigning = _assignment_rule(store, call)
    for turn in range(rounds):
        staged.judge(turn)
        rules.check(turn)
        if not (call.all_or_none and staged.failures()):
            saved.write(turn)
            if has_them(saved.whole):
                keep_contacts(store, cursor, saved.whole, saved.judged, turn)
            if assigning is not None:
                assign(store, cursor, saved.whole, assigning, saved.judged, turn)
    if call.journal:
        saved.journal()
    _results(cursor, call, f"{number}", result)
    return result


def _assignment_rule(store: Store, call: Call) -> AssignmentRule | None:
    if call.assignment is None or not (store.rules.assignment or call.assignment):
        return None
    try:
        return store.rules.assigning(call.sobject.name, call.assignment)
    except LookupError:
        raise RefusedWriteError(
            "INVALID_CROSS_REFERENCE_KEY", f"invalid cross reference id: {call.assignment}"
        ) from None


def _delete(
    store: Store, cursor: duckdb.DuckDBPyConnection, call: Call, number: str, now: str, user: str
) -> None:
    judged = f"_judged_{number}"
    failed = cursor.execute(f"SELECT count(error) FROM {judged}").fetchall()[0][0]
    if call.all_or_none and failed:
        return
    chosen = f"SELECT id FROM {judged} WHERE error IS NULL"
    if call.operation == "hardDelete":
        deletes.erase_rows(store, cursor, call.sobject, chosen, now)
    else:
        deletes.bin_rows(store, cursor, call.sobject, chosen, now, user)
    if call.journal:
        number_of_call = store.take(cursor, "#call", 1)
        cursor.execute(
            "INSERT INTO org.write_calls VALUES (?, ?, CAST(? AS TIMESTAMP), ?, ['Id'])",
            [number_of_call, call.request, now.rstrip("Z"), call.sobject.name],
        )
        cursor.execute(
            f"INSERT INTO org.writes SELECT {number_of_call}, _row, id, 'deleted', [id] FROM {judged}"
            " WHERE error IS NULL"
        )


def _results(cursor: duckdb.DuckDBPyConnection, call: Call, number: str, result: str) -> None:
    """Take the judged rows apart."""
    error = "error"
    if call.all_or_none:
        rolled_back = fail("ALL_OR_NONE_OPERATION_ROLLED_BACK", f"'{ROLLED_BACK}'")
        error = f"CASE WHEN error IS NULL AND (SELECT count(error) FROM _judged_{number}) > 0 THEN {rolled_back} ELSE error END"
    split = f"string_split(error, '{SEPARATOR}')"
    cursor.execute(
        f"""CREATE TEMP VIEW {result} AS
            SELECT _row, CASE WHEN error IS NULL OR target IS NOT NULL THEN id END AS id,
                   error IS NULL AS success, error IS NULL AND target IS NULL AS created,
                   {split}[1] AS code, {split}[2] AS message, {split}[3] AS fields
            FROM (SELECT _row, id, target, {error} AS error FROM _judged_{number})"""
    )


def forget(cursor: duckdb.DuckDBPyConnection, result: str) -> None:
    """Drop a result and what was made on the way to it."""
    number = result.removeprefix("_result_")
    cursor.execute(f"DROP VIEW {result}")
    for name in ("judged", "staged", "twice", "rounds"):
        cursor.execute(f"DROP TABLE IF EXISTS _{name}_{number}")


ROLLED_BACK = (
    "Record rolled back because not all records were valid and the request was using AllOrNone header"
)

__all__ = ["CHUNK", "ROLLED_BACK", "Call", "RefusedWriteError", "apply", "forget", "headers_of"]
