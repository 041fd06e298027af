"""Many runs in a row with small changes: the state file, memory, processes, files and connections stay as they are.

    pytest tests/chaos/test_soak.py -m slow -n 0 -s                                    what CI does
    pytest tests/chaos/test_soak.py -m slow -n 0 -s --soak-runs 200 --soak-rows 100000  the long one

All runs are in this one process, as a scheduler or a notebook would have them; every tenth changes half of the rows, so
that the state file would grow if it could.
"""

from __future__ import annotations

import gc
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import OrgForTests
from tests.jobs.conftest import STATE, Team, fill, outcomes

PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Reading:
    """What could grow."""

    state: int  # bytes of the file and its log
    rss: int  # bytes
    handles: int
    sockets: int
    threads: int
    children: int
    spools: int

    def __str__(self) -> str:
        mb = f"state {self.state / 1e6:.1f} MB, memory {self.rss / 1e6:.0f} MB"
        return f"{mb}, {self.handles} files ({self.sockets} sockets), {self.threads} threads, {self.children} children"


def read(team: Team) -> Reading:
    gc.collect()
    me = Path("/proc/self")
    links = []
    for handle in (me / "fd").iterdir():
        try:
            links.append(str(handle.readlink()))
        except OSError:  # the one that lists them
            continue
    private = (team.folder / STATE).parent
    return Reading(
        sum(path.stat().st_size for path in private.glob(Path(STATE).name + "*")),
        int((me / "statm").read_text().split()[1]) * PAGE,
        len(links),
        sum(link.startswith("socket:") for link in links),
        threading.active_count(),
        sum(len((task / "children").read_text().split()) for task in (me / "task").iterdir()),
        sum(1 for path in private.glob("spool/*")),
    )


def grow(team: Team, rows: int) -> None:
    team.sql(
        "DELETE FROM raw.contacts",
        "INSERT INTO raw.contacts (id, last, title, account, worth) SELECT 'C' || i, 'Last ' || i, 'first',"
        f" CASE WHEN i % 3 > 0 THEN 'A1' END, i FROM range({rows}) AS r(i)",
    )


def change(team: Team, number: int, rows: int) -> None:
    """Some titles, some new rows, some that leave; every tenth time half of all titles."""
    some = f"id IN (SELECT id FROM raw.contacts USING SAMPLE {200 if number % 10 else rows // 2} ROWS)"
    team.sql(
        f"UPDATE raw.contacts SET title = 'run {number}' WHERE {some}",
        "DELETE FROM raw.contacts WHERE id IN (SELECT id FROM raw.contacts USING SAMPLE 20 ROWS)",
        "INSERT INTO raw.contacts (id, last, title) SELECT"
        f" 'N{number}-' || i, 'New', 'first' FROM range(20) AS r(i)",
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_nothing_grows_from_run_to_run(
    tmp_path: Path, org: OrgForTests, request: pytest.FixtureRequest
) -> None:
    runs, rows = (request.config.getoption(name) for name in ("--soak-runs", "--soak-rows"))
    team = fill(Team(tmp_path / "team", org))
    team.init_state()
    guards = dict.fromkeys(("max_deletes", "max_delete_share", "max_change_share"))
    team.sync("contacts", on_removed="delete", guards=guards)
    grow(team, rows)
    team.run()
    readings = [read(team)]
    print(f"\nafter the first load: {readings[0]}")
    for number in range(1, runs + 1):
        change(team, number, rows)
        result = team.run()
        assert result.exit_code == 0, outcomes(result, "contacts")
        readings.append(read(team))
        if number % 10 < 2:
            print(f"after run {number}: {readings[-1]}")
    settled, late = readings[len(readings) // 3], readings[-1]
    calm = [one for number, one in enumerate(readings) if number % 10 and number > runs // 3]
    first, last = calm[: len(calm) // 3], calm[-(len(calm) // 3) :]
    assert max(one.state for one in readings[1:]) < 3 * readings[0].state, "the state file is bounded"
    assert max(one.state for one in last) < 1.25 * max(one.state for one in first), "and does not creep"
    assert min(one.rss for one in last) < 1.15 * max(one.rss for one in first), "memory is flat"
    assert (late.handles, late.sockets) <= (settled.handles, settled.sockets)
    assert (late.threads, late.children, late.spools) <= (settled.threads, settled.children, 0)
