"""What every form of the plan says in the same words: totals, the last line, groups of refused rows.

Owns:      the sums over a plan's syncs and the sentences that text and Markdown share.
Does not:  lay anything out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sfsync.child_objects import Below
from sfsync.plan.plan import Plan, RejectedRow, Sample, SyncPlan
from sfsync.report.words import api_text, cut, number, plural, safe

CASCADES_SHOWN = 12
"""Lookups in one sentence; plan.json has all."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts of a plan, over all its syncs, refused ones included."""

    create: int
    update: int
    fields: int
    delete: int
    retire: int
    unchanged: int
    rejected: int
    held: int
    waiting: int
    gone: int
    restore: int
    submitted: int
    stopped: int
    deferred: int  # what the org would have to be asked about
    conflict: int


def totals(plan: Plan) -> Totals:
    """Sum the syncs of a plan."""
    found = [item.changes for item in plan.syncs]
    return Totals(
        create=sum(c.upserts for c in found),
        update=sum(c.updates for c in found),
        fields=sum(c.updated_fields for c in found),
        delete=sum(c.deletes for c in found),
        retire=sum(c.retires for c in found),
        unchanged=sum(c.unchanged for c in found),
        rejected=sum(c.refused for c in found),
        held=sum(c.held for c in found),
        waiting=sum(c.waiting for c in found),
        gone=sum(c.gone + c.gone_stops for c in found),
        restore=sum(c.undeletes for c in found),
        submitted=sum(c.aside.submitted + c.aside.submitted_deletes for c in found),
        stopped=sum(c.aside.stopped + c.aside.stopped_deletes for c in found),
        deferred=sum(c.unasked + c.unread for c in found),
        conflict=sum(c.conflicts for c in found),
    )


def last_line(plan: Plan) -> str:
    """``Plan: 120 to create, 45 to update (61 fields), 3 to delete, 2 rejected. API: 7 calls; ...``"""
    t = totals(plan)
    api = plan.api
    spent = api_text(api.calls, api.allowed, api.left_in_org, api.seen_at, plan.created_at)
    restore = f" {number(t.restore)} to restore," if t.restore else ""
    retire = f" {number(t.retire)} to retire," if t.retire else ""
    return (
        f"Plan: {number(t.create)} to create,{restore} {number(t.update)} to update ({plural(t.fields, 'field')}),"
        f"{retire} {number(t.delete)} to delete, {number(t.rejected)} rejected. {spent}"
    )


def nothing_to_do(plan: Plan) -> str | None:
    """A sentence for a plan without changes, or None."""
    if plan.has_changes or plan.refusals:
        return None
    if not plan.syncs:
        return "No changes. The selection has no sync."
    t = totals(plan)
    if t.submitted or t.stopped:
        return "No changes can be sent before the jobs of earlier runs have ended."
    if t.rejected or t.held or t.waiting or t.gone or t.deferred or t.conflict:
        return "No changes. Nothing can be sent; the rows above need attention first."
    return "No changes. The org has what the models say, as far as sfsync has seen."


def budget_notes(plan: Plan) -> list[str]:
    """Sentences about a budget that is too small, and about calls that planning itself made."""
    api = plan.api
    notes = []
    refusing = [i.sync.name for i in plan.syncs if str(i.sync.on_limit) == "refuse" and i.batches]
    ends = (
        f"run would refuse: {', '.join(refusing)} says on_limit: refuse"
        if refusing
        else "run would send by priority up to the limit and defer the rest to the next run"
    )
    needs = (("API call", api.calls, api.allowed), ("Bulk batch", api.batches, api.batches_allowed))
    for noun, count, allowed in needs:
        if allowed is not None and count > allowed:
            notes.append(
                f"The plan needs {plural(count, noun)} and {number(allowed)} are allowed now; {ends}."
            )
    if api.planning_calls:
        notes.append(f"Planning itself made {plural(api.planning_calls, 'API call')}.")
    return notes


def calls_by_way(plan: Plan) -> str:
    """``2 collections, 5 bulk``."""
    return ", ".join(f"{number(calls)} {way}" for way, calls in plan.api.by_way if calls)


def bulk_batches(plan: Plan) -> str:
    """``Bulk batches: 5; 3,737 allowed``; nothing for a plan without Bulk jobs."""
    api = plan.api
    if not api.batches:
        return ""
    return f"Bulk batches: {number(api.batches)}; {'any' if api.batches_allowed is None else number(api.batches_allowed)} allowed"


def update_detail(item: SyncPlan) -> str:
    """Which fields the updates change, and how many of them adopt a record that the org turned out to have."""
    adopted = item.changes.matched - item.changes.adopted
    parts = [f"{number(adopted)} of them adopted" if adopted else "", fields_text(item)]
    return "; ".join(part for part in parts if part)


