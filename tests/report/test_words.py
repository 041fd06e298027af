"""Values as people read them: escapes, measured cuts, numbers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sfsync.records import Operation
from sfsync.report.plan_text import change
from sfsync.report.words import (
    api_text,
    cells,
    cut,
    duration,
    listed,
    moment,
    plural,
    quoted,
    safe,
    value,
    values,
)

QUOTED = [
    ("plain", "abc", '"abc"'),
    ("empty", "", '""'),
    ("a quote and a backslash", 'a"b\\', '"a\\"b\\\\"'),
    ("line ends and tabs", "a\r\n\tb", '"a\\r\\n\\tb"'),
    ("an escape sequence", "\x1b[2J", '"\\x1b[2J"'),
    ("reading direction", "a\u202eb", '"a\\u202eb"'),
    ("a zero width space", "a\u200bb", '"a\\u200bb"'),
    ("a byte order mark", "\ufeffa", '"\\ufeffa"'),
    ("a separator of lines", "a\u2028b", '"a\\u2028b"'),
    ("letters of the world", "Ünïcødé 東京 محمد", '"Ünïcødé 東京 محمد"'),
    ("an emoji of several", "👩‍🚀", '"👩‍🚀"'),
    ("a hidden tag", "a\U000e0041", '"a\\U000e0041"'),
]


@pytest.mark.parametrize(("text", "expected"), [q[1:] for q in QUOTED], ids=[q[0] for q in QUOTED])
def test_quoted(text, expected):
    assert quoted(text) == expected


def test_safe_keeps_backslashes_and_hides_controls():
    assert safe("C:\\x\n\x07é") == "C:\\x\\n\\x07é"


CUTS = [
    ("fits", "abcdef", 6, "abcdef"),
    ("cut", "abcdefg", 6, "abcde…"),
    ("no limit", "a" * 300, 0, "a" * 300),
    ("wide letters count two", "東京東京", 6, "東京…"),
    ("a wide letter is not halved", "東京東京", 5, "東京…"),
]


@pytest.mark.parametrize(("text", "width", "expected"), [c[1:] for c in CUTS], ids=[c[0] for c in CUTS])
def test_cut(text, width, expected):
    assert cut(text, width) == expected
    assert not width or cells(cut(text, width)) <= width


def test_a_cut_value_keeps_its_quotes():
    assert value("x" * 100, 12) == '"xxxxxxxxx…"'
    assert len(value("x" * 10_000, 0)) == 200


@pytest.mark.parametrize("width", [24, 40, 76])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a" * 500 + "X", "a" * 500 + "Y"),
        ("short", "s" * 900),
        ("l" * 900, "short"),
        ("東" * 90 + "a", "東" * 90 + "b"),
    ],
)
def test_a_difference_stays_in_view(before, after, width):
    old, new = values(before, after, width)
    assert old != new
    assert cells(old) + cells(new) <= width


def test_masked_values_are_shown_as_they_are():
    assert values("***", "***", 40) == ('"***"', '"***"')


CHANGES = [
    ("new", Operation.UPSERT, None, "x", '"x"'),
    ("new, null", Operation.UPSERT, None, "", "(null)"),
    ("changed", Operation.UPDATE, "a", "b", '"a" -> "b"'),
    ("never acknowledged", Operation.UPDATE, None, "b", '(absent) -> "b"'),
    ("was null", Operation.UPDATE, "", "b", '(null) -> "b"'),
    ("cleared", Operation.UPDATE, "a", "", '"a" -> (cleared)'),
    ("cleared, never acknowledged", Operation.UPDATE, None, "", "(absent) -> (cleared)"),
]


@pytest.mark.parametrize(
    ("operation", "before", "after", "expected"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES]
)
def test_change(operation, before, after, expected):
    assert change(operation, before, after, 0) == expected
    assert change(operation, before, after, 60) == expected


TIMES = [(0.04, "0.0s"), (3.21, "3.2s"), (12.4, "12s"), (59.9, "1m 00s"), (185, "3m 05s"), (7800, "2h 10m")]


@pytest.mark.parametrize(("seconds", "expected"), TIMES)
def test_duration(seconds, expected):
    assert duration(seconds) == expected


def test_numbers_and_lists():
    assert plural(1, "call") == "1 call"
    assert plural(1200, "call") == "1,200 calls"
    assert (plural(1, "Bulk batch"), plural(2, "Bulk batch")) == ("1 Bulk batch", "2 Bulk batches")
    assert listed("abcd", 2) == "a, b and 2 more"
    assert listed("ab", 2) == "a, b"


def test_what_is_unknown_says_so():
    assert api_text(0, None, None) == "API: 0 calls; unknown allowed, unknown left in the org."
    at = datetime(2026, 7, 22, 9, 14, tzinfo=UTC)
    assert api_text(1, 5, 6, at, at) == "API: 1 call; 5 allowed, 6 left in the org (seen 09:14)."
    assert moment(None) == "never"
