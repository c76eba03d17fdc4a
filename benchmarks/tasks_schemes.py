"""`python -m benchmarks.tasks_schemes`: the paper's four schemes on the three tasks on text.

The studies `intents`, `ner` and `translation` are run on their generated data by every scheme with
every seed, as a user runs campaigns: those that are in the campaign's directory already are not run
again. With `--document` the tables replace those in docs/results.md.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from analysis.compare import Comparison, Metric, compare, load_campaign
from collapipe_ns3 import campaign
from collapipe_ns3.campaign import Campaign, CampaignRun, workers

RESULTS = Path("runs/tasks-schemes")
DOCUMENT = Path(__file__).parent.parent / "docs" / "results.md"
BEGIN, END = "<!-- tasks: written by benchmarks/tasks_schemes.py -->\n", "<!-- end of tasks -->"

STUDIES = ("intents", "ner", "translation")
SCHEMES = ("vanilla_fl", "pipeline", "titanic", "collapipe")

#: Settings of all runs, so that one takes at most about 20 s of processor time.
SETTINGS = (
    "training.local_steps=10",
    "training.batch_size=32",
    "training.warm_up_steps=5",
    "scheme.settings.most_micro_batches=4",
    "task.evaluate_size=100",
)
ROUNDS = 6

#: The rows of a table, by their keys in `analysis.compare.METRICS`.
_ROWS = ("metric_at_time", "time_to_metric_s", "final_metric", "round_s")


def main(words: Sequence[str] | None = None) -> int:
    """Runs what is missing and prints the tables; returns 1 if a run failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seeds", default="0-4", help="as 0-4 or 1,2,5")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes at a time")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    parser.add_argument("--studies", nargs="*", default=STUDIES, metavar="STUDY")
    parser.add_argument("--finished", action="store_true", help="no runs: tables of those there")
    parser.add_argument("--document", action="store_true", help="write docs/results.md")
    options = parser.parse_args(words)
    seeds = campaign.parse_seeds(options.seeds)
    tables: list[str] = []
    failed: list[str] = []
    for study in options.studies:
        runs = campaign.plan_runs(
            study, SETTINGS, schemes=SCHEMES, seeds=seeds, grid={}, rounds=options.rounds
        )
        # Seed by seed, so that a campaign that is stopped has some seeds of all schemes.
        in_order = tuple(sorted(runs, key=lambda run: run.seed))
        made = campaign.create(study, in_order, options.results / study)
        if not options.finished:
            failed += execute(made, study, options.jobs)
        if there := finished(made):
            compared = compare(load_campaign(made.directory, {run.name: "" for run in there}))
            tables += [f"### {study}", "", *table(compared), ""]
    text = "\n".join(tables)
    print(text, *failed, sep="\n")
    if options.document:
        DOCUMENT.write_text(replaced(DOCUMENT.read_text(), text))
    return 1 if failed else 0


def execute(made: Campaign, study: str, jobs: int) -> list[str]:
    """Executes the missing runs of a campaign; returns a message for each that failed."""
    with campaign.locked(made, study), closing(workers.run_here(made, jobs)) as ended:
        done = list(ended)
    return [f"{study}, {each.run.name}: {each.error}" for each in done if each.error]


def finished(made: Campaign) -> list[CampaignRun]:
    """The runs of a campaign that have all their rounds, of seeds that all schemes have."""
    missing = made.missing()
    partial = {run.seed for run in missing}
    return [run for run in made.runs if run.seed not in partial]


def table(compared: Comparison) -> Iterator[str]:
    """A Markdown table: a column for each scheme, and the mean and interval of each metric."""
    summary = compared.summary.set_index(["metric", "scheme"])
    schemes = list(dict.fromkeys(compared.summary["scheme"]))
    yield "| | " + " | ".join(f"`{scheme}`" for scheme in schemes) + " |"
    yield "| --- |" + " --- |" * len(schemes)
    for key in _ROWS:
        metric = compared.metrics[key]
        unit = f", {metric.unit}" if metric.unit else ""
        cells = (cell(summary.loc[(key, scheme)].to_dict(), metric) for scheme in schemes)
        yield f"| {metric.label}{unit} | " + " | ".join(cells) + " |"


def cell(row: Mapping[str, float], metric: Metric) -> str:
    """A mean with its interval, or how many seeds have a value where not all have one."""
    if math.isnan(row["mean"]):
        return f"{int(row['reached'])} of {int(row['seeds'])} seeds"
    mean, half = row["mean"] * metric.scale, row["ci95"] * metric.scale
    places = 3 if abs(mean) < 10 else 1
    return f"{mean:.{places}f}" + ("" if math.isnan(half) else f"±{half:.{places}f}")


def replaced(document: str, text: str) -> str:
    """The document with `text` between its two marks; raises `ValueError` without marks."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"docs/results.md has no lines {BEGIN.strip()} and {END}")
    return f"{before}{begin}\n{text}\n{end}{after}"


if __name__ == "__main__":
    sys.exit(main())
