"""Merges and conversions by the local org's own controls, below /_local.

Owns:      reading what is asked, and the answers.
Does not:  do either (fates).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sfsync.local_org.columns import RefusedWriteError
from sfsync.local_org.fates import Converted, Merged, convert, merge
from sfsync.local_org.org import Org

_CONVERT = ("lead", "account", "contact", "opportunity", "status")


def _merge(org: Org, body: Mapping[str, Any]) -> Merged:
    others = body.get("others")
    if set(body) != {"object", "master", "others"} or not isinstance(others, list):
        raise ValueError('a merge is {"object": "Account", "master": ID, "others": [ID]}')
    return merge(org, str(body["object"]), str(body["master"]), [str(one) for one in others])


def _convert(org: Org, body: Mapping[str, Any]) -> Converted:
    if "lead" not in body or set(body) - set(_CONVERT):
        raise ValueError(f"a conversion has a lead, and may have {', '.join(_CONVERT[1:])}")
    texts = {key: body[key] for key in ("account", "contact", "status") if body.get(key) is not None}
    wanted = body.get("opportunity", True)
    named = wanted if isinstance(wanted, str) else "" if wanted else None
    if not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("account, contact and status are texts")
    return convert(org, str(body["lead"]), opportunity=named, **texts)


def _route(work: Callable[[Org, Mapping[str, Any]], Merged | Converted]) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        try:
            body = json.loads(await request.body() or b"{}")
            if not isinstance(body, Mapping):
                raise ValueError("the body is not a JSON object")
            done = await anyio.to_thread.run_sync(work, request.app.state.org, body)
        except RefusedWriteError as refusal:
            return JSONResponse({"error": f"{refusal.code}: {refusal.message}"}, status_code=400)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse(asdict(done))

    return answer


ROUTES = [
    Route("/_local/merge", _route(_merge), methods=["POST"]),
    Route("/_local/convert", _route(_convert), methods=["POST"]),
]
