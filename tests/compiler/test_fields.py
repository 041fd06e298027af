"""Each mapping against describe: what it becomes, and why it is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sfsync.contract import Field
from sfsync.records import FieldRule, Lookup, OnMissing, Reference, Send

from .conftest import ODD, org_of

VALUE, OR_NULL, NEVER = Send.VALUE, Send.VALUE_OR_NULL, Send.NEVER
MODEL = {"models/m.sql": "select * from raw.customers"}


def sync(
    fields: str,
    *,
    identity: str = "Key__c: customer_id",
    more: str = "",
    name: str = "odd",
    object_: str = "Odd__c",
    need: bool = True,
) -> dict[str, str]:
    every = f"Need__c: title, {fields}" if need and object_ == "Odd__c" else fields
    body = (
        f"version: 1\nsyncs:\n  - name: {name}\n    model: m\n    object: {object_}\n"
        f"    identity: {{{identity}}}\n    fields: {{{every}}}\n{more}"
    )
    return MODEL | {f"syncs/{name}.yml": body}


def rule(lab, fields: str, name: str, more: str = "") -> FieldRule:
    found = lab.compile(sync(fields, more=more)).syncs[0]
    return next(r for r in found.fields if r.field == name)


@pytest.mark.parametrize(
    ("fields", "more", "name", "sends"),
    [
        ("Secret__c: email", "", "Secret__c", (VALUE, OR_NULL)),
        ("Secret__c: email", "    nulls: keep\n", "Secret__c", (VALUE, VALUE)),
        ("Secret__c: {column: email, nulls: keep}", "", "Secret__c", (VALUE, VALUE)),
        ("Secret__c: {column: email, nulls: clear}", "    nulls: keep\n", "Secret__c", (VALUE, OR_NULL)),
        ("Secret__c: email", "    clear_on_create: true\n", "Secret__c", (OR_NULL, OR_NULL)),
        (
            "Secret__c: {column: email, nulls: keep}",
            "    clear_on_create: true\n",
            "Secret__c",
            (VALUE, VALUE),
        ),
        ("Flag__c: champion", "    clear_on_create: true\n", "Flag__c", (VALUE, VALUE)),
        ("Once__c: email", "", "Once__c", (VALUE, NEVER)),
        ("Later__c: email", "", "Later__c", (NEVER, OR_NULL)),
        ("Once__c: email", "", "Need__c", (VALUE, OR_NULL)),
    ],
)
def test_policies(lab, fields: str, more: str, name: str, sends: tuple[Send, Send]) -> None:
    found = rule(lab, fields, name, more)
    assert (found.on_create, found.on_update) == sends


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ("Secret__c: email", {"type": "encryptedstring", "length": 30, "precision": None, "scale": None}),
        ("Whole__c: score", {"type": "int", "length": None, "precision": 8, "scale": 0}),
        ("Money__c: spent", {"type": "currency", "precision": 16, "scale": 2}),
        ("secret__C: EMAIL", {"field": "Secret__c", "label": "Secret"}),
        ("Kind__c: title", {"picklist": None}),
        ("Secret__c: {column: email, pii: true, truncate: true}", {"pii": True, "truncate": True}),
        ("Owner__c: account_id", {"type": "reference", "length": None, "reference": None}),
    ],
)
def test_shapes(lab, mapping: str, expected: dict[str, object]) -> None:
    found = lab.compile(sync(mapping)).syncs[0].fields[-1]
    assert {name: getattr(found, name) for name in expected} == expected


def test_required_and_nillable(lab) -> None:
    found = rule(lab, "Once__c: email", "Need__c")
    assert (found.required, found.nillable) == (True, False)


def test_a_restricted_picklist_counts_unless_record_types_narrow_it(lab) -> None:
    plain = org_of(replace(ODD, record_types=0))
    found = lab.compile(sync("Kind__c: title"), org=plain).syncs[0].fields[-1]
    assert found.picklist == ("A", "B")


def test_a_lookup_takes_its_parents_shape(lab) -> None:
    text = "Owner__c: {column: account_id, lookup: account.account_id__c, on_missing: reject}"
    found = rule(lab, text, "Owner__c")
    assert found.reference == Reference("Owner__r", "Account", "Account_Id__c", polymorphic=True)
    assert found.header == "Account:Owner__r.Account_Id__c"
    assert (found.type, found.length, found.nillable) == ("string", 40, True)


def test_identity(lab) -> None:
    found = lab.compile(sync("Once__c: email", identity="Key__c: {column: customer_id, pii: true}")).syncs[0]
    (key,) = found.identity
    assert (key.field, key.required, key.pii, key.on_create, key.on_update) == (
        "Key__c",
        True,
        True,
        VALUE,
        VALUE,
    )
    assert found.rules[0] is key
    assert not key.case_sensitive


REFUSED = [
    ("unknown field", "Secrt__c: email", "Odd__c has no field 'Secrt__c' that deploy@acme.com can see", "did you mean 'Secret__c'?"),
    ("auto-number", "Auto__c: email", "Odd__c.Auto__c cannot be written: it is an auto-number, given by the org", "remove it from the sync"),
    ("formula", "Formula__c: score", "Odd__c.Formula__c cannot be written: it is a formula or a roll-up, calculated by the org", "remove it from the sync"),
    ("no right", "Hidden__c: email", "Odd__c.Hidden__c cannot be written: deploy@acme.com may neither create nor edit it", "give this user the right to edit the field, or remove it"),
    ("compound", "Place__c: email", "Odd__c.Place__c cannot be written: type location, it is compound", "map its parts: Place__Latitude__s"),
    ("binary", "Body__c: email", "Odd__c.Body__c cannot be written: type base64, binary content cannot be synced", "remove it from the sync"),
    ("unknown type", "Future__c: email", "Odd__c.Future__c cannot be written: sfsync does not know type hologram", "remove it from the sync"),
    ("blob", "Secret__c: blob", "Secret__c: column 'blob' of type BLOB has no text that is the same everywhere", "CAST or format it in the model"),
    ("struct", "Secret__c: extra", "Secret__c: column 'extra' of type STRUCT(a INTEGER) has no text that is the same everywhere", "CAST or format it in the model"),
    ("double to text", "Secret__c: score", "Secret__c: column 'score' of type DOUBLE does not go into a field of type encryptedstring", "CAST or format it in the model"),
    ("timestamp to text", "Secret__c: seen", "Secret__c: column 'seen' of type TIMESTAMP does not go into a field of type encryptedstring", "CAST or format it in the model"),
    ("time to text", "Secret__c: noon", "Secret__c: column 'noon' of type TIME does not go into a field of type encryptedstring", "CAST or format it in the model"),
    ("array to text", "Secret__c: tags", "Secret__c: column 'tags' of type VARCHAR[] does not go into a field of type encryptedstring", "CAST or format it in the model"),
    ("date to number", "Money__c: born", "Money__c: column 'born' of type DATE does not go into a field of type currency", "CAST or format it in the model"),
    ("cut a number", "Money__c: {column: spent, truncate: true}", "Money__c is of type currency, which cannot be cut", "remove truncate"),
    ("lookup on text", "Secret__c: {column: email, lookup: Account.Account_Id__c}", "Odd__c.Secret__c is of type encryptedstring, so it cannot look up a parent", "remove lookup, or map the field that holds the parent's Id"),
    ("lookup elsewhere", "Owner__c: {column: email, lookup: Case.Case_Id__c}", "Odd__c.Owner__c does not refer to 'Case'", "it refers to Account, Contact"),
    ("lookup by nothing", "Owner__c: {column: email, lookup: Account.Acount_Id__c}", "Account has no field 'Acount_Id__c' that deploy@acme.com can see", "did you mean 'Account_Id__c'?"),
    ("lookup by a list", "Owner__c: {column: email, lookup: Contact.Interests__c}", "Contact.Interests__c is of type multipicklist, and a lookup finds no parent by it", "use an external id of Contact, or another field that a query can compare"),
    ("lookup by Id", "Owner__c: {column: email, lookup: Contact.Id}", "Contact.Id is the record's own Id, and a lookup finds no parent by it", "remove lookup: the column has the Id already"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "message", "fix"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_refused_fields(lab, fields: str, message: str, fix: str) -> None:
    (found,) = lab.refused(sync(fields))
    where, _, what = found[0].partition(": ")
    assert where.startswith("syncs/odd.yml:7:")
    assert (what, found[1]) == (message, fix)


@pytest.mark.parametrize(
    ("identity", "message", "fix"),
    [
        ("Secret__c: customer_id", "Odd__c.Secret__c is of type encryptedstring, so it cannot say which record a row is", "use an external id, or fields that can be compared in a query"),
        ("Auto__c: customer_id", "Odd__c.Auto__c cannot be written: it is an auto-number, given by the org", "remove it from the sync"),
        ("Kay__c: customer_id", "Odd__c has no field 'Kay__c' that deploy@acme.com can see", "did you mean 'Key__c'?"),
        ("Key__c: score", "Key__c: column 'score' of type DOUBLE does not go into a field of type string", "CAST or format it in the model"),
        ("Key__c: custmer_id", "model 'm' has no column 'custmer_id'", "did you mean 'customer_id'?"),
    ],
)  # fmt: skip
def test_refused_identities(lab, identity: str, message: str, fix: str) -> None:
    (found,) = lab.refused(sync("Once__c: email", identity=identity))
    assert found[0].startswith("syncs/odd.yml:6:")
    assert (found[0].partition(": ")[2], found[1]) == (message, fix)


@pytest.mark.parametrize(
    ("object_", "identity", "message"),
    [
        ("Odd", "Key__c: customer_id", "the org has no object 'Odd' that deploy@acme.com can see"),
        ("News__e", "Key__c: customer_id", "object 'News__e' is a platform event, which sfsync does not write"),
        ("Old__b", "Key__c: customer_id", "object 'Old__b' is a big object, which sfsync does not write"),
        ("Far__x", "Key__c: customer_id", "object 'Far__x' is an external object, which sfsync does not write"),
        ("Set__mdt", "Key__c: customer_id", "object 'Set__mdt' is a custom metadata type, which sfsync does not write"),
        ("Locked__c", "Key__c: customer_id", "deploy@acme.com may not create records of 'Locked__c'"),
    ],
)  # fmt: skip
def test_refused_objects(lab, object_: str, identity: str, message: str) -> None:
    files = sync("Once__c: email, Need__c: title", object_=object_, identity=identity)
    (found,) = lab.refused(files)
    assert found[0] == f"syncs/odd.yml:5:13: {message}"


def test_refused_objects_are_refused_without_an_org(lab) -> None:
    assert "platform event" in lab.refused(sync("A__c: email", object_="News__e"), blind=True)[0][0]


def test_deleting_needs_the_right_to(lab) -> None:
    org = org_of(replace(ODD, deletable=False))
    (found,) = lab.refused(sync("Once__c: email", more="    on_removed: delete\n"), org=org)
    assert found == (
        "syncs/odd.yml:5:13: deploy@acme.com may not delete records of 'Odd__c'",
        "give this user Delete on Odd, or sync another object",
    )


def test_required_fields_that_nobody_maps(lab) -> None:
    extra = replace(ODD, fields=(*ODD.fields, Field("Must__c", "Must", "string", nillable=False)))
    (found,) = lab.refused(sync("Once__c: email", need=False), org=org_of(extra))
    assert found == (
        "syncs/odd.yml:7:5: Odd__c cannot be created without Need__c, Must__c, which are not mapped",
        "map them under fields",
    )


@pytest.mark.parametrize(
    ("fields", "identity", "warning"),
    [
        ("Once__c: email", "Key__c: customer_id", "Once__c can only be set on create; later changes are not sent"),
        ("Later__c: email", "Key__c: customer_id", "Later__c cannot be set on create; it is sent by a later update"),
        ("Secret__c: email", "Loose__c: customer_id", "Loose__c is not unique in Odd__c: two records with one value are refused by the org as DUPLICATE_EXTERNAL_ID"),
    ],
)  # fmt: skip
def test_warnings(lab, fields: str, identity: str, warning: str) -> None:
    found = lab.compile(sync(fields, identity=identity)).warnings
    assert any(w.endswith(": " + warning) for w in found)


def test_a_zone_that_nobody_chose_is_said(lab) -> None:
    text = {"syncs/c.yml": CONTACT.format("Last_Login__c: seen")} | MODEL
    assert not any("time zone" in w for w in lab.compile(text).warnings)
    lab.write({"sfsync_project.yml": 'name: acme\nversion: "1"\nprofile: acme\n'})
    assert any("'seen' has no time zone and is read as UTC" in w for w in lab.compile().warnings)


@pytest.mark.parametrize(
    ("mapping", "text", "sends"),
    [
        ("Secret__c: {value: ' a b '}", "a b", (VALUE, OR_NULL)),
        ("Secret__c: {value: Product, write: on_create}", "Product", (VALUE, NEVER)),
        ("Secret__c: {value: Product, write: if_blank}", "Product", (VALUE, Send.IF_BLANK)),
        ("Secret__c: {value: null}", "", (OR_NULL, OR_NULL)),
        ("Secret__c: {value: ''}", "", (OR_NULL, OR_NULL)),
        ("Secret__c: {value: null, write: on_create}", "", (OR_NULL, NEVER)),
        ("Flag__c: {value: false}", "false", (VALUE, VALUE)),
        ("Whole__c: {value: 7}", "7", (VALUE, OR_NULL)),
        ("Money__c: {value: 1.50}", "1.5", (VALUE, OR_NULL)),
        ("Money__c: {value: '1.005'}", "1.01", (VALUE, OR_NULL)),
        ("Once__c: {value: a}", "a", (VALUE, NEVER)),
        ("Kind__c: {value: C}", "C", (VALUE, OR_NULL)),  # record types may have it
    ],
)
def test_constants(lab, mapping: str, text: str, sends: tuple[Send, Send]) -> None:
    found = rule(lab, mapping, mapping.partition(":")[0])
    assert (found.constant, (found.on_create, found.on_update), found.read) == (text, sends, False)


@pytest.mark.parametrize(
    ("mapping", "what"),
    [
        (
            "Once__c: {value: abcdefghijk}",
            "Odd__c.Once__c: the value must have at most 10 characters, found 11",
        ),
        ("Once__c: {value: 5}", "Odd__c.Once__c: the value must be text (put it in quotes)"),
        ("Kind__c: {value: C}", "Odd__c.Kind__c: the value must be one of A, B"),
        ("Flag__c: {value: 'yes'}", "Odd__c.Flag__c: the value must be true or false"),
        ("Flag__c: {value: null}", "Odd__c.Flag__c: the value cannot be null"),
        ("Money__c: {value: much}", "Odd__c.Money__c: the value must be a number"),
        (
            "Money__c: {value: 1e30}",
            "Odd__c.Money__c: the value must have at most 14 digits before the point",
        ),
        ('Once__c: {value: "a\\0b"}', "Odd__c.Once__c: the value cannot hold NUL (U+0000)"),
        (
            "Owner__c: {value: A1}",
            "Odd__c.Owner__c: the value must be an Id of 15 or 18 characters, of which the last three check the others",
        ),
    ],
)
def test_refused_constants(lab, mapping: str, what: str) -> None:
    column = sync(mapping)["syncs/odd.yml"].splitlines()[6].index("value: ") + len("value: ") + 1
    (found,) = lab.refused(sync(mapping), org=org_of(replace(ODD, record_types=0)))
    assert found[0] == f"syncs/odd.yml:7:{column}: {what}"


def test_a_sync_may_send_nothing_but_constants_beside_its_key(lab) -> None:
    found = lab.compile(sync("Need__c: {value: Always}", need=False))
    assert (found.syncs[0].fields[0].constant, found.syncs[0].fields[0].required) == ("Always", True)
    assert found.outlines[0].columns == (("Key__c", "customer_id"), ("Need__c", ""))


CODE = Field(
    "CurrencyIsoCode", "Currency", "picklist", 3, nillable=False, defaulted_on_create=True, restricted_picklist=True,
    picklist=("EUR", "USD"), default_value="USD",
)  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "mode", "code", "found"),
    [
        ("Money__c: spent", "upsert", CODE, "error"),
        ("money__C: {value: 5}", "create", CODE, "error"),
        ("Money__c: spent", "update", CODE, "warning"),
        ("Money__c: spent, CurrencyIsoCode: title", "upsert", CODE, None),
        ("Money__c: spent, CurrencyIsoCode: {value: EUR, write: on_create}", "upsert", CODE, None),
        ("Whole__c: score", "upsert", CODE, None),
        (
            "Money__c: spent",
            "upsert",
            replace(CODE, createable=False, updateable=False),
            None,
        ),  # its parent's
        ("Money__c: spent", "upsert", None, None),
    ],
)
def test_amounts_need_their_currency(
    lab, fields: str, mode: str, code: Field | None, found: str | None
) -> None:
    org = org_of(replace(ODD, fields=(*ODD.fields, *([code] if code else []))))
    files = sync(fields, more=f"    mode: {mode}\n")
    if found == "error":
        name = fields.partition(":")[0]
        assert lab.refused(files, org=org) == [
            (
                f"syncs/odd.yml:7:30: the org has several currencies, and nothing says which {name} is in:"
                " map Odd__c.CurrencyIsoCode, or new records get the currency of this user",
                "map it to a column, or write CurrencyIsoCode: {value: USD} (one of EUR, USD)",
            )
        ]
        return
    told = [w for w in lab.compile(files, org=org).warnings if "several currencies" in w]
    assert bool(told) == (found == "warning"), told


def test_compound_fields_name_their_parts(lab) -> None:
    parts = (
        Field("Place__Longitude__s", "Longitude", "double", compound_field_name="Place__c"),
        Field(
            "Place__Accuracy__s",
            "Accuracy",
            "string",
            createable=False,
            updateable=False,
            compound_field_name="Place__c",
        ),
    )
    (found,) = lab.refused(sync("Place__c: email"), org=org_of(replace(ODD, fields=(*ODD.fields, *parts))))
    assert found[1] == "map its parts: Place__Latitude__s, Place__Longitude__s"
    alone = replace(ODD, fields=tuple(f for f in ODD.fields if f.name != "Place__Latitude__s"))
    (found,) = lab.refused(sync("Place__c: email"), org=org_of(alone))
    assert found[1] == "map the fields that it is made of"
    (found,) = lab.refused(
        sync("LastName: last_name, Name: email", identity="Customer_Id__c: customer_id", object_="Contact")
    )
    assert (found[0].partition(": ")[2], found[1]) == (
        "Contact.Name cannot be written: it is compound",
        "map its parts: FirstName, LastName, Salutation",
    )


def test_accounts_of_people_are_named_by_their_last_name(lab) -> None:
    plain = org_of().contract.object("Account")
    assert plain is not None
    last = Field("LastName", "Last Name", "string", 80)
    people = org_of(replace(plain, fields=(*plain.fields, last)))
    key, both = "Account_Id__c: account_id", "LastName: last_name, Name: title"
    options = {"identity": key, "object_": "Account"}
    assert (
        lab.compile(sync("LastName: last_name", **options), org=people).syncs[0].fields[0].field == "LastName"
    )
    assert lab.compile(sync("Name: last_name", **options), org=people).syncs
    (found,) = lab.refused(sync(both, **options), org=people)
    assert found == (
        "syncs/odd.yml:7:35: Account.Name is given by the org where an account is a person, and the sync maps LastName, too",
        "make two syncs with a `where` each: people by LastName, without Name, and companies by Name",
    )
    assert lab.compile(sync(both, more="    mode: update\n", **options), org=people).syncs


CONTACT = """version: 1
syncs:
  - name: c
    model: m
    object: contact
    identity: {{Customer_Id__c: customer_id}}
    fields: {{LastName: last_name, {}}}
