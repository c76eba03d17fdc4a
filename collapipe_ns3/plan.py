"""The plan of a round, as data: a scheme makes it, the engine executes it, records keep it.

Powers are watts and bandwidths hertz; the printed form shows dBm and MHz.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, Self, get_args

from bridge.network import GROUP_SIGN, group_name
from collapipe_ns3.arrangement import Arrangement, arranged
from collapipe_ns3.exchange import (
    Blocks,
    BytesOf,
    Exchange,
    Legs,
    PipelineId,
    Placement,
    StateMove,
    Units,
    exchange_problems,
    legs,
)
from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.quantity import to_dbm
from collapipe_ns3.references import References, Routing, format_problems

#: Bounds of a round's terms.
_MOST_RESENDS = 1000
_LONGEST_PAUSE_S = 3600.0
_LONGEST_ROUND_S = 1e9
_MOST_ROUNDS = 1_000_000_000

_NOBODY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Stage:
    """A segment of the encoder on a device: blocks `first` to `last`, inclusive.

    With `recompute` the device keeps only the input of each block until the backward pass, which
    computes the block again (Chen et al. 2016): less memory for more computation.
    """

    device: str
    first: int
    last: int
    recompute: bool = False

    @property
    def blocks(self) -> int:
        """The number of encoder blocks in the segment."""
        return self.last - self.first + 1

    def __str__(self) -> str:
        span = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        return f"{self.device}[{span}{', recomputed' if self.recompute else ''}]"


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The encoder's segments in order, and how a batch passes through them.

    `schedule` is a name in `collapipe_ns3.schedule.SCHEDULES`; `share` is the fraction of each of
    the cluster's batches that this pipeline trains on. The embedding is on the control unit and the
    decoder on the base station, unless `embedding` and `decoder` name other nodes.
    """

    stages: tuple[Stage, ...]
    micro_batches: int
    schedule: str
    share: float = 1.0
    embedding: str | None = None
    decoder: str | None = None

    def nodes(self, control: str, server: str, local_head: bool = False) -> list[str]:
        """The node of each stage in order: first part, segments, a local head, last part.

        `control` and `server` have the first and the last part unless the pipeline names others. A
        local head is where the first part is, as the labels are there.
        """
        first = self.embedding or control
        heads = [first] if local_head else []
        return [first, *(stage.device for stage in self.stages), *heads, self.decoder or server]

    def units(self, control: str, server: str) -> dict[str, Units]:
        """The units of the model on each node, in the order of the stages."""
        first = (self.embedding or control, Units(embedding=True))
        segments = [
            (stage.device, Units(blocks=(Blocks(stage.first, stage.last),)))
            for stage in self.stages
        ]
        parts: dict[str, list[Units]] = {}
        for node, units in (first, *segments, (self.decoder or server, Units(decoder=True))):
            parts.setdefault(node, []).append(units)
        return {
            node: units[0] if len(units) == 1 else Units.joined(units)
            for node, units in parts.items()
        }

    def __str__(self) -> str:
        line = " → ".join(map(str, self.stages))
        if {self.embedding, self.decoder} == {stage.device for stage in self.stages}:
            line = f"{self.embedding}[all]"
        else:
            line = f"{self.embedding}[embedding] → {line}" if self.embedding else line
            line = f"{line} → {self.decoder}[decoder]" if self.decoder else line
        share = "" if self.share == 1.0 else f", {self.share:.0%} of the data"
        parts = (
            "1 micro-batch" if self.micro_batches == 1 else f"{self.micro_batches} micro-batches"
        )
        return f"{line}, {parts}, {self.schedule}{share}"


