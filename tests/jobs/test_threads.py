"""`threads` of the profile, end to end: a gateway in front of the org sees which requests are under way together."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
import yaml

from sfsync.local_org import certificate
from tests.jobs.conftest import Team, of, outcomes

PATIENCE_S = 20.0
KEYS = {"Lead": "Lead_Id__c", "Contact": "Customer_Id__c", "Case": "Case_Id__c", "Account": "Account_Id__c"}
"""Object -> the key in its requests. Accounts last: their key stands in their children's requests, too."""


class Gateway:
    """HTTPS in front of the local org. `meet` is called with each write before it is passed on."""

    def __init__(self, org: Any) -> None:
        self.org = org
        self.meet: Callable[[str], Any] = lambda body: None
        self.most = 0
        self.together: set[frozenset[str]] = set()
        self._now: list[str] = []
        self._guard = threading.Lock()
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                found = gateway.pass_on(self.command, self.path, dict(self.headers), body)
                self.send_response(found.status_code)
                for name in ("Content-Type", "Sforce-Limit-Info", "Sforce-Locator"):
                    if name in found.headers:
                        self.send_header(name, found.headers[name])
                self.send_header("Content-Length", str(len(found.content)))
                self.end_headers()
                self.wfile.write(found.content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate.ensure(org.folder))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def pass_on(self, method: str, path: str, headers: dict[str, str], body: bytes) -> requests.Response:
        writes = "/composite" in path
        text = path + body.decode("utf-8", "replace")
        name = next((n for n, key in KEYS.items() if key in text), "other")
        if writes:
            with self._guard:
                self._now.append(name)
                self.most = max(self.most, len(self._now))
                self.together |= {frozenset((name, other)) for other in self._now if other != name}
            self.meet(name)
        try:
            headers.pop("Accept-Encoding", None)
            with requests.Session() as session:
                session.trust_env = False
                session.verify = str(self.org.ca_file)
                return session.request(
                    method, self.org.url + path, data=body, headers=headers, allow_redirects=False
                )
        finally:
            if writes:
                with self._guard:
                    self._now.remove(name)


@pytest.fixture
def gateway(org: Any) -> Iterator[Gateway]:
    gateway = Gateway(org)
    yield gateway
    gateway.server.shutdown()
    gateway.server.server_close()


def add_sync(team: Team, name: str, object_: str, key: str, fields: dict[str, Any], rows: int) -> None:
    """One more sync over a table of `rows` rows with columns id, label and account."""
    team.write(f"models/dim_{name}.sql", f"select * from raw.{name}")
    spec = {
        "name": name,
        "model": f"dim_{name}",
        "object": object_,
        "identity": {key: "id"},
        "fields": fields,
    }
    spec["push"] = {"api": "collections"}
    team.write(f"syncs/{name}.yml", yaml.safe_dump({"version": 1, "syncs": [spec]}))
    team.sql(
        f"CREATE TABLE raw.{name} AS SELECT '{name}' || i AS id, 'Label ' || i AS label, 'A1' AS account"
        f" FROM range({rows}) AS r(i)"
    )


def leads(team: Team, rows: int) -> None:
    add_sync(team, "leads", "Lead", "Lead_Id__c", {"LastName": "label", "Company": "label"}, rows)


def many_accounts(team: Team, rows: int) -> None:
    team.sync("accounts", push={"api": "collections"})
    team.sql(
        "DELETE FROM raw.accounts",
        f"INSERT INTO raw.accounts SELECT 'A' || i, 'Account ' || i, NULL FROM range(1, {rows + 1}) AS r(i)",
    )


@pytest.fixture
def behind(team: Team, gateway: Gateway) -> Team:
    """1,100 accounts and 1,100 leads, two calls each, sent by way of the gateway."""
    many_accounts(team, 1100)
    leads(team, 1100)
    team.profile(domain=gateway.url)
    team.init_state()
    return team


