"""Misbehaviour on request: rules that make the local org fail as a real one may.

Owns:      reading and checking rules, and deciding which rule meets a request.
Does not:  drop connections or write answers (gate), or lock rows (stage).
Invariant: a rule acts `times` times and then never again; an unknown fault or key is an error, never ignored.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfsync.errors import OrgError

KINDS = {
    "lost_before_commit": "the connection is dropped before the request is worked on",
    "lost_after_commit": "the request is worked on, and the connection is dropped instead of an answer",
    "status": "the answer is this HTTP status and body, and nothing is worked on",
    "expired_token": "the token of the request is killed and the answer is 401 INVALID_SESSION_ID",
    "locked_rows": "a share of an object's rows answers UNABLE_TO_LOCK_ROW",
}
_TAKES = {  # beside fault and times
    "lost_before_commit": {"match"},
    "lost_after_commit": {"match"},
    "status": {"match", "status", "body"},
    "expired_token": {"match"},
    "locked_rows": {"object", "share"},
}


@dataclass(slots=True)
class Rule:
    """One rule; `left` counts down."""

    fault: str
    match: str  # "METHOD part-of-path"; either may be absent; "" meets every request
    left: int
    status: int = 503
    body: str = ""
    object: str | None = None
    share: float = 1.0

    def meets(self, method: str, path: str) -> bool:
        """Whether the rule is about this request."""
        wanted, _, part = self.match.rpartition(" ")
        if self.fault == "expired_token" and not path.startswith("/services/data/v"):
            return False  # nothing else is signed, and a rule must not be used up by a sign-in
        return (not wanted or wanted.upper() == method) and part in path


def parse_rules(body: Any) -> list[Rule]:
    """Rules from parsed JSON or YAML.

    Raises:
        OrgError: not a list of known rules.
    """
    if not isinstance(body, list):
        raise OrgError("faults are a list of rules", fix="write `- {fault: status, status: 503, times: 1}`")
    return [_rule(i, item) for i, item in enumerate(body, 1)]


def _rule(number: int, item: Any) -> Rule:
    if not isinstance(item, Mapping):
        raise OrgError(f"fault rule {number} is not a map")
    kind = item.get("fault")
    if kind not in KINDS:
        raise OrgError(
            f"fault rule {number}: unknown fault '{kind}'", fix=f"known faults: {', '.join(KINDS)}"
        )
    known = {"fault", "times"} | _TAKES[kind]
    unknown = sorted(str(k) for k in set(item) - known)
    if unknown:
        raise OrgError(
            f"fault rule {number}: {kind} takes no key '{unknown[0]}'",
            fix=f"known keys: {', '.join(sorted(known))}",
        )
    times, share, status = item.get("times", 1), item.get("share", 1.0), item.get("status", 503)
    if not isinstance(times, int) or isinstance(times, bool) or times < 1:
        raise OrgError(f"fault rule {number}: times is {times!r}; it is a whole number from 1")
    if not isinstance(share, int | float) or not 0 < share <= 1:
        raise OrgError(f"fault rule {number}: share is {share!r}; it is above 0 and at most 1")
    if not isinstance(status, int) or not 400 <= status <= 599:
        raise OrgError(f"fault rule {number}: status is {status!r}; it is an HTTP status from 400 to 599")
    body = item.get("body", "")
    text = body if isinstance(body, str) else json.dumps(body)
    return Rule(kind, str(item.get("match", "")), times, status, text, item.get("object"), float(share))


def read_rules(path: Path) -> list[Rule]:
    """Rules from a JSON or YAML file.

    Raises:
        OrgError: unreadable, not YAML, or a wrong rule.
    """
    import yaml  # only a faulty org needs it

    try:
        return parse_rules(yaml.safe_load(path.read_text(encoding="utf-8")) or [])
    except OSError as error:
        raise OrgError(f"the fault file {path} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise OrgError(f"the fault file {path} is neither JSON nor YAML: {error}") from None


class Faults:
    """The rules in force."""

    def __init__(self, rules: list[Rule]) -> None:
        self._first = rules
        self._rules = _copies(rules)
        self._lock = threading.Lock()

    def set(self, rules: list[Rule]) -> None:
        """Replace all rules."""
        with self._lock:
            self._rules = rules

    def reset(self) -> None:
        """Back to the rules of the start."""
        self.set(_copies(self._first))

    def take(self, method: str, path: str) -> Rule | None:
        """The first rule about this request, used once; rules about rows are not asked here."""
        with self._lock:
            for rule in self._rules:
                if rule.fault != "locked_rows" and rule.left > 0 and rule.meets(method, path):
                    rule.left -= 1
                    return rule
        return None

    def locked_share(self, sobject: str) -> float:
        """The share of this write's rows that a lock refuses; uses a rule once."""
        with self._lock:
            for rule in self._rules:
                wanted = rule.object is None or rule.object.lower() == sobject.lower()
                if rule.fault == "locked_rows" and rule.left > 0 and wanted:
                    rule.left -= 1
                    return rule.share
        return 0.0

    def left(self) -> list[dict[str, Any]]:
        """The rules with how often each will still act."""
        with self._lock:
            return [
                {"fault": r.fault, "match": r.match, "object": r.object, "times": r.left} for r in self._rules
            ]


def _copies(rules: list[Rule]) -> list[Rule]:
    return [Rule(r.fault, r.match, r.left, r.status, r.body, r.object, r.share) for r in rules]
