"""Lookups whose parents a run makes no sooner than the records that refer to them: sent when all records are made.

Owns:      the table `link:<sync>` of the run's file, and what it takes out of `upsert:` and `update:`.
Does not:  decide which lookups these can be (compiler/syncs) or send them (push).
Invariant: a lookup is in one of the two parts of its row, never in both. A row whose second part is still to come has no hash
           in its first: whatever happens in between, the next diff looks at it again.

`link:<sync>` has the columns of `update:`, and as `_first` the table that has the row's first part ('': none has). Of records
that are new its "Id" is filled in when they are made. Its first `Changes.links` rows are sent; those after them wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from sfsync.compiler import wire
from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.changes import Changes
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import DUCKDB
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.engine.duckdb import DuckDB
from sfsync.records import FieldRule, Operation

Beside = TypeVar("Beside")
"""What travels beside a sync's changes."""


@dataclass(frozen=True, slots=True)
class LateLink:
    """A lookup into what a sync makes in the same run. own: that sync's rule of the field that the lookup names."""

    rule: FieldRule
    parent: CompiledSync
    own: FieldRule

    @property
    def by_identity(self) -> bool:
        """Whether the parent's key is its sync's key, too."""
        return self.parent.identity == (self.own,)

    def key(self, alias: str) -> str:
        """SQL of the parent's key, as the parent's sync folds it."""
        return wire.key_text((self.own,), [f"{alias}.{ident(self.rule.field)}"], DUCKDB)


def late_links(sync: CompiledSync, syncs: Mapping[str, CompiledSync]) -> list[LateLink]:
    """Lookups of a sync that may have to follow, with the syncs of this run that make their parents."""
    links = []
    for parent in (syncs[name] for name in sync.late if name in syncs):
        for rule in sync.fields:
            ref = rule.reference
            if ref is None or ref.parent_object != parent.object:
                continue
            own = next((own for own in parent.rules if own.field == ref.parent_field), None)
            if own is not None:
                links.append(LateLink(rule, parent, own))
    return links


def all_apart(found: list[tuple[Changes, Beside]], db: DuckDB) -> list[tuple[Changes, Beside]]:
    """`take_apart` for every sync of a run."""
    if not any(changes.sync.late for changes, _ in found):
        return found
    syncs = {changes.sync.name: changes.sync for changes, _ in found}
    return [(take_apart(changes, syncs, db), beside) for changes, beside in found]


def take_apart(changes: Changes, syncs: Mapping[str, CompiledSync], db: DuckDB) -> Changes:
    """Move late lookups from `upsert:` and `update:` to `link:`; when the rows of all syncs stand in their tables."""
    sync = changes.sync
    links = late_links(sync, syncs)
    if not links or not changes.upserts + changes.updates:
        return changes
    table = run_table("link", sync.name)
    if not db.value(f"CREATE TABLE {table} AS {_found(sync, links)}"):
        return changes
    for operation in (sync.making, Operation.UPDATE):
        _leave_out(sync, operation, links, db)
    alone = _without_first(sync, db)
    waiting = _wait(sync, db) if alone else 0
    fields = dict.fromkeys(link.rule.field for link in links)
    sent, later, *used = db.execute(
        f"SELECT count(*) FILTER (WHERE _waits IS NULL), count(*) FILTER (WHERE _waits IS NOT NULL),"
        f" {', '.join(f'count({ident(field)})' for field in fields)} FROM {table}"
    )[0]
    return replace(
        changes,
        links=int(sent),
        links_waiting=int(later),
        link_fields=tuple(field for field, rows in zip(fields, used, strict=True) if rows),
        only_links=alone - waiting,
        updates=changes.updates - waiting,
        waiting=changes.waiting + waiting,
    )


def _made(link: LateLink) -> str:
    """The keys that come into being in this run, if all goes well."""
    parent, field = link.parent.name, ident(link.own.field)
    making = link.parent.making.value
    if link.by_identity:
        return f"SELECT _key FROM {run_table(making, parent)}"
    key = wire.key_text((link.own,), [f"p.{field}"], DUCKDB)
    return " UNION ALL ".join(
        f"SELECT {key} FROM {run_table(table, parent)} AS p WHERE p.{field} <> ''"
        for table in (making, "update")
    )


