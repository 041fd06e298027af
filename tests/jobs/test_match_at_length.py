"""Very many keys against an org with very many more records: what it takes in calls and in memory.

SFSYNC_FULL_SIZE=1 pytest tests/jobs/test_match_at_length.py -m slow     a million keys, five million records: 4 minutes
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.jobs.conftest import WAREHOUSE, Team

FULL = bool(os.environ.get("SFSYNC_FULL_SIZE"))
RECORDS, KEYS = (5_000_000, 1_000_000) if FULL else (500_000, 100_000)
JOB = 1_250_000  # rows, below the size of a job
MOST_MB = 500
PLAN = """
import atexit, sys
from sfsync.cli.main import main
# What the kernel says itself: the peak that a parent can ask for begins with the parent's own.
atexit.register(lambda: print(*(l for l in open("/proc/self/status") if l.startswith("VmHWM")), file=sys.stderr))
main()
"""


def fill_org(org: Any, folder: Path) -> None:
    """Records of which every second one is named otherwise than the model has it."""
    for first in range(0, RECORDS, JOB):
        path = folder / "accounts.csv"
        last = min(first + JOB, RECORDS)
        duckdb.execute(
            f"COPY (SELECT 'A' || i AS Account_Id__c, CASE i % 2 WHEN 0 THEN 'Acme ' ELSE 'Old ' END || i AS Name"
            f" FROM range({first}, {last}) AS r(i)) TO '{path}' (HEADER)"
        )
        job = org.post("/jobs/ingest", json={"object": "Account", "operation": "insert"}).json()["id"]
        with path.open("rb") as data:
            assert (
                org.put(
                    f"/jobs/ingest/{job}/batches", data=data, headers={"Content-Type": "text/csv"}
                ).status_code
                == 201
            )
        org.patch(f"/jobs/ingest/{job}", json={"state": "UploadComplete"})
        while (info := org.get(f"/jobs/ingest/{job}").json())["state"] != "JobComplete":
            assert info["state"] in ("UploadComplete", "InProgress"), info
            time.sleep(0.5)
        assert info["numberRecordsFailed"] == 0


@pytest.mark.slow
def test_memory_does_not_grow_with_the_org(ready: Team, tmp_path: Path) -> None:
    ready.sync("accounts", match="unknown", fields={"Phone": None})
    fill_org(ready.org, tmp_path)
    with duckdb.connect(str(ready.folder / WAREHOUSE)) as connection:
        step = RECORDS // KEYS - 1  # even
        # Some of the keys are new.
        connection.execute("DELETE FROM raw.accounts")
        connection.execute(
            "INSERT INTO raw.accounts SELECT 'A' || i, 'Acme ' || i, NULL FROM"
            f" (SELECT range * {step} + range % 2 AS i FROM range({KEYS - 1000})) UNION ALL"
            " SELECT 'N' || range, 'New', NULL FROM range(1000)"
        )
    before = ready.calls()
    command = [sys.executable, "-c", PLAN, "plan", "--select", "accounts", "--format", "json"]
    child = subprocess.run(
        [*command, "--project-dir", str(ready.folder)], capture_output=True, text=True, check=True
    )
    out, peak_mb = child.stdout, int(child.stderr.rsplit("VmHWM:", 1)[1].split()[0]) / 1024
    counts = json.loads(out)["syncs"][0]["counts"]
    print(f"{KEYS:,} keys, {RECORDS:,} records: {peak_mb:.0f} MB, {ready.calls() - before} calls")
    odd = (KEYS - 1000) // 2
    assert (counts["create"], counts["update"], counts["adopt"]) == (1000, odd, KEYS - 1000 - odd)
    # One to count, one to begin, some to wait, a page for every 250,000 records.
    assert ready.calls() - before <= 2 + 12 + -(-RECORDS // 250_000)
    assert peak_mb < MOST_MB
