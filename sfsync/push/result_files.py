"""What a Bulk job's result files say: outcomes of the rows we sent, or, after a crash, the rows themselves.

Owns:      reading result files, and decoding the cells they echo.
Does not:  download them or ask for jobs (jobs, and recovery above).
Invariant: rows are matched by Id or unique external id, never by line; a cell is decoded to the text it was made of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sfsync.compiler import wire
from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.stage import run_table
from sfsync.engine import text_csv
from sfsync.engine.dialect import DUCKDB
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.engine.duckdb import DuckDB
from sfsync.push.context import OUTCOME_COLUMNS, PushContext, outcome_sql
from sfsync.records import Batch, Operation, Way
from sfsync.salesforce import bulk
from sfsync.salesforce.bulk import ResultFile
from sfsync.salesforce.encode import CSV_NULL
from sfsync.salesforce.status_codes import ErrorColumns, lookup_sql


@dataclass(frozen=True, slots=True)
class Known:
    """What the state adds to echoed rows."""

    snapshot: str  # the table that has the keys of Ids
    shown: Callable[[str], str]  # SQL of the identity as people may see it, over a table's alias with its dot


def read_file(context: PushContext, batch: Batch, kind: ResultFile, path: Path, part: int) -> None:
    """Turn one result file into outcomes of the batch's rows."""
    db = context.db
    own, echo = _correlation(context.syncs[batch.sync], batch.operation)
    error = kind is ResultFile.FAILED
    extra = "sf__Error" if error else "sf__Created"
    source = text_csv.relation(path)
    table, outcomes = run_table(batch.operation.value, batch.sync), run_table("outcome", batch.sync)
    where = context.chosen(batch.sync, batch.operation, batch.first, batch.last)
    joined = (
        f'SELECT DISTINCT ON (t._ord) t._ord, t._key, t._own, r.* FROM (SELECT rowid AS _ord, _key, "Id" AS _own, {own} AS _match'
        f' FROM {table} WHERE {where}) AS t JOIN (SELECT "sf__Id" AS _id, {ident(extra)} AS _extra,'
        f" {echo} AS _echo FROM {source}) AS r ON r._echo = t._match"
    )
    if error:
        _insert_failed(context, batch, joined, part)
    else:
        good = outcome_sql(batch.object, batch.operation, "TRUE", "_extra = 'true'", "''")
        db.execute(
            f"INSERT INTO {outcomes} SELECT '{batch.operation}', _ord, _key, coalesce(nullif(_id, ''), _own),"
            f" _extra = 'true', {good},"
            f" NULL, NULL, NULL, NULL, {part} FROM ({joined}) AS j"
        )


def _correlation(sync: CompiledSync, operation: Operation) -> tuple[str, str]:
    """What tells which row a line of a result file is about: SQL over our rows, and over the columns that it echoes."""
    if not operation.makes:
        return '"Id"', '"Id"'
    own = [ident(rule.field) for rule in sync.identity]
    echoed = [ident(rule.header) for rule in sync.identity]
    if len(own) == 1:
        return own[0], echoed[0]
    return f"concat_ws(chr(31), {', '.join(own)})", f"concat_ws(chr(31), {', '.join(echoed)})"


def _insert_failed(context: PushContext, batch: Batch, joined: str, part: int) -> None:
    outcomes = run_table("outcome", batch.sync)
    said = bulk.error_columns("j._extra")
    read = f"SELECT *, {said.code} AS code, {said.fields} AS fields, {said.message} AS message FROM ({joined}) AS j"
    operation = f"'{batch.operation.verb}'"
    error = ErrorColumns("q.code", "q.message", "q.fields")
    context.db.execute(
        f"INSERT INTO {outcomes} SELECT '{batch.operation}', _ord, _key, coalesce(_own, nullif(_id, '')), FALSE,"
        f" {outcome_sql(batch.object, batch.operation, 'FALSE', 'FALSE', 'action')}, action, code, fields, message, {part}"
        f" FROM (SELECT *, {lookup_sql(context.status_codes(), operation, error)} AS action FROM ({read}) AS q) AS w"
    )


