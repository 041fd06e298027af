"""Constants of a sync: the same text as the wire projection makes of the value, or an error that says what is wanted."""

from __future__ import annotations

import pytest

from sfsync.compiler.constants import ConstantError, wire_text
from sfsync.contract import Field
from tests.compiler import golden_wire
from tests.compiler.golden_wire import Group, Reject

MONEY = Field("Money__c", "Money", "currency", precision=18, scale=2)
WHOLE = Field("Whole__c", "Whole", "int", digits=10)
TEXT = Field("Text__c", "Text", "string", length=40)
MAIL = Field("Mail__c", "Mail", "email", length=80)
DAY = Field("Day__c", "Day", "date")
AT = Field("At__c", "At", "datetime")
CLOCK = Field("Clock__c", "Clock", "time")
SET = Field("Set__c", "Set", "multipicklist", length=99, picklist=("a", "b"), restricted_picklist=True)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        (MONEY, "1234567890123456.78", "1234567890123456.78"),
        (MONEY, 1234567890123.45, "1234567890123.45"),
        (MONEY, 1234567890123456, "1234567890123456"),
        (MONEY, "9999999999999999.994", "9999999999999999.99"),
        (MONEY, "1e3", "1000"),
        (MONEY, "1e-999", "0"),
        (MONEY, "-0.001", "0"),
        (MONEY, 0.0, "0"),
        (MONEY, "0e999", "0"),
        (MONEY, 1.005, "1.01"),
        (MONEY, "0." + "1" * 300, "0.11"),
        (WHOLE, "2147483647", "2147483647"),
        (TEXT, "\u00a0a\rb\r\nc ", "\u00a0a\nb\nc"),
        (MAIL, "a@x.example", "a@x.example"),
        (DAY, "2000-02-29", "2000-02-29"),
        (AT, "2026-01-31T10:00:00+05:30", "2026-01-31T04:30:00.000Z"),
        (AT, "2026-01-31 10:00:00.987654 -01", "2026-01-31T11:00:00.000Z"),
        (CLOCK, "10:30", "10:30:00.000Z"),
        (CLOCK, "10:30:15.1234Z", "10:30:15.123Z"),
        (SET, " b;a ; ;b", "a;b"),
    ],
)
def test_texts(field: Field, value: bool | int | float | str | None, text: str) -> None:
    assert wire_text(field, value, narrowed=False) == text


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        (MONEY, 1e30, "must have at most 16 digits before the point"),
        (MONEY, "1" * 30, "must have at most 16 digits before the point"),
        (MONEY, "-9999999999999999.995", "must have at most 16 digits before the point"),
        (MONEY, "9" * 401, "must be a number"),
        (MONEY, float("inf"), "must be a number"),
        (MONEY, "NaN", "must be a number"),
        (MONEY, "1_000", "must be a number"),
        (MONEY, "\u0661\u0662", "must be a number"),
        (MONEY, True, "must be a number"),
        (MONEY, 1234567890123456.78, "has 17 digits, and a plain decimal keeps only 15: put it in quotes"),
        (MONEY, 1000000000000000.01, "has 17 digits, and a plain decimal keeps only 15: put it in quotes"),
        (WHOLE, 2147483648, "must be from -2147483648 to 2147483647"),
        (TEXT, "a\0b", "cannot hold NUL (U+0000)"),
        (TEXT, "\0", "cannot hold NUL (U+0000)"),
        (MAIL, "a@x", "must be an e-mail address"),
        (DAY, "2026-02-29", "must be a date from 1700 to 4000, YYYY-MM-DD"),
        (DAY, "1699-12-31", "must be a date from 1700 to 4000, YYYY-MM-DD"),
        (AT, "0001-01-01T00:00:00+05:00", "must be a time from 1700 to 4000 with its zone, 2026-01-31T10:00:00Z"),
        (AT, "9999-12-31T23:59:59-05:00", "must be a time from 1700 to 4000 with its zone, 2026-01-31T10:00:00Z"),
        (AT, "1700-01-01T00:00:00+05:00", "must be a time from 1700 to 4000 with its zone, 2026-01-31T10:00:00Z"),
        (AT, "2026-01-31T10:00:00", "must be a time from 1700 to 4000 with its zone, 2026-01-31T10:00:00Z"),
        (CLOCK, "\u0661\u0660:30:00", "must be a time, HH:MM:SS"),
    ],
)  # fmt: skip
def test_refused(field: Field, value: bool | int | float | str | None, what: str) -> None:
    with pytest.raises(ConstantError) as caught:
        wire_text(field, value, narrowed=False)
    assert str(caught.value) == what


STRICTER = ("boolean", "datetime")
"""Of these not every text is taken that a column may hold: true or false, and a time with its zone."""
GROUPS = [
    group
    for table in vars(golden_wire).values()
    if isinstance(table, tuple) and all(isinstance(item, Group) for item in table)
    for group in table
    if group.source == "text" and group.type not in STRICTER and not group.rule.get("truncate")
]


def test_constants_agree_with_the_golden_table_of_the_wire() -> None:
    seen = 0
    for group in GROUPS:
        field = field_of(group)
        for value, expected in group.cases:
            seen += 1
            try:
                found = wire_text(field, value, narrowed=False)
            except ConstantError:
                assert isinstance(expected, Reject), (group.type, group.rule, value)
            else:
                assert found == expected, (group.type, group.rule, value)
    assert seen > 100


def field_of(group: Group) -> Field:
    rule, is_int = group.rule, group.type == "int"
    values = tuple(rule.get("picklist") or ())
    return Field(
        "F__c",
        "F",
        group.type,
        length=rule.get("length") or 0,
        precision=0 if is_int else rule.get("precision") or 0,
        digits=(rule.get("precision") or 0) if is_int else 0,
        scale=rule.get("scale") or 0,
        picklist=values,
        restricted_picklist=bool(values),
    )
