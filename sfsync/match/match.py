"""Finds out which unknown keys of a sync the org has, in the form in which the diff takes it.

Owns:      what a found record means for its key: adopted, one of several, a lead that was converted.
Does not:  compare texts (diff), or write the state.
Invariant: every key that the org has stands in the table once.
"""

from __future__ import annotations

from sfsync.compiler.manifest import CompiledSync
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.engine.duckdb import DuckDB
from sfsync.match import ask, merged
from sfsync.match.ask import Org, Question
from sfsync.records import LEAD, Column, FieldRule, Send, SourceType
from sfsync.state.snapshots import COLUMNS

_SHOWN_IDS = 5
_CONVERTED = FieldRule(
    "IsConverted",
    "Converted",
    Column("IsConverted", "VARCHAR", SourceType.TEXT),
    "boolean",
    Send.NEVER,
    Send.NEVER,
)


def match(org: Org, sync: CompiledSync, keys: str, into: str) -> int:
    """Leave a table in a snapshot's form of the keys that the org has; how many.

    Args:
        keys: a relation with `_key`, each once, and `_record_id` where the record is known to be gone.

    Raises:
        ApiLimitError: the budget does not allow the calls.
        OrgError: the org refused a query, or did not answer.
    """
    leads = sync.object == LEAD
    fields = (*sync.fields, _CONVERTED) if leads else sync.fields
    found = f'{into[:-1]}:org"'
    question = Question(sync.object, sync.identity, keys, fields, name=sync.name)
    db = org.db
    ask.find(org, question, found)
    count = int(db.value(f"CREATE TABLE {into} AS {_as_snapshot(sync, found, leads=leads)}"))
    # What is one key to the org may be two to us.
    again = f"SELECT _key FROM {into} WHERE _origin = 'adopted' QUALIFY row_number() OVER (PARTITION BY _id ORDER BY _key) > 1"
    db.execute(f"UPDATE {into} SET _origin = 'merged' WHERE _key IN ({again})")
    gone = f"(SELECT _key, _record_id FROM {keys} AS k WHERE _record_id IS NOT NULL AND _key NOT IN (SELECT _key FROM {found}))"
    if merged.follows(sync) and db.value(f"SELECT count(*) FROM {gone} AS g"):
        count += _follow(org, sync, gone, into)
    db.execute(f"DROP TABLE {found}")
    if not count:
        db.execute(f"DROP TABLE {into}")
    return count


def _follow(org: Org, sync: CompiledSync, gone: str, into: str) -> int:
    """Add what became of merged records; a record that is that of another row already makes this one `merged`."""
    winners = f'{into[:-1]}:winners"'
    if not merged.winners(org, sync, gone, winners):
        return 0
    taken = f"_record_id IN (SELECT _id FROM {into}) OR row_number() OVER (PARTITION BY _record_id ORDER BY _key) > 1"
    texts = ", ".join(
        f"{'_record_id' if rule.field == 'Id' else _as_ours(rule, ident(rule.field))} AS {ident(rule.field)}"
        for rule in sync.rules
    )
    head = _head("_record_id", f"CASE WHEN {taken} THEN 'merged' ELSE 'adopted' END")
    added = int(org.db.value(f"INSERT INTO {into} SELECT {head}, {texts} FROM {winners} AS w"))
    org.db.execute(f"DROP TABLE {winners}")
    return added


def assume(db: DuckDB, sync: CompiledSync, keys: str, into: str) -> int:
    """The same without asking, of keys that are record Ids: what the records hold is not known."""
    texts = ", ".join(
        f"{'_key' if rule in sync.identity else 'NULL::VARCHAR'} AS {ident(rule.field)}"
        for rule in sync.rules
    )
    return int(
        db.value(
            f"CREATE TABLE {into} AS SELECT {_head('_key', literal('adopted'))}, {texts} FROM {keys} AS k"
        )
    )


def _as_ours(rule: FieldRule, text: str) -> str:
    """What the snapshot is told of a text: of a field that is only filled, what others wrote there is not ours."""
    return f"CASE WHEN {text} = '' THEN '' END" if rule.on_update is Send.IF_BLANK else text


def _head(record_id: str, origin: str) -> str:
    known = {"_key": "_key", "_id": record_id, "_origin": origin}
    return ", ".join(f"{known.get(name, f'NULL::{kind}')} AS {name}" for name, kind in COLUMNS.items())


def _as_snapshot(sync: CompiledSync, found: str, *, leads: bool) -> str:
    converted = f"WHEN any_value({ident('IsConverted')}) = 'true' THEN 'converted'" if leads else ""
    origin = f"CASE WHEN count(*) > 1 THEN 'several' {converted} ELSE 'adopted' END"
    listed = f"array_to_string(min(_record_id, {_SHOWN_IDS}), ', ')"
    more = (
        f"CASE WHEN count(*) > {_SHOWN_IDS} THEN ' and ' || (count(*) - {_SHOWN_IDS}) || ' more' ELSE '' END"
    )
    record_id = f"CASE WHEN count(*) > 1 THEN {listed} || {more} ELSE min(_record_id) END"
    # The text of a key's one record, NULL included: any_value would pass over it.
    texts = ", ".join(
        f"{_as_ours(rule, f'first({ident(rule.field)})')} AS {ident(rule.field)}" for rule in sync.rules
    )
    return f"SELECT {_head(record_id, origin)}, {texts} FROM {found} GROUP BY _key"
