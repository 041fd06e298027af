"""The plan as a value: what a run would do, in which requests, and what that costs.

Owns:      Plan, SyncPlan, Sample, RejectedRow; putting a diff's counts and samples, guards and batches together.
Does not:  find changes (diff), pack (batches), price (cost), render (report) or send (push).
Invariant: concatenating the batches of a sync and operation gives back exactly its changes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.changes import Changes
from sfsync.diff.messages import MASK
from sfsync.diff.parents import names_of
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.engine.duckdb import DuckDB
from sfsync.plan.cascade import NOTHING, Cascade
from sfsync.plan.cost import verify_calls
from sfsync.plan.guards import Refusal
from sfsync.records import Batch, FieldRule, Operation

SAMPLES = 5


@dataclass(frozen=True, slots=True)
class Sample:
    """One record as the plan shows it: field -> (what the org acknowledged, what would be sent); None: absent."""

    key: str
    operation: Operation
    changes: Mapping[str, tuple[str | None, str | None]]
    retires: bool = False  # an update of a record whose row left the model
    names: Mapping[str, str] = field(default_factory=dict)
    """Record Ids among the texts -> what the model calls their records, where sfsync looked for them."""


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """One refused row as the plan shows it."""

    identity: Mapping[str, str | None]
    code: str
    field: str | None
    message: str
    known: bool


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """One row that waits for a parent."""

    key: str
    field: str
    parent: str  # the parent's sync
    parent_key: str


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """One sync of the plan."""

    sync: CompiledSync
    changes: Changes
    fields: tuple[tuple[str, int], ...]  # how often each field changes in updates, most first
    rejected: tuple[
        tuple[str, str | None, int], ...
    ]  # (code, field, rows), most first; newly refused and held alike
    rejected_rows: tuple[RejectedRow, ...]
    waiting_rows: tuple[WaitingRow, ...]
    samples: tuple[Sample, ...]
    refusals: tuple[Refusal, ...]
    batches: tuple[Batch, ...]
    warnings: tuple[str, ...]
    cascade: Cascade = NOTHING

    @property
    def calls(self) -> int:
        """API calls this sync is priced at; a call shared by several batches counts where it begins."""
        return sum(batch.calls + batch.reads for batch in self.batches) + self.verifying

    @property
    def verifying(self) -> int:
        """API calls of them that read written records back."""
        written = self.changes.upserts + self.changes.updates + self.changes.retires
        return 0 if self.refusals else verify_calls(min(self.sync.verify, written))

    @property
    def has_changes(self) -> bool:
        return bool(self.changes.to_send)


@dataclass(frozen=True, slots=True)
class ApiBudget:
    """The API account as the plan shows it; None: unknown before the org's first answer."""

    calls: int  # priced
    by_way: tuple[tuple[str, int], ...]
    allowed: int | None  # what this project may still spend now
    ceiling: int | None  # this project's limit for 24 hours
    left_in_org: int | None
    seen_at: datetime | None
    planning_calls: int = 0  # spent by planning itself
    batches: int = 0  # Bulk batches of the day that the plan's jobs count as
    batches_allowed: int | None = None  # what this project may still start now; None: no limit


@dataclass(frozen=True, slots=True)
class Plan:
    """What `run` would do now, syncs in the order they are pushed."""

    run_id: str
    project: str
    target: str
    created_at: datetime
    syncs: tuple[SyncPlan, ...]
    api: ApiBudget
    warnings: tuple[str, ...]
    undo: str | None = None  # the run that this plan takes back

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        return tuple(refusal for item in self.syncs for refusal in item.refusals)

    @property
    def has_changes(self) -> bool:
        return any(item.has_changes for item in self.syncs)


def named(sync: CompiledSync, samples: list[Sample], db: DuckDB) -> tuple[Sample, ...]:
    """With the names of records that lookups were resolved to."""
    fields = [rule.field for rule in sync.fields if rule.lookup and rule.lookup.to_id and not rule.pii]
    out = []
    for sample in samples:
        names: dict[str, str] = {}
        for name in fields:
            ids = [text for text in sample.changes.get(name, ()) if text]
            names |= names_of(sync, name, ids, db)
        out.append(replace(sample, names=names))
    return tuple(out)


