"""The empty chart of the timelines, which the page's script fills.

It is drawn on a canvas: without a graphics processor, WebGL took ten times as long for a frame of
10 000 bars, and its library is 0.2 MB more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from bokeh.embed import json_item
from bokeh.models import (
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    LinearColorMapper,
    PanTool,
    Range1d,
    ResetTool,
    SaveTool,
    WheelZoomTool,
)
from bokeh.plotting import figure
from bokeh.resources import Resources

#: The columns of the chart's bars.
_COLUMNS = (
    "y", "height", "left", "right", "kind", "node", "lane", "label", "start", "end", "length",
    "more",
)  # fmt: skip


def scripts() -> list[str]:
    """The source of BokehJS."""
    return list(Resources(mode="inline", components=["bokeh"]).js_raw)


def empty_chart(colours: Sequence[str]) -> str:
    """The chart as JSON, with the same text whenever it is made; `colours` are by kind."""
    source = ColumnDataSource({name: [] for name in _COLUMNS}, name="bars")
    plot = figure(
        name="plot",
        sizing_mode="stretch_width",
        height=400,
        x_range=Range1d(0, 1, name="x"),
        y_range=Range1d(0, 1, name="y"),
        tools=[PanTool(dimensions="width"), ResetTool(), SaveTool()],
        toolbar_location="above",
        background_fill_color=None,
        border_fill_color=None,
    )
    mapper = LinearColorMapper(palette=list(colours), low=-0.5, high=len(colours) - 0.5)
    bars = plot.hbar(
        y="y",
        height="height",
        left="left",
        right="right",
        fill_color={"field": "kind", "transform": mapper},
        line_color=None,
        source=source,
    )
    wheel = WheelZoomTool(dimensions="width", maintain_focus=False)
    tooltips = [
        ("node", "@node, @lane"),
        ("what", "@label"),
        ("time", "@start s to @end s"),
        ("duration", "@length s"),
        ("", "@more"),
    ]
    plot.add_tools(wheel, HoverTool(renderers=[bars], tooltips=tooltips))
    plot.toolbar.active_scroll = wheel
    plot.toolbar.logo = None
    plot.xaxis.axis_label = "time since the round began [s]"
    plot.yaxis.ticker = FixedTicker(ticks=[], name="rows")
    plot.ygrid.grid_line_color = None
    return _with_own_ids(json_item(plot))


def _with_own_ids(item: Any) -> str:
    """The item with ids in the order in which they appear; bokeh's differ from call to call."""
    text = json.dumps(item, separators=(",", ":"))
    found = dict.fromkeys(re.findall(r'"(?:p\d{4,}|[0-9a-f]{8}-[0-9a-f-]{27})"', text))
    own = {old: f'"m{number}"' for number, old in enumerate(found)}
    return re.sub("|".join(map(re.escape, own)), lambda match: own[match.group()], text)
