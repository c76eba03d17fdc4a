"""A device becomes three times as slow as it is said to be: its blocks go to a faster one."""

from __future__ import annotations

import adapting
import pytest

SINCE, ROUNDS = 2, 7


@pytest.mark.slow
def test_a_slowed_devices_blocks_go_elsewhere() -> None:
    """On work that computing bounds: every node takes eight times as long as in `quickstart`."""
    planned, frozen = (
        adapting.course(ROUNDS, SINCE, slowed={"c0.d1": 3.0}, work=8.0, memory="all", frozen=frozen)
        for frozen in (False, True)
    )
    assert planned.blocks(SINCE, "c0.d1") > planned.blocks(SINCE + 1, "c0.d1")
    assert planned.blocks(SINCE + 2, "c0.d1") == 0
    assert max(planned.seconds[SINCE + 3 :]) < 0.85 * min(frozen.seconds[SINCE + 3 :])
