"""Runs for the tests of the report, and Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest
from headless import chromium as chromium
from synthetic_runs import write_campaign, write_run

#: The duration of a round of each scheme by seed, in seconds: titanic takes 3/2 of collapipe's.
DURATIONS = {"collapipe": (2.0, 4.0, 6.0), "titanic": (3.0, 6.0, 9.0)}

#: The metric after the last round: the differences by seed are 0.1, −0.1 and 0.
METRICS = {"collapipe": (0.5, 0.6, 0.7), "titanic": (0.6, 0.5, 0.7)}

DEVICES = ("c0.d0", "c0.d1")


@pytest.fixture(scope="session")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two schemes with three seeds, three rounds each, of which the second is the slowest."""
    folder = tmp_path_factory.mktemp("report") / "campaign"
    names = []
    for scheme, durations in DURATIONS.items():
        for seed, duration_s in enumerate(durations):
            names.append(f"{scheme}-seed{seed}")
            write_one(folder / "cells" / names[-1], scheme, seed, duration_s)
    return write_campaign(folder, names)


def write_one(path: Path, scheme: str, seed: int, duration_s: float) -> Path:
    lengths = [duration_s, duration_s + 0.5, duration_s - 0.5]
    rounds = [
        {
            "duration_s": length,
            "pipeline_s": length,
            "computation_s": length / 2,
            "loss": 2.0 - number,
            "test_loss": 2.0 - number,
            "metric": METRICS[scheme][seed] - 0.1 * (2 - number),
            "device_energy_j": 5.0,
        }
        for number, length in enumerate(lengths)
    ]
    starts = [sum(lengths[:number]) for number in range(3)]
    computes = [
        {"round": number, "node": device, "stage": stage, "start_s": start, "end_s": start + 1}
        for number, start in enumerate(starts)
        for stage, device in enumerate(DEVICES)
    ]
    transfers = [
        {"round": number, "start_s": start + 1, "end_s": start + 1.25, "bytes": 1000}
        for number, start in enumerate(starts)
    ]
    devices = [
        {"round": number, "device": device, "peak_memory_bytes": 2**20, "compute_energy_j": 2.5}
        for number in range(3)
        for device in DEVICES
    ]
    nodes = [
        {"round": number, "node": device, "x_m": 10.0 * place, "end_x_m": 10.0 * place}
        for number in range(3)
        for place, device in enumerate(DEVICES)
    ]
    return write_run(
        path,
        scheme=scheme,
        seed=seed,
        rounds=rounds,
        computes=computes,
        transfers=transfers,
        devices=devices,
        nodes=nodes,
        manifest={"git_commit": "0123abc", "python": "3.11.7", "versions": {"ns3": "3.44"}},
    )
