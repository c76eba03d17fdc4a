"""Schemes: found by name, given what was measured, answering with plans that can be executed."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scheming import observation

from collapipe_ns3 import plugins, schemes
from collapipe_ns3.plan import Stage
from collapipe_ns3.schemes import UnknownScheme
from collapipe_ns3.schemes.pipeline import PipeLine, equal_segments

GROUP = schemes.SCHEMES.group


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry point as the project declares it, whether or not it is installed."""
    point = EntryPoint("pipeline", "collapipe_ns3.schemes.pipeline:PipeLine", GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point][: group == GROUP])


def test_a_scheme_is_found_by_name() -> None:
    assert schemes.SCHEMES.names() == ["pipeline"]
    assert schemes.factory("pipeline") is PipeLine


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownScheme, match="no scheme 'pipelin'; did you mean pipeline"):
        schemes.factory("pipelin")
    with pytest.raises(UnknownScheme, match="no scheme 'xyz'; there are pipeline"):
        schemes.factory("xyz")


def test_a_scheme_is_made_with_settings_of_the_right_kind_only() -> None:
    made = schemes.make("pipeline", {"micro_batches": 2})
    assert isinstance(made, PipeLine)
    assert (made.micro_batches, made.schedule) == (2, "gpipe")
    for wrong in ({"microbatches": 2}, {"micro_batches": 0}, {"micro_batches": "2"}):
        with pytest.raises(ValidationError):
            schemes.make("pipeline", wrong)


def test_equal_parts_in_fixed_order_the_longer_ones_first() -> None:
    assert equal_segments(("a", "b", "c"), 8) == (
        Stage("a", 0, 2),
        Stage("b", 3, 5),
        Stage("c", 6, 7),
    )


def test_with_more_devices_than_blocks_the_first_get_one_each() -> None:
    assert equal_segments(("a", "b", "c"), 2) == (Stage("a", 0, 0), Stage("b", 1, 1))


@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.integers(1, 12))
def test_pipelines_parts_are_equal_to_one_block_for_any_clusters(
    sizes: list[int], blocks: int
) -> None:
    for cluster in PipeLine(micro_batches=4).plan(3, observation(sizes, blocks)).clusters:
        counts = [stage.blocks for stage in cluster.pipelines[0].stages]
        assert max(counts) - min(counts) <= 1
        assert len(counts) == min(sizes[cluster.cluster], blocks)


def test_power_and_bandwidth_are_left_to_the_radio() -> None:
    seen = observation([2], 4)
    links = {(link.src, link.dst): link for link in PipeLine().plan(0, seen).links}
    line = {("c0.cu", "c0.d0"), ("c0.d0", "c0.d1"), ("c0.d1", "c0.cu"), ("c0.cu", "bs")}
    star = {("c0.cu", "c0.d1"), ("c0.d0", "c0.cu")}
    forth = line | star
    assert set(links) == forth | {(dst, src) for src, dst in forth}
    assert {(link.tx_power_w, link.bandwidth_hz) for link in links.values()} == {(None, None)}
