"""Rates of departures: draws of the true rates, and what counts as a departure."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from collapipe_ns3.outcome import LostDevice, PipelineFate, RoundOutcome
from collapipe_ns3.phases import Phase
from collapipe_ns3.plan import Pipeline, Stage
from collapipe_ns3.prediction.departures import Departures

NODES = ("c0.d0", "c0.d1", "c0.d2")


def outcome(round: int, round_s: float, lost: dict[str, float]) -> RoundOutcome:
    """A round that began at 1 s of its episode; `lost` says when nodes left, after its start."""
    pipeline = Pipeline((Stage(NODES[0], 0, 5),), 1, "gpipe")
    devices = [LostDevice(name, round_s_to_ns(1 + at_s), 0) for name, at_s in lost.items()]
    fate = PipelineFate(0, 0, pipeline, "averaged", 1.0, 2.0, 0, lost=devices)
    phases = {Phase.PIPELINE: round_s_to_ns(round_s)}
    return RoundOutcome(round, round_s_to_ns(1), phases, 0, 2.0, (), (), (), (), (fate,))


def round_s_to_ns(seconds: float) -> int:
    return round(seconds * 1e9)


def test_departures_in_a_round_and_between_rounds_are_counted_once() -> None:
    seen = Departures().seen_before([])
    seen = seen.after(NODES, outcome(0, 10.0, {"c0.d0": 4.0}))
    assert seen.counts == {"c0.d0": 1}
    assert seen.up_s == pytest.approx({"c0.d0": 4.0, "c0.d1": 10.0, "c0.d2": 10.0})
    # The same departure is seen again before the next round, with that of an idle node.
    seen = seen.seen_before(["c0.d0", "c0.d1"])
    assert seen == seen.seen_before(["c0.d0", "c0.d1"])
    assert seen.counts == {"c0.d0": 1, "c0.d1": 1}
    assert seen.up_s["c0.d1"] == pytest.approx(5.0)
    # Whoever is away has no time, and no further departure.
    seen = seen.after(NODES, outcome(1, 20.0, {})).seen_before(["c0.d0"])
    assert seen.counts == {"c0.d0": 1, "c0.d1": 1}
    assert seen.up_s == pytest.approx({"c0.d0": 4.0, "c0.d1": 5.0, "c0.d2": 30.0})
    again = Departures.from_json(json.loads(json.dumps(seen.to_json())))
    assert again == seen
    # One that returns and leaves again is counted again.
    seen = seen.seen_before([]).after(NODES, outcome(2, 1.0, {})).seen_before(["c0.d0"])
    assert seen.counts["c0.d0"] == 2


def test_the_estimate_is_the_mean_of_the_conjugate_posterior() -> None:
    profiles = {"c0.d0": "pi", "c0.d1": "pi", "c0.d2": "phone"}
    none = Departures(up_s=dict.fromkeys(NODES, 50.0))
    assert none.hazards(profiles) == {}
    seen = Departures({"c0.d0": 3}, dict.fromkeys(NODES, 50.0))
    every = 3 / 150
    pi, phone = (1 + 3) / (1 / every + 100), 1 / (1 / every + 50)
    assert seen.hazards(profiles) == pytest.approx(
        {
            "c0.d0": (1 + 3) / (1 / pi + 50),
            "c0.d1": 1 / (1 / pi + 50),
            "c0.d2": 1 / (1 / phone + 50),
        }
    )
    # By numbers: E[λ | 3 departures in 50 s] under the prior density e^{-λ/pi}/pi.
    rate = np.linspace(0, 2, 400_001)
    density = np.exp(-rate / pi) * rate**3 * np.exp(-50 * rate)
    mean = float((rate * density).sum() / density.sum())
    assert seen.hazards(profiles)["c0.d0"] == pytest.approx(mean, rel=1e-6)


def test_estimates_converge_to_the_true_rates() -> None:
    rng = np.random.default_rng(11)
    true = {"c0.d0": 0.01, "c0.d1": 0.01, "c0.d2": 0.0005}
    profiles = {"c0.d0": "pi", "c0.d1": "pi", "c0.d2": "phone"}
    seen, away = Departures(), set[str]()
    errors = []
    for number in range(6000):
        seen = seen.seen_before(away)
        lost, back = {}, set[str]()
        for name in NODES:
            if name in away:
                if rng.random() < 0.7:
                    back.add(name)
            elif (at_s := float(rng.exponential(1 / true[name]))) < 10.0:
                lost[name] = at_s
        # c0.d0 is never needed: that it left shows only before the next round.
        needed = {name: at_s for name, at_s in lost.items() if name != "c0.d0"}
        seen = seen.after(NODES, outcome(number, 10.0, needed))
        away = (away - back) | set(lost)
        if number in (200, 5999):
            found = seen.hazards(profiles)
            errors.append(max(abs(math.log(found[name] / true[name])) for name in NODES))
    # Some 30 departures of the steadiest node: a standard error of 18 %; 500 of the others.
    assert errors[1] < 0.5
    found = seen.hazards(profiles)
    for name in ("c0.d0", "c0.d1"):
        assert found[name] == pytest.approx(true[name], rel=0.15)
    assert errors[1] <= errors[0]
