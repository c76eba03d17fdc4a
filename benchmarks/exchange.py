"""`python -m benchmarks.exchange STUDY`: rounds over their floor, and over the best baseline's.

Prints the floor of a round of the study (`benchmarks.exchange_floor`), each term of it. Then the
study is executed under all schemes by `collapipe-ns3 compare`, which makes no run twice and
continues a campaign that was stopped, and what was measured is printed: CollaPipe's rounds over the
floor of the bytes that they really exchanged, the first round apart, and over those of the
baselines. Ratios and differences are paired by seed, with intervals of 95 %.

With `--beside DIR` the same scheme's runs of another campaign are compared, seed by seed: with and
without an exchange, or with smaller formats and in fp32. Baselines that only that campaign has are
taken from it, so that they need not be run again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from analysis.compare import (
    ComparedRun,
    Comparison,
    compare,
    interval,
    load_campaign,
    losses,
    scheme_of,
    seed_of,
)
from analysis.comparison_files import format_mean
from analysis.runs import Runs
from benchmarks import results
from benchmarks.campaigns import SCHEMES, Campaign
from benchmarks.exchange_floor import Exchanged, Floor, FloorOf, NoFloor
from benchmarks.results_data import table
from bridge.formats import ParameterFormat
from bridge.network import TransferKind
from collapipe_ns3.dssra.planning_problem import workload
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.nodes import cluster_of
from collapipe_ns3.problems import StudyError
from collapipe_ns3.reading import study_file
from collapipe_ns3.run.planning import Planning
from run_directory.roles import Role, role
from run_directory.whole import STUDY, NotARun, NotWhole

RUNS = Path("runs/exchange")

#: Formats whose floor is printed: the whole model, and what follows when both ends hold it.
FORMATS = (
    ParameterFormat(),
    ParameterFormat("bf16", difference=True),
    ParameterFormat("int8", difference=True),
)


def main(words: Sequence[str] | None = None) -> int:
    """Executes and prints; returns 1 where the floor is not known or runs are missing."""
    options = _parser().parse_args(words)
    try:
        print(*floor_lines(options.study, options.sets), sep="\n")
    except (StudyError, NoFloor) as error:
        print(error, file=sys.stderr)
        return 1
    if options.floor:
        return 0
    directory = options.runs or RUNS / Path(options.study).stem
    campaign = Campaign(
        options.study,
        rows=(),
        rounds=options.rounds,
        sets=tuple(options.sets),
        jobs=options.jobs,
        seeds=options.seeds,
        schemes=tuple(options.schemes.split(",")),
    )
    if not options.finished and results.execute(campaign, directory, None, options.fresh):
        return 1
    try:
        runs = runs_of(directory)
        beside = runs_of(options.beside) if options.beside else []
    except (NotARun, NotWhole, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(*run_lines(runs, beside), sep="\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.exchange", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("study", metavar="STUDY", help="a bundled study, or a study file")
    parser.add_argument("--seeds", default="0-4", metavar="0-4", help="a range or a list")
    parser.add_argument("--schemes", default=",".join(SCHEMES), metavar="A,B")
    parser.add_argument("--rounds", type=int, metavar="N", help="by default the study's own")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="sets",
        metavar="A.B=V",
        help="a key of the study",
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="processes at a time")
    parser.add_argument(
        "--runs", type=Path, metavar="DIR", help=f"the campaign, by default in {RUNS}"
    )
    parser.add_argument(
        "--beside", type=Path, metavar="DIR", help="a campaign with other settings to compare with"
    )
    parser.add_argument("--floor", action="store_true", help="print the floor only")
    parser.add_argument("--finished", action="store_true", help="execute nothing: DIR has the runs")
    parser.add_argument("--fresh", action="store_true", help="make runs again that other code made")
    return parser


def floor_of(study: str, sets: Sequence[str], *, evenly: bool = False) -> FloorOf:
    """The floor of a study with these settings. Raises `StudyError`."""
    seen = Planning(study_file.read(study, sets)).observation()
    return FloorOf(seen, workload(seen, Settings()), evenly)


def floor_lines(study: str, sets: Sequence[str]) -> Iterator[str]:
    """The terms of the floor in several formats, and with segments of an even division."""
    any_plan, even = (floor_of(study, sets, evenly=evenly) for evenly in (False, True))
    rows = []
    for format in FORMATS:
        floor = any_plan.of(any_plan.whole(format))
        rows.append(_floor_row(str(format), floor))
    evenly = even.of(even.whole())
    rows.append(_floor_row("fp32, blocks divided evenly", evenly))
    terms = ("MB down", "down, s", "training, s", "MB up", "up, s", "sum, s", "with activations, s")
    yield table(("floor of a round", *terms), rows)
    yield ""
    yield f"The best code on the whole band: {floor.down_bps / 1e6:.2f} Mbit/s down, "
    yield f"{floor.up_bps / 1e6:.2f} Mbit/s up. Training of least time: {floor.segments};"
    yield f"with blocks divided evenly: {evenly.segments}."


def _floor_row(name: str, floor: Floor) -> list[str]:
    return [
        name,
        f"{floor.down_bytes / 1e6:.2f}",
        f"{floor.down_s:.3f}",
        f"{floor.training_s:.3f}",
        f"{floor.up_bytes / 1e6:.2f}",
        f"{floor.up_s:.3f}",
        f"{floor.total_s:.3f}",
        f"{floor.with_activations_s:.3f}",
    ]


def runs_of(directory: Path) -> list[ComparedRun]:
    """The runs of a campaign. Raises `NotARun`, `NotWhole` and `OSError`."""
    names = json.loads((directory / "campaign.json").read_text())["cells"]
    return load_campaign(directory, dict.fromkeys(names, ""))


def run_lines(runs: Sequence[ComparedRun], beside: Sequence[ComparedRun]) -> Iterator[str]:
    """What was measured in these runs, and beside those of another campaign.

    Schemes that only the other campaign has are compared with, too.
    """
    scheme = compare(runs).reference
    there = {scheme_of(each.run) for each in runs}
    compared = compare([*runs, *(each for each in beside if scheme_of(each.run) not in there)])
    own = [each.run for each in runs if scheme_of(each.run) == scheme]
    yield ""
    yield from _over_floor_lines(pd.concat(map(rounds_over_floor, own)), scheme)
    if set(compared.runs["scheme"]) != {scheme}:
        yield ""
        yield from _over_baselines_lines(compared)
    if without := [each.run for each in beside if scheme_of(each.run) == scheme]:
        yield ""
        yield from _beside_lines(scheme, own, without)


def rounds_over_floor(run: Runs) -> pd.DataFrame:
    """The rounds of a run: `seed`, `round`, `floor_s`, `with_activations_s` and `round_s`.

    The floors are those of the bytes that were really exchanged in the round, in their formats.
    """
    floors = floor_of(str(run.directory / STUDY), ())
    sent = run.transfers[run.transfers["outcome"] == "delivered"]
    rows = []
    for number, duration_s in zip(run.rounds["round"], run.rounds["duration_s"], strict=True):
        floor = floors.of(exchanged(sent[sent["round"] == number]))
        both_s = (floor.total_s, floor.with_activations_s)
        rows.append((seed_of(run), int(number), *both_s, float(duration_s)))
    columns = ["seed", "round", "floor_s", "with_activations_s", "round_s"]
    return pd.DataFrame(rows, columns=columns)


def exchanged(transfers: pd.DataFrame) -> Exchanged:
    """The bytes of parameters between control units and base stations in a round's transfers."""
    kind, src, dst = (transfers[each].astype(str) for each in ("kind", "src", "dst"))
    size = transfers["bytes"]
    down = size[(kind == TransferKind.MODEL) & src.map(_is_station)]
    up = size[(kind == TransferKind.PARAMETERS) & dst.map(_is_station)]
    return Exchanged(_by_cluster(down, dst), _by_cluster(up, src))


