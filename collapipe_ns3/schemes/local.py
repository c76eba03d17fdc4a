"""Local: the whole model and all data on the edge server, as a reference without a network."""

from __future__ import annotations

from collapipe_ns3.nodes import SERVER
from collapipe_ns3.observed import Observation
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import ClusterPlan, Pipeline, RoundPlan, Stage


class Local:
    """One node holds everything and nothing is sent: the time and accuracy of training alone.

    The edge server trains a replica on every cluster's data, one computation at a time, and
    averages the replicas as the other schemes do, so that it learns what they would learn on a
    perfect network. This is a reference of this project, not a baseline of the paper.
    """

    def plan(self, round: int, observation: Observation) -> RoundPlan:
        """The same plan every round."""
        every = (Stage(SERVER, 0, observation.model.encoder_blocks - 1),)
        central = Pipeline(every, 1, "gpipe", embedding=SERVER, decoder=SERVER)
        clusters = range(len(observation.devices))
        return RoundPlan(round, "local", tuple(ClusterPlan(n, (central,)) for n in clusters))

    def learn(self, outcome: RoundOutcome) -> None:
        """Nothing: the plan never changes."""
