"""The map of the rooms, enforced: who may import whom, who may touch files and the clock, how long things may get.

The table `ROOMS` is the law; ARCHITECTURE.md shows the same table to people and is compared with it here. Imports
are read with `ast`, so imports inside functions and under TYPE_CHECKING count. Each check is a function from source
text to findings and is itself tried on small sources that must fail.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "sfsync"

MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 70
MAX_VERB_LINES = 150  # a file of jobs/ with a command reads as the table of contents of what it does


@dataclass(frozen=True)
class Room:
    """floor: higher may import lower. may: rooms, or single files as 'room.file'; floor 0 is open to all above it."""

    floor: int
    may: frozenset[str]


def room(floor: int, *may: str) -> Room:
    return Room(floor, frozenset(may))


# Floor 0 in order: each file may import only those before it.
BASE = (
    "errors",
    "records",
    "ports",
    "yaml_text",
    "yaml_models",
    "domains",
    "connections",
    "profiles",
    "child_objects",
)

ROOMS: Mapping[str, Room] = {
    "cli": room(7, "jobs", "report"),
    "jobs": room(
        6,
        "report",
        "push",
        "plan",
        "diff",
        "match",
        "compiler",
        "state",
        "salesforce",
        "engine",
        "project",
        "contract",
        "drift",
        "artifacts",
        "local_org.control",
    ),
    "report": room(5, "plan", "artifacts", "salesforce.status_help"),
    "push": room(
        5, "plan", "diff", "compiler.manifest", "compiler.wire", "compiler.org_texts", "salesforce", "engine"
    ),
    "plan": room(4, "diff", "compiler", "engine", "contract", "salesforce.encode", "salesforce.limits"),
    "diff": room(3, "compiler", "state", "engine"),
    "match": room(3, "compiler", "salesforce", "state", "engine"),
    "compiler": room(2, "project", "contract", "engine.dialect"),
    "drift": room(2, "project", "contract"),
    "state": room(2, "engine", "contract"),
    "salesforce": room(2, "contract"),
    "engine": room(1),
    "project": room(1),
    "contract": room(1),
    "artifacts": room(1),
} | {name: room(0, *BASE[:position]) for position, name in enumerate(BASE)}

# The embedded org is a server program of its own, beside the floors.
APART: Mapping[str, frozenset[str]] = {"local_org": frozenset({"contract", "errors", "ports"})}

# Inside a room files import one way; here the way is fixed as well: a file imports only earlier groups, or its own.
ORDER_INSIDE = {"engine": (("dialect",), ("duckdb",), ("base", "postgres"))}

# Who may call open(), the clock, sleep and print. A room, or a file as 'room.file', with the reason.
MAY_TOUCH_MACHINE = {
    "ports": "holds SystemClock and Workspace, which everybody else is handed",
    "engine": "databases and the files they read and write",
    "state": "the state file, its lock and its spool",
    "cli": "the only room that prints",
    "local_org": "a server program of its own, with its own clock and folder",
}

# Longer than the ceiling, on purpose: path or path::function -> why.
LONG_FILES: Mapping[str, str] = {}
LONG_FUNCTIONS: Mapping[str, str] = {}


# ---------------------------------------------------------------- reading imports


@dataclass(frozen=True)
class Import:
    """One import inside the package: the module that writes it, the module it means, and the line."""

    importer: str
    target: str
    line: int


def modules() -> dict[str, Path]:
    """Dotted name -> file, of every module in the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room_of(module: str) -> str:
    """'sfsync.engine.duckdb' -> 'engine'; 'sfsync.diff' -> 'diff'; 'sfsync' -> ''."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports_in(source: str, importer: str, known: Mapping[str, object]) -> Iterator[Import]:
    """Every import of a module of ours, wherever it stands in the file."""
    package = importer if is_package(importer, known) else importer.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "sfsync":
                    yield Import(importer, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")
                base = ".".join([*above[: len(above) - node.level + 1], *base.split(".")]).rstrip(".")
            if base.split(".")[0] == "sfsync":
                for alias in node.names:
                    whole = f"{base}.{alias.name}"
                    yield Import(importer, whole if whole in known else base, node.lineno)


def is_package(module: str, known: Mapping[str, object]) -> bool:
    return any(name.startswith(f"{module}.") for name in known)


def import_fault(item: Import, known: Mapping[str, object]) -> str | None:
    """Why this import is against the map, or None."""
    here, there = room_of(item.importer), room_of(item.target)
    if item.target == "sfsync":
        return None  # the version
    if there not in ROOMS and there not in APART:
        return f"'{there}' is not a room of the map"
    if is_package(item.target, known):
        return f"imports the room {item.target}; import the file"
    if here == there:
        return None if inside_is_ordered(item) else f"{here}/ imports against its own order: {item.target}"
    if here in APART:
        return (
            None if there in APART[here] else f"{here} stands apart and may import only {sorted(APART[here])}"
        )
    if here not in ROOMS:
        return f"'{here}' is not a room of the map"
    file = item.target.removeprefix("sfsync.")
    if there in ROOMS and ROOMS[there].floor == 0 and ROOMS[here].floor > 0:
        return None
    if there in ROOMS[here].may or file in ROOMS[here].may:
        return None
    return f"{here} may not import {file}"


def inside_is_ordered(item: Import) -> bool:
    groups = ORDER_INSIDE.get(room_of(item.importer), ())
    rank = {name: position for position, group in enumerate(groups) for name in group}
    importer, target = item.importer.split(".")[-1], item.target.split(".")[-1]
    if importer not in rank or target not in rank:
        return True
    return rank[target] <= rank[importer]


KNOWN = modules()
ALL_IMPORTS = [
    item for name, path in KNOWN.items() for item in imports_in(path.read_text(encoding="utf-8"), name, KNOWN)
]


# ---------------------------------------------------------------- the map itself


def test_every_room_may_import_only_lower_floors():
    for name, entry in ROOMS.items():
        for target in entry.may:
            below = ROOMS.get(target.split(".")[0])
            if below is None:
                assert target.split(".")[0] in APART, f"{name}: {target} is on no floor"
            elif entry.floor > 0:
                assert below.floor < entry.floor, f"{name} (floor {entry.floor}) -> {target} ({below.floor})"


def test_every_module_is_in_a_room():
    strangers = {room_of(name) for name in KNOWN} - set(ROOMS) - set(APART) - {""}
    assert not strangers, f"add a row for {sorted(strangers)} here and in ARCHITECTURE.md"


def test_imports_follow_the_map():
    faults = [
        f"{KNOWN[item.importer].relative_to(ROOT)}:{item.line}: {fault}"
        for item in ALL_IMPORTS
        if (fault := import_fault(item, KNOWN))
    ]
    assert not faults, "\n".join(faults)


def test_files_of_a_room_import_one_way():
    graph: dict[str, set[str]] = {}
    for item in ALL_IMPORTS:
        if room_of(item.importer) == room_of(item.target) != "":
            graph.setdefault(item.importer, set()).add(item.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("cycle: " + " <- ".join(error.args[1]))


def test_package_files_are_empty_but_for_the_version():
    for name, path in KNOWN.items():
        if path.name != "__init__.py":
            continue
        body = ast.parse(path.read_text(encoding="utf-8")).body
        if name == "sfsync":
            body = [node for node in body if not is_docstring(node) and not assigns(node, "__version__")]
        assert not body, f"{path.relative_to(ROOT)} holds code; put it into a file of the room"


def is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def assigns(node: ast.stmt, name: str) -> bool:
    return isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == [name]


def test_the_map_for_people_says_the_same():
    """ARCHITECTURE.md: | floor | room | owns | may import |, rooms and files in backticks."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    shown = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 4 and (cells[0].isdigit() or cells[0] == "apart"):
            name = re.findall(r"`([\w.]+?)(?:\.py|/)?`", cells[1])[0]
            shown[name] = (cells[0], set(re.findall(r"`([\w.]+)`", cells[3])))
    expected = {name: (str(entry.floor), set(entry.may)) for name, entry in ROOMS.items()}
    expected |= {name: ("apart", set(may)) for name, may in APART.items()}
    assert shown == expected


