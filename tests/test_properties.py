"""Laws that hold for any rows, any edits and any person in the org: a model of sfsync in plain Python beside the real one.

Each example is a real project (DuckDB) and a real org (HTTPS): rows with odd values are added, edited, dropped and
doubled, parents come, go and are refused, a person edits, creates and deletes records in the org, answers are lost on
their way, and after each run of both syncs the model says what must stand in the org, field by field, and how many rows
ended in which outcome. From that follow the laws: applying a plan and
planning again is empty, a rejected row stays a difference until it is mended, a value that goes A -> B -> A ends at A,
nothing is created twice, the accounting closes, batches concatenate to the changes. The syncs say `match: never`: what is
adopted is what an upsert meets, and the model need not know what was asked for beforehand.

`SFSYNC_EXAMPLES=300 pytest -m slow tests/test_properties.py` tries many more, new ones each time.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st

from sfsync.artifacts import Result
from sfsync.plan.plan import Plan
from sfsync.records import Operation
from tests.jobs.conftest import Team, of, outcomes, planned

FIELDS = {
    "LastName": "last",
    "Title": "title",
    "Email": "email",
    "AccountId": "account",
    "Last_Login__c": "seen",
    "Lifetime_Value__c": "worth",
    "Is_Champion__c": "champion",
    "Interests__c": "interests",
}
INTERESTS = {"Analytics", "Billing", "Integrations", "Mobile", "Reporting", "Security"}
ACCOUNTS = ("A1", "A2")  # in the org from the start; "A3" is refused until it has a name, "A9" never comes

# ------------------------------------------------------------ what rows may hold


def at(*parts: int) -> datetime:
    """A timestamp without a zone, as the model's column has them."""
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001


KEYS = st.sampled_from(
    ["C1", "c1", "C2", " C2 ", "C3", "C4", "ä/?&%", "#N/A", "0", "=x", None, "", "  ", "k" * 41]
)
ODD = [
    "#N/A",
    'say "hi"',
    "a,b;c",
    "line\nbreak",
    "line\r\nbreak",
    "  padded  ",
    "👩‍👩‍👧 é",
    "0",
    "null",
    "\\N",
    "",
    " ",
]
TEXTS = st.one_of(
    st.none(), st.sampled_from(ODD), st.text("ab #/'\"\\,\n%{}é😀", max_size=12), st.sampled_from(["A", "B"])
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "last": st.one_of(st.sampled_from(["Ito", "ito", "Müller", "x" * 80, "x" * 81, " ", None]), TEXTS),
    "title": TEXTS,
    "email": st.sampled_from([None, "ai@acme.example", "AI@acme.example", " b@c.de ", "nobody", ""]),
    "account": st.sampled_from([None, "A1", "A2", " A1 ", "A1", "A3", "A3", "A9", ""]),
    "seen": st.one_of(
        st.sampled_from(
            [
                None,
                at(2026, 3, 29, 1, 59, 59, 999999),
                at(2026, 3, 29, 3, 0),
                at(2026, 10, 25, 1, 59, 59),
                at(2026, 10, 25, 3, 0),
                at(1970, 1, 1),
            ]
        ),
        st.datetimes(at(1990, 1, 3), at(1990, 2, 20)),
    ),
    "worth": st.one_of(
        st.sampled_from([None, Decimal(0), Decimal("-0.01"), Decimal("1.50"), Decimal("99999999999999.99")]),
        st.decimals(-(10**15), 10**15, places=2),
        st.just(Decimal("1234567890123456.78")),
    ),
    "champion": st.sampled_from([None, True, False]),
    "interests": st.sampled_from(
        [None, "", "Mobile;Billing", "Billing; Mobile ;Billing", "Billing", "Skydiving"]
    ),
}
ROW = st.fixed_dictionaries({"id": KEYS, **VALUES})
GOOD_ROW = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["C1", "C2", "C3", "C4", "C5"]),
        "last": st.sampled_from(["A", "B"]),
        "title": TEXTS,
        "account": st.sampled_from([None, "A1", "A3"]),
    }
)
INDEX = st.integers(0, 9)
EDIT = st.one_of(
    st.tuples(st.just("add"), st.one_of(ROW, GOOD_ROW)),
    st.sampled_from(sorted(VALUES)).flatmap(
        lambda c: st.tuples(st.just("set"), INDEX, st.just(c), VALUES[c])
    ),
    st.tuples(st.just("drop"), INDEX),
    st.tuples(st.just("drop_all")),
    st.tuples(st.just("mend"), INDEX),
    st.tuples(st.just("person_edits"), INDEX, st.sampled_from(["By hand", "A", None])),
    st.tuples(st.just("person_deletes"), INDEX),
    st.tuples(st.just("person_creates"), st.sampled_from(["C1", "C3", "c5"])),
    st.tuples(
        st.just("account"), st.sampled_from(["A1", "A3", "A3"]), st.sampled_from(["Acme", "Acme", None])
    ),
    st.tuples(st.just("account_leaves"), st.sampled_from(["A2", "A3"])),
    st.tuples(
        st.just("answer_lost"),
        st.sampled_from(["/composite", "/jobs/ingest"]),
        st.sampled_from(["lost_after_commit", "lost_before_commit"]),
    ),
)


