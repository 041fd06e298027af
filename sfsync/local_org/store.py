"""The org's records in one DuckDB file.

Owns:      the file, its tables (schema `data`: one per object; schema `org`: counters and journal), its lock, its Ids.
Does not:  judge a record (write), answer HTTP (routes), or know a user's project.
Invariant: every column of `data` is VARCHAR with the platform's canonical text; NULL is null and blank is never stored.

Readers take `cursor()` and never wait. Writers take `write()`: one at a time, one transaction each.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from sfsync.contract import Contract, SObject
from sfsync.errors import OrgError
from sfsync.local_org import ids
from sfsync.local_org.identity import Identity
from sfsync.local_org.rules import Rules

FILE = "records.duckdb"

_TABLES = (
    "CREATE SCHEMA IF NOT EXISTS data",
    "CREATE SCHEMA IF NOT EXISTS org",
    "CREATE TABLE IF NOT EXISTS org.counters (prefix VARCHAR, next BIGINT)",
    """CREATE TABLE IF NOT EXISTS org.requests (request BIGINT, time TIMESTAMP, method VARCHAR, path VARCHAR,
         status INTEGER, kind VARCHAR, counted BOOLEAN)""",
    """CREATE TABLE IF NOT EXISTS org.write_calls (call BIGINT, request BIGINT, time TIMESTAMP, object VARCHAR,
         headers VARCHAR[])""",
    """CREATE TABLE IF NOT EXISTS org.writes (call BIGINT, row BIGINT, id VARCHAR, operation VARCHAR,
         texts VARCHAR[])""",
    """CREATE TABLE IF NOT EXISTS org.write_files (call BIGINT, job VARCHAR, start BIGINT, rows BIGINT, operation VARCHAR,
         delimiter VARCHAR)""",
    "CREATE TABLE IF NOT EXISTS org.bin (parent VARCHAR, object VARCHAR, id VARCHAR, field VARCHAR)",
)


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def table(sobject: str) -> str:
    """The table of an object, by its API name as the contract spells it."""
    return f"data.{quoted(sobject)}"


def instant(moment: datetime) -> str:
    """A datetime in the canonical text of the store, cut to milliseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


class Store:
    """The open file. One per server process."""

    def __init__(self, folder: Path, contract: Contract, identity: Identity) -> None:
        self.folder = folder
        self.contract = contract
        self.identity = identity
        self.clock: Callable[[], float] = time.time
        self.rules = Rules()
        self.on_reset: list[Callable[[], None]] = []
        self._lock = threading.RLock()
        path = folder / FILE
        try:
            self._connection = duckdb.connect(str(path), config={"wal_autocheckpoint": "1GB"})
        except duckdb.Error as error:
            raise OrgError(
                f"the local org's data file {path} cannot be opened: {str(error).splitlines()[0]}",
                fix="stop the process that holds it, or delete the folder to begin with an empty org",
            ) from None
        path.chmod(0o600)
        with self.write() as cursor:
            for statement in (*_TABLES, ids.ends_table(), *ids.macros()):
                cursor.execute(statement)
            for sobject in contract.objects:
                _make_table(cursor, sobject)

    def close(self) -> None:
        """Fold the log into the file and let it go."""
        with self._lock:
            self._connection.close()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own for reading; sees what is committed, waits for nobody. Close it."""
        return self._connection.cursor()

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A reading cursor that is closed at the end."""
        cursor = self.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    @contextmanager
    def write(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The only way to change the file: one writer at a time, one transaction, rolled back by an exception."""
        with self._lock:
            cursor = self._connection.cursor()
            cursor.execute("BEGIN TRANSACTION")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            finally:
                cursor.close()

    def take(self, cursor: duckdb.DuckDBPyConnection, prefix: str, count: int) -> int:
        """Reserve `count` neighbouring counters for Ids of this prefix and return the first."""
        found = cursor.execute("SELECT next FROM org.counters WHERE prefix = ?", [prefix]).fetchall()
        first = ids.next_free(int(found[0][0]) if found else 1, count)
        if found:
            cursor.execute("UPDATE org.counters SET next = ? WHERE prefix = ?", [first + count, prefix])
        else:
            cursor.execute("INSERT INTO org.counters VALUES (?, ?)", [prefix, first + count])
        return first

    def name_of(self, user_id: str) -> str | None:
        """The name of a user."""
        if user_id == self.identity.user_id:
            return self.identity.username
        sobject = self.contract.object("User")
        if sobject is None or sobject.field("Username") is None:
            return None
        with self.reading() as cursor:
            found = cursor.execute(f"SELECT Username FROM {table('User')} WHERE Id = ?", [user_id]).fetchall()
        return str(found[0][0]) if found else None

    def new_id(self, cursor: duckdb.DuckDBPyConnection, prefix: str) -> str:
        """One Id of any kind, a Bulk job's for example."""
        return ids.make_id(prefix, self.identity.instance, self.take(cursor, prefix, 1))

    def counts(self) -> dict[str, int]:
        """Records of each object that are not in the recycle bin."""
        with self.reading() as cursor:
            return {
                o.name: int(
                    cursor.execute(
                        f"SELECT count(*) FROM {table(o.name)} WHERE IsDeleted = 'false'"
                    ).fetchall()[0][0]
                )
                for o in self.contract.objects
            }

    def clear(self) -> None:
        """Empty every table; Ids keep counting, so that no Id is ever given twice. No writer comes in between."""
        with self._lock:
            with self.write() as cursor:
                for sobject in self.contract.objects:
                    cursor.execute(f"DELETE FROM {table(sobject.name)}")
                for name in ("requests", "write_calls", "writes", "write_files", "bin"):
                    cursor.execute(f"DELETE FROM org.{name}")
            for action in self.on_reset:
                action()


def _make_table(cursor: duckdb.DuckDBPyConnection, sobject: SObject) -> None:
    """Create the object's table, or add the columns that a newer schema file brings."""
    columns = ", ".join(f"{quoted(f.name)} VARCHAR" for f in sobject.fields)
    cursor.execute(f"CREATE TABLE IF NOT EXISTS {table(sobject.name)} ({columns})")
    have = {
        str(row[0]).lower()
        for row in cursor.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'data' AND table_name = ?",
            [sobject.name],
        ).fetchall()
    }
    for field in sobject.fields:
        if field.name.lower() not in have:
            cursor.execute(f"ALTER TABLE {table(sobject.name)} ADD COLUMN {quoted(field.name)} VARCHAR")
