"""Everything around the rows: sign-in, versions, describe, limits, faults, rows by URL, Composite, the journal."""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import replace
from typing import Any

import pytest
import requests

from sfsync import child_objects
from sfsync.contract import SObject, from_json
from sfsync.local_org.schema import load_schema

# -------------------------------------------------------------------- sign-in


def token(org: Any, headers: dict[str, str] | None = None, **form: str) -> requests.Response:
    session = requests.Session()
    session.trust_env = False
    found: requests.Response = session.post(
        f"{org.url}/services/oauth2/token", data=form, headers=headers, verify=str(org.ca_file)
    )
    return found


def test_password_and_client_credentials_give_a_working_token(org):
    app = {"client_id": org.client_id, "client_secret": org.client_secret}
    glued = org.password + org.security_token
    basic = base64.b64encode(f"{org.client_id}:{org.client_secret}".encode()).decode()
    answers = [
        token(org, grant_type="password", username=org.username, password=glued, **app),
        token(org, grant_type="client_credentials", **app),
        token(org, {"Authorization": f"Basic {basic}"}, grant_type="client_credentials"),
    ]
    for answer in answers:
        body = answer.json()
        assert answer.status_code == 200
        assert re.fullmatch(r"00D\w{12,15}![.\w]+", body["access_token"])
        assert body["instance_url"] == org.url
        assert re.fullmatch(r"\d{13}", body["issued_at"])
        assert body["token_type"] == "Bearer"
        mine = {"headers": {"Authorization": f"Bearer {body['access_token']}"}}
        assert org.get("/limits", **mine).status_code == 200
        who = org.request("GET", body["id"].removeprefix(org.url), **mine).json()
        assert (who["organization_id"], who["username"]) == (org.org_id, org.username)
        assert "{version}" in who["urls"]["rest"]


SIGN_IN_ERRORS = [  # id, changes, status, error, description
    ("wrong password", {"password": "x"}, 400, "invalid_grant", "authentication failure"),
    ("wrong user", {"username": "x"}, 400, "invalid_grant", "authentication failure"),
    ("unknown app", {"client_id": "x"}, 400, "invalid_client_id", "client identifier invalid"),
    ("wrong secret", {"client_secret": "x"}, 400, "invalid_client", "invalid client credentials"),
    ("unknown flow", {"grant_type": "device"}, 400, "unsupported_grant_type", "grant type not supported"),
]


@pytest.mark.parametrize(("change", "status", "error", "text"), [c[1:] for c in SIGN_IN_ERRORS], ids=[c[0] for c in SIGN_IN_ERRORS])  # fmt: skip
def test_sign_in_errors_are_objects(org, change, status, error, text):
    form = {"grant_type": "password", "client_id": org.client_id, "client_secret": org.client_secret,
            "username": org.username, "password": org.password + org.security_token}  # fmt: skip
    answer = token(org, **{**form, **change})
    assert (answer.status_code, answer.json()) == (status, {"error": error, "error_description": text})


def test_the_password_alone_is_not_enough(org):
    form = {"grant_type": "password", "client_id": org.client_id, "client_secret": org.client_secret}
    assert token(org, username=org.username, password=org.password, **form).status_code == 400


@pytest.mark.parametrize("header", [None, "Bearer nonsense", "Basic x", "Bearer "])
def test_a_call_without_a_good_token(org, header):
    answer = org.get("/sobjects", headers={"Authorization": header})
    assert (answer.status_code, answer.json()) == (
        401,
        [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}],
    )
    assert "Sforce-Limit-Info" not in answer.headers


def test_revoke(org):
    mine = org.session.headers["Authorization"].partition(" ")[2]
    assert org.post("/services/oauth2/revoke", data={"token": mine}).status_code == 200
    assert org.get("/limits").status_code == 401
    assert org.post("/services/oauth2/revoke", data={"token": mine}).status_code == 400


def test_the_certificate_is_trusted_only_by_its_file(org):
    session = requests.Session()
    session.trust_env = False
    with pytest.raises(requests.exceptions.SSLError):
        session.get(f"{org.url}/services/data")


# -------------------------------------------------------------------- versions, describe, errors


def test_versions_need_no_token_and_are_not_counted(org):
    answer = org.get("/services/data", headers={"Authorization": None})
    versions = [v["version"] for v in answer.json()]
    assert versions == [f"{n}.0" for n in range(42, 68)]
    assert [v["label"] for v in answer.json()][-3:] == ["Winter '26", "Spring '26", "Summer '26"]
    assert "Sforce-Limit-Info" not in answer.headers
    assert org.state()["api_calls"]["used"] == 0


