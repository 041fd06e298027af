"""SOAP login(), as old clients still use it.

Owns:      which API versions have it, its answer, its faults.
Does not:  look at the session of other calls (soap_routes).
Invariant: a refusal names no more than the platform does: a wrong password and an inactive user look the same.
           Source: SOAP API Developer Guide, "login()"; Salesforce Help, "Platform SOAP API login() Retirement".
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape

from sfsync.local_org.grants import same
from sfsync.local_org.org import Org
from sfsync.local_org.soap_text import ENVELOPE, PARTNER, FaultError

FIRST, LAST = 31, 64
"""API versions that have login()."""

_INVALID = "Invalid username, password, security token; or user locked out."


class LoginFaultError(FaultError):
    """A login that is refused."""

    kind = "LoginFault"
    prefix = ""


def log_in(org: Org, root: ET.Element, call: ET.Element, version: str, origin: str) -> str:
    """The envelope that signs the user in.

    Raises:
        FaultError: this version has no login().
        LoginFaultError: refused.
    """
    number = int(version[:-2]) if re.fullmatch(r"\d{1,3}\.0", version) else 0
    if number < FIRST:
        raise LoginFaultError("UNSUPPORTED_API_VERSION", f"Unsupported API version: {version}")
    if number > LAST or call.tag != f"{{{PARTNER}}}login":
        raise FaultError("Client", f"No operation available for request {call.tag}")
    auth, who = org.auth, org.identity
    if "soap" not in auth.app.flows:
        raise LoginFaultError("INVALID_OPERATION", "SOAP API login() is disabled by default in this org.")
    if auth.app.ip_restricted:
        raise LoginFaultError("LOGIN_DURING_RESTRICTED_DOMAIN", "Cannot login from current IP address")
    username, password = _text(call, "username"), _text(call, "password")
    known = username.lower() == who.username and auth.is_active(who.username) is not False
    # A client that names the org in LoginScopeHeader comes from a trusted network: it needs no security token.
    trusted = _text(root, "organizationId")[:15] == who.org_id[:15]
    if known and same(password, who.password) and not trusted:
        raise LoginFaultError("LOGIN_MUST_USE_SECURITY_TOKEN", f"{_INVALID} Are you at a new location?")
    right = same(password, who.password + who.security_token) or (trusted and same(password, who.password))
    if not (known and right):
        raise LoginFaultError("INVALID_LOGIN", _INVALID)
    return _signed_in(org, version, origin)


def _text(element: ET.Element, name: str) -> str:
    return next((found.text or "" for found in element.iter(f"{{{PARTNER}}}{name}")), "")


def _signed_in(org: Org, version: str, origin: str) -> str:
    who, org15 = org.identity, org.identity.org_id[:15]
    session = org.auth.issue(origin)["access_token"]
    info = {
        "accessibilityMode": "false",
        "organizationId": who.org_id,
        "organizationMultiCurrency": "false",
        "organizationName": "Local Org",
        "sessionSecondsValid": "7200",
        "userEmail": who.username,
        "userFullName": "Local Admin",
        "userId": who.user_id,
        "userLanguage": "en_US",
        "userLocale": "en_US",
        "userName": who.username,
        "userTimeZone": "Etc/UTC",
        "userType": "Standard",
    }
    result = {
        "metadataServerUrl": f"{origin}/services/Soap/m/{version}/{org15}",
        "passwordExpired": "false",
        "sandbox": "false",
        "serverUrl": f"{origin}/services/Soap/u/{version}/{org15}",
        "sessionId": session,
        "userId": who.user_id,
    }
    inside = _elements(result) + f"<userInfo>{_elements(info)}</userInfo>"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="{ENVELOPE}" xmlns="{PARTNER}">'
        f"<soapenv:Body><loginResponse><result>{inside}</result></loginResponse></soapenv:Body></soapenv:Envelope>"
    )


def _elements(values: dict[str, str]) -> str:
    return "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values.items())
