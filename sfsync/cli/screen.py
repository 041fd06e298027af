"""Where reports and progress are written: standard output for the report, standard error for all else.

Owns:      Screen (colour, width, writing a report whole), and choosing the Events of a command.
Does not:  say anything itself.
Invariant: a reader of standard output that goes away early neither breaks the command nor its exit code.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TextIO

import click

from sfsync.cli.shell import silence


@dataclass(frozen=True, slots=True)
class Screen:
    """How a stream shows text; width 0: not a terminal, nothing is wrapped or cut to fit."""

    color: bool
    width: int


def screen_of(stream: TextIO) -> Screen:
    """Judge a stream: NO_COLOR, then FORCE_COLOR, then whether a terminal is at its end."""
    terminal = is_terminal(stream)
    color = terminal and os.environ.get("TERM") != "dumb"
    if os.environ.get("FORCE_COLOR", "") not in ("", "0"):
        color = True
    if os.environ.get("NO_COLOR"):
        color = False
    return Screen(color, max(40, _columns(stream)) if terminal else 0)


def _columns(stream: TextIO) -> int:
    """COLUMNS, else what the terminal says, else 80."""
    if os.environ.get("COLUMNS", "").isdigit():
        return int(os.environ["COLUMNS"]) or 80
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def is_terminal(stream: TextIO) -> bool:
    """Whether somebody looks at the stream."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def write_report(text: str) -> None:
    """Write a whole report to standard output."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)
    except OSError as error:  # a full disk; exit 1, for what the command did is done
        silence(sys.stdout)
        raise click.ClickException(f"the report could not be written: {error.strerror}") from None
