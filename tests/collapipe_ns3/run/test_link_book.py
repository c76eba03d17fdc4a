"""What a run remembers of its links from round to round."""

from __future__ import annotations

import dataclasses

import pytest

from collapipe_ns3.observed import MeasuredLink
from collapipe_ns3.run.link_book import LinkBook

OLD = MeasuredLink("a", "b", 1e-8, 1e-19, 1e-8 * 0.1 / (1e6 * 1e-19), 8e6, 0.2, 1.0, 0.1)


def book(*links: MeasuredLink) -> LinkBook:
    return LinkBook({link.pair: link for link in links})


def test_what_was_not_measured_grows_older() -> None:
    assert book(OLD).after([], 2.5).links["a", "b"] == dataclasses.replace(OLD, age_s=3.5)


def test_rounds_are_averaged_and_sinr_follows_at_the_newest_power_and_bandwidth() -> None:
    new = dataclasses.replace(
        OLD, gain=3e-8, interference_w_hz=5e-19, tx_power_w=0.2, age_s=0.0, goodput_bps=4e6,
        loss=0.0, sinr=0.2 * 3e-8 / (2e6 * 5e-19),
    )  # fmt: skip
    link = book(OLD).after([new], 2.5).links["a", "b"]
    assert link.gain == pytest.approx(gain := (1e-8 * 3e-8) ** 0.5)
    assert link.interference_w_hz == pytest.approx(3e-19)
    assert link.sinr == pytest.approx(0.2 * gain / (2e6 * 3e-19))
    assert (link.goodput_bps, link.loss) == (pytest.approx(6e6), pytest.approx(0.1))
    assert (link.age_s, link.tx_power_w) == (0.0, 0.2)


def test_soundings_stand_alone_but_for_the_goodput_that_they_do_not_measure() -> None:
    heard = dataclasses.replace(OLD, gain=3e-8, goodput_bps=0.0, age_s=0.0)
    link = book(OLD).sounded([heard]).links["a", "b"]
    assert link == dataclasses.replace(heard, goodput_bps=8e6)


def test_a_round_without_data_keeps_the_goodput() -> None:
    silent = dataclasses.replace(OLD, goodput_bps=0.0)
    assert book(OLD).after([silent], 1.0).links["a", "b"].goodput_bps == 8e6


def test_the_first_measurement_is_taken_as_it_is() -> None:
    assert LinkBook().after([OLD], 1.0) == book(OLD)
