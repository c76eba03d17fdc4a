"""The aggregates of campaigns, read from docs/results/ and laid out as docs/results.md.

All values are in the units that the file names. A file with `rounded` was converted from the page
of an earlier version, whose exact values were not kept; where a rounded value would be printed
differently than it was, `printed` has its earlier form.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.comparison_files import format_mean
from benchmarks.campaigns import CAMPAIGNS, DIFFERENCES, Campaign, file_of
from benchmarks.pages import DOCS, render

PAGE = "results"
#: The libraries that the simulated values depend on.
_LIBRARIES = ("ns3", "torch", "numpy", "scipy")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds with half of its 95 % confidence interval, nan where there is none."""

    mean: float
    half: float
    printed: str = ""

    def __str__(self) -> str:
        return self.printed or format_mean(self.mean, self.half)

    @property
    def is_above_zero(self) -> bool:
        """Whether the whole interval is above zero."""
        return self.mean - self._margin > 0

    @property
    def is_below_zero(self) -> bool:
        return self.mean + self._margin < 0

    @property
    def includes_zero(self) -> bool:
        return not (self.is_above_zero or self.is_below_zero)

    @property
    def opposite(self) -> Estimate:
        """The same with the other sign: by how much less instead of by how much more."""
        return Estimate(-self.mean, self.half)

    @property
    def _margin(self) -> float:
        return 0.0 if math.isnan(self.half) else self.half


