"""Which devices and clusters can take part in a round: those there whose links carry something.

A link carries nothing where its sounding was lost, or where its SINR is far below what the most
robust code of its radio needs, even with all of the sender's power in the narrowest band that it
may be given. Where a radio's codes are not known, measured goodput decides before SINR does. A link
that was never measured is taken to carry.

A cluster sits out where its control unit is absent, or where that and the base station don't reach
each other. A device sits out where it is absent, or where it has no usable link to its control
unit, or to a device with which it may exchange activations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.observed import MeasuredLink, Medium, Observation
from collapipe_ns3.plan import Absence
from collapipe_ns3.prediction.directions import Pair
from collapipe_ns3.quantity import to_db

#: Part of the SINR that the most robust code needs: combined retransmissions make up for the rest.
_BELOW_LEAST_CODE = 0.1

#: The SINR that a radio needs whose codes are not known, before it has carried anything.
_LEAST_SINR = 1e-3

#: The range of measured gains, densities, ratios and powers in SI units: 400 dB either way.
_FIGURES = (1e-40, 1e40)

#: Goodput below which a link is of no use.
_LEAST_BPS = 1.0


@dataclass(frozen=True, slots=True)
class Reach:
    """The devices of each cluster that can take part, and the reasons of the absent ones.

    `devices` has an entry for each cluster, which is empty where the cluster sits out.
    """

    devices: tuple[tuple[str, ...], ...]
    absences: tuple[Absence, ...]


def reach(
    observation: Observation, *, full_power: bool = False, among_devices: bool = True
) -> Reach:
    """Which devices can take part, by who is there and what was measured.

    With `full_power` nodes send at their greatest power, else at the power that was measured.
    Without `among_devices`, devices exchange tensors with their control units only.
    """
    silent = _silent(observation, full_power)
    devices, absences = [], []
    for number, names in enumerate(observation.devices):
        able, why = _of_cluster(number, names, silent, observation.absent, among_devices)
        devices.append(able)
        absences += [Absence(number, name, why[name]) for name in names if name in why]
    return Reach(tuple(devices), tuple(absences))


def silent_links(observation: Observation) -> list[Pair]:
    """The links that carry nothing as they were measured, to be sounded before the next plan.

    Without soundings it would never show that they carry something again.
    """
    return list(_silent(observation, full_power=False))


def carries_nothing(link: MeasuredLink, medium: Medium | None, power_w: float) -> str:
    """Why a link carries nothing at this power of its sender; empty where it may carry."""
    if link.gain == 0 and link.loss == 1:
        return "its sounding was lost"
    if 0 < link.gain < _FIGURES[0]:
        return "next to nothing of what is sent arrives"
    if not is_measured(link):
        return ""
    if medium is None or not medium.densities:
        if link.goodput_bps > 0:
            slow = link.goodput_bps < _LEAST_BPS
            return f"it carries {link.goodput_bps:.2g} bit/s" if slow else ""
        needed, narrower = _LEAST_SINR, 1.0
    else:
        needed = medium.densities[0][0] * _BELOW_LEAST_CODE
        # The base station's power is that of its whole band.
        whole = not medium.least_hz or link.src == SERVER
        narrower = 1.0 if whole else medium.bandwidth_hz / medium.least_hz
    sinr = link.sinr * power_w / link.tx_power_w
    if medium is not None:  # over all of the band, whatever part of it was measured
        sinr = power_w * link.gain / link.interference_w_hz / medium.bandwidth_hz
    if sinr * narrower >= needed:
        return ""
    least_db = to_db(needed / narrower)
    return f"SINR is {to_db(sinr):.1f} dB, and below {least_db:.1f} dB nothing gets through"


def is_measured(link: MeasuredLink) -> bool:
    """Whether a link's figures can be those of a measurement: positive numbers within reason."""
    least, most = _FIGURES
    return (
        least <= link.gain <= most
        and least <= link.interference_w_hz <= most
        and least <= link.sinr <= most
        and least <= link.tx_power_w <= most
    )


def _silent(observation: Observation, full_power: bool) -> dict[Pair, str]:
    """The links that carry nothing, and why."""
    media = {pair: medium for medium in observation.media for pair in medium.links}
    found = {}
    for link in observation.links:
        pair = (link.src, link.dst)
        power_w = link.tx_power_w
        if full_power and link.src in observation.profiles:
            power_w = observation.profiles[link.src].max_tx_power_w
        if why := carries_nothing(link, media.get(pair), power_w):
            found[pair] = f"{link.src} → {link.dst} carries nothing: {why}"
    return found


def _between(one: str, other: str, silent: Mapping[Pair, str]) -> str:
    """Why these two can't exchange anything both ways; empty where they may."""
    return silent.get((one, other)) or silent.get((other, one), "")


def _of_cluster(
    number: int,
    names: tuple[str, ...],
    silent: Mapping[Pair, str],
    absent: Mapping[str, str],
    among_devices: bool,
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Which of a cluster's devices can take part, and why the others can't."""
    control = control_unit(number)
    if reason := absent.get(control) or _between(control, SERVER, silent):
        return (), {name: absent.get(name, reason) for name in names}
    why = {
        name: reason
        for name in names
        if (reason := absent.get(name) or _between(control, name, silent))
    }
    able = [name for name in names if name not in why]
    if among_devices:
        # Devices may follow each other in any order, so every pair must reach each other. Until
        # then, the device that reaches the fewest others is removed; on a tie, the last of these.
        while deaf := _deaf(able, silent):
            most = max(map(len, deaf.values()))
            leaves = [name for name in able if len(deaf.get(name, ())) == most][-1]
            why[leaves] = deaf[leaves][0]
            able.remove(leaves)
    return tuple(able), why


def _deaf(able: list[str], silent: Mapping[Pair, str]) -> dict[str, list[str]]:
    """The reasons of every device that can't exchange tensors with all others, one for each."""
    reasons = {
        name: [why for other in able if other != name and (why := _between(name, other, silent))]
        for name in able
    }
    return {name: found for name, found in reasons.items() if found}
