"""Misbehaviour of a Bulk job's answers: result files that lie, results that are gone, counts that do not agree.

Owns:      what is served in place of a true result file, and what the job says of itself.
Does not:  touch the true files, which the journal reads, or stop a job in the middle (bulk_worker).
Invariant: without a rule about the job everything is as it was; a served file is good CSV with the true header.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sfsync.local_org.answers import not_found
from sfsync.local_org.bulk_csv import DELIMITERS, LINE_ENDINGS, CsvError, load, read_header
from sfsync.local_org.bulk_jobs import TERMINAL, Job, job_json
from sfsync.local_org.bulk_rest import STAGE, facts_of, result_file
from sfsync.local_org.faults import Faults
from sfsync.local_org.store import Store, literal, quoted


def gone(faults: Faults, job: Job) -> bool:
    """Was the job itself cleaned away?"""
    rule = faults.of_job(job.id, job.object, "results_expired") if job.state in TERMINAL else None
    return rule is not None and rule.job_too


def info_json(faults: Faults, job: Job) -> dict[str, Any]:
    """What `GET jobs/ingest/{id}` says."""
    body = job_json(job, full=True)
    rule = faults.of_job(job.id, job.object, "counts_wrong")
    if rule is not None:
        for name, off in (("numberRecordsProcessed", rule.processed), ("numberRecordsFailed", rule.failed)):
            body[name] = max(0, body[name] + off)
    return body


def served(store: Store, faults: Faults, folder: Path, job: Job, kind: str) -> Path:
    """The file to answer with.

    Raises:
        ApiError: NOT_FOUND; the results were cleaned away.
    """
    if faults.of_job(job.id, job.object, "results_expired") is not None:
        raise not_found()
    doubled = faults.of_job(job.id, job.object, "results_doubled")
    shuffled = faults.of_job(job.id, job.object, "results_shuffled")
    missing = faults.of_job(job.id, job.object, "results_missing")
    path = result_file(folder, kind)
    if doubled is None and shuffled is None and missing is None:
        return path
    shares = (doubled.share if doubled else 0.0, missing.share if missing else 0.0)
    try:
        return _lying(store, path, job, kind, shares, shuffled is not None)
    except CsvError:
        return path  # the copy of an upload that nobody could read: there is no row to double


def _lying(
    store: Store, path: Path, job: Job, kind: str, shares: tuple[float, float], shuffled: bool
) -> Path:
    names = read_header(path, facts_of(path), delimiter=job.delimiter, line_ending=job.line_ending)
    raw = f"{STAGE}.{quoted(f'{job.id} {kind}')}"
    made, body = path.with_suffix(".served.csv"), path.with_suffix(".served.part")
    cells = ", ".join(f"coalesce(c{i}, '') AS c{i}" for i in range(len(names)))
    twice, absent = (f"(floor((rowid + 1) * {s}) > floor(rowid * {s}))" for s in shares)
    order = "md5(CAST(n AS VARCHAR)), again" if shuffled else "n, again"
    listed = ", ".join(f"c{i}" for i in range(len(names)))
    with store.reading() as cursor:
        try:
            load(cursor, path, raw, len(names), delimiter=job.delimiter)
            cursor.execute(
                f"""COPY (SELECT {listed} FROM (
                      SELECT rowid AS n, 0 AS again, {cells} FROM {raw} WHERE NOT {absent}
                      UNION ALL SELECT rowid, 1, {cells} FROM {raw} WHERE {twice} AND NOT {absent}) ORDER BY {order})
                    TO {literal(str(body))} (FORMAT csv, HEADER false, DELIMITER {literal(DELIMITERS[job.delimiter])},
                      NEW_LINE {literal(LINE_ENDINGS[job.line_ending])}, QUOTE '"', ESCAPE '"', FORCE_QUOTE *)"""
            )
        finally:
            cursor.execute(f"DROP TABLE IF EXISTS {raw}")
    with path.open("rb") as true:
        header = true.readline()
    made.write_bytes(header + body.read_bytes())
    body.unlink()
    return made
