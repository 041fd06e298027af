"""What the other rooms may ask of the place where a user's models live.

Owns:      the Warehouse protocol and the Catalog value.
Does not:  hold SQL of ours (dialect) or know one database (one file per warehouse).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sfsync.engine.dialect import Dialect
from sfsync.engine.duckdb import DuckDB
from sfsync.engine.seeds import Seed
from sfsync.records import Column, ResultsPlace


@dataclass(frozen=True, slots=True)
class Catalog:
    """The tables that models may read: (schema, table) -> column names, all as the engine spells them."""

    default_schema: str
    database: (
        str | None
    )  # the warehouse's own catalog, e.g. the DuckDB file's stem; None: models never name it
    tables: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    views: frozenset[tuple[str, str]] = frozenset()
    """Those of `tables` that are views: reading one twice may be dear, or give two answers."""


class Warehouse(Protocol):
    """One database with models: read, and never written but for seeds and for results where a sync asks for these."""

    kind: str  # duckdb | postgres
    dialect: Dialect
    shares_engine: bool  # True: its tables are attached to the run's own DuckDB, so nothing has to travel

    def catalog(self) -> Catalog:
        """List the tables and views the connection may read.

        Raises:
            WarehouseError: it cannot be reached or read.
        """
        ...

    def columns(self, select: str) -> tuple[Column, ...]:
        """Names and types of a SELECT's columns, without running it.

        Raises:
            WarehouseError: the engine refuses the statement; the message is the engine's own, scrubbed.
        """
        ...

    def materialise(self, select: str, local: DuckDB, table: str) -> int:
        """Run a SELECT once and keep its rows in `table` of the run's DuckDB file (constant memory); return their count."""
        ...

    def seed_relation(self, name: str) -> str:
        """The quoted table that holds a seed's rows."""
        ...

    def load_seeds(self, seeds: Sequence[Seed], local: DuckDB, *, make: bool) -> tuple[str, ...]:
        """Bring the seeds' tables up to date in a place of our own; return the names of seeds that were read.

        Args:
            make: `sfsync seed`: make the place if it is missing and load every seed; otherwise only what moved.

        Raises:
            WarehouseError: there is no place for seeds, or it may not be written.
            ProjectError: a CSV cannot be read, or a cell does not fit its type.
        """
        ...

    def prepare_results(self, place: ResultsPlace) -> None:
        """Make sure, before anything is sent, that outcomes can be appended to a table; it is made if missing.

        Raises:
            WarehouseError: the table or its schema may not be made or written, or is of another shape.
        """
        ...

    def append_results(self, place: ResultsPlace, files: Sequence[Path], local: DuckDB) -> None:
        """Append the outcomes in Parquet files, in one transaction, in place of those of the same runs and syncs.

        It is the last thing that is asked of a warehouse: afterwards its tables may be out of reach.

        Raises:
            WarehouseError: nothing was written.
        """
        ...

    def describe(self) -> str:
        """One line for `sfsync debug`: engine, version, database, user."""
        ...

    def release(self) -> None:
        """Reading is done for now: end the transaction that kept one consistent state, so that nothing waits for us."""
        ...

    def close(self) -> None: ...
