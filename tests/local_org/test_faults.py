"""Misbehaviour of requests and rows, over real HTTPS: every fault does what its rule says, and nothing more."""

from __future__ import annotations

import json
import re
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from sfsync.local_org.fault_rules import KINDS, parse_rules

UPSERT = "/composite/sobjects/Account/Account_Id__c"


def accounts(*keys: str, **fields: Any) -> dict[str, Any]:
    kind = {"type": "Account"}
    return {"records": [{"attributes": kind, "Account_Id__c": k, "Name": "A", **fields} for k in keys]}


def codes(answer: requests.Response) -> list[str]:
    return [r["errors"][0]["statusCode"] if r["errors"] else "" for r in answer.json()]


def sign_in(org: Any) -> requests.Response:
    form = {
        "grant_type": "client_credentials",
        "client_id": org.client_id,
        "client_secret": org.client_secret,
    }
    found: requests.Response = org.session.post(f"{org.url}/services/oauth2/token", data=form)
    return found


# ---------------------------------------------------------------- which request


def test_after_lets_the_first_requests_pass(org):
    org.faults(
        [
            {"fault": "status", "match": "POST /sobjects/Account", "status": 500, "after": 2},
            {"fault": "status", "match": "/sobjects/Account", "status": 502, "after": 4},
        ]
    )
    seen = [org.post("/sobjects/Account", json={"Name": "A"}).status_code for _ in range(6)]
    # the third meets the first rule, which keeps it from the second; the second has then seen 1, 2, 4, 5
    assert seen == [201, 201, 500, 201, 201, 502]
    assert len(org.records("Account")) == 4
    assert [f["times"] for f in org.state()["faults"]] == [0, 0]


def test_always_never_ends(org):
    org.faults([{"fault": "status", "match": "/limits", "times": "always"}])
    assert [org.get("/limits").status_code for _ in range(5)] == [503] * 5
    assert org.state()["faults"][0]["times"] == "always"


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize("status", [403, 420, 429, 503])
def test_a_status_with_headers_and_nothing_done(org, status):
    headers = {"Retry-After": 7, "Content-Type": "text/plain"}
    org.faults([{"fault": "status", "status": status, "headers": headers, "body": "slow down"}])
    answer = org.post("/sobjects/Account", json={"Name": "A"})
    assert (answer.status_code, answer.text) == (status, "slow down")
    assert (answer.headers["Retry-After"], answer.headers["Content-Type"]) == ("7", "text/plain")
    assert org.records("Account") == []


@pytest.mark.parametrize("before", [False, True], ids=["after work", "before work"])
def test_a_slow_answer(org, before):
    org.faults([{"fault": "slow", "match": "POST", "seconds": 0.7, "before_work": before}])
    with pytest.raises(requests.exceptions.ReadTimeout):
        org.post("/sobjects/Account", json={"Name": "A"}, timeout=0.2)
    assert len(org.records("Account")) == (0 if before else 1)
    end = time.monotonic() + 5
    while not org.records("Account"):  # worked on although its client has given up
        assert time.monotonic() < end
        time.sleep(0.05)
    org.faults([{"fault": "slow", "match": "POST", "seconds": 0.3, "before_work": before}])
    begun = time.monotonic()
    assert org.post("/sobjects/Account", json={"Name": "B"}).status_code == 201
    assert time.monotonic() - begun >= 0.3
    assert sorted(r["Name"] for r in org.records("Account")) == ["A", "B"]


def test_a_request_that_is_worked_on_after_its_repetition(org):
    org.faults([{"fault": "slow", "match": "PATCH", "seconds": 0.7, "before_work": True}])
    with pytest.raises(requests.exceptions.ReadTimeout):
        org.patch(UPSERT, json=accounts("1", Site="first"), timeout=0.2)
    assert codes(org.patch(UPSERT, json=accounts("1", Site="second"))) == [""]
    assert org.by("Account", "Account_Id__c")["1"]["Site"] == "second"
    end = time.monotonic() + 5
    while org.by("Account", "Account_Id__c")["1"]["Site"] != "first":
        assert time.monotonic() < end
        time.sleep(0.05)
    assert len(org.records("Account")) == 1