@dataclass(frozen=True)
class Chosen:
    """The options of the sync under test."""

    nulls: str
    send: str
    api: str
    on_removed: str
    on_gone: str
    zone: str


OPTIONS = st.builds(
    Chosen,
    nulls=st.sampled_from(["clear", "keep"]),
    send=st.sampled_from(["changed", "all"]),
    api=st.sampled_from(["auto", "collections", "bulk"]),
    on_removed=st.sampled_from(["delete", "keep"]),
    on_gone=st.sampled_from(["recreate", "skip", "stop"]),
    zone=st.sampled_from(["UTC", "Europe/Berlin"]),
)
SCRIPT = st.tuples(
    OPTIONS,
    st.lists(st.one_of(ROW, GOOD_ROW), min_size=1, max_size=6),
    st.lists(st.lists(EDIT, min_size=1, max_size=4), min_size=1, max_size=4),
)

# ------------------------------------------------------------ the model: wire texts


def trimmed(value: str | None) -> str:
    return "" if value is None else re.sub(r"\r\n?", "\n", value).strip(" \t\n\r\v\f")


def number(value: Decimal) -> str:
    text = f"{value.quantize(Decimal('0.01'), ROUND_HALF_UP):f}"
    text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def texts(row: Mapping[str, Any], zone: str) -> dict[str, str | None]:
    """What each field of a row is on the wire: None absent, '' null."""
    seen, worth, champion = row.get("seen"), row.get("worth"), row.get("champion")
    out: dict[str, str | None] = {
        f: trimmed(row.get(FIELDS[f])) for f in ("LastName", "Title", "Email", "AccountId")
    }
    out["Last_Login__c"] = ""
    if seen is not None:
        instant = seen.replace(microsecond=0, tzinfo=ZoneInfo(zone)).astimezone(UTC)
        out["Last_Login__c"] = instant.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    out["Lifetime_Value__c"] = "" if worth is None else number(worth)
    out["Is_Champion__c"] = None if champion is None else str(champion).lower()
    out["Interests__c"] = ";".join(
        sorted({p.strip() for p in (row.get("interests") or "").split(";")} - {""})
    )
    return out


def refused(text: Mapping[str, str | None], *, known: bool, keep: bool) -> bool:
    """Whether sfsync itself will not send a row of these texts."""
    worth = text["Lifetime_Value__c"] or "0"
    return bool(
        len(text["LastName"] or "") > 80
        or len(text["Title"] or "") > 128
        or (text["Email"] and "@" not in text["Email"])
        or abs(Decimal(worth)) >= 10**14
        or set(filter(None, (text["Interests__c"] or "").split(";"))) - INTERESTS
        or (text["LastName"] == "" and not (known and keep))
    )


def folded(value: str | None) -> str:
    return re.sub("[A-Z]", lambda m: m[0].lower(), trimmed(value))


# ------------------------------------------------------------ the model: snapshot and org


@dataclass
class Known:
    """A record as the snapshot should have it."""

    texts: dict[str, str | None]
    record: int | None  # which record of the org; None: a tombstone
    created: bool


