"""The one place where an error becomes words and an exit code.

Owns:      Shell (the command group), unknown names, errors as text or JSON lines, the code of the process.
Does not:  know a command.
Invariant: a user never meets a traceback unless SFSYNC_DEBUG asks for it; standard output gets no error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any

import click

from sfsync.errors import InterruptedRunError, ProjectError, SfsyncError, scrub

COMMANDS_HINT = "sfsync --help lists the commands"
MULTIPLE = ("--select", "-s", "--exclude")
UNEXPECTED = 1
"""Of a bug: 2 would promise that nothing was sent, which nobody knows then."""


class Command(click.Command):
    """A command whose help ends with examples, and whose --select takes several values as dbt's does."""

    def __init__(self, *args: Any, examples: Sequence[tuple[str, str]] = (), **extra: Any) -> None:
        super().__init__(*args, **extra)
        self.examples = tuple(examples)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if any(set(MULTIPLE) & set(parameter.opts) for parameter in self.params):
            args = spread(args)
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                formatter.write_dl([(command, what) for command, what in self.examples], col_max=42)


def spread(args: Sequence[str]) -> list[str]:
    """``--select a b`` -> ``--select a --select b``; what begins with a dash ends the list."""
    out: list[str] = []
    option: str | None = None
    for position, arg in enumerate(args):
        previous = args[position - 1] if position else ""
        if arg == "--":
            return [*out, *args[position:]]
        if arg.startswith("-"):
            option = arg if arg in MULTIPLE else None
            out.append(arg)
        elif option is not None and previous != option:
            out += [option, arg]
        else:
            out.append(arg)
    return out


class Group(click.Group):
    """Commands imported when they are needed; an unknown name is answered with the nearest one."""

    def __init__(self, *args: Any, where: dict[str, str] | None = None, **extra: Any) -> None:
        super().__init__(*args, **extra)
        self.where = where or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(dict.fromkeys([*self.where, *super().list_commands(ctx)]))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.where:
            return super().get_command(ctx, cmd_name)
        module, _, name = self.where[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            import difflib

            near = difflib.get_close_matches(name, self.list_commands(ctx), 1, 0.5)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise click.UsageError(f"unknown command '{name}'.{hint}", ctx)
        return super().resolve_command(ctx, args)


class Shell(Group):
    """The outermost group: runs a command and ends the process with its code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # before click prints an empty line, which is no JSON
            raise InterruptedRunError("interrupted") from None

    def main(  # type: ignore[override]  # one way to end, whatever click is told
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> Any:
        """Run; always ends in SystemExit. A command returns its exit code, None is 0."""
        given = list(sys.argv[1:] if args is None else args)
        extra.pop("standalone_mode", None)
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # a report shall not fail for the sake of a letter
                stream.reconfigure(errors="backslashreplace")
        try:
            found = super().main(args=given, prog_name=prog_name or "sfsync", standalone_mode=False, **extra)
            code = found if isinstance(found, int) else 0
        except (KeyboardInterrupt, click.Abort):
            write_error("interrupted", None, given)
            code = 130
        except Exception as error:
            if isinstance(error, BrokenPipeError) and reader_is_gone():
                sys.exit(0)  # of the help; reports see to it themselves
            code = report_error(error, given)
            if "--detailed-exitcode" in given and code != 130:
                code = 1
        sys.exit(code)


def report_error(error: Exception, args: Sequence[str]) -> int:
    """Say what went wrong on standard error; return the exit code."""
    match error:
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.format_message(), err=True)
            return 2
        case click.ClickException():
            write_error(_usage_text(error), _usage_fix(error), args)
            return error.exit_code
        case SfsyncError():
            debug_traceback(error)
            findings = [error, *error.others] if isinstance(error, ProjectError) else [error]
            for finding in findings:
                write_error(str(finding), finding.fix, args, finding)
            return error.exit_code
        case _:
            debug_traceback(error)
            write_error(
                f"internal error: {type(error).__name__}: {error}",
                "this is a bug in sfsync; set SFSYNC_DEBUG=1 to see where, and please report it",
                args,
            )
            return UNEXPECTED


def debug_traceback(error: Exception) -> None:
    """Where an error came from, for those who set SFSYNC_DEBUG."""
    if os.environ.get("SFSYNC_DEBUG"):
        import traceback

        click.echo(scrub("".join(traceback.format_exception(error))), err=True, nl=False)


def _usage_text(error: click.ClickException) -> str:
    if isinstance(error, click.NoSuchOption):
        from difflib import get_close_matches

        near = get_close_matches(error.option_name, error.possibilities or (), 1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        return f"unknown option '{error.option_name}'.{hint}"
    text = error.format_message()
    return text[:1].lower() + text[1:] if text.startswith(("No such", "Missing", "Invalid", "Got")) else text


def _usage_fix(error: click.ClickException) -> str | None:
    ctx = getattr(error, "ctx", None)
    if ctx is not None:
        return f"see {ctx.command_path} --help"
    return COMMANDS_HINT if isinstance(error, click.UsageError) else None


def wants_json(args: Iterable[str]) -> bool:
    """Whether the command line asks for JSON lines; read by hand, since it may be wrong elsewhere."""
    words = list(args)
    return "--log-format=json" in words or ("--log-format", "json") in pairwise(words)


def write_error(what: str, fix: str | None, args: Sequence[str], error: SfsyncError | None = None) -> None:
    """One finding on standard error."""
    what, fix = scrub(what), scrub(fix) if fix else None
    if not wants_json(args):
        click.echo(f"Error: {shown(what)}", err=True)
        if fix:
            click.echo(f"Fix: {shown(fix)}", err=True)
        return
    fields: dict[str, Any] = {"fix": fix} if fix else {}
    where = getattr(error, "where", None)
    if error is not None:
        fields["error"] = type(error).__name__
        what = error.what
    if where is not None:
        fields |= {"path": str(where.path), "line": where.line, "column": where.column}
    click.echo(json_line("error", what, fields), err=True)


def json_line(level: str, message: str, fields: dict[str, Any]) -> str:
    """One line of the JSON log."""
    import json
    from datetime import UTC, datetime

    body = {"time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "level": level, "message": message}
    return scrub(
        json.dumps(body | {k: v for k, v in fields.items() if k not in body}, ensure_ascii=False, default=str)
    )


def shown(text: str) -> str:
    """A message whose control characters cannot move the cursor; its own line ends stay, indented."""
    lines = [
        "".join(c if c.isprintable() or c == "\t" else f"\\x{ord(c):02x}" for c in row)
        for row in text.splitlines()
    ]
    return "\n  ".join(lines)


def reader_is_gone() -> bool:
    """Whether standard output leads nowhere; it is then silenced."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)
        return True
    return False


def silence(stream: Any) -> None:
    """Nobody reads this stream any more: let the interpreter's last flush go nowhere."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):
        return
