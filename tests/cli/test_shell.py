"""Errors as words, JSON lines, colours, pipes, Ctrl-C: mostly in processes of their own."""

from __future__ import annotations

import io
import json
import re
import signal
import sys
import threading
import time
from dataclasses import fields
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sfsync.cli.events import BarTalker, JsonTalker, LineTalker
from sfsync.cli.options import GUARDS
from sfsync.cli.shell import Command, Shell, spread
from sfsync.compiler.manifest import Guards
from sfsync.errors import (
    CompileError,
    InternalError,
    InterruptedRunError,
    RefusedError,
    StateLockedError,
    WarehouseError,
    Where,
    register_secret,
)

# ---------------------------------------------------------------- errors become words


def shell_that_raises(error: BaseException) -> Shell:
    def fail() -> None:
        raise error

    return Shell("sfsync", commands={"go": click.Command("go", callback=fail, params=[])})


ERRORS = [  # id, error, code, standard error
    ("warehouse", WarehouseError("no such table"), 2, "Error: no such table\n"),
    ("with a fix", WarehouseError("no such table", fix="make it"), 2, "Error: no such table\nFix: make it\n"),
    (
        "a place",
        CompileError("unknown column", where=Where("syncs/a.yml", 3, 7)),
        2,
        "Error: syncs/a.yml:3:7: unknown column\n",
    ),
    (
        "several at once",
        CompileError(
            "one", where=Where("a.yml", 1), fix="first", others=(CompileError("two", fix="second"),)
        ),
        2,
        "Error: a.yml:1: one\nFix: first\nError: two\nFix: second\n",
    ),
    ("refused", RefusedError("too many"), 3, "Error: too many\n"),
    ("locked", StateLockedError("held by pid 7"), 3, "Error: held by pid 7\n"),
    ("interrupted", InterruptedRunError("stopped"), 130, "Error: stopped\n"),
    ("Ctrl-C", KeyboardInterrupt(), 130, "Error: interrupted\n"),
    ("a bug that we know", InternalError("lost a row"), 1, None),
    ("a secret", WarehouseError("password hunter2hunter2 refused"), 2, "Error: password ******** refused\n"),
    ("an escape sequence", WarehouseError("a\x1b[2Jb\nc"), 2, "Error: a\\x1b[2Jb\n  c\n"),
]


@pytest.mark.parametrize(("error", "code", "said"), [e[1:] for e in ERRORS], ids=[e[0] for e in ERRORS])
def test_errors(error, code, said):
    register_secret("hunter2hunter2")
    if isinstance(error, WarehouseError):
        error = WarehouseError(error.what, fix=error.fix)  # scrubbed when made
    done = CliRunner().invoke(shell_that_raises(error), ["go"])
    assert done.exit_code == code
    assert done.stdout == ""
    if said is not None:
        assert done.stderr == said


def test_a_bug_shows_its_type_and_no_traceback(monkeypatch):
    monkeypatch.delenv("SFSYNC_DEBUG", raising=False)
    done = CliRunner().invoke(shell_that_raises(ZeroDivisionError("by nought")), ["go"])
    assert done.exit_code == 1, "2 would promise that nothing was sent"
    assert done.stderr.startswith("Error: internal error: ZeroDivisionError: by nought\nFix: ")
    assert "Traceback" not in done.stderr
    monkeypatch.setenv("SFSYNC_DEBUG", "1")
    assert "Traceback" in CliRunner().invoke(shell_that_raises(ZeroDivisionError("by nought")), ["go"]).stderr


def test_errors_as_json_lines(fresh):
    fresh.edit(
        "syncs/contacts.yml", lambda text: text.replace("object: Contact", "objct: Contact\n    nul: x")
    )
    done = fresh.process("compile", "--log-format", "json")
    assert done.returncode == 2
    assert done.stdout == ""
    found = [json.loads(line) for line in done.stderr.splitlines()]
    assert len(found) >= 2, "every finding is a line"
    for line in found:
        assert line["level"] == "error"
        assert line["path"] == "syncs/contacts.yml"
        assert isinstance(line["line"], int)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["time"])
    text = fresh.process("compile")
    assert re.search(r"^Error: syncs/contacts\.yml:\d+:\d+: ", text.stderr, re.MULTILINE)
    assert "object" in text.stderr


