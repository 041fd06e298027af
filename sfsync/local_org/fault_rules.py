"""What a rule of misbehaviour may say: the faults, their keys, and the reading of rules.

Owns:      the frozen Rule, the list of faults, the check of every key, the fault file.
Does not:  decide when a rule acts (faults) or act on it (fault_acts, fault_rows, fault_results, bulk_worker).
Invariant: an unknown fault or key is an error, never ignored; a Rule holds checked values only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfsync.errors import OrgError

ALWAYS = "always"
EDITS = ("result_missing", "result_doubled", "items_fewer", "no_status")
RIGHTS = ("create", "update", "delete")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, as it was asked for. None for `times` or `polls`: without end."""

    fault: str
    match: str = ""  # "METHOD part-of-path"; either may be absent; "" meets every request
    times: int | None = 1
    after: int = 0  # what the rule meets is let pass this often before it acts
    status: int = 503
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    seconds: float = 1.0
    before_work: bool = False
    share: float = 1.0
    looks_whole: bool = False
    edit: str | None = None
    html: bool = True
    error: str = "invalid_grant"
    description: str = "authentication failure"
    calls: int = 1
    object: str | None = None
    rights: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    hidden: bool = False
    field: str | None = None
    values: tuple[str, ...] = ()
    code: str = "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"
    message: str = ""
    passes_alone: bool = False
    alone: bool = False  # the bad rows fail by themselves: those that are saved with them do not
    polls: int | None = None
    job_too: bool = False
    processed: int = 0
    failed: int = 0

    def meets(self, method: str, path: str) -> bool:
        """Whether the rule is about this request."""
        wanted, _, part = self.match.rpartition(" ")
        if part in _METHODS:
            wanted, part = part, ""
        if self.fault in _ONLY_DATA and not path.startswith(_SIGNED):
            return False  # nothing else is signed or counted, and a rule must not be used up by a sign-in
        if self.fault == "sign_in_refused" and path != "/services/oauth2/token":
            return False
        return (not wanted or wanted.upper() == method) and part in path

    def about(self, sobject: str) -> bool:
        """Whether the rule is about this object."""
        return self.object is None or self.object.lower() == sobject.lower()


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_SIGNED = ("/services/data/v", "/services/Soap/", "/services/async/")
_ONLY_DATA = frozenset({"expired_token", "others_spend", "rights_lost"})


@dataclass(frozen=True, slots=True)
class Kind:
    """One fault: what it is, which keys it takes beside `fault`, and what they are if absent."""

    takes: frozenset[str]
    scope: str  # what uses the rule up: request | beside (a request, but no other rule is shut out) | write | job | none
    defaults: Mapping[str, Any]


def _kind(scope: str, keys: str, **defaults: Any) -> Kind:
    common = {"request": "match times after", "beside": "match times after", "none": ""}
    return Kind(
        frozenset(f"{keys} {common.get(scope, 'object times after')}".split()),
        scope,
        defaults,
    )


KINDS: dict[str, Kind] = {
    "lost_before_commit": _kind("request", ""),
    "lost_after_commit": _kind("request", ""),
    "status": _kind("request", "status body headers"),
    "expired_token": _kind("request", ""),
    "slow": _kind("request", "seconds before_work"),
    "cut_answer": _kind("request", "share looks_whole", share=0.5),
    "garbled": _kind("request", "body edit"),
    "maintenance": _kind("request", "html"),
    "sign_in_refused": _kind("request", "error description", times=None),
    "others_spend": _kind("beside", "calls", times=None),
    "rights_lost": _kind("beside", "object rights fields hidden", times=None),
    "clock_off": _kind("none", "seconds"),
    "locked_rows": _kind("write", "share"),
    "apex_limit": _kind("write", "field values share code message passes_alone", times=None, share=0.0),
    "refused_rows": _kind(
        "write",
        "field values share code message fields",
        times=None,
        share=0.0,
        code="FIELD_CUSTOM_VALIDATION_EXCEPTION",
        alone=True,
    ),
    "job_stuck": _kind("job", "share polls", share=0.0),
    "job_failed": _kind("job", "share message", share=0.5),
    "job_aborted": _kind("job", "share", share=0.5),
    "results_doubled": _kind("job", "share", share=0.5),
    "results_shuffled": _kind("job", ""),
    "results_missing": _kind("job", "share", share=0.5),
    "results_expired": _kind("job", "job_too"),
    "query_failed": _kind("job", ""),
    "query_stuck": _kind("job", "polls"),
    "query_expired": _kind("job", ""),
    "counts_wrong": _kind("job", "processed failed"),
}


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
        raise OrgError(f"fault rule {number} is not a map", fix="write `{fault: status, status: 503}`")
    name = item.get("fault")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise OrgError(
            f"fault rule {number}: unknown fault '{name}'", fix=f"known faults: {', '.join(KINDS)}"
        )
    unknown = sorted(str(k) for k in set(item) - kind.takes - {"fault"})
    if unknown:
        raise OrgError(
            f"fault rule {number}: {name} takes no key '{unknown[0]}'",
            fix=f"known keys: {', '.join(sorted(kind.takes | {'fault'}))}",
        )
    given: dict[str, Any] = dict(kind.defaults)
    for key, value in item.items():
        if key != "fault":
            check, wanted = _CHECKS[key]
            try:
                given[key] = check(value)
            except (ValueError, TypeError):
                raise OrgError(f"fault rule {number}: {key} is {value!r}; it is {wanted}") from None
    lacking = _lacking(str(name), given)
    if lacking:
        raise OrgError(f"fault rule {number}: {name} needs {lacking}")
    return Rule(str(name), **given)


