"""Where the rows of a sync stand before they are compared.

Owns:      materialising a model once per run, or reading it in place when that is as good.
Does not:  compare anything.
Invariant: stage and diff read one consistent state, so a value cannot change between the two steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from sfsync.compiler.manifest import CompiledSync
from sfsync.diff import sql
from sfsync.engine.base import Warehouse
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.duckdb import DuckDB

RUN = "sfsync_run"
"""The catalog name of the run's own DuckDB file."""


@dataclass(frozen=True, slots=True)
class Staged:
    """The rows of one sync.

    relation: SQL of the model's own columns (`projected` False), or a table shaped by `sql.projection`.
    """

    relation: str
    projected: bool
    rows: int


def run_table(kind: str, sync: str) -> str:
    """The quoted name of a table of the run file, e.g. the `upsert` rows of sync `contacts`."""
    return f"{RUN}.main.{ident(f'{kind}:{sync}')}"


def stage_rows(sync: CompiledSync, warehouse: Warehouse, db: DuckDB) -> Staged:
    """Make the sync's rows stand still.

    A plain scan of a file we hold open read-only is left where it is; any other model of the same engine is run once;
    rows of another engine travel as key, hash and text, projected there.
    """
    table = run_table("stage", sync.name)
    if not warehouse.shares_engine:
        rows = warehouse.materialise(sql.projection(sync, f"({sync.sql})", warehouse.dialect), db, table)
        return Staged(f"({_unsigned(table)})", True, rows)
    if sync.plain_scan:
        relation = f"({sync.sql})"
        return Staged(relation, False, int(db.value(f"SELECT count(*) FROM {relation} AS m")))
    return Staged(table, False, warehouse.materialise(sync.sql, db, table))


def _unsigned(table: str) -> str:
    """Hashes of other engines are signed 64-bit integers; the snapshot keeps them as unsigned ones."""
    moved = f"CAST(CAST(_source_hash AS HUGEINT) + {1 << 63} AS UBIGINT)"
    return f"SELECT * REPLACE ({moved} AS _source_hash) FROM {table}"