def test_usage_errors_as_json_lines(fresh):
    for args in (("plan", "--frob", "--log-format=json"), ("paln", "--log-format", "json")):
        done = fresh.process(*args)
        assert done.returncode == 2
        assert json.loads(done.stderr)["level"] == "error"


NEAR = [
    (("paln",), "'plan'"),
    (("stauts",), "'status'"),
    (("org", "strat"), "'start'"),
    (("plan", "--selct", "a"), "'--select'"),
    (("plan", "--allow", "a.max_delets"), "'a.max_deletes'"),
]


@pytest.mark.parametrize(("args", "near"), NEAR, ids=[" ".join(n[0]) for n in NEAR])
def test_the_nearest_name_is_named(fresh, args, near):
    done = fresh.call(*args)
    assert done.exit_code == 2
    assert f"Did you mean {near}" in done.stderr


def test_allow_knows_every_guard():
    assert sorted(GUARDS) == sorted([f.name for f in fields(Guards)] + ["on_gone", "cascade"])


SPREAD = [
    (["--select", "a", "b", "--exclude", "c"], ["--select", "a", "--select", "b", "--exclude", "c"]),
    (["-s", "a", "b", "c"], ["-s", "a", "-s", "b", "-s", "c"]),
    (["--select=a", "b"], ["--select=a", "b"]),
    (["--target", "a", "b"], ["--target", "a", "b"]),
    (["--select", "a", "--", "b"], ["--select", "a", "--", "b"]),
    (["--select"], ["--select"]),
]


@pytest.mark.parametrize(("args", "expected"), SPREAD)
def test_spread(args, expected):
    assert spread(args) == expected


def test_examples_need_not_stand():
    assert "Examples" not in CliRunner().invoke(Command("x", callback=lambda: None), ["--help"]).output


# ---------------------------------------------------------------- streams


def test_the_report_alone_is_on_stdout(sent):
    sent.edit("seeds/crm_accounts.csv", lambda text: text.replace("Shipping", "Retail"))
    done = sent.process("run", "--log-format", "json", "--vars", "{}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sfsync run: ")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert lines
    assert all({"time", "level", "message"} <= set(line) for line in lines)
    assert any(line["message"].startswith("Plan: ") for line in lines)
    bars = [line for line in lines if line.get("event") == "progress"]
    assert bars
    assert bars[-1]["task"] == "accounts"
    assert bars[-1]["done"] == bars[-1]["total"]


def test_a_pipe_has_no_colour_unless_forced(sent):
    assert "\x1b" not in sent.process("plan").stdout
    assert "\x1b[" in sent.process("plan", FORCE_COLOR="1").stdout
    assert "\x1b" not in sent.process("plan", FORCE_COLOR="1", NO_COLOR="1").stdout


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_has_colour_and_its_width(sent, columns):
    sent.edit("seeds/crm_contacts.csv", lambda text: text.replace(",No\n", ",Yes\n"))
    shown, code = sent.terminal("plan", columns=columns)
    assert code == 0
    assert "\x1b[33m" in shown
    plain = re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines()
    assert 'Is_Champion__c: "false" -> "true"' in "\n".join(plain)
    assert max(len(line) for line in plain[:-1]) <= columns


def test_a_terminal_without_colour(sent):
    shown, code = sent.terminal("plan", NO_COLOR="1")
    assert code == 0
    assert "\x1b" not in shown


def test_bars_on_a_terminal_leave_a_clean_report(sent):
    sent.edit("seeds/crm_contacts.csv", lambda text: text.replace(",No\n", ",Yes\n"))
    shown, code = sent.terminal("run")
    assert code == 0
    assert "contacts" in shown
    report = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown.replace("\r", ""))
    assert "sfsync run: project acme_crm, target dev\n" in report
    assert report.rstrip().splitlines()[-1].startswith("Run: 0 created, ")
    sent.edit("seeds/crm_contacts.csv", lambda text: text.replace(",Yes\n", ",No\n"))
    assert sent.call("run").exit_code == 0


def test_a_reader_that_goes_away_is_no_error(sent):
    process = sent.start("plan", "--format", "json")
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 0
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_says_so(sent):
    with Path("/dev/full").open("w") as full:
        process = sent.start("plan", stdout=full)
        errors = process.stderr.read()
        assert process.wait(timeout=60) == 1
        process.stderr.close()
    assert "Error: the report could not be written: No space left on device" in errors


