"""`sfsync status`: the last run of each sync, what is refused, and the API account. Asks nobody but the state."""

from __future__ import annotations

from sfsync.artifacts import RejectedCode, StatusLine, StatusResult
from sfsync.jobs.left import jobs_at_work
from sfsync.jobs.session import Options, Session
from sfsync.state import history, rejected
from sfsync.state.snapshots import all_rows
from sfsync.state.store import StateStore


def status_command(options: Options) -> StatusResult:
    """Read the state of the target."""
    with Session(options, "status") as session:
        store = session.store
        session.check_owner()
        last = {record.sync: record for record in history.last_syncs(store)}
        refused, records = rejected.counts(store), all_rows(store)
        objects = {sync.name: sync.object for sync in session.facts.graph.syncs}
        failing = rejected.failing(store)
        causes = _causes(store, list(refused)) if refused else {}
        lines = []
        for name in dict.fromkeys([*objects, *last, *records]):
            record = last.get(name)
            lines.append(
                StatusLine(
                    sync=name,
                    object=objects.get(name, "(no longer in the project)"),
                    last_run=record.run_id if record else None,
                    last_at=record.ended_at if record else None,
                    last_status=record.status if record else None,
                    records=records.get(name, 0),
                    refused=refused.get(name, 0),
                    counts=dict(record.counts) if record else {},
                    failing=failing.get(name, (0, 0))[0],
                    failing_runs=failing.get(name, (0, 0))[1],
                    causes=causes.get(name, ()),
                )
            )
        budget = session.ledger.budget()
        return StatusResult(
            target=session.target.target,
            state=store.name,
            org_id=store.meta("org_id"),
            syncs=tuple(lines),
            spent=budget.spent,
            allowed=budget.allowed,
            left_in_org=budget.left_in_org,
            maximum=budget.maximum,
            seen_at=budget.seen_at,
            batches=budget.batches,
            batches_allowed=budget.batches_allowed,
            hours=session.ledger.by_hour(),
            at=session.clock.now(),
            jobs=jobs_at_work(store),
        )


def _causes(store: StateStore, syncs: list[str]) -> dict[str, tuple[RejectedCode, ...]]:
    """Of each sync: why rows are refused at the moment, and what most likely mends it."""
    from sfsync.salesforce.status_help import cause_sql, help_of

    return {
        sync: tuple(
            RejectedCode(one.code, one.field, one.rows, help_of(one.code, ours=one.ours, cause=one.number))
            for one in found
        )
        for sync, found in rejected.causes(store, syncs, cause_sql("r")).items()
    }
