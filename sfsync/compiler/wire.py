"""The wire projection: for each mapped field, the SQL of the exact text to be sent, and of why it is not.

Owns:      which projection a field type gets, the key's text, and the hash of the source columns.
Does not:  judge what is required on create, what differs, or what is sent (diff does); spell engines (engine/dialect).
Invariant: the same value gives the same text on every engine and in every session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sfsync.compiler import wire_number, wire_text, wire_time
from sfsync.compiler.wire_base import Source, Steps, Wire
from sfsync.engine.dialect import Dialect
from sfsync.errors import CompileError
from sfsync.records import Column, FieldRule, SourceType

PROJECTION = 1
"""The number of our canonical form. Raise it when any text changes: every row is then compared anew, none is lost."""

_T = SourceType
_NUMBERS = frozenset({_T.INTEGER, _T.DECIMAL, _T.DOUBLE, _T.REAL})
_MOMENTS = frozenset({_T.DATE, _T.TIMESTAMP, _T.TIMESTAMPTZ, _T.TEXT})
_AS_TEXT = frozenset({_T.TEXT, _T.INTEGER, _T.DECIMAL, _T.BOOLEAN, _T.DATE})
_TEXTS = ("string", "textarea", "phone", "url", "picklist", "combobox", "encryptedstring", "email")

_Projection = Callable[[Source], Steps]
_TYPES: Mapping[str, tuple[_Projection, frozenset[SourceType]]] = {
    **dict.fromkeys(_TEXTS, (wire_text.string, _AS_TEXT)),
    "multipicklist": (wire_text.multipicklist, _AS_TEXT | {_T.ARRAY}),
    "id": (wire_text.record_id, frozenset({_T.TEXT})),
    "reference": (wire_text.record_id, frozenset({_T.TEXT})),
    "boolean": (wire_text.boolean, _NUMBERS | {_T.BOOLEAN, _T.TEXT}),
    **{name: (wire_number.number, _NUMBERS | {_T.TEXT}) for name in ("int", "double", "currency", "percent")},
    "date": (wire_time.date, _MOMENTS),
    "datetime": (wire_time.datetime, _MOMENTS),
    "time": (wire_time.time, frozenset({_T.TIME, _T.TIMESTAMP, _T.TEXT})),
}
_FOLDED = frozenset({*_TEXTS, "multipicklist"})


def accepts(field_type: str, family: SourceType) -> bool:
    """Can a column of this family be sent to a field of this describe type?"""
    entry = _TYPES.get(field_type)
    return entry is not None and family in entry[1]


def project(rule: FieldRule, dialect: Dialect, *, timezone: str, source: str | None = None) -> Wire:
    """The text and the reject code of one mapping, each complete in itself; for what `steps` says of the arguments."""
    made = steps(rule, dialect, timezone=timezone, source=source)
    return Wire(made.unless_refused(made.code or ""), made.code)


def steps(
    rule: FieldRule, dialect: Dialect, *, timezone: str, source: str | None = None, below: str | None = None
) -> Steps:
    """The text and the reject code of one mapping, as steps.

    Args:
        rule: the mapping; its column's family chooses the form.
        timezone: IANA name in which times without a zone are read, and instants are cut into days.
        source: the value as SQL; the quoted column if left out.
        below: SQL of the column that holds the first step; left out, there is no such step.

    Raises:
        CompileError: no text of this column type is the same everywhere, or the field type cannot be written.
    """
    entry = _TYPES.get(rule.type)
    if entry is None:
        raise CompileError(f"{rule.field}: a field of type {rule.type} cannot be written by sfsync")
    make, families = entry
    if rule.column.family not in families:
        raise CompileError(
            f"{rule.field}: column '{rule.column.name}' of type {rule.column.type}"
            f" does not go into a field of type {rule.type}",
            fix="CAST or format it in the model",
        )
    x = source if source is not None else dialect.ident(rule.column.name)
    return make(Source(rule, x, dialect, dialect.literal(timezone), below))


def key_text(rules: Sequence[FieldRule], texts: Sequence[str], dialect: Dialect) -> str:
    """A row's key as text, NULL when any part is null, blank or rejected.

    One field: its text, ASCII letters folded unless the field is case-sensitive. Several: a JSON array of such texts.
    """
    parts = []
    for rule, text in zip(rules, texts, strict=True):
        folds = not rule.case_sensitive and rule.type in _FOLDED
        parts.append(f"NULLIF({dialect.fold(text) if folds else text}, '')")
    if len(parts) == 1:
        return parts[0]
    return "'[' || " + " || ',' || ".join(wire_text.json_text(part) for part in parts) + " || ']'"


def source_hash(columns: Sequence[Column], dialect: Dialect, seed: str) -> str:
    """64 bits over the columns as stored: unequal hashes select a row for comparison, equal ones mean no change.

    The seed holds the sync's fingerprint; names and types of the columns are added here, since a change of either
    may turn equal bits into another text.
    """
    shape = "|".join([seed, str(PROJECTION), *(f"{column.name}:{column.type}" for column in columns)])
    values = []
    for column in columns:
        name = dialect.ident(column.name)
        values.append(dialect.text(name) if dialect.refuses_hash(column.type) else name)
    return dialect.row_hash(values, shape)
