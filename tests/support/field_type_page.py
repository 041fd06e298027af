"""docs/reference/field-types.md from the list of cases: the cells are made by the code that makes those of a run."""

from __future__ import annotations

import json
import tempfile
from contextlib import closing
from pathlib import Path

from sfsync.compiler import wire
from sfsync.engine.dialect import quote_literal
from sfsync.engine.duckdb import DuckDB
from sfsync.records import Column, FieldRule, Reference, Send, SourceType
from sfsync.salesforce import encode
from tests.support.field_types import IDENTITIES, KINDS, PARENT, Case, Kind, Refused

HEADING = (
    "| value | in the model | in a Bulk CSV | in JSON | the org then holds |\n| --- | --- | --- | --- | --- |"
)
THE_ID = "the 18-character Id"
WRITTEN_BY_NOBODY = ("address", "anyType", "base64", "complexvalue", "location", "long")
"""Types of describe that no sync writes."""


def page() -> str:
    """A table for each field type and column type, under a heading for each field type."""
    with tempfile.TemporaryDirectory() as folder, closing(DuckDB(temp_directory=Path(folder))) as db:
        parts = []
        for title in dict.fromkeys(kind.title for kind in KINDS):
            parts.append(f"### {title}")
            for kind in (one for one in KINDS if one.title == title):
                parts.append(f"From `{kind.column}`{described(kind)}:")
                lines = [row(db, Path(folder) / "cell.csv", kind, case) for case in kind.cases]
                parts.append("\n".join([HEADING, *lines]))
    return "\n\n".join(parts) + "\n"


def described(kind: Kind) -> str:
    """What of the field's description decides, in words."""
    says = kind.describe
    words = []
    if "length" in says and kind.type != "reference":
        words.append(f"{says['length']} characters")
    if "precision" in says:
        words.append(f"{says['precision']} digits, {says['scale']} of them after the point")
    if "picklist" in says:
        words.append("values " + ", ".join(f"`{value}`" for value in says["picklist"]))
    return f", {', '.join(words)}" if words else ""


def row(db: DuckDB, path: Path, kind: Kind, case: Case) -> str:
    if isinstance(case.sent, Refused):
        cells = ("–", "–") if case.sent.by == "sfsync" else sent(db, path, kind, case.value.strip("'"))
        holds = refusal(case.sent)
    elif case.sent is None:
        cells, holds = ("empty cell", "no key"), "what it held"
    else:
        cells = sent(db, path, kind, case.sent)
        holds = "null" if case.sent == "" else shown(case.holds or case.sent)
    return f"| {case.name} | {given(case)} | {cells[0]} | {cells[1]} | {holds} |"


def given(case: Case) -> str:
    return case.shown or code(case.value)


def refusal(told: Refused) -> str:
    if told.outcome == "gone":
        return "gone"
    if told.by == "sfsync":
        return f"rejected: `{told.code}`"
    return f"{told.outcome} by the org: `{told.code}`"


def identities() -> str:
    """What a column is taken for that says by an Id which record a row is."""
    lines = ["| value | in the model | what becomes of the row |", "| --- | --- | --- |"]
    for case in IDENTITIES:
        end = refusal(case.sent) if isinstance(case.sent, Refused) else "its record is updated"
        lines.append(f"| {case.name} | {given(case)} | {end} |")
    return "\n".join(lines) + "\n"


def sent(db: DuckDB, path: Path, kind: Kind, text: str) -> tuple[str, str]:
    """The cell of a CSV and the member of a JSON record, as `salesforce.encode` makes them."""
    rule = rule_of(kind)
    text = text.replace("{id18}", THE_ID)
    source = f"(SELECT {quote_literal(text)} AS {encode.quoted(kind.field)}, 'k' AS \"Key__c\") t"
    clearing = (kind.field,) if text == "" else ()
    key = FieldRule("Key__c", "Key", rule.column, "string", Send.VALUE, Send.VALUE)
    columns = encode.csv_columns([key, rule], by_id=False, clearing=clearing)
    db.copy_csv(encode.csv_select(columns, source), path)
    header, _, line = path.read_text("utf-8").partition("\n")
    assert header == f"Key__c,{columns[1].header}"
    cell = line.removeprefix("k,").removesuffix("\n")
    needs_json = db.value(f"SELECT {encode.needs_json([rule])} FROM {source}")
    member = json.loads(str(db.value(f"SELECT {encode.json_record('X', [rule], by_id=False)} FROM {source}")))
    del member["attributes"]
    value = member.get(kind.field, next(iter(member.values())))
    return "goes by JSON" if needs_json else code(cell), code(json.dumps(value, ensure_ascii=False))


def rule_of(kind: Kind) -> FieldRule:
    reference = None
    if "lookup" in kind.mapping:
        reference = Reference(str(kind.described["relationship_name"]), PARENT, "Key__c", False)
    column = Column(kind.source, kind.column, SourceType.TEXT)
    made = "string" if reference else kind.type
    return FieldRule(
        kind.field, kind.field, column, made, Send.VALUE, Send.VALUE_OR_NULL,
        length=kind.describe.get("length"), reference=reference,
    )  # fmt: skip


def shown(text: str) -> str:
    return THE_ID if text == "{id18}" else code(text)


def code(text: str) -> str:
    """A text as code in a cell of a table."""
    if len(text) > 60:
        text = f"{text[:20]}…"
    text = text.replace("\n", "\\n").replace("\t", "\\t").replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def never_written() -> str:
    """The types that no column goes into."""
    assert not [one for one in WRITTEN_BY_NOBODY for family in SourceType if wire.accepts(one, family)]
    return ", ".join(f"`{one}`" for one in WRITTEN_BY_NOBODY) + "\n"
