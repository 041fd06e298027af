"""The runs that were, and what became of each sync in them.

Owns:      the tables runs and run_syncs.
Does not:  keep rows (snapshots, rejected) or calls (ledger).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sfsync.state.store import CONTROL, StateStore, utc


@dataclass(frozen=True, slots=True)
class SyncRecord:
    """One sync of one run."""

    run_id: str
    sync: str
    status: str  # success | warn | partial | refused | error | interrupted
    started_at: datetime
    ended_at: datetime | None
    calls: int
    staged: int
    removed: int
    counts: Mapping[str, int]
    message: str | None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One command that wrote the state."""

    run_id: str
    command: str
    started_at: datetime
    ended_at: datetime | None
    status: str
    exit_code: int | None
    target: str


def begin(
    store: StateStore, run_id: str, command: str, *, started_at: datetime, project: str, target: str
) -> None:
    """Note that a run has begun; one that never ended is shown as interrupted.

    started_at: of the command, planning included.
    """
    import socket  # late: only a run says where it is

    store.db.execute(
        f"INSERT INTO {CONTROL}.runs VALUES (?, ?, ?, NULL, 'running', NULL, ?, ?, ?, ?)",
        [run_id, command, started_at, socket.gethostname(), os.getpid(), project, target],
    )


def end(store: StateStore, run_id: str, status: str, exit_code: int) -> None:
    """Note how a run ended."""
    store.db.execute(
        f"UPDATE {CONTROL}.runs SET ended_at = ?, status = ?, exit_code = ? WHERE run_id = ?",
        [store.clock.now(), status, exit_code, run_id],
    )


def record_sync(store: StateStore, record: SyncRecord) -> None:
    """Note what became of one sync."""
    store.db.execute(
        f"INSERT INTO {CONTROL}.run_syncs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            record.run_id,
            record.sync,
            record.status,
            record.started_at,
            record.ended_at,
            record.calls,
            record.staged,
            record.removed,
            json.dumps(dict(record.counts)),
            record.message,
        ],
    )


def last_syncs(store: StateStore) -> list[SyncRecord]:
    """The newest record of each sync, by name."""
    rows = store.db.execute(
        f"SELECT DISTINCT ON (sync) * FROM {CONTROL}.run_syncs ORDER BY sync, started_at DESC"
    )
    return [_sync_record(row) for row in rows]


def runs(store: StateStore, limit: int = 20) -> list[RunRecord]:
    """The newest runs first."""
    rows = store.db.execute(
        "SELECT run_id, command, started_at, ended_at, status, exit_code, target"
        f" FROM {CONTROL}.runs ORDER BY started_at DESC LIMIT {limit}"
    )
    return [RunRecord(row[0], row[1], utc(row[2]), row[3] and utc(row[3]), *row[4:]) for row in rows]


def syncs_of(store: StateStore, run_id: str) -> list[SyncRecord]:
    """What became of each sync of one run, in the order they ended."""
    rows = store.db.execute(f"SELECT * FROM {CONTROL}.run_syncs WHERE run_id = ? ORDER BY ended_at", [run_id])
    return [_sync_record(row) for row in rows]


def learned(store: StateStore, name: str) -> dict[str, float]:
    """What earlier runs learned under a name, by object."""
    return dict(store.db.execute(f"SELECT object, value FROM {CONTROL}.learned WHERE name = ?", [name]))


def learn(store: StateStore, object_: str, name: str, value: float) -> None:
    """Keep a value for later runs."""
    store.db.execute(f"DELETE FROM {CONTROL}.learned WHERE object = ? AND name = ?", [object_, name])
    store.db.execute(f"INSERT INTO {CONTROL}.learned VALUES (?, ?, ?)", [object_, name, value])


def _sync_record(row: tuple) -> SyncRecord:  # type: ignore[type-arg]
    values = list(row)
    values[3], values[4], values[8] = utc(values[3]), values[4] and utc(values[4]), json.loads(values[8])
    return SyncRecord(*values)
