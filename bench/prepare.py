"""States as they would stand after a first load of v1, made by SQL: ten million rows need no ten million HTTP records.

    python -m bench.prepare PROJECT WAREHOUSE BASELINE_STATE

The project's state must exist (state init). Texts and hashes come from sfsync's own projection of v1, as a first load
would have recorded them; every record gets an invented Id.
"""

from __future__ import annotations

import sys
from pathlib import Path


def sfsync(project: str) -> None:
    """Fill the snapshot of the one sync."""
    from sfsync.diff import sql
    from sfsync.jobs.compile import compile_for_sending
    from sfsync.jobs.session import Options, Session
    from sfsync.state import snapshots

    with Session(Options(project_dir=Path(project)), "run") as session:
        store = session.open_store(write=True)
        (sync,) = compile_for_sending(session, max_age=None).syncs
        snapshots.prepare(store, sync)
        fields = ", ".join(f'"{rule.field}"' for rule in sync.rules)
        texts = ", ".join(f"coalesce(\"{rule.field}\", '')" for rule in sync.rules)
        projected = sql.projection(sync, f"({sync.sql})", session.warehouse.dialect)
        session.db.execute(
            f"INSERT INTO {snapshots.table_of(sync.name)} (_key, _id, _origin, _source_hash, _run_id, _at, {fields})"
            " SELECT _key, '003' || lpad(CAST(row_number() OVER () AS VARCHAR), 15, '0'), 'created', _source_hash,"
            f" 'prepared', TIMESTAMP '2026-01-01', {texts} FROM ({projected}) AS p"
        )


def baseline(warehouse: str, state: str) -> None:
    """Fill the script's table of known rows."""
    from bench.baseline import ALL, connect

    db = connect(warehouse, state, "1GB")
    db.execute(
        f"INSERT INTO known SELECT {ALL}, lower(trim(id)), '003' || lpad(CAST(rowid AS VARCHAR), 15, '0'), hash({ALL})"
        " FROM w.raw.customers"
    )
    db.close()


def main() -> None:
    """Fill both."""
    project, warehouse, state = sys.argv[1:4]
    sfsync(project)
    baseline(warehouse, state)


if __name__ == "__main__":
    main()
