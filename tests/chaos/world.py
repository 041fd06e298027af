"""A project, its org and the people in it, moved at random from one seed.

Owns:      the rows of the models, edits of them, what people do in the org, and which faults the org is given.
Does not:  run anything (game) or judge what came of it (checks).
Invariant: all that is random is drawn from the one `Random` that was handed in.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from random import Random
from typing import Any

import duckdb

from tests.conftest import OrgForTests
from tests.jobs.conftest import STATE, WAREHOUSE, Team

NO_GUARDS = dict.fromkeys(
    ("max_deletes", "max_delete_share", "max_change_share", "max_reject_share", "max_null_keys")
) | {"min_rows": 0}

KEYS = {"Account": "Account_Id__c", "Contact": "Customer_Id__c", "Subscription__c": "Subscription_Id__c"}
OBJECTS = {"accounts": "Account", "contacts": "Contact", "subscriptions": "Subscription__c"}
MAPPED = {
    "accounts": {"Name": "name", "Phone": "phone"},
    "contacts": {
        "LastName": "last",
        "Title": "title",
        "Email": "email",
        "AccountId": "account",
        "Description": "note",
    },
    "subscriptions": {"Name": "name", "Seats__c": "seats", "Account__c": "account"},
}
LOOKUPS = {"AccountId", "Account__c"}
TITLES = ("A", "B", "Boss", 'say "hi", twice', "line\nbreak", "#1", None)
LONG = "long text, " * 300
"""Of 40 rows with this, no single call makes a job: its file has to be uploaded."""

Row = dict[str, Any]


class World:
    """What the models hold, and verbs that change it."""

    def __init__(self, folder: Path, org: OrgForTests, rng: Random) -> None:
        self.org, self.rng = org, rng
        self.team = Team(folder, org)
        self.rows: dict[str, dict[str, Row]] = {name: {} for name in OBJECTS}
        self.doubled: list[Row] = []
        """Contacts beside those in `rows`: a second row of a key, or one without a key."""
        self.before: dict[str, dict[str, Row]] = {}
        self.saved: dict[str, dict[str, Row]] = {}
        self.count = 0
        self.forgetful = False
        """A job was gone from the org before it could be read."""
        self._project()
        self._edit_accounts()
        self.edit()

    def _project(self) -> None:
        team = self.team
        lookup = {"column": "account", "lookup": "Account.Account_Id__c", "on_missing": "reject"}
        fields = {"LastName": "last", "Title": "title", "Email": "email", "AccountId": lookup}
        team._syncs["contacts"]["fields"] = fields | {"Description": "note"}
        team._syncs["subscriptions"] = {
            "model": "dim_subscriptions",
            "object": "Subscription__c",
            "identity": {"Subscription_Id__c": "id"},
            "fields": {"Name": "name", "Seats__c": "seats", "Account__c": lookup},
            "on_removed": "delete",
        }
        for name in OBJECTS:
            team._syncs[name]["guards"] = NO_GUARDS
        if self.rng.random() < 0.4:
            team._syncs["contacts"]["undo"] = "exact"
        team.write("models/dim_subscriptions.sql", "select * from raw.subscriptions")
        team.save()

    @property
    def state(self) -> Path:
        return self.team.folder / STATE

    # ------------------------------------------------------------ the models

    def edit(self) -> str:
        """Some random edits; what they were."""
        edits = (
            self._edit_accounts,
            self._add_contacts,
            self._add_contacts,
            self._set_contacts,
            self._set_contacts,
            self._move_contacts,
            self._drop_contacts,
            self._spoil_contacts,
            self._add_subscriptions,
            self._set_subscriptions,
            self._drop_subscriptions,
        )
        if self.rng.random() < 0.2:
            return self._take_back()
        done = [self.rng.choice(edits)() for _ in range(self.rng.randint(1, 4))]
        return ", ".join(done)

    def _take_back(self) -> str:
        """What the last step changed is as it was before: a value goes A, B, A."""
        taken = 0
        for name, rows in self.before.items():
            for key in rows.keys() & self.rows[name].keys():
                taken += self.rows[name][key] != rows[key]
                self.rows[name][key] = dict(rows[key])
        return f"{taken} rows taken back"

    def save(self) -> None:
        """Put the rows into the warehouse."""
        self.before, self.saved = self.saved, copy.deepcopy(self.rows)
        tables = {
            "accounts": {"id": "VARCHAR", "name": "VARCHAR", "phone": "VARCHAR"},
            "contacts": dict.fromkeys(("id", "last", "title", "email", "account", "note"), "VARCHAR"),
            "subscriptions": {"id": "VARCHAR", "name": "VARCHAR", "seats": "INTEGER", "account": "VARCHAR"},
        }
        with duckdb.connect(str(self.team.folder / WAREHOUSE)) as db:
            db.execute("CREATE SCHEMA IF NOT EXISTS raw")
            for name, columns in tables.items():
                rows = [{"id": key, **row} for key, row in self.rows[name].items()]
                rows += self.doubled if name == "contacts" else []
                shape = ", ".join(f"{column} {kind}" for column, kind in columns.items())
                db.execute(f"CREATE OR REPLACE TABLE raw.{name} ({shape})")
                form = json.dumps([columns])
                db.execute(
                    f"INSERT INTO raw.{name} BY NAME SELECT r.* FROM (SELECT unnest(from_json(?, ?)) AS r)",
                    [json.dumps(rows), form],
                )

    def good(self, name: str, key: str) -> bool:
        """Whether a row can get into the org."""
        row = self.rows[name][key]
        if name == "accounts":
            return row["name"] is not None
        parent = row["account"]
        if parent is not None and not (parent in self.rows["accounts"] and self.good("accounts", parent)):
            return False
        if name == "contacts":
            doubled = any(one["id"] == key for one in self.doubled)
            return row["last"] is not None and row["email"] != "nobody" and not doubled
        return True

    def _some(self, name: str, most: int = 20) -> list[str]:
        keys = sorted(self.rows[name])
        return self.rng.sample(keys, min(len(keys), self.rng.randint(1, most)))

    def _account(self) -> str | None:
        return self.rng.choice([None, *sorted(self.rows["accounts"])])

    def _next(self, letter: str) -> str:
        self.count += 1
        return f"{letter}-{self.count}"

    def _edit_accounts(self) -> str:
        if len(self.rows["accounts"]) < 4:
            self.rows["accounts"][self._next("A")] = {"name": "Acme", "phone": "1"}
        for key in self._some("accounts", 2):
            # A name, once it is there, stays: its parent's going is another matter.
            named = self.rows["accounts"][key]["name"] is not None and self.rng.random() < 0.9
            name = f"Acme {self.rng.randint(1, 3)}" if named else None
            self.rows["accounts"][key] = {"name": name, "phone": self.rng.choice(["1", "2", None])}
        return "accounts"

    def _contact(self, note: str | None) -> Row:
        rng = self.rng
        email = rng.choice([None, "ai@acme.example", "b@c.example"])
        last = rng.choice(["Ito", "Müller", "Okafor"])
        return {
            "last": last,
            "title": rng.choice(TITLES),
            "email": email,
            "account": self._account(),
            "note": note,
        }

    def _add_contacts(self) -> str:
        many = self.rng.random() < 0.06
        count = self.rng.randint(210, 250) if many else self.rng.randint(1, 40)
        note = LONG if not many and self.rng.random() < 0.4 else None
        for _ in range(count if len(self.rows["contacts"]) < 300 else 1):
            self.rows["contacts"][self._next("C")] = self._contact(note)
        return f"{count} new contacts{' with long notes' if note else ''}"

    def _set_contacts(self) -> str:
        rng = self.rng
        column = rng.choice(["title", "title", "email", "last", "note"])
        values = {
            "title": TITLES,
            "email": (None, "ai@acme.example", "B@c.example"),
            "last": ("Ito", "ito", "Ōta"),
        }
        value = rng.choice(values.get(column, (None, LONG + rng.choice("ab"), "short")))
        keys = self._some("contacts", 600 if rng.random() < 0.15 else 40)
        for key in keys:
            self.rows["contacts"][key][column] = value
        return f"{column} of {len(keys)} contacts"

    def _move_contacts(self) -> str:
        keys = self._some("contacts")
        for key in keys:
            self.rows["contacts"][key]["account"] = self._account()
        return f"account of {len(keys)} contacts"

    def _drop_contacts(self) -> str:
        keys = self._some("contacts", 5)
        for key in keys:
            del self.rows["contacts"][key]
        return f"{len(keys)} contacts dropped"

    def _spoil_contacts(self) -> str:
        """Rows that sfsync or the org must refuse, or the mending of them all."""
        what = self.rng.choice(["no name", "no e-mail", "no parent", "twice", "no key", "mended", "mended"])
        for key in self._some("contacts", 3):
            row = self.rows["contacts"][key]
            if what == "no name":
                row["last"] = None
            elif what == "no e-mail":
                row["email"] = "nobody"
            elif what == "no parent":
                row["account"] = "A-none"
            elif what in ("twice", "no key"):
                self.doubled.append({"id": key if what == "twice" else None, **row})
        if what == "mended":
            self.mend()
        return f"contacts: {what}"

    def mend(self) -> None:
        """No row is bad any more."""
        self.doubled = []
        for row in self.rows["accounts"].values():
            row["name"] = row["name"] or "Mended"
        for row in self.rows["contacts"].values():
            row["last"] = row["last"] or "Mended"
            row["email"] = None if row["email"] == "nobody" else row["email"]
            row["account"] = None if row["account"] == "A-none" else row["account"]

    def _add_subscriptions(self) -> str:
        count = self.rng.randint(1, 30)
        for _ in range(count):
            row = {"name": "Plan", "seats": self.rng.randint(1, 9), "account": self._account()}
            self.rows["subscriptions"][self._next("S")] = row
        return f"{count} new subscriptions"

    def _set_subscriptions(self) -> str:
        keys = self._some("subscriptions")
        for key in keys:
            self.rows["subscriptions"][key]["seats"] = self.rng.choice([1, 2, None])
        return f"seats of {len(keys)} subscriptions"

    def _drop_subscriptions(self) -> str:
        """Some leave, and some that left may come back."""
        keys = self._some("subscriptions", 15)
        for key in keys:
            row = self.rows["subscriptions"].pop(key)
            if self.rng.random() < 0.2:
                self.rows["subscriptions"][key] = row | {"seats": 7}
        return f"{len(keys)} subscriptions dropped"

    # ------------------------------------------------------------ people

    def person(self) -> str:
        """Somebody changes, deletes or creates a record by hand."""
        rng, org = self.rng, self.org
        sobject = rng.choice(["Contact", "Contact", "Subscription__c", "Account"])
        live = org.records(sobject)
        what = rng.choice(["edits", "edits", "deletes", "creates"])
        if what == "creates":
            key = rng.choice(
                [*sorted(self.rows["contacts"])[-5:], f"C-{self.count + 1}", f"C-{self.count + 2}"]
            )
            body = {"LastName": "By hand", "Title": "Person", "Customer_Id__c": key}
            return f"a person creates {key}: {org.post('/sobjects/Contact', json=body).status_code}"
        if not live:
            return "nobody"
        record = rng.choice(live)
        path = f"/sobjects/{sobject}/{record['Id']}"
        if what == "deletes" and sobject != "Account":
            return f"a person deletes {record.get(KEYS[sobject])}: {org.delete(path).status_code}"
        field = {"Contact": "Title", "Subscription__c": "Name", "Account": "Phone"}[sobject]
        value = f"by hand {rng.randint(1, 9)}"
        status = org.patch(path, json={field: value}).status_code
        return f"a person edits {field} of {record.get(KEYS[sobject])}: {status}"
