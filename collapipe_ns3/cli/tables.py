"""Tables and texts on consoles of any width.

A table that does not fit is cut into parts below each other, each with the first column and as many
of the others, in their order, as there is room for. So no figure is dropped or cut short.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

_LEAST_TEXT = 16  # columns that a text is wrapped into; fewer would leave a word a line
_BETWEEN = 2  # columns between two columns of a table, and at its edges together


def new_table(*headings: str, texts: Sequence[str] = ()) -> Table:
    """An empty table in the style of all. Columns named in `texts` may be wrapped, others never.

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
    """The table, in as many parts as it takes."""
    for places in _parts(table, console.width):
        console.print(_part(table, places, console.width))


def print_text(console: Console, text: str | Text) -> None:
    """Lines of text, on a terminal wrapped between words and indented as they begin.

    Elsewhere, in a file or for another program, lines stay whole.
    """
    whole = text if isinstance(text, Text) else Text(text)
    for line in whole.split("\n", allow_blank=True):
        indent = len(line.plain) - len(line.plain.lstrip(" "))
        if console.is_terminal:
            console.print(Padding(line[indent:], (0, 0, 0, indent)), overflow="fold")
        else:
            console.print(line, soft_wrap=True)


def _parts(table: Table, width: int) -> Iterator[list[int]]:
    """The columns of each part by their places; the first is in all."""
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
    """What a column can't do with less of: all of its widest cell, or a few words of a text."""
    cells = [column.header, *column.cells]
    widest = max(cell_len(Text.from_markup(str(cell)).plain) for cell in cells)
    return widest if column.no_wrap else min(widest, _LEAST_TEXT)


def _part(table: Table, places: Sequence[int], width: int) -> Table:
    """These columns alone. Where even two are too wide, all their cells are folded."""
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
