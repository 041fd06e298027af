"""The state file: opened, locked, versioned and bound to one org.

Owns:      attaching the file to the run's engine, the lease for writing, the version check, meta values.
Does not:  know what the tables hold (snapshots, rejected, ledger, history, contracts do).
Invariant: a state that is newer, foreign or damaged is refused with its path and the way out, never reset.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sfsync.engine.duckdb import DuckDB, DuckDBError
from sfsync.errors import StateError
from sfsync.ports import Clock
from sfsync.state.holder import Holder, Watch, locked_error, read_holder
from sfsync.state.lock import NONE, Patience, StateLock, current_holder, patiently
from sfsync.state.migrations import VERSION, migrate

CATALOG = "sfsync_state"
CONTROL = f"{CATALOG}.main"
SNAPSHOT = f"{CATALOG}.snapshot"
DAMAGED = (
    "put a copy of it back; or move it away and bring an export back with `sfsync state import DIR`, or begin anew with"
    " `sfsync state init --empty`"
)
"""The way out of a file that cannot be read."""

READER_PATIENCE_S = 15.0
"""How long a writer waits for commands that only read the file."""


def utc(value: datetime) -> datetime:
    """A stored instant (a TIMESTAMP in UTC) with its zone."""
    return value.replace(tzinfo=UTC)


class StateStore:
    """One attached state. Reading takes no lease; `write` takes it and keeps it until `close`."""

    def __init__(
        self, db: DuckDB, path: Path | None, clock: Clock, command: str, patience: Patience = NONE
    ) -> None:
        self.db = db
        self.path = path
        self.clock = clock
        self._command = command
        self._patience = patience
        self._watch = Watch(clock)
        self._lock: StateLock | None = None
        self._attached = False
        self._secret: str | None = None

    @property
    def writable(self) -> bool:
        return self._lock is not None or self.path is None

    @property
    def name(self) -> str:
        return str(self.path) if self.path is not None else "(in memory)"

    def write(self, *, force: bool = False) -> None:
        """Take the lease and attach for writing, bringing the tables up to date. Does nothing the second time.

        Args:
            force: take the lease from an owner on another machine, although it seems to live.

        Raises:
            StateLockedError: another process holds the state, and longer than this one waits.
            StateError: newer than this sfsync, damaged, or not a state.
        """
        if self.writable and self._attached:
            return
        assert self.path is not None  # noqa: S101 - a state in memory is attached once, by open_state
        lock = StateLock(self.path, self.clock)
        patiently(self.clock, self._patience, lambda: lock.acquire(self._command, force=force))
        self._lock = lock
        if lock.before is not None and not force:
            self._patience.tell(
                f"{lock.before} ended without giving the state back"
                f" ({lock.before.seen_text(self.clock)}): it is taken over"
            )
        try:
            self.detach()
            self._attach(self.path, read_only=False)
            have = self._version(fresh_allowed=True)
            if have < VERSION:
                migrate(self.db, CONTROL, have=have)
                self.secret()  # made now: plans, which only read, then show one record by one digest
        except BaseException:
            self.close()
            raise

    def read(self) -> None:
        """Attach without a lease; an older version is brought up to date first."""
        assert self.path is not None  # noqa: S101
        path = self.path
        patiently(self.clock, self._patience, lambda: self._attach_unless_held(path))
        try:
            if self._version(fresh_allowed=False) < VERSION:
                self.write()
        except BaseException:
            self.close()
            raise

    def check_lease(self) -> None:
        """See that nobody has taken the lease from us.

        Raises:
            StateLockedError: another session has: this one may begin nothing any more.
        """
        if self._lock is not None:
            self._lock.check()

    @property
    def left_by(self) -> Holder | None:
        """Who had the lease before us and never gave it back."""
        return self._lock.before if self._lock is not None else None

    def create_in_memory(self) -> None:
        """An empty state that leaves no trace: what `plan` uses before a first run against the local org."""
        self.db.execute(f"ATTACH ':memory:' AS {CATALOG}")
        self._attached = True
        migrate(self.db, CONTROL, have=0)

    def meta(self, name: str) -> str | None:
        """A single remembered value."""
        rows = self.db.execute(f"SELECT value FROM {CONTROL}.meta WHERE name = ?", [name])
        return rows[0][0] if rows else None

    def set_meta(self, name: str, value: str) -> None:
        with self.db.transaction():
            self.db.execute(f"DELETE FROM {CONTROL}.meta WHERE name = ?", [name])
            self.db.execute(f"INSERT INTO {CONTROL}.meta VALUES (?, ?)", [name, value])

    def secret(self) -> str:
        """A random text of this state's own, for digests that nobody outside can rebuild. Made at first writing."""
        if self._secret is None:
            import secrets  # late: only where something is masked

            kept = self.meta("secret")
            self._secret = kept or secrets.token_hex(16)
            if kept is None and self.writable:
                self.set_meta("secret", self._secret)
        return self._secret

    def bind(self, org_id: str) -> None:
        """Tie an unbound state to an org, or check that it is tied to this one.

        Raises:
            StateError: the state belongs to another org.
        """
        self.check_org(org_id)
        if self.meta("org_id") is None:
            self.set_meta("org_id", org_id)

    def check_org(self, org_id: str) -> None:
        """See that the state is not tied to another org.

        Raises:
            StateError: it is.
        """
        bound = self.meta("org_id")
        if bound is not None and bound != org_id:
            raise StateError(
                f"the state {self.name} belongs to org {bound}, but this connection is to org {org_id}",
                fix="give each org its own target in profiles.yml; to start anew with this org, move the file"
                " away and run `sfsync state init --empty`",
            )

    def close(self) -> None:
        """Detach and give the lease back; safe to call twice."""
        self.detach()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _attach_unless_held(self, path: Path) -> None:
        """Reading what another machine writes would read half of it; this machine's writers lock the file itself."""
        holder = read_holder(path)
        if holder is not None and self._watch.alive(holder):
            raise locked_error(path, holder, self.clock)
        self._attach(path, read_only=True)

    def _attach(self, path: Path, *, read_only: bool) -> None:
        patience = max(READER_PATIENCE_S, self._patience.seconds) if self._lock is not None else 0.0
        try:
            self._attach_patiently(path, read_only, patience)
        except DuckDBError as error:
            if error.kind == "locked":
                holder = None if self._lock is not None else current_holder(path, self.clock)
                raise locked_error(path, holder, self.clock) from None
            fix = error.fix if error.kind in ("newer", "denied") else DAMAGED
            raise StateError(f"the state {error.what}", fix=fix) from None
        self._attached = True

    def _attach_patiently(self, path: Path, read_only: bool, patience_s: float) -> None:
        """Attach; who holds the lease waits for readers, since a `plan` or `status` is done in seconds."""
        until = self.clock.monotonic() + patience_s
        while True:
            try:
                self.db.attach(path, CATALOG, read_only=read_only)
                return
            except DuckDBError as error:
                if error.kind != "locked" or self.clock.monotonic() >= until:
                    raise
            self.clock.sleep(0.25)

    def detach(self) -> None:
        """Let go of the file and keep the lease until `close`."""
        if self._attached:
            self._attached = False
            self.db.detach(CATALOG)

    def _not_a_state(self) -> StateError:
        return StateError(
            f"{self.name} is a DuckDB file but not an sfsync state",
            fix="move the file away and run `sfsync state init --empty`",
        )

    def _version(self, *, fresh_allowed: bool) -> int:
        try:
            text = self.meta("version")
        except DuckDBError:  # no such table: a fresh file, or another program's
            found = "SELECT count(*) FROM duckdb_tables() WHERE database_name = ? AND schema_name = 'main'"
            if fresh_allowed and not self.db.value(found, [CATALOG]):
                return 0
            text = None
        if text is None or not text.isdigit():
            raise self._not_a_state()
        if int(text) > VERSION:
            raise StateError(
                f"the state {self.name} has version {text}; this sfsync knows versions up to {VERSION}",
                fix="upgrade sfsync, or put back the state that belongs to this version",
            )
        return int(text)


def open_state(
    db: DuckDB,
    path: Path,
    clock: Clock,
    command: str,
    *,
    write: bool,
    starts_empty: bool,
    patience: Patience = NONE,
) -> StateStore:
    """Attach the state of a target.

    Args:
        path: the state file.
        command: what the lease's note names, e.g. ``run``.
        write: take the lease now; else reading only, until `StateStore.write` is called.
        starts_empty: a missing file is an empty state (the local org); else it is an error.
        patience: how long to wait for another process that holds it.

    Raises:
        StateError: missing where that is not allowed, foreign, newer, damaged.
        StateLockedError: held by another process.
    """
    if not path.exists() and not starts_empty:
        raise StateError(
            f"no state at {path}: sfsync does not know what this org has acknowledged",
            fix="put back the state of the last run (a CI cache, an artifact), or start anew with"
            " `sfsync state init --empty`: the first run then upserts every row by its external id",
        )
    store = StateStore(db, path, clock, command, patience)
    if write:
        store.write()
    elif path.exists():
        store.read()
    else:
        store = StateStore(db, None, clock, command)
        store.create_in_memory()
    return store
