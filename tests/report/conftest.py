"""`golden(name, text)`: equal to tests/report/golden/<name>; `pytest tests/report --update-golden` writes it anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write golden files anew; git diff reviews them"
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    update = request.config.getoption("--update-golden", default=False)

    def check(name: str, text: str) -> None:
        path = FOLDER / name
        if update:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"no golden file {name}: run with --update-golden and read what it wrote"
        assert text == path.read_text(encoding="utf-8")

    return check


@pytest.fixture
def plans():  # the builders below, for tests that import nothing from each other
    import types

    return types.SimpleNamespace(
        busy=busy_plan, idle=idle_plan, hostile=hostile_plan, sync=sync_plan, plan=plan_of
    )


# ---------------------------------------------------------------- values


def compiled(name: str, object_: str, **changes):
    from sfsync.compiler.manifest import Api, CompiledSync, Guards, OnGone, OnLimit, OnRemoved

    values = {
        "name": name,
        "object": object_,
        "object_label": object_,
        "model": f"dim_{name}",
        "path": f"syncs/{name}.yml",
        "sql": "SELECT 1",
        "plain_scan": True,
        "identity": (),
        "fields": (),
        "timezone": "UTC",
        "on_removed": OnRemoved.KEEP,
        "on_gone": OnGone.RECREATE,
        "on_limit": OnLimit.DEFER,
        "delete_adopted": False,
        "clear_on_create": False,
        "send_all": False,
        "api": Api.AUTO,
        "priority": 0,
        "guards": Guards(),
        "results_all": False,
        "retry_rejected_after_s": 604800.0,
        "max_wait_s": 1800.0,
        "max_attempts": 10,
        "undo_exact": False,
        "parents": (),
        "siblings": (),
        "tags": (),
        "fingerprint": "ab",
    }
    return CompiledSync(**(values | changes))


def sync_plan(name: str, object_: str, *, counts=None, sync=None, **parts):
    from dataclasses import fields as fields_of

    from sfsync.diff.changes import Changes
    from sfsync.plan.plan import SyncPlan

    made = compiled(name, object_, **(sync or {}))
    numbers = {f.name: 0 for f in fields_of(Changes) if f.name not in ("sync", "aside", "missing")} | (
        counts or {}
    )
    values = {
        "fields": (),
        "rejected": (),
        "rejected_rows": (),
        "waiting_rows": (),
        "samples": (),
        "refusals": (),
        "batches": (),
        "warnings": (),
    }
    return SyncPlan(sync=made, changes=Changes(sync=made, **numbers), **(values | parts))


def plan_of(*syncs, calls=0, by_way=(), allowed=20_000, left=84_200, seen=True, warnings=(), planning=0):
    from datetime import UTC, datetime

    from sfsync.plan.plan import ApiBudget, Plan

    return Plan(
        run_id="20260722T091500Z-ab12cd",
        project="acme_crm",
        target="dev",
        created_at=datetime(2026, 7, 22, 9, 15, tzinfo=UTC),
        syncs=syncs,
        api=ApiBudget(
            calls=calls,
            by_way=by_way,
            allowed=allowed,
            ceiling=25_000 if allowed is not None else None,
            left_in_org=left,
            seen_at=datetime(2026, 7, 22, 9, 14, tzinfo=UTC) if seen else None,
            planning_calls=planning,
            batches=sum(way == "bulk" for way, _ in by_way),
            batches_allowed=3_737,
        ),
        warnings=warnings,
    )


def busy_plan():
    """Everything that a plan can say, once."""
    from sfsync.plan.guards import Refusal
    from sfsync.plan.plan import RejectedRow, Sample, WaitingRow
    from sfsync.records import Batch, Operation, Way

    contacts = sync_plan(
        "contacts",
        "Contact",
        counts={
            "staged": 1406,
            "snapshot_rows": 1282,
            "upserts": 120,
            "recreated": 1,
            "updates": 45,
            "updated_fields": 61,
            "unchanged": 1234,
            "refused": 2,
            "held": 1,
            "waiting": 3,
            "gone": 1,
            "removed_kept": 4,
        },
        fields=(("Email", 40), ("Title", 21)),
        rejected=(("STRING_TOO_LONG", "LastName", 2), ("DUPLICATE_VALUE", None, 1)),
        rejected_rows=(
            RejectedRow(
                {"Customer_Id__c": "C-7"},
                "STRING_TOO_LONG",
                "LastName",
                "Last Name: data value too large",
                False,
            ),
            RejectedRow({"Customer_Id__c": None}, "DUPLICATE_VALUE", None, "no key", True),
        ),
        waiting_rows=(WaitingRow("c-9", "AccountId", "accounts", "A-1"),),
        samples=(
            Sample("c-1", Operation.UPSERT, {"LastName": (None, "Ito"), "Title": (None, "")}),
            Sample(
                "c-2",
                Operation.UPDATE,
                {
                    "Email": ("a@x.example", "b@x.example"),
                    "Title": ("CEO", ""),
                    "Phone": (None, "1"),
                    "Fax": ("", "2"),
                },
            ),
        ),
        batches=(Batch("contacts", "Contact", Operation.UPSERT, Way.COLLECTIONS, 0, 0, 120, 9000, 5),),
    )
    subscriptions = sync_plan(
        "subscriptions",
        "Subscription__c",
        counts={"staged": 60, "snapshot_rows": 63, "deletes": 3, "adopted_deletes": 1, "unchanged": 60},
        samples=tuple(Sample(f"s-{n}", Operation.DELETE, {}) for n in (1, 2, 3)),
        refusals=(
            Refusal(
                "subscriptions",
                "max_deletes",
                "sync 'subscriptions' would delete 3 records; max_deletes is 2",
                "check the model; to allow it once: --allow subscriptions.max_deletes",
            ),
        ),
        batches=(Batch("subscriptions", "Subscription__c", Operation.DELETE, Way.BULK, 1, 0, 3, 60, 2),),
    )
    accounts = sync_plan(
        "accounts", "Account", counts={"staged": 900, "snapshot_rows": 900, "unchanged": 900}
    )
    return plan_of(
        accounts,
        contacts,
        subscriptions,
        calls=7,
        by_way=(("bulk", 2), ("collections", 5)),
        planning=3,
        warnings=("sync 'subscriptions': 1 of the deletes are records sfsync did not create",),
    )


def idle_plan():
    return plan_of(
        sync_plan("accounts", "Account", counts={"staged": 900, "snapshot_rows": 900, "unchanged": 900}),
        allowed=None,
        left=None,
        seen=False,
    )


HOSTILE = 'a|b `c` ```` <script>alert(1)</script> @everyone #1 \x1b[2J\r\nnew\u202eline "q" \\ _x_ [y](z) </details>'


def hostile_plan():
    """Data that tries to break the screen or the page."""
    from sfsync.plan.plan import RejectedRow, Sample, WaitingRow
    from sfsync.records import Operation

    return plan_of(
        sync_plan(
            "contacts",
            "Contact",
            counts={
                "staged": 3,
                "upserts": 1,
                "updates": 1,
                "updated_fields": 1,
                "deletes": 1,
                "refused": 1,
                "waiting": 1,
            },
            fields=(("Email", 1),),
            rejected=(("STRING_TOO_LONG", "LastName", 1),),
            rejected_rows=(RejectedRow({"K__c": HOSTILE}, "STRING_TOO_LONG", "LastName", HOSTILE, False),),
            waiting_rows=(WaitingRow(HOSTILE, "AccountId", "accounts", HOSTILE),),
            samples=(
                Sample(HOSTILE, Operation.UPSERT, {"LastName": (None, HOSTILE)}),
                Sample("c-2", Operation.UPDATE, {"Email": (HOSTILE, HOSTILE + "x" * 5000)}),
                Sample(HOSTILE, Operation.DELETE, {}),
            ),
        )
    )
