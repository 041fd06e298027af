"""Person accounts: accounts that are people, each with a contact of its own behind it.

Owns:      the fields that such an org has, and the contact that is made and kept with its account.
Does not:  make names (derived), or judge rows (stage).
Invariant: an account is a person where it has a LastName; its PersonContactId names its contact, and the fields
           that both have are alike.
"""

from __future__ import annotations

from dataclasses import replace

import duckdb

from sfsync.contract import Contract, Field, SObject
from sfsync.local_org import ids
from sfsync.local_org.store import Store, literal, quoted, table

FLAG, LINK = "IsPersonAccount", "PersonContactId"
_NAMES = ("FirstName", "LastName", "Salutation")
_OWN = ("Email", "MobilePhone", "HomePhone", "Title", "Department", "Birthdate", "LeadSource", "DoNotCall")


def with_person_accounts(contract: Contract) -> Contract:
    """The contract with the fields of person accounts in Account and Contact."""
    account, contact = contract.object("Account"), contract.object("Contact")
    if account is None or contact is None:
        return contract
    made = [f for name in _NAMES if (f := contact.field(name)) is not None]
    made = [
        replace(f, nillable=True, compound_field_name="Name" if f.name != "LastName" else None) for f in made
    ]
    made += [
        replace(f, name=f"Person{f.name}", label=f"Person {f.label}", external_id=False, unique=False)
        for name in _OWN
        if (f := contact.field(name)) is not None
    ]
    made += [
        _flag(),
        Field(
            LINK,
            "Contact ID",
            "reference",
            18,
            createable=False,
            updateable=False,
            reference_to=("Contact",),
            relationship_name="PersonContact",
            permissionable=False,
        ),
    ]
    own = tuple(f for f in made if account.field(f.name) is None)
    flag = () if contact.field(FLAG) is not None else (_flag(),)
    return contract.with_objects(
        (replace(account, fields=(*account.fields, *own)), replace(contact, fields=(*contact.fields, *flag)))
    )


def _flag() -> Field:
    return Field(
        FLAG,
        "Is Person Account",
        "boolean",
        nillable=False,
        createable=False,
        updateable=False,
        defaulted_on_create=True,
        default_value="false",
        permissionable=False,
    )


def has_them(sobject: SObject) -> bool:
    """Whether this is the Account of an org with person accounts."""
    return sobject.name == "Account" and all(
        sobject.field(name) is not None for name in (FLAG, LINK, "LastName")
    )


def keep_contacts(
    store: Store, cursor: duckdb.DuckDBPyConnection, account: SObject, judged: str, turn: int
) -> None:
    """Make the contacts of this turn's new people, and bring those of the others up to date."""
    contact = store.contract.object("Contact")
    if contact is None:
        return
    saved = f"Id IN (SELECT id FROM {judged} WHERE error IS NULL AND turn = {turn})"
    people = f"FROM {table('Account')} WHERE {FLAG} = 'true' AND {saved}"
    pairs = [
        (name, source)
        for name in (*_NAMES, *_OWN, "Name", "OwnerId")
        if (source := f"Person{name}" if name in _OWN else name)
        and contact.field(name) is not None
        and account.field(source) is not None
    ]
    count = int(cursor.execute(f"SELECT count(*) {people} AND {LINK} IS NULL").fetchall()[0][0])
    if count:
        prefix = contact.key_prefix or "003"
        fresh = ids.run_sql(prefix, store.identity.instance, store.take(cursor, prefix, count), count)
        cursor.execute(
            f"UPDATE {table('Account')} a SET {LINK} = x.id FROM (SELECT p.Id AS account, f.id FROM"
            f" (SELECT Id, row_number() OVER (ORDER BY Id) - 1 AS n {people} AND {LINK} IS NULL) p"
            f" JOIN ({fresh}) f ON f.n = p.n) x WHERE x.account = a.Id"
        )
        stamps = ("CreatedDate", "CreatedById", "LastModifiedDate", "LastModifiedById", "SystemModstamp")
        fixed = {"Id": LINK, "IsDeleted": "'false'", FLAG: "'true'", "AccountId": "Id"}
        fixed |= {name: name for name in stamps}
        fixed |= {
            f.name: literal("false") for f in contact.fields if f.type == "boolean" and f.name not in fixed
        }
        values = {k: v for k, v in (fixed | {n: quoted(s) for n, s in pairs}).items() if contact.field(k)}
        cursor.execute(
            f"INSERT INTO {table('Contact')} ({', '.join(map(quoted, values))}) SELECT {', '.join(values.values())}"
            f" {people} AND {LINK} NOT IN (SELECT Id FROM {table('Contact')})"
        )
    changes = ", ".join(f"{quoted(name)} = a.{quoted(source)}" for name, source in pairs)
    cursor.execute(
        f"UPDATE {table('Contact')} c SET {changes}, SystemModstamp = a.SystemModstamp FROM (SELECT * {people}) a"
        f" WHERE a.{LINK} = c.Id"
    )
