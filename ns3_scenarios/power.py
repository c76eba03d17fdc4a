"""Power where a plan sets none: fixed, or by open-loop control; and what can be wrong with it.

Base stations send at their most in either case. Plain data; nothing here needs ns-3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

#: The α that LTE knows (3GPP TS 36.213, 5.1.1.1).
LTE_ALPHAS = (0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True, slots=True)
class FixedPower:
    """Every node radiates this much, or the most that it can where that is less."""

    tx_power_w: float


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """Fractional open-loop power control of an OFDMA or LTE uplink, in dBm:

      P = min(P_max, P0 + 10·log10(M) + α·PL)

    with M resource blocks of 180 kHz and the path loss PL as reference signals show it (3GPP TS
    36.213, 5.1.1.1, and TS 38.213, 7.1.1, without Δ_TF and closed-loop corrections). On sidelinks
    PL is the link's own (TS 38.213, 16.2.1).
    """

    p0_dbm: float = -80.0
    alpha: float = 0.8


PowerControl = FixedPower | OpenLoop


def power_problems(path: str, power: PowerControl | None, stack: str) -> Iterator[tuple[str, str]]:
    """Everything wrong with a power control on "wifi", "lte" or "ofdma", as `checks.problems`."""
    if isinstance(power, FixedPower):
        if not 0 < power.tx_power_w <= 1e6:
            yield f"{path}.tx_power_w", f"expected watts above 0, not {power.tx_power_w}"
    elif isinstance(power, OpenLoop):
        if stack == "wifi":
            yield path, "expected a fixed power: Wi-Fi has no open loop"
        low, whole = (-126, True) if stack == "lte" else (-202, False)
        if not low <= power.p0_dbm <= 24 or (whole and power.p0_dbm != round(power.p0_dbm)):
            kind = "whole dBm" if whole else "dBm"
            yield f"{path}.p0_dbm", f"expected {low} to 24 {kind}, not {power.p0_dbm}"
        if stack == "lte" and power.alpha not in LTE_ALPHAS:
            choices = ", ".join(map(str, LTE_ALPHAS))
            yield f"{path}.alpha", f"expected one of {choices}, not {power.alpha}"
        elif not 0 <= power.alpha <= 1:
            yield f"{path}.alpha", f"expected 0 to 1, not {power.alpha}"
