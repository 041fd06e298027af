"""Constants of a sync: the same text as the wire projection makes of the value, or an error that says what is wanted."""

from __future__ import annotations

import pytest

from sfsync.compiler.constants import ConstantError, wire_text
from sfsync.contract import Field

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
