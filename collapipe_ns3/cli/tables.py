"""Prints tables and texts on consoles of any width.

A table that is too wide is split into parts below each other, each with the first column and as
many of the others, in their order, as fit. So no number is dropped or cut short.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

_LEAST_TEXT = 16  # characters that a wrapped text needs; with fewer there is one word on a line
_BETWEEN = 2  # characters between two columns of a table, and at its edges together


def new_table(*headings: str, texts: Sequence[str] = ()) -> Table:
    """An empty table in the style of all tables; only the columns named in `texts` may be wrapped.

    The first column and texts are aligned to the left, all other columns to the right.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for place, heading in enumerate(headings):
        left = place == 0 or heading in texts
        table.add_column(
            heading,
            justify="left" if left else "right",
            no_wrap=heading not in texts,
            overflow="fold",
        )
    return table


def print_table(console: Console, table: Table) -> None:
    """Prints the table, in as many parts as the width makes necessary."""
    for places in _parts(table, console.width):
        console.print(_part(table, places, console.width))


def print_text(console: Console, text: str | Text) -> None:
    """Prints lines of text; on a terminal they are wrapped between words, keeping the indentation.

    In a file or a pipe, lines stay whole.
    """
    whole = text if isinstance(text, Text) else Text(text)
    for line in whole.split("\n", allow_blank=True):
        indent = len(line.plain) - len(line.plain.lstrip(" "))
        if console.is_terminal:
            console.print(Padding(line[indent:], (0, 0, 0, indent)), overflow="fold")
        else:
            console.print(line, soft_wrap=True)


def _parts(table: Table, width: int) -> Iterator[list[int]]:
    """The indices of each part's columns; the first column is in all parts."""
    first, *others = (_least_width(column) + _BETWEEN for column in table.columns)
    places, used = [0], first
    for place, wanted in enumerate(others, start=1):
        if len(places) > 1 and used + wanted > width:
            yield places
            places, used = [0], first
        places.append(place)
        used += wanted
    yield places


def _least_width(column: Column) -> int:
    """The smallest width of a column: that of its widest cell, or a few words of a text."""
    cells = [column.header, *column.cells]
    widest = max(cell_len(Text.from_markup(str(cell)).plain) for cell in cells)
    return widest if column.no_wrap else min(widest, _LEAST_TEXT)


def _part(table: Table, places: Sequence[int], width: int) -> Table:
    """A table of these columns. Where even two are too wide, all their cells are folded."""
    columns = [table.columns[place] for place in places]
    fits = sum(_least_width(column) + _BETWEEN for column in columns) <= width
    part = new_table()
    part.show_header = table.show_header
    for column in columns:
        part.add_column(
            column.header,
            justify=column.justify,
            no_wrap=column.no_wrap and fits,
            overflow="fold",
        )
    for row, cells in zip(
        table.rows, zip(*(column.cells for column in columns), strict=True), strict=True
    ):
        part.add_row(*cells, style=row.style)
    return part
