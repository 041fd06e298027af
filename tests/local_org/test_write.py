"""What the local org does to values, keys and parents: every case through real HTTP, one Collections call each."""

from __future__ import annotations

import re
from typing import Any

import pytest

TEXT_40, TEXT_41 = "x" * 40, "x" * 41


def upsert(org: Any, sobject: str, key: str, *records: dict[str, Any], **body: Any) -> list[dict[str, Any]]:
    rows = [{"attributes": {"type": sobject}, **r} for r in records]
    answer = org.patch(f"/composite/sobjects/{sobject}/{key}", json={"records": rows, **body})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def account(org: Any, *records: dict[str, Any], **body: Any) -> list[dict[str, Any]]:
    return upsert(org, "Account", "Account_Id__c", *records, **body)


def error(result: dict[str, Any]) -> tuple[str, str, list[str]]:
    assert result["success"] is False
    assert "id" not in result
    first = result["errors"][0]
    return first["statusCode"], first["message"], first["fields"]


KEPT = [  # id, object, field, sent, stored (None: null)
    ("text is trimmed", "Account", "Site", "  a b \t", "a b"),
    ("blank text is null", "Account", "Site", "   ", None),
    ("empty text is null", "Account", "Site", "", None),
    ("null is null", "Account", "Site", None, None),
    ("text at its limit", "Account", "AccountNumber", TEXT_40, TEXT_40),
    ("length counts characters", "Account", "AccountNumber", "ä" * 40, "ä" * 40),
    ("line breaks stay", "Account", "Description", "a\nb", "a\nb"),
    ("number in a text field", "Account", "Site", 7, "7"),
    ("number", "Account", "Health_Score__c", 12.5, "12.5"),
    ("number rounded away from zero", "Account", "Health_Score__c", 1.005, "1.01"),
    ("negative rounded away from zero", "Account", "Health_Score__c", -1.005, "-1.01"),
    ("number without a fraction", "Account", "Health_Score__c", 3, "3"),
    ("number at its limit", "Account", "Health_Score__c", 999.99, "999.99"),
    ("number as text", "Account", "Health_Score__c", "1E2", "100"),
    ("scale 0 rounds", "Account", "NPS__c", 2.5, "3"),
    ("wide number keeps its digits", "Account", "AnnualRevenue", 123456789012345678, "123456789012345678"),
    ("integer", "Account", "NumberOfEmployees", 2147483647, "2147483647"),
    ("restricted picklist", "Account", "Tier__c", "Growth", "Growth"),
    ("open picklist takes new text", "Account", "Industry", "Beekeeping", "Beekeeping"),
    ("date", "Account", "Customer_Since__c", "2024-02-29", "2024-02-29"),
    ("datetime in UTC", "Account", "Last_Seen__c", "2026-01-31T10:00:00.000Z", "2026-01-31T10:00:00.000Z"),
    (
        "datetime without milliseconds",
        "Account",
        "Last_Seen__c",
        "2026-01-31T10:00:00Z",
        "2026-01-31T10:00:00.000Z",
    ),
    (
        "datetime with offset",
        "Account",
        "Last_Seen__c",
        "2026-01-01T00:30:00+01:00",
        "2025-12-31T23:30:00.000Z",
    ),
    (
        "datetime, negative offset",
        "Account",
        "Last_Seen__c",
        "2026-01-01T00:30:00.5-0530",
        "2026-01-01T06:00:00.500Z",
    ),
    ("multipicklist in order, once", "Contact", "Interests__c", "Mobile; Billing;Mobile", "Billing;Mobile"),
    ("multipicklist of one", "Contact", "Interests__c", "Mobile", "Mobile"),
    ("time", "Contact", "Preferred_Time__c", "10:15", "10:15:00.000Z"),
    ("time with milliseconds", "Contact", "Preferred_Time__c", "23:59:59.5Z", "23:59:59.500Z"),
    ("boolean", "Contact", "Is_Champion__c", True, "true"),
    ("e-mail as given", "Contact", "Email", " A.B+c@Ex-ample.CO.UK ", "A.B+c@Ex-ample.CO.UK"),
]


