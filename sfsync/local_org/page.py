"""The org's own web page: objects, records, journal, limits and faults, to be looked at and not to be changed.

Owns:      every address below the page, who may see it, HTML from the templates in `page_files`.
Does not:  ask the store (page_data).
Invariant: nothing but the sign-in and its style is shown without the org's own user name and password; no address holds a
           secret; every value is escaped; no script, and nothing from elsewhere.

Any user of this machine can reach 127.0.0.1, so that the address alone must open nothing. Who has signed in is known by a
cookie that ends with the process.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode
from weakref import WeakKeyDictionary

import jinja2
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sfsync.local_org import page_data
from sfsync.local_org.gate import PAGE
from sfsync.local_org.org import Org

IDLE_S = 7_200.0
_FILES = Path(__file__).parent / "page_files"
_MAX_FORM = 10_000
_SAFE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src data:; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_FILES),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["thousands"] = lambda number: f"{number:,}"
_TEMPLATES.globals["page_url"] = PAGE
_LOCK = threading.Lock()
_SEEN: WeakKeyDictionary[Any, dict[str, float]] = WeakKeyDictionary()
"""Of each org's store: who has signed in, and when they were last seen."""


async def answer(request: Request) -> Response:
    """Any address of the page."""
    path = str(request.path_params.get("path", "")).strip("/")
    if path == "style.css":
        return Response(
            (_FILES / "style.css").read_text(encoding="utf-8"), media_type="text/css", headers=_SAFE
        )
    if request.method == "POST":
        return await _posted(request, path)
    if not _signed_in(request):
        return _sign_in(request, status=401)
    return await run_in_threadpool(_shown, request, path)


# -------------------------------------------------------------------- who may see it


def _cookie(org: Org) -> str:
    """Cookies are shared by all ports of a host: the name tells the orgs of this machine apart."""
    return f"sfsync_org_{org.identity.org_id[:15]}"


def _signed_in(request: Request) -> bool:
    org: Org = request.app.state.org
    token, now = request.cookies.get(_cookie(org), ""), time.monotonic()
    with _LOCK:
        seen = _SEEN.setdefault(org.store, {})
        if token not in seen or now - seen[token] > IDLE_S:
            seen.pop(token, None)
            return False
        seen[token] = now
    return True


async def _posted(request: Request, path: str) -> Response:
    """Sign in or out, asked for by the page itself."""
    org: Org = request.app.state.org
    own = f"{request.url.scheme}://{request.headers.get('host', '')}"
    if request.headers.get("origin", own) not in (own, "null") or path not in ("sign-in", "sign-out"):
        return _html(
            request,
            "message.html",
            403,
            title="Not from this page",
            text="This form was sent by another page.",
        )
    if path == "sign-out":
        with _LOCK:
            _SEEN.get(org.store, {}).pop(request.cookies.get(_cookie(org), ""), None)
        gone = RedirectResponse(PAGE, status_code=303, headers=_SAFE)
        gone.delete_cookie(_cookie(org), path=PAGE, secure=True, httponly=True, samesite="strict")
        return gone
    raw = b""
    async for block in request.stream():
        raw += block
        if len(raw) > _MAX_FORM:
            return _sign_in(request, status=413, wrong=True)
    form = dict(parse_qsl(raw.decode("utf-8", "replace")))
    named = hmac.compare_digest(
        form.get("username", "").strip().lower().encode(), org.identity.username.lower().encode()
    )
    known = hmac.compare_digest(form.get("password", "").strip().encode(), org.identity.password.encode())
    if not (named and known):
        return _sign_in(request, status=401, wrong=True)
    token = secrets.token_urlsafe(32)
    with _LOCK:
        _SEEN.setdefault(org.store, {})[token] = time.monotonic()
    found = RedirectResponse(PAGE, status_code=303, headers=_SAFE)
    found.set_cookie(_cookie(org), token, path=PAGE, secure=True, httponly=True, samesite="strict")
    return found


