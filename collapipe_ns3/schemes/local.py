"""Local: all of the model and of the data on the edge server, the floor without any network."""

from __future__ import annotations

from collapipe_ns3.nodes import SERVER
from collapipe_ns3.observed import Observation
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import ClusterPlan, Pipeline, RoundPlan, Stage


class Local:
    """One node holds everything and nothing is sent: what training alone takes and reaches.

    The edge server trains a replica for every cluster's data, one after the other in the order in
    which they come up, and averages them as the other schemes do, so that it learns what they
    would on a perfect network. A reference of this project's own, not a baseline of the paper's.
    """

    def plan(self, round: int, observation: Observation) -> RoundPlan:
        """The same plan every round."""
        every = (Stage(SERVER, 0, observation.model.encoder_blocks - 1),)
        central = Pipeline(every, 1, "gpipe", embedding=SERVER, decoder=SERVER)
        clusters = range(len(observation.devices))
        return RoundPlan(round, "local", tuple(ClusterPlan(n, (central,)) for n in clusters))

    def learn(self, outcome: RoundOutcome) -> None:
        """Nothing: the plan never changes."""
