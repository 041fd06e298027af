"""The order of sending: parents' creates first, children's deletes first, the more urgent sync first within a level."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sfsync.plan.guards import Refusal
from sfsync.plan.plan import ApiBudget, Plan, SyncPlan
from sfsync.push.order import calls_of, steps
from sfsync.records import Batch, Operation, Way
from tests.plan.conftest import changes_of, sync_of


def plan_of(
    name: str, *, priority: int = 0, refused: bool = False, batches: tuple[Batch, ...] = ()
) -> SyncPlan:
    sync = sync_of(name=name, priority=priority)
    refusals = (Refusal(name, "max_deletes", "", ""),) if refused else ()
    return SyncPlan(sync, changes_of(sync), (), (), (), (), (), refusals, batches, ())


@dataclass(frozen=True)
class NoTime:
    """Nothing here reads the clock."""


def order(levels: list[list[str]], *plans: SyncPlan) -> list[tuple[list[str], bool]]:
    when: Any = NoTime()
    budget = ApiBudget(0, (), None, None, None, None)
    plan = Plan("r", "p", "t", when, plans, budget, ())
    return [([item.sync.name for item in found], deletes) for found, deletes in steps(plan, levels)]


def test_parents_first_then_deletes_the_other_way_round() -> None:
    found = order(
        [["accounts"], ["contacts", "cases"]], plan_of("contacts"), plan_of("accounts"), plan_of("cases")
    )
    assert found == [
        (["accounts"], False),
        (["contacts", "cases"], False),
        (["contacts", "cases"], True),
        (["accounts"], True),
    ]


def test_priority_decides_within_a_level_only() -> None:
    plans = [plan_of("a"), plan_of("b", priority=5), plan_of("c", priority=-1), plan_of("d", priority=99)]
    found = order([["a", "b", "c"], ["d"]], *plans)
    assert found[:2] == [(["b", "a", "c"], False), (["d"], False)]


def test_refused_and_unselected_syncs_are_left_out() -> None:
    found = order([["accounts"], ["contacts", "cases"]], plan_of("accounts", refused=True), plan_of("cases"))
    assert found == [(["cases"], False), (["cases"], True)]


def test_calls_keep_their_batches_together() -> None:
    blank = Batch("a", "A", Operation.UPSERT, Way.COLLECTIONS, 0, 0, 200, 1, 1)
    batches = (
        blank,
        replace(blank, first=200, last=400, calls=0),
        replace(blank, operation=Operation.UPDATE, first=0, last=9, calls=0),
        replace(blank, operation=Operation.UPDATE, call=1, first=9, last=10),
        replace(blank, operation=Operation.DELETE, call=2, first=0, last=3),
    )
    item = plan_of("a", batches=batches)
    assert [len(call) for call in calls_of(item, deletes=False)] == [3, 1]
    assert [len(call) for call in calls_of(item, deletes=True)] == [1]
