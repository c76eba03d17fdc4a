"""Propagation between two positions: path loss, shadowing and fading, and the checks of them.

Plain data; nothing here needs ns-3. `ns3_scenarios.propagation` makes ns-3's channels of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from ns3_scenarios.problem import Problem

#: A value of an ns-3 attribute as it may be written in a study.
AttributeValue = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Shadowing:
    """Log-normal shadowing, spatially consistent; None is the value of the channel's kind.

    If either end moves by Δ metres, the correlation is exp(−Δ / `distance_m`) (Gudmundson,
    Electronics Letters 1991; 3GPP TR 38.901, 7.4.4). Shadowing is a function of the two positions
    and the study's seed, and so the same in every round.
    """

    sigma_db: float | None = None
    distance_m: float | None = None


@dataclass(frozen=True, slots=True)
class Fading:
    """Block fading: a power gain of mean 1, drawn once per episode for each pair of nodes.

    The gain is Gamma-distributed with shape m and mean 1 (Nakagami 1960); m = 1 is Rayleigh fading.
    """

    m: float = 1.0


#: A delay profile of fading over time: one tap, or those of 3GPP TR 38.901, 7.7.2.
Profile = Literal["clarke", "tdl-a", "tdl-b", "tdl-c"]

#: The range of delay spreads in seconds: up to the "very long" one of TR 38.901, table 7.7.3-1.
DELAY_SPREADS_S = (1e-9, 1e-6)


@dataclass(frozen=True, slots=True)
class Multipath:
    """Fading over time and frequency: a power gain of mean 1, which depends on the run's time.

    Each tap of the profile is a sum of plane waves whose phases depend on where the nodes are
    (`native/multipath-fading.h`). A profile with more than one tap is frequency-selective;
    `delay_spread_s` is the root mean square of its delays. `doppler_hz` is the maximum Doppler
    shift due to the environment, in addition to that of the nodes' motion.
    """

    profile: Profile = "clarke"
    delay_spread_s: float = 0.0
    doppler_hz: float = 0.0


@dataclass(frozen=True, slots=True)
class Channel:
    """The channel of one tier.

    `kind` is one of `KINDS` or the name of an ns-3 propagation loss model; `attributes` are the
    model's. By default its `Frequency` is the carrier's, and its `ReferenceLoss` that of free space
    at 1 m.
    """

    kind: str = "log-distance"
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    shadowing: Shadowing | None = field(default_factory=Shadowing)
    fading: Fading | Multipath | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of channel consists of: ns-3's types, and shadowing with and without sight.

    A kind without a `condition` has one loss model for all cases. Shadowing is (sigma in dB,
    correlation distance in metres). Line of sight is drawn once for all pairs between two squares,
    whose side is `square_m`.
    """

    loss: str
    nlos_loss: str = ""
    condition: str = ""
    shadowing: tuple[float, float] = (0.0, math.nan)
    nlos_shadowing: tuple[float, float] = (0.0, math.nan)
    square_m: float = 50.0


_CONDITION = "ns3::ThreeGpp{}ChannelConditionModel"
_THREE_GPP = "ns3::ThreeGpp{}PropagationLossModel"