def test_an_answer_that_breaks_off(org):
    org.faults([{"fault": "cut_answer", "match": "PATCH", "share": 0.5}])
    with pytest.raises(requests.exceptions.RequestException) as broken:
        org.patch(UPSERT, json=accounts("1", "2"))
    assert isinstance(broken.value, (requests.exceptions.ChunkedEncodingError, requests.ConnectionError))
    assert set(org.by("Account", "Account_Id__c")) == {"1", "2"}
    org.faults([{"fault": "cut_answer", "match": "PATCH", "share": 0.5}])
    got = org.patch(UPSERT, json=accounts("1", "2"), stream=True)
    assert got.status_code == 200
    assert int(got.headers["Content-Length"]) > 100
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        _ = got.content
    assert codes(org.patch(UPSERT, json=accounts("1", "2"))) == ["", ""]


def test_json_that_is_cut_and_looks_whole(org):
    org.faults([{"fault": "cut_answer", "match": "PATCH", "share": 0.5, "looks_whole": True}])
    answer = org.patch(UPSERT, json=accounts("1", "2"))
    assert (answer.status_code, int(answer.headers["Content-Length"])) == (200, len(answer.content))
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        answer.json()
    assert len(org.records("Account")) == 2


def test_a_garbled_answer(org):
    org.faults([{"fault": "garbled", "match": "POST", "body": "<html>welcome to our guest network</html>"}])
    answer = org.post("/sobjects/Account", json={"Name": "A"})
    assert (answer.status_code, answer.headers["Content-Type"][:9]) == (200, "text/html")
    assert "guest network" in answer.text
    assert len(org.records("Account")) == 1


def composite(org: Any, edit: str) -> list[dict[str, Any]]:
    org.faults([{"fault": "garbled", "match": "POST /composite", "edit": edit}])
    parts = [
        {
            "method": "PATCH",
            "url": f"/services/data/v67.0{UPSERT}",
            "referenceId": ref,
            "body": accounts(*keys),
        }
        for ref, keys in (("one", "ab"), ("two", "cd"))
    ]
    answer = org.post("/composite", json={"compositeRequest": parts})
    assert answer.status_code == 200
    assert set(org.by("Account", "Account_Id__c")) == set("abcd")
    found: list[dict[str, Any]] = answer.json()["compositeResponse"]
    return found


def test_a_composite_without_one_result(org):
    assert [p["referenceId"] for p in composite(org, "result_missing")] == ["one"]


def test_a_composite_with_a_double_reference(org):
    found = composite(org, "result_doubled")
    assert [p["referenceId"] for p in found] == ["one", "one"]
    assert found[0]["body"] != found[1]["body"]


def test_a_composite_with_fewer_items_than_rows(org):
    assert [len(p["body"]) for p in composite(org, "items_fewer")] == [1, 2]


def test_a_composite_without_a_status(org):
    assert [p.get("httpStatusCode") for p in composite(org, "no_status")] == [None, 200]


def test_a_collection_with_fewer_items_than_rows(org):
    org.faults([{"fault": "garbled", "match": "PATCH", "edit": "items_fewer"}])
    assert len(org.patch(UPSERT, json=accounts("1", "2", "3")).json()) == 2
    assert len(org.records("Account")) == 3


# ---------------------------------------------------------------- sign-in, maintenance, rights


@pytest.mark.parametrize("html", [True, False], ids=["html", "json"])
def test_maintenance_meets_every_request_and_costs_none(org, html):
    used = org.state()["api_calls"]["used"]
    org.faults([{"fault": "maintenance", "html": html, "times": 3}])
    for answer in (sign_in(org), org.get("/limits"), org.post("/sobjects/Account", json={"Name": "A"})):
        assert answer.status_code == 503
        if html:
            assert answer.text.startswith("<html>")
        else:
            assert answer.json()[0]["errorCode"] == "SERVER_UNAVAILABLE"
    assert org.state()["api_calls"]["used"] == used
    assert sign_in(org).status_code == 200
    assert org.records("Account") == []


