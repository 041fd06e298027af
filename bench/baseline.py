"""What a good engineer would write by hand for this one table: the script that sfsync is measured against.

    BENCH_SECRET=... python bench/baseline.py run|diff WAREHOUSE STATE --url URL --ca-file CA --client-id ID [--memory 256MB]

Same duties as sfsync: null and double keys found, values checked before sending, only changed fields sent, children of
one parent together, API calls by the cheaper of Collections and Bulk 2.0, every row's answer read back, and only what
the org acknowledged committed, in one transaction a part. No row passes through Python.

What makes it shorter than sfsync: one table, its columns written out by hand; no project, plan, guards, budget, retries,
lookups to other syncs, resume, reports, or other warehouses.

The state holds the table's own columns as last acknowledged, the record's Id, and a hash of the row, so that the diff
reads two columns a side: FULL JOIN on the key where hashes differ, then columns compared for those rows only.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import ssl
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import duckdb

API = "/services/data/v67.0"
OBJECT, KEY = "Contact", "Customer_Id__c"
COLLECTION_ROWS = 200
SMALL = 5 * COLLECTION_ROWS  # up to here five Collections cost no more calls than one Bulk job
JOB_BYTES = 90_000_000

# column: (header in CSV, SQL of its text)
TEXTS = {
    "email": ("Email", "nullif(trim(email), '')"),
    "first_name": ("FirstName", "nullif(trim(first_name), '')"),
    "last_name": ("LastName", "nullif(trim(last_name), '')"),
    "account_id": ("Account.Account_Id__c", "nullif(trim(account_id), '')"),
    "lifetime_value": ("Lifetime_Value__c", "CAST(lifetime_value AS VARCHAR)"),
    "visits": ("Visits__c", "CAST(visits AS VARCHAR)"),
    "is_champion": ("Is_Champion__c", "CAST(is_champion AS VARCHAR)"),
    "born": ("Birthdate", "CAST(born AS VARCHAR)"),
    "last_login": ("Last_Login__c", "strftime(timezone('UTC', last_login), '%Y-%m-%dT%H:%M:%S.000Z')"),
    "note": ("Description", "nullif(trim(replace(note, chr(13) || chr(10), chr(10))), '')"),
    "lead_source": ("LeadSource", "nullif(trim(lead_source), '')"),
    "title": ("Title", "nullif(trim(title), '')"),
}
COLUMNS = ("id", *TEXTS)
ALL = ", ".join(COLUMNS)

CHECKS = """CASE
    WHEN key IS NULL THEN 'MISSING_ARGUMENT'
    WHEN copies > 1 THEN 'DUPLICATE_VALUE'
    WHEN length(trim(id)) > 40 OR length(trim(email)) > 80 OR length(trim(first_name)) > 40
      OR length(trim(last_name)) > 80 OR length(trim(note)) > 32000 OR length(trim(title)) > 128 THEN 'STRING_TOO_LONG'
    WHEN coalesce(trim(last_name), '') = '' THEN 'REQUIRED_FIELD_MISSING'
    WHEN is_champion IS NULL AND record_id IS NOT NULL THEN 'REQUIRED_FIELD_MISSING'
    WHEN email NOT LIKE '_%@_%' OR email LIKE '% %' THEN 'INVALID_EMAIL_ADDRESS'
    WHEN abs(lifetime_value) >= 100000000000000 OR abs(visits) >= 100000000 THEN 'NUMBER_OUTSIDE_VALID_RANGE'
    WHEN born NOT BETWEEN DATE '1700-01-01' AND DATE '4000-12-31' THEN 'INVALID_DATE' END"""


class Org:
    """One connection to the org; counts its calls."""

    def __init__(self, url: str, ca_file: str, client_id: str) -> None:
        parts = urlsplit(url)
        context = ssl.create_default_context(cafile=ca_file)
        self._connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, context=context, timeout=900
        )
        self._client_id = client_id
        self._token: str | None = None
        self.calls = 0

    def _send(self, method: str, path: str, body: Any, headers: dict[str, str]) -> http.client.HTTPResponse:
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        if answer.status >= 400:
            raise SystemExit(f"{method} {path}: {answer.status} {answer.read(2000)!r}")
        return answer

    def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> bytes:
        """One API call, its answer in memory."""
        return self._open(method, path, body, kind).read()

    def fetch(self, path: str, file: Path) -> None:
        """One API call, its answer streamed to a file."""
        answer = self._open("GET", path, None, "application/json")
        with file.open("wb") as out:
            while chunk := answer.read(1 << 20):
                out.write(chunk)

    def _open(self, method: str, path: str, body: Any, kind: str) -> http.client.HTTPResponse:
        if self._token is None:
            form = {
                "grant_type": "client_credentials",
                "client_id": self._client_id,
                "client_secret": os.environ["BENCH_SECRET"],
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            self._token = json.loads(
                self._send("POST", "/services/oauth2/token", urlencode(form), headers).read()
            )["access_token"]
        self.calls += 1
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": kind}
        if isinstance(body, Path):
            headers["Content-Length"] = str(body.stat().st_size)
            with body.open("rb") as file:
                return self._send(method, API + path, file, headers)
        return self._send(method, API + path, body, headers)


def connect(warehouse: str, state: str, memory: str) -> duckdb.DuckDBPyConnection:
    """The state, opened for writing, with the warehouse beside it."""
    spill = f"{state}.spill"
    db = duckdb.connect(state, config={"memory_limit": memory, "temp_directory": spill})
    db.execute("SET TimeZone = 'UTC'")
    db.execute(f"ATTACH '{warehouse}' AS w (READ_ONLY)")
    db.execute(
        f"CREATE TABLE IF NOT EXISTS known AS SELECT {ALL}, '' AS key, '' AS record_id, 0::UBIGINT AS h"
        " FROM w.raw.customers LIMIT 0"
    )
    db.execute("CREATE TABLE IF NOT EXISTS refused (key VARCHAR, code VARCHAR, message VARCHAR)")
    return db


def diff(db: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Leave `changed` (rows to write), `removed`; return counts."""
    known, total = count(db, "known"), count(db, "w.raw.customers")
    if known:
        db.execute(
            f"""CREATE TEMP TABLE candidate AS SELECT n.key, n.r, k.key AS known_key, k.r AS known_r, n.h
            FROM (SELECT lower(trim(id)) AS key, hash({ALL}) AS h, rowid AS r FROM w.raw.customers) AS n
            FULL JOIN (SELECT key, h, rowid AS r FROM known) AS k ON n.key = k.key WHERE n.h IS DISTINCT FROM k.h"""
        )
        new, removed = one(
            db,
            "SELECT count(*) FILTER (WHERE known_key IS NULL),"
            " count(*) FILTER (WHERE r IS NULL) FROM candidate",
        )
        # Rows that met a known key, against known keys that were met: more of the former means double keys.
        if total - new > known - removed:
            db.execute(
                f"""INSERT INTO candidate SELECT key, r, k, kr, h FROM (SELECT n.*, k.key AS k, k.rowid AS kr,
                count(*) OVER (PARTITION BY n.key) AS copies FROM
                (SELECT lower(trim(id)) AS key, hash({ALL}) AS h, rowid AS r FROM w.raw.customers) AS n
                LEFT JOIN known AS k ON n.key = k.key WHERE n.key IS NOT NULL)
                WHERE copies > 1 AND r NOT IN (SELECT r FROM candidate WHERE r IS NOT NULL)"""
            )
        db.execute("CREATE TEMP TABLE removed AS SELECT key, record_id FROM known WHERE rowid IN"
                   " (SELECT known_r FROM candidate WHERE r IS NULL)")  # fmt: skip
        source = f"""(SELECT {", ".join("w." + c for c in COLUMNS)}, c.key, c.h, c.known_r
            FROM w.raw.customers AS w JOIN candidate AS c ON c.r = w.rowid
            WHERE w.rowid IN (SELECT r FROM candidate WHERE r IS NOT NULL))"""
        old = ", ".join(f"k.{c} AS old_{c}" for c in TEXTS)
        joined = (
            f"SELECT n.*, k.record_id, {old} FROM {source} AS n LEFT JOIN known AS k ON k.rowid = n.known_r"
        )
    else:
        db.execute("CREATE TEMP TABLE removed (key VARCHAR, record_id VARCHAR)")
        old = ", ".join(f"{c} AS old_{c}" for c in TEXTS)
        joined = f"SELECT {ALL}, lower(trim(id)) AS key, hash({ALL}) AS h, NULL::VARCHAR AS record_id FROM w.raw.customers"
    double = f"SELECT key, count(*) AS copies FROM ({joined}) WHERE key IS NOT NULL GROUP BY key HAVING count(*) > 1"
    db.execute(f"CREATE TEMP TABLE double AS {double}")
    cells = ", ".join(cell(column, update=bool(known)) for column in TEXTS)
    db.execute(
        f"""CREATE TEMP TABLE changed AS SELECT {ALL}, key, h, record_id, {CHECKS} AS code, {cells}
        FROM (SELECT j.*, d.copies FROM ({joined}) AS j LEFT JOIN double AS d USING (key))
        ORDER BY account_id, key"""
    )
    same = " AND ".join(f'"{header}" IS NULL' for header, _ in TEXTS.values())
    new, updates, refused = one(
        db,
        "SELECT count(*) FILTER (WHERE code IS NULL AND record_id IS NULL),"
        f" count(*) FILTER (WHERE code IS NULL AND record_id IS NOT NULL AND NOT ({same})),"
        " count(*) FILTER (WHERE code IS NOT NULL) FROM changed",
    )
    return {
        "rows": total,
        "create": new,
        "update": updates,
        "delete": count(db, "removed"),
        "refused": refused,
    }


