"""What the state tells, as text: the last run of each sync, earlier runs, the API account.

Owns:      the reports of `status` and `history`.
Does not:  read the state (jobs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from sfsync.artifacts import StatusLine, StatusResult
from sfsync.report.page import Page, Style
from sfsync.report.words import VERB, duration, moment, number, plural, safe

_QUIET = ("unchanged",)

CAUSES = 5
"""Causes of refused rows shown of each sync; the rejected rows themselves have all."""

_BARS = "▁▂▃▄▅▆▇█"


class PastSync(Protocol):
    """One sync of a past run."""

    @property
    def sync(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def counts(self) -> Mapping[str, int]: ...
    @property
    def calls(self) -> int: ...
    @property
    def message(self) -> str | None: ...


class PastRun(Protocol):
    """One run of the past."""

    @property
    def run_id(self) -> str: ...
    @property
    def command(self) -> str: ...
    @property
    def started_at(self) -> datetime: ...
    @property
    def ended_at(self) -> datetime | None: ...
    @property
    def status(self) -> str: ...


class PastLine(Protocol):
    """One run and what became of its syncs."""

    @property
    def run(self) -> PastRun: ...
    @property
    def syncs(self) -> Sequence[PastSync]: ...


def status_text(result: StatusResult, *, color: bool, width: int) -> str:
    """The last run of each sync, then the API account."""
    page = Page(color=color, width=width)
    page.line(f"sfsync status: target {safe(result.target)}", Style.TITLE)
    page.wrapped(
        f"state {safe(result.state)}, org {result.org_id or 'not known yet'}", hang="  ", style=Style.QUIET
    )
    page.line()
    if result.syncs:
        head = ("sync", "object", "last run", "status", "records", "refused")
        rows = [
            (
                safe(line.sync),
                line.object,
                moment(line.last_at),
                line.last_status or "-",
                number(line.records),
                number(line.refused),
            )
            for line in result.syncs
        ]
        page.table([head, *rows], right=(4, 5))
    else:
        page.line("The project has no syncs.")
    page.line()
    for line in result.syncs:
        if line.last_run:
            page.wrapped(f"{safe(line.sync)}: {counts_text(line.counts)}", hang="  ", style=Style.QUIET)
    page.line()
    refused = sum(line.refused for line in result.syncs)
    if refused:
        page.wrapped(
            f"Refused at the moment: {plural(refused, 'row')}, in target/rejected/; held ones wait for a change or"
            " `sfsync retry`.",
            hang="  ",
            style=Style.WARN,
        )
    for line in result.syncs:
        _causes(page, line)
        if line.failing:
            page.wrapped(
                f"{safe(line.sync)}: {plural(line.failing, 'row')} of these failed for reasons that were to pass, up to"
                f" {plural(line.failing_runs, 'run')} in a row; from `max_attempts` runs on a row is held.",
                hang="  ",
                style=Style.WARN,
            )
    for job in result.jobs:
        page.wrapped(
            f"{safe(job.sync)}: job {job.job_id} with {plural(job.rows, 'row')} to {VERB[job.operation]} was still at work at"
            f" {moment(job.seen_at, result.at)}, begun {moment(job.begun_at, result.at)}; the next run looks at it first.",
            hang="  ",
            style=Style.WARN,
        )
    page.wrapped(_budget(result), hang="  ", style=Style.TITLE)
    if any(result.hours):
        page.wrapped(_hours(result), hang="  ")
    if result.batches:
        page.wrapped(_batches(result), hang="  ", style=Style.TITLE)
    return page.text()


def _causes(page: Page, line: StatusLine) -> None:
    """Why rows of a sync are refused, most rows first, each with the likely fix."""
    for cause in line.causes[:CAUSES]:
        field = f" on {safe(cause.field)}" if cause.field else ""
        page.wrapped(
            f"{safe(line.sync)}: {plural(cause.rows, 'row')} {safe(cause.code)}{field}. {safe(cause.help)}".rstrip(),
            indent="  ",
            hang="    ",
        )
    if len(line.causes) > CAUSES:
        page.line(f"    and {plural(len(line.causes) - CAUSES, 'more cause')}", Style.QUIET)


def _budget(result: StatusResult) -> str:
    allowed = "unknown" if result.allowed is None else number(result.allowed)
    left = "unknown" if result.left_in_org is None else number(result.left_in_org)
    maximum = "" if result.maximum is None else f" of {number(result.maximum)}"
    seen = f" (seen {moment(result.seen_at)})" if result.left_in_org is not None and result.seen_at else ""
    return f"API: {plural(result.spent, 'call')} of {allowed} in the last 24 hours; {left}{maximum} left in the org{seen}."


def _hours(result: StatusResult) -> str:
    """A bar for each of the last 24 hours: when calls were spent, and so when room comes back."""
    most = max(result.hours)
    bars = "".join(_BARS[-(-calls * len(_BARS) // most) - 1] if calls else "." for calls in result.hours)
    ago = len(result.hours) - 1 - result.hours.index(most)
    when = "the last hour"
    if ago and result.at is not None:
        when = f"the hour to {moment(result.at - timedelta(hours=ago), result.at)}"
    return f"By hour, now at the right: {bars} (most: {number(most)} in {when})"


def _batches(result: StatusResult) -> str:
    limit = "" if result.batches_allowed is None else f" of {number(result.batches_allowed)}"
    return f"Bulk: {plural(result.batches, 'batch')}{limit} in the last 24 hours."


def counts_text(counts: Mapping[str, int]) -> str:
    """``120 created, 2 rejected, 1,234 unchanged``; ``no rows`` when there were none."""
    order = sorted(counts.items(), key=lambda pair: pair[0] in _QUIET)
    return ", ".join(f"{number(n)} {name.replace('_', ' ')}" for name, n in order if n) or "no rows"


def history_text(lines: Sequence[PastLine], *, color: bool, width: int) -> str:
    """Runs, newest first, each with its syncs."""
    page = Page(color=color, width=width)
    if not lines:
        page.line("No run yet.")
    for line in lines:
        run = line.run
        took = (
            "" if run.ended_at is None else f", {duration((run.ended_at - run.started_at).total_seconds())}"
        )
        # A run that never wrote its end was killed; what it had recorded by then counts.
        status = "did not end" if run.ended_at is None else run.status
        page.line(
            f"{moment(run.started_at)}  {page.paint(run.command, Style.TITLE)}"
            f"  {page.paint(status, _style(status))}  {page.paint(run.run_id + took, Style.QUIET)}"
        )
        for sync in line.syncs:
            told = "; ".join(
                part
                for part in (
                    safe(sync.message or ""),
                    counts_text(sync.counts) if any(sync.counts.values()) or not sync.message else "",
                )
                if part
            )
            page.wrapped(
                f"{safe(sync.sync)}: {sync.status}, {told}, {plural(sync.calls, 'API call')}",
                indent="  ",
                hang="    ",
            )
    return page.text()


def _style(status: str) -> Style:
    return {"success": Style.GOOD, "warn": Style.WARN}.get(status, Style.BAD)
