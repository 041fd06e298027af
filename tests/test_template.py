"""The template is a user's first hour: it loads clean, its seeds are sound, and its README tells the truth.

The walk at the end does what the template's README says, through the command line, against a real local org.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sfsync.cli.main import cli
from sfsync.project.load import load_project

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "project_template"
SEEDS = TEMPLATE / "seeds"
MAX_SEED_BYTES = 3_000_000


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# ---------------------------------------------------------------- files


def test_it_loads_without_a_warning():
    project = load_project(TEMPLATE, vars=None)
    assert project.warnings == ()
    assert [(sync.name, sync.spec.object, sync.spec.on_removed.kind) for sync in project.syncs] == [
        ("accounts", "Account", "keep"),
        ("contacts", "Contact", "keep"),
        ("subscriptions", "Subscription__c", "delete"),
    ]
    assert project.vars["dirty"] is False


def test_every_model_and_macro_is_used():
    text = "".join(
        path.read_text(encoding="utf-8") for path in TEMPLATE.rglob("*") if path.suffix in (".sql", ".yml")
    )
    for path in TEMPLATE.glob("models/**/*.sql"):
        assert re.search(rf"ref\('{path.stem}'\)|model: {path.stem}\b", text), f"{path.name} feeds nothing"
    for macro in re.findall(r"{% macro (\w+)\(", text):
        assert f"{{{{ {macro}(" in text or f"({{{{ {macro}(" in text, f"macro {macro} is not used"


def test_seeds_are_what_the_script_writes(tmp_path: Path):
    spec = importlib.util.spec_from_file_location("template_seeds", ROOT / "bench" / "template_seeds.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.main(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        assert path.read_bytes() == (SEEDS / path.name).read_bytes(), f"{path.name} was changed by hand"


def test_seeds_are_small_and_of_the_promised_size():
    assert sum(path.stat().st_size for path in SEEDS.iterdir()) < MAX_SEED_BYTES
    sizes = {path.stem: len(rows(path)) for path in SEEDS.glob("*.csv")}
    assert sizes == {
        "crm_accounts": 2000,
        "crm_contacts": 10000,
        "billing_subscriptions": 3000,
        "dirty_contacts": 12,
    }


@pytest.mark.parametrize(
    ("seed", "key"),
    [
        ("crm_accounts", "account_id"),
        ("crm_contacts", "customer_id"),
        ("billing_subscriptions", "subscription_id"),
    ],
)
def test_keys_are_unique_whatever_their_case(seed: str, key: str):
    keys = Counter(row[key].strip().lower() for row in rows(SEEDS / f"{seed}.csv"))
    assert "" not in keys
    assert keys.most_common(1)[0][1] == 1


def test_parents_are_there():
    known = {row["account_id"] for row in rows(SEEDS / "crm_accounts.csv")}
    children = rows(SEEDS / "crm_contacts.csv") + rows(SEEDS / "billing_subscriptions.csv")
    assert {row["account_id"] for row in children} - known == {""}


def test_seeds_look_like_an_export():
    """Accents, scripts, blanks, padding, line breaks, quotes and near-duplicates are all there."""
    accounts, contacts = rows(SEEDS / "crm_accounts.csv"), rows(SEEDS / "crm_contacts.csv")
    names = [row["name"] for row in accounts]
    folded = Counter(re.sub(r"\W+", "", name).lower() for name in names)
    assert sum(1 for count in folded.values() if count > 1) > 20
    assert any("\n" in row["street"] for row in accounts)
    assert any('"' in row["description"] for row in accounts)
    assert sum(name != name.strip() for name in names) > 20
    assert {"", " ", "n/a", "-"} <= {row["phone"] for row in contacts}
    assert sum(not row["last_name"].isascii() for row in contacts) > 2000
    hosts = {row["email"].rsplit("@")[-1].lower() for row in contacts if "@" in row["email"]}
    assert all(host.endswith(".example") for host in hosts)


# ---------------------------------------------------------------- the README's walk


class Demo:
    """A project made by `sfsync init`, driven through the command line; in this process, as starts cost a second each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: None for name in os.environ if name.startswith("SFSYNC_")}

    def sfsync(self, *arguments: str, expect: int = 0) -> Result:
        before = Path.cwd()
        os.chdir(self.folder if self.folder.exists() else self.folder.parent)
        try:
            done = CliRunner().invoke(cli, arguments, env=self.environment)
        finally:
            os.chdir(before)
        assert done.exit_code == expect, f"sfsync {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done

    def plan(self, *arguments: str, expect: int = 0) -> dict[str, dict]:
        """Sync name -> its part of the plan's JSON."""
        done = self.sfsync("plan", "--format", "json", *arguments, expect=expect)
        return {sync["name"]: sync for sync in json.loads(done.stdout)["syncs"]}

    def edit(self, name: str, change) -> None:
        path = self.folder / name
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8", newline="")

    def rejected(self) -> list[dict[str, str]]:
        return rows(self.folder / "target" / "rejected" / "contacts.csv")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    demo = Demo(tmp_path_factory.mktemp("walk") / "demo")
    demo.sfsync("init", "demo")
    try:
        yield demo
    finally:
        demo.sfsync("org", "stop")
        shutil.rmtree(demo.folder, ignore_errors=True)


