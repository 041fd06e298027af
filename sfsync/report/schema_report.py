"""An org's contract as people and programs read it: what `schema pull` wrote, what `schema check` found.

Owns:      these reports as text, Markdown and JSON.
Does not:  compare anything (drift).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Protocol

from sfsync.artifacts import metadata
from sfsync.report.page import Page, Style
from sfsync.report.plan_markdown import escaped
from sfsync.report.words import listed, plural, safe

SCHEMA_CHECK_VERSION = 1
_LISTED = 20
_MARK = {"stops": ("!", Style.BAD), "rows": ("~", Style.WARN), "none": (".", Style.QUIET)}
_LEGEND = "! stops syncs, ~ may reject or change values, . breaks nothing"
_FIX = (
    "change the org or the syncs; or take the org as it is: sfsync schema pull, review the file and commit it"
)


class Drift(Protocol):
    """One difference between the contract and the org."""

    @property
    def object(self) -> str: ...
    @property
    def field(self) -> str | None: ...
    @property
    def kind(self) -> str: ...
    @property
    def what(self) -> str: ...
    @property
    def effect(self) -> str: ...
    @property
    def breaking(self) -> bool: ...
    @property
    def syncs(self) -> Sequence[str]: ...


class Contract(Protocol):
    """What one org looks like for one user."""

    @property
    def objects(self) -> Sequence[Any]: ...
    @property
    def org_id(self) -> str | None: ...
    @property
    def username(self) -> str | None: ...
    @property
    def api_version(self) -> str | None: ...


class Pulled(Protocol):
    """What `schema pull` wrote."""

    @property
    def file(self) -> str: ...
    @property
    def contract(self) -> Contract: ...
    @property
    def is_new(self) -> bool: ...
    @property
    def changed(self) -> bool: ...
    @property
    def added(self) -> Sequence[str]: ...
    @property
    def dropped(self) -> Sequence[str]: ...
    @property
    def drifts(self) -> Sequence[Drift]: ...
    @property
    def lacking(self) -> Sequence[Drift]: ...
    @property
    def calls(self) -> int: ...


class Checked(Protocol):
    """What `schema check` found."""

    @property
    def run_id(self) -> str: ...
    @property
    def project(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def at(self) -> datetime: ...
    @property
    def file(self) -> str: ...
    @property
    def contract(self) -> Contract: ...
    @property
    def org(self) -> Contract: ...
    @property
    def notes(self) -> Sequence[str]: ...
    @property
    def drifts(self) -> Sequence[Drift]: ...
    @property
    def breaking(self) -> Sequence[Drift]: ...
    @property
    def calls(self) -> int: ...


def pull_text(made: Pulled, *, color: bool, width: int) -> str:
    """What the file holds and how it changed."""
    page = Page(color=color, width=width)
    word = "Wrote" if made.changed else "Unchanged:"
    page.wrapped(f"{word} {safe(made.file)}: {_holds(made.contract)}", hang="  ", style=Style.TITLE)
    if not made.is_new and made.changed:
        for name, places, style in (("+", made.added, Style.CREATE), ("-", made.dropped, Style.DELETE)):
            why = "" if name == "+" else " (no longer used)"
            for place in places[:_LISTED]:
                page.entry(name, safe(place) + why, style=style)
            if len(places) > _LISTED:
                page.line(f"  {name} and {len(places) - _LISTED:,} more", style)
        _by_object(page, made.drifts)
    if made.lacking:
        page.line()
        page.line("The project uses what this user does not see in the org:", Style.BAD)
        _by_object(page, made.lacking)
    page.line()
    page.line(f"API: {plural(made.calls, 'call')}.")
    return page.text()


def check_text(found: Checked, *, color: bool, width: int) -> str:
    """The differences by object, and what to do."""
    page = Page(color=color, width=width)
    page.line(f"sfsync schema check: project {safe(found.project)}, target {safe(found.target)}", Style.TITLE)
    page.line()
    page.wrapped(f"{safe(found.file)}: {_holds(found.contract)}", hang="  ")
    for note in found.notes:
        page.wrapped(f"Note: {safe(note)}", hang="  ", style=Style.WARN)
    _by_object(page, found.drifts)
    page.line()
    if found.drifts:
        page.wrapped(f"{_LEGEND}.", style=Style.QUIET)
    page.wrapped(_summary(found), style=Style.BAD if found.breaking else Style.GOOD)
    if found.breaking:
        page.wrapped(f"Fix: {_FIX}.", hang="     ")
    return page.text()


def check_markdown(found: Checked) -> str:
    """The differences as a table, for a pull request or a ticket."""
    lines = [f"### sfsync schema check: {escaped(found.project)}, target {escaped(found.target)}", ""]
    lines += [f"{escaped(found.file)}: {escaped(_holds(found.contract))}", ""]
    lines += [line for note in found.notes for line in (f"> {escaped(note)}", "")]
    if found.drifts:
        lines += ["| | field | difference | syncs |", "| --- | --- | --- | --- |"]
        words = {"stops": "**stops**", "rows": "rows", "none": ""}
        for drift in found.drifts:
            place = drift.object if drift.field is None else f"{drift.object}.{drift.field}"
            syncs = escaped(", ".join(drift.syncs))
            lines.append(
                f"| {words[str(drift.effect)]} | {escaped(place)} | {escaped(drift.what)} | {syncs} |"
            )
        lines.append("")
    lines.append(_summary(found))
    if found.breaking:
        lines += ["", f"To go on: {_FIX}."]
    return "\n".join(lines) + "\n"


def check_json(found: Checked) -> str:
    """The differences for programs."""
    body = {
        "metadata": metadata(found.run_id, "schema_check", SCHEMA_CHECK_VERSION, found.at),
        "project": found.project,
        "target": found.target,
        "file": found.file,
        "contract": _head(found.contract),
        "org": _head(found.org),
        "notes": list(found.notes),
        "breaking": len(found.breaking),
        "api": {"calls": found.calls},
        "drift": [
            {
                "object": drift.object,
                "field": drift.field,
                "kind": drift.kind,
                "breaking": drift.breaking,
                "effect": str(drift.effect),
                "message": drift.what,
                "syncs": list(drift.syncs),
            }
            for drift in found.drifts
        ],
    }
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def _head(contract: Contract) -> dict[str, str | None]:
    return {
        "org_id": contract.org_id,
        "username": contract.username,
        "api_version": contract.api_version,
    }


def _holds(contract: Contract) -> str:
    fields = sum(len(item.fields) for item in contract.objects)
    org = f" of org {contract.org_id}" if contract.org_id else ""
    user = f", as {safe(contract.username)}" if contract.username else ""
    version = f", API {contract.api_version}" if contract.api_version else ""
    return f"{plural(len(contract.objects), 'object')}, {plural(fields, 'field')}{org}{user}{version}"


def _summary(found: Checked) -> str:
    others = len(found.drifts) - len(found.breaking)
    calls = f"API: {plural(found.calls, 'call')}."
    if not found.drifts:
        return f"The org is as the contract says. {calls}"
    rest = f", {others:,} other{'s' if others != 1 else ''}" if others else ""
    return f"{plural(len(found.breaking), 'breaking difference')}{rest}. {calls}"


def _by_object(page: Page, drifts: Iterable[Drift]) -> None:
    """Each object's differences below its name; what concerns the object itself first."""
    for name, group in groupby(drifts, key=lambda drift: drift.object):
        page.line()
        page.line(safe(name), Style.TITLE)
        for drift in group:
            mark, style = _MARK[str(drift.effect)]
            field = f"{safe(drift.field)}: " if drift.field is not None else ""
            used = f"({listed(map(safe, drift.syncs), 5)})" if drift.syncs else ""
            page.entry(mark, f"{field}{safe(drift.what)}", used, style=style)
