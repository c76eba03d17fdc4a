"""Run as a process of its own: planning where neither torch nor ns-3 can be imported.

The arguments are two JSON lists: modules to import, and names of schemes that plan a round each.
It prints as JSON how many clusters each scheme planned, which forbidden modules anything tried to
import, and which of them are loaded.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

#: The top-level modules of torch and of ns-3's Python bindings.
FORBIDDEN = {"torch", "ns", "ns3", "cppyy", "libcppyy", "cppyy_backend"}


class Refusal:
    """An import finder that is asked first, and refuses forbidden modules."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] not in FORBIDDEN:
            return None
        self.asked.append(name)
        raise ImportError(f"planning imports {name}")


def plan_round(scheme: str) -> int:
    """Plans a round of two small clusters (the oracle: of one); the number of clusters planned."""
    import fleets
    import numpy as np

    from collapipe_ns3 import schemes
    from collapipe_ns3.plan import validate
    from collapipe_ns3.schedule import SCHEDULES

    clusters = 1 if scheme == "oracle" else 2
    seen = fleets.observation(
        np.random.default_rng(1), clusters, devices=2, radio="ofdma", blocks=2, batch_size=4
    )
    made = schemes.make(scheme, {}).plan(0, seen)
    validate(made, devices=seen.devices, blocks=2, batch_size=4, schedules=tuple(SCHEDULES))
    return len(made.clusters)


def main(modules: Sequence[str], planning: Sequence[str]) -> dict[str, object]:
    refusal = Refusal()
    sys.meta_path.insert(0, refusal)
    for name in modules:
        importlib.import_module(name)
    clusters = {name: plan_round(name) for name in planning}
    loaded = sorted(FORBIDDEN & set(sys.modules))
    return {"clusters": clusters, "asked": refusal.asked, "loaded": loaded}


if __name__ == "__main__":
    print(json.dumps(main(*map(json.loads, sys.argv[1:]))))
