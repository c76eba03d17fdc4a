"""What a plan does for a price of energy, counted at the socket and by radiated energy alone.

`python -m benchmarks.energy_prices [STUDY]` plans the first round of a study, by default
`quickstart`, with the energy queue of every device and control unit at several values, and prints
the table of docs/energy.md: the predicted time of the round, the mean power of the links between
nodes of clusters and to the base station, and the energy of devices and control units.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from collapipe_ns3.dssra.decide import decide
from collapipe_ns3.dssra.planning_problem import Memory
from collapipe_ns3.dssra.queues import Queues
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.nodes import SERVER
from collapipe_ns3.quantity import to_dbm
from collapipe_ns3.reading.study_file import read
from collapipe_ns3.run.planning import Planning

#: Queues of a budget of 1 J, so that they are prices of a joule; a second has the price V = 10.
PRICES = (0.0, 1.0, 10.0, 100.0)


@dataclass(frozen=True, slots=True)
class Case:
    """A model of energy as a study has it, and the idle power of all boards if it is not theirs."""

    name: str
    energy: str
    idle_w: float | None = None


CASES = (
    Case("`socket`", "socket"),
    Case("`socket`, boards idle at 0.1 W, radios sleep", "{model: socket, radio_rest: sleep}", 0.1),
    Case("`radiated`", "radiated"),
)


def rows(study: str, case: Case) -> Iterator[str]:
    """A row of the table for each price of a joule."""
    planning = Planning(read(study, [f"energy={case.energy}"]))
    _, links = planning.try_out()
    seen = planning.observation(links)
    names = [name for name in seen.profiles if name != SERVER]
    if case.idle_w is not None:
        idling = {name: replace(seen.profiles[name], idle_power_w=case.idle_w) for name in names}
        seen = replace(seen, profiles={**seen.profiles, **idling})
    settings = Settings(energy_budgets_j=dict.fromkeys(names, 1.0))
    for price in PRICES:
        queues = Queues(dict.fromkeys(names, price))
        made = decide(0, "collapipe", seen, Memory(queues=queues), settings)
        watts = [
            link.tx_power_w for link in made.plan.links if link.src != SERVER and link.tx_power_w
        ]
        joules = [made.prediction.joules[name] for name in names]
        idle, compute, sent, heard = (
            sum(getattr(each, f"{part}_j") for each in joules)
            for part in ("idle", "compute", "tx", "rx")
        )
        yield (
            f"| {case.name} | {price:g} | {made.prediction.round_s:.2f} "
            f"| {to_dbm(float(np.mean(watts))):.1f} | {idle:.1f} | {compute:.2f} | {sent:.2f} "
            f"| {idle + compute + sent + heard:.1f} |"
        )


def main() -> None:
    """Prints the table."""
    study = sys.argv[1] if len(sys.argv) > 1 else "quickstart"
    print(
        "| model | price of a joule | round, s | power, dBm | idle, J | computing | sending | all |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for case in CASES:
        for row in rows(study, case):
            print(row)


if __name__ == "__main__":
    main()
