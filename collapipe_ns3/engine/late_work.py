"""What a pipeline has trained that was late: it is on its way until a later round.

At the deadline of its round it had ended its local steps. The transfers that were under way are
cut; the bytes that are missing are sent in the next rounds, from their beginning on. When all have
arrived, it enters the average of that round, with its age.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from bridge.network import TransferKind
from collapipe_ns3.exchange import Arrival, Leg, Legs, PipelineId
from collapipe_ns3.learning.aggregation import Parameters, PipelineResult
from collapipe_ns3.phases import Phase
from collapipe_ns3.plan import Pipeline, Stage

_TENSORS = ("parameters", "received", "variate")


@dataclass(frozen=True, slots=True)
class RestOfLeg:
    """The bytes of a leg that have not arrived. It waits for those at the places `after`."""

    src: str
    dst: str
    size_bytes: int
    phase: Phase
    after: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LateWork:
    """The result of a pipeline, what is missing of it, and for how many rounds it may be late.

    `result.age` is its age in the round that it would arrive in next. `losses` are those of its
    local steps.
    """

    pipeline: Pipeline
    result: PipelineResult
    rest: tuple[RestOfLeg, ...]
    losses: tuple[float, ...]
    most_age: int

    @property
    def id(self) -> PipelineId:
        """The place of its pipeline in the plan of its round."""
        return PipelineId(self.result.cluster, self.result.pipeline)

    @property
    def loss(self) -> float:
        """The mean over its local steps."""
        return math.fsum(self.losses) / len(self.losses)

    def legs(self) -> Legs:
        """What is still to be sent."""
        arrivals = [Arrival(number, each.dst) for number, each in enumerate(self.rest)]
        made = tuple(
            Leg(
                number,
                (self.id,),
                each.phase,
                TransferKind.PARAMETERS,
                each.src,
                (each.dst,),
                each.size_bytes,
                tuple(arrivals[before] for before in each.after),
            )
            for number, each in enumerate(self.rest)
        )
        return Legs(made, {self.id: tuple(arrivals)}, {}, streamed=True)

    def older(self, rest: tuple[RestOfLeg, ...]) -> LateWork | None:
        """The same for the next round; None if it is too old then."""
        age = self.result.age + 1
        if age > self.most_age:
            return None
        result = dataclasses.replace(self.result, age=age)
        return dataclasses.replace(self, result=result, rest=rest)

    def to_json(self) -> dict[str, Any]:
        """Plain data, without the tensors."""
        result = {
            each.name: getattr(self.result, each.name)
            for each in dataclasses.fields(self.result)
            if each.name not in _TENSORS
        }
        rest = [dataclasses.asdict(each) for each in self.rest]
        return {
            "pipeline": dataclasses.asdict(self.pipeline),
            "result": {**result, "rates": list(self.result.rates)},
            "rest": [{**each, "phase": str(each["phase"])} for each in rest],
            "losses": list(self.losses),
            "most_age": self.most_age,
        }

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        """The tensors of its result."""
        return {name: dict(getattr(self.result, name)) for name in _TENSORS}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], tensors: Mapping[str, Parameters]) -> LateWork:
        """The inverse of `to_json` and `tensors`."""
        pipeline, result = dict(data["pipeline"]), dict(data["result"])
        pipeline["stages"] = tuple(Stage(**each) for each in pipeline["stages"])
        result["rates"] = tuple(result["rates"])
        given: dict[str, Any] = dict(tensors)
        rest = (
            {**each, "phase": Phase(each["phase"]), "after": tuple(each["after"])}
            for each in data["rest"]
        )
        return cls(
            Pipeline(**pipeline),
            dataclasses.replace(PipelineResult(**{"parameters": {}, **result}), **given),
            tuple(RestOfLeg(**each) for each in rest),
            tuple(data["losses"]),
            data["most_age"],
        )


def copied(result: PipelineResult) -> PipelineResult:
    """A result with tensors of its own, which no later training changes."""
    tensors = {
        name: {key: tensor.clone() for key, tensor in getattr(result, name).items()}
        for name in _TENSORS
    }
    return dataclasses.replace(result, **tensors)  # type: ignore[arg-type]
