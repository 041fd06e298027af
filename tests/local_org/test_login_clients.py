"""How other clients sign in to the local org: simple-salesforce by each of its ways, and SOAP login() as old ones send it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from simple_salesforce import Salesforce, SalesforceLogin
from simple_salesforce.exceptions import SalesforceAuthenticationFailed

from sfsync.local_org.control import JWT_KEY
from tests.support.led_to import LedTo

FAULT = "{urn:fault.partner.soap.sforce.com}"
PARTNER = "{urn:partner.soap.sforce.com}"


@pytest.fixture
def session(org: Any) -> requests.Session:
    found = requests.Session()
    found.trust_env = False
    found.verify = str(org.ca_file)
    found.mount("https://", LedTo(org.url))
    return found


def ways(org: Any) -> dict[str, dict[str, Any]]:
    app = {"consumer_key": org.client_id, "consumer_secret": org.client_secret}
    person = {"username": org.username, "password": org.password}
    key = Path(org.folder) / JWT_KEY
    return {
        "SOAP": person | {"security_token": org.security_token},
        "SOAP at a trusted network": person | {"organizationId": org.org_id},
        "SOAP of an own version": person | {"security_token": org.security_token, "sf_version": "31.0"},
        "password": person | app | {"password": org.password + org.security_token},
        "client credentials": app | {"domain": "acme.my"},
        "JWT by file": {
            "username": org.username,
            "consumer_key": org.client_id,
            "privatekey_file": str(key),
        },
        "JWT by text": {
            "username": org.username,
            "consumer_key": org.client_id,
            "privatekey": key.read_text(),
        },
    }


@pytest.mark.parametrize(
    "way",
    ["SOAP", "SOAP at a trusted network", "SOAP of an own version", "password", "client credentials", "JWT by file", "JWT by text"],
)  # fmt: skip
def test_simple_salesforce_signs_in(org, session, way):
    token, instance = SalesforceLogin(session=session, **ways(org)[way])
    assert instance == urlsplit(org.url).netloc
    client = Salesforce(session_id=token, instance=instance, session=session, version="67.0")
    assert client.query("SELECT Id FROM User WHERE Username = '" + org.username + "'")["totalSize"] == 1


def test_the_class_signs_in_by_itself(org, session):
    client = Salesforce(session=session, version="67.0", **ways(org)["JWT by file"])
    assert client.oauth2("userinfo")["organization_id"] == org.org_id


FAILS = [  # id, way, changes, settings, code
    ("password", "SOAP", {"password": "x"}, {}, "INVALID_LOGIN"),
    ("user", "SOAP", {"username": "x"}, {}, "INVALID_LOGIN"),
    ("no token", "SOAP", {"security_token": ""}, {}, "LOGIN_MUST_USE_SECURITY_TOKEN"),
    ("other org", "SOAP at a trusted network", {"organizationId": "00D000000000000"}, {}, "LOGIN_MUST_USE_SECURITY_TOKEN"),
    ("network", "SOAP", {}, {"ip_restricted": True}, "LOGIN_DURING_RESTRICTED_DOMAIN"),
    ("switched off", "SOAP", {}, {"flows": ["password"]}, "INVALID_OPERATION"),
    ("retired version", "SOAP", {"sf_version": "30.0"}, {}, "UNSUPPORTED_API_VERSION"),
    ("JWT", "JWT by file", {"domain": "test"}, {}, "invalid_grant"),
    ("secret", "client credentials", {"consumer_secret": "x"}, {}, "invalid_client"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("way", "changes", "settings", "code"), [c[1:] for c in FAILS], ids=[c[0] for c in FAILS]
)
def test_simple_salesforce_is_refused(org, session, way, changes, settings, code):
    org.local("PUT", "/_local/app", settings)
    with pytest.raises(SalesforceAuthenticationFailed) as caught:
        SalesforceLogin(session=session, **(ways(org)[way] | changes))
    assert caught.value.code == code


def soap(org: Any, version: str, login: str = "urn:login") -> tuple[int, ET.Element]:
    body = (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" xmlns:urn="urn:partner.soap.sforce.com"><e:Body>'
        f"<{login}><urn:username>{org.username}</urn:username><urn:password>{org.password}{org.security_token}"
        f"</urn:password></{login}></e:Body></e:Envelope>"
    )
    headers = {"Content-Type": "text/xml; charset=UTF-8", "SOAPAction": '""', "Authorization": ""}
    answer = org.session.post(f"{org.url}/services/Soap/u/{version}", data=body.encode(), headers=headers)
    return answer.status_code, ET.fromstring(answer.content)


def test_what_a_login_by_soap_tells(org):
    status, root = soap(org, "64.0")
    assert status == 200
    told = {
        name: root.findtext(f".//{PARTNER}{name}")
        for name in ("userId", "organizationId", "passwordExpired", "sandbox")
    }
    assert told["organizationId"] == org.org_id
    assert (told["passwordExpired"], told["sandbox"]) == ("false", "false")
    address = str(root.findtext(f".//{PARTNER}serverUrl"))
    assert address == f"{org.url}/services/Soap/u/64.0/{org.org_id[:15]}"
    token = root.findtext(f".//{PARTNER}sessionId")
    assert org.get("/limits", headers={"Authorization": f"Bearer {token}"}).ok
    call = (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" xmlns:urn="urn:partner.soap.sforce.com"><e:Header>'
        f"<urn:SessionHeader><urn:sessionId>{token}</urn:sessionId></urn:SessionHeader></e:Header><e:Body><urn:undelete>"
        "<urn:ids>003000000000000AAA</urn:ids></urn:undelete></e:Body></e:Envelope>"
    )
    assert org.session.post(address, data=call, headers={"Content-Type": "text/xml"}).status_code == 200
    counted = [request for request in org.requests() if request["counted"]]
    assert [request["path"] for request in counted] == ["/services/data/v67.0/limits", urlsplit(address).path]


@pytest.mark.parametrize("version", ["65.0", "67.0"])
def test_newer_versions_have_no_login(org, version):
    status, root = soap(org, version)
    assert status == 500
    assert root.findtext(".//faultcode") == "soapenv:Client"
    assert "No operation available" in str(root.findtext(".//faultstring"))


def test_a_fault_of_login_as_clients_read_it(org):
    org.local("PUT", "/_local/app", {"ip_restricted": True})
    status, root = soap(org, "50.0")
    assert status == 500
    assert root.findtext(".//faultcode") == "LOGIN_DURING_RESTRICTED_DOMAIN"
    assert str(root.findtext(".//faultstring")).startswith("LOGIN_DURING_RESTRICTED_DOMAIN: ")
    assert root.find(f".//{FAULT}LoginFault/{FAULT}exceptionCode") is not None
