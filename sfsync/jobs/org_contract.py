"""The contract that a command compiles with: the file in git, else the cached describe of the objects in use.

Owns:      which of the two counts, when the org is asked, and what a run does when the org disagrees with the file.
Does not:  read or write the file (contract_file), cache (state/contracts), or compile.
Invariant: with a file, nothing else decides what is compiled; the org's answer can only stop a run or warn of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from sfsync.contract import Contract
from sfsync.errors import CompileError, OrgError, Where
from sfsync.jobs.contract_file import ContractFile, contract_path, shown
from sfsync.jobs.session import Session
from sfsync.state import contracts


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the org. file: the name of its contract in git; None: it was asked, or its answer cached."""

    contract: Contract
    file: str | None = None


def known_contract(session: Session, *, max_age: timedelta | None) -> Known:
    """What to compile with, asking the org where nothing, or nothing fresh enough, is known.

    Args:
        max_age: of the org's answer; None: as old as it may be, and a file is taken at its word.

    Raises:
        CompileError: the org is not as the file says any more, and syncs cannot run.
        OrgError: offline, and neither is there.
    """
    file = session.contract_file
    if file is None:
        return Known(_described(session, session.facts.objects, max_age))
    if max_age is not None and not session.options.offline:
        _confirm(session, file, max_age)
    return Known(file.contract, file.name)


def _described(session: Session, names: Iterable[str], max_age: timedelta | None) -> Contract:
    """The describes of these objects: cached, or asked of the org where they are missing or too old."""
    needed = tuple(names)
    cached = contracts.load(session.store)
    missing = [name for name in needed if cached is None or cached.object(name) is None]
    if session.options.offline:
        if missing:
            raise _nothing_known(session, missing)
        return cached or Contract(())
    at = contracts.fetched_at(session.store)
    if at is not None and max_age is not None and session.clock.now() - at > max_age:
        missing = list(needed)
    if not missing:
        return cached or Contract(())
    fresh = ask_anew(session, missing)
    return fresh.with_objects(o for o in (cached.objects if cached else ()) if fresh.object(o.name) is None)


def ask_anew(session: Session, names: Iterable[str]) -> Contract:
    """Describe these objects and cache what the org says: one counted call each."""
    from sfsync.salesforce.describe import fetch_contract  # late: with a cached describe no HTTP is needed

    fresh = fetch_contract(session.door, names, session.clock)
    contracts.save(session.store, fresh)
    return fresh


def _nothing_known(session: Session, missing: list[str]) -> OrgError:
    path = contract_path(session.root, session.target)
    where = f"{shown(session.root, path)} is not there, and " if path is not None else ""
    one = len(missing) == 1
    return OrgError(
        f"nothing is known of {', '.join(missing)}: {where}no describe of {'it' if one else 'them'} is cached",
        fix="sfsync schema pull writes the contract, which is to be committed; a plan without --offline asks the org",
    )


def _confirm(session: Session, file: ContractFile, max_age: timedelta) -> None:
    """Compare the file with what the org says, at most `max_age` old; warn, or refuse.

    A cached answer that disagrees may be older than the file, so the org is asked again before anybody is troubled.
    """
    from sfsync.drift import compare, notes  # a project without a contract in git does without

    names = session.facts.objects
    cached, at = contracts.load(session.store), contracts.fetched_at(session.store)
    fresh = cached is None or at is None or session.clock.now() - at > max_age
    fresh = fresh or any(cached is None or cached.object(name) is None for name in names)
    contract = _of(file.contract, names)
    if not fresh and cached is not None and not compare(contract, _of(cached, names)):
        return
    org = ask_anew(session, names)
    found = compare(contract, _of(org, names))
    for note in notes(file.contract, org):
        session.events.log("warning", f"{file.name}: {note}")
    if found:
        _judge(session, file, org, names)


def _of(contract: Contract, names: Iterable[str]) -> Contract:
    """Only these objects of it: what the file has beside them concerns no sync."""
    wanted = {name.lower() for name in names}
    return replace(contract, objects=tuple(o for o in contract.objects if o.name.lower() in wanted))


def _judge(session: Session, file: ContractFile, org: Contract, names: Iterable[str]) -> None:
    from sfsync.drift import Effect, compare
    from sfsync.project.usage import usage_of

    found = compare(_of(file.contract, names), _of(org, names), usage_of(session.project))
    fix = "sfsync schema check shows all of it; sfsync schema pull takes the org as it is: review the file and commit it"
    errors = [
        CompileError(
            f"the org is not as the contract says: {item} (used by {', '.join(item.syncs)})",
            where=Where(file.name),
            fix=fix,
        )
        for item in found
        if item.effect is Effect.STOPS
    ]
    if errors:
        first = errors[0]
        raise CompileError(first.what, where=first.where, fix=fix, others=tuple(errors[1:]))
    for item in found:
        if item.breaking:
            session.events.log("warning", f"{file.name}: the org is not as the contract says: {item}")
