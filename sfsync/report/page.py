"""Lines of a report on a terminal or in a pipe: colour by meaning, wrapping with a hanging indent, columns.

Owns:      Page, the one builder of text reports.
Does not:  know what is reported.
Invariant: without colour no escape character is written; with a width no line of ours is wider, single words aside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from sfsync.report.words import cells, pad


class Style(StrEnum):
    """What a colour means; the value is its SGR code."""

    CREATE = "32"
    UPDATE = "33"
    DELETE = "31"
    BAD = "31;1"
    WARN = "33;1"
    GOOD = "32;1"
    TITLE = "1"
    QUIET = "2"
    PLAIN = ""


class Page:
    """Collects lines; `width` 0 means that nothing is wrapped (a pipe)."""

    def __init__(self, *, color: bool, width: int) -> None:
        self.color = color
        self.width = width
        self._lines: list[str] = []

    def paint(self, text: str, style: Style) -> str:
        """The text in its colour."""
        if not self.color or not style or not text:
            return text
        return f"\x1b[{style.value}m{text}\x1b[0m"

    def line(self, text: str = "", style: Style = Style.PLAIN) -> None:
        """One line as it is; a blank line never follows another."""
        if text or (self._lines and self._lines[-1]):
            self._lines.append(self.paint(text, style))

    def wrapped(
        self, text: str, *, indent: str = "", hang: str | None = None, style: Style = Style.PLAIN
    ) -> None:
        """Text broken at blanks; lines after the first begin with `hang`."""
        for row in self.folded(text, indent=indent, hang=hang):
            self._lines.append(self.paint(row, style))

    def folded(self, text: str, *, indent: str = "", hang: str | None = None) -> list[str]:
        """The rows that `wrapped` would write."""
        hang = indent if hang is None else hang
        if not self.width or cells(indent + text) <= self.width:
            return [indent + text]
        rows, row = [], indent
        fresh = True
        for word in text.split(" "):
            if not fresh and cells(row) + 1 + cells(word) > self.width:
                rows.append(row)
                row, fresh = hang, True
            row += word if fresh else f" {word}"
            fresh = False
        return [*rows, row]

    def entry(self, symbol: str, head: str, detail: str = "", *, style: Style, indent: str = "  ") -> None:
        """``  + 120 new to sfsync   detail``: the head in colour, the detail folded beside it or, too wide, below it."""
        first = f"{indent}{symbol} {head}"
        self._lines.append(self.paint(first, style))
        if not detail:
            return
        if not self.width or cells(first) + 2 + cells(detail) <= self.width:
            self._lines[-1] += "  " + self.paint(detail, Style.QUIET)
        else:
            self.wrapped(detail, indent=indent + "    ", style=Style.QUIET)

    def table(self, rows: Sequence[Sequence[str]], *, right: Iterable[int] = (), indent: str = "") -> None:
        """Columns as wide as their widest cell; the first row is the head. right: columns of numbers."""
        numbers = set(right)
        widths = [max(cells(row[i]) for row in rows) for i in range(len(rows[0]))]
        for place, row in enumerate(rows):
            shown = [
                (" " * (widths[i] - cells(cell)) + cell) if i in numbers else pad(cell, widths[i])
                for i, cell in enumerate(row)
            ]
            self.line((indent + "  ".join(shown)).rstrip(), Style.QUIET if place == 0 else Style.PLAIN)

    def text(self) -> str:
        """Everything, with one line end at the end."""
        lines = self._lines
        while lines and not lines[-1]:
            lines = lines[:-1]
        return "\n".join(lines) + "\n"
