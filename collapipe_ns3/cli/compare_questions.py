"""The questions that `compare` answers, and the settings of the runs that answer each.

Two questions are about budgets: what the reference scheme reaches with the memory or the energy
that another scheme takes. Its settings follow from that scheme's runs, seed by seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import pandas as pd

from analysis import compare as comparing
from analysis.load import Runs
from bridge.formats import FP32
from collapipe_ns3.config.study import CommonExchange, StudyConfig
from collapipe_ns3.names import did_you_mean
from collapipe_ns3.problems import Problem
from collapipe_ns3.schemes import SchemeFailed, UnknownScheme, settings_model

#: What asks for every question.
_ALL = "all"

#: The exchange of parameters that all schemes get where the study has none.
SAME_EXCHANGE = "training.exchange={}"

_SETTING = "scheme.settings."

#: Energy up to so many times the budget counts as kept.
_KEPT = 1.01


class Question(StrEnum):
    """A question about schemes, which a campaign of its own answers."""

    PAPERS = "papers"
    EXCHANGE = "exchange"
    MEMORY = "memory"
    ENERGY = "energy"

    @property
    def of_budgets(self) -> bool:
        """Whether its runs get budgets from other runs."""
        return self in _BUDGETS


#: The budget that a question sets, and another setting that would be in its way.
_BUDGETS: Mapping[Question, tuple[str, str]] = {
    Question.MEMORY: ("memory_budget_bytes", "memory"),
    Question.ENERGY: ("energy_budget_j", "energy_budgets_j"),
}


@dataclass(frozen=True, slots=True)
class Schemes:
    """The schemes of a comparison: `reference` gets as budgets what `measured` has taken."""

    names: Sequence[str]
    reference: str
    measured: str

    @classmethod
    def of(cls, names: Sequence[str], reference: str | None, measured: str | None) -> Self:
        """With defaults where no reference and no measured scheme are given."""
        reference = reference or comparing.default_reference(names)
        return cls(names, reference, measured or comparing.BUDGETS_OF)

    def problems(self, question: Question) -> Iterator[Problem]:
        """What keeps a question about budgets from being answered."""
        if self.measured not in self.names or self.measured == self.reference:
            what = (
                f"{question} compares {self.reference} with {self.measured}: expected two schemes"
            )
            yield Problem("--question", f"{what} of --schemes as --reference and --budgets-of")
        setting = _BUDGETS[question][0]
        with suppress(UnknownScheme, SchemeFailed):  # which the check of the runs reports
            if setting not in settings_model(self.reference).model_fields:
                what = f"{question} needs a reference with the setting {setting}"
                yield Problem("--question", f"{what}, and {self.reference} has none")


def asked(words: Sequence[str]) -> tuple[Question, ...]:
    """The questions that these words name, in their order; raises `ValueError`."""
    for word in words:
        if word != _ALL and word not in list(Question):
            raise ValueError(f"no question {word!r}; {did_you_mean(word, [*Question, _ALL])}")
    if _ALL in words:
        return tuple(Question)
    return tuple(dict.fromkeys(Question(word) for word in words)) or (Question.PAPERS,)


def problems(
    questions: Sequence[Question],
    schemes: Schemes,
    settings: Iterable[str],
    studies: Iterable[StudyConfig],
) -> Iterator[Problem]:
    """What keeps the questions from being answered.

    `settings` are the keys that the command's own options set, and `studies` those of the runs.
    """
    given = set(settings)
    for question in questions:
        if question.of_budgets:
            yield from schemes.problems(question)
            for key in given & {f"{_SETTING}{name}" for name in _BUDGETS[question]}:
                yield Problem("--question", f"{question} sets the budget itself: expected no {key}")
    both = {Question.PAPERS, Question.EXCHANGE} <= set(questions)
    if both and any(study.training.exchange is not None for study in studies):
        what = "the study has a training.exchange, which all schemes get under both papers and "
        yield Problem("--question", f"{what}exchange: expected one of them, or a study without it")


def heading(
    question: Question, schemes: Schemes, study: StudyConfig, budgets: Iterable[float]
) -> str:
    """What the answer to a question compares, in a sentence.

    `study` is that of one of the runs, and `budgets` are those of the runs that got any.
    """
    values, measured, exchange = sorted(budgets), schemes.measured, study.training.exchange
    if question is Question.MEMORY:
        return (
            f"{schemes.reference} with the memory that {measured} takes: memory_budget_bytes is "
            f"the most that any device needed under {measured} with the same seed, "
            f"{_range([value / 2**20 for value in values])} MiB"
        )
    if question is Question.ENERGY:
        return (
            f"{schemes.reference} with the energy that {measured} takes: energy_budget_j is the "
            f"mean energy of a device in a round under {measured} with the same seed, "
            f"{_range(values)} J, which is kept in the mean over many rounds"
        )
    if exchange is not None:
        return f"all schemes with the same exchange of parameters: {_described(exchange)}"
    return "each scheme as its paper has it"


def budget(question: Question, run: Runs) -> float:
    """What a finished run took: the bytes of any device at most, or its mean joules in a round."""
    # Targets of the loss do not matter to what is taken.
    taken = comparing.metrics(run, math.nan, math.nan, math.inf)
    if question is Question.MEMORY:
        return int(taken["peak_device_memory_bytes"])
    devices = sum(len(cluster["devices"]) for cluster in run.study["clusters"])
    return taken["device_energy_j"] / devices


def unkept(question: Question, schemes: Schemes, runs: pd.DataFrame) -> Iterator[str]:
    """A note if the reference took more energy than its budget, over all seeds together.

    `runs` is the table of the comparison's runs.
    """
    if question is not Question.ENERGY:
        return
    taken = runs.groupby("scheme")["device_energy_j"].mean()
    if not {schemes.reference, schemes.measured} <= set(taken.index):
        return
    own, budget = taken[schemes.reference], taken[schemes.measured]
    if own > budget * _KEPT:
        yield (
            f"{schemes.reference} did not keep its budget: all devices took {own:.3g} J in a "
            f"round, and {budget:.3g} J under {schemes.measured}"
        )


def as_sets(question: Question, scheme: str, value: float) -> list[str]:
    """A budget in the form that `--set` takes, and a setting by which a scheme uses all of it."""
    sets = [f"{_SETTING}{_BUDGETS[question][0]}={value!r}"]
    if question is Question.MEMORY and "memory" in settings_model(scheme).model_fields:
        sets.append(f"{_SETTING}memory=all")
    return sets


def _range(values: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(f"{value:.3g}" for value in (*values[:1], *values[-1:])))


def _described(exchange: CommonExchange) -> str:
    multicast = {True: "multicast", False: "no multicast", None: "multicast where the radio can"}
    if exchange.chunk_bytes is None:
        chunks = "store and forward"
    elif exchange.chunk_bytes == "auto":
        chunks = "chunks of automatic size"
    else:
        chunks = f"chunks of {exchange.chunk_bytes / 1e6:g} MB"
    down, up = exchange.down.of_parameters(), exchange.up.of_parameters()
    formats = str(FP32) if down == up == FP32 else f"{down} down and {up} up"
    return f"{multicast[exchange.multicast]}, {chunks}, {formats}"
