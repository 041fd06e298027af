"""`sfsync explain SYNC KEY`: one record's whole story, out of the state and of what the next run would do with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sfsync.artifacts import ExplainResult, FieldTexts, PastChange, Refused
from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.messages import MASK
from sfsync.diff.stage import run_table
from sfsync.engine.duckdb import DuckDB
from sfsync.errors import ProjectError
from sfsync.jobs.compile import compile_for_sending
from sfsync.jobs.meant import meant_key
from sfsync.jobs.plan import make_plan
from sfsync.jobs.session import Options, Session
from sfsync.jobs.verdict import verdict_of
from sfsync.plan.plan import SyncPlan
from sfsync.records import FieldRule
from sfsync.state import rejected, snapshots, undo
from sfsync.state.store import StateStore, utc


def explain_command(options: Options, name: str, *key: str) -> ExplainResult:
    """Compare the sync and those above it as `plan` does, and tell all that is known of one record.

    Args:
        key: as people know it: see `meant_key`.

    Raises:
        ProjectError: there is no such sync.
        StateError: neither the model nor the state has such a record.
    """
    with Session(replace(options, select=(f"+{name}",)), "explain") as session:
        session.open_store(write=False)
        session.check_connection()
        manifest = compile_for_sending(session, max_age=None)
        plan = make_plan(session, manifest, frozenset())
        item = next((item for item in plan.syncs if item.sync.name == name), None)
        if item is None:
            raise ProjectError(f"'{name}' is not the name of a sync", fix="`sfsync ls` lists them")
        return _story(session, item, meant_key(session, item.sync, key))


def _story(session: Session, item: SyncPlan, key: str) -> ExplainResult:
    sync, store, db = item.sync, session.store, session.db
    known = _row(db, snapshots.table_of(sync.name), key) if snapshots.inspect(store, sync).exists else {}
    work = _row(db, run_table("work", sync.name), key)
    verdict, why = verdict_of(item, db, key, known)
    if item.refusals:
        why = (*why, *(f"{refusal.what} ({refusal.fix})" for refusal in item.refusals))
    return ExplainResult(
        sync=sync.name,
        object=sync.object,
        key=_as_people_know_it(session, sync, key, known, work),
        record_id=known.get("_id"),
        origin=known.get("_origin"),
        run_id=known.get("_run_id"),
        at=utc(known["_at"]) if known.get("_at") else None,
        gone_at=utc(known["_gone_at"]) if known.get("_gone_at") else None,
        verdict=verdict,
        why=why,
        fields=tuple(_texts(rule, known, work) for rule in sync.rules),
        refused=_refused(store, sync, key),
        past=_past(store, sync, key, known.get("_id")),
    )


def _as_people_know_it(
    session: Session, sync: CompiledSync, key: str, known: dict[str, Any], work: dict[str, Any]
) -> str:
    """The identity before folding; of a masked one, its digest."""
    if any(rule.pii for rule in sync.identity):
        return str(session.db.value("SELECT md5(?::VARCHAR || ?)", [session.store.meta("secret") or "", key]))
    texts = [str(work.get(rule.field + "=") or known.get(rule.field) or "") for rule in sync.identity]
    return " / ".join(texts) if all(texts) else key


def _row(db: DuckDB, table: str, key: str) -> dict[str, Any]:
    """The row of a key, by column; empty if there is none."""
    names = [name for name, *_ in db.execute(f"DESCRIBE {table}")]
    found = db.execute(f"SELECT * FROM {table} WHERE _key = ? LIMIT 1", [key])
    return dict(zip(names, found[0], strict=True)) if found else {}


def _texts(rule: FieldRule, known: dict[str, Any], work: dict[str, Any]) -> FieldTexts:
    """What the org acknowledged, what the model says and what would be sent; of unchanged rows the model says the same."""
    stands = known.get(rule.field)
    says = work.get(rule.field + "=") if work else stands
    return FieldTexts(
        rule.field, _shown(rule, stands), _shown(rule, says), _shown(rule, work.get(rule.field))
    )


def _shown(rule: FieldRule, text: str | None) -> str | None:
    return MASK if rule.pii and text else text


def _refused(store: StateStore, sync: CompiledSync, key: str) -> Refused | None:
    found = rejected.of_key(store, sync.name, key)
    if found is None:
        return None
    by, first_at, row = found
    return Refused(row.code, row.field, row.message, row.attempts, first_at, row.at, by)


def _past(store: StateStore, sync: CompiledSync, key: str, record: str | None) -> tuple[PastChange, ...]:
    """What runs did to the record, the newest first, as far back as runs can be taken back."""
    masked = {rule.field for rule in sync.rules if rule.pii}
    out = []
    for run_id, at, operation, cells in undo.of_record(store, sync.name, key, record):
        changed = tuple(
            (field, *((MASK, MASK) if field in masked or pair is None else (pair[0], pair[1])))
            for field, pair in cells.items()
        )
        out.append(PastChange(run_id, at, operation, changed))
    return tuple(out)
