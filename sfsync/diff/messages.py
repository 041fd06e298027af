"""Why sfsync itself refused a row, in words: one SQL expression over refused rows, masked where a field is pii.

Owns:      the wording of local refusals; codes are Salesforce's own vocabulary.
Does not:  judge (wire and sql do) or word the org's answers (those are the org's own).
"""

from __future__ import annotations

from sfsync.compiler.manifest import CompiledSync
from sfsync.engine.dialect import quote_literal as literal
from sfsync.records import FieldRule

MASK = "***"
PICKLIST_SHOWN = 8


def message_sql(sync: CompiledSync) -> str:
    """An expression over `_code, _field, _value, _size, _copies` giving the message of each refused row."""
    cases = " ".join(
        f"WHEN _field = {literal(rule.field)} AND _code = {literal(code)} THEN {text}"
        for rule in sync.rules
        for code, text in _texts(rule).items()
    )
    key = sync.identity[0]
    names = ", ".join(rule.field for rule in sync.identity)
    return (
        f"CASE WHEN _copies > 1 THEN {literal(f'{key.column.name}: the key stands in ')} || CAST(_copies AS VARCHAR)"
        f" || ' rows of the model; none of them is sent'"
        f" WHEN _code = 'DUPLICATE_EXTERNAL_ID' THEN {literal(f'{names}: more than one record found in the org: ')} || _value"
        f" WHEN _code = 'MISSING_ARGUMENT' THEN {literal(f'{key.field} not specified: {key.column.name} is null or blank')}"
        f" {cases} ELSE {literal('not a value for ')} || _field END"
    )


def _texts(rule: FieldRule) -> dict[str, str]:
    shown = literal(MASK) if rule.pii else "coalesce(_value, 'null')"
    name = rule.label if rule.label == rule.field else f"{rule.label} ({rule.field})"
    head = f"{name}: "

    return {
        "STRING_TOO_LONG": (
            f"{literal(head + 'data value too large, ')} || CAST(_size AS VARCHAR)"
            f" || {literal(f' characters (max length={rule.length})')}"
            + (
                ""
                if rule.pii
                else " || ': ' || substr(_value, 1, 60) || CASE WHEN _size > 60 THEN '…' ELSE '' END"
            )
        ),
        "NUMBER_OUTSIDE_VALID_RANGE": (
            f"{literal(head + 'value outside of valid range, ' + _range(rule) + ': ')} || {shown}"
        ),
        "INVALID_TYPE_ON_FIELD_IN_RECORD": (
            f"{literal(head + f'value not of required type {rule.type}{_form(rule)}: ')} || {shown}"
        ),
        "INVALID_EMAIL_ADDRESS": f"{literal(head + 'invalid email address: ')} || {shown}",
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST": (
            f"{literal(head + 'bad value for restricted picklist field: ')} || {shown}"
            f" || {literal(_allowed(rule))}"
        ),
        "MALFORMED_ID": f"{literal(head + 'id value of incorrect type: ')} || {shown}",
        "INVALID_CROSS_REFERENCE_KEY": _no_parent(rule, head, shown),
        "REQUIRED_FIELD_MISSING": literal(
            f"Required fields are missing: [{rule.field}]: {rule.column.name} is null or blank"
        ),
    }


def _no_parent(rule: FieldRule, head: str, shown: str) -> str:
    """Of a lookup that was looked for: none, or more than one."""
    lookup = rule.lookup
    if lookup is None:
        return literal(f"{head}invalid cross reference id")
    of = f"has {lookup.field} "
    return (
        f"{literal(head)} || CASE WHEN _size > 1 THEN CAST(_size AS VARCHAR) || {literal(f' {lookup.kind}s have {lookup.field} ')}"
        f" ELSE {literal(f'no {lookup.kind} {of}')} END || {shown}"
    )


def _form(rule: FieldRule) -> str:
    """The form a text must have, where that is not plain from the type."""
    return {
        "date": " (YYYY-MM-DD, 1700-01-01 to 4000-12-31)",
        "datetime": " (YYYY-MM-DDTHH:MM:SS with an optional offset)",
        "time": " (HH:MM or HH:MM:SS)",
        "boolean": " (true or false)",
    }.get(rule.type, "")


def _range(rule: FieldRule) -> str:
    if rule.type in ("date", "datetime"):
        return "1700-01-01 to 4000-12-31"
    if rule.type == "int" or rule.precision is None:
        return "-2147483648 to 2147483647"
    return f"at most {rule.precision - (rule.scale or 0)} digits before the point"


def _allowed(rule: FieldRule) -> str:
    values = rule.picklist or ()
    more = "" if len(values) <= PICKLIST_SHOWN else f", and {len(values) - PICKLIST_SHOWN} more"
    return f" (allowed: {', '.join(values[:PICKLIST_SHOWN])}{more})"