"""


def test_the_fingerprint_moves_with_what_decides_a_text_and_with_nothing_else(lab) -> None:
    def seal(fields: str, **options: object) -> str:
        return lab.compile(sync(fields), **options).syncs[0].fingerprint

    base = seal("Secret__c: email, Once__c: last_name")
    assert seal("Once__c: last_name, Secret__c: {column: email, pii: true}") == base
    others = {
        seal("Secret__c: email, Once__c: email"),
        seal("Secret__c: email"),
        seal("Secret__c: {column: email, nulls: keep}, Once__c: last_name"),
        seal("Secret__c: {column: email, truncate: true}, Once__c: last_name"),
        seal("Secret__c: {value: a}, Once__c: last_name"),
        seal("Secret__c: {value: b}, Once__c: last_name"),
        seal(
            "Secret__c: email, Once__c: last_name",
            org=org_of(replace(ODD, fields=tuple(replace(f, length=9) for f in ODD.fields))),
        ),
    }
    lab.write({"sfsync_project.yml": 'name: acme\nversion: "1"\nprofile: acme\ntimezone: Europe/Berlin\n'})
    others.add(seal("Secret__c: email, Once__c: last_name"))
    assert len(others | {base}) == 9


def test_a_required_lookup_cannot_be_left_out(lab) -> None:
    must = Field(
        "Must__c", "Must", "reference", nillable=False, reference_to=("Account",), relationship_name="Must__r"
    )
    org = org_of(replace(ODD, fields=(*ODD.fields, must)))
    for policy in ("null", "skip_field"):
        text = f"Must__c: {{column: email, lookup: Account.Name, on_missing: {policy}}}"
        (found,) = lab.refused(sync(text), org=org)
        assert found[0].endswith(f"Odd__c.Must__c is required, and on_missing: {policy} would leave it out")
    (rule,) = (
        r
        for r in lab.compile(sync("Must__c: {column: email, lookup: Account.Name}"), org=org).syncs[0].fields
        if r.field == "Must__c"
    )
    assert rule.reference is None
    assert rule.lookup == Lookup("Account", "Name", OnMissing.REJECT, to_id=True)
    assert (rule.type, rule.length) == ("string", 255)


def test_the_records_that_count_follow_from_the_parents_object(lab) -> None:
    cases = {}
    for object_, key, field, lookup in (
        ("Contact", "Customer_Id__c", "OwnerId", "User.Email"),
        ("Case", "Case_Id__c", "OwnerId", "Group.DeveloperName"),
    ):
        text = (
            f"version: 1\nsyncs:\n  - name: s\n    model: m\n    object: {object_}\n    identity: {{{key}: customer_id}}\n"
            f"    fields: {{{'LastName: title, ' if object_ == 'Contact' else ''}{field}: {{column: email, lookup: {lookup}}}}}\n"
        )
        found = lab.compile({"models/m.sql": "select * from raw.customers", "syncs/odd.yml": text}).syncs[0]
        rule = found.fields[-1]
        cases[lookup] = (rule.lookup.where, rule.lookup.kind)
    assert cases == {
        "User.Email": ("IsActive = true", "active user"),
        "Group.DeveloperName": ("Type = 'Queue'", "queue"),
    }