# ---------------------------------------------------------------- the machine: files, clock, screen


CLOCK = re.compile(
    r"^(time\.\w+|datetime\.datetime\.(now|utcnow|today)|datetime\.date\.today|os\.open|io\.open|codecs\.open)$"
)
BUILTINS = {"open", "print", "input", "breakpoint"}


def machine_faults(source: str) -> list[tuple[int, str]]:
    """Uses of open(), print(), the clock and sleep, under whatever name they were imported; (line, what)."""
    tree = ast.parse(source)
    names = imported_names(tree)
    faults = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in BUILTINS - set(names)
        ):
            faults.append((node.lineno, f"{node.func.id}()"))
        if isinstance(node, ast.Name | ast.Attribute):
            first, _, rest = ast.unparse(node).partition(".")
            dotted = names.get(first, first) + (f".{rest}" if rest else "")
            if first in names and CLOCK.match(dotted):
                faults.append((node.lineno, dotted))
    return sorted(set(faults))


def imported_names(tree: ast.AST) -> dict[str, str]:
    """Local name -> dotted origin, of everything imported anywhere in the file."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {
                a.asname or a.name.split(".")[0]: a.name if a.asname else a.name.split(".")[0]
                for a in node.names
            }
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return names


def touches_allowed(module: str) -> bool:
    return room_of(module) in MAY_TOUCH_MACHINE or module.removeprefix("sfsync.") in MAY_TOUCH_MACHINE


def test_only_the_named_places_touch_files_clock_and_screen():
    faults = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for name, path in KNOWN.items()
        if not touches_allowed(name)
        for line, what in machine_faults(path.read_text(encoding="utf-8"))
    ]
    assert not faults, "use what ports.py hands out, or name the place and the reason:\n" + "\n".join(faults)


def test_only_cli_and_the_local_org_print():
    faults = [
        f"{path.relative_to(ROOT)}:{line}"
        for name, path in KNOWN.items()
        if room_of(name) not in ("cli", "local_org")
        for line, what in machine_faults(path.read_text(encoding="utf-8"))
        if what == "print()"
    ]
    assert not faults, faults


# ---------------------------------------------------------------- one dialect at a time


DIALECT = re.compile(r"(^|\.)dialect(_?name)?(\.(name|kind|sqlglot|sqlglot_name))?$")


def dialect_branches(source: str) -> list[int]:
    """Lines that compare or match on which engine it is: such a difference belongs into the Dialect value."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        sides: list[ast.expr] = []
        if isinstance(node, ast.Match):
            sides = [node.subject]
        elif isinstance(node, ast.Compare) and not all(isinstance(op, ast.Is | ast.IsNot) for op in node.ops):
            sides = [node.left, *node.comparators]
        lines += [node.lineno for side in sides if DIALECT.search(ast.unparse(side))]
    return lines


