"""One record's story as text."""

from __future__ import annotations

from sfsync.artifacts import ExplainResult, FieldTexts
from sfsync.records import Operation
from sfsync.report.page import Page, Style
from sfsync.report.plan_text import change
from sfsync.report.words import moment, plural, safe, value

VERDICTS = {
    "create": ("creates it, or meets it by its key", Style.GOOD),
    "update": ("updates it", Style.WARN),
    "delete": ("deletes it", Style.BAD),
    "unchanged": ("has nothing to do: model and org agree", Style.QUIET),
    "rejected": ("rejects it; it is not sent", Style.BAD),
    "held": ("holds it: refused before, and nothing about it changed", Style.WARN),
    "waiting": ("lets it wait", Style.WARN),
    "submitted": ("lets it wait for a job that has it", Style.WARN),
    "stopped": ("sends nothing of its sync", Style.WARN),
    "kept": ("leaves the record in the org", Style.QUIET),
    "missing": ("leaves it alone, and counts the runs that miss its row", Style.QUIET),
    "gone": ("leaves it alone: its record is gone from the org", Style.QUIET),
    "exists": ("leaves it alone: the org has the record", Style.QUIET),
    "no_match": ("leaves it alone: the org has no such record", Style.WARN),
    "merged": ("leaves it alone: another row has its record already", Style.WARN),
    "converted": ("leaves it alone: the lead was converted", Style.WARN),
    "conflict": ("leaves it alone: its record is another's by now", Style.WARN),
    "unasked": ("leaves it for later: the org could not be asked whether it has the record", Style.WARN),
    "deferred": ("leaves it for later", Style.WARN),
}
"""Of each word that jobs/verdict finds: what follows *The next run*."""


def explain_text(result: ExplainResult, *, color: bool, width: int) -> str:
    """Who it is, what the next run does and why, its fields, its refusal, and what earlier runs did to it."""
    page = Page(color=color, width=width)
    page.line(
        f"{safe(result.sync)} {safe(result.key)} -> {result.object} {result.record_id or ''}".rstrip(),
        Style.TITLE,
    )
    page.wrapped(_known(result), indent="  ", style=Style.QUIET)
    page.line()
    words, style = VERDICTS[result.verdict]
    page.wrapped(f"The next run {words}.", style=style)
    for line in result.why:
        page.wrapped(safe(line), indent="  ")
    page.line()
    _fields(page, result)
    if result.refused is not None:
        refused = result.refused
        by = "the org" if refused.decided_by == "org" else "sfsync"
        page.wrapped(
            f"Refused by {by} since {moment(refused.first_at)}, last {moment(refused.last_at)}, {plural(refused.attempts, 'attempt')}:"
            f" {refused.code}{f' {refused.field}' if refused.field else ''}: {safe(refused.message)}",
            hang="  ",
            style=Style.BAD,
        )
        page.line()
    _past(page, result)
    return page.text()


def _known(result: ExplainResult) -> str:
    if result.gone_at is not None:
        return f"its record was found gone at {moment(result.gone_at)}, by run {result.run_id}"
    if result.record_id is None:
        return "new to sfsync: the state has no record of it"
    if result.origin == "converted":
        return f"a lead that was converted, as the org said; last written {moment(result.at)} by run {result.run_id}"
    who = (
        "made by this sync"
        if result.origin == "created"
        else "adopted: it was there, or nobody knows who made it"
    )
    return f"{who}; last written {moment(result.at)} by run {result.run_id}"


def _fields(page: Page, result: ExplainResult) -> None:
    for item in result.fields:
        room = page.width and max(24, page.width - len(item.field) - 6)
        text, style = _field(item, result.verdict, room)
        page.line(f"  {item.field}: {text}", style)
    page.line()


def _field(item: FieldTexts, verdict: str, room: int) -> tuple[str, Style]:
    if verdict == "create":
        return change(Operation.UPSERT, None, item.model, room), Style.PLAIN
    if item.to_send is not None:
        return change(Operation.UPDATE, item.acknowledged, item.to_send, room), Style.WARN
    if item.acknowledged is None:
        return (
            "(not known)" if item.model is None else change(Operation.UPSERT, None, item.model, room)
        ), Style.QUIET
    return ("(null)" if item.acknowledged == "" else value(item.acknowledged, room)), Style.QUIET


def _past(page: Page, result: ExplainResult) -> None:
    if not result.past:
        page.line("No run that can still be taken back changed it.", Style.QUIET)
        return
    page.line("Earlier runs, the newest first")
    for past in result.past:
        page.line(f"  {moment(past.at)}  {past.operation}  {page.paint(past.run_id, Style.QUIET)}")
        for field, before, after in past.changed:
            room = page.width and max(24, page.width - len(field) - 8)
            page.line(f"      {field}: {change(Operation.UPDATE, before, after, room)}")
