"""Record Ids: 15 characters that matter, 3 that check them.

Owns:      the checksum, base 62, the SQL macros for both, and how the local org spells its own Ids.
Does not:  hold a counter (store) or look a record up (write).
Invariant: an Id made here is prefix (3) + instance (2) + reserved "0" + counter (9, base 62) + checksum (3).

Source: public description of 15 and 18 character Ids; checked against published examples in the tests.
"""

from __future__ import annotations

import re

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHECK = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_ID = re.compile(r"[0-9A-Za-z]{15}(?:[A-Z0-5]{3})?")

_BLOCK = 62**5
"""Ids of one run share all but their last five counter digits, so two checksum letters are constants."""

_ENDS = 62**2
ENDS = "org.id_ends"


def base62(number: int, width: int) -> str:
    """The number in base 62, zero-filled to `width` digits."""
    digits = []
    for _ in range(width):
        number, rest = divmod(number, 62)
        digits.append(ALPHABET[rest])
    return "".join(reversed(digits))


def checksum(id15: str) -> str:
    """The three characters that make a 15-character Id safe where case is lost."""
    out = ""
    for start in (0, 5, 10):
        bits = sum(1 << k for k, char in enumerate(id15[start : start + 5]) if "A" <= char <= "Z")
        out += _CHECK[bits]
    return out


def to_18(text: str) -> str | None:
    """The 18-character form, or None if the text is no Id or its checksum is wrong."""
    if not _ID.fullmatch(text):
        return None
    full = text[:15] + checksum(text[:15])
    return full if len(text) == 15 or text == full else None


def make_id(prefix: str, instance: str, counter: int) -> str:
    """One Id of this org in 18 characters."""
    id15 = f"{prefix}{instance}0{base62(counter, 9)}"
    return id15 + checksum(id15)


def next_free(counter: int, count: int) -> int:
    """The first counter of `count` neighbours that share their leading digits."""
    return counter if counter % _BLOCK + count <= _BLOCK else (counter // _BLOCK + 1) * _BLOCK


def run_sql(prefix: str, instance: str, first: int, count: int) -> str:
    """A query of the Ids with the counters from `first` on: `n` from 0 to `count` - 1, and `id`.

    Ids are put together from a few heads and the table of all two-digit ends: worked out digit by digit they would cost
    more than all else that is done with a new record. The caller got `first` from `next_free`.
    """
    fixed = checksum(f"{prefix}{instance}0{base62(first // _BLOCK, 4)}00000")[:2]
    blocks = []
    for block in range(first // _ENDS, (first + count - 1) // _ENDS + 1):
        head = f"{prefix}{instance}0{base62(block, 7)}"
        bits = sum(1 << k for k, char in enumerate(head[10:]) if "A" <= char <= "Z")
        blocks.append(f"({block * _ENDS - first}, '{head}', {bits})")
    return (
        f"SELECT b.n + e.n AS n, b.head || e.digits || '{fixed}' || substr('{_CHECK}', 1 + b.bits + e.bits, 1) AS id"
        f" FROM (VALUES {', '.join(blocks)}) b(n, head, bits), {ENDS} e WHERE b.n + e.n BETWEEN 0 AND {count - 1}"
    )


def ends_table() -> str:
    """The statement that makes the table `run_sql` reads: the last two digits of a counter, and what they add to the
    last letter of the checksum."""
    letter = f"substr('{ALPHABET}', CAST({{}} AS INTEGER) + 1, 1)"
    bits = "CASE WHEN {} BETWEEN 10 AND 35 THEN {} ELSE 0 END"
    high, low = "(n // 62)", "(n % 62)"
    return (
        f"CREATE TABLE IF NOT EXISTS {ENDS} AS SELECT CAST(n AS INTEGER) AS n,"
        f" {letter.format(high)} || {letter.format(low)} AS digits,"
        f" {bits.format(high, 8)} + {bits.format(low, 16)} AS bits FROM range({_ENDS}) r(n)"
    )


def _group_sql(text: str, start: int) -> str:
    bits = " + ".join(
        f"CASE WHEN substr({text}, {start + k}, 1) BETWEEN 'A' AND 'Z' THEN {1 << k} ELSE 0 END"
        for k in range(5)
    )
    return f"substr('{_CHECK}', 1 + {bits}, 1)"


def macros() -> tuple[str, ...]:
    """Statements that define `id_checksum(id15)` and `id_18(text)`.

    `id_18` is NULL for a text that is no Id or whose checksum is wrong.
    """
    check = " || ".join(_group_sql("t", start) for start in (1, 6, 11))
    return (
        f"CREATE OR REPLACE MACRO id_checksum(t) AS {check}",
        """CREATE OR REPLACE MACRO id_18(t) AS CASE
             WHEN NOT regexp_full_match(t, '[0-9A-Za-z]{15}([A-Z0-5]{3})?') THEN NULL
             WHEN length(t) = 15 THEN t || id_checksum(t)
             WHEN substr(t, 16) = id_checksum(substr(t, 1, 15)) THEN t END""",
    )
