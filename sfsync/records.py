"""The values that travel from compile to push: pure, frozen, and free of any engine or connection.

Owns:      Operation, Outcome (the closed enum of what can become of a row), Send, FieldRule, Reference, Way and what it honours,
           Batch, Intent, and the oldest API version.
Does not:  read specs, build SQL, or talk to an org.
Invariant: three states of a wire text everywhere: absent (SQL NULL, not sent), null ('', clears the field), text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

OLDEST_API_VERSION = 46.0
"""The first with all that sfsync asks for. Upsert of a Collection by external id is the youngest of it (Bulk API 2.0 jobs
came with 41, Collections with 42).

Source: REST API Developer Guide, "Upsert Multiple Records with Fewer Round-Trips"; Bulk API 2.0 Developer Guide.
"""


LEAD = "Lead"
"""The object whose records end by being converted; from then on the org refuses to write them."""


class Operation(StrEnum):
    """What one request asks of the org for its rows."""

    UPSERT = "upsert"  # a key unknown to us, by external id, with the whole create payload
    CREATE = "create"  # a key that the org does not have, as a new record: never to be repeated blindly
    UPDATE = "update"  # a record we know, by Id, with the fields that changed
    DELETE = "delete"  # a record we know, by Id
    UNDELETE = "undelete"  # a record that a run deleted, by Id, out of the recycle bin
    LINK = "link"  # a record of this run, by Id, with lookups whose parents the run made no sooner

    @property
    def verb(self) -> Operation:
        """What the org is asked to do: to it a link is an update like any other."""
        return Operation.UPDATE if self is Operation.LINK else self

    @property
    def makes(self) -> bool:
        """Whether its rows have a key that is unknown to us, and no Id yet."""
        return self in (Operation.UPSERT, Operation.CREATE)


class Outcome(StrEnum):
    """Where a row of a run ended. Closed: every staged row and every acted-on removal ends in exactly one."""

    CREATED = "created"
    ADOPTED = "adopted"
    UPDATED = "updated"
    DELETED = "deleted"
    ALREADY_DELETED = "already_deleted"
    RESTORED = "restored"
    UNCHANGED = "unchanged"
    REJECTED = "rejected"
    HELD = "held"
    WAITING = "waiting"
    DEFERRED = "deferred"
    STOPPED = "stopped"
    FAILED = "failed"
    NO_MATCH = "no_match"
    EXISTS = "exists"
    GONE = "gone"
    MERGED = "merged"
    CONVERTED = "converted"
    CONFLICT = "conflict"
    SUBMITTED = "submitted"
    IN_DOUBT = "in_doubt"


class Send(StrEnum):
    """What a field sends in one situation; modes, write policies and null policies are resolved into it once."""

    NEVER = "never"
    VALUE = "value"  # a null is absent
    VALUE_OR_NULL = "value_or_null"  # a null is sent and clears the field
    IF_BLANK = "if_blank"  # a value, where the org has none or still has ours
    REMOVAL = (
        "removal"  # a constant, sent when the row leaves the model or is back; no column of the model has it
    )


class SourceType(StrEnum):
    """The families of column types that the wire projection tells apart."""

    TEXT = "text"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    DECIMAL = "decimal"
    DOUBLE = "double"
    REAL = "real"
    DATE = "date"
    TIMESTAMP = "timestamp"  # without a zone
    TIMESTAMPTZ = "timestamptz"  # an instant
    TIME = "time"
    ARRAY = "array"  # of text
    OTHER = "other"  # refused by name at compile


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a model: its name as the engine spells it, the engine's own type text, and its family."""

    name: str
    type: str
    family: SourceType
    scale: int | None = None  # of a decimal


NO_COLUMN = Column("", "", SourceType.TEXT)
"""Of a field that no column of the model is mapped to."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A parent given by its external id: set through the relationship, cleared through the Id field."""

    relationship: str  # "Account", "Parent__r"
    parent_object: str  # "Account"
    parent_field: str  # "Account_Id__c"
    polymorphic: bool  # the CSV header and the JSON need the parent's type

    @property
    def header(self) -> str:
        """The CSV column that sets it, e.g. ``Account.Account_Id__c`` or ``User:Owner.Ext__c``."""
        path = f"{self.relationship}.{self.parent_field}"
        return f"{self.parent_object}:{path}" if self.polymorphic else path


class OnMissing(StrEnum):
    """What becomes of a lookup that names no record."""

    REJECT = "reject"  # the row is refused: by the org where the lookup travels as a reference
    RESOLVE = "resolve"  # the row is refused before it is sent
    NULL = "null"  # the lookup is cleared
    SKIP_FIELD = "skip_field"  # the lookup is not sent, and the row is looked at again


