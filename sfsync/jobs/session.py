"""Opens what a command works with, wires it, and closes it: project, profile, engine, state, org.

Owns:      the order of opening and closing, paths of a project's private files, the run's identity.
Does not:  decide what a command does (one file per verb) or print.
Invariant: whatever was opened is closed, and the spool is removed, however the command ends.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sfsync.diff.stage import RUN
from sfsync.errors import OrgError, SfsyncError, StateError, register_secret
from sfsync.jobs.kept import find_facts, read_facts
from sfsync.jobs.target import Asked, SignIn, TargetFacts, find_target, keep_target
from sfsync.ports import Clock, Events, NoEvents, SystemClock, UncountedLedger, Workspace
from sfsync.profiles import SECRETS

if TYPE_CHECKING:
    from sfsync.compiler.stored import KeptFacts
    from sfsync.engine.base import Catalog, Warehouse
    from sfsync.engine.duckdb import DuckDB
    from sfsync.jobs.contract_file import ContractFile
    from sfsync.profiles import Profile
    from sfsync.project.facts import ProjectFacts
    from sfsync.project.project import Project
    from sfsync.salesforce.auth import Desk
    from sfsync.salesforce.door import Door
    from sfsync.salesforce.login import Login
    from sfsync.salesforce.logins import Logins
    from sfsync.state.ledger import StateLedger
    from sfsync.state.lock import Patience
    from sfsync.state.store import StateStore

MEMORY_LIMIT = "256MB"
"""Of the run's own DuckDB; it spills to disk beyond. Profiles may raise it (`memory_limit`)."""


@dataclass(frozen=True)
class Options:
    """What every command is given."""

    project_dir: Path = Path()
    profiles_dir: Path | None = None
    target: str | None = None
    vars: Mapping[str, Any] = field(default_factory=dict)
    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=lambda: os.environ)
    daily_batches: int | None = None
    """Bulk batches this project may start in any 24 hours; None: a quarter of what the platform allows."""
    wait_s: float = 0.0
    """How long to wait for a state that another process holds."""
    offline: bool = False
    """Never connect to the org; what would have to is an error."""
    clock: Clock = field(default_factory=SystemClock)
    events: Events = field(default_factory=NoEvents)


