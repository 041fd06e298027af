"""`sfsync history`: the runs that were."""

from __future__ import annotations

from dataclasses import dataclass

from sfsync.jobs.session import Options, Session
from sfsync.state import history


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One run and what became of its syncs."""

    run: history.RunRecord
    syncs: tuple[history.SyncRecord, ...]


def history_command(options: Options, *, limit: int = 20) -> tuple[HistoryLine, ...]:
    """The newest runs first."""
    with Session(options, "history") as session:
        store = session.store
        session.check_owner()
        return tuple(
            HistoryLine(run, tuple(history.syncs_of(store, run.run_id))) for run in history.runs(store, limit)
        )
