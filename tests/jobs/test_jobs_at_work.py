"""A Bulk job that does not end holds up its own rows and nothing else; what it did is read when it has ended."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from typing import Any

import pytest

from sfsync.errors import RefusedError
from sfsync.jobs.history import history_command
from sfsync.jobs.recovery import LEAST_WAIT_S
from sfsync.jobs.run import run_command
from sfsync.jobs.session import Options
from sfsync.jobs.state_mv import state_mv_command
from sfsync.jobs.state_rebuild import state_rebuild_command
from sfsync.jobs.status import status_command
from sfsync.report.plan_json import plan_json
from sfsync.report.plan_markdown import plan_markdown
from sfsync.report.plan_text import plan_text
from sfsync.report.run_text import run_text
from sfsync.report.status_text import history_text, status_text
from tests.jobs.conftest import STATE, Team, of, outcomes, planned
from tests.jobs.test_recovery import crash, left_open
from tests.support.clock import QuickClock

KEY = "Customer_Id__c"
BULK = {"api": "bulk", "max_wait": "1s"}
OPEN_GUARDS = dict.fromkeys(("max_deletes", "max_delete_share", "max_change_share")) | {"min_rows": 0}


def stuck(team: Team, sobject: str = "Contact", **more: Any) -> None:
    """From now on jobs of an object never end; those that hang already go on hanging."""
    team.org.faults([{"fault": "job_stuck", "object": sobject, "times": "always", **more}])


def titles(team: Team) -> dict[str, str | None]:
    return {key: record.get("Title") for key, record in team.org.by("Contact", KEY).items()}


def abort(team: Team) -> None:
    """What a person does in Setup."""
    for job in team.org.get("/jobs/ingest").json()["records"]:
        if job["state"] in ("UploadComplete", "InProgress"):
            team.org.patch(f"/jobs/ingest/{job['id']}", json={"state": "Aborted"})
    team.org.faults([])


def went(team: Team) -> list[str]:
    """The requests that carried rows, in order."""
    return [
        f"{r['method']} {r['path'].rpartition('/services/data')[2][6:]}"
        for r in team.org.requests()
        if r["method"] in ("POST", "PATCH", "DELETE") and "/services/data" in r["path"]
    ]


@pytest.fixture
def loaded(ready: Team) -> Team:
    """Two accounts and three contacts, which go by jobs of one call from now on; removed ones are deleted."""
    ready.sync("contacts", on_removed="delete", guards=OPEN_GUARDS)
    assert ready.run().exit_code == 0
    ready.sync("contacts", push=BULK)
    return ready


def small_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every job is a full one: nobody can say which rows it has before its results do."""
    monkeypatch.setattr("sfsync.plan.cost.MAX_MULTIPART_CHARACTERS", 10)
    monkeypatch.setattr("sfsync.push.jobs.MAX_MULTIPART_CHARACTERS", 10)


# ---------------------------------------------------------------- whose rows are known


def test_rows_of_a_job_at_work_are_submitted_and_all_others_go_on(loaded: Team) -> None:
    stuck(loaded)
    loaded.sql("UPDATE raw.contacts SET title = 'one' WHERE id IN ('C1', 'C2')")
    first = loaded.run()
    assert (outcomes(first, "contacts"), first.exit_code) == ({"submitted": 2, "unchanged": 1}, 1)
    job = of(first, "contacts").job_ids[0]
    # Meanwhile one of its rows changes again, the other is gone from the model, and others come and change.
    loaded.sql(
        "UPDATE raw.contacts SET title = 'two' WHERE id IN ('C1', 'C3')",
        "DELETE FROM raw.contacts WHERE id = 'C2'",
        "INSERT INTO raw.contacts (id, last, account) VALUES ('C4', 'New', 'A1')",
        "UPDATE raw.accounts SET phone = '2' WHERE id = 'A1'",
    )
    loaded.sync("contacts", push={"api": "collections", "max_wait": "1s"})
    changes = planned(loaded.plan(), "contacts").changes
    assert (changes.upserts, changes.updates, changes.deletes, changes.unchanged) == (1, 1, 0, 0)
    assert (changes.aside.submitted, changes.aside.submitted_deletes) == (1, 1)
    for _ in range(2):  # and again, for as long as it takes
        result = loaded.run()
        assert result.exit_code == 1
        assert of(result, "contacts").removals == {"submitted": 1}
        (found,) = result.recovered
        assert (found.job_id, found.counts) == (job, {"submitted": 2})
        assert left_open(loaded) == 1
    assert loaded.org.by("Account", "Account_Id__c")["A1"]["Phone"] == "2"
    assert titles(loaded) == {"C1": None, "C2": "CTO", "C3": "two", "C4": None}
    assert of(result, "contacts").model == {"submitted": 1, "unchanged": 2}
    abort(loaded)
    result = loaded.run()
    assert "C1" in titles(loaded)
    assert (outcomes(result, "contacts"), result.exit_code) == (
        {"updated": 1, "deleted": 1, "unchanged": 2},
        0,
    )
    assert titles(loaded) == {"C1": "two", "C3": "two", "C4": None}
    assert left_open(loaded) == 0
    assert not loaded.plan().has_changes


