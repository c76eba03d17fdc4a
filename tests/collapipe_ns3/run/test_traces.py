"""Traces for ns-3's tools have the formats that they read, and do not change the records."""

from __future__ import annotations

import json
import struct
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import studies
from typer.testing import CliRunner, Result

from collapipe_ns3 import Study
from collapipe_ns3.cli.app import app
from collapipe_ns3.run.replay import replay
from collapipe_ns3.topology import layout
from ns3_scenarios import runtime
from ns3_scenarios.traces import TRACE_KINDS, TraceFiles, Tracing, left_out

RADIOS: dict[str, dict[str, Any]] = {
    "wifi and lte": {"d2d": "wifi", "d2e": "lte"},
    "ofdma": {
        "d2d": {"stack": "ofdma", "transport": "tcp"},
        "d2e": {"stack": "ofdma", "transport": "udp"},
    },
    "direct": {
        "d2d": {"stack": "ofdma", "transport": "direct"},
        "d2e": {"stack": "ofdma", "transport": "direct"},
    },
}
RAW_IP, RADIOTAP = 101, 127  # LINKTYPE_RAW and LINKTYPE_IEEE802_11_RADIOTAP, tcpdump.org
#: Columns that hold wall-clock time.
WALL = ["wall_s", "planning_wall_s"]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})


def packets(file: Path) -> tuple[int, list[bytes]]:
    """The link type of a pcap file, and its packets."""
    content = file.read_bytes()
    magic, _, _, _, _, _, link_type = struct.unpack_from("=IHHiIII", content)
    assert magic in (0xA1B2C3D4, 0xA1B23C4D)
    found, at = [], 24
    while at < len(content):
        _, _, captured, _ = struct.unpack_from("=IIII", content, at)
        found.append(content[at + 16 : at + 16 + captured])
        at += 16 + captured
    assert at == len(content)
    return link_type, found


@pytest.mark.parametrize("radios", RADIOS)
def test_records_are_the_same_with_and_without_traces(radios: str, tmp_path: Path) -> None:
    study = Study(studies.config(radio=RADIOS[radios]))
    plain = studies.finished(2, radio=RADIOS[radios])
    traced = study.run(out=tmp_path / "traced", traces=TRACE_KINDS)
    for table in ("transfers", "computes", "links", "devices", "rounds"):
        ours, theirs = getattr(plain, table), getattr(traced, table)
        columns = [name for name in ours.columns if name not in WALL]
        assert ours[columns].equals(theirs[columns]), table
    folder = tmp_path / "traced" / "traces" / "00001"
    assert not (plain.directory / "traces").exists()
    nodes = {each.get("descr") for each in ET.parse(folder / "netanim.xml").iter("node")}
    names = {node.name for node in layout.scenario(study.config, 1, 0).nodes}
    assert names <= nodes | {each.get("descr") for each in ET.parse(folder / "netanim.xml").iter()}
    flows = list(ET.parse(folder / "flowmon.xml").iter("Flow"))
    lines = (folder / "ascii.tr").read_text().splitlines()
    assert bool(flows) == bool(lines) == (radios != "direct")


def test_pcap_files_hold_what_was_sent(tmp_path: Path) -> None:
    study = Study(studies.config(radio=RADIOS["wifi and lte"], rounds=1))
    run = study.run(out=tmp_path / "run", traces=["pcap"])
    folder = tmp_path / "run" / "traces" / "00000"
    assert {file.suffix for file in folder.iterdir()} == {".pcap"}
    link_type, frames = packets(folder / "c0.d0-wifi1.pcap")
    assert (link_type, bool(frames)) == (RADIOTAP, True)
    link_type, datagrams = packets(folder / "c0.cu-lte2.pcap")
    assert link_type == RAW_IP
    assert all(packet[0] >> 4 == 4 for packet in datagrams)
    tunnel = run.transfers.query("radio == 'lte'")
    payload = 0
    for packet in datagrams:
        header = 4 * (packet[0] & 15)
        total = int.from_bytes(packet[2:4], "big")
        payload += total - header - 4 * (packet[header + 12] >> 4)
    # Loss-free: every byte of payload passes this interface once, up or down.
    assert payload == tunnel["bytes"].sum()


def test_a_round_is_replayed_with_pcap(tmp_path: Path) -> None:
    run = studies.finished(2, radio=RADIOS["ofdma"])
    again = replay(run.directory, 1, TraceFiles(tmp_path / "pcap", ["pcap"]))
    assert not again.different
    link_type, datagrams = packets(tmp_path / "pcap" / "00001" / "c0.d0-ofdma1.pcap")
    assert (link_type, bool(datagrams)) == (RAW_IP, True)


