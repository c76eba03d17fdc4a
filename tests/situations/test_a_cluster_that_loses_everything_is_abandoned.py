"""A cluster's link breaks after it was measured: its round is lost, and the run goes on.

Under CollaPipe, which learns from every round and plans the next with what it has learned.
"""

import lab
import scheming
import torch

from bridge import loop as simulated
from bridge.compute import TorchThread
from bridge.fixed import FixedRateNetwork, Link
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.engine.pipeline_run import Training
from collapipe_ns3.engine.round import run_round
from collapipe_ns3.engine.site import Site
from collapipe_ns3.observed import Observation, measured_links
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.prediction.knowledge import losses
from collapipe_ns3.run.link_book import LinkBook
from collapipe_ns3.schemes.collapipe import CollaPipe

RATE = Link(rate_bps=100_000_000)
BROKEN = {("bs", "c1.cu"): Link(RATE.rate_bps, outage_ns=(0, 10**12))}


def rounds(broken: list[bool]) -> tuple[CollaPipe, list[RoundOutcome]]:
    """Rounds planned one after the other on whole links, one of which then breaks in some."""
    scheme, book, outcomes = CollaPipe(), LinkBook(), list[RoundOutcome]()
    state = lab.fresh(lambda parameters: torch.optim.SGD(parameters, lr=0.1))
    for number, out_of_reach in enumerate(broken):
        probe = FixedRateNetwork(seen(book).profiles, RATE)
        simulated.run(probe, measured(probe, scheme.sounding(seen(book))))
        book = book.sounded(measured_links(probe))
        plan = scheme.plan(number, seen(book))
        network = FixedRateNetwork(seen(book).profiles, RATE, BROKEN if out_of_reach else None)
        with TorchThread() as thread:
            site = Site(network, seen(book).profiles, thread)
            training = Training(lab.batches, (0.5, 0.5), 1, OPTIMIZERS["sgd"])
            outcome = simulated.run(network, run_round(site, state, plan, training))
        scheme.learn(outcome)
        book = book.after(outcome.links, outcome.duration_ns / 1e9)
        outcomes.append(outcome)
    return scheme, outcomes


def seen(book: LinkBook) -> Observation:
    return scheming.observation([2, 2], 4, links=tuple(book.links.values()))


async def measured(network: FixedRateNetwork, pairs: list[tuple[str, str]]) -> None:
    await network.sound(pairs)


def test_the_next_rounds_are_planned_and_run() -> None:
    scheme, outcomes = rounds([False, True, True, False])
    assert [list(outcome.abandoned) for outcome in outcomes] == [[], [1], [1], []]
    assert all(outcome.loss == outcome.loss for outcome in outcomes)
    assert scheme.past.knowledge.losses[("bs", "c0.cu")] == 0.0


def test_what_never_arrived_distorts_no_tensor() -> None:
    _, (first,) = rounds([True])
    models = [each for each in first.deliveries if each.dst == "c1.cu" and each.kind == "model"]
    assert [each.outcome for each in models] == 3 * ["lost"]
    assert losses(models) == {}
