"""A browser's part of a sign-in: it opens the org's page, presses a button, and follows where that leads."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import socket
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import requests

CALLBACK = "http://localhost:1717/OauthRedirect"
VERIFIER = "verifier-" + "0123456789" * 5
_FIELD = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')


def question(org: Any, **changes: str | None) -> str:
    """The address of the page on which the user allows the app; a value of None is left out."""
    digest = hashlib.sha256(VERIFIER.encode()).digest()
    asked = {
        "response_type": "code",
        "client_id": org.client_id,
        "redirect_uri": CALLBACK,
        "scope": "api refresh_token",
        "state": "s t a t e",
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    } | changes
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    return f"{org.url}/services/oauth2/authorize?{query}"


def press(org: Any, url: str, decision: str = "allow") -> Any:
    """Open the page and press a button; the answer, which is not followed."""
    page = org.session.get(url, headers={"Authorization": None}, allow_redirects=False)
    if page.status_code != 200:
        return page
    form = {name: html.unescape(value) for name, value in _FIELD.findall(page.text)}
    address = f"{org.url}/services/oauth2/authorize"
    return org.session.post(
        address, data=form | {"decision": decision}, headers={"Authorization": None}, allow_redirects=False
    )


def came_back(answer: Any) -> dict[str, str]:
    """What the browser brings to the callback."""
    assert answer.status_code == 302, answer.text
    query = urlsplit(answer.headers["Location"]).query
    return {name: values[0] for name, values in parse_qs(query).items()}


def exchange(org: Any, code: str, **changes: str | None) -> Any:
    """The token endpoint's answer to a code."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "client_id": org.client_id,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    } | changes
    return org.session.post(f"{org.url}/services/oauth2/token", data=form, headers={"Authorization": None})


def refresh_token(org: Any) -> str:
    """A refresh token for which the user has pressed Allow."""
    code = came_back(press(org, question(org)))["code"]
    return str(exchange(org, code).json()["refresh_token"])


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def visit(url: str) -> requests.Response:
    """The page that the browser ends at."""
    session = requests.Session()
    session.trust_env = False
    return session.get(url, timeout=20)
