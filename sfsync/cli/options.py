"""The options that many commands share, and the one value they become.

Owns:      Given, and the decorators that read it.
Does not:  open anything; jobs are imported only when a command really runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sfsync.cli.events import Talker, talking

if TYPE_CHECKING:
    from sfsync.jobs.session import Options


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line said, before anything is opened."""

    project_dir: Path
    profiles_dir: Path | None
    target: str | None
    vars: str
    log_format: str
    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    wait_s: float = 0.0

    @contextmanager
    def opened(self) -> Iterator[tuple[Options, Talker]]:
        """The options as jobs take them, and the events of this command."""
        from sfsync.jobs.session import Options
        from sfsync.jobs.vars import read_vars

        with talking(self.log_format) as talker:
            yield (
                Options(
                    project_dir=self.project_dir,
                    profiles_dir=self.profiles_dir,
                    target=self.target,
                    vars=read_vars(self.vars),
                    select=self.select,
                    exclude=self.exclude,
                    events=talker,
                    wait_s=self.wait_s,
                ),
                talker,
            )


_FOLDER = click.Path(path_type=Path)
_SHARED = (
    click.option(
        "--project-dir", type=_FOLDER, default=Path(), help="Folder of sfsync_project.yml. [default: .]"
    ),
    click.option("--profiles-dir", type=_FOLDER, help="Folder of profiles.yml."),
    click.option("--target", "-t", metavar="NAME", help="Target of the profile."),
    click.option("--vars", metavar="YAML", default="", help="Variables as a YAML or JSON map."),
    click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        help="Log lines and errors on standard error. [default: text]",
    ),
)
_SELECTING = (
    click.option(
        "--select", "-s", multiple=True, metavar="WHAT", help="Only these: name, tag:x, object:X, +x, x+."
    ),
    click.option("--exclude", multiple=True, metavar="WHAT", help="Not these; the grammar of --select."),
)


def shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """Every command's options; the function gets them as its first argument."""
    return _collect(function, _SHARED, ("project_dir", "profiles_dir", "target", "vars", "log_format"))


def selecting(function: Callable[..., Any]) -> Callable[..., Any]:
    """`shared`, with --select and --exclude."""
    names = ("select", "exclude", "project_dir", "profiles_dir", "target", "vars", "log_format")
    return _collect(function, (*_SELECTING, *_SHARED), names)


def seconds(ctx: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """The callback of an option whose value is a duration."""
    if value is None:
        return None
    from sfsync.jobs.vars import read_duration  # late: only who gives one pays for its reader

    try:
        return read_duration(value)
    except ValueError:
        what = f"'{value}' is not a whole number with a unit (s, m, h, d or w), such as 10m"
        raise click.BadParameter(what, ctx, parameter) from None


def waiting(function: Callable[..., Any]) -> Callable[..., Any]:
    """--wait, of commands that may meet a state which another process holds. Stands below `shared` or `selecting`."""

    @wraps(function)
    def taking(given: Given, wait: float | None, **values: Any) -> Any:
        return function(replace(given, wait_s=wait or 0.0), **values)

    option = click.option(
        "--wait",
        callback=seconds,
        metavar="TIME",
        help="Wait so long, e.g. 10m, for a state that another process holds. [default: not at all]",
    )
    return option(taking)


GUARDS = (
    "max_deletes",
    "max_delete_share",
    "max_change_share",
    "max_creates",
    "max_reject_share",
    "max_null_keys",
    "min_rows",
    "on_gone",
    "cascade",
)
"""What --allow can name; a test compares them with the guards there are."""


def _allowed(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what names no guard: a slip here would look as if it had been allowed."""
    for value in values:
        sync, dot, guard = value.rpartition(".")
        if not sync or guard not in GUARDS:
            from difflib import get_close_matches

            near = get_close_matches(guard, GUARDS, 1) if dot else []
            hint = f" Did you mean '{sync}.{near[0]}'?" if near else f" The guards are {', '.join(GUARDS)}."
            raise click.BadParameter(f"'{value}' is not SYNC.GUARD.{hint}", ctx, parameter)
    return values


allowing = click.option(
    "--allow",
    multiple=True,
    metavar="SYNC.GUARD",
    callback=_allowed,
    help="Allow what a guard refuses, for this once.",
)


undoing = click.option(
    "--undo",
    metavar="RUN",
    help="Take a run back: its id (see `sfsync history`), the beginning of it, or latest.",
)


def warn_of_strange(allow: tuple[str, ...], syncs: Iterable[str], talker: Talker) -> None:
    """Say which of --allow name no sync of this plan; a selection may have left it out, so it is no error."""
    known = set(syncs)
    for value in allow:
        if value.rpartition(".")[0] not in known:
            talker.log("warning", f"--allow {value}: there is no such sync in this plan")


def _collect(
    function: Callable[..., Any], options: tuple[Callable[..., Any], ...], names: tuple[str, ...]
) -> Callable[..., Any]:
    @wraps(function)
    def taking(**values: Any) -> Any:
        return function(Given(**{name: values.pop(name) for name in names}), **values)

    out: Callable[..., Any] = taking
    for option in reversed(options):
        out = option(out)
    return out
