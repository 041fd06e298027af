"""Outcomes of a run into a table of the warehouse (`results: {to: warehouse}`): written to files first, then delivered.

Owns:      which rows are told, the files that wait, and what is said when the warehouse does not take them.
Does not:  know a warehouse (engine), or change what the run has recorded.
Invariant: a file is removed only when its rows are committed in the warehouse; a run delivers what earlier ones could not.
"""

from __future__ import annotations

from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.refusals import identity_sql, keyed_digest, secret_of, shown_identity, whole_texts
from sfsync.diff.stage import RUN, run_table
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.errors import SfsyncError
from sfsync.jobs.results import sent_operations
from sfsync.jobs.session import Session
from sfsync.plan.plan import Plan
from sfsync.records import Operation, ResultsPlace
from sfsync.state import rejected

_RECOVERED = f"{RUN}.main.recovered_rows"
_SHAPE = (
    f"CREATE TABLE IF NOT EXISTS {_RECOVERED} (schema_name VARCHAR, table_name VARCHAR, sync VARCHAR, object VARCHAR,"
    " good BOOLEAN, key VARCHAR, identity VARCHAR, record_id VARCHAR, action VARCHAR, outcome VARCHAR, code VARCHAR,"
    " field VARCHAR, message VARCHAR)"
)
"""Rows of earlier runs of which this one found out what became of them; good: they went through."""
_RECOVERED_ROWS = (
    f"SELECT key, identity, record_id, action, outcome, code, field, message FROM {_RECOVERED} AS k"
)
_GOOD = "'created', 'adopted', 'updated', 'deleted', 'already_deleted', 'restored'"


def prepare(session: Session, plan: Plan) -> None:
    """Before anything is sent: see that the warehouse takes outcomes.

    Raises:
        WarehouseError: it does not; says which grant is missing.
    """
    places = {item.sync.results_to for item in plan.syncs if not item.refusals}
    for place in sorted((place for place in places if place is not None), key=lambda p: (p.schema, p.table)):
        session.warehouse.prepare_results(place)


def deliver(session: Session, plan: Plan, *, recovered: bool) -> str | None:
    """Write the run's outcomes to files and hand all that wait to the warehouse; why it did not take them, or None.

    recovered: it also found out what became of rows of an earlier run.
    """
    folder = session.workspace.private / "results" / session.target.target
    if recovered:
        session.db.execute(_SHAPE)
    written = []
    for item in plan.syncs:
        if item.sync.results_to is not None and not item.refusals:
            rows = [_refused(session, item.sync)]
            if item.sync.results_all:
                rows += _successes(session, item.sync, sent_operations(session, item))
            if recovered:
                rows.append(f"{_RECOVERED_ROWS} WHERE good AND sync = {literal(item.sync.name)}")
            _write(session, item.sync.results_to, item.sync.name, item.sync.object, rows)
            written.append(item.sync.name)
    if recovered:  # of syncs that are not of this run, too
        for schema, table, sync, object_ in session.db.execute(
            f"SELECT DISTINCT schema_name, table_name, sync, object FROM {_RECOVERED} ORDER BY ALL"
        ):
            if sync not in written:
                rows = [f"{_RECOVERED_ROWS} WHERE sync = {literal(sync)}"]
                _write(session, ResultsPlace(schema, table), sync, object_, rows)
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


def _write(session: Session, place: ResultsPlace, sync: str, object_: str, rows: list[str]) -> None:
    folder = session.workspace.private / "results" / session.target.target / f"{place.schema}.{place.table}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{session.run_id}.{sync}.parquet"
    at = f"TIMESTAMPTZ {literal(session.clock.now().isoformat())}"
    mine = f"{literal(session.run_id)} AS run_id, {literal(sync)} AS sync, {literal(object_)} AS object"
    select = f"SELECT {mine}, *, {at} AS recorded_at FROM ({' UNION ALL '.join(rows)}) AS r"
    if session.db.value(f"SELECT EXISTS ({select})"):
        session.db.execute(f"COPY ({select}) TO {literal(str(path))} (FORMAT parquet)")


def keep_job(session: Session, sync: CompiledSync, operation: Operation) -> None:
    """Keep for the end of this run what a job of an earlier one did to each row, while its outcomes are there."""
    if sync.results_to is None:
        return
    told = f"SELECT _key FROM {run_table('outcome', sync.name)} WHERE outcome NOT IN ({_GOOD})"
    refused = (
        f"SELECT {_key(sync, 'r.key', _shown(sync))} AS key, {_identity(sync)}, NULL AS record_id, r.action,"
        " CASE WHEN r.transient THEN 'failed' ELSE 'rejected' END AS outcome, r.code, r.field,"
        f" replace(r.message, chr(0), '') AS message FROM {rejected.TABLE} AS r WHERE r.sync = {literal(sync.name)}"
        f" AND r.run_id = {literal(session.run_id)} AND r.key IN ({told})"
    )
    _keep(session, sync, refused, good=False)
    if sync.results_all:
        _keep(session, sync, *_successes(session, sync, [operation]), good=True)


