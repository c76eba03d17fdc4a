"""Clusters that share a channel share its time; clusters on two channels do not."""

from __future__ import annotations

import pytest
from radio_lab import carry, scenario

SIZE = 2_000_000
FIRST, SECOND = ("c0.cu", "c0.d0", SIZE), ("c1.cu", "c1.d0", SIZE)


def seconds(channels: tuple[int, int], *transfers: tuple[str, str, int]) -> list[float]:
    deliveries = carry(scenario(clusters=2, channels=channels), *transfers)
    assert {delivery.outcome for delivery in deliveries} == {"delivered"}
    return [(delivery.end_ns - delivery.start_ns) * 1e-9 for delivery in deliveries]


def test_two_clusters_on_one_channel_halve_each_others_rate() -> None:
    (alone,) = seconds((42, 42), FIRST)
    both = seconds((42, 42), FIRST, SECOND)
    assert max(both) > 1.8 * alone  # the channel carries both, one after the other
    assert min(both) > 1.4 * alone  # and neither has it to itself


def test_two_clusters_on_two_channels_do_not_slow_each_other() -> None:
    channels = (42, 106)
    alone = [*seconds(channels, FIRST), *seconds(channels, SECOND)]
    assert seconds(channels, FIRST, SECOND) == pytest.approx(alone, rel=1e-3)