PATHS = [  # id, method, path, status, code
    ("unknown object", "GET", "/sobjects/Nope", 404, "NOT_FOUND"),
    ("unknown resource", "GET", "/nope", 404, "NOT_FOUND"),
    ("unknown version", "GET", "/services/data/v99.0/limits", 404, "NOT_FOUND"),
    ("odd version", "GET", "/services/data/v61.5/limits", 404, "NOT_FOUND"),
    ("version before Collections", "GET", "/services/data/v41.0/limits", 404, "NOT_FOUND"),
    ("oldest version", "GET", "/services/data/v42.0/nope", 404, "NOT_FOUND"),
    ("retired version", "GET", "/services/data/v30.0/limits", 410, "GONE"),
    ("wrong method", "PUT", "/sobjects", 405, "METHOD_NOT_ALLOWED"),
    ("malformed id", "GET", "/sobjects/Account/001000000000001AAB", 400, "MALFORMED_ID"),
    ("no such record", "GET", "/sobjects/Account/001000000000001AAA", 404, "NOT_FOUND"),
    ("not an external id", "GET", "/sobjects/Account/Name/x", 404, "NOT_FOUND"),
]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"), [c[1:] for c in PATHS], ids=[c[0] for c in PATHS]
)
def test_errors_of_paths(org, method, path, status, code):
    answer = org.request(method, path)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (status, code)


def test_describe_gives_the_schema_back(org):
    listed = org.get("/sobjects").json()
    assert listed["maxBatchSize"] == 200
    for name in ("Account", "Contact", "Lead", "Opportunity", "Case", "User", "Subscription__c"):
        assert name in [o["name"] for o in listed["sobjects"]]
        body = org.get(f"/sobjects/{name.lower()}/describe").json()
        wanted = load_schema(None).object(name)
        seen = SObject.from_describe(body)
        assert [replace(f, default_value=None) for f in seen.fields] == [
            replace(f, default_value=None) for f in wanted.fields
        ]
        assert {f.name: f.default_value for f in seen.fields if f.type != "boolean"} == {
            f.name: f.default_value for f in wanted.fields if f.type != "boolean"
        }
        assert replace(seen, fields=(), children=None) == replace(wanted, fields=())
        assert {len(f) for f in body["fields"]} == {57}
        assert [r["recordTypeId"] for r in body["recordTypeInfos"] if r["master"]] == ["012000000000000AAA"]
    account = SObject.from_describe(org.get("/sobjects/Account/describe").json())
    assert child_objects.to_json(account.children) == {
        "Case.AccountId": "restrict",
        "Contact.AccountId": "cascade",
        "Opportunity.AccountId": "cascade",
    }
    case = {f["name"]: f for f in org.get("/sobjects/Case/describe").json()["fields"]}
    assert (case["OwnerId"]["referenceTo"], case["OwnerId"]["polymorphicForeignKey"]) == (
        ["Group", "User"],
        True,
    )


def test_a_schema_file_is_completed(tmp_path):
    path = tmp_path / "mine.json"
    fields = {"Key__c": {"type": "string", "length": 10, "external_id": True, "unique": True}}
    path.write_text(
        json.dumps({"objects": {"Thing__c": {"label": "Thing", "fields": fields}, "Account": {"fields": {}}}})
    )
    made = load_schema(path)
    assert from_json(path.read_text()).object("Thing__c").field("Id") is None
    assert made.object("Thing__c").key_prefix == "a00"
    assert made.object("Account").key_prefix == "001"
    assert made.object("Thing__c").field("SystemModstamp").createable is False
    assert made.object("User") is not None


def test_pretty_print_and_gzip(org):
    assert '"sobjects" : "' in org.get("/services/data/v67.0", headers={"X-PrettyPrint": "1"}).text
    body = gzip.compress(json.dumps({"Name": "zipped"}).encode())
    made = org.post("/sobjects/Account", data=body, headers={"Content-Encoding": "gzip"})
    assert made.status_code == 201
    assert org.records("Account")[0]["Name"] == "zipped"


@pytest.mark.parametrize("body", [b"{", b'{"a":1}', b"[]", b"\xff", b""])
def test_broken_collections_are_refused_whole(org, body):
    answer = org.patch("/composite/sobjects/Account/Account_Id__c", data=body)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "JSON_PARSER_ERROR")


