"""The page on which a user allows an app: the authorize endpoint, with a page of two buttons.

Owns:      GET and POST /services/oauth2/authorize.
Does not:  exchange the code (grants).
Invariant: nobody is sent to an address that the app has not registered; only the page itself can press its buttons.
"""

from __future__ import annotations

import hmac
import html
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from sfsync.local_org.auth import Auth
from sfsync.local_org.grants import same

_PASSED_ON = ("client_id", "redirect_uri", "scope", "state", "code_challenge", "response_type")
_SCOPES = frozenset(
    {"api", "web", "id", "openid", "profile", "email", "full", "refresh_token", "offline_access"}
)
_KEY = secrets.token_bytes(32)
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:32em;margin:4em auto;padding:0 1em}}
button{{font:inherit;padding:.4em 1.2em;margin-right:1em}}</style></head><body><h1>{title}</h1>{body}</body></html>"""


def _page(title: str, body: str, status: int = 200) -> Response:
    # No frame around it, no script in it: a page of somebody else cannot have it answered.
    safe = {
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
    }
    text = _PAGE.format(title=html.escape(title), body=body)
    return HTMLResponse(text, status_code=status, headers=safe)


def _refused(error: str, description: str) -> Response:
    """What the platform shows on its own page, since it does not trust the address to go back to."""
    what = f"<p>error={html.escape(error)}&amp;error_description={html.escape(description)}</p>"
    return _page("We can't authorize you because of an OAuth error", what, 400)


def _wrong(auth: Auth, asked: Mapping[str, str]) -> Response | None:
    """Why the app cannot ask this, or None."""
    if not same(asked.get("client_id", ""), auth.identity.client_id):
        return _refused("invalid_client_id", "client identifier invalid")
    if not auth.app.takes_callback(asked.get("redirect_uri", "")):
        return _refused("redirect_uri_mismatch", "redirect_uri must match configuration")
    if auth.app.blocked:
        return _back(asked, error="OAUTH_APP_BLOCKED", error_description="this app is blocked by admin")
    if asked.get("response_type") != "code" or "authorization_code" not in auth.app.flows:
        return _back(
            asked, error="unsupported_response_type", error_description="response type not supported"
        )
    if not set(asked.get("scope", "api").split()) <= _SCOPES:
        return _back(asked, error="invalid_scope", error_description="the requested scope is not allowed")
    return None


def _back(asked: Mapping[str, str], **answer: str) -> Response:
    state = {"state": asked["state"]} if "state" in asked else {}
    joint = "&" if "?" in asked["redirect_uri"] else "?"
    return RedirectResponse(asked["redirect_uri"] + joint + urlencode(answer | state), status_code=302)


def _seal(asked: Mapping[str, str]) -> str:
    """Proof that a form was made by the page of this process, for exactly this question."""
    text = urlencode([(name, asked.get(name, "")) for name in _PASSED_ON])
    return hmac.new(_KEY, text.encode(), "sha256").hexdigest()


def ask(request: Request) -> Response:
    """GET: the page."""
    auth: Auth = request.app.state.org.auth
    asked = dict(request.query_params)
    wrong = _wrong(auth, asked)
    if wrong is not None:
        return wrong
    hidden = {name: asked[name] for name in _PASSED_ON if name in asked} | {"seal": _seal(asked)}
    fields = "".join(
        f'<input type="hidden" name="{name}" value="{html.escape(value)}">' for name, value in hidden.items()
    )
    body = (
        f"<p>An app asks to work as <b>{html.escape(auth.identity.username)}</b> in this local org"
        f" ({html.escape(asked.get('scope', 'api'))}).</p><form method='post' action='/services/oauth2/authorize'>"
        f"{fields}<button name='decision' value='allow'>Allow</button>"
        "<button name='decision' value='deny'>Deny</button></form>"
    )
    return _page("Allow Access?", body)


async def decide(request: Request) -> Response:
    """POST: what the user pressed."""
    auth: Auth = request.app.state.org.auth
    asked = dict(
        parse_qsl((await request.body())[:20_000].decode("utf-8", "replace"), keep_blank_values=True)
    )
    wrong = _wrong(auth, asked)
    if wrong is not None:
        return wrong
    if not same(asked.get("seal", ""), _seal(asked)):
        return _refused("invalid_request", "this form was not made by the org's own page")
    if asked.get("decision") != "allow":
        return _back(asked, error="access_denied", error_description="end-user denied authorization")
    scope = asked.get("scope", "api").replace("offline_access", "refresh_token")
    challenge = asked.get("code_challenge", "")
    return _back(asked, code=auth.consents.allow(asked["client_id"], asked["redirect_uri"], challenge, scope))


ROUTES = [
    Route("/services/oauth2/authorize", ask, methods=["GET"]),
    Route("/services/oauth2/authorize", decide, methods=["POST"]),
]
