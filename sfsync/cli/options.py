"""The options that many commands share, and the one value they become.

Owns:      Given, and the decorators that read it.
Does not:  open anything; jobs are imported only when a command really runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
