"""SOQL against a real store: which rows a query finds, what an answer looks like, what is refused and how."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from sfsync.contract import Contract, Field, SObject
from sfsync.local_org.identity import open_identity
from sfsync.local_org.soql import compile_soql
from sfsync.local_org.soql_syntax import SoqlError
from sfsync.local_org.soql_values import macro_days
from sfsync.local_org.store import Store

NOW = datetime(2026, 7, 22, 10, 30, tzinfo=UTC)  # a Wednesday


def sobject(name, prefix, *fields):
    system = [
        Field("Id", "Id", "id", nillable=False),
        Field("IsDeleted", "Deleted", "boolean"),
        Field("CreatedDate", "Created", "datetime"),
        Field(
            "CreatedById",
            "Created By",
            "reference",
            reference_to=("User",),
            relationship_name="CreatedBy",
        ),
        Field("LastModifiedDate", "Modified", "datetime"),
        Field("LastModifiedById", "Modified By", "reference", reference_to=("User",)),
        Field("SystemModstamp", "Stamp", "datetime"),
    ]
    return SObject(name, name, prefix, True, True, True, (*system, *fields))


CONTRACT = Contract(
    (
        sobject(
            "Account",
            "001",
            Field("Name", "Name", "string", 255),
            Field("AnnualRevenue", "Revenue", "currency", precision=18, scale=2),
            Field("NumberOfEmployees", "Employees", "int", digits=8),
            Field("Code__c", "Code", "string", 20, case_sensitive=True),
            Field("Since__c", "Since", "date"),
            Field("OwnerId", "Owner", "reference", reference_to=("Group", "User"), relationship_name="Owner"),
        ),
        sobject(
            "Contact",
            "003",
            Field("LastName", "Last", "string", 80),
            Field("Active__c", "Active", "boolean"),
            Field("Likes__c", "Likes", "multipicklist"),
            Field("Note", "Note", "textarea", 32000),
            Field("Seen__c", "Seen", "datetime"),
            Field("Wake__c", "Wake", "time"),
            Field(
                "AccountId",
                "Account",
                "reference",
                reference_to=("Account",),
                relationship_name="Account",
            ),
        ),
        sobject("User", "005", Field("Name", "Name", "string", 80), Field("Email", "Email", "email", 80)),
        sobject("Group", "00G", Field("Name", "Name", "string", 80)),
    )
)
A1, A2, A3 = ("001D000000IqhSLIAZ", "001D000000IqhSMIAZ", "001D000000IqhSNIAZ")
C = [f"003D00000000{n:03d}AAA" for n in range(6)]
U1, G1 = "005D00000000001AAA", "00GD00000000001AAA"
ROWS = {
    "User": [{"Id": U1, "Name": "Ops Bot", "Email": "ops@acme.example"}],
    "Group": [{"Id": G1, "Name": "Queue"}],
    "Account": [
        {"Id": A1, "Name": "Acme", "AnnualRevenue": "1200000.5", "NumberOfEmployees": "12",
         "Code__c": "ab", "Since__c": "2026-07-22", "OwnerId": U1, "CreatedDate": "2026-07-22T00:00:00.000Z"},
        {"Id": A2, "Name": "100% Pure_Gold", "AnnualRevenue": "9", "Code__c": "AB", "OwnerId": G1,
         "Since__c": "2026-07-12", "CreatedDate": "2026-07-21T23:59:59.999Z"},
        {"Id": A3, "Name": "gone", "IsDeleted": "true", "CreatedDate": "2025-01-01T00:00:00.000Z"},
    ],
    "Contact": [
        {"Id": C[0], "LastName": "O'Hara", "Active__c": "true", "Likes__c": "Billing;Mobile", "AccountId": A1,
         "Seen__c": "2026-01-31T10:00:00.000Z", "Wake__c": "07:30:00.000Z", "Note": 'say "hi"\n\\ tab\t\u00e9'},
        {"Id": C[1], "LastName": "smith", "Active__c": "false", "Likes__c": "Mobile", "AccountId": A2},
        {"Id": C[2], "LastName": "SMITH", "AccountId": A1},
        {"Id": C[3], "LastName": "back\\slash", "Likes__c": "Analytics;Billing"},
        {"Id": C[4]},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("org")
    store = Store(folder, CONTRACT, open_identity(folder))
    with store.write() as cursor:
        for name, rows in ROWS.items():
            for row in rows:
                row = {"IsDeleted": "false", "CreatedById": U1, **row}
                columns = ", ".join(f'"{c}"' for c in row)
                marks = ", ".join("?" for _ in row)
                cursor.execute(f'INSERT INTO data."{name}" ({columns}) VALUES ({marks})', list(row.values()))
    yield store
    store.close()


@pytest.fixture(scope="module")
def ask(store):
    def ask(text, **options):
        compiled = compile_soql(text, store.contract, version="67.0", now=NOW, **options)
        with store.reading() as cursor:
            rows = cursor.execute(compiled.sql).fetchall()
        return rows[0][0] if compiled.count_only else [json.loads(row[0]) for row in rows]

    return ask


@pytest.fixture(scope="module")
def refused(store):
    def refused(text):
        with pytest.raises(SoqlError) as caught:
            compile_soql(text, store.contract, version="67.0", now=NOW)
        return caught.value.code, caught.value.message

    return refused


FOUND = [  # WHERE on Contact, indexes found
    ("LastName = 'SMITH'", [1, 2]),
    ("LastName != 'smith'", [0, 3, 4]),
    ("LastName <> 'smith'", [0, 3, 4]),
    ("LastName = 'O\\'Hara'", [0]),
    ("LastName = 'back\\\\slash'", [3]),
    ("LastName LIKE 'back\\\\%'", [3]),
    ("LastName LIKE '%A%'", [0, 3]),
    ("LastName LIKE 'smit_'", [1, 2]),
    ("(NOT LastName LIKE 'smit_')", [0, 3, 4]),
    ("NOT (LastName = 'smith' OR LastName = null)", [0, 3]),
    ("LastName = null", [4]),
    ("LastName = ''", [4]),
    ("LastName != null AND AccountId = null", [3]),
    ("LastName IN ('smith', 'o\\'hara')", [0, 1, 2]),
    ("LastName NOT IN ('smith')", [0, 3, 4]),
    ("LastName IN ('smith', null)", [1, 2, 4]),
    ("LastName > 'p'", [1, 2]),
    ("Active__c = true", [0]),
    ("Active__c = FALSE", [1, 2, 3, 4]),
    ("Active__c != true", [1, 2, 3, 4]),
    ("Likes__c INCLUDES ('billing')", [0, 3]),
    ("Likes__c INCLUDES ('Billing;Mobile')", [0]),
    ("Likes__c INCLUDES ('Billing;Mobile', 'Analytics')", [0, 3]),
    ("Likes__c EXCLUDES ('Mobile')", [2, 3, 4]),
    ("Likes__c = 'Billing;Mobile'", [0]),
    ("AccountId = '001D000000IqhSL'", [0, 2]),
    ("AccountId IN ('001D000000IqhSLIAZ', '001D000000IqhSM')", [0, 1, 2]),
    ("Account.Name = 'acme'", [0, 2]),
    ("Account.Owner.Name = 'Queue'", [1]),
    ("Account.Owner.Type = 'User'", [0, 2]),
    ("Account.AnnualRevenue > 10", [0, 2]),
    ("Account.AnnualRevenue < 1.2E6", [1]),
    ("Account.AnnualRevenue IN (9, 1200000.50)", [0, 1, 2]),
    ("Seen__c = 2026-01-31T11:00:00+01:00", [0]),
    ("Seen__c > 2026-01-31T09:59:59.999Z", [0]),
    ("Seen__c < 2026-01-31T10:00:00Z", []),
    ("Wake__c = 07:30:00.000Z", [0]),
    ("Account.Since__c = TODAY", [0, 2]),
    ("Account.Since__c < TODAY", [1]),
    ("Account.Since__c = LAST_N_DAYS:10", [0, 1, 2]),
    ("Account.Since__c = LAST_N_DAYS:9", [0, 2]),
    ("Account.Since__c >= 2026-07-13", [0, 2]),
    ("Account.CreatedDate = YESTERDAY", [1]),
    ("Account.CreatedDate = TODAY", [0, 2]),
    ("Account.CreatedDate != TODAY AND AccountId != null", [1]),
    ("Contact.LastName = 'smith' AND (Active__c = true OR AccountId = '001D000000IqhSMIAZ')", [1]),
    ("Account.Code__c = 'ab'", [0, 2]),
    ("Account.Code__c = 'AB'", [1]),
]


@pytest.mark.parametrize(("where", "expected"), FOUND, ids=[f[0] for f in FOUND])
def test_where(ask, where, expected):
    rows = ask(f"SELECT Id FROM Contact WHERE {where}")
    assert [r["Id"] for r in rows] == [C[i] for i in expected]


def test_like_escapes(ask):
    assert [r["Id"] for r in ask("SELECT Id FROM Account WHERE Name LIKE '100\\% pure\\_%'")] == [A2]
    assert ask("SELECT Id FROM Account WHERE Name LIKE '100\\_%'") == []


def test_values_and_nested_parents(ask):
    rows = ask(
        "select id, LASTNAME, Active__c, Seen__c, Wake__c, Note, Account.Name, Account.AnnualRevenue,"
        " Account.NumberOfEmployees, Account.Owner.Name FROM contact c where c.LastName in ('o\\'hara', 'back\\\\slash')"
    )
    url = "/services/data/v67.0/sobjects"
    assert list(rows[0]) == [
        "attributes",
        "Id",
        "LastName",
        "Active__c",
        "Seen__c",
        "Wake__c",
        "Note",
        "Account",
    ]
    assert rows[0] == {
        "attributes": {"type": "Contact", "url": f"{url}/Contact/{C[0]}"},
        "Id": C[0],
        "LastName": "O'Hara",
        "Active__c": True,
        "Seen__c": "2026-01-31T10:00:00.000+0000",
        "Wake__c": "07:30:00.000Z",
        "Note": 'say "hi"\n\\ tab\té',
        "Account": {
            "attributes": {"type": "Account", "url": f"{url}/Account/{A1}"},
            "Name": "Acme",
            "AnnualRevenue": 1200000.5,
            "NumberOfEmployees": 12,
            "Owner": {"attributes": {"type": "Name", "url": f"{url}/User/{U1}"}, "Name": "Ops Bot"},
        },
    }
    assert isinstance(rows[0]["Account"]["NumberOfEmployees"], int)
    assert rows[1]["Account"] is None
    assert rows[1]["Active__c"] is False


SEMI_JOINS = [  # a query, the Ids it finds
    ("SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact)", [A1, A2]),
    ("SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact WHERE Active__c = true)", [A1]),
    ("SELECT Id FROM Account WHERE Id NOT IN (SELECT c.AccountId FROM Contact c WHERE c.Active__c = true)", [A2]),
    ("SELECT Id FROM Contact WHERE AccountId IN (SELECT Id FROM Account WHERE Owner.Type = 'Group')", [C[1]]),
    ("SELECT Id FROM Contact WHERE AccountId NOT IN (SELECT Id FROM Account WHERE Name = 'Acme')", [C[1], C[3], C[4]]),
    ("SELECT Id FROM Contact WHERE LastName LIKE 's%' AND AccountId IN (SELECT Id FROM Account) AND"
     " AccountId NOT IN (SELECT Id FROM Account WHERE Name = 'Acme')", [C[1]]),
    ("SELECT Id FROM User WHERE Id IN (SELECT OwnerId FROM Account)", [U1]),
    ("SELECT Id FROM Contact WHERE Account.OwnerId IN (SELECT Id FROM User)", [C[0], C[2]]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), SEMI_JOINS, ids=[f"{n}" for n in range(len(SEMI_JOINS))])
def test_semi_joins_and_anti_joins(ask, text, expected):
    assert [r["Id"] for r in ask(text)] == expected


ORDERED = [
    ("ORDER BY LastName, Id DESC", [4, 3, 0, 2, 1]),
    ("ORDER BY LastName NULLS LAST, Id", [3, 0, 1, 2, 4]),
    ("ORDER BY LastName DESC NULLS LAST, Id", [1, 2, 0, 3, 4]),
    ("ORDER BY Account.AnnualRevenue DESC NULLS LAST, Id LIMIT 3", [0, 2, 1]),
    ("ORDER BY Id LIMIT 2 OFFSET 1", [1, 2]),
    ("LIMIT 0", []),
    ("LIMIT 2 FOR VIEW", [0, 1]),
]


@pytest.mark.parametrize(("clause", "expected"), ORDERED, ids=[o[0] for o in ORDERED])
def test_order_and_pages(ask, clause, expected):
    assert [r["Id"] for r in ask(f"SELECT Id FROM Contact {clause}")] == [C[i] for i in expected]


def test_counts(ask):
    assert ask("SELECT count() FROM Contact") == 5
    assert ask("SELECT COUNT() FROM Contact WHERE Account.Name = 'Acme' LIMIT 1") == 1
    one = {"attributes": {"type": "AggregateResult"}, "expr0": 4, "named": 5}
    assert ask("SELECT count(LastName), count(Id) named FROM Contact") == [one]
    rows = ask("SELECT LastName, count(Id) FROM Contact GROUP BY LastName ORDER BY count(Id) DESC, LastName")
    assert [(r["LastName"], r["expr0"]) for r in rows] == [
        ("SMITH", 2),
        (None, 1),
        ("back\\slash", 1),
        ("O'Hara", 1),
    ]
    rows = ask(
        "SELECT Account.Name who, count(Id) n FROM Contact GROUP BY Account.Name ORDER BY Account.Name"
    )
    assert [(r["who"], r["n"]) for r in rows] == [(None, 2), ("100% Pure_Gold", 1), ("Acme", 2)]
    total = ask("SELECT sum(AnnualRevenue) s, min(Since__c) m, count_distinct(Code__c) d FROM Account")[0]
    assert (total["s"], total["m"], total["d"]) == (1200009.5, "2026-07-12", 2)


def test_deleted_rows_are_seen_by_query_all_only(ask):
    assert ask("SELECT count() FROM Account") == 2
    assert ask("SELECT count() FROM Account", include_deleted=True) == 3
    rows = ask("SELECT Id FROM Account WHERE IsDeleted = true", include_deleted=True)
    assert [r["Id"] for r in rows] == [A3]


def test_fields_function(ask):
    row = ask("SELECT FIELDS(ALL) FROM Account LIMIT 1")[0]
    assert {"Id", "Name", "Code__c", "CreatedDate"} < set(row)
    assert "Code__c" not in ask("SELECT FIELDS(STANDARD) FROM Account")[0]
    assert set(ask("SELECT Id, FIELDS(CUSTOM) FROM Account LIMIT 200")[0]) == {
        "attributes",
        "Id",
        "Code__c",
        "Since__c",
    }


COLUMN = (
    "If you are attempting to use a custom field, be sure to append the '__c' after the custom field name."
    " Please reference your WSDL or the describe call for the appropriate names."
)
TYPE = (
    "If you are attempting to use a custom object, be sure to append the '__c' after the entity name."
    " Please reference your WSDL or the describe call for the appropriate names."
)
REFUSED = [  # query, code, message (whole when it begins with a line break or has no place)
    ("SELECT Id FRM Account", "MALFORMED_QUERY", "unexpected token: 'FRM'"),
    ("SELECT Id FROM", "MALFORMED_QUERY", "unexpected token: '<EOF>'"),
    ("", "MALFORMED_QUERY", "unexpected token: '<EOF>'"),
    ("SELECT Id FROM Account WHERE Name = 'x", "MALFORMED_QUERY", "unterminated string literal"),
    ("SELECT Id FROM Account WHERE Name = 'a\\qb'", "MALFORMED_QUERY",
     "Invalid string literal 'a\\qb'. Illegal character sequence '\\q' in string literal."),
    ("SELECT Id FROM Account WHERE Name = 'a' AND Name = 'b' OR Id = null", "MALFORMED_QUERY",
     "unexpected token: 'OR'"),
    ("SELECT Id FROM Account WHERE Id IN (SELECT LastName FROM Contact)", "MALFORMED_QUERY",
     "the field 'LastName' of a semi join is neither an Id nor a reference"),
    ("SELECT Id FROM Account WHERE Name IN (SELECT Id FROM Contact)", "MALFORMED_QUERY", "the field 'Name' of a semi"),
    ("SELECT Id FROM Account WHERE Id IN (SELECT Id FROM Contact)", "MALFORMED_QUERY",
     "should point to the same object type"),
    ("SELECT Id FROM Account WHERE Id IN (SELECT Id FROM Account)", "MALFORMED_QUERY",
     "should not be on the same object type"),
    ("SELECT Id FROM Account WHERE Id IN (SELECT AccountId, Id FROM Contact)", "MALFORMED_QUERY", "exactly one field"),
    ("SELECT Id FROM Account WHERE Id IN (SELECT count() FROM Contact)", "MALFORMED_QUERY", "exactly one field"),
    ("SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact LIMIT 1)", "MALFORMED_QUERY",
     "unexpected token: 'LIMIT'"),
    ("SELECT Id FROM Account WHERE Name = 'a' OR Id IN (SELECT AccountId FROM Contact)", "MALFORMED_QUERY",
     "not allowed with the 'OR' operator"),
    ("SELECT Id FROM Account WHERE OwnerId IN (SELECT Id FROM User) AND OwnerId IN (SELECT Id FROM Group) AND"
     " Id IN (SELECT AccountId FROM Contact)", "MALFORMED_QUERY", "maximum 2 semi join sub-selects"),
    ("SELECT Id FROM User WHERE Id IN (SELECT OwnerId FROM Account WHERE Id IN (SELECT AccountId FROM Contact))",
     "MALFORMED_QUERY", "Nesting of semi join sub-selects is not supported"),
    ("SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Nope)", "INVALID_TYPE", "sObject type 'Nope'"),
    ("SELECT Id, (SELECT Id FROM Contacts) FROM Account", "MALFORMED_QUERY",
     "a sub-select in the SELECT list is not supported by this org"),
    ("SELECT Id, Foo FROM Account", "INVALID_FIELD",
     "\nSELECT Id, Foo FROM Account\n           ^\nERROR at Row:1:Column:12\n"
     f"No such column 'Foo' on entity 'Account'. {COLUMN}"),
    ("SELECT Id\nFROM Account\nWHERE Foo = 1", "INVALID_FIELD",
     f"\nWHERE Foo = 1\n      ^\nERROR at Row:3:Column:7\nNo such column 'Foo' on entity 'Account'. {COLUMN}"),
    ("select count() from ZZZ", "INVALID_TYPE",
     "\nselect count() from ZZZ\n                    ^\nERROR at Row:1:Column:21\n"
     f"sObject type 'ZZZ' is not supported. {TYPE}"),
    ("SELECT Parent.Name FROM Account", "INVALID_FIELD", "Didn't understand relationship 'Parent' in field path."),
    ("SELECT Id FROM Contact WHERE Note = 'x'", "INVALID_FIELD", "field 'Note' can not be filtered in a query call"),
    ("SELECT Id FROM Contact ORDER BY Note", "MALFORMED_QUERY", "field 'Note' can not be sorted in a query call"),
    ("SELECT Id FROM Account WHERE AnnualRevenue = '1'", "INVALID_FIELD",
     "value of filter criterion for field 'AnnualRevenue' must be of type currency and should not be enclosed in quotes"),
    ("SELECT Id FROM Account WHERE Name = 1", "INVALID_FIELD",
     "value of filter criterion for field 'Name' must be of type string and should be enclosed in quotes"),
    ("SELECT Id FROM Account WHERE CreatedDate > 2026-01-01", "INVALID_FIELD",
     "value of filter criterion for field 'CreatedDate' must be of type dateTime and should not be enclosed"),
    ("SELECT Id FROM Account WHERE Since__c = 2026-13-01", "MALFORMED_QUERY", "invalid date: 2026-13-01"),
    ("SELECT Id FROM Account WHERE Since__c = SOMEDAY", "MALFORMED_QUERY", "unexpected token: 'SOMEDAY'"),
    ("SELECT Id FROM Account WHERE Id = 'nonsense'", "INVALID_QUERY_FILTER_OPERATOR", "invalid ID field: nonsense"),
    ("SELECT Id FROM Account WHERE Id = '001D000000IqhSLAAA'", "INVALID_QUERY_FILTER_OPERATOR", "invalid ID field"),
    ("SELECT Id FROM Account WHERE Id LIKE '001%'", "INVALID_QUERY_FILTER_OPERATOR", "invalid operator 'LIKE'"),
    ("SELECT Id FROM Contact WHERE Active__c > false", "INVALID_QUERY_FILTER_OPERATOR", "invalid operator '>'"),
    ("SELECT Id FROM Contact WHERE LastName INCLUDES ('a')", "INVALID_QUERY_FILTER_OPERATOR", "invalid operator"),
    ("SELECT Id, Id FROM Account", "INVALID_FIELD", "duplicate field selected: Id"),
    ("SELECT Id x FROM Account", "MALFORMED_QUERY", "only aggregate expressions use field aliasing"),
    ("SELECT Name, count(Id) FROM Account", "MALFORMED_QUERY", "Field must be grouped or aggregated: Name"),
    ("SELECT Id FROM Account LIMIT 1 OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000"),
    ("SELECT FIELDS(ALL) FROM Account", "MALFORMED_QUERY", "must have a LIMIT of at most 200"),
    ("SELECT Id FROM Account LIMIT -1", "MALFORMED_QUERY", "unexpected token: '-1'"),
    ("SELECT Id FROM Account; DROP", "MALFORMED_QUERY", "unexpected token: ';'"),
    ("SELECT Id FROM Account WHERE Name = '" + "x" * 4001 + "'", "MALFORMED_QUERY", "4001 characters"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code", "message"), REFUSED, ids=[f"{n}-{r[0][:60]}" for n, r in enumerate(REFUSED)]
)
def test_refused(refused, text, code, message):
    got_code, got = refused(text)
    assert got_code == code
    assert got == message if message.startswith("\n") else message in got


MACROS = [  # name, n, first day, day after the last; today is Wednesday 2026-07-22
    ("TODAY", 0, "2026-07-22", "2026-07-23"),
    ("YESTERDAY", 0, "2026-07-21", "2026-07-22"),
    ("TOMORROW", 0, "2026-07-23", "2026-07-24"),
    ("LAST_N_DAYS", 3, "2026-07-19", "2026-07-23"),
    ("NEXT_N_DAYS", 3, "2026-07-23", "2026-07-26"),
    ("LAST_90_DAYS", 0, "2026-04-23", "2026-07-23"),
    ("THIS_WEEK", 0, "2026-07-19", "2026-07-26"),
    ("LAST_MONTH", 0, "2026-06-01", "2026-07-01"),
    ("LAST_N_MONTHS", 8, "2025-11-01", "2026-07-01"),
    ("NEXT_QUARTER", 0, "2026-10-01", "2027-01-01"),
    ("THIS_YEAR", 0, "2026-01-01", "2027-01-01"),
    ("N_DAYS_AGO", 2, "2026-07-20", "2026-07-21"),
]


@pytest.mark.parametrize(("name", "n", "first", "end"), MACROS, ids=[m[0] for m in MACROS])
def test_macro_days(name, n, first, end):
    found = macro_days(name, n, NOW.date())
    assert found is not None
    assert [day.isoformat() for day in found] == [first, end]


def test_unknown_macro():
    assert macro_days("SOMEDAY", 0, NOW.date()) is None
