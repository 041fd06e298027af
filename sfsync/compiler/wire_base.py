"""What the parts of the wire projection share: the pair of text and reject code, built from one guard.

Owns:      Wire, guarded, Source and the reject codes.
Does not:  know any field type.
Invariant: for every value either `code` is NULL and `text` is not, or the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sfsync.engine.dialect import Dialect
from sfsync.records import FieldRule

WRONG_TYPE = "INVALID_TYPE_ON_FIELD_IN_RECORD"
OUT_OF_RANGE = "NUMBER_OUTSIDE_VALID_RANGE"
TOO_LONG = "STRING_TOO_LONG"
MALFORMED_ID = "MALFORMED_ID"
BAD_EMAIL = "INVALID_EMAIL_ADDRESS"
NOT_IN_PICKLIST = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"


@dataclass(frozen=True, slots=True)
class Wire:
    """Two SQL expressions over one column.

    text: '' for null, else the canonical text; NULL exactly when the value is rejected.
    code: NULL, or why the value is rejected, in Salesforce's words; None when no value can be.
    """

    text: str
    code: str | None


@dataclass(frozen=True, slots=True)
class Source:
    """The value a projection reads: its rule, the column as SQL, the engine, and the project's zone as a literal."""

    rule: FieldRule
    x: str
    dialect: Dialect
    zone: str


def guarded(checks: Sequence[tuple[str, str]], text: str, *, eager: bool = False) -> Wire:
    """Build text and code from one list of (condition, code); the first that holds wins, a NULL condition does not.

    `text` is only worked out where no condition holds, so it may be a cast that would fail elsewhere; `eager` works
    it out for all rows, for a text that cannot fail and is dearer inside a CASE.
    """
    present = f"COALESCE({text}, '')"
    if not checks:
        return Wire(present, None)
    refused = " ".join(f"WHEN {condition} THEN NULL" for condition, _ in checks)
    codes = " ".join(f"WHEN {condition} THEN '{code}'" for condition, code in checks)
    if eager:
        return Wire(f"({present} || CASE {refused} ELSE '' END)", f"CASE {codes} END")
    return Wire(f"CASE {refused} ELSE {present} END", f"CASE {codes} END")
