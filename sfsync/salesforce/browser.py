"""Signing in by a browser: the page to open, the address it comes back to, and the login that is kept.

Owns:      PKCE, the state that ties an answer to its question, the callback server, revoking a login.
Does not:  open a browser or print its address (cli), or know where logins are kept (logins).
Invariant: an answer without our state changes nothing; one code is exchanged once; a login is kept before it is used.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import hmac
import html
import json
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from urllib.parse import parse_qsl, urlencode, urlsplit

from sfsync.errors import AuthError, OrgError, SfsyncError, register_secret
from sfsync.salesforce.auth import TIMEOUT_S, Desk, ask, client, token_of
from sfsync.salesforce.login import Login, Token
from sfsync.salesforce.logins import Kept, Logins
from sfsync.salesforce.sign_in_words import refused
from sfsync.salesforce.transport import Request

SCOPE = "api refresh_token"
_STALL_S = 10.0
"""Longest standstill of a browser's connection; browsers open some that they never use."""

_NO_FAMILY = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""A machine without IPv6 says one of these of ::1."""

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>sfsync: {title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:4em auto;padding:0 1em}}</style></head>
<body><h1>{title}</h1><p>{text}</p></body></html>"""


@dataclass(frozen=True, slots=True)
class Question:
    """One sign-in that waits for its answer."""

    url: str  # the org's page
    state: str
    verifier: str


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A new login, and where it is kept."""

    kept: Kept
    place: str


def question(login: Login) -> Question:
    """A page to open: the org asks the user there. Source: RFC 7636, sections 4.1 to 4.3."""
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(64)
    register_secret(verifier)
    digest = hashlib.sha256(verifier.encode()).digest()
    asked = {
        "response_type": "code",
        "client_id": login.client_id,
        "redirect_uri": login.callback_url,
        "scope": SCOPE,
        "state": state,
        "prompt": "login",  # or the browser's session answers, of whatever user it is
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    return Question(f"{login.login_url}/services/oauth2/authorize?{urlencode(asked)}", state, verifier)


def log_in(
    login: Login, desk: Desk, logins: Logins, *, show: Callable[[str], None], timeout_s: float
) -> LoggedIn:
    """Have a user sign in with a browser, and keep the login.

    Args:
        show: is given the page's address once the callback can be answered.
        timeout_s: how long to wait for the user.

    Raises:
        AuthError: refused, denied, another user, no answer in time, or the callback's port is not free.
        NoAnswerError: no connection to the org.
    """
    asked = question(login)
    waiting = _Waiting(asked, lambda answer: _answered(login, desk, logins, asked, answer))
    with _listening(login.callback_url, waiting):
        show(asked.url)
        if waiting.done.wait(timeout_s):
            waiting.told.wait(_STALL_S)
        waiting.close()
    if waiting.error is not None:
        raise waiting.error
    if waiting.found is None:
        raise AuthError(
            f"nobody has signed in to {login.host} within {timeout_s:g} s",
            fix="sign in again; if the org's page showed redirect_uri_mismatch, add the callback URL "
            f"{login.callback_url} to the app, letter by letter",
        )
    return waiting.found


def revoke(login: Login, desk: Desk, text: str) -> bool:
    """End a token at the org, with all that came by it; False if the org does not know it any more.

    Raises:
        OrgError: the org cannot be asked.
    """
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    url, form = f"{login.login_url}/services/oauth2/revoke", urlencode({"token": text})
    reply = desk.transport.exchange(Request("POST", url, headers, form, read_timeout_s=TIMEOUT_S))
    if reply.status not in (200, 400):
        raise OrgError(f"{login.host} answered the revocation with HTTP {reply.status}", status=reply.status)
    return reply.status == 200


def _answered(
    login: Login, desk: Desk, logins: Logins, asked: Question, answer: Mapping[str, str]
) -> LoggedIn:
    if "code" not in answer:
        error = answer.get("error", "no code and no error")
        raise refused(login, 302, error, answer.get("error_description", ""))
    register_secret(answer["code"])
    form = {
        "grant_type": "authorization_code",
        "code": answer["code"],
        "redirect_uri": login.callback_url,
        "code_verifier": asked.verifier,
    }
    body = ask(login, desk, form | client(login))
    token, refresh_token = token_of(body, login), body.get("refresh_token")
    if not isinstance(refresh_token, str) or not refresh_token:
        _forget(login, desk, token.access_token)
        raise AuthError(
            f"{login.host} gave no refresh token, so the login would end with the session",
            fix="add the scope refresh_token ('Perform requests at any time') to the app, and sign in again",
        )
    username = _username(token, desk)
    if login.username and username.lower() != login.username.lower():
        _forget(login, desk, refresh_token)
        raise AuthError(
            f"{username or 'somebody'} has signed in to {login.host}, and the profile asks for {login.username}",
            fix="sign in again as that user, or change `username` in the profile",
        )
    name = logins.name_of(login)
    with logins.alone(name):
        kept = Kept.of(login, token, refresh_token, desk.clock.now(), username)
        try:
            return LoggedIn(kept, logins.keep(name, kept))
        except AuthError:
            _forget(login, desk, refresh_token)
            raise


def _forget(login: Login, desk: Desk, text: str) -> None:
    """End a token that nobody will use; that it cannot be ended is not what went wrong."""
    with suppress(SfsyncError):
        revoke(login, desk, text)


def _username(token: Token, desk: Desk) -> str:
    headers = {"Authorization": f"Bearer {token.access_token}", "Accept": "application/json"}
    url = f"{token.instance_url}/services/oauth2/userinfo"
    reply = desk.transport.exchange(Request("GET", url, headers, read_timeout_s=TIMEOUT_S))
    try:
        return str(json.loads(reply.body)["preferred_username"])
    except (ValueError, KeyError, TypeError):
        return ""  # an app may be refused this; then no username can be demanded, either


# The address that the browser comes back to


class _Waiting:
    """The one answer that is waited for."""

    def __init__(self, asked: Question, answered: Callable[[Mapping[str, str]], LoggedIn]) -> None:
        self._asked, self._answered = asked, answered
        self._lock = threading.Lock()
        self.done = threading.Event()
        self.told = threading.Event()  # the user has the page
        self.found: LoggedIn | None = None
        self.error: Exception | None = None

    def take(self, answer: Mapping[str, str]) -> tuple[int, str, str]:
        """Status, title and text of the page that the user sees."""
        given = answer.get("state", "").encode()
        if not hmac.compare_digest(given, self._asked.state.encode()):
            return 400, "Not this sign-in", "This answer does not belong to the sign-in that is under way."
        with self._lock:
            if self.done.is_set():
                return 400, "Answered before", "This sign-in was answered already. You can close this page."
            try:
                self.found = self._answered(answer)
            except Exception as error:  # raised anew where the command waits
                self.error = error
            finally:
                self.done.set()
        if self.found is not None:
            who = self.found.kept.username or "the org's user"
            return 200, "Signed in", f"sfsync is signed in as {who}. You can close this page."
        text = str(self.error) if isinstance(self.error, SfsyncError) else "See the terminal."
        return 400, "Sign-in failed", f"{text}. You can close this page; the terminal says what to do."

    def close(self) -> None:
        """Take no answer any more; one that is being taken is waited for."""
        with self._lock:
            self.done.set()


@contextmanager
def _listening(callback_url: str, waiting: _Waiting) -> Iterator[None]:
    """Answer the callback's address, on both loopback addresses where the name is localhost."""
    parts = urlsplit(callback_url)
    port, path = parts.port or 80, parts.path or "/"

    class Handler(BaseHTTPRequestHandler):
        timeout = _STALL_S

        def do_GET(self) -> None:
            found = urlsplit(self.path)
            if found.path != path:
                self._say(404, "Nothing here", "This address only answers a sign-in of sfsync.")
                return
            self._say(*waiting.take(dict(parse_qsl(found.query, keep_blank_values=True))))
            if waiting.done.is_set():
                waiting.told.set()

        def _say(self, status: int, title: str, text: str) -> None:
            body = _PAGE.format(title=html.escape(title), text=html.escape(text)).encode()
            self.send_response(status)
            for name, value in (
                ("Content-Type", "text/html; charset=utf-8"),
                ("Content-Length", str(len(body))),
                ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
                ("Referrer-Policy", "no-referrer"),  # the address holds the code
                ("Cache-Control", "no-store"),
                ("Connection", "close"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the address holds the code."""

    servers = _servers(parts.hostname or "localhost", port, Handler)
    threads = [threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # connections that a browser opened and never used are not waited for

    def __init__(self, family: socket.AddressFamily, address: tuple[str, int], handler: type) -> None:
        self.address_family = family
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Without asking DNS what this machine is called."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that goes away early is nobody's trouble."""


def _servers(host: str, port: int, handler: type) -> list[_Server]:
    """At least one. Raises: AuthError."""
    wanted = {"127.0.0.1": [socket.AF_INET], "::1": [socket.AF_INET6]}.get(
        host, [socket.AF_INET, socket.AF_INET6]
    )
    servers: list[_Server] = []
    why = ""
    for family in wanted:
        try:
            servers.append(
                _Server(family, ("127.0.0.1" if family == socket.AF_INET else "::1", port), handler)
            )
        except OSError as error:
            # Somebody else on one of the two addresses would get half of the answers.
            if not servers or error.errno not in _NO_FAMILY:
                why = error.strerror or str(error)
                break
    if why:
        for server in servers:
            server.server_close()
        raise AuthError(
            f"port {port} of this machine, to which the browser comes back, cannot be used: {why}",
            fix="end the program that uses it (another sign-in?), or register another callback URL with the app and "
            "name it in the profile as `callback_url`",
        )
    return servers
