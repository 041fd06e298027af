"""Composite: up to 25 subrequests in one counted call, with references between them.

Owns:      reading the envelope, `@{ref.field}`, order, all-or-none over all subrequests, halting dependants.
Does not:  know a resource (dispatch is handed in).
Invariant: one answer per subrequest, in the order of the request, whatever became of each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from sfsync.local_org.answers import Answer, ApiError
from sfsync.local_org.ask import Ask

MAX_SUBREQUESTS = 25
MAX_COLLECTIONS = 5
_URL = re.compile(r"/services/data/v(\d+\.\d)/(.+)")
REFERENCE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]*")
_REFERENCE = re.compile(r"@\{([^}]+)\}")
_METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE")
_FORBIDDEN_HEADERS = ("accept", "authorization", "content-type")
_KEYS = {"method", "url", "referenceId", "body", "httpHeaders"}
_ROLLED_BACK = "The transaction was rolled back since another operation in the same transaction failed."
Dispatch = Callable[[Ask], Answer]


@dataclass(frozen=True, slots=True)
class Part:
    """One subrequest as it stands in the envelope."""

    method: str
    url: str
    reference: str
    body: Any
    headers: Mapping[str, str]


class _HaltError(Exception):
    """Rolls an all-or-none Composite back, keeping the answers."""

    def __init__(self, failed: int) -> None:
        super().__init__()
        self.failed = failed


def composite(ask: Ask, dispatch: Dispatch) -> Answer:
    """POST /composite"""
    body = ask.body
    if not isinstance(body, Mapping) or not isinstance(body.get("compositeRequest"), list):
        raise ApiError(
            400, "JSON_PARSER_ERROR", "The request body must be an object with a list 'compositeRequest'"
        )
    for name in ("allOrNone", "collateSubrequests"):
        if not isinstance(body.get(name, False), bool):
            raise ApiError(400, "JSON_PARSER_ERROR", f"Cannot deserialize instance of boolean: {name}")
    parts = [part_of(item, i) for i, item in enumerate(body["compositeRequest"])]
    _check(parts)
    done: dict[str, Answer] = {}
    if body.get("allOrNone", False):
        done, _ = all_or_none(ask, parts, dispatch)
    else:
        for part in parts:
            done[part.reference] = _answer(ask, part, done, dispatch)
    return Answer(200, {"compositeResponse": [envelope(part, done[part.reference]) for part in parts]})


def all_or_none(ask: Ask, parts: Sequence[Part], dispatch: Dispatch) -> tuple[dict[str, Answer], bool]:
    """Answer all subrequests in one transaction: their answers by reference, and whether it was kept."""
    done: dict[str, Answer] = {}
    try:
        with ask.org.store.write() as cursor:
            for i, part in enumerate(parts):
                done[part.reference] = _answer(replace(ask, cursor=cursor), part, done, dispatch)
                if _failed(done[part.reference]):
                    raise _HaltError(i)
    except _HaltError as halt:
        return _roll_back(parts, done, halt.failed), False
    return done, True


def part_of(item: Any, index: int) -> Part:
    """One subrequest as it was sent.

    Raises:
        ApiError: it is not what a subrequest is.
    """
    if not isinstance(item, Mapping):
        raise ApiError(400, "JSON_PARSER_ERROR", f"Subrequest {index + 1} must be a JSON object")
    unknown = sorted(set(item) - _KEYS)
    if unknown:
        raise ApiError(
            400, "JSON_PARSER_ERROR", f'Unrecognized field "{unknown[0]}" in subrequest {index + 1}'
        )
    method, url, reference = item.get("method"), item.get("url"), item.get("referenceId")
    if method not in _METHODS:
        raise ApiError(400, "INVALID_INPUT", f"Invalid method in subrequest {index + 1}: {method}")
    if not isinstance(url, str) or not _URL.match(url):
        raise ApiError(
            400,
            "INVALID_INPUT",
            f"Invalid url in subrequest {index + 1}: it must begin with /services/data/vXX.X/",
        )
    if not isinstance(reference, str) or not REFERENCE_ID.fullmatch(reference):
        raise ApiError(400, "INVALID_INPUT", f"Invalid reference Id in subrequest {index + 1}: {reference}")
    headers = item.get("httpHeaders") or {}
    if not isinstance(headers, Mapping):
        raise ApiError(
            400, "JSON_PARSER_ERROR", f"httpHeaders of subrequest {index + 1} must be a JSON object"
        )
    for name in headers:
        if str(name).lower() in _FORBIDDEN_HEADERS:
            raise ApiError(400, "INVALID_INPUT", f"The header {name} is not allowed in a subrequest")
    return Part(
        method, url, reference, item.get("body"), {str(k).lower(): str(v) for k, v in headers.items()}
    )


def _check(parts: list[Part]) -> None:
    if not parts:
        raise ApiError(400, "INVALID_INPUT", "A composite request needs at least one subrequest")
    if len(parts) > MAX_SUBREQUESTS:
        raise ApiError(
            400,
            "LIMIT_EXCEEDED",
            f"Limit of {MAX_SUBREQUESTS} subrequests exceeded: this call has {len(parts)}",
        )
    heavy = sum(1 for p in parts if re.search(r"/(composite/sobjects|query|queryAll)(/|\?|$)", p.url))
    if heavy > MAX_COLLECTIONS:
        raise ApiError(
            400,
            "LIMIT_EXCEEDED",
            f"Limit of {MAX_COLLECTIONS} sObject Collections or query subrequests exceeded: this call has {heavy}",
        )
    check_references(parts)


def check_references(parts: Sequence[Part]) -> None:
    """
    Raises:
        ApiError: a reference Id stands twice.
    """
    seen: set[str] = set()
    for part in parts:
        if part.reference in seen:
            raise ApiError(400, "INVALID_INPUT", f"Duplicate reference Id: {part.reference}")
        seen.add(part.reference)


def _answer(ask: Ask, part: Part, done: Mapping[str, Answer], dispatch: Dispatch) -> Answer:
    """Answer one subrequest; every refusal becomes its own answer."""
    try:
        url = _fill(part.url, done, in_url=True)
        body = _fill_body(part.body, done)
        split = urlsplit(url)
        matched = _URL.match(split.path)
        if matched is None:
            raise ApiError(400, "INVALID_INPUT", f"Invalid url: {url}")
        return dispatch(
            replace(
                ask,
                method=part.method,
                version=matched[1],
                path=unquote(matched[2]).strip("/"),
                query=dict(parse_qsl(split.query, keep_blank_values=True)),
                body=body,
                headers={**ask.headers, **part.headers},
                parts=(),
            )
        )
    except ApiError as error:
        return error.answer()


def _fill_body(body: Any, done: Mapping[str, Answer]) -> Any:
    if isinstance(body, str):
        return _fill(body, done)
    if isinstance(body, Mapping):
        return {k: _fill_body(v, done) for k, v in body.items()}
    if isinstance(body, list):
        return [_fill_body(v, done) for v in body]
    return body


def _fill(text: str, done: Mapping[str, Answer], *, in_url: bool = False) -> Any:
    """Put the values of earlier answers in place of ``@{...}``; a text that is one reference keeps its type."""
    whole = _REFERENCE.fullmatch(text)
    if whole and not in_url:
        return _look_up(whole[1], done)
    return _REFERENCE.sub(lambda m: str(_look_up(m[1], done)), text)


def _look_up(path: str, done: Mapping[str, Answer]) -> Any:
    reference, _, rest = path.partition(".")
    index = re.fullmatch(r"(\w+)((?:\[\d+\])+)", reference)
    rest = (index[2] + ("." + rest if rest else "")) if index else rest
    name = index[1] if index else reference
    answer = done.get(name)
    halted = ApiError(
        400, "PROCESSING_HALTED", f"Invalid reference specified. No value for {path} found in {name}"
    )
    if answer is None or answer.status >= 400:
        raise halted
    value = answer.body
    for step in re.findall(r"[^.\[\]]+", rest):
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, Mapping) and step in value:
            value = value[step]
        else:
            raise halted
    if value is None:
        raise halted
    return json.dumps(value, default=str) if isinstance(value, Mapping | list) else _plain(value)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Decimal) else value


def _failed(answer: Answer) -> bool:
    """A refused call, or a collection in which a row failed."""
    if answer.status >= 300:
        return True
    rows = answer.body if isinstance(answer.body, list) else []
    return any(isinstance(r, Mapping) and r.get("success") is False for r in rows)


def _roll_back(parts: Sequence[Part], done: Mapping[str, Answer], failed: int) -> dict[str, Answer]:
    halted = Answer(400, [{"errorCode": "PROCESSING_HALTED", "message": _ROLLED_BACK}])
    return {p.reference: done[p.reference] if i == failed else halted for i, p in enumerate(parts)}


def envelope(part: Part, answer: Answer) -> dict[str, Any]:
    """The answer of one subrequest as the whole answer shows it."""
    return {
        "body": answer.body,
        "httpHeaders": dict(answer.headers),
        "httpStatusCode": answer.status,
        "referenceId": part.reference,
    }
