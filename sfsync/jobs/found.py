"""Which of the records that an unanswered request was about are in the org.

Owns:      the table of what they found.
Does not:  write the state (recovery does).
Invariant: all that is found counts as adopted. Who made a record only the answer tells; user and time of its creation are
           also those of our other syncs, and of every tool that signs in as we do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.stage import run_table
from sfsync.diff.undo import deleted_rows
from sfsync.engine.dialect import quote_ident as ident
from sfsync.jobs.matcher import org_to_ask
from sfsync.jobs.session import Session
from sfsync.match import ask
from sfsync.salesforce.recycle_bin import live_ids
from sfsync.state import snapshots, undo
from sfsync.state.journal import OpenIntent

_TABLE = "sfsync_found"


@dataclass(frozen=True, slots=True)
class Found:
    """Records that the snapshot does not know. rows: a relation as `snapshots.record_upserts` takes it."""

    rows: str
    count: int


def keys_in_org(session: Session, sync: CompiledSync, item: OpenIntent) -> Found:
    """Ask for the keys of creates that were never answered. A key that several records have names none of them."""
    # At most the rows of one call: five Collections, or a job of 100,000 characters.
    keys = [line.split(" ", 1)[1] for line in item.intent.keys or ()]
    db, asked, found = session.db, run_table("asked", sync.name), run_table("recovered", sync.name)
    db.execute(
        f"CREATE OR REPLACE TABLE {asked} AS SELECT DISTINCT _key FROM"
        " (SELECT unnest(from_json(?, '[\"VARCHAR\"]')) AS _key) AS k",
        [json.dumps(keys)],
    )
    db.execute(f"DROP TABLE IF EXISTS {found}")  # of a question that was refused
    ask.find(org_to_ask(session), ask.Question(sync.object, sync.identity, asked, name=sync.name), found)
    texts = "".join(f", any_value({ident(rule.field)}) AS {ident(rule.field)}" for rule in sync.identity)
    texts += "".join(f", NULL::VARCHAR AS {ident(rule.field)}" for rule in sync.fields)
    db.execute(
        f"CREATE OR REPLACE TEMP TABLE {_TABLE} AS SELECT _key, any_value(_record_id) AS _record_id, FALSE AS _created,"
        f" NULL::UBIGINT AS _source_hash{texts} FROM {found}"
        f" WHERE _key NOT IN (SELECT _key FROM {snapshots.table_of(sync.name)} WHERE _gone_at IS NULL)"
        " GROUP BY _key HAVING count(*) = 1"
    )
    db.execute(f"DROP TABLE {asked}")
    db.execute(f"DROP TABLE {found}")
    return Found(_TABLE, int(db.value(f"SELECT count(*) FROM {_TABLE}")))


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
