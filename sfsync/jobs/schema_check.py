"""`sfsync schema check`: what the org has otherwise than the contract in git, and what of it breaks the project."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sfsync.contract import ALL, Contract
from sfsync.drift import Drift, compare, notes
from sfsync.errors import ProjectError
from sfsync.jobs.looking import describe, describe_all, look
from sfsync.jobs.schema_pull import path_of
from sfsync.jobs.session import Options, Session
from sfsync.project.usage import usage_of


@dataclass(frozen=True, slots=True)
class SchemaCheckResult:
    """The differences, by object and field."""

    run_id: str
    project: str
    target: str
    at: datetime
    file: str
    contract: Contract
    org: Contract
    notes: tuple[str, ...]
    drifts: tuple[Drift, ...]
    calls: int

    @property
    def breaking(self) -> tuple[Drift, ...]:
        return tuple(d for d in self.drifts if d.breaking)


def schema_check_command(options: Options) -> SchemaCheckResult:
    """Describe the objects of the project and of the file, and compare.

    Raises:
        ProjectError: there is no contract.
    """
    with Session(options, "schema check") as session:
        path, file = path_of(session), session.contract_file
        if file is None:
            raise ProjectError(f"there is no contract: {path}", fix="sfsync schema pull writes it")
        usage = usage_of(session.project)
        way = look(session)
        names = {o.name.lower(): o.name for o in file.contract.objects}
        names = {key: use.name for key, use in usage.objects.items()} | names
        if file.contract.scope == ALL:
            used = tuple(use.name for use in usage.objects.values())
            org = describe_all(session, way, used, tuple(names.values()))
        else:
            org = describe(session, way, tuple(names.values()))
        return SchemaCheckResult(
            run_id=session.run_id,
            project=session.facts.name,
            target=session.target.target,
            at=session.clock.now(),
            file=file.name,
            contract=file.contract,
            org=org,
            notes=notes(file.contract, org),
            drifts=compare(file.contract, org, usage),
            calls=way.calls,
        )