def describe_sync(
    changes: Changes,
    refusals: tuple[Refusal, ...],
    batches: tuple[Batch, ...],
    cascade: Cascade,
    db: DuckDB,
) -> SyncPlan:
    """Read what people want to see of one sync's diff from the run's file."""
    sync = changes.sync
    return SyncPlan(
        sync=sync,
        changes=changes,
        fields=_field_counts(changes, db) if changes.updates else (),
        rejected=_rejected(sync, db),
        rejected_rows=_rejected_rows(sync, db),
        waiting_rows=_waiting_rows(sync, db) if changes.waiting else (),
        samples=named(sync, _samples(changes, db), db),
        refusals=refusals,
        batches=batches,
        warnings=_warnings(changes, cascade),
        cascade=cascade,
    )


def _kind(changes: Changes, *, leaving: bool) -> str:
    """SQL condition of the updates that set records of removed rows aside, or of all others."""
    if not changes.retires:
        return "FALSE" if leaving else "TRUE"
    word = "IN" if leaving else "NOT IN"
    return f"_key {word} (SELECT _key FROM {run_table('removed', changes.sync.name)})"


def _field_counts(changes: Changes, db: DuckDB) -> tuple[tuple[str, int], ...]:
    sync, table = changes.sync, run_table("update", changes.sync.name)
    names = ", ".join(ident(rule.field) for rule in sync.fields)
    if changes.retires:
        table = f"(SELECT * FROM {table} WHERE {_kind(changes, leaving=False)}) AS t"
    if changes.links:
        late = f"SELECT {names} FROM {run_table('link', sync.name)} WHERE _first <> '{sync.making}'"
        table = f"(SELECT {names} FROM {table} UNION ALL {late}) AS t"
    counts = ", ".join(f"count({ident(rule.field)})" for rule in sync.fields)
    row = db.execute(f"SELECT {counts} FROM {table}")[0]
    pairs = [(rule.field, int(n)) for rule, n in zip(sync.fields, row, strict=True) if n]
    return tuple(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def _rejected(sync: CompiledSync, db: DuckDB) -> tuple[tuple[str, str | None, int], ...]:
    return tuple(
        db.execute(
            f"SELECT code, field, count(*) FROM {run_table('refused', sync.name)}"
            " GROUP BY code, field ORDER BY count(*) DESC, code, field"
        )
    )


def _rejected_rows(sync: CompiledSync, db: DuckDB) -> tuple[RejectedRow, ...]:
    rows = db.execute(
        f"SELECT identity, code, field, message, known FROM {run_table('refused', sync.name)}"
        f" ORDER BY known, code, _key, message LIMIT {2 * SAMPLES}"
    )
    return tuple(RejectedRow(json.loads(i), code, field, text, known) for i, code, field, text, known in rows)


def _waiting_rows(sync: CompiledSync, db: DuckDB) -> tuple[WaitingRow, ...]:
    rows = db.execute(
        f"SELECT _shown, field, parent, parent_key FROM {run_table('waiting', sync.name)} ORDER BY _key LIMIT {SAMPLES}"
    )
    masked = {rule.field for rule in sync.rules if rule.pii}
    return tuple(
        WaitingRow(shown, field, parent, MASK if field in masked else parent_key)
        for shown, field, parent, parent_key in rows
    )


def _shown(rule: FieldRule, text: str) -> str:
    return f"CASE WHEN {text} <> '' THEN {literal(MASK)} ELSE {text} END" if rule.pii else text


def _samples(changes: Changes, db: DuckDB) -> list[Sample]:
    sync = changes.sync
    out: list[Sample] = []
    groups = (
        (sync.making, False, changes.upserts),
        (Operation.UPDATE, False, changes.updates),
        (Operation.UPDATE, True, changes.retires),
        (Operation.DELETE, False, changes.deletes),
        (Operation.UNDELETE, False, changes.undeletes),
    )
    for operation, leaving in ((operation, leaving) for operation, leaving, rows in groups if rows):
        few = f"{run_table(operation.value, sync.name)} ORDER BY _key LIMIT {SAMPLES}"
        if operation is Operation.UPDATE:
            few = f"{run_table('update', sync.name)} WHERE {_kind(changes, leaving=leaving)} ORDER BY _key LIMIT {SAMPLES}"
        if operation in (Operation.DELETE, Operation.UNDELETE):
            out += [Sample(shown, operation, {}) for (shown,) in db.execute(f"SELECT _shown FROM {few}")]
            continue
        known = operation is Operation.UPDATE
        rules = sync.fields if known else sync.rules
        new = ", ".join(_shown(rule, ident(rule.field)) for rule in rules)
        old = ", ".join(_shown(rule, ident(rule.field + "@")) if known else "NULL" for rule in rules)
        if changes.only_links and known:
            alone = f"SELECT _key, _shown FROM {run_table('link', sync.name)} WHERE _first = ''"
            both = f"SELECT _key, _shown FROM {run_table('update', sync.name)} UNION ALL {alone}"
            few = f"({both}) AS b ORDER BY _key LIMIT {SAMPLES}"
        if known or changes.links:  # with the lookups that follow
            chosen = f"(SELECT _key, _shown FROM {few}) AS t"
            few = f"{run_table('work', sync.name)} AS w JOIN {chosen} USING (_key) ORDER BY _key"
        rows = db.execute(f"SELECT _shown, {new}, {old} FROM {few}")
        for row in rows:
            texts, olds = row[1 : 1 + len(rules)], row[1 + len(rules) :]
            pairs = {
                rule.field: (before, after)
                for rule, before, after in zip(rules, olds, texts, strict=True)
                if after is not None
            }
            out.append(Sample(row[0], operation, pairs, retires=leaving))
    return out


def _warnings(changes: Changes, cascade: Cascade) -> tuple[str, ...]:
    out = []
    name = changes.sync.name
    if not cascade.known:
        out.append(
            f"sync '{name}': what Salesforce deletes along with records of {changes.sync.object} is not known: the contract"
            " is of before sfsync asked; sfsync schema pull asks"
        )
    if changes.removals_held_back:
        out.append(
            f"sync '{name}': {changes.removals_held_back:,} rows left the model, but nothing is deleted while"
            f" {changes.null_keys:,} rows have no key (guards.max_null_keys)"
        )
    if changes.conflicts:
        more = ", ..." if changes.conflicts > len(changes.conflict_samples) else ""
        out.append(
            f"sync '{name}': {changes.conflicts:,} records that would be deleted have another key in the org by now, or one that"
            f" cannot be told, and are not: {', '.join(changes.conflict_samples)}{more}"
        )
    if changes.unread:
        out.append(
            f"sync '{name}': {changes.unread:,} records are not deleted in this run: the org could not be asked whether they"
            " have another key by now"
        )
    if changes.completing:
        out.append(
            f"sync '{name}': {changes.completing:,} of the updates only complete adopted or recovered records: fields"
            " that the first contact left alone, or whose answer never came"
        )
    if changes.worn:
        out.append(
            f"sync '{name}': {changes.worn:,} of the held rows failed in {changes.sync.max_attempts} runs in a row for"
            " reasons that were to pass (max_attempts); `sfsync retry` tries them again"
        )
    if changes.held_deletes:
        out.append(
            f"sync '{name}': {changes.held_deletes:,} deletes are held: the org refused them, and nothing changed since"
        )
    if changes.adopted_deletes:
        out.append(
            f"sync '{name}': {changes.adopted_deletes:,} of the deletes are records sfsync did not create"
        )
    if changes.deletes and changes.sync.erases:
        out.append(
            f"sync '{name}': {changes.deletes:,} records would be deleted past the recycle bin (on_removed: hard_delete):"
            " neither `--undo` nor anybody brings them back"
        )
    if changes.gone and not changes.gone_stops:
        out.append(
            f"sync '{name}': {changes.gone:,} rows are skipped because their record is gone (on_gone: skip)"
        )
    if changes.links_waiting:
        out.append(
            f"sync '{name}': {changes.links_waiting:,} records are sent without a lookup"
            f" ({', '.join(changes.link_fields)}): the parent is not created in this run, and the lookup waits for it"
        )
    masked = [rule.field for rule in changes.sync.fields if rule.pii]
    if changes.sync.removal.archive and masked and changes.deletes:
        out.append(f"sync '{name}': the copies of deleted records lack masked fields: {', '.join(masked)}")
    if changes.sync.undo_exact and masked and (changes.updates or changes.retires or changes.deletes):
        out.append(
            f"sync '{name}': of masked fields nothing is kept, so they cannot be taken back: {', '.join(masked)}"
        )
    return tuple(out)
