"""Several processes and one state: who waits, who is refused, and what they are told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sfsync.errors import StateLockedError
from sfsync.ports import SystemClock
from sfsync.state.lock import StateLock
from tests.jobs.conftest import Team, outcomes

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
