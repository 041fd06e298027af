"""Ctrl-C and SIGTERM sent to real runs: what is finished, what is left, and what the next run makes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sfsync.errors import InterruptedRunError
from tests.jobs.conftest import Team, of, outcomes
from tests.jobs.test_push_paths import many
from tests.jobs.test_recovery import left_open

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-c", "from sfsync.cli.main import main; main()")


def start(team: Team, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, "run", "--project-dir", str(team.folder), *args],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(true: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 40
    while time.monotonic() < end and process.poll() is None:
        if true():
            return
        time.sleep(0.05)
    process.kill()
    raise AssertionError(process.communicate())


def until_used_up(team: Team, process: subprocess.Popen[str]) -> None:
    """The request that the one fault meets has come to the org."""
    until(lambda: not any(rule["times"] for rule in team.org.state()["faults"]), process)


def ended(process: subprocess.Popen[str]) -> tuple[str, str, float]:
    """Report, errors, and how long it took from now on."""
    begun = time.monotonic()
    report, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    assert "internal error" not in errors
    return report, errors, time.monotonic() - begun


def slow_write(team: Team, seconds: float, **more: Any) -> None:
    for name in ("accounts", "contacts"):
        team.sync(name, push={"api": "collections"})
    team.org.faults([{"fault": "slow", "match": "PATCH /composite", "seconds": seconds, **more}])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_the_first_signal_finishes_the_request_and_records_it(ready: Team, number: int) -> None:
    slow_write(ready, 2)
    process = start(ready)
    until_used_up(ready, process)
    process.send_signal(number)
    report, errors, _ = ended(process)
    assert process.returncode == 130, errors
    assert "Stopping: the current request is finished and recorded." in errors
    assert "2 created" in report
    assert "3 stopped" in report
    assert "the next run goes on there" in report
    assert left_open(ready) == 0
    result = ready.run()
    assert outcomes(result, "accounts") == {"unchanged": 2}
    assert outcomes(result, "contacts") == {"created": 3}


def test_the_second_signal_stops_at_once_and_the_next_run_asks_the_org(ready: Team) -> None:
    slow_write(ready, 30)
    process = start(ready)
    until_used_up(ready, process)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, errors, took = ended(process)
    assert process.returncode == 130
    assert took < 15
    assert "Error: stopped at once, in the middle of what was under way" in errors
    assert "Fix: nothing is lost" in errors
    assert left_open(ready) == 1
    result = ready.run()
    assert [(r.sync, r.counts) for r in result.recovered] == [("accounts", {"adopted": 2})]
    assert outcomes(result, "accounts") == {"updated": 2}, "sent once more: what arrived is not known"
    assert len(ready.org.records("Account")) == 2


def test_grace_is_a_second_signal_that_comes_by_itself(ready: Team) -> None:
    slow_write(ready, 30)
    process = start(ready, "--grace", "1s")
    until_used_up(ready, process)
    process.send_signal(signal.SIGTERM)
    _, errors, took = ended(process)
    assert process.returncode == 130
    assert 0.8 < took < 15
    assert "and so do 1 s." in errors
    assert "stopped at once" in errors
    assert ready.run().exit_code == 0
    assert len(ready.org.records("Account")) == 2


def test_grace_does_nothing_to_a_run_that_ends_in_time(ready: Team) -> None:
    slow_write(ready, 1)
    process = start(ready, "--grace", "30s")
    until_used_up(ready, process)
    process.send_signal(signal.SIGINT)
    report, errors, _ = ended(process)
    assert process.returncode == 130
    assert "stopped at once" not in errors
    assert "2 created" in report


def bulk(team: Team, rules: list[dict[str, Any]]) -> None:
    team.run("accounts")
    team.sync("contacts", push={"api": "bulk"})
    many(team, 1300)  # more than one request carries: created, filled and closed by three
    team.org.faults(rules)


def test_a_job_that_is_not_closed_is_aborted(ready: Team) -> None:
    bulk(ready, [{"fault": "slow", "match": "PUT /jobs/ingest", "seconds": 2}])
    process = start(ready)
    until_used_up(ready, process)
    process.send_signal(signal.SIGINT)
    report, errors, _ = ended(process)
    assert process.returncode == 130, errors
    assert "1,300 stopped" in report
    assert left_open(ready) == 0
    patches = [r for r in ready.org.requests() if r["method"] == "PATCH" and "/jobs/ingest/" in r["path"]]
    assert len(patches) == 1, "aborted, and never closed"
    assert ready.org.records("Contact") == []
    assert outcomes(ready.run(), "contacts") == {"created": 1300}


STUCK: list[dict[str, Any]] = [{"fault": "job_stuck", "polls": 30}]


def free(team: Team) -> None:
    """Ask for the stuck job until it has gone on and ended."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        jobs = team.org.get("/jobs/ingest").json()["records"]
        states = {team.org.get(f"/jobs/ingest/{job['id']}").json()["state"] for job in jobs}
        if states == {"JobComplete"}:
            return
    raise AssertionError(states)


