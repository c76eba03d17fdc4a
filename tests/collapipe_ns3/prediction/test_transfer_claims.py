"""What transfers claim of their radio: their link, its medium evenly or by turns, or a lane."""

from __future__ import annotations

import pytest

from collapipe_ns3.eventgraph.graph import Hold
from collapipe_ns3.eventgraph.slots import Lane
from collapipe_ns3.observed import Medium
from collapipe_ns3.prediction.transfer_claims import Band, TransferClaims, transfer_claims

PAIR = ("a", "b")
ALONE = (PAIR, Hold.ALONE)


def band(**how: bool | float) -> Band:
    return Band.of(Medium("air", frozenset({PAIR}), 1e6, **how))  # type: ignore[arg-type]


def test_without_a_medium_a_transfer_claims_its_link_alone() -> None:
    assert transfer_claims("a", ("b",), None, None) == TransferClaims((ALONE,))
    assert transfer_claims("a", ("b",), band(), None) == TransferClaims((ALONE,))


@pytest.mark.parametrize("how", [{"shared": True}, {"grants": True}])
def test_links_without_a_grant_share_their_medium_evenly(how: dict[str, bool]) -> None:
    claimed = transfer_claims("a", ("b",), band(**how), None)
    assert claimed == TransferClaims((ALONE, ("air", Hold.EVENLY)))
    assert claimed.of_band


def test_a_grant_leaves_a_link_to_itself() -> None:
    claimed = transfer_claims("a", ("b",), band(grants=True), 2e5)
    assert claimed == TransferClaims((ALONE,))
    assert not claimed.of_band


def test_half_duplex_radios_send_or_receive() -> None:
    claimed = transfer_claims("a", ("b",), band(grants=True, half_duplex=True), 2e5)
    sending, receiving = (("air", "a"), Hold.SENDING), (("air", "b"), Hold.RECEIVING)
    assert claimed.claims == (ALONE, sending, receiving)


def test_on_a_slotted_band_a_transfer_takes_a_lane_of_its_grant_or_of_what_is_left() -> None:
    slotted = band(grants=True, half_duplex=True, slot_s=1e-3)
    granted = transfer_claims("a", ("b",), slotted, 2e5, spread=0.3)
    assert granted == TransferClaims((), ("air", Lane("a", ("b",), 1_000_000, True, 0.2, 0.0)))
    left = transfer_claims("a", ("b",), slotted, None, spread=0.3)
    assert left == TransferClaims((), ("air", Lane("a", ("b",), 1_000_000, True, 0.0, 0.3)))
    assert granted.of_band