def test_sizes_of_collections(org):
    row = {"attributes": {"type": "Account"}, "Name": "A"}
    answer = org.post("/composite/sobjects", json={"records": [row] * 201})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "EXCEEDED_ID_LIMIT")
    mixed = [{"attributes": {"type": t}, "LastName": "x", "Name": "x"} for t in ("Account", "Contact") * 6]
    assert org.post("/composite/sobjects", json={"records": mixed}).status_code == 400
    assert org.records("Account") == []
    assert org.patch("/composite/sobjects/Account/Account_Id__c", json={"records": []}).json() == []
    unknown = org.post("/composite/sobjects", json={"records": [{**row, "Foo__c": 1}]}).json()
    assert unknown == [
        {"message": "No such column 'Foo__c' on sobject of type Account", "errorCode": "INVALID_FIELD"}
    ]


# -------------------------------------------------------------------- rows


def test_one_row_by_id(org):
    made = org.post("/sobjects/Account", json={"Name": "A", "AnnualRevenue": 5, "NumberOfEmployees": 3})
    record = made.json()["id"]
    assert made.json() == {"id": record, "success": True, "errors": []}
    assert made.headers["Location"] == f"/services/data/v67.0/sobjects/Account/{record}"
    assert org.patch(f"/sobjects/Account/{record[:15]}", json={"Name": "B"}).status_code == 204
    got = org.get(
        f"/sobjects/account/{record}?fields=name,AnnualRevenue,NumberOfEmployees,CreatedDate,Site"
    ).json()
    created = got.pop("CreatedDate")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", created)
    assert got == {
        "attributes": {"type": "Account", "url": f"/services/data/v67.0/sobjects/Account/{record}"},
        "Name": "B",
        "AnnualRevenue": 5.0,
        "NumberOfEmployees": 3,
        "Site": None,
    }
    assert org.get(f"/sobjects/Account/{record}?fields=Nope").json()[0]["errorCode"] == "INVALID_FIELD"
    assert org.delete(f"/sobjects/Account/{record}").status_code == 204
    gone = org.delete(f"/sobjects/Account/{record}")
    assert (gone.status_code, gone.json()[0]["errorCode"]) == (404, "ENTITY_IS_DELETED")
    refused = org.post("/sobjects/Account", json={"Site": "x"})
    assert (refused.status_code, refused.json()) == (
        400,
        [
            {
                "message": "Required fields are missing: [Name]",
                "errorCode": "REQUIRED_FIELD_MISSING",
                "fields": ["Name"],
            }
        ],
    )


def test_one_row_by_external_id(org):
    path = "/sobjects/Account/Account_Id__c/a%2Fb.c"
    assert org.patch(path + "?updateOnly=true", json={"Name": "A"}).status_code == 404
    made = org.patch(path, json={"Name": "A"})
    assert (made.status_code, made.json()["created"]) == (201, True)
    again = org.patch(path, json={"Name": "B"})
    assert (again.status_code, again.json()["created"]) == (200, False)
    old = org.request("PATCH", "/services/data/v45.0" + path, json={"Name": "C"})
    assert (old.status_code, old.content) == (204, b"")
    assert org.get(path + "?fields=Name,Account_Id__c").json()["Account_Id__c"] == "a/b.c"
    assert org.patch(path, json={"Account_Id__c": "x"}).status_code == 400
    assert org.delete(path).status_code == 204
    assert org.get(path).status_code == 404
    for key in "12":
        org.post("/sobjects/Contact", json={"LastName": key, "Email": "a@b.co"})
    several = org.patch("/sobjects/Contact/Email/a@b.co", json={"LastName": "x"})
    assert several.status_code == 300
    assert len(several.json()) == 2


def test_retrieve_many(org):
    ids = [org.post("/sobjects/Account", json={"Name": n}).json()["id"] for n in "ab"]
    wanted = [ids[1], "001000000000001AAA", ids[0][:15]]
    by_get = org.get(f"/composite/sobjects/Account?ids={','.join(wanted)}&fields=Name").json()
    by_post = org.post("/composite/sobjects/Account", json={"ids": wanted, "fields": ["Name"]}).json()
    assert by_get == by_post
    assert [r and r["Name"] for r in by_get] == ["b", None, "a"]


# -------------------------------------------------------------------- Composite


def part(reference: str, method: str, path: str, body: Any = None, **more: Any) -> dict[str, Any]:
    sub = {"method": method, "url": f"/services/data/v67.0{path}", "referenceId": reference, **more}
    return sub if body is None else {**sub, "body": body}


