"""Which of the records that an unanswered request was about are in the org.

Owns:      the queries, and the table of what they found.
Does not:  write the state (recovery does).
Invariant: all that is found counts as adopted. Who made a record only the answer tells; user and time of its creation are
           also those of our other syncs, and of every tool that signs in as we do.
Source:    SOQL and SOSL Reference: a statement in a URL may be 16,384 bytes in all with its headers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sfsync.compiler import wire
from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.undo import deleted_rows
from sfsync.engine.dialect import DUCKDB
from sfsync.engine.dialect import quote_ident as ident
from sfsync.jobs.session import Session
from sfsync.salesforce.encode import NUMBERS
from sfsync.salesforce.query import query, soql
from sfsync.salesforce.recycle_bin import live_ids
from sfsync.state import snapshots, undo
from sfsync.state.journal import OpenIntent

_MOST_KEYS, _MOST_CHARACTERS = 200, 10_000  # as they stand in a URL
_TABLE = "sfsync_found"


@dataclass(frozen=True, slots=True)
class Found:
    """Records that the snapshot does not know. rows: a relation as `snapshots.record_upserts` takes it."""

    rows: str
    count: int


def keys_in_org(session: Session, sync: CompiledSync, item: OpenIntent) -> Found:
    """Ask for the keys of a create that was never answered: a counted call for every 200."""
    rule = sync.identity[0]
    if rule.type in NUMBERS:
        # The org writes numbers in a form of its own; without an answer these rows are simply sent again.
        return _table(session, sync, [])
    # At most the rows of one call: five Collections, or a job of 100,000 characters.
    keys = [line.split(" ", 1)[1] for line in item.intent.keys or ()]
    records: list[dict[str, Any]] = []
    for some in _portions(keys):
        values = ", ".join(soql("{}", key) for key in some)
        statement = f"SELECT Id, {rule.field} FROM {sync.object} WHERE {rule.field} IN ({values})"
        for page in query(session.door, statement):
            records += [{"id": record["Id"], "text": str(record[rule.field])} for record in page]
    return _table(session, sync, records, keys)


def restored_in_org(session: Session, sync: CompiledSync, item: OpenIntent) -> Found:
    """Ask for the Ids of an undelete that was never answered; rows as `snapshots.record_undeletes` takes them."""
    ids = [line.split(" ", 1)[1] for line in item.intent.keys or ()]
    live = live_ids(session.door, sync.object, ids)
    # Of the lines of a record, the last is of the delete that was to be taken back.
    lines = (
        f"(SELECT operation, id AS _record_id, CAST(texts AS JSON) AS texts FROM {undo.TABLE} WHERE sync = ?"
        " AND operation = 'delete' AND id IN (SELECT unnest(from_json(?, '[\"VARCHAR\"]')))"
        " QUALIFY row_number() OVER (PARTITION BY id ORDER BY rowid DESC) = 1)"
    )
    texts = ", ".join(f"{ident(rule.field + '=')} AS {ident(rule.field)}" for rule in sync.rules)
    known = f"SELECT _key FROM {snapshots.table_of(sync.name)} WHERE _gone_at IS NULL"
    session.db.execute(
        f"CREATE OR REPLACE TEMP TABLE {_TABLE} AS SELECT _key, _record_id, _origin, {texts}"
        f" FROM ({deleted_rows(sync, lines)}) AS d WHERE _key IS NOT NULL AND _key NOT IN ({known})",
        [sync.name, json.dumps(sorted(live))],
    )
    return Found(_TABLE, int(session.db.value(f"SELECT count(*) FROM {_TABLE}")))


def _table(
    session: Session, sync: CompiledSync, records: list[dict[str, Any]], keys: Sequence[str] = ()
) -> Found:
    text = ident(sync.identity[0].field)
    others = "".join(f", NULL::VARCHAR AS {ident(rule.field)}" for rule in sync.fields)
    key = wire.key_text(sync.identity, [text], DUCKDB)
    shape = json.dumps([{"id": "VARCHAR", "text": "VARCHAR"}])
    session.db.execute(
        f"CREATE OR REPLACE TEMP TABLE {_TABLE} AS SELECT {key} AS _key, * FROM (SELECT r.id AS _record_id,"
        f" FALSE AS _created, NULL::UBIGINT AS _source_hash, r.text AS {text}{others}"
        f" FROM (SELECT unnest(from_json(?, '{shape}')) AS r) AS j) AS f",
        [json.dumps(records)],
    )
    session.db.execute(
        f"DELETE FROM {_TABLE} WHERE _key NOT IN (SELECT unnest(from_json(?, '[\"VARCHAR\"]')))"
        f" OR _key IN (SELECT _key FROM {snapshots.table_of(sync.name)} WHERE _gone_at IS NULL)",
        [json.dumps(keys)],
    )
    return Found(_TABLE, int(session.db.value(f"SELECT count(*) FROM {_TABLE}")))


def _portions(keys: list[str]) -> Iterator[list[str]]:
    some: list[str] = []
    size = 0
    for key in keys:
        length = len(quote(soql("{}", key))) + 3
        if some and (len(some) == _MOST_KEYS or size + length > _MOST_CHARACTERS):
            yield some
            some, size = [], 0
        some.append(key)
        size += length
    if some:
        yield some
