"""Every key of a sync and of the project: what it takes, and what is said about anything else."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from pydantic import BaseModel, ValidationError

from sfsync.errors import SpecError
from sfsync.project import spec as specs
from sfsync.project import spec_tables
from sfsync.project.modes import MODES
from sfsync.project.removal import KEEP, WORDS, RemovedSpec
from sfsync.project.spec import GuardSpec, ProjectSpec, SyncSpec
from sfsync.yaml_models import validated
from sfsync.yaml_text import parse_yaml

SYNC = """\
name: contacts
model: dim_contacts
object: Contact
identity: {Customer_Id__c: customer_id}
fields:
  LastName: last_name
"""
PROJECT = """\
name: acme
version: "1.0"
profile: acme
"""


def read(model: type[BaseModel], text: str) -> tuple[BaseModel | None, list[str]]:
    """The model, or each finding as 'line:column: what | fix'."""
    found, findings = validated(model, parse_yaml(text, "f.yml"), owner="it")
    return found, [
        f"{f.where.line}:{f.where.column}: {f.what}" + (f" | {f.fix}" if f.fix else "") for f in findings
    ]


def test_the_least_sync():
    spec, findings = read(SyncSpec, SYNC)
    assert findings == []
    assert isinstance(spec, SyncSpec)
    assert spec.fields["LastName"].column == "last_name"
    assert spec.identity["Customer_Id__c"].column == "customer_id"
    assert spec.model_dump(exclude={"name", "model", "object", "identity", "fields"}) == {
        "description": "",
        "mode": "upsert",
        "match": "unknown",
        "where": None,
        "nulls": "clear",
        "on_removed": KEEP.model_dump(),
        "on_gone": "recreate",
        "on_limit": "defer",
        "delete_adopted": False,
        "allow_cascade": False,
        "clear_on_create": False,
        "undo": "acknowledged",
        "priority": 0,
        "results": {
            "keep": "rejected",
            "to": None,
            "schema_": "sfsync_results",
            "table": "outcomes",
            "pii": "masked",
        },
        "verify": 0,
        "retry_rejected_after": timedelta(days=7),
        "max_attempts": 10,
        "guards": {
            "max_deletes": 500,
            "max_delete_share": 0.05,
            "max_change_share": 0.5,
            "max_creates": None,
            "max_reject_share": 0.1,
            "max_null_keys": 0,
            "min_rows": None,
        },
        "push": {
            "api": "auto",
            "send": "changed",
            "max_wait": timedelta(minutes=30),
            "order_by": (),
            "send_together": None,
            "all_or_none": False,
            "duplicate_rules": "obey",
            "assignment_rule": False,
            "update_mru": False,
        },
        "tags": (),
        "meta": {},
    }


VALID = [  # one more line of a sync, path of attributes, value
    ("mode: upsert", "mode", "upsert"),
    ("mode: mirror", "mode", "mirror"),
    ("nulls: keep", "nulls", "keep"),
    ("on_removed: delete", "on_removed", RemovedSpec(action="delete")),
    ("on_removed: {set: {Active__c: false}}", "on_removed", RemovedSpec(set={"Active__c": False})),
    ("on_gone: stop", "on_gone", "stop"),
    ("on_limit: refuse", "on_limit", "refuse"),
    ("priority: -3", "priority", -3),
    ("results: all", "results.keep", "all"),
    ("results: {to: warehouse, schema: ops}", "results.schema_", "ops"),
    ("retry_rejected_after: 12h", "retry_rejected_after", timedelta(hours=12)),
    ("retry_rejected_after: 30m", "retry_rejected_after", timedelta(minutes=30)),
    ("retry_rejected_after: 45 s", "retry_rejected_after", timedelta(seconds=45)),
    ("retry_rejected_after: 2w", "retry_rejected_after", timedelta(days=14)),
    ("retry_rejected_after: 0d", "retry_rejected_after", timedelta(0)),
    ("guards: {max_delete_share: 5%}", "guards.max_delete_share", 0.05),
    ("guards: {max_delete_share: 2.5 %}", "guards.max_delete_share", 0.025),
    ("guards: {max_delete_share: '100%'}", "guards.max_delete_share", 1.0),
    ("guards: {max_delete_share: 0.05}", "guards.max_delete_share", 0.05),
    ("guards: {max_delete_share: 0}", "guards.max_delete_share", 0.0),
    ("guards: {max_delete_share: 1}", "guards.max_delete_share", 1.0),
    ("guards: {max_delete_share: null}", "guards.max_delete_share", None),
    ("guards: {max_deletes: null}", "guards.max_deletes", None),
    ("guards: {max_deletes: 0}", "guards.max_deletes", 0),
    ("push: {api: bulk, send: all}", "push.send", "all"),
    ("push: {all_or_none: true}", "push.all_or_none", True),
    ("push: {assignment_rule: true}", "push.assignment_rule", True),
    ("push: {assignment_rule: 01Q5g000000AbCdEAK}", "push.assignment_rule", "01Q5g000000AbCdEAK"),
    ("push: {send_together: [[A, B]]}", "push.send_together", (("A", "B"),)),
    ("tags: crm", "tags", ("crm",)),
    ("tags: [crm, daily]", "tags", ("crm", "daily")),
    ("meta: {owner: {team: growth}, n: 1}", "meta", {"owner": {"team": "growth"}, "n": 1}),
    ("where: country <> 'XX'", "where", "country <> 'XX'"),
    ("delete_adopted: true", "delete_adopted", True),
    ("clear_on_create: true", "clear_on_create", True),
    ("undo: exact", "undo", "exact"),
]


@pytest.mark.parametrize(("line", "path", "value"), VALID, ids=[v[0] for v in VALID])
def test_valid_keys(line, path, value):
    found, findings = read(SyncSpec, SYNC + line)
    assert findings == []
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value
    assert type(found) is type(value)


SHARE = "must be a percentage of 0% to 100%, or a number of 0 to 1"
UNIT = "must be a whole number with a unit (s, m, h, d or w)"
INVALID = [  # one more line of a sync, the finding
    ("mode: replace", f"7:7: it: 'mode' must be one of {', '.join(MODES)}, found 'replace' | did you mean 'create'?"),
    ("mode: null", f"7:7: it: 'mode' must be one of {', '.join(MODES)}, found nothing"),
    ("nulls: clean", "7:8: it: 'nulls' must be one of clear, keep, found 'clean' | did you mean 'clear'?"),
    ("on_removed: delet", f"7:13: it: 'on_removed' must be one of {', '.join(WORDS)}, or a map, found 'delet' | did you mean 'delete'?"),
    ("on_removed: {set: {}}", "7:19: it: 'on_removed.set' has no field | for example Active__c: false"),
    (
        "on_gone: recreat",
        "7:10: it: 'on_gone' must be one of recreate, skip, stop, found 'recreat' | did you mean 'recreate'?",
    ),
    ("on_limit: wait", "7:11: it: 'on_limit' must be one of defer, refuse, found 'wait'"),
    ("undo: full", "7:7: it: 'undo' must be one of acknowledged, exact, found 'full'"),
    ("results: none", "7:10: it: 'results' must be one of rejected, all, or a map, found 'none' | write results: {keep: all, to: warehouse}"),
    ("priority: high", "7:11: it: 'priority' must be a whole number, found 'high'"),
    ("priority: 1.5", "7:11: it: 'priority' must be a whole number, found 1.5"),
    ("priority: true", "7:11: it: 'priority' must be a whole number, found true"),
    ("delete_adopted: yes", "7:17: it: 'delete_adopted' must be true or false, found 'yes'"),
    ("delete_adopted: 1", "7:17: it: 'delete_adopted' must be true or false, found 1"),
    ("description: 5", "7:14: it: 'description' must be text (put it in quotes), found 5"),
    ("where: '  '", "7:8: it: 'where' must not be blank, found '  '"),
    ("tags: {a: b}", "7:7: it: 'tags' must be a list, found a map"),
    ("tags: [crm, 5]", "7:13: it: 'tags[1]' must be text (put it in quotes), found 5"),
    ("meta: []", "7:7: it: 'meta' must be a map of keys, found a list"),
    ("guards: 5", "7:9: it: 'guards' must be a map of keys, found 5"),
    ("guards: {max_deletes: 5%}", "7:23: it: 'guards.max_deletes' must be a whole number, found '5%'"),
    ("guards: {max_deletes: -1}", "7:23: it: 'guards.max_deletes' must be 0 or more, found -1"),
    ("guards: {max_deletes: 1.5}", "7:23: it: 'guards.max_deletes' must be a whole number, found 1.5"),
    ("guards: {max_delete_share: 5}", f"7:28: it: 'guards.max_delete_share' {SHARE}, found 5 | write 5%"),
    ("guards: {max_delete_share: 101%}", f"7:28: it: 'guards.max_delete_share' {SHARE}, found '101%' | write 5%"),
    ("guards: {max_delete_share: -0.1}", f"7:28: it: 'guards.max_delete_share' {SHARE}, found -0.1 | write 5%"),
    ("guards: {max_delete_share: five}", f"7:28: it: 'guards.max_delete_share' {SHARE}, found 'five' | write 5%"),
    ("guards: {max_delete_share: true}", f"7:28: it: 'guards.max_delete_share' {SHARE}, found true | write 5%"),
    (
        "guards: {max_delete: 5}",
        "7:10: it: unknown key 'max_delete' in 'guards' | did you mean 'max_deletes'?",
    ),
    (
        "guards: {allow_cascade: true}",
        "7:10: it: unknown key 'allow_cascade' in 'guards' | valid keys: max_deletes, max_delete_share, "
        "max_change_share, max_creates, max_reject_share, max_null_keys, min_rows",
    ),
    ("push: {headers: x}", "7:8: it: unknown key 'headers' in 'push' | valid keys: api, send, max_wait, send_together, order_by, all_or_none, duplicate_rules, assignment_rule, update_mru"),
    ("push: {max_wait: 30}", f"7:18: it: 'push.max_wait' {UNIT}, found 30 | write 30d"),
    (
        "push: {api: rest}",
        "7:13: it: 'push.api' must be one of auto, bulk, collections, found 'rest'",
    ),
    ("retry_rejected_after: 7", f"7:23: it: 'retry_rejected_after' {UNIT}, found 7 | write 7d"),
    ("retry_rejected_after: 7 days", f"7:23: it: 'retry_rejected_after' {UNIT}, found '7 days' | write 7d"),
    ("retry_rejected_after: 1.5h", f"7:23: it: 'retry_rejected_after' {UNIT}, found '1.5h' | write 7d"),
    ("retry_rejected_after: -1d", f"7:23: it: 'retry_rejected_after' {UNIT}, found '-1d' | write 7d"),
    ("retry_rejected_after: 99999999999d", f"7:23: it: 'retry_rejected_after' {UNIT}, found '99999999999d' | write 7d"),
    ("on_remove: keep", "7:1: it: unknown key 'on_remove' | did you mean 'on_removed'?"),
    ("match: always", "7:8: it: 'match' must be one of unknown, never, found 'always'"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "finding"), INVALID, ids=[i[0] for i in INVALID])
def test_invalid_keys(line, finding):
    found, findings = read(SyncSpec, SYNC + line)
    assert found is None
    assert findings == [finding]


MAPPINGS = [  # the value of a field, the finding
    ("{column: a, write: if_empty}", "6:32: it: 'fields.LastName.write' must be one of always, on_create, if_blank, found 'if_empty'"),
    (
        "{valeu: Product}",
        "6:14: it: unknown key 'valeu' in 'fields.LastName' | did you mean 'value'?",
    ),
    ("{}", "6:13: it: 'fields.LastName' needs one of 'column' and 'value', and not both | "
        "for example LastName: last_name, or LeadSource: {value: Web}"),
    ("{column: a, value: b}", "6:13: it: 'fields.LastName' needs one of 'column' and 'value', and not both | "
        "for example LastName: last_name, or LeadSource: {value: Web}"),
    ("{value: [a]}", "6:21: it: 'fields.LastName.value' must be a text, a number, true, false or null, found a list"),
    ("{value: b, truncate: true}", "6:13: it: 'fields.LastName' has 'truncate', which is about a column, beside 'value' | remove truncate"),
    ("{value: b, nulls: keep}", "6:13: it: 'fields.LastName' has 'nulls', which is about a column, beside 'value' | remove nulls"),
    ("{value: b, lookup: Account.Account_Id__c}", "6:13: it: 'fields.LastName' has 'lookup', which is about a column, beside 'value' | "
        "map a column of the model that holds it"),
    ("{value: , write: if_blank}", "6:13: it: 'fields.LastName' says write: if_blank, and value: null has nothing to fill in | "
        "give a value, or remove the field"),
    ("{colum: a}", "6:14: it: unknown key 'colum' in 'fields.LastName' | did you mean 'column'?"),
    ("{column: a, lookup: Account}", "6:33: it: 'fields.LastName.lookup' must be an object and a field with a dot "
        "between, found 'Account' | for example Account.Account_Id__c"),
    ("{column: a, lookup: A.B.C}", "6:33: it: 'fields.LastName.lookup' must be an object and a field with a dot "
        "between, found 'A.B.C' | for example Account.Account_Id__c"),
    ("{column: a, lookup: A.B__c, on_missing: skip}",
        "6:53: it: 'fields.LastName.on_missing' must be one of reject, null, skip_field, resolve, found 'skip'"),
    ("{column: a, on_missing: reject}", "6:13: it: 'fields.LastName' has 'on_missing' but no 'lookup' | "
        "add lookup: Object.Field, or remove on_missing"),
    ("{column: a, nulls: skip}", "6:32: it: 'fields.LastName.nulls' must be one of clear, keep, found 'skip'"),
    ("{column: a, pii: y}", "6:30: it: 'fields.LastName.pii' must be true or false, found 'y'"),
    ("[a]", "6:13: it: 'fields.LastName' must be the name of a column, or a map with the key 'column', found a list | for example LastName: last_name"),
    ("5", "6:13: it: 'fields.LastName' must be the name of a column, or a map with the key 'column' or 'value', found 5 | for example LastName: last_name; to send the same to every record, write {value: 5}"),
    ("", "6:12: it: 'fields.LastName' must be the name of a column, or a map with the key 'column' or 'value', found nothing | for example LastName: last_name"),
    ("''", "6:13: it: 'fields.LastName.column' must not be blank, found ''"),
    ("a\n  lastname: b", "6:3: it: 'fields' has both 'LastName' and 'lastname', which are one field"),
    ("a\n  Account.Name: b", "6:3: it: 'fields' has 'Account.Name', which is a path | "
        "map the Id field: {column: ..., lookup: Object.Field}"),
    ("a\n  Last Name: b", "6:3: it: 'fields' has 'Last Name', which is not an API name of a field | "
        "for example LastName or Tier__c"),
    ("a\n  customer_id__C: b", "1:1: it maps customer_id__C twice, in 'identity' and in 'fields' | "
        "remove customer_id__C from fields: the identity is always sent"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "finding"), MAPPINGS, ids=[repr(m[0]) for m in MAPPINGS])
def test_invalid_mappings(value, finding):
    found, findings = read(SyncSpec, SYNC.replace("last_name", value))
    assert found is None
    assert "; ".join(findings) == finding


REPLACED = [  # a line of the sync, what stands there instead, the finding
    ("name: contacts", "name: Contacts", "1:7: it: 'name' must be a valid name, found 'Contacts' | start with a small "
        "letter; small letters, digits and _ only, 60 characters at most"),
    ("name: contacts", "name: 1contacts", "1:7: it: 'name' must be a valid name, found '1contacts' | start with a "
        "small letter; small letters, digits and _ only, 60 characters at most"),
    ("name: contacts", "name: 5", "1:7: it: 'name' must be text (put it in quotes), found 5"),
    ("name: contacts\n", "", "1:1: it needs the key 'name'"),
    ("model: dim_contacts", "model: ref('dim_contacts')",
        "2:8: it: 'model' must be the name of a model, found 'ref('dim_contacts')' | write dim_contacts"),
    ("model: dim_contacts", 'model: "{{ source(\'raw\', \'x\') }}"', "2:8: it: 'model' must be the name of a model, "
        "found '{{ source('raw', 'x') }}' | write source('raw', 'x')"),
    ("model: dim_contacts", "model: marts/dim", "2:8: it: 'model' must be the name of a model, found 'marts/dim' | "
        "a model's name, or source('raw', 'x')"),
    ("object: Contact", "object: My Object", "3:9: it: 'object' must be an API name of an object, found 'My Object' | "
        "for example Account or Invoice__c"),
    ("{Customer_Id__c: customer_id}", "{}",
        "4:11: it: 'identity' has no field | name what says which record a row is: an external id, or other fields"),
    ("{Customer_Id__c: customer_id}", "Customer_Id__c", "4:11: it: 'identity' must be a map of keys, "
        "found 'Customer_Id__c'"),
    ("  LastName: last_name\n", "", "5:8: it: 'fields' must be a map of keys, found nothing"),
    ("\n  LastName: last_name\n", " {}\n", "5:9: it: 'fields' has no field | map at least one: LastName: last_name"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "finding"), REPLACED, ids=[repr(r[1]) for r in REPLACED])
def test_invalid_required_keys(old, new, finding):
    assert old in SYNC
    found, findings = read(SyncSpec, SYNC.replace(old, new))
    assert found is None
    assert findings == [finding]


SOURCES = [  # model, (source, table)
    ("dim_contacts", None),
    ("source('raw', 'x')", ("raw", "x")),
    ("source('raw','x')", ("raw", "x")),
    ('source( "raw" , "x y" )', ("raw", "x y")),
]


@pytest.mark.parametrize(("model", "expected"), SOURCES, ids=[s[0] for s in SOURCES])
def test_model_may_be_a_source(model, expected):
    found, findings = read(SyncSpec, SYNC.replace("dim_contacts", model))
    assert findings == []
    assert isinstance(found, SyncSpec)
    assert found.source == expected


def test_an_identity_may_be_personal():
    text = SYNC.replace("customer_id}", "{column: email_key, pii: true}}")
    found, findings = read(SyncSpec, text)
    assert findings == []
    assert isinstance(found, SyncSpec)
    assert found.identity["Customer_Id__c"].pii


MIN_ROWS = [("keep", None, 0), ("delete", None, 1), ("delete", 0, 0), ("keep", 7, 7)]


@pytest.mark.parametrize(("on_removed", "written", "expected"), MIN_ROWS)
def test_min_rows(on_removed, written, expected):
    found, _ = read(SyncSpec, SYNC + f"on_removed: {on_removed}")
    assert isinstance(found, SyncSpec)
    assert found.model_copy(update={"guards": GuardSpec(min_rows=written)}).min_rows == expected


ZONE = "it: 'timezone' must be an IANA time zone, found"
PROJECTS = [  # one more line of the project file, the finding or None
    ("timezone: Europe/Berlin", None),
    ("timezone: UTC", None),
    ("timezone: America/Argentina/Buenos_Aires", None),
    ("timezone: UTC+5", f"4:11: {ZONE} 'UTC+5' | did you mean 'UTC'?"),
    ("timezone: Europe/Berln", f"4:11: {ZONE} 'Europe/Berln' | did you mean 'Europe/Berlin'?"),
    ("timezone: localtime", f"4:11: {ZONE} 'localtime' | for example Europe/Berlin or UTC"),
    ("timezone: posix/Europe/Berlin", f"4:11: {ZONE} 'posix/Europe/Berlin' | did you mean 'Europe/Berlin'?"),
    ("timezone: ../../etc/passwd", f"4:11: {ZONE} '../../etc/passwd' | for example Europe/Berlin or UTC"),
    ("timezone: /etc/localtime", f"4:11: {ZONE} '/etc/localtime' | for example Europe/Berlin or UTC"),
    ("timezone: ''", f"4:11: {ZONE} '' | for example Europe/Berlin or UTC"),
    ("timezone: Europe", f"4:11: {ZONE} 'Europe' | did you mean 'Europe/Rome'?"),
    ("model-paths: [models, more]", None),
    ("model-paths: models", None),
    ("model_paths: [models]", "4:1: it: unknown key 'model_paths' | did you mean 'model-paths'?"),
    ("models: {}", "4:1: it: unknown key 'models' | did you mean 'model-paths'?"),
    ("state: {in: warehouse}", "4:1: it: unknown key 'state' | valid keys: name, version, profile, "
        "model-paths, sync-paths, macro-paths, seed-paths, target-path, vars, timezone, syncs"),
    ("target-path: 5", "4:14: it: 'target-path' must be text (put it in quotes), found 5"),
    ("syncs: {nulls: keep, tags: [a], guards: {max_deletes: 1}}", None),
    ("syncs: {object: Account}", "4:9: it: unknown key 'object' in 'syncs' | valid keys: description, mode, match, where, "
        "nulls, on_removed, on_gone, on_limit, delete_adopted, allow_cascade, clear_on_create, undo, priority, results, verify, "
        "retry_rejected_after, max_attempts, guards, push, tags, meta"),
    ("syncs: {fields: {A: a}}", "4:9: it: unknown key 'fields' in 'syncs' | valid keys: description, mode, match, where, "
        "nulls, on_removed, on_gone, on_limit, delete_adopted, allow_cascade, clear_on_create, undo, priority, results, verify, "
        "retry_rejected_after, max_attempts, guards, push, tags, meta"),
    ("vars: [a]", "4:7: it: 'vars' must be a map of keys, found a list"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "finding"), PROJECTS, ids=[p[0] for p in PROJECTS])
def test_project_keys(line, finding):
    _, findings = read(ProjectSpec, PROJECT + line)
    assert findings == ([] if finding is None else [finding])


def test_a_version_is_text():
    _, findings = read(ProjectSpec, PROJECT.replace('"1.0"', "1.10"))
    assert findings == ["2:10: it: 'version' must be text (put it in quotes), found 1.1"]


def test_all_findings_of_one_sync_come_together():
    _, findings = read(SyncSpec, "name: X\nobjct: Contact\nmode: replace\nfields: {A: {}}")
    assert sorted(findings) == [
        "1:1: it needs the key 'identity'",
        "1:1: it needs the key 'model'",
        "1:1: it needs the key 'object'",
        "1:7: it: 'name' must be a valid name, found 'X' | start with a small letter; small letters, digits and _ "
        "only, 60 characters at most",
        "2:1: it: unknown key 'objct' | did you mean 'object'?",
        f"3:7: it: 'mode' must be one of {', '.join(MODES)}, found 'replace' | did you mean 'create'?",
        "4:13: it: 'fields.A' needs one of 'column' and 'value', and not both | for example LastName: last_name, or "
        "LeadSource: {value: Web}",
    ]


MODELS = [
    m
    for module in (specs, spec_tables)
    for m in vars(module).values()
    if isinstance(m, type) and issubclass(m, BaseModel) and m.__module__ == module.__name__
    if not m.__name__.startswith("_")
]


@pytest.mark.parametrize("model", MODELS, ids=[m.__name__ for m in MODELS])
def test_every_model_is_documented_closed_and_frozen(model):
    assert model.__doc__
    assert model.model_config["frozen"]
    assert model.model_config["extra"] == "forbid"
    schema = model.model_json_schema()
    assert schema["examples"]
    for example in schema["examples"]:
        value = model.model_validate(json.loads(json.dumps(example)))
        name = next(iter(model.model_fields))
        with pytest.raises(ValidationError):
            setattr(value, name, None)
    undescribed = [n for n, f in model.model_fields.items() if not f.description and not f.exclude]
    assert undescribed == []


def test_a_sync_that_is_no_map():
    _, findings = validated(SyncSpec, parse_yaml("- a", "f.yml"), owner="sync 1 of the file")
    assert [str(f) for f in findings] == ["f.yml:1:1: sync 1 of the file must be a map of keys, found a list"]
    assert isinstance(findings[0], SpecError)