@dataclass(frozen=True, slots=True)
class Results:
    """The aggregates of a campaign, as its JSON file has them, and the campaign itself."""

    campaign: Campaign
    stored: Mapping[str, Any]

    @classmethod
    def read(cls, name: str, campaign: Campaign, docs: Path = DOCS) -> Results:
        return cls(campaign, json.loads(file_of(name, docs).read_text()))

    @property
    def command(self) -> str:
        return str(self.stored["command"])

    @property
    def rounds(self) -> int:
        return int(self.stored["rounds"])

    @property
    def seeds(self) -> list[int]:
        return list(self.stored["seeds"])

    @property
    def reference(self) -> str:
        return str(self.stored["reference"])

    @property
    def others(self) -> list[str]:
        """The schemes that are compared with the reference."""
        return [name for name in self.stored["schemes"] if name != self.reference]

    @property
    def measured(self) -> str:
        """A sentence on the code and the libraries that made the values.

        A commit with a + had changes in its checkout, as in a run's manifest.
        """
        made = [f"{each[:7]}{'+' * each.endswith('+')}" for each in self.stored["commits"]]
        commits = ", ".join(f"`{each}`" for each in made)
        if self.stored["rounded"]:
            return f"Recorded by commit {commits}, without library versions and exact values."
        versions = self.stored["versions"]
        libraries = [f"{name} {versions[name]}" for name in _LIBRARIES]
        return f"Measured at commit {commits} with {', '.join(libraries)}."

    def value(self, metric: str, scheme: str) -> Estimate:
        """The mean of a metric over seeds, in the metric's unit."""
        found = self._row(metric, scheme)
        return Estimate(_float(found["mean"]), _float(found["ci95"]), found.get("printed", ""))

    def percent(self, metric: str, scheme: str) -> Estimate:
        """The scheme's difference from the reference in percent of it, paired by seed."""
        found = self._row(metric, scheme)
        printed = found.get("percent_printed", "")
        return Estimate(_float(found["percent"]), _float(found["percent_ci95"]), printed)

    def difference(self, metric: str, scheme: str) -> Estimate:
        """The scheme's difference from the reference, paired by seed, in the metric's unit."""
        found = self._row(metric, scheme)
        return Estimate(_float(found["difference"]), _float(found["difference_ci95"]))

    def ratio(self, metric: str, scheme: str, of: str) -> float:
        """The mean of one scheme divided by the mean of another."""
        return self.value(metric, scheme).mean / self.value(metric, of).mean

    def best(self, metric: str) -> str:
        """The scheme with the best mean."""
        choose = min if self.stored["metrics"][metric]["smaller_is_better"] else max
        schemes: list[str] = self.stored["schemes"]
        return choose(schemes, key=lambda name: self.value(metric, name).mean)

    def next_best(self, metric: str) -> str:
        """The scheme with the best mean besides the reference."""
        choose = min if self.stored["metrics"][metric]["smaller_is_better"] else max
        return choose(self.others, key=lambda name: self.value(metric, name).mean)

    def differ_by_less(self, metric: str, schemes: Sequence[str], share: float) -> bool:
        """Whether the means of these schemes differ by less than a share of the smallest."""
        return _spread(self.value(metric, each).mean for each in schemes) < share

    def outside_computing(self, scheme: str) -> float:
        """Seconds of a round that are not the local steps."""
        return self.value("round_s", scheme).mean - self.value("computation_s", scheme).mean

    def differ_outside_computing(self, schemes: Sequence[str]) -> float:
        """By which share of the smallest `outside_computing` of these schemes differs."""
        return _spread(map(self.outside_computing, schemes))

    def share_computing(self, scheme: str) -> float:
        """The share of a round that the local steps take."""
        return self.value("computation_s", scheme).mean / self.value("round_s", scheme).mean

    def sitting_out(self, scheme: str) -> int:
        """How many devices sat out of a round for lack of memory."""
        mean: float = self.stored["devices_sitting_out"][scheme]
        return round(mean)

    @property
    def source(self) -> dict[str, str]:
        """Where the claims are from."""
        return dict(self.stored["claims_source"])

    def claimed(self, what: str) -> float:
        """A claim of the paper, in percent of a baseline."""
        return float(next(each["paper_percent"] for each in self.claims() if each["what"] == what))

    def claims(self) -> list[dict[str, Any]]:
        """The paper's claims, each with what was measured."""
        return list(self.stored["claims"])

    def means(self) -> str:
        """A table of the means of all schemes."""
        schemes = self.stored["schemes"]
        rows = []
        for key in self.campaign.rows:
            unit = self.stored["metrics"][key]["unit"]
            label = self._label(key) + (f", {unit}" if unit else "")
            rows.append([label, *(self._cell(key, scheme) for scheme in schemes)])
        return table(["", *(f"`{scheme}`" for scheme in schemes)], rows)

    def differences(self) -> str:
        """A table of the differences from the reference, in percent of it."""
        rows = [
            [self._label(key), *(str(self.percent(key, scheme)) for scheme in self.others)]
            for key in DIFFERENCES
        ]
        return table(["", *(f"`{scheme}`" for scheme in self.others)], rows)

    def claims_table(self) -> str:
        rows = []
        for each in self.claims():
            measured = Estimate(_float(each["measured"]), _float(each["ci95"]))
            cells = (each["what"], each["against"], each["paper"], str(measured), each["verdict"])
            rows.append(list(cells))
        return table(["figure", "against", "paper", "measured, %", ""], rows)

    def _row(self, metric: str, scheme: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.stored["metrics"][metric]["schemes"][scheme]
        return found

    def _label(self, metric: str) -> str:
        return str(self.stored["metrics"][metric]["label"])

    def _cell(self, metric: str, scheme: str) -> str:
        """A mean; where not every seed has a value, how many have one."""
        found = self._row(metric, scheme)
        if 0 < found["reached"] < found["seeds"]:
            return f"{found['reached']} of {found['seeds']}"
        return str(self.value(metric, scheme))


def ratios(metric: str, schemes: Sequence[str], of: str, studies: Sequence[Results]) -> list[float]:
    """Of each study, the smallest mean of these schemes divided by the mean of another."""
    return [min(each.ratio(metric, scheme, of) for scheme in schemes) for each in studies]


def percents(metric: str, scheme: str, studies: Sequence[Results]) -> list[float]:
    """Of each study, the scheme's difference from the reference in percent."""
    return [each.percent(metric, scheme).mean for each in studies]


def percent_less(shares: Sequence[float]) -> list[float]:
    """By how many percent values are smaller that are these shares of others."""
    return [100 * (1 - each) for each in shares]


def efficiency(percent: float) -> float:
    """Efficiency is 1/time: by how many percent it changes where time changes by `percent`."""
    return 100 * (1 / (1 + percent / 100) - 1)


def _spread(values: Iterable[float]) -> float:
    known = list(values)
    return max(known) / min(known) - 1


def read_all(docs: Path = DOCS) -> dict[str, Results]:
    """All campaigns by name."""
    return {name: Results.read(name, each, docs) for name, each in CAMPAIGNS.items()}


def page(found: Mapping[str, Results]) -> str:
    """The page of all campaigns; raises `Unsupported` where the files contradict its text."""
    functions = {each.__name__: each for each in (ratios, percents, percent_less, efficiency)}
    return render(PAGE, {"campaigns": found, **functions})


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in line)}|" for line in lines
    )


def _float(value: float | None) -> float:
    return math.nan if value is None else value
