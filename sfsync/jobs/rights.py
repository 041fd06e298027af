"""The rights that each sync needs, against what the org says this user may do: a part of `sfsync debug`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sfsync.contract import Contract, SObject
from sfsync.errors import SfsyncError
from sfsync.jobs.contract_file import ContractFile
from sfsync.project.project import Project
from sfsync.project.spec import SyncSpec
from sfsync.project.usage import rights_of, usage_of

_FIX = "give the user the rights (sfsync permissions prints the permission set that the project needs), or take the field out of the sync"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. ok: None means a warning. fix: the next step when it is not right."""

    name: str
    ok: bool | None
    detail: str
    fix: str | None = None


def rights(project: Project, contract: Contract) -> list[Check]:
    """What the user may do with each sync's object and fields, and whether it sees the keys of parents."""
    return [_sync(sync.spec, contract) for sync in project.syncs]


def _sync(spec: SyncSpec, contract: Contract) -> Check:
    name, found = f"sync {spec.name}", contract.object(spec.object)
    if found is None:
        what = f"object {spec.object} does not exist in the org, or this user may not see it"
        fix = "check the API name (custom objects end in __c) and the user's object permissions"
        return Check(name, False, what, fix)
    has = {"create": found.createable, "update": found.updateable, "delete": found.deletable}
    may = [right for right in has if has[right]]
    lacking = [right for right in rights_of(spec) if not has[right]]
    spare = [right for right in has if not has[right] and right not in lacking]
    detail = f"{found.name}: may {', '.join(may) or 'do nothing'}"
    if lacking:
        detail += f"; may not {', '.join(lacking)}"
    if spare:
        detail += f"; may not {', '.join(spare)}, which it does not need"
    hidden, closed, once = _fields(spec, found)
    mapped = len(spec.identity) + len(spec.fields)
    whole = mapped - len(hidden) - len(closed) - len(once)
    detail += f"; sets and changes {whole} of {mapped} fields"
    for words, names in (("not visible", hidden), ("read only", closed)):
        if names:
            detail += f"; {words}: {', '.join(names)}"
    if once:
        detail += f"; {', '.join(once)}"
    parents = _parents(spec, contract)
    if parents:
        detail += f"; parents' keys not visible: {', '.join(parents)}"
    bad = bool(lacking or hidden or closed or parents)
    return Check(name, False if bad else None if once else True, detail, _FIX if bad or once else None)


def _fields(spec: SyncSpec, found: SObject) -> tuple[list[str], list[str], list[str]]:
    """Mapped fields that are hidden, that may only be read, and that may only be created or only be updated."""
    hidden, closed, once = [], [], []
    for name in (*spec.identity, *spec.fields):
        field = found.field(name)
        if field is None:
            hidden.append(name)
        elif not (field.createable or field.updateable):
            closed.append(field.name)
        elif not (field.createable and field.updateable):
            once.append(f"{field.name} ({'create' if field.createable else 'update'} only)")
    return hidden, closed, once


def _parents(spec: SyncSpec, contract: Contract) -> list[str]:
    """Keys of parents that lookups name and this user does not see."""
    out = []
    for item in spec.fields.values():
        if item.lookup is not None:
            object_, key = item.lookup.split(".")
            parent = contract.object(object_)
            if parent is None or parent.field(key) is None:
                out.append(item.lookup)
    return list(dict.fromkeys(out))


def contract_check(read: Callable[[], ContractFile | None], project: Project, org: Contract) -> list[Check]:
    """Whether the org is as its contract in git says; nothing where there is none."""
    from sfsync.drift import compare

    try:
        file = read()
    except SfsyncError as error:
        return [Check("contract", False, str(error), error.fix)]
    if file is None:
        return []
    found = compare(file.contract, org, usage_of(project))
    names = {name.lower() for name in (o.name for o in org.objects)}
    breaking = [d for d in found if d.breaking and d.object.lower() in names]
    if not breaking:
        return [Check("contract", True, f"{file.name}: the org has nothing otherwise that breaks a sync")]
    shown = "; ".join(str(drift) for drift in breaking[:3])
    more = f" and {len(breaking) - 3} more" if len(breaking) > 3 else ""
    return [Check("contract", None, f"{file.name}: {shown}{more}", "sfsync schema check shows all of it")]
