"""The check of the settings of a plug-in: keywords with types and defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from collapipe_ns3.contract import Violation


def expect_settings(function: Callable[..., Any], skip: int = 0) -> None:
    """Raises `Violation` unless each parameter after the first `skip` has a type and a default."""
    for each in list(inspect.signature(function).parameters.values())[skip:]:
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            raise Violation(f"*{each.name}: expected settings by name, so that they are checked")
        if each.annotation is each.empty:
            raise Violation(f"{each.name}: expected a type, so that a study's value is checked")
        if each.default is each.empty:
            raise Violation(f"{each.name}: expected a default, so that a study may leave it out")
