"""Plans the rounds of a study: shows its scheme the links, and validates the plan.

Nothing is trained here, and torch, which takes seconds to import, is not needed. The commands
`validate` and `plan` need only this module; `collapipe_ns3.run.runner` executes the plans.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from bridge import loop as simulated
from bridge.network import Network, TransferKind
from bridge.watched import watched
from collapipe_ns3 import schemes
from collapipe_ns3.attendance import absent_nodes, can_take_part, next_return_ns
from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.costs.parts import ModelCosts
from collapipe_ns3.costs.power import radio_joules
from collapipe_ns3.engine.node_states import NodeStates
from collapipe_ns3.exchange import Exchange, chunk_problems, whole
from collapipe_ns3.faults import Faults
from collapipe_ns3.learning import registry
from collapipe_ns3.learning.protocol import BadTask, Learning, Lengths
from collapipe_ns3.multicasts import media_problems, network_problems
from collapipe_ns3.node_state import NodeState
from collapipe_ns3.nodes import control_unit
from collapipe_ns3.observed import Observation, measured_links
from collapipe_ns3.plan import ClusterPlan, PlanError, RoundPlan, validate
from collapipe_ns3.prediction.memory import memory_problems
from collapipe_ns3.prediction.reach import reach
from collapipe_ns3.problems import Problem
from collapipe_ns3.reading.warnings import scheme_warnings
from collapipe_ns3.references import References
from collapipe_ns3.run.link_book import LinkBook
from collapipe_ns3.run.model import model_costs
from collapipe_ns3.schedule import SCHEDULES
from collapipe_ns3.schemes.guard import GuardedScheme
from collapipe_ns3.topology import layout, networks
from collapipe_ns3.topology.common_exchange import common_arrangement
from collapipe_ns3.topology.faults import make_faults, make_models
from collapipe_ns3.topology.media import media
from collapipe_ns3.topology.own_scenario import ScenarioFailed
from ns3_scenarios import runtime
from ns3_scenarios.handover import Attachment
from ns3_scenarios.runtime import SimulationError
from ns3_scenarios.scenario import ScenarioSpec

#: A directed link: its source and destination.
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Soundings:
    """What the soundings at the beginning of a round took: time, and energy of nodes' radios.

    `radio_j` are joules above idle, for sending and for receiving.
    """

    radio_j: Mapping[str, tuple[float, float]]
    lasting_s: float


class Planning:
    """The state of a study before its next round: task, scheme, nodes, and known links.

    `task` replaces the one that the study names.
    """

    def __init__(
        self,
        config: StudyConfig,
        watchdog_s: float | None = None,
        task: Learning | None = None,
    ) -> None:
        self.config = config
        self.watchdog_s = watchdog_s
        self.seed = config.seed
        self.task = task or registry.make(
            config.task.name, config.learning_setup(), config.task.settings
        )
        self.aggregator = config.aggregator()
        costs = model_costs(config, self.task, named=task is None)
        self.model_costs = replace(costs, sent=config.training.aggregation.term.sent)
        if self.model_costs.tied_bytes and config.training.head_learning_rate_factor != 1:
            message = "the first and the last part have parameters that must stay equal: expected 1"
            raise BadTask("training.head_learning_rate_factor", message)
        name, settings = config.scheme.name, config.scheme.settings
        made = watched(lambda: schemes.make(name, settings), f"scheme {name}", watchdog_s)
        self.scheme = GuardedScheme(name, made, watchdog_s)
        self.models = make_models(config)
        self.profiles = layout.profiles(config)
        self.attachments: Mapping[str, Attachment] = {}  # of control units, with handover
        self._arrange()
        self.next_round = 0
        self.steps_done = 0  # local steps of a cluster in all rounds before
        self.now_ns = 0
        self.links = LinkBook()
        self.references = References()
        self.late: Mapping[int, int] = {}  # the age of the work of clusters that is on its way
        self.given_faults = make_faults(config, self.seed)
        self.begin_with({node: model.first() for node, model in self.models.items()})

    @property
    def faults(self) -> Faults:
        """The faults that are given, and those that follow from heat and charge."""
        return self.node_states.faults

    def begin_with(self, states: Mapping[str, NodeState]) -> None:
        """Sets the heat and charge of nodes with which the next round begins."""
        self.node_states = NodeStates(self.models, states, self.given_faults, self.now_ns)

    def attach(self, attachments: Mapping[str, Attachment]) -> None:
        """Sets the cells of control units; media follow, and the exchange that the study gives."""
        moved = _stations(attachments) != _stations(self.attachments)
        self.attachments = attachments
        if moved:
            self._arrange()

    def _arrange(self) -> None:
        config = self.config
        # The media of a user's own network are unknown.
        self.media = () if config.scenario else media(self._placed(0, 0))
        given, devices = config.training.exchange, layout.device_names(config)
        self.exchange = (
            None
            if given is None
            else common_arrangement(given, devices, self.media, self.model_costs)
        )

    def observation(
        self, links: LinkBook | None = None, soundings: Soundings | None = None
    ) -> Observation:
        """The observation that the scheme is shown before the next round.

        `links` are the known links, by default those of the last round, and `soundings` is what
        sounding has taken in this round.
        """
        soundings = soundings or Soundings({}, 0.0)
        usual = _lengths(self.task, len(self.config.clusters))
        devices, training = layout.device_names(self.config), self.config.training
        return Observation(
            devices=devices,
            profiles=self.profiles,
            model=self.model_costs,
            batch_size=self.config.training.batch_size,
            local_steps=self.config.training.least_steps,
            most_local_steps=self.config.training.most_steps,
            optimizer=self.config.training.kind,
            aggregation=self.aggregator.flops,
            links=tuple((links or self.links).links.values()),
            shares=tuple(self.task.shares),
            source_length=usual.tokens,
            target_length=usual.targets,
            media=self.media,
            wire=self.config.training.wire,
            sounding_j=soundings.radio_j,
            sounding_s=soundings.lasting_s,
            exchange=self.exchange,
            references=self.references,
            absent={**absent_nodes(self.faults, devices, self.now_ns), **_busy(self.late)},
            late=self.late,
            hazards=self.faults.hazards,
            repair_s=self.faults.repair_s,
            recovery=None if training.recovery is None else training.recovery.of_plan(),
            deadline=None if training.deadline is None else training.deadline.of_plan(),
        )

    def plan(self, links: LinkBook | None = None, soundings: Soundings | None = None) -> RoundPlan:
        """The scheme's plan for the next round, with what the study gives to every scheme.

        While nodes are absent, a cluster for which there is no plan sits out. If no cluster can
        take part, the plan has no pipelines, and the round waits for a node to return. Raises
        `PlanError` for a plan that can't be executed for another reason.
        """
        observation, refused = self.observation(links, soundings), None
        while can_take_part(observation.devices, observation.absent):
            try:
                plan = self._plan_of_scheme(observation)
            except PlanError as error:
                refused = refused or error
                left_out = _left_out(observation, error)
                if not left_out:
                    raise refused from None
                observation = replace(observation, absent={**observation.absent, **left_out})
            else:
                if plan is not None:
                    return plan
                break
        clusters = range(len(observation.devices))
        idle = tuple(ClusterPlan(cluster, ()) for cluster in clusters)
        absences = reach(observation).absences
        return RoundPlan(self.next_round, self.scheme.name, idle, absences=absences)

    def _plan_of_scheme(self, seen: Observation) -> RoundPlan | None:
        """The scheme's plan; None if all clusters sit out while nodes are absent."""
        plan = self.scheme.plan(self.next_round, seen).arranged_by(seen.exchange)
        plan = plan.with_terms(seen.recovery, seen.deadline)
        if seen.absent and not plan.has_pipelines:
            return None
        validate_for(seen, plan)
        if found := list(memory_problems(plan, seen)):
            raise PlanError(plan.scheme, plan.round, found)
        return plan

    def pairs_to_sound(self) -> tuple[Pair, ...]:
        """The links that the scheme wants to have sounded before the next round, if it can be."""
        return self._usable(self.scheme.sounding(self.next_round, self.observation()))

    def _usable(self, pairs: Sequence[Pair]) -> tuple[Pair, ...]:
        """Those of some links that are not out, and whose nodes are there."""
        return tuple(
            pair
            for pair in pairs
            if self.faults.is_usable(*pair, self.now_ns)
            and all(self.faults.is_up(node, self.now_ns) for node in pair)
        )

    def next_return_ns(self, after_ns: int) -> int | None:
        """When, after an instant of the run, a device can take part again that can't then."""
        return next_return_ns(self.faults, layout.device_names(self.config), after_ns)

    def try_out(self, sounded: Sequence[Pair] | None = None) -> tuple[RoundPlan, LinkBook]:
        """Builds the next round's network, sounds links and plans, and changes no state.

        Sounds the links that the scheme wants, or those of `sounded`. Returns the plan and the
        links that it was made from. Raises `PlanError`, and `SimulationError` where ns-3 can't run
        the network.
        """
        with self._simulating():
            return self._tried_out(sounded)

    def _tried_out(self, sounded: Sequence[Pair] | None) -> tuple[RoundPlan, LinkBook]:
        net = networks.build(self.config, self._scenario())
        pairs = self.pairs_to_sound() if sounded is None else self._usable(sounded)

        async def measured() -> tuple[RoundPlan, LinkBook]:
            links = await self._sounded(net, pairs)
            plan = self.plan(links, self._spent(net))
            if not plan.has_pipelines and self.next_return_ns(self.now_ns) is None:
                why = f"sits out, and no device ever returns: {plan.why_idle}"
                raise PlanError(plan.scheme, plan.round, [("every cluster", why)])
            _apply(net, plan)
            return plan, links

        try:
            return simulated.run(net, measured(), watchdog_s=self.watchdog_s)
        finally:
            net.close()

    @contextmanager
    def _simulating(self) -> Iterator[None]:
        """Reserves ns-3 for this run; errors of ns-3 name the round, fatal ones too."""
        own = self.config.scenario and f"scenario {self.config.scenario.function}"
        doing = f"{own}, round {self.next_round}" if own else f"round {self.next_round}"
        with runtime.alone(), runtime.last_words(doing):
            try:
                yield
            except SimulationError as error:
                raise SimulationError(f"{doing}: {error}") from None
            except ScenarioFailed as error:
                raise ScenarioFailed(f"{doing}{str(error).removeprefix(own or '')}") from None

    def first(self) -> tuple[RoundPlan, list[Problem]]:
        """The plan of `try_out`, and the scheme's warnings about the study."""
        plan = self.try_out()[0]
        return plan, scheme_warnings(self.scheme.explain(plan.round, None))

    async def _sounded(self, net: Network, pairs: Sequence[Pair]) -> LinkBook:
        """The known links after these were sounded."""
        if not pairs:
            return self.links
        try:
            await net.sound(pairs)
        except ValueError as error:  # a pair without a common radio
            name, number = self.config.scheme.name, self.next_round
            what = f"choosing links to sound before round {number}: {error}"
            raise schemes.SchemeFailed(f"scheme {name}, {what}") from None
        lost = [
            (each.src, each.dst)
            for each in net.deliveries
            if each.kind == TransferKind.SOUNDING and each.outcome in ("lost", "refused")
        ]
        return self.links.sounded(measured_links(net), lost)

    def _spent(self, net: Network) -> Soundings:
        """What the soundings of a network have taken that was built for the present round."""
        return Soundings(radio_joules(net.usage(), self.profiles), net.now_ns() / 1e9)

    def _scenario(self) -> ScenarioSpec:
        """The ns-3 scenario of the next round."""
        return self._placed(self.next_round, self.now_ns)

    def _placed(self, round: int, start_ns: int) -> ScenarioSpec:
        return layout.scenario(self.config, self.seed, round, start_ns, self.attachments)