def test_sign_in_is_refused_from_now_on(org):
    org.faults(
        [{"fault": "sign_in_refused", "after": 1, "error": "inactive_user", "description": "inactive user"}]
    )
    assert sign_in(org).status_code == 200
    for _ in range(3):
        answer = sign_in(org)
        assert (answer.status_code, answer.json()) == (
            400,
            {"error": "inactive_user", "error_description": "inactive user"},
        )
    assert org.get("/limits").status_code == 200  # a token that is there lives on


def test_the_right_to_an_object_is_lost_in_the_middle(org):
    assert codes(org.patch(UPSERT, json=accounts("old"))) == [""]
    org.faults(
        [{"fault": "rights_lost", "match": "PATCH", "after": 1, "object": "Account", "rights": ["create"]}]
    )
    assert codes(org.patch(UPSERT, json=accounts("1"))) == [""]
    assert codes(org.patch(UPSERT, json=accounts("2", "old"))) == ["INSUFFICIENT_ACCESS_OR_READONLY", ""]
    assert org.get("/sobjects/Account/describe").json()["createable"] is False
    assert set(org.by("Account", "Account_Id__c")) == {"old", "1"}
    lost = {"fault": "rights_lost", "object": "Account", "rights": ["update", "delete"]}
    org.faults([lost])
    assert codes(org.patch(UPSERT, json=accounts("3", "old"))) == ["", "INSUFFICIENT_ACCESS_OR_READONLY"]
    ids = [r["Id"] for r in org.records("Account")]
    assert (
        codes(org.delete(f"/composite/sobjects?ids={','.join(ids)}"))
        == ["INSUFFICIENT_ACCESS_OR_READONLY"] * 3
    )
    org.faults([])
    assert codes(org.delete(f"/composite/sobjects?ids={','.join(ids)}")) == ["", "", ""]


def test_the_right_to_a_field_is_lost(org):
    rule = {"fault": "rights_lost", "object": "Account", "fields": ["Site"]}
    org.faults([rule])
    answer = org.patch(UPSERT, json=accounts("1", Site="x"))
    assert codes(answer) == ["INVALID_FIELD_FOR_INSERT_UPDATE"]
    assert answer.json()[0]["errors"][0]["fields"] == ["Site"]
    fields = {f["name"]: f for f in org.get("/sobjects/Account/describe").json()["fields"]}
    assert (fields["Site"]["createable"], fields["Site"]["updateable"]) == (False, False)
    assert codes(org.patch(UPSERT, json=accounts("1"))) == [""]
    org.faults([{**rule, "hidden": True}])
    answer = org.patch(UPSERT, json=accounts("1", Site="x"))
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "INVALID_FIELD")
    assert "No such column 'Site'" in answer.json()[0]["message"]
    assert "Site" not in {f["name"] for f in org.get("/sobjects/Account/describe").json()["fields"]}
    unseen = org.get("/query", params={"q": "SELECT Id, Site FROM Account"})
    assert (unseen.status_code, unseen.json()[0]["errorCode"]) == (400, "INVALID_FIELD")
    assert org.get("/query", params={"q": "SELECT Id, Name FROM Account"}).json()["totalSize"] == 1


# ---------------------------------------------------------------- rows


