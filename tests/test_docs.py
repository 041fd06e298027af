"""The reference pages say what the code says: tables of keys are made from the models, links lead somewhere.

``SFSYNC_UPDATE_DOCS=1 pytest tests/test_docs.py`` writes the tables anew; git diff reviews them.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from sfsync.project.lookups import EFFECTS, Kind, Policy
from sfsync.project.modes import MODES, Situation
from sfsync.records import Outcome
from sfsync.salesforce.sign_in_words import TYPES, WORDS
from tests.support import field_type_page
from tests.support.status_codes import calls_table, rows_table

ROOT = Path(__file__).resolve().parents[1]
PATTERNS = ("*.md", "docs/**/*.md", "project_template/*.md", "examples/*/*.md")
PAGES = sorted(page for pattern in PATTERNS for page in ROOT.glob(pattern))
BLOCK = re.compile(r"(<!-- keys: ([\w.]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]+)(#[^)]*)?\)")


def key_table(model: type[BaseModel]) -> str:
    """| key | default | meaning |: what is needed first, then in the order of the model."""
    rows = ["| key | default | meaning |", "| --- | --- | --- |"]
    for name, field in sorted(model.model_fields.items(), key=lambda item: not item[1].is_required()):
        assert field.description, f"{model.__name__}.{name} has no description"
        rows.append(f"| `{field.alias or name}` | {shown_default(field)} | {field.description} |")
    return "\n".join(rows) + "\n"


def shown_default(field) -> str:
    if field.is_required():
        return "needed"
    default = field.default
    if default is PydanticUndefined or default is None or default in ((), ""):
        return "–"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if hasattr(default, "days"):
        return f"`{default.days}d`" if default.days else f"`{default.seconds // 60}m`"
    if isinstance(default, float):
        return f"`{default:.0%}`"
    if isinstance(default, tuple):
        return f"`{', '.join(default)}`"
    return f"`{default}`"


REFUSALS = re.compile(r"(<!-- refusals -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def refusals() -> str:
    """Sign-in types x outcome: a row for each thing an org says and each next step."""
    rows = ["| the org says | signing in by | what that means | next step |", "| --- | --- | --- | --- |"]
    for row in WORDS:
        steps: dict[str, list[str]] = {}
        for auth in row.types:
            steps.setdefault(row.fix_of(auth), []).append(auth)
        for fix, ways in steps.items():
            said = f"`{row.error}`" + (f", {row.part}" if row.part else "")
            named = ", ".join(f"`{way}`" for way in sorted(ways, key=TYPES.index))
            rows.append(f"| {said} | {named} | {row.says} | {fix} |")
    return "\n".join(rows) + "\n"


def test_the_page_of_signing_in_has_every_refusal():
    page = ROOT / "docs/reference/sign-in.md"
    text = page.read_text(encoding="utf-8")
    updated = REFUSALS.sub(lambda m: m[1] + refusals() + m[3], text)
    assert REFUSALS.search(text)
    settle(page, text, updated)


def settle(page: Path, text: str, updated: str) -> None:
    """Compare what a page has with what the code says, or write it anew."""
    if os.environ.get("SFSYNC_UPDATE_DOCS"):
        page.write_text(updated, encoding="utf-8")
    else:
        assert updated == text, f"{page.relative_to(ROOT)} is behind the code; see the top of this file"


MODE_TABLE = re.compile(r"(<!-- modes -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def mode_table() -> str:
    """Modes x row situation, as MODES says; tests/jobs/test_modes.py plays each cell."""
    rows = [f"| the row | {' | '.join(f'`{name}`' for name in MODES)} |", f"| --- |{' --- |' * len(MODES)}"]
    rows += [f"| {one} | {' | '.join(mode.effects[one] for mode in MODES.values())} |" for one in Situation]
    return "\n".join(rows) + "\n"


def test_the_page_of_modes_is_what_the_modes_do():
    page = ROOT / "docs/reference/modes.md"
    text = page.read_text(encoding="utf-8")
    updated = MODE_TABLE.sub(lambda m: m[1] + mode_table() + m[3], text)
    assert MODE_TABLE.search(text)
    settle(page, text, updated)


STATUS = re.compile(r"(<!-- status codes: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def test_the_page_of_status_codes_is_the_table():
    page = ROOT / "docs/reference/status-codes.md"
    text = page.read_text(encoding="utf-8")
    tables = {"rows": rows_table, "calls": calls_table}
    assert [match[2] for match in STATUS.finditer(text)] == list(tables)
    updated = STATUS.sub(lambda m: m[1] + tables[m[2]]() + m[4], text)
    settle(page, text, updated)


LOOKUP_TABLE = re.compile(r"(<!-- lookups -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def lookup_table() -> str:
    """Kinds of lookup x policies, as EFFECTS says; tests/jobs/test_lookups.py plays each cell."""
    rows = [
        f"| `Object.Field` is | {' | '.join(f'`{one}`' for one in Policy)} |",
        f"| --- |{' --- |' * len(Policy)}",
    ]
    rows += [f"| {kind} | {' | '.join(EFFECTS[kind][one] for one in Policy)} |" for kind in Kind]
    return "\n".join(rows) + "\n"


def test_the_page_of_lookups_is_what_they_do():
    page = ROOT / "docs/reference/lookups.md"
    text = page.read_text(encoding="utf-8")
    updated = LOOKUP_TABLE.sub(lambda m: m[1] + lookup_table() + m[3], text)
    assert LOOKUP_TABLE.search(text)
    settle(page, text, updated)


FIELD_TYPES = re.compile(r"(<!-- field types: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def test_the_page_of_field_types_is_what_is_played():
    page = ROOT / "docs/reference/field-types.md"
    text = page.read_text(encoding="utf-8")
    parts = {"values": field_type_page.page, "identities": field_type_page.identities}
    parts |= {"unwritable": field_type_page.never_written}
    assert [match[2] for match in FIELD_TYPES.finditer(text)] == list(parts)
    updated = FIELD_TYPES.sub(lambda m: m[1] + parts[m[2]]() + m[4], text)
    settle(page, text, updated)


def blocks() -> list[tuple[Path, str]]:
    return [(page, match[2]) for page in PAGES for match in BLOCK.finditer(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("page", "dotted"), blocks(), ids=[dotted for _, dotted in blocks()])
def test_tables_of_keys_are_the_models(page: Path, dotted: str):
    module, _, name = dotted.rpartition(".")
    wanted = key_table(getattr(importlib.import_module(module), name))
    text = page.read_text(encoding="utf-8")
    updated = BLOCK.sub(lambda m: m[1] + wanted + m[4] if m[2] == dotted else m[0], text)
    if os.environ.get("SFSYNC_UPDATE_DOCS"):
        page.write_text(updated, encoding="utf-8")
    else:
        assert updated == text, (
            f"{page.relative_to(ROOT)} is behind the code; write it anew, see the top of this file"
        )


def test_every_closed_model_of_the_syncs_has_its_table():
    shown = {dotted.rpartition(".")[2] for _, dotted in blocks()}
    assert {"ProjectSpec", "SyncSpec", "FieldSpec", "GuardSpec", "PushSpec"} <= shown


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_between_pages_lead_somewhere(page: Path):
    text = page.read_text(encoding="utf-8")
    targets = [match[1] for match in LINK.finditer(text) if "://" not in match[1]]
    broken = [target for target in targets if not (page.parent / target).exists()]
    assert not broken


def test_the_page_of_commands_is_the_help():
    """docs/reference/commands.md has a row for each command, and no other."""
    help_text = subprocess.run(
        [sys.executable, "-c", "from sfsync.cli.main import main; main()", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    commands = re.findall(r"^  (\w+)  ", help_text.partition("Commands:")[2], re.MULTILINE)
    page = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == sorted(commands)


def test_every_outcome_is_on_its_page():
    page = (ROOT / "docs/reference/exit-codes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z_, ]+) \|", page.partition("## Outcomes")[2], re.MULTILINE)
    told = {name for row in rows for name in row.split(", ")} - {"outcome"}
    assert told == {str(outcome) for outcome in Outcome}
