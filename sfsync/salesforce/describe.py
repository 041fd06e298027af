"""What the org looks like for this user: objects and fields, and who and where we are.

Owns:      the calls that `debug`, `state init` and a missing contract need, as typed values.
Does not:  cache anything (state does) or judge a sync (compiler/fields does).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sfsync.contract import Contract, SObject
from sfsync.errors import OrgError
from sfsync.ports import Clock
from sfsync.salesforce.door import Door, unreadable
from sfsync.salesforce.failures import NoAnswerError, SalesforceError
from sfsync.salesforce.query import query, soql


@dataclass(frozen=True, slots=True)
class User:
    """Whose rights a contract describes."""

    user_id: str
    org_id: str
    username: str
    name: str
    given_name: str = ""
    family_name: str = ""
    integration: bool | None = None
    """Whether the user has Salesforce's integration licence; None where the org does not say."""


@dataclass(frozen=True, slots=True)
class OrgIdentity:
    """The org as people know it."""

    org_id: str
    name: str
    sandbox: bool
    edition: str
    instance: str
    instance_url: str


def fetch_contract(door: Door, object_names: Iterable[str], clock: Clock) -> Contract:
    """Describe these objects: one counted call each. An object that this user cannot see is left out.

    Raises:
        SalesforceError, NoAnswerError: as of any call.
    """
    user = fetch_user(door)
    found = [_describe(door, name) for name in sorted(set(object_names))]
    objects = tuple(item for item in found if item is not None)
    fetched_at = clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    return Contract(objects, door.token.org_id, user.username, door.version, fetched_at)


def fetch_user(door: Door) -> User:
    """The user of this connection, by OAuth's userinfo: not counted; by SOQL where the app's scopes refuse that."""
    token = door.token
    try:
        answer = door.uncounted("/services/oauth2/userinfo")
    except SalesforceError as error:
        if error.status not in (401, 403, 404):
            raise
        found = next(query(door, soql("SELECT Username, Name FROM User WHERE Id = {}", token.user_id)), [])
        if not found:
            raise
        return User(token.user_id, token.org_id, str(found[0]["Username"]), str(found[0].get("Name") or ""))
    body = answer.json()
    if not isinstance(body, dict) or "preferred_username" not in body:
        raise unreadable(answer, "does not name the user")
    licensed = body.get("is_salesforce_integration_user")
    return User(
        token.user_id,
        token.org_id,
        str(body["preferred_username"]),
        str(body.get("name") or ""),
        str(body.get("given_name") or ""),
        str(body.get("family_name") or ""),
        licensed if isinstance(licensed, bool) else None,
    )


def fetch_org(door: Door) -> OrgIdentity:
    """Name and kind of the org: one counted call."""
    statement = "SELECT Id, Name, IsSandbox, OrganizationType, InstanceName FROM Organization LIMIT 1"
    records = next(query(door, statement), [])
    if not records:
        raise OrgError("this user may not read the org's own record (Organization)")
    record = records[0]
    return OrgIdentity(
        org_id=door.token.org_id,
        name=str(record.get("Name") or ""),
        sandbox=bool(record.get("IsSandbox")),
        edition=str(record.get("OrganizationType") or ""),
        instance=str(record.get("InstanceName") or ""),
        instance_url=door.token.instance_url,
    )


def _describe(door: Door, name: str) -> SObject | None:
    from sfsync.salesforce.reading import salesforce  # half a second: only for those who ask

    try:
        return SObject.from_describe(getattr(salesforce(door), name).describe())
    except SalesforceError as error:
        if error.status != 404:
            raise
        return None
    except (ValueError, KeyError, TypeError):
        raise NoAnswerError(f"GET sobjects/{name}/describe: the answer is no describe", sent=True) from None
