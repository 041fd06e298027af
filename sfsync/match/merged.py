"""Records that are gone because somebody merged them into another: the row goes on with the record that was left.

Owns:      which objects can be merged, and the way from a deleted record to the one that took its place.
Does not:  follow anything for deletes, or make a merged record anew.
Source:    SOAP API Developer Guide, "merge()": the losers are deleted and name the winner in MasterRecordId.
"""

from __future__ import annotations

from sfsync.compiler.manifest import CompiledSync, Mode
from sfsync.compiler.org_texts import RECORD_ID
from sfsync.engine.dialect import quote_ident as ident
from sfsync.match import ask
from sfsync.match.ask import Org, Question
from sfsync.records import Column, FieldRule, Send, SourceType

MERGEABLE = frozenset({"Account", "Case", "Contact", "Lead"})
MOST_STEPS = 5
"""Merges of a merged record into another, one after the other, that are followed."""

_MASTER = FieldRule(
    "MasterRecordId",
    "Master Record ID",
    Column("MasterRecordId", "VARCHAR", SourceType.TEXT),
    "id",
    Send.NEVER,
    Send.NEVER,
)


def follows(sync: CompiledSync) -> bool:
    """Whether rows of the sync go on with the record that theirs was merged into."""
    return sync.object in MERGEABLE and sync.mode is not Mode.DELETE


def winners(org: Org, sync: CompiledSync, gone: str, into: str) -> int:
    """Leave a table of what became of merged records; how many there are.

    Args:
        gone: a relation with `_key, _record_id` of records that are not there any more.
        into: the table to make: `_key, _record_id` of the record that took its place, and a text per rule but Id.
    """
    db, chain, step = org.db, f'{into[:-1]}:chain"', f'{into[:-1]}:step"'
    db.execute(f"CREATE TABLE {chain} AS SELECT _key, _record_id AS _now, FALSE AS _moved FROM {gone} AS g")
    for _ in range(MOST_STEPS):
        ids = f"(SELECT DISTINCT _now AS _key FROM {chain})"
        ask.find(
            org, Question(sync.object, (RECORD_ID,), ids, (_MASTER,), name=sync.name, deleted=True), step
        )
        moved = db.execute(
            f'UPDATE {chain} SET _now = t."MasterRecordId", _moved = TRUE FROM {step} AS t'
            f" WHERE t._key = _now AND t.\"MasterRecordId\" <> '' RETURNING 1"
        )
        db.execute(f"DROP TABLE {step}")
        if not moved:
            break
    ids = f"(SELECT DISTINCT _now AS _key FROM {chain} WHERE _moved)"
    fields = tuple(rule for rule in sync.rules if rule.field != RECORD_ID.field)
    texts = "".join(f", t.{ident(rule.field)}" for rule in fields)
    if db.value(f"SELECT count(*) FROM {ids}"):
        ask.find(org, Question(sync.object, (RECORD_ID,), ids, fields, name=sync.name), step)
        found = f"SELECT c._key, t._record_id{texts} FROM {chain} AS c JOIN {step} AS t ON t._key = c._now"
        count = int(db.value(f"CREATE TABLE {into} AS {found}"))
        db.execute(f"DROP TABLE {step}")
    else:
        count = 0
    db.execute(f"DROP TABLE {chain}")
    return count
