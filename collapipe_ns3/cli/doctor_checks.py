"""Checks whether this machine can run studies: versions, ns-3 and its cache, a simulated second."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table

from collapipe_ns3 import schemes
from collapipe_ns3.cli.tables import new_table
from collapipe_ns3.reading import study_file
from collapipe_ns3.run.manifest import versions
from collapipe_ns3.topology import layout
from ns3_scenarios import network, runtime

_SECOND_NS = 1_000_000_000
_CACHE_BYTES = 200 * 2**20  # the precompiled header, and room to build it


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check; where it is not `ok`, runs will fail."""

    name: str
    ok: bool
    detail: str


def run_checks() -> Iterator[CheckResult]:
    """Makes all checks in turn; later ones depend on earlier ones."""
    yield CheckResult("Python", sys.version_info >= (3, 11), sys.version.split()[0])
    for name, version in versions().items():
        yield CheckResult(
            name, version is not None, version or "missing: `pip install collapipe-ns3`"
        )
    names = schemes.SCHEMES.names()
    yield CheckResult("schemes", bool(names), ", ".join(names) or "none installed")
    found = runtime.compiler()
    yield CheckResult("C++ compiler", True, found or "none; Cling compiles at each start")
    yield _attempt("ns-3 loads", _load)
    yield _attempt("ns-3 cache", _cache)
    yield _attempt("one second simulated", _simulate)


def results_table(results: Iterable[CheckResult]) -> Table:
    """A row for each check: its name, whether it passed, and details."""
    table = new_table("check", "state", "detail", texts=["state", "detail"])
    for each in results:
        mark = "[green]ok[/]" if each.ok else "[red]missing[/]"
        table.add_row(each.name, mark, escape(each.detail))
    table.show_header = False
    return table


def _attempt(name: str, action: Callable[[], str]) -> CheckResult:
    try:
        return CheckResult(name, True, action())
    except (RuntimeError, OSError, ValueError) as error:
        return CheckResult(name, False, str(error))


def _load() -> str:
    began = time.perf_counter()
    runtime.native()
    return f"in {time.perf_counter() - began:.1f} s"


def _cache() -> str:
    cache = runtime.cache_info()
    size = sum(cache.artefacts.values()) / 2**20
    free = shutil.disk_usage(cache.directory).free
    room = "" if free > _CACHE_BYTES else ", and its disk is nearly full"
    return f"{cache.directory}: {len(cache.artefacts)} files, {size:.0f} MiB{room}"


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
