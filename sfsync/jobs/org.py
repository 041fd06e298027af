"""`sfsync org ...`: drive the embedded org of a project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sfsync.connections import LocalOrg as LocalOrgSettings
from sfsync.errors import ProfileError
from sfsync.jobs.session import Options, Session
from sfsync.local_org import control


def _folder(session: Session) -> tuple[Path, Path | None]:
    settings = session.profile.org
    if not isinstance(settings, LocalOrgSettings):
        raise ProfileError(
            f"the target '{session.profile.target}' is a Salesforce org, not the embedded one",
            fix="choose a target with `org: {type: local}`: --target NAME",
        )
    return session.org_folder, settings.schema_


def org_start_command(
    options: Options, *, faults: Path | None = None, rules: Path | None = None
) -> control.LocalOrg:
    """Start the org, or find the one that runs."""
    with Session(options, "org start") as session:
        folder, schema = _folder(session)
        return control.start(folder, schema=schema, faults=faults, rules=rules)


def org_stop_command(options: Options) -> bool:
    """Stop the org; False when none was running."""
    with Session(options, "org stop") as session:
        return control.stop(_folder(session)[0])


def org_reset_command(options: Options) -> Path | None:
    """Empty the org, starting it if need be; return where the target's state was put aside, None if there was none.

    A state that speaks of records which are not there any more would plan no changes at all.
    """
    with Session(options, "org reset") as session:
        folder, schema = _folder(session)
        control.start(folder, schema=schema)
        path = session.state_path
        if not path.exists():
            control.reset(folder)
            return None
        session.open_store(write=True)  # nobody runs meanwhile
        control.reset(folder)
        aside = path.with_name(f"{path.stem}.before-reset.duckdb")
        session.close_store()
        return path.replace(aside)


def org_show_command(options: Options) -> tuple[control.LocalOrg, dict[str, object]]:
    """The org's address and credentials, and what is in it; it is started if need be."""
    with Session(options, "org show") as session:
        folder, schema = _folder(session)
        return control.start(folder, schema=schema), control.show(folder)


def org_assign_command(options: Options, file: Path | None, user: str | None = None) -> list[str]:
    """Give a user a permission set and nothing else; None: everything. The objects that are left to see."""
    with Session(options, "org assign") as session:
        folder, schema = _folder(session)
        control.start(folder, schema=schema)
        return control.assign(folder, file, user)


def org_load_command(options: Options, file: Path) -> list[dict[str, Any]]:
    """Put the records of a file into the org; return what became of each object's rows."""
    with Session(options, "org load") as session:
        folder, schema = _folder(session)
        control.start(folder, schema=schema)
        return control.load(folder, file)
