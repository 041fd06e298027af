"""Misbehaviour of a write: rows that are locked, and rows on which a trigger gives up.

Owns:      RowFaults, what one write meets, and its SQL.
Does not:  choose the rules (faults) or judge rows otherwise (stage, delete).
Invariant: which rows are bad depends on their keys only, so that the same row is bad in whatever company it comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sfsync.local_org.store import literal, quoted
from sfsync.local_org.write_sql import fail

_LOCKED = "unable to obtain exclusive access to this record or 1 records: "
_APEX = "RowTrigger: execution of BeforeInsert caused by: System.LimitException: Apex CPU time limit exceeded"


@dataclass(frozen=True, slots=True)
class BadRows:
    """Rows that make the whole chunk they are saved with fail, until they are alone."""

    field: str | None  # None: the key of the write
    values: tuple[str, ...]
    share: float  # of all keys, where no values are named
    code: str
    message: str
    passes_alone: bool

    def sql(self, headers: Sequence[str], key: str, chunk: int) -> str | None:
        """SQL of the error over the incoming rows; None when they do not carry the field."""
        wanted = (self.field or key).lower()
        column = next((h for h in headers if h.lower() == wanted), None)
        if column is None:
            return None
        cell = f"coalesce(trim({quoted(column)}), '')"
        if self.values:
            bad = f"{cell} IN ({', '.join(literal(v) for v in self.values)})"
        else:
            bad = f"CAST('0x' || substr(md5({cell}), 1, 6) AS BIGINT) < {int(self.share * 0x1000000)}"
        mates = f"OVER (PARTITION BY _row // {chunk})"
        hit = f"bool_or({bad}) {mates}"
        if self.passes_alone:
            hit += f" AND count(*) {mates} > 1"
        return f"CASE WHEN {hit} THEN {fail(self.code, literal(self.message or _APEX))} END"


@dataclass(frozen=True, slots=True)
class RowFaults:
    """What the rows of one write meet."""

    locked_share: float = 0.0
    bad: tuple[BadRows, ...] = ()
    lost_rights: frozenset[str] = frozenset()  # create | update | delete

    def sql(self, headers: Sequence[str], key: str, locked_id: str, chunk: int) -> list[str]:
        """SQL of the errors, over `_row` and the uploaded columns.

        Args:
            key: the field that names a row, where a rule names none.
            locked_id: SQL of the Id that the message of a lock names.
            chunk: rows that are saved together.
        """
        errors = []
        if self.locked_share > 0:
            hit = f"floor((_row + 1) * {self.locked_share}) > floor(_row * {self.locked_share})"
            errors.append(
                f"CASE WHEN {hit} THEN {fail('UNABLE_TO_LOCK_ROW', f'{literal(_LOCKED)} || {locked_id}')} END"
            )
        return errors + [e for b in self.bad if (e := b.sql(headers, key, chunk)) is not None]


NONE = RowFaults()
