"""A whole state as a folder of Parquet files, and a state file made of such a folder.

Owns:      the folder's form (manifest.json with counts and digests, one Parquet file a table) and checking it.
Does not:  know which org the target leads to (jobs asks).
Invariant: a folder or a state file appears whole, by rename, or not at all; both can be read by their owner only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sfsync import __version__
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.engine.duckdb import DuckDB, DuckDBError
from sfsync.errors import StateError
from sfsync.ports import write_private, writing
from sfsync.state.migrations import VERSION, migrate
from sfsync.state.snapshots import COLUMNS
from sfsync.state.store import CATALOG, CONTROL, StateStore

FORMAT = 1
MANIFEST = "manifest.json"
_NEW = "sfsync_new"
_FILE_NAME = re.compile(r"[a-z]+\.[A-Za-z0-9_]{1,80}\.parquet")


@dataclass(frozen=True, slots=True)
class TableFile:
    """One table of an export. file: its name in the folder."""

    schema: str  # main | snapshot
    table: str
    file: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SyncLine:
    """A sync of the registry, for people who look at the manifest."""

    sync: str
    object: str
    identity: tuple[str, ...]
    records: int
    tombstones: int


@dataclass(frozen=True, slots=True)
class ExportManifest:
    """What stands in an export's manifest.json."""

    format: int
    sfsync: str
    state_version: int
    org_id: str | None
    target: str
    exported_at: str  # ISO 8601, UTC
    syncs: tuple[SyncLine, ...]
    files: tuple[TableFile, ...]

    @property
    def rows(self) -> int:
        return sum(item.rows for item in self.files)

    @property
    def records(self) -> int:
        return sum(item.records for item in self.syncs)


# ------------------------------------------------------------ out


