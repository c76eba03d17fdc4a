"""Energy budgets that no plan can keep: below what a node takes that has no part in the round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.prediction.timeline_energy import NodeEnergy

#: Where the budgets are in a study.
_PATH = "scheme.settings"

#: So many nodes are named in a message.
_NAMED = 4


def unkeepable(
    settings: Settings, devices: tuple[tuple[str, ...], ...], joules: Mapping[str, NodeEnergy]
) -> Iterator[tuple[str, str]]:
    """(place in the study, message) of every budget below the least use of whom it is for.

    That of a device is what it receives, is sounded with and overhears with no block on it; of a
    control unit or the base station, whose part can't be given to others, all but what it radiates.
    """
    common: dict[str, float] = {}
    for node, budget_j in settings.budgets_j(devices).items():
        least_j = joules[node].idle_j if node in joules else 0.0
        if budget_j >= least_j:
            continue
        if node in settings.energy_budgets_j:
            yield f"{_PATH}.energy_budgets_j.{node}", _message(budget_j, {node: least_j})
        else:
            common[node] = least_j
    if common:
        assert settings.energy_budget_j is not None
        yield f"{_PATH}.energy_budget_j", _message(settings.energy_budget_j, common)


def _message(budget_j: float, least_j: Mapping[str, float]) -> str:
    ordered = sorted(least_j.items(), key=lambda each: -each[1])
    named = ", ".join(f"{node} {joules:.3g} J" for node, joules in ordered[:_NAMED])
    more = f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else ""
    return (
        f"{budget_j:.3g} J a round is less than what is used at least, whatever is planned "
        f"({named}{more}): it will be exceeded, and the energy queue grow without end"
    )
