"""Starting, finding, feeding and stopping the local org, from any other process.

Owns:      one server process per folder, and plain calls to its /_local controls.
Does not:  import anything heavy: no web framework, no DuckDB, no cryptography.
Invariant: two starters at once end with one server; a stale file is never taken for a running server.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sfsync import __version__
from sfsync.errors import OrgError, register_secret

STATE_FILE = "server.json"
LOG_FILE = "server.log"
JWT_KEY = "jwt_key.pem"
IDENTITY_FILE = "identity.json"
_START_S = 30.0
_STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class LocalOrg:
    """A running local org: where it answers, and what opens it."""

    url: str
    ca_file: Path
    pid: int
    org_id: str
    client_id: str
    client_secret: str
    username: str
    password: str
    security_token: str

    @property
    def private_key_file(self) -> Path:
        """The key that signs JWTs of the org's app."""
        return self.ca_file.parent / JWT_KEY


def org_id(folder: Path) -> str | None:
    """The Id of the org whose data a folder holds; None before its first start."""
    try:
        found = json.loads((folder / IDENTITY_FILE).read_text(encoding="utf-8"))
        return str(found["org_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def start(
    folder: Path,
    *,
    schema: Path | None = None,
    faults: Path | None = None,
    rules: Path | None = None,
    idle_minutes: float = 30,
) -> LocalOrg:
    """The running org of this folder; starts it if none answers.

    Args:
        folder: where its data live; made if absent.
        schema: an org contract that replaces the built-in objects; an org that runs with another one is restarted.
        faults: a file of misbehaviour rules; given to a running org too.
        rules: a file of the org's own rules, in place of those that it has.
        idle_minutes: it ends by itself after so long without a request.

    Raises:
        OrgError: it did not come up; the message has the last lines of its log.
    """
    folder = folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(PermissionError):  # lent by another user; the files in it are private
            folder.chmod(0o700)
    except OSError as error:
        raise OrgError(
            f"the local org cannot keep its data in {folder}: {error.strerror or error}",
            fix="the project folder must be writable, and its .sfsync folder your own",
        ) from None
    with _lock(folder):
        running = find(folder)
        if running is not None and _made_of(schema) != _state(folder).get("made_of"):
            stop(folder)  # another schema, or another version of sfsync: the data stay
            running = None
        if running is not None:
            if faults is not None:
                _give(running, "/_local/faults", "fault", faults)
        else:
            running = _launch(folder, schema, faults, idle_minutes)
        if rules is not None:
            _give(running, "/_local/rules", "rules", rules)
        return running


def find(folder: Path) -> LocalOrg | None:
    """The org of this folder if it runs and answers, else None."""
    org = _read(folder.absolute())
    if org is None or not _alive(org.pid):
        return None
    try:
        headers = {"Authorization": f"Bearer {org.client_secret}"}
        with _open(org, "/_local/ping", headers=headers, timeout=5):
            return org
    except (OSError, OrgError):
        return None


def stop(folder: Path) -> bool:
    """End the folder's server and wait for it; False if none ran.

    Raises:
        OrgError: it does not end.
    """
    folder = folder.absolute()
    org = find(folder)
    if org is None:
        (folder / STATE_FILE).unlink(missing_ok=True)
        return False
    _call(org, "POST", "/_local/stop")
    end = time.monotonic() + _STOP_S
    while _alive(org.pid):
        if time.monotonic() > end:
            os.kill(org.pid, signal.SIGKILL)
            raise OrgError(f"the local org in {folder} did not end in {_STOP_S:.0f} s and was killed")
        time.sleep(0.02)
    (folder / STATE_FILE).unlink(missing_ok=True)
    return True


def reset(folder: Path) -> None:
    """Empty the org's data; its Id and credentials stay. Works whether or not it runs.

    Raises:
        OrgError: it cannot be reached.
    """
    org = find(folder)
    if org is not None:
        _call(org, "POST", "/_local/reset")
        return
    if (folder / "records.duckdb").exists():
        for path in folder.glob("records.duckdb*"):
            path.unlink()


def show(folder: Path) -> dict[str, Any]:
    """What the running org holds: counts per object, calls used, faults in force.

    Raises:
        OrgError: none runs in this folder.
    """
    org = _running(folder)
    found: dict[str, Any] = _call(org, "GET", "/_local/state")
    return {"url": org.url, "ca_file": str(org.ca_file), "pid": org.pid, **found}


def load(folder: Path, file: Path) -> list[dict[str, Any]]:
    """Put rows in: a CSV or JSON file named after its object, or JSON ``{"Object": [records]}``.

    Returns:
        One result per object: object, created, updated, failed, errors (the first 20).

    Raises:
        OrgError: none runs, the file cannot be read, or names an object this org does not have.
    """
    org = _running(folder)
    try:
        if file.suffix.lower() == ".csv":
            return [_load(org, file.stem, file.read_bytes(), "text/csv")]
        body = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise OrgError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError:
        raise OrgError(
            f"{file} is neither CSV nor JSON", fix="name it Object.csv, or give it JSON records"
        ) from None
    tables = {file.stem: body} if isinstance(body, list) else body
    if not isinstance(tables, dict) or not all(isinstance(rows, list) for rows in tables.values()):
        raise OrgError(f"{file} must hold a list of records, or an object of such lists")
    return [
        _load(org, name, json.dumps(rows).encode(), "application/json")
        for name, rows in tables.items()
        if rows
    ]


def assign(folder: Path, file: Path | None, user: str | None = None) -> list[str]:
    """Give a user of the running org the permission set of this file and nothing else; None: everything again.

    user: its name; None: the administrator, whose credentials the org shows.

    Returns:
        The objects that the user sees from now on.

    Raises:
        OrgError: none runs, no such user, the file cannot be read, or Salesforce would not deploy what it holds.
    """
    try:
        body = file.read_bytes() if file is not None else b""
    except OSError as error:
        raise OrgError(f"{file} cannot be read: {error.strerror}") from None
    path = "/_local/permission_set" + (f"?user={urllib.parse.quote(user)}" if user is not None else "")
    found: dict[str, list[str]] = _call(_running(folder), "PUT", path, body, "text/xml")
    return found["objects"]


def journal(folder: Path, after: int = 0) -> dict[str, Any]:
    """Requests and record writes with a number above `after`: ``{"requests", "writes", "last"}``.

    Raises:
        OrgError: none runs in this folder.
    """
    found: dict[str, Any] = _call(_running(folder), "GET", f"/_local/journal?after={after}")
    return found


def call(org: LocalOrg, method: str, path: str, body: Any = None) -> Any:
    """Call one of the org's /_local controls with a JSON body; the parsed answer.

    Raises:
        OrgError: refused, or no answer.
    """
    return _call(org, method, path, None if body is None else json.dumps(body).encode(), "application/json")


# -------------------------------------------------------------------- process


def _made_of(schema: Path | None) -> str:
    """What decides how a server behaves: our version and its objects."""
    try:
        text = schema.read_bytes() if schema is not None else b""
    except OSError:
        text = b""  # the server will say what is wrong with it
    return hashlib.sha256(__version__.encode() + b"\0" + text).hexdigest()


def _launch(folder: Path, schema: Path | None, faults: Path | None, idle_minutes: float) -> LocalOrg:
    command = [
        sys.executable,
        "-m",
        "sfsync.local_org.server",
        str(folder),
        "--idle-minutes",
        str(idle_minutes),
    ]
    command += ["--made-of", _made_of(schema)]
    for name, path in (("--schema", schema), ("--faults", faults)):
        if path is not None:
            command += [name, str(path.absolute())]
    (folder / STATE_FILE).unlink(missing_ok=True)
    package = str(Path(__file__).resolve().parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    log = folder / LOG_FILE
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            umask=0o077,  # records in clear text
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            cwd=folder,
        )
    finally:
        os.close(descriptor)
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise OrgError(f"the local org in {folder} did not start:\n{_tail(log)}", fix=f"its log is {log}")
        org = _read(folder)
        if org is not None and org.pid == process.pid and find(folder) is not None:
            return org
        time.sleep(0.02)
    process.kill()
    raise OrgError(
        f"the local org in {folder} did not answer in {_START_S:.0f} s:\n{_tail(log)}",
        fix=f"its log is {log}",
    )


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return "\n".join(lines[-10:]) or "(its log is empty)"


def _state(folder: Path) -> dict[str, Any]:
    try:
        body = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}