#: Kinds of channel with names of their own. 3GPP's have path loss from TR 38.901, table 7.4.1-1,
#: line of sight from table 7.4.2-1, shadowing from tables 7.4.1-1 and 7.5-6 (correlation distance),
#: and squares from table 7.6.3.1-2. `p1411` has the path loss of ITU-R P.1411 in street canyons
#: (4.1.1) and over rooftops (4.2), for two ends below rooftops, and the shadowing of WINNER II's B1
#: (D1.1.2, tables 4-4, 4-5 and 4-7), which 3GPP TR 36.843, A.2.1.2, uses between devices; its
#: probability of line of sight is that of TR 38.901's UMi.
KINDS: Mapping[str, Kind] = {
    "log-distance": Kind("ns3::LogDistancePropagationLossModel"),
    "umi": Kind(
        _THREE_GPP.format("UmiStreetCanyon"),
        _THREE_GPP.format("UmiStreetCanyon"),
        _CONDITION.format("UmiStreetCanyon"),
        (4.0, 10.0),
        (7.82, 13.0),
    ),
    "uma": Kind(
        _THREE_GPP.format("Uma"),
        _THREE_GPP.format("Uma"),
        _CONDITION.format("Uma"),
        (4.0, 37.0),
        (6.0, 50.0),
    ),
    "indoor": Kind(
        _THREE_GPP.format("IndoorOffice"),
        _THREE_GPP.format("IndoorOffice"),
        _CONDITION.format("IndoorMixedOffice"),
        (3.0, 10.0),
        (8.03, 6.0),
        square_m=10.0,
    ),
    "p1411": Kind(
        "ns3::ItuR1411LosPropagationLossModel",
        "ns3::ItuR1411NlosOverRooftopPropagationLossModel",
        _CONDITION.format("UmiStreetCanyon"),
        (3.0, 9.0),
        (4.0, 12.0),
    ),
}


def kind_of(channel: Channel) -> Kind:
    """The channel's kind; for any other name, the ns-3 model of that name alone."""
    return KINDS.get(channel.kind) or Kind(channel.kind)


def shadowing_of(channel: Channel) -> tuple[tuple[float, float], tuple[float, float]]:
    """Shadowing with line of sight and without it, each as (sigma in dB, distance in metres)."""
    kind, own = kind_of(channel), channel.shadowing
    if own is None:
        return (0.0, math.nan), (0.0, math.nan)

    def with_own(standard: tuple[float, float]) -> tuple[float, float]:
        sigma_db = standard[0] if own.sigma_db is None else own.sigma_db
        return sigma_db, standard[1] if own.distance_m is None else own.distance_m

    return with_own(kind.shadowing), with_own(kind.nlos_shadowing)


def channel_problems(path: str, channel: Channel) -> Iterator[Problem]:
    """Everything wrong with a channel that can be found without ns-3, as in `checks.problems`.

    The ranges in which its model is valid are in `ns3_scenarios.validity`.
    """
    if channel.shadowing is not None:
        yield from _shadowing_problems(f"{path}.shadowing", channel)
    if isinstance(channel.fading, Multipath):
        yield from _multipath_problems(f"{path}.fading", channel.fading)
    elif channel.fading is not None and not 0.5 <= channel.fading.m <= 1000:
        yield f"{path}.fading.m", f"expected 0.5 to 1000 (1: Rayleigh), not {channel.fading.m}"


def _multipath_problems(path: str, fading: Multipath) -> Iterator[Problem]:
    low_s, high_s = DELAY_SPREADS_S
    if fading.profile not in get_args(Profile):
        known = ", ".join(get_args(Profile))
        yield f"{path}.profile", f"expected one of {known}, not {fading.profile!r}"
    elif fading.profile != "clarke" and not low_s <= fading.delay_spread_s <= high_s:
        expected = f"expected {low_s:g} to {high_s:g} s"
        yield f"{path}.delay_spread_s", f"{expected}, not {fading.delay_spread_s:g} s"
    if not 0 <= fading.doppler_hz < math.inf:
        yield f"{path}.doppler_hz", f"expected 0 Hz or more, not {fading.doppler_hz}"


def _shadowing_problems(path: str, channel: Channel) -> Iterator[Problem]:
    own = channel.shadowing
    if own is None:
        return
    if own.sigma_db is not None and not 0 <= own.sigma_db <= 50:
        yield f"{path}.sigma_db", f"expected 0 to 50 dB, not {own.sigma_db}"
    if own.distance_m is not None and not 0.01 <= own.distance_m <= 1e6:
        yield f"{path}.distance_m", f"expected 0.01 to 1e6 m, not {own.distance_m}"
    if any(sigma_db > 0 and math.isnan(far_m) for sigma_db, far_m in shadowing_of(channel)):
        yield f"{path}.distance_m", f"expected metres: {channel.kind} has no distance of its own"
