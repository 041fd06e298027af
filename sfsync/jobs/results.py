"""What is written down of each sync when a run ends: fresh hashes, refusals, counts, and the files people read."""

from __future__ import annotations

from dataclasses import replace

from sfsync.artifacts import RejectedCode, RejectedSample, Status, SyncResult, WaitingSample, status_of
from sfsync.compiler.manifest import CompiledSync, Mode
from sfsync.diff import matching, repurposed
from sfsync.diff.changes import Changes
from sfsync.diff.messages import MASK
from sfsync.diff.refusals import identity_texts, secret_of, whole_texts
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.jobs.left import left_text
from sfsync.jobs.session import Session
from sfsync.plan.plan import Plan, SyncPlan
from sfsync.push.context import PushContext
from sfsync.records import Operation, Outcome
from sfsync.report.plan_values import missing_text
from sfsync.state import history, missing, rejected, snapshots

SAMPLES = 5
"""Refused rows of each code and field that a result shows."""


def finish_sync(
    session: Session, plan: Plan, item: SyncPlan, context: PushContext, *, strict: bool, interrupted: bool
) -> SyncResult:
    """Record what needs no answer of the org, count outcomes, and note the sync in the history."""
    sync, changes = item.sync, item.changes
    if item.refusals:
        result = _result(session, item, Status.REFUSED, {}, {}, context)
    else:
        if plan.undo is None:  # else nothing was compared, and what is refused still stands
            _record_local(session, changes)
            if changes.missing.counts and not interrupted:
                with session.db.transaction():
                    missing.count(session.store, sync.name, run_table("missing", sync.name), session.run_id)
        model, removals = _outcomes(session, item)
        verified = None
        if sync.verify:
            from sfsync.jobs.verified import read_back  # with HTTP

            verified = read_back(session, item, context, interrupted=interrupted)
        status = status_of(model, removals, skipped_gone=changes.gone, strict=strict, verified=verified)
        if interrupted and model.get(Outcome.STOPPED, 0) + removals.get(Outcome.STOPPED, 0):
            status = Status.INTERRUPTED
        result = replace(_result(session, item, status, model, removals, context), verified=verified)
    history.record_sync(
        session.store,
        history.SyncRecord(
            session.run_id,
            sync.name,
            str(result.status),
            result.started_at,
            result.ended_at,
            result.calls,
            result.staged,
            result.removed,
            {str(o): result.count(o) for o in Outcome if result.count(o)},
            result.message,
        ),
    )
    return result


def _record_local(session: Session, changes: Changes) -> None:
    """Fresh hashes of unchanged rows, sfsync's own refusals, and an end to refusals that no longer stand."""
    store, sync = session.store, changes.sync
    refused = run_table("refused", sync.name)
    known = rejected.any_of(store, sync.name)
    with session.db.transaction():
        if changes.conflicts:
            rejected.clear(store, sync.name, repurposed.table_of(sync))
        if changes.fresh:
            snapshots.refresh_hashes(store, sync, run_table("fresh", sync.name))
        if known:
            rejected.keep_only(store, sync.name, f"(SELECT key, digest FROM {refused})")
        if changes.refused or changes.refused_again:
            columns = "key, digest, decided_by, action, code, field, message, identity, transient"
            rejected.record_refusals(store, sync.name, f"(SELECT {columns} FROM {refused})", session.run_id)
        if known:
            pending = f"SELECT _key FROM {run_table('work', sync.name)} WHERE _op IN ('upsert', 'update', 'undelete', 'delete') AND _key IS NOT NULL"
            removed = f"SELECT _key FROM {run_table('removed', sync.name)}"
            rejected.forget_others(store, sync.name, f"({pending} UNION ALL {removed})")