@dataclass(frozen=True, slots=True)
class Lookup:
    """A parent that is looked for before anything is sent."""

    object: str  # "User"
    field: str  # "Email": what the model's text is of
    on_missing: OnMissing
    to_id: bool  # what is sent is the record's Id; else the text stays what it is, and travels as a reference
    where: str = ""  # SOQL that such records must fit
    kind: str = "record"  # in messages: what they are called
    known: tuple[tuple[str, str], ...] | None = None  # (text, Id) of all there are; None: to be looked for


@dataclass(frozen=True, slots=True)
class FieldRule:
    """One mapping of a sync, resolved once against the spec, the org's describe and the column's type.

    `type` is describe's type name (`string`, `currency`, `multipicklist`, ...). For a lookup with a `reference` the
    wire text is the parent's key text, shaped like the parent's field: `type`, `length`, `precision`, `scale` and
    `case_sensitive` are then the parent field's.
    """

    field: str  # API name as describe spells it
    label: str
    column: Column
    type: str
    on_create: Send
    on_update: Send
    length: int | None = None  # characters
    precision: int | None = None  # digits in all
    scale: int | None = None  # digits after the point
    required: bool = False  # on create: not nillable, no default, createable
    nillable: bool = True
    picklist: tuple[str, ...] | None = None  # the only values allowed; None: any
    case_sensitive: bool = True  # False: keys are folded (ASCII letters)
    reference: Reference | None = None
    truncate: bool = False
    pii: bool = False
    lookup: Lookup | None = None
    constant: str | None = None  # the text of every record; no column of the model is read
    restricts: bool = False  # a lookup: no parent can be deleted while a record refers to it

    @property
    def mapped(self) -> bool:
        """The sync maps it, to a column or a constant; if not, only leaving the model and returning write it."""
        return self.on_update is not Send.REMOVAL

    @property
    def read(self) -> bool:
        """A column of the model stands behind it."""
        return self.column != NO_COLUMN

    @property
    def header(self) -> str:
        """The CSV column that sets the field."""
        return self.reference.header if self.reference is not None else self.field


class Option(StrEnum):
    """What a sync may ask of the way its rows are sent."""

    ALL_OR_NONE = "all_or_none"
    DUPLICATE_RULES = "duplicate_rules"
    ASSIGNMENT_RULE = "assignment_rule"  # the active one
    ASSIGNMENT_RULE_ID = "assignment_rule_id"  # one of them
    UPDATE_MRU = "update_mru"


class Way(StrEnum):
    """The ways to send rows; plan/cost prices them."""

    COLLECTIONS = "collections"  # at most 200 rows; up to five share one Composite call
    MULTIPART = "multipart"  # a Bulk 2.0 job created, filled and closed by one request
    BULK = "bulk"  # a full Bulk 2.0 job
    SOAP = "soap"  # at most 200 Ids of the recycle bin


HONOURS: Mapping[Way, frozenset[Option]] = {
    Way.COLLECTIONS: frozenset(Option),
    Way.MULTIPART: frozenset({Option.ASSIGNMENT_RULE_ID}),
    Way.BULK: frozenset({Option.ASSIGNMENT_RULE_ID}),
    Way.SOAP: frozenset(),  # undelete alone, which no option is about
}
"""What each way can do for a sync that asks for it; a way that cannot is neither priced nor chosen.

Source: REST API Developer Guide, "Headers" (none of these is listed for Bulk API 2.0); Bulk API 2.0 Developer Guide, "Create a
Job" (assignmentRuleId).
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """A run of changes that one request or one job carries: rows with ordinals in [first, last) of the sync's changes."""

    sync: str
    object: str
    operation: Operation
    way: Way
    call: int  # Collections with the same number travel in one Composite; each job has its own
    first: int
    last: int
    bytes: int  # estimate of the body, UTF-8
    calls: int  # API calls it is priced at, polls and results included; 0 where it shares an earlier batch's call
    clearing: tuple[str, ...] = ()  # lookups that this CSV clears instead of sets
    reading: int = (
        0  # rows that one call reads what stands there of, before they are sent; 0: nothing is read
    )
    level: int = 0  # of a sync's deletes: they begin when those of the level before have their answers

    @property
    def reads(self) -> int:
        """API calls that read before this batch, where the batches before it have read for theirs."""
        return -(-self.last // self.reading) + -self.first // self.reading if self.reading else 0

    @property
    def rows(self) -> int:
        return self.last - self.first


@dataclass(frozen=True, slots=True)
class ResultsPlace:
    """The table of the warehouse that outcomes are appended to; plain names."""

    schema: str
    table: str


@dataclass(frozen=True, slots=True)
class Intent:
    """What is about to be sent, in as few words as finding out what became of it takes."""

    sync: str
    object: str
    operation: Operation
    way: Way
    rows: int
    fields: tuple[str, ...]  # that it can write, in the order of `keys`
    keys: tuple[str, ...] | None = None
    """Of each row: a 0 or 1 for each field (1: it is sent), a blank, the key. None for jobs whose answers tell the rows."""
