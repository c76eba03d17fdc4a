"""Whether this machine can run studies: versions, ns-3 and its cache, a second of simulation."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from collapipe_ns3 import schemes
from collapipe_ns3.reading import study_file
from collapipe_ns3.run.manifest import versions
from collapipe_ns3.topology import layout
from ns3_scenarios import network, runtime

_SECOND_NS = 1_000_000_000
_CACHE_BYTES = 200 * 2**20  # the precompiled header, and room to build it


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; where it is not `ok`, runs will fail."""

    name: str
    ok: bool
    detail: str


def examine() -> Iterator[Finding]:
    """Looks at everything in turn; what comes later needs what came earlier."""
    yield Finding("Python", sys.version_info >= (3, 11), sys.version.split()[0])
    for name, version in versions().items():
        yield Finding(name, version is not None, version or "missing: `pip install collapipe-ns3`")
    yield Finding("schemes", bool(schemes.names()), ", ".join(schemes.names()) or "none installed")
    found = runtime.compiler()
    yield Finding("C++ compiler", True, found or "none; Cling compiles at each start")
    yield _tried("ns-3 loads", _load)
    yield _tried("ns-3 cache", _cache)
    yield _tried("one second simulated", _simulate)


def _tried(name: str, action: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, action())
    except (RuntimeError, OSError, ValueError) as error:
        return Finding(name, False, str(error))


def _load() -> str:
    began = time.perf_counter()
    runtime.native()
    return f"in {time.perf_counter() - began:.1f} s"


def _cache() -> str:
    held = runtime.cache_info()
    size = sum(held.artefacts.values()) / 2**20
    free = shutil.disk_usage(held.directory).free
    room = "" if free > _CACHE_BYTES else ", and its disk is nearly full"
    return f"{held.directory}: {len(held.artefacts)} files, {size:.0f} MiB{room}"


def _simulate() -> str:
    config = study_file.read("quickstart")
    net = network.build(layout.scenario(config, config.seed, 0))
    try:
        began = time.perf_counter()
        net.advance(_SECOND_NS)
        nodes = len(net.usage())
        return f"{nodes} nodes, both radios, idle, in {time.perf_counter() - began:.2f} s"
    finally:
        net.close()