def _read(folder: Path) -> LocalOrg | None:
    body = _state(folder)
    try:
        org = LocalOrg(
            **{f.name: body[f.name] for f in fields(LocalOrg) if f.name != "ca_file"},
            ca_file=Path(body["ca_file"]),
        )
    except (KeyError, TypeError):
        return None
    for secret in (org.client_secret, org.password, org.security_token):
        register_secret(secret)
    return org


def _alive(pid: int) -> bool:
    try:
        with_child = os.waitpid(pid, os.WNOHANG)[0] == pid  # our own child that ended is a zombie until asked
    except (ChildProcessError, OSError):
        with_child = False
    if with_child:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    try:
        with FileLock(str(folder / "start.lock"), timeout=_START_S * 2, mode=0o600):
            yield
    except Timeout:
        raise OrgError(f"another process has been starting the local org in {folder} for too long") from None


def _running(folder: Path) -> LocalOrg:
    org = find(folder)
    if org is None:
        raise OrgError(f"no local org runs in {folder.absolute()}", fix="start it: sfsync org start")
    return org


# -------------------------------------------------------------------- calls


def _give(org: LocalOrg, path: str, what: str, file: Path) -> None:
    """Put what a YAML or JSON file holds in place of what the org has."""
    import yaml

    try:
        body = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise OrgError(f"the {what} file {file} cannot be read: {reason}") from None
    except yaml.YAMLError as error:
        raise OrgError(f"the {what} file {file} is neither JSON nor YAML: {error}") from None
    call(org, "PUT", path, body or ([] if path.endswith("faults") else {}))


def _load(org: LocalOrg, name: str, body: bytes, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = _call(org, "POST", f"/_local/load?object={urllib.parse.quote(name)}", body, kind)
    return found


def _open(
    org: LocalOrg, path: str, *, method: str = "GET", body: bytes | None = None, timeout: float = 600,
    headers: dict[str, str] | None = None,
) -> Any:  # fmt: skip
    context = ssl.create_default_context(cafile=str(org.ca_file))
    request = urllib.request.Request(org.url + path, data=body, method=method, headers=headers or {})
    handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)]
    return urllib.request.build_opener(*handlers).open(request, timeout=timeout)


def _call(
    org: LocalOrg, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
) -> Any:
    try:
        headers = {"Authorization": f"Bearer {org.client_secret}", "Content-Type": kind}
        with _open(org, path, method=method, body=body, headers=headers) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        text = error.read().decode("utf-8", "replace")
        try:
            text = json.loads(text)["error"]
        except (ValueError, KeyError, TypeError):
            text = f"HTTP {error.code}: {text[:200]}"
        raise OrgError(f"local org: {text}", status=error.code) from None
    except OSError as error:
        raise OrgError(f"the local org at {org.url} does not answer: {error}") from None
