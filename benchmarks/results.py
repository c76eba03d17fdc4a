"""`python -m benchmarks.results [CAMPAIGN …]`: makes campaigns, and docs/results.md from them.

Each named campaign of `benchmarks.campaigns` is executed by `collapipe-ns3 compare`, which
continues one that was stopped. Its aggregates are then written to docs/results/CAMPAIGN.json, and
the page is written from these files and its template. Without a name, only the page is written.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.figures.image_file import image_bytes
from benchmarks import aggregates, pages, results_data, results_figure
from benchmarks.aggregates import NotTheCampaign
from benchmarks.campaigns import CAMPAIGNS, Campaign, file_of
from collapipe_ns3.names import did_you_mean
from run_directory.files import replace
from run_directory.whole import NotARun, NotWhole

RUNS = Path("runs/results")


def main(words: Sequence[str] | None = None, docs: Path = pages.DOCS) -> int:
    """Makes the campaigns and the page; returns 1 where a campaign failed or the page differs."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.results", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("campaigns", nargs="*", metavar="CAMPAIGN", help="as the page's headings")
    parser.add_argument(
        "--runs", type=Path, default=RUNS, metavar="DIR", help="where runs are kept"
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="processes at a time")
    parser.add_argument("--fresh", action="store_true", help="make runs again that other code made")
    parser.add_argument(
        "--finished", action="store_true", help="execute nothing: the runs are in DIR already"
    )
    parser.add_argument("--check", action="store_true", help="write nothing: compare the page")
    options = parser.parse_args(words)
    for name in options.campaigns:
        if name not in CAMPAIGNS:
            parser.error(f"no campaign {name!r}; {did_you_mean(name, CAMPAIGNS)}")
    for name in options.campaigns:
        campaign, directory = CAMPAIGNS[name], options.runs / name
        if not options.finished and execute(campaign, directory, options.jobs, options.fresh):
            return 1
        try:
            stored = aggregates.of_directory(campaign, directory)
        except (NotTheCampaign, NotARun, NotWhole, OSError) as error:
            print(f"{directory} has not all runs of the campaign: {error}", file=sys.stderr)
            return 1
        replace(file_of(name, docs), aggregates.text_of(stored).encode())
    try:
        found = results_data.read_all(docs)
        page = results_data.page(found)
    except pages.Unsupported as error:
        print(f"docs/results.md was not written: {error}; change its template", file=sys.stderr)
        return 1
    if options.check:
        different = pages.differences(results_data.PAGE, page, docs)
        print(*different, sep="\n")
        return 1 if different else 0
    pages.write(results_data.PAGE, page, docs)
    replace(docs / "results.png", image_bytes(results_figure.figure(found), "png", dpi=150))
    return 0


def execute(campaign: Campaign, directory: Path, jobs: int | None, fresh: bool) -> int:
    """Executes the missing runs of a campaign as a user does; returns the exit code."""
    options = ["--out", str(directory)]
    if jobs is not None:
        options += ["--jobs", str(jobs)]  # the last one counts
    if fresh:
        options.append("--fresh")
    command = [sys.executable, "-m", "collapipe_ns3", *campaign.words(), *options]
    return subprocess.run(command).returncode


if __name__ == "__main__":
    sys.exit(main())