def test_a_value_that_went_back_while_its_job_was_at_work_ends_where_it_was(loaded: Team) -> None:
    stuck(loaded, share=1.0)  # all is written, and the job goes on as if it were not
    loaded.sql("UPDATE raw.contacts SET title = 'one'")
    crash(loaded, "after poll")
    loaded.sql("UPDATE raw.contacts SET title = CASE WHEN id = 'C2' THEN 'CTO' END")
    assert of(loaded.run(), "contacts").model == {"submitted": 3}, "its cells are not what they seem"
    assert set(titles(loaded).values()) == {"one"}
    abort(loaded)
    result = loaded.run()
    assert result.recovered[0].counts == {"updated": 3}
    assert outcomes(result, "contacts") == {"updated": 3}
    assert titles(loaded) == {"C1": None, "C2": "CTO", "C3": None}


def test_rows_that_come_back_while_their_delete_is_at_work_wait_and_are_made_again(loaded: Team) -> None:
    stuck(loaded, share=1.0)
    loaded.sql("CREATE TABLE raw.kept AS SELECT * FROM raw.contacts", "DELETE FROM raw.contacts")
    assert outcomes(loaded.run(), "contacts") == {"submitted": 3}
    loaded.sql("INSERT INTO raw.contacts SELECT * FROM raw.kept")
    assert of(loaded.run(), "contacts").model == {"submitted": 3}
    abort(loaded)
    result = loaded.run()
    assert result.recovered[0].counts == {"deleted": 3}
    assert outcomes(result, "contacts") == {"created": 3}
    assert set(titles(loaded)) == {"C1", "C2", "C3"}


def test_children_of_records_that_a_job_is_making_wait(ready: Team) -> None:
    ready.sync("accounts", push=BULK)
    crash_with_stuck_job(ready, "Account")
    result = ready.run()
    assert outcomes(result, "accounts") == {"submitted": 2}
    assert outcomes(result, "contacts") == {"created": 1, "waiting": 2}
    abort(ready)
    result = ready.run()
    assert (outcomes(result, "accounts"), outcomes(result, "contacts")) == (
        {"created": 2},
        {"created": 2, "unchanged": 1},
    )


def crash_with_stuck_job(team: Team, sobject: str) -> None:
    """A run that is killed when it has looked at its job; nothing but the state comes along."""
    stuck(team, sobject)
    crash(team, "after poll")
    for path in (team.folder / STATE).parent.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


# ---------------------------------------------------------------- whose rows nobody knows


