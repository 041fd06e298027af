"""Every error a user can meet, in one tree.

Two questions place a class: whose fault it is, and what the runner does next.

    SfsyncError                     root; exit 2 unless a class says otherwise
      ProjectError                  a project file is wrong: file, line, column     stop, nothing sent
        SpecError                   YAML: unknown key, wrong type, bad value
        CompileError                SQL, Jinja, mapping, lookups, cycles
        ProfileError                profiles.yml and its environment
      WarehouseError                the user's database refused or cannot be reached
      OrgError                      Salesforce refused or cannot be reached
        AuthError                   sign-in failed
        OrgUnavailableError         no answer, or a server error, after all tries
        ApiLimitError               no API call may be spent now
      StateError                    the state is missing, foreign, newer or damaged
        StateLockedError            somebody else holds the state                   exit 3
      RefusedError                  sfsync itself refuses to go on                  exit 3
      InterruptedRunError           Ctrl-C; state is whole                          exit 130
      InternalError                 a promise inside sfsync broke: a bug of ours

A row's rejection is data, never an exception. Messages name the thing, the measured value and the limit;
``fix`` says the next step. Secrets registered with `register_secret` never appear in any of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_SECRETS: set[str] = set()
MASK = "********"


def register_secret(value: str) -> None:
    """Remember a secret so that no error or log line shows it. Values shorter than 4 characters are ignored.

    Of a secret of many lines, as a private key is, each line is one: nobody quotes it whole.
    """
    if len(value) >= 4:
        _SECRETS.add(value)
    if "\n" in value or "\\n" in value:
        lines = re.split(r"\s+|\\n", value)
        _SECRETS.update(line for line in lines if len(line) >= 20 and not line.startswith("-----"))


def scrub(text: str) -> str:
    """Return the text with every registered secret replaced by asterisks, longest first."""
    for secret in registered():
        if secret in text:
            text = text.replace(secret, MASK)
    return text


def registered() -> tuple[str, ...]:
    """Every registered secret, longest first: for texts that only SQL sees."""
    return tuple(sorted(_SECRETS, key=len, reverse=True))


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a project file; line and column count from 1, None where a file has no such place."""

    path: Path | str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        text = str(self.path)
        if self.line is not None:
            text += f":{self.line}"
            if self.column is not None:
                text += f":{self.column}"
        return text


class SfsyncError(Exception):
    """Root of every error a user can act on. what: names the thing at fault; fix: next step, or None."""

    exit_code = 2

    def __init__(self, what: str, *, fix: str | None = None) -> None:
        self.what = scrub(what)
        self.fix = scrub(fix) if fix is not None else None
        super().__init__(self.what)

    def __str__(self) -> str:
        return self.what


class ProjectError(SfsyncError):
    """A file of the project is wrong. Several findings may be raised together as `problems`."""

    def __init__(
        self,
        what: str,
        *,
        where: Where | None = None,
        fix: str | None = None,
        others: tuple[ProjectError, ...] = (),
    ) -> None:
        super().__init__(what, fix=fix)
        self.where = where
        self.others = others
        """Further findings of the same pass, so that a user mends them all at once."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where is not None else self.what


class SpecError(ProjectError):
    """A YAML file of the project cannot be understood."""


class CompileError(ProjectError):
    """A model or a sync cannot be compiled."""


class ProfileError(ProjectError):
    """profiles.yml, or the environment it reads, is wrong."""


class WarehouseError(SfsyncError):
    """The user's database refused a statement or cannot be reached."""


class OrgError(SfsyncError):
    """Salesforce refused a call or cannot be reached. code: Salesforce's own, when it gave one."""

    def __init__(
        self, what: str, *, fix: str | None = None, code: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(what, fix=fix)
        self.code = code
        self.status = status


class AuthError(OrgError):
    """Sign-in failed."""


class OrgUnavailableError(OrgError):
    """No usable answer: connection, timeout, or a server error."""


class ApiLimitError(OrgError):
    """The API budget does not allow another call."""


class StateError(SfsyncError):
    """The state is missing, belongs to another org, is newer than this sfsync, or is damaged."""


class StateLockedError(StateError):
    """Another process holds the state."""

    exit_code = 3


class RefusedError(SfsyncError):
    """A guard, a changed identity, `on_gone: stop` or `on_limit: refuse` stops a sync before anything is sent."""

    exit_code = 3


class InterruptedRunError(SfsyncError):
    """The user pressed Ctrl-C; what was answered is recorded."""

    exit_code = 130


class InternalError(SfsyncError):
    """A promise inside sfsync did not hold: a bug, and nothing the user did.

    Exit 1, since 2 would say that nothing was sent.
    """

    exit_code = 1

    def __init__(self, what: str) -> None:
        super().__init__(what, fix="please report this with the command and `--log-format json` output")
