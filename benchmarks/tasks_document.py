"""Writes docs/results/tasks.json, docs/tasks.md and docs/tasks.png from `benchmarks.tasks`.

The JSON file has the results of all seeds; the page and the figure are written from it alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import pages
from benchmarks.aggregates import text_of
from benchmarks.results_data import table
from benchmarks.tasks_rows import ROWS, Row
from benchmarks.tasks_run import result_file
from run_directory.files import replace

PAGE = "tasks"

#: The keys of a result file that are kept.
_KEPT = ("commit", "test", "validation", "wall_s", "cpu_s")


@dataclass(frozen=True, slots=True)
class Finished:
    """A row as the JSON file has it; `rebased` maps commits to those that replaced them."""

    stored: Mapping[str, Any]
    rebased: Mapping[str, str]

    @property
    def metric(self) -> str:
        return str(self.stored["metric"])

    @property
    def data(self) -> str:
        """The name of the data set."""
        return str(self.stored["title"]).partition(",")[0]

    @property
    def over_ns3(self) -> Mapping[str, Mapping[str, Any]]:
        """The results of the seeds that were run over ns-3, by seed."""
        seeds: Mapping[str, Mapping[str, Any]] = self.stored["over_ns3"]
        return seeds

    @property
    def central(self) -> Mapping[str, Mapping[str, Any]]:
        seeds: Mapping[str, Mapping[str, Any]] = self.stored["central"]
        return seeds

    def values(self, kind: Mapping[str, Mapping[str, Any]]) -> list[float]:
        """The main metric on the test split of each seed."""
        return [each["test"][self.metric] for each in kind.values()]

    @property
    def verdict(self) -> str:
        """Whether the target was reached, as far as the finished seeds say."""
        values = self.values(self.over_ns3)
        if not values:
            return "not run"
        word = "reached" if min(values) >= self.stored["target"] else "missed"
        is_complete = len(values) == len(self.stored["seeds"])
        return word if is_complete else f"{word} by the finished seeds"

    def details(self) -> str:
        """A table of the seeds and the baselines."""
        others = [key for key in next(iter(self.over_ns3.values()))["test"] if key != self.metric]
        metrics = [self.metric, *others]
        head = ["", *metrics, "simulated, s", "wall, min", "CPU, min"]
        rows = []
        for label, kind in (("over ns-3", self.over_ns3), ("centrally", self.central)):
            for seed, result in kind.items():
                is_simulated = kind is self.over_ns3
                simulated = f"{result['validation'][-1]['simulated_s']:.0f}" if is_simulated else ""
                values = [_text(result["test"][key]) for key in metrics]
                minutes = [f"{result[key] / 60:.1f}" for key in ("wall_s", "cpu_s")]
                rows.append([f"{label}, seed {seed}", *values, simulated, *minutes])
        for label, value in self.stored["baselines"].items():
            rows.append([label, _text(value), *[""] * (len(head) - 2)])
        return table(head, rows)

    def commits(self, kind: Mapping[str, Mapping[str, Any]]) -> str:
        """The commits that made these results, in words."""
        made = dict.fromkeys(each["commit"] for each in kind.values())
        return " and ".join(
            f"a commit that was rebased as {self.rebased[each]}"
            if each in self.rebased
            else f"commit {each[:7]}"
            for each in made
        )


def file_of(docs: Path) -> Path:
    return docs / "results" / "tasks.json"


def write(results: Path, docs: Path = pages.DOCS) -> None:
    """Writes the file, the figure and the page; rows and seeds without results are missing there.

    Commits that were rebased since are listed in the file by hand; they are kept.
    """
    file = file_of(docs)
    rebased = json.loads(file.read_text())["rebased"] if file.exists() else {}
    rows = {name: collect(name, row, results) for name, row in ROWS.items()}
    file.parent.mkdir(exist_ok=True)
    replace(file, text_of({"rebased": rebased, "rows": rows}).encode())
    found = [each for each in read(docs).values() if each.over_ns3]
    if found:
        figure(found, docs / "tasks.png")
    pages.write(PAGE, page(docs), docs)


def collect(name: str, row: Row, results: Path) -> dict[str, Any]:
    """All that the page says about a row, from the files in `results`."""

    def of(kind: str) -> dict[str, Any]:
        files = {seed: result_file(results, name, kind, seed) for seed in row.seeds}
        found = {str(seed): _json(file) for seed, file in files.items() if file.exists()}
        return {seed: {key: each[key] for key in _KEPT} for seed, each in found.items()}

    baselines = results / name / "baselines.json"
    return {
        "title": row.title,
        "study": row.study,
        "metric": row.metric,
        "target": row.target,
        "minilm": row.minilm,
        "rounds": row.settings["rounds"],
        "local_steps": row.settings["training.local_steps"],
        "batch_size": row.settings["training.batch_size"],
        "seeds": list(row.seeds),
        "note": row.note,
        "versions": dict(_versions(name, row, results)),
        "over_ns3": of("over-ns3"),
        "central": of("central"),
        "baselines": _json(baselines) if baselines.exists() else {},
    }


def _versions(name: str, row: Row, results: Path) -> Iterator[tuple[str, str]]:
    """The versions of the libraries that made the first run there is."""
    for seed in row.seeds:
        manifest = result_file(results, name, "over-ns3", seed).with_suffix("") / "manifest.json"
        if manifest.exists():
            yield from _json(manifest)["versions"].items()
            return


def read(docs: Path = pages.DOCS) -> dict[str, Finished]:
    """The rows by name, as the JSON file has them."""
    stored = _json(file_of(docs))
    return {name: Finished(row, stored["rebased"]) for name, row in stored["rows"].items()}


def page(docs: Path = pages.DOCS) -> str:
    """The page as Markdown; raises `Unsupported` where the file contradicts its text."""
    found = read(docs)
    return pages.render(PAGE, {"rows": found, "summary": summary(list(found.values()))})


def summary(rows: Sequence[Finished]) -> str:
    """A table with a line for each row."""
    head = ["data", "metric", "target", "over ns-3, mean", "worst seed", "seeds"]
    lines = []
    for each in rows:
        values, central = each.values(each.over_ns3), each.values(each.central)
        known = ((_mean, values), (min, values), (_mean, central))
        mean, worst, ceiling = (_text(of(found)) if found else "–" for of, found in known)
        seeds = f"{len(values)} of {len(each.stored['seeds'])}"
        target = f"{each.stored['target']:g}"
        cells = [each.data, each.metric, target, mean, worst, seeds, ceiling, each.verdict]
        lines.append(cells)
    return table([*head, "centrally, mean", ""], lines)


def figure(rows: Sequence[Finished], file: Path) -> None:
    """Draws the main metric on validation examples against the simulated time."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(4 * len(rows), 3.2), layout="constrained")
    for axes, each in zip(made.subplots(1, len(rows), squeeze=False)[0], rows, strict=True):
        for seed, result in each.over_ns3.items():
            points = result["validation"]
            times = [point["simulated_s"] for point in points]
            axes.plot(times, [point[each.metric] for point in points], label=f"seed {seed}")
        if each.central:
            values = [result["validation"][each.metric] for result in each.central.values()]
            axes.axhline(_mean(values), color="black", linestyle="--", label="centrally")
        axes.axhline(each.stored["target"], color="gray", linestyle=":", label="target")
        axes.set(title=each.data, xlabel="simulated time, s", ylabel=each.metric)
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