def _busy(late: Mapping[int, int]) -> dict[str, str]:
    """The control units of clusters that still send what they trained in earlier rounds."""
    return {
        control_unit(cluster): f"its cluster's work of {age} round{'s' * (age > 1)} ago is late"
        for cluster, age in late.items()
    }


def _stations(attachments: Mapping[str, Attachment]) -> dict[str, str]:
    return {unit: each.station for unit, each in attachments.items()}


def _left_out(seen: Observation, error: PlanError) -> dict[str, str]:
    """The control units of clusters that have no plan as nodes are absent, and the reasons.

    There are none if no node is absent, or if the error is about no cluster that may take part.
    """
    reasons: dict[str, list[str]] = {}
    for where, what in error.problems if seen.absent else ():
        number = where.removeprefix("cluster ")
        if number.isdecimal():
            reasons.setdefault(control_unit(int(number)), []).append(what)
    return {unit: "; ".join(why) for unit, why in reasons.items() if unit not in seen.absent}


def validate_for(observation: Observation, plan: RoundPlan) -> None:
    """Raises `PlanError` unless the plan fits the study of which this is an observation."""
    least, most = observation.local_steps, observation.most_local_steps
    validate(
        plan,
        local_steps=range(least, (least if most is None else most) + 1),
        devices=observation.devices,
        blocks=observation.model.encoder_blocks,
        batch_size=observation.batch_size,
        schedules=tuple(SCHEDULES),
        max_tx_power_w={n: each.max_tx_power_w for n, each in observation.profiles.items()},
        absent=observation.absent,
    )
    found = list(media_problems(plan.exchange, observation.media))
    found += chunk_problems(plan.exchange, whole(observation.model.units_bytes))
    found += variate_problems(plan.exchange, observation.model)
    if found:
        raise PlanError(plan.scheme, plan.round, found)


def variate_problems(exchange: Exchange | None, model: ModelCosts) -> Iterator[tuple[str, str]]:
    """Shipments in formats in which control variates can't travel with the parameters."""
    if exchange is None or model.sent == 1:
        return
    for shipment in exchange.shipments:
        if not shipment.format.exact:
            what = f"is in {shipment.format}; expected fp32, as control variates travel with it"
            yield f"shipment {shipment.name}", what


def check_network(net: Network, plan: RoundPlan) -> None:
    """Raises `PlanError` if the plan needs a call that this network does not have."""
    if found := list(network_problems(plan.exchange, net)):
        raise PlanError(plan.scheme, plan.round, found)


def _apply(net: Network, plan: RoundPlan) -> None:
    check_network(net, plan)
    try:
        net.apply(plan.links)
    except ValueError as error:
        raise PlanError(plan.scheme, plan.round, [("links", str(error))]) from None


def _lengths(task: Learning, clusters: int) -> Lengths:
    """The usual padded lengths of a batch: the mean over clusters."""
    lengths = [task.lengths(cluster) for cluster in range(clusters)]
    return Lengths(
        tokens=round(sum(each.tokens for each in lengths) / clusters),
        targets=round(sum(each.targets for each in lengths) / clusters),
    )