def test_only_the_engine_asks_which_engine_it_is():
    faults = [
        f"{path.relative_to(ROOT)}:{line}"
        for name, path in KNOWN.items()
        if room_of(name) != "engine"
        for line in dialect_branches(path.read_text(encoding="utf-8"))
    ]
    assert not faults, "give the Dialect another member instead:\n" + "\n".join(faults)


# ---------------------------------------------------------------- ceilings


def long_functions(source: str) -> list[tuple[str, int]]:
    """(name, lines) of each function above the ceiling; decorators do not count."""
    return [
        (node.name, lines)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]


def test_files_fit_in_the_head():
    sizes = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in KNOWN.values()
    }
    too_long = {
        path: lines for path, lines in sizes.items() if lines > MAX_FILE_LINES and path not in LONG_FILES
    }
    assert not too_long, f"above {MAX_FILE_LINES} lines: {too_long}"
    stale = [path for path in LONG_FILES if sizes.get(path, 0) <= MAX_FILE_LINES]
    assert not stale, f"not long any more, take them off the list: {stale}"


def test_a_verb_is_a_table_of_contents():
    sources = {path: path.read_text(encoding="utf-8") for path in (PACKAGE / "jobs").glob("*.py")}
    verbs = {
        path.name: len(text.splitlines())
        for path, text in sources.items()
        if re.search(r"^def \w+_command\(", text, re.M)
    }
    assert {"plan.py", "run.py", "retry.py"} <= set(verbs)
    assert not {name: lines for name, lines in verbs.items() if lines > MAX_VERB_LINES}


def test_functions_fit_on_a_screen():
    found = {
        f"{path.relative_to(ROOT)}::{name}": lines
        for path in KNOWN.values()
        for name, lines in long_functions(path.read_text(encoding="utf-8"))
    }
    too_long = {place: lines for place, lines in found.items() if place not in LONG_FUNCTIONS}
    assert not too_long, f"above {MAX_FUNCTION_LINES} lines: {too_long}"
    stale = sorted(set(LONG_FUNCTIONS) - set(found))
    assert not stale, f"not long any more, take them off the list: {stale}"


