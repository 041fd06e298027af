"""Outcomes of a run into a table of the warehouse (`results: {to: warehouse}`): written to files first, then delivered.

Owns:      which rows are told, the files that wait, and what is said when the warehouse does not take them.
Does not:  know a warehouse (engine), or change what the run has recorded.
Invariant: a file is removed only when its rows are committed in the warehouse; a run delivers what earlier ones could not.
"""

from __future__ import annotations

from pathlib import Path

from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import quote_literal as literal
from sfsync.errors import SfsyncError
from sfsync.jobs.results import sent_operations
from sfsync.jobs.session import Session
from sfsync.plan.plan import Plan, SyncPlan
from sfsync.records import Operation, ResultsPlace
from sfsync.state import rejected

_GOOD = "'created', 'adopted', 'updated', 'deleted', 'already_deleted', 'restored'"


def prepare(session: Session, plan: Plan) -> None:
    """Before anything is sent: see that the warehouse takes outcomes.

    Raises:
        WarehouseError: it does not; says which grant is missing.
    """
    places = {item.sync.results_to for item in plan.syncs if not item.refusals}
    for place in sorted((place for place in places if place is not None), key=lambda p: (p.schema, p.table)):
        session.warehouse.prepare_results(place)


def deliver(session: Session, plan: Plan) -> str | None:
    """Write the run's outcomes to files and hand all that wait to the warehouse; why it did not take them, or None."""
    folder = session.workspace.private / "results" / session.target.target
    for item in plan.syncs:
        if item.sync.results_to is not None and not item.refusals:
            place = item.sync.results_to
            _write(session, item, folder / f"{place.schema}.{place.table}")
    if not folder.exists():
        return None
    for waiting in sorted(folder.iterdir()):
        files = sorted(waiting.glob("*.parquet"))
        if not files:
            continue
        schema, _, table = waiting.name.partition(".")
        try:
            session.warehouse.append_results(ResultsPlace(schema, table), files, session.db)
        except SfsyncError as error:
            fix = f" ({error.fix})" if error.fix else ""
            return f"results of {len(files):,} syncs wait in {folder.name}: {error.what}{fix}; the next run delivers them"
        for path in files:
            path.unlink()
    return None


def _write(session: Session, item: SyncPlan, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{session.run_id}.{item.sync.name}.parquet"
    rows = _refused(session, item.sync)
    if item.sync.results_all:
        rows = " UNION ALL ".join([rows, *_successes(session, item)])
    at = f"TIMESTAMPTZ {literal(session.clock.now().isoformat())}"
    mine = f"{literal(session.run_id)} AS run_id, {literal(item.sync.name)} AS sync, {literal(item.sync.object)} AS object"
    select = f"SELECT {mine}, *, {at} AS recorded_at FROM ({rows}) AS r"
    if session.db.value(f"SELECT EXISTS ({select})"):
        session.db.execute(f"COPY ({select}) TO {literal(str(path))} (FORMAT parquet)")


def _refused(session: Session, sync: CompiledSync) -> str:
    """Rows that this run found refused and earlier runs did not, masked as in the file of rejected rows."""
    names = [literal("$." + rule.field) for rule in sync.identity] + ["'$.key'"]
    key = f"coalesce({', '.join(f'r.identity->>{name}' for name in names)})"
    held = f"SELECT digest FROM {run_table('refused', sync.name)} WHERE known"
    outcomes = (
        f"SELECT _key, any_value(_record_id) AS id, any_value(outcome) AS outcome"
        f" FROM {run_table('outcome', sync.name)} WHERE outcome NOT IN ({_GOOD}) GROUP BY _key"
    )
    return (
        f"SELECT {key} AS key, r.identity, o.id AS record_id, r.action,"
        " CASE WHEN r.decided_by = 'sfsync' THEN 'rejected' ELSE coalesce(o.outcome, 'rejected') END AS outcome,"
        " r.code, r.field, replace(r.message, chr(0), '') AS message"
        f" FROM {rejected.TABLE} AS r LEFT JOIN ({outcomes}) AS o ON o._key = r.key"
        f" WHERE r.sync = {literal(sync.name)} AND r.run_id = {literal(session.run_id)}"
        f" AND NOT (r.decided_by = 'sfsync' AND r.digest IN ({held}))"
    )


def _successes(session: Session, item: SyncPlan) -> list[str]:
    sync = item.sync
    name = literal(sync.identity[0].field if len(sync.identity) == 1 else "key")
    verbs = {Operation.UPSERT: "create", Operation.UNDELETE: "restore", Operation.LINK: "update"}
    return [
        f"SELECT t._shown AS key, CAST(json_object({name}, t._shown) AS VARCHAR) AS identity, o._record_id AS record_id,"
        f" '{verbs.get(operation, str(operation))}' AS action, o.outcome, NULL AS code, NULL AS field, NULL AS message"
        f" FROM {run_table('outcome', sync.name)} AS o JOIN {run_table(operation.value, sync.name)} AS t ON t.rowid = o._ord"
        f" WHERE o._op = '{operation}' AND o.outcome IN ({_GOOD})"
        + (" AND t._first = ''" if operation is Operation.LINK else "")  # else it was told as it was made
        for operation in sent_operations(session, item)
    ]
