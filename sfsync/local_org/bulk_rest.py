"""The rows of a Bulk job that were never processed, and the files of a job that never ran.

Owns:      unprocessedrecords, the headers of all three result files, which uploaded columns they show.
Does not:  save rows or change a job's state (bulk_worker).
Invariant: after `list_rest` all three files of the job are there, and every row from `job.processed` on is in
           unprocessedrecords: cell by cell where the upload can be read, as uploaded where it cannot.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from sfsync.contract import Contract, SObject
from sfsync.local_org import bulk_results as results
from sfsync.local_org.bulk_csv import CsvError, Facts, Watch, load, read_header
from sfsync.local_org.bulk_jobs import Job
from sfsync.local_org.columns import RefusedWriteError, resolve
from sfsync.local_org.store import Store, quoted

UPLOAD = "upload.csv"
STAGE = "bulkstage"
"""An in-memory catalogue for uploaded cells: nothing of it belongs into the org's file."""

BLOCK = 10_000  # rows of text made at once


def result_file(folder: Path, kind: str) -> Path:
    """Where a result file of a job is kept."""
    return folder / f"{kind}.csv"


def append(path: Path, data: bytes) -> int:
    """Write behind the file's end and return its new length."""
    with path.open("ab") as handle:
        handle.write(data)
        return handle.tell()


def append_file(path: Path, more: Path) -> int:
    """Move what is in `more`, if it is there, behind the end of `path`; the new length."""
    with path.open("ab") as handle:
        if more.exists():
            with more.open("rb") as source:
                shutil.copyfileobj(source, handle, 1 << 20)
            more.unlink()
        return handle.tell()


def facts_of(path: Path) -> Facts:
    """Watch a file that was taken in earlier."""
    watch = Watch()
    with path.open("rb") as blocks:
        while block := blocks.read(1 << 20):
            watch.block(block)
    return watch.facts()


def known_columns(
    contract: Contract, sobject: SObject | None, operation: str, names: tuple[str, ...]
) -> tuple[tuple[str, ...], str | None]:
    """The columns that this job may carry, and what is wrong with the first that it may not."""
    if sobject is None:
        return (), "InvalidBatch : the object is not in this org any more"
    if operation in ("delete", "hardDelete"):
        good = tuple(n for n in names if n.lower() == "id")
        return good, None if good == names else "InvalidBatch : delete batch must contain only ids"
    good, first = (), None
    for name in names:
        try:
            resolve(contract, sobject, (*good, name))
            good = (*good, name)
        except RefusedWriteError as error:
            unknown = error.message.startswith("No such column")
            text = f"Field name not found : {name}" if unknown else error.message
            first = first or f"InvalidBatch : {text}"
    return good, first


def write_headers(folder: Path, job: Job, names: tuple[str, ...]) -> None:
    """Begin the three result files: each has its header even without a row."""
    for kind in (results.SUCCESSFUL, results.FAILED, results.UNPROCESSED):
        line = results.header_line(kind, names, delimiter=job.delimiter, line_ending=job.line_ending)
        result_file(folder, kind).write_bytes(line)


def list_rest(store: Store, folder: Path, job: Job) -> None:
    """Put the rows from `job.processed` on into unprocessedrecords, and make what files are missing."""
    upload = folder / UPLOAD
    if not upload.exists():
        write_headers(folder, job, ())
        return
    try:
        names = read_header(upload, facts_of(upload), delimiter=job.delimiter, line_ending=job.line_ending)
    except CsvError:
        write_headers(folder, job, ())
        shutil.copyfile(upload, result_file(folder, results.UNPROCESSED))
        return
    shown, _ = known_columns(store.contract, store.contract.object(job.object), job.operation, names)
    if job.processed == 0:
        write_headers(folder, job, shown)
    else:
        line = results.header_line(
            results.UNPROCESSED, shown, delimiter=job.delimiter, line_ending=job.line_ending
        )
        result_file(folder, results.UNPROCESSED).write_bytes(line)
    try:
        _write_rows(store, folder, job, names, shown)
    except CsvError:
        shutil.copyfile(upload, result_file(folder, results.UNPROCESSED))


def _write_rows(store: Store, folder: Path, job: Job, names: tuple[str, ...], shown: tuple[str, ...]) -> None:
    if not shown:
        return
    raw = f"{STAGE}.{quoted(job.id + ' rest')}"
    cells = tuple(names.index(name) for name in shown)
    with store.reading() as cursor:
        try:
            total = load(cursor, folder / UPLOAD, raw, len(names), delimiter=job.delimiter)
            for first in range(job.processed, total, BLOCK):
                text = results.unprocessed_text(
                    cursor,
                    raw,
                    (first, first + BLOCK),
                    cells,
                    delimiter=job.delimiter,
                    line_ending=job.line_ending,
                )
                append(result_file(folder, results.UNPROCESSED), text)
        finally:
            cursor.execute(f"DROP TABLE IF EXISTS {raw}")
