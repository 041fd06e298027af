"""`sfsync debug`: is everything there? Warehouse, state, org, and the rights that each sync needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sfsync.errors import SfsyncError
from sfsync.jobs.rights import Check, contract_check, rights
from sfsync.jobs.session import Options, Session
from sfsync.jobs.who import who
from sfsync.salesforce.describe import fetch_contract, fetch_org, fetch_user
from sfsync.state import contracts


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
                f"keep its folder, {session.state_path.parent.name}, between runs (a cache or an artifact), or every run"
                " starts without a state",
            )
        )


class _NoState:
    """Counts calls that no ledger keeps, so that they are at least told."""

    def __init__(self) -> None:
        self.calls = 0

    def reserve(self, kind: str, calls: int = 1, batches: int = 0) -> None:
        self.calls += calls

    def observe(self, used: int, maximum: int) -> None: ...


def _org(checks: list[Check], session: Session) -> None:
    uncounted = _NoState()
    _look_at_org(checks, session, uncounted)
    if uncounted.calls:
        checks.append(
            Check(
                "uncounted",
                None,
                f"{uncounted.calls:,} API calls of this check: without a state there is no account to book them in",
                "make the state: sfsync state init --empty",
            )
        )


def _look_at_org(checks: list[Check], session: Session, uncounted: _NoState) -> None:
    try:
        has_state = session.state_path.exists()
        if has_state or session.is_local:
            door = session.door
        else:
            door = session.open_door()
            door.use_ledger(uncounted)
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
        contract = fetch_contract(door, session.facts.objects, session.clock)
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
    checks.extend(contract_check(lambda: session.contract_file, session.project, contract))
    checks.extend(rights(session.project, contract))