CODES = [  # code, field, key as it is shown
    ("MISSING_ARGUMENT", "Customer_Id__c", ""),
    ("DUPLICATE_VALUE", "Customer_Id__c", "d-20001"),
    ("DUPLICATE_VALUE", "Customer_Id__c", "d-20001"),
    ("REQUIRED_FIELD_MISSING", "LastName", "d-20002"),
    ("STRING_TOO_LONG", "LastName", "d-20003"),
    ("STRING_TOO_LONG", "Customer_Id__c", "d-20004-imported-from-the-old-system-2019-05"),
    ("INVALID_EMAIL_ADDRESS", "Email", "d-20005"),
    ("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "Interests__c", "d-20006"),
    ("INVALID_TYPE_ON_FIELD_IN_RECORD", "Birthdate", "d-20007"),
    ("NUMBER_OUTSIDE_VALID_RANGE", "Lifetime_Value__c", "d-20008"),
    ("INVALID_TYPE_ON_FIELD_IN_RECORD", "Preferred_Time__c", "d-20009"),
    ("INVALID_TYPE_ON_FIELD_IN_RECORD", "Birthdate", "d-20010"),
]


def found_codes(rejected: list[dict[str, str]]) -> list[tuple[str, str, str]]:
    """What the file says, sorted."""
    return sorted((row["code"], row["field"], row["Customer_Id__c"].strip().lower()) for row in rejected)


def test_the_walk_of_the_readme(demo: Demo):
    first = demo.plan()
    assert {name: sync["counts"]["create"] for name, sync in first.items()} == {
        "accounts": 2000,
        "contacts": 10000,
        "subscriptions": kept_subscriptions(demo),
    }
    demo.sfsync("run")
    demo.sfsync("plan", "--detailed-exitcode")

    # 1. Change a cell and see the plan.
    demo.edit("seeds/crm_contacts.csv", lambda text: text.replace(",Product,", ",Research,", 1))
    changed = demo.plan("--detailed-exitcode", expect=2)["contacts"]
    assert [list(sample["changes"]) for sample in changed["samples"]] == [["Department"]]
    assert changed["samples"][0]["changes"]["Department"] == ["Product", "Research"]
    demo.sfsync("run")
    demo.sfsync("plan", "--detailed-exitcode")

    # A line of the subscriptions that goes is one deletion; three hundred are refused.
    lines = (demo.folder / "seeds/billing_subscriptions.csv").read_text(encoding="utf-8")
    demo.edit("seeds/billing_subscriptions.csv", lambda text: without_active(text, 1))
    assert demo.plan()["subscriptions"]["counts"]["delete"] == 1
    demo.edit("seeds/billing_subscriptions.csv", lambda text: without_active(text, 300))
    assert "max_delete_share" in demo.sfsync("run", expect=3).stdout
    demo.edit("seeds/billing_subscriptions.csv", lambda text: lines)

    # 2. Break a field and see the error.
    demo.edit("syncs/contacts.yml", lambda text: text.replace("Email:", "Emial:"))
    error = demo.sfsync("plan", expect=2).stderr
    line = 1 + (demo.folder / "syncs/contacts.yml").read_text(encoding="utf-8").split("Emial")[0].count("\n")
    assert f"syncs/contacts.yml:{line}" in error
    assert "Email" in error.replace("Emial", "")
    demo.edit("syncs/contacts.yml", lambda text: text.replace("Emial:", "Email:"))

    # 3. Run with bad rows: rejected one by one, then held, then tried again on demand.
    dirty = ("--vars", "{dirty: true}")
    demo.sfsync("run", *dirty, expect=1)
    assert found_codes(demo.rejected()) == sorted(CODES)
    held = demo.sfsync("run", *dirty)
    assert "held" in held.stderr + held.stdout
    demo.sfsync("run", *dirty, "--strict", expect=1)

    # 4. Meet records that were there before.
    demo.sfsync("org", "reset")
    assert "Account: 2 created" in demo.sfsync("org", "load", "local_org/Account.csv").stdout
    demo.sfsync("run", "--select", "accounts")
    results = json.loads((demo.folder / "target/run_results.json").read_text(encoding="utf-8"))["results"]
    assert results[0]["outcomes"] == {"created": 1998, "adopted": 2}


def kept_subscriptions(demo: Demo) -> int:
    """Rows of the seed that models/marts/dim_subscriptions.sql keeps."""
    return sum(
        row["status"] != "cancelled" or row["end_date"] >= "2025-01-01"
        for row in rows(demo.folder / "seeds/billing_subscriptions.csv")
    )


def without_active(text: str, count: int) -> str:
    """The CSV without its first `count` one-line rows of active subscriptions."""
    kept = []
    for line in text.splitlines(keepends=True):
        if count and re.match(r"S-\d+,A-\d+,[^,]*,active,.*(true|false|),\n$", line):
            count -= 1
        else:
            kept.append(line)
    return "".join(kept)