def sample(sobject: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    key, name = ("Account_Id__c", "Name") if sobject == "Account" else ("Customer_Id__c", "LastName")
    return key, {key: "K-1", name: "Sample", **fields}


@pytest.mark.parametrize(
    ("sobject", "field", "sent", "stored"), [c[1:] for c in KEPT], ids=[c[0] for c in KEPT]
)
def test_a_value_is_kept_in_canonical_form(org, sobject, field, sent, stored):
    key, record = sample(sobject, **{field: sent})
    (result,) = upsert(org, sobject, key, record)
    assert result == {"id": result["id"], "success": True, "errors": [], "created": True}
    (kept,) = org.records(sobject)
    assert kept.get(field) == stored


REFUSED = [  # id, object, field, sent, code, message
    ("text too long", "Account", "AccountNumber", TEXT_41, "STRING_TOO_LONG",
     f"Account Number: data value too large: {TEXT_41} (max length=40)"),
    ("not in restricted picklist", "Account", "Tier__c", "Gold", "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
     "Tier: bad value for restricted picklist field: Gold"),
    ("picklist values mind case", "Account", "Tier__c", "growth", "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
     "Tier: bad value for restricted picklist field: growth"),
    ("one value of several not allowed", "Contact", "Interests__c", "Mobile;Golf",
     "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "Interests: bad value for restricted picklist field: Mobile;Golf"),
    ("too many digits", "Account", "Health_Score__c", 1000, "NUMBER_OUTSIDE_VALID_RANGE",
     "Health Score: value outside of valid range on numeric field: 1000"),
    ("too many digits after rounding", "Account", "Health_Score__c", 999.995, "NUMBER_OUTSIDE_VALID_RANGE",
     "Health Score: value outside of valid range on numeric field: 999.995"),
    ("far too big", "Account", "Health_Score__c", "1E40", "NUMBER_OUTSIDE_VALID_RANGE",
     "Health Score: value outside of valid range on numeric field: 1E40"),
    ("integer too big", "Account", "NumberOfEmployees", 2147483648, "NUMBER_OUTSIDE_VALID_RANGE",
     "Employees: value outside of valid range on numeric field: 2147483648"),
    ("no e-mail", "Contact", "Email", "a@b", "INVALID_EMAIL_ADDRESS", "Email: invalid email address: a@b"),
    ("two e-mails", "Contact", "Email", "a@b.co,c@d.co", "INVALID_EMAIL_ADDRESS",
     "Email: invalid email address: a@b.co,c@d.co"),
    ("boolean null", "Contact", "Is_Champion__c", None, "INVALID_TYPE_ON_FIELD_IN_RECORD",
     "Is Champion: value not of required type: "),
    ("no id", "Contact", "AccountId", "nope", "MALFORMED_ID", "Account ID: id value of incorrect type: nope"),
    ("bad checksum", "Contact", "AccountId", "001000000000001AAB", "MALFORMED_ID",
     "Account ID: id value of incorrect type: 001000000000001AAB"),
    ("id of another object", "Contact", "AccountId", "003000000000001AAA", "MALFORMED_ID",
     "Account ID: id value of incorrect type: 003000000000001AAA"),
    ("id of nobody", "Contact", "AccountId", "001000000000001AAA", "INVALID_CROSS_REFERENCE_KEY",
     "invalid cross reference id"),
    ("read-only field", "Account", "CreatedDate", "2026-01-01T00:00:00Z", "INVALID_FIELD_FOR_INSERT_UPDATE",
     "Unable to create/update fields: CreatedDate. Please check the security settings of this field and verify that it "
     "is read/write for your profile or permission set."),
]  # fmt: skip


@pytest.mark.parametrize(
    ("sobject", "field", "sent", "code", "message"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED]
)
def test_a_wrong_value_is_refused_with_its_code_and_the_next_row_is_saved(
    org, sobject, field, sent, code, message
):
    key, record = sample(sobject, **{field: sent})
    good = {**sample(sobject)[1], key: "K-2"}
    wrong, right = upsert(org, sobject, key, record, good)
    assert error(wrong) == (code, message, [field])
    assert right["success"] is True
    assert set(org.by(sobject, key)) == {"K-2"}


UNPARSED = [  # id, field, sent
    ("date that is none", "Customer_Since__c", "2026-02-30"),
    ("date with a time", "Customer_Since__c", "2026-02-03T00:00:00Z"),
    ("empty date", "Customer_Since__c", ""),
    ("datetime without zone", "Last_Seen__c", "2026-01-31T10:00:00"),
    ("datetime that is none", "Last_Seen__c", "2026-01-31T25:00:00Z"),
    ("number that is none", "Health_Score__c", "12,5"),
    ("integer with a fraction", "NumberOfEmployees", 1.5),
    ("boolean for a number", "Health_Score__c", True),
    ("list", "Site", ["a"]),
]


@pytest.mark.parametrize(("field", "sent"), [c[1:] for c in UNPARSED], ids=[c[0] for c in UNPARSED])
def test_json_of_the_wrong_type_refuses_the_whole_call(org, field, sent):
    rows = [
        {"attributes": {"type": "Account"}, "Account_Id__c": "K-1", "Name": "fine"},
        {"attributes": {"type": "Account"}, "Account_Id__c": "K-2", "Name": "wrong", field: sent},
    ]
    answer = org.patch("/composite/sobjects/Account/Account_Id__c", json={"records": rows})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "JSON_PARSER_ERROR")
    assert org.records("Account") == []


def test_an_update_changes_only_what_was_sent(org):
    first = account(org, {"Account_Id__c": "K", "Name": "A", "Site": "here", "Tier__c": "Free"})[0]
    again = account(org, {"Account_Id__c": "k", "Site": None})[0]
    assert again == {"id": first["id"], "success": True, "errors": [], "created": False}
    (kept,) = org.records("Account")
    assert (kept["Name"], kept["Tier__c"], kept.get("Site"), kept["Account_Id__c"]) == (
        "A",
        "Free",
        None,
        "k",
    )


def test_required_fields_on_create_and_on_clearing(org):
    made, lacking, blank = account(
        org,
        {"Account_Id__c": "1", "Name": "A"},
        {"Account_Id__c": "2", "Site": "x"},
        {"Account_Id__c": "3", "Name": " "},
    )
    for result in (lacking, blank):
        assert error(result) == ("REQUIRED_FIELD_MISSING", "Required fields are missing: [Name]", ["Name"])
    assert error(account(org, {"Account_Id__c": "1", "Name": None})[0])[0] == "REQUIRED_FIELD_MISSING"
    several = org.post(
        "/composite/sobjects", json={"records": [{"attributes": {"type": "Opportunity"}, "Amount": 1}]}
    )
    assert error(several.json()[0])[2] == ["CloseDate", "Name", "StageName"]
    assert org.by("Account", "Id")[made["id"]]["Name"] == "A"


def test_keys_match_without_case_and_stand_once_in_a_call(org):
    account(org, {"Account_Id__c": "Ab-1", "Name": "A"})
    results = account(
        org,
        {"Account_Id__c": "aB-1", "Name": "B"},
        {"Account_Id__c": "x", "Name": "C"},
        {"Account_Id__c": "X", "Name": "D"},
        {"Account_Id__c": None, "Name": "E"},
    )
    assert results[0]["created"] is False
    assert error(results[1]) == ("DUPLICATE_VALUE", "Duplicate external id specified: x", ["Account_Id__c"])
    assert error(results[2]) == ("DUPLICATE_VALUE", "Duplicate external id specified: X", ["Account_Id__c"])
    assert error(results[3]) == ("MISSING_ARGUMENT", "Account_Id__c not specified", ["Account_Id__c"])
    assert [r["Name"] for r in org.records("Account")] == ["B"]


def test_a_key_that_is_not_unique_and_meets_two_records(org):
    for key in ("1", "2"):
        upsert(org, "Contact", "Customer_Id__c", {"Customer_Id__c": key, "LastName": "L", "Email": "a@b.co"})
    (result,) = upsert(org, "Contact", "Email", {"Email": "A@b.co", "LastName": "M"})
    code, message, fields = error(result)
    both = ", ".join(r["Id"][:15] for r in org.records("Contact"))
    assert (code, fields) == ("DUPLICATE_EXTERNAL_ID", ["Email"])
    assert sorted(message.partition("[")[2].rstrip("]").split(", ")) == sorted(both.split(", "))


def test_unique_values_are_kept_unique(org):
    first = account(org, {"Account_Id__c": "U", "Name": "A"})[0]
    rows = [{"attributes": {"type": "Account"}, "Account_Id__c": k, "Name": "B"} for k in ("u", "v", "V")]
    taken, made, again = org.post("/composite/sobjects", json={"records": rows}).json()
    text = "duplicate value found: Account_Id__c duplicates value on record with id: "
    assert error(taken) == ("DUPLICATE_VALUE", text + first["id"][:15], [])
    assert made["success"] is True
    assert error(again)[0] == "DUPLICATE_VALUE"
    other = {"attributes": {"type": "Account"}, "id": made["id"], "Account_Id__c": "U"}
    same = {"attributes": {"type": "Account"}, "id": first["id"], "Account_Id__c": "U", "Name": "same"}
    results = org.patch("/composite/sobjects", json={"records": [other, same]}).json()
    assert [r["success"] for r in results] == [False, True]


def test_parents_by_external_id(org):
    parent = account(org, {"Account_Id__c": "P-1", "Name": "P"})[0]["id"]
    results = upsert(
        org,
        "Contact",
        "Customer_Id__c",
        {"Customer_Id__c": "1", "LastName": "L", "Account": {"Account_Id__c": "p-1"}},
        {"Customer_Id__c": "2", "LastName": "L", "Account": {"Account_Id__c": "P-9"}},
        {"Customer_Id__c": "3", "LastName": "L", "AccountId": parent},
        {"Customer_Id__c": "4", "LastName": "L", "AccountId": parent[:15]},
        {"Customer_Id__c": "5", "LastName": "L", "AccountId": parent, "Account": {"Account_Id__c": "P-1"}},
    )
    assert error(results[1])[:2] == (
        "INVALID_FIELD",
        "Foreign key external ID: p-9 not found for field Account_Id__c in entity Account",
    )
    assert error(results[4])[0] == "INVALID_FIELD"
    assert {k: r["AccountId"] for k, r in org.by("Contact", "Customer_Id__c").items()} == dict.fromkeys(
        "134", parent
    )
    upsert(
        org,
        "Contact",
        "Customer_Id__c",
        {"Customer_Id__c": "1", "AccountId": None},
        {"Customer_Id__c": "3", "Account": None},
        {"Customer_Id__c": "4", "Account": {"Account_Id__c": "P-1"}},
    )
    assert {k: r.get("AccountId") for k, r in org.by("Contact", "Customer_Id__c").items()} == {
        "1": None,
        "3": None,
        "4": parent,
    }


def test_polymorphic_owner_needs_its_type(org):
    user = next(r for r in org.records("User") if r["Alias"] == "amarsh")
    owner = {"attributes": {"type": "User"}, "Username": user["Username"]}
    (made,) = upsert(org, "Case", "Case_Id__c", {"Case_Id__c": "1", "Subject": "S", "Owner": owner})
    assert made["success"] is True
    (kept,) = org.records("Case")
    assert (kept["OwnerId"], kept["Status"]) == (user["Id"], "New")
    assert re.fullmatch(r"\d{8}", kept["CaseNumber"]), "numbers go on; they are never given twice"
    bare = {"attributes": {"type": "Case"}, "Case_Id__c": "2", "Owner": {"Username": user["Username"]}}
    answer = org.patch("/composite/sobjects/Case/Case_Id__c", json={"records": [bare]})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "INVALID_FIELD")


