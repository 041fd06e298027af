"""A sync's records as the org has them now, in the texts that the diff compares.

Owns:      the query, and the table of its answers in the run's file: key, Id, and a text for each field.
Does not:  write the state (state_rebuild does).
Invariant: a text is made by the same projection that a model's text is made by; what that cannot read counts as unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sfsync.compiler import wire
from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import DUCKDB
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.jobs.session import Session
from sfsync.records import Column, FieldRule, SourceType
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
    db.execute(f"CREATE TABLE {table} AS {_projected(sync, answers)}")
    db.execute(f"DROP TABLE {answers}")
    return table


def statement(sync: CompiledSync) -> str:
    """The SOQL of identity and mapped fields."""
    names = {path.lower(): path for path in ("Id", *_paths(sync))}
    return f"SELECT {', '.join(names.values())} FROM {sync.object}{_where(sync)}"


def unread(sync: CompiledSync) -> tuple[str, ...]:
    """Fields whose texts cannot be asked for in one query: parents of several objects, by their external id."""
    return tuple(rule.field for rule in sync.fields if _is_unread(rule))


def _is_unread(rule: FieldRule) -> bool:
    return rule.reference is not None and rule.reference.polymorphic


def _where(sync: CompiledSync) -> str:
    return " WHERE " + " AND ".join(f"{rule.field} != null" for rule in sync.identity)


def _paths(sync: CompiledSync) -> Iterator[str]:
    for rule in sync.rules:
        if _is_unread(rule):
            continue
        yield rule.field
        if rule.reference is not None:
            yield f"{rule.reference.relationship}.{rule.reference.parent_field}"


def _projected(sync: CompiledSync, answers: str) -> str:
    """SELECT of `_key, _record_id` and texts, in three steps: raw cells, texts, key."""
    cells, texts = ["r->>'Id' AS _record_id"], []
    for number, rule in enumerate(sync.rules):
        raw = f"_r{number}"
        if _is_unread(rule):
            texts.append(f"NULL::VARCHAR AS {ident(rule.field)}")
            continue
        cells.append(f"{_cell(rule)} AS {raw}")
        text = wire.project(_as_text(rule), DUCKDB, timezone="UTC", source=raw).text
        if rule.reference is not None:
            # A parent without this external id: the lookup is not empty, and what it should be cannot be told from here.
            cells.append(f"r->>{literal(rule.field)} AS {raw}_id")
            text = f"CASE WHEN {raw} IS NULL AND {raw}_id IS NOT NULL THEN NULL ELSE {text} END"
        texts.append(f"{text} AS {ident(rule.field)}")
    key = wire.key_text(sync.identity, [ident(rule.field) for rule in sync.identity], DUCKDB)
    raw_cells = f"SELECT {', '.join(cells)} FROM {answers}"
    return (
        f"SELECT {key} AS _key, * FROM (SELECT _record_id, {', '.join(texts)} FROM ({raw_cells}) AS c) AS t"
    )


def _cell(rule: FieldRule) -> str:
    """SQL of a field in an answer, as text. A name is looked up whole: a dot or a quote in it would be a path."""
    if rule.reference is None:
        return f"r->>{literal(rule.field)}"
    return f"r->{literal(rule.reference.relationship)}->>{literal(rule.reference.parent_field)}"


def _as_text(rule: FieldRule) -> FieldRule:
    """The rule for a value that comes as text, whatever the model's column is.

    What the org holds is a fact: neither its length, its form nor its list of values is a reason not to know it.
    """
    column = Column(rule.field, "VARCHAR", SourceType.TEXT)
    kind = "string" if rule.type == "email" else rule.type
    return replace(rule, column=column, type=kind, length=None, picklist=None, truncate=False)
