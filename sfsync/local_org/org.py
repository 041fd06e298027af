"""One running local org: its parts, held together.

Owns:      opening the parts in order, seeding the records every org has, resetting.
Does not:  anything of its own; handlers take the part they need.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sfsync.contract import Contract
from sfsync.local_org import assertion, currencies, ids, record_types, rule_sql, rules
from sfsync.local_org.app import App
from sfsync.local_org.auth import Auth
from sfsync.local_org.fault_rules import Rule
from sfsync.local_org.faults import Faults
from sfsync.local_org.identity import Identity, open_identity
from sfsync.local_org.journal import Journal
from sfsync.local_org.limits import DAY_S, Limits
from sfsync.local_org.people import CURRENT, People
from sfsync.local_org.rights import HARD_DELETE, Rights
from sfsync.local_org.rules import Rules
from sfsync.local_org.store import Store, instant, quoted, table
from sfsync.ports import write_private


@dataclass(frozen=True)
class Org:
    """The parts of one org, shared by every request."""

    folder: Path
    contract: Contract
    identity: Identity
    store: Store
    auth: Auth
    limits: Limits
    faults: Faults
    journal: Journal
    rights: Rights

    @property
    def seen(self) -> Contract:
        """The contract with the rights that the user of this request has now."""
        return self.seen_by(CURRENT.get() or self.identity.user_id)

    def seen_by(self, user_id: str) -> Contract:
        """The contract with a user's rights: a permission set narrows it, a fault may have taken some."""
        return self.faults.seen(self.rights.seen(self.contract, user_id))

    def may_hard_delete(self, user_id: str) -> bool:
        """Whether the user has the permission "Bulk API Hard Delete", which nobody has by default."""
        return self.store.rules.hard_delete or self.rights.has(user_id, HARD_DELETE)

    def set_rules(self, body: Any) -> Rules:
        """Another setup of the org, kept in its folder.

        Raises:
            OrgError: it cannot be; nothing changes.
        """
        found = rules.parse(body, self.contract)
        rule_sql.check(found, self.contract, self.store)
        write_private(self.folder / rules.FILE, json.dumps(found.given, indent=1) + "\n")
        self.store.rules = found
        return found

    def now(self) -> float:
        """The org's own clock, which a fault may have put wrong."""
        return time.time() + self.faults.clock_s()

    def reset(self) -> None:
        """Empty the org: records, journal, limits, faults, settings of app and user. Its Id, tokens and credentials stay."""
        self.store.clear()
        self.journal.drop()
        self.limits.reset()
        self.faults.reset()
        self.auth.app = App()
        self.rights.clear()
        self.store.rules = Rules()
        (self.folder / rules.FILE).unlink(missing_ok=True)
        seed(self.store)


def open_org(folder: Path, contract: Contract, fault_rules: list[Rule]) -> Org:
    """Open the folder's org and restore what it had used of its limits."""
    identity = open_identity(folder)
    store = Store(folder, contract, identity)
    seed(store)
    limits = Limits(time.time)
    with store.reading() as cursor:
        minutes = cursor.execute(
            "SELECT epoch(date_trunc('minute', time)), count(*) FROM org.requests WHERE counted"
            " AND epoch(time) > ? GROUP BY 1 ORDER BY 1",
            [time.time() - DAY_S],
        ).fetchall()
    for minute, used in minutes:
        limits.calls.restore(int(used), float(minute))
    faults = Faults(fault_rules)
    assertion.ensure(folder)
    people = People(store, identity)
    auth = Auth(
        identity,
        folder,
        time.time,
        faults.clock_s,
        lambda name: user_is_active(store, name),
        people=people,
    )
    org = Org(
        folder,
        contract,
        identity,
        store,
        auth,
        limits,
        faults,
        Journal(store),
        Rights(folder, contract, people),
    )
    store.clock = org.now
    store.rules = rules.read(folder, contract)
    rule_sql.check(store.rules, contract, store)
    return org


def user_is_active(store: Store, username: str) -> bool | None:
    """Whether a user of this name may sign in; None if there is none."""
    if store.contract.object("User") is None:
        return True
    with store.reading() as cursor:
        statement = (
            f"SELECT IsActive = 'true' FROM {table('User')} WHERE lower(Username) = ? AND IsDeleted = 'false'"
        )
        found = cursor.execute(statement, [username.lower()]).fetchall()
    return bool(found[0][0]) if found else None


def seed(store: Store) -> None:
    """The records that an org cannot be without: itself, its administrator, two colleagues, a queue."""
    who = store.identity
    stamp = instant(datetime.now(UTC))
    audit = {
        "IsDeleted": "false",
        "CreatedDate": stamp,
        "CreatedById": who.user_id,
        "LastModifiedDate": stamp,
        "LastModifiedById": who.user_id,
        "SystemModstamp": stamp,
    }
    zone = {"TimeZoneSidKey": "Etc/UTC", "LanguageLocaleKey": "en_US"}
    user = {"IsActive": "true", "UserType": "Standard", "LocaleSidKey": "en_US", **zone}
    records = [
        ("Organization", who.org_id, {"Name": "Local Org", "OrganizationType": "Developer Edition", "IsSandbox": "false",
                                      "InstanceName": "LOCAL", "DefaultLocaleSidKey": "en_US", **zone}),
        ("User", who.user_id, {"FirstName": "Local", "LastName": "Admin", "Name": "Local Admin", "Alias": "admin",
                               "Username": who.username, "Email": who.username, **user}),
        ("User", ids.make_id("005", who.instance, 2), {
            "FirstName": "Ada", "LastName": "Marsh", "Name": "Ada Marsh", "Alias": "amarsh", **user,
            "Username": "ada.marsh@local.sfsync.example", "Email": "ada.marsh@local.sfsync.example"}),
        ("User", ids.make_id("005", who.instance, 3), {
            "FirstName": "Otto", "LastName": "Vogel", "Name": "Otto Vogel", "Alias": "ovogel", **user,
            "Username": "otto.vogel@local.sfsync.example", "Email": "otto.vogel@local.sfsync.example",
            "IsActive": "false"}),
        ("Group", ids.make_id("00G", who.instance, 1), {"Name": "Support Queue", "DeveloperName": "Support_Queue",
                                                        "Type": "Queue"}),
    ]  # fmt: skip
    with store.write() as cursor:
        if store.contract.object(record_types.OBJECT) is not None:
            record_types.seed(cursor, store.contract, audit)
        currencies.seed(cursor, store.contract, audit)
        for name, record, texts in records:
            sobject = store.contract.object(name)
            if (
                sobject is None
                or cursor.execute(f"SELECT 1 FROM {table(name)} WHERE Id = ?", [record]).fetchall()
            ):
                continue
            known = {k: v for k, v in {"Id": record, **texts, **audit}.items() if sobject.field(k)}
            names = ", ".join(quoted(k) for k in known)
            marks = ", ".join("?" for _ in known)
            cursor.execute(f"INSERT INTO {table(name)} ({names}) VALUES ({marks})", list(known.values()))
