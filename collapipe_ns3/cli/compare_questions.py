"""The questions that `compare` answers, and the settings of the runs that answer each.

Two questions are about budgets: what CollaPipe reaches with the memory or the energy that TITANIC
takes. Their settings follow from TITANIC's runs, seed by seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

from analysis import compare as comparing
from analysis.load import Runs
from bridge.formats import FP32
from collapipe_ns3.config.study import CommonExchange, StudyConfig
from collapipe_ns3.names import did_you_mean
from collapipe_ns3.problems import Problem

#: The scheme that budgets are taken from, and the scheme that gets them.
MEASURED, BUDGETED = "titanic", "collapipe"

#: What asks for every question.
_ALL = "all"


class Question(StrEnum):
    """A question about schemes, which a campaign of its own answers."""

    PAPERS = "papers"
    EXCHANGE = "exchange"
    MEMORY = "memory"
    ENERGY = "energy"

    @property
    def of_budgets(self) -> bool:
        """Whether its runs get budgets from other runs."""
        return self in (Question.MEMORY, Question.ENERGY)


#: The settings that a question makes, which the command must not make too.
_OWN_SETTINGS: Mapping[Question, tuple[str, ...]] = {
    Question.PAPERS: (),
    Question.EXCHANGE: (),
    Question.MEMORY: ("scheme.settings.memory", "scheme.settings.memory_budget_bytes"),
    Question.ENERGY: ("scheme.settings.energy_budget_j", "scheme.settings.energy_budgets_j"),
}

#: The exchange of parameters that all schemes get where the study has none.
SAME_EXCHANGE = "training.exchange={}"


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
    schemes: Sequence[str],
    settings: Iterable[str],
    studies: Iterable[StudyConfig],
) -> Iterator[Problem]:
    """What keeps the questions from being answered.

    `settings` are the keys that the command's own options set, and `studies` those of the runs.
    """
    given = set(settings)
    for question in questions:
        if question.of_budgets and not {MEASURED, BUDGETED} <= set(schemes):
            what = f"{question} compares {BUDGETED} with {MEASURED}: expected both in --schemes"
            yield Problem("--question", what)
        for key in _OWN_SETTINGS[question]:
            if key in given:
                yield Problem(
                    "--question", f"{question} sets {key} itself: expected no other value"
                )
    both = {Question.PAPERS, Question.EXCHANGE} <= set(questions)
    if both and any(study.training.exchange is not None for study in studies):
        what = "the study has a training.exchange, which all schemes get under both papers and "
        yield Problem("--question", f"{what}exchange: expected one of them, or a study without it")


def heading(question: Question, study: StudyConfig, derived: Iterable[Mapping[str, float]]) -> str:
    """What the answer to a question compares, in a sentence.

    `study` is that of one of the runs, and `derived` has the settings of each run that got budgets.
    """
    exchange = study.training.exchange
    if question is Question.MEMORY:
        values = _range(derived, "scheme.settings.memory_budget_bytes", 2**-20)
        return (
            f"{BUDGETED} with the memory that {MEASURED} takes: memory is all, and "
            f"memory_budget_bytes the most that any device needed under {MEASURED} with the same "
            f"seed, {values} MiB"
        )
    if question is Question.ENERGY:
        values = _range(derived, "scheme.settings.energy_budget_j", 1.0)
        return (
            f"{BUDGETED} with the energy that {MEASURED} takes: energy_budget_j is the mean energy "
            f"of a device in a round under {MEASURED} with the same seed, {values} J, which is "
            "kept in the mean over many rounds"
        )
    if exchange is not None:
        return f"all schemes with the same exchange of parameters: {_described(exchange)}"
    return "each scheme as its paper has it"


def budgets(question: Question, run: Runs) -> dict[str, float]:
    """The settings by which `BUDGETED` gets what a finished run of `MEASURED` took."""
    # Targets of the loss do not matter to what is taken.
    taken = comparing.metrics(run, math.nan, math.nan, math.inf)
    if question is Question.MEMORY:
        peak = taken["peak_device_memory_bytes"]
        return {"scheme.settings.memory_budget_bytes": int(peak)}
    devices = sum(len(cluster["devices"]) for cluster in run.study["clusters"])
    return {"scheme.settings.energy_budget_j": taken["device_energy_j"] / devices}


def as_sets(question: Question, settings: Mapping[str, float]) -> list[str]:
    """Budgets in the form that `--set` takes."""
    memory = ["scheme.settings.memory=all"] if question is Question.MEMORY else []
    return [*memory, *(f"{key}={value!r}" for key, value in settings.items())]


def _range(derived: Iterable[Mapping[str, float]], key: str, scale: float) -> str:
    values = sorted(settings[key] * scale for settings in derived)
    return " to ".join(dict.fromkeys(f"{value:.3g}" for value in (*values[:1], *values[-1:])))


def _described(exchange: CommonExchange) -> str:
    multicast = {True: "multicast", False: "no multicast", None: "multicast where the radio can"}
    chunks = "store and forward"
    if exchange.chunk_bytes is not None:
        chunks = f"chunks of {exchange.chunk_bytes / 1e6:g} MB"
    down, up = exchange.down.of_parameters(), exchange.up.of_parameters()
    formats = f"{down} down and {up} up"
    if down == up == FP32:
        formats = str(FP32)
    return f"{multicast[exchange.multicast]}, {chunks}, {formats}"
