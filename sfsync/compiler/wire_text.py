"""The wire projection of text: strings, picklists, multi-selects, Ids, e-mails, booleans.

Owns:      trimming, line ends, length, truncation, allowed values, Id checksums.
Does not:  spell what differs between engines (engine/dialect), or project numbers and times.
Invariant: lengths are counted in code points, after trimming; comparison is by code point, never by locale.
"""

from __future__ import annotations

from sfsync.compiler.wire_base import (
    BAD_EMAIL,
    MALFORMED_ID,
    NOT_IN_PICKLIST,
    TOO_LONG,
    WRONG_TYPE,
    Source,
    Steps,
)
from sfsync.engine.dialect import Dialect
from sfsync.records import SourceType

_CRLF, _CR, _LF = "'\r\n'", "'\r'", "'\n'"

# Only addresses of these forms are sent; quotes, comments and letters outside ASCII are refused by the platform too.
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
EMAIL = f"^[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]+@({_LABEL}[.])+{_LABEL}$"
ID = "^[A-Za-z0-9]{15}([A-Za-z0-9]{3})?$"
CHECKSUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"

_TRUE = "('true', 't', 'yes', 'y', 'on', '1')"
_FALSE = "('false', 'f', 'no', 'n', 'off', '0')"


def string(source: Source) -> Steps:
    """string, textarea, phone, url, combobox, encryptedstring, picklist, and e-mail."""
    rule, dialect = source.rule, source.dialect
    checks = list(_nul_check(source))
    base = _clean(source, checks)
    text = source.below or base
    if rule.length and rule.truncate:
        text = dialect.trim(f"SUBSTR({text}, 1, {rule.length})")
    elif rule.length:
        checks.append((f"CHAR_LENGTH({text}) > {rule.length}", TOO_LONG))
    if rule.type == "email":
        checks.append((f"{text} <> '' AND NOT {dialect.matches(text, EMAIL)}", BAD_EMAIL))
    if rule.picklist is not None and rule.type in ("picklist", "combobox"):
        allowed = ", ".join(dialect.literal(value) for value in rule.picklist) or "NULL"
        checks.append((f"{text} <> '' AND ({text} IN ({allowed})) IS NOT TRUE", NOT_IN_PICKLIST))
    return source.steps(checks, text, base=base)


def multipicklist(source: Source) -> Steps:
    """A set of values as one text: trimmed, distinct, by code point, joined by ';'."""
    rule, dialect = source.rule, source.dialect
    checks = list(_nul_check(source))
    if rule.column.family is SourceType.ARRAY:
        base = dialect.split_sorted(dialect.array_text(source.x))
    elif rule.column.family is SourceType.TEXT:
        base = dialect.split_sorted(dialect.text(source.x))
    else:
        return string(source)
    text = source.below or base
    if rule.picklist is not None:
        values = [dialect.literal(value) for value in rule.picklist]
        checks.append((f"NOT {dialect.all_among(text, values)}", NOT_IN_PICKLIST))
    if rule.length:
        checks.append((f"CHAR_LENGTH({text}) > {rule.length}", TOO_LONG))
    return source.steps(checks, text, base=base)


def record_id(source: Source) -> Steps:
    """A record Id: 15 characters get their suffix, of 18 the suffix is checked whatever its case."""
    base = source.dialect.trim(source.dialect.text(source.x))
    text = source.below or base
    suffix = _suffix(text)
    checks = [
        (f"{text} <> '' AND NOT {source.dialect.matches(text, ID)}", MALFORMED_ID),
        (f"CHAR_LENGTH({text}) = 18 AND UPPER(SUBSTR({text}, 16, 3)) <> {suffix}", MALFORMED_ID),
    ]
    return source.steps(
        checks, f"CASE WHEN {text} <> '' THEN SUBSTR({text}, 1, 15) || {suffix} END", base=base
    )


