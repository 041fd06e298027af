"""Lookups that are looked for before anything is sent: which of their parents are there, and what becomes of the others.

Owns:      the tables `parents:<sync>:<field>` of the run's file (`_key`, `_id`, `_records`), and projected rows in which a
           lookup is what will be sent.
Does not:  ask the org (the context's `find_parents` does) or judge rows (sql).
Invariant: only keys that stand in candidates are looked for, each once; one that two records have names none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sfsync.compiler import wire
from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.changes import DiffContext, ParentQuestion
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import DUCKDB
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.engine.duckdb import DuckDB
from sfsync.records import FieldRule, Lookup, OnMissing, Send
from sfsync.state.snapshots import inspect

_REFUSING = (OnMissing.REJECT, OnMissing.RESOLVE)


def asking(sync: CompiledSync) -> list[tuple[FieldRule, Lookup]]:
    """The lookups of a sync that are looked for."""
    return [(rule, rule.lookup) for rule in sync.fields if rule.lookup is not None]


def found_table(sync: str, field: str) -> str:
    """The table of what is known of a lookup's parents."""
    return run_table("parents", f"{sync}:{field}")


def names_of(sync: CompiledSync, field: str, ids: Sequence[str], db: DuckDB) -> dict[str, str]:
    """What the model calls records of these Ids. Taking a run back looks for nobody, and knows none."""
    there = "SELECT EXISTS (FROM duckdb_tables() WHERE table_name = ?)"
    if not ids or not db.value(there, [f"parents:{sync.name}:{field}"]):
        return {}
    listed = ", ".join(literal(one) for one in ids)
    table = found_table(sync.name, field)
    return dict(
        db.execute(
            f"SELECT _id, min(_key) FROM {table} WHERE _id IN ({listed}) AND _records = 1 GROUP BY _id"
        )
    )


def own_rule(rule: FieldRule, lookup: Lookup) -> FieldRule:
    """The rule of the parent's field, whose text the model has; its shape is the lookup's."""
    return replace(
        rule,
        field=lookup.field,
        label=lookup.field,
        reference=None,
        lookup=None,
        on_create=Send.NEVER,
        on_update=Send.NEVER,
        picklist=None,
    )


def with_parents(sync: CompiledSync, projected: str, context: DiffContext) -> str:
    """A relation of projected rows in which every lookup that is looked for is what will be sent."""
    links = asking(sync)
    if not links:
        return projected
    db, rows = context.db, run_table("projected", sync.name)
    db.execute(f"CREATE OR REPLACE TABLE {rows} AS {projected}")
    for rule, lookup in links:
        _look(sync, rule, lookup, rows, context)
    return f"SELECT * FROM ({_decided(sync, links, rows)}) AS d"


def _key(rule: FieldRule, alias: str) -> str:
    return wire.key_text((rule,), [f"{alias}.{ident(rule.field)}"], DUCKDB)


def _look(sync: CompiledSync, rule: FieldRule, lookup: Lookup, rows: str, context: DiffContext) -> None:
    """Fill the table of a lookup's parents with the keys that stand in the rows and not yet in the table."""
    db, table = context.db, found_table(sync.name, rule.field)
    db.execute(f"CREATE TABLE IF NOT EXISTS {table} (_key VARCHAR, _id VARCHAR, _records BIGINT)")
    code = ident(rule.field + "!")
    wanted = run_table("wanted", sync.name)
    new = f"SELECT DISTINCT {_key(rule, 'p')} AS _key FROM {rows} AS p WHERE p.{ident(rule.field)} <> '' AND p.{code} IS NULL"
    count = db.value(
        f"CREATE OR REPLACE TABLE {wanted} AS SELECT _key FROM ({new}) AS n WHERE _key NOT IN (SELECT _key FROM {table})"
    )
    if count and lookup.known is not None:
        _add(context, table, wanted, f"({_listed(rule, lookup)})")
    elif count:
        if not lookup.to_id:
            for ours in _ours(sync, rule, rows, context):
                db.execute(
                    f"INSERT INTO {table} SELECT DISTINCT _key, NULL, 1 FROM ({ours}) AS o"
                    f" WHERE _key IN (SELECT _key FROM {wanted}) AND _key NOT IN (SELECT _key FROM {table})"
                )
            db.execute(f"DELETE FROM {wanted} WHERE _key IN (SELECT _key FROM {table})")
        if db.value(f"SELECT count(*) FROM {wanted}"):
            found = run_table("found", f"{sync.name}:{rule.field}")
            question = ParentQuestion(
                lookup.object, own_rule(rule, lookup), wanted, lookup.where, f"{sync.name}.{rule.field}"
            )
            context.find_parents(question, found)
            _add(context, table, wanted, found)
            db.execute(f"DROP TABLE {found}")
    db.execute(f"DROP TABLE {wanted}")


