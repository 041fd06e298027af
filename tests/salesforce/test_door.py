"""The door against a server that misbehaves on the wire: counting, renewal, faults and who can know what happened."""

from __future__ import annotations

import base64
import gzip
import json
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest

from sfsync.errors import ApiLimitError, AuthError, OrgError, SfsyncError
from sfsync.ports import SystemClock
from sfsync.salesforce import transport
from sfsync.salesforce.door import WRITE_HEADERS, choose_version, open_door
from sfsync.salesforce.failures import NoAnswerError, SalesforceError
from sfsync.salesforce.login import Login

from .conftest import http, refused

PATH = "/services/data/v67.0/composite/sobjects"


def hang_up(server, connection, request):
    """Close without a word after the request was read."""
    raise ConnectionAbortedError


def reset(server, connection, request):
    """Make the kernel send RST instead of an orderly end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    raise ConnectionAbortedError


def cut(data: bytes):
    """Send the beginning of an answer and close."""

    def step(server, connection, request):
        connection.sendall(data)
        raise ConnectionAbortedError

    return step


def silent(server, connection, request):
    """Answer nothing, keep the connection open."""
    threading.Event().wait(3)


def expired_unless(token: str):
    """Refuse every token but one."""

    def step(server, connection, request):
        good = request.headers["authorization"] == f"Bearer 00D5g00000AbCdE!{token}"
        answer = http(200, "[]") if good else refused(401, "INVALID_SESSION_ID", "Session expired or invalid")
        connection.sendall(answer)

    return step


def test_a_call_is_booked_before_it_is_sent_and_the_orgs_count_read_after(raw, raw_door, ledger):
    raw.script = [
        http(200, '{"a":1}', Sforce_Limit_Info="api-usage=18/15000; per-app-api-usage=3/9(appName=x)")
    ]
    answer = raw_door.call("GET", PATH, kind="collections")
    assert (answer.status, answer.json(), ledger.booked) == (200, {"a": 1}, ["collections"])
    assert ledger.observed == [(18, 15000)]
    assert (raw_door.usage.used, raw_door.usage.maximum) == (18, 15000)
    assert raw.calls[0].headers["sforce-call-options"].startswith("client=sfsync/")
    assert answer.elapsed_s > 0


def test_the_orgs_count_is_read_from_errors_too(raw, raw_door, ledger):
    raw.script = [refused(400, "INVALID_FIELD", "no", Sforce_Limit_Info="api-usage=7/100")]
    with pytest.raises(SalesforceError):
        raw_door.call("GET", PATH, kind="rest")
    assert ledger.observed == [(7, 100)]


def test_nothing_is_sent_that_the_ledger_does_not_allow(raw, raw_door, ledger):
    ledger.allowed = 0
    with pytest.raises(ApiLimitError):
        raw_door.call("PATCH", PATH, kind="collections", body="{}")
    assert raw.calls == []


def test_an_expired_token_is_renewed_once_and_the_request_repeated_with_everything(
    raw, raw_door, ledger, tmp_path
):
    upload = tmp_path / "rows.csv"
    upload.write_bytes(b"Id\n" + b"x" * 300_000)
    raw.script = [refused(401, "INVALID_SESSION_ID", "Session expired or invalid"), http(201)]
    headers = {**WRITE_HEADERS, "Content-Type": "text/csv"}
    assert raw_door.call("PUT", PATH, kind="bulk", body=upload, headers=headers).status == 201
    first, second = raw.calls
    assert first.headers.pop("authorization") == "Bearer 00D5g00000AbCdE!token1"
    assert second.headers.pop("authorization") == "Bearer 00D5g00000AbCdE!token2"
    assert (first.headers, first.body) == (second.headers, second.body)
    assert second.headers["sforce-auto-assign"] == "FALSE"
    assert second.body == upload.read_bytes()
    assert ledger.booked == ["bulk", "bulk"]


def test_a_second_refusal_of_the_token_is_an_error_and_not_a_loop(raw, raw_door):
    raw.script = [refused(401, "INVALID_SESSION_ID", "Session expired or invalid")] * 5
    with pytest.raises(SalesforceError, match="INVALID_SESSION_ID") as caught:
        raw_door.call("GET", PATH, kind="rest")
    assert (caught.value.status, len(raw.calls), raw.tokens) == (401, 2, 2)


def test_other_401s_do_not_renew(raw, raw_door):
    raw.script = [refused(401, "INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE")]
    with pytest.raises(SalesforceError, match="INVALID_AUTH_HEADER"):
        raw_door.call("GET", PATH, kind="rest")
    assert raw.tokens == 1


def test_threads_share_one_renewal(raw, raw_door):
    _ = raw_door.token
    raw.script = [expired_unless("token2")] * 100
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: raw_door.call("GET", PATH, kind="rest").status, range(24)))
    assert answers == [200] * 24
    assert raw.tokens == 2


def test_a_renewal_that_leads_to_another_org_is_refused(raw, raw_door):
    raw.script = [refused(401, "INVALID_SESSION_ID", "expired")]
    _ = raw_door.token
    moved = {**raw.token(), "id": "https://login.salesforce.com/id/00D5g00000ZZZZZEAV/0055g000001XyZAAA0"}
    raw.token_step = http(200, json.dumps(moved))
    with pytest.raises(AuthError, match=r"led to org 00D5g00000ZZZZZ\w+ instead of 00D5g00000AbCdEEAV"):
        raw_door.call("GET", PATH, kind="rest")


LOST = [  # id, step, what the sender can know, part of the message
    ("closed before the answer", hang_up, None, "connection to 127.0.0.1:.* was lost"),
    ("reset before the answer", reset, None, "connection to 127.0.0.1:.* was lost"),
    ("cut inside the headers", cut(b"HTTP/1.1 200 OK\r\nContent-Le"), True, "the answer is not JSON"),
    ("fewer bytes than promised", cut(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n[{"), True, "broke off"),
    (
        "cut inside a chunk",
        cut(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n[{"),
        True,
        "broke off",
    ),
    (
        "no length, JSON cut short",
        cut(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[{"),
        True,
        "the answer is not JSON",
    ),
    (
        "gzip cut short",
        cut(http(200, gzip.compress(b'["' + bytes(range(65, 90)) + b'"]')[:-20], Content_Encoding="gzip")),
        True,
        "not JSON|broke off",
    ),
]


@pytest.mark.parametrize(("step", "sent", "message"), [c[1:] for c in LOST], ids=[c[0] for c in LOST])
def test_a_lost_answer_is_in_doubt(raw, raw_door, ledger, step, sent, message):
    raw.script = [step]
    with pytest.raises(NoAnswerError, match=message) as caught:
        raw_door.call("PATCH", PATH, kind="collections", body='{"records":[]}').json()
    assert (caught.value.sent, caught.value.in_doubt, caught.value.code) == (sent, True, "NO_ANSWER")
    assert (len(raw.calls), ledger.booked) == (1, ["collections"])  # sent once, never repeated here


def test_silence_ends_after_the_read_timeout(raw, raw_door, monkeypatch):
    request = transport.Request("GET", raw.url + PATH, {}, read_timeout_s=0.3)
    raw.script = [silent]
    with pytest.raises(NoAnswerError, match=r"sent nothing for 0.3 s") as caught:
        raw_door._transport.exchange(request)
    assert caught.value.sent is None


def test_an_upload_that_stands_still_for_longer_than_a_connect_goes_on(raw, raw_door, monkeypatch, tmp_path):
    monkeypatch.setattr(transport, "CONNECT_TIMEOUT_S", 0.4)
    upload = tmp_path / "rows.csv"
    upload.write_bytes(b"x" * 12_000_000)
    _ = raw_door.token
    raw_door.close()  # a fresh connection, whose limit is still that of connecting
    raw.stall_s, raw.script = 1.0, [http(201)]
    assert raw_door.call("PUT", PATH, kind="bulk", body=upload).status == 201
    assert len(raw.calls[0].body) == 12_000_000


NOT_REACHED = [  # id, url, message
    ("unknown name", "https://no-such-host.invalid", r"no connection to no-such-host\.invalid"),
    ("refused", "https://127.0.0.1:9", r"no connection to 127\.0\.0\.1:9: Connection refused"),
]


@pytest.mark.parametrize(("url", "message"), [c[1:] for c in NOT_REACHED], ids=[c[0] for c in NOT_REACHED])
def test_a_host_that_is_not_there_was_surely_not_reached(raw, ledger, url, message):
    login = Login("client_credentials", url, client_id="key", client_secret="s3cret")
    door = open_door(login, ledger=ledger, clock=SystemClock(), ca_file=raw.ca_file)
    with pytest.raises(NoAnswerError, match=message) as caught:
        door.call("GET", PATH, kind="rest")
    assert (caught.value.sent, caught.value.in_doubt, caught.value.fix is not None) == (False, False, True)
    assert ledger.booked == []


def test_a_certificate_nobody_vouches_for_is_refused_with_the_way_out(raw, ledger):
    login = Login("client_credentials", raw.url, client_id="key", client_secret="s3cret")
    door = open_door(login, ledger=ledger, clock=SystemClock())
    with pytest.raises(NoAnswerError, match="is not trusted: self-signed certificate") as caught:
        _ = door.token
    assert "ca_file" in caught.value.fix
    assert raw.seen == []


def test_the_environment_does_not_override_the_ca_file_nor_send_loopback_to_a_proxy(
    raw, ledger, monkeypatch, tmp_path
):
    (tmp_path / "other.pem").write_text("not a certificate")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "other.pem"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    login = Login("client_credentials", raw.url, client_id="key", client_secret="s3cret")
    door = open_door(login, ledger=ledger, clock=SystemClock(), ca_file=raw.ca_file, api_version="67.0")
    assert door.call("GET", PATH, kind="rest").status == 200


def test_a_proxy_that_does_not_connect_is_named(raw, ledger, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    login = Login("client_credentials", "https://acme.example", client_id="key", client_secret="s3cret")
    door = open_door(login, ledger=ledger, clock=SystemClock(), ca_file=raw.ca_file)
    with pytest.raises(NoAnswerError, match=r"the proxy for acme\.example did not connect") as caught:
        _ = door.token
    assert caught.value.sent is False


@pytest.mark.parametrize(
    "token", ["00Dx!se\ncret", "00Dx!secret\u00a0", "00Dx!sécret"], ids=["newline", "NBSP", "é"]
)
def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(raw, ledger, token):
    login = Login("access_token", raw.url, access_token=token)
    door = open_door(login, ledger=ledger, clock=SystemClock(), ca_file=raw.ca_file, api_version="67.0")
    with pytest.raises(SfsyncError, match="the header Authorization cannot be sent") as caught:
        door.call("GET", PATH, kind="rest")
    assert "00Dx" not in str(caught.value)
    assert not raw.seen


class Proxy:
    """Answers every CONNECT with 407 and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                with client:
                    self.asked.append(client.recv(4000))
                    client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def proxy(monkeypatch):
    proxy = Proxy()
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield proxy
    proxy.close()


