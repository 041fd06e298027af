"""A plan as Markdown, for the comment on a pull request.

Owns:      the table, the folded details, and the escaping of data in both.
Does not:  count or judge (plan).
Invariant: no text from data can end a table cell, open a tag, mention a person or close a code block; the document
           stays under what GitHub takes as one comment; its last line is `plan_values.last_line`.
"""

from __future__ import annotations

import re

from sfsync.plan.plan import Plan, SyncPlan
from sfsync.records import Operation
from sfsync.report import plan_values
from sfsync.report.plan_text import change
from sfsync.report.words import VERB, cut, number, plural, safe

MAX_CHARACTERS = 60_000
"""GitHub refuses a comment of more than 65,536 characters."""

# Entities, not backslashes: they mean the same inside the HTML of <summary>, and never are structure.
_SPECIAL = re.compile(r"[&<>|@#`*~\[\]\\]|(?<![A-Za-z0-9_])_+|_+(?![A-Za-z0-9_])")
_SIGN = {
    Operation.UPSERT: "+",
    Operation.CREATE: "+",
    Operation.UPDATE: "!",
    Operation.DELETE: "-",
    Operation.UNDELETE: "+",
}
_VALUE = 160


def plan_markdown(plan: Plan) -> str:
    """The whole comment, with a line end."""
    head = _head(plan)
    tail = f"{plan_values.last_line(plan)}\n"
    parts: list[str] = []
    room = MAX_CHARACTERS - len(head) - len(tail) - 200
    left_out = 0
    for item in plan.syncs:
        block = _details(item)
        if len(block) > room:
            left_out += 1
            continue
        room -= len(block)
        parts.append(block)
    if left_out:
        parts.append(
            f"_Details of {plural(left_out, 'sync')} do not fit here; `target/plan.json` has them._\n\n"
        )
    return head + "".join(parts) + tail


def escaped(text: str) -> str:
    """Text from data as a reader of the rendered page sees it, inside a table cell or a tag too.

    An underscore inside a word, as in Customer_Id__c, is no emphasis and stays.
    """
    return _SPECIAL.sub(lambda match: "".join(f"&#{ord(char)};" for char in match[0]), safe(text))


def _head(plan: Plan) -> str:
    lines = [f"### sfsync plan: {escaped(plan.project)}, target {escaped(plan.target)}", ""]
    if plan.undo is not None:
        lines += [f"Takes back run `{plan.undo}`.", ""]
    if plan.refusals:
        lines += ["> **Refused.** `sfsync run` would send nothing of these syncs:", ">"]
        for refusal in plan.refusals:
            lines.append(f"> - {escaped(refusal.what)}<br>{escaped(refusal.fix)}")
        lines.append("")
    sentence = plan_values.nothing_to_do(plan)
    if sentence:
        lines += [f"**{sentence}**", ""]
    if plan.syncs:
        lines += _table(plan)
    for warning in plan.warnings:
        lines += [f"> {escaped(warning)}", ""]
    ways = plan_values.calls_by_way(plan)
    if ways:
        lines += [f"API calls by kind: {ways}.", ""]
    bulk = plan_values.bulk_batches(plan)
    if bulk:
        lines += [f"{bulk}.", ""]
    for note in plan_values.budget_notes(plan):
        lines += [note, ""]
    return "\n".join(lines) + "\n"


_COLUMNS = (
    "create",
    "update",
    "delete",
    "unchanged",
    "retire",
    "missing",
    "restore",
    "rejected",
    "held",
    "waiting",
    "gone",
    "submitted",
    "stopped",
    "to adopt",
    "exists",
    "no match",
    "merged",
    "converted",
    "conflict",
    "deferred",
)


def _table(plan: Plan) -> list[str]:
    """One row a sync; a column of outcomes that no sync has is left out, the first four always stand."""
    rows = []
    for item in plan.syncs:
        c = item.changes
        rows.append(
            (
                c.upserts,
                c.updates,
                c.deletes,
                c.unchanged,
                c.retires,
                c.missing.rows,
                c.undeletes,
                c.refused,
                c.held,
                c.waiting,
                c.gone + c.gone_stops,
                c.aside.submitted + c.aside.submitted_deletes,
                c.aside.stopped + c.aside.stopped_deletes,
                c.adopted,
                c.exists,
                c.no_match,
                c.merged,
                c.converted,
                c.conflicts,
                c.unasked + c.unread,
            )
        )
    kept = [i for i in range(len(_COLUMNS)) if i < 4 or any(row[i] for row in rows)]
    lines = [
        "| sync | object | " + " | ".join(_COLUMNS[i] for i in kept) + " | API calls |",
        "| --- | --- | " + " | ".join("---:" for _ in kept) + " | ---: |",
    ]
    for item, row in zip(plan.syncs, rows, strict=True):
        mark = " (refused)" if item.refusals else ""
        numbers = " | ".join(number(row[i]) for i in kept)
        lines.append(
            f"| {escaped(item.sync.name)}{mark} | {escaped(item.sync.object)} | {numbers} | {number(item.calls)} |"
        )
    return [*lines, ""]