def _add(context: DiffContext, table: str, wanted: str, found: str) -> None:
    """found: a relation with `_key, _record_id`, a line for each record."""
    context.db.execute(
        f"INSERT INTO {table} SELECT w._key, min(f._record_id), count(f._record_id) FROM {wanted} AS w"
        f" LEFT JOIN {found} AS f ON f._key = w._key GROUP BY w._key"
    )


def _listed(rule: FieldRule, lookup: Lookup) -> str:
    """A relation of the parents that the contract tells."""
    name = ident(rule.field)
    pairs = ", ".join(f"({literal(text)}, {literal(record)})" for text, record in lookup.known or ())
    if not pairs:
        return "SELECT NULL::VARCHAR AS _key, NULL::VARCHAR AS _record_id LIMIT 0"
    return f"SELECT {_key(rule, 'v')} AS _key, v._record_id FROM (VALUES {pairs}) AS v({name}, _record_id)"


def _ours(sync: CompiledSync, rule: FieldRule, rows: str, context: DiffContext) -> Iterator[str]:
    """Relations of keys that our own syncs have made or are about to make.

    A parent that is to be made and cannot be (rejected, held, waiting) counts as there where the row is to wait for it.
    """
    reference = rule.reference
    if reference is None:
        return
    waits = rule.lookup is not None and rule.lookup.on_missing in _REFUSING
    for parent in (*context.upstream, *((sync,) if sync.name in sync.late else ())):
        key = parent.identity
        if (parent.object, len(key), key[0].field) != (reference.parent_object, 1, reference.parent_field):
            continue
        info = inspect(context.store, parent)
        if info.exists:
            yield f"SELECT _key FROM {info.table} WHERE _gone_at IS NULL"
        if parent is sync:
            yield f"SELECT _key FROM {rows} AS r WHERE _key IS NOT NULL"
            continue
        yield f"SELECT _key FROM {run_table(parent.making.value, parent.name)}"
        if waits:
            yield f"SELECT _key FROM {run_table('blocked', parent.name)}"


def _decided(sync: CompiledSync, links: list[tuple[FieldRule, Lookup]], rows: str) -> str:
    """SELECT of the rows as they are judged."""
    made, joins, skipped = [], [], []
    value, size = "p._value", "p._size"
    for number, (rule, lookup) in enumerate(links):
        name, code, t = ident(rule.field), ident(rule.field + "!"), f"t{number}"
        missing = f"(p.{name} <> '' AND p.{code} IS NULL AND coalesce({t}._records, 0) <> 1)"
        joins.append(f"LEFT JOIN {found_table(sync.name, rule.field)} AS {t} ON {t}._key = {_key(rule, 'p')}")
        there = (
            f"CASE WHEN p.{name} <> '' AND p.{code} IS NULL THEN {t}._id ELSE p.{name} END"
            if lookup.to_id
            else f"p.{name}"
        )
        if lookup.on_missing in _REFUSING:
            made.append(f"CASE WHEN {missing} THEN NULL ELSE {there} END AS {name}")
            made.append(f"CASE WHEN {missing} THEN 'INVALID_CROSS_REFERENCE_KEY' ELSE p.{code} END AS {code}")
            value = f"CASE WHEN {missing} AND {value} IS NULL THEN p.{name} ELSE {value} END"
            size = f"CASE WHEN {missing} AND p._value IS NULL THEN coalesce({t}._records, 0) ELSE {size} END"
            continue
        if lookup.on_missing is OnMissing.NULL:
            made.append(f"CASE WHEN {missing} THEN '' ELSE {there} END AS {name}")
            continue
        made.append(f"CASE WHEN {missing} THEN NULL ELSE {there} END AS {name}")
        skipped.append(missing)
    made += [f"{value} AS _value", f"{size} AS _size"]
    if skipped:  # without a hash, the next diff looks at the row again
        made.append(f"CASE WHEN {' OR '.join(skipped)} THEN NULL ELSE p._source_hash END AS _source_hash")
    return f"SELECT p.* REPLACE ({', '.join(made)}) FROM {rows} AS p {' '.join(joins)}"
