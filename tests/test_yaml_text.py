"""YAML as people write it: what values become, where they stand, and what is said about mistakes."""

from __future__ import annotations

import random

import pytest

from sfsync.errors import ProfileError, ProjectError, SpecError, Where
from sfsync.yaml_text import MAX_BYTES, decode, nearest, parse_yaml, raise_all, read_yaml

SCALARS = [  # as written, value
    ("no", "no"),
    ("yes", "yes"),
    ("on", "on"),
    ("off", "off"),
    ("y", "y"),
    ("NO", "NO"),
    ("true", True),
    ("True", True),
    ("TRUE", True),
    ("false", False),
    ("null", None),
    ("~", None),
    ("", None),
    ("'~'", "~"),
    ("0", 0),
    ("-7", -7),
    ("+7", 7),
    ("010", "010"),
    ("00", "00"),
    ("0x1F", "0x1F"),
    ("0o17", "0o17"),
    ("0b1", "0b1"),
    ("1_000", "1_000"),
    ("12:30", "12:30"),
    ("12:30:45", "12:30:45"),
    ("190:20:30", "190:20:30"),
    ("2026-01-31", "2026-01-31"),
    ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00Z"),
    ("1.5", 1.5),
    (".5", 0.5),
    ("5.", 5.0),
    ("-2.5e3", -2500.0),
    ("1.2.3", "1.2.3"),
    ("67.0", 67.0),
    ("'67.0'", "67.0"),
    (".inf", ".inf"),
    (".nan", ".nan"),
    (".", "."),
    ("-.", "-."),
    ("1e", "1e"),
    ("5%", "5%"),
    ("=", "="),
    ("!!str 5", "5"),
    ("!!str true", "true"),
    ("a b", "a b"),
    ('"tab\\there"', "tab\there"),
    ("Zoë", "Zoë"),
]


@pytest.mark.parametrize(("written", "value"), SCALARS, ids=[s[0] or "nothing" for s in SCALARS])
def test_scalars(written, value):
    found = parse_yaml(f"key: {written}", "f.yml").get("key")
    assert found == value
    assert type(found) is type(value)


def test_keys_stay_text():
    assert parse_yaml("1: a\ntrue: b\nno: c\n~: d", "f.yml").data == {
        "1": "a",
        "true": "b",
        "no": "c",
        "~": "d",
    }


SYNTAX = [  # text, place, message, fix
    ("a: 1\nb: 2\na: 3", "3:1", "duplicate key 'a': it stands on line 1 already", None),
    ("a: {b: 1, b: 2}", "1:11", "duplicate key 'b': it stands on line 1 already", None),
    ("a:\n\tb: 1", "2:1", "a tab is used to indent", "use spaces"),
    ("a:\n  b: 1\n  \tc: 2", "3:3", "a tab is used to indent", "use spaces"),
    (
        "a: b: c",
        "1:5",
        "a key is not expected here",
        "check the indentation, and put a text that contains ': ' in quotes",
    ),
    (
        "a: 1\n  b: 2",
        "2:4",
        "a key is not expected here",
        "check the indentation, and put a text that contains ': ' in quotes",
    ),
    (
        "a:\n  - x\n b: 1",
        "3:2",
        "the indentation does not fit the lines above",
        "align it with its siblings",
    ),
    ("- a\nb: 1", "2:1", "the indentation does not fit the lines above", "align it with its siblings"),
    ("a: -", "1:4", "a list is not expected here", "start it on a line of its own"),
    ("a: 1\n---\nb: 1", "2:1", "a second document starts here", "remove the line --- or use two files"),
    (
        "a: {{ var('x') }}",
        "1:4",
        "a value that starts with {{ must stand in quotes",
        'write "{{ ... }}"',
    ),
    (
        "a: {{ var('x') }}/y\nb: 1",
        "1:4",
        "a value that starts with {{ must stand in quotes",
        'write "{{ ... }}"',
    ),
    (
        "a: *x",
        "1:4",
        "an alias (*name) without its anchor (&name)",
        "put a text that starts with * in quotes",
    ),
    ("a: %x", "1:4", "a value cannot start with '%'", "put it in quotes"),
    ("a: @x", "1:4", "a value cannot start with '@'", "put it in quotes"),
    ("b: 1\na: 'x", "2:4", "a quote is not closed", "close it"),
    ("a: 1\nb: [1, 2\n", "2:4", "this [ is not closed, or a comma is missing", "close it with ]"),
    ("a: 1\nb: {c: 1\n", "2:4", "this { is not closed, or a comma is missing", "close it with }"),
    (
        "a: 'it's'",
        "1:8",
        "text stands after the end of a value",
        "put the whole value in quotes; inside single quotes write '' for '",
    ),
    ("a: 1\nb", "2:1", "a key must be followed by ': '", "add it, or check the indentation"),
    (
        'a: "\\q"',
        "1:5",
        "an unknown escape in a text in double quotes",
        "write \\\\ for \\, or use single quotes",
    ),
    ("a: 1\nb: \x07", "2:4", "the control character 0x07 is not allowed", "remove it"),
    ("<<: {a: 1}", "1:1", "merge keys (<<) are not supported", "write the keys out"),
    ("? [a]\n: b", "1:3", "a key must be text, found a list", None),
    (
        "a: !include x",
        "1:4",
        "the tag !include is not understood",
        "remove it, or put the value in quotes",
    ),
    (
        "a: !!python/name:os.system x",
        "1:4",
        "the tag tag:yaml.org,2002:python/name:os.system is not understood",
        "remove it, or put the value in quotes",
    ),
    ("a: !!set {b}", "1:4", "the tag tag:yaml.org,2002:set is not understood", "remove it"),
    ("a: &x [*x]", "1:4", "nested deeper than 60 levels", None),
]


