"""Query answers in pages: the first from the query itself, the others from a table that keeps its rows.

Owns:      page sizes, locators, the tables of open cursors and their end.
Does not:  compile SOQL (soql) or answer HTTP (soql_routes).
Invariant: all pages of one query show the org as it was at the query.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from dataclasses import dataclass

from sfsync.local_org.ids import make_id
from sfsync.local_org.soql import Compiled
from sfsync.local_org.soql_syntax import SoqlError
from sfsync.local_org.store import Store, quoted

PAGE = 2_000  # rows; REST guide, "Query Options Header"
SMALLEST_PAGE = 200
LIFE_S = 2 * 24 * 3600  # a locator's life; "API Query Cursor Limits"
MAX_OPEN = (
    50  # tables kept at once: a local org has one client, and what it leaves behind should not fill the disk
)
_LOCATOR = re.compile(r"(01g[0-9A-Za-z]{15})-(\d+)")
_STAGE = "cursors"


@dataclass(frozen=True, slots=True)
class Page:
    """Finished JSON of the rows, the size of the whole answer, and where the next page begins (None: last page)."""

    records: str
    total: int
    next_locator: str | None


@dataclass(frozen=True, slots=True)
class _Open:
    total: int
    size: int
    since: float


class Cursors:
    """The open cursors of one org; they end with the process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._open: dict[str, _Open] = {}
        with store.reading() as cursor:
            cursor.execute(f"ATTACH IF NOT EXISTS ':memory:' AS {_STAGE}")

    def first(self, compiled: Compiled, size: int) -> Page:
        """Run a query. A short answer leaves nothing behind."""
        with self._store.reading() as cursor:
            if compiled.count_only:
                return Page("", int(cursor.execute(compiled.sql).fetchall()[0][0]), None)
            rows = cursor.execute(f"SELECT record FROM ({compiled.sql}) LIMIT {size + 1}").fetchall()
            if len(rows) <= size:
                return Page(",".join(row[0] for row in rows), len(rows), None)
            key = make_id("01g", self._store.identity.instance, secrets.randbelow(62**5))
            table = f"{_STAGE}.{quoted(key)}"
            cursor.execute(f"CREATE TABLE {table} AS {compiled.sql}")
            total = int(cursor.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])
        with self._lock:
            self._open[key] = _Open(total, size, time.monotonic())
        self._sweep()
        return self.page(f"{key}-0")

    def page(self, locator: str) -> Page:
        """The page at a locator.

        Raises:
            SoqlError: INVALID_QUERY_LOCATOR; unknown, expired, or behind the end.
        """
        match = _LOCATOR.fullmatch(locator)
        with self._lock:
            found = self._open.get(match[1]) if match else None
        if match is None or found is None or int(match[2]) >= found.total:
            raise SoqlError("INVALID_QUERY_LOCATOR", "invalid query locator")
        first = int(match[2])
        last = min(first + found.size, found.total)
        with self._store.reading() as cursor:
            rows = cursor.execute(
                f"SELECT record FROM {_STAGE}.{quoted(match[1])} WHERE rowid >= {first} AND rowid < {last} ORDER BY rowid"
            ).fetchall()
        following = f"{match[1]}-{last}" if last < found.total else None
        return Page(",".join(row[0] for row in rows), found.total, following)

    def clear(self) -> None:
        """End all cursors."""
        with self._lock:
            keys = list(self._open)
            self._open.clear()
        self._drop(keys)

    def _sweep(self) -> None:
        """End cursors that are too old, and the oldest when there are too many."""
        now = time.monotonic()
        with self._lock:
            by_age = sorted(self._open, key=lambda key: self._open[key].since)
            ended = [k for k in by_age if now - self._open[k].since > LIFE_S]
            ended += [k for k in by_age if k not in ended][: max(0, len(by_age) - len(ended) - MAX_OPEN)]
            for key in ended:
                del self._open[key]
        self._drop(ended)

    def _drop(self, keys: list[str]) -> None:
        with self._store.reading() as cursor:
            for key in keys:
                cursor.execute(f"DROP TABLE IF EXISTS {_STAGE}.{quoted(key)}")