def cell(column: str, *, update: bool) -> str:
    """What is sent of a column: on create its text, on update its text or #N/A where it differs; NULL: not sent."""
    header, text = TEXTS[column]
    if not update:
        return f'{text} AS "{header}"'
    null = (
        "'#N/A'" if "." not in header else "NULL"
    )  # a parent is cleared by another column; this table has none
    return (
        f"CASE WHEN record_id IS NULL THEN {text}"
        f' WHEN {column} IS DISTINCT FROM old_{column} THEN coalesce({text}, {null}) END AS "{header}"'
    )


def push(db: duckdb.DuckDBPyConnection, org: Org, spool: Path) -> None:
    """Creates, updates, deletes: each by Collections or by Bulk; outcomes are committed as they come."""
    headers = [header for header, _ in TEXTS.values()]
    same = " AND ".join(f'"{header}" IS NULL' for header in headers)
    db.execute(
        f"""CREATE TEMP TABLE to_upsert AS SELECT trim(id) AS "{KEY}", {", ".join(f'"{h}"' for h in headers)}, key
        FROM changed WHERE code IS NULL AND record_id IS NULL"""
    )
    db.execute(
        f"""CREATE TEMP TABLE to_update AS SELECT record_id AS "Id", {", ".join(f'"{h}"' for h in headers)}, key
        FROM changed WHERE code IS NULL AND record_id IS NOT NULL AND NOT ({same})"""
    )
    db.execute('CREATE TEMP TABLE to_delete AS SELECT record_id AS "Id", key FROM removed')
    db.execute("DELETE FROM refused")
    db.execute("INSERT INTO refused SELECT key, code, '' FROM changed WHERE code IS NOT NULL")
    for operation in ("upsert", "update", "delete"):
        rows = count(db, f"to_{operation}")
        if rows > SMALL:
            bulk(db, org, operation, rows, spool)
        elif rows:
            collections(db, org, operation, rows)