def test_a_job_that_the_org_has_goes_on_and_is_read_first(ready: Team) -> None:
    bulk(ready, STUCK)
    process = start(ready)
    until(
        lambda: any(r["method"] == "GET" and "/jobs/ingest/" in r["path"] for r in ready.org.requests()),
        process,
    )
    process.send_signal(signal.SIGINT)
    report, errors, took = ended(process)
    assert process.returncode == 130, errors
    assert took < 20
    assert "1,300 submitted" in report
    assert "first reads the jobs that are still under way" in report
    assert left_open(ready) == 1
    # The next run waits for it, and a person can end that wait at once.
    again = start(ready)
    assert again.stderr is not None
    until(lambda: "waiting for job" in again.stderr.readline(), again)
    again.send_signal(signal.SIGINT)
    _, _, took = ended(again)
    assert again.returncode == 130
    assert took < 15
    assert left_open(ready) == 1
    free(ready)
    result = ready.run()
    assert [r.counts for r in result.recovered] == [{"created": 1300}]
    assert outcomes(result, "contacts") == {"unchanged": 1300}
    assert len(ready.org.records("Contact")) == 1300


def test_whoever_calls_a_run_can_end_its_wait_for_an_earlier_job(ready: Team) -> None:
    ready.sync("contacts", push={"api": "bulk", "max_wait": "1s"})
    many(ready, 20)
    ready.org.faults([{"fault": "job_stuck", "object": "Contact", "polls": 30}])
    result = ready.run()
    assert outcomes(result, "contacts") == {"submitted": 20}
    ready.sync("contacts", push={"api": "bulk"})
    asked = iter([False] * 5)
    ready.clock.slept.clear()
    with pytest.raises(InterruptedRunError, match="waiting for a job"):
        ready.run(stop_requested=lambda: next(asked, True))
    assert max(ready.clock.slept) <= 1.0


def test_max_wait_ends_the_run_as_ctrl_c_does(ready: Team) -> None:
    """A child's sync has not begun, and does not begin while its parents are still being written."""
    ready.sync("accounts", push={"api": "bulk", "max_wait": "1s"})
    ready.org.faults([{"fault": "job_stuck", "object": "Account", "polls": 30}])
    result = ready.run()
    assert result.exit_code == 1
    assert outcomes(result, "accounts") == {"submitted": 2}
    assert outcomes(result, "contacts") == {"stopped": 3}
    assert result.reason is not None
    assert "was still under way after 1 s (push.max_wait)" in result.reason
    assert of(result, "accounts").job_ids[0] in result.reason
    free(ready)
    result = ready.run()
    assert [(r.sync, r.counts) for r in result.recovered] == [("accounts", {"created": 2})]
    assert outcomes(result, "contacts") == {"created": 3}
