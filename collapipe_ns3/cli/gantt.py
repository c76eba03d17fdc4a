"""A Gantt chart of a timeline as text: a row per processor or link, time from left to right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from collapipe_ns3.eventgraph.timeline import Bar, Timeline

_SHADES = " ░▒▓█"


@dataclass(frozen=True, slots=True)
class GanttRow:
    """What occupies one processor (`dst` is empty) or directed link, in order of time."""

    src: str
    dst: str
    bars: tuple[Bar, ...]

    @property
    def name(self) -> str:
        return f"{self.src} → {self.dst}" if self.dst else self.src


def rows(timeline: Timeline, cluster: int | None = None) -> list[GanttRow]:
    """The rows of a timeline's processors and links, in the order in which each is first used.

    With `cluster`, only those of that cluster and the base station.
    """
    found: dict[tuple[str, str], list[Bar]] = {}
    for bar in sorted(timeline.bars, key=lambda bar: (bar.start_ns, bar.end_ns)):
        if cluster is None or bar.cluster in (cluster, -1):
            found.setdefault((bar.src, bar.dst), []).append(bar)
    return [GanttRow(src, dst, tuple(bars)) for (src, dst), bars in found.items()]


def text(
    timeline: Timeline,
    width: int = 80,
    cluster: int | None = None,
    since_ns: int = 0,
    until_ns: int | None = None,
) -> str:
    """The chart as text, `width` columns wide, from `since_ns` to `until_ns` or the round's end.

    The darker a column, the larger the fraction of its time in which the processor or link is busy.
    Only rows that are busy at some time are shown. The last line has the times at the left and at
    the right end.
    """
    end_ns = until_ns or timeline.total_ns
    chart = [
        row
        for row in rows(timeline, cluster)
        if any(bar.end_ns > since_ns and bar.start_ns < end_ns for bar in row.bars)
    ]
    label = max((len(row.name) for row in chart), default=0)
    lines = [f"{row.name:<{label}} │{_line(row.bars, width, since_ns, end_ns)}│" for row in chart]
    left, right = f"{since_ns / 1e9:.4g} s", f"{end_ns / 1e9:.4g} s"
    lines.append(f"{'':<{label}}  {left}{right:>{max(width - len(left), 1)}}")
    return "\n".join(lines)


def _line(bars: Iterable[Bar], width: int, since_ns: int, end_ns: int) -> str:
    """The columns of one row. Bars may overlap, by the latency of transfers, and count once."""
    busy = [0.0] * width
    column_ns = max((end_ns - since_ns) / width, 1e-9)
    reached_ns = since_ns
    for bar in bars:
        start, stop = max(bar.start_ns, reached_ns), min(bar.end_ns, end_ns)
        reached_ns = max(reached_ns, bar.end_ns)
        if stop <= start:
            continue
        first = int((start - since_ns) / column_ns)
        last = min(int((stop - since_ns) / column_ns), width - 1)
        for column in range(first, last + 1):
            begin = since_ns + column * column_ns
            finish = begin + column_ns
            busy[column] += max(min(stop, finish) - max(start, begin), 0.0) / column_ns
    return "".join(_shade(part) for part in busy)


def _shade(part: float) -> str:
    """The character for a busy fraction; the smallest positive fraction is still visible."""
    if part <= 0:
        return _SHADES[0]
    return _SHADES[min(1 + int(part * (len(_SHADES) - 1)), len(_SHADES) - 1)]
