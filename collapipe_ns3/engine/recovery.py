"""How a pipeline goes on that has lost a device: from which copy, on which devices, with what sent.

See `collapipe_ns3.plan.Recovery` for the policies. The simulated nodes of a pipeline share one
replica here. A copy of it stands for the copies that its nodes keep of their units, and that the
control unit keeps of all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Literal

from bridge.loop import TaskGroup
from bridge.network import TransferKind
from collapipe_ns3.costs.parts import ModelCosts
from collapipe_ns3.engine.exchange_run import ExchangeRun
from collapipe_ns3.engine.parameters import ParameterExchange
from collapipe_ns3.engine.presence import NodeLost
from collapipe_ns3.engine.site import Site, TransferFailed
from collapipe_ns3.engine.stage_worker import StageWorker, workers
from collapipe_ns3.engine.state import Replica
from collapipe_ns3.exchange import (
    BytesOf,
    Exchange,
    Legs,
    PipelineId,
    Placement,
    Shipment,
    StateMove,
    Units,
    legs,
)
from collapipe_ns3.fallback import Hosts, NoFallback, fallback
from collapipe_ns3.learning.aggregation import Parameters
from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.outcome import TransferLabel, WorkItem
from collapipe_ns3.plan import Pipeline, Recovery
from collapipe_ns3.recovery_exchange import recovery_exchange, source_of


@dataclass(slots=True)
class Copy:
    """A replica after `step` local steps: its parameters, and its optimizers' states by unit.

    `sizes` are the bytes of both together by unit.
    """

    step: int
    sizes: dict[str, int]
    parameters: Parameters = field(default_factory=dict)
    optimizers: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def begun(cls, replica: Replica, step: int) -> Copy:
        """A copy that `take` has yet to fill."""
        sizes = {
            name: unit.parameter_bytes() + unit.optimizer_bytes()
            for name, unit in replica.units.items()
        }
        return cls(step, sizes)

    def take(self, replica: Replica) -> None:
        """Copies the replica; called in the torch thread."""
        self.parameters = {name: each.clone() for name, each in replica.model.averaged().items()}
        self.optimizers = optimizer_states(replica)


def optimizer_states(replica: Replica) -> dict[str, dict[str, Any]]:
    """Copies of the states of a replica's optimizers, by unit."""
    return {name: deepcopy(unit.optimizer.state_dict()) for name, unit in replica.units.items()}


@dataclass(frozen=True, slots=True)
class Resumption:
    """With what a pipeline goes on: on these devices, from local step `step`, after these legs.

    `lost` are the devices that it does without from now on, and `states` what the optimizer states
    became that these had.
    """

    pipeline: Pipeline
    step: int
    legs: Legs
    lost: tuple[str, ...]
    states: Literal["zeros", "copy"]


#: How a pipeline recovers of which nothing can be replaced.
NO_RECOVERY = Recovery("abandon")


