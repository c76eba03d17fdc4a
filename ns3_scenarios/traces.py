"""ns-3's own traces of an episode: pcap, ASCII, FlowMonitor and NetAnim files.

Tracing changes no results. Times in the files are ns-3's, which start before time 0 of the episode
if terminals have to attach first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Literal

from ns3_scenarios import runtime
from ns3_scenarios.radios.registry import stacks
from ns3_scenarios.scenario import ScenarioSpec

TraceKind = Literal["pcap", "ascii", "flowmon", "netanim"]
TRACE_KINDS: tuple[TraceKind, ...] = ("pcap", "ascii", "flowmon", "netanim")

_NO_LIMIT = 2**64 - 1  # of packets in a file, after which NetAnim would stop writing

_MODULES = {"flowmon": "flow-monitor", "netanim": "netanim"}


@dataclass(frozen=True, slots=True)
class TraceFiles:
    """The kinds of traces to write, and the folder for them."""

    folder: Path
    kinds: Collection[TraceKind]

    def of_round(self, number: int) -> TraceFiles:
        """The same for one round, in a folder of its own."""
        return replace(self, folder=self.folder / f"{number:05}")


def left_out(spec: ScenarioSpec, kinds: Collection[TraceKind]) -> Iterator[str]:
    """A line for each of these traces that a radio of the scenario can't write, or not in full."""
    ordered = [kind for kind in TRACE_KINDS if kind in kinds]
    for stack in stacks(spec):
        yield from stack.untraced(ordered)


class Tracing:
    """Traces that are being written; call `finish` before the simulation is destroyed.

    Raises `OSError` if the folder can't be made or written, as ns-3 would end the process.
    """

    def __init__(self, files: TraceFiles, numbers: Mapping[str, int]) -> None:
        self._ns = runtime.load((*runtime.DEFAULT_MODULES, *_modules(files.kinds)))
        self._files = files
        self._packets = runtime.native().PacketTraces()
        self._flows: Any = None
        self._animation: Any = None
        files.folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=files.folder).close()
        nodes = {name: self._ns.NodeList.GetNode(number) for name, number in numbers.items()}
        if "pcap" in files.kinds:
            for name, node in nodes.items():
                self._capture(name, node)
        if "ascii" in files.kinds:
            for name, node in nodes.items():
                self._packets.Ascii(node, name, str(files.folder / "ascii.tr"))
        if "flowmon" in files.kinds:
            self._flows = self._ns.FlowMonitorHelper()
            for node in nodes.values():
                self._flows.Install(node)
        if "netanim" in files.kinds:
            self._animate(nodes)

    def finish(self) -> None:
        """Writes what is left to write, and deletes ns-3's objects."""
        if self._flows is not None:
            self._flows.SerializeToXmlFile(str(self._files.folder / "flowmon.xml"), True, False)
            self._flows.__destruct__()
        if self._animation is not None:
            self._animation.__destruct__()
        self._packets.__destruct__()
        self._flows = self._animation = self._packets = None

    def _capture(self, name: str, node: Any) -> None:
        """A file for each interface: 802.11 frames with radiotap headers, or IP packets."""
        ipv4 = node.GetObject[self._ns.Ipv4]()
        for number in range(1, ipv4.GetNInterfaces()):  # 0 is the loopback
            device = ipv4.GetNetDevice(number)
            kind = _kind(str(device.GetInstanceTypeId().GetName()))
            path = str(self._files.folder / f"{name}-{kind}{number}.pcap")
            if kind != "wifi":
                self._packets.Pcap(node, number, path)
                continue
            helper = self._ns.SpectrumWifiPhyHelper()
            helper.SetPcapDataLinkType(self._ns.WifiPhyHelper.DLT_IEEE802_11_RADIO)
            helper.EnablePcap(path, device, True, True)

    def _animate(self, nodes: Mapping[str, Any]) -> None:
        animation = self._ns.AnimationInterface
        for number in range(self._ns.NodeList.GetNNodes()):
            node = self._ns.NodeList.GetNode(number)
            if not node.GetObject[
                self._ns.MobilityModel
            ]():  # NetAnim would give it a random position
                animation.SetConstantPosition(node, 0.0, 0.0)
        self._animation = animation(str(self._files.folder / "netanim.xml"))
        self._animation.SetMaxPktsPerTraceFile(_NO_LIMIT)
        for name, node in nodes.items():
            self._animation.UpdateNodeDescription(node, name)


def _modules(kinds: Collection[TraceKind]) -> list[str]:
    return [module for kind, module in _MODULES.items() if kind in kinds]


def _kind(device_type: str) -> str:
    for part, kind in (("Wifi", "wifi"), ("Lte", "lte"), ("Ofdma", "ofdma")):
        if part in device_type:
            return kind
    return "core"
