"""What a project is and whether it works, as text: `compile`, `ls`, `debug`, `seed`, `org versions`.

Owns:      these five short reports.
Does not:  look at anything (jobs).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from sfsync.artifacts import metadata
from sfsync.report.page import Page, Style
from sfsync.report.words import listed, pad, plural, safe

DEBUG_VERSION = 1


class Check(Protocol):
    """One thing that `debug` looked at; ok None: a warning."""

    @property
    def name(self) -> str: ...
    @property
    def ok(self) -> bool | None: ...
    @property
    def detail(self) -> str: ...
    @property
    def fix(self) -> str | None: ...


class Limit(Protocol):
    """A daily limit of the org."""

    @property
    def name(self) -> str: ...
    @property
    def used(self) -> int: ...
    @property
    def maximum(self) -> int: ...


class Debugged(Protocol):
    """All that `debug` looked at."""

    @property
    def checks(self) -> Sequence[Check]: ...
    @property
    def limits(self) -> Sequence[Limit]: ...
    @property
    def ok(self) -> bool: ...
    @property
    def run_id(self) -> str: ...
    @property
    def at(self) -> datetime: ...


class Listed(Protocol):
    """One sync that `ls` lists."""

    @property
    def name(self) -> str: ...
    @property
    def object(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def tags(self) -> Sequence[str]: ...


class Versions(Protocol):
    """What `org versions` found."""

    @property
    def instance_url(self) -> str: ...
    @property
    def offered(self) -> Sequence[str]: ...
    @property
    def used(self) -> str: ...
    @property
    def is_set(self) -> bool: ...
    @property
    def oldest(self) -> str: ...
    @property
    def newest(self) -> str: ...


def compile_text(
    models: Sequence[str],
    syncs: Sequence[str],
    unchecked: Sequence[str],
    path: str,
    *,
    color: bool,
    width: int,
    contract: str | None = None,
    late: Sequence[tuple[str, str]] = (),
) -> str:
    """What was compiled and where it lies.

    unchecked: syncs whose fields nobody has asked the org about. contract: the file in git that they were checked against.
    late: (lookup, sync that makes its parents): those that are sent when all records are made.
    """
    page = Page(color=color, width=width)
    if late:
        told = [f"{safe(lookup)} (records of {safe(parent)})" for lookup, parent in late]
        page.wrapped(
            f"Sent in a second pass where the parent is new in the same run: {listed(told, 10)}", hang="  "
        )
    if unchecked:
        page.wrapped(
            f"Not checked against the org: {listed(map(safe, unchecked), 10)}. Nothing is known of these objects yet;"
            " `sfsync plan` or `sfsync debug` asks the org.",
            hang="  ",
            style=Style.WARN,
        )
    if contract is not None:
        page.wrapped(f"Checked against the org's contract, {safe(contract)}", hang="  ")
    page.wrapped(
        f"Compiled {plural(len(models), 'model')} and {plural(len(syncs), 'sync')} to {path}", hang="  "
    )
    return page.text()


def ls_text(syncs: Sequence[Listed], *, color: bool, width: int) -> str:
    """On a terminal a table; in a pipe one name a line, for the next program."""
    page = Page(color=color, width=width)
    if not width:
        return "".join(f"{safe(sync.name)}\n" for sync in syncs)
    if not syncs:
        page.line("The selection has no sync.")
        return page.text()
    rows = [(safe(s.name), s.object, safe(s.model), safe(", ".join(s.tags))) for s in syncs]
    page.table([("sync", "object", "model", "tags"), *rows])
    return page.text()


def debug_text(checks: Sequence[Check], *, color: bool, width: int) -> str:
    """One line a check, what to do below those that failed, and a sentence at the end."""
    page = Page(color=color, width=width)
    names = max((len(check.name) for check in checks), default=0)
    for check in checks:
        word, style = {True: ("ok", Style.GOOD), None: ("warn", Style.WARN), False: ("FAIL", Style.BAD)}[
            check.ok
        ]
        head = f"{word:<4}  {pad(safe(check.name), names)}  "
        rows = page.folded(head + safe(check.detail), hang=" " * len(head))
        page.line(page.paint(word, style) + rows[0][len(word) :])
        for row in rows[1:]:
            page.line(row)
        if check.ok is not True and check.fix:
            page.wrapped(f"Fix: {safe(check.fix)}", indent=" " * len(head), hang=" " * (len(head) + 5))
    page.line()
    failed = [check.name for check in checks if check.ok is False]
    if failed:
        page.wrapped(
            f"{plural(len(failed), 'check')} failed: {', '.join(map(safe, failed))}.", style=Style.BAD
        )
    else:
        page.line("All checks passed.", Style.GOOD)
    return page.text()


def debug_json(found: Debugged) -> str:
    """The same for programs; `ok` of a check is null for a warning."""
    body = {
        "metadata": metadata(found.run_id, "debug", DEBUG_VERSION, found.at),
        "ok": found.ok,
        "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail, "fix": c.fix} for c in found.checks],
        "limits": [{"name": i.name, "used": i.used, "maximum": i.maximum} for i in found.limits],
    }
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def seed_text(loaded: Sequence[str], total: int) -> str:
    """Which seeds were loaded."""
    if not total:
        return "The project has no seeds.\n"
    return f"Loaded {plural(len(loaded), 'seed')} of {total:,}: {', '.join(map(safe, loaded))}\n"


def versions_text(found: Versions) -> str:
    """The version in use and why it is, and what there is besides."""
    why = "set by `api_version` in the profile" if found.is_set else "the newest that both sides know"
    return (
        f"Org: {safe(found.instance_url)}\n"
        f"API version {found.used}: {why}\n"
        f"Offered: {found.offered[0]} to {found.offered[-1]}; sfsync works with {found.oldest} to {found.newest}\n"
    )