@pytest.mark.parametrize(
    ("radios", "says"),
    [
        ("wifi and lte", ["pcap: d2e as IP packets"]),
        ("ofdma", ["pcap: d2d as IP packets", "netanim: the nodes of d2e"]),
        ("direct", ["pcap, ascii, flowmon: nothing of d2d", "netanim: the nodes of d2d"]),
    ],
)
def test_what_cannot_be_traced_is_reported(radios: str, says: list[str]) -> None:
    spec = layout.scenario(studies.config(radio=RADIOS[radios]), 1, 0)
    lines = list(left_out(spec, TRACE_KINDS))
    assert all(any(line.startswith(start) for line in lines) for start in says), lines
    assert not list(left_out(spec, []))


def test_flags_write_traces_and_say_what_is_left_out(tmp_path: Path) -> None:
    study, place = studies.write(tmp_path, rounds=1), str(tmp_path / "run")
    done = call("run", study, "--out", place, "--pcap", "--netanim")
    assert done.exit_code == 0, done.stderr
    assert "pcap: nothing of d2d" in done.stderr
    assert [f.name for f in (tmp_path / "run/traces/00000").iterdir()] == ["netanim.xml"]
    plain = call("run", study, "--out", str(tmp_path / "plain"))
    assert not [line for line in plain.stderr.splitlines() if line.startswith(TRACE_KINDS)]
    assert not (tmp_path / "plain" / "traces").exists()


@pytest.mark.parametrize("command", ["run", "replay"])
def test_both_commands_say_which_traces_there_are_none_of(command: str, tmp_path: Path) -> None:
    study, place = studies.write(tmp_path, rounds=1), str(tmp_path / "run")
    done = call("run", study, "--out", place, *["--pcap"] * (command == "run"), "--json")
    if command == "replay":
        assert json.loads(done.stdout)["warnings"] == []
        pcap = ["--pcap", str(tmp_path / "pcap")]
        done = call("replay", place, "--round", "0", *pcap, "--json")
    assert done.exit_code == 0, done.stderr
    messages = [each["message"] for each in json.loads(done.stdout)["warnings"]]
    assert [line[:21] for line in messages] == ["pcap: nothing of d2d,", "pcap: nothing of d2e,"]
    assert all(done.stderr.count(f"warning: {line}") == 1 for line in messages)


def test_netanim_is_given_every_packet(tmp_path: Path) -> None:
    """By default ns-3 ends the animation after 100 000 packets."""
    runtime.reset(1, 1)
    ns = runtime.load((*runtime.DEFAULT_MODULES, "netanim"))
    nodes = ns.NodeContainer()
    nodes.Create(2)
    for number in range(2):
        nodes.Get(number).AggregateObject(ns.CreateObject[ns.ConstantPositionMobilityModel]())
    cable = ns.PointToPointHelper()
    cable.SetDeviceAttribute("DataRate", ns.StringValue("1Gbps"))
    devices = cable.Install(nodes)
    ns.PacketSocketHelper().Install(nodes)
    to = ns.PacketSocketAddress()
    to.SetSingleDevice(devices.Get(0).GetIfIndex())
    to.SetPhysicalAddress(devices.Get(1).GetAddress())
    to.SetProtocol(0x0800)
    client = ns.CreateObject[ns.PacketSocketClient]()
    client.SetRemote(to)
    for name, value in (("PacketSize", 10), ("MaxPackets", 100_500)):
        client.SetAttribute(name, ns.UintegerValue(value))
    client.SetAttribute("Interval", ns.TimeValue(ns.MicroSeconds(1)))
    nodes.Get(0).AddApplication(client)
    tracing = Tracing(TraceFiles(tmp_path, ["netanim"]), {"a": 0, "b": 1})
    ns.Simulator.Stop(ns.Seconds(1))
    ns.Simulator.Run()
    tracing.finish()
    client = devices = nodes = None
    ns.Simulator.Destroy()
    assert (tmp_path / "netanim.xml").read_text().count("<p ") == 100_500


def test_a_folder_for_traces_that_cannot_be_is_reported(tmp_path: Path) -> None:
    study, place = studies.write(tmp_path, rounds=1), str(tmp_path / "run")
    assert call("run", study, "--out", place).exit_code == 0
    done = call("replay", place, "--round", "0", "--pcap", study)  # a file
    assert done.exit_code == 2
    assert "--pcap: " in done.stderr
