"""Fixtures that several rooms share.

`org` gives a real local org over real HTTPS, empty and with limits and faults as at the start of each test:

    def test_x(org):
        org.url, org.ca_file, org.client_id, org.client_secret, org.username, org.password, org.security_token, org.org_id
        org.get("/sobjects"); org.post(path, json=...); org.patch(...); org.delete(...)   # signed in; below /services/data/v67.0
        org.request("GET", "/services/data")                                             # any path that begins with /services
        org.records("Contact")             # every live record: {field: canonical text}, nulls left out
        org.by("Contact", "Customer_Id__c") # the same by one field
        org.writes(), org.requests()       # the journal since the start of the test
        org.faults([{"fault": "locked_rows", "object": "Contact", "share": 0.5}])
        org.limits(max=100, used=90); org.state()

One server serves a whole pytest process. Requests to it must not trust the environment's proxies and CA bundle
(`requests` puts REQUESTS_CA_BUNDLE over `session.verify`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from sfsync.errors import OrgError
from sfsync.local_org import control

API = "/services/data/v67.0"

# Of tests and all that they start: nothing goes into the keyring of whoever runs them.
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.null.Keyring"

LONGEST = ("test_properties.py", "test_template.py", "bench/test_baseline.py")
"""Files whose single tests take longest: they begin first, so that none of them ends a run alone on one core."""


NEWEST = (
    *(
        "bench/",
        "chaos/",
        "cli/",
        "local_org/",
        "project/",
        "push/",
        "report/",
        "salesforce/",
        "compiler/test_j",
    ),
    *("compiler/test_fields", "compiler/test_graph", "compiler/test_options", "compiler/test_s"),
    *("test_architecture", "test_bad_input", "test_child_objects", "test_docs", "test_drift", "test_ports"),
    *("test_profiles", "test_reliability", "test_secrets", "test_template", "test_yaml_text"),
    *("jobs/test_attempts", "jobs/test_bulk_limit", "jobs/test_canary", "jobs/test_compiled"),
    *("jobs/test_crash_matrix", "jobs/test_debug", "jobs/test_eight_objects", "jobs/test_explain"),
    *("jobs/test_field_types_played", "jobs/test_hard_delete", "jobs/test_jobs_at_work", "jobs/test_lo"),
    *("jobs/test_lying_org", "jobs/test_private_files", "jobs/test_push", "jobs/test_recovery"),
    *("jobs/test_rights", "jobs/test_schema", "jobs/test_sign", "jobs/test_state", "jobs/test_status"),
    *("jobs/test_target", "jobs/test_threads", "jobs/test_time", "jobs/test_undo_after_crash"),
    *("jobs/test_undo_in_steps", "jobs/test_who"),
)
"""Files below tests/ about processes, words and crashes, whose SQL is that of other tests: CI runs them on one DuckDB.

