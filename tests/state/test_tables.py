"""Snapshots and refused rows: what the tables hold after each thing that can be recorded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from sfsync.engine.dialect import quote_ident as ident
from sfsync.errors import RefusedError
from sfsync.records import Column, FieldRule, Send, SourceType
from sfsync.state import rejected, snapshots
from sfsync.state.store import StateStore
from tests.state.conftest import HandClock, Open

COLUMN = Column("c", "VARCHAR", SourceType.TEXT)


def rule(name: str, create: Send = Send.VALUE, update: Send = Send.VALUE_OR_NULL) -> FieldRule:
    return FieldRule(name, name, COLUMN, "string", create, update, case_sensitive=False)


@dataclass(frozen=True)
class Shape:
    """What the state needs to know of a sync."""

    name: str
    object: str
    identity: tuple[FieldRule, ...]
    fields: tuple[FieldRule, ...]

    @property
    def rules(self) -> tuple[FieldRule, ...]:
        return self.identity + self.fields


SYNC = Shape("contacts", "Contact", (rule("Key__c"),), (rule("A"), rule("B")))


@pytest.fixture
def store(opened: Open) -> StateStore:
    return opened()


def rows(store: StateStore, *columns: str) -> list[tuple[Any, ...]]:
    names = ", ".join(f'"{c}"' for c in columns)
    return store.db.execute(f"SELECT _key, {names} FROM {snapshots.table_of(SYNC.name)} ORDER BY _key")


def values(names: str, *lines: str) -> str:
    return f"(SELECT * FROM (VALUES {', '.join(lines)}) AS v({names}))"


def upsert(store: StateStore, *lines: str, sync: Shape = SYNC) -> None:
    """lines: key, created?, hash, Key__c, A, B."""
    relation = values('_key, _record_id, _created, _source_hash, "Key__c", "A", "B"', *lines)
    snapshots.prepare(store, sync)
    with store.db.transaction():
        snapshots.record_upserts(store, sync, relation, "r1")


def test_created_records_know_their_nulls_and_adopted_ones_do_not(store: StateStore) -> None:
    upsert(
        store,
        "('k1', '003A', TRUE, 11::UBIGINT, 'K1', 'a', NULL)",
        "('k2', '003B', FALSE, 22, 'K2', 'a', NULL)",
        "('k3', '003C', FALSE, 33, 'K3', 'a', 'b')",
    )
    assert rows(store, "_origin", "_source_hash", "A", "B") == [
        ("k1", "created", 11, "a", ""),
        ("k2", "adopted", None, "a", None),
        ("k3", "adopted", 33, "a", "b"),
    ]


def test_a_field_never_sent_on_create_stays_absent_and_is_looked_at_again(store: StateStore) -> None:
    late = replace(SYNC, fields=(rule("A"), rule("B", create=Send.NEVER)))
    upsert(store, "('k1', '003A', TRUE, 11::UBIGINT, 'K1', 'a', NULL)", sync=late)
    assert rows(store, "_source_hash", "A", "B") == [("k1", None, "a", None)]


def before(sync: Shape) -> str:
    """The snapshot as a comparison carries it."""
    known = ", ".join(f"{ident(rule.field)} AS {ident(rule.field + '@')}" for rule in sync.rules)
    return f"(SELECT _key, _id AS _record_id, _origin, {known} FROM {snapshots.table_of(sync.name)})"


def test_updates_merge(store: StateStore, clock: HandClock) -> None:
    upsert(
        store, "('k1', '003A', TRUE, 11::UBIGINT, 'K1', 'a', 'b')", "('k2', '003B', TRUE, 12, 'K2', 'a', 'b')"
    )
    clock.move(hours=1)
    relation = values('_key, _source_hash, "Key__c", "A", "B"', "('k1', 99::UBIGINT, NULL, NULL, '')")
    with store.db.transaction():
        snapshots.record_updates(store, SYNC, relation, before(SYNC), "r2")
    assert rows(store, "_id", "_origin", "_source_hash", "_run_id", "A", "B") == [
        ("k1", "003A", "created", 99, "r2", "a", ""),
        ("k2", "003B", "created", 12, "r1", "a", "b"),
    ]


def test_a_tombstone_has_no_texts_and_is_no_record(store: StateStore) -> None:
    upsert(
        store, "('k1', '003A', TRUE, 11::UBIGINT, 'K1', 'a', 'b')", "('k2', '003B', TRUE, 12, 'K2', 'a', 'b')"
    )
    with store.db.transaction():
        snapshots.record_gone(store, SYNC, values("_key, _record_id", "('k1', '003A')"), "r2")
    assert rows(store, "_id", "A", "B") == [("k1", "003A", None, None), ("k2", "003B", "a", "b")]
    info = snapshots.inspect(store, SYNC)
    assert (info.rows, info.tombstones, snapshots.all_rows(store)) == (1, 1, {"contacts": 1})
    upsert(store, "('k1', '003Z', TRUE, 13::UBIGINT, 'K1', 'x', 'y')")
    assert rows(store, "_id", "_gone_at", "A") == [("k1", "003Z", None, "x"), ("k2", "003B", None, "a")]


def test_a_new_field_is_absent_everywhere_and_an_old_one_keeps_its_text(store: StateStore) -> None:
    upsert(store, "('k1', '003A', TRUE, 11::UBIGINT, 'K1', 'a', 'b')")
    moved = replace(SYNC, fields=(rule("A"), rule('C "x"')))
    snapshots.prepare(store, moved)
    snapshots.prepare(store, moved)
    assert rows(store, "A", "B", 'C ""x""') == [("k1", "a", "b", None)]
    relation = values('_key, _source_hash, "Key__c", "A", "C ""x"""', "('k1', 9::UBIGINT, NULL, NULL, 'c')")
    with store.db.transaction():
        snapshots.record_updates(store, moved, relation, before(moved), "r2")
    assert rows(store, "A", "B", 'C ""x""') == [("k1", "a", "b", "c")]


