"""How much more or less energy nodes' radios take than predicted, learned from executed rounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from collapipe_ns3.outcome import DeviceUse
from collapipe_ns3.prediction.timeline_energy import NodeEnergy

#: A ratio is kept within this and its inverse: what is further off has causes of its own.
_MOST = 4.0


def radio_energy_ratios(
    before: Mapping[str, tuple[float, float]],
    predicted: Mapping[str, NodeEnergy],
    devices: Iterable[DeviceUse],
    sounding_j: Mapping[str, tuple[float, float]],
    weight: float,
) -> dict[str, tuple[float, float]]:
    """Measured over predicted energy of each node's radios, for sending and for receiving.

    These are the ratios after a round that counts with `weight` in (0, 1]. The round was
    `predicted` with the ratios `before`; `sounding_j` is the part of the measured energy that
    soundings took, sent and received.
    """
    after = dict(before)
    for use in devices:
        if (expected := predicted.get(use.device)) is None:
            continue
        known = before.get(use.device, (1.0, 1.0))
        sounding = sounding_j.get(use.device, (0.0, 0.0))
        measured = (use.tx_energy_j - sounding[0], use.rx_energy_j - sounding[1])
        part = 1.0 if use.device not in before else weight
        sent, received = (
            (1 - part) * ratio + part * _ratio(measured_j, predicted_j, ratio)
            for measured_j, predicted_j, ratio in zip(
                measured, (expected.tx_j, expected.rx_j), known, strict=True
            )
        )
        after[use.device] = (sent, received)
    return after


def _ratio(measured_j: float, predicted_j: float, known: float) -> float:
    """The ratio with which the prediction would have been right; as known where it says nothing."""
    if not (measured_j > 0 and predicted_j > 0):
        return known
    return min(max(measured_j / predicted_j * known, 1 / _MOST), _MOST)