def _details(item: SyncPlan) -> str:
    """A folded block of one sync; empty when there is nothing to show."""
    body = [
        *_cascade_lines(item),
        *_field_lines(item),
        *_rejected_lines(item),
        *_waiting_lines(item),
        *_sample_lines(item),
    ]
    if not body:
        return ""
    c = item.changes
    for_good = " for good" if c.deletes and item.sync.erases else ""
    summary = (
        f"{escaped(item.sync.name)}: {number(c.upserts)} new, {number(c.updates)} to update"
        f" ({plural(c.updated_fields, 'field')}), {number(c.deletes)} to delete{for_good}, {number(c.refused)} rejected"
        f"{f', {number(c.retires)} to retire' if c.retires else ''}"
        f"{f', {number(c.undeletes)} to restore' if c.undeletes else ''}"
    )
    return "\n".join(["<details>", f"<summary>{summary}</summary>", "", *body, "</details>", "", ""])


def _cascade_lines(item: SyncPlan) -> list[str]:
    lines = []
    for note in plan_values.cascade_notes(item):
        lines += [f"{escaped(note[0].upper() + note[1:])}.", ""]
    return lines


def _field_lines(item: SyncPlan) -> list[str]:
    lines = []
    if item.fields:
        changed = ", ".join(f"{escaped(f)} {number(n)}" for f, n in item.fields)
        lines += [f"Fields that change: {changed}.", ""]
    if item.changes.links:
        records = plural(item.changes.links, "record")
        lines += [f"Lookups sent afterwards for {records}: {escaped(plan_values.late_text(item))}.", ""]
    return lines


def _rejected_lines(item: SyncPlan) -> list[str]:
    if not item.rejected:
        return []
    lines = ["| rejected | field | rows | likely fix | for example |", "| --- | --- | ---: | --- | --- |"]
    for code, field, rows in item.rejected:
        found = plan_values.samples_of_code(item, code, field)[:2]
        examples = "<br>".join(
            escaped(cut(f"{plan_values.identity_text(row)}: {row.message}", 2 * _VALUE))
            + (" (held)" if row.known else "")
            for row in found
        )
        fix = plan_values.help_text(code)  # our own words; what is code in it shall look so
        lines.append(f"| {escaped(code)} | {escaped(field or '')} | {number(rows)} | {fix} | {examples} |")
    return [*lines, ""]


def _waiting_lines(item: SyncPlan) -> list[str]:
    if not item.waiting_rows:
        return []
    lines = [f"Waiting rows: {number(item.changes.waiting)}, for example", ""]
    for row in item.waiting_rows:
        lines.append(
            f"- {escaped(cut(row.key, 80))}: {escaped(row.field)} refers to {escaped(cut(row.parent_key, 80))}"
            f" of {escaped(row.parent)}"
        )
    return [*lines, ""]


def _sample_lines(item: SyncPlan) -> list[str]:
    """Sample records as a diff, in a fence longer than any run of backticks inside."""
    if not item.samples:
        return []
    lines = []
    for sample in item.samples:
        sign = _SIGN[sample.operation]
        lines.append(
            f"{sign} {'retire' if sample.retires else VERB[sample.operation]} {cut(safe(sample.key), _VALUE)}"
        )
        for field, (before, after) in sample.changes.items():
            lines.append(
                f"{sign}   {field}: {change(sample.operation, before, after, _VALUE)}{plan_values.name_of(sample, after)}"
            )
    c = item.changes
    more = c.to_send - len(item.samples)
    if more > 0:
        lines.append(f"# and {number(more)} more")
    longest = max((len(run) for run in re.findall(r"`+", "\n".join(lines))), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}diff", *lines, fence, ""]
