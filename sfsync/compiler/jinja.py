"""Renders a model's Jinja with dbt's names, and remembers what each model referred to.

Owns:      the sandbox, the functions ref source var env_var target config, macros, and file and line of every
           Jinja error.
Does not:  read files, parse SQL, or know an engine: relations are handed in as SQL text.
Invariant: rendering changes nothing outside; the same text, vars and environment give the same SQL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NoReturn

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, nodes
from jinja2.environment import Template, TemplateModule
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sfsync.compiler.names import suggest
from sfsync.errors import CompileError, Where
from sfsync.yaml_text import nearest

MAX_RENDERED = 4_000_000
"""Characters of one rendered model; more means a loop that does not end."""

MAX_STEPS = 2_000_000
"""Of all loops over range() in one model, together."""

_FUNCTIONS = ("ref", "source", "var", "env_var", "target", "config")
_HARMLESS_CONFIG = frozenset({"tags", "meta", "description", "docs", "enabled"})
_UNDEFINED = re.compile(r"^'(?P<name>[^']+)' is undefined$")
_NO_ATTRIBUTE = re.compile(r"^'dict object' has no attribute '(?P<name>[^']+)'$")
_HAS_JINJA = re.compile(r"\{[{%#]")


@dataclass(frozen=True, slots=True)
class Relations:
    """What ref() and source() turn into: SQL text by name."""

    refs: Mapping[str, str]
    sources: Mapping[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class Rendered:
    """One rendered model: its SQL and everything it named, in order of first use."""

    sql: str
    refs: tuple[str, ...] = ()
    sources: tuple[tuple[str, str], ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ignored_config(self) -> tuple[str, ...]:
        """Config keys that mean something to dbt and nothing here."""
        ephemeral = self.config.get("materialized") == "ephemeral"
        return tuple(
            k for k in self.config if k not in _HARMLESS_CONFIG and not (k == "materialized" and ephemeral)
        )


@dataclass
class _Calls:
    refs: dict[str, None] = field(default_factory=dict)
    sources: dict[tuple[str, str], None] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    steps: int = 0


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, which also refuses to build values that fill the memory."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and (abs(right) > 64 or abs(left) > 1_000_000):
            raise SecurityError(f"{left} ** {right} is too large")
        if operator == "*":
            for items, times in ((left, right), (right, left)):
                if isinstance(items, str | list | tuple) and len(items) * times > MAX_RENDERED:
                    raise SecurityError(f"a text or list repeated {times} times is too large")
        return super().call_binop(context, operator, left, right)


class Renderer:
    """Renders the models of one project; macros are read once, when it is made.

    Args:
        macros: (path, text) of every file in macros/.
        relations: what ref() and source() stand for.
        project: the project's name, which ref('project', 'model') may give.
        variables: vars of the project, overridden by --vars.
        env: the process environment, for env_var().
        target: what models may know of the target: name, type, schema.

    Raises:
        CompileError: a macro file is not Jinja, or two macros share a name.
    """

    def __init__(
        self,
        macros: Iterable[tuple[str, str]],
        relations: Relations,
        *,
        project: str,
        variables: Mapping[str, Any],
        env: Mapping[str, str],
        target: Mapping[str, str],
    ) -> None:
        self._relations, self._project = relations, project
        self._variables, self._environment = variables, env
        self._calls = _Calls()
        self._paths: set[str] = set()
        self._env = _Sandbox(undefined=StrictUndefined, extensions=["jinja2.ext.do"])
        del self._env.filters["random"], self._env.globals["lipsum"]  # another text each time
        self._env.globals.update(
            ref=self._ref,
            source=self._source,
            var=self._var,
            env_var=self._env_var,
            config=self._config,
            target=dict(target),
            range=self._range,
        )
        self._target_names = tuple(target)
        self._macro_names: tuple[str, ...] = ()
        self._load_macros(tuple(macros))

    def render(self, path: str, text: str, *, first_line: int = 1) -> Rendered:
        """Turn one model, or one piece of SQL in a YAML file, into plain SQL.

        first_line: the line of `path` where `text` begins, for messages.

        Raises:
            CompileError: with the file and line of the model or the macro at fault.
        """
        if _HAS_JINJA.search(text) is None:
            return Rendered(text)
        self._calls = calls = _Calls()
        try:
            template = self._template(path, text)
            sql = self._bounded(template, path)
        except CompileError as error:
            raise self._placed(error, path, first_line) from None
        except Exception as error:  # a template may raise anything that an expression can
            self._refuse(error, path, first_line)
        return Rendered(sql, tuple(calls.refs), tuple(calls.sources), calls.config)

    def _bounded(self, template: Template, path: str) -> str:
        pieces: list[str] = []
        size = 0
        for piece in template.generate():
            size += len(piece)
            if size > MAX_RENDERED:
                raise CompileError(
                    f"rendered SQL is longer than {MAX_RENDERED:,} characters",
                    where=Where(path),
                    fix="look for a loop that writes more than it should",
                )
            pieces.append(piece)
        return "".join(pieces)

    def _template(self, path: str, text: str) -> Template:
        self._paths.add(path)
        code = self._env.compile(text, name=path, filename=path)
        return self._env.template_class.from_code(self._env, code, self._env.globals)

    # macros

    def _load_macros(self, files: tuple[tuple[str, str], ...]) -> None:
        owner: dict[str, str] = {}
        calls: dict[str, Callable[..., Any]] = {}
        for path, text in files:
            for name, line in self._declared(path, text):
                if name in owner or name in _FUNCTIONS:
                    holder = (
                        f"{owner[name]} has one too"
                        if name in owner
                        else "sfsync has a function of that name"
                    )
                    raise CompileError(
                        f"macro '{name}' cannot be defined here: {holder}",
                        where=Where(path, line),
                        fix="rename one of them",
                    )
                owner[name] = path
                self._env.globals[name] = _late(calls, name)
        self._macro_names = tuple(owner)
        for path, text in files:
            try:
                module = self._module(path, text)
            except CompileError as error:
                raise self._placed(error, path, 1) from None
            except Exception as error:  # top-level statements of a macro file are template code too
                self._refuse(error, path, 1)
            calls.update({n: getattr(module, n) for n, p in owner.items() if p == path})

    def _module(self, path: str, text: str) -> TemplateModule:
        template = self._template(path, text)
        try:
            return template.make_module()
        except Exception:
            self._env.handle_exception()  # raises it again with the lines of the macro file

    def _declared(self, path: str, text: str) -> list[tuple[str, int]]:
        try:
            tree = self._env.parse(text, name=path, filename=path)
        except TemplateSyntaxError as error:
            self._refuse(error, path, 1)
        return [(m.name, m.lineno) for m in tree.find_all(nodes.Macro)]

    # functions

    def _ref(self, *names: Any, **options: Any) -> str:
        if options or len(names) not in (1, 2) or not all(isinstance(n, str) for n in names):
            raise CompileError("ref() takes a model's name", fix="write ref('model')")
        if len(names) == 2 and names[0] != self._project:
            raise CompileError(
                f"ref('{names[0]}', '{names[1]}'): this project is '{self._project}', and it has no packages",
                fix=f"write ref('{names[1]}')",
            )
        name = names[-1]
        relation = self._relations.refs.get(name)
        if relation is None:
            raise CompileError(
                f"ref('{name}'): no model or seed has that name",
                fix=suggest(name, self._relations.refs, kind="models and seeds"),
            )
        self._calls.refs[name] = None
        return relation

    def _source(self, *names: Any) -> str:
        if len(names) != 2 or not all(isinstance(n, str) for n in names):
            raise CompileError("source() takes two names", fix="write source('source', 'table')")
        source, table = names
        known = self._relations.sources
        relation = known.get((source, table))
        if relation is None:
            raise unknown_source(source, table, known)
        self._calls.sources[(source, table)] = None
        return relation

    def _var(self, name: str, *default: Any, **named: Any) -> Any:
        if name in self._variables:
            return self._variables[name]
        if default or "default" in named:
            return default[0] if default else named["default"]
        close = nearest(name, self._variables)
        raise CompileError(
            f"var('{name}') is not set and has no default",
            fix=close
            or f"set it under vars in sfsync_project.yml, with --vars, or write var('{name}', 'default')",
        )

    def _env_var(self, name: str, *default: Any, **named: Any) -> str:
        if name in self._environment:
            return self._environment[name]
        if default or "default" in named:
            return str(default[0] if default else named["default"])
        raise CompileError(
            f"environment variable '{name}' is not set and env_var() has no default",
            fix=f"export {name}, or write env_var('{name}', 'default')",
        )

    def _range(self, *bounds: int) -> range:
        found = range(*bounds)
        self._calls.steps += len(found)
        if self._calls.steps > MAX_STEPS:
            raise CompileError(
                f"loops over more than {MAX_STEPS:,} numbers", fix="look for a loop inside a loop"
            )
        return found

    def _config(self, *given: Any, **options: Any) -> str:
        for item in given:
            if not isinstance(item, Mapping):
                raise CompileError("config() takes key=value pairs", fix="write config(tags=['daily'])")
            self._calls.config.update(item)
        self._calls.config.update(options)
        return ""

    # errors

    def _placed(self, error: CompileError, path: str, first_line: int) -> CompileError:
        if error.where is not None:
            return error
        return CompileError(
            error.what, fix=error.fix, where=self._place(error.__traceback__, path, first_line)
        )

    def _place(self, trace: TracebackType | None, path: str, first_line: int) -> Where:
        place = Where(path)
        while trace is not None:
            name = trace.tb_frame.f_code.co_filename
            if name in self._paths:
                shift = first_line - 1 if name == path else 0
                place = Where(name, trace.tb_lineno + shift)
            trace = trace.tb_next
        return place

    def _refuse(self, error: Exception, path: str, first_line: int) -> NoReturn:
        fix = None
        if isinstance(error, TemplateSyntaxError):
            where = Where(error.filename or path, error.lineno + first_line - 1)
            what = f"Jinja: {_sentence(error.message or 'not valid')}"
        else:
            where = self._place(error.__traceback__, path, first_line)
            what = f"Jinja: {_sentence(str(error)) or type(error).__name__}"
        if isinstance(error, RecursionError):
            what, fix = "Jinja: macros call each other without end", "look for a macro that calls itself"
        elif isinstance(error, UndefinedError):
            fix = self._fix_undefined(str(error))
        elif isinstance(error, SecurityError):
            fix = "models may use values and macros, nothing that reaches into Python"
        elif not isinstance(error, TemplateError | TypeError | OverflowError):
            what += f" ({type(error).__name__})"
        raise CompileError(what, where=where, fix=fix) from None

    def _fix_undefined(self, message: str) -> str | None:
        if found := _UNDEFINED.match(message):
            return suggest(found["name"], (*_FUNCTIONS, *self._macro_names), kind="functions and macros")
        if found := _NO_ATTRIBUTE.match(message):
            return suggest(found["name"], self._target_names, kind="names of target")
        return None


def unknown_source(
    source: str, table: str, known: Iterable[tuple[str, str]], where: Where | None = None
) -> CompileError:
    """The error for a source() that no models/*.yml declares."""
    pairs = tuple(known)
    tables = [t for s, t in pairs if s == source]
    if tables:
        what = f"source('{source}', '{table}'): source '{source}' has no table '{table}'"
        fix = suggest(table, tables, kind=f"tables of '{source}'")
    else:
        what = f"source('{source}', '{table}'): no source is called '{source}'"
        fix = suggest(source, (s for s, _ in pairs), kind="sources")
    if not pairs:
        fix = "declare it under sources: in a file models/*.yml"
    return CompileError(what, fix=fix, where=where)


def _late(calls: Mapping[str, Callable[..., Any]], name: str) -> Callable[..., Any]:
    """A macro that is looked up when it is called, so that macro files may use each other in any order."""

    def call(*args: Any, **kwargs: Any) -> Any:
        macro = calls.get(name)
        if macro is None:
            raise CompileError(f"macro '{name}' is called before its file was read")
        return macro(*args, **kwargs)

    return call


def _sentence(message: str) -> str:
    return " ".join(message.split()).rstrip(".")
