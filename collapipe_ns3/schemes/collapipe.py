"""CollaPipe: segments, micro-batches, bandwidth and power planned every round by DSSRA."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from dataclasses import fields as fields_of
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, TypeAdapter, ValidationError, WithJsonSchema

from bridge.formats import ParameterFormat
from collapipe_ns3.dssra.budgets import unkeepable
from collapipe_ns3.dssra.decide import decide, expected_energy, expected_training_s
from collapipe_ns3.dssra.decision import Decision
from collapipe_ns3.dssra.local_steps import Drift
from collapipe_ns3.dssra.planning_problem import Memory, PlanningProblem, unmeasured
from collapipe_ns3.dssra.prediction_check import check_prediction, corrected, expected_time
from collapipe_ns3.dssra.queues import Queues
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.eventgraph.graph import TooManyEvents
from collapipe_ns3.names import did_you_mean
from collapipe_ns3.nodes import control_unit
from collapipe_ns3.observed import MeasuredLink, Observation
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import ClusterPlan, Pipeline, PlanError, RoundPlan, Stage
from collapipe_ns3.prediction.departures import Departures
from collapipe_ns3.prediction.divergence import GradientNoise
from collapipe_ns3.prediction.energy_ratios import radio_energy_ratios
from collapipe_ns3.prediction.format_noise import FormatNoise
from collapipe_ns3.prediction.knowledge import Knowledge
from collapipe_ns3.prediction.reach import reach
from collapipe_ns3.prediction.training_ratios import measured_training_s, updated_ratios
from collapipe_ns3.quantity import Bytes, Seconds

_Positive = Annotated[float, Field(gt=0)]


_FORMATS = TypeAdapter(ParameterFormat)


def _format(value: object) -> ParameterFormat:
    """A format as a study file has it: the name of its numbers, or its fields.

    Raises `ValueError` for formats in which parameters can't travel.
    """
    fields = {"numbers": value} if isinstance(value, str) else value
    if not isinstance(fields, Mapping | ParameterFormat):
        what = f"expected a format such as int8, or a mapping with numbers, not {value!r}"
        raise ValueError(what)  # noqa: TRY004  # pydantic lists errors of this type only
    known = [each.name for each in fields_of(ParameterFormat)]
    for key in fields if isinstance(fields, Mapping) else ():
        if key not in known:
            raise ValueError(f"no key {key!r}; {did_you_mean(str(key), known)}")
    numbers = fields.get("numbers") if isinstance(fields, Mapping) else None
    if isinstance(numbers, str):  # as pydantic's message on text is in other words
        wrong_numbers = ParameterFormat.from_json({"numbers": numbers}).problem
        if wrong_numbers is not None:
            raise ValueError(wrong_numbers)
    try:
        format = _FORMATS.validate_python(fields)
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ValueError("; ".join(each.removeprefix(": ") for each in wrong)) from None
    if format.problem is not None:
        raise ValueError(format.problem)
    return format


def _without_effect(settings: Settings, seen: Observation) -> Iterator[tuple[str, str]]:
    """The settings of the exchange that don't decide it, each with the reason."""
    given = seen.exchange is not None
    if given and settings.exchange == "star":
        yield "scheme.settings.exchange", "has no effect, as training.exchange gives the exchange"
    if settings.formats and (given or settings.exchange == "star"):
        why = "training.exchange gives the formats" if given else "exchange: star is in fp32"
        yield "scheme.settings.formats", f"has no effect, as {why}"


def _lossy(outcome: RoundOutcome) -> set[int]:
    """The clusters that have lost a node in a round."""
    return {each.cluster for each in outcome.pipelines if each.lost}


_Format = Annotated[
    ParameterFormat,
    PlainValidator(_format),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "additionalProperties": {
                        "anyOf": [{"type": "string"}, {"type": "boolean"}, {"type": "number"}]
                    },
                },
            ]
        }
    ),
]


