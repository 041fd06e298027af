"""Records as the org answers them, in the texts that the diff compares.

Owns:      which fields to ask for, and the SQL from a query's answers to texts.
Does not:  ask (jobs/from_org, push/before).
Invariant: a text is made by the same projection that a model's text is made by; what that cannot read counts as unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sfsync.compiler import wire
from sfsync.compiler.manifest import CompiledSync
from sfsync.engine.dialect import DUCKDB
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.records import Column, FieldRule, SourceType


def names(sync: CompiledSync) -> tuple[str, ...]:
    """What a query selects to learn identity and mapped fields: Id, fields, and the external ids of parents."""
    return tuple({path.lower(): path for path in ("Id", *_paths(sync))}.values())


def unread(sync: CompiledSync) -> tuple[str, ...]:
    """Fields whose texts cannot be asked for in one query: parents of several objects, by their external id."""
    return tuple(rule.field for rule in sync.fields if _is_unread(rule))


def _is_unread(rule: FieldRule) -> bool:
    return rule.reference is not None and rule.reference.polymorphic


def _paths(sync: CompiledSync) -> Iterator[str]:
    for rule in sync.rules:
        if _is_unread(rule):
            continue
        yield rule.field
        if rule.reference is not None:
            yield f"{rule.reference.relationship}.{rule.reference.parent_field}"


def projected(sync: CompiledSync, answers: str) -> str:
    """SELECT of `_key, _record_id` and texts, in three steps: raw cells, texts, key. answers: a table of JSON, `r`."""
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
