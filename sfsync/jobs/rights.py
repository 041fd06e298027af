"""The rights that each sync needs, against what the org says this user may do: a part of `sfsync debug`."""

from __future__ import annotations

from dataclasses import dataclass

from sfsync.contract import Contract
from sfsync.project.project import Project


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. ok: None means a warning. fix: the next step when it is not right."""

    name: str
    ok: bool | None
    detail: str
    fix: str | None = None


def rights(project: Project, contract: Contract) -> list[Check]:
    """What the user may do with each sync's object and fields."""
    checks = []
    for sync in project.syncs:
        spec = sync.spec
        found = contract.object(spec.object)
        if found is None:
            checks.append(
                Check(
                    f"sync {spec.name}",
                    False,
                    f"object {spec.object} does not exist in the org, or this user may not see it",
                    "check the API name (custom objects end in __c) and the user's object permissions",
                )
            )
            continue
        needs = {"create": found.createable, "update": found.updateable}
        if spec.on_removed == "delete":
            needs["delete"] = found.deletable
        missing = [right for right, has in needs.items() if not has]
        closed = []
        for name in (*spec.identity, *spec.fields):
            field = found.field(name)
            if field is None:
                closed.append(f"{name} (not visible)")
            elif not (field.createable and field.updateable):
                can = "create" if field.createable else "update" if field.updateable else "read"
                closed.append(f"{name} ({can} only)")
        detail = f"{found.name}: may " + (", ".join(r for r in needs if r not in missing) or "do nothing")
        if missing or closed:
            if missing:
                detail += f"; may not {', '.join(missing)}"
            if closed:
                detail += f"; fields: {', '.join(closed)}"
            fix = "give the user the right by a permission set, or take the field out of the sync"
            checks.append(
                Check(
                    f"sync {spec.name}",
                    False if missing or any("not visible" in c or "read" in c for c in closed) else None,
                    detail,
                    fix,
                )
            )
        else:
            checks.append(Check(f"sync {spec.name}", True, detail))
    return checks