def _sign_in(request: Request, *, status: int, wrong: bool = False) -> Response:
    return _html(request, "sign_in.html", status, title="Sign in", wrong=wrong)


# -------------------------------------------------------------------- what is shown


def _shown(request: Request, path: str) -> Response:
    org: Org = request.app.state.org
    kind, _, name = path.partition("/")
    if not path:
        return _objects(request, org)
    if kind == "objects" and name:
        return _records(request, org, name)
    if kind == "records" and name:
        return _record(request, org, name)
    if path == "journal":
        wanted, number = request.query_params.get("q", "").strip(), _number(request)
        sheet = page_data.journal(org, wanted, number)
        return _html(
            request,
            "journal.html",
            title="Journal",
            here="journal",
            sheet=sheet,
            q=wanted,
            turn=_turn("journal", q=wanted),
        )
    if path == "limits":
        used_first = sorted(
            org.limits.body().items(), key=lambda item: item[1]["Max"] == item[1]["Remaining"]
        )
        return _html(request, "limits.html", title="Limits", here="limits", limits=dict(used_first))
    if path == "faults":
        return _html(request, "faults.html", title="Faults", here="faults", faults=org.faults.left())
    return _missing(request, f"There is no page '{path}'.")


def _objects(request: Request, org: Org) -> Response:
    listed = page_data.objects(org)
    facts = {
        "Org": org.identity.org_id,
        "User": org.identity.username,
        "Records": f"{sum(o['live'] for o in listed):,}",
        "API calls": f"{org.limits.calls.used:,} of {org.limits.calls.maximum:,}",
        "Bulk batches": f"{org.limits.batches.used:,} of {org.limits.batches.maximum:,}",
        "Faults in force": f"{len(org.faults.left())}",
    }
    return _html(request, "objects.html", title="Objects", here="objects", objects=listed, facts=facts)


def _records(request: Request, org: Org, name: str) -> Response:
    sobject = org.contract.object(name)
    if sobject is None:
        return _missing(request, f"This org has no object '{name}'.")
    wanted, gone = request.query_params.get("q", "").strip(), request.query_params.get("bin") == "1"
    sheet = page_data.records(org, sobject, wanted, _number(request), gone=gone)
    turn = _turn(f"objects/{sobject.name}", q=wanted, bin="1" if gone else "")
    return _html(
        request, "records.html", title=sobject.label, here="objects", sobject=sobject, sheet=sheet, q=wanted, gone=gone, turn=turn
    )  # fmt: skip


def _record(request: Request, org: Org, text: str) -> Response:
    found = page_data.record(org, text)
    if found is None:
        return _missing(request, f"This org has no record '{text}'.")
    sobject, fields = found
    values = {name: value for name, _, value, _ in fields}
    named = next((f.name for f in sobject.fields if f.name_field), "Id")
    return _html(
        request,
        "record.html",
        title=values.get(named) or values["Id"],
        here="objects",
        sobject=sobject,
        fields=fields,
        gone=values.get("IsDeleted") == "true",
    )


def _missing(request: Request, text: str) -> Response:
    return _html(request, "message.html", 404, title="Not found", text=text)


def _number(request: Request) -> int:
    text = request.query_params.get("page", "1")
    return int(text) if text.isdecimal() and len(text) < 10 else 1


def _turn(path: str, **given: str) -> Any:
    """A function from a page's number to its address."""

    def address(number: int) -> str:
        kept = {name: value for name, value in given.items() if value}
        return f"{PAGE}/{path}?{urlencode({**kept, 'page': number})}"

    return address


def _html(request: Request, template: str, status: int = 200, *, here: str = "", **values: Any) -> Response:
    signed_in = _signed_in(request)
    text = _TEMPLATES.get_template(template).render(here=here, signed_in=signed_in, **values)
    return HTMLResponse(text, status_code=status, headers=_SAFE)
