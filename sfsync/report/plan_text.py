"""A plan as text for people, on a terminal or in a pipe.

Owns:      the order and the words of the text report of a plan.
Does not:  count or judge (plan), or know a terminal (the caller says colour and width).
Invariant: the last line is `plan_values.last_line`, whatever stands above it.
"""

from __future__ import annotations

from sfsync.plan.plan import Plan, Sample, SyncPlan
from sfsync.records import Operation
from sfsync.report import plan_values
from sfsync.report.page import Page, Style
from sfsync.report.words import VERB, listed, number, plural, safe, value, values

SYMBOL = {
    Operation.UPSERT: "+",
    Operation.CREATE: "+",
    Operation.UPDATE: "~",
    Operation.DELETE: "-",
    Operation.UNDELETE: "+",
}
_STYLE = {
    Operation.UPSERT: Style.CREATE,
    Operation.CREATE: Style.CREATE,
    Operation.UPDATE: Style.UPDATE,
    Operation.DELETE: Style.DELETE,
    Operation.UNDELETE: Style.CREATE,
}
FIELDS_SHOWN = 8
"""Fields of one sample record; `verbose` shows all."""
NEW_SHOWN = 2
"""Sample records that are new: two show the shape of all; `verbose` shows every sample."""


def plan_text(plan: Plan, *, color: bool, width: int, verbose: bool = False) -> str:
    """The whole report, with a line end.

    Args:
        width: columns of the terminal; 0 for a pipe, where nothing is wrapped.
        verbose: every sample record with every field.
    """
    page = Page(color=color, width=width)
    page.line(f"sfsync plan: project {safe(plan.project)}, target {safe(plan.target)}", Style.TITLE)
    if plan.undo is not None:
        page.line(f"takes back run {safe(plan.undo)}", Style.QUIET)
    page.line()
    idle = []
    for item in plan.syncs:
        if _is_idle(item):
            idle.append(item)
            continue
        _sync(page, item, verbose=verbose)
        page.line()
    _idle(page, idle)
    _refusals(page, plan)
    sentence = plan_values.nothing_to_do(plan)
    if sentence:
        page.wrapped(sentence, style=Style.GOOD)
    ways = plan_values.calls_by_way(plan)
    if ways:
        page.wrapped(f"API calls by kind: {ways}", hang="  ", style=Style.QUIET)
    bulk = plan_values.bulk_batches(plan)
    if bulk:
        page.wrapped(bulk, hang="  ", style=Style.QUIET)
    for note in plan_values.budget_notes(plan):
        page.wrapped(note, hang="  ", style=Style.WARN if "allowed now" in note else Style.QUIET)
    page.line()
    page.line(plan_values.last_line(plan), Style.TITLE)  # never broken: people and programs look for it
    return page.text()


def _is_idle(item: SyncPlan) -> bool:
    c = item.changes
    others = (
        c.refused
        + c.held
        + c.waiting
        + c.gone
        + c.gone_stops
        + c.removed_kept
        + c.removals_held_back
        + c.missing.rows
        + c.unasked
        + c.conflicts
        + c.unread
    )
    others += c.aside.rows + c.aside.deletes
    return not (item.has_changes or item.refusals or others)


def _idle(page: Page, items: list[SyncPlan]) -> None:
    """Syncs with nothing to say: one line each."""
    for item in items:
        name = page.paint(safe(item.sync.name), Style.TITLE)
        page.line(f"{name} -> {item.sync.object}  {page.paint(_same(item), Style.QUIET)}")
    page.line()


def _same(item: SyncPlan) -> str:
    return f"no changes, {number(item.changes.unchanged)} unchanged"


def _sync(page: Page, item: SyncPlan, *, verbose: bool) -> None:
    calls = plural(item.calls, "API call")
    name = page.paint(safe(item.sync.name), Style.TITLE)
    page.line(
        f"{name} -> {item.sync.object}  {page.paint(f'{number(item.changes.staged)} rows, {calls}', Style.QUIET)}"
    )
    _counts(page, item)
    _refused(page, item)
    _samples(page, item, verbose=verbose)


def _counts(page: Page, item: SyncPlan) -> None:
    c = item.changes
    skipped = c.gone + c.gone_stops
    rows = [
        ("+", c.upserts, plan_values.new_label(item), plan_values.new_detail(item), Style.CREATE),
        ("+", c.undeletes, "to restore", "out of the recycle bin, with their Ids", Style.CREATE),
        ("~", c.updates, "to update", plan_values.update_detail(item), Style.UPDATE),
        ("~", c.retires, "to retire", plan_values.retired_text(item), Style.DELETE),
        (
            "-",
            c.deletes,
            "to delete",
            plan_values.delete_detail(item),
            Style.DELETE,
        ),
        ("~", c.links, "get lookups afterwards", plan_values.late_text(item), Style.UPDATE),
        ("=", c.adopted, "to adopt", "the org has them just so; nothing is sent", Style.QUIET),
        ("=", c.unchanged, "unchanged", "", Style.QUIET),
        ("=", c.exists, "exists", "the org has the record; mode create leaves it alone", Style.QUIET),
        ("!", c.no_match, "without a match", f"the org has no such {item.sync.object}", Style.WARN),
        ("!", c.merged, "merged", "the org has one record for this row and another", Style.WARN),
        ("!", c.converted, "converted", "the lead was converted, and is not written any more", Style.WARN),
        ("!", c.unasked, "deferred", "the org could not be asked whether it has them", Style.WARN),
        ("!", c.conflicts, "conflict", "not deleted: the record has another key by now", Style.WARN),
        ("!", c.unread, "to delete, deferred", "the org could not be asked for their keys", Style.WARN),
        ("!", c.refused, "rejected", "", Style.BAD),
        ("!", c.held, "held", "refused before in the same form; not tried again", Style.WARN),
        ("!", c.waiting, "waiting", plan_values.waiting_for(item), Style.WARN),
        ("!", c.aside.submitted, "submitted", "a job of an earlier run has them", Style.WARN),
        (
            "!",
            c.aside.submitted_deletes,
            "to delete, submitted",
            "a job of an earlier run has them",
            Style.WARN,
        ),
        ("!", c.aside.stopped, "stopped", "wait for the end of a job of an earlier run", Style.WARN),
        ("!", c.aside.stopped_deletes, "to delete, stopped", "wait for the end of a job", Style.WARN),
        ("!", skipped, "gone", "the record is not in the org any more", Style.WARN),
        ("=", c.removed_kept, "left the model", plan_values.why_kept(item), Style.QUIET),
        (
            "=",
            c.missing.rows,
            "missing from the model",
            plan_values.missing_text(c.missing.more_runs),
            Style.QUIET,
        ),
        ("!", c.removals_held_back, "left the model", "not deleted while rows have no key", Style.WARN),
    ]
    shown = [row for row in rows if row[1]]
    width = max((len(number(row[1])) for row in shown), default=1)
    for symbol, count, label, detail, style in shown:
        page.entry(symbol, f"{number(count):>{width}} {label}", detail, style=style)
    for note in plan_values.cascade_notes(item):
        page.wrapped(note, indent="    ", hang="      ", style=Style.WARN)


