"""Movements as CSV: a line for each corner."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator

from ns3_scenarios.mobility import Corner
from ns3_scenarios.recording import BadTrace, Recording, number_in

#: The first line; the last column may be left out.
HEADER = ("time_s", "node", "x_m", "y_m", "z_m")


def read_csv(text: str) -> Recording:
    """The corners of every node; heights are nan if there is no such column.

    Raises `BadTrace`.
    """
    corners: dict[str, list[Corner]] = {}
    lines: dict[str, int] = {}
    rows = _rows(text)
    _, header = next(rows, (1, []))
    if tuple(header) not in (HEADER, HEADER[:-1]):
        raise BadTrace(f"expected {','.join(HEADER)} in the first line (z_m may be left out)")
    for line, row in rows:
        if len(row) != len(header):
            raise BadTrace(f"line {line}: expected {len(header)} values, not {len(row)}")
        time_s, x, y, *height = (number_in(row[i], line) for i in range(len(row)) if i != 1)
        name = row[1]
        of_node = corners.setdefault(name, [])
        lines.setdefault(name, line)
        if of_node and round(time_s * 1e9) <= round(of_node[-1][0] * 1e9):
            raise BadTrace(
                f"line {line}: expected a time after {of_node[-1][0]:g} s, {name}'s last, "
                f"not {time_s:g} s"
            )
        of_node.append((time_s, x, y, height[0] if height else math.nan))
    if not corners:
        raise BadTrace("expected a line after the header for every corner, and has none")
    return Recording({name: tuple(way) for name, way in corners.items()}, lines, numbered=False)


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """The number and the values of each line that isn't blank; raises `BadTrace`."""
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise BadTrace(f"line {reader.line_num}: {error}") from None
