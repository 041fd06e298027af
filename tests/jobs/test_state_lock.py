"""Several processes and one state: who waits, who is refused, and what they are told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from sfsync.errors import StateError, StateLockedError
from sfsync.jobs.plan import plan_command
from sfsync.jobs.run import RunOptions, run_command
from sfsync.jobs.state_unlock import state_unlock_command
from sfsync.jobs.status import status_command
from sfsync.ports import SystemClock
from sfsync.state.holder import Holder, read_holder, write_holder
from sfsync.state.lock import StateLock
from tests.jobs.conftest import STATE, Team, outcomes

READER = """
import duckdb, sys, time
connection = duckdb.connect(sys.argv[1], read_only=True)
print("reading", flush=True)
time.sleep(float(sys.argv[2]))
"""


def state_of(team: Team) -> Path:
    return team.folder / ".sfsync" / "prod.duckdb"


def test_a_second_runner_is_told_who_holds_the_state(ready: Team) -> None:
    lock = StateLock(state_of(ready), SystemClock())
    holder = lock.acquire("run")
    try:
        with pytest.raises(StateLockedError) as caught:
            ready.run()
    finally:
        lock.release()
    assert caught.value.exit_code == 3
    assert str(holder.pid) in caught.value.what
    assert "sfsync run" in caught.value.what
    assert ready.run().exit_code == 0


def test_a_run_waits_for_a_reader(ready: Team) -> None:
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(state_of(ready)), "1"], stdout=subprocess.PIPE
    )
    assert reader.stdout is not None
    reader.stdout.readline()
    try:
        assert outcomes(ready.run(), "accounts") == {"created": 2}
    finally:
        reader.wait(10)
        reader.stdout.close()
    assert 0.25 in ready.clock.slept


def test_two_plans_read_side_by_side(ready: Team) -> None:
    ready.run()
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(state_of(ready)), "30"], stdout=subprocess.PIPE
    )
    assert reader.stdout is not None
    try:
        reader.stdout.readline()
        assert not ready.plan().has_changes
    finally:
        reader.terminate()
        reader.wait(10)
        reader.stdout.close()


# ------------------------------------------------------------ real runs side by side

ROOT = Path(__file__).parents[2]
RUNNER = """
import sys
from pathlib import Path
from sfsync.jobs.run import run_command
from sfsync.jobs.session import Options
from sfsync.report.run_text import run_text

class Lines:
    def log(self, level, message, **fields):
        print(message, file=sys.stderr, flush=True)
    def progress(self, *args, **fields): pass

from sfsync.errors import SfsyncError
try:
    result = run_command(Options(project_dir=Path(sys.argv[1]), env={}, events=Lines(), wait_s=float(sys.argv[2])))
    print(run_text(result, color=False, width=0))
    sys.exit(result.exit_code)
