"""The local org's process: the app, its routes, and its life from start to idle end.

Owns:      the Starlette app, TLS, the port, the file that says where the org answers.
Does not:  start itself (control) or know resources (dispatch and the *_routes modules).
Invariant: it listens on loopback only, and ends by itself when nobody has asked anything for a while.

Run by control as ``python -m sfsync.local_org.server FOLDER``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import importlib.util
import json
import os
import socket
import sys
import time
import traceback
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import anyio.to_thread
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sfsync.errors import SfsyncError
from sfsync.local_org import authorize_routes, certificate, grants, local_routes
from sfsync.local_org.answers import Answer, ApiError, not_allowed, not_found, parse_json, to_response
from sfsync.local_org.ask import Ask, Handler
from sfsync.local_org.dispatch import dispatch, register
from sfsync.local_org.fault_rules import read_rules
from sfsync.local_org.gate import NEWEST, OLDEST, Gate
from sfsync.local_org.org import Org, open_org
from sfsync.local_org.schema import load_schema
from sfsync.local_org.store import FILE
from sfsync.local_org.transport import DroppableProtocol
from sfsync.ports import write_private

STATE_FILE = "server.json"
MAX_BODY = 50 * 1024 * 1024
_OTHER_ROUTES = (
    "sfsync.local_org.soql_routes",
    "sfsync.local_org.bulk_routes",
    "sfsync.local_org.bulk_query_routes",
    "sfsync.local_org.soap_routes",
    "sfsync.local_org.bulk1_routes",
    "sfsync.local_org.fate_routes",
    "sfsync.local_org.page_routes",
)
_SEASONS = ("Spring", "Summer", "Winter")


def origin_of(request: Request) -> str:
    """The address the client used, which is also the instance URL."""
    return f"{request.url.scheme}://{request.headers.get('host', request.url.netloc)}"


async def read_body(request: Request) -> bytes:
    """The body, unpacked.

    Raises:
        ApiError: larger than the platform takes, or a damaged encoding.
    """
    import gzip
    import zlib

    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_BODY:
            raise ApiError(413, "EXCEEDED_MAX_SIZE_REQUEST", f"The request is larger than {MAX_BODY} bytes")
    coding = request.headers.get("content-encoding", "identity").lower()
    try:
        if coding == "gzip":
            return gzip.decompress(raw)
        if coding == "deflate":
            return zlib.decompress(raw)
    except (OSError, EOFError, zlib.error):
        raise ApiError(400, "INVALID_INPUT", f"The body is not valid {coding}") from None
    return bytes(raw)


# -------------------------------------------------------------------- routes


async def token(request: Request) -> Response:
    """POST /services/oauth2/token"""
    raw = await read_body(request)
    form = {**request.query_params, **dict(parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True))}
    org: Org = request.app.state.org
    authorization = request.headers.get("authorization")
    # A JWT's signature and the user's record take a while.
    answer = await anyio.to_thread.run_sync(grants.token, org.auth, form, authorization, origin_of(request))
    return to_response(answer, request.headers)


async def revoke(request: Request) -> Response:
    """GET or POST /services/oauth2/revoke"""
    form = {**request.query_params, **dict(parse_qsl((await read_body(request)).decode("utf-8", "replace")))}
    if request.app.state.org.auth.revoke(form.get("token", "")):
        return Response(status_code=200)
    body = {"error": "unsupported_token_type", "error_description": "this token type is not supported"}
    return JSONResponse(body, status_code=400)


def userinfo(request: Request) -> Response:
    auth = request.app.state.org.auth
    who = auth.people.by_id(request.scope["org.user"]) or auth.people.administrator
    return JSONResponse(auth.userinfo_body(origin_of(request), who))


def identity(request: Request) -> Response:
    org: Org = request.app.state.org
    who = org.auth.people.by_id(request.path_params["user_id"])
    if request.path_params["org_id"] != org.identity.org_id or who is None:
        return to_response(not_found().answer(), request.headers)
    version = request.query_params.get("version")
    return JSONResponse(
        org.auth.identity_body(origin_of(request), who, f"{NEWEST}.0" if version == "latest" else version)
    )


def versions(request: Request) -> Response:
    """GET /services/data: every version, oldest first."""
    listed = []
    for number in range(OLDEST, NEWEST + 1):
        label = f"{_SEASONS[(number - 30) % 3]} '{14 + (number - 29) // 3}"
        listed.append({"label": label, "url": f"/services/data/v{number}.0", "version": f"{number}.0"})
    return to_response(Answer(200, listed), request.headers)


async def data(request: Request) -> Response:
    """Everything below /services/data/vNN.0/ that no other module serves."""
    org: Org = request.app.state.org
    headers = {**{k.lower(): v for k, v in request.headers.items()}, "x-origin": origin_of(request)}
    try:
        raw = await read_body(request)
        ask = Ask(
            org=org,
            method=request.method,
            path=str(request.path_params.get("path", "")).strip("/"),
            version=str(request.path_params["version"]),
            query=dict(request.query_params),
            body=parse_json(raw) if request.method in ("POST", "PATCH", "PUT") else None,
            headers=headers,
            number=request.scope["org.request"],
        )
        answer = await anyio.to_thread.run_sync(dispatch, ask)
    except ApiError as error:
        answer = error.answer()
    return to_response(answer, headers)


def _on_http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:
        allowed = (getattr(error, "headers", None) or {}).get("Allow", "GET").split(", ")
        return to_response(not_allowed(request.method, allowed).answer(), request.headers)
    return to_response(not_found().answer(), request.headers)


def _on_crash(request: Request, error: Exception) -> Response:
    """A bug of ours, in the platform's form; the log has the rest."""
    traceback.print_exception(error)
    text = "An unexpected error occurred. Please include this ErrorId if you contact support: "
    body = ApiError(500, "UNKNOWN_EXCEPTION", f"{text}{request.scope.get('org.request', 0)}").answer()
    return to_response(body, request.headers)


