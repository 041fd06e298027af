"""sfsync and the baseline side by side: the same table, two orgs of their own, the same end.

Owns:      the folders, orgs and command lines of both, and the test that both orgs hold the same in the end.
Does not:  print, or judge.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench import data
from bench.measure import SFSYNC, Cost, run
from sfsync.local_org import control

_BASELINE = [sys.executable, str(Path(__file__).with_name("baseline.py"))]


class Contest:
    """One size of data."""

    def __init__(self, folder: Path, rows: int, *, dirty: bool = False) -> None:
        self.folder, self.rows = folder, rows
        folder.mkdir(parents=True, exist_ok=True)
        make = [sys.executable, "-m", "bench.data", str(folder), "--rows", str(rows)]
        run([*make, "--dirty"] if dirty else make)
        self.warehouse = folder / "warehouse.duckdb"
        self.use("v1")
        self.orgs: dict[str, control.LocalOrg] = {}
        self.secrets: dict[str, str] = {}  # of the orgs, which may be closed meanwhile

    def use(self, version: str) -> None:
        """Let the warehouse be this version of the table."""
        self.warehouse.unlink(missing_ok=True)
        self.warehouse.symlink_to(self.folder / f"{version}.duckdb")

    def open(self, *, memory_limit: str | None = None) -> None:
        """Start both orgs with their parents, make the project and its empty state."""
        for name in ("sfsync", "baseline"):
            org = control.start(self._org(name), schema=self.folder / "schema.json", idle_minutes=30)
            control.load(self._org(name), self.folder / "Account.csv")
            control.call(org, "PUT", "/_local/limits", {"max": 1_000_000})
            self.orgs[name] = org
            self.secrets[data.SECRETS[name]] = org.client_secret
        org = self.orgs["sfsync"]
        facts = {
            "url": org.url,
            "ca_file": str(org.ca_file),
            "client_id": org.client_id,
        }
        data.make_project(self.project, self.warehouse, facts, memory_limit)
        self.sfsync("state", "init", "--empty")

    def change_all(self) -> None:
        """Change two fields of every row."""
        sql = "UPDATE raw.customers SET title = 'T' || visits, lifetime_value = lifetime_value + 1"
        script = f"import duckdb; duckdb.connect({str(self.folder / 'v1.duckdb')!r}).execute({sql!r})"
        run([sys.executable, "-c", script])

    def prepare(self, memory_limit: str) -> None:
        """States as after a first load of v1, without one."""
        self.open(memory_limit=memory_limit)
        self.close()
        state = str(self.folder / "baseline.duckdb")
        run(
            [sys.executable, "-m", "bench.prepare", str(self.project), str(self.warehouse), state],
            env=self.env,
        )

    def close(self) -> None:
        """Stop both orgs."""
        for name in list(self.orgs):
            control.stop(self._org(name))
            del self.orgs[name]

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def env(self) -> dict[str, str]:
        """The variable of each program with the secret of its org."""
        return self.secrets

    def sfsync_command(self, *args: str) -> list[str]:
        return [*SFSYNC, *args, "--project-dir", str(self.project)]

    def baseline_command(self, verb: str, *more: str) -> list[str]:
        org = self.orgs.get("baseline")
        where = (
            ["--url", org.url, "--ca-file", str(org.ca_file), "--client-id", org.client_id]
            if org
            else ["--url", "https://127.0.0.1:1", "--ca-file", "none", "--client-id", "none"]
        )
        return [*_BASELINE, verb, str(self.warehouse), str(self.folder / "baseline.duckdb"), *where, *more]

    def sfsync(self, *args: str, codes: tuple[int, ...] = (0,)) -> Cost:
        return run(self.sfsync_command(*args), codes=codes, env=self.env)

    def baseline(self, verb: str, *more: str) -> Cost:
        return run(self.baseline_command(verb, *more), env=self.env)

    def calls(self, name: str) -> int:
        """API calls that the org itself has counted."""
        used: int = control.call(self.orgs[name], "GET", "/_local/state")["api_calls"]["used"]
        return used

    def differences(self) -> int:
        """Contacts that only one of the two orgs has, as SQL over their stopped files; 0 when both ended alike."""
        self.close()
        files = [str(self._org(name) / "records.duckdb") for name in ("sfsync", "baseline")]
        found = run([sys.executable, "-m", "bench.compare", *files])
        seen: dict[str, int] = json.loads(found.out)
        if not seen["rows"]:
            raise SystemExit("the orgs hold no Contact at all")
        return seen["differences"]

    def _org(self, name: str) -> Path:
        return self.folder / f"org-{name}"
