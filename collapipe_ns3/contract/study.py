"""The tiny studies that plug-ins are checked with, and made-up measurements of their links."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import torch

from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.contract import Violation
from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.observed import MeasuredLink
from collapipe_ns3.reading import study_file
from collapipe_ns3.run.link_book import LinkBook
from collapipe_ns3.run.records import RoundRecord
from collapipe_ns3.run.runner import Run
from collapipe_ns3.topology import layout

#: Rounds of a run; a scheme plans the second with what it learned from the first.
ROUNDS = 2

#: Thermal noise at 290 K with a noise figure of 6 dB, in W/Hz.
_NOISE_W_HZ = 1.6e-20

_TINY: dict[str, Any] = {
    "name": "contract",
    "rounds": ROUNDS,
    "model": {
        "width": 16,
        "heads": 2,
        "feed_forward": 32,
        "encoder_blocks": 2,
        "decoder_blocks": 1,
    },
    "task": {"limit": 100, "kinds": ["cardinal"], "test_size": 10, "cluster_size": 32},
    "training": {"batch_size": 12, "local_steps": 1},
}

#: The devices of an ordinary cluster.
NEAR = ("raspberry-pi-4", "phone-midrange")


def tiny(clusters: Sequence[Sequence[object]] = (NEAR,), **changes: object) -> StudyConfig:
    """A tiny study with these devices in each cluster, given as profiles or as nodes of a study."""
    described = [{"cu": "jetson-nano", "devices": list(devices)} for devices in clusters]
    config, found = study_file.check({**copy.deepcopy(_TINY), "clusters": described, **changes})
    if config is None or found:
        raise Violation("; ".join(map(str, found)))
    return config


def links(config: StudyConfig, gain: float, loss: float = 0.0) -> LinkBook:
    """Measurements of all links of the study, with this gain (linear) and loss rate."""
    book: dict[tuple[str, str], MeasuredLink] = {}
    for number, devices in enumerate(layout.device_names(config)):
        control = control_unit(number)
        pairs = [*permutations((control, *devices), 2), (control, SERVER), (SERVER, control)]
        book |= {pair: _link(*pair, gain, loss) for pair in pairs}
    return LinkBook(book)


def _link(src: str, dst: str, gain: float, loss: float) -> MeasuredLink:
    power_w, bandwidth_hz = 0.1, 1e6
    sinr = power_w * gain / (bandwidth_hz * _NOISE_W_HZ)
    goodput_bps = bandwidth_hz * min(sinr, 1.0) * (1 - loss)
    return MeasuredLink(
        src,
        dst,
        gain=gain,
        interference_w_hz=_NOISE_W_HZ,
        sinr=sinr,
        goodput_bps=goodput_bps,
        loss=loss,
        age_s=0.0,
        tx_power_w=power_w,
    )


def rounds(make: Callable[[], Run], stopped: bool = False) -> list[RoundRecord]:
    """The records of a run's rounds; with `stopped`, each is resumed from the last checkpoint."""
    run, records = make(), []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, "checkpoint.pt")
        while run.next_round < ROUNDS:
            records.append(next(run.rounds(ROUNDS)))
            checkpoint.write_bytes(run.checkpoint())
            if stopped:
                run = make()
                run.resume(checkpoint)
    return records


def differences(some: Sequence[RoundRecord], others: Sequence[RoundRecord]) -> Iterator[str]:
    """The first difference in each table of two runs, except in wall-clock columns."""
    for one, other in zip(some, others, strict=True):
        tables = other.tables()
        for name, rows in one.tables().items():
            if len(rows) != len(tables[name]):
                yield f"round {one.plan.round}, {name}: {len(rows)} rows and {len(tables[name])}"
                continue
            for row, twin in zip(rows, tables[name], strict=True):
                if changed := [key for key in row if _differs(key, row, twin)]:
                    key = changed[0]
                    yield f"round {one.plan.round}, {name}.{key}: {row[key]} and {twin[key]}"
                    break


def _differs(key: str, row: Mapping[str, Any], twin: Mapping[str, Any]) -> bool:
    # Compared as text, in which nan equals nan.
    return "wall" not in key and repr(row[key]) != repr(twin[key])


def cpu_run(config: StudyConfig) -> Run:
    """A run of the study with tensors on the CPU."""
    return Run(config, torch.device("cpu"))
