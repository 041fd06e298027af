"""Running one process and telling what it cost.

Owns:      CPU seconds, peak memory and wall time of a child, as the kernel counted them for it alone.
Does not:  know what it measures.
Invariant: this module and who imports it stay small: a child's peak memory is never below its parent's at the fork.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SFSYNC = [
    sys.executable,
    "-c",
    "import sys; from sfsync.cli.main import main; sys.argv[0] = 'sfsync'; main()",
]
"""What the console script does."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    code: int
    out: str
    err: str


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    """Compiled modules are kept, as they are for an installed package, but not among the sources."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": _CACHE.name, **(extra or {})}


_CACHE = tempfile.TemporaryDirectory(prefix="sfsync-bench-pyc-")


def run(command: Sequence[str], *, env: Mapping[str, str] | None = None, codes: Sequence[int] = (0,)) -> Cost:
    """Run to the end; only this process and what it waited for is counted.

    Raises:
        SystemExit: it ended with another code than expected; its words are shown.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.monotonic()
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=_environment(env)
        )
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode("utf-8", "replace"))
    if child.returncode not in codes:
        raise SystemExit(f"{' '.join(command)}\nended with {child.returncode}\n{texts[0]}\n{texts[1]}")
    peak = usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)
    return Cost(usage.ru_utime + usage.ru_stime, wall, peak, child.returncode, *texts)


def median(costs: Sequence[Cost]) -> Cost:
    """CPU and wall time in the middle, and the highest peak, of several runs."""
    last = costs[-1]
    return Cost(
        statistics.median(c.cpu_s for c in costs),
        statistics.median(c.wall_s for c in costs),
        max(c.peak_mb for c in costs),
        last.code,
        last.out,
        last.err,
    )


def in_turn(
    first: Sequence[str], second: Sequence[str], times: int, env: Mapping[str, str] | None = None
) -> tuple[Cost, Cost]:
    """Two commands by turns, so that a slow minute of the machine meets both."""
    a, b = [], []
    for _ in range(times):
        a.append(run(first, env=env))
        b.append(run(second, env=env))
    return median(a), median(b)
