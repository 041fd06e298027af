"""From the warehouse settings of a profile to an open warehouse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sfsync.errors import InternalError

if TYPE_CHECKING:
    from sfsync.engine.base import Warehouse
    from sfsync.engine.duckdb import DuckDB
    from sfsync.jobs.target import TargetFacts
    from sfsync.profiles import Profile


def open_warehouse(
    target: TargetFacts, profile: Callable[[], Profile], db: DuckDB, seeds_file: Path
) -> Warehouse:
    """Connect to the user's database; a new kind of warehouse gets its line here.

    profile: all settings, with their secrets; asked for where the target's facts do not suffice.
    """
    if target.warehouse == "duckdb":
        from sfsync.engine.duckdb_warehouse import DuckDBWarehouse

        return DuckDBWarehouse(
            db, Path(target.database) if target.database is not None else None, seeds_file=seeds_file
        )
    from sfsync.connections import PostgresSettings

    settings = profile().warehouse
    if isinstance(settings, PostgresSettings):
        from sfsync.engine.postgres import PostgresWarehouse

        return PostgresWarehouse(settings)
    raise InternalError(f"no warehouse for {type(settings).__name__}")
