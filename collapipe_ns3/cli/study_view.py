"""The nodes of a study, as the command line prints them."""

from __future__ import annotations

from rich.table import Table

from collapipe_ns3.cli.tables import new_table
from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.nodes import SERVER
from collapipe_ns3.quantity import to_dbm
from collapipe_ns3.topology import layout


def nodes_table(config: StudyConfig) -> Table:
    """A row for each node: its profile, position, transmit power, speed and memory."""
    table = new_table("node", "profile", "east m", "north m", "dBm", "GFLOP/s", "memory GiB")
    table.columns[1].justify = "left"
    profiles = layout.profiles(config)
    for node in layout.scenario(config, config.seed, 0).nodes:
        profile = profiles.get(node.name, profiles[SERVER])  # further stations have the server's
        east, north, _ = node.position
        table.add_row(
            node.name,
            profile.name,
            f"{east:.1f}",
            f"{north:.1f}",
            f"{to_dbm(profile.max_tx_power_w):.0f}",
            f"{profile.flops_per_s / 1e9:g}",
            f"{profile.memory_bytes / 2**30:.3g}",
            style="bold" if node.name == SERVER else None,
        )
    return table
