"""`sfsync plan`: what a run would do. Sends nothing, takes no lease, changes no snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sfsync.child_objects import Below
from sfsync.compiler.manifest import CompiledSync, Manifest
from sfsync.diff.aside import LeftJob
from sfsync.diff.changes import Changes, DiffContext
from sfsync.diff.diff import diff_sync
from sfsync.diff.late import all_apart
from sfsync.diff.split import block_creates
from sfsync.diff.stage import run_table, stage_rows
from sfsync.engine.dialect import DUCKDB
from sfsync.jobs.compile import compile_for_sending, selected_names
from sfsync.jobs.left import away_intents, away_jobs, left_warnings, state_warnings
from sfsync.jobs.matcher import Matcher
from sfsync.jobs.session import Options, Session
from sfsync.plan import cascade, guards
from sfsync.plan.batches import pack_sync
from sfsync.plan.cost import batches_of, calls_by_kind
from sfsync.plan.plan import ApiBudget, Plan, SyncPlan, describe_sync
from sfsync.salesforce.limits import MAX_COLLECTION_ROWS
from sfsync.state import along, history
from sfsync.state.snapshots import NEW_NAME, SnapshotInfo, inspect


def plan_command(options: Options, *, allow: Sequence[str] = (), undo: str | None = None) -> Plan:
    """Compile, stage, diff and price the selected syncs; or the way back of a run (`undo`: its id, or ``latest``)."""
    with Session(options, "plan") as session:
        session.open_store(write=False)
        if not options.offline:
            session.check_connection()
        elif session.is_new_connection:
            what = "the connection is new to the state, and --offline cannot see whose org it is"
            session.events.log("warning", what)
        manifest = compile_for_sending(session, max_age=None)
        plan = make_plan(session, manifest, frozenset(allow), undo)
        write_plan(session, plan)
        return plan


def selected_syncs(session: Session, manifest: Manifest) -> tuple[CompiledSync, ...]:
    """The syncs that --select and --exclude leave, parents first."""
    names = selected_names(session, manifest)
    return tuple(sync for sync in manifest.syncs if sync.name in names)


def make_plan(session: Session, manifest: Manifest, allow: frozenset[str], undo: str | None = None) -> Plan:
    """Diff the selected syncs, or what takes a run back, into the run's file and put the plan together."""
    compare, chosen = _diff, selected_syncs(session, manifest)
    warnings: list[str] = []
    if undo is not None:
        from sfsync.jobs.undo import Undoing  # most plans go forward

        back = Undoing(session, undo, warnings.append)
        compare, chosen, undo = back.changes, back.among(chosen), back.run_id
        allow |= back.allowed(chosen)
    lost = away_intents(session.store, manifest.syncs)
    away = away_jobs(session.store, lost)
    found: list[tuple[Changes, tuple[guards.Refusal, ...]]] = []
    for sync in chosen:
        session.events.log("debug", f"{sync.name}: comparing")
        info = inspect(session.store, sync)
        changes = compare(session, sync, info, tuple(c.sync for c, _ in found), away)
        refusals = guards.changed(sync.name, info.foreign, NEW_NAME) + guards.check(changes, allow)
        refusals += cascade.check(changes, chosen, allow)
        if refusals:
            block_creates(sync, session.db)
        found.append((changes, refusals))
    found, told = cascade.check_again(found, allow, partial(_leaves, session))
    if undo is not None:
        found = back.whole(found)
    found = all_apart(found, session.db)
    session.warehouse.release()
    items = _packed(session, found, told)
    return Plan(
        run_id=session.run_id,
        project=manifest.project,
        target=session.target.target,
        created_at=session.clock.now(),
        syncs=items,
        api=_budget(session, items),
        warnings=state_warnings(session, lost)
        + manifest.warnings
        + tuple(warning for item in items for warning in (*item.warnings, *left_warnings(item.changes)))
        + tuple(warnings),
        undo=undo,
    )


def _leaves(session: Session, sync: CompiledSync, item: Below, names: Sequence[str]) -> bool:
    place, tables = (item.link.object, item.link.field), [run_table("delete", name) for name in names]
    return along.leaves(session.store, sync.name, sync.takes, place, run_table("delete", sync.name), tables)


def _packed(session: Session, found: Sequence[cascade.Found], told: cascade.Told) -> tuple[SyncPlan, ...]:
    learned, call = history.learned(session.store, "collection_rows"), 0
    items: list[SyncPlan] = []
    for changes, refusals in found:
        sync = changes.sync
        chunk = int(learned.get(sync.object, MAX_COLLECTION_ROWS))
        more = {"undeletes": changes.undeletes, "links": changes.links}
        batches = pack_sync(sync, session.db, chunk=chunk, first_call=call, **more)
        call = 1 + max((batch.call for batch in batches), default=call - 1)
        items.append(describe_sync(changes, refusals, batches, told[sync.name], session.db))
    return tuple(items)


def _diff(
    session: Session,
    sync: CompiledSync,
    info: SnapshotInfo,
    upstream: tuple[CompiledSync, ...],
    away: tuple[LeftJob, ...],
) -> Changes:
    dialect = session.warehouse.dialect if session.warehouse.shares_engine else DUCKDB
    with session.db.uncompressed():
        staged = stage_rows(sync, session.warehouse, session.db)
        base = (session.db, session.store, dialect, upstream, session.db.memory_limit, away)
        match = Matcher(session)
        asked = (match, match.find_parents, match.read, match.confirms)
        return diff_sync(sync, staged, info, DiffContext(*base, *asked))


def _budget(session: Session, items: tuple[SyncPlan, ...]) -> ApiBudget:
    batches, budget = [batch for item in items for batch in item.batches], session.ledger.budget()
    ways = calls_by_kind(batches, sum(item.verifying for item in items))
    return ApiBudget(
        calls=sum(ways.values()),
        by_way=tuple(sorted(ways.items())),
        allowed=budget.available,
        ceiling=budget.allowed,
        left_in_org=budget.left_in_org,
        seen_at=budget.seen_at,
        planning_calls=session.ledger.calls,
        batches=sum(batches_of(batch) for batch in batches),
        batches_allowed=budget.available_batches,
    )


def write_plan(session: Session, plan: Plan) -> None:
    """Leave target/plan.json and target/plan.md."""
    from sfsync.report.plan_json import plan_json
    from sfsync.report.plan_markdown import plan_markdown

    session.workspace.write_artifact("plan.json", plan_json(plan))
    session.workspace.write_artifact("plan.md", plan_markdown(plan))