def collections(db: duckdb.DuckDBPyConnection, org: Org, operation: str, rows: int) -> None:
    """200 records a call; answers come in the order of the request."""
    path = f"/composite/sobjects/{OBJECT}/{KEY}" if operation == "upsert" else "/composite/sobjects"
    for first in range(0, rows, COLLECTION_ROWS):
        chosen = f"rowid >= {first} AND rowid < {first + COLLECTION_ROWS}"
        if operation == "delete":
            ids = one(db, f"SELECT string_agg(\"Id\", ',' ORDER BY rowid) FROM to_delete WHERE {chosen}")[0]
            answer = org.call("DELETE", f"{path}?allOrNone=false&ids={ids}")
        else:
            records = one(
                db,
                f"SELECT string_agg({record(operation)}, ',' ORDER BY rowid) FROM to_{operation} WHERE {chosen}",
            )[0]
            answer = org.call("PATCH", path, f'{{"allOrNone":false,"records":[{records}]}}'.encode())
        db.execute(
            "CREATE OR REPLACE TEMP TABLE answer AS SELECT row_number() OVER () - 1 + ? AS r, a->>'$.id' AS id,"
            " a->>'$.success' = 'true' AS ok, a->>'$.errors[0].statusCode' AS code, a->>'$.errors[0].message' AS message"
            " FROM (SELECT unnest(from_json(CAST(? AS JSON), '[\"JSON\"]')) AS a)",
            [first, answer.decode()],
        )
        commit(
            db,
            operation,
            f"SELECT t.key, a.id AS sf FROM answer AS a JOIN to_{operation} AS t ON t.rowid = a.r WHERE a.ok",
            f"SELECT t.key, a.code, a.message FROM answer AS a JOIN to_{operation} AS t ON t.rowid = a.r WHERE NOT a.ok",
        )