def test_every_module_says_what_it_owns():
    silent = [
        str(path.relative_to(ROOT))
        for path in KNOWN.values()
        if path.name != "__init__.py" and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not silent, f"no module docstring: {silent}"


# ---------------------------------------------------------------- the checks themselves can fail


IMPORT_CASES = [  # id, importer, source, part of the finding or None
    ("down", "sfsync.diff", "from sfsync.engine.duckdb import DuckDB", None),
    ("floor 0", "sfsync.plan.cost", "from sfsync.errors import RefusedError", None),
    ("the version", "sfsync.salesforce.door", "from sfsync import __version__", None),
    ("up", "sfsync.engine.duckdb", "from sfsync.diff import diff", "engine may not import diff"),
    (
        "sideways",
        "sfsync.state.store",
        "import sfsync.salesforce.door",
        "state may not import salesforce.door",
    ),
    ("skips the table", "sfsync.report.text", "from sfsync.diff import diff", "report may not import diff"),
    ("one file only", "sfsync.compiler.wire", "from sfsync.engine.dialect import Dialect", None),
    (
        "another file",
        "sfsync.compiler.wire",
        "from sfsync.engine.duckdb import DuckDB",
        "may not import engine.duckdb",
    ),
    (
        "in a function",
        "sfsync.engine.duckdb",
        "def f():\n    from sfsync.plan.cost import g",
        "may not import plan",
    ),
    ("for types", "sfsync.engine.base", "if TYPE_CHECKING:\n    import sfsync.diff", "may not import diff"),
    ("relative", "sfsync.engine.base", "from ..plan import cost", "engine may not import plan.cost"),
    ("relative inside", "sfsync.plan.cost", "from . import guards", None),
    ("the room", "sfsync.diff", "from sfsync.engine import DuckDB", "import the file"),
    ("a file by its room", "sfsync.diff", "from sfsync.engine import duckdb", None),
    (
        "order inside",
        "sfsync.engine.dialect",
        "from sfsync.engine.duckdb import DuckDB",
        "against its own order",
    ),
    ("floor 0 order", "sfsync.errors", "from sfsync.records import Column", "errors may not import records"),
    ("floor 0 down", "sfsync.profiles", "from sfsync.yaml_text import load", None),
    ("apart", "sfsync.local_org.write", "from sfsync.engine.duckdb import DuckDB", "stands apart"),
    ("into the apart", "sfsync.jobs.org", "from sfsync.local_org.control import start", None),
    (
        "deep into the apart",
        "sfsync.jobs.org",
        "from sfsync.local_org.server import app",
        "may not import local_org",
    ),
    ("stranger", "sfsync.helpers", "from sfsync.plan.cost import x", "'helpers' is not a room"),
]
SMALL = {"sfsync": None} | dict.fromkeys(
    (
        "sfsync.diff",
        "sfsync.errors",
        "sfsync.records",
        "sfsync.engine",
        "sfsync.engine.duckdb",
        "sfsync.engine.dialect",
        "sfsync.engine.base",
        "sfsync.plan",
        "sfsync.plan.cost",
        "sfsync.plan.guards",
        "sfsync.salesforce",
        "sfsync.salesforce.door",
        "sfsync.local_org",
        "sfsync.local_org.control",
        "sfsync.local_org.server",
        "sfsync.local_org.write",
        "sfsync.yaml_text",
    )
)


@pytest.mark.parametrize(
    ("importer", "source", "finding"),
    [case[1:] for case in IMPORT_CASES],
    ids=[case[0] for case in IMPORT_CASES],
)
def test_the_import_check(importer: str, source: str, finding: str | None):
    (item,) = imports_in(source, importer, SMALL)
    fault = import_fault(item, SMALL)
    assert fault is None if finding is None else fault is not None and finding in fault


MACHINE_CASES = [  # source, findings
    ("open('x')", ["open()"]),
    ("with open('x') as f: pass", ["open()"]),
    ("path.read_text()", []),
    ("print('x')", ["print()"]),
    ("import time\ntime.sleep(1)", ["time.sleep"]),
    ("import time as t\nt.monotonic()", ["time.monotonic"]),
    ("from time import sleep\nsleep(1)", ["time.sleep"]),
    ("import time\ndef f(wait=time.sleep): pass", ["time.sleep"]),
    ("from datetime import datetime\ndatetime.now()", ["datetime.datetime.now"]),
    ("import datetime as d\nd.date.today()", ["datetime.date.today"]),
    ("from datetime import datetime\ndatetime.fromisoformat(s)", []),
    ("clock.now(); clock.sleep(1); self.time.x", []),
    ("import os\nos.open('x', 0)", ["os.open"]),
    ("from gzip import open\nopen('x')", []),
]


@pytest.mark.parametrize(("source", "findings"), MACHINE_CASES, ids=[case[0] for case in MACHINE_CASES])
def test_the_machine_check(source: str, findings: list[str]):
    assert [what for _, what in machine_faults(source)] == findings


DIALECT_CASES = [
    ("if dialect == 'duckdb': pass", True),
    ("x = 1 if self.dialect.name != 'postgres' else 2", True),
    ("if dialect.name in ('a', 'b'): pass", True),
    ("match dialect.name:\n    case 'duckdb': pass", True),
    ("if dialect is None: pass", False),
    ("if profile.warehouse.type == 'duckdb': pass", False),
    ("sqlglot.parse_one(sql, dialect=dialect.sqlglot)", False),
]


@pytest.mark.parametrize(("source", "found"), DIALECT_CASES, ids=[case[0] for case in DIALECT_CASES])
def test_the_dialect_check(source: str, found: bool):
    assert bool(dialect_branches(source)) is found


def test_the_length_check():
    body = "\n".join("    x = 1" for _ in range(MAX_FUNCTION_LINES))
    assert long_functions(f"def long():\n{body}") == [("long", MAX_FUNCTION_LINES + 1)]
    assert long_functions("def short():\n    x = 1") == []
