"""Lanes side by side: what overlaps, what never does, and how it ends. Real threads, no org."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sfsync.plan.plan import SyncPlan
from sfsync.ports import NoEvents, UncountedLedger
from sfsync.push import order
from sfsync.push.context import PushContext, Tally
from sfsync.push.lanes import Call, Pause, Talk, call, run_lanes

PATIENCE_S = 10.0


class HandClock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.time = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time, UTC)

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


def context(threads: int, stop: Callable[[], bool] = lambda: False, **more: Any) -> PushContext:
    """A push without an org or a database: lanes ask neither."""
    return PushContext(
        db=cast(Any, None),
        door=cast(Any, None),
        clock=HandClock(),
        events=NoEvents(),
        spool=cast(Any, None),
        recorder=cast(Any, None),
        journal=cast(Any, None),
        syncs={},
        available=lambda: None,
        tally=Tally(UncountedLedger()),
        stop_requested=stop,
        jitter=lambda: 0.5,
        threads=threads,
        **more,
    )


def talk(name: str, *steps: Callable[[], Any]) -> Talk[None]:
    for step in steps:
        yield from call(name, step)


def test_two_lanes_are_under_way_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=PATIENCE_S)
    run_lanes(context(2), [talk("a", meeting.wait), talk("b", meeting.wait)])


def test_calls_of_one_lane_and_more_than_threads_never_overlap() -> None:
    guard, now, most = threading.Lock(), SimpleNamespace(all=0), SimpleNamespace(all=0, lane=0)
    inside: dict[str, int] = {}

    def step(name: str) -> Callable[[], None]:
        def run() -> None:
            with guard:
                now.all += 1
                inside[name] = inside.get(name, 0) + 1
                most.all, most.lane = max(most.all, now.all), max(most.lane, inside[name])
            time.sleep(0.01)
            with guard:
                now.all -= 1
                inside[name] -= 1

        return run

    run_lanes(context(3), [talk(name, *[step(name)] * 4) for name in "abcdef"])
    assert most.lane == 1
    assert most.all <= 3


def test_one_thread_goes_lane_by_lane() -> None:
    seen: list[str] = []
    steps = {name: [lambda text=f"{name}{n}": seen.append(text) for n in range(3)] for name in "abc"}
    run_lanes(context(1), [talk(name, *found) for name, found in steps.items()])
    assert seen == ["a0", "a1", "a2", "b0", "b1", "b2", "c0", "c1", "c2"]


def test_the_code_of_lanes_stays_in_the_callers_thread() -> None:
    own, others = set[int](), set[int]()

    def lane(name: str) -> Talk[None]:
        for _ in range(3):
            own.add(threading.get_ident())
            yield from call(name, lambda: others.add(threading.get_ident()))

    run_lanes(context(2), [lane("a"), lane("b")])
    assert own == {threading.get_ident()}
    assert threading.get_ident() not in others


def test_an_error_of_a_call_is_raised_inside_the_lane_and_can_be_outlived() -> None:
    seen: list[str] = []

    def fail() -> None:
        raise OSError("no route")

    def lane() -> Talk[None]:
        try:
            yield from call("a", fail)
        except OSError as error:
            seen.append(str(error))
        seen.append((yield from call("a", lambda: "again")))

    run_lanes(context(2), [lane()])
    assert seen == ["no route", "again"]


def test_pauses_take_the_clocks_time_only_and_run_side_by_side() -> None:
    seen: list[str] = []

    def lane(name: str, seconds: float) -> Talk[None]:
        yield Pause(seconds)
        seen.append(name)

    ctx = context(2)
    run_lanes(ctx, [lane("late", 30.0), lane("soon", 20.0)])
    clock = cast(HandClock, ctx.clock)
    assert seen == ["soon", "late"]
    assert clock.time == pytest.approx(30.0)
    assert max(clock.slept) <= 1.0


def test_a_failure_lets_nothing_new_begin_and_what_is_under_way_finish() -> None:
    seen: list[str] = []
    both, failed = threading.Barrier(2, timeout=PATIENCE_S), threading.Event()

    def slow() -> str:
        both.wait()
        assert failed.wait(PATIENCE_S)
        return "answer"

    def failing() -> Talk[None]:
        yield from call("a", both.wait)
        failed.set()
        raise ValueError("the limit")

    def other() -> Talk[None]:
        seen.append((yield from call("b", slow)))
        yield Call("b", lambda: seen.append("finishing"), begins=False)
        yield Call("b", lambda: seen.append("new"))

    never = talk("c", lambda: seen.append("third lane"))
    with pytest.raises(ValueError, match="the limit"):
        run_lanes(context(2), [failing(), other(), never])
    assert seen == ["answer", "finishing"]


def test_a_wish_to_stop_ends_lanes_between_calls_and_cuts_pauses() -> None:
    asked = threading.Event()
    seen: list[str] = []

    def first() -> Talk[None]:
        yield from call("a", lambda: seen.append("a1"))
        asked.set()
        yield Pause(1000.0)
        yield from call("a", lambda: seen.append("a2"))

    ctx = context(1, asked.is_set)
    run_lanes(ctx, [first(), talk("b", lambda: seen.append("b1"))])
    assert seen == ["a1"]
    assert cast(HandClock, ctx.clock).time <= 1.0


def test_calls_are_charged_to_the_sync_that_booked_them() -> None:
    ctx = context(3)
    meeting = threading.Barrier(3, timeout=PATIENCE_S)

    def spend(calls: int) -> Callable[[], None]:
        def run() -> None:
            meeting.wait()
            ctx.tally.reserve("rest", calls)
            meeting.wait()

        return run

    run_lanes(
        ctx, [talk("a", spend(1), spend(1)), talk("b", spend(5), spend(2)), talk("c", spend(3), spend(0))]
    )
    assert ctx.calls == {"a": 2, "b": 7, "c": 3}


def planned(name: str, object_: str, *parents: str, plain: tuple[str, ...] = ()) -> SyncPlan:
    """As much of a planned sync as decides what it touches."""
    rules = [SimpleNamespace(field=f"{p}Id", reference=SimpleNamespace(parent_object=p)) for p in parents]
    rules += [SimpleNamespace(field=field, reference=None) for field in plain]
    return cast(SyncPlan, SimpleNamespace(sync=SimpleNamespace(name=name, object=object_, rules=rules)))


REFERS = {"AccountId": ("Account",), "WhoId": ("Contact", "Lead"), "OwnerId": ("User",)}

GROUPS = [
    ("nothing in common", [planned("a", "Account"), planned("l", "Lead")], ["a", "l"]),
    ("one object", [planned("a", "Account"), planned("l", "Lead"), planned("b", "Account")], ["ab", "l"]),
    ("one parent", [planned("c", "Contact", "Account"), planned("o", "Opportunity", "Account")], ["co"]),
    ("parent and child", [planned("a", "Account"), planned("c", "Contact", "Account")], ["ac"]),
    ("a chain", [planned("a", "A", "X"), planned("b", "B", "Y"), planned("c", "C", "X", "Y")], ["abc"]),
    ("a plain Id", [planned("a", "Account"), planned("c", "Case", plain=("AccountId",))], ["ac"]),
    ("a plain Id of many", [planned("l", "Lead"), planned("t", "Task", plain=("WhoId",))], ["lt"]),
    ("owners", [planned("a", "A", plain=("OwnerId",)), planned("b", "B", plain=("OwnerId",))], ["a", "b"]),
]


@pytest.mark.parametrize(("items", "expected"), [g[1:] for g in GROUPS], ids=[g[0] for g in GROUPS])
def test_syncs_that_touch_one_object_share_a_lane(items: list[SyncPlan], expected: list[str]) -> None:
    groups = order.lanes(items, lambda object_, field: REFERS.get(field, ()))
    assert ["".join(item.sync.name for item in group) for group in groups] == expected