def keep_found(session: Session, sync: CompiledSync, rows: str, *, restored: bool = False) -> None:
    """The same of records of unanswered requests that the org has. rows: with `_key, _record_id` and the identity's texts."""
    if sync.results_to is None or not sync.results_all:
        return
    secret = secret_of(sync, session.store)
    shown = _key(sync, "f._key", shown_identity(sync, secret, "", "f."))
    texts = [
        (rule.field, keyed_digest(secret, "f._key") if rule.pii else f"f.{ident(rule.field)}")
        for rule in sync.identity
    ]
    cells = ", ".join(f"{literal(field)}, {text}" for field, text in texts)
    identity = _clear_identity(sync, "f._key") if sync.results_clear else f"json_object({cells})"
    action, outcome = ("restore", "restored") if restored else ("create", "adopted")
    _keep(
        session,
        sync,
        f"SELECT {shown} AS key, CAST({identity} AS VARCHAR) AS identity,"
        f" f._record_id AS record_id, '{action}' AS action, '{outcome}' AS outcome, NULL AS code, NULL AS field,"
        f" NULL AS message FROM {rows} AS f",
        good=True,
    )


def _keep(session: Session, sync: CompiledSync, rows: str, *, good: bool) -> None:
    place = sync.results_to
    assert place is not None  # noqa: S101 - the callers look
    head = ", ".join(literal(text) for text in (place.schema, place.table, sync.name, sync.object))
    session.db.execute(_SHAPE)
    session.db.execute(f"INSERT INTO {_RECOVERED} SELECT {head}, {good}, r.* FROM ({rows}) AS r")


def _key(sync: CompiledSync, key: str, shown: str) -> str:
    """SQL of a row's key: as reports show it, or where the table is to have it in clear, as keys are compared."""
    return f"coalesce({key}, {shown})" if sync.results_clear else shown


def _identity(sync: CompiledSync) -> str:
    """SQL of a refused row's identity. Rows without a key, or with one that stands twice, have none to be joined by."""
    if not sync.results_clear:
        return "r.identity"
    clear = f"CAST({_clear_identity(sync, 'r.key')} AS VARCHAR)"
    return f"CASE WHEN r.key IS NULL THEN r.identity ELSE {clear} END AS identity"


def _clear_identity(sync: CompiledSync, key: str) -> str:
    return f"json_object({literal(sync.identity[0].field if len(sync.identity) == 1 else 'key')}, {key})"


def _shown(sync: CompiledSync) -> str:
    """SQL of a refused row's key as reports show it: what a masked field shows is the digest of the whole key."""
    masked = [rule for rule in sync.identity if rule.pii]
    texts = [f"r.identity->>{literal('$.' + rule.field)}" for rule in masked[:1] or sync.identity]
    return texts[0] if len(texts) == 1 else f"concat_ws(' / ', {', '.join(texts)})"


def _refused(session: Session, sync: CompiledSync) -> str:
    """Rows that this run found refused and earlier runs did not, masked as in the file of rejected rows."""
    held = f"SELECT digest FROM {run_table('refused', sync.name)} WHERE known"
    outcomes = (
        f"SELECT _key, any_value(_record_id) AS id, any_value(outcome) AS outcome"
        f" FROM {run_table('outcome', sync.name)} WHERE outcome NOT IN ({_GOOD}) GROUP BY _key"
    )
    return (
        f"SELECT {_key(sync, 'r.key', _shown(sync))} AS key, {_identity(sync)}, o.id AS record_id, r.action,"
        " CASE WHEN r.decided_by = 'sfsync' THEN 'rejected' ELSE coalesce(o.outcome, 'rejected') END AS outcome,"
        " r.code, r.field, replace(r.message, chr(0), '') AS message"
        f" FROM {rejected.TABLE} AS r LEFT JOIN ({outcomes}) AS o ON o._key = r.key"
        f" WHERE r.sync = {literal(sync.name)} AND r.run_id = {literal(session.run_id)}"
        f" AND NOT (r.decided_by = 'sfsync' AND r.digest IN ({held}))"
    )


def _successes(session: Session, sync: CompiledSync, operations: list[Operation]) -> list[str]:
    shown, more = _key(sync, "t._key", "t._shown"), ""
    if sync.results_clear:
        identity = f"CAST({_clear_identity(sync, shown)} AS VARCHAR)"
    else:
        identity = identity_sql(sync, secret_of(sync, session.store))
        more = whole_texts(sync) if len(sync.identity) > 1 else ""
    verbs = {Operation.UPSERT: "create", Operation.UNDELETE: "restore", Operation.LINK: "update"}
    # A lookup that followed its record was told as that was made, but not where an earlier run made it.
    alone = " AND t._first = ''" if len(operations) > 1 else ""
    return [
        f"SELECT {shown} AS key, {identity} AS identity, o._record_id AS record_id,"
        f" '{verbs.get(operation, str(operation))}' AS action, o.outcome, NULL AS code, NULL AS field, NULL AS message"
        f" FROM {run_table('outcome', sync.name)} AS o JOIN {run_table(operation.value, sync.name)} AS t ON t.rowid = o._ord"
        f"{more} WHERE o._op = '{operation}' AND o.outcome IN ({_GOOD})"
        + (alone if operation is Operation.LINK else "")
        for operation in operations
    ]
