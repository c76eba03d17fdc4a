"""Propagation loss models by name, checked before they reach ns-3."""

from __future__ import annotations

from ns3_scenarios import runtime
from ns3_scenarios.scenario import LossModel


def attribute_lines(loss: LossModel) -> str:
    """A loss model's attributes as the native code reads them, one `name=value` a line.

    Raises `UnknownName` and `BadValue` for what ns-3 doesn't have or can't take.
    """
    # Losses over a spectrum or an antenna array are another family, and need more than places.
    models = [
        name
        for name in runtime.type_names()
        if name.endswith("PropagationLossModel") and "Spectrum" not in name
    ]
    runtime.known_type(loss.type_name, among=models)
    checked = runtime.checked_attributes(loss.type_name, loss.attributes)
    return "".join(f"{name}={value}\n" for name, value in checked.items())