def use_threads(team: Team, threads: int) -> None:
    body = yaml.safe_load((team.folder / "profiles.yml").read_text("utf-8"))
    body["team"]["outputs"]["prod"]["threads"] = threads
    team.write("profiles.yml", yaml.safe_dump(body))


def test_syncs_that_share_nothing_are_pushed_at_the_same_time(behind: Team, gateway: Gateway) -> None:
    both = threading.Barrier(2, timeout=PATIENCE_S)
    gateway.meet = lambda name: both.wait()  # neither call of a pair is answered before the other has come
    result = behind.run("accounts", "leads")
    assert outcomes(result, "accounts") == {"created": 1100}
    assert outcomes(result, "leads") == {"created": 1100}
    assert gateway.together == {frozenset(("Account", "Lead"))}
    assert result.calls == sum(item.calls for item in result.syncs) == 4
    assert not behind.plan("accounts", "leads").has_changes


def test_one_thread_sends_one_call_at_a_time(behind: Team, gateway: Gateway) -> None:
    use_threads(behind, 1)
    seen: list[str] = []
    gateway.meet = seen.append
    assert behind.run("accounts", "leads").exit_code == 0
    assert gateway.most == 1
    assert seen in (["Account", "Account", "Lead", "Lead"], ["Lead", "Lead", "Account", "Account"])


def test_children_of_one_parent_object_never_go_together(behind: Team, gateway: Gateway) -> None:
    lookup = {"column": "account", "lookup": "Account.Account_Id__c", "on_missing": "reject"}
    add_sync(behind, "cases", "Case", "Case_Id__c", {"Subject": "label", "AccountId": lookup}, 450)
    behind.sync("contacts", push={"api": "collections"})
    behind.sql(
        "INSERT INTO raw.contacts (id, last, account) SELECT 'C' || i, 'x', 'A2' FROM range(450) AS r(i)"
    )
    both = threading.Barrier(2, timeout=1.0)

    def meet(name: str) -> None:
        if name in ("Case", "Contact"):
            with pytest.raises(threading.BrokenBarrierError):
                both.wait()  # a second call would end the wait
            both.reset()

    gateway.meet = meet
    result = behind.run()
    assert outcomes(result, "contacts") == outcomes(result, "cases") == {"created": 450}
    assert frozenset(("Case", "Contact")) not in gateway.together
    described = result.calls_by_kind.get("describe", 0)
    assert result.calls - described == sum(item.calls for item in result.syncs) == 6


def test_the_api_limit_met_in_one_lane_defers_the_rest_of_all(behind: Team, gateway: Gateway) -> None:
    both = threading.Barrier(2, timeout=PATIENCE_S)

    def meet(name: str) -> None:
        both.wait()
        gateway.org.limits(max=1000, used=900)  # other users took the rest meanwhile; the answers will tell

    gateway.meet = meet
    result = behind.run("accounts", "leads")
    for name in ("accounts", "leads"):
        assert outcomes(result, name) == {"created": 1000, "deferred": 100}
        assert of(result, name).calls == 1
    assert result.exit_code == 1
    assert "API limit" in (result.reason or "")


def test_a_wish_to_stop_ends_all_lanes_after_their_exchange(behind: Team, gateway: Gateway) -> None:
    both, asked = threading.Barrier(2, timeout=PATIENCE_S), threading.Event()

    def meet(name: str) -> None:
        both.wait()
        asked.set()

    gateway.meet = meet
    result = behind.run("accounts", "leads", stop_requested=asked.is_set)
    assert result.exit_code == 130
    for name in ("accounts", "leads"):
        assert outcomes(result, name) == {"created": 1000, "stopped": 100}
    gateway.meet = lambda name: None
    again = behind.run("accounts", "leads")
    for name in ("accounts", "leads"):
        assert outcomes(again, name) == {"unchanged": 1000, "created": 100}