@dataclass
class Model:
    """What stands in the org and what sfsync should know of it."""

    options: Chosen
    org: dict[int, dict[str, str]] = field(default_factory=dict)  # live records: texts without nulls
    keys: dict[int, str] = field(default_factory=dict)
    snapshot: dict[str, Known] = field(default_factory=dict)
    count: int = 0
    accounts: dict[str, str] = field(default_factory=dict)  # acknowledged: key, name
    met: set[str] = field(default_factory=set)  # accounts of which the next run clears what is blank
    blocked: set[str] = field(
        default_factory=set
    )  # keys of accounts that cannot be in the org after this run

    def run_accounts(self, rows: Mapping[str, str | None]) -> Counter[str]:
        """What a run of the parents must come to."""
        self.blocked = {key for key, name in rows.items() if name is None and key not in self.accounts}
        result: Counter[str] = Counter()
        for key, name in rows.items():
            if name is None:
                result["refused"] += 1
                continue
            before = self.accounts.get(key)
            same = before == name and key not in self.met
            result["created" if before is None else "unchanged" if same else "updated"] += 1
            self.met.discard(key)
            self.accounts[key] = name
        return result

    def record_of(self, key: str) -> int | None:
        return next((n for n, k in self.keys.items() if k == key and n in self.org), None)

    def insert(self, key: str, content: dict[str, str]) -> int:
        self.count += 1
        self.org[self.count], self.keys[self.count] = {"Is_Champion__c": "false", **content}, key
        return self.count

    def run(self, rows: list[dict[str, Any]]) -> Counter[str] | None:
        """What a run must come to, and what it does to the org; None: the sync is refused."""
        if self.options.on_removed == "delete" and not rows:
            return None
        copies = Counter(folded(row["id"]) for row in rows)
        nulls = sum(1 for row in rows if not trimmed(row["id"]) or len(trimmed(row["id"])) > 40)
        result: Counter[str] = Counter()
        todo: list[tuple[str, dict[str, str | None]]] = []
        for row in rows:
            key, text = folded(row["id"]), texts(row, self.options.zone)
            before = self.snapshot.get(key)
            known = before is not None and before.record is not None
            bad = not key or len(key) > 40 or copies[key] > 1
            if bad or refused(text, known=known, keep=self.options.nulls == "keep"):
                result["refused"] += 1
            else:
                todo.append((key, text))
        gone = [
            k
            for k, text in todo
            if k in self.snapshot
            and self.snapshot[k].record is None
            and text["AccountId"] not in self.blocked
        ]
        if self.options.on_gone == "stop" and gone:
            return None
        left = [k for k, known in self.snapshot.items() if k not in copies and known.record is not None]
        for key, text in todo:
            result[self._push(key, text)] += 1
        if self.options.on_removed == "delete" and not nulls:
            for key in left:
                if self.snapshot[key].created:
                    record = self.snapshot.pop(key).record
                    assert record is not None
                    result["deleted" if self.org.pop(record, None) is not None else "already_deleted"] += 1
        return result

    def _push(self, key: str, text: dict[str, str | None]) -> str:
        before = self.snapshot.get(key)
        if before is None or before.record is None:
            if text["AccountId"] in self.blocked:
                return "waiting"
            if before is not None and self.options.on_gone == "skip":
                return "gone"
            return self._upsert(key, text)
        wanted = {
            f: v for f, v in text.items() if v is not None and not (v == "" and self.options.nulls == "keep")
        }
        changed = {f: v for f, v in wanted.items() if v != before.texts.get(f)}
        if not changed:
            return "unchanged"
        if text["AccountId"] in self.blocked:
            return "waiting"
        if before.record not in self.org:
            self.snapshot[key] = Known({}, None, False)
            return "gone"
        sent = wanted if self.options.send == "all" else changed
        if sent.get("AccountId") not in (None, "", *self.accounts):
            return "failed"
        for name, value in sent.items():
            if value == "":
                self.org[before.record].pop(name, None)
            else:
                self.org[before.record][name] = value
        before.texts.update(sent)
        return "updated"

    def _upsert(self, key: str, text: dict[str, str | None]) -> str:
        sent = {f: v for f, v in text.items() if v}
        if sent.get("AccountId") not in (None, *self.accounts):
            return "failed"
        there = self.record_of(key)
        if there is None:
            self.snapshot[key] = Known({f: v or "" for f, v in text.items()}, self.insert(key, sent), True)
            return "created"
        self.org[there].update(sent)
        self.snapshot[key] = Known(dict(sent), there, False)
        return "adopted"


# ------------------------------------------------------------ the real thing beside it


