"""Prints lists of studies, device profiles, schemes, tasks and models on the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from collapipe_ns3.cli.tables import new_table, print_table

if TYPE_CHECKING:
    from collapipe_ns3.config.study import StudyConfig
    from collapipe_ns3.costs.devices import DeviceProfile
    from collapipe_ns3.installed import Installed, Setting
    from collapipe_ns3.learning.installed import InstalledTask
    from collapipe_ns3.learning.models import ModelEntry


def print_studies(console: Console, studies: Mapping[str, StudyConfig]) -> None:
    """A table with a row for each study."""
    table = new_table("study", "clusters", "devices", "rounds", "what it is", texts=["what it is"])
    for name, config in studies.items():
        sizes = [len(cluster.devices) for cluster in config.clusters]
        table.add_row(
            name, str(len(sizes)), str(sum(sizes)), str(config.rounds), escape(config.description)
        )
    print_table(console, table)


def print_profiles(console: Console, profiles: Iterable[DeviceProfile]) -> None:
    """A table with a row for each profile, then the sources of each.

    The radio's powers are those for listening, receiving, and sending at its highest power.
    """
    from collapipe_ns3.quantity import to_dbm

    known = list(profiles)
    table = new_table(
        "profile", "GFLOP/s", "overhead ms", "GiB", "idle W", "active W", "radio W", "dBm"
    )
    for each in known:
        table.add_row(
            each.name,
            f"{each.flops_per_s / 1e9:g}",
            f"{each.overhead_s * 1e3:g}",
            f"{each.memory_bytes / 2**30:g}",
            f"{each.idle_power_w:g}",
            f"{each.active_power_w:g}",
            radio_powers(each),
            f"{to_dbm(each.max_tx_power_w):.0f}",
        )
    print_table(console, table)
    for each in known:
        console.print(f"[bold]{escape(each.name)}[/]")
        console.print(Padding(escape(each.source), (0, 0, 0, 2)))


def radio_powers(profile: DeviceProfile) -> str:
    """The watts of a profile's radio: listening, receiving, and sending at its highest power."""
    radio = profile.radio
    watts = (radio.idle_w, radio.rx_w, radio.sending_w(profile.max_tx_power_w))
    return " / ".join(f"{each:.3g}" for each in watts)


def print_schemes(console: Console, schemes: Iterable[Installed]) -> None:
    """For each scheme a heading and a table of its settings."""
    for each in schemes:
        _print_plugin(console, each)


def print_tasks(console: Console, tasks: Iterable[InstalledTask]) -> None:
    """For each task a heading, its main metric, its models, and a table of its settings."""
    for each in tasks:
        notes = []
        if each.metric is not None:
            better = "higher" if each.metric.higher_is_better else "lower"
            unit = f", {each.metric.unit}" if each.metric.unit else ""
            notes.append(f"main metric: {each.metric.name}{unit} ({better} is better)")
        if not each.plugin.error:
            notes.append(f"models: {', '.join(each.models) or 'its own'}")
        _print_plugin(console, each.plugin, notes)


def print_models(console: Console, models: Mapping[str, ModelEntry]) -> None:
    """A table with a row for each model: what it is, and its keys of the section `model`."""
    texts = ["kind", "what it is", "keys", "needs"]
    table = new_table("model", *texts, texts=texts)
    for name, each in models.items():
        keys = ", ".join(each.keys)
        table.add_row(name, each.kind, escape(each.description), escape(keys), each.library)
    print_table(console, table)


def _print_plugin(console: Console, plugin: Installed, notes: Iterable[str] = ()) -> None:
    """A heading, the description and notes of a plug-in, and a table of its settings."""
    console.print(f"[bold]{escape(plugin.name)}[/] [dim]({escape(plugin.package)})[/]")
    if plugin.error:
        console.print(Padding(f"[red]{escape(plugin.error)}[/]", (0, 0, 1, 2)))
        return
    for line in (plugin.description, *notes):
        console.print(Padding(escape(line), (0, 0, 0, 2)))
    if not plugin.settings:
        console.print(Padding("no settings", (0, 0, 1, 2)))
        return
    texts = ["type", "default", "what it does"]
    table = new_table("setting", *texts, texts=texts)
    for setting in plugin.settings:
        table.add_row(
            setting.name,
            escape(setting.type),
            escape(_default(setting)),
            escape(setting.description),
        )
    print_table(console, table)


def _default(setting: Setting) -> str:
    """The default value as a study file would have it."""
    if setting.required:
        return "required"
    plain = isinstance(setting.default, str)
    return setting.default if plain else json.dumps(setting.default, ensure_ascii=False)
