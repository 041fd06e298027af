"""Which of the keys that an unanswered create had are in the org, and whether it was us who made them.

Owns:      the queries, and the table of what they found.
Does not:  write the state (recovery does).
Source:    SOQL and SOSL Reference: a statement in a URL may be 16,384 bytes in all with its headers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from sfsync.compiler import wire
from sfsync.compiler.manifest import CompiledSync
from sfsync.engine.dialect import DUCKDB
from sfsync.engine.dialect import quote_ident as ident
from sfsync.jobs.session import Session
from sfsync.salesforce.encode import NUMBERS
from sfsync.salesforce.query import query, soql
from sfsync.state import snapshots
from sfsync.state.journal import OpenIntent

_SKEW = timedelta(minutes=10)  # how far the org's clock may be behind ours
_MOST_KEYS, _MOST_CHARACTERS = 200, 10_000  # as they stand in a URL
_TABLE = "sfsync_found"


@dataclass(frozen=True, slots=True)
class Found:
    """Records that the snapshot does not know. rows: a relation as `snapshots.record_upserts` takes it."""

    rows: str
    created: int
    adopted: int


def keys_in_org(session: Session, sync: CompiledSync, item: OpenIntent) -> Found:
    """Ask for the keys of a create that was never answered: a counted call for every 200."""
    rule, me = sync.identity[0], session.door.token.user_id[:15]
    if rule.type in NUMBERS:
        # The org writes numbers in a form of its own; without an answer these rows are simply sent again.
        return _table(session, sync, [])
    # At most the rows of one call: five Collections, or a job of 100,000 characters.
    keys = [line.split(" ", 1)[1] for line in item.intent.keys or ()]
    records: list[dict[str, Any]] = []
    for some in _portions(keys):
        values = ", ".join(soql("{}", key) for key in some)
        fields = f"Id, {rule.field}, CreatedById, CreatedDate"
        statement = f"SELECT {fields} FROM {sync.object} WHERE {rule.field} IN ({values})"
        for page in query(session.door, statement):
            records += [
                {
                    "id": record["Id"],
                    "text": str(record[rule.field]),
                    "made": record["CreatedById"][:15] == me
                    and _instant(record["CreatedDate"]) >= item.at - _SKEW,
                }
                for record in page
            ]
    return _table(session, sync, records, keys)


def _table(
    session: Session, sync: CompiledSync, records: list[dict[str, Any]], keys: Sequence[str] = ()
) -> Found:
    text = ident(sync.identity[0].field)
    others = "".join(f", NULL::VARCHAR AS {ident(rule.field)}" for rule in sync.fields)
    key = wire.key_text(sync.identity, [text], DUCKDB)
    shape = json.dumps([{"id": "VARCHAR", "text": "VARCHAR", "made": "BOOLEAN"}])
    session.db.execute(
        f"CREATE OR REPLACE TEMP TABLE {_TABLE} AS SELECT {key} AS _key, * FROM (SELECT r.id AS _record_id,"
        f" r.made AS _created, NULL::UBIGINT AS _source_hash, r.text AS {text}{others}"
        f" FROM (SELECT unnest(from_json(?, '{shape}')) AS r) AS j) AS f",
        [json.dumps(records)],
    )
    session.db.execute(
        f"DELETE FROM {_TABLE} WHERE _key NOT IN (SELECT unnest(from_json(?, '[\"VARCHAR\"]')))"
        f" OR _key IN (SELECT _key FROM {snapshots.table_of(sync.name)} WHERE _gone_at IS NULL)",
        [json.dumps(keys)],
    )
    made, rows = session.db.execute(f"SELECT count(*) FILTER (WHERE _created), count(*) FROM {_TABLE}")[0]
    return Found(_TABLE, int(made), int(rows) - int(made))


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


def _instant(text: str) -> datetime:
    """A time as the org writes it."""
    return datetime.fromisoformat(text.replace("+0000", "+00:00"))
