"""What the parts of the wire projection share: text and reject code, built from one list of checks.

Owns:      Wire, Steps, Source and the reject codes.
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
    """Two SQL expressions over one column, each complete in itself.

    text: '' for null, else the canonical text; NULL exactly when the value is rejected.
    code: NULL, or why the value is rejected, in Salesforce's words; None when no value can be.
    """

    text: str
    code: str | None


@dataclass(frozen=True, slots=True)
class Steps:
    """The same as steps, each to be worked out once in a SELECT of its own: engines repeat what is written twice.

    base: over the source, never fails; None when no part of the rest is worth a step.
    code: over the source and the base; as in Wire.
    text: over the source and the base; '' for null. It may fail where `code` is not NULL: `unless_refused` guards it.
    """

    base: str | None
    code: str | None
    text: str

    def unless_refused(self, code: str) -> str:
        """The text, NULL where there is a code. code: an expression, or a column that holds it."""
        return self.text if self.code is None else f"CASE WHEN {code} IS NULL THEN {self.text} END"


@dataclass(frozen=True, slots=True)
class Source:
    """The value a projection reads: its rule, the column as SQL, the engine, and the project's zone as a literal.

    below: the column that will hold the base; None writes the base out wherever it is read.
    """

    rule: FieldRule
    x: str
    dialect: Dialect
    zone: str
    below: str | None = None

    def steps(self, checks: Sequence[tuple[str, str]], text: str, *, base: str | None = None) -> Steps:
        """Build code and text from (condition, code) pairs; the first that holds wins, a NULL condition does not."""
        codes = " ".join(f"WHEN {condition} THEN '{code}'" for condition, code in checks)
        return Steps(
            base if self.below is not None else None,
            f"CASE {codes} END" if checks else None,
            f"COALESCE({text}, '')",
        )