def routes() -> list[BaseRoute]:
    """All routes; the modules for queries and Bulk bring their own."""
    found: list[BaseRoute] = [
        Route("/services/oauth2/token", token, methods=["POST"]),
        Route("/services/oauth2/revoke", revoke, methods=["GET", "POST"]),
        Route("/services/oauth2/userinfo", userinfo, methods=["GET", "POST"]),
        Route("/id/{org_id}/{user_id}", identity),
        Route("/services/data", versions),
        Route("/services/data/", versions),
        *authorize_routes.ROUTES,
        *local_routes.ROUTES,
    ]
    for name in _OTHER_ROUTES:
        if importlib.util.find_spec(name) is not None:
            found += importlib.import_module(name).ROUTES
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    found.append(Route("/services/data/v{version}", data, methods=methods))
    found.append(Route("/services/data/v{version}/{path:path}", data, methods=methods))
    return found


def _query_in_composite(app: Starlette) -> Handler:
    """Queries as subrequests: the query module's own route, fed by hand."""

    def answer(ask: Ask) -> Answer:
        from sfsync.local_org import soql_routes

        scope = {
            "type": "http",
            "method": "GET",
            "path": f"{ask.base}/{ask.path}",
            "query_string": urlencode(ask.query).encode(),
            "headers": [(k.encode(), v.encode("latin-1", "replace")) for k, v in ask.headers.items()],
            "path_params": {"version": ask.version},
            "app": app,
        }
        run = soql_routes.query if ask.path == "query" else soql_routes.query_all
        response = run(Request(scope))
        return Answer(response.status_code, json.loads(bytes(response.body)))

    return answer


# -------------------------------------------------------------------- life


