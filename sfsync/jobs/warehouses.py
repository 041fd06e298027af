"""From the warehouse settings of a profile to an open warehouse."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sfsync.connections import DuckDBSettings, PostgresSettings
from sfsync.connections import Warehouse as Settings
from sfsync.errors import InternalError

if TYPE_CHECKING:
    from sfsync.engine.base import Warehouse
    from sfsync.engine.duckdb import DuckDB


def open_warehouse(settings: Settings, db: DuckDB, seeds_file: Path) -> Warehouse:
    """Connect to the user's database; a new kind of warehouse gets its line here."""
    if isinstance(settings, DuckDBSettings):
        from sfsync.engine.duckdb_warehouse import DuckDBWarehouse

        return DuckDBWarehouse(db, settings.path, seeds_file=seeds_file)
    if isinstance(settings, PostgresSettings):
        from sfsync.engine.postgres import PostgresWarehouse

        return PostgresWarehouse(settings)
    raise InternalError(f"no warehouse for {type(settings).__name__}")