def test_a_sync_whose_job_does_not_tell_its_rows_stops_alone(
    ready: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_calls(monkeypatch)
    ready.sync("accounts", push=BULK, on_removed="delete", allow_cascade=True, guards=OPEN_GUARDS)
    ready.run("accounts")
    stuck(ready, "Account")
    ready.sql("INSERT INTO raw.accounts VALUES ('A3', 'Cobalt', NULL)")
    assert outcomes(ready.run("accounts"), "accounts") == {"unchanged": 2, "submitted": 1}
    ready.sql(
        "DELETE FROM raw.accounts WHERE id = 'A2'",
        "UPDATE raw.accounts SET phone = '9' WHERE id = 'A1'",
        "UPDATE raw.contacts SET account = 'A3' WHERE id = 'C3'",
        "UPDATE raw.contacts SET account = NULL WHERE id = 'C2'",  # or it would go with A2
    )
    plan = ready.plan()
    aside = planned(plan, "accounts").changes.aside
    assert (aside.stopped, aside.stopped_deletes, aside.submitted) == (2, 1, 0)
    assert planned(plan, "contacts").changes.waiting == 1
    before = len(went(ready))
    result = ready.run()
    assert of(result, "accounts").model == {"stopped": 2}
    assert of(result, "accounts").removals == {"stopped": 1}
    assert outcomes(result, "contacts") == {"created": 2, "waiting": 1}
    assert result.exit_code == 1
    assert all("/composite" in one for one in went(ready)[before:]), went(ready)[before:]
    message = of(result, "accounts").message or ""
    assert "nothing of accounts is sent before it ends" in message
    assert "abort it in Setup, Bulk Data Load Jobs" in message
    abort(ready)
    ready.run()
    assert set(ready.org.by("Account", "Account_Id__c")) == {"A1", "A3"}
    assert not ready.plan().has_changes


def test_what_a_job_wrote_before_it_was_aborted_is_known_and_the_rest_is_sent(
    loaded: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of an update is written; the model goes back to where it was, so only the journal tells of the change."""
    small_calls(monkeypatch)
    loaded.sql(
        "INSERT INTO raw.contacts (id, last, title) SELECT 'D' || i, 'Last', 'old' FROM range(20) AS r(i)"
    )
    loaded.run()
    loaded.org.faults([{"fault": "job_stuck", "object": "Contact", "share": 0.5}])
    loaded.sql("UPDATE raw.contacts SET title = 'new' WHERE id LIKE 'D%'")
    crash(loaded, "after poll")
    loaded.org.until_quiet()
    abort(loaded)
    assert sorted(titles(loaded)[f"D{i}"] or "" for i in range(20)) == ["new"] * 10 + ["old"] * 10
    loaded.sql("UPDATE raw.contacts SET title = 'old' WHERE id LIKE 'D%'")
    result = loaded.run()
    (found,) = result.recovered
    assert found.counts == {"updated": 10}
    assert "it tells nothing of 10 rows, to be compared anew" in found.what
    assert {titles(loaded)[f"D{i}"] for i in range(20)} == {"old"}
    assert not loaded.plan().has_changes


# ---------------------------------------------------------------- results that leave rows out


@pytest.mark.parametrize("whole", [False, True], ids=["keys in the journal", "no keys"])
@pytest.mark.parametrize("operation", ["update", "delete"])
def test_rows_that_no_result_tells_of_are_compared_anew(
    loaded: Team, monkeypatch: pytest.MonkeyPatch, operation: str, whole: bool
) -> None:
    """The job did all its work, and its results tell of two thirds of it; meanwhile the model went back."""
    if whole:
        small_calls(monkeypatch)
    loaded.org.faults([{"fault": "results_missing", "object": "Contact", "share": 0.34, "times": "always"}])
    if operation == "update":
        loaded.sql("UPDATE raw.contacts SET title = 'new'")
    else:
        loaded.sql("CREATE TABLE raw.kept AS SELECT * FROM raw.contacts", "DELETE FROM raw.contacts")
    (small_crash if whole else crash)(loaded, "after poll")
    loaded.org.until_quiet()
    if operation == "update":
        loaded.sql("UPDATE raw.contacts SET title = 'CTO'")
    else:
        loaded.sql("INSERT INTO raw.contacts SELECT *  REPLACE ('CTO' AS title) FROM raw.kept")
    result = loaded.run()
    assert "it tells nothing of 1 row, to be compared anew" in result.recovered[0].what
    loaded.org.faults([])
    for _ in range(3):  # what is found to be gone is made anew, and what an adoption leaves blank is cleared
        result = loaded.run()
    assert result.exit_code == 0
    assert titles(loaded) == {"C1": "CTO", "C2": "CTO", "C3": "CTO"}
    assert not loaded.plan().has_changes


def small_crash(team: Team, point: str) -> None:
    """As `crash`, in a process whose jobs are all full ones."""
    from tests.support import doomed

    assert doomed.end(doomed.start(doomed.Order(team.folder, point=point, most_characters=10))) == -9


# ---------------------------------------------------------------- how long it waits, and for whom


def test_several_jobs_share_one_wait_and_an_old_one_gets_no_new_one(ready: Team) -> None:
    ready.sync("accounts", push={"api": "bulk", "max_wait": "10m"})
    crash_with_stuck_job(ready, "Account")
    stuck(ready, "Contact")
    ready.sync("contacts", push={"api": "bulk", "max_wait": "10m"})
    ready.sql("UPDATE raw.contacts SET account = NULL")
    waited(ready, QuickClock())  # each is at work now
    assert left_open(ready) == 2
    assert waited(ready, QuickClock()) < 10 * 60 + 30, "not one after the other"
    assert waited(ready, QuickClock(timedelta(hours=1))) < LEAST_WAIT_S + 30
    assert left_open(ready) == 2


def waited(team: Team, clock: QuickClock) -> float:
    """Seconds that a run takes by a clock whose pauses pass at once."""
    begun = clock.monotonic()
    run_command(Options(project_dir=team.folder, env={}, clock=clock, events=team))
    return clock.monotonic() - begun


def test_a_run_does_not_wait_for_jobs_of_syncs_that_are_not_selected(ready: Team) -> None:
    ready.run("accounts")
    ready.sync("contacts", push={"api": "bulk"})
    crash_with_stuck_job(ready, "Contact")
    ready.clock.slept.clear()
    result = ready.run("accounts")
    assert result.exit_code == 0
    assert [item.counts for item in result.recovered] == [{"submitted": 3}]
    assert ready.clock.slept == []


# ---------------------------------------------------------------- what is told


def test_what_a_job_at_work_holds_up_is_told_everywhere(loaded: Team) -> None:
    stuck(loaded)
    loaded.sql("UPDATE raw.contacts SET title = 'one' WHERE id <> 'C3'")
    job = of(loaded.run(), "contacts").job_ids[0]
    plan = loaded.plan()
    text = plan_text(plan, color=False, width=0)
    assert "2 submitted" in text
    assert "a job of an earlier run has them" in text
    assert "No changes can be sent before the jobs of earlier runs have ended." in text
    (warning,) = [w for w in plan.warnings if job in w]
    assert "its 2 rows are not sent again before it ends" in warning
    assert "| submitted |" in plan_markdown(plan)
    item = next(i for i in json.loads(plan_json(plan))["syncs"] if i["name"] == "contacts")
    assert (item["counts"]["submitted"], item["jobs_at_work"][0]["job_id"]) == (2, job)
    result = loaded.run()
    report = run_text(result, color=False, width=0)
    assert (
        f"Not answered yet: contacts, 2 rows to update of run {result.recovered[0].run_id}: job {job}"
        in report
    )
    assert "Model rows: 3 = 1 unchanged + 2 submitted" in report
    written = json.loads((loaded.folder / "target" / "run_results.json").read_text())
    assert written["recovered"][0]["counts"] == {"submitted": 2}
    assert next(i for i in written["results"] if "contacts" in i["unique_id"])["outcomes"]["submitted"] == 2
    status = status_text(status_command(loaded.options()), color=False, width=0)
    assert f"contacts: job {job} with 2 rows to update was still at work at" in status
    past = history_text(history_command(loaded.options()), color=False, width=0)
    assert "2 submitted" in past


def test_the_state_is_not_turned_over_while_a_job_is_at_work(loaded: Team) -> None:
    stuck(loaded)
    loaded.sql("UPDATE raw.contacts SET title = 'one'")
    job = of(loaded.run(), "contacts").job_ids[0]
    for command in (
        lambda: state_mv_command(loaded.options(), "contacts", "people"),
        lambda: state_rebuild_command(loaded.options(), "contacts"),
    ):
        with pytest.raises(RefusedError, match=f"job {job} of run") as caught:
            command()
        assert "abort it in Setup" in (caught.value.fix or "")


def test_a_run_is_not_taken_back_where_a_job_is_at_work(loaded: Team) -> None:
    loaded.sql("UPDATE raw.contacts SET title = 'one'")
    undone = loaded.run().run_id
    stuck(loaded)
    loaded.sql("UPDATE raw.contacts SET first = 'two' WHERE id = 'C1'")
    loaded.run()
    loaded.sync("contacts", push={"api": "collections", "max_wait": "1s"})
    result = loaded.run(undo=undone)
    assert outcomes(result, "contacts") == {"updated": 2, "submitted": 1}
    assert titles(loaded) == {"C1": "one", "C2": "CTO", "C3": None}


def test_retry_leaves_rows_of_a_job_at_work_alone(loaded: Team) -> None:
    stuck(loaded)
    loaded.sql("UPDATE raw.contacts SET title = 'one'")
    loaded.run()
    sent = len(went(loaded))
    assert outcomes(loaded.retry(), "contacts") == {"submitted": 3}
    assert len(went(loaded)) == sent


# ---------------------------------------------------------------- whose sync is away


def take_out(team: Team, name: str, renamed: str | None = None) -> None:
    """A sync leaves the project, or has another name there from now on."""
    spec = team._syncs.pop(name)
    (team.folder / "syncs" / f"{name}.yml").unlink()
    if renamed is not None:
        team._syncs[renamed] = spec | {"push": {"api": "collections"}}
    team.save()


@pytest.mark.parametrize("crashed", [False, True], ids=["left", "killed"])
def test_nothing_is_sent_to_an_object_on_which_a_job_without_its_sync_is_at_work(
    loaded: Team, crashed: bool
) -> None:
    """The job writes an hour later: by then a renamed sync would have sent what is newer."""
    stuck(loaded)
    loaded.sql("UPDATE raw.contacts SET title = 'one'")
    if crashed:
        crash(loaded, "after poll")
        (record,) = loaded.org.get("/jobs/ingest").json()["records"][-1:]
        job = record["id"]
    else:
        job = of(loaded.run(), "contacts").job_ids[0]
    take_out(loaded, "contacts", "people")
    loaded.sql("UPDATE raw.contacts SET title = 'two'", "UPDATE raw.accounts SET phone = '2' WHERE id = 'A1'")
    if not crashed:
        plan = loaded.plan()
        (warning,) = [w for w in plan.warnings if job in w]
        assert all(word in warning for word in ("'contacts'", "Contact", "Setup, Bulk Data Load Jobs"))
        assert planned(plan, "people").changes.aside.stopped == 3
        (at_work,) = next(i for i in json.loads(plan_json(plan))["syncs"] if i["name"] == "people")[
            "jobs_at_work"
        ]
        assert (at_work["job_id"], at_work["sync"]) == (job, "contacts")
    else:
        assert [w for w in loaded.plan().warnings if "'contacts' is not in the project" in w]
    for _ in range(2):
        result = loaded.run()
        assert (outcomes(result, "people"), result.exit_code) == ({"stopped": 3}, 1)
        assert job in (of(result, "people").message or "")
        assert [w for w in result.warnings if job in w and "nothing is sent to Contact" in w]
        assert job in run_text(result, color=False, width=0)
    assert outcomes(result, "accounts") == {"unchanged": 2}
    assert loaded.org.by("Account", "Account_Id__c")["A1"]["Phone"] == "2", "other objects go on"
    assert set(titles(loaded).values()) == {None, "CTO"}
    abort(loaded)
    result = loaded.run()
    assert (outcomes(result, "people"), result.exit_code) == ({"adopted": 3}, 0)
    assert set(titles(loaded).values()) == {"two"}
    warnings = loaded.plan().warnings
    assert not [w for w in warnings if job in w]
    assert [w for w in warnings if "by a run that has it back under its name" in w]


def test_a_sync_that_is_put_back_reads_what_its_job_wrote(loaded: Team) -> None:
    stuck(loaded, share=1.0)
    loaded.sql("UPDATE raw.contacts SET title = 'one'")
    loaded.run()
    spec = dict(loaded._syncs["contacts"])
    take_out(loaded, "contacts")
    result = loaded.run()
    assert [w for w in result.warnings if "nothing is sent to Contact" in w], (
        "though nobody else writes to it"
    )
    assert (outcomes(result, "accounts"), result.exit_code) == ({"unchanged": 2}, 0)
    abort(loaded)
    loaded.run()
    assert left_open(loaded) == 1
    loaded._syncs["contacts"] = spec
    loaded.save()
    result = loaded.run()
    assert [item.counts for item in result.recovered] == [{"updated": 3}]
    assert left_open(loaded) == 0
    assert not loaded.plan().has_changes


def test_what_a_run_would_take_back_waits_for_such_a_job_too(loaded: Team) -> None:
    last = {"column": "last", "shared": True}
    loaded.sync("contacts", fields={"LastName": last})
    loaded._syncs["titles"] = {
        "model": "dim_contacts",
        "object": "Contact",
        "identity": {KEY: "id"},
        "fields": {"LastName": last, "Department": "title"},
    }
    loaded.save()
    loaded.run("titles")
    loaded.sql("UPDATE raw.contacts SET title = 'one'")
    run_id = loaded.run("titles").run_id
    stuck(loaded)
    loaded.run("contacts")
    take_out(loaded, "contacts")
    changes = planned(loaded.plan("titles"), "titles").changes
    assert (changes.unchanged, changes.aside.stopped) == (3, 0)
    result = loaded.run("titles", undo=run_id)
    assert (outcomes(result, "titles"), result.exit_code) == ({"stopped": 1, "unchanged": 2}, 1)
