"""A sync's records as the org has them now, in the texts that the diff compares.

Owns:      the query, and the table of its answers in the run's file: key, Id, and a text for each field.
Does not:  make texts of answers (compiler/org_texts), or write the state (state_rebuild does).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from sfsync.compiler import org_texts
from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.stage import run_table
from sfsync.jobs.session import Session
from sfsync.salesforce.query import PAGE, count, pages


@dataclass(frozen=True, slots=True)
class Price:
    """What it takes to read a sync's object. calls: still to be spent; asking for the price took `spent`."""

    records: int  # that have an identity
    without: int  # that have none, and are left out
    calls: int
    spent: int


def price(session: Session, sync: CompiledSync) -> Price:
    """Ask the org how many records there are: two counted calls."""
    with_key = count(session.door, f"SELECT count() FROM {sync.object}{_where(sync)}")
    every = count(session.door, f"SELECT count() FROM {sync.object}")
    return Price(with_key, max(0, every - with_key), max(1, -(-with_key // PAGE)), 2)


def read_records(session: Session, sync: CompiledSync, total: int) -> str:
    """Ask for all records with an identity; the table of the run's file that they are in then.

    Its columns: `_key`, `_record_id`, and one text per rule; '' where the org has null, NULL where it is not known.
    """
    db, answers = session.db, run_table("answer", sync.name)
    db.execute(f"CREATE TABLE {answers} (r JSON)")
    done = 0
    for page in pages(session.door, statement(sync)):
        # A page at a time, and no record is looked at here.
        db.execute(f"INSERT INTO {answers} SELECT unnest(from_json(?, '[\"JSON\"]'))", [json.dumps(page)])
        done += len(page)
        session.events.progress(f"{sync.name}: read", done, total)
    table = run_table("org", sync.name)
    db.execute(f"CREATE TABLE {table} AS {org_texts.projected(sync, answers)}")
    db.execute(f"DROP TABLE {answers}")
    return table


def statement(sync: CompiledSync) -> str:
    """The SOQL of identity and mapped fields."""
    return f"SELECT {', '.join(org_texts.names(sync))} FROM {sync.object}{_where(sync)}"


def _where(sync: CompiledSync) -> str:
    return " WHERE " + " AND ".join(f"{rule.field} != null" for rule in sync.identity)