def test_an_old_terminal_encoding_is_no_error(sent):
    done = sent.process("plan", "--select", "accounts", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- progress


def test_lines_are_few():
    out = io.StringIO()
    talker = LineTalker(out, every_s=3600)
    for done in range(0, 1001, 10):
        talker.progress("contacts", done, 1000, calls=7, jobs=0)
    talker.progress("contacts", 1000, 1000)
    assert out.getvalue() == "contacts: 1,000 of 1,000 rows, 7 calls\n"


def test_debug_lines_are_for_those_who_ask(monkeypatch):
    for value, expected in (("", ""), ("1", "deep\n")):
        monkeypatch.setenv("SFSYNC_DEBUG", value)
        out = io.StringIO()
        LineTalker(out).log("debug", "deep")
        assert out.getvalue() == expected


def test_warnings_say_what_they_are_and_secrets_nothing():
    register_secret("tops3cret-token")
    out = io.StringIO()
    LineTalker(out).log("warning", "key tops3cret-token\x1b[0m")
    assert out.getvalue() == "Warning: key ********\\x1b[0m\n"
    out = io.StringIO()
    JsonTalker(out).log("info", "key tops3cret-token", sync="a", time="not this one")
    assert json.loads(out.getvalue())["message"] == "key ********"
    assert json.loads(out.getvalue())["sync"] == "a"
    assert json.loads(out.getvalue())["time"] != "not this one"


def test_a_stream_that_is_gone_breaks_nothing():
    out = io.StringIO()
    out.close()
    talker = LineTalker(out)
    talker.log("info", "nobody hears")
    talker.progress("a", 1, 1)


@pytest.mark.parametrize("kind", [LineTalker, JsonTalker, BarTalker])
def test_threads_may_talk_at_once(kind):
    out = io.StringIO()
    talker = kind(out)

    def talk(name: str) -> None:
        for done in range(1, 201):
            talker.progress(name, done, 200)
            talker.log("info", f"{name} says a thing")

    threads = [threading.Thread(target=talk, args=(f"sync{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    talker.close()
    assert len(re.findall(r"sync\d says a thing", out.getvalue())) == 800
    if kind is JsonTalker:
        assert all(json.loads(line) for line in out.getvalue().splitlines())


# ---------------------------------------------------------------- Ctrl-C


def wait_for(process, words: str) -> str:
    """Read standard error up to a line with these words."""
    seen = ""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        line = process.stderr.readline()
        seen += line
        if words in line:
            return seen
        if not line:
            break
    raise AssertionError(f"no '{words}' in {seen!r}")


def test_the_first_ctrl_c_finishes_the_request_and_records_it(fresh):
    assert fresh.call("org", "start").exit_code == 0
    process = fresh.start("run")
    wait_for(process, "Plan: ")
    process.send_signal(signal.SIGINT)
    report, errors = process.communicate(timeout=90)
    assert process.returncode == 130, report + errors
    assert "Stopping: the current request is finished and recorded." in errors
    assert "Traceback" not in errors
    last = report.splitlines()[-1]
    assert last.startswith("Run: ")
    assert " stopped" in last
    again = fresh.call("run")
    assert again.exit_code == 0, again.output
    assert "stopped" not in again.stdout


def test_ctrl_c_before_the_first_request_ends_at_once(fresh):
    code = (
        "import os, signal, sfsync.jobs.run as r\n"
        "def plan(*a, **k): os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(30)\n"
        "r.run_command = plan\n"
        "from sfsync.cli.main import main\nmain()"
    )
    process = fresh.start("run", program=(sys.executable, "-c", code))
    report, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert report == ""
    assert errors == "Error: interrupted\n"


# ---------------------------------------------------------------- start


HEAVY = ("pydantic", "duckdb", "jinja2", "requests", "rich", "sqlglot", "yaml", "cryptography", "sfsync.jobs")


@pytest.mark.parametrize(
    "args", [["--help"], ["--version"], ["plan", "--help"], ["run", "--frob"]], ids=" ".join
)
def test_help_imports_nothing_heavy(fresh, args):
    code = (
        "import sys\nfrom sfsync.cli.main import cli\n"
        "try: cli(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print('LOADED', *sorted(sys.modules), sep='\\n')"
    )
    process = fresh.start(*args, program=(sys.executable, "-c", code))
    shown, _ = process.communicate(timeout=60)
    loaded = set(shown.partition("LOADED\n")[2].split())
    assert "sfsync.cli.main" in loaded
    assert not loaded & set(HEAVY)
