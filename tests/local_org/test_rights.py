"""A permission set assigned to the local org's user: what it does not open is not there, whichever API asks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sfsync.errors import OrgError
from sfsync.local_org import control

HEAD = '<?xml version="1.0" encoding="UTF-8"?><PermissionSet xmlns="http://soap.sforce.com/2006/04/metadata"><label>t</label>'
CRUD = ("Create", "Read", "Edit", "Delete")


def object_(name: str, rights: Iterable[str] = CRUD) -> str:
    flags = "".join(f"<allow{r}>{'true' if r in rights else 'false'}</allow{r}>" for r in CRUD)
    return f"<objectPermissions>{flags}<object>{name}</object></objectPermissions>"


def field(place: str, *, editable: bool = True, readable: bool = True) -> str:
    flags = f"<editable>{str(editable).lower()}</editable><readable>{str(readable).lower()}</readable>"
    return f"<fieldPermissions>{flags}<field>{place}</field></fieldPermissions>"


ADA = "ada.marsh@local.sfsync.example"


def assign(org: Any, *parts: str, raw: str | None = None, user: str | None = None) -> Any:
    text = raw if raw is not None else f"{HEAD}{''.join(parts)}</PermissionSet>"
    headers = {"Authorization": f"Bearer {org.client_secret}", "Content-Type": "text/xml"}
    url = f"{org.url}/_local/permission_set" + (f"?user={user}" if user else "")
    answer = org.session.request("PUT", url, data=text.encode(), headers=headers)
    if not answer.ok:
        raise OrgError(answer.json()["error"], status=answer.status_code)
    return answer.json()


FIELDS = (
    *(field(f"Account.{name}") for name in ("Account_Id__c", "Phone", "BillingAddress")),
    *(field(f"Contact.{name}") for name in ("Customer_Id__c", "AccountId", "Title")),
    field("Contact.Department", editable=False),
)


@pytest.fixture
def narrow(org: Any) -> Any:
    """Accounts and contacts; contacts are not deleted, their e-mail is hidden, their department is read only."""
    org.post("/sobjects/Contact", json={"LastName": "Ito", "Email": "a@b.example", "Department": "Ops"})
    assign(org, object_("Account"), object_("Contact", CRUD[:3]), *FIELDS)
    return org


def describe(org: Any, name: str) -> dict[str, Any]:
    return dict(org.get(f"/sobjects/{name}/describe").json())


def error(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()[0]["errorCode"]


def test_describe_shows_what_is_granted_and_no_more(narrow: Any) -> None:
    listed = {o["name"]: o for o in narrow.get("/sobjects").json()["sobjects"]}
    assert set(listed) == {"Account", "Contact", "User", "Group", "Organization", "RecordType"}
    body = describe(narrow, "Contact")
    assert (body["createable"], body["updateable"], body["deletable"]) == (True, True, False)
    fields = {f["name"]: f for f in body["fields"]}
    assert "Email" not in fields
    assert (fields["Department"]["createable"], fields["Department"]["updateable"]) == (False, False)
    assert (fields["Title"]["createable"], fields["Title"]["updateable"]) == (True, True)
    # what nobody can close: the name, what is required, the system's own
    assert {"Id", "LastName", "FirstName", "Name", "OwnerId", "CreatedDate"} <= set(fields)
    assert "Is_Champion__c" not in fields  # a checkbox is never null and yet it may be closed
    account = {f["name"] for f in describe(narrow, "Account")["fields"]}
    assert {"BillingCity", "BillingAddress"} <= account
    assert "ShippingCity" not in account
    assert error(narrow.get("/sobjects/Lead/describe")) == (404, "NOT_FOUND")


def test_writes_are_refused_with_the_platforms_codes(narrow: Any) -> None:
    record = narrow.records("Contact")[0]["Id"]
    assert error(narrow.delete(f"/sobjects/Contact/{record}")) == (400, "INSUFFICIENT_ACCESS_OR_READONLY")
    assert error(narrow.patch(f"/sobjects/Contact/{record}", json={"Email": "x@y.example"})) == (
        400,
        "INVALID_FIELD",
    )
    closed = narrow.patch(f"/sobjects/Contact/{record}", json={"Department": "Sales"})
    assert error(closed) == (400, "INVALID_FIELD_FOR_INSERT_UPDATE")
    assert error(narrow.post("/sobjects/Lead", json={"LastName": "L", "Company": "C"})) == (404, "NOT_FOUND")
    assert narrow.patch(f"/sobjects/Contact/{record}", json={"Title": "CTO"}).status_code == 204
    kept = narrow.records("Contact")[0]
    assert (kept["Email"], kept["Department"], kept["Title"]) == ("a@b.example", "Ops", "CTO")


def test_collections_too(narrow: Any) -> None:
    record = narrow.records("Contact")[0]["Id"]
    body = narrow.delete(f"/composite/sobjects?ids={record}").json()
    assert body[0]["errors"][0]["statusCode"] == "INSUFFICIENT_ACCESS_OR_READONLY"
    rows = [{"attributes": {"type": "Contact"}, "LastName": "B", "Email": "b@b.example"}]
    assert error(narrow.post("/composite/sobjects", json={"records": rows})) == (400, "INVALID_FIELD")


def test_a_query_finds_only_what_is_seen(narrow: Any) -> None:
    def ask(soql: str) -> Any:
        return narrow.get("/query", params={"q": soql})

    assert ask("SELECT Id, Title FROM Contact").json()["totalSize"] == 1
    assert error(ask("SELECT Email FROM Contact")) == (400, "INVALID_FIELD")
    assert error(ask("SELECT Id FROM Lead")) == (400, "INVALID_TYPE")
    assert ask("SELECT Id FROM User").json()["totalSize"] == 3


def test_a_bulk_job_too(narrow: Any) -> None:
    def job(csv: str, operation: str, **more: str) -> tuple[str, str]:
        made = narrow.post("/jobs/ingest", json={"object": "Contact", "operation": operation, **more}).json()
        path = f"/jobs/ingest/{made['id']}"
        narrow.put(f"{path}/batches", data=csv, headers={"Content-Type": "text/csv"})
        narrow.patch(path, json={"state": "UploadComplete"})
        until = time.monotonic() + 30
        while time.monotonic() < until:
            state = narrow.get(path).json()
            if state["state"] in ("JobComplete", "Failed"):
                return state["state"], state.get("errorMessage") or narrow.get(f"{path}/failedResults").text
            time.sleep(0.05)
        raise AssertionError("the job does not end")

    state, why = job("LastName,Email\nB,b@b.example\n", "insert")
    assert state == "Failed"
    assert "Field name not found : Email" in why
    record = narrow.records("Contact")[0]["Id"]
    state, why = job(f"Id\n{record}\n", "delete")
    assert "INSUFFICIENT_ACCESS_OR_READONLY" in why
    answer = narrow.post("/jobs/ingest", json={"object": "Lead", "operation": "insert"})
    assert answer.json()[0]["errorCode"] == "INVALIDENTITY"


def test_hidden_fields_have_their_defaults_all_the_same(narrow: Any) -> None:
    narrow.post("/sobjects/Contact", json={"LastName": "New"})
    made = next(r for r in narrow.records("Contact") if r["LastName"] == "New")
    assert made["Is_Champion__c"] == "false"


def test_the_set_can_be_taken_away(narrow: Any) -> None:
    assert "Lead" in assign(narrow, raw="")["objects"]
    assert "Email" in {f["name"] for f in describe(narrow, "Contact")["fields"]}


def test_a_reset_takes_it_away(narrow: Any) -> None:
    narrow.begin()
    assert describe(narrow, "Contact")["deletable"] is True


# ---------------------------------------------------------------- several users


def token_of(org: Any, username: str) -> Any:
    form = {
        "grant_type": "password",
        "client_id": org.client_id,
        "client_secret": org.client_secret,
        "username": username,
        "password": org.password + org.security_token,
    }
    return org.session.post(f"{org.url}/services/oauth2/token", data=form, headers={"Authorization": ""})


@pytest.fixture
def ada(org: Any) -> Iterator[Any]:
    """The org as Ada uses it, who may not delete contacts; the administrator may do everything."""
    org.post("/sobjects/Contact", json={"LastName": "Ito", "Email": "a@b.example"})
    assign(org, object_("Account"), object_("Contact", CRUD[:3]), *FIELDS, user=ADA)
    assert describe(org, "Contact")["deletable"] is True
    answer = token_of(org, ADA.upper())
    assert answer.status_code == 200
    org.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    yield org
    org.sign_in()


def test_each_user_has_rights_of_its_own(ada: Any) -> None:
    assert describe(ada, "Contact")["deletable"] is False
    assert "Email" not in {f["name"] for f in describe(ada, "Contact")["fields"]}
    record = ada.records("Contact")[0]["Id"]
    assert error(ada.delete(f"/sobjects/Contact/{record}")) == (400, "INSUFFICIENT_ACCESS_OR_READONLY")
    ada.sign_in()  # the administrator again
    assert describe(ada, "Contact")["deletable"] is True
    assert ada.delete(f"/sobjects/Contact/{record}").status_code == 204


def test_who_signs_in_is_who_writes(ada: Any) -> None:
    who = ada.request("GET", "/services/oauth2/userinfo").json()
    assert (who["preferred_username"], who["name"]) == (ADA, "Ada Marsh")
    made = ada.post("/sobjects/Contact", json={"LastName": "Mine"}).json()["id"]
    record = next(r for r in ada.records("Contact") if r["Id"] == made)
    assert record["CreatedById"] == record["OwnerId"] == who["user_id"]
    job = ada.post("/jobs/ingest", json={"object": "Contact", "operation": "insert"}).json()
    assert job["createdById"] == who["user_id"]
    path = f"/jobs/ingest/{job['id']}"
    ada.put(f"{path}/batches", data="LastName\nBulk\n", headers={"Content-Type": "text/csv"})
    ada.patch(path, json={"state": "UploadComplete"})
    until = time.monotonic() + 30
    while ada.get(path).json()["state"] != "JobComplete":
        assert time.monotonic() < until
        time.sleep(0.05)
    bulk = next(r for r in ada.records("Contact") if r["LastName"] == "Bulk")
    assert bulk["CreatedById"] == who["user_id"]
    identity = ada.request("GET", f"/id/{ada.org_id}/{who['user_id']}").json()
    assert identity["username"] == ADA


def test_who_may_not_sign_in(org: Any) -> None:
    refusal = token_of(org, "otto.vogel@local.sfsync.example").json()
    assert (refusal["error"], refusal["error_description"]) == ("invalid_grant", "inactive user")
    refusal = token_of(org, "ann@acme.com").json()
    assert (refusal["error"], refusal["error_description"]) == ("invalid_grant", "authentication failure")


REFUSED = [
    ("no XML", "hello", "the permission set is no XML"),
    ("a DOCTYPE", "<!DOCTYPE x><x/>", "a permission set of more than a megabyte, or with a DOCTYPE"),
    ("a profile", '<Profile xmlns="http://soap.sforce.com/2006/04/metadata"/>', "this is no PermissionSet but Profile"),
    ("an unknown object", object_("Widget__c"), "In field: object - no CustomObject named Widget__c found"),
    ("an unknown field", field("Contact.Widget__c"), "In field: field - no CustomField named Contact.Widget__c found"),
    ("a part of an address", field("Account.BillingCity"), "no CustomField named Account.BillingCity found"),
    ("a required field", field("Contact.LastName"), "You cannot deploy to a required field: Contact.LastName"),
    ("a name", field("Contact.FirstName"), "You cannot deploy to a required field: Contact.FirstName"),
    ("create alone", object_("Account", ["Create"]), "Permission Create Account depends on permission(s): Read Account"),
    ("delete without edit", object_("Account", ["Read", "Delete"]), "Delete Account depends on permission(s): Edit Account"),
    ("contacts without accounts", object_("Contact"), "Read Contact depends on permission(s): Read Account"),
    ("edit alone", field("Contact.Title", readable=False), "Edit Contact.Title depends on permission(s): Read Contact.Title"),
    ("users", object_("User"), "Object permissions are not supported for User"),
]  # fmt: skip


@pytest.mark.parametrize(("part", "message"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_what_the_platform_would_not_deploy(org: Any, part: str, message: str) -> None:
    raw = part if not part.startswith(("<objectP", "<fieldP")) else None
    with pytest.raises(OrgError) as found:
        assign(org, part, raw=raw)
    assert message in str(found.value)
    assert describe(org, "Contact")["deletable"] is True  # nothing changed


def test_the_set_outlives_the_process(tmp_path: Path) -> None:
    folder, file = tmp_path / "org", tmp_path / "set.xml"
    file.write_text(f"{HEAD}{object_('Account', ['Read'])}</PermissionSet>", "utf-8")
    control.start(folder)
    try:
        assert control.assign(folder, file) == ["Account", "Group", "Organization", "User", "RecordType"]
        assert control.show(folder)["permission_sets"] == {"admin@local.sfsync.example": "t"}
        control.stop(folder)
        control.start(folder)
        (kept,) = (folder / "permission_sets").glob("*.xml")
        assert kept.stat().st_mode & 0o777 == 0o600
        assert "Lead" in control.assign(folder, None)
        assert control.show(folder)["permission_sets"] == {}
        with pytest.raises(OrgError, match=r"none\.xml cannot be read"):
            control.assign(folder, tmp_path / "none.xml")
        with pytest.raises(OrgError, match=r"this org has no user 'ann@acme\.com'; users: admin@.*, ada"):
            control.assign(folder, file, "ann@acme.com")
    finally:
        control.stop(folder)
