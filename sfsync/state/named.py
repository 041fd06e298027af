"""Which key people mean by the words they give.

Owns:      how a word is compared with keys: the key itself; the record's Id, a masked key's digest, what reports show; and the
           last without regard to capitals, where these do not count.
Does not:  decide what is done with it.
Invariant: a word names one key or none, and a worse match never counts beside a better one.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

from sfsync.engine.dialect import DUCKDB
from sfsync.engine.duckdb import DuckDB
from sfsync.errors import StateError

TABLE = "sfsync_named"
"""A temporary table: `said` and the `_key` that it names."""

SAMPLES = 3
_MARK = " (case-sensitive)"


def capitals_of(identity: str | None) -> tuple[bool, ...]:
    """For each field of an identity as the registry keeps it: do capitals count."""
    return tuple(name.endswith(_MARK) for name in json.loads(identity or "[]"))


def find(
    db: DuckDB,
    asked: Sequence[tuple[str, str]],
    places: str,
    *,
    capitals: Sequence[bool],
    secret: str,
    command: str,
) -> None:
    """Write what is named to the table.

    Args:
        asked: what was said, and a word to look for; several words for one saying are ways to put it.
        places: SQL of `key, id` of all there is.
        capitals: for each field of the identity, do they count.
        secret: what digests of masked keys are made with.
        command: what is typed before the key.

    Raises:
        StateError: something that was said names several keys.
    """
    shown, digest = _shown("s.key", len(capitals)), "md5(?::VARCHAR || s.key)"
    db.execute(
        f"CREATE OR REPLACE TEMP TABLE {TABLE} AS SELECT DISTINCT said, _key, told FROM (SELECT a.said, s.key AS _key,"
        # Who gives a text sees only what it may have meant; who gives an Id must not learn a masked key from it.
        f" CASE WHEN a.word = s.id AND s.key <> a.word AND ?::VARCHAR <> '' THEN {digest} ELSE s.key END AS told,"
        f" CASE WHEN s.key = a.word THEN 0 WHEN a.word IN (s.id, {digest}, {shown}) THEN 1 ELSE 2 END AS worse"
        " FROM (SELECT unnest(?::VARCHAR[]) AS said, unnest(?::VARCHAR[]) AS word) AS a"
        f" JOIN ({places}) AS s ON a.word IN (s.key, s.id, {digest}, {shown})"
        f" OR {_alike('a.word', 's.key', shown, capitals)})"
        " QUALIFY worse = min(worse) OVER (PARTITION BY said)",
        [secret, secret, secret, [said for said, _ in asked], [word for _, word in asked], secret],
    )
    several = db.execute(
        f"SELECT said, count(DISTINCT _key), min(DISTINCT told, {SAMPLES}) FROM {TABLE} GROUP BY said"
        " HAVING count(DISTINCT _key) > 1 ORDER BY said LIMIT 1"
    )
    if several:
        said, count, keys = several[0]
        raise StateError(
            f"'{said}' names {count:,} records: {', '.join(keys)}{', ...' if count > len(keys) else ''}; nothing was done",
            fix=f"give the key of the one that is meant: {command} {shlex.quote(keys[0])}",
        )


def _shown(key: str, fields: int) -> str:
    """SQL of how reports name a row: several fields as ``A1 / Ito``."""
    if fields < 2:
        return key
    return f"CASE WHEN json_valid({key}) THEN array_to_string(from_json({key}, '[\"VARCHAR\"]'), ' / ') ELSE {key} END"


def _alike(word: str, key: str, shown: str, capitals: Sequence[bool]) -> str:
    """SQL: a word is what is shown of a key but for capitals that do not count."""
    texts = [key]
    if len(capitals) > 1:
        texts = [
            f"json_extract_string(CASE WHEN json_valid({key}) THEN {key} END, '$[{n}]')"
            for n in range(len(capitals))
        ]
    tests = [f"{DUCKDB.fold(word)} = {DUCKDB.fold(shown)}"]
    for n, counts in enumerate(capitals):
        if counts:  # folding changes no length, so the field's text stands at the same place
            before = " + ".join(["1", *(f"length({text}) + 3" for text in texts[:n])])
            tests.append(f"starts_with(substr({word}, {before}), {texts[n]})")
    written = "" if any(capitals) else f" OR {DUCKDB.fold(word)} = {key}"
    return f"({' AND '.join(tests)}{written})"
