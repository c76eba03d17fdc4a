"""`python -m benchmarks.recovery STUDY`: what recovery costs without a loss, and saves after one.

Executes the first round of a study for every way to recover: without a fault, and with a device
that leaves for good in the middle of a local step, the second one and the last one. Prints the
round's duration, the bytes of copies, the largest peak memory of a device, and the local steps
that were computed again. `--set KEY=VALUE` changes the study, as on the command line.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from collapipe_ns3 import Study
from collapipe_ns3.nodes import cluster_of
from collapipe_ns3.result import Result

#: Policies with the local steps between copies.
RECOVERIES = (("abandon", 1), ("restart", 1), ("replicate", 1), ("replicate", 2))

_MB = 1e6
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Row:
    """A round: when a device was lost, and what became of it."""

    recovery: str
    lost_in: str
    duration_s: float
    copies_bytes: int
    peak_memory_bytes: int
    repeated_steps: int
    fate: str

    def __str__(self) -> str:
        return (
            f"| {self.recovery} | {self.lost_in} | {self.duration_s:.2f} "
            f"| {self.copies_bytes / _MB:.2f} | {self.peak_memory_bytes / _MIB:.1f} "
            f"| {self.repeated_steps} | {self.fate} |"
        )


def rows(
    study: str, scheme: str, device: str, changes: Sequence[str], folder: Path
) -> Iterator[Row]:
    """A row for each way to recover and each instant of the loss."""
    for policy, every in RECOVERIES:
        name = policy if policy != "replicate" else f"replicate, every {every}"
        given = [*changes, f"training.recovery={{policy: {policy}, copy_every: {every}}}"]
        out = folder / f"{policy}{every}"
        whole = Study.load(study, given, scheme=scheme).run(rounds=1, out=out / "whole")
        yield _row(name, "–", whole, device)
        last = int(whole.computes["step"].max())
        for step in (1, last):
            at_s = _middle_s(whole, device, step)
            away = f"faults.nodes=[{{nodes: [{device}], away_s: [[{at_s}, null]]}}]"
            lost = Study.load(study, [*given, away], scheme=scheme).run(
                rounds=1, out=out / f"{step}"
            )
            yield _row(name, f"local step {step}", lost, device)


def _middle_s(result: Result, device: str, step: int) -> float:
    """The middle of a device's work in a local step."""
    done = result.computes
    own = done[(done["node"] == device) & (done["step"] == step)]
    if own.empty:
        raise SystemExit(f"{device} has no part in the round; expected another --device")
    return float((own["start_s"].min() + own["end_s"].max()) / 2)


def _row(recovery: str, lost_in: str, result: Result, device: str) -> Row:
    transfers, pipelines = result.transfers, result.pipelines
    copies = transfers[(transfers["kind"] == "parameters") & (transfers["step"] >= 0)]
    own = pipelines[pipelines["cluster"] == cluster_of(device)].iloc[0]
    devices: pd.DataFrame = result.devices
    return Row(
        recovery,
        lost_in,
        float(result.rounds["duration_s"].iloc[0]),
        int((copies["bytes"] - copies["lost_bytes"]).sum()),
        int(devices[devices["device"].str.contains(r"\.d")]["peak_memory_bytes"].max()),
        int(own["repeated_steps"]),
        str(own["fate"]),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.recovery")
    parser.add_argument("study")
    parser.add_argument("--scheme", default="pipeline")
    parser.add_argument("--device", default="c0.d1", help="the device that is lost")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args(arguments)
    print("| recovery | lost in | round (s) | copies (MB) | peak memory (MiB) | repeated | fate |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for row in rows(given.study, given.scheme, given.device, given.set, Path(folder)):
            print(row, flush=True)


if __name__ == "__main__":
    main()
