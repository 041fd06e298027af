"""jsforce's own client, run by Node, against a local org: `tests/clients/jsforce/script.js`.

The package is looked for in the folder that SFSYNC_TEST_NODE_MODULES names (`.ci/run` installs it there), or beside the script:
``npm install --no-package-lock --prefix tests/clients/jsforce``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent.parent / "clients" / "jsforce"
ENOUGH = 30


def modules() -> Path:
    """The folder in which Node finds jsforce; without it, or without Node, the test is skipped and says why."""
    if shutil.which("node") is None:
        pytest.skip("no node: install Node.js 18 or newer")
    found = Path(os.environ.get("SFSYNC_TEST_NODE_MODULES") or HERE / "node_modules")
    package = found / "jsforce" / "package.json"
    if not package.exists():
        pytest.skip(f"no jsforce in {found}: npm install --no-package-lock --prefix {HERE}")
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]["jsforce"]
    assert json.loads(package.read_text())["version"] == wanted
    return found


def play(org: Any, script: Path, node_modules: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    environment |= {
        "NODE_PATH": str(node_modules),
        "NODE_EXTRA_CA_CERTS": str(org.ca_file),
        "ORG_URL": org.url,
        "ORG_ID": org.org_id,
        "ORG_CLIENT_ID": org.client_id,
        "ORG_CLIENT_SECRET": org.client_secret,
        "ORG_USERNAME": org.username,
        "ORG_PASSWORD": org.password,
        "ORG_TOKEN": org.security_token,
    }
    return subprocess.run(
        ["node", str(script)], env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_script(org):
    ended = play(org, HERE / "script.js", modules())
    assert ended.returncode == 0, ended.stderr
    steps = json.loads(ended.stdout)
    assert len(steps) == len(set(steps)) >= ENOUGH
    assert len(org.requests()) > len(steps)  # a step of Bulk is several
    assert len(org.by("Contact", "Customer_Id__c")) > 3_000
