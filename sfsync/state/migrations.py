"""The state's tables, one numbered migration after another.

Owns:      every CREATE and ALTER of the control tables; `VERSION` is the number of the last one.
Does not:  touch snapshot tables (snapshots makes those from a sync's fields) or open files (store does).
Invariant: a migration and the record that it ran stand in one transaction; a number is never reused or edited.
"""

from __future__ import annotations

from collections.abc import Callable

from sfsync.engine.duckdb import DuckDB


def _m1_control_tables(db: DuckDB, schema: str) -> None:
    for statement in (
        "CREATE TABLE {s}.meta (name VARCHAR PRIMARY KEY, value VARCHAR)",
        "CREATE TABLE {s}.runs (run_id VARCHAR PRIMARY KEY, command VARCHAR, started_at TIMESTAMP,"
        " ended_at TIMESTAMP, status VARCHAR, exit_code INTEGER, host VARCHAR, pid INTEGER,"
        " project VARCHAR, target VARCHAR)",
        "CREATE TABLE {s}.run_syncs (run_id VARCHAR, sync VARCHAR, status VARCHAR, started_at TIMESTAMP,"
        " ended_at TIMESTAMP, calls BIGINT, staged BIGINT, removed BIGINT, counts VARCHAR, message VARCHAR)",
        "CREATE TABLE {s}.snapshots (sync VARCHAR PRIMARY KEY, object VARCHAR, identity VARCHAR,"
        " created_at TIMESTAMP)",
        "CREATE TABLE {s}.rejected (sync VARCHAR, key VARCHAR, digest VARCHAR, decided_by VARCHAR,"
        " action VARCHAR, code VARCHAR, field VARCHAR, message VARCHAR, identity VARCHAR, attempts INTEGER,"
        " transient BOOLEAN, released BOOLEAN, run_id VARCHAR, first_at TIMESTAMP, last_at TIMESTAMP)",
        "CREATE TABLE {s}.ledger (minute TIMESTAMP, run_id VARCHAR, kind VARCHAR, calls BIGINT)",
        "CREATE TABLE {s}.usage (seen_at TIMESTAMP, used BIGINT, maximum BIGINT)",
        "CREATE TABLE {s}.learned (object VARCHAR, name VARCHAR, value DOUBLE, PRIMARY KEY (object, name))",
        "CREATE TABLE {s}.contract (object VARCHAR PRIMARY KEY, body VARCHAR, fetched_at TIMESTAMP)",
        "CREATE SCHEMA {c}.snapshot",
    ):
        db.execute(statement.format(s=schema, c=schema.split(".", 1)[0]))


def _m2_bulk_batches(db: DuckDB, schema: str) -> None:
    """Bulk batches beside calls. What older versions started is not known; their last 24 hours soon pass."""
    db.execute(f"ALTER TABLE {schema}.ledger ADD COLUMN batches BIGINT DEFAULT 0")


def _m3_intents(db: DuckDB, schema: str) -> None:
    """What is about to be sent, until its outcome is recorded."""
    db.execute(
        f"CREATE TABLE {schema}.intents (number BIGINT, run_id VARCHAR, epoch BIGINT, begun_at TIMESTAMP,"
        " sync VARCHAR, object VARCHAR, operation VARCHAR, way VARCHAR, row_count BIGINT, fields VARCHAR,"
        " keys VARCHAR, job_id VARCHAR)"
    )


def _m4_undo(db: DuckDB, schema: str) -> None:
    """What each run did to each record."""
    db.execute(
        f"CREATE TABLE {schema}.undo (run_id VARCHAR, sync VARCHAR, object VARCHAR, operation VARCHAR, key VARCHAR,"
        " id VARCHAR, texts VARCHAR)"
    )


def _m5_left_jobs(db: DuckDB, schema: str) -> None:
    """When a run last found the job of an intent still at work, and left it."""
    db.execute(f"ALTER TABLE {schema}.intents ADD COLUMN left_at TIMESTAMP")


def _m6_doubts(db: DuckDB, schema: str) -> None:
    """What stood in records before something was sent to them that was never answered."""
    db.execute(
        f"CREATE TABLE {schema}.doubts (sync VARCHAR, key VARCHAR, id VARCHAR, deleting BOOLEAN, texts VARCHAR)"
    )


def _m7_missing(db: DuckDB, schema: str) -> None:
    """Since how many runs a record's row has been missing from the model."""
    db.execute(f"CREATE TABLE {schema}.missing (sync VARCHAR, key VARCHAR, runs INTEGER, run_id VARCHAR)")


def _m8_archive(db: DuckDB, schema: str) -> None:
    """Copies of records that were deleted."""
    db.execute(
        f"CREATE TABLE {schema}.archive (sync VARCHAR, object VARCHAR, key VARCHAR, id VARCHAR, run_id VARCHAR,"
        " deleted_at TIMESTAMP, texts VARCHAR)"
    )


MIGRATIONS: tuple[Callable[[DuckDB, str], None], ...] = (
    _m1_control_tables,
    _m2_bulk_batches,
    _m3_intents,
    _m4_undo,
    _m5_left_jobs,
    _m6_doubts,
    _m7_missing,
    _m8_archive,
)
VERSION = len(MIGRATIONS)


def migrate(db: DuckDB, schema: str, *, have: int, to: int = VERSION) -> None:
    """Bring the tables in `schema` from version `have` to `to`, each step with its record in one transaction."""
    for number, step in enumerate(MIGRATIONS[have:to], start=have + 1):
        with db.transaction():
            step(db, schema)
            db.execute(f"DELETE FROM {schema}.meta WHERE name = 'version'")
            db.execute(f"INSERT INTO {schema}.meta VALUES ('version', ?)", [str(number)])