def composite(org: Any, *parts: dict[str, Any], **options: Any) -> requests.Response:
    found: requests.Response = org.post("/composite", json={"compositeRequest": list(parts), **options})
    return found


def test_composite_with_references_counts_one_call(org):
    answer = composite(
        org,
        part("a", "POST", "/sobjects/Account", {"Name": "A"}),
        part("c", "POST", "/sobjects/Contact", {"LastName": "L", "AccountId": "@{a.id}"}),
        part("g", "GET", "/sobjects/Contact/@{c.id}?fields=AccountId"),
        part("q", "GET", "/query?q=SELECT+Name+FROM+Account+WHERE+Id='@{a.id}'"),
        part("n", "GET", "/sobjects/Contact/@{q.records[0].Nope}"),
    ).json()["compositeResponse"]
    assert [(r["referenceId"], r["httpStatusCode"]) for r in answer] == [("a", 201), ("c", 201), ("g", 200), ("q", 200), ("n", 400)]  # fmt: skip
    assert answer[0]["httpHeaders"]["Location"].endswith(answer[0]["body"]["id"])
    assert answer[2]["body"]["AccountId"] == answer[0]["body"]["id"]
    assert answer[3]["body"]["records"][0]["Name"] == "A"
    assert answer[4]["body"][0]["errorCode"] == "PROCESSING_HALTED"
    assert org.state()["api_calls"]["used"] == 1


def test_composite_of_five_collections(org):
    def rows(k: int) -> dict[str, Any]:
        some = [
            {"attributes": {"type": "Account"}, "Account_Id__c": f"{k}-{i}", "Name": "A"} for i in range(200)
        ]
        return {"records": some}

    parts = [part(f"p{k}", "PATCH", "/composite/sobjects/Account/Account_Id__c", rows(k)) for k in range(5)]
    answer = composite(org, *parts, collateSubrequests=False).json()["compositeResponse"]
    assert [len(r["body"]) for r in answer] == [200] * 5
    assert org.state()["counts"]["Account"] == 1000
    six = composite(org, *parts, part("p5", "PATCH", "/composite/sobjects/Account/Account_Id__c", rows(5)))
    assert (six.status_code, six.json()[0]["errorCode"]) == (400, "LIMIT_EXCEEDED")


def test_composite_all_or_none(org):
    answer = composite(
        org,
        part("a", "POST", "/sobjects/Account", {"Name": "A"}),
        part("b", "POST", "/sobjects/Account", {"Site": "no name"}),
        part("c", "POST", "/sobjects/Account", {"Name": "C"}),
        allOrNone=True,
    ).json()["compositeResponse"]
    assert [(r["httpStatusCode"], r["body"][0]["errorCode"]) for r in answer] == [
        (400, "PROCESSING_HALTED"),
        (400, "REQUIRED_FIELD_MISSING"),
        (400, "PROCESSING_HALTED"),
    ]
    assert (org.records("Account"), org.writes()) == ([], [])
    fine = composite(org, part("a", "POST", "/sobjects/Account", {"Name": "A"}), allOrNone=True)
    assert fine.json()["compositeResponse"][0]["httpStatusCode"] == 201
    assert len(org.records("Account")) == 1


BAD_ENVELOPES = [
    ("lower-case method", [{"method": "get", "url": "/services/data/v67.0/limits", "referenceId": "a"}]),
    ("foreign url", [{"method": "GET", "url": "/limits", "referenceId": "a"}]),
    ("bad reference", [{"method": "GET", "url": "/services/data/v67.0/limits", "referenceId": "_a"}]),
    ("same reference twice", [part("a", "GET", "/limits"), part("a", "GET", "/limits")]),
    ("forbidden header", [part("a", "GET", "/limits", httpHeaders={"authorization": "x"})]),
    ("too many", [part(f"r{i}", "GET", "/limits") for i in range(26)]),
    ("none", []),
]


@pytest.mark.parametrize("parts", [c[1] for c in BAD_ENVELOPES], ids=[c[0] for c in BAD_ENVELOPES])
def test_bad_envelopes(org, parts):
    answer = composite(org, *parts)
    assert answer.status_code == 400
    assert answer.json()[0]["errorCode"] in ("INVALID_INPUT", "LIMIT_EXCEEDED")


# -------------------------------------------------------------------- limits and faults


