"""A DuckDB session, a clock moved by hand, and a state file in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sfsync.engine.duckdb import DuckDB
from sfsync.state.store import StateStore, open_state


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = datetime(2026, 7, 22, 9, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    def move(self, **by: float) -> None:
        self.at += timedelta(**by)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def db(tmp_path: Path) -> Iterator[DuckDB]:
    db = DuckDB(temp_directory=tmp_path / "spill")
    yield db
    db.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "prod.duckdb"


Open = Callable[..., StateStore]


@pytest.fixture
def opened(db: DuckDB, path: Path, clock: HandClock) -> Iterator[Open]:
    """`opened(write=True)`: the state; closed at the end of the test."""
    stores: list[StateStore] = []

    def give(*, write: bool = True, starts_empty: bool = True, command: str = "run") -> StateStore:
        stores.append(open_state(db, path, clock, command, write=write, starts_empty=starts_empty))
        return stores[-1]

    yield give
    for store in stores:
        store.close()