@pytest.mark.parametrize(
    ("written", "credentials"),
    [("http://{}", None), ("{}", None), ("http://us%40er:p%3Aass@{}", b"us@er:p:ass")],
    ids=["a URL", "no scheme", "credentials"],
)
def test_a_proxy_is_asked_as_the_environment_writes_it(proxy, monkeypatch, written, credentials):
    monkeypatch.setenv("HTTPS_PROXY", written.format(proxy.place))
    request = transport.Request("GET", "https://acme.example/services/data", {})
    with pytest.raises(NoAnswerError, match=r"the proxy for acme\.example did not connect") as caught:
        transport.Transport().exchange(request)
    assert proxy.asked[0].startswith(b"CONNECT acme.example:443 ")
    sent = re.search(rb"Proxy-Authorization: Basic (\S+)", proxy.asked[0], re.IGNORECASE)
    assert (base64.b64decode(sent[1]) if sent else None) == credentials
    assert "p:ass" not in str(caught.value)


@pytest.mark.parametrize(
    "written", ["socks5://h0st:1", "http://user:hunter2@h0 st:1", "http://user:hünter€@h0st:1"]
)
def test_a_proxy_that_cannot_be_used_is_not_taken_for_the_domain(monkeypatch, proxy, written):
    monkeypatch.setenv("HTTPS_PROXY", written)
    with pytest.raises(NoAnswerError, match="the proxy that the environment names cannot be used") as caught:
        transport.Transport().exchange(transport.Request("GET", "https://acme.example/services/data", {}))
    assert "HTTPS_PROXY" in str(caught.value.fix)
    assert "h0" not in str(caught.value)


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "not PEM"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(OrgError, match=rf"ca_file {path} cannot be used"):
        transport.Transport(ca_file=path)