def test_one_bad_row_takes_its_whole_request_along(org):
    org.faults([{"fault": "apex_limit", "object": "Account", "values": ["bad"]}])
    cannot = "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"
    answer = org.patch(UPSERT, json=accounts("1", "bad", "2"))
    assert codes(answer) == [cannot] * 3
    assert "LimitException" in answer.json()[0]["errors"][0]["message"]
    assert codes(org.patch(UPSERT, json=accounts("1", "2"))) == ["", ""]
    assert codes(org.patch(UPSERT, json=accounts("bad"))) == [cannot]
    org.faults(
        [
            {
                "fault": "apex_limit",
                "values": ["bad"],
                "code": "LIMIT_EXCEEDED",
                "message": "m",
                "passes_alone": True,
            }
        ]
    )
    answer = org.patch(UPSERT, json=accounts("1", "bad"))
    assert codes(answer) == ["LIMIT_EXCEEDED"] * 2
    assert answer.json()[0]["errors"][0]["message"] == "m"
    assert codes(org.patch(UPSERT, json=accounts("bad"))) == [""]


def test_bad_rows_by_share_are_the_same_in_any_company(org):
    org.faults([{"fault": "apex_limit", "share": 0.2}])
    alone = {k: codes(org.patch(UPSERT, json=accounts(k))) != [""] for k in map(str, range(40))}
    assert 1 <= sum(alone.values()) <= 20
    good = [k for k, bad in alone.items() if not bad]
    assert set(codes(org.patch(UPSERT, json=accounts(*good)))) == {""}
    assert "" not in codes(org.patch(UPSERT, json=accounts(*alone)))


def test_a_bad_row_of_another_field_and_of_a_delete(org):
    org.faults([{"fault": "apex_limit", "field": "Site", "values": ["hell"]}])
    rows = accounts("1", "2", Site="heaven")
    rows["records"][1]["Site"] = "hell"
    assert "" not in codes(org.patch(UPSERT, json=rows))
    assert codes(org.patch(UPSERT, json=accounts("1", "2"))) == ["", ""]
    ids = [r["Id"] for r in org.records("Account")]
    org.faults([{"fault": "apex_limit", "values": [ids[0]]}])
    assert "" not in codes(org.delete(f"/composite/sobjects?ids={','.join(ids)}"))
    assert codes(org.delete(f"/composite/sobjects?ids={ids[1]}")) == [""]


def test_locks_of_the_second_write_only(org):
    org.faults([{"fault": "locked_rows", "after": 1}])
    assert [codes(org.patch(UPSERT, json=accounts("1"))) for _ in range(3)] == [
        [""],
        ["UNABLE_TO_LOCK_ROW"],
        [""],
    ]


# ---------------------------------------------------------------- time and budget


@pytest.mark.parametrize("seconds", [-7200, 90_000])
def test_a_clock_that_is_off(org, seconds):
    org.faults([{"fault": "clock_off", "seconds": seconds}])
    answer = sign_in(org)
    assert answer.headers["Date"].count("GMT") == 1
    assert abs(parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time() - seconds) < 60
    assert abs(int(answer.json()["issued_at"]) / 1000 - time.time() - seconds) < 60
    org.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    record = org.post("/sobjects/Account", json={"Name": "A"}).json()["id"]
    stamp = org.get(f"/sobjects/Account/{record}").json()["SystemModstamp"]
    assert abs(parse(stamp) - time.time() - seconds) < 60
    body = {"object": "Contact", "operation": "insert"}
    assert abs(parse(org.post("/jobs/ingest", json=body).json()["createdDate"]) - time.time() - seconds) < 60
    org.faults([])
    assert abs(parsedate_to_datetime(org.get("/limits").headers["Date"]).timestamp() - time.time()) < 60


