"""Orgs that Salesforce's own CLI knows: its program `sf` is asked for an org's address and token.

Owns:      calling `sf`, reading its JSON, and the words for each way that fails.
Does not:  sign in to an org, or read the CLI's own files.
Invariant: a token is registered as a secret before anything of the program's output can be shown.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import Any

from sfsync.errors import AuthError, register_secret
from sfsync.salesforce.failures import shorten
from sfsync.salesforce.login import origin

TIMEOUT_S = 90.0
"""For one call: it starts Node, may look for updates, and asks the org."""

_TOKEN = re.compile(r"00D\w{12,15}![.\w]+|eyJ[\w-]+\.[\w-]+\.[\w-]+")
_QUIET = {
    "SF_AUTOUPDATE_DISABLE": "true",
    "SF_DISABLE_TELEMETRY": "true",
    "SF_SKIP_NEW_VERSION_CHECK": "true",
    "NO_COLOR": "1",
    "FORCE_COLOR": "0",
}
_UNKNOWN = ("NamedOrgNotFoundError", "NoAuthorizationError", "NoOrgFound", "AuthInfoNotFoundError")
_EXPIRED = (
    "RefreshTokenAuthError",
    "AuthCodeExchangeError",
    "expired access/refresh token",
    "INVALID_SESSION_ID",
)
_INSTALL = "install it (npm install --global @salesforce/cli), or choose another `auth` in the profile"


@dataclass(frozen=True, slots=True)
class Borrowed:
    """What the CLI knows of one org."""

    instance_url: str
    access_token: str = field(repr=False)


def borrow(target_org: str) -> Borrowed:
    """The address and a token of an org that the CLI knows by this alias or user name.

    Raises:
        AuthError: there is no `sf`, it does not know the org, its login has ended, or it hides tokens.
    """
    program = shutil.which("sf")
    if program is None:
        raise AuthError("the program `sf`, Salesforce's CLI, is not on the PATH", fix=_INSTALL)
    shown = _ask(program, target_org, "org", "display")
    address, token = origin(str(shown.get("instanceUrl") or "")), shown.get("accessToken")
    if address is None:
        raise AuthError(
            f"`sf org display` does not tell the address of '{target_org}'",
            fix=f"look what it says: sf org display --target-org {target_org}",
        )
    if not _is_token(token):  # from 2.136 on it says [REDACTED], and has a command for who means it
        token = _ask(program, target_org, "org", "auth", "show-access-token").get("accessToken")
    if not _is_token(token):
        raise AuthError(
            f"`sf` does not give the token of '{target_org}'",
            fix="update it (sf update); `sf org auth show-access-token` must be among its commands",
        )
    register_secret(str(token))
    return Borrowed(address, str(token))


def _is_token(value: object) -> bool:
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


def _ask(program: str, target_org: str, *command: str) -> dict[str, Any]:
    """The `result` of a command's JSON."""
    words = f"`sf {' '.join(command)}`"
    try:
        done = subprocess.run(
            [program, *command, "--target-org", target_org, "--json"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            env={**os.environ, **_QUIET},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise AuthError(
            f"{words} did not end within {TIMEOUT_S:g} s", fix="try it by hand: it may wait for something"
        ) from None
    except OSError as error:
        raise AuthError(f"{words} cannot be started: {error.strerror or error}", fix=_INSTALL) from None
    body = _object(done.stdout.decode("utf-8", "replace"))
    result = body.get("result")
    if done.returncode == 0 and isinstance(result, dict):
        return result
    raise _failed(words, target_org, body, done.returncode, done.stderr.decode("utf-8", "replace"))


def _object(text: str) -> dict[str, Any]:
    """The JSON object in what a program printed; warnings may stand before it."""
    start = text.find("{")
    try:
        body = json.loads(text[start:]) if start >= 0 else None
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _failed(words: str, target_org: str, body: dict[str, Any], code: int, stderr: str) -> AuthError:
    for token in _TOKEN.findall(f"{body} {stderr}"):
        register_secret(token)
    name, message = str(body.get("name") or ""), str(body.get("message") or "")
    said = shorten(" ".join(re.sub(r"\x1b\[[0-9;]*m", "", message or stderr).split()))
    if name in _UNKNOWN or "No authorization information found" in message:
        return AuthError(
            f"the `sf` CLI knows no org '{target_org}'",
            fix="see `sf org list`, or sign in: sf org login web --alias " + target_org,
            code=name or None,
        )
    if any(sign in name or sign in message for sign in _EXPIRED):
        return AuthError(
            f"the login that the `sf` CLI has for '{target_org}' has ended: {said}",
            fix=f"sign in again: sf org login web --alias {target_org}",
            code=name or None,
        )
    if "is not a sf command" in said or "command not found" in said.lower():
        return AuthError(
            f"this version of `sf` has no command {words}", fix="update it: sf update", code=name or None
        )
    if not body:
        said = f"it printed no JSON. {said}".rstrip()
    what = f"{words} failed with exit code {code}" + (f": {said}" if said else "")
    return AuthError(what, fix=f"try it by hand, with --target-org {target_org}", code=name or None)