@dataclass(slots=True)
class PipelineRecovery:
    """The recovery of one pipeline in a round.

    A pipeline that can't go on without any of its devices has `NO_RECOVERY` as its `policy`.
    `exchange` is that of the round, and `parameters` has the tensors with which the pipeline began.
    `spare` are the devices of its cluster without any segment; pipelines of one cluster share the
    list, from which a device is removed that takes a segment. `began_ns` is when the round began,
    on the clock of the loop: what a node held that has been away since is lost.

    `peak_bytes` is the most that each node has kept for the recovery.
    """

    policy: Recovery
    whose: PipelineId
    replica: Replica
    costs: ModelCosts
    exchange: Exchange
    parameters: ParameterExchange
    hosts: Hosts
    spare: list[str]
    began_ns: int
    full: Copy | None = None
    peak_bytes: Counter[str] = field(default_factory=Counter)
    _start: dict[str, dict[str, Any]] = field(default_factory=dict)  # optimizer states by unit
    _start_bytes: dict[str, int] = field(default_factory=dict)
    _making: Copy | None = None
    _replaced: int = 0

    @property
    def is_on(self) -> bool:
        """Whether the pipeline may go on after a loss."""
        return self.policy.policy != "abandon"

    @property
    def control(self) -> str:
        return control_unit(self.whose.cluster)

    def start(self, line: Sequence[StageWorker]) -> None:
        """Keeps the optimizer states of the round's start on the nodes of a line of stages."""
        if self.is_on:
            self._start = optimizer_states(self.replica)
            units = self.replica.units.items()
            self._start_bytes = {name: unit.moment_bytes() for name, unit in units}
            self._note_kept(line)

    def copy_is_due(self, steps: int, local_steps: int) -> bool:
        """Whether a copy is begun after so many local steps, of `local_steps`.

        None is begun while the one before is on its way, nor after the last local step, as the
        trained parameters then go to the control unit themselves.
        """
        return (
            self.policy.policy == "replicate"
            and steps < local_steps
            and steps % self.policy.copy_every == 0
            and self._making is None
        )

    def begin_copy(self, site: Site, line: Sequence[StageWorker], steps: int) -> Copy:
        """Copies the segments of all nodes after so many local steps; `send_copy` has to follow."""
        copy = self._making = Copy.begun(self.replica, steps)
        site.thread.later(lambda: copy.take(self.replica))
        self._note_kept(line)
        return copy

    async def send_copy(self, site: Site, line: Sequence[StageWorker], copy: Copy) -> None:
        """Sends a copy to the control unit; it counts once all segments have arrived there.

        What is on the base station stays there, which never loses it.
        """
        sizes: Counter[str] = Counter()
        stages: dict[str, int] = {}
        for stage, worker in enumerate(line):
            sizes[worker.node] += sum(copy.sizes[unit.name] for unit in worker.units)
            stages.setdefault(worker.node, stage)
        work = WorkItem(self.whose.cluster, self.whose.index, step=copy.step - 1)
        try:
            async with TaskGroup() as group:
                for node, size in sizes.items():
                    if node not in (self.control, SERVER):
                        label = TransferLabel(TransferKind.PARAMETERS, work.at(stages[node]))
                        sending = site.send((node, self.control), size, label)
                        group.create_task(sending, name=f"{self.whose}, a copy from {node}")
        except* (TransferFailed, NodeLost):
            self.drop_copy()
        else:
            self.full, self._making = copy, None

    def drop_copy(self) -> None:
        """Gives up the copy that is on its way."""
        self._making = None

    def after(
        self, loss: NodeLost, pipeline: Pipeline, attempt: ExchangeRun, site: Site
    ) -> Resumption:
        """With what a pipeline goes on after a loss; its replica is then that of the first step.

        `attempt` is what has been sent since it began, or since the loss before. Raises
        `NoFallback`.
        """
        if not self.is_on:
            raise NoFallback("the plan abandons pipelines that lose a device")
        gone = self._gone(loss, pipeline, site)
        self.drop_copy()
        again = self._without(gone, pipeline, site)
        site.thread.now(lambda: self._restore(gone))
        line = workers(self.replica, again, self.costs, self.control, SERVER)
        self._note_kept(line)
        if self.full is None:
            step, states = 0, state_moves(line)
            source = source_of(self.exchange, attempt.legs, attempt.arrived_ns, self.whose)
        else:
            step, states, source = self.full.step, self._copy_moves(line, self.full), "none"
        units = again.units(self.control, SERVER)
        self.parameters.place(self.whose, units)
        units.pop(SERVER, None)
        placement = Placement(self.whose, units)
        exchange = recovery_exchange(placement, self.exchange, source)
        sent = legs(exchange, [placement], _own_format(self.costs), {self.whose: states})
        return Resumption(again, step, sent, gone, "zeros" if self.full is None else "copy")

    def _gone(self, loss: NodeLost, pipeline: Pipeline, site: Site) -> tuple[str, ...]:
        """The nodes of a pipeline that have lost what they held, that of the loss first.

        Nodes from which optimizer states were to come belong to it.
        """
        holders = (unit.holder for unit in self.replica.units.values())
        own = [self.control, *(stage.device for stage in pipeline.stages), pipeline.decoder]
        away = site.presence.away_since(self.began_ns)
        others = (node for node in [*own, *holders] if node in away)
        return tuple(dict.fromkeys([loss.node, *(node for node in others if node is not None)]))

    def _without(self, gone: Sequence[str], pipeline: Pipeline, site: Site) -> Pipeline:
        """The pipeline without the nodes that are gone; raises `NoFallback`."""
        if self.control in gone:
            raise NoFallback(f"{self.control} has the global model of the round")
        self._replaced += len(gone)
        if self._replaced > self.policy.most_losses:
            most = self.policy.most_losses
            losses = "1 loss" if most == 1 else f"{most} losses"
            raise NoFallback(f"the plan allows {losses} in a round, not {self._replaced}")
        away = site.presence.away_since(self.began_ns)
        idle = [device for device in self.spare if device not in away]
        again = fallback(pipeline, gone, self.hosts, idle)
        for stage in again.stages:
            if stage.device in self.spare:
                self.spare.remove(stage.device)
        return again

    def _restore(self, gone: Collection[str]) -> None:
        """Has the replica be as at the step from which it goes on; called in the torch thread.

        From the round's start, states on lost devices are zero; from a copy, the control unit has
        them.
        """
        if self.full is not None:
            self.replica.load(self.full.parameters)
            for name, unit in self.replica.units.items():
                unit.optimizer.load_state_dict(deepcopy(self.full.optimizers[name]))
                unit.holder = self.control if unit.holder in gone else unit.holder
            return
        self.replica.load(self.parameters.loaded(self.whose))
        for name, unit in self.replica.units.items():
            if unit.holder in gone:
                unit.reset_optimizer()
                self._start[name] = deepcopy(unit.at_start)
                self._start_bytes[name] = unit.moment_bytes()
            else:
                unit.optimizer.load_state_dict(deepcopy(self._start[name]))

    def _copy_moves(self, line: Sequence[StageWorker], copy: Copy) -> list[StateMove]:
        """What the control unit sends to nodes that have no copy of their units.

        What the aggregation needs of the global model in local steps comes with it.
        """
        sizes: Counter[str] = Counter()
        held = self.replica.local.term.held
        for worker in line:
            for unit in worker.units:
                if unit.holder != worker.node and worker.node != self.control:
                    sizes[worker.node] += copy.sizes[unit.name] + held * unit.parameter_bytes()
        return [StateMove(self.control, node, size) for node, size in sizes.items()]

    def _note_kept(self, line: Sequence[StageWorker]) -> None:
        """Notes what nodes keep at present besides what they train with."""
        kept: Counter[str] = Counter()
        copies = [each for each in (self.full, self._making) if each is not None]
        for worker in line:
            for unit in worker.units:
                copied = sum(copy.sizes[unit.name] for copy in copies)
                kept[worker.node] += copied
                if self.full is None:
                    kept[worker.node] += self._start_bytes[unit.name]
                if worker.node != SERVER:
                    # of the global model, with the base station's control variate if there is one
                    kept[self.control] += self.costs.sent * unit.parameter_bytes()
                    kept[self.control] += 0 if worker.node == self.control else copied
        for node, size in kept.items():
            self.peak_bytes[node] = max(self.peak_bytes[node], size)


def state_moves(line: Sequence[StageWorker]) -> list[StateMove]:
    """The optimizer states that other nodes have than those that train their units."""
    return [
        StateMove(unit.holder, worker.node, unit.optimizer_bytes())
        for worker in line
        for unit in worker.units
        if unit.holder not in (None, worker.node) and unit.optimizer_bytes()
    ]


def _own_format(costs: ModelCosts) -> BytesOf:
    """The bytes of units in the formats of their shipments."""

    def size(shipment: Shipment, units: Units) -> int:
        return costs.units_bytes(units, shipment.format)

    return size