def record(operation: str) -> str:
    """SQL of one record's JSON."""
    parts = [f"""'{{"attributes":{{"type":"{OBJECT}"}},"{"Id" if operation == "update" else KEY}":'"""]
    parts.append(
        'CAST(to_json("Id") AS VARCHAR)' if operation == "update" else f'CAST(to_json("{KEY}") AS VARCHAR)'
    )
    for column, (header, _) in TEXTS.items():
        quoted = f'"{header}"'
        value = (
            quoted
            if column in ("lifetime_value", "visits", "is_champion")
            else f"CAST(to_json({quoted}) AS VARCHAR)"
        )
        if "." in header:
            parent, field = header.split(".")
            parts.append(f"""coalesce(',"{parent}":{{"{field}":' || {value} || '}}', '')""")
        else:
            parts.append(
                f"""CASE {quoted} WHEN '#N/A' THEN ',"{header}":null' ELSE coalesce(',"{header}":' || {value}, '') END"""
            )
    return " || ".join([*parts, "'}'"])


def bulk(db: duckdb.DuckDBPyConnection, org: Org, operation: str, rows: int, spool: Path) -> None:
    """Jobs of at most JOB_BYTES; all are started before the first is read."""
    headers = [KEY if operation == "upsert" else "Id"]
    if operation != "delete":
        headers += [header for header, _ in TEXTS.values()]
    names = ", ".join(f'"{header}"' for header in headers)
    cells = " + ".join(f'coalesce(strlen("{header}"), 0) + 2' for header in headers)
    size = one(db, f"SELECT sum({cells}) FROM to_{operation}")[0]
    jobs = -(-int(size) // JOB_BYTES)
    step = -(-rows // jobs)
    started = []
    for first in range(0, rows, step):
        file = spool / f"{operation}-{first}.csv"
        chosen = f"rowid >= {first} AND rowid < {first + step}"
        db.execute(
            f"COPY (SELECT {names} FROM to_{operation} WHERE {chosen}) TO '{file}' (FORMAT csv, HEADER)"
        )
        body: dict[str, str] = {
            "object": OBJECT,
            "operation": operation,
            "contentType": "CSV",
            "lineEnding": "LF",
        }
        if operation == "upsert":
            body["externalIdFieldName"] = KEY
        job = json.loads(org.call("POST", "/jobs/ingest", json.dumps(body)))["id"]
        org.call("PUT", f"/jobs/ingest/{job}/batches", file, "text/csv")
        file.unlink()
        org.call("PATCH", f"/jobs/ingest/{job}", json.dumps({"state": "UploadComplete"}))
        started.append((job, chosen))
    for job, chosen in started:
        harvest(db, org, operation, job, chosen, spool)


def harvest(
    db: duckdb.DuckDBPyConnection, org: Org, operation: str, job: str, chosen: str, spool: Path
) -> None:
    """Wait for a job, read its answers, commit them."""
    pause = 0.5
    while (info := json.loads(org.call("GET", f"/jobs/ingest/{job}")))["state"] not in (
        "JobComplete",
        "Failed",
        "Aborted",
    ):
        time.sleep(pause)
        pause = min(2 * pause, 30)
    processed, failed = info["numberRecordsProcessed"], info["numberRecordsFailed"]
    match = KEY if operation == "upsert" else "Id"
    rows = f"(SELECT * FROM to_{operation} WHERE {chosen})"
    sent = one(db, f"SELECT count(*) FROM {rows}")[0]
    if operation == "upsert" or failed or processed != sent:
        good = read(org, f"/jobs/ingest/{job}/successfulResults/", spool / f"{job}-good.csv")
        done = f'SELECT t.key, a.sf__Id AS sf FROM {good} AS a JOIN {rows} AS t ON t."{match}" = a."{match}"'
    else:  # every row passed, and its Id is known
        done = f'SELECT key, "Id" AS sf FROM {rows}'
    bad = None
    if failed:
        errors = read(org, f"/jobs/ingest/{job}/failedResults/", spool / f"{job}-bad.csv")
        bad = (
            f"SELECT t.key, split_part(a.sf__Error, ':', 1), a.sf__Error FROM {errors} AS a"
            f' JOIN {rows} AS t ON t."{match}" = a."{match}"'
        )
    commit(db, operation, done, bad)


def read(org: Org, path: str, file: Path) -> str:
    """A result file as a relation of texts."""
    org.fetch(path, file)
    return f"read_csv('{file}', header=true, all_varchar=true, delim=',', quote='\"', escape='\"')"


def commit(db: duckdb.DuckDBPyConnection, operation: str, done: str, refused: str | None) -> None:
    """Write down what the org acknowledged, and what it refused."""
    db.execute("BEGIN")
    db.execute(f"CREATE OR REPLACE TEMP TABLE done AS {done}")
    if operation != "upsert":
        db.execute("DELETE FROM known WHERE key IN (SELECT key FROM done)")
    if operation != "delete":
        db.execute(
            f"INSERT INTO known SELECT {ALL}, c.key, d.sf, c.h"
            " FROM changed AS c JOIN done AS d ON d.key = c.key WHERE c.code IS NULL"
        )
    if refused is not None:
        db.execute(f"INSERT INTO refused {refused}")
    db.execute("COMMIT")


def one(db: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    """A statement's only row."""
    row: tuple[Any, ...] = db.execute(sql).fetchall()[0]
    return row


def count(db: duckdb.DuckDBPyConnection, table: str) -> int:
    """Rows of a table."""
    return int(one(db, f"SELECT count(*) FROM {table}")[0])


def main() -> None:
    """`diff` changes nothing; `run` pushes and commits."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["run", "diff"])
    parser.add_argument("warehouse")
    parser.add_argument("state")
    parser.add_argument("--url", required=True)
    parser.add_argument("--ca-file", required=True)
    parser.add_argument("--client-id", required=True)
    parser.add_argument("--memory", default="256MB")
    given = parser.parse_args()
    org = Org(given.url, given.ca_file, given.client_id)
    db = connect(given.warehouse, given.state, given.memory)
    counts = diff(db)
    if given.command == "run":
        spool = Path(f"{given.state}.spool")
        spool.mkdir(mode=0o700, exist_ok=True)
        push(db, org, spool)
        for file in spool.iterdir():
            file.unlink()
        spool.rmdir()
    counts["refused_rows"] = count(db, "refused")
    db.close()
    print(json.dumps({**counts, "calls": org.calls}))


if __name__ == "__main__":
    main()
