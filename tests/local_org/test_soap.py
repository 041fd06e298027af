"""The recycle bin by SOAP: the envelope, what comes back with a record, and every way to be refused."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest

PARTNER = "{urn:partner.soap.sforce.com}"
FAULT = "{urn:fault.partner.soap.sforce.com}"


def soap(org: Any, call: str, ids: list[str], *, session: str | None = None, path: str = "67.0") -> Any:
    """Send one call; the parsed envelope, its HTTP status as `.status`."""
    token = session or org.session.headers["Authorization"].removeprefix("Bearer ")
    listed = "".join(f"<urn:ids>{one}</urn:ids>" for one in ids)
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" xmlns:urn="urn:partner.soap.sforce.com">'
        f"<e:Header><urn:SessionHeader><urn:sessionId>{token}</urn:sessionId></urn:SessionHeader></e:Header>"
        f"<e:Body><urn:{call}>{listed}</urn:{call}></e:Body></e:Envelope>"
    )
    return send(org, body, path)


def send(org: Any, body: str, path: str = "67.0") -> tuple[int, ET.Element]:
    headers = {"Content-Type": "text/xml; charset=UTF-8", "SOAPAction": '""', "Authorization": ""}
    answer = org.session.post(f"{org.url}/services/Soap/u/{path}", data=body.encode(), headers=headers)
    assert answer.headers["Content-Type"].startswith("text/xml")
    assert "Sforce-Limit-Info" not in answer.headers
    return answer.status_code, ET.fromstring(answer.content)


def results(answer: tuple[int, ET.Element]) -> list[tuple[str | None, str | None, str | None]]:
    """(id, success, status code) of each result."""
    status, root = answer
    assert status == 200
    return [
        (
            one.findtext(f"{PARTNER}id") or None,
            one.findtext(f"{PARTNER}success"),
            one.findtext(f".//{PARTNER}statusCode"),
        )
        for one in root.iter(f"{PARTNER}result")
    ]


def fault(answer: tuple[int, ET.Element]) -> str | None:
    status, root = answer
    assert status == 500
    return root.findtext(f".//{FAULT}exceptionCode") or root.findtext(".//faultcode")


def create(org: Any, sobject: str, **fields: Any) -> str:
    return str(org.post(f"/sobjects/{sobject}", json=fields).json()["id"])


def delete(org: Any, sobject: str, record: str) -> None:
    assert org.delete(f"/sobjects/{sobject}/{record}").status_code == 204


def test_a_record_comes_back_with_its_id_and_all_it_had(org):
    record = create(org, "Contact", LastName="Ito", Title="CTO", Customer_Id__c="C1")
    delete(org, "Contact", record)
    assert results(soap(org, "undelete", [record, record[:15]])) == [
        (record, "true", None),
        (None, "false", "DUPLICATE_VALUE"),
    ]
    (found,) = org.records("Contact")
    assert (found["Id"], found["Title"], found["Customer_Id__c"]) == (record, "CTO", "C1")
    assert org.writes()[-1] == org.writes()[-1] | {
        "id": record,
        "operation": "undeleted",
        "object": "Contact",
    }


def test_what_is_not_in_the_bin(org):
    live, purged = create(org, "Contact", LastName="A"), create(org, "Contact", LastName="B")
    delete(org, "Contact", purged)
    assert results(soap(org, "emptyRecycleBin", [purged])) == [(purged, "true", None)]
    assert not [one for one in org.records("Contact", deleted=True) if one["Id"] == purged]
    assert [
        code for _, _, code in results(soap(org, "undelete", [live, purged, "nonsense", "ZZZ000000000001"]))
    ] == [
        "UNDELETE_FAILED",
        "UNDELETE_FAILED",
        "MALFORMED_ID",
        "INVALID_CROSS_REFERENCE_KEY",
    ]


def test_the_bin_keeps_for_fifteen_days(org):
    record = create(org, "Contact", LastName="Ito")
    delete(org, "Contact", record)
    org.faults([{"fault": "clock_off", "seconds": 16 * 86_400}])
    assert results(soap(org, "undelete", [record])) == [(None, "false", "UNDELETE_FAILED")]
    org.faults([{"fault": "clock_off", "seconds": 14 * 86_400}])
    assert results(soap(org, "undelete", [record])) == [(record, "true", None)]


def test_what_went_with_the_parent_comes_back_with_it(org):
    account = create(org, "Account", Name="Acme")
    with_it = create(org, "Contact", LastName="With", AccountId=account)
    before = create(org, "Contact", LastName="Before", AccountId=account)
    delete(org, "Contact", before)
    delete(org, "Account", account)
    assert org.records("Contact") == []
    assert results(soap(org, "undelete", [account])) == [(account, "true", None)]
    assert [(one["Id"], one["AccountId"]) for one in org.records("Contact")] == [(with_it, account)]
    assert results(soap(org, "undelete", [with_it])) == [(None, "false", "UNDELETE_FAILED")], (
        "it is not in the bin"
    )


def test_a_unique_value_that_was_given_away_meanwhile(org):
    record = create(org, "Contact", LastName="Ito", Customer_Id__c="C1")
    delete(org, "Contact", record)
    create(org, "Contact", LastName="Other", Customer_Id__c="c1")
    assert results(soap(org, "undelete", [record])) == [(None, "false", "DUPLICATE_VALUE")]
    assert len(org.records("Contact")) == 1


def test_a_call_costs_one_and_tells_what_is_left(org):
    org.limits(max=100, used=90)
    record = create(org, "Contact", LastName="Ito")
    delete(org, "Contact", record)
    _, root = soap(org, "undelete", [record])
    assert root.findtext(f".//{PARTNER}limitInfo/{PARTNER}current") == "93"
    assert root.findtext(f".//{PARTNER}limitInfo/{PARTNER}limit") == "100"
    assert [(one["kind"], one["counted"], one["status"]) for one in org.requests()][-1] == ("soap", True, 200)


def test_calls_that_are_refused_whole(org):
    assert fault(soap(org, "undelete", ["x"] * 201)) == "EXCEEDED_ID_LIMIT"
    assert fault(soap(org, "undelete", ["x"], session="00Dx!gone")) == "INVALID_SESSION_ID"
    assert fault(soap(org, "undelete", ["x"], path="12.0")) == "UNSUPPORTED_API_VERSION"
    assert fault(soap(org, "sendEmail", ["x"])) == "soapenv:Client"
    assert fault(send(org, "{}")) == "soapenv:Client"
    assert fault(send(org, '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')) == "soapenv:Client"
    org.limits(max=10, used=10)
    assert fault(soap(org, "undelete", ["x"])) == "REQUEST_LIMIT_EXCEEDED"
    assert org.requests()[-1]["counted"] is False


def test_faults_of_the_file_act_here_too(org):
    first, second = create(org, "Contact", LastName="A"), create(org, "Contact", LastName="B")
    for record in (first, second):
        delete(org, "Contact", record)
    org.faults([{"fault": "expired_token", "match": "/Soap/"}])
    assert fault(soap(org, "undelete", [first])) == "INVALID_SESSION_ID"
    org.sign_in()
    org.faults([{"fault": "locked_rows", "object": "Contact", "share": 0.5}])
    codes = [code for _, _, code in results(soap(org, "undelete", [first, second]))]
    assert codes == [None, "UNABLE_TO_LOCK_ROW"]
    org.faults([{"fault": "rights_lost", "object": "Contact", "rights": ["delete"]}])
    assert results(soap(org, "undelete", [second])) == [(None, "false", "INSUFFICIENT_ACCESS_OR_READONLY")]
    org.faults([{"fault": "lost_after_commit", "match": "/Soap/"}])
    with pytest.raises(OSError):
        soap(org, "undelete", [second])
    assert len(org.records("Contact")) == 2


def test_a_reset_forgets_the_bin(org):
    account = create(org, "Account", Name="Acme")
    create(org, "Contact", LastName="With", AccountId=account)
    delete(org, "Account", account)
    org.begin()
    assert results(soap(org, "undelete", [account])) == [(None, "false", "UNDELETE_FAILED")]