def export(store: StateStore, folder: Path, target: str) -> ExportManifest:
    """Write every table of an open state into a new folder.

    Raises:
        StateError: there is something at that path already.
        SfsyncError: it cannot be written.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise StateError(
            f"there is something at {folder} already", fix="name a folder that does not exist yet"
        )
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o700)
    try:
        files = tuple(_write(store.db, part, schema, table) for schema, table in _tables(store.db))
        manifest = ExportManifest(
            format=FORMAT,
            sfsync=__version__,
            state_version=VERSION,
            org_id=store.meta("org_id"),
            target=target,
            exported_at=store.clock.now().isoformat(timespec="seconds"),
            syncs=_syncs(store.db),
            files=files,
        )
        write_private(part / MANIFEST, json.dumps(asdict(manifest), indent=1) + "\n")
        with writing(folder):
            part.replace(folder)  # an empty folder gives way, a full one never does
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return manifest


def _tables(db: DuckDB) -> list[tuple[str, str]]:
    return db.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = ? ORDER BY 1, 2", [CATALOG]
    )


def _write(db: DuckDB, folder: Path, schema: str, table: str) -> TableFile:
    name = f"{schema}.{table}.parquet"
    if not _FILE_NAME.fullmatch(name):
        raise StateError(
            f"the state has a table {schema}.{table} that is not sfsync's",
            fix="`sfsync state check` tells more",
        )
    path = folder / name
    rows = int(
        db.value(
            f"COPY (SELECT * FROM {CATALOG}.{ident(schema)}.{ident(table)}) TO {literal(str(path))}"
            " (FORMAT parquet, COMPRESSION zstd)"
        )
    )
    return TableFile(schema, table, name, rows, path.stat().st_size, _sha256(path))


def _syncs(db: DuckDB) -> tuple[SyncLine, ...]:
    found = []
    for sync, object_, identity in db.execute(
        f"SELECT sync, object, identity FROM {CONTROL}.snapshots ORDER BY sync"
    ):
        rows, gone = db.execute(f"SELECT count(*), count(_gone_at) FROM {CATALOG}.snapshot.{ident(sync)}")[0]
        found.append(SyncLine(sync, object_, tuple(json.loads(identity)), rows - gone, gone))
    return tuple(found)


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


# ------------------------------------------------------------ in


def read_manifest(folder: Path) -> ExportManifest:
    """The manifest of an export, checked as far as it stands alone.

    Raises:
        StateError: there is none, it cannot be read, or it is of a newer sfsync.
    """
    path = folder / MANIFEST
    try:
        body = json.loads(path.read_text("utf-8"))
        form, version = int(body["format"]), int(body["state_version"])
    except FileNotFoundError:
        raise StateError(
            f"{folder} is no export of a state: it has no {MANIFEST}",
            fix="name the folder that `sfsync state export` wrote",
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, f"it cannot be read ({type(error).__name__})") from None
    if form > FORMAT or version > VERSION:
        raise StateError(
            f"the export {folder} was written by sfsync {body.get('sfsync', '?')}: format {form}, state version {version};"
            f" this sfsync knows format {FORMAT} and versions up to {VERSION}",
            fix="upgrade sfsync",
        )
    try:
        files = tuple(TableFile(**item) for item in body["files"])
        syncs = tuple(SyncLine(**{**item, "identity": tuple(item["identity"])}) for item in body["syncs"])
        manifest = ExportManifest(**{**body, "files": files, "syncs": syncs})
    except (KeyError, TypeError, AttributeError):
        raise _damaged(path, "it is not in the form of an export") from None
    if version < 1 or not all(_is_sound(item) for item in files):
        raise _damaged(path, "it names a file that no export has")
    return manifest


def _is_sound(item: TableFile) -> bool:
    """Whether a line of the manifest names a file of ours: a path in it could lead anywhere."""
    return (
        isinstance(item.file, str)
        and isinstance(item.rows, int)
        and _FILE_NAME.fullmatch(item.file) is not None
        and item.file == f"{item.schema}.{item.table}.parquet"
        and item.schema in ("main", "snapshot")
    )


def check_files(folder: Path, manifest: ExportManifest) -> None:
    """Every file of an export is there and is what was written.

    Raises:
        StateError: one is missing, cut or changed.
    """
    for item in manifest.files:
        path = folder / item.file
        try:
            size = path.stat().st_size
            digest = _sha256(path) if size == item.bytes else ""
        except OSError as error:
            raise _damaged(path, "it is missing" if not path.exists() else str(error.strerror)) from None
        if size != item.bytes:
            raise _damaged(path, f"it has {size:,} bytes, and {item.bytes:,} were written")
        if digest != item.sha256:
            raise _damaged(path, "its digest is not the one in the manifest")


def _damaged(path: Path, why: str) -> StateError:
    return StateError(
        f"the export is damaged: {path}: {why}", fix="take another copy of the export; nothing was imported"
    )


def is_empty(store: StateStore) -> bool:
    """Whether a state knows nothing yet but its org: no snapshot, no refused row, no open request."""
    tables = ("snapshots", "rejected", "intents", "run_syncs")
    return not any(store.db.value(f"SELECT count(*) FROM {CONTROL}.{name}") for name in tables)


@contextmanager
def built(db: DuckDB, folder: Path, manifest: ExportManifest, state: Path) -> Iterator[Path]:
    """A state file made of an export, beside the place it is for; gone after the block unless it was renamed.

    Raises:
        StateError: a file does not hold what the manifest says.
    """
    path = state.with_name(f"{state.name}.import-{os.getpid()}")
    _remove(path)
    db.attach(path, _NEW)
    try:
        try:
            _fill(db, folder, manifest)
        finally:
            db.detach(_NEW)
        yield path
    finally:
        _remove(path)


def _fill(db: DuckDB, folder: Path, manifest: ExportManifest) -> None:
    migrate(db, f"{_NEW}.main", have=0, to=manifest.state_version)
    for item in manifest.files:
        table = f"{_NEW}.{item.schema}.{ident(item.table)}"
        source = f"read_parquet({literal(str(folder / item.file))})"
        try:
            if item.schema == "snapshot":
                columns = {row[0]: row[1] for row in db.execute(f"DESCRIBE SELECT * FROM {source}")}
                if {name: columns.get(name) for name in COLUMNS} != COLUMNS:
                    raise _damaged(folder / item.file, "it is no snapshot")
                db.execute(f"CREATE TABLE {table} AS SELECT * FROM {source}")
            else:
                # `meta` already has the version that the tables were just made with.
                db.execute(f"DELETE FROM {table}")
                db.execute(f"INSERT INTO {table} BY NAME SELECT * FROM {source}")
            rows = int(db.value(f"SELECT count(*) FROM {table}"))
        except DuckDBError as error:
            raise _damaged(folder / item.file, error.what) from None
        if rows != item.rows:
            raise _damaged(folder / item.file, f"it has {rows:,} rows, and {item.rows:,} were written")
    _check_whole(db, folder, manifest)
    migrate(db, f"{_NEW}.main", have=manifest.state_version)


def _check_whole(db: DuckDB, folder: Path, manifest: ExportManifest) -> None:
    """Nothing was left out of the manifest: version, org, and each sync's snapshot."""
    meta: dict[str, Any] = dict(db.execute(f"SELECT name, value FROM {_NEW}.main.meta"))
    listed = {name for (name,) in db.execute(f"SELECT sync FROM {_NEW}.main.snapshots")}
    tables = {item.table for item in manifest.files if item.schema == "snapshot"}
    control = {item.table for item in manifest.files if item.schema == "main"}
    wanted = {
        name
        for (name,) in db.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = ? AND schema_name = 'main'", [_NEW]
        )
    }
    if meta.get("version") != str(manifest.state_version) or meta.get("org_id") != manifest.org_id:
        raise _damaged(folder / MANIFEST, "it is not the manifest of these files")
    if control != wanted or listed != tables:
        missing = sorted((wanted - control) | (listed ^ tables))
        raise _damaged(folder / MANIFEST, f"it does not list each table once ({', '.join(missing)})")


def keep_account(db: DuckDB, path: Path) -> None:
    """Carry the calls that an otherwise empty, open state has booked over to the file that takes its place."""
    db.attach(path, _NEW)
    try:
        db.execute(
            f"INSERT INTO {_NEW}.main.ledger BY NAME SELECT * FROM {CONTROL}.ledger"
            f" WHERE run_id NOT IN (SELECT run_id FROM {_NEW}.main.ledger WHERE run_id IS NOT NULL)"
        )
    finally:
        db.detach(_NEW)


def _remove(path: Path) -> None:
    for name in (path, path.with_name(path.name + ".wal")):
        name.unlink(missing_ok=True)