def boolean(source: Source) -> Steps:
    """true or false; a null is absent for a boolean, which the sending policy sees to."""
    x, dialect, family = source.x, source.dialect, source.rule.column.family
    if family is SourceType.BOOLEAN:
        return source.steps((), f"CASE WHEN {x} THEN 'true' WHEN NOT {x} THEN 'false' END")
    if family is SourceType.TEXT:
        base = f"LOWER({dialect.trim(dialect.text(x))})"
        text = source.below or base
        checks = [(f"{text} <> '' AND {text} NOT IN {_TRUE} AND {text} NOT IN {_FALSE}", WRONG_TYPE)]
        sent = f"CASE WHEN {text} IN {_TRUE} THEN 'true' WHEN {text} <> '' THEN 'false' END"
        return source.steps(checks, sent, base=base)
    return source.steps(
        [(f"{x} NOT IN (0, 1)", WRONG_TYPE)], f"CASE {x} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END"
    )


def json_text(x: str) -> str:
    """A text as a JSON string, the same bytes on every engine."""
    escaped = f"REPLACE(REPLACE({x}, '\\', '\\\\'), '\"', '\\\"')"
    for code, short in ((8, "b"), (9, "t"), (10, "n"), (12, "f"), (13, "r")):
        escaped = f"REPLACE({escaped}, CHR({code}), '\\{short}')"
    for code in (c for c in range(1, 32) if c not in (8, 9, 10, 12, 13)):
        escaped = f"REPLACE({escaped}, CHR({code}), '\\u{code:04x}')"
    return f"'\"' || {escaped} || '\"'"


def _nul_check(source: Source) -> tuple[tuple[str, str], ...]:
    has_nul = source.dialect.has_nul
    if has_nul is None or source.rule.column.family not in (SourceType.TEXT, SourceType.ARRAY):
        return ()
    x = source.x
    text = (
        source.dialect.array_text(x)
        if source.rule.column.family is SourceType.ARRAY
        else source.dialect.text(x)
    )
    return ((has_nul(text), WRONG_TYPE),)


def _clean(source: Source, checks: list[tuple[str, str]]) -> str:
    """The value as text: trimmed with LF line ends if it is text, in its canonical form if it is something else."""
    dialect, x, family = source.dialect, source.x, source.rule.column.family
    if family is SourceType.TEXT:
        text = dialect.text(x)
        trimmed = dialect.trim(text)
        # Few texts hold a CR, and to look for one costs half of replacing none.
        replaced = f"REPLACE(REPLACE({trimmed}, {_CRLF}, {_LF}), {_CR}, {_LF})"
        return f"CASE WHEN {dialect.contains(text, _CR)} THEN {replaced} ELSE {trimmed} END"
    if family is SourceType.BOOLEAN:
        return f"CASE WHEN {x} THEN 'true' WHEN NOT {x} THEN 'false' END"
    if family is SourceType.DATE:
        checks.append((f"{x} < DATE '0001-01-01' OR {x} > DATE '9999-12-31'", WRONG_TYPE))
        return dialect.date_text(x)
    if family is SourceType.DECIMAL:
        if dialect.finite_decimal is not None:
            checks.append((f"NOT {dialect.finite_decimal(x)}", WRONG_TYPE))
        return _decimal_text(x, dialect)
    return dialect.cast_text(x)


def _decimal_text(x: str, dialect: Dialect) -> str:
    """A decimal's own digits without trailing zeros; one engine leaves out the zero before the point."""
    text = dialect.cast_text(x)
    bare = f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {text}))"
    short = f"CASE WHEN POSITION('.' IN {text}) > 0 THEN {bare} ELSE {text} END"
    return (
        f"CASE WHEN {x} = 0 THEN '0' WHEN SUBSTR({text}, 1, 1) = '.' THEN '0' || {short}"
        f" WHEN SUBSTR({text}, 1, 2) = '-.' THEN '-0' || SUBSTR({short}, 2) ELSE {short} END"
    )


def _suffix(text: str) -> str:
    """The three check characters: of each five characters, which are capital letters, as a number of five bits."""
    parts = []
    for start in (1, 6, 11):
        bits = " + ".join(
            f"CASE WHEN ASCII(SUBSTR({text}, {start + k}, 1)) BETWEEN 65 AND 90 THEN {1 << k} ELSE 0 END"
            for k in range(5)
        )
        parts.append(f"SUBSTR('{CHECKSUM}', 1 + {bits}, 1)")
    return "(" + " || ".join(parts) + ")"