def _by_cluster(size: pd.Series, node: pd.Series) -> dict[int, int]:
    """The sum of these sizes for the cluster of each node; rows have an index in common."""
    sums = size.groupby(node.map(cluster_of)).sum()
    return dict(zip(map(int, sums.index), map(int, sums), strict=True))


def _is_station(node: str) -> bool:
    return role(node) is Role.BASE_STATION


def _over_floor_lines(rounds: pd.DataFrame, scheme: str) -> Iterator[str]:
    """A table of the first round, of the others, and of all; intervals are over seeds."""
    parts = {"first round": rounds["round"] == 0}
    if rounds["round"].max() > 0:
        parts |= {"later rounds": rounds["round"] > 0, "all": rounds["round"] >= 0}
    rows = []
    for name, chosen in parts.items():
        means = rounds[chosen].groupby("seed").mean()
        ratios = means["round_s"] / means["floor_s"]
        higher = means["round_s"] / means["with_activations_s"]
        columns = (means["floor_s"], means["round_s"], ratios)
        rows.append([name, *map(_estimate, columns), f"{ratios.max():.3f}", _estimate(higher)])
    head = ("floor, s", "round, s", "over floor", "largest", "over floor with activations")
    yield table([f"`{scheme}`", *head], rows)
    if len(below := rounds[rounds["round_s"] < rounds["with_activations_s"]]):
        yield f"{len(below)} rounds are below the floor, which must not be."


