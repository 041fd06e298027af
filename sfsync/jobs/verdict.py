"""What the next run does with one row, and why: read off the tables of the run's file that a plan leaves."""

from __future__ import annotations

from typing import Any

from sfsync.diff.messages import MASK
from sfsync.diff.split import LEFT_ALONE
from sfsync.diff.stage import run_table
from sfsync.engine.duckdb import DuckDB
from sfsync.jobs.left import left_text
from sfsync.plan.plan import SyncPlan


def verdict_of(item: SyncPlan, db: DuckDB, key: str, known: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """What the next run does with the row, in one word, and why."""
    sync = item.sync

    def among(table: str, more: str = "") -> bool:
        return bool(
            db.value(f"SELECT EXISTS (FROM {run_table(table, sync.name)} WHERE _key = ?{more})", [key])
        )

    for code, field, message, again in db.execute(
        f"SELECT code, field, message, known FROM {run_table('refused', sync.name)} WHERE _key = ? LIMIT 1",
        [key],
    ):
        return ("held" if again else "rejected"), (f"{code}{f' {field}' if field else ''}: {message}",)
    for field, parent, parent_key in db.execute(
        f"SELECT field, parent, parent_key FROM {run_table('waiting', sync.name)} WHERE _key = ? LIMIT 1",
        [key],
    ):
        masked = any(rule.pii and rule.field == field for rule in sync.rules)
        return "waiting", (
            f"{field} refers to {MASK if masked else parent_key} of sync '{parent}', which is not in the org",
        )
    for word in ("submitted", "stopped"):
        if among("judged", f" AND _op = '{word}'"):
            return word, tuple(left_text(sync, job) for job in item.changes.aside.jobs)
    if among("held"):
        return "held", (
            "the org refused it in this form before; a change of it, or `sfsync retry`, tries it again",
        )
    for table, word in (
        (sync.making.value, "create"),
        ("update", "update"),
        ("link", "update"),
        ("delete", "delete"),
    ):
        if (table != "link" or item.changes.links) and among(table):
            return word, ()
    if (
        sync.removal.after > 1
        and item.changes.missing.rows
        and among("missing", f" AND _runs < {sync.removal.after}")
    ):
        runs = db.value(f"SELECT _runs FROM {run_table('missing', sync.name)} WHERE _key = ?", [key])
        return "missing", (
            f"{runs} of {sync.removal.after} runs in a row have missed its row (on_removed.after)",
        )
    for word in LEFT_ALONE:
        if among("judged", f" AND _op = '{word}'"):
            return word, ()
    if item.changes.unread and among("unread"):
        return "deferred", ("the org could not be asked whether its record has another key by now",)
    if item.changes.conflicts and among("repurposed"):
        return "conflict", (
            "somebody gave its record another key, or one that cannot be told, so it is not deleted;"
            f" `sfsync state forget {sync.name}` with its key has sfsync forget it",
        )
    if among("removed"):
        return "kept", (_why_kept(item, known),)
    if known.get("_gone_at") is not None:
        in_model = among("work")
        return "gone", (
            "on_gone: skip" if in_model else "it is not in the model, and its record is gone from the org",
        )
    return "unchanged", ()


def _why_kept(item: SyncPlan, known: dict[str, Any]) -> str:
    sync = item.sync
    if known.get("_origin") == "converted":
        return "it left the model, but the lead was converted, and is neither written nor deleted any more"
    if not sync.deletes:
        return f"it left the model, and the sync says on_removed: {sync.on_removed}"
    if item.changes.removals_held_back:
        return "it left the model, but nothing is deleted while rows have no key (guards.max_null_keys)"
    if known.get("_origin") != "created" and not sync.delete_adopted:
        return "it left the model, but sfsync did not make the record (delete_adopted)"
    return "it left the model, and its delete is held or waits for a job"