class Pair:
    """A real team and the model of it, moved together."""

    def __init__(self, folder: Path, org: Any, options: Chosen, rows: list[dict[str, Any]]) -> None:
        self.team, self.model, self.rows = Team(folder / "team", org), Model(options), [dict(r) for r in rows]
        team = self.team
        team.write(
            "sfsync_project.yml",
            f"name: team\nversion: '1'\nprofile: team\ntimezone: {options.zone}\nsyncs: {{match: never}}\n",
        )
        team.sync(
            "contacts",
            fields={"FirstName": None, "Birthdate": None},
            nulls=options.nulls,
            on_removed=options.on_removed,
            on_gone=options.on_gone,
            push={"api": options.api, "send": options.send},
        )
        self.parents: dict[str, str | None] = {**{name: name for name in ACCOUNTS}, "A3": None}
        self.lost: list[dict[str, Any]] = []
        team.init_state()

    def edit(self, what: str, *args: Any) -> None:
        if what == "add":
            self.rows.append({"id": None, **args[0]})
        elif what == "account":
            self.parents[args[0]] = args[1]
        elif what == "account_leaves":
            self.parents.pop(args[0], None)
        elif what == "answer_lost":
            self.lost.append({"match": args[0], "fault": args[1]})
        elif what == "drop_all":
            self.rows.clear()
        elif what == "person_creates":
            self._person_creates(*args)
        elif what.startswith("person"):
            self._person(what, *args)
        elif self.rows:
            index = args[0] % len(self.rows)
            if what == "drop":
                del self.rows[index]
            elif what == "mend":
                self.rows[index].update(last="Mended", email=None, worth=None, interests=None, account=None)
            else:
                self.rows[index][args[1]] = args[2]

    def _live(self) -> dict[str, dict[str, str]]:
        return {folded(r["Customer_Id__c"]): r for r in self.team.org.records("Contact")}

    def _person_creates(self, key: str) -> None:
        if self.model.record_of(folded(key)) is None:
            body = {"LastName": "By hand", "Title": "Boss", "Customer_Id__c": key}
            assert self.team.org.post("/sobjects/Contact", json=body).status_code == 201
            self.model.insert(folded(key), {"LastName": "By hand", "Title": "Boss"})

    def _person(self, what: str, index: int, title: str | None = None) -> None:
        live = self._live()
        if not live:
            return
        key = sorted(live)[index % len(live)]
        path, number = f"/sobjects/Contact/{live[key]['Id']}", self.model.record_of(key)
        assert number is not None
        if what == "person_deletes":
            assert self.team.org.delete(path).status_code == 204
            del self.model.org[number]
            return
        assert self.team.org.patch(path, json={"Title": title}).status_code == 204
        if title is None:
            self.model.org[number].pop("Title", None)
        else:
            self.model.org[number]["Title"] = title

    def run(self) -> None:
        team = self.team
        team.contacts(self.rows)
        team.accounts(list(self.parents.items()))
        plan = team.plan()
        batches_concatenate(plan)
        parents, expected = self.model.run_accounts(self.parents), self.model.run(self.rows)
        note(
            f"expected {dict(parents)}, {dict(expected) if expected is not None else 'a refusal'}; {self.lost}"
        )
        for what in (*(expected or {"a refusal": 1}), *(rule["fault"] for rule in self.lost)):
            event(what)
        team.org.faults(self.lost)
        result = team.run()  # checks that the accounting closes
        team.org.faults([])
        assert self._found(result, "accounts") == self._seen_twice(parents)
        if expected is None:
            assert (result.exit_code, str(of(result, "contacts").status)) == (3, "refused")
        else:
            assert self._found(result, "contacts") == self._seen_twice(expected)
            assert sum(r.count for r in planned_refusals(plan)) == expected["refused"]
        if self.lost:
            self._learn_who_was_met_again()
        self.lost = []
        names = {r["Account_Id__c"]: r["Name"] for r in team.org.records("Account")}
        assert names == self.model.accounts
        self.org_is_as_expected()
        self.snapshot_is_what_the_org_acknowledged()
        restless = {"adopted", "gone", "failed", "waiting"}
        if expected is not None and not restless & set(+expected):
            after = team.plan("contacts")
            assert not after.has_changes
            assert after.api.calls == 0
            assert planned(after, "contacts").changes.refused == 0, "a refused row is known the second time"
            assert planned(after, "contacts").changes.held == expected["refused"], (
                "a refused row stays a difference"
            )

    def _found(self, result: Result, name: str) -> Counter[str]:
        found = Counter(outcomes(result, name))
        found["refused"] = found.pop("rejected", 0) + found.pop("held", 0)
        return self._seen_twice(found)

    def _seen_twice(self, found: Counter[str]) -> Counter[str]:
        """After a lost answer the org tells of a record that our own first try made or deleted: which it was is open."""
        if self.lost:
            found = found.copy()
            found["created"] += found.pop("adopted", 0)
            found["deleted"] += found.pop("already_deleted", 0)
        return +found

    def _learn_who_was_met_again(self) -> None:
        """A record that the second try met counts as adopted, and then nulls that were not sent stay unknown."""
        self.model.met |= self._accounts_met()
        for key, (origin, texts) in self._snapshot().items():
            known = self.model.snapshot.get(key)
            if known is not None and known.created and origin == "adopted":
                known.created = False
                known.texts = {f: v for f, v in known.texts.items() if v != "" or f in texts}

    def _accounts_met(self) -> set[str]:
        """Accounts that the second try of their create met: whether they have a phone is not known."""
        with duckdb.connect(str(self.team.folder / ".sfsync/prod.duckdb"), read_only=True) as connection:
            rows = connection.execute(
                "SELECT Account_Id__c FROM snapshot.accounts WHERE _origin = 'adopted' AND Phone IS NULL"
            ).fetchall()
        return {key for (key,) in rows}

    def org_is_as_expected(self) -> None:
        found = self.team.org.records("Contact")
        keys = [folded(record["Customer_Id__c"]) for record in found]
        assert len(keys) == len(set(keys)), "created twice"
        expected = {self.model.keys[n]: content for n, content in self.model.org.items()}
        parents = {r["Id"]: r["Account_Id__c"] for r in self.team.org.records("Account")}
        assert {
            key: self._texts(record, parents) for key, record in zip(keys, found, strict=True)
        } == expected

    def snapshot_is_what_the_org_acknowledged(self) -> None:
        assert self._snapshot() == {
            key: ("gone", {})
            if known.record is None
            else ("created" if known.created else "adopted", known.texts)
            for key, known in self.model.snapshot.items()
        }

    def _snapshot(self) -> dict[str, tuple[str, dict[str, str | None]]]:
        """Key -> origin and texts, as the state has them."""
        path = self.team.folder / ".sfsync/prod.duckdb"
        with duckdb.connect(str(path), read_only=True) as connection:
            tables = connection.execute(
                "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'snapshot'"
            ).fetchall()
            if ("contacts",) not in tables:
                return {}
            columns = ", ".join(f'"{name}"' for name in FIELDS)
            rows = connection.execute(
                f"SELECT _key, _origin, _gone_at, {columns} FROM snapshot.contacts"
            ).fetchall()
        found: dict[str, tuple[str, dict[str, str | None]]] = {
            key: ("gone", {})
            if gone
            else (origin, {f: v for f, v in zip(FIELDS, values, strict=True) if v is not None})
            for key, origin, gone, *values in rows
        }
        assert len(rows) == len(found)
        return found

    def _texts(self, record: Mapping[str, str], parents: Mapping[str, str]) -> dict[str, str]:
        out = {name: record[name] for name in FIELDS if name in record}
        if "AccountId" in out:
            out["AccountId"] = parents[out["AccountId"]]
        return out


