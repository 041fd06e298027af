"""What compile makes of a project: every sync as one SELECT and a tuple of resolved field rules.

Owns:      Manifest, CompiledModel, CompiledSync, Guards, PushOptions, and manifest.json.
Does not:  render, parse or resolve anything itself (jinja, sql, fields do).
Invariant: rooms after the compiler read these values and never a spec.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sfsync.child_objects import Below
from sfsync.records import Column, FieldRule, Operation, Option, ResultsPlace


class Mode(StrEnum):
    """What a sync does with a row, by whether the org has its record."""

    UPSERT = "upsert"  # create it, or update what differs
    CREATE = "create"  # create it; what is there is left alone
    UPDATE = "update"  # update what differs; what is not there is not made
    DELETE = "delete"  # delete it

    @property
    def creates(self) -> bool:
        return self in (Mode.UPSERT, Mode.CREATE)


class OnRemoved(StrEnum):
    """What happens to a record whose row left the model."""

    KEEP = "keep"
    DELETE = "delete"
    HARD_DELETE = "hard_delete"  # past the recycle bin
    SET = "set"


class OnGone(StrEnum):
    """What happens when a record we knew is not in the org any more."""

    RECREATE = "recreate"
    SKIP = "skip"
    STOP = "stop"


class OnLimit(StrEnum):
    """What happens to what the API budget does not allow."""

    DEFER = "defer"
    REFUSE = "refuse"


class Api(StrEnum):
    """The ways to send that a sync allows."""

    AUTO = "auto"
    BULK = "bulk"
    COLLECTIONS = "collections"


@dataclass(frozen=True, slots=True)
class Guards:
    """The limits a plan refuses itself at; None switches one off. Shares are 0..1."""

    max_deletes: int | None = 500
    max_delete_share: float | None = 0.05
    max_change_share: float | None = 0.5
    max_creates: int | None = None
    max_reject_share: float | None = 0.1
    max_null_keys: int | None = 0
    min_rows: int = 0


@dataclass(frozen=True, slots=True)
class Removal:
    """The details of what becomes of a record whose row left the model; texts as they go on the wire, '' is null."""

    set: tuple[tuple[str, str], ...] = ()  # (field, text): sent once, when the row leaves
    on_return: tuple[tuple[str, str], ...] = ()  # sent when it is back; of fields that are not mapped
    archive: bool = False  # a copy of each record is read and kept before it is deleted
    after: int = 1  # runs in a row that must have missed the row


NO_REMOVAL = Removal()


@dataclass(frozen=True, slots=True)
class PushOptions:
    """What the org shall do with the rows beyond saving them."""

    all_or_none: bool = False
    allow_save: bool = False  # past duplicate rules that only alert
    assignment_rule: bool | str = False  # True: the active one; a text: the Id of one
    update_mru: bool = False

    def needs(self, operation: Operation) -> frozenset[Option]:
        """What a way of sending must be able to do for rows of an operation."""
        if operation is Operation.UNDELETE:
            return frozenset()
        asked = {Option.ALL_OR_NONE: self.all_or_none}
        if operation is not Operation.DELETE:
            asked |= {
                Option.DUPLICATE_RULES: self.allow_save,
                Option.ASSIGNMENT_RULE: self.assignment_rule is True,
                Option.ASSIGNMENT_RULE_ID: isinstance(self.assignment_rule, str),
                Option.UPDATE_MRU: self.update_mru,
            }
        return frozenset(option for option, wanted in asked.items() if wanted)

    def rule_of_job(self, operation: Operation) -> str | None:
        """The Id of the assignment rule that a Bulk job names."""
        writes = operation in (Operation.UPSERT, Operation.UPDATE)
        return self.assignment_rule if writes and isinstance(self.assignment_rule, str) else None


@dataclass(frozen=True, slots=True)
class Take:
    """Records of one sync go along with those of another that they refer to."""

    parent: str  # sync
    child: str  # sync
    field: str  # of the child
    key: FieldRule | None  # of the parent: what the child's snapshot has of it; None: its Id


@dataclass(frozen=True, slots=True)
class CompiledModel:
    """One model: where it stands, its rendered SQL without a trailing semicolon, and what it reads."""

    name: str
    path: str  # relative to the project folder
    sql: str
    refs: tuple[str, ...]  # models and seeds, in order of first use
    sources: tuple[tuple[str, str], ...]  # (source name, table)
    digest: str  # sha256 of sql, hex
    tags: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class CompiledSync:
    """One sync, ready for any engine: rows come from `sql`, texts from `identity` and `fields`."""

    name: str
    object: str  # API name as describe spells it
    object_label: str
    model: str
    path: str
    sql: str  # one SELECT of the columns used, `where` applied, in the warehouse's dialect
    plain_scan: (
        bool  # `sql` is columns of one table with an optional filter: reading it twice is cheap and equal
    )
    identity: tuple[FieldRule, ...]
    fields: tuple[FieldRule, ...]  # identity not included
    timezone: str
    on_removed: OnRemoved
    on_gone: OnGone
    on_limit: OnLimit
    delete_adopted: bool
    clear_on_create: bool
    send_all: bool  # `push.send: all`: updates carry every mapped field
    api: Api
    priority: int
    guards: Guards
    results_all: bool
    retry_rejected_after_s: float
    max_wait_s: float
    max_attempts: int
    undo_exact: bool  # what stands in records is read before it is overwritten
    parents: tuple[str, ...]  # syncs of this project whose records our lookups refer to
    siblings: tuple[str, ...]  # syncs that write the same object
    tags: tuple[str, ...]
    fingerprint: str  # hex; mapping, used contract fields, time zone, projection number
    late: tuple[str, ...] = ()
    """Syncs whose new records our lookups can name only when all are made: ourselves, or one that a circle puts after us."""
    removal: Removal = NO_REMOVAL
    options: PushOptions = PushOptions()
    results_to: ResultsPlace | None = None
    results_clear: bool = False  # there, a masked identity stands as it is
    together: tuple[tuple[str, ...], ...] = ()  # that an update sends together when one of them changes
    order_by: tuple[Column, ...] = ()  # by which rows are sent
    mode: Mode = Mode.UPSERT
    match: bool = False  # the org is asked for the keys that the snapshot does not know
    inserts: bool = False
    """Unknown keys are made by plain creates: there is no external id to upsert by, or the mode is create."""
    verify: int = 0  # records of a run that are read back when all is sent

    below: tuple[Below, ...] | None = ()  # what a delete takes along, or what forbids it; None: not known
    may_cascade: tuple[str, ...] | None = ()  # objects whose records may go along; None: all

    takes: tuple[Take, ...] = ()  # records of this project's syncs that go along

    @property
    def by_id(self) -> bool:
        """Whether rows name their record by its Id."""
        return len(self.identity) == 1 and self.identity[0].type == "id"

    @property
    def making(self) -> Operation:
        """How a record is made that the org does not have."""
        return Operation.CREATE if self.inserts else Operation.UPSERT

    @property
    def deletes(self) -> bool:
        """Records whose row left the model are deleted."""
        return self.on_removed in (OnRemoved.DELETE, OnRemoved.HARD_DELETE)

    @property
    def erases(self) -> bool:
        """They are deleted past the recycle bin: for good."""
        return self.on_removed is OnRemoved.HARD_DELETE

    @property
    def rules(self) -> tuple[FieldRule, ...]:
        """Identity first, then the mapped fields: every text that a snapshot of this sync holds."""
        return self.identity + self.fields


@dataclass(frozen=True, slots=True)
class SyncOutline:
    """A sync as far as the project and the warehouse alone tell: what it reads and maps, nothing checked in the org."""

    name: str
    object: str  # as the spec spells it
    model: str
    source: tuple[str, str] | None  # when `model` is a source()
    path: str
    sql: str
    columns: tuple[tuple[str, str], ...]  # (field, column of the model; '' of a constant), identity first
    identity: tuple[str, ...]  # fields
    models: tuple[str, ...]  # every model below it, in dependency order
    after: tuple[str, ...]  # syncs that write a parent field it looks up, and so go first
    tags: tuple[str, ...] = ()
    description: str = ""
    late: tuple[tuple[str, str], ...] = ()  # (lookup, sync that makes its parents no sooner than we go)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A compiled project: syncs in dependency order, parents first.

    `outlines` has every sync; `syncs` those whose object and parents are known, and only these can be planned.
    """

    project: str
    models: tuple[CompiledModel, ...]
    syncs: tuple[CompiledSync, ...]
    warnings: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]  # sync names by dependency level
    outlines: tuple[SyncOutline, ...] = ()

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Syncs that could not be checked against the org, and so cannot be planned."""
        known = {s.name for s in self.syncs}
        return tuple(o.name for o in self.outlines if o.name not in known)
