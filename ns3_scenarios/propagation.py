"""Makes ns-3's channels, after checking every type and attribute that a user has named."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ns3_scenarios import runtime
from ns3_scenarios.channel import KINDS, Channel, Fading, Multipath, kind_of, shadowing_of
from ns3_scenarios.problem import Problem
from ns3_scenarios.runtime import BadValue, UnknownName
from ns3_scenarios.runtime.errors import nearest

_LIGHT_M_S = 299_792_458.0


def add_channel(episode: Any, name: str, channel: Channel, carrier_hz: float) -> int:
    """Makes a channel between all of the episode's nodes; returns its number there.

    The names of its random streams have `name` in them. Raises `UnknownName` and `BadValue`.
    """
    kind = kind_of(channel)
    known_loss(channel.kind)
    (sigma_db, distance_m), (nlos_sigma_db, nlos_distance_m) = shadowing_of(channel)
    own: dict[str, float | str] = {
        "Name": name,
        "Square": kind.square_m,
        "Fading": channel.fading.m if isinstance(channel.fading, Fading) else 0.0,
        "Sigma": sigma_db,
        "NlosSigma": nlos_sigma_db,
    }
    if sigma_db:
        own["Distance"] = distance_m
    if nlos_sigma_db:
        own["NlosDistance"] = nlos_distance_m
    if isinstance(channel.fading, Multipath):
        own["Profile"] = channel.fading.profile
        own["DelaySpread"] = channel.fading.delay_spread_s
        own["Doppler"] = channel.fading.doppler_hz
    return int(
        episode.AddChannel(
            "".join(f"{key}={value}\n" for key, value in own.items()),
            kind.loss,
            _attribute_lines(kind.loss, channel, carrier_hz),
            kind.nlos_loss,
            _attribute_lines(kind.nlos_loss, channel, carrier_hz) if kind.nlos_loss else "",
            kind.condition,
        )
    )


def channel_names(path: str, channel: Channel) -> Iterator[Problem]:
    """Types and attributes of a channel that ns-3 doesn't have or refuses, as (path, message)."""
    try:
        known_loss(channel.kind)
    except UnknownName as error:
        yield f"{path}.kind", str(error)
        return
    kind = kind_of(channel)
    for name, value in channel.attributes.items():
        takers = [loss for loss in (kind.loss, kind.nlos_loss) if loss and _has(loss, name)]
        try:
            for loss in takers or [kind.loss]:
                runtime.checked_attributes(loss, {name: value})
        except (UnknownName, BadValue) as error:
            yield f"{path}.attributes.{name}", str(error)


def known_loss(name: str) -> None:
    """Raises `UnknownName` unless a kind or a propagation loss model has this name."""
    if name in KINDS:
        return
    # Loss models of spectra or antenna arrays are another family, and need more than positions.
    models = [
        known
        for known in runtime.type_names()
        if known.startswith("ns3::")
        and known.endswith("PropagationLossModel")
        and "Spectrum" not in known
    ]
    if name not in models:
        close = nearest(name, [*KINDS, *models])
        prefixed = f"ns3::{name}"
        raise UnknownName("channel", name, [prefixed] if prefixed in models else close)


def free_space_db(distance_m: float, carrier_hz: float) -> float:
    """Free-space path loss 20·log10(4π·d·f / c) (ITU-R P.525)."""
    return 20 * math.log10(4 * math.pi * distance_m * carrier_hz / _LIGHT_M_S)


def _attribute_lines(loss: str, channel: Channel, carrier_hz: float) -> str:
    """A loss model's attributes as the native code reads them, a line `name=value` for each."""
    usual: Mapping[str, Any] = {
        "Frequency": carrier_hz,
        "ReferenceLoss": free_space_db(1.0, carrier_hz),
        # The channel's own shadowing doesn't depend on the order of queries.
        **({"ShadowingEnabled": False} if channel.kind in KINDS else {}),
    }
    wanted = {**usual, **channel.attributes}
    checked = runtime.checked_attributes(
        loss, {name: value for name, value in wanted.items() if _has(loss, name)}
    )
    return "".join(f"{name}={value}\n" for name, value in checked.items())


def _has(loss: str, attribute: str) -> bool:
    return attribute in runtime.attributes(loss)