@pytest.mark.parametrize(
    "changed",
    [
        replace(SYNC, object="Lead"),
        replace(SYNC, identity=(rule("Other__c"),)),
        replace(SYNC, identity=(rule("Key__c"), rule("Other__c"))),
        replace(SYNC, identity=(replace(rule("Key__c"), case_sensitive=True),)),
    ],
    ids=["object", "field", "one field more", "capitals count now"],
)
def test_a_snapshot_belongs_to_one_object_and_identity(store: StateStore, changed: Shape) -> None:
    upsert(store, "('k1', '003A', TRUE, 11::UBIGINT, 'K1', 'a', 'b')")
    info = snapshots.inspect(store, changed)
    assert (info.exists, info.rows) == (False, 0)
    assert (info.foreign or "").startswith("has a snapshot of Contact by Key__c, but now writes")
    with pytest.raises(RefusedError, match="has a snapshot of Contact by Key__c, but now writes") as caught:
        snapshots.prepare(store, changed)
    assert (caught.value.exit_code, "new name" in (caught.value.fix or "")) == (3, True)
    assert rows(store, "A") == [("k1", "a")]


# ------------------------------------------------------------ refused rows

NAMES = "key, digest, decided_by, action, code, field, message, identity, transient"


def refusal(
    key: str | None, digest: str, *, by: str = "org", code: str = "X", transient: bool = False
) -> str:
    shown = "NULL::VARCHAR" if key is None else f"'{key}'"
    return f"({shown}, '{digest}', '{by}', 'create', '{code}', NULL::VARCHAR, 'text', '{{}}', {transient})"


def record(store: StateStore, *lines: str, run: str = "r1") -> None:
    rejected.record_refusals(store, "contacts", values(NAMES, *lines), run)


def held(store: StateStore) -> list[tuple[Any, ...]]:
    return store.db.execute(f"SELECT key, digest, code, attempts FROM {rejected.TABLE} ORDER BY ALL")


def test_attempts_count_per_key_and_keep_their_first_time(store: StateStore, clock: HandClock) -> None:
    record(store, refusal("k1", "d1"), refusal("k2", "d1"))
    first = clock.now()
    for number in (2, 3):
        clock.move(hours=1)
        record(store, refusal("k1", f"d{number}", code="Y"), run=f"r{number}")
    assert held(store) == [("k1", "d3", "Y", 3), ("k2", "d1", "X", 1)]
    [(begun, last)] = store.db.execute(f"SELECT first_at, last_at FROM {rejected.TABLE} WHERE key = 'k1'")
    assert (begun, last) == (first.replace(tzinfo=None), clock.now().replace(tzinfo=None))


def test_rows_without_a_key_are_told_apart_by_their_digest(store: StateStore) -> None:
    record(store, refusal(None, "d1"), refusal(None, "d2"), refusal(None, "d2"))
    record(store, refusal(None, "d2"))
    assert held(store) == [(None, "d1", "X", 1), (None, "d2", "X", 2)]


def test_a_row_held_by_us_in_the_same_form_was_not_tried_again(store: StateStore) -> None:
    for number in range(3):
        record(store, refusal("k1", "d1", by="sfsync"), refusal(None, "n", by="sfsync"), run=f"r{number}")
    assert held(store) == [("k1", "d1", "X", 1), (None, "n", "X", 1)]
    record(store, refusal("k1", "d2", by="sfsync"), refusal(None, "n", by="sfsync", code="Y"))
    assert held(store) == [("k1", "d2", "X", 2), (None, "n", "Y", 2)]
    record(store, refusal("k1", "d2"))
    assert held(store)[0] == ("k1", "d2", "X", 3)


def test_a_key_that_went_through_is_forgotten(store: StateStore) -> None:
    record(store, refusal("k1", "d"), refusal("k2", "d"))
    rejected.clear(store, "contacts", values("_key", "('k1')"))
    rejected.clear(store, "others", values("_key", "('k2')"))
    assert [line[0] for line in held(store)] == ["k2"]


def test_our_own_refusals_end_when_the_row_is_good(store: StateStore) -> None:
    record(
        store,
        refusal("k1", "d", by="sfsync"),
        refusal("k2", "d", by="sfsync"),
        refusal(None, "n", by="sfsync"),
    )
    record(store, refusal("k3", "d", by="org"))
    rejected.keep_only(store, "contacts", values("key, digest", "('k2', 'other')", "(NULL, 'gone')"))
    assert [line[0] for line in held(store)] == ["k2", "k3"]


def test_the_orgs_refusals_end_when_there_is_no_difference_any_more(store: StateStore) -> None:
    record(store, refusal("k1", "d"), refusal("k2", "d"), refusal("k3", "d", by="sfsync"))
    rejected.forget_others(store, "contacts", values("_key", "('k2')"))
    assert [line[0] for line in held(store)] == ["k2", "k3"]


def test_release_lets_the_orgs_refusals_go_once(store: StateStore) -> None:
    record(store, refusal("k1", "d"), refusal("k2", "d", by="sfsync"))
    assert rejected.release(store, ["others"]) == 0
    assert rejected.release(store, ["contacts", "others"]) == 1
    assert rejected.release(store, ["contacts"]) == 0
    record(store, refusal("k1", "d"))
    assert store.db.execute(f"SELECT released FROM {rejected.TABLE} WHERE key = 'k1'") == [(False,)]
    assert rejected.counts(store) == {"contacts": 2}
