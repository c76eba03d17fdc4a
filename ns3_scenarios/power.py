"""Transmit power where a plan sets none: fixed or by open-loop control, and the checks of both.

In either case base stations send at their maximum power. Plain data; nothing here needs ns-3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ns3_scenarios.problem import Problem


@dataclass(frozen=True, slots=True)
class FixedPower:
    """Every node sends at this power, or at its maximum power if that is less."""

    tx_power_w: float


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """Fractional open-loop power control of an OFDMA or LTE uplink, in dBm:

      P = min(P_max, P0 + 10·log10(M) + α·PL)

    with M resource blocks and the path loss PL measured on reference signals (3GPP TS
    36.213, 5.1.1.1, and TS 38.213, 7.1.1, without Δ_TF and closed-loop corrections). On sidelinks
    PL is the link's own (TS 38.213, 16.2.1).
    """

    p0_dbm: float = -80.0
    alpha: float = 0.8


PowerControl = FixedPower | OpenLoop


@dataclass(frozen=True, slots=True)
class OpenLoopLimits:
    """The open-loop settings that a radio has; no `alphas`: any from 0 to 1."""

    lowest_p0_dbm: float
    whole_dbm: bool = False
    alphas: tuple[float, ...] = ()


_HIGHEST_P0_DBM = 24


def power_problems(
    path: str, power: PowerControl | None, limits: OpenLoopLimits
) -> Iterator[Problem]:
    """Everything wrong with a power control, in the form of `checks.problems`."""
    if not isinstance(power, OpenLoop):
        yield from fixed_power_problems(path, power)
        return
    low, whole = limits.lowest_p0_dbm, limits.whole_dbm
    within = low <= power.p0_dbm <= _HIGHEST_P0_DBM
    if not within or (whole and power.p0_dbm != round(power.p0_dbm)):
        unit = "whole dBm" if whole else "dBm"
        yield f"{path}.p0_dbm", f"expected {low:g} to {_HIGHEST_P0_DBM} {unit}, not {power.p0_dbm}"
    if limits.alphas and power.alpha not in limits.alphas:
        choices = ", ".join(map(str, limits.alphas))
        yield f"{path}.alpha", f"expected one of {choices}, not {power.alpha}"
    elif not 0 <= power.alpha <= 1:
        yield f"{path}.alpha", f"expected 0 to 1, not {power.alpha}"


def fixed_power_problems(path: str, power: FixedPower | None) -> Iterator[Problem]:
    """Everything wrong with a fixed power, in the form of `checks.problems`."""
    if power is not None and not 0 < power.tx_power_w <= 1e6:
        yield f"{path}.tx_power_w", f"expected watts above 0, not {power.tx_power_w}"
