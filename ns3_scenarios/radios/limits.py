"""Checks that several radio stacks have in common."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from ns3_scenarios.channel import Multipath
from ns3_scenarios.problem import Problem
from ns3_scenarios.scenario import RadioSpec, ScenarioSpec, Tier, megahertz

#: A field of a radio's spec, and the least and the greatest value that it may have.
Limits = tuple[str, float, float]

FRONT_END: tuple[Limits, ...] = (("noise_figure_db", 0.0, 50.0), ("antenna_gain_db", -50.0, 50.0))
STATION_FRONT_END: tuple[Limits, ...] = tuple(
    (f"station_{name}", low, high) for name, low, high in FRONT_END
)


def limit_problems(path: str, radio: object, limits: Sequence[Limits]) -> Iterator[Problem]:
    """Fields of a radio's spec that are outside their limits."""
    for name, low, high in limits:
        value = getattr(radio, name)
        if not low <= value <= high:
            yield f"{path}.{name}", f"expected {low:g} to {high:g}, not {value:g}"


def block_fading_problems(tier: Tier, radio: RadioSpec) -> Iterator[Problem]:
    """Fading over time, for a radio that has block fading only."""
    fading = radio.propagation.fading
    if isinstance(fading, Multipath):
        yield (
            f"{tier}.propagation.fading.profile",
            f"expected rayleigh or nakagami, not {fading.profile}: of the radios, only ofdma has "
            "fading over time",
        )


def not_among(bandwidths_hz: Iterable[float], given_hz: float) -> str:
    """The message for a bandwidth that isn't one of these."""
    choices = ", ".join(f"{width / 1e6:g}" for width in bandwidths_hz)
    return f"expected {choices} MHz, not {megahertz(given_hz)}"


def interferer_channel_problems(
    scenario: ScenarioSpec, numbers: Collection[int]
) -> Iterator[Problem]:
    """Interferers between devices whose channel isn't one of these numbers, if there are any."""
    for n, interferer in enumerate(scenario.interferers):
        number = interferer.channel
        if interferer.band != "d2d" or number is None or not numbers or number in numbers:
            continue
        choices = ", ".join(map(str, numbers))
        yield f"interferers[{n}].channel", f"expected one of {choices}, not {number}"
