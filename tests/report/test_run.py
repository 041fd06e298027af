"""What a run says: golden files, both sums, every outcome, the rejected rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from sfsync.artifacts import (
    RejectedCode,
    RejectedSample,
    Result,
    Status,
    StatusLine,
    StatusResult,
    SyncResult,
)
from sfsync.records import Outcome
from sfsync.report.project_text import compile_text, debug_text, ls_text, seed_text
from sfsync.report.run_text import last_line, run_text, sum_text
from sfsync.report.status_text import history_text, status_text

START = datetime(2026, 7, 22, 0, 47, 47, tzinfo=UTC)


def sync(name="contacts", status=Status.SUCCESS, model=None, removals=None, **more) -> SyncResult:
    model, removals = model or {}, removals or {}
    values = {
        "name": name,
        "object": "Contact",
        "status": status,
        "staged": sum(model.values()),
        "removed": sum(removals.values()),
        "model": model,
        "removals": removals,
        "skipped_gone": 0,
        "calls": 0,
        "job_ids": (),
        "started_at": START,
        "ended_at": START + timedelta(seconds=4),
    }
    return SyncResult(**(values | more))


def result(*syncs, **more) -> Result:
    values = {
        "run_id": "20260722T004747Z-ab12cd",
        "command": "run",
        "project": "acme_crm",
        "target": "dev",
        "started_at": START,
        "ended_at": START + timedelta(seconds=12.3),
        "syncs": syncs,
        "calls": 7,
        "calls_by_kind": {"composite": 4, "bulk": 3},
        "left_in_org": 84_193,
        "allowed": 19_993,
        "interrupted": False,
        "reason": None,
    }
    return Result(**(values | more))


def busy() -> Result:
    rejected = tuple(
        RejectedSample(
            f'{{"Customer_Id__c": "C-{n}"}}',
            "create",
            "STRING_TOO_LONG",
            "LastName",
            "too large",
            n,
            "Shorten the text, or set `truncate: true`.",
        )
        for n in range(1, 6)
    )
    return result(
        sync("accounts", model={Outcome.UNCHANGED: 900}),
        sync(
            "contacts",
            Status.PARTIAL,
            model={
                Outcome.CREATED: 118,
                Outcome.ADOPTED: 2,
                Outcome.UPDATED: 45,
                Outcome.UNCHANGED: 1234,
                Outcome.REJECTED: 5,
                Outcome.HELD: 1,
            },
            removals={Outcome.DELETED: 3},
            rejected=rejected,
            rejected_codes=(
                RejectedCode("STRING_TOO_LONG", "LastName", 5, "Shorten the text, or set `truncate: true`."),
                RejectedCode("X", None, 1),
            ),
            rejected_file="target/rejected/contacts.csv",
            calls=7,
            job_ids=("7501x0000000001AAA",),
        ),
        sync("tasks", Status.REFUSED, message="sync 'tasks' would delete 9 records; max_deletes is 2"),
    )


@pytest.mark.parametrize(("width", "name"), [(0, "pipe"), (80, "80")])
def test_busy_run(golden, width, name):
    golden(f"run_busy_{name}.txt", run_text(busy(), color=False, width=width))


def test_busy_run_in_colour(golden):
    golden("run_busy_colour.txt", run_text(busy(), color=True, width=80).replace("\x1b", "ESC"))


def test_the_last_line():
    assert last_line(
        result(sync(model={Outcome.CREATED: 120, Outcome.UPDATED: 45}, removals={Outcome.DELETED: 3}))
    ) == (
        "Run: 120 created, 45 updated, 3 deleted, 0 rejected, 0 unchanged."
        " API: 7 calls; 19,993 allowed, 84,193 left in the org."
    )
    assert run_text(busy(), color=False, width=60).splitlines()[-1] == last_line(busy())


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_is_named(outcome):
    text = run_text(result(sync(model={outcome: 4321, Outcome.CREATED: 1})), color=False, width=0)
    word = outcome.value.replace("_", " ")
    assert f"{4321 + (outcome is Outcome.CREATED) * 0:,} {word}" in text or outcome is Outcome.CREATED
    assert word in text.splitlines()[-1]


def test_sums_that_close_and_one_that_does_not():
    assert sum_text(3, {Outcome.CREATED: 1, Outcome.HELD: 2}) == "3 = 1 created + 2 held"
    assert sum_text(0, {}) == "0 = 0"
    assert sum_text(5, {Outcome.CREATED: 1, Outcome.HELD: 2}) == "5 is not 3 = 1 created + 2 held"
    lost = replace(sync(model={Outcome.CREATED: 1}), staged=5)
    text = run_text(result(lost), color=False, width=0)
    assert "Model rows: 5 is not 1 = 1 created" in text
    assert "does not close" in text


def test_why_a_push_ended_early():
    early = result(sync(model={Outcome.DEFERRED: 3}), reason="the API limit is reached\x1b[2J")
    assert "Ended early: the API limit is reached\\x1b[2J" in run_text(early, color=False, width=0)
    stopped = result(sync(model={Outcome.STOPPED: 3}), interrupted=True)
    assert "the next run goes on there" in run_text(stopped, color=False, width=0)


def test_gone_rows_that_are_skipped_say_so():
    text = run_text(result(sync(model={Outcome.GONE: 2}, skipped_gone=2)), color=False, width=0)
    assert "(on_gone: skip)" in text


def test_no_sync():
    assert "The selection has no sync." in run_text(result(), color=False, width=80)


# ---------------------------------------------------------------- status, history, debug, ls, compile, seed


def test_status(golden):
    lines = (
        StatusLine("accounts", "Account", "r1", START, "success", 900, 0, {"unchanged": 900}),
        StatusLine(
            "contacts",
            "Contact",
            "r1",
            START,
            "partial",
            1399,
            12,
            {"rejected": 12, "unchanged": 1387},
            causes=(
                RejectedCode("DUPLICATE_VALUE", "Email", 11, "Correct one of the two."),
                RejectedCode("X", None, 1),
            ),
        ),
        StatusLine("tasks", "Task", None, None, None, 0, 0),
    )
    found = StatusResult(
        *("dev", ".sfsync/dev.duckdb", "00D5g000004XYZEAA", lines),
        *(15, 25_000, 84_193, 100_000, START, 2, 3_750),
        hours=(0, 1, *[0] * 18, 4, 8, 0, 2),
        at=START,
    )
    golden("status.txt", status_text(found, color=False, width=80))


def test_status_before_the_first_run():
    text = status_text(
        StatusResult("dev", ".sfsync/dev.duckdb", None, (), 0, None, None, None, None), color=False, width=80
    )
    assert "org not known yet" in text
    assert "API: 0 calls of unknown in the last 24 hours; unknown left in the org." in text


def test_history(golden):
    def past(name, status, counts, message=None):
        return SimpleNamespace(sync=name, status=status, counts=counts, calls=3, message=message)

    def run(run_id, status, ended):
        return SimpleNamespace(run_id=run_id, command="run", started_at=START, ended_at=ended, status=status)

    lines = [
        SimpleNamespace(run=run("r3", "running", None), syncs=()),
        SimpleNamespace(
            run=run("r2", "refused", START + timedelta(seconds=2)),
            syncs=(past("tasks", "refused", {}, "would delete 9 records"),),
        ),
        SimpleNamespace(
            run=run("r1", "success", START + timedelta(seconds=70)),
            syncs=(past("contacts", "success", {"created": 3, "already_deleted": 1}),),
        ),
    ]
    golden("history.txt", history_text(lines, color=False, width=80))
    assert history_text([], color=False, width=80) == "No run yet.\n"


CHECKS = (
    SimpleNamespace(name="project", ok=True, detail="acme_crm", fix=None),
    SimpleNamespace(
        name="state in CI", ok=None, detail="is a file on a machine that is thrown away", fix="keep it"
    ),
    SimpleNamespace(
        name="org", ok=False, detail="sign-in failed: invalid_client " * 4, fix="check client_id"
    ),
)


def test_debug(golden):
    golden("debug.txt", debug_text(CHECKS, color=False, width=80))
    assert debug_text(CHECKS[:2], color=False, width=0).endswith("All checks passed.\n")


def test_ls_is_names_in_a_pipe_and_a_table_on_a_terminal(golden):
    syncs = [
        SimpleNamespace(name="accounts", object="Account", model="dim_accounts", tags=("crm", "daily")),
        SimpleNamespace(name="tasks", object="Task", model="dim_tasks", tags=()),
    ]
    assert ls_text(syncs, color=False, width=0) == "accounts\ntasks\n"
    golden("ls.txt", ls_text(syncs, color=False, width=80))
    assert ls_text([], color=False, width=0) == ""


def test_compile_and_seed():
    text = compile_text(["a", "b"], ["s"], ["s"], "target/compiled", color=False, width=0)
    assert text.splitlines()[0].startswith("Not checked against the org: s.")
    assert text.splitlines()[-1] == "Compiled 2 models and 1 sync to target/compiled"
    assert seed_text(["a", "b"], 2) == "Loaded 2 seeds of 2: a, b\n"
    assert seed_text([], 0) == "The project has no seeds.\n"
