"""The time and frequency grid of LTE and of the OFDMA radio, whose models are made for it.

The native code has the same figures in `native/numerology.h`. A test compares them, as loading the
native code takes too long for what only needs the figures.
"""

from __future__ import annotations

#: Width of a resource block: 12 subcarriers of 15 kHz (3GPP TS 36.211, 5.2.3).
BLOCK_HZ = 180e3

#: Length of a transmission time interval (TTI), a subframe, for which the tables of transport block
#: sizes hold (3GPP TS 36.213, 7.1.7.2).
TTI_S = 1e-3
