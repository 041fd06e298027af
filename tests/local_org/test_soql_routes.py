"""The query resources of a running local org: pages, locators, errors, and what clients ask first."""

from __future__ import annotations

import pytest

QUERY = "/query"


def load(org, count):
    """So many contacts, by one Bulk job."""
    data = "Customer_Id__c,LastName\n" + "".join(f"C-{i:05},Name {i % 7}\n" for i in range(count))
    asked = {"object": "Contact", "operation": "upsert", "externalIdFieldName": "Customer_Id__c"}
    job = org.post("/jobs/ingest", json=asked).json()["id"]
    assert (
        org.put(f"/jobs/ingest/{job}/batches", data=data, headers={"Content-Type": "text/csv"}).status_code
        == 201
    )
    org.patch(f"/jobs/ingest/{job}", json={"state": "UploadComplete"})
    while org.get(f"/jobs/ingest/{job}").json()["state"] in ("UploadComplete", "InProgress"):
        pass


def ask(org, text, path=QUERY, **headers):
    return org.get(path, params={"q": text}, headers=headers)


def test_pages_of_two_thousand(org):
    load(org, 4_500)
    first = ask(org, "SELECT Customer_Id__c FROM Contact ORDER BY Customer_Id__c DESC").json()
    assert (first["totalSize"], first["done"], len(first["records"])) == (4_500, False, 2_000)
    locator = first["nextRecordsUrl"].rpartition("/")[2]
    assert first["nextRecordsUrl"].startswith("/services/data/v67.0/query/01g")
    assert (len(locator.partition("-")[0]), locator.partition("-")[2]) == (18, "2000")
    org.post("/sobjects/Contact", json={"LastName": "later"})
    second = org.get(first["nextRecordsUrl"]).json()
    third = org.get(second["nextRecordsUrl"]).json()
    assert (third["totalSize"], third["done"], len(third["records"])) == (4_500, True, 500)
    assert "nextRecordsUrl" not in third
    keys = [r["Customer_Id__c"] for page in (first, second, third) for r in page["records"]]
    assert keys == [f"C-{i:05}" for i in reversed(range(4_500))]
    again = org.get(first["nextRecordsUrl"]).json()
    assert again == second


def test_batch_size_is_between_200_and_2000(org):
    load(org, 450)
    sizes = []
    for asked in ("200", "5", "300", "9000"):
        answer = ask(org, "SELECT Id FROM Contact", **{"Sforce-Query-Options": f"batchSize={asked}"}).json()
        sizes.append(len(answer["records"]))
    assert sizes == [200, 200, 300, 450]


@pytest.mark.parametrize("locator", ["01g000000000000AAA-2000", "nonsense", "01g000000000000AAA"])
def test_unknown_locator(org, locator):
    answer = org.get(f"/query/{locator}")
    assert answer.status_code == 400
    assert answer.json() == [{"message": "invalid query locator", "errorCode": "INVALID_QUERY_LOCATOR"}]


def test_a_reset_ends_cursors(org):
    load(org, 300)
    first = ask(org, "SELECT Id FROM Contact", **{"Sforce-Query-Options": "batchSize=200"}).json()
    org.local("POST", "/_local/reset")
    assert org.get(first["nextRecordsUrl"]).status_code == 400


def test_query_all_sees_the_recycle_bin(org):
    made = org.post("/sobjects/Contact", json={"LastName": "Gone"}).json()["id"]
    org.delete(f"/sobjects/Contact/{made}")
    text = "SELECT Id, IsDeleted FROM Contact"
    assert ask(org, text).json() == {"totalSize": 0, "done": True, "records": []}
    found = ask(org, text, "/queryAll/").json()["records"]
    assert [(r["Id"], r["IsDeleted"]) for r in found] == [(made, True)]


def test_count(org):
    load(org, 7)
    assert ask(org, "SELECT count() FROM Contact").json() == {"totalSize": 7, "done": True, "records": []}


def test_what_clients_ask_first(org):
    text = (
        "SELECT Id, Name, InstanceName, IsSandbox, TrialExpirationDate, NamespacePrefix, OrganizationType"
        " FROM Organization"
    )
    answer = ask(org, text, "/query/").json()["records"]
    assert len(answer) == 1
    assert (answer[0]["Id"], answer[0]["IsSandbox"], answer[0]["NamespacePrefix"]) == (
        org.org_id,
        False,
        None,
    )
    user = ask(
        org, f"SELECT Id FROM User WHERE Username = '{org.username.upper()}' AND IsActive = true"
    ).json()
    assert user["totalSize"] == 1


def test_values_written_by_rest_come_back_typed(org):
    body = {
        "LastName": "Ito",
        "Lifetime_Value__c": 12,
        "Is_Champion__c": True,
        "Last_Login__c": "2026-01-31T11:00:00+01:00",
        "Preferred_Time__c": "07:30:00.000Z",
        "Interests__c": "Mobile;Billing",
        "Birthdate": "1990-02-28",
    }
    assert org.post("/sobjects/Contact", json=body).status_code == 201
    where = (
        "Last_Login__c = 2026-01-31T10:00:00Z AND Birthdate < 1990-03-01 AND Lifetime_Value__c >= 11.99"
        " AND Preferred_Time__c = 07:30:00Z AND Interests__c INCLUDES ('Billing;Mobile') AND CreatedDate = TODAY"
    )
    row = ask(org, f"SELECT {', '.join(body)}, Owner.Name FROM Contact WHERE {where}").json()["records"][0]
    assert {k: row[k] for k in body} == {
        **body,
        "Lifetime_Value__c": 12.0,
        "Last_Login__c": "2026-01-31T10:00:00.000+0000",
        "Interests__c": "Billing;Mobile",
    }
    assert row["Owner"]["attributes"]["type"] == "User"


