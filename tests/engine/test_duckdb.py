"""The run's own engine: sessions, files, transactions, CSV, Arrow streams, errors."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sfsync.engine.duckdb import STORAGE_VERSION, DuckDB, DuckDBError
from sfsync.errors import InterruptedRunError


@pytest.fixture
def db(tmp_path: Path) -> Iterator[DuckDB]:
    session = DuckDB(memory_limit="200MB", threads=2, temp_directory=tmp_path / "spill")
    yield session
    session.close()


def test_the_module_is_not_loaded_by_importing_ours() -> None:
    code = "import sys, sfsync.engine.duckdb, sfsync.engine.postgres; print('duckdb' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("setting", "value"),
    [("TimeZone", "UTC"), ("autoinstall_known_extensions", False), ("autoload_known_extensions", False)],
)
def test_settings_hold_in_every_session(db: DuckDB, setting: str, value: object) -> None:
    other = db.cursor()
    assert [s.value(f"SELECT current_setting('{setting}')") for s in (db, other)] == [value, value]
    other.close()


def test_nothing_is_fetched_from_a_network(db: DuckDB) -> None:
    with pytest.raises(DuckDBError, match="httpfs"):
        db.execute("SELECT * FROM 'https://example.invalid/x.csv'")


def test_execute_takes_parameters_and_gives_no_rows_for_statements(db: DuckDB) -> None:
    assert db.execute("SET threads = 2") == []
    assert db.execute("SELECT ?, ?", [1, "x"]) == [(1, "x")]
    assert db.value("SELECT 1 WHERE FALSE") is None


def test_a_new_file_is_private_and_readable_by_the_oldest_duckdb(db: DuckDB, tmp_path: Path) -> None:
    path = tmp_path / "new" / "state.duckdb"
    db.attach(path, "state")
    db.execute("CREATE TABLE state.main.t AS SELECT 1 AS a")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    tags = db.value("SELECT tags FROM duckdb_databases() WHERE database_name = 'state'")
    assert tags["storage_version"].startswith(STORAGE_VERSION)
    db.detach("state")
    db.attach(path, "again", read_only=True)
    assert db.value("SELECT a FROM again.main.t") == 1
    with pytest.raises(DuckDBError, match="read-only"):
        db.execute("INSERT INTO again.main.t VALUES (2)")


def make(path: Path, what: str) -> None:
    if what == "folder":
        path.mkdir()
    elif what == "empty":
        path.touch()
    elif what == "text":
        path.write_text("hello\n" * 2000)


@pytest.mark.parametrize(
    "cell", ["CAST(NULL AS VARCHAR)", "CASE WHEN i = 0 THEN 'x' END", "CASE WHEN i % 3 = 0 THEN 'x' END"]
)
def test_nulls_are_found_in_blocks_of_nothing_else(tmp_path: Path, cell: str) -> None:
    """DuckDB 1.4.0 to 1.4.2 lose them in files of a newer form: whole rows would silently not be sent."""
    with closing(DuckDB(temp_directory=tmp_path / "spill")) as db:
        db.attach(tmp_path / "state.duckdb", "s")
        db.execute(f"CREATE TABLE s.main.t AS SELECT {cell} AS c FROM range(300000) AS r(i)")
        for _ in range(2):
            blank, all_rows, filled = db.execute(
                "SELECT (SELECT count(*) FROM s.main.t WHERE c IS NULL), count(*), count(c) FROM s.main.t"
            )[0]
            assert blank == all_rows - filled > 0
            db.detach("s")  # and again from the file
            db.attach(tmp_path / "state.duckdb", "s", read_only=True)


@pytest.mark.parametrize(
    ("what", "read_only", "kind", "text"),
    [
        ("missing", True, "missing", "does not exist"),
        ("folder", True, "file", "is a folder"),
        ("folder", False, "file", "is a folder"),
        ("empty", True, "not_a_database", "is not a DuckDB database"),
        ("text", False, "not_a_database", "is not a DuckDB database"),
    ],
)
def test_a_file_that_cannot_be_attached_is_named(
    db: DuckDB, tmp_path: Path, what: str, read_only: bool, kind: str, text: str
) -> None:
    path = tmp_path / "x.duckdb"
    make(path, what)
    with pytest.raises(DuckDBError, match=text) as caught:
        db.attach(path, "x", read_only=read_only)
    assert caught.value.kind == kind
    assert str(path) in caught.value.what


HOLD = """
import sys, pathlib, tempfile
from sfsync.engine.duckdb import DuckDB
db = DuckDB(temp_directory=pathlib.Path(tempfile.gettempdir()))
db.attach(pathlib.Path(sys.argv[1]), "held")
db.execute("CREATE TABLE IF NOT EXISTS held.main.t (a INTEGER)")
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("read_only", [True, False])
def test_a_locked_file_names_the_process(db: DuckDB, tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "held.duckdb"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=-1, stdout=-1, text=True)
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "ready\n"
        with pytest.raises(DuckDBError) as caught:
            db.attach(path, "mine", read_only=read_only)
    finally:
        holder.communicate("\n", timeout=20)
    assert (caught.value.kind, caught.value.pid) == ("locked", holder.pid)
    assert f"pid {holder.pid}" in caught.value.what
    db.attach(path, "mine", read_only=read_only)


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("SELEC 1", "sql"),
        ("SELECT nope", "sql"),
        ("SELECT * FROM nope", "sql"),
        ("SELECT CAST('x' AS INTEGER)", "data"),
        ("INSERT INTO one VALUES (1), (1)", "constraint"),
    ],
)
def test_refused_statements_keep_the_first_paragraph(db: DuckDB, sql: str, kind: str) -> None:
    db.execute("CREATE TABLE one (a INTEGER PRIMARY KEY)")
    with pytest.raises(DuckDBError) as caught:
        db.execute(sql)
    assert caught.value.kind == kind
    assert "\n" not in caught.value.what
    assert "LINE 1" not in caught.value.what


