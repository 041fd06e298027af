"""Misbehaviour on request: the rules in force, and which of them meets what happens.

Owns:      how often a rule was met and has acted, and the jobs that a rule has chosen.
Does not:  read rules (fault_rules) or act on them (fault_acts, fault_rows, fault_results, bulk_worker).
Invariant: a rule lets `after` pass, acts `times` times, and then never again; a rule about jobs acts on a job
           always or never.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import Any

from sfsync.contract import Contract, Field, SObject
from sfsync.local_org.fault_rows import BadRows, RowFaults
from sfsync.local_org.fault_rules import ALWAYS, KINDS, Rule


@dataclass(slots=True)
class _Standing:
    """A rule in force; `skip` and `left` count down."""

    rule: Rule
    skip: int
    left: int | None  # None: without end
    on: bool = False  # of rights_lost: did it act on the last request?
    jobs: dict[str, bool] = field(default_factory=dict)

    def use(self) -> bool:
        """The rule was met: does it act this time?"""
        if self.skip:
            self.skip -= 1
            return False
        if self.left is None:
            return True
        self.left = max(-1, self.left - 1)
        return self.left >= 0

    @property
    def scope(self) -> str:
        return KINDS[self.rule.fault].scope


class Faults:
    """The rules in force."""

    def __init__(self, rules: list[Rule]) -> None:
        self._first = list(rules)
        self._lock = threading.Lock()
        self._standing: list[_Standing] = []
        self.set(rules)

    def set(self, rules: list[Rule]) -> None:
        """Replace all rules."""
        with self._lock:
            self._standing = [_Standing(r, r.after, r.times) for r in rules]

    def reset(self) -> None:
        """Back to the rules of the start."""
        self.set(self._first)

    def left(self) -> list[dict[str, Any]]:
        """The rules with how often each will still act."""
        with self._lock:
            return [
                {
                    "fault": s.rule.fault,
                    "match": s.rule.match,
                    "object": s.rule.object,
                    "times": ALWAYS if s.left is None else max(0, s.left),
                    "after": s.skip,
                }
                for s in self._standing
            ]

    # ---------------------------------------------------------------- requests

    def take(self, method: str, path: str) -> Rule | None:
        """The rule that acts on this request; the rules before it that only let it pass have counted it."""
        with self._lock:
            for standing in self._standing:
                if standing.scope == "request" and standing.rule.meets(method, path) and standing.use():
                    return standing.rule
        return None

    def beside(self, method: str, path: str) -> int:
        """Count a request for the rules that shut out no other; the calls that others spent before it."""
        spent = 0
        with self._lock:
            for standing in self._standing:
                if standing.scope != "beside" or not standing.rule.meets(method, path):
                    continue
                standing.on = standing.use()
                if standing.on and standing.rule.fault == "others_spend":
                    spent += standing.rule.calls
        return spent

    def clock_s(self) -> float:
        """By how many seconds the org's clock is off."""
        with self._lock:
            return sum(s.rule.seconds for s in self._standing if s.rule.fault == "clock_off")

    # ---------------------------------------------------------------- rights

    def _lost(self) -> list[Rule]:
        with self._lock:
            return [s.rule for s in self._standing if s.on and s.rule.fault == "rights_lost"]

    def seen(self, contract: Contract) -> Contract:
        """The contract with the rights that the user still has."""
        lost = self._lost()
        if not lost:
            return contract
        return replace(contract, objects=tuple(_narrowed(o, lost) for o in contract.objects))

    # ---------------------------------------------------------------- rows

    def of_write(self, sobject: str) -> RowFaults:
        """What a write of this object's rows will meet; each rule is used once."""
        share, bad = 0.0, []
        with self._lock:
            for standing in self._standing:
                rule = standing.rule
                if standing.scope != "write" or not rule.about(sobject):
                    continue
                if rule.fault == "locked_rows" and share:
                    continue
                if not standing.use():
                    continue
                if rule.fault == "locked_rows":
                    share = rule.share
                else:
                    bad.append(BadRows(rule))
        lost = frozenset(right for r in self._lost() if r.about(sobject) for right in r.rights)
        return RowFaults(share, tuple(bad), lost)

    # ---------------------------------------------------------------- jobs

    def of_job(self, job_id: str, sobject: str, *faults: str) -> Rule | None:
        """The first rule of these faults that has chosen this job, now or earlier."""
        with self._lock:
            for standing in self._standing:
                rule = standing.rule
                if rule.fault not in faults or not rule.about(sobject):
                    continue
                if job_id not in standing.jobs:
                    standing.jobs[job_id] = standing.use()
                if standing.jobs[job_id]:
                    return rule
        return None


def _narrowed(sobject: SObject, lost: list[Rule]) -> SObject:
    for rule in lost:
        if not rule.about(sobject.name):
            continue
        named = {name.lower() for name in rule.fields}
        fields = tuple(
            _closed(f) if f.name.lower() in named else f
            for f in sobject.fields
            if not (rule.hidden and f.name.lower() in named)
        )
        sobject = replace(
            sobject,
            fields=fields,
            createable=sobject.createable and "create" not in rule.rights,
            updateable=sobject.updateable and "update" not in rule.rights,
            deletable=sobject.deletable and "delete" not in rule.rights,
        )
    return sobject


def _closed(field: Field) -> Field:
    return replace(field, createable=False, updateable=False)
