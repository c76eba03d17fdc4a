"""The network of a study's rounds: the one that the study describes, or the user's own."""

from __future__ import annotations

from bridge.network import Network
from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.topology.own_scenario import OwnScenario
from collapipe_ns3.topology.stations import StationNetwork, by_station
from ns3_scenarios import network
from ns3_scenarios.scenario import ScenarioSpec
from ns3_scenarios.traces import TraceFiles


def build(
    config: StudyConfig,
    spec: ScenarioSpec,
    *,
    tried: bool = False,
    traces: TraceFiles | None = None,
) -> Network:
    """The network of one round, at time 0; `tried` if a similar one has been built before.

    Raises `SimulationError` if ns-3 can't run it, and `BadScenario` if the user's function can't be
    found. `traces` has no effect on the user's own network.
    """
    if config.scenario is not None:
        own = OwnScenario(config.scenario.function, config.scenario.settings)
        return own.build(spec, tried=tried)
    built = network.build(spec, tried=tried, traces=traces)
    links = by_station(spec)
    if not links and spec.handover is None:
        return built
    return StationNetwork(built, links, tuple(station.name for station in spec.stations))
