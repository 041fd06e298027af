"""Which record people mean who name one on the command line: a part of `sfsync explain`."""

from __future__ import annotations

from collections.abc import Sequence

from sfsync.compiler import wire
from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import DUCKDB
from sfsync.engine.dialect import quote_literal as literal
from sfsync.errors import StateError
from sfsync.jobs.session import Session
from sfsync.state import named, rejected, snapshots


def meant_key(session: Session, sync: CompiledSync, words: Sequence[str]) -> str:
    """The key of the row or record that is asked for.

    Args:
        words: one: the identity's text, the record's Id, or what reports show of it. Or the identity's values in the
            order of the sync, or FIELD=VALUE for each of its fields.

    Raises:
        StateError: neither the model nor the state has such a record, or these words name none, or several.
    """
    asked = " ".join(words)
    keys = [*words[:1]] if len(words) == 1 else []
    texts = _values(sync, words)
    if texts is not None:
        made = wire.key_text(sync.identity, [literal(text.strip()) for text in texts], DUCKDB)
        keys.append(str(session.db.value(f"SELECT {made}") or ""))
    named.find(
        session.db,
        [(asked, key) for key in keys],
        f"SELECT k AS key, id FROM ({_places(session, sync)}) WHERE k IS NOT NULL",
        capitals=[rule.case_sensitive for rule in sync.identity],
        secret=session.store.meta("secret") or "",
        command=f"sfsync explain {sync.name}",
    )
    found = session.db.execute(f"SELECT _key FROM {named.TABLE} LIMIT 1")
    if not found:
        raise _nobody(sync, asked)
    return str(found[0][0])


def _values(sync: CompiledSync, words: Sequence[str]) -> list[str] | None:
    """The identity's texts in the order of the sync; None where the words are something else.

    Raises:
        StateError: they are several, and not as many as there are fields.
    """
    pairs = dict(word.split("=", 1) for word in words if "=" in word)
    given = {name.strip().lower(): text for name, text in pairs.items()}
    fields = [rule.field for rule in sync.identity]
    if len(given) == len(words) and set(given) == {field.lower() for field in fields}:
        return [given[field.lower()] for field in fields]
    if len(words) == len(fields):
        return list(words)
    if len(words) > 1:
        several = (
            f"by {len(fields)} fields, {', '.join(fields)}" if len(fields) > 1 else f"by {fields[0]} alone"
        )
        raise StateError(
            f"sync '{sync.name}' names a record {several}; {len(words)} values are given",
            fix=f"sfsync explain {sync.name} {_example(sync)}; a value with blanks goes in quotes",
        )
    return None


def _places(session: Session, sync: CompiledSync) -> str:
    """All keys that the model and the state have, with the record's Id where it is known."""
    work, refused = run_table("work", sync.name), run_table("refused", sync.name)
    places = [
        f"SELECT _key AS k, _record_id AS id FROM {work}",
        f"SELECT _key, NULL FROM {refused}",
        f"SELECT key, NULL FROM {rejected.TABLE} WHERE sync = {literal(sync.name)}",
    ]
    if snapshots.inspect(session.store, sync).exists:
        places.append(f"SELECT _key, _id FROM {snapshots.table_of(sync.name)}")
    return " UNION ALL ".join(places)


def _nobody(sync: CompiledSync, asked: str) -> StateError:
    what = f"sync '{sync.name}' has no row in its model, no record and no refused row with key '{asked}'"
    if len(sync.identity) > 1:
        fix = f"give the identity's texts as the model has them, {_example(sync)}, or the record's Id of 18 characters"
        return StateError(what, fix=fix)
    return StateError(
        what, fix="give the identity's text as the model has it, or the record's Id of 18 characters"
    )


def _example(sync: CompiledSync) -> str:
    return " ".join(f"{rule.field}=..." for rule in sync.identity)
