"""What a scenario names of ns-3 (types, attributes, values), checked against ns-3 itself."""

from __future__ import annotations

from collections.abc import Iterator

from ns3_scenarios import runtime
from ns3_scenarios.channel import attribute_lines
from ns3_scenarios.protected import PROTECTED
from ns3_scenarios.runtime import BadValue, UnknownName
from ns3_scenarios.scenario import LossModel, ScenarioSpec


def ns3_problems(spec: ScenarioSpec) -> list[tuple[str, str]]:
    """Everything that ns-3 doesn't have or can't take, as `scenario.problems` lists its own.

    Loads ns-3, and changes nothing in it.
    """
    return [
        *_loss_problems("d2d.loss", spec.d2d.loss),
        *_loss_problems("d2e.loss", spec.d2e.loss),
        *_default_problems(spec),
    ]


def _loss_problems(path: str, loss: LossModel) -> Iterator[tuple[str, str]]:
    try:
        attribute_lines(LossModel(loss.type_name, {}))
    except UnknownName as error:
        yield f"{path}.type_name", str(error)
        return
    for name, value in loss.attributes.items():
        try:
            attribute_lines(LossModel(loss.type_name, {name: value}))
        except (UnknownName, BadValue) as error:
            yield f"{path}.attributes.{name}", str(error)


def _default_problems(spec: ScenarioSpec) -> Iterator[tuple[str, str]]:
    for path, value in spec.ns3_defaults.items():
        if path in PROTECTED:
            yield f"ns3_defaults.{path}", f"can't be changed: {PROTECTED[path]}"
            continue
        try:
            runtime.checked_default(path, value)
        except (UnknownName, BadValue) as error:
            yield f"ns3_defaults.{path}", str(error)