def micro_batch_sizes(sequences: int, micro_batches: int) -> list[int]:
    """The sequences of each micro-batch of a batch: as equal as possible, larger ones first."""
    least, more = divmod(sequences, micro_batches)
    return [least + 1] * more + [least] * (micro_batches - more)


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """The pipelines of one cluster, which is given by its number."""

    cluster: int
    pipelines: tuple[Pipeline, ...]

    def sequences(self, batch_size: int) -> list[int]:
        """The number of a batch's sequences that each pipeline takes, in order.

        Each takes its share times the size, rounded down; the sequences that remain go to the
        pipelines with the largest remainders.
        """
        exact = [pipe.share * batch_size for pipe in self.pipelines]
        taken = [math.floor(size + 1e-9) for size in exact]
        by_loss = sorted(range(len(exact)), key=lambda i: (taken[i] - exact[i], i))
        for i in by_loss[: round(math.fsum(exact)) - sum(taken)]:
            taken[i] += 1
        return taken


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """Power and bandwidth of a directed link; None leaves the choice to the radio.

    `dst` is a node, or the `bridge.network.group_name` of a multicast's receivers. A grant to a
    group changes nothing for what is sent to one of them alone.
    """

    src: str
    dst: str
    tx_power_w: float | None = None
    bandwidth_hz: float | None = None

    @property
    def receivers(self) -> tuple[str, ...]:
        """The node, or those of the group, that `dst` names."""
        return tuple(self.dst.split(GROUP_SIGN))

    def __str__(self) -> str:
        return f"{self.src} → {self.dst}"

    @property
    def given(self) -> str:
        """Its power and bandwidth as text; empty if both are None."""
        power, bandwidth = self.tx_power_w, self.bandwidth_hz
        parts = [] if power is None else [f"{to_dbm(power):.1f} dBm"]
        parts += [] if bandwidth is None else [f"{bandwidth / 1e6:.2f} MHz"]
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Absence:
    """A device that the scheme could not use in this round, and the reason."""

    cluster: int
    device: str
    reason: str

    def __str__(self) -> str:
        return f"{self.device} sits out: {self.reason}"


#: How a cluster recovers when it loses a device in the middle of a round.
RecoveryPolicy = Literal["abandon", "restart", "replicate"]


@dataclass(frozen=True, slots=True)
class Recovery:
    """What becomes of a pipeline that loses a device before its parameters have been gathered.

    - `abandon`: it fails for this round.
    - `restart`: the round's local steps begin again on the devices that are left, from the global
      model, which the control unit keeps.
    - `replicate`: after every `copy_every` local steps, every segment's parameters and optimizer
      states are copied to the control unit; the local steps go on from the last full copy, on the
      devices that are left.

    At most `most_losses` devices are replaced in a round; the next loss abandons the pipeline.
    """

    policy: RecoveryPolicy = "abandon"
    copy_every: int = 1
    most_losses: int = 3

    def __str__(self) -> str:
        if self.policy == "abandon":
            return "a pipeline that loses a device is abandoned"
        if self.policy == "restart":
            return "a pipeline that loses a device begins its local steps again without it"
        often = "every step" if self.copy_every == 1 else f"every {self.copy_every} steps"
        return f"segments are copied to the control unit after {often}"


@dataclass(frozen=True, slots=True)
class Deadline:
    """When the base station stops to wait, and what becomes of late work.

    `after_s` seconds after the broadcast began it averages what has arrived, provided that it has
    the results of at least the fraction `quorum` of the round's clusters; if not, it waits until
    that many have arrived or failed. A cluster that has not delivered by then is late: its work is
    dropped (`drop`), or, if it has ended its local steps, its upload goes on in the next rounds and
    enters the average that it arrives in, with its age (`keep`), for at most `most_age` rounds.
    """

    after_s: float
    quorum: float = 0.5
    late: Literal["drop", "keep"] = "drop"
    most_age: int = 3

    def needed(self, clusters: int) -> int:
        """For how many of a round's clusters the base station waits in any case."""
        return math.ceil(self.quorum * clusters - 1e-9)

    def stop_ns(self, ends_ns: Sequence[int]) -> int:
        """When the base station stops to wait, given when each cluster is through.

        All in nanoseconds after the broadcast began.
        """
        needed = self.needed(len(ends_ns))
        quorum_ns = sorted(ends_ns)[needed - 1] if needed else 0
        return min(max(round(self.after_s * 1e9), quorum_ns), max(ends_ns, default=0))

    def __str__(self) -> str:
        kept = "dropped" if self.late == "drop" else f"kept for up to {self.most_age} rounds"
        return f"deadline {self.after_s:g} s, quorum {self.quorum:.0%}; late work is {kept}"