def test_errors_are_the_array_of_the_platform(org):
    answer = ask(org, "SELECT Id, Foo FROM Account")
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/json;charset=UTF-8"
    error = answer.json()[0]
    assert set(error) == {"message", "errorCode"}
    assert error["errorCode"] == "INVALID_FIELD"
    assert "No such column 'Foo' on entity 'Account'" in error["message"]
    assert org.get(QUERY).json()[0]["errorCode"] == "MALFORMED_QUERY"
    assert "api-usage=" in answer.headers["Sforce-Limit-Info"]


def test_a_list_of_six_hundred_ids_goes_in_one_request(org):
    load(org, 650)
    ids = [r["Id"] for r in ask(org, "SELECT Id FROM Contact").json()["records"]]
    text = "SELECT Id FROM Contact WHERE Id IN ({})".format(",".join(f"'{i}'" for i in ids[:600]))
    plain = org.request("GET", "/services/data/v67.0/query?q=" + text.replace(" ", "+"))
    assert plain.json()["totalSize"] == 600


def test_a_request_line_that_is_too_long(org):
    before = org.state()["api_calls"]["used"]
    text = "SELECT Id FROM Contact WHERE LastName IN ('" + "','".join("x" * 90 for _ in range(180)) + "')"
    long = ask(org, text)
    assert (long.status_code, "URI Too Long" in long.text) == (414, True)
    wide = org.get("/limits", headers={"X-Filler": "x" * 16_384})
    assert (wide.status_code, "Header Fields Too Large" in wide.text) == (431, True)
    assert org.state()["api_calls"]["used"] == before


def test_composite_takes_five_queries_a_call(org):
    load(org, 3)
    base = "/services/data/v67.0"

    def part(number, text):
        return {
            "method": "GET",
            "referenceId": f"q{number}",
            "url": f"{base}/query?q={text.replace(' ', '+')}",
        }

    asked = [part(i, f"SELECT Id FROM Contact WHERE Customer_Id__c = 'C-0000{i}'") for i in range(5)]
    answer = org.post("/composite", json={"compositeRequest": asked}).json()["compositeResponse"]
    assert [a["body"]["totalSize"] for a in answer] == [1, 1, 1, 0, 0]
    asked[4] = part(4, "SELECT Nope FROM Contact")
    answer = org.post("/composite", json={"compositeRequest": asked}).json()["compositeResponse"]
    assert (answer[4]["httpStatusCode"], answer[4]["body"][0]["errorCode"]) == (400, "INVALID_FIELD")
    refused = org.post("/composite", json={"compositeRequest": [*asked, part(5, "SELECT Id FROM Contact")]})
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "LIMIT_EXCEEDED")


def test_owners_by_name_and_type(org):
    queue = ask(org, "SELECT Id FROM Group WHERE DeveloperName = 'Support_Queue'").json()["records"][0]["Id"]
    org.post("/sobjects/Case", json={"Subject": "a", "OwnerId": queue})
    org.post("/sobjects/Case", json={"Subject": "b"})
    found = ask(org, "SELECT Subject, Owner.Name, Owner.Type FROM Case ORDER BY Subject").json()["records"]
    assert [(r["Owner"]["Name"], r["Owner"]["Type"]) for r in found] == [
        ("Support Queue", "Group"),
        ("Local Admin", "User"),
    ]
    assert ask(org, "SELECT Id FROM Case WHERE Owner.Type = 'Group'").json()["totalSize"] == 1


def test_a_semi_join_of_query_all_looks_into_the_bin(org):
    account = org.post("/sobjects/Account", json={"Name": "Acme"}).json()["id"]
    contact = org.post("/sobjects/Contact", json={"LastName": "Ito", "AccountId": account}).json()["id"]
    org.delete(f"/sobjects/Contact/{contact}")
    text = "SELECT count() FROM Account WHERE Id IN (SELECT AccountId FROM Contact)"
    assert (ask(org, text).json()["totalSize"], ask(org, text, "/queryAll").json()["totalSize"]) == (0, 1)


def test_an_address_is_made_of_its_parts(org):
    parts = {"BillingStreet": 'Main "1"', "BillingPostalCode": "10115", "BillingLatitude": 52.5}
    made = org.post("/sobjects/Account", json={"Name": "a", **parts}).json()["id"]
    org.post("/sobjects/Account", json={"Name": "b"})
    org.post("/sobjects/Contact", json={"LastName": "Ito", "AccountId": made})
    whole = {
        "city": None,
        "country": None,
        "geocodeAccuracy": None,
        "latitude": 52.5,
        "longitude": None,
        "postalCode": "10115",
        "state": None,
        "street": 'Main "1"',
    }
    found = ask(org, "SELECT BillingAddress, ShippingAddress FROM Account ORDER BY Name").json()["records"]
    assert [(r["BillingAddress"], r["ShippingAddress"]) for r in found] == [(whole, None), (None, None)]
    parent = ask(org, "SELECT Account.BillingAddress FROM Contact").json()["records"][0]
    assert parent["Account"]["BillingAddress"] == whole
    assert org.get(f"/sobjects/Account/{made}").json()["BillingAddress"] == whole
    refused = org.post("/sobjects/Account", json={"Name": "c", "BillingAddress": {"city": "Ulm"}})
    assert refused.status_code == 400
    where = ask(org, "SELECT Id FROM Account WHERE BillingAddress = 'x'")
    assert where.json()[0]["errorCode"] == "INVALID_FIELD"