@pytest.mark.parametrize(("text", "place", "message", "fix"), SYNTAX, ids=[repr(s[0]) for s in SYNTAX])
def test_syntax(text, place, message, fix):
    with pytest.raises(SpecError) as caught:
        parse_yaml(text, "syncs/a.yml")
    assert str(caught.value) == f"syncs/a.yml:{place}: {message}"
    assert caught.value.fix == fix


def test_an_alias_is_its_value():
    text = "a: &cols [x, y]\nb: *cols\nc: {d: *cols}"
    assert parse_yaml(text, "f.yml").data == {"a": ["x", "y"], "b": ["x", "y"], "c": {"d": ["x", "y"]}}


def test_a_bomb_of_aliases_is_refused():
    lines = ["a0: &a0 [" + ",".join("x" * 10) + "]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 20)]
    with pytest.raises(SpecError, match="more than 200,000 values once its aliases"):
        parse_yaml("\n".join(lines), "f.yml")


@pytest.mark.parametrize("text", ["[" * 300_000, "{a: " * 100_000, "- " * 300_000, "? " * 300_000])
def test_deep_nesting_does_not_end_the_process(text):
    with pytest.raises(SpecError, match="nested deeper than 60 levels"):
        parse_yaml(text, "f.yml")


def test_a_huge_file_is_refused():
    with pytest.raises(SpecError, match="10,000,000 are read at most"):
        parse_yaml("#" * (MAX_BYTES + 1), "f.yml")


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "\ufeff"])
def test_an_empty_file_has_no_data(text):
    assert parse_yaml(decode(text.encode(), "f.yml"), "f.yml").data is None


def test_bytes(tmp_path):
    assert decode("\ufeffa: Zoë".encode(), "f.yml") == "a: Zoë"
    with pytest.raises(ProfileError) as caught:
        decode("a: 1\nb: Zo\xeb".encode("latin-1"), "p.yml", ProfileError)
    assert str(caught.value) == "p.yml:2:6: not UTF-8 text: byte 0xeb does not belong here"
    assert caught.value.fix == "save the file as UTF-8"
    with pytest.raises(SpecError, match=r"^a\.yml: cannot read the file: "):
        read_yaml(tmp_path, "a.yml")


def test_windows_line_ends_keep_their_lines():
    document = parse_yaml("a: 1\r\nb:\r\n  - x\r\n  - c: 2\r\n", "f.yml")
    assert document.data == {"a": 1, "b": ["x", {"c": 2}]}
    assert document.where("b", 1, "c") == Where("f.yml", 4, 5)


def test_places():
    document = parse_yaml("a: 1\nb:\n  c: {d: x, e:   y}\n  f:\n    - g: 1\n", "f.yml")
    cases = [  # path, key, value
        (("a",), (1, 1), (1, 4)),
        (("b", "c", "e"), (3, 13), (3, 18)),
        (("b", "f", 0), (5, 7), (5, 7)),
        (("b", "f", 0, "g"), (5, 7), (5, 10)),
        (("b", "f", 9), (4, 3), (5, 5)),  # what is not there is at its parent
        (("b", "zz", "y"), (2, 1), (3, 3)),
        ((), (1, 1), (1, 1)),
    ]
    for path, key, value in cases:
        assert document.where(*path) == Where("f.yml", *key), path
        assert document.value_where(*path) == Where("f.yml", *value), path
    assert parse_yaml("", "f.yml").where("a") == Where("f.yml")


def test_every_key_stands_where_its_place_says():
    """A law over made-up documents: the text at a key's place begins with the key."""
    rng = random.Random(7)

    def make(depth: int) -> object:
        if depth == 0 or rng.random() < 0.3:
            return f"v{rng.randrange(100)}"
        return {f"k{i}_{rng.randrange(9)}": make(depth - 1) for i in range(rng.randrange(1, 4))}

    def write(value: object, indent: int) -> str:
        if not isinstance(value, dict):
            return f" {value}\n"
        return "\n" + "".join(f"{' ' * indent}{k}:{write(v, indent + 2)}" for k, v in value.items())

    for _ in range(50):
        data = {"root": make(4)}
        text = write(data, 0)
        document = parse_yaml(text, "f.yml")
        assert document.data == data
        rows = text.splitlines()
        for path, (line, column) in document.keys.items():
            if path:
                assert rows[line - 1][column - 1 :].startswith(f"{path[-1]}:")


def test_nearest():
    assert nearest("Emial", ["Email", "Phone"]) == "did you mean 'Email'?"
    assert nearest("EMAIL", ["Email"]) == "did you mean 'Email'?"
    assert nearest("zzz", ["Email"]) is None


def test_all_findings_travel_together():
    raise_all([])
    first, second, third = (SpecError(t) for t in "abc")
    with pytest.raises(ProjectError) as caught:
        raise_all([first, second, third])
    assert caught.value is first
    assert caught.value.others == (second, third)