def _outcomes(session: Session, item: SyncPlan) -> tuple[dict[Outcome, int], dict[Outcome, int]]:
    """(of staged rows, of removed records): what the plan settled and what the push added."""
    changes = item.changes
    model = {
        Outcome.UNCHANGED: changes.unchanged,
        Outcome.REJECTED: changes.refused,
        Outcome.HELD: changes.held,
        Outcome.WAITING: changes.waiting,
        Outcome.ALREADY_DELETED if item.sync.mode is Mode.DELETE else Outcome.GONE: changes.gone,
        Outcome.ADOPTED: changes.adopted,
        Outcome.EXISTS: changes.exists,
        Outcome.NO_MATCH: changes.no_match,
        Outcome.MERGED: changes.merged,
        Outcome.CONVERTED: changes.converted,
        Outcome.DEFERRED: changes.unasked,
        Outcome.SUBMITTED: changes.aside.submitted,
        Outcome.STOPPED: changes.aside.stopped,
    }
    removals = {
        Outcome.HELD: changes.held_deletes,
        Outcome.CONFLICT: changes.conflicts,
        Outcome.DEFERRED: changes.unread,
        Outcome.SUBMITTED: changes.aside.submitted_deletes,
        Outcome.STOPPED: changes.aside.stopped_deletes,
    }
    if item.sync.mode is Mode.DELETE:  # its own rows are what is deleted
        for outcome, rows in removals.items():
            model[outcome] = model.get(outcome, 0) + rows
        removals = {}
    told, left = run_table("outcome", item.sync.name), "FALSE"
    if changes.links + changes.links_waiting:
        told = _one_of_two_parts(item.sync.name)
    if changes.retires:
        left = f"_op = 'update' AND _key IN (SELECT _key FROM {run_table('removed', item.sync.name)})"
    for operation, outcome, retired, rows in session.db.execute(
        f"SELECT _op, outcome, {left} AS retired, count(*) FROM {told} AS o GROUP BY ALL"
    ):
        into = (
            removals
            if (operation == Operation.DELETE and item.sync.mode is not Mode.DELETE) or retired
            else model
        )
        into[Outcome(outcome)] = into.get(Outcome(outcome), 0) + int(rows)
    if changes.matched > changes.adopted:
        # sfsync met these records only now: to send what differs is how it adopts them.
        met = (
            f"SELECT count(*) FROM {told} AS o WHERE _op = 'update' AND outcome = 'updated'"
            f" AND _key IN (SELECT _key FROM {matching.table_of(item.sync)})"
        )
        adopted = int(session.db.value(met))
        model[Outcome.UPDATED] = model.get(Outcome.UPDATED, 0) - adopted
        model[Outcome.ADOPTED] += adopted
    return {o: n for o, n in model.items() if n}, {o: n for o, n in removals.items() if n}


def _one_of_two_parts(sync: str) -> str:
    """Outcomes where some rows have two, since their lookups followed: the second, but only where the first is good and it is not."""
    outcomes = run_table("outcome", sync)
    parts = (
        f"SELECT l._first, l._key, w.outcome IN ('created', 'adopted', 'updated') AS well, o.outcome <> 'updated' AS bad"
        f" FROM {run_table('link', sync)} AS l JOIN {outcomes} AS o ON o._op = 'link' AND o._ord = l.rowid"
        f" LEFT JOIN {outcomes} AS w ON w._op = l._first AND w._key = l._key WHERE l._first <> ''"
    )
    second = f"SELECT _key FROM ({parts}) AS p WHERE well AND bad"
    hidden = f"SELECT _key FROM ({parts}) AS p WHERE NOT coalesce(well AND bad, FALSE)"
    return (
        f"(SELECT * FROM {outcomes} WHERE (_op IN ('upsert', 'create', 'update') AND _key NOT IN ({second}))"
        f" OR (_op = 'link' AND _key NOT IN ({hidden})) OR _op NOT IN ('upsert', 'create', 'update', 'link'))"
    )


def _result(
    session: Session,
    item: SyncPlan,
    status: Status,
    model: dict[Outcome, int],
    removals: dict[Outcome, int],
    context: PushContext,
) -> SyncResult:
    name = item.sync.name
    refused = status is Status.REFUSED
    changes, now = item.changes, session.clock.now()
    why = [f"{refusal.what} ({refusal.fix})" for refusal in item.refusals]
    if not refused:
        why = [left_text(item.sync, job) for job in changes.aside.jobs]
        if changes.missing.rows:
            why.append(
                f"{changes.missing.rows:,} records miss their row: {missing_text(changes.missing.more_runs)}"
            )
    times = context.times.get(name, (now, now))
    any_refused = rejected.any_of(session.store, name)
    samples, codes = refused_of_run(session, name) if any_refused else ((), ())
    return SyncResult(
        name=name,
        object=item.sync.object,
        status=status,
        staged=0 if refused else changes.staged,
        removed=0 if refused or item.sync.mode is Mode.DELETE else changes.removals,
        model=model,
        removals=removals,
        skipped_gone=changes.gone,
        calls=context.calls.get(name, 0),
        job_ids=tuple(context.job_ids.get(name, ())),
        started_at=times[0],
        ended_at=times[-1],
        message="; ".join(why) or None,
        rejected=samples,
        waiting=() if refused else _waiting(session, item, context),
        rejected_file=f"{session.facts.target_path}/rejected/{name}.csv" if any_refused else None,
        rejected_codes=codes,
    )


