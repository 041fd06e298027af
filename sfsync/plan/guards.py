"""The limits at which a plan refuses itself.

Owns:      judging one sync's changes against its guards.
Does not:  count (diff) or decide what a refusal means for a command (jobs).
Invariant: a refusal names the value, the limit, and how to allow it once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sfsync.diff.changes import Changes

SHARE_FLOOR = 20
"""Share guards say nothing below this many affected rows: 3 of 5 records is no disaster."""

CHANGED = "identity"
"""The object or the identity is not that of the snapshot."""

CASCADE = "cascade"
"""Records of other objects would go along (plan/cascade)."""

TOGETHER = "undo"
"""Another sync of the run that would be taken back is refused."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What refuses a sync: a guard, by its name as in `--allow <sync>.<name>`; nothing allows CHANGED and TOGETHER."""

    sync: str
    name: str
    what: str
    fix: str

    @property
    def allow(self) -> str | None:
        """What `--allow` takes to let it pass once."""
        return None if self.name in (CHANGED, TOGETHER) else f"{self.sync}.{self.name}"


def check(changes: Changes, allowed: frozenset[str]) -> tuple[Refusal, ...]:
    """Every guard that refuses this sync and was not allowed for once."""
    sync = changes.sync.name
    return tuple(
        Refusal(
            sync,
            name,
            f"sync '{sync}' {what}",
            _fix(sync, name, setting, changes.sync.path),
        )
        for name, what, setting in _findings(changes)
        if f"{sync}.{name}" not in allowed
    )


def changed(sync: str, why: str | None, fix: str) -> tuple[Refusal, ...]:
    """The refusal of a sync whose object or identity is not that of its snapshot; the other syncs go on."""
    return () if why is None else (Refusal(sync, CHANGED, f"sync '{sync}' {why}", fix),)


def together(sync: str, refused: Sequence[str]) -> Refusal:
    """A run is taken back whole or not at all: half of it may delete a parent whose children were to stay."""
    names = ", ".join(f"'{name}'" for name in refused)
    return Refusal(
        sync,
        TOGETHER,
        f"sync '{sync}' is not taken back without {names}",
        f"see what refuses {names}; or leave it out on purpose: --exclude {' --exclude '.join(refused)}",
    )


def _fix(sync: str, name: str, setting: str, path: str) -> str:
    if name == "on_gone":
        return (
            f"look who deleted them; to send all others this once: --allow {sync}.{name}; to make them anew or to leave"
            f" them out from now on: `on_gone: recreate` or `on_gone: skip` in {path}"
        )
    return f"check the model; to allow it once: --allow {sync}.{name}; to raise it: `{setting}` in {path}"


def _findings(c: Changes) -> Iterator[tuple[str, str, str]]:
    guards = c.sync.guards
    if c.staged < guards.min_rows:
        yield (
            "min_rows",
            f"has {c.staged:,} rows in its model; min_rows is {guards.min_rows:,}",
            "guards.min_rows",
        )
    removed, verb = c.deletes + c.retires, "retire" if c.retires else "delete"
    if guards.max_deletes is not None and removed > guards.max_deletes:
        yield (
            "max_deletes",
            f"would {verb} {removed:,} records; max_deletes is {guards.max_deletes:,}",
            "guards.max_deletes",
        )
    made = c.upserts + c.undeletes
    if guards.max_creates is not None and made > guards.max_creates:
        yield (
            "max_creates",
            f"would {'create or restore' if c.undeletes else 'create'} {made:,} records; max_creates is {guards.max_creates:,}",
            "guards.max_creates",
        )
    yield from _shares(c)
    if c.gone_stops:
        yield (
            "on_gone",
            f"has {c.gone_stops:,} rows whose record is gone from the org, and says on_gone: stop",
            "on_gone",
        )


def _shares(c: Changes) -> Iterator[tuple[str, str, str]]:
    guards = c.sync.guards
    refused = c.refused + c.held
    shares = (
        (
            "max_delete_share",
            "retire" if c.retires else "delete",
            c.deletes + c.retires,
            c.snapshot_rows,
            guards.max_delete_share,
            "known records",
        ),
        (
            "max_change_share",
            "change",
            c.updates - c.completing,
            c.snapshot_rows,
            guards.max_change_share,
            "known records",
        ),
    )
    for name, verb, rows, base, limit, of in shares:
        if limit is not None and base and rows >= SHARE_FLOOR and rows > limit * base:
            yield (
                name,
                f"would {verb} {rows:,} of {base:,} {of} ({_percent(rows / base, limit)}); {name} is {limit * 100:g}%",
                f"guards.{name}",
            )
    limit = guards.max_reject_share
    if limit is not None and c.snapshot_rows and refused >= SHARE_FLOOR and refused > limit * c.staged:
        yield (
            "max_reject_share",
            f"has {refused:,} rejected rows of {c.staged:,} ({_percent(refused / c.staged, limit)});"
            f" max_reject_share is {limit * 100:g}%",
            "guards.max_reject_share",
        )


def _percent(share: float, limit: float) -> str:
    """A share with as many digits as tell it from the limit."""
    for digits in range(4):
        text = f"{share:.{digits}%}"
        if text != f"{limit:.{digits}%}":
            return text
    return f"{share:.6%}"
