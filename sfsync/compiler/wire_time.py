"""The wire projection of dates and times: date, datetime, time.

Owns:      the forms of dates and times in text, the range Salesforce stores, the second and millisecond cut.
Does not:  convert zones (engine/dialect does).
Invariant: nothing depends on the session's zone or date style; a text is looked at by a regular expression, valid
           days of each month included, before any cast.
"""

from __future__ import annotations

from sfsync.compiler.wire_base import OUT_OF_RANGE, WRONG_TYPE, Source, Steps
from sfsync.records import SourceType

_YEAR = "(1[7-9][0-9][0-9]|[23][0-9][0-9][0-9]|4000)"
_LEAP = "((1[7-9]|2[0-9]|3[0-9])(0[48]|[2468][048]|[13579][26])|2000|2400|2800|3200|3600|4000)"  # 1700-4000
_DAY = (
    f"({_YEAR}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    f"|02-(0[1-9]|1[0-9]|2[0-8]))|{_LEAP}-02-29)"
)
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,6})?)?"
_OFFSET = "(Z|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?)"  # +00 alone is how engines write an instant as text
DATE = f"^{_DAY}$"
DATETIME = f"^{_DAY}[T ]{_CLOCK}( ?{_OFFSET})?$"
TIME = f"^{_CLOCK}Z?$"

# A day more on both sides: far enough from the engines' own ends that no zone conversion can overflow.
_FIRST, _LAST = "TIMESTAMP '1700-01-01 00:00:00'", "TIMESTAMP '4000-12-31 23:59:59.999999'"
_NEAR = "{y} BETWEEN DATE '1699-12-30' AND DATE '4001-01-02'"


def date(source: Source) -> Steps:
    """YYYY-MM-DD; of an instant the day in the project's zone, of a zone-less timestamp its own day."""
    x, dialect, family = source.x, source.dialect, source.rule.column.family
    if family is SourceType.TEXT:
        base = _blank_is_null(source)
        text = source.below or base
        return source.steps([(f"NOT {dialect.matches(text, DATE)}", WRONG_TYPE)], text, base=base)
    checks = [(_far(source), OUT_OF_RANGE)]
    if family is SourceType.TIMESTAMP:
        day = f"CAST({dialect.timestamp(x, source.rule.column.type)} AS DATE)"
    elif family is SourceType.TIMESTAMPTZ:
        day = dialect.instant_date(x, source.zone)
    else:
        day = x
        checks = []
    checks.append((f"{day} NOT BETWEEN DATE '1700-01-01' AND DATE '4000-12-31'", OUT_OF_RANGE))
    return source.steps(checks, dialect.date_text(day))


def datetime(source: Source) -> Steps:
    """UTC, cut to the second: YYYY-MM-DDTHH:MM:SS.000Z; what has no zone is read in the project's."""
    x, dialect, family = source.x, source.dialect, source.rule.column.family
    base = None
    if family is SourceType.TEXT:
        base = _blank_is_null(source)
        text = source.below or base
        checks = [(f"NOT {dialect.matches(text, DATETIME)}", WRONG_TYPE)]
        moment = _moment(source, text)
    else:
        checks = [(_far(source), OUT_OF_RANGE)]
        if family is SourceType.TIMESTAMPTZ:
            moment = dialect.instant_utc(x)
        else:
            moment = dialect.local_utc(dialect.timestamp(x, source.rule.column.type), source.zone)
    checks.append((f"{moment} NOT BETWEEN {_FIRST} AND {_LAST}", OUT_OF_RANGE))
    return source.steps(checks, dialect.second_text(moment), base=base)


def time(source: Source) -> Steps:
    """HH:MM:SS.mmmZ, cut to the millisecond; no zone is applied."""
    x, dialect, family = source.x, source.dialect, source.rule.column.family
    if family is SourceType.TIME:
        return source.steps([(f"{x} >= TIME '24:00:00'", WRONG_TYPE)], dialect.time_text(x))
    if family is SourceType.TIMESTAMP:
        clock = f"CAST({dialect.timestamp(x, source.rule.column.type)} AS TIME)"
        return source.steps([(_far(source), OUT_OF_RANGE)], dialect.time_text(clock))
    base = _blank_is_null(source)
    text = source.below or base
    plain = f"REPLACE({text}, 'Z', '')"
    padded = f"SUBSTR({plain} || SUBSTR('00:00:00.000', CHAR_LENGTH({plain}) + 1), 1, 12) || 'Z'"
    return source.steps([(f"NOT {dialect.matches(text, TIME)}", WRONG_TYPE)], padded, base=base)


def _far(source: Source) -> str:
    x, family = source.x, source.rule.column.family
    y = source.dialect.timestamp(x, source.rule.column.type) if family is SourceType.TIMESTAMP else x
    return f"{x} IS NOT NULL AND ({_NEAR.format(y=y)}) IS NOT TRUE"


def _blank_is_null(source: Source) -> str:
    return f"NULLIF({source.dialect.trim(source.dialect.text(source.x))}, '')"


def _moment(source: Source, text: str) -> str:
    """A datetime in text as a zone-less UTC timestamp. Spelled out in full first: engines differ in short forms."""
    dialect = source.dialect
    clock = f"REPLACE(REPLACE(SUBSTR({text}, 12), ' ', ''), 'Z', '+00')"
    seconds = f"CASE WHEN SUBSTR({text}, 17, 1) = ':' THEN {clock} ELSE SUBSTR({clock}, 1, 5) || ':00' || SUBSTR({clock}, 6) END"
    full = f"(SUBSTR({text}, 1, 10) || ' ' || {seconds})"
    zoned = dialect.matches(text, "(Z|[+-][0-9]{2}(:?[0-9]{2})?)$")
    local = dialect.local_utc(dialect.timestamp(full, "text"), source.zone)
    return f"CASE WHEN {zoned} THEN {dialect.instant_utc(dialect.timestamptz(full))} ELSE {local} END"