def test_calls_are_counted_until_none_is_left(org):
    org.limits(max=3, used=1)
    assert [org.get("/sobjects/Account").headers["Sforce-Limit-Info"] for _ in range(2)] == [
        "api-usage=2/3",
        "api-usage=3/3",
    ]
    full = org.post("/sobjects/Account", json={"Name": "A"})
    assert (full.status_code, full.json()) == (
        403,
        [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}],
    )
    assert full.headers["Sforce-Limit-Info"] == "api-usage=3/3"
    assert org.records("Account") == []
    org.limits(max=10, used=0)
    assert org.get("/limits").json()["DailyApiRequests"] == {"Max": 10, "Remaining": 9}


def test_the_window_rolls():
    from sfsync.local_org.limits import Window

    now = [1_000_000.0]
    window = Window(15_000, lambda: now[0])
    assert window.take(14_500)  # 05:00
    now[0] += 18 * 3600
    assert window.take(499)  # 23:00
    assert window.remaining == 1
    assert not window.take(2)
    now[0] += 6 * 3600 + 61  # 05:01 next day
    assert window.remaining == 14_501


def test_a_lost_answer_before_and_after_commit(org):
    for fault, saved in (("lost_before_commit", 0), ("lost_after_commit", 1)):
        org.faults([{"fault": fault, "match": "POST /sobjects/Account"}])
        with pytest.raises(requests.exceptions.ConnectionError):
            org.post("/sobjects/Account", json={"Name": fault})
        assert len(org.records("Account")) == saved
    assert org.post("/sobjects/Account", json={"Name": "B"}).status_code == 201
    assert [r["status"] for r in org.requests() if r["kind"] == "rows"] == [0, 0, 201]


def test_a_broken_server_and_an_expired_token(org):
    org.faults(
        [
            {"fault": "status", "status": 503, "body": "<html>Down for maintenance</html>", "times": 2},
            {"fault": "expired_token"},
        ]
    )
    for _ in range(2):
        answer = org.get("/limits")
        assert (answer.status_code, answer.headers["Content-Type"][:9]) == (503, "text/html")
    assert org.get("/limits").json()[0]["errorCode"] == "INVALID_SESSION_ID"
    assert org.get("/limits").status_code == 401
    org.sign_in()
    assert org.get("/limits").status_code == 200


def test_locked_rows_by_share(org):
    org.faults([{"fault": "locked_rows", "object": "Account", "share": 0.2, "times": 2}])
    rows = [{"attributes": {"type": "Account"}, "Account_Id__c": str(i), "Name": "A"} for i in range(10)]
    for left in (8, 8, 10):
        results = org.patch("/composite/sobjects/Account/Account_Id__c", json={"records": rows}).json()
        assert sum(r["success"] for r in results) == left
        codes = {r["errors"][0]["statusCode"] for r in results if not r["success"]}
        assert codes == ({"UNABLE_TO_LOCK_ROW"} if left == 8 else set())


BAD_FAULTS = [
    ("unknown fault", [{"fault": "meteor"}], "unknown fault 'meteor'"),
    ("unknown key", [{"fault": "status", "when": 1}], "status takes no key 'when'"),
    ("key of another fault", [{"fault": "locked_rows", "match": "x"}], "locked_rows takes no key 'match'"),
    ("no list", {"fault": "status"}, "a list"),
    ("share", [{"fault": "locked_rows", "share": 2}], "share is 2"),
    ("times", [{"fault": "status", "times": 0}], "times is 0"),
    ("status", [{"fault": "status", "status": 200}], "status is 200"),
]


@pytest.mark.parametrize(("rules", "text"), [c[1:] for c in BAD_FAULTS], ids=[c[0] for c in BAD_FAULTS])
def test_wrong_faults_are_refused(org, rules, text):
    from sfsync.errors import OrgError

    with pytest.raises(OrgError, match=text):
        org.faults(rules)


def test_simple_salesforce_works_against_it(org):
    from simple_salesforce import Salesforce
    from simple_salesforce.exceptions import SalesforceMalformedRequest

    mine = org.session.headers["Authorization"].partition(" ")[2]
    session = requests.Session()
    session.trust_env, session.verify = False, str(org.ca_file)
    client = Salesforce(instance_url=org.url, session_id=mine, session=session, version="59.0")
    made = client.Account.create({"Name": "From a client"})
    assert client.Account.get(made["id"])["Name"] == "From a client"
    assert client.Account.upsert("Account_Id__c/7", {"Name": "U"}) == 201
    assert client.Contact.describe()["name"] == "Contact"
    assert client.query("SELECT count() FROM Account")["totalSize"] == 2
    with pytest.raises(SalesforceMalformedRequest):
        client.Account.update(made["id"], {"Nope__c": 1})
