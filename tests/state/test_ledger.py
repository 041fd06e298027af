"""The account of API calls and Bulk batches: 24 hours that roll, other people's use, what is kept free, and what is never refused."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sfsync.engine.duckdb import DuckDB
from sfsync.errors import ApiLimitError
from sfsync.state.ledger import Limits, StateLedger, make_budget
from sfsync.state.migrations import MIGRATIONS, VERSION
from tests.state.conftest import HandClock, Open

SEEN = datetime(2026, 7, 22, 9, 0, tzinfo=UTC)
NOTHING = Limits()

BUDGETS = [
    # id, limits, spent, (used, maximum) or None, our calls since, (allowed, left, keep_free, available)
    ("nothing known, nothing set", NOTHING, 10, None, 0, (None, None, None, None)),
    ("own limit before the org has answered", Limits(daily_calls=100), 10, None, 0, (100, None, None, 90)),
    ("default: a quarter, a quarter free", NOTHING, 0, (0, 100_000), 0, (25_000, 100_000, 25_000, 25_000)),
    ("our share is used up", NOTHING, 25_000, (30_000, 100_000), 0, (25_000, 70_000, 25_000, 0)),
    ("others have used it up", NOTHING, 0, (75_000, 100_000), 0, (25_000, 25_000, 25_000, 0)),
    ("others leave a little", NOTHING, 0, (74_990, 100_000), 0, (25_000, 25_010, 25_000, 10)),
    ("our calls since count against the org", NOTHING, 8, (74_990, 100_000), 8, (25_000, 25_002, 25_000, 2)),
    ("above the maximum", NOTHING, 0, (100_500, 100_000), 0, (25_000, 0, 25_000, 0)),
    ("own limit", Limits(daily_calls=20_000), 19_999, (0, 100_000), 0, (20_000, 100_000, 25_000, 1)),
    (
        "keep free as a share",
        Limits(keep_free_share=0.5),
        0,
        (49_990, 100_000),
        0,
        (25_000, 50_010, 50_000, 10),
    ),
    (
        "keep free as a number",
        Limits(keep_free_calls=99_000),
        0,
        (0, 100_000),
        0,
        (25_000, 100_000, 99_000, 1_000),
    ),
    ("keep nothing free", Limits(10**6, keep_free_calls=0), 0, (99_999, 100_000), 0, (10**6, 1, 0, 1)),
    ("a number wins over a share", Limits(None, 7, 0.9), 0, (0, 100), 0, (25, 100, 7, 25)),
]


@pytest.mark.parametrize(
    ("limits", "spent", "seen", "since", "expected"), [b[1:] for b in BUDGETS], ids=[b[0] for b in BUDGETS]
)
def test_budget(
    limits: Limits, spent: int, seen: tuple[int, int] | None, since: int, expected: tuple[int, ...]
) -> None:
    budget = make_budget(limits, spent, seen and (SEEN, *seen), since)
    assert (budget.allowed, budget.left_in_org, budget.keep_free, budget.available) == expected


def test_the_window_rolls_and_midnight_means_nothing(opened: Open, clock: HandClock) -> None:
    ledger = StateLedger(opened(), Limits(daily_calls=10), "r1")
    for _ in range(4):
        ledger.reserve("collections", 2)
        clock.move(hours=5)  # at 09, 14, 19 and 00 o'clock; now it is 05
    assert ledger.budget().spent == 8
    ledger.reserve("collections", 2)
    with pytest.raises(ApiLimitError, match="10 of 10 calls were used in the last 24 hours") as caught:
        ledger.reserve("collections")
    assert "not midnight" in (caught.value.fix or "")
    clock.move(hours=4, minutes=-1)  # 08:59: the first calls are 23:59 old
    assert ledger.budget().available == 0
    clock.move(minutes=1)
    assert ledger.budget().available == 2
    ledger.reserve("collections", 2)
    clock.move(hours=24)
    assert ledger.budget().available == 10


def test_a_refused_call_is_not_booked(opened: Open) -> None:
    ledger = StateLedger(opened(), Limits(daily_calls=3), "r1")
    with pytest.raises(ApiLimitError):
        ledger.reserve("collections", 4)
    assert (ledger.budget().spent, ledger.calls, ledger.kinds) == (0, 0, {})
    ledger.reserve("collections", 3)
    assert (ledger.budget().spent, ledger.calls, ledger.kinds) == (3, 3, {"collections": 3})


def test_what_finishes_a_job_is_booked_and_never_refused(opened: Open) -> None:
    ledger = StateLedger(opened(), Limits(daily_calls=1), "r1")
    ledger.reserve("job")
    for kind in ("upload", "close", "poll", "result"):
        ledger.reserve(kind)
    assert ledger.budget().spent == 5
    assert ledger.budget().available == 0
    for kind in ("job", "collections", "describe", "query"):
        with pytest.raises(ApiLimitError):
            ledger.reserve(kind)


def test_the_orgs_word_counts_other_users_and_outlives_a_run(opened: Open, clock: HandClock) -> None:
    store = opened()
    ledger = StateLedger(store, NOTHING, "r1")
    ledger.reserve("collections")
    clock.move(seconds=1)
    ledger.observe(74_000, 100_000)
    assert ledger.budget().available == 1_000
    clock.move(seconds=1)
    ledger.reserve("collections", 10)
    assert ledger.budget().left_in_org == 25_990
    ledger.close()
    store.close()
    clock.move(minutes=5)
    later = StateLedger(opened(), NOTHING, "r2")
    budget = later.budget()
    assert (budget.spent, budget.left_in_org, budget.available, later.calls) == (11, 25_990, 990, 0)
    assert budget.seen_at == SEEN + timedelta(seconds=1)
    later.close()


def test_the_orgs_word_refuses_nothing_once_it_is_old(opened: Open, clock: HandClock) -> None:
    """Only a call can tell that the org has room again: refusing it for good would stop the project for ever."""
    store = opened()
    ledger = StateLedger(store, NOTHING, "r1")
    ledger.observe(100_000, 100_000)
    with pytest.raises(ApiLimitError):
        ledger.reserve("collections")
    ledger.close()
    store.close()
    clock.move(minutes=9)
    later = StateLedger(opened(), NOTHING, "r2")
    with pytest.raises(ApiLimitError):
        later.reserve("collections")
    clock.move(minutes=1)
    assert later.budget().left_in_org == 0, "still shown, with its age"
    later.reserve("collections")
    later.observe(100_000, 100_000)
    with pytest.raises(ApiLimitError):
        later.reserve("collections")
    later.close()


def test_the_message_says_which_limit_it_was(opened: Open, clock: HandClock) -> None:
    ledger = StateLedger(opened(), NOTHING, "r1")
    ledger.observe(75_000, 100_000)
    with pytest.raises(
        ApiLimitError, match=r"only 25,000 API calls are left in the org, and 25,000 are kept free"
    ):
        ledger.reserve("collections")


def test_old_calls_are_dropped_but_none_of_the_window(opened: Open, clock: HandClock) -> None:
    store = opened()
    ledger = StateLedger(store, Limits(daily_calls=100), "r1")
    ledger.reserve("collections", 5)
    clock.move(hours=25)
    ledger.reserve("collections", 7)
    clock.move(hours=23, minutes=30)
    ledger.flush()
    assert ledger.budget().spent == 7
    assert store.db.execute("SELECT sum(calls) FROM sfsync_state.main.ledger") == [(7,)]
    ledger.close()


def test_calls_are_told_hour_by_hour(opened: Open, clock: HandClock) -> None:
    ledger = StateLedger(opened(), NOTHING, "r1")
    assert ledger.by_hour() == (0,) * 24
    ledger.reserve("query", 3)
    clock.move(hours=22, minutes=59)
    ledger.reserve("composite", 2)
    clock.move(minutes=59)
    assert ledger.by_hour() == (3, *(0,) * 22, 2)
    clock.move(minutes=2)
    assert ledger.by_hour() == (*(0,) * 22, 2, 0), "what left the window is not told"


def test_batches_have_a_window_and_a_limit_of_their_own(opened: Open, clock: HandClock) -> None:
    store = opened()
    ledger = StateLedger(store, Limits(daily_calls=100, daily_batches=5), "r1")
    ledger.reserve("bulk", batches=4)
    clock.move(hours=12)
    with pytest.raises(
        ApiLimitError, match="4 of 5 batches were used in the last 24 hours, and 2 more"
    ) as caught:
        ledger.reserve("bulk", batches=2)
    assert "push.api: collections" in (caught.value.fix or "")
    assert (ledger.budget().spent, ledger.budget().batches) == (1, 4), "neither the call nor the batches"
    ledger.reserve("bulk", batches=1)
    ledger.reserve("collections", 3)  # calls that start no batch are as free as before
    budget = ledger.budget()
    assert (budget.available, budget.available_batches) == (95, 0)
    clock.move(hours=12)
    ledger.flush()
    budget = ledger.budget()
    assert (budget.available, budget.available_batches) == (96, 4), (
        "the first call and its batches are a day old"
    )
    row = store.db.execute(
        "SELECT kind, calls, batches FROM sfsync_state.main.ledger ORDER BY minute LIMIT 1"
    )
    assert row == [("bulk", 1, 4)], "in one row"
    ledger.close()


def test_without_a_limit_batches_are_counted_and_free(opened: Open) -> None:
    ledger = StateLedger(opened(), NOTHING, "r1")
    ledger.reserve("bulk", batches=100_000)
    assert (ledger.budget().batches, ledger.budget().available_batches) == (100_000, None)
    ledger.close()


def test_threads_never_start_more_batches_together(opened: Open) -> None:
    ledger = StateLedger(opened(), Limits(daily_batches=7), "r1")
    refused: list[str] = []

    def spend() -> None:
        for _ in range(3):
            try:
                ledger.reserve("bulk", batches=2)
            except ApiLimitError as error:
                refused.append(error.what)

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (ledger.budget().batches, len(refused), ledger.calls) == (6, 9, 3)
    ledger.close()


def test_a_state_of_the_first_version_keeps_its_account(
    opened: Open, db: DuckDB, path: Path, clock: HandClock
) -> None:
    path.parent.mkdir(parents=True)
    db.attach(path, "old")
    MIGRATIONS[0](db, "old.main")
    db.execute("INSERT INTO old.main.meta VALUES ('version', '1'), ('org_id', '00Dxx0000001gPL')")
    db.execute("INSERT INTO old.main.ledger VALUES (?, 'r0', 'bulk', 9)", [clock.now()])
    db.detach("old")
    store = opened(write=False)
    ledger = StateLedger(store, Limits(daily_calls=10, daily_batches=2), "r1")
    budget = ledger.budget()
    assert (store.meta("version"), store.meta("org_id")) == (str(VERSION), "00Dxx0000001gPL")
    assert (budget.available, budget.batches, budget.available_batches) == (1, 0, 2)
    ledger.reserve("bulk", batches=2)
    assert ledger.budget().available_batches == 0
    ledger.close()


def test_threads_never_pass_the_limit_together(opened: Open) -> None:
    ledger = StateLedger(opened(), Limits(daily_calls=25), "r1")
    refused: list[str] = []

    def spend() -> None:
        for _ in range(10):
            try:
                ledger.reserve("collections")
            except ApiLimitError as error:
                refused.append(error.what)

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (ledger.calls, len(refused), ledger.budget().available) == (25, 15, 0)
    ledger.close()
