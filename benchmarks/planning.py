"""How long DSSRA takes to plan a round, on one core.

`plan_quickstart_ms`: the bundled study `quickstart`, in the rounds after the first, when the last
plan is compared with new ones. `plan_1000_devices_s`: 100 clusters of 10 devices, 24 blocks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from collapipe_ns3 import layout, reading
from collapipe_ns3.config import StudyConfig
from collapipe_ns3.devices import DeviceProfile
from collapipe_ns3.dssra.decide import decide
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.dssra.task import Memory
from collapipe_ns3.media import media
from collapipe_ns3.models.spec import ModelSpec
from collapipe_ns3.nodes import SERVER, control_unit, device
from collapipe_ns3.schemes import Medium, Observation

_NOISE_W_HZ = 2e-20
_TIMES = 20


@dataclass(frozen=True)
class _Link:
    src: str
    dst: str
    gain: float
    sinr: float
    tx_power_w: float
    goodput_bps: float = 0.0
    interference_w_hz: float = _NOISE_W_HZ
    loss: float = 0.0
    age_s: float = 0.0


def _links(
    found: tuple[Medium, ...], profiles: dict[str, DeviceProfile], rng: np.random.Generator
) -> Iterator[_Link]:
    for medium in found:
        for src, dst in sorted(medium.links):
            gain = 10 ** rng.uniform(*((-10, -9) if SERVER in (src, dst) else (-9, -7)))
            watts = profiles[src].max_tx_power_w
            yield _Link(src, dst, gain, watts * gain / (_NOISE_W_HZ * medium.bandwidth_hz), watts)


def quickstart() -> Observation:
    """What a scheme is shown in `quickstart`, with made-up gains."""
    config: StudyConfig = reading.read("quickstart")
    profiles, found = layout.profiles(config), media(layout.scenario(config, 1, 0))
    return Observation(
        devices=layout.device_names(config),
        profiles=profiles,
        model=ModelSpec(60, 60, 64, 4, 256, 6, 2, 9),
        batch_size=config.training.batch_size,
        local_steps=config.training.local_steps,
        optimizer=config.training.optimizer,
        links=tuple(_links(found, profiles, np.random.default_rng(1))),
        source_length=7,
        target_length=9,
        media=found,
    )


def many(clusters: int = 100, devices: int = 10, blocks: int = 24) -> Observation:
    """Clusters of unlike devices, each with a band of its own, on one cell of the base station."""
    rng = np.random.default_rng(1)
    names = tuple(tuple(device(n, k) for k in range(devices)) for n in range(clusters))

    def profile(name: str, speed: float, radiated_w: float) -> DeviceProfile:
        return DeviceProfile(name, speed, 1e-3, 2**32, 5.0, radiated_w, 0.8, "made up")

    profiles = {SERVER: profile(SERVER, 3e13, 20.0)}
    found = []
    for n, row in enumerate(names):
        nodes = [control_unit(n), *row]
        profiles |= {name: profile(name, 10 ** rng.uniform(10, 11.5), 0.1) for name in nodes}
        pairs = frozenset((a, b) for a in nodes for b in nodes if a != b)
        found.append(Medium(f"d2d {n}", pairs, 2e7, grants=True, half_duplex=True, slot_s=1e-3))
    units = [control_unit(n) for n in range(clusters)]
    up, down = (frozenset((u, SERVER) if to else (SERVER, u) for u in units) for to in (1, 0))
    found += [Medium("up", up, 1e8, grants=True), Medium("down", down, 1e8, grants=True)]
    return Observation(
        devices=names,
        profiles=profiles,
        model=ModelSpec(8000, 8000, 256, 8, 1024, blocks, 2, 32),
        batch_size=32,
        local_steps=4,
        optimizer="adamw",
        links=tuple(_links(tuple(found), profiles, rng)),
        media=tuple(found),
    )


def measure() -> dict[str, float]:
    """The benchmark's keys; of several plans the median."""
    seen, settings = quickstart(), Settings()
    first = decide(0, "collapipe", seen, Memory(), settings)
    memory = Memory(pipelines={c.cluster: c.pipelines[0] for c in first.plan.clusters})
    large = many()
    return {
        "plan_quickstart_ms": 1e3 * _median_s(seen, memory, settings, _TIMES),
        "plan_1000_devices_s": _median_s(large, Memory(), settings, 3),
    }


def _median_s(seen: Observation, memory: Memory, settings: Settings, times: int) -> float:
    took = []
    for number in range(times):
        begun = time.perf_counter()
        decide(number, "collapipe", seen, memory, settings)
        took.append(time.perf_counter() - begun)
    return float(np.median(took))


if __name__ == "__main__":
    for key, value in measure().items():
        print(f"{key} {value:.4g}")
