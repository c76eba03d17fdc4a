"""The installed schemes and their settings."""

from __future__ import annotations

from collections.abc import Iterator

from collapipe_ns3.installed import Installed, installed
from collapipe_ns3.schemes import SCHEMES, settings_model


def installed_schemes() -> Iterator[Installed]:
    """All installed schemes by name."""
    return installed(SCHEMES, settings_model)
