"""`sfsync state check`: every promise that the state keeps about itself, looked at in the whole file."""

from __future__ import annotations

from dataclasses import dataclass

from sfsync.compiler import wire
from sfsync.engine.dialect import DUCKDB
from sfsync.errors import InternalError
from sfsync.jobs.session import Options, Session
from sfsync.records import Column, FieldRule, Send, SourceType
from sfsync.state.invariants import Fault, Known, find_faults
from sfsync.state.snapshots import all_rows
from sfsync.state.store import CONTROL


@dataclass(frozen=True, slots=True)
class StateCheckResult:
    """What a check found."""

    path: str
    org_id: str | None
    records: int
    syncs: int
    open_requests: int
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]  # worth knowing, and no fault

    @property
    def exit_code(self) -> int:
        return 1 if self.faults else 0


def state_check_command(options: Options) -> StateCheckResult:
    """Read the whole state of the target; change nothing.

    Raises:
        StateError: there is none, it cannot be opened, or it belongs to another org.
    """
    with Session(options, "state check") as session:
        store = session.open_existing(write=False)
        masked = [s.spec.name for s in session.project.syncs if any(i.pii for i in s.spec.identity.values())]
        known = Known(
            syncs=frozenset(sync.name for sync in session.facts.graph.syncs),
            malformed_id=_malformed_id,
            masked=dict.fromkeys(masked, store.meta("secret") or session.run_id),
        )
        faults = tuple(find_faults(store, known))
        if faults and faults[0].where == "file":
            return StateCheckResult(store.name, None, 0, 0, 0, faults, ())
        rows = {} if faults else all_rows(store)
        open_requests = 0 if faults else int(store.db.value(f"SELECT count(*) FROM {CONTROL}.intents"))
        return StateCheckResult(
            path=store.name,
            org_id=store.meta("org_id"),
            records=sum(rows.values()),
            syncs=len(rows),
            open_requests=open_requests,
            faults=faults,
            notes=_notes(session),
        )


def _malformed_id(text: str) -> str:
    """SQL: this is no record Id of 18 characters with the right suffix."""
    column = Column("Id", "VARCHAR", SourceType.TEXT)
    rule = FieldRule("Id", "Id", column, "id", Send.NEVER, Send.NEVER)
    code = wire.project(rule, DUCKDB, timezone="UTC", source=text).code
    if code is None:
        raise InternalError("the projection of an Id refuses nothing")
    return f"(length({text}) <> 18 OR ({code}) IS NOT NULL)"


def _notes(session: Session) -> tuple[str, ...]:
    mode = session.state_path.stat().st_mode & 0o777
    if mode & 0o077:
        return (
            f"the file can be read by others (mode {mode:03o}), and it holds clear text: chmod 600 {session.state_path}",
        )
    return ()