Beginnings of paths; what is not named here runs on the oldest DuckDB, too. Of a test in jobs/ with several sets of parameters
the first does, as the SQL is that of all.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    begun: set[tuple[str, str]] = set()
    for item in items:
        path = item.path.relative_to(Path(__file__).parent).as_posix()
        test = (path, item.name.partition("[")[0])
        if path.startswith(NEWEST) or (path.startswith("jobs/") and test in begun):
            item.add_marker(pytest.mark.newest)
        begun.add(test)
    items.sort(key=lambda item: not str(item.path).endswith(LONGEST))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sfsync")
    group.addoption(
        "--chaos-seed", type=int, default=None, help="play this story of tests/chaos and no other"
    )
    group.addoption(
        "--chaos-runs", type=int, default=100, help="runs of the long form of tests/chaos (100), 25 a story"
    )
    group.addoption(
        "--soak-runs", type=int, default=30, help="runs in a row of tests/chaos/test_soak.py (30)"
    )
    group.addoption("--soak-rows", type=int, default=20_000, help="rows of its model (20,000)")
    group.addoption(
        "--matrix-results",
        metavar="FOLDER",
        default=None,
        help="play every cell of the crash matrix, and write here what came of it",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Stories of tests/chaos: one in every test run, as many as are asked for in the long form, or the one that is named."""
    told = metafunc.config.getoption("--chaos-seed")
    chosen = told if told is not None else os.environ.get("SFSYNC_CHAOS_SEED")
    stories = -(-metafunc.config.getoption("--chaos-runs") // 25)
    for name, seeds in (("chaos_seed", [1]), ("long_chaos_seed", range(100, 100 + stories))):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, list(seeds) if chosen is None else [int(chosen)])


class OrgForTests:
    """A running local org with a signed-in session."""

    def __init__(self, running: control.LocalOrg, folder: Path) -> None:
        self.running, self.folder = running, folder
        self.url, self.ca_file, self.org_id = running.url, running.ca_file, running.org_id
        self.client_id, self.client_secret = running.client_id, running.client_secret
        self.username, self.password, self.security_token = (
            running.username,
            running.password,
            running.security_token,
        )
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(running.ca_file)
        self.start = 0

    def sign_in(self) -> str:
        form = {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
        }
        token = str(self.session.post(f"{self.url}/services/oauth2/token", data=form).json()["access_token"])
        self.session.headers["Authorization"] = f"Bearer {token}"
        return token

    def begin(self) -> None:
        """A fresh org for the next test."""
        self.start = (
            int(self.local("POST", "/_local/reset")["last"]) + 1
        )  # signing in again is the next request
        self.sign_in()

    def request(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        full = path if path.startswith(("/services", "/id")) else API + path
        return self.session.request(method, self.url + full, **kwargs)

    def get(self, path: str, **kwargs: Any) -> requests.Response:
        return self.request("GET", path, **kwargs)

    def post(self, path: str, **kwargs: Any) -> requests.Response:
        return self.request("POST", path, **kwargs)

    def patch(self, path: str, **kwargs: Any) -> requests.Response:
        return self.request("PATCH", path, **kwargs)

    def put(self, path: str, **kwargs: Any) -> requests.Response:
        return self.request("PUT", path, **kwargs)

    def delete(self, path: str, **kwargs: Any) -> requests.Response:
        return self.request("DELETE", path, **kwargs)

    def local(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.client_secret}"}
        answer = self.session.request(method, self.url + path, json=body, headers=headers)
        if not answer.ok:
            raise OrgError(f"local org: {answer.json()['error']}", status=answer.status_code)
        return answer.json()

    def records(self, sobject: str, *, deleted: bool = False) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.local(
            "GET", f"/_local/records/{sobject}?deleted={str(deleted).lower()}"
        )
        return found

    def by(self, sobject: str, field: str) -> dict[str, dict[str, str]]:
        return {r[field]: r for r in self.records(sobject) if field in r}

    def requests(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.local("GET", f"/_local/journal?after={self.start}")["requests"]
        return found

    def until_quiet(self) -> list[dict[str, Any]]:
        """All requests since the start of the test, once none is under way any more; a killed client leaves some."""
        self.request("GET", "/services/data")  # takes a number: all below it must be there
        until = time.monotonic() + 30
        while time.monotonic() < until:
            found = self.requests()
            numbers = [one["request"] for one in found]
            whole = numbers == list(range(self.start + 1, self.start + 1 + len(numbers)))
            if whole and found and found[-1]["path"].rstrip("/") == "/services/data":
                return found
            time.sleep(0.02)
        raise AssertionError("a request does not end")

    def writes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.local("GET", f"/_local/journal?after={self.start}")["writes"]
        return found

    def faults(self, rules: list[dict[str, Any]]) -> None:
        self.local("PUT", "/_local/faults", rules)

    def limits(self, **values: int) -> None:
        self.local("PUT", "/_local/limits", values)

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.local("GET", "/_local/state")
        return found


@pytest.fixture(scope="session")
def running_org(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrgForTests]:
    """One local org process for the whole session; use `org` instead unless you must not reset it."""
    folder = tmp_path_factory.mktemp("local_org")
    yield OrgForTests(control.start(folder, idle_minutes=60), folder)
    control.stop(folder)


@pytest.fixture
def org(running_org: OrgForTests) -> OrgForTests:
    """A fresh, empty org."""
    running_org.begin()
    return running_org
