"""Tables that are made from the other files of a run: its plans, predictions and media."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from run_directory.schemas import WORD
from run_directory.whole import WholeRun

#: The columns of one row of a table.
Row = dict[str, Any]

_RUN = [("scheme", WORD), ("seed", pa.int64())]

#: The columns of each table, without those of the run and of its point in a campaign's grid.
DERIVED: Mapping[str, pa.Schema] = {
    "plans": pa.schema(
        [
            *_RUN,
            *[(key, pa.int64()) for key in ("round", "cluster", "pipeline", "stage")],
            ("device", WORD),
            *[(key, pa.int64()) for key in ("first_block", "last_block", "blocks")],
            ("recompute", pa.bool_()),
            ("micro_batches", pa.int64()),
            *[("schedule", WORD), ("share", pa.float64())],
        ]
    ),
    "predictions": pa.schema(
        [
            *[*_RUN, ("round", pa.int64())],
            *[(key, WORD) for key in ("what", "name", "quantity")],
            *[(key, pa.float64()) for key in ("predicted", "measured")],
        ]
    ),
    "media": pa.schema(
        [
            *_RUN,
            *[(key, WORD) for key in ("medium", "stack")],
            *[(key, pa.float64()) for key in ("bandwidth_hz", "sinr_db", "goodput_bps")],
        ]
    ),
}


def rows_of(name: str, run: WholeRun) -> Iterator[Row]:
    """The rows of one of the `DERIVED` tables, without the columns of the run."""
    return _ROWS[name](run)


def _plans(run: WholeRun) -> Iterator[Row]:
    """A row for each stage of each plan."""
    for plan in run.plans:
        for cluster in plan.get("clusters", ()):
            for number, pipeline in enumerate(cluster["pipelines"]):
                for stage, held in enumerate(pipeline["stages"]):
                    yield {
                        "round": plan["round"],
                        "cluster": cluster["cluster"],
                        "pipeline": number,
                        "stage": stage,
                        "device": held["device"],
                        "first_block": held["first"],
                        "last_block": held["last"],
                        "blocks": held["last"] - held["first"] + 1,
                        "recompute": held.get("recompute", False),
                        "micro_batches": pipeline["micro_batches"],
                        "schedule": pipeline["schedule"],
                        "share": pipeline.get("share", math.nan),
                    }


def _predictions(run: WholeRun) -> Iterator[Row]:
    """A row for each quantity that the scheme predicted and then measured."""
    for plan in run.plans:
        # Schemes of users may explain their plans in any form.
        explanation = plan.get("explanation")
        measured = explanation.get("measured") if isinstance(explanation, Mapping) else None
        for each in measured if isinstance(measured, Sequence) else ():
            if isinstance(each, Mapping) and {"quantity", "predicted", "measured"} <= each.keys():
                yield {
                    "round": plan["round"],
                    **{key: str(each.get(key, "")) for key in ("what", "name", "quantity")},
                    **{key: _number(each[key]) for key in ("predicted", "measured")},
                }


def _media(run: WholeRun) -> Iterator[Row]:
    """A row for each point of each medium's curve of goodput over SINR."""
    for medium in run.media:
        for sinr_db, goodput_bps in zip(medium["sinr_db"], medium["goodput_bps"], strict=True):
            yield {
                **{key: medium[key] for key in ("medium", "stack", "bandwidth_hz")},
                "sinr_db": sinr_db,
                "goodput_bps": goodput_bps,
            }


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


_ROWS: Mapping[str, Callable[[WholeRun], Iterator[Row]]] = {
    "plans": _plans,
    "predictions": _predictions,
    "media": _media,
}
