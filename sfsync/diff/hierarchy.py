"""Deletes of records that refer to records of their own object: children before their parents.

Owns:      the column `_level` of the table `delete:<sync>` (0 goes first), and the order of its rows.
Does not:  decide what is deleted (split) or send (push).
Invariant: no record comes before one that refers to it, as far as the snapshot knows. Records that refer to each other in a
           circle share a level, after all that hangs below them and before all above them.
"""

from __future__ import annotations

from sfsync.compiler import wire
from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import DUCKDB
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.duckdb import DuckDB
from sfsync.records import FieldRule

MOST_LEVELS = 100
"""Longest way that is followed, up and then down: the platform's own hierarchies end long before, a circle never does."""


def self_lookups(sync: CompiledSync) -> list[FieldRule]:
    """The lookups of a sync into its own object."""
    return [rule for rule in sync.fields if _parent_object(rule) == sync.object]


def _parent_object(rule: FieldRule) -> str | None:
    if rule.reference is not None:
        return rule.reference.parent_object
    return rule.lookup.object if rule.lookup is not None else None


def children_first(sync: CompiledSync, db: DuckDB, snapshot: str) -> None:
    """Sort `delete:`, which holds records of this snapshot, and give it `_level`; without such lookups nothing is done."""
    links = self_lookups(sync)
    if not links:
        return
    table = run_table("delete", sync.name)
    edges = [edge for rule in links if (edge := _edges(sync, rule, table, snapshot)) is not None]
    if not edges:
        return
    db.execute(
        f"CREATE OR REPLACE TABLE {table} AS WITH RECURSIVE edge AS MATERIALIZED ({' UNION '.join(edges)}), {_WALKS}"
        " SELECT d.*, dense_rank() OVER (ORDER BY"
        f" CASE WHEN d._key IN (SELECT _key FROM endless) THEN {MOST_LEVELS} ELSE coalesce(b.n, 0) END,"
        f" CASE WHEN d._key IN (SELECT _key FROM middle) THEN {MOST_LEVELS} ELSE coalesce(a.n, 0) END DESC) - 1 AS _level"
        f" FROM {table} AS d LEFT JOIN below AS b ON b._key = d._key LEFT JOIN above AS a ON a._key = d._key"
        " ORDER BY _level, d._key"
    )


# Who has only so many levels below goes by their number, counted from the leaves. Records on a circle or above one have no
# such number (`endless`): they go after these, by the levels above them, counted from the roots. Where a circle is above,
# too, there is no such number either (`middle`): the circles themselves, which go first of these.
_WALKS = (
    "up AS (SELECT DISTINCT child AS _key, 0 AS n FROM edge WHERE child NOT IN (SELECT parent FROM edge)"
    f" UNION SELECT e.parent, u.n + 1 FROM up AS u JOIN edge AS e ON e.child = u._key WHERE u.n < {MOST_LEVELS}),"
    " below AS MATERIALIZED (SELECT _key, max(n) AS n FROM up GROUP BY _key),"
    f" unending AS (SELECT _key FROM below WHERE n = {MOST_LEVELS}"
    " UNION SELECT child FROM edge WHERE child NOT IN (SELECT _key FROM below)),"
    " endless AS (SELECT _key FROM unending UNION SELECT e.parent FROM endless AS o JOIN edge AS e ON e.child = o._key),"
    " higher AS MATERIALIZED (SELECT * FROM edge WHERE child IN (SELECT _key FROM endless)),"
    " down AS (SELECT DISTINCT parent AS _key, 0 AS n FROM higher WHERE parent NOT IN (SELECT child FROM higher)"
    f" UNION SELECT e.child, d.n + 1 FROM down AS d JOIN higher AS e ON e.parent = d._key WHERE d.n < {MOST_LEVELS}),"
    " above AS MATERIALIZED (SELECT _key, max(n) AS n FROM down GROUP BY _key),"
    f" rootless AS (SELECT _key FROM above WHERE n = {MOST_LEVELS}"
    " UNION SELECT parent FROM higher WHERE parent NOT IN (SELECT _key FROM above)),"
    " middle AS (SELECT _key FROM rootless UNION SELECT e.child FROM middle AS m JOIN higher AS e ON e.parent = m._key)"
)


def levels(sync: CompiledSync, db: DuckDB) -> list[int]:
    """Rows of each level of `delete:`, where no parent can be deleted before its children; else nothing."""
    if not any(rule.restricts for rule in self_lookups(sync)):
        return []
    table = run_table("delete", sync.name)
    there = "SELECT EXISTS (FROM duckdb_columns() WHERE table_name = ? AND column_name = '_level')"
    if not db.value(there, [f"delete:{sync.name}"]):
        return []
    return [int(n) for (n,) in db.execute(f"SELECT count(*) FROM {table} GROUP BY _level ORDER BY _level")]


def _edges(sync: CompiledSync, rule: FieldRule, table: str, snapshot: str) -> str | None:
    """`child, parent`: keys of records to be deleted of which one refers to the other."""
    text = f"s.{ident(rule.field)}"
    parent = f"p._id = {text}"
    if rule.lookup is None or not rule.lookup.to_id:
        field = rule.reference.parent_field if rule.reference is not None else None
        own = next((own for own in sync.rules if own.field == field), None)
        if own is None:
            return None  # the snapshot does not know which record has that key
        mine = wire.key_text((own,), [f"p.{ident(own.field)}"], DUCKDB)
        parent = f"{mine} = {wire.key_text((own,), [text], DUCKDB)}"
    return (
        f"SELECT s._key AS child, p._key AS parent FROM {snapshot} AS s JOIN {snapshot} AS p ON {parent}"
        f" WHERE s._key IN (SELECT _key FROM {table}) AND p._key IN (SELECT _key FROM {table}) AND s._key <> p._key"
    )