def _found(sync: CompiledSync, links: list[LateLink]) -> str:
    """SELECT of the second parts, those that wait last; rows with one parent stand together."""
    late: dict[str, list[str]] = {}
    waits, fields, keys = [], [], []
    for link in links:
        key = link.key("t")
        field, blocked = link.rule.field, f"SELECT _key FROM {run_table('blocked', link.parent.name)}"
        given = f"t.{ident(field)} <> ''"
        late.setdefault(field, []).append(f"({given} AND {key} IN ({_made(link)}))")
        if link.by_identity:
            missing = f"({given} AND {key} IN ({blocked}))"
            late[field].append(missing)
            waits.append(f"WHEN {missing} THEN {literal(link.parent.name)}")
            fields.append(f"WHEN {missing} THEN {literal(field)}")
            keys.append(f"WHEN {missing} THEN t.{ident(field)}")
    texts = [
        f"CASE WHEN {' OR '.join(late[rule.field])} THEN t.{ident(rule.field)} END AS {ident(rule.field)}"
        if rule.field in late
        else f"NULL::VARCHAR AS {ident(rule.field)}"
        for rule in sync.rules
    ]
    told = [
        f"CASE {' '.join(cases)} END AS {name}" if cases else f"NULL::VARCHAR AS {name}"
        for cases, name in ((waits, "_waits"), (fields, "_waits_field"), (keys, "_waits_key"))
    ]
    parts = [
        f"SELECT _key, \"Id\", _shown, _source_hash, '{operation}' AS _first, {', '.join([*told, *texts])}"
        f" FROM {run_table(operation.value, sync.name)} AS t"
        for operation in (sync.making, Operation.UPDATE)
    ]
    names = [ident(field) for field in late]
    some = " OR ".join(f"{name} IS NOT NULL" for name in names)
    order = ", ".join(["_waits IS NOT NULL", *names, "_key"])
    return f"SELECT * FROM ({' UNION ALL '.join(parts)}) AS l WHERE {some} ORDER BY {order}"


def _leave_out(sync: CompiledSync, operation: Operation, links: list[LateLink], db: DuckDB) -> None:
    names = [ident(field) for field in dict.fromkeys(link.rule.field for link in links)]
    kept = ", ".join(f"{name} = CASE WHEN l.{name} IS NULL THEN t.{name} END" for name in names)
    db.execute(
        f"UPDATE {run_table(operation.value, sync.name)} AS t SET _source_hash = NULL, {kept}"
        f" FROM {run_table('link', sync.name)} AS l WHERE l._key = t._key AND l._first = '{operation}'"
    )


def _without_first(sync: CompiledSync, db: DuckDB) -> int:
    """Known records with nothing to be sent but late lookups have no first part; how many."""
    table, link = run_table("update", sync.name), run_table("link", sync.name)
    nothing = " AND ".join(f"{ident(rule.field)} IS NULL" for rule in sync.fields)
    moved = int(
        db.value(
            f"UPDATE {link} SET _first = '' WHERE _first = 'update'"
            f" AND _key IN (SELECT _key FROM {table} WHERE {nothing})"
        )
    )
    if moved:
        # Made anew rather than thinned out: rowids are ordinals and have no holes.
        db.execute(
            f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM {table} WHERE NOT ({nothing}) ORDER BY rowid"
        )
    return moved


def _wait(sync: CompiledSync, db: DuckDB) -> int:
    """Known records of which nothing is sent but a lookup whose parent is not made wait as a whole; how many."""
    link = run_table("link", sync.name)
    whole = "_waits IS NOT NULL AND _first = ''"
    found = int(
        db.value(
            f"INSERT INTO {run_table('waiting', sync.name)}"
            f" SELECT _key, 'update', _waits_field, _waits_key, _waits, _shown FROM {link} WHERE {whole}"
        )
    )
    if found:
        db.execute(
            f"CREATE OR REPLACE TABLE {link} AS SELECT * FROM {link} WHERE NOT ({whole}) ORDER BY rowid"
        )
    return found