def test_a_new_record_has_its_defaults_and_system_fields(org):
    (made,) = upsert(org, "Subscription__c", "Subscription_Id__c", {"Subscription_Id__c": "S-1"})
    (kept,) = org.records("Subscription__c")
    admin = next(r["Id"] for r in org.records("User") if r["Alias"] == "admin")
    assert kept["Name"] == kept["Id"] == made["id"]
    assert (kept["Auto_Renew__c"], kept["IsDeleted"]) == ("false", "false")
    assert kept["OwnerId"] == kept["CreatedById"] == kept["LastModifiedById"] == admin
    assert kept["CreatedDate"] == kept["LastModifiedDate"] == kept["SystemModstamp"]


def test_derived_fields_follow_their_sources(org):
    (made,) = upsert(
        org, "Contact", "Customer_Id__c", {"Customer_Id__c": "1", "FirstName": "A", "LastName": "B"}
    )
    upsert(org, "Contact", "Customer_Id__c", {"Customer_Id__c": "1", "LastName": "C"})
    assert org.by("Contact", "Id")[made["id"]]["Name"] == "A C"
    deal = {"Opportunity_Id__c": "1", "Name": "D", "StageName": "Prospecting", "CloseDate": "2026-01-01"}
    upsert(org, "Opportunity", "Opportunity_Id__c", deal)
    assert [(r["Probability"], r["IsClosed"], r["IsWon"]) for r in org.records("Opportunity")] == [
        ("10", "false", "false")
    ]
    upsert(org, "Opportunity", "Opportunity_Id__c", {"Opportunity_Id__c": "1", "StageName": "Closed Won"})
    assert [(r["Probability"], r["IsClosed"], r["IsWon"]) for r in org.records("Opportunity")] == [
        ("100", "true", "true")
    ]