@dataclass(frozen=True)
class Refusals:
    count: int


def planned_refusals(plan: Plan) -> list[Refusals]:
    return [Refusals(rows) for _, _, rows in planned(plan, "contacts").rejected]


def batches_concatenate(plan: Plan) -> None:
    """Each operation's batches, in order, are its changes: no row twice, none left out."""
    for item in plan.syncs:
        totals = {
            Operation.UPSERT: item.changes.upserts,
            Operation.UPDATE: item.changes.updates,
            Operation.DELETE: item.changes.deletes,
        }
        for operation, total in totals.items():
            ranges = sorted((b.first, b.last) for b in item.batches if b.operation is operation)
            assert [n for first, last in ranges for n in range(first, last)] == list(range(total))


def play(org: Any, script: tuple[Chosen, list[dict[str, Any]], list[list[tuple[Any, ...]]]]) -> None:
    options, rows, rounds = script
    org.begin()
    folder = Path(tempfile.mkdtemp(prefix="sfsync_law_"))
    try:
        pair = Pair(folder, org, options, [{"id": None, **row} for row in rows])
        pair.run()
        for edits in rounds:
            for edit in edits:
                pair.edit(*edit)
            pair.run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


NIGHT = os.environ.get("SFSYNC_EXAMPLES")
"""Examples of the slow test, new ones each time: a night can afford hundreds. Unset: a few, the same in every run."""

CALM = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large)


@given(script=SCRIPT)
@settings(max_examples=5, deadline=None, derandomize=True, database=None, suppress_health_check=CALM)
def test_the_org_holds_what_the_model_says(running_org: Any, script: Any) -> None:
    play(running_org, script)


@pytest.mark.slow
@given(script=SCRIPT)
@settings(
    max_examples=int(NIGHT or 12),
    deadline=None,
    derandomize=NIGHT is None,
    database=None,
    suppress_health_check=CALM,
)
def test_the_org_holds_what_the_model_says_at_length(running_org: Any, script: Any) -> None:
    play(running_org, script)
