"""LTE's modulation and coding schemes (MCS), as plain data for planners.

ns-3 has them as code, which takes too long to load for planning; a test compares both.
"""

from __future__ import annotations

from typing import NamedTuple

from ns3_scenarios.numerology import BLOCK_HZ, TTI_S

#: The resource blocks of the transport blocks in `LTE_CODES`.
CODE_BLOCKS = 25

#: The block error rate at the thresholds in `LTE_CODES`.
CODE_BLER = 0.1


class LteCode(NamedTuple):
    """An MCS in a transport block of `CODE_BLOCKS` resource blocks.

    `threshold_db` is the SINR at which one in ten first transmissions fails, by ns-3's
    LteMiErrorModel and rounded to 0.1 dB; `bits` is the size of the block, by its LteAmc (3GPP TS
    36.213, tables 8.6.1-1 and 7.1.7.2.1-1).
    """

    mcs: int
    threshold_db: float
    bits: int


LTE_CODES = (
    LteCode(0, -6.9, 680),
    LteCode(4, -3.3, 1800),
    LteCode(9, 1.5, 4008),
    LteCode(10, 3.7, 4392),
    LteCode(16, 8.5, 7736),
    LteCode(20, 12.2, 10680),
    LteCode(24, 16.0, 13536),
    LteCode(28, 19.6, 18336),
)


def densities(gap_db: float = 0.0) -> tuple[tuple[float, float], ...]:
    """The codes as points (linear SINR, bit/s/Hz), chosen `gap_db` above their thresholds."""
    hertz = CODE_BLOCKS * BLOCK_HZ
    return tuple(
        (10 ** ((code.threshold_db + gap_db) / 10), code.bits / TTI_S / hertz) for code in LTE_CODES
    )