def _lacking(name: str, given: Mapping[str, Any]) -> str | None:
    """What a fault cannot do without."""
    if name == "garbled" and ("body" in given) == ("edit" in given):
        return "either body or edit"
    if name == "cut_answer" and given["share"] >= 1:
        return "a share below 1: a whole answer is not cut"
    if name in ("apex_limit", "refused_rows") and bool(given.get("values")) == bool(given["share"]):
        return "either values or a share above 0"
    if name == "rights_lost":
        if given.get("object") is None:
            return "object"
        if not given.get("rights") and not given.get("fields"):
            return "rights or fields"
        if given.get("hidden") and not given.get("fields"):
            return "fields, of which `hidden` speaks"
    if name == "counts_wrong" and not given.get("processed") and not given.get("failed"):
        return "processed or failed, other than 0"
    if name == "slow" and given.get("seconds", 1) < 0:
        return "seconds from 0"
    if name == "clock_off" and "seconds" not in given:
        return "seconds"
    return None


# ---------------------------------------------------------------- checks of single values


def _whole(low: int, high: int | None = None, *, endless: bool = False) -> Callable[[Any], int | None]:
    def check(value: Any) -> int | None:
        if endless and value == ALWAYS:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            raise ValueError
        if high is not None and value > high:
            raise ValueError
        return value

    return check


def _share(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ValueError
    return float(value)


def _seconds(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > 10 * 366 * 86_400:
        raise ValueError
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def _any_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _body(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _names(*known: str) -> Callable[[Any], tuple[str, ...]]:
    def check(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            raise ValueError
        texts = tuple(_text(v) if known else str(v) for v in value)
        if known and not set(texts) <= set(known):
            raise ValueError
        return texts

    return check


def _one_of(known: tuple[str, ...]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in known:
            raise ValueError
        return str(value)

    return check


def _headers(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping):
        raise TypeError
    found = tuple((str(k), str(v)) for k, v in value.items())
    for name, text in found:
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not re.fullmatch(r"[\x20-\x7e]*", text):
            raise ValueError
    return found


_Check = tuple[Callable[[Any], Any], str]
_CHECKS: dict[str, _Check] = {
    "match": (_any_text, "`METHOD part-of-path`, or one of the two"),
    "times": (_whole(1, endless=True), "a whole number from 1, or always"),
    "after": (_whole(0), "a whole number from 0"),
    "status": (_whole(400, 599), "an HTTP status from 400 to 599"),
    "body": (_body, "text or JSON"),
    "headers": (_headers, "a map of header names to texts in ASCII"),
    "seconds": (_seconds, "a number of seconds, at most ten years"),
    "before_work": (_flag, "true or false"),
    "share": (_share, "from 0 to 1"),
    "looks_whole": (_flag, "true or false"),
    "edit": (_one_of(EDITS), f"one of {', '.join(EDITS)}"),
    "html": (_flag, "true or false"),
    "error": (_text, "an OAuth error such as invalid_grant"),
    "description": (_text, "a text"),
    "calls": (_whole(1), "a whole number from 1"),
    "object": (_text, "the name of an object"),
    "rights": (_names(*RIGHTS), f"a list out of {', '.join(RIGHTS)}"),
    "fields": (_names(), "a list of field names"),
    "hidden": (_flag, "true or false"),
    "field": (_text, "the name of a field"),
    "values": (_names(), "a list of values"),
    "code": (_text, "a status code"),
    "message": (_text, "a text"),
    "passes_alone": (_flag, "true or false"),
    "polls": (_whole(1, endless=True), "a whole number from 1, or always"),
    "job_too": (_flag, "true or false"),
    "processed": (_whole(-(10**9)), "a whole number"),
    "failed": (_whole(-(10**9)), "a whole number"),
}


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