#: Metrics that are compared with the baselines', by their keys in `analysis.compare.METRICS`.
_METRICS = ("round_s", "time_to_loss_s", "final_loss")


def _over_baselines_lines(compared: Comparison) -> Iterator[str]:
    """A table of the reference over each of the other schemes, and over the best of them."""
    by_seed = compared.runs.set_index("seed")
    schemes = dict.fromkeys(by_seed["scheme"])
    own = by_seed[by_seed["scheme"] == compared.reference]
    others = {
        name: by_seed[by_seed["scheme"] == name] for name in schemes if name != compared.reference
    }
    rows = []
    for key in _METRICS:
        means = {name: _estimate(by_seed[by_seed["scheme"] == name][key]) for name in schemes}
        best = min(others, key=lambda name: float(others[name][key].mean()))
        ratios = {name: _estimate(own[key] / each[key]) for name, each in others.items()}
        label = compared.metrics[key].label
        rows += [[label, *means.values(), ""], [f"{label}, ratio", *_cells(schemes, ratios), best]]
    yield table(["", *(f"`{name}`" for name in schemes), "best baseline"], rows)
    yield f"Ratios are `{compared.reference}` over the scheme, paired by seed."


def _cells(schemes: Iterable[str], ratios: Mapping[str, str]) -> list[str]:
    return [ratios.get(name, "") for name in schemes]


def _beside_lines(scheme: str, own: Sequence[Runs], others: Sequence[Runs]) -> Iterator[str]:
    """A table of differences from the same scheme's runs of another campaign, in percent."""
    theirs = {seed_of(run): run for run in others}
    pairs = [(run, theirs[seed_of(run)]) for run in own if seed_of(run) in theirs]
    rows = [
        ["round, mean", *_difference(pairs, lambda run: float(run.rounds["duration_s"].mean()))],
        ["final test loss", *_difference(pairs, lambda run: float(losses(run).iloc[-1]))],
    ]
    yield table([f"`{scheme}`", "here", "beside", "difference, %"], rows)
    equal = all(
        a.rounds["loss"].equals(b.rounds["loss"]) and losses(a).equals(losses(b)) for a, b in pairs
    )
    yield f"{len(pairs)} seeds; their losses are {'equal to the bit' if equal else 'not equal'}."


def _difference(
    pairs: Sequence[tuple[Runs, Runs]], value: Callable[[Runs], float]
) -> tuple[str, str, str]:
    """Means of a value here and there, and the mean difference in percent, paired."""
    here, there = (pd.Series([value(pair[k]) for pair in pairs]) for k in (0, 1))
    return _estimate(here), _estimate(there), _estimate(100 * (here / there - 1))


def _estimate(values: pd.Series) -> str:
    """The mean with half of its interval over seeds."""
    return format_mean(float(values.mean(skipna=False)), interval(values.to_numpy(float)))


if __name__ == "__main__":
    sys.exit(main())