class CollaPipe:
    """CollaPipe (arXiv 2509.19855), whose planner DSSRA is this project's reconstruction.

    Each round minimises V·T + Σ (Q/Ē)·E + (Z/Γ̄)·Σ ρΓ: the round's time against energy and
    divergence, which virtual queues make more expensive the more their budgets were exceeded.

    With `memory` "fair" a plan uses less memory of every device than an even split over all devices
    of its cluster would use under GPipe, with the activations of a whole batch, where that is
    feasible. CollaPipe's aim is that no device needs much memory; this rule is this project's
    interpretation of it. All links of a cluster are sounded once one of them has changed much.
    """

    def __init__(
        self,
        v: Annotated[
            float,
            Field(
                gt=0,
                description="Weight of a second: the larger, the shorter the rounds, and the "
                "longer it takes until budgets are kept.",
            ),
        ] = 10.0,
        energy_budget_j: Annotated[
            _Positive | None,
            Field(description="Budget of each device's energy a round; null: none."),
        ] = None,
        energy_budgets_j: Annotated[
            dict[str, _Positive] | None,
            Field(description="Budgets of single nodes by name, which replace the common one."),
        ] = None,
        divergence_budget: Annotated[
            float,
            Field(ge=1, description="Γ̄, in units of a loss-free round's σ²/B."),
        ] = 1.5,
        memory: Annotated[
            Literal["fair", "all"],
            Field(
                description="fair: no device needs more memory than with an even split over all "
                "devices, where that is feasible; all: up to each device's memory."
            ),
        ] = "fair",
        memory_budget_bytes: Annotated[
            Annotated[Bytes, Field(ge=1)] | None,
            Field(description="The memory of any device that training may use; null: all of it."),
        ] = None,
        ewma: Annotated[
            float, Field(gt=0, le=1, description="Weight of the newest measurements.")
        ] = 0.5,
        most_micro_batches: Annotated[
            Annotated[int, Field(ge=1)] | None,
            Field(description="The most micro-batches of a pipeline; null: the batch size."),
        ] = None,
        schedule: Annotated[
            Literal["any", "gpipe", "1f1b"],
            Field(description="The pipeline schedule; any: the better one."),
        ] = "any",
        bands: Annotated[
            Literal["any", "shared", "divided"],
            Field(description="Whether links are granted bandwidths of their own; any: if better."),
        ] = "any",
        exchange: Annotated[
            Literal["any", "star"],
            Field(
                description="star: control units get the model one by one, store and forward; any: "
                "also streamed, and by multicast where the radio can, if better."
            ),
        ] = "any",
        formats: Annotated[
            list[_Format] | None,
            Field(
                description="Formats in which parameters may travel besides fp32 where the "
                "exchange is streamed, if that is better within the divergence budget: names, or "
                "mappings with numbers, difference and largest; null: none."
            ),
        ] = None,
        least_sinr_db: Annotated[
            float, Field(description="A link's power is not lowered below this SINR.")
        ] = 5.0,
        most_sweeps: Annotated[
            int, Field(ge=1, description="The most sweeps of the coordinate descent.")
        ] = 6,
        move_rounds: Annotated[
            int,
            Field(
                ge=1,
                description="Rounds within which a move of optimizer states to other devices must "
                "pay off.",
            ),
        ] = 2,
        stale_s: Annotated[
            Annotated[Seconds, Field(ge=0)],
            Field(description="The age above which a link is measured again."),
        ] = 0.0,
    ) -> None:
        self.settings = Settings(
            v=v,
            energy_budget_j=energy_budget_j,
            energy_budgets_j=energy_budgets_j or {},
            divergence_budget=divergence_budget,
            memory=memory,
            memory_budget_bytes=memory_budget_bytes,
            ewma=ewma,
            most_micro_batches=most_micro_batches,
            schedule=schedule,
            bands=bands,
            exchange=exchange,
            formats=tuple(formats or ()),
            least_sinr_db=least_sinr_db,
            most_sweeps=most_sweeps,
            move_rounds=move_rounds,
            stale_s=stale_s,
        )
        self.past = Memory()
        self.decision: Decision | None = None
        self._seen: Observation | None = None
        self._able: Observation | None = None  # The same with only the devices within reach.
        self._before: tuple[MeasuredLink, ...] = ()
        self._planned: int | None = None  # the round of the last plan
        self._absent: frozenset[str] = frozenset()  # before it

    def sounding(self, observation: Observation) -> list[tuple[str, str]]:
        """The links that should be measured before the next round is planned."""
        return unmeasured(observation, self._before, self.settings.stale_s)

    def plan(self, round: int, observation: Observation) -> RoundPlan:
        """The best plan found; `decision` says how. Devices and clusters out of reach sit out.

        Raises `PlanError` where no plan fits the memory, and for a budget of an unknown node.
        """
        nodes = observation.profiles
        if unknown := self.settings.energy_budgets_j.keys() - nodes:
            where = "scheme.settings.energy_budgets_j"
            wrong = [(where, f"no node {n!r}; {did_you_mean(n, nodes)}") for n in sorted(unknown)]
            raise PlanError("collapipe", round, wrong)
        if round != self._planned:  # A second plan of a round may have to do without more nodes.
            self._absent, self._planned = frozenset(observation.absent), round
        past = replace(self.past, departures=self.past.departures.seen_before(self._absent))
        able = reach(observation, full_power=True)
        self._seen, self.decision = observation, None
        self._able = replace(observation, devices=able.devices)
        if not any(able.devices):
            clusters = range(len(able.devices))
            idle = tuple(ClusterPlan(n, ()) for n in clusters)
            return RoundPlan(round, "collapipe", idle, absences=able.absences)
        decision = decide(round, "collapipe", self._able, past, self.settings)
        plan = replace(decision.plan, absences=able.absences)
        self.decision = replace(decision, plan=plan)
        return plan

    def learn(self, outcome: RoundOutcome) -> None:
        """Learns from the measurements of the planned round: speeds, links, energy, losses."""
        if self._seen is None:
            return
        seen, settings = self._seen, self.settings
        past = replace(self.past, departures=self._departures(seen, outcome))
        if self.decision is None:
            self.past = past
            return
        self._before = tuple(seen.links)
        # A cluster that sits out keeps its optimizer states where they are.
        pipelines = dict(past.pipelines or {}) | {
            cluster.cluster: cluster.pipelines[0]
            for cluster in self.decision.plan.clusters
            if cluster.pipelines
        }
        pipelines |= {
            each.cluster: each.pipeline
            for each in outcome.pipelines
            if each.lost and each.fate == "averaged"
        }
        links = self.decision.plan.links
        granted = {(link.src, link.dst) for link in links if link.bandwidth_hz is not None}
        correction = past.correction
        # The first was a guess, and what was begun again took longer.
        learnt = past.pipelines is not None and not (outcome.abandoned or _lossy(outcome))
        if learnt and not self.decision.streamed:  # There phases overlap.
            correction = corrected(
                correction, self.decision.prediction, outcome.phases_ns, settings.ewma
            )
        noise = past.noise.learned(outcome.gradients)
        format_noise = past.format_noise.after(outcome.encodings, settings.ewma)
        problem = self.decision.problem
        shares = dict(zip(problem.clusters, problem.fleet.share.tolist(), strict=True))
        divergence = noise.measured(outcome.distortions)
        divergence += format_noise.measured(outcome.encodings, shares, problem.work, noise)
        knowledge = past.knowledge.after(outcome, seen.profiles, seen.media, granted, settings.ewma)
        tried, knowledge = self._learn_ratios(outcome, knowledge)
        self.past = replace(
            past,
            noise=noise,
            format_noise=format_noise,
            correction=correction,
            knowledge=knowledge,
            tried=tried,
            queues=past.queues.after(
                outcome.energy_j,
                settings.budgets_j(seen.devices),
                divergence,
                settings.divergence_budget,
            ),
            drift=past.drift.after(outcome.pipelines, settings.ewma),
            pipelines=pipelines,
        )

    def _departures(self, seen: Observation, outcome: RoundOutcome) -> Departures:
        """The departures that were seen by the end of a round."""
        nodes = [
            name
            for number, devices in enumerate(seen.devices)
            for name in (control_unit(number), *devices)
        ]
        return self.past.departures.seen_before(self._absent).after(nodes, outcome)

    def _learn_ratios(
        self, outcome: RoundOutcome, knowledge: Knowledge
    ) -> tuple[Mapping[str, float], Knowledge]:
        """Compares the round with its prediction by what is known now, its own links included.

        Returns the training ratios of plans, and the knowledge with the energy ratios of radios.
        """
        assert self.decision is not None
        assert self._able is not None
        links = {(link.src, link.dst): link for link in (*self._able.links, *outcome.links)}
        seen = replace(self._able, links=tuple(links.values()))
        steps = self.decision.problem.work.local_steps
        problem = PlanningProblem.of(seen, replace(self.past, knowledge=knowledge), self.settings)
        problem = problem.with_steps(steps)
        if not (outcome.abandoned or _lossy(outcome)):  # Too little is known of what was cut off.
            spending = radio_energy_ratios(
                knowledge.spending,
                expected_energy(self.decision, problem),
                outcome.devices,
                seen.sounding_j,
                self.settings.ewma,
            )
            knowledge = replace(knowledge, spending=spending)
        if self.decision.timeline is None or not outcome.computations:
            return self.past.tried, knowledge
        clusters = {node: problem.clusters[at[0]] for node, at in problem.places.items()}
        took_s = {
            cluster: each_s / steps
            for cluster, each_s in measured_training_s(outcome.computations, clusters).items()
            if cluster not in outcome.abandoned and cluster not in _lossy(outcome)
        }
        try:
            predicted_s = expected_training_s(self.decision, problem)
        except TooManyEvents:
            return self.past.tried, knowledge
        plan, weight = self.decision.plan, self.settings.ewma
        tried = updated_ratios(self.past.tried, plan, predicted_s, took_s, weight)
        return tried, knowledge

    def explain(self, outcome: RoundOutcome | None) -> dict[str, Any]:
        """The last plan's decision; after its execution, also the check of its prediction."""
        if self.decision is None or self._seen is None:
            return {}
        explanation = self.decision.to_json()
        del explanation["plan"]
        joules = self.decision.prediction.joules
        explanation["warnings"] = [
            {"path": path, "message": message}
            for path, message in (
                *unkeepable(self.settings, self._seen.devices, joules),
                *_without_effect(self.settings, self._seen),
            )
        ]
        if outcome is not None:
            prediction, steps = self.decision.prediction, self.decision.problem.work.local_steps
            rows = check_prediction(prediction, outcome.phases_ns, outcome.devices, steps)
            if (likely := self.decision.expectation) is not None:
                rows.append(expected_time(likely.round_s, outcome.phases_ns))
            explanation["measured"] = [row.to_json() for row in rows]
        return explanation

    def energy_queues(self) -> Mapping[str, float]:
        """The virtual queue of every node with an energy budget, in multiples of the budget."""
        return self.past.queues.energy

    def energy_budgets_j(self, observation: Observation) -> Mapping[str, float]:
        """The energy budget of every node that has one."""
        return self.settings.budgets_j(observation.devices)

    def memory(self) -> dict[str, Any]:
        """Everything that the next plans depend on."""
        past = self.past
        return {
            "knowledge": past.knowledge.to_json(),
            "correction": dict(past.correction),
            "tried": dict(past.tried),
            "noise": past.noise.to_json(),
            "format_noise": past.format_noise.to_json(),
            "queues": past.queues.to_json(),
            "drift": past.drift.to_json(),
            "departures": past.departures.to_json(),
            "before": [asdict(link) for link in self._before],
            "pipelines": None
            if past.pipelines is None
            else [
                [
                    cluster,
                    [[stage.device, stage.first, stage.last] for stage in pipe.stages],
                    pipe.micro_batches,
                    pipe.schedule,
                ]
                for cluster, pipe in past.pipelines.items()
            ],
        }

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Restores what `memory` gave."""
        held, self._planned = memory["pipelines"], None
        self._before = tuple(MeasuredLink(**link) for link in memory["before"])
        self.past = Memory(
            knowledge=Knowledge.from_json(memory["knowledge"]),
            correction=dict(memory["correction"]),
            tried=dict(memory["tried"]),
            noise=GradientNoise.from_json(memory["noise"]),
            format_noise=FormatNoise.from_json(memory["format_noise"]),
            queues=Queues.from_json(memory["queues"]),
            drift=Drift.from_json(memory["drift"]),
            departures=Departures.from_json(memory["departures"]),
            pipelines=None
            if held is None
            else {
                cluster: Pipeline(tuple(Stage(*stage) for stage in stages), m, schedule)
                for cluster, stages, m, schedule in held
            },
        )