def refused_of_run(
    session: Session, sync: str
) -> tuple[tuple[RejectedSample, ...], tuple[RejectedCode, ...]]:
    """(a few rows of each cause, the causes) of what this run found refused."""
    from sfsync.salesforce.status_help import cause_sql, help_of  # most runs have nothing refused

    found = rejected.causes(session.store, [sync], cause_sql("r"), run_id=session.run_id, each=SAMPLES)
    samples, codes = [], []
    for cause in found.get(sync, ()):
        words = help_of(cause.code, ours=cause.ours, cause=cause.number)
        codes.append(RejectedCode(cause.code, cause.field, cause.rows, words))
        samples += [
            RejectedSample(row.identity, row.action, row.code, row.field, row.message, row.attempts, words)
            for row in cause.samples
        ]
    return tuple(samples), tuple(codes)


def _waiting(session: Session, item: SyncPlan, context: PushContext) -> tuple[WaitingSample, ...]:
    """A few of the rows that wait: those of the plan, then those whose parent this run was to bring and did not."""
    sync, masked = item.sync, {rule.field for rule in item.sync.rules if rule.pii}
    found = [WaitingSample(row.key, row.field, row.parent_key, row.parent) for row in item.waiting_rows]
    if sync.name not in context.skipping:
        return tuple(found)
    linked = (Operation.LINK,) if item.changes.links + item.changes.links_waiting else ()
    rows = " UNION ALL ".join(
        f"SELECT t._shown, s.field, s.parent_key, s.parent FROM {run_table('skip', sync.name)} AS s"
        f" JOIN {run_table(operation.value, sync.name)} AS t ON t.rowid = s._ord WHERE s._op = '{operation}'"
        " AND s.parent IS NOT NULL"
        for operation in (item.sync.making, Operation.UPDATE, *linked)
    )
    later = session.db.execute(f"SELECT * FROM ({rows}) AS w ORDER BY 1 LIMIT {SAMPLES}")
    found += [
        WaitingSample(key, field, MASK if field in masked else parent_key, parent)
        for key, field, parent_key, parent in later
    ]
    return tuple(found[:SAMPLES])


def write_files(session: Session, plan: Plan) -> None:
    """Leave the files of refused rows and, where a sync keeps all, of those that went through."""
    for item in plan.syncs:
        write_rejected(session, item.sync)
        if item.sync.results_all and not item.refusals:
            write_successes(session, item)


def write_rejected(session: Session, sync: CompiledSync) -> None:
    """Leave target/rejected/<sync>.csv with every row that is refused at the moment; remove it when there is none."""
    path = session.workspace.target / "rejected" / f"{sync.name}.csv"
    if not rejected.any_of(session.store, sync.name):
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    identity = ", ".join(
        f"identity->>{literal('$.' + rule.field)} AS {ident(rule.field)}" for rule in sync.identity
    )
    select = (
        "SELECT 'false' AS status, message AS errormessage, strftime(last_at, '%Y-%m-%dT%H:%M:%SZ') AS \"timestamp\","
        f" {identity}, action, code, field, run_id, attempts FROM {rejected.TABLE}"
        f" WHERE sync = {literal(sync.name)} ORDER BY last_at, key, digest"
    )
    session.db.copy_csv(select, path)


def sent_operations(session: Session, item: SyncPlan) -> list[Operation]:
    """The operations that rows of a sync ended in: their tables are there. Those that make records, if there are none."""
    told = session.db.execute(f"SELECT DISTINCT _op FROM {run_table('outcome', item.sync.name)} ORDER BY 1")
    return [Operation(name) for (name,) in told] or [item.sync.making]


def write_successes(session: Session, item: SyncPlan) -> None:
    """Leave target/results/<sync>.csv with the successful outcomes of this run (`results: all`)."""
    sync = item.sync
    path = session.workspace.target / "results" / f"{sync.name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    at = literal(session.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"))
    texts = identity_texts(sync, secret_of(sync, session.store))
    identity = ", ".join(f"{text} AS {ident(field)}" for field, text in texts)
    more = whole_texts(sync) if len(texts) > 1 else ""
    parts = [
        f"SELECT 'true' AS status, '' AS errormessage, {at} AS \"timestamp\","
        f' {identity}, o.outcome AS action, o._record_id AS "Id", {literal(session.run_id)} AS run_id'
        f" FROM {run_table('outcome', sync.name)} AS o JOIN {run_table(operation.value, sync.name)} AS t"
        f" ON t.rowid = o._ord{more} WHERE o._op = '{operation}'"
        " AND o.outcome IN ('created', 'adopted', 'updated', 'deleted', 'already_deleted', 'restored')"
        + (" AND t._first = ''" if operation is Operation.LINK else "")
        for operation in sent_operations(session, item)
    ]
    session.db.copy_csv(" UNION ALL ".join(parts), path)