def _refused(page: Page, item: SyncPlan) -> None:
    """Refused rows by code, with a few of them; rows held by sfsync itself stand among them, marked."""
    if item.rejected:
        page.line()
    style = Style.BAD if item.changes.refused else Style.WARN
    for code, field, rows in item.rejected:
        head = f"{safe(code)}{f' on {field}' if field else ''}: {plural(rows, 'row')}"
        page.entry("!", head, style=style)
        page.wrapped(plan_values.help_text(code), indent="      ", style=Style.QUIET)
        for row in plan_values.samples_of_code(item, code, field)[:3]:
            held = " (held)" if row.known else ""
            page.wrapped(
                f"{safe(plan_values.identity_text(row))}: {safe(row.message)}{held}",
                indent="      ",
                hang="        ",
            )
    for waiting in item.waiting_rows[:3]:
        page.wrapped(
            f"{safe(waiting.key)} waits: {waiting.field} refers to {safe(waiting.parent_key)} of {waiting.parent}",
            indent="    ",
            hang="      ",
            style=Style.QUIET,
        )


def _samples(page: Page, item: SyncPlan, *, verbose: bool) -> None:
    totals = (
        (item.sync.making, False, item.changes.upserts),
        (Operation.UPDATE, False, item.changes.updates),
        (Operation.UPDATE, True, item.changes.retires),
        (Operation.DELETE, False, item.changes.deletes),
        (Operation.UNDELETE, False, item.changes.undeletes),
    )
    for operation, retires, total in totals:
        samples = [s for s in item.samples if s.operation is operation and s.retires == retires]
        if not samples:
            continue
        page.line()
        if operation in (Operation.DELETE, Operation.UNDELETE):
            keys = listed((value_key(page, sample) for sample in samples), len(samples))
            rest = f" and {number(total - len(samples))} more" if total > len(samples) else ""
            page.wrapped(
                f"{SYMBOL[operation]} {keys}{rest}", indent="  ", hang="    ", style=_STYLE[operation]
            )
            continue
        if operation.makes and not verbose:
            samples = samples[:NEW_SHOWN]
        for sample in samples:
            _sample(page, sample, verbose=verbose)
        if total > len(samples):
            verb = "retire" if retires else VERB[operation]
            page.line(f"    and {number(total - len(samples))} more to {verb}", Style.QUIET)


def value_key(page: Page, sample: Sample) -> str:
    """A record's key as samples show it."""
    return safe(sample.key) if len(sample.key) <= 80 else value(sample.key, page.width and 60)


def _sample(page: Page, sample: Sample, *, verbose: bool) -> None:
    style = _STYLE[sample.operation]
    page.line(f"  {SYMBOL[sample.operation]} {value_key(page, sample)}", style)
    changes = list(sample.changes.items())
    shown = changes if verbose else changes[:FIELDS_SHOWN]
    for field, (before, after) in shown:
        room = page.width and max(24, page.width - len(field) - 8)
        page.line(
            f"      {field}: {change(sample.operation, before, after, room)}{plan_values.name_of(sample, after)}"
        )
    if len(changes) > len(shown):
        page.line(f"      … {plural(len(changes) - len(shown), 'more field')}", Style.QUIET)


def change(operation: Operation, before: str | None, after: str | None, width: int) -> str:
    """``"old" -> "new"``, ``(absent) -> "new"``, ``"old" -> (cleared)``; of a new record only what it is given."""
    if operation.makes:
        return "(null)" if after in (None, "") else value(after or "", width)
    room = width and width - len(" -> ")
    if before and after:
        old, new = values(before, after, room)
        return f"{old} -> {new}"
    words = {None: "(absent)", "": "(null)"}
    left = words[before] if not before else value(before, room and room - len("(cleared)"))
    right = (
        {None: "(not sent)", "": "(cleared)"}[after] if not after else value(after, room and room - len(left))
    )
    return f"{left} -> {right}"


def _refusals(page: Page, plan: Plan) -> None:
    if not plan.refusals:
        return
    page.line("Refused; run would send nothing of these syncs", Style.BAD)
    for refusal in plan.refusals:
        page.wrapped(f"! {safe(refusal.what)}", indent="  ", hang="    ", style=Style.BAD)
        page.wrapped(safe(refusal.fix), indent="    ")
    page.line()
