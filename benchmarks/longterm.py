"""DSSRA over many rounds on an analytic network: the trade-off of delay and energy queues over V.

Clusters of unlike devices use bands that are granted link by link; the shadowing of every link is a
first-order autoregression over rounds (Gudmundson 1991, in time). In each round the scheme plans
from the links as measured in the last round, the event graph computes the duration of the plan on
the present links, and its energy is added to the queues. Without ns-3 and training, a round takes
milliseconds, so three hundred rounds for each V show the trend: a delay within O(1/V) of the
minimum, queues in O(V), and long-term energy within the budgets.

As a script it prints a table; `--figure FILE` draws it, where matplotlib is installed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from collapipe_ns3.costs.devices import DeviceProfile
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.costs.predicted import closed_form
from collapipe_ns3.dssra.planner import start_radio
from collapipe_ns3.dssra.planning_problem import workload
from collapipe_ns3.dssra.segments.scheduling import segments_of
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.learning.spec import ModelSpec
from collapipe_ns3.nodes import SERVER, control_unit, device
from collapipe_ns3.observed import MeasuredLink, Medium, Observation
from collapipe_ns3.outcome import DeviceUse, PipelineDistortion, RoundOutcome
from collapipe_ns3.phases import Phase
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.prediction.arrays import Array
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.knowledge import Knowledge
from collapipe_ns3.prediction.plan_timeline import predict_timeline, radio_of_plan
from collapipe_ns3.prediction.round_costs import round_costs
from collapipe_ns3.schemes.collapipe import CollaPipe

ROUNDS = 300
VS = (2.0, 8.0, 32.0, 128.0, 512.0)

_NOISE_W_HZ = 2e-20
_SHADOWING_DB = 6.0
_MEMORY = 0.9  # coefficient of the autoregression from round to round
_MODEL = closed_form(ModelSpec(200, 200, 64, 4, 256, 6, 2, 12))


@dataclass
class World:
    """Clusters whose links change from round to round, reproducibly by the seed."""

    seed: int
    clusters: int = 2
    devices: int = 3
    rng: np.random.Generator = field(init=False)
    mean_db: dict[tuple[str, str], float] = field(init=False)
    shadow_db: dict[tuple[str, str], float] = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        pairs = [pair for medium in self.media() for pair in sorted(medium.links)]
        # Reciprocal: one draw a pair of nodes.
        both = dict.fromkeys(tuple(sorted(pair)) for pair in pairs)
        far = {pair for pair in both if SERVER in pair}
        self.mean_db = {
            (a, b): self.rng.uniform(*((-105, -90) if (a, b) in far else (-88, -72)))
            for a, b in both
        }
        self.shadow_db = {key: self.rng.normal(0, _SHADOWING_DB) for key in self.mean_db}

    def names(self) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(device(n, k) for k in range(self.devices)) for n in range(self.clusters))

    def profiles(self) -> dict[str, DeviceProfile]:
        """Devices that are fast and need much energy alternate with slow and economical ones."""

        def profile(name: str, speed: float, active_w: float, radiated_w: float) -> DeviceProfile:
            return DeviceProfile(name, speed, 1e-3, 2**30, active_w, radiated_w, 0.5, "made up")

        found = {SERVER: profile(SERVER, 3e12, 70.0, 20.0)}
        for n, row in enumerate(self.names()):
            found[control_unit(n)] = profile("control unit", 70e9, 10.0, 0.2)
            for k, name in enumerate(row):
                fast = k % 2 == 0
                found[name] = profile(name, 40e9 if fast else 15e9, 12.0 if fast else 3.0, 0.1)
        return found

    def media(self) -> tuple[Medium, ...]:
        cells = []
        for n, row in enumerate(self.names()):
            nodes = [control_unit(n), *row]
            pairs = frozenset((a, b) for a in nodes for b in nodes if a != b)
            cells.append(Medium(f"d2d {n}", pairs, 20e6, grants=True, half_duplex=True))
        units = [control_unit(n) for n in range(self.clusters)]
        up = frozenset((unit, SERVER) for unit in units)
        down = frozenset((SERVER, unit) for unit in units)
        return (
            *cells,
            Medium("up", up, 20e6, grants=True),
            Medium("down", down, 20e6, grants=True),
        )

    def observation(self) -> Observation:
        """The present links, as measured at full power over their whole band."""
        profiles = self.profiles()
        links = []
        for medium in self.media():
            for src, dst in sorted(medium.links):
                key = (src, dst) if src < dst else (dst, src)
                gain = 10 ** ((self.mean_db[key] + self.shadow_db[key]) / 10)
                watts = profiles[src].max_tx_power_w
                sinr = watts * gain / (_NOISE_W_HZ * medium.bandwidth_hz)
                goodput = 0.6 * medium.bandwidth_hz * float(np.log2(1 + sinr))
                figures = (gain, _NOISE_W_HZ, sinr, goodput)
                links.append(MeasuredLink(src, dst, *figures, 0.0, 0.0, watts))
        return Observation(
            devices=self.names(),
            profiles=profiles,
            model=_MODEL,
            batch_size=32,
            local_steps=2,
            optimizer=OPTIMIZERS["adamw"],
            links=tuple(links),
            source_length=9,
            target_length=10,
            media=self.media(),
        )

    def move_on(self) -> None:
        """Draws the shadowing of the next round."""
        fresh = _SHADOWING_DB * (1 - _MEMORY**2) ** 0.5
        for key, value in self.shadow_db.items():
            self.shadow_db[key] = _MEMORY * value + self.rng.normal(0, fresh)

    def execute(self, plan: RoundPlan) -> RoundOutcome:
        """Predicts a plan of any scheme on the present links."""
        seen = self.observation()
        fleet, work = Fleet.of(seen, Knowledge()), workload(seen, Settings())
        radio = radio_of_plan(plan.links, seen.devices, fleet, start_radio(fleet, work))
        made = predict_timeline(plan, seen.devices, fleet, work, radio)
        segments = segments_of([c.pipelines[0] for c in plan.clusters], seen.devices)
        found, _ = round_costs(fleet, work, radio, segments)
        spent = found.spent
        uses = [
            DeviceUse(
                name, n, 0, 0, *(float(each[n, k]) for each in (spent.compute, spent.tx, spent.rx))
            )
            for n, row in enumerate(seen.devices)
            for k, name in enumerate([control_unit(n), *row])
        ]
        last = max(made.pipelines, key=lambda times: times.ends_ns[Phase.UPLOAD])
        aggregate_ns = made.total_ns - last.ends_ns[Phase.UPLOAD]
        distortions = [
            PipelineDistortion(
                cluster=cluster.cluster,
                weight=1 / self.clusters,
                sequences=seen.batch_size,
                micro_batches=cluster.pipelines[0].micro_batches,
                distortion=0.0,
            )
            for cluster in plan.clusters
        ]
        return RoundOutcome(
            round=plan.round,
            start_ns=0,
            phases_ns={Phase.SOUNDING: 0, **last.phases_ns, Phase.AGGREGATE: aggregate_ns},
            computation_ns=0,
            loss=0.0,
            computations=(),
            deliveries=(),
            links=(),
            devices=uses,
            pipelines=(),
            distortions=distortions,
        )


@dataclass(frozen=True)
class History:
    """Rounds of one run: durations (T,), joules (T, devices), queues (T, devices), in budgets."""

    v: float
    budget_j: float
    duration_s: Array
    energy_j: Array
    queues: Array

    @property
    def mean_delay_s(self) -> float:
        return float(self.duration_s.mean())

    @property
    def mean_queue(self) -> float:
        """The longest device queue's mean over the second half of the run."""
        return float(self.queues[len(self.queues) // 2 :].mean(0).max())

    @property
    def worst_use(self) -> float:
        """The largest average energy of a device, in budgets."""
        return float((self.energy_j.mean(0) / self.budget_j).max())


def run(v: float, budget_j: float, rounds: int = ROUNDS, seed: int = 1) -> History:
    """`rounds` rounds of one world under the scheme with weight V and a device's energy budget."""
    world = World(seed)
    scheme = CollaPipe(v=v, energy_budget_j=budget_j, memory="all")
    names = [name for row in world.names() for name in row]
    durations, energies, queues = [], [], []
    for number in range(rounds):
        plan = scheme.plan(number, world.observation())
        world.move_on()
        outcome = world.execute(plan)
        scheme.learn(outcome)
        durations.append(outcome.duration_ns / 1e9)
        energies.append([outcome.energy_j[name] for name in names])
        queues.append([scheme.past.queues.energy[name] for name in names])
    return History(v, budget_j, np.array(durations), np.array(energies), np.array(queues))


def budget(seed: int = 1, part: float = 0.24) -> float:
    """A budget that binds: a share of what the most demanding device takes without one."""
    world = World(seed)
    plan = CollaPipe(memory="all").plan(0, world.observation())
    used = world.execute(plan).energy_j
    return part * max(used[name] for row in world.names() for name in row)


def sweep(vs: Sequence[float] = VS, rounds: int = ROUNDS, seed: int = 1) -> list[History]:
    """Runs the same world with several values of V."""
    allowed = budget(seed)
    return [run(v, allowed, rounds, seed) for v in vs]


def figure(histories: Sequence[History], path: str) -> None:
    """Draws delay and queues over V, and queues over rounds; needs matplotlib."""
    from matplotlib import pyplot

    made, (left, middle, right) = pyplot.subplots(1, 3, figsize=(12, 3.5), layout="constrained")
    vs = [history.v for history in histories]
    left.semilogx(vs, [history.mean_delay_s for history in histories], "o-")
    left.set(xlabel="V", ylabel="mean round time / s")
    middle.loglog(vs, [history.mean_queue for history in histories], "o-")
    middle.set(xlabel="V", ylabel="longest energy queue / budgets")
    for history in histories:
        right.plot(history.queues.max(-1), label=f"V = {history.v:g}")
    right.set(xlabel="round", ylabel="longest energy queue / budgets", yscale="log")
    right.legend()
    made.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="DSSRA over many rounds, for several V.")
    parser.add_argument("--figure", metavar="FILE")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    histories = sweep(rounds=arguments.rounds)
    print(f"{'V':>6} {'round / s':>10} {'queue':>8} {'energy / budget':>16}")
    for history in histories:
        print(
            f"{history.v:6g} {history.mean_delay_s:10.4f} {history.mean_queue:8.2f} "
            f"{history.worst_use:16.3f}"
        )
    if arguments.figure:
        figure(histories, arguments.figure)


if __name__ == "__main__":
    main()