def test_too_little_memory_says_so(tmp_path: Path) -> None:
    small = DuckDB(memory_limit="20MB", threads=1, temp_directory=tmp_path / "spill")
    small.execute("SET max_temp_directory_size = '1MB'")
    with pytest.raises(DuckDBError) as caught:
        small.execute(
            "CREATE TABLE t AS SELECT i, random() AS r, repeat('x', 100) || i FROM range(1000000) AS t(i) ORDER BY r"
        )
    assert caught.value.kind in ("memory", "disk")
    assert caught.value.fix
    small.close()


def _sort_wide_rows(db: DuckDB, folder: Path) -> int:
    texts = ", ".join(f"'text of column {n} ' || hash(i + {n}) AS c{n}" for n in range(14))
    db.attach(folder / "run.duckdb", "r", scratch=True)
    with db.uncompressed():
        db.execute(f"CREATE TABLE r.main.t AS SELECT {texts} FROM range(200000) AS x(i)")
        db.execute("CREATE TABLE r.main.sorted AS SELECT * FROM r.main.t ORDER BY c3, c0")
    return int(db.value("SELECT count(*) FROM r.main.sorted"))


def test_many_threads_that_find_too_little_memory_give_way_to_one(tmp_path: Path) -> None:
    with closing(DuckDB(memory_limit="130MB", threads=8, temp_directory=tmp_path / "spill")) as db:
        assert _sort_wide_rows(db, tmp_path) == 200_000
        assert db.value("SELECT current_setting('threads')") == 8


def test_there_are_as_many_threads_as_memory_suffices_for(tmp_path: Path) -> None:
    with closing(DuckDB(memory_limit="100MB", temp_directory=tmp_path / "spill")) as db:
        assert db.value("SELECT current_setting('threads')") == 1


def test_wrong_settings_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DuckDBError, match="cannot start"):
        DuckDB(memory_limit="lots", temp_directory=tmp_path)


def test_transaction_commits_or_leaves_nothing(db: DuckDB, tmp_path: Path) -> None:
    db.attach(tmp_path / "t.duckdb", "f")
    db.execute("CREATE TABLE f.main.t (a INTEGER)")
    with db.transaction():
        db.execute("INSERT INTO f.main.t VALUES (1)")

    def interrupted() -> None:
        with db.transaction():
            db.execute("INSERT INTO f.main.t VALUES (2)")
            raise KeyboardInterrupt

    def refused() -> None:
        with db.transaction():
            db.execute("INSERT INTO f.main.t VALUES (3)")
            db.execute("SELECT nope")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(DuckDBError):
        refused()
    assert db.execute("SELECT a FROM f.main.t") == [(1,)]


def test_a_cursor_works_beside_the_first_session_and_looks_up_the_same_names(
    db: DuckDB, tmp_path: Path
) -> None:
    db.attach(tmp_path / "t.duckdb", "f")
    db.execute("CREATE TABLE f.main.t AS SELECT range AS a FROM range(1000)")
    db.use("f")
    other, seen = db.cursor(), []
    thread = threading.Thread(target=lambda: seen.append(other.value("SELECT COUNT(*) FROM t")))
    thread.start()
    assert db.value("SELECT COUNT(*) FROM t") == 1000
    thread.join()
    other.close()
    assert seen == [1000]
    db.detach("f")
    assert db.value("SELECT current_database()") == "memory"


def test_interrupt_stops_a_statement_from_another_thread(db: DuckDB) -> None:
    timer = threading.Timer(0.3, db.interrupt)
    timer.start()
    with pytest.raises(InterruptedRunError):
        db.execute("SELECT SUM(a.i * b.i) FROM range(300000) AS a(i), range(300000) AS b(i)")
    timer.join()
    assert db.value("SELECT 1") == 1


def test_copy_csv_is_what_bulk_reads(db: DuckDB, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    select = "SELECT 'a,b' AS \"A\", 'x\"y' AS \"B__c\", 'l1\nl2' AS c, NULL AS d, '#N/A' AS e, 'é ' AS f"
    assert db.copy_csv(select, path) == 1
    assert path.read_bytes() == 'A,B__c,c,d,e,f\n"a,b","x""y","l1\nl2",,"#N/A",é \n'.encode()
    assert path.stat().st_mode & 0o777 == 0o600
    assert db.copy_csv("SELECT 1 AS a", path) == 1
    assert path.read_bytes() == b"a\n1\n"
    assert db.copy_csv("SELECT 1 AS a WHERE FALSE", path) == 0
    assert path.read_bytes() == b"a\n"


def test_csv_keeps_the_order_asked_for(db: DuckDB, tmp_path: Path) -> None:
    path = tmp_path / "many.csv"
    db.copy_csv("SELECT i FROM (SELECT range AS i FROM range(300000)) ORDER BY hash(i)", path)
    written = path.read_text().splitlines()[1:]
    assert written == [str(r[0]) for r in db.execute("SELECT range FROM range(300000) ORDER BY hash(range)")]


@pytest.mark.parametrize(
    ("given", "most"), [("512KB", 512_000), ("256MB", 256e6), ("1GB", 1e9), ("3TiB", 3 * 1024**4)]
)
def test_the_memory_limit_in_bytes(tmp_path: Path, given: str, most: float) -> None:
    """DuckDB tells it with one digit after the point."""
    db = DuckDB(memory_limit=given, temp_directory=tmp_path)
    try:
        assert most * 0.999 <= db.memory_limit <= most * 1.001
    finally:
        db.close()
