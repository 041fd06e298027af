"""The background worker of Bulk API 1.0: each batch to saved records, or a query, and to its result file.

Owns:      the queue, reading an upload (CSV or JSON) into a table, the form of result files.
Does not:  judge a row (write), keep jobs (bulk1_jobs), or answer HTTP (bulk1).
Invariant: a batch is saved whole in one transaction together with its state; its results stand in the order of the upload.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from sfsync.contract import Contract
from sfsync.local_org import bulk1_jobs as states
from sfsync.local_org.bulk1_jobs import Batch, ClassicJob, ClassicJobs
from sfsync.local_org.bulk_csv import CsvError, load, read_header
from sfsync.local_org.bulk_rest import STAGE, append_file, facts_of, known_columns
from sfsync.local_org.bulk_results import error_sql
from sfsync.local_org.call import Call
from sfsync.local_org.columns import RefusedWriteError
from sfsync.local_org.faults import Faults
from sfsync.local_org.soql import compile_soql
from sfsync.local_org.soql_bulk import compile_bulk
from sfsync.local_org.soql_syntax import SoqlError
from sfsync.local_org.store import Store, literal, quoted
from sfsync.local_org.write import apply, forget

MAX_ROWS = 10_000  # of a batch; Bulk API guide, "Bulk API Limits"
NO_ROWS = b"Records not found for this query"
_CSV = "FORMAT csv, HEADER false, QUOTE '\"', ESCAPE '\"', FORCE_QUOTE *"
_LOG = logging.getLogger(__name__)


def upload_file(folder: Path, batch_id: str) -> Path:
    """What the client sent."""
    return folder / f"{batch_id}.request"


def result_file(folder: Path, batch_id: str) -> Path:
    """What became of it."""
    return folder / f"{batch_id}.result"


class ClassicWorker:
    """One thread; batches run one after the other, in the order in which they came."""

    def __init__(
        self, store: Store, jobs: ClassicJobs, faults: Faults, seen: Callable[[str], Contract]
    ) -> None:
        """seen: what a user may see and do at this time."""
        self._store, self._jobs, self._faults, self._seen = store, jobs, faults, seen
        self._queue: queue.Queue[tuple[str, str] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="bulk1", daemon=True)

    def start(self) -> None:
        """Take up what an earlier process left, and begin to work."""
        with self._store.reading() as cursor:
            cursor.execute(f"ATTACH IF NOT EXISTS ':memory:' AS {STAGE}")
        for waiting in self._jobs.waiting():
            self._queue.put(waiting)
        self._thread.start()

    def stop(self) -> None:
        """End after the batch that is being saved."""
        self._queue.put(None)
        self._thread.join(timeout=60)

    def submit(self, batch: Batch) -> None:
        """Queue a batch."""
        self._queue.put((batch.job, batch.id))

    def _work(self) -> None:
        while True:
            waiting = self._queue.get()
            if waiting is None:
                return
            job, batch = self._jobs.job(waiting[0]), self._jobs.batch(*waiting)
            if job is None or batch is None or not self._jobs.begin(batch.id):
                continue
            begun = time.monotonic()
            try:
                if job.operation in states.QUERIES:
                    self._query(job, batch, begun)
                else:
                    self._save(job, batch, begun)
            except (CsvError, RefusedWriteError) as error:
                text = str(error) if isinstance(error, CsvError) else f"InvalidBatch : {error.message}"
                self._fail(batch, text, begun)
            except SoqlError as error:
                message = f"InvalidBatch : Failed to process query: {error.code}: {error.message.strip()}"
                self._fail(batch, message, begun)
            except Exception as error:  # the shell of this thread: the batch fails, the worker lives on
                _LOG.exception("batch %s", batch.id)
                self._fail(batch, f"InternalServerError : {type(error).__name__}", begun)

    def _fail(self, batch: Batch, message: str, begun: float) -> None:
        with self._store.write() as cursor:
            self._jobs.end(cursor, batch.id, states.FAILED, message=message, total_ms=_spent(begun))

    # ---------------------------------------------------------------- rows

    def _save(self, job: ClassicJob, batch: Batch, begun: float) -> None:
        folder, seen = self._jobs.folder(job.id), self._seen(job.created_by)
        sobject = seen.object(job.object)
        raw = f"{STAGE}.{quoted(batch.id)}"
        with self._store.reading() as cursor:
            try:
                names = _read(cursor, job.content_type, upload_file(folder, batch.id), raw)
                _, wrong = known_columns(seen, sobject, job.operation, names)
                if wrong is not None or sobject is None:
                    raise CsvError(wrong or "InvalidBatch : the object is not in this org any more")
                total = int(cursor.execute(f"SELECT count(*) FROM {raw}").fetchall()[0][0])
                if total > MAX_ROWS:
                    text = f"InvalidBatch : Records count limit exceeded: {total}; the limit is {MAX_ROWS}"
                    raise CsvError(text)
                with self._store.write() as writing:
                    cells = ", ".join(f"c{i} AS {quoted(name)}" for i, name in enumerate(names))
                    writing.execute(f"CREATE TEMP VIEW incoming AS SELECT rowid AS _row, {cells} FROM {raw}")
                    call = Call(
                        sobject,
                        job.operation,
                        "incoming",
                        external_id=job.external_id,
                        request=batch.request,
                        faults=self._faults.of_write(sobject.name),
                        user_id=job.created_by,
                        seen=seen,
                    )
                    result = apply(self._store, writing, call)
                    failed = _write_results(writing, result, job.content_type, result_file(folder, batch.id))
                    forget(writing, result)
                    writing.execute("DROP VIEW incoming")
                    self._jobs.end(
                        writing, batch.id, states.COMPLETED, counts=(total, failed), total_ms=_spent(begun)
                    )
            finally:
                cursor.execute(f"DROP TABLE IF EXISTS {raw}")

    # ---------------------------------------------------------------- queries

    def _query(self, job: ClassicJob, batch: Batch, begun: float) -> None:
        folder, seen = self._jobs.folder(job.id), self._seen(job.created_by)
        text = upload_file(folder, batch.id).read_text(encoding="utf-8")
        now = datetime.fromisoformat(batch.created).astimezone(UTC)
        deleted = job.operation == "queryAll"
        compiled = compile_bulk(text, seen, now=now, include_deleted=deleted)  # says what Bulk does not take
        if compiled.object.lower() != job.object.lower():
            text = f"Failed to process query: the query is of {compiled.object}, the job of {job.object}"
            raise CsvError(f"InvalidBatch : {text}")
        path = result_file(folder, batch.id)
        with self._store.reading() as cursor:
            if job.content_type == "JSON":
                records = compile_soql(text, seen, version=job.api_version, now=now, include_deleted=deleted)
                rows = _write_records(cursor, records.sql, path)
            else:
                head = ",".join(f'"{name}"' for name in compiled.names) + "\n"
                part = path.with_suffix(".part")
                copied = cursor.execute(f"COPY ({compiled.sql}) TO {literal(str(part))} ({_CSV})").fetchall()
                rows = int(copied[0][0])
                path.write_bytes(head.encode() if rows else NO_ROWS)
                append_file(path, part)
        with self._store.write() as cursor:
            found = self._store.new_id(cursor, "752")
            spent = _spent(begun)
            self._jobs.end(cursor, batch.id, states.COMPLETED, counts=(rows, 0), total_ms=spent, result=found)


def _spent(begun: float) -> int:
    return int((time.monotonic() - begun) * 1000)


def _read(cursor: duckdb.DuckDBPyConnection, kind: str, path: Path, raw: str) -> tuple[str, ...]:
    """Read an upload into a table of texts (NULL: absent, '': null) and return its column names.

    Raises:
        CsvError: it cannot be read; the text is the batch's stateMessage.
    """
    if kind == "JSON":
        return _read_json(cursor, path, raw)
    seen = facts_of(path)
    facts = replace(seen, carriage_returns=0)  # either end of a line is good here
    names = read_header(path, facts, delimiter="COMMA", line_ending="LF")
    cells = f"{STAGE}.{quoted(path.stem + ' cells')}"
    try:
        load(cursor, path, cells, len(names), delimiter="COMMA", quotes=facts.quotes > 0)
        texts = ", ".join(f"CASE WHEN c{i} = '#N/A' THEN '' ELSE c{i} END AS c{i}" for i in range(len(names)))
        cursor.execute(f"CREATE TABLE {raw} AS SELECT {texts} FROM {cells} ORDER BY rowid")
    finally:
        cursor.execute(f"DROP TABLE IF EXISTS {cells}")
    return names


def _read_json(cursor: duckdb.DuckDBPyConnection, path: Path, raw: str) -> tuple[str, ...]:
    """Records as a JSON array: null clears, an absent field is left alone, `Parent: {key: value}` is a lookup."""
    source = f"{STAGE}.{quoted(path.stem + ' json')}"
    try:
        cursor.execute(
            f"CREATE TABLE {source} AS SELECT json AS j FROM read_json_objects({literal(str(path))}, format='array',"
            " maximum_object_size=16777216)"
        )
    except duckdb.Error as error:
        reason = str(error).splitlines()[0].partition(": ")[2]
        raise CsvError(f"InvalidBatch : the data is no JSON array of records: {reason}") from None
    try:
        keys = cursor.execute(
            f"""SELECT k, max(json_type(j, '$."' || k || '"') = 'OBJECT') FROM
                  (SELECT j, unnest(json_keys(j)) AS k FROM {source}) WHERE k <> 'attributes' AND k NOT LIKE '%"%'
                GROUP BY k ORDER BY min(list_position(json_keys(j), k)), k"""
        ).fetchall()
        columns: dict[str, str] = {}
        for key, nested in keys:
            place = literal(f'$."{key}"')
            clear = f"WHEN json_type(j, {place}) = 'NULL' THEN ''"
            if not nested:
                columns[key] = f"CASE {clear} ELSE json_extract_string(j, {place}) END"
                continue
            inside = cursor.execute(
                f"SELECT DISTINCT unnest(json_keys(j, {place})) AS k FROM {source} WHERE json_type(j, {place}) = 'OBJECT'"
                " ORDER BY k"
            ).fetchall()
            for (name,) in inside:
                if name != "attributes":
                    found = literal(f'$."{key}"."{name}"')
                    columns[f"{key}.{name}"] = f"CASE {clear} ELSE json_extract_string(j, {found}) END"
        if not columns:
            raise CsvError("InvalidBatch : the data has no record with a field")
        listed = ", ".join(f"{sql} AS c{i}" for i, sql in enumerate(columns.values()))
        cursor.execute(f"CREATE TABLE {raw} AS SELECT {listed} FROM {source} ORDER BY rowid")
    finally:
        cursor.execute(f"DROP TABLE IF EXISTS {source}")
    return tuple(columns)


def _write_results(cursor: duckdb.DuckDBPyConnection, result: str, kind: str, path: Path) -> int:
    """Write the result file, a line per uploaded row in its order; how many rows failed."""
    if kind == "JSON":
        fields = "coalesce(string_split(replace(nullif(r.fields, ''), ', ', ','), ','), [])"
        error = f"{{'statusCode': r.code, 'message': r.message, 'fields': {fields}, 'extendedErrorDetails': NULL}}"
        body = (
            "r.success AS success, r.created AS created, CASE WHEN r.success THEN r.id END AS id,"
            f" CASE WHEN r.success THEN [] ELSE [{error}] END AS errors"
        )
        options = "FORMAT json, ARRAY true"
        cursor.execute(
            f"COPY (SELECT {body} FROM {result} r ORDER BY r._row) TO {literal(str(path))} ({options})"
        )
    else:
        path.write_bytes(b'"Id","Success","Created","Error"\n')
        part = path.with_suffix(".part")
        body = (
            "CASE WHEN r.success THEN coalesce(r.id, '') ELSE '' END, CAST(r.success AS VARCHAR),"
            f" CAST(r.created AS VARCHAR), CASE WHEN r.success THEN '' ELSE {error_sql('r')} END"
        )
        cursor.execute(
            f"COPY (SELECT {body} FROM {result} r ORDER BY r._row) TO {literal(str(part))} ({_CSV})"
        )
        append_file(path, part)
    return int(cursor.execute(f"SELECT count(*) FILTER (NOT success) FROM {result}").fetchall()[0][0])


def _write_records(cursor: duckdb.DuckDBPyConnection, sql: str, path: Path) -> int:
    """Write the records of a query as one JSON array. JSON text has no bare control character: a line is a record."""
    part = path.with_suffix(".part")
    plain = "FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x1f', NEW_LINE '\\n'"
    copied = cursor.execute(
        f"COPY (SELECT record || ',' FROM ({sql})) TO {literal(str(part))} ({plain})"
    ).fetchall()
    path.write_bytes(b"[")
    length = append_file(path, part)
    with path.open("r+b") as handle:
        handle.seek(max(1, length - len(",\n")))
        handle.truncate()
        handle.write(b"]")
    return int(copied[0][0])
