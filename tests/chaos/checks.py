"""What has to hold after every run, whatever happened in it.

Owns:      reading the org's journal and the state's file, and each invariant as a function that returns what breaks it.
Does not:  run or change anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import duckdb

from sfsync.artifacts import Result, SyncResult
from sfsync.records import Outcome
from tests.chaos.world import KEYS, LOOKUPS, MAPPED, OBJECTS, World

OPEN_ENDS = {Outcome.IN_DOUBT, Outcome.SUBMITTED, Outcome.FAILED, Outcome.DEFERRED, Outcome.STOPPED}
"""Outcomes that may leave an intent open."""

NOT_DONE = OPEN_ENDS | {Outcome.REJECTED, Outcome.WAITING, Outcome.GONE}


@dataclass
class Seen:
    """The org as its own journal and tables tell it."""

    requests: list[dict[str, Any]]
    records: dict[str, dict[str, dict[str, str]]]  # object -> Id -> live record
    by_hand: set[tuple[str, str]] = field(default_factory=set)  # (Id, field): a person wrote it last
    deleted_by_us: set[str] = field(default_factory=set)
    made_by_us: dict[str, tuple[str, str]] = field(default_factory=dict)  # Id -> (object, key)
    parents: dict[str, str] = field(default_factory=dict)  # Id of an account -> its key

    @property
    def ours(self) -> list[dict[str, Any]]:
        """Our requests to the data API."""
        return [one for one in self.requests if _is_data(one) and not _is_person(one)]


@dataclass(frozen=True)
class State:
    """The state file as it lies there."""

    snapshots: dict[str, dict[str, dict[str, Any]]]  # sync -> key -> columns
    intents: tuple[tuple[str, str], ...]  # (sync, operation)
    booked: int  # calls in the ledger


def look(world: World) -> Seen:
    """The org now, after every request that was under way has ended."""
    requests = world.org.until_quiet()
    writes = world.org.writes()
    seen = Seen(requests, {name: {r["Id"]: r for r in world.org.records(name)} for name in OBJECTS.values()})
    for account in world.org.records("Account", deleted=True):
        seen.parents[account["Id"]] = account.get("Account_Id__c", "?")
    by_person = {one["request"] for one in requests if _is_person(one)}
    for write in writes:
        person, record = write["request"] in by_person, write["id"]
        if write["operation"] == "deleted" and not person:
            seen.deleted_by_us.add(record)
        if write["operation"] == "created" and not person:
            key = KEYS[write["object"]]
            told = {name.lower(): value for name, value in write["fields"].items()}
            seen.made_by_us[record] = (write["object"], str(told.get(key.lower())))
        for name in write["fields"]:
            spot = (record, _own_field(name))
            (seen.by_hand.add if person else seen.by_hand.discard)(spot)
    return seen


def read_state(world: World) -> State:
    with duckdb.connect(str(world.state), read_only=True) as db:
        found = db.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'snapshot'").fetchall()
        snapshots = {}
        for (name,) in found:
            rows = db.execute(f'SELECT * FROM snapshot."{name}"')
            names = [column[0] for column in rows.description]
            listed = [dict(zip(names, row, strict=True)) for row in rows.fetchall()]
            snapshots[name] = {row["_key"]: row for row in listed}
            assert len(snapshots[name]) == len(listed), f"{name}: a key twice in the snapshot"
        intents = tuple(db.execute("SELECT sync, operation FROM intents").fetchall())
        booked = db.execute("SELECT coalesce(sum(calls), 0) FROM ledger").fetchall()[0][0]
    return State(snapshots, intents, int(booked))


def undoable(world: World) -> list[str]:
    """Runs that can be taken back, the last one first."""
    if not world.state.exists():
        return []
    with duckdb.connect(str(world.state), read_only=True) as db:
        found = db.execute("SELECT run_id FROM undo GROUP BY run_id ORDER BY max(rowid) DESC").fetchall()
    return [run for (run,) in found]


def texts(seen: Seen) -> Texts:
    """The mapped texts of each record, by sync and Id."""
    return {
        sync: {
            record: {name: _text(seen, fields, name) for name in (KEYS[sobject], *MAPPED[sync])}
            for record, fields in seen.records[sobject].items()
        }
        for sync, sobject in OBJECTS.items()
    }


def known_texts(world: World, seen: Seen, state: State) -> Texts:
    """Of records that can be taken back: what is adopted later is read only where its sync says `undo: exact`."""
    found = texts(seen)
    for sync, records in found.items():
        known = {row["_id"] for row in state.snapshots.get(sync, {}).values()}
        if world.team._syncs[sync].get("undo") != "exact":
            found[sync] = {record: fields for record, fields in records.items() if record in known}
    return found


def _is_data(request: dict[str, Any]) -> bool:
    return str(request["path"]).startswith(("/services/data/v", "/services/Soap/u/"))


def _is_person(request: dict[str, Any]) -> bool:
    """People write by the resource of single rows, which sfsync never does."""
    return request["kind"] == "rows"


def _own_field(header: str) -> str:
    """A lookup is written by the name of its relationship."""
    if "." not in header:
        return header
    relationship = header.split(".", 1)[0]
    return relationship[:-3] + "__c" if relationship.endswith("__r") else relationship + "Id"


# ---------------------------------------------------------------- invariants


def accounting(result: Result) -> Iterator[str]:
    """Both sums close, and the exit code says what the outcomes say."""
    for item in result.syncs:
        if not item.closes:
            yield f"{item.name}: {dict(item.model)} of {item.staged}, {dict(item.removals)} of {item.removed}"
    wanted = expected_exit(result)
    if result.exit_code != wanted:
        yield f"exit code {result.exit_code}, but the outcomes say {wanted}"
    done = any(result.syncs) and not any(_not_done(item) for item in result.syncs)
    if done and result.reason is not None:
        yield f"everything was done, but the run says: {result.reason}"


def expected_exit(result: Result) -> int:
    """Section 13 of the contract, in words of its own."""
    if result.interrupted:
        return 130
    if any(str(item.status) == "refused" for item in result.syncs):
        return 3
    bad = ("rejected", "failed", "in_doubt", "submitted")
    told = any(one.counts.get(name) for one in result.recovered for name in bad)
    return 1 if told or any(_not_done(item) for item in result.syncs) else 0


def _not_done(item: SyncResult) -> int:
    return sum(item.count(outcome) for outcome in NOT_DONE) - item.skipped_gone


def intents(result: Result, state: State) -> Iterator[str]:
    """What had an answer left no intent behind; a job that is still at work does, and the run says so."""
    at_work = {one.sync for one in result.recovered if one.counts.get("submitted")}
    for item in result.syncs:
        left = [operation for sync, operation in state.intents if sync == item.name]
        if (
            left
            and item.name not in at_work
            and not any(item.count(outcome) for outcome in OPEN_ENDS)
            and str(item.status) != "refused"
        ):
            yield f"{item.name} left intents ({', '.join(left)}), but its rows ended as {dict(item.model)}"


def nothing_doubled(world: World, seen: Seen) -> Iterator[str]:
    """No key stands twice, and what we made twice was deleted in between."""
    for sobject, records in seen.records.items():
        keys = Counter(r[KEYS[sobject]].lower() for r in records.values() if KEYS[sobject] in r)
        yield from (f"{sobject} {key} stands {n} times" for key, n in keys.items() if n > 1)


def acknowledged(seen: Seen, state: State) -> Iterator[str]:
    """What the snapshot says stands in the org, unless a person changed it since. Syncs with open intents are not judged."""
    doubtful = {sync for sync, _ in state.intents}
    for sync, rows in state.snapshots.items():
        if sync in doubtful:
            continue
        sobject = OBJECTS[sync]
        for key, row in rows.items():
            if row["_gone_at"] is not None:
                continue
            record = seen.records[sobject].get(row["_id"])
            if record is None:
                unknown = all(row.get(name) is None for name in MAPPED[sync])
                if row["_id"] in seen.deleted_by_us and not unknown:
                    yield f"{sync} {key}: we deleted it, but the snapshot has it"
                continue
            for name in (KEYS[sobject], *MAPPED[sync]):
                said, stands = row.get(name), _text(seen, record, name)
                if said is not None and not _same(said, stands) and (record["Id"], name) not in seen.by_hand:
                    yield f"{sync} {key}.{name}: the snapshot says {said[:40]!r}, the org {stands[:40]!r}"


def _text(seen: Seen, record: dict[str, str], name: str) -> str:
    value = record.get(name, "")
    return seen.parents.get(value, value) if name in LOOKUPS else value


def _same(said: str, stands: str) -> bool:
    if said == stands:
        return True
    try:
        return float(said) == float(stands)
    except ValueError:
        return False


def ledger(seen: Seen, state: State, killed: int) -> Iterator[str]:
    """Every request that the org saw was booked, and nothing else, but for a few at the moment of a kill."""
    sent = len(seen.ours)
    if not sent <= state.booked <= sent + 8 * killed:
        yield f"the ledger has {state.booked} calls, the org saw {sent} of ours ({killed} runs were killed)"


def org_is_model(world: World, seen: Seen, state: State) -> Iterator[str]:
    """At the end: every good row stands in the org as the model has it, and nothing that we made and should not be there."""
    for sync, sobject in OBJECTS.items():
        live = {r[KEYS[sobject]].lower(): r for r in seen.records[sobject].values() if KEYS[sobject] in r}
        for key, row in world.rows[sync].items():
            if not world.good(sync, key):
                continue
            known = state.snapshots[sync].get(key.lower())
            record = live.get(key.lower())
            if record is None:
                if known is None or known["_id"] in seen.deleted_by_us:
                    yield f"{sync} {key} is not in the org"
                continue  # a person deleted it, and nothing about it has changed since
            for name, column in MAPPED[sync].items():
                wanted, stands = row[column], _text(seen, record, name)
                text = "" if wanted is None else str(wanted).strip()
                if not _same(text, stands) and (record["Id"], name) not in seen.by_hand:
                    yield f"{sync} {key}.{name}: the model says {text[:40]!r}, the org {stands[:40]!r}"
    yield from _left_behind(world, seen, state)


def _left_behind(world: World, seen: Seen, state: State) -> Iterator[str]:
    """Of rows that left the model, only records that may be somebody else's are still there."""
    staged = {key.lower() for key in world.rows["subscriptions"]}
    snapshot = state.snapshots["subscriptions"]
    for record, (sobject, key) in seen.made_by_us.items():
        if sobject != "Subscription__c" or record not in seen.records[sobject] or key.lower() in staged:
            continue
        known = snapshot.get(key.lower())
        if known is None and not world.forgetful:
            yield f"subscription {key}, which we made, left the model and is forgotten in the org"
        elif known is not None and known["_origin"] == "created":
            yield f"subscription {key}, which we made, left the model and still stands in the org"


Texts = dict[str, dict[str, dict[str, str]]]


def taken_back(world: World, before: Texts, there: Texts, seen: Seen, state: State) -> Iterator[str]:
    """Every record is there under its Id and as it was, and all others are such as count as somebody else's.

    before: the records that can be taken back; there: all that there were.
    """
    after = texts(seen)
    for sync, records in before.items():
        for record, stood in records.items():
            now = after[sync].get(record)
            if now is None:
                if not world.forgetful:
                    yield f"{sync} {stood}: the record did not come back"
                continue
            for name, text in stood.items():
                if not _same(text, now[name]):
                    yield f"{sync} {record}.{name}: before it was {text[:40]!r}, and now it is {now[name][:40]!r}"
        origins = {row["_id"]: row["_origin"] for row in state.snapshots[sync].values()}
        for record in after[sync].keys() - there[sync].keys():
            if origins.get(record) != "adopted":
                yield f"{sync} {after[sync][record]}: made since, and still there"


def first(found: Iterable[str], most: int = 6) -> str:
    """The first few violations as text; empty when there is none."""
    listed = list(found)
    more = [f"... and {len(listed) - most} more"] if len(listed) > most else []
    return "\n".join(listed[:most] + more)
