"""Values, numbers and names as people read them, safe for any screen.

Owns:      escaping, quoting, measuring and cutting of text; numbers, durations, times; the API part of last lines.
Does not:  know a plan or a result.
Invariant: nothing that comes from data can move the cursor, start a new line or turn the reading direction.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import datetime

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}
_JOINER = "\u200d"  # inside emoji
_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
ELLIPSIS = "…"
VERB = {
    "upsert": "create",
    "create": "create",
    "update": "update",
    "delete": "delete",
    "undelete": "restore",
    "link": "link",
}
"""Operations as people name them."""

PIPE_VALUE = 200
"""Characters of one value where no screen sets a limit."""


def safe(text: str) -> str:
    """The text on one line: control characters, line ends and invisible marks as escapes; backslashes as they are."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if c != "\\" else c for c in text)


def quoted(text: str) -> str:
    """A value in double quotes, every character that a reader could not see as an escape."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join('\\"' if c == '"' else _escaped(c) for c in text) + '"'


def _escaped(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    if unicodedata.category(char) in _UNSAFE and char != _JOINER:
        point = ord(char)
        return (
            f"\\x{point:02x}"
            if point < 0x100
            else f"\\u{point:04x}"
            if point < 0x10000
            else f"\\U{point:08x}"
        )
    return char


def cells(text: str) -> int:
    """Columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def pad(text: str, width: int) -> str:
    """The text with blanks up to a width in columns."""
    return text + " " * max(0, width - cells(text))


def cut(text: str, width: int, *, end: str = "") -> str:
    """The text in at most `width` columns, ended by an ellipsis and `end` where something is left out."""
    if width <= 0 or cells(text) <= width:
        return text
    room = width - 1 - len(end)
    kept, used = [], 0
    for char in text:
        used += cells(char)
        if used > room:
            break
        kept.append(char)
    return "".join(kept) + ELLIPSIS + end


def value(text: str, width: int) -> str:
    """A quoted value in at most `width` columns (0: as many as a pipe gets); what is left out is an ellipsis."""
    limit = max(width, 8) if width else PIPE_VALUE
    return cut(quoted(text[: limit * 4 + 8]), limit, end='"')


def values(before: str, after: str, width: int) -> tuple[str, str]:
    """Two values that differ, each within its share of `width` columns, cut so that the difference stays in view."""
    limit = width or 2 * PIPE_VALUE
    old, new = _shares(cells(quoted(before)), cells(quoted(after)), limit)
    pair = value(before, old), value(after, new)
    if pair[0] != pair[1] or before == after:  # equal: both masked
        return pair
    same = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b),
        min(len(before), len(after)),
    )
    start = max(0, same - 4)
    first, second = _shares(cells(quoted(before[start:])) + 1, cells(quoted(after[start:])) + 1, limit)
    return ELLIPSIS + value(before[start:], first - 1), ELLIPSIS + value(after[start:], second - 1)


def _shares(first: int, second: int, limit: int) -> tuple[int, int]:
    """Split `limit` between two lengths: what one does not need, the other gets."""
    half = limit // 2
    if first <= half:
        return first, max(8, limit - first)
    if second <= half:
        return max(8, limit - second), second
    return max(8, half), max(8, half)


def number(count: int) -> str:
    """1234 -> 1,234."""
    return f"{count:,}"


def plural(count: int, noun: str) -> str:
    """``1 call``, ``7 calls``, ``7 batches``."""
    if count == 1:
        return f"1 {noun}"
    if noun.endswith("ch"):
        return f"{count:,} {noun}es"
    return f"{count:,} {noun[:-1]}ies" if noun.endswith("y") else f"{count:,} {noun}s"


def duration(seconds: float) -> str:
    """``0.4s``, ``12s``, ``3m 05s``, ``2h 10m``."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def moment(at: datetime | None, now: datetime | None = None) -> str:
    """A time of day; with its date when it is of another day than `now`. In the zone that the value carries."""
    if at is None:
        return "never"
    if now is not None and at.tzinfo is not None and now.astimezone(at.tzinfo).date() == at.date():
        return f"{at:%H:%M}"
    return f"{at:%Y-%m-%d %H:%M}"


def api_text(
    calls: int,
    allowed: int | None,
    left: int | None,
    seen_at: datetime | None = None,
    now: datetime | None = None,
) -> str:
    """``API: 7 calls; 20,000 allowed, 84,200 left in the org (seen 09:14).``; what is not known says so."""
    spend = "unknown" if allowed is None else number(allowed)
    rest = "unknown" if left is None else number(left)
    seen = f" (seen {moment(seen_at, now)})" if left is not None and seen_at is not None else ""
    return f"API: {plural(calls, 'call')}; {spend} allowed, {rest} left in the org{seen}."


def listed(items: Iterable[str], limit: int) -> str:
    """``a, b, c and 4 more``."""
    names = list(items)
    if len(names) <= limit:
        return ", ".join(names)
    return f"{', '.join(names[:limit])} and {len(names) - limit:,} more"
