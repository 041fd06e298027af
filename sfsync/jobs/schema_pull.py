"""`sfsync schema pull`: writes the org's contract, the file that says what the project may rely on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sfsync.contract import ALL, USED, Contract
from sfsync.drift import Drift, compare, used_part
from sfsync.errors import ProfileError, SpecError
from sfsync.jobs.contract_file import contract_path, read_contract, shown, write_contract
from sfsync.jobs.looking import describe, describe_all, look
from sfsync.jobs.session import Options, Session
from sfsync.project.usage import Usage, usage_of


@dataclass(frozen=True, slots=True)
class SchemaPullResult:
    """What was written, and how it differs from what was there."""

    file: str
    contract: Contract
    is_new: bool  # there was none, or none that could be read
    changed: bool
    added: tuple[str, ...]  # Contact.Fax
    dropped: tuple[str, ...]  # in the org, but no longer used
    drifts: tuple[Drift, ...]  # of what was in the file
    lacking: tuple[Drift, ...]  # what the project uses and the org does not show
    calls: int


def schema_pull_command(options: Options, *, everything: bool = False) -> SchemaPullResult:
    """Describe the objects in use and write the file.

    Args:
        everything: all objects that could be synced, and all their fields, as far as the user sees them.

    Raises:
        ApiLimitError: the account of calls does not allow to ask for so much.
        ProfileError: the target's org is itself made from the file.
    """
    with Session(options, "schema pull") as session:
        session.follows_contract = False  # a newer API is taken up here, where it is reviewed
        path = path_of(session)
        usage = usage_of(session.project)
        way = look(session)
        names = tuple(use.name for use in usage.objects.values())
        asked = describe_all if everything else describe
        org = replace(asked(session, way, names), fetched_at=None)
        made = replace(org, scope=ALL) if everything else replace(used_part(org, usage), scope=USED)
        old = _old(session)
        lacking = tuple(d for d in compare(made, made, usage) if d.breaking)
        changed = write_contract(path, made)
        return SchemaPullResult(
            file=shown(session.root, path),
            contract=made,
            is_new=old is None,
            changed=changed,
            added=_only_in(made, old),
            dropped=tuple(n for n in _only_in(old, made) if n in _places(org)),
            drifts=_changes(old, org, usage),
            lacking=lacking,
            calls=way.calls,
        )


def path_of(session: Session) -> Path:
    """Where the target's contract is.

    Raises:
        ProfileError: the local org is made from the file of that name.
    """
    path = contract_path(session.root, session.target)
    if path is None:
        what = f"the local org of target '{session.target.target}' is made from {session.target.org_schema}"
        raise ProfileError(
            f"{what}, where its contract would be",
            fix="give one of the two, the file or the target, another name",
        )
    return path


def _old(session: Session) -> Contract | None:
    try:
        found = read_contract(session.root, session.target)
    except SpecError as error:
        session.events.log("warning", f"{error}; the file is made anew")
        return None
    return found.contract if found is not None else None


def _places(contract: Contract | None) -> dict[str, None]:
    objects = contract.objects if contract is not None else ()
    return {f"{o.name}.{f.name}": None for o in sorted(objects, key=lambda o: o.name) for f in o.fields}


def _only_in(one: Contract | None, other: Contract | None) -> tuple[str, ...]:
    known = _places(other)
    return tuple(sorted(place for place in _places(one) if place not in known))


def _changes(old: Contract | None, org: Contract, usage: Usage) -> tuple[Drift, ...]:
    if old is None:
        return ()
    used = {o.name.lower() for o in old.objects} & set(usage.objects)
    before = replace(old, objects=tuple(o for o in old.objects if o.name.lower() in used))
    known = {place.lower() for place in _places(before)}
    return tuple(
        d
        for d in compare(before, org, usage)
        if d.object.lower() in used and (d.field is None or d.place.lower() in known)
    )
