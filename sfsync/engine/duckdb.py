"""The run's own engine: one DuckDB session for the run file, the state, local CSV and JSON, and a user's DuckDB file.

Owns:      every call that differs between DuckDB versions (1.4 up to 3), attaching files, session settings, and the
           translation of DuckDB's errors.
Does not:  know what the tables mean.
Invariant: nothing is fetched from a network, nothing is installed, time zone is UTC, results are fetched whole.

DuckDB writes to one attached file per transaction. Instants (TIMESTAMPTZ) must not be fetched: the Python client then
wants a package that sfsync does not need; cast them to text in SQL.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from sfsync.engine.dialect import quote_ident, quote_literal
from sfsync.errors import InterruptedRunError, SfsyncError

STORAGE_VERSION = "v1.2.0"
"""Files are written so that the oldest DuckDB that sfsync supports can read them, and reads them right: 1.4.0 to 1.4.2
take `IS NULL` for false in a whole block of null texts that was packed as v1.3.0 and later do (DICT_FSST).

Source: tried with 1.4.0, 1.4.1, 1.4.2 (wrong) and 1.4.5, 1.5.0, 2.0.0 (right), each with files of v1.0.0 to v1.4.0.
"""

CSV_OPTIONS = (
    "FORMAT csv, HEADER true, DELIMITER ',', QUOTE '\"', ESCAPE '\"', NULLSTR '', USE_TMP_FILE false"
)
"""LF, UTF-8 without a mark, quotes doubled and only where needed; written in place, not beside and renamed."""

_HOLDER = re.compile(r"held in (?P<program>.*?)\s*\(PID (?P<pid>\d+)\)")
_NEWER = re.compile(r"newer (version )?of DuckDB|database with (storage )?version number", re.IGNORECASE)


_UNITS = {"bytes": 0, "byte": 0, "KiB": 1, "MiB": 2, "GiB": 3, "TiB": 4, "PiB": 5}


_DAMAGED = ("Corrupt database file", "database has been invalidated", "Could not read enough bytes")


class DuckDBError(SfsyncError):
    """DuckDB refused a statement or a file.

    kind: sql (a statement of ours or a user's) | constraint | data (a value does not fit) | memory | disk | file |
    denied | damaged | missing | locked | not_a_database | newer | storage (not a file that sfsync made). pid: of the process that holds a locked file, when DuckDB tells it.
    """

    def __init__(
        self, what: str, *, kind: str = "sql", pid: int | None = None, fix: str | None = None
    ) -> None:
        super().__init__(what, fix=fix)
        self.kind = kind
        self.pid = pid


def first_paragraph(text: str) -> str:
    """DuckDB's message without the echo of the statement and without stack traces."""
    kept: list[str] = []
    for line in text.strip().splitlines():
        if not line.strip() or line.startswith(("LINE ", "Stack Trace")):
            break
        kept.append(line.strip())
    return " ".join(kept)


def _classify(name: str, message: str) -> tuple[str, str | None]:
    """(kind, fix) of an exception class of DuckDB and its message."""
    if "lock on file" in message:
        return "locked", None
    if "Permission denied" in message or "Read-only file system" in message:
        return "denied", "let the user that runs sfsync read and write the file and its folder"
    if any(words in message for words in _DAMAGED):
        return "damaged", None
    if "not a valid DuckDB database" in message:
        return "not_a_database", None
    if _NEWER.search(message):
        return "newer", "install a newer duckdb: pip install -U duckdb"
    if "database does not exist" in message or "No such file" in message:
        return "missing", None
    if "No space left" in message or "max_temp_directory_size" in message:
        return "disk", "free some disk space and run again"
    if name == "OutOfMemoryException":
        return "memory", "raise the profile's memory_limit, or free some memory"
    if name == "ConstraintException":
        return "constraint", None
    if name in ("ConversionException", "OutOfRangeException"):
        return "data", None
    if name in ("IOException", "SerializationException", "PermissionException"):
        return "file", None
    return "sql", None


def _translate(error: Exception) -> SfsyncError:
    message = first_paragraph(str(error))
    if type(error).__name__ == "InterruptException" or message == "Query interrupted":
        return InterruptedRunError("interrupted")
    kind, fix = _classify(type(error).__name__, message)
    holder = _HOLDER.search(message)
    return DuckDBError(message, kind=kind, pid=int(holder["pid"]) if holder else None, fix=fix)


_LOG_LIMIT = "256MB"
"""What may wait in a file's log: a checkpoint in the middle of a run costs more than the statement that brings it on."""

_SCRATCH_FROM = (1, 5)
"""DuckDB that can do without a log of what it writes; tried: 1.5.0 takes the option, 1.4.5 does not know it."""

BYTES_A_THREAD = 120_000_000
"""What a thread needs to sort wide rows, whose buffers cannot spill. Measured with a million rows of 14 texts: 256 MB
serve two threads, not three; 512 MB six."""


class DuckDB:
    """One session. A session serves one thread at a time; `cursor` gives another thread its own."""

    def __init__(
        self, *, memory_limit: str = "1GB", threads: int | None = None, temp_directory: Path
    ) -> None:
        """Open an in-memory database that spills to `temp_directory` (made with mode 0700 if missing).

        threads: None for as many as there are cores and memory suffices for.
        """
        temp_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        settings: dict[str, Any] = {
            "memory_limit": memory_limit,
            "temp_directory": str(temp_directory),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "wal_autocheckpoint": _LOG_LIMIT,
        }
        if threads is not None:
            settings["threads"] = threads
        self._module = _load()
        try:
            self._connection: Any = self._module.connect(":memory:", config=settings)
        except self._module.Error as error:
            raise DuckDBError(
                f"DuckDB cannot start: {first_paragraph(str(error))}",
                fix="check memory_limit and threads in the profile",
            ) from None
        self._catalog: str | None = None
        self._in_transaction = False
        self._pin()
        if threads is None:
            enough = max(1, self.memory_limit // BYTES_A_THREAD)
            if self._threads > enough:
                self.execute(f"SET threads = {enough}")

    def _pin(self) -> None:
        # Settings of a session, not of the database: a cursor does not inherit them.
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute("SET enable_progress_bar = false")

    def execute(self, sql: str, params: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and fetch all its rows.

        One that finds too little memory is run again by one thread, which needs less; inside a transaction it is not.

        Raises:
            DuckDBError: DuckDB refused it; the message is the first paragraph of its own.
            InterruptedRunError: `interrupt` was called meanwhile.
        """
        try:
            return self._run(sql, params)
        except DuckDBError as error:
            if error.kind != "memory" or self._in_transaction or self._threads == 1:
                raise
        with self._set("threads", "1", str(self._threads)):
            return self._run(sql, params)

    def _run(self, sql: str, params: Sequence[object]) -> list[tuple[Any, ...]]:
        try:
            with _private():
                self._connection.execute(sql, list(params) if params else None)
            rows: list[tuple[Any, ...]] = self._connection.fetchall() if self._connection.description else []
        except (self._module.Error, RuntimeError) as error:
            raise _translate(error) from None
        return rows

    def value(self, sql: str, params: Sequence[object] = ()) -> Any:
        """The first cell of a statement's first row; None if it has no rows."""
        rows = self.execute(sql, params)
        return rows[0][0] if rows else None

    def attach(self, path: Path, alias: str, *, read_only: bool = False, scratch: bool = False) -> None:
        """Attach a DuckDB file; without `read_only` it is made if missing, mode 0600, readable by DuckDB 1.4.

        scratch: nobody will read the file after a crash, so what is committed need not be written twice.

        Raises:
            DuckDBError: kind missing, locked (with pid), not_a_database, newer or file.
        """
        if path.is_dir():
            raise DuckDBError(f"{path} is a folder, not a DuckDB file", kind="file")
        fresh = not path.exists()
        if read_only and fresh:
            raise DuckDBError(f"{path} does not exist", kind="missing")
        if fresh:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        options = ["READ_ONLY"] if read_only else []
        if fresh:
            options.append(f"STORAGE_VERSION {quote_literal(STORAGE_VERSION)}")
            if scratch and self._numbers >= _SCRATCH_FROM:
                options.append("RECOVERY_MODE no_wal_writes")
        option = f" ({', '.join(options)})" if options else ""
        sql = f"ATTACH {quote_literal(str(path))} AS {quote_ident(alias)}{option}"
        try:
            self.execute(sql)
        except DuckDBError as error:
            raise _file_error(path, error) from None

    def detach(self, alias: str) -> None:
        """Detach a file; everything committed in it is on disk afterwards."""
        if self._catalog is not None and self._catalog.lower() == alias.lower():
            self.use(None)
        self.execute(f"DETACH {quote_ident(alias)}")

    def use(self, catalog: str | None, schema: str = "main") -> None:
        """Where unqualified names are looked up from now on, cursors made later included; None: our own memory."""
        self.execute(f"USE {quote_ident(catalog or 'memory')}.{quote_ident(schema)}")
        self._catalog, self._schema = catalog, schema

    def cursor(self) -> DuckDB:
        """Another session on the same database, for another thread; close it when done."""
        other = object.__new__(DuckDB)
        other._module = self._module
        other._connection = self._connection.cursor()
        other._catalog = None
        other._in_transaction = False
        other._pin()
        if self._catalog is not None:
            other.use(self._catalog, self._schema)
        return other

    @contextmanager
    def _set(self, name: str, value: str, normal: str) -> Iterator[DuckDB]:
        """Another value of a setting of the whole database within a block; not inside a transaction."""
        self.execute(f"SET {name} = {quote_literal(value)}")
        try:
            yield self
        except BaseException:
            with suppress(SfsyncError):  # the first error is the one to tell
                self.execute(f"SET {name} = {quote_literal(normal)}")
            raise
        self.execute(f"SET {name} = {quote_literal(normal)}")

    def uncompressed(self) -> AbstractContextManager[DuckDB]:
        """Within the block, tables are written as they are: half the CPU of a write, two to three times the disk.

        For tables that are read a few times and thrown away; nothing that is kept may be written meanwhile.
        """
        return self._set("force_compression", "uncompressed", "auto")

    def build_right(self) -> AbstractContextManager[DuckDB]:
        """Within the block, a join holds its right side in memory and streams its left one, as the statement says.

        DuckDB would hold the side with fewer rows, however wide, and falls from one to the other as the counts change.
        """
        return self._set("disabled_optimizers", "build_side_probe_side", "")

    @contextmanager
    def transaction(self) -> Iterator[DuckDB]:
        """Commit at the end of the block; roll back on any exception. Writes may touch one attached file only."""
        self.execute("BEGIN TRANSACTION")
        self._in_transaction = True
        try:
            yield self
            self.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        finally:
            self._in_transaction = False

    def _roll_back(self) -> None:
        try:
            self.execute("ROLLBACK")
        except SfsyncError:
            return  # DuckDB has already ended the transaction by itself

    @contextmanager
    def arrow(self, sql: str) -> Iterator[Any]:
        """The rows of a query as an Arrow C stream, to be read once and inside the block."""
        try:
            with _private():
                yield self._connection.sql(sql).__arrow_c_stream__()
        except (self._module.Error, RuntimeError) as error:
            raise _translate(error) from None

    def ingest(self, table: str, arrow_stream: object) -> int:
        """Make `table` (an SQL name) out of an object with an Arrow C stream, batch by batch; return its rows.

        The stream is read once, in constant memory, and needs no Arrow package.
        """
        with self._registered(arrow_stream) as name:
            return int(self.value(f"CREATE TABLE {table} AS SELECT * FROM {name}"))

    def read(self, arrow_stream: object, sql: str = "SELECT * FROM {stream}") -> list[tuple[Any, ...]]:
        """The rows of a small Arrow stream, or what `sql` makes of them; `{stream}` in it stands for the stream."""
        with self._registered(arrow_stream) as name:
            return self.execute(sql.replace("{stream}", name))

    @contextmanager
    def _registered(self, arrow_stream: object) -> Iterator[str]:
        name = f"sfsync_stream_{threading.get_ident()}_{id(arrow_stream)}"
        try:
            self._connection.register(name, arrow_stream)
        except (self._module.Error, RuntimeError) as error:
            raise _translate(error) from None
        try:
            yield quote_ident(name)
        finally:
            self._connection.unregister(name)

    def copy_csv(self, select: str, path: Path) -> int:
        """Write a SELECT as CSV for the Bulk API and return its rows.

        UTF-8 without BOM, header, comma, LF, quotes doubled; NULL is an empty cell. File mode 0600.
        """
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.close(descriptor)
        return int(self.value(f"COPY ({select}) TO {quote_literal(str(path))} ({CSV_OPTIONS})"))

    def interrupt(self) -> None:
        """Stop the running statement of this session; callable from another thread or a signal handler."""
        self._connection.interrupt()

    def discard(self) -> None:
        """Close the database without folding write-ahead logs into files that are still attached.

        For a run's own file, which is thrown away next; files that are kept are detached or checkpointed before.
        """
        try:
            self.execute("PRAGMA disable_checkpoint_on_shutdown")
        finally:
            self.close()

    def close(self) -> None:
        """Close the session; the last one closes the database and its files."""
        with _private():
            self._connection.close()

    @property
    def memory_limit(self) -> int:
        """Bytes that DuckDB may use before it spills."""
        return _bytes(str(self.value("SELECT current_setting('memory_limit')")))

    @property
    def _threads(self) -> int:
        return int(self._run("SELECT current_setting('threads')", ())[0][0])

    @property
    def _numbers(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.version.split(".")[:2])

    @property
    def version(self) -> str:
        """DuckDB's own version."""
        return str(self._module.__version__)


def _bytes(size: str) -> int:
    """A size as DuckDB tells it, such as "244.1 MiB", in bytes."""
    number, unit = size.split()
    return int(float(number) * 1024 ** _UNITS[unit])


def _load() -> Any:
    import duckdb  # late: `sfsync --help` must not wait for it

    return duckdb


class _PrivateFiles:
    """DuckDB makes files (write-ahead logs too, whenever it needs one) with the process's umask and has no option for
    their mode; a chmod afterwards would leave a moment, or after a kill a file, that others may read.

    The umask is the whole process's: the first thread in narrows it, the last one out puts it back. What another thread
    creates meanwhile is more private than it asked for, never less. Ctrl-C may come between any two steps here, so
    threads are remembered by name and not counted: what an interrupted one left behind, its next statement mends.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._inside: set[int] = set()
        self._found: list[int] = []  # what the umask was; the first is everybody else's

    def enter(self) -> None:
        with self._guard:
            self._inside.add(threading.get_ident())
            self._found.extend(
                map(os.umask, (0o077,))
            )  # set and remembered by one call: no signal comes between

    def leave(self) -> None:
        with self._guard:
            self._inside.discard(threading.get_ident())
            if self._found and not self._inside:
                os.umask(self._found[0])
                self._found.clear()


_PRIVATE = _PrivateFiles()


@contextmanager
def _private() -> Iterator[None]:
    try:
        _PRIVATE.enter()
        yield
    finally:
        _PRIVATE.leave()


def _file_error(path: Path, error: DuckDBError) -> DuckDBError:
    """The same error with the file named and a next step."""
    texts = {
        "locked": (
            f"{path} is in use by another process" + (f" (pid {error.pid})" if error.pid else ""),
            "wait until it has finished, or close the program that has the file open for writing",
        ),
        "not_a_database": (f"{path} is not a DuckDB database", "check the path"),
        "newer": (
            f"{path} was written by a newer DuckDB: {error.what}",
            "install a newer duckdb: pip install -U duckdb",
        ),
    }
    said = re.sub(
        r"^[A-Z]\w+ Error: ", "", error.what
    )  # the kind of error stands before it in some versions only
    what, fix = texts.get(error.kind, (f"{path} cannot be opened: {said}", error.fix))
    return DuckDBError(what, kind=error.kind, pid=error.pid, fix=fix)