REFUSALS = [  # id, answer, status, code, message part, limit
    (
        "REST array",
        refused(400, "MALFORMED_QUERY", "unexpected token"),
        400,
        "MALFORMED_QUERY",
        "unexpected token",
        None,
    ),
    (
        "daily limit",
        refused(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
        403,
        "REQUEST_LIMIT_EXCEEDED",
        "TotalRequests",
        "daily",
    ),
    (
        "concurrent limit",
        refused(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded."),
        403,
        "REQUEST_LIMIT_EXCEEDED",
        "Concurrent",
        "concurrent",
    ),
    (
        "HTML page",
        http(503, "<html><head><title>Down for\n maintenance</title></head></html>", "text/html"),
        503,
        "HTTP_503",
        "HTML page titled 'Down for maintenance'",
        None,
    ),
    ("empty", http(502), 502, "HTTP_502", "an empty body", None),
    ("plain text", http(420, "unknown host", "text/plain"), 420, "HTTP_420", "unknown host", None),
    (
        "redirect",
        http(302, "", Location="https://acme.my.salesforce.com/x?y"),
        302,
        "HTTP_302",
        "an empty body",
        None,
    ),
    ("JSON of another kind", http(500, '{"ok":false}'), 500, "HTTP_500", '{"ok":false}', None),
]


@pytest.mark.parametrize(
    ("answer", "status", "code", "message", "limit"), [c[1:] for c in REFUSALS], ids=[c[0] for c in REFUSALS]
)
def test_a_refusal_keeps_what_the_org_said(raw, raw_door, answer, status, code, message, limit):
    raw.script = [answer]
    with pytest.raises(SalesforceError) as caught:
        raw_door.call("PATCH", PATH + "?ids=secret-value", kind="collections")
    error = caught.value
    assert (error.status, error.code, error.limit) == (status, code, limit)
    assert message in error.message
    assert PATH in error.what
    assert "secret-value" not in error.what
    assert len(raw.calls) == 1


def test_a_refusal_keeps_fields_and_retry_after(raw, raw_door):
    body = [{"errorCode": "X_Y", "message": "m", "fields": ["LastName"]}, {"errorCode": "Z", "message": "n"}]
    raw.script = [http(429, json.dumps(body), Retry_After="7")]
    with pytest.raises(SalesforceError) as caught:
        raw_door.call("GET", PATH, kind="rest")
    assert (caught.value.fields, caught.value.retry_after_s, len(caught.value.refusals)) == (
        ("LastName",),
        7.0,
        2,
    )


def test_an_answer_goes_to_a_file_whole_and_private(raw, raw_door, tmp_path):
    data = b'"sf__Id"\n' + b"x" * 3_000_000
    raw.script = [http(200, gzip.compress(data), "text/csv", Content_Encoding="gzip")]
    answer = raw_door.call("GET", PATH, kind="bulk", to_file=tmp_path / "r.csv")
    assert (answer.path, answer.body) == (tmp_path / "r.csv", b"")
    assert answer.path.read_bytes() == data
    assert answer.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "step",
    [
        cut(b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n" + b"x" * 1000),
        cut(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        cut(b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\n\r\n" + b"x" * 1000),
        cut(b"HTTP/1.1 200 OK\r\nContent-Le"),
        http(503, "<html>"),
    ],
    ids=["cut short", "no last chunk", "no length at all", "cut inside the headers", "refused"],
)
def test_no_file_is_left_of_an_answer_that_is_not_whole(raw, raw_door, tmp_path, step):
    raw.script = [step]
    with pytest.raises((NoAnswerError, SalesforceError)):
        raw_door.call("GET", PATH, kind="bulk", to_file=tmp_path / "r.csv")
    assert list(tmp_path.iterdir()) == []


ECHOES = [  # what the org says, what a log may show
    (
        "Cannot deserialize instance of date from VALUE_STRING value 19-secret or request may be missing a field at [line:1]",
        "date from VALUE_STRING value *** or request may be missing a field",
    ),
    ("Cannot deserialize from VALUE_NUMBER value 4711secret", "VALUE_NUMBER value *** (JSON"),
    ("Unexpected character ('}' (code 125)) at [line:1, column:9]", "Unexpected character ('}' (code 125))"),
]


@pytest.mark.parametrize(("message", "shown"), ECHOES)
def test_values_that_a_parser_echoes_stay_out_of_what_people_read(raw, raw_door, message, shown):
    raw.script = [refused(400, "JSON_PARSER_ERROR", message)]
    with pytest.raises(SalesforceError) as caught:
        raw_door.call("PATCH", PATH, kind="collections", body="{}")
    assert shown in caught.value.what
    assert "secret" not in caught.value.what
    assert caught.value.message == message


def test_a_file_that_cannot_be_written_is_named(raw, raw_door, tmp_path):
    raw.script = [http(200, "x" * 100)]
    with pytest.raises(SfsyncError, match=r"no-such-folder/r\.csv\.part: No such file or directory"):
        raw_door.call("GET", PATH, kind="bulk", to_file=tmp_path / "no-such-folder" / "r.csv")


def test_a_file_is_streamed_with_its_length(raw, raw_door, tmp_path):
    upload = tmp_path / "rows.csv"
    upload.write_bytes("Id,Ñame\n".encode() + b"y" * 2_000_000)
    raw_door.call("PUT", PATH, kind="bulk", body=upload, headers={"Content-Type": "text/csv"})
    seen = raw.calls[0]
    assert (seen.headers["content-length"], seen.headers["content-type"]) == (str(len(seen.body)), "text/csv")
    assert seen.body == upload.read_bytes()


def test_connections_are_kept_and_cookies_are_not(raw, raw_door):
    raw.script = [http(200, "[]", Set_Cookie="BrowserId=1; path=/"), http(200, "[]")]
    for _ in range(2):
        raw_door.call("GET", PATH, kind="rest")
    assert raw.connections == 1
    assert "cookie" not in raw.calls[1].headers


def test_the_version_is_the_newest_both_sides_know_and_costs_no_call(raw, ledger):
    login = Login("client_credentials", raw.url, client_id="key", client_secret="s3cret")
    door = open_door(login, ledger=ledger, clock=SystemClock(), ca_file=raw.ca_file)
    assert (door.version, door.data_path("limits")) == ("67.0", "/services/data/v67.0/limits")
    assert ledger.booked == []


VERSIONS = [
    ((), "offers no API version; sfsync works with 46.0 to 67.0 | check that"),
    (("29.0", "30.0"), "offers API versions 29.0 to 30.0; sfsync works with 46.0 to 67.0 | check that"),
    (("31.0", "45.0"), "offers API versions 31.0 to 45.0; sfsync works with 46.0 to 67.0 | check that"),
    (
        ("68.0", "100.0"),
        "offers API versions 68.0 to 100.0; sfsync works with 46.0 to 67.0 | install a newer",
    ),
    (("31.0", "46.0"), "46.0"),
    (("31.0", "58.0"), "58.0"),
    (("67.0", "68.0", "100.0"), "67.0"),
]


@pytest.mark.parametrize(("offered", "chosen"), VERSIONS)
def test_choose_version(offered, chosen):
    if "offers" in chosen:
        with pytest.raises(OrgError) as caught:
            choose_version(offered)
        assert f"{caught.value.what} | {caught.value.fix}".startswith(f"the org {chosen}")
    else:
        assert choose_version(offered) == chosen


def test_tokens_and_secrets_are_in_no_repr_and_no_message(raw, raw_door):
    token = raw_door.token
    login = Login("password", raw.url, "key", "s3cret", "ops@acme.example", "hunter22", "tok3n")
    shown = f"{token!r} {login!r} {replace(login, username='x')!r}"
    raw.script = [refused(400, "X", f"echo {token.access_token}")]
    with pytest.raises(SalesforceError) as caught:
        raw_door.call("GET", PATH, kind="rest")
    for secret in ("s3cret", "hunter22", "tok3n", token.access_token):
        assert secret not in shown + str(caught.value)
