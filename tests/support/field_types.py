"""Field types x value classes as people read them (docs/reference/field-types.md) and as a test plays them.

One list for both: what stands on the page is what `tests/jobs/test_field_types_played.py` has sent to an org, by Bulk jobs
and by Collections, and what it found there afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

TIMEZONE = "America/New_York"
"""Of the project that plays the list: a zone with summer time."""

PARENT = "Parent__c"
MISSING_ID = "a00000000000000AAA"
"""Well formed, and of nobody."""


@dataclass(frozen=True)
class Refused:
    """The row does not arrive. by: 'sfsync', which then sends nothing, or 'org'."""

    code: str
    by: str = "sfsync"
    outcome: str = "rejected"


@dataclass(frozen=True)
class Case:
    """One value of a class.

    value: SQL of the value in the model; `{id15}`, `{id18}`, `{id18_lower}` stand for the Id of a parent record.
    sent: the wire text, '' for null, None for nothing at all, or Refused.
    shown: the value in words, where its SQL would say too little.
    """

    name: str
    value: str
    sent: str | Refused | None
    shown: str | None = None
    holds: str | None = None  # what the org then has, where that is not the text


@dataclass(frozen=True)
class Kind:
    """A field of a type, fed from a column of a type, with its cases.

    before: two texts of the field; each row's record holds the first that its case does not send.
    describe: what the org says of the field. mapping: keys of the field in the sync.
    """

    title: str
    type: str
    column: str
    before: tuple[str, str]
    cases: tuple[Case, ...]
    describe: dict[str, Any] = field(default_factory=dict)
    mapping: dict[str, Any] = field(default_factory=dict)

    @property
    def number(self) -> int:
        return KINDS.index(self)

    @property
    def field(self) -> str:
        return f"F{self.number:02}__c"

    @property
    def described(self) -> dict[str, Any]:
        """The field in the schema file of a local org."""
        own = {"type": self.type, "label": f"F{self.number:02}"} | self.describe
        return own | ({"relationship_name": f"F{self.number:02}__r"} if self.type == "reference" else {})

    @property
    def source(self) -> str:
        return f"f{self.number:02}"


WRONG = Refused("INVALID_TYPE_ON_FIELD_IN_RECORD")
RANGE = Refused("NUMBER_OUTSIDE_VALID_RANGE")
LONG = Refused("STRING_TOO_LONG")
EMAIL = Refused("INVALID_EMAIL_ADDRESS")
CHOICE = Refused("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST")
BAD_ID = Refused("MALFORMED_ID")

NULL = Case("null", "NULL", "")
BLANKS = (NULL, Case("empty text", "''", ""), Case("blanks only", "'  ' || chr(9)", ""))


def texts(length: int) -> tuple[Case, ...]:
    """What every field of free text does."""
    full, emoji = "x" * length, "👍" * length
    return (
        *BLANKS,
        Case("blanks around", "'  Ito '", "Ito"),
        Case("as long as the field", f"repeat('x', {length})", full),
        Case("as long as the field, in emoji", f"repeat('👍', {length})", emoji),
        Case("one character longer", f"repeat('x', {length + 1})", LONG),
        Case("longer by blanks at its end", f"repeat('x', {length}) || '  '", full),
        Case("literally `#N/A`", "'#N/A'", "#N/A"),
        Case("`NULL` as a word", "'NULL'", "NULL"),
        Case("quotes", "'O''Neil \"Bo\"'", 'O\'Neil "Bo"'),
        Case("comma and semicolon", "'a,b;c'", "a,b;c"),
        Case("backslash", "'a\\b'", "a\\b"),
        Case("accents and emoji", "'Zoë 👍🏽'", "Zoë 👍🏽"),
        Case("tab inside", "'a' || chr(9) || 'b'", "a\tb"),
        Case("a zero", "'0'", "0"),
    )


LINES = Case("line breaks", "'a' || chr(13) || chr(10) || 'b' || chr(13) || 'c'", "a\nb\nc", "`a\\r\\nb\\rc`")
NUL = Case("a NUL character", "'a' || chr(0) || 'b'", WRONG)
CHOICES = {"picklist": ["Web", "It's"]}
STRICT = CHOICES | {"restricted_picklist": True}
MULTIS = {"picklist": ["A", "B", "C, D"]}


def numbers(precision: int, scale: int) -> dict[str, Any]:
    return {"precision": precision, "scale": scale}


def amounts() -> tuple[Case, ...]:
    """Into a field of five digits, two of them after the point, from a decimal column."""
    return (
        NULL,
        Case("zero", "0", "0"),
        Case("zeros at its end", "12.5000", "12.5"),
        Case("too many digits", "12.3449", "12.34"),
        Case("half of the last digit", "2.6750", "2.68"),
        Case("half of it, below zero", "-2.6750", "-2.68"),
        Case("less than half, below zero", "-0.0040", "0"),
        Case("the largest", "999.99", "999.99"),
        Case("rounded past the largest", "999.9950", RANGE),
        Case("too large", "1000", RANGE),
        Case("too small", "-1000", RANGE),
    )


def kinds() -> Iterator[Kind]:
    """In the order of the page."""
    yield from text_kinds()
    yield from choice_kinds()
    yield from number_kinds()
    yield from time_kinds()
    yield from reference_kinds()


def text_kinds() -> Iterator[Kind]:
    words = ("before", "other")
    for name, length in (("string", 20), ("textarea", 30), ("phone", 20), ("url", 30)):
        yield Kind(name, name, "VARCHAR", words, (*texts(length), LINES, NUL), {"length": length})
    secret = (
        *BLANKS,
        Case("blanks around", "' 4711 '", "4711"),
        Case("longer than the field", "repeat('x', 11)", LONG),
    )
    yield Kind("encryptedstring", "encryptedstring", "VARCHAR", words, secret, {"length": 10})
    fill = (NULL, Case("blanks around", "' Call '", "Call"), Case("not in the list", "'Walk'", "Walk"))
    yield Kind(
        "combobox", "combobox", "VARCHAR", ("Visit", "Mail"), fill, {"length": 255, "picklist": ["Call"]}
    )
    cut = (
        Case("longer than the field", "'abcdefgh'", "abcde"),
        Case("a blank where it is cut", "'abcd fgh'", "abcd"),
        Case("emoji", "repeat('👍', 6)", "👍" * 5),
    )
    yield Kind(
        "string, `truncate: true`", "string", "VARCHAR", ("b", "o"), cut, {"length": 5}, {"truncate": True}
    )
    kept = (Case("null", "NULL", None), Case("empty text", "''", None), Case("text", "'Ito'", "Ito"))
    yield Kind("string, `nulls: keep`", "string", "VARCHAR", words, kept, {"length": 20}, {"nulls": "keep"})
    whole = (
        NULL,
        Case("zero", "0", "0"),
        Case("below zero", "-7", "-7"),
        Case("longer than the field", "123456", LONG),
    )
    yield Kind("string", "string", "BIGINT", ("1", "2"), whole, {"length": 5})
    decimal = (
        Case("zeros at its end", "12.5000", "12.5"),
        Case("whole", "100", "100"),
        Case("zero", "0", "0"),
    )
    yield Kind("string", "string", "DECIMAL(18,4)", ("1", "2"), decimal, {"length": 20})
    truth = (NULL, Case("true", "true", "true"), Case("false", "false", "false"))
    yield Kind("string", "string", "BOOLEAN", ("false", "true"), truth, {"length": 20})
    day = (Case("a day", "DATE '2026-01-31'", "2026-01-31"),)
    yield Kind("string", "string", "DATE", ("2026-01-01", "2026-01-02"), day, {"length": 20})
    yield Kind("email", "email", "VARCHAR", ("b@x.example", "o@x.example"), addresses(), {"length": 30})


def addresses() -> tuple[Case, ...]:
    return (
        *BLANKS,
        Case("blanks around", "' ai@acme.example '", "ai@acme.example"),
        Case("capitals", "'Ai.Ito+x@Acme.Example'", "Ai.Ito+x@Acme.Example"),
        Case("apostrophe", "'o''neil@acme.example'", "o'neil@acme.example"),
        Case("no point in the domain", "'ai@acme'", EMAIL),
        Case("no @", "'acme.example'", EMAIL),
        Case("two addresses", "'a@acme.example,b@acme.example'", EMAIL),
        Case("a letter outside ASCII", "'zoë@acme.example'", EMAIL),
        Case("literally `#N/A`", "'#N/A'", EMAIL),
        Case("longer than the field", "repeat('a', 20) || '@acme.example'", LONG),
    )


def choice_kinds() -> Iterator[Kind]:
    value = (*BLANKS, Case("blanks around", "' Web '", "Web"), Case("apostrophe", "'It''s'", "It's"))
    free = Case("not in the list", "'Fair'", "Fair")
    strict = (
        *value,
        Case("not in the list", "'Fair'", CHOICE),
        Case("in other case", "'web'", CHOICE),
        Case("literally `#N/A`", "'#N/A'", CHOICE),
    )
    pick = {"length": 255}
    yield Kind("picklist, restricted", "picklist", "VARCHAR", ("Web", "It's"), strict, pick | STRICT)
    open_list = (*value, free, Case("literally `#N/A`", "'#N/A'", "#N/A"))
    yield Kind("picklist, unrestricted", "picklist", "VARCHAR", ("Web", "It's"), open_list, pick | CHOICES)
    several = (
        *BLANKS,
        Case("in another order", "'B;A'", "A;B"),
        Case("blanks around, doubles", "' B ; A;B;'", "A;B"),
        Case("a comma in a value", "'C, D;A'", "A;C, D"),
    )
    ends = (Case("one not in the list", "'A;X'", CHOICE), Case("in other case", "'a'", CHOICE))
    multi = {"length": 4099}
    restricted = multi | MULTIS | {"restricted_picklist": True}
    yield Kind(
        "multipicklist, restricted", "multipicklist", "VARCHAR", ("A", "B"), (*several, *ends), restricted
    )
    more = (*several, Case("one not in the list", "'X;A'", "A;X"), Case("literally `#N/A`", "'#N/A'", "#N/A"))
    yield Kind("multipicklist, unrestricted", "multipicklist", "VARCHAR", ("A", "B"), more, multi | MULTIS)
    lists = (
        NULL,
        Case("empty list", "[]", ""),
        Case("list", "['B', 'A', NULL, ' B']", "A;B"),
        Case("one not in the list", "['A', 'X']", CHOICE),
    )
    yield Kind("multipicklist, restricted", "multipicklist", "VARCHAR[]", ("A", "B"), lists, restricted)


def number_kinds() -> Iterator[Kind]:
    never = Case("null", "NULL", None)
    truth = {"nillable": False, "defaulted_on_create": True}
    yes_no = (never, Case("true", "true", "true"), Case("false", "false", "false"))
    yield Kind("boolean", "boolean", "BOOLEAN", ("true", "false"), yes_no, truth)
    words = (
        never,
        Case("empty text", "''", None),
        Case("a word for yes", "' Yes '", "true"),
        Case("a word for no", "'OFF'", "false"),
        Case("`0`", "'0'", "false"),
        Case("another word", "'maybe'", WRONG),
    )
    yield Kind("boolean", "boolean", "VARCHAR", ("true", "false"), words, truth)
    bits = (never, Case("one", "1", "true"), Case("zero", "0", "false"), Case("two", "2", WRONG))
    yield Kind("boolean", "boolean", "INTEGER", ("true", "false"), bits, truth)
    whole = (
        NULL,
        Case("zero", "0", "0"),
        Case("the largest", "2147483647", "2147483647"),
        Case("too large", "2147483648", RANGE),
        Case("too small", "-2147483649", RANGE),
    )
    yield Kind("int", "int", "BIGINT", ("5", "6"), whole, {"digits": 10})
    halves = (
        Case("half", "2.5", "3"),
        Case("half, below zero", "-2.5", "-3"),
        Case("less than half", "-0.4", "0"),
    )
    yield Kind("int", "int", "DECIMAL(18,4)", ("5", "6"), halves, {"digits": 10})
    for name in ("double", "currency", "percent"):
        yield Kind(name, name, "DECIMAL(18,4)", ("5", "6"), amounts(), numbers(5, 2))
    floats = (
        NULL,
        Case("half of the last digit", "1.005", "1.01"),
        Case("not exact in binary", "0.1 + 0.2::DOUBLE", "0.3"),
        Case("minus zero", "'-0.0'", "0"),
        Case("in powers of ten", "1e15", "1000000000000000"),
        Case("too large", "1e17", RANGE),
        Case("not a number", "'NaN'", WRONG),
        Case("infinite", "'Infinity'", WRONG),
    )
    yield Kind("double", "double", "DOUBLE", ("5", "6"), floats, numbers(18, 2))
    read = (
        *BLANKS,
        Case("`0`", "'0'", "0"),
        Case("blanks around", "' 12.50 '", "12.5"),
        Case("plus sign, zeros before", "'+007'", "7"),
        Case("in powers of ten", "'2445e-3'", "2.45"),
        Case("grouped", "'1,000'", WRONG),
        Case("with a unit", "'$5'", WRONG),
        Case("decimal comma", "'1,5'", WRONG),
        Case("a word", "'many'", WRONG),
        Case("literally `#N/A`", "'#N/A'", WRONG),
        Case("too large", "'1e999'", RANGE),
    )
    yield Kind("currency", "currency", "VARCHAR", ("5", "6"), read, numbers(18, 2))
    yield Kind(
        "double",
        "double",
        "BIGINT",
        ("5", "6"),
        (Case("zero", "0", "0"), Case("too large", "1000", RANGE)),
        numbers(5, 2),
    )


def time_kinds() -> Iterator[Kind]:
    days, moments = ("2020-01-01", "2020-01-02"), ("2020-01-01T00:00:00.000Z", "2020-01-02T00:00:00.000Z")
    plain = (
        NULL,
        Case("a day", "DATE '2026-01-31'", "2026-01-31"),
        Case("the first", "DATE '1700-01-01'", "1700-01-01"),
        Case("too early", "DATE '1699-12-31'", RANGE),
        Case("too late", "DATE '4001-01-01'", RANGE),
    )
    yield Kind("date", "date", "DATE", days, plain)
    read = (
        *BLANKS,
        Case("blanks around", "' 2024-02-29 '", "2024-02-29"),
        Case("no such day", "'2026-02-29'", WRONG),
        Case("in another order", "'31/01/2026'", WRONG),
        Case("an instant", "'2026-01-31T00:00:00Z'", WRONG),
        Case("a word", "'today'", WRONG),
    )
    yield Kind("date", "date", "VARCHAR", days, read)
    late = (Case("no zone, late in the day", "TIMESTAMP '2026-01-31 23:59:59.9'", "2026-01-31"),)
    yield Kind("date", "date", "TIMESTAMP", days, late)
    zoned = (Case("past midnight in UTC", "TIMESTAMPTZ '2026-02-01 03:00:00+00'", "2026-01-31"),)
    yield Kind("date", "date", "TIMESTAMPTZ", days, zoned)
    local = (
        NULL,
        Case("no zone, winter", "TIMESTAMP '2026-01-31 10:00:00'", "2026-01-31T15:00:00.000Z"),
        Case("no zone, summer time", "TIMESTAMP '2026-07-01 10:00:00'", "2026-07-01T14:00:00.000Z"),
        Case("an hour that is skipped", "TIMESTAMP '2026-03-08 02:30:00'", "2026-03-08T07:30:00.000Z"),
        Case("an hour that comes twice", "TIMESTAMP '2026-11-01 01:30:00'", "2026-11-01T06:30:00.000Z"),
        Case("parts of a second", "TIMESTAMP '2026-01-31 10:00:00.999'", "2026-01-31T15:00:00.000Z"),
        Case("too late", "TIMESTAMP '4001-01-02 00:00:00'", RANGE),
    )
    yield Kind("datetime", "datetime", "TIMESTAMP", moments, local)
    instants = (
        NULL,
        Case("an instant", "TIMESTAMPTZ '2026-01-31 10:00:00+01'", "2026-01-31T09:00:00.000Z"),
        Case(
            "first of the hour that comes twice",
            "TIMESTAMPTZ '2026-11-01 05:30:00+00'",
            "2026-11-01T05:30:00.000Z",
        ),
        Case("second of it", "TIMESTAMPTZ '2026-11-01 06:30:00+00'", "2026-11-01T06:30:00.000Z"),
        Case("too early", "TIMESTAMPTZ '1600-01-01 00:00:00+00'", RANGE),
    )
    yield Kind("datetime", "datetime", "TIMESTAMPTZ", moments, instants)
    texts = (
        *BLANKS,
        Case("no zone", "'2026-01-31 10:00:00'", "2026-01-31T15:00:00.000Z"),
        Case("as engines write an instant", "'2026-01-31 10:00:00-05'", "2026-01-31T15:00:00.000Z"),
        Case("with an offset", "'2026-01-31T10:00:00+01:00'", "2026-01-31T09:00:00.000Z"),
        Case("in UTC, without seconds", "'2026-01-31T10:00Z'", "2026-01-31T10:00:00.000Z"),
        Case("a day", "'2026-01-31'", WRONG),
        Case("no such hour", "'2026-01-31 24:00:00'", WRONG),
        Case("literally `#N/A`", "'#N/A'", WRONG),
    )
    yield Kind("datetime", "datetime", "VARCHAR", moments, texts)
    dates = (Case("a day", "DATE '2026-01-31'", "2026-01-31T05:00:00.000Z"),)
    yield Kind("datetime", "datetime", "DATE", moments, dates)
    clock = ("01:00:00.000Z", "02:00:00.000Z")
    hours = (
        NULL,
        Case("parts of a millisecond", "TIME '10:00:00.123999'", "10:00:00.123Z"),
        Case("the end of the day", "TIME '24:00:00'", WRONG),
    )
    yield Kind("time", "time", "TIME", clock, hours)
    said = (
        *BLANKS,
        Case("without seconds", "' 10:00 '", "10:00:00.000Z"),
        Case("in UTC", "'10:00:00.5Z'", "10:00:00.500Z"),
        Case("no such hour", "'25:00'", WRONG),
        Case("twelve hours", "'10:00 PM'", WRONG),
    )
    yield Kind("time", "time", "VARCHAR", clock, said)


def reference_kinds() -> Iterator[Kind]:
    points = {"length": 18, "reference_to": [PARENT]}
    nobody = Refused("INVALID_CROSS_REFERENCE_KEY", by="org")
    ids = (
        *BLANKS,
        Case("an Id of 15 characters", "'{id15}'", "{id18}", "an Id of 15 characters"),
        Case(
            "18, its end in small letters", "'{id18_lower}'", "{id18}", "an Id whose last three were folded"
        ),
        Case("blanks around", "' {id18} '", "{id18}", "an Id between blanks"),
        Case("no Id", "'nope'", BAD_ID),
        Case("14 characters", "'a0000000000000'", BAD_ID),
        Case("a wrong check character", "'a00000000000000AAB'", BAD_ID),
        Case("literally `#N/A`", "'#N/A'", BAD_ID),
        Case("of no record", f"'{MISSING_ID}'", nobody),
    )
    yield Kind("reference by Id", "reference", "VARCHAR", ("{id_one}", "{id_two}"), ids, points)
    missing = Refused("INVALID_FIELD", by="org", outcome="failed")
    keys = (
        *BLANKS,
        Case("the parent's key", "'P3'", "P3", holds="{id18}"),
        Case("blanks around, in other case", "' p3 '", "p3", holds="{id18}"),
        Case("of no record", "'P9'", missing),
        Case("longer than the parent's field", "repeat('P', 11)", LONG),
    )
    yield Kind(
        "reference by external id",
        "reference",
        "VARCHAR",
        ("P1", "P2"),
        keys,
        points,
        {"lookup": f"{PARENT}.Key__c"},
    )


GONE = Refused("ENTITY_IS_DELETED", by="org", outcome="gone")
IDENTITIES = (
    Case("18 characters", "'{id18}'", "{id18}", "the Id"),
    Case("15 characters", "'{id15}'", "{id18}", "its first 15 characters"),
    Case("its end in small letters", "'{id18_lower}'", "{id18}", "the Id whose last three were folded"),
    Case("blanks around", "' {id18} '", "{id18}", "the Id between blanks"),
    Case("no Id", "'nope'", BAD_ID),
    Case("a wrong check character", "'a00000000000000AAB'", BAD_ID),
    Case("null", "NULL", Refused("MISSING_ARGUMENT")),
    Case("blank", "'  '", Refused("MISSING_ARGUMENT")),
    Case("of no record", f"'{MISSING_ID}'", GONE),
    Case("of a record of another object", "'001000000000000AAA'", Refused("MALFORMED_ID", by="org")),
)
"""What a column is taken for that is mapped by `identity: {Id: column}`; each has a record of its own."""

KINDS = tuple(kinds())
CASES = tuple((kind, case) for kind in KINDS for case in kind.cases)