def test_all_or_none_saves_nothing_when_one_row_fails(org):
    good, bad = account(org, {"Account_Id__c": "1", "Name": "A"}, {"Account_Id__c": "2"}, allOrNone=True)
    assert error(good) == (
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "Record rolled back because not all records were valid and the request was using AllOrNone header",
        [],
    )
    assert error(bad)[0] == "REQUIRED_FIELD_MISSING"
    assert (org.records("Account"), org.writes()) == ([], [])
    mixed = [
        {"attributes": {"type": "Account"}, "Name": "A"},
        {"attributes": {"type": "Contact"}, "FirstName": "no last name"},
        {"attributes": {"type": "Account"}, "Name": "B"},
    ]
    results = org.post("/composite/sobjects", json={"allOrNone": True, "records": mixed}).json()
    assert [r["errors"][0]["statusCode"] for r in results] == [
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "REQUIRED_FIELD_MISSING",
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
    ]
    assert (org.records("Account"), org.writes()) == ([], [])


def test_update_by_id(org):
    made = account(org, {"Account_Id__c": "1", "Name": "A"}, {"Account_Id__c": "2", "Name": "B"})
    gone, other = made[1]["id"], made[0]["id"]
    assert org.delete(f"/sobjects/Account/{gone}").status_code == 204
    rows = [
        {"id": other[:15], "Name": "A2"},
        {"id": gone, "Name": "x"},
        {"id": "001000000000001AAA", "Name": "x"},
        {"id": "zzz", "Name": "x"},
        {"Name": "x"},
    ]
    body = {"records": [{"attributes": {"type": "Account"}, **r} for r in rows]}
    results = org.patch("/composite/sobjects", json=body).json()
    assert results[0] == {"id": other, "success": True, "errors": []}
    assert [error(r)[0] for r in results[1:]] == [
        "ENTITY_IS_DELETED",
        "INVALID_CROSS_REFERENCE_KEY",
        "MALFORMED_ID",
        "MISSING_ARGUMENT",
    ]
    twice = {"records": [{"attributes": {"type": "Account"}, "id": other, "Name": n} for n in "ab"]}
    assert [error(r)[0] for r in org.patch("/composite/sobjects", json=twice).json()] == [
        "DUPLICATE_VALUE"
    ] * 2
    assert org.by("Account", "Id")[other]["Name"] == "A2"


