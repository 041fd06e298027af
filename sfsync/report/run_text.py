"""What a run did, as text for people.

Owns:      the order and the words of the report of `run` and `retry`; the sentences of the accounting.
Does not:  count (jobs) or decide the exit code (artifacts).
Invariant: every outcome that a row can end in is named when its count is not zero; both sums are printed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from sfsync.artifacts import Recovered, RejectedSample, Result, Status, SyncResult, Verified
from sfsync.records import Outcome
from sfsync.report.page import Page, Style
from sfsync.report.words import VERB, api_text, duration, number, plural, safe, values

_SYMBOL: Mapping[Outcome, tuple[str, Style]] = {
    Outcome.CREATED: ("+", Style.CREATE),
    Outcome.ADOPTED: ("+", Style.CREATE),
    Outcome.RESTORED: ("+", Style.CREATE),
    Outcome.UPDATED: ("~", Style.UPDATE),
    Outcome.DELETED: ("-", Style.DELETE),
    Outcome.ALREADY_DELETED: ("-", Style.DELETE),
    Outcome.UNCHANGED: ("=", Style.QUIET),
    Outcome.REJECTED: ("!", Style.BAD),
    Outcome.FAILED: ("!", Style.BAD),
    Outcome.IN_DOUBT: ("!", Style.BAD),
}
_WHY: Mapping[Outcome, str] = {
    Outcome.ADOPTED: "the org had a record with this key; it now follows the model",
    Outcome.ALREADY_DELETED: "the record was gone already",
    Outcome.RESTORED: "out of the recycle bin, with its Id",
    Outcome.HELD: "refused before in the same form; not tried again",
    Outcome.WAITING: "the parent is not in the org yet",
    Outcome.DEFERRED: "the API limit did not allow it; the next run goes on there",
    Outcome.STOPPED: "not applied: the run ended first, or an all-or-none request was taken back; the next run goes on",
    Outcome.FAILED: "did not go through; tried again next time",
    Outcome.GONE: "the record is not in the org any more",
    Outcome.CONVERTED: "the lead was converted, and is not written any more",
    Outcome.CONFLICT: "not deleted: the record has another key by now",
    Outcome.IN_DOUBT: "sent, and no answer came; the next run finds out",
    Outcome.SUBMITTED: "sent, and the answer is not known yet",
}
_STATUS: Mapping[Status, tuple[str, Style]] = {
    Status.SUCCESS: ("done", Style.GOOD),
    Status.WARN: ("done, with held rows", Style.WARN),
    Status.PARTIAL: ("incomplete", Style.BAD),
    Status.REFUSED: ("refused, nothing sent", Style.BAD),
    Status.ERROR: ("error", Style.BAD),
    Status.INTERRUPTED: ("interrupted", Style.BAD),
}
_GROUP_ROWS = 3
_ALWAYS = (Outcome.CREATED, Outcome.UPDATED, Outcome.DELETED, Outcome.REJECTED, Outcome.UNCHANGED)
_ORDER = (
    Outcome.CREATED,
    Outcome.ADOPTED,
    Outcome.RESTORED,
    Outcome.UPDATED,
    Outcome.DELETED,
    Outcome.ALREADY_DELETED,
    Outcome.REJECTED,
    Outcome.UNCHANGED,
)


def run_text(result: Result, *, color: bool, width: int) -> str:
    """The whole report, with a line end; width 0: a pipe, nothing is wrapped."""
    page = Page(color=color, width=width)
    took = duration((result.ended_at - result.started_at).total_seconds())
    page.line(
        f"sfsync {result.command}: project {safe(result.project)}, target {safe(result.target)}", Style.TITLE
    )
    page.line(f"{result.run_id}, {took}", Style.QUIET)
    if result.undo is not None:
        page.line(f"takes back run {safe(result.undo)}", Style.QUIET)
    page.line()
    for found in result.recovered:
        _recovered(page, found)
    if result.recovered:
        page.line()
    for item in result.syncs:
        _sync(page, item)
        page.line()
    if not result.syncs:
        page.line("The selection has no sync.")
        page.line()
    if result.reason:
        page.wrapped(f"Ended early: {safe(result.reason)}", hang="  ", style=Style.WARN)
    elif result.interrupted:
        page.line(_interrupted(result), Style.WARN)
    if result.undelivered:
        page.wrapped(safe(result.undelivered), hang="  ", style=Style.BAD)
    if result.undo is not None and any(item.count(Outcome.GONE) for item in result.syncs):
        page.wrapped(
            f"Deleted records that are no longer in the recycle bin: `sfsync run --undo {safe(result.undo)}` makes them"
            " anew, with new Ids",
            hang="  ",
            style=Style.WARN,
        )
    kinds = ", ".join(f"{number(n)} {safe(kind)}" for kind, n in sorted(result.calls_by_kind.items()) if n)
    if kinds:
        page.wrapped(f"API calls by kind: {kinds}", hang="  ", style=Style.QUIET)
    page.line()
    page.line(last_line(result), Style.TITLE)
    return page.text()


def _interrupted(result: Result) -> str:
    said = "Interrupted. What the org answered is recorded; the next run goes on there"
    if any(item.count(Outcome.SUBMITTED) for item in result.syncs):
        said += ", and first reads the jobs that are still under way"
    return f"{said}."


def last_line(result: Result) -> str:
    """``Run: 120 created, 45 updated, 3 deleted, 2 rejected, 1,234 unchanged. API: 7 calls; ...``"""
    counts = {outcome: sum(item.count(outcome) for item in result.syncs) for outcome in Outcome}
    order = [*_ORDER, *(outcome for outcome in Outcome if outcome not in _ORDER)]
    parts = [f"{number(counts[o])} {label(o)}" for o in order if counts[o] or o in _ALWAYS]
    refused = [item.name for item in result.syncs if item.status is Status.REFUSED]
    tail = f" Refused: {', '.join(refused)}." if refused else ""
    return f"Run: {', '.join(parts)}.{tail} {api_text(result.calls, result.allowed, result.left_in_org)}"


def label(outcome: Outcome) -> str:
    """``already deleted``, ``in doubt``."""
    return outcome.value.replace("_", " ")


def sum_text(total: int, parts: Mapping[Outcome, int]) -> str:
    """``1,402 = 120 created + 1,282 unchanged``; a sum that does not close says what it comes to."""
    shown = " + ".join(f"{number(parts[o])} {label(o)}" for o in Outcome if parts.get(o)) or "0"
    found = sum(parts.values())
    return (
        f"{number(total)} = {shown}"
        if found == total
        else f"{number(total)} is not {number(found)} = {shown}"
    )


def _recovered(page: Page, found: Recovered) -> None:
    counts = ", ".join(f"{rows:,} {outcome}" for outcome, rows in found.counts.items())
    head = "Recovered"
    if found.counts.get("submitted"):  # nothing was, yet
        head, counts = "Not answered yet", ""
    page.wrapped(
        f"{head}: {safe(found.sync)}, {plural(found.rows, 'row')} to {VERB[found.operation]} of run"
        f" {found.run_id}: {safe(found.what)}{f' ({counts})' if counts else ''}",
        hang="  ",
        style=Style.WARN,
    )


def _sync(page: Page, item: SyncResult) -> None:
    words, style = _STATUS[item.status]
    if item.status is Status.WARN and not item.count(Outcome.HELD) + item.count(Outcome.NO_MATCH):
        words = "done, with values that were not kept"
    name = page.paint(safe(item.name), Style.TITLE)
    calls = "  " + page.paint(plural(item.calls, "API call"), Style.QUIET) if item.calls else ""
    page.line(f"{name} -> {item.object}  {page.paint(words, style)}{calls}")
    if item.message:
        page.wrapped(safe(item.message), indent="  ", hang="    ", style=style)
    if item.status is Status.REFUSED:
        return
    _outcomes(page, item)
    for row in item.waiting[:_GROUP_ROWS]:
        page.wrapped(
            f"{safe(row.key)} waits: {row.field} refers to {safe(row.parent_key)} of {row.parent}",
            indent="    ",
            hang="      ",
            style=Style.QUIET,
        )
    _accounting(page, item)
    _rejected(page, item)
    if item.verified is not None:
        _verified(page, item.verified)
    if item.job_ids:
        page.wrapped(f"Bulk jobs: {', '.join(item.job_ids)}", indent="  ", hang="    ", style=Style.QUIET)


def _outcomes(page: Page, item: SyncResult) -> None:
    shown = [(o, item.count(o)) for o in Outcome if item.count(o)]
    if [o for o, _ in shown] == [Outcome.UNCHANGED]:
        return
    width = max((len(number(count)) for _, count in shown), default=1)
    for outcome, count in shown:
        symbol, style = _SYMBOL.get(outcome, ("!", Style.WARN))
        why = _WHY.get(outcome, "")
        if outcome is Outcome.GONE and item.skipped_gone == count:
            why += " (on_gone: skip)"
        if outcome is Outcome.STOPPED and item.message:
            why = "not sent: see above"
        page.entry(symbol, f"{number(count):>{width}} {label(outcome)}", why, style=style)


def _accounting(page: Page, item: SyncResult) -> None:
    style = Style.QUIET if item.closes else Style.BAD
    page.wrapped(f"Model rows: {sum_text(item.staged, item.model)}", indent="  ", hang="    ", style=style)
    if item.removed or item.removals:
        page.wrapped(
            f"Removed records: {sum_text(item.removed, item.removals)}", indent="  ", hang="    ", style=style
        )
    if not item.closes:
        page.wrapped(
            "The accounting does not close: sfsync lost sight of rows. This is a bug; please report it.",
            indent="  ",
            style=Style.BAD,
        )


def _rejected(page: Page, item: SyncResult) -> None:
    """Refused rows of this run, grouped by cause with the likely fix, and where all of them are."""
    samples: dict[tuple[str, str | None, str], list[RejectedSample]] = {}
    for row in item.rejected:
        samples.setdefault((row.code, row.field, row.help), []).append(row)
    if item.rejected_codes:
        page.line()
    # Rows that were held already are a reminder, not news.
    style = Style.WARN if item.status is Status.WARN else Style.BAD
    for found in item.rejected_codes:
        field = f" on {safe(found.field)}" if found.field else ""
        page.line(f"  ! {safe(found.code)}{field}: {plural(found.rows, 'row')}", style)
        if found.help:
            page.wrapped(safe(found.help), indent="      ", style=Style.QUIET)
        shown = samples.get((found.code, found.field, found.help), [])[:_GROUP_ROWS]
        for row in shown:
            tries = f" (attempt {row.attempts})" if row.attempts > 1 else ""
            page.wrapped(
                f"{safe(identity_text(row.identity))}: {safe(row.message)}{tries}",
                indent="      ",
                hang="        ",
            )
        if found.rows > len(shown):
            page.line(f"      and {number(found.rows - len(shown))} more", Style.QUIET)
    if item.rejected_file:
        page.line(f"  All rejected and held rows: {item.rejected_file}", Style.QUIET)


def _verified(page: Page, found: Verified) -> None:
    """What reading records back found; of each field that differs, a few values."""
    if found.skipped is not None:
        page.wrapped(f"Not read back: {safe(found.skipped)}", indent="  ", hang="    ", style=Style.WARN)
        return
    parts = [f"{number(found.differing)} with values that the org did not keep"] if found.differing else []
    parts += [f"{number(found.missing)} that the org does not show any more"] if found.missing else []
    told = f"{'; '.join(parts)} (a flow, a trigger or a person)" if parts else "all as sent"
    style = Style.WARN if parts else Style.QUIET
    page.wrapped(
        f"Read back: {plural(found.records, 'record')}; {told}", indent="  ", hang="    ", style=style
    )
    for field in found.fields:
        page.line(f"  ~ {safe(field.field)}: {plural(field.records, 'record')}", style)
        for row in field.samples:
            sent, kept = values(row.sent, row.kept, 0)
            page.wrapped(
                f"{safe(row.key)}: sent {sent}, the org has {kept}", indent="      ", hang="        "
            )


def identity_text(identity: str) -> str:
    """``Customer_Id__c C-17`` of the JSON object that names a row; a null says so."""
    pairs = json.loads(identity).items()
    return ", ".join(f"{name} {'(null)' if text in (None, '') else text}" for name, text in pairs)
