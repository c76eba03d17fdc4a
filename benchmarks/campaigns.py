"""The campaigns of docs/results.md, each under the name that `make results STUDY=name` takes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SCHEMES = ("vanilla_fl", "pipeline", "titanic", "collapipe")

#: The metrics in a table of differences, by their keys in `analysis.compare.METRICS`.
DIFFERENCES = (
    "round_s",
    "computation_s",
    "time_to_loss_s",
    "peak_device_memory_bytes",
    "device_energy_j",
    "bytes_on_air",
)

_ALL = (
    "round_s",
    "computation_s",
    "time_to_loss_s",
    "metric_at_time",
    "final_loss",
    "peak_device_memory_bytes",
    "device_energy_j",
    "bytes_on_air",
    "fairness",
)
_WITHOUT_METRIC = tuple(key for key in _ALL if key != "metric_at_time")
_COSTS = ("round_s", "computation_s", *DIFFERENCES[3:])
_LEARNING = ("metric_at_time", "time_to_metric_s", "final_metric", "round_s")


@dataclass(frozen=True, slots=True)
class Campaign:
    """A comparison of schemes on a study, and what the page shows of it.

    `rounds` is None for the study's own number. `sets` are settings as `--set` takes them. `jobs`
    limits the processes at a time where each needs much memory. `rows` are the metrics in the
    table of means.
    """

    study: str
    rows: tuple[str, ...]
    rounds: int | None = None
    sets: tuple[str, ...] = ()
    jobs: int | None = None
    seeds: str = "0-4"
    schemes: tuple[str, ...] = SCHEMES

    def words(self) -> list[str]:
        """The command line that makes the campaign, without the name of the program."""
        options = ["--seeds", self.seeds]
        if self.schemes != SCHEMES:
            options += ["--schemes", ",".join(self.schemes)]
        if self.rounds is not None:
            options += ["--rounds", str(self.rounds)]
        for each in self.sets:
            options += ["--set", each]
        if self.jobs is not None:
            options += ["--jobs", str(self.jobs)]
        return ["compare", self.study, *options]

    @property
    def command(self) -> str:
        """The command as a reader types it."""
        return shlex.join(["collapipe-ns3", *self.words()])


#: Settings of the studies of text, so that a run takes at most about 20 s of processor time.
_TEXT = (
    "training.local_steps=10",
    "training.batch_size=32",
    "training.warm_up_steps=5",
    "scheme.settings.most_micro_batches=4",
    "task.evaluate_size=100",
)

#: `vanilla_fl` takes 13 GB of memory on `paper-transformer`, so that one run is made at a time.
CAMPAIGNS: Mapping[str, Campaign] = {
    "quickstart": Campaign("quickstart", _ALL),
    "dense-interference": Campaign("dense-interference", _ALL, rounds=6),
    "mobile": Campaign("mobile", _ALL, rounds=6),
    "paper-transformer": Campaign("paper-transformer", _WITHOUT_METRIC, rounds=1, jobs=1),
    "paper-transformer-10-steps": Campaign(
        "paper-transformer", _COSTS, rounds=1, sets=("training.local_steps=10",), jobs=1
    ),
    "paper-transformer-20-mhz": Campaign(
        "paper-transformer", _COSTS, rounds=1, sets=("radio.d2d.bandwidth_hz=20e6",), jobs=1
    ),
    "intents": Campaign("intents", _LEARNING, rounds=6, sets=_TEXT),
    "ner": Campaign("ner", _LEARNING, rounds=6, sets=_TEXT),
    "translation": Campaign("translation", _LEARNING, rounds=6, sets=_TEXT),
}


def file_of(name: str, docs: Path) -> Path:
    """The JSON file with the aggregates of a campaign."""
    return docs / "results" / f"{name}.json"
