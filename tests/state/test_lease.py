"""The lease on a state file: signs of life, owners on other machines, waiting, and who lost it."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

import pytest

from sfsync.engine.duckdb import DuckDB
from sfsync.errors import SfsyncError, StateLockedError
from sfsync.ports import SystemClock
from sfsync.records import Intent, Operation, Way
from sfsync.state import lock as lock_module
from sfsync.state.holder import EXPIRY_S, Holder, ago, note_of, read_holder, write_holder
from sfsync.state.journal import StateJournal, open_intents
from sfsync.state.lock import Patience, StateLock, current_holder, patiently
from sfsync.state.store import StateStore, open_state
from tests.state.conftest import HandClock, Open

INTENT = Intent("contacts", "Contact", Operation.UPSERT, Way.COLLECTIONS, 1, ("Name",), ("1 K1",))


def elsewhere(clock: HandClock, *, seen_s_ago: float, epoch: int = 7) -> Holder:
    """A note that another machine left."""
    at = (clock.now() - timedelta(seconds=seen_s_ago)).isoformat(timespec="seconds")
    return Holder("run", "ci", "runner-7", 4711, at, epoch, seen=at, machine="another-boot")


def leave(path: Path, holder: Holder) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_holder(path, holder)


def test_a_lease_given_back_says_so(path: Path, clock: HandClock) -> None:
    lock = StateLock(path, clock)
    lock.acquire("run")
    clock.move(minutes=3)
    lock.release()
    note = read_holder(path)
    assert note is not None
    assert note.released
    assert note.seen == "2026-07-22T09:03:00+00:00"
    again = StateLock(path, clock)
    assert again.acquire("run").epoch == 2
    assert again.before is None
    again.release()


def test_an_owner_on_another_machine_is_believed_while_it_gives_signs_of_life(
    path: Path, clock: HandClock
) -> None:
    leave(path, elsewhere(clock, seen_s_ago=EXPIRY_S - 1))
    lock = StateLock(path, clock)
    with pytest.raises(StateLockedError) as caught:
        lock.acquire("run")
    assert "`sfsync run` of ci@runner-7, process 4711" in caught.value.what
    assert "last seen 2026-07-22T08:59:01+00:00, 59 s ago" in caught.value.what
    assert "state unlock" in (caught.value.fix or "")
    assert current_holder(path, clock) is not None
    clock.move(seconds=1)
    assert current_holder(path, clock) is None
    assert lock.acquire("run").epoch == 8
    assert lock.before is not None
    assert lock.before.pid == 4711
    lock.release()


def test_force_takes_it_nevertheless(path: Path, clock: HandClock) -> None:
    leave(path, elsewhere(clock, seen_s_ago=0))
    lock = StateLock(path, clock)
    assert lock.acquire("state unlock", force=True).epoch == 8
    lock.release()


def test_a_clock_that_is_ahead_does_not_keep_a_dead_owner_alive(path: Path, clock: HandClock) -> None:
    """Whoever waits sees that the note does not change, whatever time it names."""
    leave(path, elsewhere(clock, seen_s_ago=-7200))
    lines: list[str] = []
    lock = StateLock(path, clock)
    start = clock.monotonic()
    patiently(clock, Patience(600, lines.append), lambda: lock.acquire("run"))
    assert clock.monotonic() - start == pytest.approx(EXPIRY_S)
    assert "the clocks of the machines differ" in lines[0]
    lock.release()


def test_a_lease_of_this_machine_is_free_as_soon_as_its_lock_is(path: Path, clock: HandClock) -> None:
    first = StateLock(path, clock)
    dead = first.acquire("run")
    first.release()
    leave(path, dead)  # as a killed process leaves it: not given back, and a second old
    second = StateLock(path, clock)
    assert second.acquire("run").epoch == dead.epoch + 1
    assert second.before == dead
    second.release()


def test_signs_of_life_are_given_while_it_is_held(
    path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_module, "HEARTBEAT_S", 0.02)
    before = threading.enumerate()  # other tests of this process may leave the thread of a lease
    lock = StateLock(path, clock)
    lock.acquire("run")
    clock.move(seconds=30)
    assert soon(lambda: (read_holder(path) or lock.acquire("x")).seen == "2026-07-22T09:00:30+00:00")
    note_of(path).unlink()
    assert soon(lambda: read_holder(path) is not None), "a note that somebody removed is written anew"
    other = elsewhere(clock, seen_s_ago=0)
    clock.move(seconds=30)

    def stands() -> bool:
        """A sign of life may be on its way when the note is left; of many that follow, none overwrites it."""
        leave(path, other)
        time.sleep(0.2)
        return read_holder(path) == other

    assert soon(stands), "a lease that was taken is not taken back"
    lock.release()
    assert read_holder(path) == other
    after = [thread for thread in threading.enumerate() if thread.name == "sfsync: lease"]
    assert set(after) <= set(before)


def soon(true, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.01)
    return False


def test_waiting_tells_who_holds_it_and_gives_up(path: Path, clock: HandClock) -> None:
    lock = StateLock(path, clock)
    lock.acquire("run")
    lines: list[str] = []
    with pytest.raises(StateLockedError, match=r"held by `sfsync run`.*; waited 90 s$") as caught:
        patiently(clock, Patience(90, lines.append), lambda: StateLock(path, clock).acquire("plan"))
    assert caught.value.exit_code == 3
    assert [line.rpartition("; ")[2] for line in lines] == [
        "gives up in 90 s",
        "gives up in 60 s",
        "gives up in 30 s",
    ]
    lock.release()


def test_waiting_ends_with_the_lease(path: Path) -> None:
    lock = StateLock(path, SystemClock())
    lock.acquire("run")
    threading.Timer(0.3, lock.release).start()
    second = StateLock(path, SystemClock())
    begun = time.monotonic()
    patiently(SystemClock(), Patience(60), lambda: second.acquire("run"))
    assert 0.25 < time.monotonic() - begun < 10
    second.release()


def test_a_reader_does_not_read_what_another_machine_writes(
    opened: Open, path: Path, clock: HandClock
) -> None:
    opened().close()
    leave(path, elsewhere(clock, seen_s_ago=5))
    with pytest.raises(StateLockedError, match="runner-7"):
        opened(write=False)
    clock.move(seconds=EXPIRY_S)
    opened(write=False)


def test_who_lost_the_lease_begins_nothing_but_still_records(
    db: DuckDB, path: Path, clock: HandClock
) -> None:
    store = open_state(db, path, clock, "run", write=True, starts_empty=True)
    journal = StateJournal(store, "R1")
    (first,) = journal.begin([INTENT])
    mine = read_holder(path)
    assert mine is not None
    leave(path, elsewhere(clock, seen_s_ago=0, epoch=mine.epoch + 1))
    with pytest.raises(StateLockedError, match=r"was taken over by `sfsync run` of ci@runner-7"):
        journal.begin([INTENT])
    assert [item.number for item in open_intents(store)] == [first]
    journal.ended([first])
    assert open_intents(store) == []
    store.close()


@pytest.mark.parametrize("change", [{"epoch": "7"}, {"seen": "soon"}, {"seen": "2026-07-22T09:00:00"}])
def test_a_note_with_strange_values_counts_as_none(path: Path, clock: HandClock, change: dict) -> None:
    path.parent.mkdir()
    note_of(path).write_text(json.dumps(asdict(elsewhere(clock, seen_s_ago=0)) | change))
    assert read_holder(path) is None


def test_a_note_of_a_later_version_is_read_as_far_as_it_is_known(path: Path, clock: HandClock) -> None:
    path.parent.mkdir()
    holder = elsewhere(clock, seen_s_ago=0)
    note_of(path).write_text(json.dumps(asdict(holder) | {"mood": "fine"}))
    assert read_holder(path) == holder


def test_a_folder_that_cannot_be_written_leaves_no_lock(path: Path, clock: HandClock) -> None:
    path.parent.mkdir()
    note_of(path).mkdir()  # a file cannot take its place
    with pytest.raises(SfsyncError, match="cannot write"):
        StateLock(path, clock).acquire("run")
    note_of(path).rmdir()
    lock = StateLock(path, clock)
    lock.acquire("run")
    lock.release()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s ago"), (119, "119 s ago"), (120, "2 min ago"), (7200, "2 h ago"), (200_000, "2 days ago")],
)
def test_ago(seconds: float, text: str) -> None:
    assert ago(seconds) == text


def test_before_is_told_once(db: DuckDB, path: Path, clock: HandClock) -> None:
    leave(path, replace(elsewhere(clock, seen_s_ago=3600)))
    lines: list[str] = []
    store = open_state(
        db, path, clock, "run", write=True, starts_empty=True, patience=Patience(0, lines.append)
    )
    assert isinstance(store, StateStore)
    assert len(lines) == 1
    assert "ended without giving the state back (last seen 2026-07-22T08:00:00+00:00, 60 min ago)" in lines[0]
    store.close()