except SfsyncError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def start(team: Team, wait_s: float = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(team.folder), str(wait_s)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def slow(team: Team, seconds: float) -> None:
    """The org answers the first write late; it has done its work by then."""
    team.sync("accounts", push={"api": "collections"})
    team.sync("contacts", push={"api": "collections"})
    team.org.faults([{"fault": "slow", "match": "PATCH /composite", "seconds": seconds}])


def until_held(team: Team, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        holder = read_holder(state_of(team))
        if (
            holder is not None
            and not holder.released
            and not any(rule["times"] for rule in team.org.state()["faults"])
        ):
            return
        time.sleep(0.05)
    process.kill()
    raise AssertionError(
        f"the run never sent anything: {process.communicate()}, {team.org.state()['faults']}"
    )


def test_two_runs_collide_and_the_second_waits(ready: Team) -> None:
    slow(ready, 3)
    first = start(ready)
    try:
        until_held(ready, first)
        with pytest.raises(StateLockedError, match=f"process {first.pid}, since .*; last seen"):
            run_command(ready.options(), RunOptions())
        for command in (plan_command, status_command):
            with pytest.raises(StateLockedError, match=f"process {first.pid}"):
                command(ready.options())
        second = start(ready, wait_s=60)
        told = second.communicate(timeout=90)
    finally:
        first.communicate(timeout=90)
    assert first.returncode == 0
    assert second.returncode == 0, told
    assert f"waiting: the state {state_of(ready)} is held by `sfsync run`" in told[1]
    assert "unchanged" in told[0]
    assert len(ready.org.records("Contact")) == 3
    assert len([w for w in ready.org.writes() if w["object"] == "Account"]) == 2


def test_plan_and_status_wait_too(ready: Team) -> None:
    slow(ready, 2)
    first = start(ready)
    try:
        until_held(ready, first)
        plan = plan_command(replace(ready.options(), wait_s=600))
    finally:
        first.communicate(timeout=90)
    assert not plan.has_changes
    assert status_command(replace(ready.options(), wait_s=1)).syncs[0].records == 2


CARE = (
    # command, exit code once the run has ended
    ("check", 0),
    ("rekey contacts", 0),
    ("forget contacts --gone", 0),
    ("rebuild contacts", 0),
    ("mv accounts firms", 0),
    ("export after", 0),
    ("import before", 2),  # what the run recorded is not to be lost
)


def test_commands_that_look_after_the_state_wait_for_a_run(ready: Team) -> None:
    def sfsync(words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", "from sfsync.cli.main import main; main()", "state", *words.split()],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            cwd=ready.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    ready.run()
    sfsync("export before").communicate(timeout=60)
    lock = StateLock(state_of(ready), SystemClock())
    holder = lock.acquire("run")
    file = duckdb.connect(str(state_of(ready)))  # as a run has it: nobody else can read it
    try:
        at_once = sfsync("rekey contacts")
        assert f"process {holder.pid}" in at_once.communicate(timeout=60)[1]
        assert at_once.returncode == 3
        waiting = [(command, code, sfsync(f"{command} --wait 5m")) for command, code in CARE]
        for command, _, process in waiting:
            assert process.stderr is not None
            said = next((line for line in process.stderr if "waiting" in line), "it did not wait")
            assert f"waiting: the state {state_of(ready)} is held by `sfsync run`" in said, command
    finally:
        file.close()
        lock.release()
    for command, code, process in waiting:
        told = process.communicate(timeout=150)
        assert process.returncode == code, (command, told)


def test_a_run_that_lost_its_lease_records_what_it_sent_and_begins_nothing_more(ready: Team) -> None:
    """As a session on another machine does that was unlocked while it hung in a request."""
    slow(ready, 3)
    first = start(ready)
    until_held(ready, first)
    mine = read_holder(state_of(ready))
    assert mine is not None
    write_holder(
        state_of(ready),
        replace(mine, command="state unlock", host="runner-8", machine="boot-8", pid=8, epoch=mine.epoch + 1),
    )
    _, told = first.communicate(timeout=90)
    assert first.returncode == 3, told
    assert "was taken over by `sfsync state unlock`" in told
    assert "Traceback" not in told
    assert len(ready.org.records("Account")) == 2
    assert ready.org.records("Contact") == []
    (state_of(ready).with_name(state_of(ready).name + ".holder.json")).unlink()
    result = ready.run()
    assert outcomes(result, "accounts") == {"unchanged": 2}, (
        "what was answered after the lease was lost is recorded"
    )
    assert outcomes(result, "contacts") == {"created": 3}
    assert result.recovered == ()


# ------------------------------------------------------------ unlock


def test_unlock_refuses_while_the_owner_lives(ready: Team) -> None:
    slow(ready, 2)
    first = start(ready)
    try:
        until_held(ready, first)
        for force in (False, True):
            with pytest.raises(StateLockedError, match="that process lives on this machine") as caught:
                state_unlock_command(ready.options(), force=force)
            assert f"kill {first.pid}" in (caught.value.fix or "")
    finally:
        first.communicate(timeout=90)
    assert first.returncode == 0
    assert state_unlock_command(ready.options()).held_by is None


def test_unlock_after_a_kill_tells_who_it_was_and_raises_the_epoch(ready: Team) -> None:
    slow(ready, 3)
    first = start(ready)
    until_held(ready, first)
    first.kill()
    first.communicate(timeout=90)
    before = epoch(ready)
    found = state_unlock_command(ready.options())
    assert found.held_by is not None
    assert f"process {first.pid}" in found.held_by
    assert found.on_this_machine
    assert found.open_requests == 1
    assert epoch(ready) == before + 1
    assert state_unlock_command(ready.options()).held_by is None
    result = ready.run()
    assert [item.sync for item in result.recovered] == ["accounts"]
    assert outcomes(result, "contacts") == {"created": 3}


def test_unlock_of_another_machine_asks_for_force_while_that_seems_to_live(ready: Team) -> None:
    now = SystemClock().now().isoformat(timespec="seconds")
    write_holder(state_of(ready), Holder("run", "ci", "runner-7", 4711, now, 3, seen=now, machine="boot-7"))
    with pytest.raises(StateLockedError, match="ci@runner-7, process 4711"):
        ready.run()
    with pytest.raises(StateLockedError, match="on another machine, and it seems to live") as caught:
        state_unlock_command(ready.options())
    assert "--force" in (caught.value.fix or "")
    assert state_unlock_command(ready.options(), force=True).on_this_machine is False
    assert ready.run().exit_code == 0


def test_a_lease_out_of_a_cache_expires_by_itself(ready: Team) -> None:
    """A CI runner was thrown away in the middle of a run, and its folder came back on another one."""
    write_holder(
        state_of(ready),
        Holder("run", "ci", "runner-7", 4711, "2026-01-01T00:00:00+00:00", 3, machine="boot-7"),
    )
    assert ready.run().exit_code == 0
    assert any("ended without giving the state back" in message for _, message in ready.logged)


def test_unlock_without_a_state(team: Team) -> None:
    with pytest.raises(StateError, match="there is no state"):
        state_unlock_command(team.options())


def epoch(team: Team) -> int:
    with duckdb.connect(str(team.folder / STATE), read_only=True) as db:
        row = db.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()
    assert row is not None
    return int(row[0])
