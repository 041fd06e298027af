"""Commands on a real project with a real local org: reports, exit codes, examples of the help."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click
import pytest

from sfsync.cli.main import cli

LAST = "Plan: "


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    """Every command with its words, groups opened."""
    context = click.Context(group)
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
        else:
            found.append(((*path, name), command))
    return found


ALL = commands(cli)
NAMES = [" ".join(words) for words, _ in ALL]


def test_the_commands_are_these():
    assert [
        *(
            "init",
            "login",
            "logout",
            "debug",
            "seed",
            "compile",
            "ls",
            "plan",
            "run",
            "retry",
            "status",
            "history",
            "explain",
        ),
        *(
            f"state {name}"
            for name in ("init", "check", "mv", "rekey", "forget", "rebuild", "export", "import", "unlock")
        ),
        *("schema check", "schema pull", "permissions"),
        *("org assign", "org load", "org reset", "org show", "org start", "org stop", "org versions"),
    ] == NAMES


def test_every_help_has_a_text_and_examples(fresh):
    for words, command in ALL:
        shown = fresh.call(*words, "--help")
        assert shown.exit_code == 0
        assert command.help
        assert "\nExamples:\n" in shown.stdout
        assert all(example.startswith(f"sfsync {' '.join(words)}") for example, _ in command.examples)
        assert all(example in shown.stdout for example, _ in command.examples)
        assert not any("--help" in example for example, _ in command.examples), (
            "help that leads back to itself"
        )


SHARED = ("--project-dir", "--profiles-dir", "--target", "--vars", "--log-format")


@pytest.mark.parametrize("name", NAMES)
def test_shared_options_stand_after_every_command_but_init(name):
    options = {option for p in dict(zip(NAMES, ALL, strict=True))[name][1].params for option in p.opts}
    if name == "init":
        assert not options & set(SHARED)
    else:
        assert set(SHARED) <= options
    assert ({"--select", "-s", "--exclude"} <= options) == (name in ("compile", "ls", "plan", "run", "retry"))


ENDS = {
    "sfsync plan --detailed-exitcode": 2,
    "sfsync login --setup --target prod": 2,  # it is a comment in the demo's profile
    "sfsync explain contacts C-10001": 2,  # a row of the whole demo, which these few rows do not have
    "sfsync explain contacts Customer_Id__c=C-10001": 2,
    "sfsync state forget subscriptions --unanswered": 2,  # the example before it has forgotten the sync
    "sfsync state import state-backup": 2,
    "sfsync plan --undo latest": 3,  # a guard: it would delete all that the first run made
    "sfsync run --undo latest": 3,
}  # there is a state already


def test_the_examples_of_the_help_run_in_a_fresh_project(fresh):
    """In the order of the help, but for what must come first or last."""
    examples = [example for _, command in ALL for example, _ in command.examples]
    first = ("sfsync state init", "sfsync schema pull")
    examples.sort(key=lambda e: (not e.startswith(first), e.startswith("sfsync org")))
    assert len(examples) >= 20
    examples.remove("sfsync plan --undo latest")  # there must have been a run that can be taken back
    examples.insert(examples.index("sfsync run") + 1, "sfsync plan --undo latest")
    for example in examples:
        program, *args = shlex.split(example)
        assert program == "sfsync"
        done = fresh.call(*args)
        assert done.exit_code == ENDS.get(example, 0), f"{example}\n{done.output}"


# ---------------------------------------------------------------- plan


def test_plan_of_a_fresh_project(fresh):
    done = fresh.call("plan")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "sfsync plan: project acme_crm, target dev"
    assert "  + 30 to create" in lines
    assert lines[-1].startswith("Plan: ")
    assert " to create, 0 to update (0 fields), 0 to delete, 0 rejected. API: " in lines[-1]
    assert not (fresh.path / "target" / "run_results.json").exists()


def test_plan_formats_are_the_artifacts(sent):
    sent.edit("seeds/crm_accounts.csv", lambda text: text.replace("Shipping", "Retail"))
    as_json = sent.call("plan", "--format", "json")
    assert as_json.stdout == (sent.path / "target" / "plan.json").read_text(encoding="utf-8")
    body = json.loads(as_json.stdout)
    changed = [s for s in body["syncs"] if s["counts"]["update"]]
    assert [s["name"] for s in changed] == ["accounts"]
    assert changed[0]["samples"][0]["changes"] == {"Industry": ["Shipping", "Retail"]}
    as_markdown = sent.call("plan", "--format", "markdown")
    assert '!   Industry: "Shipping" -> "Retail"' in as_markdown.stdout
    as_text = sent.call("plan")
    assert '      Industry: "Shipping" -> "Retail"' in as_text.stdout.splitlines()
    assert as_text.stdout.splitlines()[-1] == as_markdown.stdout.splitlines()[-1]


def delete_subscriptions(project) -> None:
    project.edit("seeds/billing_subscriptions.csv", lambda text: text.splitlines(keepends=True)[0])


def break_a_contact(project) -> None:
    project.edit("seeds/crm_contacts.csv", lambda text: text.replace(text.splitlines()[1], _long_name(text)))


def _long_name(text: str) -> str:
    cells = text.splitlines()[1].split(",")
    cells[0], cells[3] = "C-99999", "x" * 200
    return text.splitlines()[1] + "\n" + ",".join(cells)


def nothing(project) -> None:
    return


def change_an_account(project) -> None:
    project.edit("seeds/crm_accounts.csv", lambda text: text.replace("Shipping", "Retail"))


CODES = [  # id, what changes, arguments, code
    ("no changes", nothing, ["plan"], 0),
    ("no changes, detailed", nothing, ["plan", "--detailed-exitcode"], 0),
    ("changes", change_an_account, ["plan"], 0),
    ("changes, detailed", change_an_account, ["plan", "--detailed-exitcode"], 2),
    ("only rejections", break_a_contact, ["plan"], 0),
    ("only rejections, detailed", break_a_contact, ["plan", "--detailed-exitcode"], 0),
    ("a guard", delete_subscriptions, ["plan"], 3),
    ("a guard, detailed", delete_subscriptions, ["plan", "--detailed-exitcode"], 1),
    (
        "a guard allowed",
        delete_subscriptions,
        ["plan", "--allow", "subscriptions.max_delete_share", "--allow", "subscriptions.min_rows"],
        0,
    ),
    ("a guard of another sync", delete_subscriptions, ["plan", "--select", "accounts"], 0),
    ("unknown option", nothing, ["plan", "--frobnicate"], 2),
    ("unknown option, detailed", nothing, ["plan", "--detailed-exitcode", "--frobnicate"], 1),
    ("unknown target, detailed", nothing, ["plan", "--detailed-exitcode", "-t", "nope"], 1),
    ("unknown command", nothing, ["paln"], 2),
    ("unknown target", nothing, ["plan", "--target", "nope"], 2),
    ("unknown sync", nothing, ["plan", "--select", "nope"], 2),
    ("no project", nothing, ["plan", "--project-dir", "/nonexistent"], 2),
    ("vars are no map", nothing, ["plan", "--vars", "[1]"], 2),
    ("vars are no YAML", nothing, ["plan", "--vars", "{a"], 2),
    ("a guard that is none", nothing, ["plan", "--allow", "contacts.max_delets"], 2),
    ("a wait without a unit", nothing, ["run", "--wait", "10"], 2),
    ("state init without --empty", nothing, ["state", "init"], 2),
    ("state init over a state", nothing, ["state", "init", "--empty"], 2),
    ("init into a full folder", nothing, ["init", "."], 2),
    ("not built: a key of later", nothing, ["plan", "--refresh"], 2),
    ("not built: a command of later", nothing, ["apply"], 2),
    ("run, no changes", nothing, ["run"], 0),
    ("run, refused", delete_subscriptions, ["run", "--select", "subscriptions"], 3),
]


@pytest.mark.parametrize(("change", "args", "code"), [c[1:] for c in CODES], ids=[c[0] for c in CODES])
def test_exit_codes(sent, change, args, code):
    change(sent)
    done = sent.call(*args)
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    if code == 2 and "--detailed-exitcode" not in args:
        assert done.stdout == ""
        assert done.stderr.startswith("Error: ")


# ---------------------------------------------------------------- run, retry, status, history


def test_a_row_is_rejected_once_then_held_then_released(fresh):
    assert fresh.call("run").exit_code == 0
    break_a_contact(fresh)
    first = fresh.call("run")
    assert first.exit_code == 1
    assert "! STRING_TOO_LONG on LastName" in first.stdout
    assert "Customer_Id__c C-99999: " in first.stdout
    assert "target/rejected/contacts.csv" in first.stdout
    assert (fresh.path / "target/rejected/contacts.csv").exists()
    assert first.stdout.splitlines()[-1].startswith("Run: 0 created, 0 updated, 0 deleted, 1 rejected, ")
    again = fresh.call("run")
    assert again.exit_code == 0
    assert "1 held" in again.stdout
    assert fresh.call("run", "--strict").exit_code == 1
    assert fresh.call("retry", "--select", "accounts").exit_code == 0
    status = fresh.call("status")
    assert "Refused at the moment: 1 row" in status.stdout
    history = fresh.call("history", "--limit", "2")
    assert len([line for line in history.stdout.splitlines() if not line.startswith(" ")]) == 2


def test_run_reports_both_sums(sent):
    done = sent.call("run", "--select", "accounts")
    assert "  Model rows: 30 = 30 unchanged" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-1].startswith(
        "Run: 0 created, 0 updated, 0 deleted, 0 rejected, 30 unchanged. API: "
    )


def test_ls_takes_several_names_as_dbt_does(sent):
    assert sent.call("ls", "--select", "accounts", "contacts").stdout == "accounts\ncontacts\n"
    assert sent.call("ls", "--select", "accounts contacts").stdout == "accounts\ncontacts\n"
    assert sent.call("ls", "-s", "accounts", "-s", "contacts").stdout == "accounts\ncontacts\n"
    assert sent.call("ls", "--exclude", "accounts", "contacts").stdout == "subscriptions\n"


def test_vars_reach_the_models(sent):
    plan = json.loads(sent.call("plan", "--format", "json", "--vars", "{dirty: true}").stdout)
    assert plan["totals"]["rejected"] > 5
    assert (
        json.loads(sent.call("plan", "--format", "json", "--vars", '{"dirty": false}').stdout)["totals"][
            "rejected"
        ]
        == 0
    )


# ---------------------------------------------------------------- the local org


def test_org_start_show_load_stop(fresh):
    first = fresh.process("org", "start")
    assert first.returncode == 0, first.stderr
    lines = first.stdout.splitlines()
    assert lines[0].startswith("Local org: https://127.0.0.1:")
    assert lines[0].rpartition(":")[2].isdigit()
    assert fresh.process("org", "start").stdout.splitlines()[0] == lines[0]

    env = fresh.call("org", "show", "--env").stdout
    told = dict(line.removeprefix("export ").split("=", 1) for line in env.splitlines())
    assert list(told) == [
        *(
            "SF_CLIENT_ID",
            "SF_CLIENT_SECRET",
            "SF_USERNAME",
            "SF_PASSWORD",
            "SF_SECURITY_TOKEN",
            "SF_PRIVATE_KEY_FILE",
            "SF_CA_FILE",
        ),
    ]
    assert "BEGIN PRIVATE KEY" in Path(told["SF_PRIVATE_KEY_FILE"]).read_text()
    assert "BEGIN CERTIFICATE" in Path(told["SF_CA_FILE"]).read_text()

    (fresh.path / "Account.csv").write_text("Account_Id__c,Name\nX-1,Fine\nX-2,\n")
    loaded = fresh.call("org", "load", "Account.csv")
    assert loaded.exit_code == 1
    assert loaded.stdout == "Account: 1 created, 0 updated, 1 failed\n"
    assert "Error: Account record 2: REQUIRED_FIELD_MISSING" in loaded.stderr
    assert "  Account: 1" in fresh.call("org", "show").stdout.splitlines()
    assert fresh.call("org", "reset").exit_code == 0
    assert "  Account: 1" not in fresh.call("org", "show").stdout.splitlines()
    assert fresh.call("org", "stop").stdout == "Stopped the local org.\n"
    assert fresh.call("org", "stop").stdout == "No local org was running.\n"


def test_what_the_local_org_keeps_is_private(sent):
    files = [path for path in (sent.path / ".sfsync").rglob("*") if path.is_file()]
    assert any(path.parent.name == "org" for path in files)
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in files if path.stat().st_mode & 0o77} == {}