@dataclass(frozen=True, slots=True)
class Terms:
    """What the engine does when something fails or takes too long.

    If a transfer fails, it is sent again after the pause `resend_after_s`, in simulated seconds:
    sent at once, it would meet the same failure again. Once the last of `resends` has failed, the
    engine abandons the transfer's pipeline for the round.
    """

    resends: int = 2
    resend_after_s: float = 1.0
    recovery: Recovery = Recovery()
    deadline: Deadline | None = None

    def __str__(self) -> str:
        return "; ".join(
            [
                self._resending(),
                *([str(self.recovery)] if self.recovery != Recovery() else []),
                *([str(self.deadline)] if self.deadline is not None else []),
            ]
        )

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, for JSON; recovery and deadline only where they are set."""
        data = dataclasses.asdict(self)
        if self.recovery == Recovery():
            del data["recovery"]
        if self.deadline is None:
            del data["deadline"]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        own = dict(data)
        if "recovery" in own:
            own["recovery"] = Recovery(**own["recovery"])
        if own.get("deadline") is not None:
            own["deadline"] = Deadline(**own["deadline"])
        return cls(**own)

    def _resending(self) -> str:
        if self.resends == 0:
            return "failed transfers are not sent again"
        times = "once" if self.resends == 1 else f"up to {self.resends} times"
        return f"failed transfers are sent again {times}, after {self.resend_after_s:g} s"


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """Everything that is done in one round.

    A cluster without pipelines sits out; `absences` list the devices that do, and the reasons.
    Without an `exchange`, parameters travel as `arranged` has it for `Arrangement()`: by way of the
    control unit, store and forward, in fp32. Without `local_steps`, there are as many as the study
    says, or the fewest that it allows.
    """

    round: int
    scheme: str
    clusters: tuple[ClusterPlan, ...]
    links: tuple[LinkPlan, ...] = ()
    absences: tuple[Absence, ...] = ()
    terms: Terms = Terms()
    exchange: Exchange | None = None
    local_steps: int | None = None

    @property
    def has_pipelines(self) -> bool:
        """Whether any cluster takes part; if none does, the round only waits."""
        return any(cluster.pipelines for cluster in self.clusters)

    @property
    def why_idle(self) -> str:
        """The reasons of all absences, as text."""
        return "; ".join(dict.fromkeys(absence.reason for absence in self.absences))

    def placements(self) -> list[Placement]:
        """The units of every pipeline by node; a pipeline's units on the base station are left out.

        With them, `collapipe_ns3.arrangement.arranged` makes an exchange.
        """
        placed = []
        for cluster in self.clusters:
            for index, pipeline in enumerate(cluster.pipelines):
                units = pipeline.units(control_unit(cluster.cluster), SERVER)
                units.pop(SERVER, None)
                placed.append(Placement(PipelineId(cluster.cluster, index), units))
        return placed

    def with_terms(self, recovery: Recovery | None, deadline: Deadline | None) -> RoundPlan:
        """The plan with this recovery and this deadline, where they are given."""
        given = {"recovery": recovery, "deadline": deadline}
        changes: dict[str, Any] = {key: each for key, each in given.items() if each is not None}
        if not changes:
            return self
        return dataclasses.replace(self, terms=dataclasses.replace(self.terms, **changes))

    def arranged_by(self, arrangement: Arrangement | None) -> RoundPlan:
        """The plan with the exchange of this arrangement, or unchanged without one."""
        if arrangement is None:
            return self
        return dataclasses.replace(self, exchange=arranged(self.placements(), arrangement))

    def effective_exchange(self) -> Exchange:
        """The exchange that is executed: `exchange`, or where there is none that of the default."""
        return self.exchange or arranged(self.placements(), Arrangement())

    def routing(self, references: References) -> Routing:
        """How the units of this plan travel, given what nodes hold before the round."""
        return Routing(self.effective_exchange(), self.placements(), references)

    def legs(
        self,
        bytes_of: BytesOf,
        moves: Mapping[PipelineId, Sequence[StateMove]],
    ) -> Legs:
        """What is sent of parameters and optimizer states.

        `bytes_of` are the bytes of units in a shipment, and `moves` the optimizer states that move.
        """
        return legs(self.effective_exchange(), self.placements(), bytes_of, moves)

    def __str__(self) -> str:
        lines = [f"round {self.round}, {self.scheme}"]
        for cluster in self.clusters:
            pipes = map(str, cluster.pipelines) if cluster.pipelines else ["sits out"]
            lines += [f"  cluster {cluster.cluster}: {pipe}" for pipe in pipes]
        lines += [f"  {absence}" for absence in self.absences]
        if self.local_steps is not None:
            lines.append(f"  {self.local_steps} local step{'s' * (self.local_steps > 1)}")
        lines += [f"  {self.terms}"] if self.terms != Terms() else []
        if self.exchange is not None:
            lines += [f"  {line}" for line in str(self.exchange).split("\n")]
        grants: dict[str, list[str]] = {}
        for link in self.links:
            grants.setdefault(link.given or "as the radio has it", []).append(str(link))
        for grant, links in grants.items():
            lines.append(
                f"  {', '.join(links) if len(links) < 3 else f'{len(links)} links'}: {grant}"
            )
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries and lists, for JSON.

        A stage has `recompute`, and the plan has `exchange` and `local_steps`, only if it is set.
        """
        data = dataclasses.asdict(self)
        data["terms"] = self.terms.to_json()
        for cluster in data["clusters"]:
            for pipe in cluster["pipelines"]:
                for stage in pipe["stages"]:
                    if not stage["recompute"]:
                        del stage["recompute"]
        for key in ("exchange", "local_steps"):
            if data[key] is None:
                del data[key]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`; plans written before there were terms get the default."""
        return cls(
            data["round"],
            data["scheme"],
            tuple(
                ClusterPlan(
                    cluster["cluster"],
                    tuple(
                        Pipeline(
                            tuple(Stage(**stage) for stage in pipe["stages"]),
                            pipe["micro_batches"],
                            pipe["schedule"],
                            pipe["share"],
                            pipe["embedding"],
                            pipe["decoder"],
                        )
                        for pipe in cluster["pipelines"]
                    ),
                )
                for cluster in data["clusters"]
            ),
            tuple(LinkPlan(**link) for link in data["links"]),
            tuple(Absence(**absence) for absence in data["absences"]),
            Terms.from_json(data.get("terms", {})),
            Exchange.from_json(data["exchange"]) if "exchange" in data else None,
            data.get("local_steps"),
        )


class PlanError(ValueError):
    """There is no plan for a round, or none that can be executed; the message lists every reason.

    `scheme` is the name of the scheme that planned, and `problems` are pairs: what is wrong (a
    cluster, a link, a setting), and in what way.
    """

    def __init__(self, scheme: str, round: int, problems: Iterable[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        lines = (f"{where}: {what}" for where, what in self.problems)
        super().__init__(
            "\n  ".join([f"{scheme}'s plan for round {round} can't be executed:", *lines])
        )


def validate(
    plan: RoundPlan,
    *,
    devices: Sequence[Sequence[str]],
    blocks: int,
    batch_size: int,
    schedules: Sequence[str],
    max_tx_power_w: Mapping[str, float] | None = None,
    local_steps: range | None = None,
    absent: Mapping[str, str] = _NOBODY,
) -> None:
    """Raises `PlanError` unless the plan fits the clusters' devices, the model and the batch.

    `devices` lists each cluster's devices, and `schedules` the names of all schedules. Powers are
    compared with `max_tx_power_w` by node, and the number of local steps with `local_steps`, if
    given. `absent` are the nodes that can't be used, with the reasons.

    A plan is also checked elsewhere: the types of its fields where a scheme returns it
    (`schemes.read_plain`), the memory that it needs (`prediction.memory`), the table of its
    schedule (`schedule.validate`), and the powers and bandwidths that it grants where it is applied
    to the network (`Ns3Network.apply`, by `ns3_scenarios.radios.grants`).
    """
    problems = [
        *_problems(plan, devices, blocks, batch_size, schedules),
        *_link_problems(plan.links, devices, max_tx_power_w or {}),
        *_terms_problems(plan.terms),
        *_steps_problems(plan.local_steps, local_steps),
        *_absent_problems(plan, absent),
    ]
    if plan.exchange is not None and not problems:  # as its dry run needs a valid plan
        problems = exchange_problems(plan.exchange, plan.placements(), devices, blocks)
        problems += format_problems(plan.exchange)
    if problems:
        raise PlanError(plan.scheme, plan.round, problems)


def _problems(
    plan: RoundPlan,
    devices: Sequence[Sequence[str]],
    blocks: int,
    batch_size: int,
    schedules: Sequence[str],
) -> Iterator[tuple[str, str]]:
    if not plan.has_pipelines:
        why = "; ".join(map(str, plan.absences))
        yield "every cluster", f"sits out{': ' if why else ''}{why}"
    planned = Counter(cluster.cluster for cluster in plan.clusters)
    for number in range(len(devices)):
        if planned[number] != 1:
            yield f"cluster {number}", f"expected one plan, not {planned[number]}"
    for cluster in plan.clusters:
        where = f"cluster {cluster.cluster}"
        if not 0 <= cluster.cluster < len(devices):
            yield where, f"there are {len(devices)} clusters"
            continue
        if wrong := [pipe.share for pipe in cluster.pipelines if not 0 <= pipe.share <= 1]:
            yield where, f"expected a pipeline's share from 0 to 1, not {wrong[0]:g}"
            continue
        share = math.fsum(pipe.share for pipe in cluster.pipelines)
        if cluster.pipelines and not math.isclose(share, 1.0):
            yield where, f"expected the pipelines' shares to add to 1, not {share:g}"
        own = {*devices[cluster.cluster], SERVER}
        used = Counter(stage.device for pipe in cluster.pipelines for stage in pipe.stages)
        for device, count in used.items():
            if device not in own:
                yield where, f"{device} is none of its devices"
            elif count > 1:
                yield where, f"{device} is used {count} times"
        ends = {pipe.embedding for pipe in cluster.pipelines}
        ends |= {pipe.decoder for pipe in cluster.pipelines}
        for node in sorted(end for end in ends if end is not None):
            if node not in {*own, control_unit(cluster.cluster)}:
                yield where, f"{node} is none of its nodes"
        sizes = cluster.sequences(batch_size)
        for pipe, size in zip(cluster.pipelines, sizes, strict=True):
            for what in _pipeline_problems(pipe, blocks, size, schedules):
                yield where, what


def _link_problems(
    links: Sequence[LinkPlan], devices: Sequence[Sequence[str]], most: Mapping[str, float]
) -> Iterator[tuple[str, str]]:
    clusters = [{control_unit(n), *names} for n, names in enumerate(devices)]
    nodes = {SERVER}.union(*clusters)
    for pair, count in Counter((link.src, link.dst) for link in links).items():
        if count > 1:
            yield " → ".join(pair), f"is planned {count} times"
    for link in links:
        where = f"{link.src} → {link.dst}"
        if unknown := [node for node in (link.src, *link.receivers) if node not in nodes]:
            yield where, f"there is no node {' and no '.join(unknown)}"
            continue
        if link.dst != (expected := group_name(dict.fromkeys(link.receivers))):
            yield where, f"expected each receiver of a group once, in order of names: {expected}"
        for what, value in (("power", link.tx_power_w), ("bandwidth", link.bandwidth_hz)):
            if value is not None and not (value > 0 and math.isfinite(value)):
                yield where, f"expected a {what} above 0, not {value:g}"
        if link.tx_power_w is not None and link.tx_power_w > most.get(link.src, math.inf):
            yield where, f"{link.src} sends {most[link.src]:g} W at most, not {link.tx_power_w:g} W"


def _steps_problems(steps: int | None, allowed: range | None) -> Iterator[tuple[str, str]]:
    if steps is not None and allowed is not None and steps not in allowed:
        expected = f"{allowed[0]} (training.local_steps, which has no bounds)"
        if len(allowed) > 1:
            expected = f"{allowed[0]} to {allowed[-1]} (training.local_steps)"
        yield "local steps", f"expected {expected}, not {steps}"


def _absent_problems(plan: RoundPlan, absent: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Nodes that are absent and used: a cluster that sends or computes uses its control unit."""
    for cluster in plan.clusters if absent else ():
        control = control_unit(cluster.cluster)
        used = {node for pipe in cluster.pipelines for node in pipe.nodes(control, SERVER)}
        used |= {control} if used - {SERVER} else set()
        for node in sorted(used & absent.keys()):
            yield f"cluster {cluster.cluster}", f"{node} can't be used: {absent[node]}"


def _terms_problems(terms: Terms) -> Iterator[tuple[str, str]]:
    if not 0 <= terms.resends <= _MOST_RESENDS:
        yield "terms", f"expected 0 to {_MOST_RESENDS} resends, not {terms.resends}"
    if not 0 <= terms.resend_after_s <= _LONGEST_PAUSE_S:
        what = f"expected a pause of 0 to {_LONGEST_PAUSE_S:g} s before a resend"
        yield "terms", f"{what}, not {terms.resend_after_s:g} s"
    recovery, deadline = terms.recovery, terms.deadline
    policies = get_args(RecoveryPolicy)
    if recovery.policy not in policies:
        yield "recovery", f"expected {', '.join(policies)}, not {recovery.policy}"
    if not 1 <= recovery.copy_every <= _MOST_ROUNDS:
        yield "recovery", f"expected copies after 1 local step or more, not {recovery.copy_every}"
    if not 0 <= recovery.most_losses <= _MOST_RESENDS:
        expected = f"expected 0 to {_MOST_RESENDS} devices to be replaced"
        yield "recovery", f"{expected}, not {recovery.most_losses}"
    if deadline is None:
        return
    if not 0 < deadline.after_s <= _LONGEST_ROUND_S:
        yield "deadline", f"expected more than 0 seconds, not {deadline.after_s:g} s"
    if not 0 <= deadline.quorum <= 1:
        yield "deadline", f"expected a quorum from 0 to 1, not {deadline.quorum:g}"
    if deadline.late not in ("drop", "keep"):
        yield "deadline", f"expected late work to drop or keep, not {deadline.late}"
    if not 0 <= deadline.most_age <= _MOST_ROUNDS:
        yield "deadline", f"expected an age of 0 rounds or more, not {deadline.most_age}"


def _pipeline_problems(
    pipe: Pipeline, blocks: int, sequences: int, schedules: Sequence[str]
) -> Iterator[str]:
    fit = all(0 <= stage.first <= stage.last < blocks for stage in pipe.stages)
    placed = [b for stage in pipe.stages for b in range(stage.first, stage.last + 1)] if fit else []
    if placed != list(range(blocks)):
        yield f"expected blocks 0 to {blocks - 1} in order, each once, not {pipe}"
    if sequences < 1:
        yield f"expected a share of at least one sequence of each batch, not {pipe.share:g}"
    elif not 1 <= pipe.micro_batches <= sequences:
        expected = f"expected 1 to {sequences} micro-batches of {sequences} sequences"
        yield f"{expected}, not {pipe.micro_batches}"
    if pipe.schedule not in schedules:
        yield f"unknown schedule {pipe.schedule}; there are {', '.join(schedules)}"
