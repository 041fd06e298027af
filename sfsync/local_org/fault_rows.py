"""Misbehaviour of a write: rows that are locked, refused, or on which a trigger gives up.

Owns:      RowFaults, what one write meets, and its SQL.
Does not:  choose the rules (faults) or judge rows otherwise (stage, delete).
Invariant: which rows are bad depends on their keys only, so that the same row is bad in whatever company it comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sfsync.local_org.fault_rules import Rule
from sfsync.local_org.store import literal, quoted
from sfsync.local_org.write_sql import fail

_LOCKED = "unable to obtain exclusive access to this record or 1 records: "
_REFUSED = "refused by a rule of the local org"
_APEX = "RowTrigger: execution of BeforeInsert caused by: System.LimitException: Apex CPU time limit exceeded"


@dataclass(frozen=True, slots=True)
class BadRows:
    """Rows that a rule of misbehaviour refuses; unless `rule.alone`, the whole chunk they are saved with fails with them."""

    rule: Rule

    def sql(self, headers: Sequence[str], key: str, chunk: int) -> str | None:
        """SQL of the error over the incoming rows; None when they do not carry the field."""
        rule = self.rule
        wanted = (rule.field or key).lower()
        column = next((h for h in headers if h.lower() == wanted), None)
        if column is None:
            return None
        cell = f"coalesce(trim({quoted(column)}), '')"
        if rule.values:
            bad = f"{cell} IN ({', '.join(literal(v) for v in rule.values)})"
        else:
            bad = f"CAST('0x' || substr(md5({cell}), 1, 6) AS BIGINT) < {int(rule.share * 0x1000000)}"
        if rule.alone:
            error = fail(rule.code, literal(rule.message or _REFUSED), ",".join(rule.fields))
            return f"CASE WHEN {bad} THEN {error} END"
        mates = f"OVER (PARTITION BY _row // {chunk})"
        hit = f"bool_or({bad}) {mates}"
        if rule.passes_alone:
            hit += f" AND count(*) {mates} > 1"
        return f"CASE WHEN {hit} THEN {fail(rule.code, literal(rule.message or _APEX))} END"


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
