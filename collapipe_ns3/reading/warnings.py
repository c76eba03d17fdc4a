"""Warnings: doubtful values of a study that can be run nevertheless.

A command prints each warning once on stderr, and lists them under `warnings` with `--json`. Errors,
which keep a study from being run, are found in `collapipe_ns3.reading.checks`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.costs.devices import profile
from collapipe_ns3.problems import Problem
from collapipe_ns3.quantity import to_dbm
from collapipe_ns3.reading.checks import named_nodes, renamed
from collapipe_ns3.topology import layout
from ns3_scenarios.traces import TraceKind, left_out
from ns3_scenarios.validity import validity_warnings

_FAR_ABOVE_DB = 10.0  # above the profile's power; 30 dBm for a phone, the highest power class
_DEVICE_DBM = 20.0  # the power of the bundled device profiles


def warnings_of(config: StudyConfig) -> list[Problem]:
    """All warnings of a study without errors."""
    return [
        *_node_powers(config),
        *_fixed_powers(config),
        *_background_powers(config),
        *_extrapolations(config),
        *_unknown_speeds(config),
    ]


def scheme_warnings(explanation: Mapping[str, Any]) -> list[Problem]:
    """The warnings in a scheme's explanation; see `collapipe_ns3.schemes.Explaining`."""
    found = explanation.get("warnings", ())
    return [
        Problem(str(each["path"]), str(each["message"]))
        for each in (found if isinstance(found, list) else ())
        if isinstance(each, dict) and {"path", "message"} <= each.keys()
    ]


def trace_warnings(config: StudyConfig, kinds: Collection[TraceKind]) -> list[Problem]:
    """Warnings for requested traces that the study's radios can't write, or only in part."""
    if config.scenario is not None and kinds:
        kinds_text = ", ".join(kinds)
        what = f"{kinds_text}: none are written, as the study's own scenario writes its own traces"
        return [Problem("", what)]
    spec = layout.scenario(config, config.seed, 0)
    return [Problem("", line) for line in left_out(spec, kinds)]


def _node_powers(config: StudyConfig) -> Iterator[Problem]:
    """Warnings for nodes with far more power than devices of their profile have."""
    for path, node in named_nodes(config):
        usual_dbm = to_dbm(profile(node.profile).max_tx_power_w)
        if node.tx_power_dbm is not None and node.tx_power_dbm > usual_dbm + _FAR_ABOVE_DB:
            yield Problem(
                f"{path}.tx_power_dbm",
                f"{node.tx_power_dbm:g} dBm is {node.tx_power_dbm - usual_dbm:.0f} dB more than "
                f"the {usual_dbm:.0f} dBm of the profile {node.profile}",
            )


def _fixed_powers(config: StudyConfig) -> Iterator[Problem]:
    """Warnings for fixed powers above those of all nodes on that radio, which have no effect."""
    units = [cluster.cu for cluster in config.clusters]
    devices = [node for cluster in config.clusters for node in cluster.devices]
    for tier, power, nodes in (
        ("d2d", config.radio.d2d.power, [*units, *devices]),
        ("d2e", config.radio.d2e.power, units),
    ):
        most_dbm = max(to_dbm(node.device_profile().max_tx_power_w) for node in nodes)
        fixed_dbm = power.tx_power_dbm if power is not None else None
        if fixed_dbm is not None and fixed_dbm > most_dbm + 1e-9:
            yield Problem(
                f"radio.{tier}.power.tx_power_dbm",
                f"no node can radiate {fixed_dbm:g} dBm; each radiates the most that it can, up to "
                f"{most_dbm:.3g} dBm",
            )


def _background_powers(config: StudyConfig) -> Iterator[Problem]:
    most_dbm = _DEVICE_DBM + _FAR_ABOVE_DB
    for n, interferer in enumerate(config.interferers):
        if interferer.kind == "background" and interferer.tx_power_dbm > most_dbm:
            yield Problem(
                f"interferers[{n}].tx_power_dbm",
                f"{interferer.tx_power_dbm:g} dBm is more than other people's devices radiate, "
                f"{most_dbm:.0f} dBm at most",
            )


def _extrapolations(config: StudyConfig) -> Iterator[Problem]:
    """Warnings for propagation models outside their range of validity.

    A user's own scenario has its own propagation models, of which nothing is known.
    """
    if config.scenario is None:
        for path, message in validity_warnings(layout.scenario(config, config.seed, 0)):
            yield Problem(renamed(config, path), message)


def _unknown_speeds(config: StudyConfig) -> Iterator[Problem]:
    """A warning if there are nodes of which only the speed in float32 is known."""
    if config.training.precision == "bfloat16":
        profiles = [node.device_profile() for _, node in named_nodes(config)]
        unknown = dict.fromkeys(each.name for each in profiles if each.flops_per_s_bf16 is None)
        if unknown:
            yield Problem(
                "training.precision",
                f"{', '.join(unknown)}: no flops_per_s_bf16 is given, so bfloat16 takes as long as "
                "float32",
            )
