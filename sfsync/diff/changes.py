"""What the diff of one sync found, and what it was handed.

Owns:      the values alone; rows stand in the run's file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.aside import NOTHING, KeptBack, LeftJob
from sfsync.engine.dialect import Dialect
from sfsync.engine.duckdb import DuckDB
from sfsync.errors import InternalError
from sfsync.records import FieldRule
from sfsync.state.store import StateStore

Match = Callable[[CompiledSync, str, str], int | None]
"""Asks which of the keys in a relation with `_key` the org has, and leaves them in a table of a snapshot's form; how many.

None: nobody could be asked.

`_origin` is adopted; several (`_id` lists the records); converted, of a lead that is none any more.
"""


@dataclass(frozen=True, slots=True)
class Missing:
    """Records whose row is missing and that are not removed yet (on_removed.after)."""

    rows: int = 0
    more_runs: int = 0  # until the first of them are removed
    counts: bool = False  # the run is one that counts


NOT_MISSING = Missing()


@dataclass(frozen=True, slots=True)
class ParentQuestion:
    """Which records of one object have these values in one field.

    keys: a relation with `_key`, as `wire.key_text` makes it of the rule; each once, none NULL.
    """

    object: str
    rule: FieldRule
    keys: str
    where: str  # SOQL
    name: str  # sync and field, in messages


Read = Callable[[CompiledSync, tuple[FieldRule, ...], str, str], None]
"""Reads fields of a sync's records as they are now: those whose Ids are the `_key` of a relation. Leaves a table with `_key`
and a text per rule, which lacks the records that are not there, and all of them where nobody could be asked."""

Confirm = Callable[[CompiledSync, str, str], bool]
"""Reads what now identifies the records whose Ids are the `_key` of a relation, into a table as `Read` leaves it.

False: the budget of API calls does not allow it, and what the table has, if there is one, counts for nothing."""

FindParents = Callable[[ParentQuestion, str], None]
"""Leaves a table with `_key, _record_id`, a line for each record that the org has."""


def nobody_read(sync: CompiledSync, rules: tuple[FieldRule, ...], ids: str, into: str) -> None:
    """A `Read` for those who read nothing of the org."""
    raise InternalError(f"{sync.name} reads its records, and nobody can be asked")


def nobody_asked(question: ParentQuestion, into: str) -> None:
    """A `FindParents` for those who compare nothing with the org."""
    raise InternalError(f"{question.name} asks for its parents, and nobody can be asked")


@dataclass(frozen=True, slots=True)
class Changes:
    """What the diff of one sync found; rows stand in the run's file."""

    sync: CompiledSync
    staged: int
    snapshot_rows: int
    null_keys: int
    upserts: int  # new to sfsync: create or adopt
    recreated: int  # of them: records that were gone
    updates: int
    updated_fields: int  # cells
    deletes: int
    adopted_deletes: int  # of them: records sfsync did not create
    removed_kept: int  # rows that left the model and stay in the org
    removals_held_back: int  # because of null keys
    held_deletes: int  # the org refused them before, and nothing changed since
    completing: int  # of the updates: they only send what is not known of adopted or recovered records
    unchanged: int
    refused: int  # by sfsync, newly
    refused_again: int  # by sfsync, as before: of the held
    held: int
    worn: int  # of the held: failed for passing reasons in too many runs in a row
    waiting: int
    gone: int  # known to be gone and skipped
    gone_stops: int  # known to be gone where the sync stops
    fresh: int  # of the unchanged: their hashes are new
    retires: int = 0  # rows that left the model and whose records get the fields of on_removed: set
    undeletes: int = 0  # that taking a run back brings out of the recycle bin
    links: int = 0  # records whose lookups follow when the parents are made, by a call of their own
    links_waiting: int = (
        0  # of records sent in this run, those whose lookups wait for a parent that is not made
    )
    link_fields: tuple[str, ...] = ()  # these lookups
    only_links: int = 0  # of the updates: nothing but late lookups of a known record
    missing: Missing = NOT_MISSING
    matched: int = 0  # records that the org was asked about and has, in rows that are adopted
    adopted: int = 0  # of them: nothing differs, so nothing is sent
    met: int = 0  # all records that the org was asked about and has, one of a key
    asked: bool = False  # whether what is new to sfsync is new to the org, too
    exists: int = 0  # mode create: the org has the record
    no_match: int = 0  # modes update and delete: the org does not have it
    merged: int = 0  # the record is that of another row by now
    unasked: int = 0  # rows that must not be sent before the org was asked, and it could not be
    converted: int = 0  # leads that are none any more
    conflicts: int = 0  # records that would be deleted, if somebody had not given them another key
    conflict_samples: tuple[str, ...] = ()  # a few of these: ``C-17 (003...)``
    unread: int = 0  # records that would be deleted, if the org could be asked for their keys
    aside: KeptBack = NOTHING  # for jobs of earlier runs

    @property
    def removals(self) -> int:
        """Removed records that `on_removed` acts on, whatever becomes of them."""
        kept = self.held_deletes + self.conflicts + self.unread + self.aside.deletes
        return self.retires + self.deletes + kept

    @property
    def to_send(self) -> int:
        """Rows and removed records that go to the org; one whose lookups follow goes twice."""
        sent = self.upserts + self.updates + self.retires + self.deletes + self.undeletes
        return sent + self.links - self.only_links


@dataclass(frozen=True, slots=True)
class Retired:
    """Judged rows of removed records, by what became of them."""

    retires: int = 0
    fields: int = 0  # cells of them
    held: int = 0
    submitted: int = 0
    stopped: int = 0


@dataclass(frozen=True, slots=True)
class DiffContext:
    """What every sync's diff is handed."""

    db: DuckDB
    store: StateStore
    dialect: Dialect  # of the engine that runs the diff
    upstream: tuple[CompiledSync, ...]  # syncs diffed before this one
    memory: int  # bytes that the join of step one may hold before it spills
    away: tuple[LeftJob, ...] = ()  # of syncs that are not in the project

    match: Match | None = None  # asks the org about unknown keys; None: nobody asks
    find_parents: FindParents = nobody_asked
    read: Read = nobody_read
    confirm: Confirm | None = None  # reads identities before a delete; None: nobody asks
