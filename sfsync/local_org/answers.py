"""What handlers give: an Answer, or one of the platform's errors.

Owns:      the values that go out, JSON text in and out, the error shapes of single calls.
Does not:  route (server, dispatch) or know any resource.
Invariant: an error of a single call is an array of objects with errorCode and message.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from starlette.responses import Response

from sfsync.local_org.columns import RefusedWriteError

JSON_TYPE = "application/json;charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body (None: empty) and headers."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class ApiError(Exception):
    """A single call that is refused."""

    def __init__(self, status: int, code: str, message: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.fields = status, code, message, fields

    def answer(self) -> Answer:
        """The platform's array of one error."""
        body: dict[str, Any] = {"message": self.message, "errorCode": self.code}
        if self.fields:
            body["fields"] = list(self.fields)
        return Answer(self.status, [body])


def from_refusal(refusal: RefusedWriteError) -> ApiError:
    """A refused write as the answer of a single call."""
    return ApiError(refusal.status, refusal.code, refusal.message, refusal.fields)


def not_found() -> ApiError:
    return ApiError(404, "NOT_FOUND", "The requested resource does not exist")


def not_allowed(method: str, allowed: list[str]) -> ApiError:
    names = ", ".join(sorted(allowed))
    return ApiError(405, "METHOD_NOT_ALLOWED", f"HTTP Method '{method}' not allowed. Allowed are {names}")


def session_expired() -> ApiError:
    return ApiError(401, "INVALID_SESSION_ID", "Session expired or invalid")


def parse_json(raw: bytes) -> Any:
    """Parse a request body; decimals keep their digits.

    Raises:
        ApiError: JSON_PARSER_ERROR.
    """
    if not raw.strip():
        return None
    try:
        return json.loads(raw, parse_float=Decimal)
    except UnicodeDecodeError:
        raise ApiError(400, "JSON_PARSER_ERROR", "Invalid UTF-8 in the request body") from None
    except json.JSONDecodeError as error:
        at = f"[line:{error.lineno}, column:{error.colno}]"
        raise ApiError(400, "JSON_PARSER_ERROR", f"{error.msg} at {at}") from None
    except (RecursionError, ValueError):
        raise ApiError(
            400, "JSON_PARSER_ERROR", "The JSON is nested too deeply or holds a bad number"
        ) from None


def json_text(body: Any, *, pretty: bool = False) -> str:
    """A body as JSON, in the two layouts that clients ask for."""
    if pretty:
        return json.dumps(body, indent=2, separators=(",", " : "), ensure_ascii=False, default=_number)
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False, default=_number)


def _number(value: object) -> object:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def to_response(answer: Answer, headers: Mapping[str, str]) -> Response:
    """An Answer on the wire."""
    if answer.body is None:
        return Response(status_code=answer.status, headers=dict(answer.headers))
    text = json_text(answer.body, pretty=headers.get("x-prettyprint") == "1")
    return Response(text, status_code=answer.status, headers=dict(answer.headers), media_type=JSON_TYPE)
