"""`sfsync debug`: is everything there? Warehouse, state, org, and the rights that each sync needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sfsync.errors import SfsyncError
from sfsync.jobs.looking import Look, describe, look
from sfsync.jobs.rights import Check, contract_check, rights
from sfsync.jobs.room import allocation_checks
from sfsync.jobs.session import Options, Session
from sfsync.jobs.who import who
from sfsync.salesforce.allocations import Allocation
from sfsync.salesforce.describe import fetch_org, fetch_user


@dataclass(frozen=True, slots=True)
class DebugResult:
    """Everything that was looked at, in order."""

    checks: tuple[Check, ...]
    limits: tuple[Allocation, ...]  # nothing where the user may not read them
    run_id: str
    at: datetime

    @property
    def ok(self) -> bool:
        return all(check.ok is not False for check in self.checks)


def debug_command(options: Options) -> DebugResult:
    """Look at everything and go on after a failure, so that all of it is reported at once."""
    checks: list[Check] = []
    limits: list[Allocation] = []
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
        _org(checks, limits, session)
        return DebugResult(tuple(checks), tuple(limits), session.run_id, session.clock.now())


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
                f"keep its folder, {session.state_path.parent.name}, between runs (a cache or an artifact), or every run"
                " starts without a state",
            )
        )


def _org(checks: list[Check], limits: list[Allocation], session: Session) -> None:
    try:
        way = look(session)
    except SfsyncError as error:
        checks.append(Check("org", False, str(error), error.fix))
        return
    _look_at_org(checks, limits, session, way)
    if not way.booked and way.calls:
        checks.append(
            Check(
                "uncounted",
                None,
                f"{way.calls:,} API calls of this check: without a state there is no account to book them in",
                "make the state: sfsync state init --empty",
            )
        )


def _look_at_org(checks: list[Check], limits: list[Allocation], session: Session, way: Look) -> None:
    door = way.door
    try:
        user, org = fetch_user(door), fetch_org(door)
        kind = "sandbox" if org.sandbox else "production"
        checks.append(
            Check("org", True, f"{org.name} ({org.org_id}), {kind}, {org.edition}, {org.instance_url}")
        )
        checks.extend(who(user, session.target.sign_in))
        versions = door.versions()
        checks.append(
            Check("API version", True, f"{door.version} used; the org offers {versions[0]} to {versions[-1]}")
        )
        contract = describe(session, way, session.facts.objects)
    except SfsyncError as error:
        checks.append(Check("org", False, str(error), error.fix))
        return
    checks.extend(allocation_checks(door, limits))
    checks.extend(contract_check(lambda: session.contract_file, session.project, contract))
    checks.extend(rights(session.project, contract))
