"""One seed of a row of `benchmarks.tasks`, over ns-3 or centrally, in a process of its own.

`python -m benchmarks.tasks_run over-ns3 banking77 1 RESULTS` writes `RESULTS/banking77/seed1.json`,
and `central` instead of `over-ns3` writes `RESULTS/banking77/central1.json`. A run over ns-3 that
was stopped continues after its last round.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.tasks_rows import QUICK, ROWS, Row
from collapipe_ns3 import Study
from collapipe_ns3.learning import registry
from collapipe_ns3.learning.protocol import Learning
from collapipe_ns3.learning.split_model import SplitModel
from collapipe_ns3.random_streams import number
from run_directory.files import replace
from run_directory.whole import CHECKPOINT, is_begun

KINDS = {"over-ns3": "seed", "central": "central"}


def result_file(results: Path, row: str, kind: str, seed: int) -> Path:
    """The file with the result of a seed."""
    return results / row / f"{KINDS[kind]}{seed}.json"


def finished(file: Path, row: Row, seed: int) -> bool:
    """Whether the file has the result of this seed with the row's present settings."""
    if not file.exists():
        return False
    stored: dict[str, Any] = json.loads(file.read_text())
    return Study.from_yaml(stored["study"], str(file)).config == row.load(seed).config


def over_ns3(row: Row, seed: int, directory: Path) -> dict[str, Any]:
    """Runs the study over ns-3, then evaluates the trained model on the whole test split, once."""
    study = row.load(seed)
    spent = Stopwatch.in_file(directory.with_suffix(".time.json"))
    result = study.run(out=directory, resume=is_begun(directory), on_round=spent.store)
    rounds = result.rounds
    test = evaluate_checkpoint(row.load(seed, "test"), directory)
    return {
        "test": test,
        "validation": [
            {"simulated_s": end, row.metric: metric}
            for end, metric in zip(rounds["end_s"], rounds["metric"], strict=True)
        ],
        **spent.now(),
    }


def central(row: Row, seed: int) -> dict[str, Any]:
    """Trains the same model on all data in one place, and evaluates it on both splits."""
    spent = Stopwatch()
    trained = train_centrally(row.load(seed))
    validation = task_of(row.load(seed)).evaluate(trained)
    test = task_of(row.load(seed, "test")).evaluate(trained)
    return {"test": test, "validation": validation, **spent.now()}


def train_centrally(study: Study) -> SplitModel:
    """The study's model trained by a plain loop on the examples of all clusters together.

    Batch size, optimizer, learning rates and the number of examples are the study's: one cluster
    takes all the steps that the study's clusters take, so that there are as many times more steps.
    The same study gives the same model.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(number(study.config.seed, "central training"))  # dropout draws from it
        return _trained(study)


def _trained(study: Study) -> SplitModel:
    clusters = len(study.config.clusters)
    config = study.with_(
        set={
            "clusters": [study.config.clusters[0].model_dump(mode="json")],
            "training.local_steps": study.config.training.least_steps * clusters,
        }
    ).config
    task = registry.make(config.task.name, config.learning_setup(), config.task.settings)
    model = task.model(number(config.seed, "weights")).train()
    training, updates = config.training, config.training.updates(config.rounds)
    *blocks, last = model.parts().values()
    units = [
        (part, training.kind.make(part.parameters(), training.learning_rate), part is last)
        for part in (*blocks, last)
    ]
    steps = 0
    for round in range(config.rounds):
        batches = task.batches(0, round)
        for _ in range(training.least_steps):
            model.uncut_loss(next(batches)).backward()
            update = updates.at(steps)
            for part, optimizer, is_last in units:
                update.prepare(optimizer, part, is_last)
                optimizer.step()
                optimizer.zero_grad()
            steps += 1
    return model


def evaluate_checkpoint(study: Study, directory: Path) -> dict[str, float]:
    """Metrics of the model that a run has trained, on the split that the study names."""
    task = task_of(study)
    model = task.model(number(study.config.seed, "weights"))
    stored = torch.load(directory / CHECKPOINT, weights_only=True)
    model.load_state_dict(stored["training"]["model"])
    return task.evaluate(model)


def task_of(study: Study) -> Learning:
    """The study's task with its data."""
    config = study.config
    return registry.make(config.task.name, config.learning_setup(), config.task.settings)


@dataclass
class Stopwatch:
    """The wall-clock and the processor time of this process, and of those before it.

    With a `file`, `store` keeps the times for a later process that continues the work.
    """

    file: Path | None = None
    before_wall_s: float = 0.0
    before_cpu_s: float = 0.0
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def in_file(cls, file: Path) -> Stopwatch:
        """Continues with the times in a file, if it is there."""
        if not file.exists():
            return cls(file)
        times = json.loads(file.read_text())
        return cls(file, times["wall_s"], times["cpu_s"])

    def now(self) -> dict[str, float]:
        return {
            "wall_s": self.before_wall_s + time.monotonic() - self.began,
            "cpu_s": self.before_cpu_s + time.process_time(),
        }

    def store(self) -> None:
        if self.file is not None:
            self.file.write_text(json.dumps(self.now()))


def commit() -> str:
    """The commit of this code, with a + where files differ from it; empty without git."""
    here = Path(__file__).parent
    try:
        head, changes = (
            subprocess.run(
                ["git", *command], capture_output=True, text=True, cwd=here, check=True
            ).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head + ("+" if changes else "")


def main(kind: str, name: str, seed: int, results: Path) -> None:
    """Makes the result of a seed and writes its file."""
    row = {**ROWS, **QUICK}[name]
    file = result_file(results, name, kind, seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    made_by = {"commit": commit(), "command": shlex.join(sys.orig_argv[1:])}
    found = over_ns3(row, seed, file.with_suffix("")) if kind == "over-ns3" else central(row, seed)
    study = row.load(seed).to_yaml()
    replace(file, json.dumps({"study": study, **made_by, **found}, indent=1).encode())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