class Session:
    """One command's open connections. Everything is opened at first use; `with` closes it."""

    def __init__(self, options: Options, command: str) -> None:
        self.options = options
        self.command = command
        self.clock = options.clock
        self.events = options.events
        self._stack = ExitStack()
        now = self.clock.now()
        self.run_id = f"{now:%Y%m%dT%H%M%S}-{os.urandom(3).hex()}"
        self.started_at = now
        self._store: StateStore | None = None
        self.follows_contract = True
        """Whether the contract in git chooses the API version where profiles.yml does not."""

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if getattr(error, "kind", None) != "damaged" or self._store is None or self._store.path is None:
            self._stack.close()
            return
        with suppress(SfsyncError):  # of a file that is damaged, closing may fail again
            self._stack.close()
        from sfsync.state.store import DAMAGED

        whose = f"the state {self._store.name}"
        if self.target.database is not None:
            whose += f" or the warehouse {self.target.database} (`sfsync state check` tells whether it is the state)"
        raise StateError(f"a file is damaged: {whose}: {error}", fix=DAMAGED) from None

    @cached_property
    def root(self) -> Path:
        """The project folder, absolute; links stay as the user wrote them."""
        return Path(os.path.abspath(self.options.project_dir))  # noqa: PTH100

    @property
    def private(self) -> Path:
        """The project's folder for state, seeds, spool and what was compiled."""
        return self.root / ".sfsync"

    @cached_property
    def project(self) -> Project:
        """The project folder, read and checked."""
        from sfsync.project.load import load_project  # late: a project that did not change is not read again

        return load_project(self.root, vars=self.options.vars)

    @cached_property
    def kept_facts(self) -> KeptFacts:
        """The project's facts with what they were read from: as they were kept, else from the project."""
        found = find_facts(self.root, self.private)
        return found or read_facts(self.root, lambda: self.project)

    @property
    def facts(self) -> ProjectFacts:
        """What the project is, without its SQL and its mappings."""
        return self.kept_facts.facts

    @cached_property
    def _asked(self) -> Asked:
        return Asked(
            self.root,
            self.facts.profile,
            self.options.target,
            self.options.profiles_dir,
            self.options.env,
            {**self.facts.vars, **self.options.vars},
        )

    @cached_property
    def _keyed_profile(self) -> tuple[str | None, Profile]:
        """The profile, and what it was made of just before it was read."""
        from sfsync.profiles import load_profile

        asked = self._asked
        key = asked.key()
        return key, load_profile(
            asked.root,
            asked.profile,
            target=asked.target,
            profiles_dir=asked.profiles_dir,
            env=asked.env,
            vars=asked.vars,
        )

    @property
    def profile(self) -> Profile:
        """The chosen target with all its settings and secrets; the secrets are registered from now on."""
        return self._keyed_profile[1]

    @cached_property
    def target(self) -> TargetFacts:
        """The chosen target without its secrets."""
        found = find_target(self._asked, self.private)
        return found or keep_target(self._asked, self.private, *self._keyed_profile)

    @cached_property
    def contract_file(self) -> ContractFile | None:
        """The org's contract in git, if the target has one.

        Raises:
            SpecError: it cannot be read.
        """
        from sfsync.jobs.contract_file import read_contract  # late: most targets have none

        return read_contract(self.root, self.target)

    @cached_property
    def credentials(self) -> Mapping[str, str]:
        """Who signs in to the org, by settings; from now on all secrets of the target are registered."""
        target, env = self.target, self.options.env
        if target.sources is None:
            return self.profile.org.credentials
        found = dict(target.sign_in.names) if target.sign_in is not None else {}
        for place, variable in target.sources.items():
            part, setting = place.split(".")
            if setting in SECRETS:
                register_secret(env[variable])
            if part == "org":
                found[setting] = env[variable]
        return found

    @cached_property
    def workspace(self) -> Workspace:
        """The project's own folders."""
        return Workspace(self.root, self.root / self.facts.target_path, self.private)

    @property
    def state_path(self) -> Path:
        """The state file of the target."""
        return self.workspace.private / f"{self.target.target}.duckdb"

    @property
    def is_local(self) -> bool:
        """Whether the target's org is the embedded one."""
        return self.target.is_local

    @cached_property
    def spool(self) -> Path:
        """A private folder of this run, removed at the end."""
        path = self.workspace.new_spool(self.run_id)
        self._stack.callback(self.workspace.drop_spool, self.run_id)
        return path

    @cached_property
    def db(self) -> DuckDB:
        """The run's engine, with the run's own file attached."""
        from sfsync.engine.duckdb import DuckDB

        spool = self.spool
        limit = self.target.memory_limit or MEMORY_LIMIT
        db = DuckDB(memory_limit=limit, temp_directory=spool / "spill")
        self._stack.callback(db.discard)
        db.attach(spool / "run.duckdb", RUN, scratch=True)
        return db

    @cached_property
    def warehouse(self) -> Warehouse:
        """The user's database."""
        from sfsync.jobs.warehouses import open_warehouse

        warehouse = open_warehouse(
            self.target,
            lambda: self.profile,
            self.db,
            self.workspace.private / f"{self.target.target}.seeds.duckdb",
        )
        self._stack.callback(warehouse.close)
        return warehouse

    @cached_property
    def catalog(self) -> Catalog:
        """The warehouse's tables."""
        return self.warehouse.catalog()

    @property
    def store(self) -> StateStore:
        """The state, for reading."""
        return self.open_store(write=False)

    @property
    def patience(self) -> Patience:
        """How long this command waits for a state that another process holds, and whom it tells."""
        from sfsync.state.lock import Patience

        return Patience(self.options.wait_s, lambda text: self.events.log("info", text))

    def open_store(self, *, write: bool, starts_empty: bool | None = None) -> StateStore:
        """Open the state once; a later call with `write` takes the lease on what is open."""
        from sfsync.state.store import open_state

        if self._store is None:
            self._store = open_state(
                self.db,
                self.state_path,
                self.clock,
                self.command,
                write=write,
                starts_empty=self.is_local if starts_empty is None else starts_empty,
                patience=self.patience,
            )
            self._stack.callback(self._store.close)
        elif write:
            self._store.write()
        return self._store

    def open_existing(self, *, write: bool) -> StateStore:
        """The state of the target, which must be there and belong to the target's org; what looks after it opens it so.

        Raises:
            StateError: missing, or of another org.
        """
        store = self.open_store(write=write, starts_empty=False)
        self.check_owner()
        return store

    def close_store(self) -> None:
        """Detach the state and give its lease back before the session ends."""
        if self._store is not None:
            self._store.close()
            self._store = None

    @cached_property
    def ledger(self) -> StateLedger:
        """The account of API calls and Bulk batches in the state."""
        from sfsync.salesforce.limits import MAX_BULK_BATCHES_PER_DAY
        from sfsync.state.ledger import DEFAULT_SHARE, Limits, StateLedger

        target = self.target
        batches = self.options.daily_batches
        if batches is None:
            batches = int(MAX_BULK_BATCHES_PER_DAY * DEFAULT_SHARE)
        limits = (
            Limits(daily_batches=batches)
            if target.is_local
            else Limits(target.daily_calls, target.keep_calls, target.keep_share, batches)
        )
        ledger = StateLedger(self.store, limits, self.run_id)
        self._stack.callback(ledger.close)
        return ledger

    @cached_property
    def door(self) -> Door:
        """The counted way to the org, signed in and bound to the state."""
        door = self.open_door()
        store = self.open_store(write=True)
        store.bind(door.token.org_id)
        if store.meta("connection") != self.connection:
            store.set_meta("connection", self.connection)
        door.use_ledger(self.ledger)
        return door

    @property
    def connection(self) -> str:
        """Which org the target leads to, as far as its settings tell without a call; holds no secret."""
        if self.target.sign_in is not None:
            return self.target.sign_in.login_url
        from sfsync.local_org import control

        return f"local {control.org_id(self.org_folder)}"

    @property
    def is_new_connection(self) -> bool:
        """Whether the target's settings are not those the state was bound with: it may be another org."""
        store = self.store
        return store.meta("org_id") is not None and store.meta("connection") != self.connection

    def check_connection(self) -> None:
        """Sign in where the connection is new.

        Raises:
            StateError: the state belongs to another org.
        """
        if self.is_new_connection:
            self.events.log("info", "the connection is new to the state: signing in to see whose org it is")
            assert self.door is not None  # noqa: S101 - opening it binds or refuses

    def check_owner(self) -> None:
        """The same for a command that asks the org nothing and writes nothing by it.

        Raises:
            StateError: the state belongs to another org.
        """
        if self.is_new_connection:
            self.events.log("info", "the connection is new to the state: signing in to see whose org it is")
            self.store.check_org(self.open_door().token.org_id)

    def open_door(self) -> Door:
        """A way to the org that is not counted yet and bound to no state; the local org is started if need be.

        Raises:
            OrgError: offline.
        """
        if self.options.offline:
            what = "this needs the org, and --offline forbids to connect to it"
            raise OrgError(what, fix="leave --offline out")
        from sfsync.salesforce.door import open_door
        from sfsync.salesforce.login import Login

        given = self.target.sign_in
        if given is None:
            from sfsync.local_org import control

            schema = self.target.org_schema
            local = control.start(self.org_folder, schema=Path(schema) if schema is not None else None)
            login = Login(
                "client_credentials", local.url, client_id=local.client_id, client_secret=local.client_secret
            )
            ca_file: Path | None = local.ca_file
            version = None
        else:
            login = self.login(given)
            ca_file = Path(given.ca_file) if given.ca_file is not None else None
            version = given.api_version
            if version is None and self.follows_contract and self.contract_file is not None:
                version = self.contract_file.contract.api_version
        door = open_door(
            login,
            ledger=UncountedLedger(),
            clock=self.clock,
            ca_file=ca_file,
            threads=self.target.threads,
            api_version=version,
            logins=self.logins,
        )
        self._stack.callback(door.close)
        if version is not None:
            door.check_version()
        return door

    def login(self, given: SignIn) -> Login:
        """How to sign in to the target's org, secrets included."""
        from sfsync.salesforce.login import Login

        return Login(given.auth, given.login_url, **self.credentials, **given.settings)

    @property
    def logins(self) -> Logins:
        """The logins that this user keeps on this machine."""
        from sfsync.salesforce.logins import Logins, config_folder

        return Logins(config_folder(self.options.env))

    def desk(self, given: SignIn) -> Desk:
        """Where to sign in to the target's org, beside any door."""
        from sfsync.salesforce.auth import Desk
        from sfsync.salesforce.transport import Transport

        ca_file = Path(given.ca_file) if given.ca_file is not None else None
        transport = Transport(ca_file=ca_file, connections=1)
        self._stack.callback(transport.close)
        return Desk(transport, self.clock, self.logins)

    def target_facts(self) -> dict[str, str]:
        """What models and artifacts may know of the target; never a secret."""
        return {
            "name": self.target.target,
            "type": self.warehouse.kind,
            "schema": self.catalog.default_schema,
            "profile_name": self.target.profile,
        }

    @property
    def org_folder(self) -> Path:
        """Where the embedded org keeps its data."""
        return self.workspace.private / "org"