def make_app(
    org: Org, port: int, idle_s: float, files: tuple[Path, Path], made_of: str
) -> tuple[Gate, uvicorn.Server]:
    """The app and the server that runs it."""

    @contextlib.asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        tick = asyncio.create_task(_tick(gate, server, idle_s))
        starters = [
            importlib.import_module(n) for n in _OTHER_ROUTES if importlib.util.find_spec(n) is not None
        ]
        for module in starters:
            if hasattr(module, "start"):
                module.start(org)
        _announce(org, port, files[0], made_of)
        yield
        tick.cancel()
        for module in starters:
            if hasattr(module, "stop"):
                await anyio.to_thread.run_sync(module.stop, org)
        (org.folder / STATE_FILE).unlink(missing_ok=True)
        await gate.keep_journal()
        org.store.close()

    app = Starlette(
        routes=routes(),
        lifespan=life,
        exception_handlers={HTTPException: _on_http_error, Exception: _on_crash},
    )
    app.router.redirect_slashes = False
    register(r"(query|queryAll)", {"GET": _query_in_composite(app)})
    gate = Gate(app, org)
    config = uvicorn.Config(
        gate,
        host="127.0.0.1",
        port=port,
        http=DroppableProtocol,
        ws="none",
        ssl_certfile=str(files[0]),
        ssl_keyfile=str(files[1]),
        log_level="warning",
        access_log=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
        server_header=False,
        date_header=False,  # the gate says it, by the org's own clock
    )
    server = uvicorn.Server(config)
    app.state.org, app.state.server, app.state.gate = org, server, gate
    return gate, server


async def _tick(gate: Gate, server: uvicorn.Server, idle_s: float) -> None:
    """Every second: keep the journal, and end when nobody has asked for too long, or the data are gone."""
    data = gate.org.folder / FILE
    ours = data.stat().st_ino
    while True:
        await asyncio.sleep(1)
        try:
            gone = data.stat().st_ino != ours
        except FileNotFoundError:
            gone = True
        if gone:
            os._exit(
                0
            )  # the folder was deleted: there is nothing to keep, and files of it may belong to a new org
        await gate.keep_journal()
        if time.monotonic() - gate.last_seen > idle_s:
            server.should_exit = True


def _announce(org: Org, port: int, ca_file: Path, made_of: str) -> None:

    who = {k: v for k, v in asdict(org.identity).items() if k not in ("instance", "user_id")}
    body = {
        "url": f"https://127.0.0.1:{port}",
        "ca_file": str(ca_file),
        "pid": os.getpid(),
        **who,
        "made_of": made_of,
    }
    write_private(org.folder / STATE_FILE, json.dumps(body, indent=1) + "\n")


def _listen(folder: Path) -> socket.socket:
    """A listening socket: on the port of the last time if that is free."""
    remembered = folder / "port"
    wanted = [int(remembered.read_text())] if remembered.exists() and remembered.read_text().isdigit() else []
    for port in (*wanted, 0):
        # The protocol is named, or asyncio leaves Nagle's algorithm on and small answers wait 40 ms for an ACK.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            listener.close()
            continue
        listener.listen(128)
        remembered.write_text(str(listener.getsockname()[1]))
        return listener
    raise OSError("no free port on 127.0.0.1")


def main(arguments: list[str] | None = None) -> int:
    """Serve one folder until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m sfsync.local_org.server")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--schema", type=Path)
    parser.add_argument("--faults", type=Path)
    parser.add_argument("--idle-minutes", type=float, default=30)
    parser.add_argument("--made-of", default="", help="what control started it from; kept for it")
    options = parser.parse_args(arguments)
    try:
        rules = read_rules(options.faults) if options.faults else []
        org = open_org(options.folder, load_schema(options.schema), rules)
    except SfsyncError as error:
        print(f"{error}" + (f"\n{error.fix}" if error.fix else ""), file=sys.stderr)  # noqa: T201 - the log is stderr
        return 2
    listener = _listen(options.folder)
    files = certificate.ensure(options.folder)
    port = listener.getsockname()[1]
    _, server = make_app(org, port, options.idle_minutes * 60, files, options.made_of)

    server.run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
