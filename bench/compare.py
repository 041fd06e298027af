"""Do two stopped local orgs hold the same Contacts? Prints {"rows": ..., "differences": ...}.

    python -m bench.compare ORG_A/records.duckdb ORG_B/records.duckdb

Record Ids and times differ between orgs and stay out; the parent is compared by its external id.
"""

from __future__ import annotations

import json
import sys

import duckdb

SELECT = """
    SELECT c.* EXCLUDE (Id, AccountId, OwnerId, CreatedById, LastModifiedById, CreatedDate, LastModifiedDate, SystemModstamp),
           a.Account_Id__c AS parent
    FROM {org}.data."Contact" AS c LEFT JOIN {org}.data."Account" AS a ON a.Id = c.AccountId WHERE c.IsDeleted = 'false'
"""


def main() -> None:
    """Compare and print."""
    first, second = sys.argv[1:3]
    db = duckdb.connect()
    db.execute(f"ATTACH '{first}' AS a (READ_ONLY)")
    db.execute(f"ATTACH '{second}' AS b (READ_ONLY)")
    sides = {
        name: f"SELECT Customer_Id__c AS k, hash(t) AS h FROM ({SELECT.format(org=name)}) AS t"
        for name in "ab"
    }
    rows = db.execute(f"SELECT count(*) FROM ({sides['a']})").fetchall()[0][0]
    differences = db.execute(
        f"SELECT count(*) FROM ({sides['a']}) AS x FULL JOIN ({sides['b']}) AS y ON x.k = y.k WHERE x.h IS DISTINCT FROM y.h"
    ).fetchall()[0][0]
    print(json.dumps({"rows": rows, "differences": differences}))


if __name__ == "__main__":
    main()