def parse(stamp: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(stamp.replace("+0000", "+00:00")).timestamp()


def test_others_spend_calls_too(org):
    org.limits(max=100, used=10)
    org.faults([{"fault": "others_spend", "calls": 20, "after": 1}])
    sign_in(org)
    seen = [org.get("/limits").headers["Sforce-Limit-Info"] for _ in range(3)]
    assert seen == ["api-usage=11/100", "api-usage=32/100", "api-usage=53/100"]


def test_the_limit_is_reached_in_the_middle(org):
    org.limits(max=100, used=0)
    org.faults([{"fault": "others_spend", "calls": 100_000, "match": "PATCH", "after": 2, "times": 1}])
    seen = [org.patch(UPSERT, json=accounts(str(i))) for i in range(4)]
    assert [a.status_code for a in seen] == [200, 200, 403, 403]
    assert seen[2].json()[0]["errorCode"] == "REQUEST_LIMIT_EXCEEDED"
    assert seen[2].headers["Sforce-Limit-Info"] == "api-usage=100/100"
    assert len(org.records("Account")) == 2


# ---------------------------------------------------------------- rules


def test_the_page_has_an_example_of_every_fault_and_names_its_keys():
    page = (Path(__file__).parents[2] / "docs" / "local-org.md").read_text(encoding="utf-8")
    page = page.partition("## Making it fail")[2].partition("## Looking inside")[0]
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `") and "{fault:" in line]
    shown = {cells[1].strip(" `"): cells for cells in rows}
    assert set(shown) == set(KINDS)
    for name, cells in shown.items():
        (rule,) = parse_rules([yaml.safe_load(cells[4].strip(" `"))])
        assert rule.fault == name
        common = {"match", "object", "after", "times"}
        for key in KINDS[name].takes - common:
            assert re.search(rf"\b{key}\b", cells[3]), f"{name}: {key}"
    block = page.partition("```yaml")[2].partition("```")[0]
    assert len(parse_rules(yaml.safe_load(block))) == 4


BAD = [  # id, rule, part of the message
    ("unknown edit", {"fault": "garbled", "edit": "upside_down"}, "edit is 'upside_down'; it is one of result_missing"),
    ("garbled with nothing", {"fault": "garbled"}, "garbled needs either body or edit"),
    ("garbled with both", {"fault": "garbled", "edit": "no_status", "body": ""}, "either body or edit"),
    ("a cut that cuts nothing", {"fault": "cut_answer", "share": 1}, "a share below 1"),
    ("header with a line break", {"fault": "status", "headers": {"A": "b\nc"}}, "headers is"),
    ("after", {"fault": "status", "after": -1}, "after is -1; it is a whole number from 0"),
    ("times", {"fault": "status", "times": "forever"}, "times is 'forever'; it is a whole number from 1, or always"),
    ("a flag", {"fault": "slow", "before_work": "yes"}, "before_work is 'yes'; it is true or false"),
    ("a wait back in time", {"fault": "slow", "seconds": -1}, "slow needs seconds from 0"),
    ("rights of nothing", {"fault": "rights_lost", "rights": ["create"]}, "rights_lost needs object"),
    ("no rights", {"fault": "rights_lost", "object": "Account"}, "rights or fields"),
    ("unknown right", {"fault": "rights_lost", "object": "A", "rights": ["fly"]}, "out of create, update, delete"),
    ("no bad row", {"fault": "apex_limit"}, "either values or a share above 0"),
    ("clock", {"fault": "clock_off"}, "clock_off needs seconds"),
    ("clock with a match", {"fault": "clock_off", "seconds": 1, "match": "x"}, "clock_off takes no key 'match'"),
    ("a job has no match", {"fault": "job_stuck", "match": "x"}, "job_stuck takes no key 'match'"),
    ("counts", {"fault": "counts_wrong"}, "processed or failed, other than 0"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "text"), [c[1:] for c in BAD], ids=[c[0] for c in BAD])
def test_a_wrong_rule_is_refused_and_the_old_ones_stay(org, rule, text):
    org.faults([{"fault": "status", "match": "nowhere"}])
    answer = requests.put(
        f"{org.url}/_local/faults",
        data=json.dumps([rule]),
        headers={"Authorization": f"Bearer {org.client_secret}"},
        verify=str(org.ca_file),
        proxies={"https": ""},
        timeout=10,
    )
    assert answer.status_code == 400
    assert text in answer.json()["error"]
    assert [f["fault"] for f in org.state()["faults"]] == ["status"]
