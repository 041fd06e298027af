"""Texts that all of the SOAP API shares: namespaces and faults.

Owns:      them.
Does not:  answer a call (soap_routes, soap_login).
"""

from __future__ import annotations

from xml.sax.saxutils import escape

PARTNER = "urn:partner.soap.sforce.com"
FAULTS = "urn:fault.partner.soap.sforce.com"
ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"


class FaultError(Exception):
    """A call that is refused whole."""

    kind = "UnexpectedErrorFault"
    prefix = "sf:"  # of the fault code

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def fault_text(fault: FaultError) -> str:
    """A refused call as an envelope."""
    text = escape(f"{fault.code}: {fault.message}")
    if fault.code == "Client":
        inside = f"<faultcode>soapenv:Client</faultcode><faultstring>{escape(fault.message)}</faultstring>"
    else:
        inside = (
            f"<faultcode>{fault.prefix}{fault.code}</faultcode><faultstring>{text}</faultstring><detail>"
            f'<sf:{fault.kind} xsi:type="sf:{fault.kind}"><sf:exceptionCode>{fault.code}</sf:exceptionCode>'
            f"<sf:exceptionMessage>{escape(fault.message)}</sf:exceptionMessage></sf:{fault.kind}></detail>"
        )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="{ENVELOPE}" xmlns:sf="{FAULTS}"'
        f' xmlns:xsi="{INSTANCE}"><soapenv:Body><soapenv:Fault>{inside}</soapenv:Fault></soapenv:Body>'
        "</soapenv:Envelope>"
    )
