"""Salesforce's CLI as far as sfsync asks it: JSON on standard output, as versions before and after 2.136 print it.

SF_STATE is a JSON file: {"orgs": {alias: {...}}, "hides": true, "fails": {"name": ..., "message": ...}, "prints": text}.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

HIDDEN = "[REDACTED] Use 'sf org auth show-access-token' to view"
state = json.loads(Path(os.environ["SF_STATE"]).read_text())
words = [word for word in sys.argv[1:] if not word.startswith("-")]
target = sys.argv[sys.argv.index("--target-org") + 1]
command = " ".join(word for word in words if word != target)
Path(os.environ["SF_STATE"]).with_suffix(".log").open("a").write(f"{command}\n")


def end(body: dict[str, object], code: int = 0) -> None:
    print(json.dumps(body, indent=2))
    sys.exit(code)


if "prints" in state:
    print(state["prints"])
    sys.exit(state.get("code", 0))
time.sleep(state.get("takes", 0))
print("Warning: update available", file=sys.stderr)
if "fails" in state:
    end({"status": 1, "exitCode": 1, **state["fails"]}, 1)
org = state["orgs"].get(target)
if org is None:
    message = f"No authorization information found for {target}."
    end({"status": 1, "name": "NamedOrgNotFoundError", "message": message, "exitCode": 1}, 1)
if command == "org display":
    shown = org | ({"accessToken": HIDDEN} if state.get("hides") else {})
    end({"status": 0, "result": shown, "warnings": []})
elif command == "org auth show-access-token" and state.get("hides") != "always":
    end({"status": 0, "result": {"accessToken": org["accessToken"]}, "warnings": ["This is a secret."]})
end(
    {
        "status": 2,
        "name": "Error",
        "message": f"{command.replace(' ', ':')} is not a sf command.",
        "exitCode": 2,
    },
    2,
)
