"""Energy budgets that no plan can keep: less than a node uses without a part in the round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import itemgetter

from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.prediction.timeline_energy import NodeEnergy

#: The place of the budgets in a study.
_PATH = "scheme.settings"

#: The most nodes that a message names.
_NAMED = 4


def unkeepable(
    settings: Settings, devices: tuple[tuple[str, ...], ...], joules: Mapping[str, NodeEnergy]
) -> Iterator[tuple[str, str]]:
    """(place in the study, message) of every budget below the least energy of its nodes.

    The least energy of a device without a block is that at idle, of soundings and of what it
    overhears. For a control unit or the base station, whose part can't be given to other nodes, it
    is everything but what it takes to send. The round is taken to last as long as predicted.
    """
    common: dict[str, float] = {}
    for node, budget_j in settings.budgets_j(devices).items():
        least_j = joules[node].least_j + joules[node].idle_j if node in joules else 0.0
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
    ordered = sorted(least_j.items(), key=itemgetter(1), reverse=True)
    named = ", ".join(f"{node} {joules:.3g} J" for node, joules in ordered[:_NAMED])
    more = f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else ""
    return (
        f"{budget_j:.3g} J a round is less than what is used at least, whatever is planned "
        f"({named}{more}): it will be exceeded, and the energy queue grow without end"
    )
