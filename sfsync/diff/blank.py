"""Fields that are only filled where the org has nothing (`write: if_blank`), read just before they are planned.

Owns:      which records are looked at, and which of these fields stay among what is sent.
Does not:  ask (the context's `read` does).
Invariant: a field is sent where the org has it blank, or has still what the snapshot says that we sent; anything else is
           somebody's work and stays. What could not be read is not sent.
"""

from __future__ import annotations

from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.changes import DiffContext
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import quote_ident as ident
from sfsync.records import FieldRule, Send


def fills(sync: CompiledSync) -> tuple[FieldRule, ...]:
    """The fields of a sync that are only filled."""
    return tuple(rule for rule in sync.fields if rule.on_update is Send.IF_BLANK)


def judge(sync: CompiledSync, context: DiffContext) -> None:
    """Take out of the updates in `judged:` what the org has something else in."""
    rules, db = fills(sync), context.db
    judged, live = run_table("judged", sync.name), run_table("live", sync.name)
    updates = "_code IS NULL AND _op = 'update'"
    some = " OR ".join(f"{ident(rule.field)} IS NOT NULL" for rule in rules)
    ids = f"(SELECT DISTINCT _record_id AS _key FROM {judged} WHERE {updates} AND ({some}))"
    if not db.value(f"SELECT count(*) FROM {ids} AS i"):
        return
    context.read(sync, rules, ids, live)
    kept = ", ".join(
        f"{name} = CASE WHEN t.{name} = '' OR t.{name} = j.{ident(rule.field + '@')} THEN j.{name} END"
        for rule in rules
        for name in (ident(rule.field),)
    )
    # Without a hash a row that could not be read is looked at again by the next plan.
    db.execute(
        f"UPDATE {judged} AS j SET {kept}, _source_hash = CASE WHEN t._read THEN j._source_hash END"
        f" FROM (SELECT i._key, l._key IS NOT NULL AS _read, l.* EXCLUDE (_key) FROM {ids} AS i"
        f" LEFT JOIN {live} AS l ON l._key = i._key) AS t WHERE j._record_id = t._key AND {updates}"
    )
    db.execute(f"DROP TABLE {live}")
    none = " AND ".join(f"{ident(rule.field)} IS NULL" for rule in sync.fields)
    db.execute(f"UPDATE {judged} SET _op = 'none' WHERE {updates} AND {none}")
