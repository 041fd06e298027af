"""Where a place in rendered SQL stands in the file that it was rendered from.

Owns:      offsets to lines and columns, and the way back through Jinja.
Does not:  render or parse. Used on the error path only, so it may take its time.
Invariant: a line is always given; a column only when the text up to it is the user's own.
"""

from __future__ import annotations

from difflib import SequenceMatcher

from sfsync.errors import Where


def line_column(text: str, offset: int) -> tuple[int, int]:
    """Line and column, from 1, of a character of the text."""
    before = text[: max(offset, 0)]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def place(path: str, source: str, rendered: str, offset: int, *, first_line: int = 1) -> Where:
    """The place in `path` (its text from `first_line` on is `source`) of a character of the rendered SQL."""
    line, column = line_column(rendered, offset)
    if source == rendered:
        return Where(path, line + first_line - 1, column)
    written, made = source.split("\n"), rendered.split("\n")
    found = _line_in(written, made, line)
    same = written[found - 1][:column] == made[line - 1][:column]
    return Where(path, found + first_line - 1, column if same else None)


def _line_in(written: list[str], made: list[str], line: int) -> int:
    """Follow lines that stand in both; between them, count from the line before."""
    matcher = SequenceMatcher(None, made, written, autojunk=False)
    for _, first, last, to_first, to_last in matcher.get_opcodes():
        if first <= line - 1 < last:
            return max(
                1, min(to_first + (line - 1 - first), max(to_last - 1, to_first), len(written) - 1) + 1
            )
    return len(written)
