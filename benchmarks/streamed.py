"""What packets cost where the exchange of parameters is streamed in chunks, beside `sampled`.

`python -m benchmarks.streamed [STUDY [KEY=VALUE …]]` carries the exchange of a round without its
training: the model goes to all control units at once (where the radio can multicast), each of which
forwards every chunk to one of its devices, and the same way back, from the devices to the base
station. A line for each fidelity and size of chunks has the simulated time of both directions, and
the processor time of the simulating thread.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from bridge import loop as simulated
from bridge.network import Delivery
from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.reading import study_file
from collapipe_ns3.run.planning import Planning
from collapipe_ns3.topology import layout
from collapipe_ns3.topology.media import media
from ns3_scenarios import network
from ns3_scenarios.scenario import Fidelity, ScenarioSpec

CHUNKS = (None, 4_000_000, 1_000_000, 250_000)  # bytes; None is the model as a whole
FIDELITIES: tuple[Fidelity, ...] = ("packet", "sampled")


@dataclass(frozen=True, slots=True)
class Streamed:
    """Simulated seconds of both directions, processor seconds, and bytes not simulated."""

    down_s: float
    up_s: float
    cpu_s: float
    extrapolated_bytes: int


def streamed(spec: ScenarioSpec, model_bytes: int, chunk_bytes: int | None) -> Streamed:
    """The exchange of a model of this size over a network of its own."""
    size = chunk_bytes or model_bytes
    sizes = [min(size, model_bytes - begin) for begin in range(0, model_bytes, size)]
    controls = [control_unit(number) for number in range(len(spec.clusters))]
    pairs = frozenset((SERVER, control) for control in controls)
    at_once = any(medium.multicast and pairs <= medium.links for medium in media(spec))
    with closing(network.build(spec)) as net:

        async def then(arrived: Awaitable[Delivery], src: str, dst: str, size: int) -> None:
            await arrived
            await net.transfer(src, dst, size)

        def device(cluster: int, chunk: int) -> str:
            devices = spec.clusters[cluster].devices
            return devices[chunk % len(devices)].name

        async def down() -> None:
            sent = []
            for chunk, size in enumerate(sizes):
                if at_once:
                    arrivals: Sequence[Awaitable[Delivery]] = net.multicast(SERVER, controls, size)
                else:
                    arrivals = [net.transfer(SERVER, control, size) for control in controls]
                for number, (control, arrived) in enumerate(zip(controls, arrivals, strict=True)):
                    sent.append(then(arrived, control, device(number, chunk), size))
            await asyncio.gather(*sent)

        async def up() -> None:
            await asyncio.gather(
                *(
                    then(net.transfer(device(n, chunk), control, size), control, SERVER, size)
                    for n, control in enumerate(controls)
                    for chunk, size in enumerate(sizes)
                )
            )

        async def main() -> tuple[float, int, int]:
            await net.sound([*pairs, *((dst, src) for src, dst in pairs)])
            began_s, begun_ns = time.thread_time(), net.now_ns()
            await down()
            turn_ns = net.now_ns()
            await up()
            return time.thread_time() - began_s, turn_ns - begun_ns, net.now_ns() - turn_ns

        cpu_s, down_ns, up_ns = simulated.run(net, main())
        skipped = sum(each.extrapolated_bytes for each in net.deliveries)
    return Streamed(down_ns / 1e9, up_ns / 1e9, cpu_s, skipped)


def _of(config: StudyConfig) -> tuple[ScenarioSpec, int]:
    costs = Planning(config).model_costs
    sent = costs.parameter_bytes - costs.last.parameter_bytes  # the decoder stays
    return layout.scenario(config, config.seed, 0), sent


def main(study: str = "paper-transformer", *sets: str) -> None:
    """Prints the table for a study; `sets` change it, as `radio.d2e.stack=lte`."""
    spec, size = _of(study_file.read(study, sets))
    print(f"{study}: {size / 1e6:.1f} MB; chunk MB, fidelity, down s, up s, CPU s, extrapolated MB")
    for chunk in CHUNKS:
        for fidelity in FIDELITIES:
            found = streamed(replace(spec, fidelity=fidelity), size, chunk)
            print(
                f"{(chunk or size) / 1e6:6.2f} {fidelity:8} {found.down_s:8.3f} {found.up_s:8.3f} "
                f"{found.cpu_s:6.2f} {found.extrapolated_bytes / 1e6:6.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