def fields_text(item: SyncPlan) -> str:
    """``Email 40, Phone 21``: how often each field changes."""
    return ", ".join(f"{name} {number(count)}" for name, count in item.fields)


def missing_text(more_runs: int) -> str:
    """``removed after 2 more runs``: how long records wait whose row is missing."""
    runs = plural(more_runs, "more run")
    return f"removed after {runs} that {'misses' if more_runs == 1 else 'miss'} it (on_removed.after)"


def delete_detail(item: SyncPlan) -> str:
    """What is to be known of the records that are deleted; nothing where all are ours and can come back."""
    adopted = item.changes.adopted_deletes
    notes = ["for good: past the recycle bin, nothing brings them back"] if item.sync.erases else []
    return "; ".join([*([f"{number(adopted)} not made by sfsync"] if adopted else []), *notes])


def cascade_notes(item: SyncPlan) -> list[str]:
    """What goes along with the records that are deleted, and what may keep them: sentences without an end."""
    sync, told = item.sync, item.cascade
    ours = [a for a in told.along if a.first is not None]
    rest = sorted((a for a in told.along if a.first is None), key=lambda a: not a.guarded)
    notes = []
    if rest:
        notes.append(
            f"deleted along with them, whoever made it: {_places([a.below for a in rest], sync.object)}"
        )
    if ours:
        listed = ", ".join(dict.fromkeys(f"{a.below.link.object} by sync {a.first}" for a in ours))
        notes.append(f"deleted before them: {listed}; what sfsync does not know there goes along")
    if told.blocks:
        what = _places(told.blocks, sync.object)
        notes.append(f"refused by Salesforce (DELETE_FAILED) where one has: {what}")
    return notes


def _places(items: Sequence[Below], top: str) -> str:
    """``Contact (AccountId), Invoice_Line__c (Invoice__c, of Invoice__c)``."""
    shown = [
        f"{item.link.object} ({item.link.field}{'' if item.parent == top else f', of {item.parent}'})"
        for item in items[:CASCADES_SHOWN]
    ]
    rest = len(items) - len(shown)
    return ", ".join(shown) + (f" and {number(rest)} more" if rest else "")


def retired_text(item: SyncPlan) -> str:
    """``the row left the model: sets Active__c``: what becomes of the records that are retired."""
    return f"the row left the model: sets {', '.join(field for field, _ in item.sync.removal.set)}"


def new_label(item: SyncPlan) -> str:
    """What is surely to be created, and what the org may have after all."""
    exact = item.changes.asked or item.sync.inserts
    return "to create" if exact else "new to sfsync (create or adopt)"


def new_detail(item: SyncPlan) -> str:
    """How many of the new rows replace records that were gone."""
    again = item.changes.recreated
    return f"{number(again)} of them again: their record is gone from the org" if again else ""


def name_of(sample: Sample, record: str | None) -> str:
    """`` (ai@acme.example)`` after the Id of a record that a lookup was resolved to."""
    name = sample.names.get(record or "")
    return f" ({safe(cut(name, 60))})" if name else ""


def late_text(item: SyncPlan) -> str:
    """Which lookups follow, and why they do."""
    if not item.changes.links:
        return ""
    return f"{', '.join(item.changes.link_fields)}: by Id, when this run has created the parents"


def why_kept(item: SyncPlan) -> str:
    """Why records stay whose row left the model."""
    if item.sync.deletes:
        return "kept in the org: sfsync did not make them (delete_adopted)"
    if item.sync.on_removed == "set":
        return "kept in the org; retired before (on_removed: set)"
    return "kept in the org (on_removed: keep)"


def waiting_for(item: SyncPlan) -> str:
    """``for accounts``: the syncs whose records the waiting rows need, as far as the samples tell."""
    parents = sorted({row.parent for row in item.waiting_rows})
    return f"for {', '.join(parents)}" if parents else ""


def samples_of_code(item: SyncPlan, code: str, field: str | None) -> list[RejectedRow]:
    """The sample rows of one group of refused rows."""
    return [row for row in item.rejected_rows if row.code == code and row.field == field]


def help_text(code: str) -> str:
    """What most likely mends rows that the plan refuses: all of these are sfsync's own refusals."""
    from sfsync.salesforce.status_help import help_of  # most plans refuse nothing

    return help_of(code, ours=True)


def identity_text(row: RejectedRow) -> str:
    """``Customer_Id__c C-17``; a null says so. Not escaped."""
    return ", ".join(
        f"{name} {'(null)' if value in (None, '') else value}" for name, value in row.identity.items()
    )
