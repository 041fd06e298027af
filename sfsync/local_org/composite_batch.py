"""Composite Batch: up to 25 requests that know nothing of each other, one after the other, in one counted call.

Owns:      reading the envelope, halting at the first error if asked for.
Does not:  know a resource (dispatch is handed in).
Invariant: one result per request, in order; what one has saved stays, whatever becomes of the next.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from sfsync.local_org.answers import Answer, ApiError
from sfsync.local_org.ask import Ask

MAX_REQUESTS = 25  # REST guide, "Batch"
_URL = re.compile(r"/?(?:services/data/)?v(\d+\.\d)/(.+)")
_METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE", "HEAD")
_KEYS = {"method", "url", "richInput", "binaryPartName", "binaryPartNameAlias"}
_HALTED = "Batch processing halted due to the haltOnError flag being set"
Dispatch = Callable[[Ask], Answer]


def batch(ask: Ask, dispatch: Dispatch) -> Answer:
    """POST /composite/batch"""
    body = ask.body
    if not isinstance(body, Mapping) or not isinstance(body.get("batchRequests"), list):
        raise ApiError(
            400, "JSON_PARSER_ERROR", "The request body must be an object with a list 'batchRequests'"
        )
    halt, requests = body.get("haltOnError", False), body["batchRequests"]
    if not isinstance(halt, bool):
        raise ApiError(400, "JSON_PARSER_ERROR", "Cannot deserialize instance of boolean: haltOnError")
    if not 1 <= len(requests) <= MAX_REQUESTS:
        text = f"A batch has 1 to {MAX_REQUESTS} requests; this one has {len(requests)}"
        raise ApiError(400, "LIMIT_EXCEEDED" if requests else "INVALID_INPUT", text)
    parts = [_part(ask, item, i) for i, item in enumerate(requests, 1)]
    results: list[dict[str, Any]] = []
    failed = False
    for part in parts:
        answer = _halted() if failed and halt else _answer(part, dispatch)
        failed = failed or answer.status >= 400
        results.append({"statusCode": answer.status, "result": answer.body})
    return Answer(200, {"hasErrors": failed, "results": results})


def _part(ask: Ask, item: Any, number: int) -> Ask:
    if not isinstance(item, Mapping):
        raise ApiError(400, "JSON_PARSER_ERROR", f"Request {number} of the batch must be a JSON object")
    unknown = sorted(set(item) - _KEYS)
    if unknown:
        raise ApiError(400, "JSON_PARSER_ERROR", f'Unrecognized field "{unknown[0]}" in request {number}')
    method, url = item.get("method"), item.get("url")
    if method not in _METHODS:
        raise ApiError(400, "INVALID_INPUT", f"Invalid method in request {number}: {method}")
    split = urlsplit(url) if isinstance(url, str) else None
    matched = _URL.fullmatch(split.path) if split is not None else None
    if split is None or matched is None:
        raise ApiError(400, "INVALID_INPUT", f"Invalid url in request {number}: it must begin with vXX.X/")
    return replace(
        ask,
        method=method,
        version=matched[1],
        path=unquote(matched[2]).strip("/"),
        query=dict(parse_qsl(split.query, keep_blank_values=True)),
        body=item.get("richInput"),
        parts=(),
    )


def _answer(part: Ask, dispatch: Dispatch) -> Answer:
    try:
        return dispatch(part)
    except ApiError as error:
        return error.answer()


def _halted() -> Answer:
    return ApiError(412, "BATCH_PROCESSING_HALTED", _HALTED).answer()
