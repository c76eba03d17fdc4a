"""The bars of the interactive timelines, packed into bytes that the page's script unpacks."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.load import Runs
from analysis.round_timeline import (
    COMPUTE,
    WAIT,
    nodes_in_order,
    round_bars,
    round_phases,
    slowest_round,
)

#: Which rounds of each run have a timeline: the first, the slowest and the last, or all.
Rounds = Literal["some", "all"]

#: The columns of the packed bars, in the order of their bytes: widest first, so that each is
#: aligned. Times are whole multiples of the timeline's `unit_s`.
COLUMNS: Mapping[str, str] = {
    "bytes": "<f8",
    "start": "<u4",
    "end": "<u4",
    "sinr_db": "<f4",
    "label": "<u2",
    "node": "<u2",
    "kind": "<u1",
    "lane": "<u1",
    "outcome": "<u1",
}

#: Where the bars of a track lie within the row of their node: above, in the middle, below.
LANES = ("compute", "sent", "received")

#: The name of the row that shows the phases of a round.
_PHASE_ROW = "phase"

#: The kinds of the bars of that row, in turn.
PHASES = ("phase", "next phase")


@dataclass(frozen=True, slots=True)
class Timeline:
    """A round of a run: what the page's script needs to draw it, as plain data."""

    run: str
    round: int
    why: str
    content: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"run": self.run, "round": self.round, "why": self.why, **self.content}


def timelines(runs: Runs, rounds: Rounds, kinds: Sequence[str]) -> list[Timeline]:
    """The timelines of each run; `kinds` lists the kinds of bars, whose numbers are packed."""
    return [
        Timeline(run.runs[0].name, number, why, _packed(run, number, kinds))
        for run in runs
        for number, why in _numbers(run, rounds).items()
    ]


def _numbers(run: Runs, rounds: Rounds) -> dict[int, str]:
    """The rounds that have a timeline, in their order, and why each is among them."""
    numbers = sorted(int(number) for number in run.table("rounds", columns=["round"])["round"])
    reasons: dict[int, list[str]] = {number: [] for number in numbers}
    reasons[numbers[0]].append("first")
    reasons[slowest_round(run)].append("slowest")
    reasons[numbers[-1]].append("last")
    return {number: ", ".join(why) for number, why in reasons.items() if why or rounds == "all"}


def _packed(run: Runs, number: int, kinds: Sequence[str]) -> dict[str, Any]:
    bars = round_bars(run, number)
    nodes = nodes_in_order(bars)
    phases = round_phases(run, number)
    bars = pd.concat([_phase_bars(phases[phases["end_s"] > phases["start_s"]]), bars])
    own = run.rounds.loc[run.rounds["round"] == number, "duration_s"]
    duration_s = max([*own.to_numpy(float), *bars["end_in_round_s"].to_numpy(float)])
    unit_s = 10.0 ** max(-6, math.ceil(math.log10(max(duration_s, 1e-6) / 2**32)))
    label, labels = _coded(bars["label"].astype(str))
    outcome, outcomes = _coded(bars["outcome"].astype(str))
    rows = [_PHASE_ROW, *nodes]
    code = {kind: place for place, kind in enumerate(kinds)}
    packed = {
        "bytes": bars["bytes"],
        "start": np.rint(bars["start_in_round_s"] / unit_s).clip(lower=0),
        "end": np.rint(bars["end_in_round_s"] / unit_s).clip(lower=0),
        "sinr_db": bars["sinr_db"],
        "label": label,
        "node": bars["node"].map({node: place for place, node in enumerate(rows)}),
        "kind": bars["kind"].map(lambda kind: code.get(kind, len(kinds) - 1)),
        "lane": bars["track"].map(_lane),
        "outcome": outcome,
    }
    content = b"".join(np.asarray(packed[key]).astype(t).tobytes() for key, t in COLUMNS.items())
    return {
        "rows": rows,
        "labels": labels,
        "outcomes": outcomes,
        "unit_s": unit_s,
        "duration_s": duration_s,
        "count": len(bars),
        "data": base64.b64encode(_deflated(content)).decode(),
    }


def _phase_bars(phases: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "node": _PHASE_ROW,
            "track": COMPUTE,
            "kind": [PHASES[number % 2] for number in range(len(phases))],
            "label": phases["phase"],
            "start_in_round_s": phases["start_s"],
            "end_in_round_s": phases["end_s"],
            "bytes": 0,
            "sinr_db": np.nan,
            "outcome": "",
        }
    )


def _lane(track: str) -> int:
    if track in (COMPUTE, WAIT):
        return 0
    return 1 if track.endswith(" sent") else 2


def _coded(words: pd.Series) -> tuple[np.ndarray, list[str]]:
    codes, found = pd.factorize(words)
    return codes, [str(word) for word in found]


def _deflated(content: bytes) -> bytes:
    """Compressed as `DecompressionStream("deflate-raw")` of browsers reads it."""
    compress = zlib.compressobj(9, wbits=-15)
    return compress.compress(content) + compress.flush()