def rebuild(
    context: PushContext, sync: CompiledSync, operation: Operation, paths: Sequence[Path], known: Known
) -> Batch:
    """Make the tables of a push again out of the cells that result files echo: rows to send, outcomes, whole texts.

    The batch holds all rows of the files whose records are known. `discard` takes the tables away again.
    """
    files = _files(sync, operation, paths)
    texts = ", ".join(f"e.{ident(rule.field)}" for rule in sync.rules)
    acknowledged = [ident(rule.field + "@") for rule in sync.rules]
    before = ", ".join(
        [
            "s._id AS _record_id",
            "s._origin",
            *(
                f"s.{ident(rule.field)} AS {mark}"
                for rule, mark in zip(sync.rules, acknowledged, strict=True)
            ),
        ]
    )
    if operation.makes:
        keyed = f"SELECT *, {_key(sync)} AS _key FROM ({files}) AS f"
        rows = f'SELECT e._key, NULL::VARCHAR AS "Id", {known.shown("e.")} AS _shown, {texts} FROM ({keyed}) AS e'
    else:
        rows = (
            f'SELECT s._key, e._own AS "Id", {known.shown("s.")} AS _shown, {texts}, {before} FROM ({files}) AS e'
            f" JOIN {known.snapshot} AS s ON s._id = e._own"
        )
    table = run_table(operation.value, sync.name)
    db = context.db
    db.execute(
        f"CREATE TABLE {table} AS SELECT DISTINCT ON (_key) *, NULL::UBIGINT AS _source_hash"
        f" FROM ({rows}) AS r WHERE _key IS NOT NULL"
    )
    whole = [f"{ident(rule.field)} AS {ident(rule.field + '=')}" for rule in sync.rules]
    if not operation.makes:
        whole += ["_record_id", "_origin", *acknowledged]
    db.execute(f"CREATE TABLE {run_table('work', sync.name)} AS SELECT _key, {', '.join(whole)} FROM {table}")
    db.execute(f"CREATE TABLE {run_table('outcome', sync.name)} ({OUTCOME_COLUMNS})")
    count = int(db.value(f"SELECT count(*) FROM {table}"))
    return Batch(sync.name, sync.object, operation, Way.BULK, 0, 0, count, 0, 0)


def told_rows(db: DuckDB, sync: CompiledSync, operation: Operation, paths: Sequence[Path]) -> int:
    """How many of the rows that were sent stand in these files, each counted once."""
    if not paths:
        return 0
    row = _key(sync) if operation.makes else "_own"
    return int(db.value(f"SELECT count(DISTINCT {row}) FROM ({_files(sync, operation, paths)}) AS f"))


def echoed_rows(sync: CompiledSync, operation: Operation, path: Path, snapshot: str) -> str:
    """A relation of a file's known records: `_key`, and the text that was sent for each field."""
    texts = "".join(f", e.{ident(rule.field)}" for rule in sync.fields)
    return (
        f"(SELECT s._key{texts} FROM ({_echoed(sync, operation, path)}) AS e"
        f" JOIN {snapshot} AS s ON s._id = e._own)"
    )


def _files(sync: CompiledSync, operation: Operation, paths: Sequence[Path]) -> str:
    return " UNION ALL ".join(_echoed(sync, operation, path) for path in paths)


def _key(sync: CompiledSync) -> str:
    return wire.key_text(sync.identity, [ident(rule.field) for rule in sync.identity], DUCKDB)


def discard(context: PushContext, sync: str, operation: Operation) -> None:
    """Take away what `rebuild` made."""
    for kind in (operation.value, "work", "outcome"):
        context.db.execute(f"DROP TABLE IF EXISTS {run_table(kind, sync)}")


def _echoed(sync: CompiledSync, operation: Operation, path: Path) -> str:
    """SELECT of a file's rows: the Id we sent, and the text that each cell was made of."""
    names = set(text_csv.header(path))
    cells = ["NULL::VARCHAR AS _own" if operation.makes else '"Id" AS _own']
    for rule in sync.rules:
        # A lookup is set by its parent's key, cleared by its own field: one of the two columns, or neither.
        name = next((name for name in (rule.header, rule.field) if name in names), None)
        text = "NULL::VARCHAR"
        if name is not None:
            cell = ident(name)
            text = f"CASE {cell} WHEN {literal(CSV_NULL)} THEN '' WHEN '' THEN NULL ELSE {cell} END"
        cells.append(f"{text} AS {ident(rule.field)}")
    return f"SELECT {', '.join(cells)} FROM {text_csv.relation(path)}"
