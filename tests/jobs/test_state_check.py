"""`state check` finds nothing in a state that sfsync wrote, and each thing that it must never find."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from sfsync.jobs.state_check import StateCheckResult, state_check_command
from tests.jobs.conftest import STATE, Team
from tests.jobs.test_recovery import crash


def check(team: Team) -> StateCheckResult:
    return state_check_command(team.options())


def break_it(team: Team, *statements: str) -> None:
    with duckdb.connect(str(team.folder / STATE)) as db:
        for statement in statements:
            db.execute(statement)


@pytest.fixture(scope="module")
def busy_state(tmp_path_factory: pytest.TempPathFactory, running_org: object) -> Path:
    """A state with records, a tombstone, refused rows of both kinds, calls, and an open request; made once."""
    from tests.conftest import OrgForTests
    from tests.jobs.conftest import fill

    assert isinstance(running_org, OrgForTests)
    running_org.begin()
    team = fill(Team(tmp_path_factory.mktemp("busy") / "team", running_org))
    team.init_state()
    team.sync("contacts", on_gone="skip", push={"api": "collections"})
    team.run()
    running_org.delete(f"/sobjects/Contact/{running_org.by('Contact', 'Customer_Id__c')['C2']['Id']}")
    team.sql(
        "UPDATE raw.contacts SET title = 'x' WHERE id = 'C2'",
        "INSERT INTO raw.contacts (id, last, email) VALUES ('C4', 'Bad', 'no mail'), ('C5', 'No parent', NULL)",
        "UPDATE raw.contacts SET account = 'A9' WHERE id = 'C5'",
    )
    team.run()
    team.sql("UPDATE raw.contacts SET title = 'y' WHERE id = 'C1'")
    crash(team, "after write")
    return team.folder


@pytest.fixture
def busy(busy_state: Path, team: Team) -> Team:
    import shutil

    shutil.rmtree(team.folder)
    shutil.copytree(busy_state, team.folder)
    return team


def test_what_sfsync_writes_has_no_fault(busy: Team) -> None:
    found = check(busy)
    assert (found.exit_code, found.faults, found.notes) == (0, (), ())
    assert (found.syncs, found.records, found.open_requests > 0) == (2, 4, True)
    with duckdb.connect(str(busy.folder / STATE), read_only=True) as db:
        for table, least in (("rejected", 2), ("intents", 1), ("ledger", 5), ("usage", 1), ("run_syncs", 4)):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0] >= least, table
        assert db.execute("SELECT count(*) FROM snapshot.contacts WHERE _gone_at IS NOT NULL").fetchall() == [
            (1,)
        ]


def test_a_check_changes_nothing_and_asks_nobody(busy: Team) -> None:
    before = (busy.folder / STATE).read_bytes()
    calls = len(busy.org.requests())
    check(busy)
    assert (busy.folder / STATE).read_bytes() == before
    assert len(busy.org.requests()) == calls


C = "snapshot.contacts"
BROKEN: list[tuple[str, str | tuple[str, ...], str, str]] = [
    # what is done to it, where it is told, in which words
    ("a key twice", f"INSERT INTO {C} SELECT * REPLACE ('003000000000001AAA' AS _id) FROM {C} WHERE _key = 'c1'", "sync contacts", "keys stand twice (c1)"),
    ("an Id twice", f"UPDATE {C} SET _id = (SELECT _id FROM {C} WHERE _key = 'c1') WHERE _key = 'c3'", "sync contacts", "record Ids belong to two keys (003"),
    ("no key", f"UPDATE {C} SET _key = NULL WHERE _key = 'c1'", "sync contacts", "records have no key ((no key))"),
    ("a bad suffix", f"UPDATE {C} SET _id = left(_id, 15) || 'ZZZ' WHERE _key = 'c1'", "sync contacts", "record Ids are malformed (c1)"),
    ("15 characters", f"UPDATE {C} SET _id = left(_id, 15) WHERE _key = 'c3'", "sync contacts", "record Ids are malformed (c3)"),
    ("no Id", f"UPDATE {C} SET _id = NULL WHERE _key = 'c1'", "sync contacts", "record Ids are malformed (c1)"),
    ("another object's Id", f"UPDATE {C} SET _id = (SELECT min(_id) FROM snapshot.accounts) WHERE _key = 'c1'", "sync contacts", "record Ids are of another object (c1)"),
    ("an origin", f"UPDATE {C} SET _origin = 'found' WHERE _key = 'c1'", "sync contacts", "no known origin (c1)"),
    ("a tombstone with a text", f"UPDATE {C} SET \"LastName\" = 'x' WHERE _gone_at IS NOT NULL", "sync contacts", "records known to be gone still have texts (c2)"),
    ("a tombstone with a hash", f"UPDATE {C} SET _source_hash = 1 WHERE _gone_at IS NOT NULL", "sync contacts", "still have texts (c2)"),
    ("no time", f"UPDATE {C} SET _at = NULL WHERE _key = 'c1'", "sync contacts", "not told when"),
    ("another key", f"UPDATE {C} SET _key = 'c9' WHERE _key = 'c1'", "sync contacts", "keys are not the text of Customer_Id__c (c9)"),
    ("a column gone", f'ALTER TABLE {C} DROP COLUMN "Customer_Id__c"', "sync contacts", "missing or of another type (Customer_Id__c VARCHAR)"),
    ("a column of numbers", f'ALTER TABLE {C} ADD COLUMN "Extra" INTEGER', "sync contacts", "(Extra INTEGER)"),
    ("no registry", "DELETE FROM snapshots WHERE sync = 'contacts'", "sync contacts", "not in the registry"),
    ("no table", f"DROP TABLE {C}", "sync contacts", "its snapshot is missing"),
    ("an odd registry", "UPDATE snapshots SET identity = 'x' WHERE sync = 'contacts'", "sync contacts", "names no object or identity"),
    ("a control table gone", "DROP TABLE learned", "table learned", "column name VARCHAR is missing"),
    ("a control column more", "ALTER TABLE ledger ADD COLUMN mine INTEGER", "table ledger", "column mine INTEGER is not sfsync's"),
    ("refused rows of nobody", "UPDATE rejected SET sync = 'nobody'", "table rejected", "neither in the project nor in the state (nobody"),
    ("refused twice", "INSERT INTO rejected SELECT * FROM rejected", "table rejected", "stand twice (contacts"),
    ("a judge", "UPDATE rejected SET decided_by = 'me'", "table rejected", "no digest or no judge"),
    ("attempts", "UPDATE rejected SET attempts = -1", "table rejected", "odd counts or times"),
    ("an action", "UPDATE rejected SET action = 'merge'", "table rejected", "no known action"),
    ("negative calls", "UPDATE ledger SET calls = -1", "table ledger", "booked calls are no counts"),
    ("calls of tomorrow", "UPDATE ledger SET minute = minute + INTERVAL 3 DAY", "table ledger", "in the future"),
    ("usage", "UPDATE usage SET maximum = 0", "table usage", "no count (0)"),
    ("usage of tomorrow", "UPDATE usage SET seen_at = seen_at + INTERVAL 3 DAY", "table usage", "in the future"),
    ("usage twice", "INSERT INTO usage SELECT * FROM usage", "table usage", "more than once"),
    ("learned nothing", "INSERT INTO learned VALUES ('Contact', 'collection_rows', 'nan')", "table learned", "no sizes (Contact collection_rows)"),
    ("learned too much", "INSERT INTO learned VALUES ('Contact', 'collection_rows', 500)", "table learned", "above what a request may carry (Contact)"),
    ("an epoch", "UPDATE meta SET value = 'x' WHERE name = 'epoch'", "table meta", "the epoch is no number"),
    ("an older epoch", "UPDATE meta SET value = '0' WHERE name = 'epoch'", "table intents", "newer than the state's epoch"),
    ("an org id", "UPDATE meta SET value = '00Dxx' WHERE name = 'org_id'", "table meta", "the org's id is malformed (00Dxx)"),
    ("no org", "DELETE FROM meta WHERE name = 'org_id'", "table meta", "belongs to no org"),
    ("a contract", "UPDATE contract SET body = '{'", "table contract", "cannot be read (Account"),
    ("another org's contract", "UPDATE contract SET body = replace(body, '\"org_id\": \"00D', '\"org_id\": \"00X')", "table contract", "of another org"),
    ("a run gone", "DELETE FROM runs", "table run_syncs", "runs that are not there"),
    ("counts", "UPDATE run_syncs SET counts = '{'", "table run_syncs", "counts of runs cannot be read"),
    ("a sync twice in a run", "INSERT INTO run_syncs SELECT * FROM run_syncs", "table run_syncs", "stand twice in a run"),
    ("no keys", "UPDATE intents SET keys = NULL", "table intents", "neither a job nor the keys"),
    ("other keys", "UPDATE intents SET keys = '[\"0 x\"]'", "table intents", "do not fit their rows and fields"),
    ("more keys", "UPDATE intents SET row_count = 7", "table intents", "do not fit their rows and fields"),
    ("a way", "UPDATE intents SET way = 'pigeon'", "table intents", "not told in full"),
    ("an intent of nobody", "UPDATE intents SET sync = 'nobody'", "table intents", "neither in the project nor in the state (nobody)"),
    ("an intent twice", "INSERT INTO intents SELECT * FROM intents", "table intents", "share a number"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("statements", "where", "words"), [c[1:] for c in BROKEN], ids=[c[0] for c in BROKEN]
)
def test_what_is_broken_is_told_with_where_and_what_next(
    busy: Team, statements: str | tuple[str, ...], where: str, words: str
) -> None:
    break_it(busy, *((statements,) if isinstance(statements, str) else statements))
    found = check(busy)
    assert found.exit_code == 1
    told = [f"{f.what} ({', '.join(f.samples)})" for f in found.faults if f.where == where]
    assert any(words in line for line in told), found.faults
    assert all(fault.fix and fault.rows > 0 for fault in found.faults)


def test_keys_of_a_masked_identity_are_not_shown(busy: Team) -> None:
    busy.sync("contacts", identity={"Customer_Id__c": {"column": "id", "pii": True}})
    break_it(busy, f"UPDATE {C} SET _origin = 'found' WHERE _key = 'c1'")
    (fault,) = check(busy).faults
    assert len(fault.samples[0]) == 32
    assert "c1" not in fault.samples


def test_a_block_that_is_damaged_in_the_middle_is_found(busy: Team) -> None:
    """DuckDB opens such a file; only reading the table tells."""
    break_it(
        busy,
        "INSERT INTO ledger SELECT now()::TIMESTAMP, uuid()::VARCHAR, md5(i::VARCHAR), 0, 0 FROM range(200000) AS r(i)",
    )
    path = busy.folder / STATE
    body = bytearray(path.read_bytes())
    for at in range(len(body) // 2, len(body) // 2 + 300_000):
        body[at] ^= 0xFF
    path.write_bytes(bytes(body))
    found = check(busy)
    assert found.exit_code == 1
    assert (found.faults[0].where, "cannot be read" in found.faults[0].what) == ("file", True)
    assert "state import" in found.faults[0].fix
    assert path.read_bytes() == bytes(body)


def test_a_file_that_others_can_read_is_worth_a_note(busy: Team) -> None:
    (busy.folder / STATE).chmod(0o644)
    found = check(busy)
    assert found.exit_code == 0
    assert "chmod 600" in found.notes[0]
