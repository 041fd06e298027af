"""`sfsync debug`: is everything there? Warehouse, state, org, and the rights that each sync needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sfsync.compiler.compile import used_objects
from sfsync.contract import Contract
from sfsync.errors import SfsyncError
from sfsync.jobs.session import Options, Session
from sfsync.project.project import Project
from sfsync.salesforce.describe import fetch_contract, fetch_org, fetch_user
from sfsync.state import contracts


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. ok: None means a warning. fix: the next step when it is not right."""

    name: str
    ok: bool | None
    detail: str
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class DebugResult:
    """Everything that was looked at, in order."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok is not False for check in self.checks)


def debug_command(options: Options) -> DebugResult:
    """Look at everything and go on after a failure, so that all of it is reported at once."""
    checks: list[Check] = []
    with Session(options, "debug") as session:
        project = session.project
        checks.append(
            Check(
                "project",
                True,
                f"{project.spec.name}, {len(project.syncs)} syncs, {len(project.models)} models",
            )
        )
        checks.append(
            Check(
                "profile",
                True,
                f"{session.profile.name}, target {session.profile.target} ({session.profile.path})",
            )
        )
        _try(checks, "warehouse", lambda: session.warehouse.describe())
        _state(checks, session)
        _org(checks, session)
    return DebugResult(tuple(checks))


def _try(checks: list[Check], name: str, look: Callable[[], str]) -> bool:
    try:
        checks.append(Check(name, True, look()))
    except SfsyncError as error:
        checks.append(Check(name, False, str(error), error.fix))
        return False
    return True


def _state(checks: list[Check], session: Session) -> None:
    def look() -> str:
        store = session.store
        bound = store.meta("org_id")
        return f"{store.name}, " + (f"bound to org {bound}" if bound else "not bound to an org yet")

    _try(checks, "state", look)
    if session.options.env.get("CI") == "true" and not session.is_local:
        checks.append(
            Check(
                "state in CI",
                None,
                f"{session.state_path} is a file on a machine that is thrown away",
                "keep it between runs (a cache or an artifact), or every run starts without a state",
            )
        )


def _org(checks: list[Check], session: Session) -> None:
    try:
        has_state = session.state_path.exists()
        door = session.door if has_state or session.is_local else session.open_door()
        user, org = fetch_user(door), fetch_org(door)
        kind = "sandbox" if org.sandbox else "production"
        checks.append(
            Check("org", True, f"{org.name} ({org.org_id}), {kind}, {org.edition}, {org.instance_url}")
        )
        checks.append(Check("user", True, f"{user.name} <{user.username}>"))
        versions = door.versions()
        checks.append(
            Check("API version", True, f"{door.version} used; the org offers {versions[0]} to {versions[-1]}")
        )
        contract = fetch_contract(door, used_objects(session.project), session.clock)
        if has_state or session.is_local:
            contracts.save(session.open_store(write=True), contract)
    except SfsyncError as error:
        checks.append(Check("org", False, str(error), error.fix))
        return
    if door.usage is not None:
        usage = door.usage
        checks.append(
            Check("API calls", True, f"{usage.maximum - usage.used:,} of {usage.maximum:,} left in the org")
        )
    checks.extend(rights(session.project, contract))


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
