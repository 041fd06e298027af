"""Composite Graph, Batch and Tree; updated and deleted; a query's plan and columns; Tooling; reads with a date."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

import pytest

BASE = "/services/data/v67.0"


def node(method: str, path: str, reference: str, body: Any = None) -> dict[str, Any]:
    found = {"method": method, "url": f"{BASE}/{path}", "referenceId": reference}
    return found if body is None else {**found, "body": body}


# -------------------------------------------------------------------- graph


def test_each_graph_is_saved_whole_or_not_at_all(org):
    good = [  # the child stands before its parent: references decide the order
        node("POST", "sobjects/Contact", "c", {"LastName": "Ito", "AccountId": "@{a.id}"}),
        node("POST", "sobjects/Account", "a", {"Name": "Acme"}),
    ]
    bad = [
        node("POST", "sobjects/Account", "a", {"Name": "Lost"}),
        node("POST", "sobjects/Contact", "c", {"AccountId": "@{a.id}"}),
        node("PATCH", "sobjects/Account/@{a.id}", "b", {"Name": "Later"}),
    ]
    before = org.state()["api_calls"]["used"]
    answer = org.post(
        "/composite/graph",
        json={
            "graphs": [
                {"graphId": "g1", "compositeRequest": good},
                {"graphId": "g2", "compositeRequest": bad},
            ]
        },
    )
    assert org.state()["api_calls"]["used"] == before + 1
    assert answer.status_code == 200
    first, second = answer.json()["graphs"]
    assert (first["graphId"], first["isSuccessful"]) == ("g1", True)
    nodes = first["graphResponse"]["compositeResponse"]
    assert [(n["referenceId"], n["httpStatusCode"]) for n in nodes] == [("c", 201), ("a", 201)]
    assert nodes[1]["httpHeaders"]["Location"] == f"{BASE}/sobjects/Account/{nodes[1]['body']['id']}"
    assert (second["graphId"], second["isSuccessful"]) == ("g2", False)
    codes = [n["body"][0]["errorCode"] for n in second["graphResponse"]["compositeResponse"]]
    assert codes == ["PROCESSING_HALTED", "REQUIRED_FIELD_MISSING", "PROCESSING_HALTED"]
    assert [a["Name"] for a in org.records("Account")] == ["Acme"]
    assert org.records("Contact")[0]["AccountId"] == nodes[1]["body"]["id"]


def test_graphs_stop_after_fourteen_failures(org):
    lost = [node("POST", "sobjects/Contact", "c", {})]
    kept = [node("POST", "sobjects/Contact", "c", {"LastName": "Ito"})]
    graphs = [{"graphId": f"g{i}", "compositeRequest": lost if i < 14 else kept} for i in range(15)]
    found = org.post("/composite/graph", json={"graphs": graphs}).json()["graphs"]
    assert [g["isSuccessful"] for g in found] == [False] * 15
    assert found[14]["graphResponse"]["compositeResponse"][0]["body"][0]["errorCode"] == "PROCESSING_HALTED"
    assert org.records("Contact") == []


def chain(count: int) -> list[dict[str, Any]]:
    first = node("POST", "sobjects/Account", "n0", {"Name": "n0"})
    later = [
        node("POST", "sobjects/Account", f"n{i}", {"Name": f"n{i}", "ParentId": f"@{{n{i - 1}.id}}"})
        for i in range(1, count)
    ]
    return [first, *later]


KINDS = [node(m, f"sobjects/{o}/{m}", f"{m}{o}") for m in ("GET", "PATCH") for o in "abcdefgh"]
CYCLE = [
    node("PATCH", "sobjects/Account/@{b.id}", "a", {"Name": "x"}),
    node("PATCH", "sobjects/Account/@{a.id}", "b", {"Name": "x"}),
]
GRAPH_ERRORS = [  # id, graphs, code, words
    ("no graph", [], "INVALID_INPUT", "at least one graph"),
    ("too many graphs", [(f"g{i}", chain(1)) for i in range(76)], "LIMIT_EXCEEDED", "Limit of 75 graphs exceeded: this call has 76"),
    ("too many nodes", [("g", [node("POST", "sobjects/Account", f"n{i}", {"Name": "x"}) for i in range(501)])], "LIMIT_EXCEEDED", "500 nodes"),
    ("too deep", [("g", chain(16))], "LIMIT_EXCEEDED", "15 levels of references in graph g exceeded: this call has 16"),
    ("too many kinds", [("g", KINDS)], "LIMIT_EXCEEDED", "15 distinct kinds of nodes in graph g"),
    ("a cycle", [("g", CYCLE)], "INVALID_INPUT", "has a cycle"),
    ("twice the same graph", [("g", chain(1)), ("g", chain(1))], "INVALID_INPUT", "Duplicate graphId: g"),
    ("twice the same node", [("g", chain(1) * 2)], "INVALID_INPUT", "Duplicate reference Id: n0"),
    ("no row", [("g", [node("GET", "query?q=SELECT+Id+FROM+User", "q")])], "INVALID_INPUT", "is no request for an sObject row"),
    ("a bad name", [("g-1", chain(1))], "INVALID_INPUT", "Invalid graphId in graph 1: g-1"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("graphs", "code", "words"), [c[1:] for c in GRAPH_ERRORS], ids=[c[0] for c in GRAPH_ERRORS]
)
def test_what_a_graph_may_not_be(org, graphs, code, words):
    body = {"graphs": [{"graphId": name, "compositeRequest": nodes} for name, nodes in graphs]}
    answer = org.post("/composite/graph", json=body)
    assert answer.status_code == 400
    assert answer.json()[0]["errorCode"] == code
    assert words in answer.json()[0]["message"]
    assert org.records("Account") == []


def test_the_deepest_graph(org):
    body = {"graphs": [{"graphId": "g", "compositeRequest": chain(15)}]}
    assert org.post("/composite/graph", json=body).json()["graphs"][0]["isSuccessful"]
    assert len(org.records("Account")) == 15


# -------------------------------------------------------------------- batch


def test_a_batch_goes_on_after_an_error(org):
    requests = [
        {"method": "POST", "url": "v67.0/sobjects/Account", "richInput": {"Name": "Acme"}},
        {"method": "GET", "url": "/services/data/v67.0/sobjects/Account/001000000000000AAA"},
        {"method": "GET", "url": "v67.0/query?q=SELECT+Name+FROM+Account"},
    ]
    before = org.state()["api_calls"]["used"]
    body = org.post("/composite/batch", json={"batchRequests": requests}).json()
    assert org.state()["api_calls"]["used"] == before + 1
    assert body["hasErrors"] is True
    assert [r["statusCode"] for r in body["results"]] == [201, 404, 200]
    assert body["results"][1]["result"][0]["errorCode"] == "NOT_FOUND"
    assert body["results"][2]["result"]["records"][0]["Name"] == "Acme"
    record = body["results"][0]["result"]["id"]
    changed = [{"method": "PATCH", "url": f"v67.0/sobjects/Account/{record}", "richInput": {"Name": "Best"}}]
    assert org.post("/composite/batch", json={"batchRequests": changed}).json() == {
        "hasErrors": False,
        "results": [{"statusCode": 204, "result": None}],
    }


def test_a_batch_halts_if_asked_to(org):
    requests = [
        {"method": "POST", "url": "v67.0/sobjects/Contact", "richInput": {"FirstName": "Kei"}},
        {"method": "POST", "url": "v67.0/sobjects/Account", "richInput": {"Name": "Acme"}},
    ]
    body = org.post("/composite/batch", json={"haltOnError": True, "batchRequests": requests}).json()
    assert [r["statusCode"] for r in body["results"]] == [400, 412]
    assert body["results"][1]["result"][0]["errorCode"] == "BATCH_PROCESSING_HALTED"
    assert org.records("Account") == []


BATCH_ERRORS = [  # id, body, code
    ("no list", {}, "JSON_PARSER_ERROR"),
    ("empty", {"batchRequests": []}, "INVALID_INPUT"),
    ("26", {"batchRequests": [{"method": "GET", "url": "v67.0/limits"}] * 26}, "LIMIT_EXCEEDED"),
    ("url", {"batchRequests": [{"method": "GET", "url": "limits"}]}, "INVALID_INPUT"),
    ("method", {"batchRequests": [{"method": "get", "url": "v67.0/limits"}]}, "INVALID_INPUT"),
    ("key", {"batchRequests": [{"method": "GET", "url": "v67.0/limits", "body": {}}]}, "JSON_PARSER_ERROR"),
]


@pytest.mark.parametrize(("body", "code"), [c[1:] for c in BATCH_ERRORS], ids=[c[0] for c in BATCH_ERRORS])
def test_what_a_batch_may_not_be(org, body, code):
    answer = org.post("/composite/batch", json=body)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)


@pytest.mark.parametrize(
    "path", ["composite", "composite/batch", "composite/graph", "composite/tree/Account"]
)
def test_a_subrequest_has_no_subrequests(org, path):
    asked = {"batchRequests": [{"method": "POST", "url": f"v67.0/{path}", "richInput": {}}]}
    found = org.post("/composite/batch", json=asked).json()["results"][0]
    assert (found["statusCode"], found["result"][0]["errorCode"]) == (400, "INVALID_INPUT")
    asked = {"compositeRequest": [node("POST", path, "a", {})]}
    found = org.post("/composite", json=asked).json()["compositeResponse"][0]
    assert (found["httpStatusCode"], found["body"][0]["errorCode"]) == (400, "INVALID_INPUT")


# -------------------------------------------------------------------- tree


def record(kind: str, reference: str, **values: Any) -> dict[str, Any]:
    return {"attributes": {"type": kind, "referenceId": reference}, **values}


def test_a_tree_brings_children_to_their_parents(org):
    body = {
        "records": [
            record("Account", "a1", Name="Acme", Contacts={"records": [record("Contact", "c1", LastName="Ito"), record("Contact", "c2", LastName="Ode")]}),
            record("Account", "a2", Name="Best", Opportunities=None) | {"Contacts": {"records": [record("Contact", "c3", LastName="Roy")]}},
        ]
    }  # fmt: skip
    del body["records"][1]["Opportunities"]
    answer = org.post("/composite/tree/Account/", json=body)
    assert answer.status_code == 201
    assert answer.json()["hasErrors"] is False
    ids = {r["referenceId"]: r["id"] for r in answer.json()["results"]}
    assert list(ids) == ["a1", "c1", "c2", "a2", "c3"]
    owners = {c["Id"]: c["AccountId"] for c in org.records("Contact")}
    assert owners == {ids["c1"]: ids["a1"], ids["c2"]: ids["a1"], ids["c3"]: ids["a2"]}


def test_a_tree_with_one_bad_record_saves_nothing(org):
    children = {
        "records": [record("Contact", "c1", LastName="Ito"), record("Contact", "c2", FirstName="Kei")]
    }
    answer = org.post(
        "/composite/tree/Account", json={"records": [record("Account", "a1", Name="Acme", Contacts=children)]}
    )
    assert answer.status_code == 400
    [result] = answer.json()["results"]
    assert answer.json()["hasErrors"] is True
    assert result["referenceId"] == "c2"
    assert (result["errors"][0]["statusCode"], result["errors"][0]["fields"]) == (
        "REQUIRED_FIELD_MISSING",
        ["LastName"],
    )
    assert org.records("Account") == org.records("Contact") == []


def nested(levels: int, name: str = "r") -> dict[str, Any]:
    inside = {"Contacts": {"records": [record("Contact", f"{name}c", LastName="x")]}} if levels > 1 else {}
    return record("Account", name, Name="x", **inside)


TREE_ERRORS = [  # id, records, reference, code
    ("too many", [nested(1, f"r{i}") for i in range(201)], "r0", "LIMIT_EXCEEDED"),
    ("twice", [nested(1), nested(1)], "r", "INVALID_INPUT"),
    ("no reference", [{"attributes": {"type": "Account"}, "Name": "x"}], "", "INVALID_INPUT"),
    ("other type", [record("Contact", "r", LastName="x")], "r", "INVALID_INPUT"),
    ("no such relation", [record("Account", "r", Name="x", Pets={"records": []})], "r", "INVALID_FIELD"),
    ("no such field", [record("Account", "r", Name="x", Pet="y")], "r", "INVALID_FIELD"),
    ("wrong JSON type", [record("Account", "r", Name=["x"])], "r", "JSON_PARSER_ERROR"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("records", "reference", "code"), [c[1:] for c in TREE_ERRORS], ids=[c[0] for c in TREE_ERRORS]
)
def test_what_a_tree_may_not_be(org, records, reference, code):
    answer = org.post("/composite/tree/Account", json={"records": records})
    assert answer.status_code == 400
    [result] = answer.json()["results"]
    assert (result["referenceId"], result["errors"][0]["statusCode"]) == (reference, code)
    assert org.records("Account") == []


# -------------------------------------------------------------------- updated, deleted


def at(minutes: int) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()


def test_what_changed_and_what_is_gone(org):
    kept, gone = (org.post("/sobjects/Account", json={"Name": n}).json()["id"] for n in "ab")
    org.delete(f"/sobjects/Account/{gone}")
    stretch = {"start": at(-5), "end": at(5)}
    updated = org.get("/sobjects/Account/updated/", params=stretch).json()
    assert updated["ids"] == [kept]
    covered = datetime.fromisoformat(updated["latestDateCovered"])
    assert timedelta(0) <= datetime.now(UTC) - covered < timedelta(minutes=2)
    deleted = org.get("/sobjects/Account/deleted/", params=stretch).json()
    assert [d["id"] for d in deleted["deletedRecords"]] == [gone]
    assert abs(
        datetime.now(UTC) - datetime.fromisoformat(deleted["deletedRecords"][0]["deletedDate"])
    ) < timedelta(minutes=1)
    assert set(deleted) == {"deletedRecords", "earliestDateAvailable", "latestDateCovered"}
    before = {"start": at(-10), "end": at(-5)}
    assert org.get("/sobjects/Account/updated", params=before).json()["ids"] == []
    assert org.get("/sobjects/Account/deleted", params=before).json()["deletedRecords"] == []
    plus = f"start={at(-5)}&end={at(5)}"  # as some clients send it: the plus of the offset not escaped
    assert org.get(f"/sobjects/Account/updated?{plus}").json()["ids"] == [kept]


STRETCHES = [  # id, start, end, code
    ("no end", "2026-01-01T00:00:00Z", "", "MISSING_ARGUMENT"),
    ("no date", "yesterday", "2026-01-01T00:00:00Z", "INVALID_FIELD"),
    ("backwards", at(5), at(-5), "INVALID_REPLICATION_DATE"),
    ("within a minute", "2026-01-01T00:00:01Z", "2026-01-01T00:00:59Z", "INVALID_REPLICATION_DATE"),
    ("too long ago", at(-60 * 24 * 31), at(0), "INVALID_REPLICATION_DATE"),
]


@pytest.mark.parametrize(("start", "end", "code"), [c[1:] for c in STRETCHES], ids=[c[0] for c in STRETCHES])
def test_stretches_that_are_refused(org, start, end, code):
    for which in ("updated", "deleted"):
        answer = org.get(f"/sobjects/Account/{which}", params={"start": start, "end": end})
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)


# -------------------------------------------------------------------- about queries


def test_the_plan_of_a_query(org):
    for i in range(4):
        org.post("/sobjects/Contact", json={"LastName": f"Ito {i % 2}", "Customer_Id__c": f"C-{i}"})
    text = "SELECT Id FROM Contact WHERE LastName = 'Ito 1' AND Customer_Id__c = 'C-1'"
    body = org.get("/query", params={"explain": text}).json()
    [plan] = body["plans"]
    assert body["sourceQuery"] == text
    assert (plan["leadingOperationType"], plan["fields"]) == ("Index", ["Customer_Id__c"])
    assert (plan["cardinality"], plan["sobjectCardinality"], plan["sobjectType"]) == (1, 4, "Contact")
    assert plan["notes"] == [
        {
            "description": "Not considered for filter because unindexed",
            "fields": ["LastName"],
            "tableEnumOrId": "Contact",
        }
    ]
    [scan] = org.get("/query", params={"explain": "SELECT Id FROM Contact WHERE LastName = 'Ito 1'"}).json()[
        "plans"
    ]
    assert (scan["leadingOperationType"], scan["cardinality"]) == ("TableScan", 2)
    assert scan["relativeCost"] > 1 > plan["relativeCost"]
    refused = org.get("/query", params={"explain": "SELECT Nope FROM Contact"})
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "INVALID_FIELD")


def test_the_columns_of_a_query(org):
    text = "SELECT Id, LastName, Account.Name, Account.Owner.Name, HasOptedOutOfEmail FROM Contact"
    body = org.get("/query", params={"q": text, "columns": "true"}).json()
    assert (body["entityName"], body["groupBy"], body["idSelected"], body["keyPrefix"]) == (
        "Contact",
        False,
        True,
        "003",
    )
    named = {c["columnName"]: c for c in body["columnMetadata"]}
    assert list(named) == ["Id", "LastName", "Account", "HasOptedOutOfEmail"]
    assert (named["LastName"]["textType"], named["LastName"]["updatable"]) == (True, True)
    assert (named["HasOptedOutOfEmail"]["booleanType"], named["HasOptedOutOfEmail"]["apexType"]) == (
        True,
        "Boolean",
    )
    account = named["Account"]
    assert account["foreignKeyName"] == "AccountId"
    assert [c["columnName"] for c in account["joinColumns"]] == ["Name", "Owner"]
    assert [c["columnName"] for c in account["joinColumns"][1]["joinColumns"]] == ["Name"]
    text = "SELECT LastName, count(Id) n, max(CreatedDate) FROM Contact GROUP BY LastName"
    body = org.get("/query", params={"q": text, "columns": "true"}).json()
    assert body["groupBy"] is True
    assert [(c["columnName"], c["aggregate"]) for c in body["columnMetadata"]] == [
        ("LastName", False),
        ("n", True),
        ("expr0", True),
    ]


def test_what_clients_ask_of_the_tooling_api(org):
    assert org.get("/tooling/").json()["query"] == f"{BASE}/tooling/query"
    assert "InstalledSubscriberPackage" in {
        o["name"] for o in org.get("/tooling/sobjects/").json()["sobjects"]
    }
    found = org.get("/tooling/query/", params={"q": "SELECT Id FROM InstalledSubscriberPackage"}).json()
    assert (found["totalSize"], found["done"], found["records"]) == (0, True, [])
    refused = org.get("/tooling/query", params={"q": "SELECT Id FROM Nothing"})
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "INVALID_TYPE")
    assert org.get("/recent").json() == org.get("/tabs").json() == []


# -------------------------------------------------------------------- only if changed


def http_date(minutes: int) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)


@pytest.mark.parametrize("path", ["/sobjects", "/sobjects/Contact/describe"])
def test_describes_only_if_changed(org, path):
    first = org.get(path)
    told = {"If-Modified-Since": first.headers["Last-Modified"]}
    again = org.get(path, headers=told)
    assert (again.status_code, again.content) == (304, b"")
    assert org.get(path, headers={"If-Modified-Since": http_date(-60 * 24 * 365)}).status_code == 200
    assert org.get(path, headers={"If-Modified-Since": "yesterday"}).status_code == 200
    org.faults([{"fault": "rights_lost", "object": "Contact", "rights": ["create"]}])
    narrowed = org.get(path, headers=told)
    assert narrowed.status_code == 200
    assert narrowed.content != first.content
    later = parsedate_to_datetime(narrowed.headers["Last-Modified"])
    assert later > parsedate_to_datetime(first.headers["Last-Modified"])
    refused = org.get(path, headers={"If-Unmodified-Since": http_date(-60 * 24 * 365)})
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (412, "PRECONDITION_FAILED")


def test_a_record_only_if_changed(org):
    record = org.post("/sobjects/Account", json={"Name": "Acme"}).json()["id"]
    path = f"/sobjects/Account/{record}"
    assert org.get(path, headers={"If-Modified-Since": http_date(1)}).status_code == 304
    found = org.get(path, headers={"If-Modified-Since": http_date(-1)})
    assert (found.status_code, found.json()["Name"]) == (200, "Acme")
    assert org.get(path, headers={"If-Unmodified-Since": http_date(1)}).status_code == 200
    assert org.get(path, headers={"If-Unmodified-Since": http_date(-1)}).status_code == 412
    assert (
        org.get(path, headers={"If-Modified-Since": http_date(1)}, params={"fields": "Nope"}).status_code
        == 400
    )