def test_a_deleted_record_frees_its_key(org):
    first = account(org, {"Account_Id__c": "1", "Name": "A"})[0]["id"]
    org.delete(f"/sobjects/Account/{first}")
    second = account(org, {"Account_Id__c": "1", "Name": "B"})[0]
    assert second["created"] is True
    assert second["id"] != first
    assert len(org.records("Account", deleted=True)) == 2


def test_delete_cascades_clears_and_is_blocked(org):
    made = account(org, *({"Account_Id__c": k, "Name": k} for k in ("cascade", "clear", "block")))
    cascade, clear, block = (r["id"] for r in made)
    upsert(org, "Contact", "Customer_Id__c", {"Customer_Id__c": "1", "LastName": "L", "AccountId": cascade})
    contact = org.records("Contact")[0]["Id"]
    upsert(org, "Case", "Case_Id__c", {"Case_Id__c": "by contact", "ContactId": contact})
    upsert(org, "Subscription__c", "Subscription_Id__c", {"Subscription_Id__c": "1", "Account__c": clear})
    upsert(org, "Case", "Case_Id__c", {"Case_Id__c": "1", "AccountId": block})
    results = org.delete(
        f"/composite/sobjects?ids={cascade},{clear},{block},{cascade[:3]}000000000009"
    ).json()
    assert [r["success"] for r in results] == [True, True, False, False]
    assert error(results[2])[0] == "DELETE_FAILED"
    assert error(results[3])[0] == "INVALID_CROSS_REFERENCE_KEY"
    assert [r["Name"] for r in org.records("Account")] == ["block"]
    assert org.records("Contact") == []
    assert "ContactId" not in org.by("Case", "Case_Id__c")["by contact"]
    assert "Account__c" not in org.records("Subscription__c")[0]
    again = org.delete(f"/composite/sobjects?ids={cascade}").json()
    assert error(again[0]) == ("ENTITY_IS_DELETED", "entity is deleted", [])


def test_the_journal_has_exactly_what_was_sent_and_saved(org):
    account(org, {"Account_Id__c": "1", "Name": " A ", "Site": None}, {"Account_Id__c": "2"})
    (write,) = org.writes()
    assert write["fields"] == {"Account_Id__c": "1", "Name": " A ", "Site": None}
    assert (write["object"], write["operation"]) == ("Account", "created")
    assert write["id"] == org.records("Account")[0]["Id"]
    asked = [r for r in org.requests() if r["kind"] != "token"]
    assert [(r["method"], r["kind"], r["status"], r["counted"]) for r in asked] == [
        ("PATCH", "collections", 200, True)
    ]
    assert asked[0]["request"] == write["request"]


def test_rights_of_objects(org):
    rows = [
        {"attributes": {"type": "User"}, "LastName": "L", "Username": "u", "Email": "a@b.co", "Alias": "a"}
    ]
    (result,) = org.post("/composite/sobjects", json={"records": rows}).json()
    assert error(result)[:2] == (
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        "entity type cannot be inserted: User",
    )
