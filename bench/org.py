"""How fast the local org works off Bulk jobs: creates, updates and deletes of the benchmark's rows, over HTTPS.

    python -m bench.run --only org
    python -m bench.org --rows 300000            # one size, one line of JSON for each job

Owns:      the CSV of the three jobs, and the stopwatch around each step of a job.
Does not:  judge (run does), or reach into the org: it is a process of its own, started as users start it.
Invariant: a job that fails, or any row of it, ends the measure: a fast refusal is no speed.

The goal is for the processing: from the answer to UploadComplete until a poll shows JobComplete. The whole of a job is
from its creation to the last byte of successfulResults, upload included. CPU seconds are the server's, from /proc, so a
machine that is busy with other work disturbs them little; elsewhere than on Linux they are missing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import data
from bench.baseline import TEXTS, Org
from sfsync.local_org import control

if TYPE_CHECKING:
    from bench.run import Line

SIZES = (100_000, 300_000)
GOAL = 50_000  # rows/s of a job's processing
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Speed:
    """One job."""

    operation: str
    rows: int
    processing_s: float
    whole_s: float
    processing_cpu_s: float | None
    whole_cpu_s: float | None
    peak_mb: float | None  # the server's highest so far


class Jobs:
    """An org of its own with the parents of the rows, and one client."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        data.make_schema(folder / "schema.json")
        data.make_accounts(folder / "Account.csv")
        self.running = control.start(folder / "org", schema=folder / "schema.json")
        control.load(folder / "org", folder / "Account.csv")
        control.call(self.running, "PUT", "/_local/limits", {"max": 1_000_000})
        os.environ[data.SECRETS["baseline"]] = self.running.client_secret
        self.client = Org(self.running.url, str(self.running.ca_file), self.running.client_id)

    def close(self) -> None:
        """Stop the org."""
        control.stop(self.folder / "org")

    def run(self, operation: str, rows: int, upload: Path, *, key: str | None = None) -> Speed:
        """Send one job and read its results, as a client does.

        Raises:
            SystemExit: the job or a row of it failed.
        """
        asked = {"object": "Contact", "operation": operation, "lineEnding": "LF"}
        asked |= {"externalIdFieldName": key} if key else {}
        start, cpu = time.monotonic(), self.cpu_s()
        job = json.loads(self.client.call("POST", "/jobs/ingest", json.dumps(asked)))["id"]
        path = f"/jobs/ingest/{job}"
        self.client.call("PUT", f"{path}/batches", upload, "text/csv")
        self.client.call("PATCH", path, '{"state": "UploadComplete"}')
        closed, closed_cpu = time.monotonic(), self.cpu_s()
        while (seen := json.loads(self.client.call("GET", path)))["state"] in (
            "UploadComplete",
            "InProgress",
        ):
            time.sleep(_POLL_S)
        done, done_cpu = time.monotonic(), self.cpu_s()
        self.client.fetch(f"{path}/successfulResults", self.folder / "results.csv")
        end, end_cpu = time.monotonic(), self.cpu_s()
        if (seen["state"], seen["numberRecordsProcessed"], seen["numberRecordsFailed"]) != (
            "JobComplete",
            rows,
            0,
        ):
            raise SystemExit(f"{operation} of {rows:,} rows went wrong: {seen}")
        spent = None if closed_cpu is None or done_cpu is None else done_cpu - closed_cpu
        whole = None if cpu is None or end_cpu is None else end_cpu - cpu
        return Speed(operation, rows, done - closed, end - start, spent, whole, self._peak_mb())

    def cpu_s(self) -> float | None:
        """CPU seconds of the server so far, in all its threads."""
        try:
            words = Path(f"/proc/{self.running.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        except OSError:
            return None
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def _peak_mb(self) -> float | None:
        try:
            lines = Path(f"/proc/{self.running.pid}/status").read_text("ascii").splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)


def measure(folder: Path, rows: int) -> Iterator[Speed]:
    """Creates by external id (13 columns), updates of two fields by Id, deletes by Id: all the same records."""
    import duckdb

    folder.mkdir(parents=True, exist_ok=True)
    data.make_warehouses(folder, rows)
    jobs = Jobs(folder)
    try:
        with duckdb.connect(str(folder / "v1.duckdb"), config={"memory_limit": "1GB"}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            named = ", ".join(f'{sql} AS "{header}"' for header, sql in TEXTS.values())
            upload = folder / "job.csv"

            def write(select: str) -> Path:
                connection.execute(f"COPY ({select}) TO '{upload}' (FORMAT csv, HEADER, DELIMITER ',')")
                return upload

            creates = write(
                f'SELECT id AS "Customer_Id__c", {named} FROM raw.customers ORDER BY account_id, id'
            )
            yield jobs.run("upsert", rows, creates, key="Customer_Id__c")
            made = f"read_csv('{folder / 'results.csv'}', header=true, all_varchar=true)"
            connection.execute(f"CREATE TEMP TABLE made AS SELECT sf__Id, Visits__c FROM {made}")
            changes = "SELECT sf__Id AS Id, 'T' || Visits__c AS Title, Visits__c || '.5' AS Lifetime_Value__c FROM made"
            yield jobs.run("update", rows, write(changes))
            yield jobs.run("delete", rows, write("SELECT sf__Id AS Id FROM made"))
    finally:
        jobs.close()


def part_org(folder: Path) -> Iterator[Line]:
    """Both sizes, as lines of the table: rows/s in the column of sfsync, CPU and the whole job beside them."""
    from bench.run import Line

    words = {"upsert": "creates", "update": "updates", "delete": "deletes"}
    for rows in SIZES:
        for seen in measure(folder / str(rows), rows):
            speed = rows / seen.processing_s
            cpu = (
                "" if seen.processing_cpu_s is None else f"{rows / seen.processing_cpu_s:,.0f} rows per CPU s"
            )
            name = f"local org, {words[seen.operation]}, {rows:,}"
            yield Line(
                f"{name}: processing", f"{speed:,.0f} rows/s", cpu, "", f">= {GOAL:,} rows/s", speed >= GOAL
            )
            cpu = "" if seen.whole_cpu_s is None else f"{rows / seen.whole_cpu_s:,.0f} rows per CPU s"
            yield Line(
                f"{name}: with upload and results", f"{rows / seen.whole_s:,.0f} rows/s", cpu, "", "", None
            )
        if seen.peak_mb is not None:
            yield Line(f"local org, {rows:,} rows: peak", f"{seen.peak_mb:,.0f} MB", "", "", "", None)


def main() -> None:
    """One size, as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.org", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=SIZES[0])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sfsync-bench-") as folder:
        for seen in measure(Path(folder), given.rows):
            print(
                json.dumps(asdict(seen)),
                f"{seen.rows / seen.processing_s:,.0f} rows/s",
                file=sys.stdout,
                flush=True,
            )


if __name__ == "__main__":
    main()
