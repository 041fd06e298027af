"""`sfsync org versions`: the API versions that the org offers, and the one that is used."""

from __future__ import annotations

from dataclasses import dataclass

from sfsync.jobs.session import Options, Session
from sfsync.records import OLDEST_API_VERSION
from sfsync.salesforce.limits import NEWEST_API_VERSION


@dataclass(frozen=True, slots=True)
class OrgVersionsResult:
    """Versions as texts, e.g. ``67.0``."""

    instance_url: str
    offered: tuple[str, ...]  # oldest first
    used: str
    is_set: bool  # by `api_version` in the profile
    oldest: str  # that sfsync works with
    newest: str


def org_versions_command(options: Options) -> OrgVersionsResult:
    """Sign in and ask; no API call is counted.

    Raises:
        OrgError: the org does not offer the version that the profile sets, or none that sfsync knows.
    """
    with Session(options, "org versions") as session:
        given = session.target.sign_in
        door = session.open_door()
        return OrgVersionsResult(
            instance_url=door.token.instance_url,
            offered=door.versions(),
            used=door.version,
            is_set=given is not None and given.api_version is not None,
            oldest=f"{OLDEST_API_VERSION:.1f}",
            newest=f"{NEWEST_API_VERSION:.1f}",
        )
